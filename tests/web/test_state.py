"""A state survives the URL and the file to the last bit, and nothing damaged gets through."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganvas.errors import GanvasError
from ganvas.web.state import (
    LONGEST,
    Mix,
    Move,
    Recipe,
    State,
    Timeline,
    from_json,
    from_text,
    pack,
    read,
    to_json,
    to_text,
    unpack,
)

numbers = st.floats(-100, 100)
whole = st.integers(0, 2**31 - 1)
vectors = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=6).map(lambda v: pack(torch.tensor(v)))
moves = st.builds(
    Move, st.text(max_size=12), vectors, numbers, numbers, st.lists(st.integers(0, 9), max_size=3).map(tuple)
)
states = st.builds(
    State, whole, whole, st.none() | st.integers(0, 9), st.none() | vectors, st.sampled_from(["", "z", "w", "w+"]), numbers,
    st.none() | st.builds(Mix, whole, whole, st.integers(0, 9), st.integers(0, 9)), st.none() | whole,
    st.lists(moves, max_size=3).map(tuple), st.lists(st.text(max_size=9), max_size=3).map(tuple),
    st.none() | whole, st.floats(0, 1), st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-360, 360)),
)  # fmt: skip
recipes = st.builds(
    Recipe, st.text(max_size=9), st.text(max_size=9), states,
    st.builds(
        Timeline, st.lists(states, max_size=3).map(tuple), st.sampled_from(["auto", "linear", "spherical", "spline"]),
        st.booleans(), st.booleans(), st.integers(2, 500), st.floats(1, 60),
    ),
    st.lists(st.tuples(st.text(max_size=9), states), max_size=2).map(tuple), st.just({"ganvas": "1"}),
)  # fmt: skip


@given(recipes)
def test_address_and_file_bring_a_recipe_back(recipe: Recipe) -> None:
    assert from_text(to_text(recipe)) == recipe
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_any_other_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(GanvasError):
        from_text(text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=5), c),
    )
)
def test_any_other_json_is_refused_in_words(value: Any) -> None:
    with pytest.raises(GanvasError):
        from_json(value)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1}, {"seed": 1.5}, {"seed": True}, {"number": "x"}, {"truncation": float("nan")}, {"truncation": 1e9},
        {"moves": [{"name": "a"}]}, {"mix": {"seed": 1, "path": 2}}, {"unknown": 1}, {"noise": -3}, {"label": 1e20},
        {"other": -1}, {"share": 1.01}, {"share": -0.1}, {"place": [0, 0]}, {"place": [3, 0, 0]}, {"place": [0, 0, 361]},
        {"place": [0, float("inf"), 0]},
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused(change: dict[str, Any]) -> None:
    value = to_json(Recipe("m", "h"))
    value["state"] |= change
    with pytest.raises(GanvasError, match="damaged"):
        from_json(value)


def test_newer_recipes_bombs_and_foreign_files_say_what_is_wrong(tmp_path: Path) -> None:
    value = to_json(Recipe("m", "h"))
    with pytest.raises(GanvasError, match="version 99"):
        from_json({**value, "format_version": 99})
    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * (10 * LONGEST))).decode()
    assert len(bomb) < 50_000
    with pytest.raises(GanvasError, match="too long"):
        from_text(bomb)
    for timeline in ({"frames": 1}, {"frames": 10**9}, {"fps": 0.0}, {"kind": "zigzag"}):
        with pytest.raises(GanvasError, match="damaged"):
            from_json({**value, "timeline": timeline})
    (tmp_path / "big.json").write_text(" " * (LONGEST + 1))
    with pytest.raises(GanvasError, match="bytes long"):
        read(tmp_path / "big.json")
    with pytest.raises(GanvasError, match="Cannot read"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("change", [
    {"model": list(range(9999))}, {"state": {"seed": [1] * 9999}}, {"state": {"base": [0.5] * 9999}},
    {"state": {"truncation": "x" * 9999}}, {"timeline": {"kind": "x" * 9999}}, {"format_version": "x" * 9999},
])  # fmt: skip
def test_what_is_wrong_in_a_recipe_is_said_in_a_line(change: dict[str, Any]) -> None:
    """Whatever it holds: in full it filled a screen, and the words after it were lost."""
    with pytest.raises(GanvasError, match=r"expected|version") as found:
        from_json({**to_json(Recipe("m", "h")), **change})
    assert len(str(found.value)) < 200


def test_whole_numbers_may_be_written_with_a_point() -> None:
    """As other programs write them: what is drawn wants an int."""
    value = {**to_json(Recipe("m", "h")), "timeline": {"frames": 48.0}}
    value["state"] |= {"seed": 2.0, "mix": {"seed": 1.0, "number": 0.0, "first": 0.0, "last": 1.0}}
    found = from_json(value)
    whole = (found.timeline.frames, found.state.seed, *vars(found.state.mix).values())
    assert [type(each) for each in whole] == 6 * [int]


def test_numbers_of_a_point_are_checked() -> None:
    point = torch.randn(2, 3)
    assert torch.equal(unpack(pack(point), (2, 3)), point)
    for bad, words in (
        ("AAAA", "damaged|numbers"),
        (pack(torch.ones(5)), "5 numbers where 6"),
        ("é", "0 numbers"),
        ("A", "damaged"),
    ):
        with pytest.raises(GanvasError, match=words):
            unpack(bad, (2, 3))
    with pytest.raises(GanvasError, match="not finite"):
        unpack(pack(torch.full((6,), torch.inf)), (2, 3))


def test_a_slider_at_zero_leaves_no_trace() -> None:
    move = Move("a", pack(torch.ones(2)), 1.0, 2.0)
    state = State().to(move)
    assert state.moved("a") == 2.0
    assert state.moved("b") == 0.0
    assert state.to(Move("a", move.vector, 1.0, 0.0)) == State()
