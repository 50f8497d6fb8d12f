"""Several data sets as one: the set that an image comes from is its label."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ganvas.data.base import Dataset, Items, fingerprint
from ganvas.data.fitted import FittedItems, gathered
from ganvas.data.limits import check_memory
from ganvas.errors import GanvasError

SOME = 1024
"""Images that are copied at a time."""
MOST_BALANCED = 2**25
"""Samples that balanced classes may have together: of many rare ones beside a large one there would be billions."""


class JoinedItems:
    """Items of several data sets one after another, grey ones as three equal channels where `channels` is 3."""

    def __init__(self, parts: Sequence[Dataset], channels: int) -> None:
        self.parts, self.channels = list(parts), channels
        self.starts = [0]
        for part in parts:
            self.starts.append(self.starts[-1] + len(part))

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Tensor:
        which = bisect_right(self.starts, index) - 1
        images, _ = self.parts[which].take(torch.tensor([index - self.starts[which]]))
        return images[0].expand(self.channels, -1, -1)


def join(parts: Sequence[Dataset]) -> Dataset:
    """One data set with a class for each part. Raises `GanvasError` when their sizes do not fit each other."""
    if not all(part.is_images for part in parts):
        raise GanvasError("Several data sets in one run must all be images.")
    sizes = {part.shape[1:]: part.name for part in parts}
    if len(sizes) > 1:
        found = ", ".join(f"{name} {height} x {width}" for (height, width), name in sizes.items())
        raise GanvasError(
            f"The data sets differ in size: {found}. Add --resolution 32 --resize fit to bring all to one."
        )
    channels = max(part.shape[0] for part in parts)
    names = [
        part.name if [p.name for p in parts].count(part.name) == 1 else f"{part.name}-{i}"
        for i, part in enumerate(parts)
    ]
    if twice := [name for name in names if names.count(name) > 1]:
        raise GanvasError(
            f"Two of the data sets would be called {twice[0]!r}, as sets of one name are numbered. Rename one."
        )
    if len({part.fingerprint for part in parts}) < len(parts):
        raise GanvasError(
            "The same data were given twice: a run over several data sets needs different ones."
        )
    items: Tensor | JoinedItems = JoinedItems(parts, channels)
    if all(part.resident for part in parts):
        # Part by part into one piece of memory: there would be two more copies of all of them.
        items = torch.empty(sum(map(len, parts)), channels, *parts[0].shape[1:], dtype=torch.uint8)
        done = 0
        for part in parts:
            for rows in torch.arange(len(part)).split(SOME):
                items[done : done + len(rows)] = part.take(rows)[0]
                done += len(rows)
    labels = torch.cat([torch.full((len(part),), i, dtype=torch.int64) for i, part in enumerate(parts)])
    return Dataset(
        name="+".join(names),
        items=items,
        shape=(channels, *parts[0].shape[1:]),
        fingerprint=fingerprint(*[part.fingerprint for part in parts]),
        labels=labels,
        class_names=tuple(names),
        notes=tuple(note for part in parts for note in part.notes),
        white=next((part.white for part in parts if part.white), None),
    )


def in_memory(dataset: Dataset) -> Dataset:
    """The same data with all pictures in one piece of memory, where those lie there that they are made of: who trains asks for
    each again and again. Raises `GanvasError` where there is no room for both.
    """
    beside = _bytes(dataset.items)
    if dataset.resident or beside is None:
        return dataset
    check_memory(
        beside + len(dataset.items) * math.prod(dataset.shape),
        f"{dataset.name}, brought to {dataset.shape[2]} x {dataset.shape[1]} px,",
        "Give a smaller --resolution",
    )
    return replace(dataset, items=gathered(dataset.items))


def _bytes(items: Tensor | Items) -> int | None:
    """What these take in memory; None where some of them are read from elsewhere."""
    if isinstance(items, JoinedItems):
        each = [_bytes(part.items) for part in items.parts]
        return None if None in each else sum(filter(None, each))
    if isinstance(items, FittedItems):
        return _bytes(items.items)
    return items.nbytes if isinstance(items, Tensor) else None


def balanced(dataset: Dataset) -> Dataset:
    """Every class as often as the largest one: positions of the smaller ones repeat."""
    if dataset.labels is None:
        raise GanvasError(f"--balance evens out classes or data sets, and {dataset.name} has neither.")
    if not len(dataset):
        return dataset
    labels = dataset.take_labels()
    indices = torch.arange(len(dataset.items)) if dataset.indices is None else dataset.indices
    counts = torch.bincount(labels, minlength=dataset.num_classes)
    most = int(counts.max())
    if (size := most * int(counts.count_nonzero())) > MOST_BALANCED:
        raise GanvasError(
            f"--balance repeats every class until it is as large as the largest one, of {most:,}: {size:,} samples, and "
            f"{MOST_BALANCED:,} are taken at most. Leave out the rarest classes, or do without --balance."
        )
    each = indices[labels.argsort(stable=True)].split(counts.tolist())
    parts = [own[torch.arange(most) % len(own)] for own in each if len(own)]
    return replace(dataset, indices=torch.cat(parts))
