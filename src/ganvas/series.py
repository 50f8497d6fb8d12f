"""Series as samples: what the columns of a table mean, and how a window of them becomes the channels that networks see.

A `Schema` is fitted to the training part and goes with the model. It turns values in their own units into one tensor
(N, C, T) and back: numbers are scaled, categories are one-hot, missing values and ends have channels of their own, and
what is said once of a whole series is repeated over its steps.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas.config import from_dict
from ganvas.errors import GanvasError

SPREAD = 3.0
"""Numbers above 0 of which the largest is so many times the least may be scaled by their logarithm: prices, volumes."""
TOGETHER = 0.99
"""Correlation over the training part from which columns share their frame."""
NARROW, USUAL = 0.6, (0.005, 0.995)
"""Share of the range between these quantiles: windows that are mostly narrower are scaled each by its own centre and half-range.

Not of the whole range, which a few rare values stretch: then windows of one stationary process seem narrow as well, and each in a
scale of its own they hide from the critic what all have in common, levels and noise.
"""
MOST_SORTED = 2**20
"""Values of a column that its usual range is taken of."""
FLATTEST = 1e-4
"""Half-range of a window that never moves, as a share of the whole range."""
STILL = 1e-12
"""Of the largest number of a column: below it lies what rounding leaves of one that does not move."""
BLOCK = 2**20
"""Numbers of all windows that are looked at together."""
MOST_ORDERED = 64
"""Columns of a frame that an order is looked for in: each is held against each."""
MOST_CATEGORIES = 256
MOST_COLUMNS = 1024
MOST_STEPS = 2**16
LONGEST_NAME = 1000
"""Letters of the name of a column, a category or a class."""
MOST_LETTERS = 6 * 2**20
"""Bytes of all such names together, as JSON: they stand in the header of every file of a model."""
MOST_CHANNELS, MOST_VALUES = 2**15, 2**26
"""Of a sample."""
LARGEST, LEAST = 1e18, 1e-100
"""Number in a column, and the largest of one whose numbers are too small to compute with."""
FORMULA = re.compile(r"'*[=+@\t\r-](?![\d.,]*$)")
"""Texts that spreadsheets compute, numbers aside, or that were written so that they do not."""
LATER_FORMULA = re.compile(r"""([;\t\r\n])(?=['"]*[=+@-])""")
"""What parts fields or rows where a comma does not, with such a text behind it. Quotes around the whole are no help
there: they begin in the middle of what is then a field, and are letters of it."""
MARKED = re.compile(r"""([;\t\r\n])'(?=['"]*[=+@-])""")
"""The same with the mark that it gets."""
LATEST = 1e12
"""Of a date, in its unit: year 9999, which databases write for an end that is not known, is 2.5e11 s."""


Kind = Literal["number", "category", "date"]


@dataclass(frozen=True)
class Column:
    """One column of a table: what it holds, and how it is scaled."""

    name: str
    kind: Kind = "number"
    low: float = 0.0
    high: float = 1.0
    """What -1 and 1 stand for, of the logarithm where `log` is set; dates are counted in `unit` from 1970."""
    log: bool = False
    whole: bool = False
    """Whether all of its numbers are whole: then those drawn are rounded."""
    unit: str = ""
    """Of a date: what numpy calls it, D or s."""
    gaps: bool = False
    """Whether some values are missing: then a channel says which are there."""
    frame: int = -1
    """Number of the frame that scales it; -1: `low` and `high` do."""
    categories: tuple[str, ...] = ()
    same_as: str = ""
    """The column that it equals in every row: it has no channel of its own."""
    above: tuple[str, ...] = ()
    """Columns of its frame that it is never less than: the highest price of a day is none below the last one."""

    @property
    def channels(self) -> int:
        """How many channels hold it."""
        return 0 if self.same_as else len(self.categories) or 1 + self.gaps


@dataclass(frozen=True)
class Frame:
    """Columns whose windows are scaled each by its own centre and half-range (per-sample normalisation, Lin et al. 2020,
    DoppelGANger, section 4.1.3). Both are attributes of a window: centre and logarithm of the half-range, from -1 to 1."""

    low: float
    high: float
    least: float
    most: float
    """Of the logarithm of the half-range."""


@dataclass(frozen=True)
class Schema:
    """What the channels of a series are. Channels of the steps come first: column by column, then whether the series still goes
    on; then what is said once of a series and repeated: static columns, centre and half-range of each frame."""

    length: int
    """Steps T."""
    columns: tuple[Column, ...]
    static: tuple[Column, ...] = ()
    frames: tuple[Frame, ...] = ()
    ends: bool = False
    """Whether series differ in length."""
    time: str = ""
    """Name of the column of time; empty: steps are counted."""
    unit: str = ""
    """Of the time: D, s; empty: a plain number."""
    start: float = 0.0
    """Where the time of a drawn series begins: one step behind the last row of the data."""
    step: float = 1.0
    """Between two rows, the median."""
    weekdays: bool = False
    """Whether the days of the data are working days alone."""

    @property
    def channels(self) -> int:
        """C."""
        of_steps = sum(column.channels for column in self.columns) + self.ends
        return of_steps + sum(column.channels for column in self.static) + 2 * len(self.frames)

    @property
    def shape(self) -> tuple[int, int]:
        """(C, T) of a sample."""
        return self.channels, self.length

    @property
    def places(self) -> list[int]:
        """The first channel of each column."""
        return list(accumulate((column.channels for column in self.columns[:-1]), initial=0))

    def own(self, column: Column) -> Column:
        """The column that a column is copied from, or itself."""
        return next(c for c in self.columns if c.name == (column.same_as or column.name))

    @property
    def layout(self) -> str:
        """What a generator has to know of the channels: `n` a number, `n0` one of frame 0, `m` whether the number behind it is
        there, `c4` a category of four, `e` whether the series goes on; behind the stroke what is constant in time."""
        words = []
        for column in self.columns:
            if column.channels:
                words += [f"c{len(column.categories)}"] if column.categories else ["m"] * column.gaps
                words += [] if column.categories else ["n" if column.frame < 0 else f"n{column.frame}"]
        words += ["e"] * self.ends
        once = [f"c{len(c.categories)}" if c.categories else "n" for c in self.static if c.channels]
        return " ".join([*words, *(["/"] if once or self.frames else []), *once, *["n n"] * len(self.frames)])

    def encode(self, values: np.ndarray, lengths: np.ndarray, static: np.ndarray | None = None) -> Tensor:
        """Values (N, T, D), lengths (N,) and static values (N, A) in their own units -> (N, C, T) float32.

        Categories are whole numbers, dates numbers of `unit`; NaN is missing.
        """
        count, steps, columns = values.shape
        found = torch.empty(count, self.channels, steps)
        # Some at a time: of all of them there would be seven copies in float64, and of each category a channel.
        size = max(1, BLOCK // max(1, steps * max(columns, self.channels)))
        for start in range(0, count, size):
            part = slice(start, start + size)
            once = None if static is None else static[part]
            found[part] = self._encoded(values[part], lengths[part], once)
        return found

    def _encoded(self, values: np.ndarray, lengths: np.ndarray, static: np.ndarray | None) -> Tensor:
        count, steps, _ = values.shape
        alive = np.arange(steps)[None] < lengths[:, None]
        scaled = np.stack([_scaled(c, values[:, :, i]) for i, c in enumerate(self.columns)], 2)
        scaled[~alive] = np.nan
        parts, once = [], []
        members = [np.array([c.frame for c in self.columns]) == i for i in range(len(self.frames))]
        edges = [_edges(scaled[:, :, own], frame) for own, frame in zip(members, self.frames, strict=True)]
        for i, column in enumerate(self.columns):
            if not column.channels:
                continue
            if column.categories:
                parts += _one_hot(scaled[:, :, i], column)
                continue
            there = ~np.isnan(scaled[:, :, i])
            parts += [there] if column.gaps else []
            if column.frame < 0:
                x = _between(scaled[:, :, i], column.low, column.high)
            else:
                centre, half = edges[column.frame]
                x = (scaled[:, :, i] - centre[:, None]) / half[:, None]
            parts.append(np.where(there, x, 0.0))
        parts += [alive] if self.ends else []
        for i, column in enumerate(self.static):
            assert static is not None
            x = _scaled(column, static[:, i])
            if column.channels:
                once += _one_hot(x, column) if column.categories else [_between(x, column.low, column.high)]
        for frame, (centre, half) in zip(self.frames, edges, strict=True):
            once.append(_between(centre, frame.low, frame.high))
            once.append(_between(np.log(half), frame.least, frame.most))
        parts += [np.repeat(np.asarray(x, dtype=float)[:, None], steps, 1) for x in once]
        return torch.from_numpy(np.stack(parts, 1).astype(np.float32)).reshape(count, self.channels, steps)

    def lengths(self, samples: np.ndarray) -> np.ndarray:
        """How many steps each of the samples (N, C, T) has (N,)."""
        if not self.ends:
            return np.full(len(samples), samples.shape[2])
        there = samples[:, sum(column.channels for column in self.columns)] > 0.5
        return np.asarray(np.maximum(1, np.cumprod(there, 1).sum(1)))  # the first step always is one

    def decode(self, samples: Tensor) -> "Series":
        """Samples (N, C, T), of any number of steps, in their own units."""
        whole = samples.detach().cpu()
        # In float64 column by column: all of a large series takes half a gigabyte, each time that it is held.
        x = (whole if whole.dtype == torch.float32 else whole.double()).numpy()
        place, columns, masks = 0, [], []
        for column in self.columns:
            masks.append(x[:, place] > 0.5 if column.gaps and column.channels else None)
            columns.append(x[:, place + (column.gaps and not column.categories) : place + column.channels])
            place += column.channels
        steps = x.shape[2]
        lengths = self.lengths(x)
        place += self.ends
        once = x[:, place:].astype(np.float64).mean(2)
        static, place = [], 0
        for column in self.static:
            static.append(_restored(column, once[:, place : place + column.channels, None])[:, 0])
            place += column.channels
        edges = []
        for i, frame in enumerate(self.frames):
            centre = _outside(once[:, place + 2 * i], frame.low, frame.high)
            half = np.exp(_outside(once[:, place + 2 * i + 1], frame.least, frame.most))
            edges.append((centre[:, None], half[:, None]))
        values = np.empty((len(x), steps, len(self.columns)))
        found = {column.name: values[:, :, i] for i, column in enumerate(self.columns)}
        every = list(zip(self.columns, columns, masks, strict=True))
        for column, of_it, there in sorted(every, key=lambda each: len(each[0].above)):
            if column.same_as:
                continue
            edge = None if column.frame < 0 else edges[column.frame]
            restored = _restored(column, of_it.astype(np.float64), edge)
            if column.above:
                # As far above the others as it was drawn from them: cut off, a third of drawn days would end at their highest.
                most = np.max([found[other] for other in column.above], 0)
                restored = most + np.abs(restored - most)
            found[column.name][:] = restored if there is None else np.where(there, restored, np.nan)
        for column in self.columns:
            if column.same_as:
                found[column.name][:] = found[column.same_as]
        values[np.arange(steps)[None] >= lengths[:, None]] = 0.0
        shown = np.stack(static, 1) if static else np.zeros((len(x), 0))
        return Series(values, lengths, shown, self)

    def seen(self, samples: Tensor, mask: Tensor) -> Tensor:
        """Samples (N, C, T) as they would be encoded if only the steps were there where the mask (..., T) is 1; differentiable.

        Frames are those of what is seen, so that nothing of the hidden steps is left; hidden values are 0.
        """
        mask = mask.to(samples).expand(len(samples), self.channels, -1)
        found, place = list(samples.unbind(1)), 0
        own: dict[int, list[int]] = {}
        masked: dict[int, int] = {}
        """Channel of values -> that which says whether they are there."""
        for column in self.columns:
            if column.frame >= 0 and column.channels:
                own.setdefault(column.frame, []).append(place + column.gaps)
                masked |= {place + 1: place} if column.gaps else {}
            place += column.channels
        fixed = self.channels - 2 * len(self.frames)
        once = fixed - sum(column.channels for column in self.static)
        for number, frame in enumerate(self.frames):
            at = fixed + 2 * number
            centre = frame.low + (samples[:, at, 0] + 1) * ((frame.high - frame.low) / 2)
            half = (frame.least + (samples[:, at + 1, 0] + 1) * ((frame.most - frame.least) / 2)).exp()
            values = centre[:, None, None] + half[:, None, None] * samples[:, own[number]]
            there = mask[:, own[number]] > 0.5
            # What lacks, and what lies behind the end, stands at the centre of the whole window: of the hidden steps, too.
            for row, channel in enumerate(own[number]):
                if channel in masked:
                    there[:, row] &= samples[:, masked[channel]] > 0.5
            if self.ends:
                there &= samples[:, once - 1 : once] > 0.5
            # A frame of which nothing is seen says nothing, and is the same in every series.
            some = there.flatten(1).any(1)
            low = values.masked_fill(~there, math.inf).amin((1, 2)).where(some, 0.0)
            high = values.masked_fill(~there, -math.inf).amax((1, 2)).where(some, 0.0)
            middle, reach = (low + high) / 2, ((high - low) / 2).clamp(min=math.exp(frame.least))
            for channel, value, known in zip(own[number], values.unbind(1), there.unbind(1), strict=True):
                found[channel] = torch.where(known, (value - middle[:, None]) / reach[:, None], 0.0)
            for channel, value, least, most in (
                (at, middle, frame.low, frame.high), (at + 1, reach.log(), frame.least, frame.most)
            ):  # fmt: skip
                scaled = (
                    (value - least) * (2 / (most - least)) - 1 if most > least else torch.zeros_like(value)
                )
                found[channel] = scaled[:, None].expand(-1, samples.shape[2])
        steps = [x * mask[:, i] if i < once else x for i, x in enumerate(found)]
        return torch.stack(steps, 1)

    def times(self, steps: int) -> np.ndarray:
        """The time of each of so many steps of a drawn series: dates, or numbers (steps,)."""
        if not self.unit:
            return self.start + self.step * np.arange(steps)
        if self.unit == "s" and (step := round(self.step, 6)) % 1:  # steps of a part of a second
            begin = np.array(round(self.start * 1e6)).astype("M8[us]")
            return np.asarray(begin + np.round(step * 1e6 * np.arange(steps)).astype("m8[us]"))
        first = np.array(round(self.start)).astype(f"M8[{self.unit}]")
        if self.weekdays:
            days: np.ndarray = np.busday_offset(first.astype("M8[D]"), np.arange(steps), roll="forward")
            return days
        return np.asarray(first + np.round(self.step * np.arange(steps)).astype(f"m8[{self.unit}]"))


def plain(channels: int, steps: int) -> Schema:
    """The schema of series whose channels are numbers as they are."""
    return Schema(steps, tuple(Column(str(i), low=-1.0, high=1.0) for i in range(channels)))


class Series(NamedTuple):
    """Series in their own units: what `Schema.decode` gives."""

    values: np.ndarray
    """(N, T, D) float64; categories are their numbers, NaN is missing, 0 behind the end."""
    lengths: np.ndarray
    """(N,)."""
    static: np.ndarray
    """(N, A)."""
    schema: Schema

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.schema.columns]


def until_ends(series: Series) -> Series:
    """Series with NaN behind their ends, where 0 stands for nothing."""
    behind = np.arange(series.values.shape[1])[None] >= series.lengths[:, None]
    return series._replace(values=np.where(behind[:, :, None], np.nan, series.values))


def table(found: Series, first: int = 0, classes: Sequence[str] = ()) -> Iterator[list[str]]:
    """Series as rows of a table of text, the head in front where `first` is 0: number of the series, time, static ones, columns.

    `classes` are the names of the classes of the series, where they have some.
    """
    schema = found.schema
    every = [*schema.static, *schema.columns]
    names = [column.name for column in every]
    if not first:
        head = [
            "series" if "series" not in names else "number of series",
            schema.time or ("step" if "step" not in names else "number of step"),
            *(["class" if "class" not in names else "class of series"] if classes else []),
            *names,
        ]
        yield [*map(inert, head)]
    moments = schema.times(found.values.shape[1])
    digits = 0 if schema.unit else _digits_of_time(schema, moments)
    times = [str(time) if schema.unit else f"{time:.{digits}g}" for time in moments]
    for i, length in enumerate(found.lengths.tolist()):
        once = [spelled(column, found.static[i, k : k + 1])[0] for k, column in enumerate(schema.static)]
        once = [inert(classes[i]), *once] if classes else once
        texts = [spelled(column, found.values[i, :length, k]) for k, column in enumerate(schema.columns)]
        for time, *row in zip(times, *texts, strict=False):
            yield [str(first + i), time, *once, *row]


def inert(text: str) -> str:
    """A text as a table may have it: a model of somebody else's chooses names and categories, and spreadsheets take what begins
    like a formula for one, be it behind a semicolon or a tab, by which they part fields where decimals have a comma. The
    quotation mark in front goes away when the table is read again (`active`)."""
    text = LATER_FORMULA.sub(r"\1'", text)
    return f"'{text}" if FORMULA.match(text) else text


def active(text: str) -> str:
    """A text without the marks that `inert` puts before what looks like a formula."""
    if "'" not in text:
        return text
    text = MARKED.sub(r"\1", text)
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


def spelled(column: Column, values: np.ndarray) -> list[str]:
    """Values (n,) of a column as a table of text has them: names of categories, dates, numbers; empty where missing."""
    if column.categories:
        return ["" if np.isnan(value) else inert(column.categories[int(value)]) for value in values]
    if column.kind == "date":
        moments = np.nan_to_num(values).round().astype("i8").astype(f"M8[{column.unit}]")
        return ["" if np.isnan(v) else str(moment) for v, moment in zip(values, moments, strict=True)]
    form = "{:.0f}" if column.whole else f"{{:.{_digits(column)}g}}"
    return ["" if np.isnan(value) else form.format(value) for value in values]


def _digits_of_time(schema: Schema, moments: np.ndarray) -> int:
    """How many a number of the time needs: ten, and more where its steps are small beside it, as milliseconds from 1970 are."""
    largest = float(np.abs(moments).max())
    if not largest or not schema.step:
        return 10
    return min(17, max(10, 4 + math.ceil(math.log10(largest / abs(schema.step)))))


def _digits(column: Column) -> int:
    """How many a number of it needs: seven, and as many more as all of its numbers have in common."""
    span, largest = column.high - column.low, max(abs(column.low), abs(column.high))
    if column.log or not 0 < span < largest:
        return 7
    return min(17, 7 + math.ceil(math.log10(largest / span)))


def fit(
    columns: Sequence[Column],
    values: np.ndarray,
    lengths: np.ndarray,
    static_columns: Sequence[Column] = (),
    static: np.ndarray | None = None,
    time: str = "",
    unit: str = "",
    start: float = 0.0,
    step: float = 1.0,
    weekdays: bool = False,
    linear: Collection[str] = (),
) -> Schema:
    """The schema of series (N, T, D) with so many steps each; `time` and what follows are fields of it.

    Of the columns name, kind, unit and categories are read; the rest is found in the values, which are those that are trained on.
    Those named in `linear` have no logarithm: others of their values have none.
    """
    alive = np.arange(values.shape[1])[None] < lengths[:, None]
    found: list[Column] = []
    twins: dict[tuple[object, ...], str] = {}
    # Column by column: of all of them there would be several copies.
    for i, column in enumerate(columns):
        series = values[:, :, i]
        row = series[alive]
        twin = twins.setdefault((_told(row), column.kind, column.unit, column.categories), column.name)
        same = twin != column.name
        found.append(replace(column, same_as=twin) if same else _fitted(column, row, series, alive, linear))
        del row
    once = [
        _fitted(column, static[:, i], static[:, i : i + 1], np.ones((len(static), 1), dtype=bool), linear)
        for i, column in enumerate(static_columns)
        if static is not None
    ]
    framed, frames = _frames(found, values, alive)
    framed = [replace(c, above=_above(i, framed, values, alive)) for i, c in enumerate(framed)]
    ends = bool((lengths < values.shape[1]).any())
    size = values.shape[1]
    return Schema(size, tuple(framed), tuple(once), frames, ends, time, unit, start, step, weekdays)


def _grows(series: np.ndarray) -> bool:
    """Whether the steps of series (N, T) above 0 depend less on their level once the logarithm is taken: those of prices do."""

    def depend(x: np.ndarray) -> float:
        steps = np.abs(np.diff(x, axis=1)).ravel()
        return abs(_correlation(steps, x[:, :-1].ravel()))

    return series.shape[1] < 2 or depend(np.log(series)) < depend(series)


def _above(i: int, columns: Sequence[Column], values: np.ndarray, alive: np.ndarray) -> tuple[str, ...]:
    """Names of the columns of its frame that a column is less than in no row, and more in some. Those with gaps have no order,
    nor have those of a frame of more than `MOST_ORDERED`."""
    own = columns[i].frame
    others = [k for k, c in enumerate(columns) if c.frame == own >= 0 and not c.gaps and not columns[i].gaps]
    if len(others) > MOST_ORDERED:
        return ()
    mine = values[:, :, i]

    def less(k: int) -> bool:
        # A few windows tell of most pairs already.
        some = (slice(100), slice(None))
        return any((alive[part] & (mine[part] < values[part, :, k])).any() for part in some)

    below = [k for k in others if not less(k) and (alive & (mine > values[:, :, k])).any()]
    return tuple(columns[k].name for k in below)


def _told(row: np.ndarray) -> bytes:
    """What tells values (n,) from others, as if there were one NaN and one zero."""
    found = hashlib.sha256()
    for start in range(0, len(row), BLOCK):
        part = row[start : start + BLOCK]
        found.update(np.where(np.isnan(part), np.nan, part + 0.0).tobytes())
    return found.digest()


def _fitted(
    column: Column, row: np.ndarray, series: np.ndarray, alive: np.ndarray, linear: Collection[str]
) -> Column:
    """The column with what its values (n,), and the series (N, T) of them with their steps that there are, say of it; of those
    named in `linear` no logarithm."""
    if column.categories:
        return column
    missing = np.isnan(row)
    there = row[~missing] if missing.any() else row
    if not len(there):
        raise GanvasError(
            f"Column {column.name!r} has no value in the part that is trained on. Leave it out: --columns."
        )
    low, high = float(there.min()), float(there.max())
    above = column.kind == "number" and low > 0 and column.name not in linear
    log = above and high / low >= SPREAD and _grows(np.where(alive, series, np.nan))
    whole = column.kind == "date" or bool((there == np.round(there)).all())
    if log:
        low, high = math.log(low), math.log(high)
    return replace(column, low=low, high=high, log=log, whole=whole, gaps=len(there) < len(row))


def _frames(
    columns: list[Column], values: np.ndarray, alive: np.ndarray
) -> tuple[list[Column], tuple[Frame, ...]]:
    """The columns with their frames: those that move together share one, and narrow windows have one at all."""
    moving = [i for i, c in enumerate(columns) if c.channels and not c.categories and c.high > c.low]

    def scaled(i: int, rows: slice = slice(None)) -> np.ndarray:
        return np.where(alive[rows], _scaled(columns[i], values[rows, :, i]), np.nan)

    groups: list[list[int]] = []
    row = {i: k for k, i in enumerate(moving)}
    size = max(1, BLOCK // max(1, values.shape[1] * len(moving)))
    parts = [slice(start, start + size) for start in range(0, len(values), size)]

    def blocks() -> Iterator[np.ndarray]:
        for part in parts if moving else ():
            yield np.stack([scaled(i, part)[alive[part]] for i in moving])

    together = _correlations(blocks, len(moving))
    for i in moving:
        for group in groups:
            first = group[0]
            near = columns[i].log == columns[first].log and _overlap(columns[i], columns[first]) > 0.8
            if near and together[row[i], row[first]] > TOGETHER:
                group.append(i)
                break
        else:
            groups.append([i])
    frames = list[Frame]()
    for group in groups:
        windows = np.empty((*values.shape[:2], len(group)))
        for k, i in enumerate(group):
            windows[:, :, k] = scaled(i)
        if (empty := np.isnan(windows).all((1, 2))).any():  # one without a value lies nowhere
            windows = windows[~empty]
        whole = max(columns[i].high for i in group) - min(columns[i].low for i in group)
        frame = Frame(0.0, 1.0, math.log(FLATTEST * whole), math.log(whole))
        centre, half = _edges(windows, frame)
        if len(centre) < 2 or not np.median(half) < NARROW * _usual_range(windows) / 2:
            continue
        least, most = float(np.log(half).min()), float(np.log(half).max())
        for i in group:
            columns[i] = replace(columns[i], frame=len(frames))
        frames.append(Frame(float(centre.min()), float(centre.max()), least, most))
    return columns, tuple(frames)


def _usual_range(windows: np.ndarray) -> float:
    """How far the columns of windows (N, T, D) reach together, but for their rare values; NaN is missing."""
    values = windows.reshape(-1, windows.shape[2])
    low, high = np.nanquantile(values[:: -(-len(values) // MOST_SORTED)], USUAL, 0)
    return float(high.max() - low.min())


def _overlap(a: Column, b: Column) -> float:
    return (min(a.high, b.high) - max(a.low, b.low)) / max(a.high - a.low, b.high - b.low)


def deviations(rows: np.ndarray) -> np.ndarray:
    """Standard deviation of each column of rows (n, D); 0 of one that does not move, of which rounding would leave a little."""
    found = rows.std(0)
    largest = np.maximum(rows.max(0), -rows.min(0))  # of their absolute values there would be a copy
    return np.where(found > STILL * largest, found, 0.0)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 2 or not a[both].std() or not b[both].std():
        return 0.0
    return float(np.corrcoef(a[both], b[both])[0, 1])


def _correlations(blocks: Callable[[], Iterable[np.ndarray]], count: int) -> np.ndarray:
    """Of rows, which come in blocks (`count`, n), with each other, each pair where both have a value; 0 where one does not move.

    By products of matrices: a thousand columns have half a million pairs.
    """
    low, high = np.full((count, 1), np.inf), np.full((count, 1), -np.inf)
    total, number = np.zeros((count, 1)), np.zeros((count, 1))
    for rows in blocks():
        there = ~np.isnan(rows)
        low = np.minimum(low, np.where(there, rows, np.inf).min(1, keepdims=True, initial=np.inf))
        high = np.maximum(high, np.where(there, rows, -np.inf).max(1, keepdims=True, initial=-np.inf))
        total += np.where(there, rows, 0.0).sum(1, keepdims=True)
        number += there.sum(1, keepdims=True)
    middle = total / np.maximum(number, 1)
    largest = np.maximum(np.maximum(high - middle, middle - low), 1e-300)
    both, sums, squares, products = np.zeros((4, count, count))
    for rows in blocks():
        there = ~np.isnan(rows)
        x, known = np.where(there, (rows - middle) / largest, 0.0), there.astype(float)
        both += known @ known.T
        sums += x @ known.T
        squares += np.square(x) @ known.T
        products += x @ x.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = both * squares - np.square(sums)
        found = (both * products - sums * sums.T) / np.sqrt(spread * spread.T)
    return np.where((spread > 0) & (spread.T > 0) & (both > 1), found, 0.0)


def _edges(scaled: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half-range (N,) of windows (N, T, K); a window without a value lies in the middle of all."""
    empty = np.isnan(scaled).all((1, 2))
    known = np.where(empty[:, None, None], (frame.low + frame.high) / 2, scaled) if empty.any() else scaled
    low, high = np.nanmin(known, (1, 2)), np.nanmax(known, (1, 2))
    return (low + high) / 2, np.maximum((high - low) / 2, math.exp(frame.least))


def _scaled(column: Column, values: np.ndarray) -> np.ndarray:
    """Values with the logarithm taken where the column says so; what has none is missing."""
    if not column.log:
        return values.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(values), np.nan)


def _between(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """low to high -> -1 to 1."""
    return (x - low) * (2 / (high - low)) - 1 if high > low else np.zeros_like(x)


def _outside(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """-1 to 1 -> low to high."""
    return low + (x + 1) * ((high - low) / 2)


def _one_hot(x: np.ndarray, column: Column) -> list[np.ndarray]:
    return [x == number for number in range(len(column.categories))]


def _restored(column: Column, x: np.ndarray, edge: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Channels (N, K, T) of a column -> its values (N, T)."""
    if column.categories:
        return np.asarray(x.argmax(1), dtype=float)
    values = _outside(x[:, 0], column.low, column.high) if edge is None else edge[0] + edge[1] * x[:, 0]
    values = np.exp(np.minimum(values, 80.0)) if column.log else values
    return np.asarray(np.round(values) if column.whole else values)


def read_schema(values: Any, shape: Sequence[int]) -> Schema:
    """A schema from a file's header, of samples of a shape. Raises `GanvasError` where it is none, or is for others."""
    found = from_dict(Schema, values, "series")
    check_schema(found)
    if tuple(shape) != found.shape:
        raise GanvasError(f"series: channels and steps {found.shape} of samples {tuple(shape)}")
    return found


def check_names(names: Sequence[str], what: str) -> None:
    """Raise `GanvasError` for names that the header of a model's file has no room for; `what` begins the message."""
    longest = max(map(len, names), default=0)
    if longest > LONGEST_NAME:
        raise GanvasError(
            f"{what} have up to {longest:,} letters; {LONGEST_NAME:,} are taken at most. Shorten them."
        )
    if (size := sum(len(json.dumps(name)) for name in names)) > MOST_LETTERS:
        raise GanvasError(
            f"{what} take {size / 2**20:.0f} MiB, and {MOST_LETTERS >> 20} are taken at most. Shorten them, or take fewer."
        )


def check_schema(schema: Schema) -> None:
    """Raise `GanvasError` for what no series are written and read by: in a header from anybody, or of data that are beyond it."""
    columns, static, frames = schema.columns, schema.static, schema.frames
    every = (*columns, *static)
    own = {column.name: column for column in columns if not column.same_as}
    words = [word for c in every for word in (c.name, *c.categories, *c.above, c.same_as)]
    check_names(words, "series: the names of columns and categories")
    if odd := next((word for word in words if word.encode(errors="replace").decode() != word), None):
        raise GanvasError(
            f"series: the name {ascii(odd)[:100]} has half a character, which no file can hold. Rename it."
        )
    numbers = [edge for frame in frames for edge in (frame.low, frame.high)]
    numbers += [edge for c in every for edge in (c.low, c.high)]
    for fits, what in (
        (len(columns) >= 1 and len(every) <= MOST_COLUMNS, f"{len(every):,} columns"),
        (1 <= schema.length <= MOST_STEPS, f"{schema.length:,} steps"),
        (all(len(column.categories) <= MOST_CATEGORIES for column in every), "more categories than there may be"),
        (
            schema.channels <= MOST_CHANNELS and schema.channels * schema.length <= MOST_VALUES,
            f"{schema.channels:,} channels of {schema.length:,} steps: {MOST_CHANNELS:,} and {MOST_VALUES:,} numbers are drawn "
            "at most. Leave out columns with many categories: --columns",
        ),
        (all(len({c.name for c in some}) == len(some) for some in (columns, static)), "two columns of one name"),
        (all((c.kind == "category") == bool(c.categories) for c in every), "a category without names"),
        (
            all(unit in ("", "D", "s") for unit in (schema.unit, *(c.unit for c in every)))
            and all(bool(c.unit) == (c.kind == "date") for c in every),
            "an unknown unit",
        ),
        (not any(c.log and c.kind != "number" for c in every), "a logarithm of what is no number"),
        (not any(c.gaps and c.categories for c in columns), "gaps where missing is a category of its own"),
        (all(_is_copy(c, own) for c in columns if c.same_as), "a column like one that it is not like"),
        (not any(c.same_as or c.gaps or c.above or c.frame != -1 for c in static), "a static column that changes"),
        (
            all(-1 <= c.frame < len(frames) and not (c.frame >= 0 and c.categories) for c in columns)
            and {c.frame for c in own.values()} >= set(range(len(frames))),
            "a frame that is not there",
        ),
        (all(_is_above(c, own) for c in columns), "columns above each other"),
        (
            all(max(abs(c.low), abs(c.high)) < LATEST for c in every if c.kind == "date")
            and all(abs(number) < LARGEST for number in numbers),
            f"a range beyond all numbers: they are drawn up to {LARGEST:.0e}",
        ),
        (
            all(c.low <= c.high for c in every) and all(f.low <= f.high and f.least <= f.most for f in frames),
            "a range that ends before it begins",
        ),
        (all(abs(edge) < 700 for f in frames for edge in (f.least, f.most)), "an endless frame"),
        # Parts of a second are counted in microseconds, of 64 bits.
        (
            max(abs(schema.start), abs(schema.step) * MOST_STEPS)
            < (4e12 if schema.unit == "s" and round(schema.step, 6) % 1 else 1e14),
            "a time beyond all calendars",
        ),
    ):  # fmt: skip
        if not fits:
            raise GanvasError(f"series: {what}")


def _is_copy(column: Column, own: Mapping[str, Column]) -> bool:
    """Whether the column that one is copied from is there, and of its kind."""
    twin = own.get(column.same_as)
    return twin is not None and (twin.kind, twin.unit, twin.categories) == (
        column.kind,
        column.unit,
        column.categories,
    )


def _is_above(column: Column, own: Mapping[str, Column]) -> bool:
    """Whether all that a column is never less than are others of its frame, that are found before it."""
    found = [own.get(name) for name in column.above]
    return len(set(column.above)) == len(found) and all(
        other is not None and other.frame == column.frame >= 0 and len(other.above) < len(found)
        for other in found
    )


LENGTHS = 64
"""Numbers that tell how long series are."""
MOST_TOLD = 64
"""Classes of which each may have lengths of its own: more would fill the header of every file."""


def told_lengths(lengths: np.ndarray, labels: np.ndarray | None = None, classes: int = 0) -> str:
    """How long series are, as `LENGTHS` quantiles of their lengths (N,) in ascending order; with `labels` (N,) of each class by
    itself, divided by strokes. A class without a series has the lengths of all."""
    apart = labels is not None and 1 < classes <= MOST_TOLD
    own = [lengths[labels == number] for number in range(classes)] if apart else [lengths]
    shares = (np.arange(LENGTHS) + 0.5) / LENGTHS
    rows = [np.quantile(x if len(x) else lengths, shares, method="inverted_cdf") for x in own]
    return " / ".join(" ".join(str(int(number)) for number in row) for row in rows)


def read_lengths(text: str, classes: int, steps: int) -> Tensor:
    """What `told_lengths` says (1 or `classes`, LENGTHS), of series of up to `steps`. Raises `GanvasError` for anything else."""
    found = [part.split() for part in text.split("/", MOST_TOLD)]
    if len(found) not in (1, classes) or any(len(row) != LENGTHS for row in found):
        raise GanvasError(
            f"The lengths of the series are not {LENGTHS} numbers, or as many of each class. They are written by ganvas."
        )
    if not all(word.isascii() and word.isdigit() and len(word) <= 6 for row in found for word in row):
        raise GanvasError("The lengths of the series are no whole numbers. They are written by ganvas.")
    rows = [[int(word) for word in row] for row in found]
    if any(row != sorted(row) or row[0] < 1 or row[-1] > steps for row in rows):
        raise GanvasError(
            f"The lengths of the series do not rise from 1 to {steps}. They are written by ganvas."
        )
    return torch.tensor(rows, dtype=torch.float32)


WORD = re.compile(r"n\d*|m|e|c\d+|/")


class Part(NamedTuple):
    """One word of a layout."""

    kind: str
    """n, m, c or e."""
    size: int
    """Channels."""
    frame: int = -1


def read_layout(text: str, channels: int) -> tuple[list[Part], list[Part]]:
    """What a layout says of the channels: those of the steps, and those that are constant in time. Empty: all are numbers.

    Raises `GanvasError` for a word that is none, or another number of channels.
    """
    found: tuple[list[Part], list[Part]] = ([], [])
    side = 0
    for word in text.split() if text else ["n"] * channels:
        if not WORD.fullmatch(word) or len(word) > 6 or (word == "/" and side):
            raise GanvasError(f"The layout of a series has no word {word[:20]!r}. It is written by ganvas.")
        if word == "/":
            side = 1
            continue
        number = int(word[1:]) if word[1:] else -1
        found[side].append(Part(word[0], number if word[0] == "c" else 1, number if word[0] == "n" else -1))
    count = sum(part.size for parts in found for part in parts)
    if count != channels or not found[0] or any(part.size < 1 for part in found[0] + found[1]):
        raise GanvasError(f"The layout {text[:80]!r} is of {count} channels, the series have {channels}.")
    return found
