"""What a budget of minutes is counted by. Processor time, so that other work on the machine takes nothing from a row."""

import time
from collections.abc import Callable
from types import SimpleNamespace

from ganvas.training import loop

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}


def count_by(name: str) -> None:
    """Trainings of this process end after so many minutes of this clock."""
    loop.time = SimpleNamespace(monotonic=CLOCKS[name])  # type: ignore[assignment]
