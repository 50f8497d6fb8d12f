"""What the commands of the latent space share: opening images, the progress bar, saving."""

import io as memory
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.latent.invert import Inversion
    from ganvas.model import Model


def check(out: Path) -> None:
    """Raise `GanvasError` unless `out` is an .npz."""
    from ganvas.errors import GanvasError

    if out.suffix != ".npz":
        raise GanvasError(f"The outcome is written as .npz with a .png beside it, got {out.name!r}.")


def check_png(out: Path) -> None:
    """Raise `GanvasError` unless `out` is a .png."""
    from ganvas.errors import GanvasError

    if out.suffix != ".png":
        raise GanvasError(f"Can not write {out.suffix or 'a folder'}; use .png.")


def images(source: str, n: int, model: "Model", shape: tuple[int, ...] | None = None) -> "Tensor":
    """The first n images of a source, uint8 (n, *shape): of any size and colour, brought to the model's as its own data were.

    What was done to them is said on stderr.
    """
    import torch

    from ganvas.config import DataConfig
    from ganvas.data import load_dataset

    data = load_dataset(DataConfig(source, resize=model.config.data.resize), tuple(shape or model.shape))
    for note in data.notes:
        print(note, file=sys.stderr)
    return data.take(torch.arange(min(n, len(data))))[0]


def classes(labels: Sequence[str] | None, model: "Model") -> list[int] | None:
    """Class numbers of --labels: names of the model's classes first, else numbers from 0."""
    from ganvas.errors import GanvasError
    from ganvas.latent.attributes import class_names
    from ganvas.registry import did_you_mean

    if labels is None:
        return None
    names = tuple(model.info.get("class_names") or ()) or class_names(model)
    found = []
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
def progress() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A bar on stderr for each named part of a job."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:

        def show(name: str) -> Callable[[int, int], None]:
            task = bar.add_task(name, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield show


@contextmanager
def named_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for what is being done: (what, done, of how many)."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    tasks: dict[str, TaskID] = {}
    with Progress(console=Console(stderr=True), transient=True) as bar:

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for old in tasks.values():
                    bar.update(old, visible=False)
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        yield tell


def save(out: Path, found: "Inversion") -> None:
    """Latents, residuals and drawn images as an .npz."""
    import numpy as np

    from ganvas import io

    buffer = memory.BytesIO()
    np.savez_compressed(
        buffer, points=found.points.cpu().numpy(), residual=found.residual.cpu().numpy(), ambiguity=found.ambiguity.cpu().numpy(),
        typicality=found.typicality.cpu().numpy(), drawn=found.drawn.cpu().numpy(),
    )  # fmt: skip
    io.write_bytes(out, buffer.getvalue())


def table(rows: "Tensor", columns: int, out: Path) -> None:
    """Rows of pictures beside `out`, as a .png."""
    from ganvas import io, pictures

    io.write_bytes(out.with_suffix(".png"), pictures.png(pictures.grid(rows, columns=columns)))


def read_mask(path: Path, model: "Model") -> "Tensor":
    """1 where the picture is bright (1, 1, H, W), brought to the model's size as pictures are."""
    from ganvas.errors import GanvasError

    mask = (images(str(path), 1, model, (1, *model.shape[1:])) > 127).float()
    if not 0 < mask.mean() < 1:
        raise GanvasError(
            f"The mask {path} is {'all white: nothing' if mask.mean() else 'all black: everything'} is hidden."
        )
    return mask
