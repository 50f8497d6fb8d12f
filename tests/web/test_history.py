"""Going back and doing something else loses nothing."""

from hypothesis import given
from hypothesis import strategies as st

from ganvas.web.history import History
from ganvas.web.state import State


def test_a_branch_that_was_left_is_still_there() -> None:
    history = History(State(0))
    history.add(State(1), "one")
    history.add(State(2), "two")
    assert history.undo()
    history.add(State(3), "other")
    assert [step.state.seed for step in history.steps] == [0, 1, 2, 3]
    assert history.steps[1].children == [2, 3]
    assert [history.depth(i) for i in range(4)] == [0, 0, 0, 1]
    assert [state.seed for state in history.trail()] == [0, 1, 3]
    history.go(2)
    assert history.state == State(2)
    assert history.undo()
    assert history.redo()
    assert history.state == State(2), "redo goes on where one came from"


def test_the_ends_and_nothing_new() -> None:
    history = History(State(0))
    assert not history.undo()
    assert not history.redo()
    assert not history.add(State(0), "the same")
    history.go(99)
    assert len(history.steps) == 1
    assert history.current == 0


@given(st.lists(st.sampled_from(["add", "undo", "redo"]), max_size=60))
def test_undo_and_redo_are_each_others_reverse(actions: list[str]) -> None:
    history = History(State(0))
    for i, action in enumerate(actions):
        before = history.current
        if action == "add":
            history.add(State(i + 1), "step")
        elif action == "undo" and history.undo():
            assert history.redo()
            assert history.current == before
            history.undo()
        elif action == "redo" and history.redo():
            assert history.undo()
            assert history.current == before
            history.redo()
    assert {child for step in history.steps for child in step.children} == set(range(1, len(history.steps)))
