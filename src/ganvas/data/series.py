"""Series: windows cut from tables, whole sequences, and what both become as samples.

Windows that overlap share rows, so the held-out part is a stretch of time, and windows that reach into it from the training part
are left out of both. The schema (`ganvas.series`) is fitted to what is trained on alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays, processes
from ganvas.config import DataConfig, to_dict
from ganvas.data.base import Dataset, datasets, fingerprint
from ganvas.data.columns import MISSING, date_in, number_in
from ganvas.data.limits import EACH_SERIES, check_memory
from ganvas.errors import GanvasError, counted
from ganvas.registry import did_you_mean
from ganvas.series import LARGEST, LEAST, MOST_STEPS, Column, Schema, check_schema, fit

WINDOW = 24
"""Steps of a window where nobody says another number."""
DAY = 86_400
"""Seconds."""
BOOLEANS = {"true", "false", ""}
"""Texts that some programs write with a capital letter, others without; and a missing one."""
OFF, BLOCK, NUMBERS = 1e-3, 1024, 2**22
"""Share of the range of a column from which a value is another one; windows that are looked at together for that, and numbers of
their channels."""
WIDE = 2**16
"""Numbers of a window above which those of one series lie in memory once."""
BYTES, BYTES_EACH = 40, 8
"""That a number of all windows takes while they are cut and scaled, and a number of a channel."""


@dataclass
class Table:
    """Sequences with named columns, in their own units."""

    name: str
    columns: list[Column]
    """Name, kind, unit and categories."""
    sequences: list[np.ndarray]
    """Each (L, D) float64: categories are their numbers, NaN is missing."""
    static_columns: list[Column] = field(default_factory=list)
    static: np.ndarray | None = None
    """(sequences, A)."""
    labels: Tensor | None = None
    """(sequences,)."""
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    time: str = ""
    unit: str = ""
    times: list[np.ndarray] = field(default_factory=list)
    """Of each sequence (L,), in `unit` from 1970; none: steps are counted."""
    spelt: bool = False
    """Whether it was cells of a table: a number may be the name of a category then, and in an array it is its place."""


def make(table: Table, config: DataConfig, model: Schema | None = None) -> Dataset:
    """The data set of a table: windows of `config.window` steps, or the sequences as they are.

    `model`: the schema of a model, whose channels the samples then have. Raises `GanvasError` for what cannot be cut or scaled.
    """
    if config.resolution or config.resize or config.mirror or (config.alpha and model is None):
        raise GanvasError(
            f"{table.name} holds series; --resolution, --resize, --mirror and --alpha are for images."
        )
    if config.columns and config.columns != tuple(column.name for column in table.columns):
        table = _chosen(table, config.columns)
    if model is not None:
        table = _as_model(table, model)
    longest = max(len(sequence) for sequence in table.sequences)
    usual = WINDOW if len(table.sequences) == 1 else 0
    window = config.window or usual if model is None else model.length
    steps = min(window, MOST_STEPS) if window else longest
    short = window and longest < window and len(table.sequences) == 1 and not (model and model.ends)
    if longest < 2 or short:
        raise GanvasError(
            f"{table.name} has {counted(longest, 'row')}; a window of {window or 2} steps needs as many. Give a shorter --window."
        )
    starts = [range(max(1, len(sequence) - steps + 1)) for sequence in table.sequences]
    count = sum(map(len, starts))
    channels = sum(len(column.categories) or 1 for column in (*table.columns, *table.static_columns))
    check_memory(
        (BYTES * len(table.columns) + BYTES_EACH * channels) * count * steps
        + EACH_SERIES * len(table.sequences),
        f"{table.name}, cut into {count:,} windows of {steps} steps,",
        "Take fewer rows or columns, or a shorter --window",
    )
    values = np.zeros((count, steps, len(table.columns)))
    lengths, owners = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    spans, row = np.zeros((count, 3)), 0
    for owner, (sequence, places) in enumerate(zip(table.sequences, starts, strict=True)):
        for start in places:
            part = sequence[start : start + steps]
            values[row, : len(part)] = part
            lengths[row], owners[row] = len(part), owner
            spans[row] = owner, start / len(sequence), (start + len(part)) / len(sequence)
            row += 1
    each = [values[:, :, i] for i in range(len(table.columns))]
    each += [] if table.static is None else list(np.asarray(table.static).T)
    for column, those in zip((*table.columns, *table.static_columns), each, strict=True):
        largest = np.nanmax(np.abs(those), initial=0.0)
        if largest >= LARGEST or 0 < largest < LEAST:
            limit = f"of {LARGEST:.0e} and more" if largest >= LARGEST else f"below {LEAST:.0e} alone"
            raise GanvasError(
                f"Column {column.name!r} of {table.name} holds numbers {limit}. Scale them, or leave it out: "
                "--columns, --static."
            )
    cut = count > len(table.sequences)
    made = Dataset(
        table.name, torch.empty(count), (1, steps), "",
        None if table.labels is None else table.labels[torch.from_numpy(owners)], table.class_names, table.notes,
        spans=torch.from_numpy(spans) if cut else None, spelt=table.spelt,
    )  # fmt: skip
    static = None if table.static is None else table.static[owners]
    if model is None:
        trained = made.split(config.holdout, config.fold)[0].indices
        own = np.arange(count) if trained is None else trained.numpy()
        if len(own) < 2:
            raise GanvasError(
                f"{table.name} gives {counted(len(own), 'window')} of {steps} steps to train on. Give more rows or a shorter "
                "--window."
            )
        begin, step, weekdays = _time(table)
        of_own = None if static is None else static[own]
        schema = fit(
            table.columns,
            values[own],
            lengths[own],
            table.static_columns,
            of_own,
            table.time,
            table.unit,
            begin,
            step,
            weekdays,
            _not_above_zero(table),
        )
        schema = _complete(schema, values, lengths, static)
        try:  # what the file of a model could not say again is told before anything is trained
            check_schema(schema)
        except GanvasError as error:
            raise GanvasError(f"{table.name} cannot be drawn: {error}.") from error
    else:
        schema = model
        _check_whole(table.name, schema, values, lengths, static)
    items = _encoded(schema, table, values, lengths, static)
    told = f"{schema.layout} {to_dict(schema)}"
    mark = fingerprint(items.numpy(), told, *([] if made.labels is None else [made.labels.numpy()]))
    return replace(
        made,
        items=items,
        shape=schema.shape,
        fingerprint=mark,
        series=schema,
        notes=(
            *table.notes,
            *_said(schema, cut, count),
            *_read_as_others(schema, items, values, lengths, static),
        ),
    )


def _encoded(
    schema: Schema, table: Table, values: np.ndarray, lengths: np.ndarray, static: np.ndarray | None
) -> Tensor:
    """Windows (N, T, D) as they are trained on (N, C, T): wide ones of one series as pieces of it, which share its memory, where
    no channel hangs on where a window begins."""
    alone = len(table.sequences) == 1 and not (schema.frames or schema.ends or schema.static)
    if not alone or schema.channels * values.shape[1] <= WIDE:
        return schema.encode(values, lengths, static)
    rows = table.sequences[0]
    whole, size = torch.empty(schema.channels, len(rows)), max(1, NUMBERS // schema.channels)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        whole[:, start : start + size] = schema.encode(part[None], np.array([len(part)]))[0]
    return whole.unfold(1, values.shape[1], 1).transpose(0, 1)


def scaled_as(dataset: Dataset, schema: Schema) -> Dataset:
    """Series with the channels of another schema, of as many steps. Raises `GanvasError` where their columns do not fit."""
    own = dataset.series
    if own is None or own == schema:
        return dataset
    if own.length != schema.length:
        raise GanvasError(
            f"{dataset.name} has series of {own.length:,} steps, and {schema.length:,} are wanted. Add window={schema.length}."
        )
    assert isinstance(dataset.items, Tensor)
    found = own.decode(dataset.items)
    rows = [values[:length].copy() for values, length in zip(found.values, found.lengths, strict=True)]
    table = Table(
        dataset.name, list(own.columns), rows, list(own.static), found.static if own.static else None, dataset.labels,
        dataset.class_names, dataset.notes, spelt=dataset.spelt,
    )  # fmt: skip
    made = make(table, DataConfig(dataset.name), schema)
    return replace(made, spans=dataset.spans, indices=dataset.indices)


def _not_above_zero(table: Table) -> set[str]:
    """Names of the columns, held-out values among them, that have no logarithm everywhere."""
    below = np.zeros(len(table.columns), dtype=bool)
    for sequence in table.sequences:  # a million, it may be
        below |= (sequence <= 0).any(0)
    once = [] if table.static is None else [(x <= 0).any() for x in table.static.T]
    found = (*zip(table.columns, below, strict=True), *zip(table.static_columns, once, strict=False))
    return {column.name for column, low in found if low}


def _read_as_others(
    schema: Schema, items: Tensor, values: np.ndarray, lengths: np.ndarray, static: np.ndarray | None
) -> tuple[str, ...]:
    """What to say of values (N, T, D), and of static ones (N, A), that the channels of a schema cannot hold: they are drawn and
    measured as others."""
    alive = np.arange(values.shape[1])[None] < lengths[:, None]
    columns = [(column, schema.own(column)) for column in schema.columns]
    once = [(column, column) for column in schema.static]
    wrong, wrong_once = np.zeros(len(columns)), np.zeros(len(once))
    size = arrays.fitting(schema.channels * values.shape[1], NUMBERS, BLOCK)
    for start in range(0, len(items), size):
        part = slice(start, start + size)
        again = schema.decode(items[part])
        for i, (_, own) in enumerate(columns):
            wrong[i] += _differs(own, again.values[:, :, i], values[part, :, i])[alive[part]].sum()
        for i, (_, own) in enumerate(once):
            assert static is not None
            wrong_once[i] += _differs(own, again.static[:, i], static[part, i]).sum()
    counts = [*(wrong / alive.sum()), *(wrong_once / len(items))]
    return tuple(
        f"{share:.2%} of the values of {column.name!r} are read as others: in what is learned from {_always(own, column)}."
        for share, (column, own) in zip(counts, [*columns, *once], strict=True)
        if share
    )


def _differs(own: Column, again: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Where values come back as others."""
    size = np.abs(given)
    # What lies far beyond the range has fewer digits of it.
    scale = size if own.log else np.maximum(own.high - own.low or abs(own.high) or 1.0, OFF * size)
    return np.asarray(np.abs(again - given) > OFF * scale)


def _always(own: Column, column: Column) -> str:
    """What all values of a column are that are learned from."""
    if column.same_as:
        return f"they equal those of {column.same_as!r}"
    if own.low == own.high:
        return f"all are {own.low:g}"
    return f"they are never below those of {', '.join(column.above)}" if column.above else "they are whole"


def _check_whole(
    name: str, schema: Schema, values: np.ndarray, lengths: np.ndarray, static: np.ndarray | None
) -> None:
    """Raise `GanvasError` where values or steps are missing for which a schema has no channel: something would stand there."""
    bare = [i for i, c in enumerate(schema.columns) if not schema.own(c).gaps]
    full = [i for i in bare if not schema.columns[i].categories]
    if bare and not schema.ends and (lengths < schema.length).any():
        raise GanvasError(
            f"{name} has series of {counted(int(lengths.min()), 'step')}, and all that the model knows have {schema.length:,}. "
            "Leave the shorter ones out."
        )
    alive = np.arange(values.shape[1])[None] < lengths[:, None]
    for i in full:
        if np.isnan(values[:, :, i][alive]).any():
            raise GanvasError(
                f"{name} lacks values of {schema.columns[i].name!r}, and what the model knows lacks none. Fill them in, "
                "as ganvas restore MODEL FILE --damaged does, or leave these series out."
            )
    once = [] if static is None else list(static.T)
    for column, those in zip((*schema.columns, *schema.static), [*values[alive].T, *once], strict=False):
        if column.log and (those <= 0).any():
            raise GanvasError(
                f"{name} holds numbers of {column.name!r} that are not above 0, and all that the model knows are: it draws their "
                "logarithm. Leave these series out."
            )


def _chosen(table: Table, names: Sequence[str]) -> Table:
    """A table with some of its columns alone."""
    there = [column.name for column in table.columns]
    for name in names:
        if name not in there:
            raise GanvasError(
                f"{table.name} has no column {name!r} (--columns).{did_you_mean(name, there)} It has {', '.join(there[:20])}."
            )
    order = [there.index(name) for name in names]
    sequences = [sequence[:, order] for sequence in table.sequences]
    return replace(table, columns=[table.columns[i] for i in order], sequences=sequences)


def _complete(schema: Schema, values: np.ndarray, lengths: np.ndarray, static: np.ndarray | None) -> Schema:
    """The schema with what held-out series need as well: a mask, an end, a column that differs there after all, or an order or
    whole numbers that they do not have."""
    alive = np.arange(values.shape[1])[None] < lengths[:, None]
    place = {column.name: i for i, column in enumerate(schema.columns)}
    columns, rows = [], values[alive].T
    for column, row in zip(schema.columns, rows, strict=True):
        twin = place.get(column.same_as)
        if twin is not None and not np.array_equal(row, rows[twin], equal_nan=True):
            column = replace(schema.columns[twin], name=column.name)
        columns.append(
            replace(
                column,
                gaps=bool(np.isnan(row).any()) and not column.categories,
                whole=_is_whole(column, row),
                above=tuple(other for other in column.above if (row >= rows[place[other]]).all()),
            )
        )
    said = list[np.ndarray]() if static is None else list(static.T)
    once = [replace(c, whole=_is_whole(c, row)) for c, row in zip(schema.static, said, strict=True)]
    ends = bool((lengths < values.shape[1]).any())
    return replace(schema, columns=tuple(columns), static=tuple(once), ends=ends)


def _is_whole(column: Column, row: np.ndarray) -> bool:
    """Whether a column of whole numbers has no others in values (n,) either."""
    return column.whole and (column.kind == "date" or bool((np.isnan(row) | (row == np.round(row))).all()))


def _time(table: Table) -> tuple[float, float, bool]:
    """Where drawn series begin in time, how far their rows are apart, and whether all are working days."""
    gaps = [np.diff(each) for each in table.times if len(each) > 1]
    if not gaps:
        return 0.0, 1.0, False
    step, last = float(np.median(np.concatenate(gaps))), max(float(each.max()) for each in table.times)
    days = np.concatenate(table.times)
    weekdays = table.unit == "D" and step == 1.0 and bool(np.is_busday(days.astype("M8[D]")).all())
    return last + step, step, weekdays


def _said(schema: Schema, cut: bool, count: int) -> tuple[str, ...]:
    """Lines for the log on what the columns were taken for."""
    words = []
    if cut:
        words.append(
            f"{count:,} windows of {schema.length} steps; what is held out is a stretch of time of its own."
        )
    numbers = [c.name for c in schema.columns if c.frame >= 0]
    if numbers:
        words.append(
            f"Each window has its own centre and half-range, which are drawn with it: {', '.join(numbers)}."
        )
    if logs := [c.name for c in schema.columns if c.log]:
        words.append(f"Scaled by their logarithm: {', '.join(logs)}.")
    if schema.time:
        words.append(f"{schema.time} is the time of the steps, and is not drawn.")
    if gaps := [c.name for c in schema.columns if c.gaps]:
        words.append(f"Some values are missing, and some that are drawn will be: {', '.join(gaps)}.")
    for c in schema.columns:
        if few := c.categories:
            named = [each or "(nothing)" for each in few]
            shown = ", ".join(named if len(few) < 5 else (*named[:2], "...", named[-1]))
            words.append(f"{c.name} is drawn as one of {counted(len(few), 'text')}: {shown[:200]}.")
    words += [
        f"{c.name} equals {c.same_as} everywhere and is copied from it." for c in schema.columns if c.same_as
    ]
    return tuple(words)


def _as_model(table: Table, model: Schema) -> Table:
    """The columns of a table in the order, with the categories, of a model's. Raises `GanvasError` where one is missing."""

    def chosen(wanted: Sequence[Column], there: Sequence[Column], what: str) -> list[int]:
        names = [column.name for column in there]
        if len(wanted) == len(there) and not set(names) & {column.name for column in wanted}:
            return list(range(len(there)))
        for column in wanted:
            if column.name not in names:
                raise GanvasError(
                    f"{table.name} lacks the {what} {column.name!r} of the model; it has {', '.join(names[:20]) or 'none'}."
                )
        return [names.index(column.name) for column in wanted]

    order = chosen(model.columns, table.columns, "column")
    sequences = [sequence[:, order] for sequence in table.sequences]
    placed = list[Column]()
    for i, (place, column) in enumerate(zip(order, model.columns, strict=True)):
        if _convert([sequence[:, i] for sequence in sequences], table.columns[place], column, table.spelt):
            placed.append(column)
    static, once = table.static, chosen(model.static, table.static_columns, "static column")
    if static is not None:
        static = static[:, once]
        for i, (place, column) in enumerate(zip(once, model.static, strict=True)):
            if _convert([static[:, i]], table.static_columns[place], column, table.spelt):
                placed.append(column)
    have = [*(table.columns[i] for i in order), *(table.static_columns[i] for i in once)]
    want = [*model.columns, *model.static]
    return replace(
        table,
        notes=(*table.notes, *_placed(table.name, have, want), *map(_numbered, placed)),
        columns=list(model.columns),
        sequences=sequences,
        static_columns=list(model.static),
        static=static,
    )


def _placed(name: str, have: Sequence[Column], want: Sequence[Column]) -> tuple[str, ...]:
    """What to say where columns of other names are taken in their order: numbers are names of none."""
    told = [
        f"{old.name} as {new.name}"
        for old, new in zip(have, want, strict=True)
        if old.name != new.name and not old.name.removeprefix("static ").isdecimal()
    ]
    shown = ", ".join([*told[:6], *(["..."] if told[6:] else [])])
    return (
        (f"{name} has no column of the model's names; they are taken in their order: {shown}.",)
        if told
        else ()
    )


def _are_places(values: Sequence[np.ndarray], categories: int) -> bool:
    """Whether all values are numbers of categories, as arrays have them that ganvas wrote."""
    return categories > 0 and all(
        ((each >= 0) & (each < categories) & (each == each.round())).all() for each in values
    )


def _numbered(column: Column) -> str:
    """What to say of a column whose categories are given as numbers."""
    return f"{column.name} holds numbers of categories: {', '.join(f'{i} is {c}' for i, c in enumerate(column.categories[:6]))}."


def _by_name(values: Sequence[np.ndarray], have: Column, want: Column) -> bool:
    """Change the values of a column, in place, to the numbers of those categories of a model that are numbers, dates or nothing;
    whether there are any. All cells of a table may be such ones, though others of the model are not."""
    known, gone = dict[float, list[int]](), list[int]()
    for place, name in enumerate(want.categories):
        value = date_in(name) if have.kind == "date" else number_in(name)
        if name.lower() in MISSING:
            gone.append(place)
        elif value is not None:
            known.setdefault(value / (DAY if have.unit == "D" else 1), []).append(place)
    if not known and not (gone and all(np.isnan(each).all() for each in values)):
        return False
    # 1 and 01 are one number: which of them a cell had is not known any more.
    named = {value: places[0] for value, places in known.items() if len(places) == 1}
    keys = np.array([*sorted(named), np.inf])
    numbers = np.array([*(named[key] for key in sorted(named)), 0])
    for each in values:
        missing, at = np.isnan(each), np.searchsorted(keys, each).clip(max=len(keys) - 1)
        strange = (keys[at] != each) & (~missing | (len(gone) != 1))
        if strange.any():
            found = each[strange][0]
            raise GanvasError(
                f"Column {want.name!r} holds {'nothing' if np.isnan(found) else f'{found:g}'}, which the model does not know: "
                f"{', '.join(want.categories[:20])}."
            )
        each[:] = np.where(missing, gone[0] if gone else 0, numbers[at])
    return True


def _convert(values: Sequence[np.ndarray], have: Column, want: Column, spelt: bool) -> bool:
    """Change the values of a column, in place, to the numbers that a model has for its categories, and to its unit of time;
    whether they were such numbers. Cells of a table (`spelt`) are names before they are numbers of categories."""
    if spelt and want.categories and not have.categories and _by_name(values, have, want):
        return False
    # Plain numbers may be dates: arrays have no other ones.
    a_date = have.kind == "date" and want.kind != "date"
    if have.kind == "number" and _are_places(values, len(want.categories)):
        return True
    if bool(have.categories) != bool(want.categories) or a_date:
        raise GanvasError(
            f"Column {want.name!r} is of another kind than in the model: {have.kind} instead of {want.kind}."
        )
    spelled = {name: number for number, name in enumerate(want.categories)}
    if {name.lower() for name in want.categories} <= BOOLEANS:
        spelled = {**{name.lower(): number for name, number in spelled.items()}, **spelled}
    numbers = [
        spelled.get(name, spelled.get(name.lower()) if name.lower() in BOOLEANS else None)
        for name in have.categories
    ]
    if None in numbers:
        name = have.categories[numbers.index(None)]
        raise GanvasError(
            f"Column {want.name!r} holds {name!r}, which the model does not know: {', '.join(want.categories[:20])}."
        )
    for each in values:
        if have.categories:
            each[:] = np.array(numbers)[each.astype(int)]
        elif have.unit and have.unit != want.unit:
            each *= DAY if have.unit == "D" else 1 / DAY
    return False


def goog(config: DataConfig) -> Table:
    """1,047 days of Google's share, August 2004 to October 2008, from matplotlib's own sample data: open, high, low, close,
    volume, adj_close."""
    from matplotlib import cbook

    with np.load(cbook.get_sample_data("goog.npz", asfileobj=False)) as found:
        rows: np.ndarray = found["price_data"]
    names = [name for name in rows.dtype.names or () if name != "date"]
    sequence = np.stack([rows[name].astype(float) for name in names], 1)
    days = rows["date"].astype("M8[D]").astype(float)
    return Table("goog", [Column(name) for name in names], [sequence], time="date", unit="D", times=[days])


def sines(config: DataConfig) -> Table:
    """`DRAWN` series of five sines (`ganvas.processes.sines`), as TimeGAN's paper has them."""
    series = processes.sines(DRAWN, _steps(config, WINDOW, 5), random=np.random.default_rng(0))
    return Table("sines", [Column(f"sine {i}") for i in range(series.shape[2])], list(series))


def regimes(config: DataConfig) -> Table:
    """`DRAWN` series of the process of three regimes whose likelihood is known exactly (`ganvas.processes.three_regimes`)."""
    process = processes.three_regimes()
    steps = _steps(config, REGIME_STEPS, process.mean.shape[1])
    series, _ = process.draw(DRAWN, steps, np.random.default_rng(0))
    return Table("regimes", [Column(f"x {i}") for i in range(series.shape[2])], list(series))


def _steps(config: DataConfig, usual: int, columns: int) -> int:
    """Of each series of an embedded process, once they are found to fit into memory."""
    steps = arrays.count(usual if config.window is None else config.window, "--window", 2, MOST_STEPS)
    wanted = (BYTES + BYTES_EACH) * DRAWN * steps * columns
    check_memory(wanted, f"{config.source} of {steps:,} steps", "Give a shorter --window")
    return steps


DRAWN = 10_000
"""Series of an embedded process."""
REGIME_STEPS = 48
"""Of each, where nobody says another number."""
datasets.add("goog", goog, "series: 1,047 days of a share's prices, embedded in matplotlib")
datasets.add("sines", sines, "series: 10,000 of five sines, of which all is known")
datasets.add("regimes", regimes, "series: 10,000 that switch between three regimes, with exact likelihood")
