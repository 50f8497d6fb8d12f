"""Whose turn it is to draw, and how much costly pictures leave time for."""

import threading
import time

import pytest

from ganvas.web import pace
from ganvas.web.pace import Purpose, Turns

TWENTY = Purpose(urgency=0, seconds=20.0, least=44)


@pytest.mark.parametrize(
    ("usual", "seconds", "count"),
    [
        (176, 0.0, 176),  # they cost nothing
        (176, 20 / 176, 176),  # there is just time for all
        (176, 0.2, 100),
        (176, 0.5, 44),  # 40 fit, which are of no use
        (176, 60.0, 44),
        (30, 60.0, 30),  # never more than usual
    ],
)
def test_as_many_as_there_is_time_for(usual: int, seconds: float, count: int) -> None:
    assert TWENTY.affords(usual, seconds) == count


def test_the_most_urgent_is_next_and_one_draws_at_a_time() -> None:
    turns, order, at_once = Turns(), [], []
    inside = 0

    def draw(urgency: int) -> None:
        nonlocal inside
        with turns.turn(urgency):
            inside += 1
            at_once.append(inside)
            order.append(urgency)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=draw, args=(urgency,)) for urgency in (6, 3, 3, 0, 5)]
    with turns.turn(9):  # all the others wait for it
        for number, each in enumerate(threads):
            each.start()
            while len(turns._waiting) <= number:
                time.sleep(0.001)
    for each in threads:
        each.join(10)
    assert order == [0, 3, 3, 5, 6]
    assert set(at_once) == {1}


def test_what_draws_a_few_at_a_time_is_not_overtaken_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "GRACE", 1.5)
    turns, order = Turns(), []

    def draw(urgency: int) -> None:
        for _ in range(3):
            with turns.turn(urgency):
                order.append(urgency)
            time.sleep(0.005)  # looks at what it drew

    threads = [threading.Thread(target=draw, args=(urgency,)) for urgency in (2, 6)]
    with turns.turn(1):
        for each in threads:
            each.start()
        while len(turns._waiting) < 2:
            time.sleep(0.001)
    for each in threads:
        each.join(10)
    assert order == [2, 2, 2, 6, 6, 6]


def test_a_turn_that_fails_is_over() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"), turns.turn(0):
        raise ValueError("broken")
    with turns.turn(1):
        pass
