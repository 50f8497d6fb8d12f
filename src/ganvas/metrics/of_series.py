"""The measures of series for `evaluate`: samples (C, T) in the numbers that `ganvas.metrics.sequences` compares."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.metrics import sequences
from ganvas.metrics.sequences import LEAST, Figure, Sample
from ganvas.processes import Wholes
from ganvas.series import Schema, Series

NUMBERS = 2**22
"""Of samples that are read in their own units at a time."""
PARTS = 10
"""Stretches of time that windows of few sequences are grouped by."""


def measured(schema: Schema, samples: Tensor, groups: Wholes | None, labels: Tensor | None) -> Sample:
    """Series (N, C, T) as numbers (N, T, D): in their own units, categories one-hot, and each value that may be missing beside
    whether it is there; what is constant in a series is a column, too."""
    series, lengths = np.empty(0), list[Wholes]()
    done = 0
    # Part by part, into one piece of memory: there would be six copies of a million windows.
    for part in samples.split(max(1, NUMBERS // math.prod(samples.shape[1:]))):
        found = schema.decode(part)
        values = _numbers(schema, found)
        series = series if done else np.empty((len(samples), *values.shape[1:]))
        series[done : done + len(part)] = values
        lengths.append(found.lengths)
        done += len(part)
    kinds = None if labels is None else labels.cpu().numpy()
    return Sample.of(series, "series", np.concatenate(lengths), groups, kinds)


def _numbers(schema: Schema, found: Series) -> np.ndarray:
    alive = np.arange(found.values.shape[1])[None] < found.lengths[:, None]
    columns = list[np.ndarray]()
    constant = np.repeat(found.static[:, None], found.values.shape[1], 1)
    for column, values in zip(
        (*schema.columns, *schema.static),
        [*np.moveaxis(found.values, 2, 0), *np.moveaxis(constant, 2, 0)],
        strict=True,
    ):
        if column.categories:
            columns += [values == number for number in range(len(column.categories))]
            continue
        there = ~np.isnan(values)
        columns.append(np.where(there, values, 0.0))
        if column.gaps:
            columns.append(there)
    return np.stack([column * alive for column in columns], 2)


def real(part: Dataset, parts: int = PARTS) -> Sample:
    """The series of a part of the data, windows of one stretch of time in a group."""
    if part.series is None:
        raise GanvasError(f"{part.name} holds no series.")
    items, labels = part.take(torch.arange(len(part)))
    return measured(part.series, items, groups_of(part, parts), labels)


def groups_of(part: Dataset, parts: int = PARTS) -> Wholes | None:
    """Numbers of the stretches of time that windows lie in, -1 where they reach over an edge; of many sequences their numbers.
    None for what is no window."""
    spans = part.spans_of_part
    if spans is None:
        return None
    owner, start, end = (column.numpy() for column in spans.double().unbind(1))
    found = np.full(len(owner), -1, dtype=np.int64)
    owners = np.unique(owner)
    if len(owners) >= parts:
        found[:] = np.searchsorted(owners, owner)
        return found
    for number, one in enumerate(owners):
        own = np.flatnonzero(owner == one)
        low, high, window = start[own].min(), end[own].max(), (end[own] - start[own]).max()
        pieces = int(max(1, min(parts, (high - low) / window / 2)))
        first = np.floor((start[own] - low) / (high - low) * pieces + 1e-9)
        last = np.ceil((end[own] - low) / (high - low) * pieces - 1e-9) - 1
        found[own] = np.where(first == last, number * parts + first, -1)
    return found


def figures(
    samples: Tensor,
    labels: Tensor | None,
    train: Dataset,
    held_out: Dataset,
    seed: int,
    legacy: bool = False,
    groups: Wholes | None = None,
) -> tuple[list[Figure], int]:
    """All measures of drawn series (N, C, T), or the `legacy` scores, and how many of them were compared with as many real ones.

    `groups`: of windows that were cut from a file (`groups_of`), which are not independent of one another.

    Raises `GanvasError` where there are too few to say anything.
    """
    schema = train.series
    if schema is None:
        raise GanvasError(f"{train.name} holds no series.")
    if labels is None:
        train, held_out = (replace(each, labels=None, class_names=()) for each in (train, held_out))
    fake, known, unseen = measured(schema, samples, groups, labels), real(train), real(held_out)
    for each, what in ((fake, "samples"), (known, "training series"), (unseen, "held-out series")):
        if len(each) < LEAST:
            raise GanvasError(
                f"There are {len(each)} {what} to measure, and it takes {LEAST}: windows that reach over an edge "
                "between stretches of time do not count. "
                + (
                    "Give more of them."
                    if each is fake
                    else "Hold out a larger share, --set data.holdout=0.3, or train with a shorter --window."
                )
            )
    scores = sequences.measure_legacy if legacy else sequences.measure
    found = scores(fake, known, unseen, seed=seed)
    return found, min(len(fake), len(known), len(unseen))
