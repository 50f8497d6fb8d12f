"""What costly pictures leave time for: how many are drawn for a purpose, whose turn it is to draw, and when all of it is over."""

import heapq
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class Purpose:
    """What pictures are drawn for behind the one that is looked at."""

    urgency: int
    """The lowest goes first."""
    seconds: float
    """That it may take."""
    least: int
    """Pictures below which it is of no use."""

    def affords(self, usual: int, seconds: float) -> int:
        """How many pictures of so many `seconds` each: as many as `usual` where there is time for them, else fewer."""
        return (
            usual
            if usual * seconds <= self.seconds
            else max(min(self.least, usual), int(self.seconds / seconds))
        )


EFFECTS = Purpose(0, 20.0, 44)
"""What the directions do, ten of them beside where they begin."""
QUALITY = Purpose(1, 30.0, 12)
"""Own samples to compare with."""
STRIPS = Purpose(2, 30.0, 15)
"""Thumbnails of the sliders."""
AROUND = Purpose(3, 20.0, 12)
"""Axes that neighbours are looked for among, and their unit."""
SHEET = Purpose(4, 30.0, 12)
"""Samples to be marked."""
LIKENESS = Purpose(5, 60.0, 40)
"""Samples beside real images."""
MAP = Purpose(6, 90.0, 40)
"""Samples on the map."""


GRACE = 0.25
"""Seconds that a less urgent purpose waits for a more urgent one to come back: it draws a few at a time."""


class Superseded(Exception):
    """Nobody wants what is being drawn any more: something newer is wanted, or the explorer was closed."""


_job = threading.local()


@contextmanager
def until(over: threading.Event) -> Iterator[None]:
    """What this thread draws within ends when that is set, at its next picture."""
    _job.over = over
    try:
        yield
    finally:
        _job.over = None


def check_over() -> None:
    """Raise `Superseded` where what this thread draws is over."""
    over = getattr(_job, "over", None)
    if over is not None and over.is_set():
        raise Superseded


class Turns:
    """One at a time, the most urgent of those who wait: two that both want every core take longer than one after the other."""

    def __init__(self) -> None:
        self._changed, self._numbers = threading.Condition(), count()
        self._waiting: list[tuple[int, int]] = []
        self._taken = False
        self._last, self._until = 0, 0.0
        """Urgency of the last turn, and when it will not come back any more."""

    @contextmanager
    def turn(self, urgency: int) -> Iterator[None]:
        """Wait for a turn, and have it."""
        with self._changed:
            me = (urgency, next(self._numbers))
            heapq.heappush(self._waiting, me)
            while self._taken or self._waiting[0] != me or self._kept(urgency) > 0:
                self._changed.wait(self._kept(urgency) or None)
            heapq.heappop(self._waiting)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._last, self._until = urgency, time.monotonic() + GRACE
                self._changed.notify_all()

    def _kept(self, urgency: int) -> float:
        """Seconds for which the next turn is kept for a more urgent purpose."""
        return max(0.0, self._until - time.monotonic()) if urgency > self._last else 0.0
