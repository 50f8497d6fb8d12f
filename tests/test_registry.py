from collections.abc import Callable
from typing import NamedTuple

import pytest

from ganvas.errors import GanvasError
from ganvas.registry import FactRegistry, Registry


def test_unknown_name_suggests_the_closest() -> None:
    registry: Registry[int] = Registry("fruit")
    registry.add("apple", 1, "red")
    registry.add("banana", 2, "yellow")
    with pytest.raises(
        GanvasError, match=r"Unknown fruit 'aple'. Did you mean 'apple'\? Known: apple, banana"
    ):
        registry.get("aple")
    with pytest.raises(GanvasError, match=r"Unknown fruit 'xyz'. Known"):
        registry.get("xyz")


def test_lookup_order_and_summaries() -> None:
    registry: Registry[int] = Registry("fruit")
    registry.add("pear", 1, "green")
    registry.add("apple", 2, "red")
    assert list(registry) == ["pear", "apple"]
    assert registry.get("apple") == 2
    assert registry.summary("pear") == "green"
    assert "pear" in registry
    assert "plum" not in registry


def test_a_name_is_taken_once() -> None:
    registry: Registry[int] = Registry("fruit")
    registry.add("pear", 1, "green")
    with pytest.raises(ValueError, match="twice"):
        registry.add("pear", 2, "yellow")


def test_a_function_is_registered_with_its_facts_and_stays_a_function() -> None:
    class Entry(NamedTuple):
        function: Callable[[int], int]
        even: bool = False

        def __call__(self, number: int) -> int:
            return self.function(number)

    registry: FactRegistry[Entry] = FactRegistry("rule", Entry)

    @registry.register("double", even=True)
    def double(number: int) -> int:
        """Twice the number

        And nothing else.
        """
        return 2 * number

    assert double(3) == registry.get("double")(3) == 6
    assert registry.get("double").even
    assert registry.summary("double") == "Twice the number"
    with pytest.raises(TypeError, match="odd"):
        registry.register("triple", odd=True)(double)
