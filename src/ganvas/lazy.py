"""Attributes that are computed when they are asked for first."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class lazy(Generic[Value]):
    """`functools.cached_property` as it is from Python 3.12 on: without a lock.

    In 3.11 one lock stands for an attribute of all instances of a class while it is computed of any. A picture that is waited for
    stops other threads in front of their next layer, and would wait for the lock of one that it has stopped.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute, self.name = compute, compute.__name__
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Value: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Self | Value:
        if instance is None:
            return self
        # Kept where attributes are, which are looked for before this. Of two threads the first to end says what all get.
        found: Value = instance.__dict__.setdefault(self.name, self.compute(instance))
        return found
