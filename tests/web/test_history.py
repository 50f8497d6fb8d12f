"""Going back and doing something else loses nothing."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ganvas.web.history import MOST_LETTERS, MOST_STEPS, History
from ganvas.web.state import Move, State


def test_a_branch_that_was_left_is_still_there() -> None:
    history = History(State(0))
    history.add(State(1), "one")
    history.add(State(2), "two")
    assert history.undo()
    history.add(State(3), "other")
    assert [step.state.seed for step in history.steps.values()] == [0, 1, 2, 3]
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
    assert {child for step in history.steps.values() for child in step.children} == set(
        range(1, len(history.steps))
    )


def test_steps_have_an_end() -> None:
    """A page that stays has thousands; each slider's numbers may be 350 kB."""
    history = History(State(0))
    for i in range(1, 3 * MOST_STEPS):
        history.add(State(i), "step")
        assert len(history.steps) <= MOST_STEPS
        assert history.current == i
    numbers = list(history.steps)
    assert numbers[0] == 0, "where one began is kept"
    assert numbers[1:] == list(range(numbers[1], 3 * MOST_STEPS)), "and the newest"
    assert [state.seed for state in history.trail()] == numbers
    assert history.depth(numbers[-1]) == 0
    history.go(5)
    assert history.current == numbers[-1], "what has gone is nowhere to go to"


def test_points_of_steps_have_an_end_and_numbers_that_are_shared_count_once() -> None:
    long = MOST_LETTERS // 8
    history = History(State(0))
    shared = Move("age", "s" * long, 1.0)
    for i in range(40):
        history.add(State(0, moves=(replace(shared, strength=1.0 + i),)), "slider")
    assert len(history.steps) == 41
    for i in range(40):
        history.add(State(0, base=f"{i:0{long}}", space="z"), "point")
        held = {id(step.state.base) for step in history.steps.values() if step.state.base}
        assert len(held) <= 8
        assert history.state.base == f"{i:0{long}}"


def test_a_branch_whose_beginning_has_gone_hangs_on_the_first_step() -> None:
    history = History(State(0))
    for i in range(1, MOST_STEPS // 2):
        history.add(State(i), "step")
    fork = history.current
    for i in range(MOST_STEPS // 2, MOST_STEPS + 1):
        history.go(fork)
        history.add(State(i), "branch")
    kept = list(history.steps)[1:]
    assert fork not in kept
    assert history.steps[0].children == kept
    assert history.undo()
    assert history.current == 0
    assert history.redo()
    assert history.current == kept[-1]
