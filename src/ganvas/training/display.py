"""What a person sees while a run trains: a live line on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ganvas.errors import printable
from ganvas.io import Json
from ganvas.report.verdicts import Verdict

PLAIN_SECONDS = 15.0
"""Between two lines when the output is not a terminal, and between two lines of verdicts anywhere."""


def _short(name: str) -> str:
    """`G` and `D` for the losses of the two players, else the name: `loss_encoder` is `encoder`."""
    return {"loss_generator": "G", "loss_critic": "D"}.get(name, name.removeprefix("loss_"))


class Display:
    """Shows kimg, images/s, losses, logits, verdicts and the time left on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.live = self.console.is_terminal and not quiet
        self.progress = Progress(
            TextColumn("{task.fields[line]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.progress.add_task("train", total=1.0, line="starting")
        self.last_plain = self.last_verdicts = -PLAIN_SECONDS
        self.standing: list[str] = []
        self.pending: list[str] = []

    def __enter__(self) -> "Display":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(now=True)
        self.progress.stop()
        sys.stderr.flush()

    def say(self, message: str) -> None:
        """Print a line above the live one."""
        self.console.print(printable(message), markup=False, highlight=False, soft_wrap=True)

    def resume(self, standing: Sequence[str]) -> None:
        """Verdicts that stand already: they have been said."""
        self.standing = list(standing)

    def show(self, record: Json, progress: float, found: Sequence[Verdict]) -> list[str]:
        """Show a line of statistics; `progress` is the share of the budget that is used.

        Verdicts are said when they begin and when they end, in one line at most every `PLAIN_SECONDS`; returns what is new of
        them at once.
        """
        new = []
        if "verdicts" in record:
            names = [verdict.name for verdict in found]
            new = [f"no longer: {name}" for name in self.standing if name not in names]
            new += [str(verdict) for verdict in found if verdict.name not in self.standing]
            self.standing = names
        self.pending += [f"{record['kimg']:.1f} kimg: {text}" for text in new]
        self._tell()
        line = "  ".join(
            [
                f"{record['kimg']:.1f} kimg",
                f"{record['images_per_second']:.0f} img/s",
                " ".join(f"{_short(name)} {record[name]:.2f}" for name in record if name.startswith("loss_")),
            ]
        )
        if logits := [f"{record[name]:+.2f}" for name in record if name.endswith("_logits")]:
            line += f"  logits {' / '.join(logits)}"
        if self.standing:
            line += f"  {', '.join(self.standing)}"
        self.progress.update(self.task, completed=progress, line=line)
        now = time.monotonic()
        if not self.live and now - self.last_plain >= PLAIN_SECONDS:
            self.last_plain = now
            self.say(f"{progress:4.0%}  {line}")
        return new

    def _tell(self, now: bool = False) -> None:
        """Say the verdicts that began and ended since the last time."""
        if self.pending and (now or time.monotonic() - self.last_verdicts >= PLAIN_SECONDS):
            self.last_verdicts = time.monotonic()
            self.say(" | ".join(self.pending))
            self.pending = []
