"""What the commands share: checks before the work, progress, tables, opening images, saving."""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.errors import lasting, printable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ganvas.data import Dataset
    from ganvas.latent.invert import Inversion
    from ganvas.model import Model
    from ganvas.series import Schema

Tell = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, of how much)"""


def answer(document: object, indent: int | None = None) -> None:
    """What --json prints: one document on stdout. What is not finite becomes null, for which JSON has room."""
    print(json.dumps(_finite(document), allow_nan=False, indent=indent))


def say(text: str = "", *, style: str = "", beside: bool = False) -> None:
    """A line for people, on stdout or `beside` it on stderr; what comes from files is as a terminal may have it."""
    if not style:
        print(printable(text), file=sys.stderr if beside else sys.stdout, flush=beside)
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=beside).print(Text(printable(text), style=style), soft_wrap=True)


@contextmanager
def telling(found: Mapping[str, Any], words: str | Callable[[], None], json: bool) -> Iterator[None]:
    """What was found, which may have taken hours, is told where it cannot be written: in `words`, or by what says them."""
    try:
        yield
    except Exception:
        if json:
            answer(found)
        elif callable(words):
            words()
        else:
            say(words)
        raise


def tell(found: Mapping[str, Any], words: str, written: str, json: bool) -> None:
    """What was found, its `notes` among it, and the files that were written of it."""
    if json:
        answer(found)
        return
    for note in found["notes"]:
        say(f"Note: {note}.")
    say(f"{words} -> {written}")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def silence(quiet: bool) -> Iterator[None]:
    """With --quiet nothing is said on stderr: no progress, notes nor warnings. Errors are, by whoever catches them."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield


_read: list[Path] = []
"""What the command that runs was given to read: `reading`."""
WRITTEN = ("out", "picture", "export", "static")
"""Parameters that name what is written."""


@contextmanager
def reading(given: Mapping[str, Any]) -> Iterator[None]:
    """While a command runs with these values, `outputs` refuses to write over the files that they name."""
    values = [value for name, value in given.items() if name not in WRITTEN]
    several = [each for value in values for each in (value if isinstance(value, list | tuple) else [value])]
    _read[:] = [
        Path(each) for each in several if isinstance(each, str | Path) and each and os.path.exists(each)
    ]
    try:
        yield
    finally:
        _read.clear()


def _check_inputs(out: Path, derived: bool) -> None:
    """Raise `GanvasError` where `out` is what the command reads, or lies among the pictures of a folder that it reads under a
    name that nobody has typed."""
    from ganvas.errors import GanvasError

    if not os.path.exists(out):
        return
    for each in _read:
        among = derived and each.is_dir() and not (each / "config.json").exists()
        if out.samefile(each) or (among and each.resolve() in out.resolve().parents):
            raise GanvasError(
                f"{out} would be written over, and {each} is read. Choose another name with --out."
            )


def named_after(model: Path, suffix: str) -> Path:
    """A file here by the name of a model. What follows a point belongs to the name of a folder, a rate for example."""
    path = model.resolve()
    return Path((path.stem if path.is_file() else path.name) + suffix)


def outputs(out: Path, *suffixes: str, beside: Sequence[Path] = ()) -> None:
    """Raise `GanvasError` unless `out` has one of the suffixes, and it and the files beside it can be written and are not read.

    Called before the work: nobody waits for a picture that has no place.
    """
    from ganvas.cache import cache_folder
    from ganvas.errors import GanvasError
    from ganvas.io import check_place

    if suffixes and out.suffix not in suffixes:
        wanted = " or ".join((", ".join(suffixes[:-1]), suffixes[-1]) if len(suffixes) > 1 else suffixes)
        raise GanvasError(
            f"Cannot write {out.suffix or 'a name without suffix'} here, got {out}; use {wanted}."
        )
    for each in (out, *beside):
        _check_inputs(each, each is not out)
        try:
            check_place(each)
        except GanvasError as error:
            if not each.is_relative_to(cache_folder()):
                raise
            raise GanvasError(f"{error} For the cache: set GANVAS_CACHE to a folder of your own.") from error


def unused(why: str, **given: Any) -> None:
    """Raise `GanvasError` for flags that were given and would do nothing: who types one believes that it acts."""
    from ganvas.errors import GanvasError

    for name, value in given.items():
        if value is not None and value is not False:
            raise GanvasError(f"--{name.replace('_', '-')} would do nothing: {why}. Leave it out.")


def without_cache() -> None:
    """Say so on stderr when nothing can be kept in the user's cache: what is only quicker with it runs without."""
    from ganvas import io
    from ganvas.cache import cache_folder

    if not io.writable(cache_folder()):
        say(
            f"note: nothing can be kept in {cache_folder()}, so the next time takes as long as this one. "
            "Set GANVAS_CACHE to a folder of your own.",
            beside=True,
        )  # fmt: skip


def images(
    source: str, n: int, model: "Model", shape: tuple[int, ...] | None = None, *, unseen: bool = False
) -> "Tensor":
    """The first n images of a source, uint8 (n, *shape): of any size and colour, brought to the model's as its own data were.

    With `unseen`, of the data that the model was trained on only those that were held out; and of windows that overlap n far
    apart. What was done to them is reported on stderr.
    """
    import torch

    from ganvas.arrays import count

    n = count(n, "--n")
    data = brought(source, model, shape, unseen=unseen)
    n = min(n, len(data))
    apart = unseen and data.spans is not None
    return data.take(torch.linspace(0, len(data) - 1, n).round().long() if apart else torch.arange(n))[0]


def brought(
    source: str, model: "Model", shape: tuple[int, ...] | None = None, schema: "Schema | None" = None, *, unseen: bool = False
) -> "Dataset":  # fmt: skip
    """A source, brought to the model's shape; with `unseen`, of its own data what was held out. Says on stderr what was done."""
    from ganvas import model_data
    from ganvas.data import load_dataset
    from ganvas.errors import GanvasError

    if len(model.shape) == 1:
        raise GanvasError("This model draws points; pictures and series are what is searched for here.")
    if unseen:
        data, _, words = model_data.unseen(model, source, shape, schema)
    else:
        config, words = model_data.config_for(model, source), ""
        data = load_dataset(config, tuple(shape or model.shape), schema or model.info.series)
    say_notes(data, words)
    return data


def say_notes(data: "Dataset", words: str = "") -> None:
    """Print beside the results what was done to data, and words of which part of them was taken."""
    for note in filter(None, (*data.notes, words)):
        say(note, beside=True)


def classes(labels: Sequence[str] | None, model: "Model", drawn: int | None = None) -> list[int] | None:
    """Class numbers of --labels, no more than samples are `drawn`: names of the model's classes first, else numbers from 0."""
    from ganvas.errors import GanvasError, counted
    from ganvas.model_data import class_names
    from ganvas.registry import did_you_mean

    if labels is None:
        return None
    model.labels(1, [0])  # refuses models without classes, in its own words
    if drawn is not None and len(labels) > drawn:
        raise GanvasError(
            f"--labels names {len(labels)} classes for {counted(drawn, 'sample')}. Draw more, or name fewer."
        )
    names, found = class_names(model), []
    for label in labels:
        if label in names:
            found.append(names.index(label))
        elif label.isdecimal() and len(label) < 10:
            found.append(int(label))
        else:
            raise GanvasError(
                f"There is no class {label!r}.{did_you_mean(label, list(names))} Give names or numbers from 0: "
                f"{', '.join(names[:20]) or 'the names of this model are not known'}."
            )
    return found


@contextmanager
def together(device: str) -> Iterator[tuple[str, bool]]:
    """Spread the work inside over the processes of `torchrun`.

    Yields the device of this one, and whether it is the first, which alone prints and writes.
    """
    from ganvas import dist
    from ganvas.device import resolve_device

    here = dist.local_device(resolve_device(device))
    with dist.together(here):
        yield str(here), dist.rank() == 0


FIRST, EVERY = 3.0, 10.0
"""Seconds to the first line of progress where stderr is no terminal, and between two."""
LONG = 300.0
"""Seconds from which on such a line says how long it takes yet."""


@contextmanager
def progress() -> Iterator[Tell]:
    """Bars on stderr for what is being done; a line now and then where stderr is no terminal.

    Of several processes rank 0 alone says it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from ganvas import dist

    if dist.rank() > 0:
        yield lambda what, done, total: None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        with Lines() as tell_line:
            yield tell_line
        return
    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
        transient=True,
    ) as bar:  # fmt: skip

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for old in tasks.values():
                    bar.update(old, visible=False)
                tasks[what] = bar.add_task(printable(what), total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell


class Lines:
    """Progress for logs and pipes: where a job is, every few seconds; nothing from a quick one.

    A thread of its own says it, so that a long silent part is reported too.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.state = ("starting", 0, 0)
        self.first = (self.began, 0)
        """When what is being done began, and how much of it was done then."""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Tell:
        self.thread.start()
        return self.tell

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def tell(self, what: str, done: int, total: int) -> None:
        """What is being done, and how far it is."""
        if what != self.state[0]:
            self.first = (time.monotonic(), done)
        self.state = (what, done, total)

    def _run(self) -> None:
        wait = FIRST
        while not self.over.wait(wait):
            what, done, total = self.state
            share = f": {done:,} of {total:,}{self._left()}" if total > 1 else ""
            say(f"{time.monotonic() - self.began:4.0f} s  {what}{share}", beside=True)
            wait = EVERY

    def _left(self) -> str:
        """`, about 3.0 h to go`, of what takes long."""
        (_, done, total), (began, before) = self.state, self.first
        seconds = (time.monotonic() - began) * (total - done) / (done - before) if done > before else 0.0
        return f", about {lasting(seconds)} to go" if seconds >= LONG else ""


@dataclass(frozen=True)
class Column:
    """A column of a table for people."""

    name: str
    left: bool = False
    drop: int = 0
    """On a terminal that is too narrow the column with the highest number goes first; 0 stays."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], bold: Sequence[int] = ()) -> None:
    """Print a table: in full in pipes; on a terminal without the columns that it has no room for. Words are never cut."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    lines = [[printable(text) for text in row] for row in ([column.name for column in columns], *rows)]
    console, kept = Console(), list(range(len(columns)))
    widths = [max(cell_len(row[i]) for row in lines) for i in range(len(columns))]

    def wide() -> int:
        return sum(widths[i] for i in kept) + 2 * (len(kept) - 1)

    while console.is_terminal and wide() > console.width and any(columns[i].drop for i in kept):
        kept.remove(max(kept, key=lambda i: columns[i].drop))
    for number, row in enumerate(lines, -1):
        cells = []
        for i in kept:
            fill = " " * (widths[i] - cell_len(row[i]))
            cells.append(row[i] + fill if columns[i].left else fill + row[i])
        style = "bold" if number < 0 or number in bold else ""
        console.print(Text("  ".join(cells).rstrip(), style=style), soft_wrap=True)
    if len(kept) < len(columns):
        gone = ", ".join(column.name for i, column in enumerate(columns) if i not in kept)
        console.print(Text(f"no room for: {gone}; a wider window, a pipe or --json shows them", style="dim"))


def write_picture(out: Path, picture: "Image") -> None:
    """A picture as a .png."""
    from ganvas import io, pictures

    io.write_bytes(out, pictures.png(picture))


def save(out: Path, *several: "Inversion") -> None:
    """Latents, residuals, drawn samples and, of a conditional model, their classes as an .npz."""
    import torch

    from ganvas import io

    names = ("points", "residual", "ambiguity", "typicality", "drawn")
    found = {n: torch.cat([getattr(each, n) for each in several]).cpu() for n in names}
    labels = [each.labels for each in several if each.labels is not None]
    io.write_arrays(out, found | ({"labels": torch.cat(labels).cpu()} if labels else {}))


def read_mask(path: Path, model: "Model") -> "Tensor":
    """1 where the picture is bright (1, 1, H, W), brought to the model's size as pictures are."""
    from ganvas.errors import GanvasError

    mask = (images(str(path), 1, model, (1, *model.shape[1:])) > 127).float()
    if not 0 < mask.mean() < 1:
        raise GanvasError(
            f"The mask {path} is {'all white: nothing' if mask.mean() else 'all black: everything'} is hidden."
        )
    return mask
