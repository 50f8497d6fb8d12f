"""What costly pictures leave time for: how many are drawn for a purpose, and whose turn it is to draw."""

import heapq
import threading
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


class Turns:
    """One at a time, the most urgent of those who wait: two that both want every core take longer than one after the other."""

    def __init__(self) -> None:
        self._changed, self._numbers = threading.Condition(), count()
        self._waiting: list[tuple[int, int]] = []
        self._taken = False

    @contextmanager
    def turn(self, urgency: int) -> Iterator[None]:
        """Wait for a turn, and have it."""
        with self._changed:
            me = (urgency, next(self._numbers))
            heapq.heappush(self._waiting, me)
            self._changed.wait_for(lambda: not self._taken and self._waiting[0] == me)
            heapq.heappop(self._waiting)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
