"""Name -> factory, with errors that tell what to type. Names are fixed in code: a file cannot choose what is imported."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ganvas.errors import GanvasError, expect

T = TypeVar("T")
CallableT = TypeVar("CallableT", bound=Callable[..., Any])
EntryT = TypeVar("EntryT", bound=Callable[..., Any])


def did_you_mean(name: str, known: list[str]) -> str:
    """`" Did you mean 'dcgan'?"` when something is close, else an empty string."""
    spelled = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.55)
    return f" Did you mean {spelled[close[0]]!r}?" if close else ""


def summary_of(entry: object) -> str:
    """The first line of its docstring, which `ganvas list` prints."""
    return (entry.__doc__ or "").strip().split("\n")[0]


class Registry(Generic[T]):
    """A read-only-looking mapping of names to things of one kind, filled by decorators at import time."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._summaries: dict[str, str] = {}

    def add(self, name: str, entry: T, summary: str) -> T:
        """Register `entry`; `summary` is the one line that `ganvas list` prints."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        self._summaries[name] = summary
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`; the first line of the docstring is the summary."""

        def decorate(entry: T) -> T:
            return self.add(name, entry, summary_of(entry))

        return decorate

    def get(self, name: str) -> T:
        """The entry called `name`; raises `GanvasError` with the closest name when there is none."""
        expect(name, str, self.kind, "a name")
        if name not in self._entries:
            known = ", ".join(self._entries)
            raise GanvasError(
                f"Unknown {self.kind} {name!r}.{did_you_mean(name, list(self._entries))} Known: {known}."
            )
        return self._entries[name]

    def summary(self, name: str) -> str:
        """The line that `ganvas list` prints beside `name`."""
        return self._summaries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


class FactRegistry(Registry[EntryT]):
    """A registry of functions with what has to be known of each before it is called: `entry(function, **facts)`."""

    def __init__(self, kind: str, entry: Callable[..., EntryT]) -> None:
        super().__init__(kind)
        self._entry = entry

    def register(self, name: str, **facts: Any) -> Callable[[CallableT], CallableT]:
        """Decorator of the function; `facts` are the further fields of its entry. The function stays what it is."""

        def decorate(function: CallableT) -> CallableT:
            self.add(name, self._entry(function, **facts), summary_of(function))
            return function

        return decorate
