import pytest

from ganvas.errors import GanvasError
from ganvas.registry import Registry


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
