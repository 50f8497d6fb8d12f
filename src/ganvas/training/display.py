"""What a person sees while a run trains: a live line on a terminal, curves in a notebook, a plain line now and then elsewhere."""

import html
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ganvas import notebook
from ganvas.errors import lasting, printable
from ganvas.io import Json
from ganvas.report.verdicts import Verdict
from ganvas.runs import curves, short_name

PLAIN_SECONDS = 15.0
"""Between two lines when the output is not a terminal, and between two lines of verdicts anywhere."""


LINES = 8
"""The newest of what was said that a notebook keeps in sight."""


class Terminal(Console):
    """stderr, whose reader may go, as `| head` does and a window that is closed: a training goes on. log.txt has what it says."""

    def on_broken_pipe(self) -> None:
        """Rich would end Python here."""
        self.quiet = True

    @contextmanager
    def lost(self) -> Iterator[None]:
        """Say nothing any more when that cannot be said."""
        try:
            yield
        except OSError:
            self.quiet = True


class Display:
    """Shows kimg, images/s, losses, logits, verdicts and the time left on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Terminal(stderr=True, quiet=quiet)
        self.live = self.console.is_terminal and not quiet
        self.progress = Progress(
            TextColumn("{task.fields[line]}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.progress.add_task("train", total=1.0, line="starting")
        self.last_plain = self.last_verdicts = self.last_drawn = -PLAIN_SECONDS
        self.begun: tuple[float, float] | None = None
        """When the first line was drawn, and the share of the budget that was used then."""
        self.standing: list[str] = []
        self.pending: list[str] = []

    def __enter__(self) -> "Display":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(now=True)
        with self.console.lost():
            self.progress.stop()
            sys.stderr.flush()

    def say(self, message: str) -> None:
        """Print a line above the live one."""
        with self.console.lost():
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
                " ".join(
                    f"{short_name(name)} {record[name]:.2f}" for name in record if name.startswith("loss_")
                ),
            ]
        )
        if logits := [f"{record[name]:+.2f}" for name in record if name.endswith("_logits")]:
            line += f"  logits {' / '.join(logits)}"
        if "epsilon" in record:
            line += f"  epsilon {record['epsilon']:.3g}"
        if self.standing:
            line += f"  {', '.join(self.standing)}"
        self._draw(progress, line, record)
        self.last_drawn = time.monotonic()
        return new

    def alive(self, kimg: float, progress: float) -> None:
        """Say how far it is where lines of statistics are long apart; called at every step."""
        if time.monotonic() - self.last_drawn >= PLAIN_SECONDS:
            self.last_drawn = time.monotonic()
            self._draw(progress, f"{kimg:.1f} kimg")

    def picture(self, content: bytes) -> None:
        """New samples, as a PNG: shown where there is room for a picture."""

    def _draw(self, progress: float, line: str, record: Json | None = None) -> None:
        self.progress.update(self.task, completed=progress, line=line)
        now = time.monotonic()
        if not self.live and now - self.last_plain >= PLAIN_SECONDS:
            self.last_plain = now
            self.say(f"{progress:4.0%}  {line}{self._left(now, progress)}")

    def _left(self, now: float, progress: float) -> str:
        """How long the rest of the budget takes at the speed so far, where that is known."""
        began, before = self.begun = self.begun or (now, progress)
        if not before < progress < 1 or now <= began:
            return ""
        return f"  {lasting((now - began) * (1 - progress) / (progress - before))} left"

    def _tell(self, now: bool = False) -> None:
        """Say the verdicts that began and ended since the last time."""
        if self.pending and (now or time.monotonic() - self.last_verdicts >= PLAIN_SECONDS):
            self.last_verdicts = time.monotonic()
            self.say(" | ".join(self.pending))
            self.pending = []


class NotebookDisplay(Display):
    """Shows the same in a notebook's cell: a bar, curves, what was said, and the newest samples."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.began, self.share, self.line = time.monotonic(), 0.0, "starting"
        self.said: list[str] = []
        self.records: list[Json] = []
        self.top, self.below = notebook.Piece(), notebook.Piece()
        self.newest: bytes | None = None
        self.alone = notebook.alone()

    def __enter__(self) -> "NotebookDisplay":
        self.alone.__enter__()
        self._paint()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(now=True)
        self._paint()
        if self.newest is not None:
            self.below.show(notebook.picture(self.newest, "samples"))
        self.alone.__exit__(kind, error, trace)

    def say(self, message: str) -> None:
        """Say a line below the curves."""
        self.said = [*self.said, printable(message)][-LINES:]
        if self.top.due():
            self._paint()

    def picture(self, content: bytes) -> None:
        """Show new samples."""
        self.newest = content
        if self.below.due():
            self.below.show(notebook.picture(content, "samples"))
            self.newest = None

    def _draw(self, progress: float, line: str, record: Json | None = None) -> None:
        if record is not None:
            self.records.append(record)
        self.share, self.line = progress, line
        if self.top.due():
            self._paint()

    def _paint(self) -> None:
        gone = notebook.seconds(time.monotonic() - self.began)
        words = f"{self.share:.0%} &nbsp; {html.escape(self.line)} {gone}"
        said = "".join(map(notebook.line, self.said))
        self.top.show(f"{notebook.bar(self.share, words)}{curves(self.records)}{notebook.card('', said)}")


def open_display(quiet: bool = False) -> Display:
    """The display that fits where Python runs."""
    return NotebookDisplay() if not quiet and notebook.is_notebook() else Display(quiet)
