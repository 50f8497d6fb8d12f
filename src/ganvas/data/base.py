"""What every source of data turns into, and how a name or a path finds its source."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.errors import GanvasError, printable
from ganvas.registry import Registry, did_you_mean
from ganvas.series import Schema
from ganvas.types import Kind, Shape, kind_of

if TYPE_CHECKING:
    from ganvas.data.series import Table

MAX_HOLDOUT = 10_000


class Items(Protocol):
    """Images that stay where they are until asked for. Pickled into loader workers."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """Item `index` as uint8 (C, H, W)."""


@dataclass(frozen=True)
class Dataset:
    """Images (uint8, N C H W), series (float32, N C T) or points (float32, N D), with labels if any."""

    name: str
    items: Tensor | Items = field(repr=False)
    """All in memory as one tensor, or read one by one."""
    shape: Shape
    fingerprint: str
    """Hash of content, size and resizing: the same data gives the same text on every machine."""
    labels: Tensor | None = field(default=None, repr=False)
    """int64 (N,)."""
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was done to the data, for the log."""
    log_density: Callable[[Tensor], Tensor] | None = None
    """Exact log density of points (N, D) -> (N,), for the toys."""
    indices: Tensor | None = field(default=None, repr=False)
    """The part that this object stands for; None is all of it."""
    series: Schema | None = field(default=None, repr=False)
    """What the channels of series (C, T) are."""
    spans: Tensor | None = field(default=None, repr=False)
    """Of windows that may overlap, (N, 3): the sequence that each is cut from, and where in it it begins and ends, 0 to 1."""
    white: float | None = None
    """The value that became white in grey pictures of more than 8 bits; None where there are none."""
    spelt: bool = False
    """Whether series were cells of a table, where a number may be the name of a category."""

    def __post_init__(self) -> None:
        """Names of files are in both, and go to terminals: in an archive from anybody they may be anything."""
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "notes", tuple(printable(note) for note in self.notes))

    def __len__(self) -> int:
        return len(self.items) if self.indices is None else len(self.indices)

    @property
    def num_classes(self) -> int:
        return len(self.class_names) if self.labels is not None else 0

    @property
    def is_images(self) -> bool:
        return len(self.shape) == 3

    @property
    def kind(self) -> Kind:
        """`images`, `series` or `points`."""
        return kind_of(self.shape)

    @property
    def resident(self) -> bool:
        """True when all of it lies in memory."""
        return isinstance(self.items, Tensor)

    def take(self, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Items and labels at `positions` (int64, N) of this part."""
        chosen = positions if self.indices is None else self.indices[positions]
        labels = None if self.labels is None else self.labels[chosen]
        if isinstance(self.items, Tensor):
            return self.items[chosen.to(self.items.device)], labels
        found = torch.empty(0, *self.shape, dtype=torch.uint8)
        for place, i in enumerate(chosen.tolist()):
            item = self.items[i]
            if tuple(item.shape) != tuple(self.shape):
                raise GanvasError(
                    f"Sample {i} of {self.name} has shape {tuple(item.shape)}, and the data {tuple(self.shape)}."
                )
            # One piece of memory: of a list and its whole there would be two.
            found = found if place else item.new_empty(len(chosen), *item.shape)
            found[place] = item
        return found, labels

    def take_labels(self) -> Tensor:
        """Labels of this part (N,), without touching the samples. Only for data that have them."""
        assert self.labels is not None
        return self.labels if self.indices is None else self.labels[self.indices]

    @property
    def spans_of_part(self) -> Tensor | None:
        """`spans` of this part; None for what is no window."""
        return self.spans if self.spans is None or self.indices is None else self.spans[self.indices]

    @property
    def kin(self) -> Tensor | None:
        """`spans_of_part` as far as windows are alike by where they come from: all of a sequence where what is held out are
        sequences as a whole, whose windows are nearer to each other than to any that is trained on."""
        spans = self.spans_of_part
        if spans is None or not self._by_sequence():
            return spans
        return torch.stack(
            [spans[:, 0], torch.zeros(len(spans)).to(spans), torch.ones(len(spans)).to(spans)], 1
        )

    @property
    def stretches(self) -> Tensor | None:
        """Numbers of what windows of this part are independent of one another by (N,): their sequences, or where these are split
        in time stretches of them two windows long. None where each sample stands for itself."""
        spans = self.spans_of_part
        if spans is None:
            return None
        owner, start, end = spans.double().unbind(1)
        piece = torch.zeros_like(start) if self._by_sequence() else (start / (2 * (end - start))).floor()
        found: Tensor = torch.stack([owner, piece], 1).unique(dim=0, return_inverse=True)[1]
        return found if len(found.unique()) < len(found) else None

    def _by_sequence(self) -> bool:
        """Whether windows of this part are split by the sequences that they are of, which are many in the whole, not in time."""
        spans, part = self.spans, self.spans_of_part
        assert spans is not None
        assert part is not None
        return int(spans[:, 0].max()) + 1 >= FEW_SEQUENCES and len(part[:, 0].unique()) > 1

    def classed_as(self, names: Sequence[str]) -> "Dataset":
        """With the classes of these names, in their order; without labels where there are others: which is which is not guessed.

        Plain numbers are those of the classes, where none of them is a name.
        """
        if self.labels is None or not names or self.class_names == tuple(names):
            return self
        known = {name: place for place, name in enumerate(names)}
        if not known.keys() & set(self.class_names):
            known = {str(place): place for place in range(len(names))}
        if not set(self.class_names) <= known.keys():
            return replace(self, labels=None, class_names=())
        place = torch.tensor([known[name] for name in self.class_names])
        return replace(self, labels=place[self.labels], class_names=tuple(names))

    def subset(self, positions: Tensor) -> "Dataset":
        """Those at `positions` (int64, N) of this part."""
        return replace(self, indices=positions if self.indices is None else self.indices[positions])

    def empty_classes(self) -> tuple[str, ...]:
        """Names of the classes that have no sample in this part."""
        if self.labels is None:
            return ()
        counts = torch.bincount(self.take_labels(), minlength=self.num_classes)
        return tuple(name for name, count in zip(self.class_names, counts.tolist(), strict=True) if not count)

    def to(self, device: torch.device) -> "Dataset":
        """A copy whose resident items lie on `device`."""
        return replace(self, items=self.items.to(device)) if isinstance(self.items, Tensor) else self

    def split(self, share: float, fold: int = 0) -> tuple["Dataset", "Dataset"]:
        """(training part, held-out part): the same for every run on this data, whatever its seed.

        Another `fold` holds another part out, disjoint from the others as long as (fold + 1) * share is at most 1.
        Of windows that may overlap a stretch of time is held out, the last one first, and those that reach over its edge are
        in neither part. A sequence of which all windows do, or that is no longer than one, is trained on.
        """
        if self.spans is not None:
            spans = self.spans if self.indices is None else _of_part(self.spans[self.indices])
            return self._split_in_time(spans, share, fold)
        held, kept = _dealt(len(self), min(len(self) * share, MAX_HOLDOUT), fold)
        return self.subset(kept.sort().values), self.subset(held.sort().values)

    def halves(self, least: int) -> tuple["Dataset", "Dataset"]:
        """Two halves of windows that may overlap, of which none overlaps with one of the other half.

        Raises `GanvasError` where either has fewer than `least`.
        """
        first, second = self.split(0.5)
        if min(len(first), len(second)) < least:
            raise GanvasError(
                f"The {len(self)} held-out windows come in halves of {len(first)} and {len(second)} that do not overlap; "
                f"{least} of both are needed. Hold out more, --set data.holdout=0.3, or train with a shorter --window."
            )
        return first, second

    def _split_in_time(self, spans: Tensor, share: float, fold: int) -> tuple["Dataset", "Dataset"]:
        owner, start, end = spans.unbind(1)
        if not self._by_sequence():
            low, high = 1 - share * (fold + 1), 1 - share * fold
            slack = 1e-9
            held = (start >= low - slack) & (end <= high + slack) & (share > 0)
            kept = (end <= low + slack) | (start >= high - slack) if share > 0 else ~held
            kept |= ~torch.isin(owner, owner[kept | held])
        else:
            sequences = int(owner.max()) + 1
            chosen, _ = _dealt(sequences, sequences * share, fold, least=1 if share > 0 else 0)
            held = torch.isin(owner.long(), chosen)
            kept = ~held
        return self.subset(kept.nonzero().flatten()), self.subset(held.nonzero().flatten())


def _dealt(total: int, each: float, fold: int, least: int = 0) -> tuple[Tensor, Tensor]:
    """About `each` of `total` things in a fixed random order, from `least` to all but one, and the others: those of fold number
    `fold`, which no other fold holds."""
    count = max(least, min(round(each), total - 1))
    low, high = count * fold, count * (fold + 1)
    if each >= 1 and count * int(total / each + 1e-9) > total:
        # Rounded up, all folds together have more than there is: the last would be the first again.
        low, high = round(each * fold), round(each * (fold + 1))
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0)).roll(-low)
    return order[: high - low], order[high - low :]


def _of_part(spans: Tensor) -> Tensor:
    """Spans (N, 3) of some windows as if there were no others: each sequence begins with its first one and ends with its last."""
    owners, place = spans[:, 0].unique(return_inverse=True)
    low = spans.new_full((len(owners),), torch.inf).scatter_reduce(0, place, spans[:, 1], "amin")[place]
    high = spans.new_full((len(owners),), -torch.inf).scatter_reduce(0, place, spans[:, 2], "amax")[place]
    return torch.stack(
        [place.to(spans), (spans[:, 1] - low) / (high - low), (spans[:, 2] - low) / (high - low)], 1
    )


FEW_SEQUENCES = 20
"""Below so many sequences each is cut in time; of more, and of a part of more, some are held out as a whole."""


Loader = Callable[[DataConfig], "Dataset | Table"]
"""Opens a data set; of series as the table that windows are cut from."""
datasets: Registry[Loader] = Registry("data set")


def fingerprint(*parts: bytes | str | np.ndarray) -> str:
    """Short SHA-256 of the parts; of an array that of its bytes, row by row, of which no copy is made."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            for rows in [part] if part.flags.c_contiguous else part:  # windows that share their memory
                digest.update(np.ascontiguousarray(rows).data)
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def find_path(source: str, kinds: str) -> Path:
    """The path that the user meant; raises `GanvasError` when there is nothing, or it cannot be looked at."""
    if not source:
        raise GanvasError(f"No data are named. Give {kinds}, or a name from: ganvas list datasets.")
    short = f"{source[:80]}..." if len(source) > 80 else source
    try:
        path = Path(source).expanduser()
        path.stat()
        source.encode()
        return path
    except FileNotFoundError:
        why = "it is neither a known data set nor an existing path"
    except UnicodeEncodeError:
        why = "its name has bytes that are no UTF-8, and a run keeps it as text. Rename it, or give a link to it"
    except (OSError, ValueError, RuntimeError) as error:  # too long, not allowed, a NUL in it, ~ of nobody
        why = f"as a path it cannot be opened ({getattr(error, 'strerror', None) or error})"
    hint = did_you_mean(short, list(datasets))
    raise GanvasError(
        f"No data at {short!r}: {why}.{hint} Give {kinds}, or a name from: ganvas list datasets."
    )
