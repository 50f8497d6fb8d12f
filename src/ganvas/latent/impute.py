"""Series with steps that nobody has seen: gaps that are filled in, and futures that are drawn, by inversion.

A series is searched in the latent space that agrees with what was seen, as in `ganvas.latent.restore`. The frame of a window
(its centre and half-range) is taken of what was seen alone, so that the answer is not in the question.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.latent.invert import BEYOND, OUTSIDE, Inversion, invert
from ganvas.latent.restore import PRIOR
from ganvas.latent.space import LatentSpace
from ganvas.series import STILL, Schema, Series, until_ends

SHORTER = "some are drawn shorter than they are: what is hidden behind the drawn end stays empty"
LACKING = "some values that were not seen are drawn as missing, as some of the data are, and stay empty"


@dataclass(frozen=True)
class Imputed:
    """What `impute` made of n series."""

    found: tuple[Inversion, ...]
    """One a series."""
    damaged: Series
    """What was seen, in its own units, NaN elsewhere."""
    series: Series
    """What was seen stays; the rest is drawn, NaN where the drawn series had ended before."""
    error: float | None = None
    """Mean distance of the hidden values to the true ones, in spreads of their column; None where the truth is not known, or
    no number was hidden that moves within its series."""
    naive: float | None = None
    """That of straight lines between the nearest steps that were seen, and of the last one at an end."""
    samples: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    """The restored series as the model has them (n, C, T)."""


def hide(hidden: str, steps: int) -> Tensor:
    """A mask (T,): 0 in the half, or the middle, that is hidden."""
    edges = {"left": (0, steps // 2), "right": (steps // 2, steps), "middle": (steps // 4, steps * 3 // 4)}
    if hidden not in edges:
        raise GanvasError(
            f"Of a series left, right or middle can be hidden, not {hidden!r}: right is a forecast."
        )
    mask = torch.ones(steps)
    mask[slice(*edges[hidden])] = 0
    return mask


def gaps_of(schema: Schema) -> Schema:
    """The schema with a channel beside every number that says whether it is there: what series with gaps are read by."""
    columns = (replace(c, gaps=c.kind != "category" and not c.same_as) for c in schema.columns)
    return replace(schema, columns=tuple(columns))


def without_gaps(samples: Tensor, schema: Schema) -> tuple[Tensor, Tensor]:
    """Series that were read by `gaps_of(schema)` as those of the schema (n, C, T), and which of their values are there."""
    kept, masks, place = [], [], 0
    for column in gaps_of(schema).columns:
        there = samples[:, place] if column.gaps else torch.ones_like(samples[:, 0])
        own = list(range(place + column.gaps, place + column.channels))
        old = next(c for c in schema.columns if c.name == column.name)
        if old.gaps:
            kept.append(place)
            masks.append(there)  # that it lacks is not seen either: else a gap is what is searched for
        kept += own
        masks += [there] * len(own)
        place += column.channels
    rest = list(range(place, samples.shape[1]))
    masks += [torch.ones_like(samples[:, 0])] * len(rest)
    return samples[:, kept + rest], torch.stack(masks, 1)


def fillable(samples: Tensor, mask: Tensor, schema: Schema) -> Tensor:
    """Which series (n,) of samples and of the mask of their channels (n, C, T) lack a value before their end, and have one that
    it can be told by."""
    lengths = torch.from_numpy(schema.lengths(samples.numpy()))
    alive = torch.arange(samples.shape[2])[None, None] < lengths[:, None, None]
    lacks = ((mask < 1) & alive).flatten(1).any(1)
    return lacks & _told(mask, schema)


def _told(mask: Tensor, schema: Schema) -> Tensor:
    """Which series (n,) of a mask of channels (n, C, T) have a value of any column."""
    return mask[:, [i for i, _ in _channels(schema)]].flatten(1).amax(1) > 0


def impute(
    space: LatentSpace, samples: Tensor, mask: Tensor, *, damaged: bool = False, seed: int = 0, **options: Any
) -> Imputed:
    """Fill in what the mask (T,) or (n, C, T) hides of series (n, C, T), encoded by the model's schema.

    Whole series are hidden there first, so that the result can be measured; with `damaged` they are encoded by what was
    seen alone. `options` are those of `invert`. Raises `GanvasError` for models without a schema, and where nothing was seen.
    """
    model, schema = space.model, space.model.info.series
    if schema is None:
        raise GanvasError(
            "This model does not say what its series stand for, so gaps in them cannot be filled."
        )
    model.check_shape(samples, "series")
    samples = samples.to(model.device).float()
    mask = mask.to(samples).expand(samples.shape)
    if not bool((mask.flatten(1).amin(1) < 1).all()):
        raise GanvasError("Nothing is hidden in some of these series: every value is there.")
    if not bool(_told(mask, schema).all()):
        raise GanvasError("Nothing was seen of some of these series.")
    of_rows = {name: options.pop(name) for name in ("labels", "start") if options.get(name) is not None}
    if "labels" in of_rows:
        of_rows["labels"] = space.labels(len(samples), of_rows["labels"])
    if "start" in of_rows:
        start = space.check(of_rows["start"])
        if len(start) not in (1, len(samples)):
            raise GanvasError(
                f"start has {len(start)} points and there are {len(samples)} series: one for each is expected, or one for all."
            )
        of_rows["start"] = start.expand(len(samples), *space.shape)
    found = []
    for i, (row, there) in enumerate(zip(samples, mask, strict=True)):

        def degrade(x: Tensor, there: Tensor = there) -> Tensor:
            return schema.seen(x, there[None])

        seen = row[None].clamp(-1, 1)
        own = {"keep": PRIOR, **options, **{name: each[i : i + 1] for name, each in of_rows.items()}}
        made = invert(space, seen, degrade=degrade, damaged=damaged, seed=seed, **own)
        beyond = bool((row.abs() > BEYOND).any())
        found.append(replace(made, notes=(*made.notes, OUTSIDE)) if beyond else made)
    drawn = until_ends(schema.decode(torch.cat([each.drawn for each in found])))
    true = schema.decode(samples)
    found = [
        replace(each, notes=(*each.notes, SHORTER)) if short else each
        for each, short in zip(found, drawn.lengths < true.lengths, strict=True)
    ]
    there = _of_columns(schema, mask)
    values = np.where(there, true.values, drawn.values)
    seen_values = np.where(there, true.values, np.nan)
    filled = Series(values, true.lengths, true.static, schema)
    steps = np.arange(true.values.shape[1])
    on = (there.any(2) | (steps < drawn.lengths[:, None])) & (steps < true.lengths[:, None])
    # What nobody drew is no series: a 0 of its own units would be the steepest fall of all.
    again = schema.encode(values, len(steps) - on[:, ::-1].argmax(1), true.static if schema.static else None)
    lacks = np.any(~there & np.isnan(values) & (steps < drawn.lengths[:, None])[:, :, None], (1, 2)).tolist()
    found = [
        replace(each, notes=(*each.notes, LACKING)) if x else each
        for each, x in zip(found, lacks, strict=True)
    ]
    error, naive = (None, None) if damaged else _errors(schema, until_ends(true).values, drawn.values, there)
    seen_series = Series(seen_values, true.lengths, true.static, schema)
    return Imputed(tuple(found), seen_series, filled, error, naive, again)


def _channels(schema: Schema) -> list[tuple[int, int]]:
    """(channel of its values, number) of each column that has channels."""
    return [
        (place + (column.gaps and not column.categories), number)
        for number, (place, column) in enumerate(zip(schema.places, schema.columns, strict=True))
        if column.channels
    ]


def _of_columns(schema: Schema, mask: Tensor) -> np.ndarray:
    """Which values of columns are there (n, T, D), of a mask of channels (n, C, T)."""
    own = {number: channel for channel, number in _channels(schema)}
    names = [column.name for column in schema.columns]
    rows = [
        own.get(i, own.get(names.index(c.same_as) if c.same_as else -1, 0))
        for i, c in enumerate(schema.columns)
    ]
    found: np.ndarray = (mask[:, rows] > 0.5).permute(0, 2, 1).cpu().numpy()
    return found


def _errors(
    schema: Schema, true: np.ndarray, drawn: np.ndarray, there: np.ndarray
) -> tuple[float | None, float | None]:
    """Mean distances of hidden numbers, drawn and by straight lines, in spreads of the column over these series."""
    ours, lines = [], []
    for i, column in enumerate(schema.columns):
        if column.categories or column.same_as:
            continue
        x, y = (
            np.log(np.maximum(each[:, :, i], 1e-300)) if column.log else each[:, :, i]
            for each in (true, drawn)
        )
        centred = x - np.nan_to_num(x).sum(1, keepdims=True) / np.maximum(
            (~np.isnan(x)).sum(1, keepdims=True), 1
        )
        spread = float(centred[~np.isnan(centred)].std()) if not np.isnan(centred).all() else 0.0
        if spread <= STILL * np.nan_to_num(np.abs(x)).max():
            continue  # within its series it does not move, and has no unit to say by how much a number is missed
        for row, guess, seen in zip(x, y, there[:, :, i], strict=True):
            known = seen & ~np.isnan(row)
            hidden = ~seen & ~np.isnan(row)
            if not hidden.any() or not known.any():
                continue
            straight = np.interp(np.flatnonzero(hidden), np.flatnonzero(known), row[known])
            off = np.abs(guess[hidden] - row[hidden])
            ours.append(
                np.where(np.isnan(off), spread, off).mean() / spread
            )  # drawn as missing: as far as the mean
            lines.append(np.abs(straight - row[hidden]).mean() / spread)
    return (float(np.mean(ours)), float(np.mean(lines))) if ours else (None, None)
