"""Files of series: CSV, Parquet (`ganvas.data.parquet`) and aeon's .ts, read into a `ganvas.data.series.Table`."""

import csv
import io
import itertools
import math
import secrets
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.data import parquet
from ganvas.data.columns import (
    FEW,
    MISSING,
    Sniffed,
    Values,
    check_columns,
    check_grouped,
    check_role,
    check_rows,
    date_in,
    kind_of_texts,
    number_in,
    numbered,
)
from ganvas.data.labels import number
from ganvas.data.limits import EACH_SERIES, check_memory
from ganvas.data.listing import show
from ganvas.data.series import Table
from ganvas.errors import GanvasError, counted
from ganvas.registry import did_you_mean
from ganvas.series import (
    LONGEST_NAME,
    MOST_CATEGORIES,
    MOST_COLUMNS,
    MOST_STEPS,
    Column,
    Kind,
    Schema,
    active,
    check_names,
)

SUFFIXES = (".csv", ".tsv", ".parquet", ".ts")
NAMED = (".csv", ".tsv", ".parquet")
"""Those whose columns have names."""
SHOWN = 20
TIED = 1 / 3
"""Share of the steps in time that are none, from which rows may be those of several series at once."""
LIKE_NAMES = 3
"""Numbers 0, 1, 2, ... in the first row from which they are names: of two they may be a step and a value."""
LOOKED_AT, FIRST = 2**20, 20
"""Letters at the beginning of a table, and rows, that say what stands between its fields."""
LONGEST_ROW, LONGEST_CASE = 2**22, 2**26
"""Letters of a line of a .csv, and of a .ts."""
FILLED = 16
"""Numbers of a case with its dimensions filled up, over those that its line holds, at most."""
SERIES = ("series", "number of series")
"""The first column of a table that ganvas wrote; the second where one of its own has the first name."""
CLASS = ("class", "class of series")
"""The column of classes in such a table."""
INDEX, LEVEL = ("index", "Unnamed: 0"), "__index_level_0__"
"""What pandas calls the numbers of rows, as the first column (one without a name is `index` here) and in a Parquet file."""


def load(path: Path, config: DataConfig) -> Table:
    """The table of a .csv, .tsv, .parquet or .ts file. Raises `GanvasError` for what cannot be read."""
    if not path.is_file():
        raise GanvasError(f"{path} is no file.")
    suffix = path.suffix.lower()
    check_memory(path.stat().st_size, str(path), "Take a part of it")
    try:
        if suffix == ".ts":
            return _ts(path)
        config = _owned(path, config)
        columns = parquet.read(path, config) if suffix == ".parquet" else _csv(path, config)
    except UnicodeDecodeError as error:
        raise GanvasError(f"{path} is no UTF-8 text (byte {error.start:,}). Save it as UTF-8.") from error
    except (csv.Error, OSError) as error:
        raise GanvasError(f"{path} cannot be read as {suffix}: {error}.") from error
    table = _table(show(path.stem), columns, config)
    counted_so = list(columns) == [str(i) for i in range(len(columns))]
    if suffix != ".parquet" and counted_so and not _head(next(_rows(path))[1])[1]:
        note = (
            "There is no line of names, as the first one holds numbers alone: columns are called 0, 1, 2, ..."
        )
        table.notes = (note, *table.notes)
    return table


def read_as(path: Path, config: DataConfig, schema: Schema) -> DataConfig:
    """How a table is read beside others of a schema: by their columns and that of the time, where it has them and nobody says
    others. Guessed again from other rows they may be others: of dates out of order none is the time."""
    names = columns_of(path)
    wanted = tuple(column.name for column in schema.columns)
    columns = wanted if set(wanted) <= set(names) - {config.by, config.label, *config.static} else ()
    time = schema.time if schema.time in names else ""
    return replace(config, columns=config.columns or columns, time=config.time or time)


def _owned(path: Path, config: DataConfig) -> DataConfig:
    """With the column that tells one series from another: `series`, as ganvas writes it, where that is the first column and
    nobody says another one."""
    first = next(iter(columns_of(path)), "")
    own = not config.by and first in SERIES and first not in (*config.columns, *config.static)
    return replace(config, by=first) if own else config


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a table, of which nothing else is read; none of what cannot be read."""
    if not path.is_file():  # to open a pipe would wait for ever
        return []
    try:
        if path.suffix.lower() == ".parquet":
            return parquet.names(path)
        return _head(next(_rows(path), (0, []))[1])[0]
    except (GanvasError, OSError, UnicodeDecodeError, csv.Error):
        return []


def _mark(path: Path) -> str:
    """What stands between the fields of a table: a tab or semicolon, by which all of the first rows have as many fields, before a
    comma, which decimals may have; else the most frequent of them in the first row."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read(LOOKED_AT)
    if len(text) == LOOKED_AT:  # the last row may be cut
        text = text[: text.rfind("\n") + 1] or text
    for mark in "\t;":
        with suppress(csv.Error):
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark)  # lines may end in \r alone
            fields = {len(row) for row in itertools.islice(filter(None, rows), FIRST)}
            if len(fields) == 1 and fields != {1}:
                return mark
    return max(",;\t", key=io.StringIO(text, newline="").readline().count)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line of a table of text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        # A row of its own, unless a quotation mark that nothing closes has swallowed it with all lines before it.
        end = secrets.token_hex(16)
        closed = itertools.chain(lines(file, path, LONGEST_ROW), ["\n", end])
        reader, begun = csv.reader(closed, delimiter=_mark(path)), 1
        for row in reader:
            if row == [end]:
                return
            if row and row[-1].endswith(end):
                raise GanvasError(
                    f'{path}, line {begun:,}: a field begins with " and nothing ends it, up to the end of the file. Close it.'
                )
            if row:
                yield reader.line_num, [active(text.strip()) for text in row]
            begun = reader.line_num + 1


def lines(file: IO[str], path: Path, longest: int) -> Iterator[str]:
    """The lines of a file of text. Raises `GanvasError` for one of more letters: its fields would take many times as much."""
    for line in itertools.count(1):
        if not (text := file.readline(longest + 1)):
            return
        if len(text) > longest:
            raise GanvasError(
                f"{path}, line {line:,} has more than {longest:,} letters, which are read at most."
            )
        yield text


def _head(first: list[str]) -> tuple[list[str], bool]:
    """The names of columns, and whether they stand in the first row; where that holds numbers alone, they are counted. Those of
    an array in a pandas.DataFrame are counted already: 0, 1, 2, ..."""
    counted_so = [str(i) for i in range(len(first))]
    if all(number_in(text) is not None for text in first):
        return counted_so, len(first) >= LIKE_NAMES and first == counted_so
    nameless = len(first) > 1 and not first[0] and INDEX[0] not in first
    return ([INDEX[0], *first[1:]] if nameless else first), True


def _csv(path: Path, config: DataConfig) -> dict[str, Values]:
    """Columns by name; read twice, so that no text is kept in memory: once for what they are, once for their values."""
    rows = _rows(path)
    _, head = next(rows, (0, []))
    names, named = _head(head)
    check_columns(path, names)
    roles = (config.by, config.label)
    sniffed, count = [Sniffed() for _ in names], 0
    for line, row in rows if named else itertools.chain([(1, head)], rows):
        count += 1
        if len(row) != len(names):
            raise GanvasError(
                f"{path}, line {line:,}: {counted(len(row), 'field')}, and there are {counted(len(names), 'column')}."
            )
        for each, text in zip(sniffed, row, strict=True):
            each.see(text)
    check_rows(path, count, len(names), sum(name in roles for name in names))
    values = [array("d") for _ in names]
    keys = [dict[str, int]() for _ in names]
    again = _rows(path)
    if named:
        next(again)
    for name, each in zip(names, sniffed, strict=True):
        if name in roles:
            check_role(path, name, each.longest)
    mark = _mark(path)
    commas = mark != "," and any(each.number and each.decimals for each in sniffed)
    for name, each in zip(names, sniffed, strict=True):
        if name not in roles and (
            not config.columns or name in (*config.columns, *config.static, config.time)
        ):
            check_grouped(f"{path}: column {name!r}", each, mark, commas)
    kinds = [
        "text" if name in roles else kind_of_texts(each) for name, each in zip(names, sniffed, strict=True)
    ]
    for _, row in again:
        for kind, each, key, into, text in zip(kinds, sniffed, keys, values, row, strict=True):
            missing = text.lower() in MISSING
            if kind == "number":
                into.append(math.nan if missing else number_in(text) or 0.0)
            elif kind == "date":
                into.append(math.nan if missing else (date_in(text) or 0.0) / (86_400 if each.days else 1))
            else:
                into.append(key.setdefault(text, len(key)))
    found = {}
    for name, kind, each, key, into in zip(names, kinds, sniffed, keys, values, strict=True):
        unit = ("D" if each.days else "s") if kind == "date" else ""
        numbers = numbered(kind, np.asarray(into), list(key), unit)
        found[name] = replace(numbers, stray="" if name in roles or each.date else each.almost)
    return found


def _table(name: str, found: dict[str, Values], config: DataConfig) -> Table:
    """A table of the columns that were asked for, a sequence for each value of `config.by`."""
    rows = len(next(iter(found.values())).numbers)
    if rows < 2:
        raise GanvasError(f"{name} has {counted(rows, 'row')}; a series needs two steps at least.")
    roles = {"time": config.time, "by": config.by, "label": config.label}
    for flag, wanted in (
        ("columns", config.columns), ("static", config.static), *((role, (each,)) for role, each in roles.items() if each),
    ):  # fmt: skip
        if len(set(wanted)) < len(wanted):
            raise GanvasError(f"--{flag} names a column twice: {', '.join(wanted[:SHOWN])}.")
        for each in wanted:
            if each not in found:
                raise GanvasError(
                    f"{name} has no column {each!r} (--{flag}).{did_you_mean(each, list(found))} "
                    f"It has {', '.join(list(found)[:SHOWN])}."
                )
    if (config.static or config.label) and not config.by:
        flag = "static" if config.static else "label"
        raise GanvasError(
            f"--{flag} names what is constant in a sequence: say with --by which column tells one from another."
        )
    time = config.time or _time_of(found, config)
    taken = {time, config.by, config.label, *config.static}
    notes = []
    for place, each in enumerate(found):
        named = each == LEVEL or (place == 0 and each in INDEX)
        if named and each not in (*taken, *config.columns) and _numbers_rows(found[each]):
            taken.add(each)
            notes.append(f"Left out: {each} numbers the rows. To draw it, name it among --columns.")
    names = list(config.columns) or [each for each in found if each not in taken]
    for each in [*names, *config.static]:
        if found[each].kind == "other":
            names.remove(each)
            notes.append(f"Left out: {each} holds neither numbers, dates nor texts.")
        elif found[each].kind == "text":
            said = (
                f"{each} holds more than {MOST_CATEGORIES} different texts, or some of more than {LONGEST_NAME:,} letters, which "
                "are neither numbers nor ISO dates"
            )
            if each in config.columns or each in config.static:
                raise GanvasError(f"{name}: {said}.")
            names.remove(each)
            notes.append(f"Left out: {said}.")
        elif rows > FEW and len(found[each].names) == rows and each not in config.static:
            notes.append(
                f"Every row of {each} has another text: an identifier, or dates not written as 2020-01-31? Say with --columns "
                "what is to be drawn."
            )
        if stray := found[each].stray:
            notes.append(
                f"Is {each} a column of numbers? Few of its cells are none, one of them {stray[:40]!r}. Mend these for that."
            )
    if not names:
        raise GanvasError(f"{name} has no column of numbers or categories to draw.")
    owners = found[config.by].numbers if config.by else np.zeros(rows)
    order = np.arange(rows)
    if time:
        moments = found[time].numbers
        if found[time].kind not in ("number", "date") or np.isnan(moments).any():
            raise GanvasError(
                f"{name}: the column of time {time!r} must have a number or an ISO date in every row. Mend it, or call it "
                "otherwise: rows are then taken in their order."
            )
        order = np.lexsort((order, moments))
        if (np.diff(order) < 0).any() and not config.by:
            notes.append(f"The rows were sorted by {time}.")
        if not config.by and (np.diff(moments[order]) == 0).mean() >= TIED:
            notes.append(
                f"Many rows have the {time} of the row before. Does a column tell several series apart? Name it with --by."
            )
    order = order[np.argsort(owners[order], kind="stable")]
    edges = np.flatnonzero(np.diff(owners[order])) + 1
    count = len(edges) + 1
    check_memory(EACH_SERIES * count, f"{name} of {count:,} series", "Take a part of it")
    parts = np.split(order, edges)
    values = np.stack([found[each].numbers for each in names], 1)
    firsts = np.array([part[0] for part in parts])
    for each in (*config.static, *([config.label] if config.label else [])):
        own: np.ndarray = found[each].numbers
        for part in parts:
            if not np.array_equal(own[part], np.full(len(part), own[part[0]]), equal_nan=True):
                whose = found[config.by].names[int(owners[part[0]])]
                raise GanvasError(
                    f"{name}: column {each!r} changes within the sequence {whose!r}; it must be constant in each."
                )
    static = np.stack([found[each].numbers[firsts] for each in config.static], 1) if config.static else None
    if static is not None and np.isnan(static).any():
        missing = config.static[int(np.isnan(static).sum(0).argmax())]
        raise GanvasError(
            f"{name}: the static column {missing!r} has missing values. Fill them in, or leave it out."
        )
    labels, class_names = _labels(name, found, config, firsts)
    return Table(
        name, [_column(each, found[each]) for each in names], [values[part] for part in parts],
        [_column(each, found[each]) for each in config.static], static, labels, class_names, tuple(notes), time,
        found[time].unit if time else "", [found[time].numbers[part] for part in parts] if time else [], spelt=True,
    )  # fmt: skip


def _numbers_rows(values: Values) -> bool:
    """Whether a column may be the numbers of rows, of which some may be gone or in another order."""
    numbers = values.numbers
    whole = values.kind == "number" and bool((numbers == np.floor(numbers)).all())  # not so with one missing
    return whole and len(np.unique(numbers)) == len(numbers)


def _labels(
    name: str, found: dict[str, Values], config: DataConfig, firsts: np.ndarray
) -> tuple[Tensor | None, tuple[str, ...]]:
    if not config.label:
        return None, ()
    own = found[config.label]
    numbers, names, _ = number([own.names[int(i)] for i in own.numbers[firsts]], name)
    return numbers, names


def _column(name: str, values: Values) -> Column:
    kind: Kind = "number" if values.kind == "number" else "date" if values.kind == "date" else "category"
    return Column(name, kind, unit=values.unit, categories=values.names)


def _time_of(found: dict[str, Values], config: DataConfig) -> str:
    """The column of dates that never fall in a sequence, or never rise (the newest first): the first of those that change at the
    most rows, as what is the same in each sequence is no time of its steps. Empty where there is none."""
    found_at = dict[str, int]()
    named = {*config.columns, *config.static, config.by, config.label}
    owners = found[config.by].numbers if config.by else None
    for name, values in found.items():
        if values.kind == "date" and name not in named and not np.isnan(values.numbers).any():
            order = np.arange(len(values.numbers)) if owners is None else np.argsort(owners, kind="stable")
            same = np.ones(len(order) - 1, dtype=bool) if owners is None else np.diff(owners[order]) == 0
            steps = np.diff(values.numbers[order])[same]
            if steps.any() and ((steps >= 0).all() or (steps <= 0).all()):
                found_at[name] = int(np.count_nonzero(steps))
    return max(found_at, key=found_at.__getitem__, default="")


def _ts(path: Path) -> Table:
    """aeon's and sktime's text format of the UEA and UCR archives: a case a line, its dimensions between colons."""
    classes, sequences, labels, data, held = False, list[np.ndarray](), list[str](), False, 0
    known, wanted = set[str](), ""  # what the header says of classes and dimensions
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(lines(file, path, LONGEST_CASE), 1):
            text = text.strip()
            if not text or text.startswith(("#", "%")):
                continue
            if not data:
                words = text.lower().split()
                data = words[0] == "@data"
                if words[0] == "@classlabel":
                    classes, known = words[1:2] == ["true"], {*text.split()[2:]}
                elif words[:2] == ["@univariate", "true"]:
                    wanted = "1"
                elif words[0] in ("@dimension", "@dimensions") and len(words) > 1:
                    wanted = words[1]
                if words[:2] == ["@timestamps", "true"] or (
                    words[0] == "@targetlabel" and words[1:2] == ["true"]
                ):
                    raise GanvasError(
                        f"{path} has {words[0][1:]}, which are not read. Save the values as .npz or .csv."
                    )
                continue
            parts = text.split(":", MOST_COLUMNS + 1)
            if classes:
                labels.append(parts.pop().strip())
                if known and labels[-1] not in known:
                    raise GanvasError(
                        f"{path}, line {line:,} ends with the class {labels[-1][:40]!r}, which @classLabel does not name: the "
                        "line is cut, or the header is of another file."
                    )
            if wanted and wanted != str(len(parts)):
                raise GanvasError(
                    f"{path}, line {line:,} has {counted(len(parts), 'dimension')}, and its header says {wanted[:20]}. Correct "
                    "@univariate, @dimensions or @classLabel."
                )
            sequences.append(_case(path, line, parts))
            held += sequences[-1].nbytes + EACH_SERIES
            check_memory(held, f"{path} up to line {line:,}", "Take a part of it")
    if not sequences:
        raise GanvasError(f"{path} holds no series behind a line @data.")
    if len({sequence.shape[1] for sequence in sequences}) > 1:
        raise GanvasError(f"{path}: the series differ in their number of dimensions.")
    found, names = None, tuple[str, ...]()
    if classes:
        found, names, _ = number(labels, str(path))
    columns = [Column(str(i)) for i in range(sequences[0].shape[1])]
    return Table(show(path.stem), columns, sequences, labels=found, class_names=names)


def _case(path: Path, line: int, parts: Sequence[str]) -> np.ndarray:
    """The dimensions of a case (L, D); those that end earlier are missing behind it."""
    counts = [part.count(",") + 1 for part in parts]
    longest = max(counts, default=0)
    if not 0 < longest <= MOST_STEPS or len(parts) > MOST_COLUMNS:
        raise GanvasError(f"{path}, line {line:,}: {len(parts):,} dimensions of {longest:,} steps.")
    if longest * len(parts) > FILLED * sum(counts):
        raise GanvasError(
            f"{path}, line {line:,}: dimensions of {min(counts):,} to {longest:,} steps; filled up to the longest they would be "
            f"more than {FILLED} times as many numbers as there are."
        )
    found = []
    for part in parts:
        try:
            if "_" in part:  # Python's own numbers may have it between digits
                raise ValueError(f"there is an underscore in {part[:20]!r}")
            found.append(
                [math.nan if v.strip() in ("?", "NaN", "nan") else float(v) for v in part.split(",")]
            )
        except ValueError as error:
            raise GanvasError(
                f"{path}, line {line:,}: {str(error)[:80]}; expected numbers with commas, dimensions with colons."
            ) from error
    case = np.full((longest, len(found)), math.nan)
    for i, values in enumerate(found):
        case[: len(values), i] = values
    if np.isinf(case).any():
        raise GanvasError(f"{path}, line {line:,} holds infinity. Remove it first.")
    return case


def of_arrays(
    name: str, given: dict[str, np.ndarray], labels: Tensor | None, class_names: tuple[str, ...]
) -> Table:
    """The table of an array (N, T, D), with `lengths` (N,) and `static` (N, A) where they are given, or of one series (L, D).

    NaN is missing; steps at the end without any value are none. Raises `GanvasError` for what does not fit.
    """
    values = np.asarray(given["series"], dtype=np.float64)
    most = MOST_STEPS
    if values.ndim == 2:  # it is cut, as a table is, of any length
        values, most = values[None], len(values)
    if np.isinf(values).any() or not values.size or values.shape[2] > MOST_COLUMNS or values.shape[1] > most:
        what = "infinity" if values.size and np.isinf(values).any() else f"an array of shape {values.shape}"
        raise GanvasError(
            f"{name} holds {what}; series are finite floats (N, T, D), NaN where a value is missing, of up to {MOST_STEPS:,} "
            f"steps and {MOST_COLUMNS:,} columns. A longer one alone is (T, D), and cut by --window."
        )
    there = np.asarray(np.isfinite(values).sum(2) > 0)
    lengths = given.get("lengths")
    if lengths is None:
        lengths = np.where(there.sum(1) > 0, values.shape[1] - there[:, ::-1].argmax(1), 0)
    lengths = np.asarray(lengths)
    if lengths.shape != (len(values),) or lengths.dtype.kind not in "iu":
        raise GanvasError(
            f"{name}: lengths are {lengths.dtype} of shape {lengths.shape}; expected whole numbers ({len(values)},)."
        )
    if given.get("lengths") is None and lengths.min() < 1:
        raise GanvasError(f"{name}: of series {int(lengths.argmin())} every value is missing. Leave it out.")
    if lengths.min() < 1 or lengths.max() > values.shape[1]:
        raise GanvasError(
            f"{name}: lengths go from {lengths.min()} to {lengths.max()}; expected 1 to {values.shape[1]}."
        )
    static = given.get("static")
    if static is not None:
        if static.dtype.kind not in "fiub":
            raise GanvasError(f"{name}: static values are {static.dtype}; expected numbers.")
        static = np.asarray(static, dtype=np.float64)
        fits = static.ndim == 2 and len(static) == len(values) and static.shape[1] <= MOST_COLUMNS
        if not fits or not np.isfinite(static).all():
            raise GanvasError(
                f"{name}: static values have shape {static.shape}; expected finite numbers ({len(values)}, A), A at most "
                f"{MOST_COLUMNS:,}."
            )
    sequences = [row[:length] for row, length in zip(values, lengths, strict=True)]
    return Table(
        name, _columns(name, given.get("columns"), values.shape[2], ""), sequences,
        [] if static is None else _columns(name, given.get("static_columns"), static.shape[1], "static "),
        static, labels, class_names,
    )  # fmt: skip


def _columns(name: str, given: np.ndarray | None, count: int, prefix: str) -> list[Column]:
    """Columns of numbers with the names that are given, or their numbers."""
    if given is None:
        return [Column(f"{prefix}{i}") for i in range(count)]
    names = [str(each) for each in given] if given.dtype.kind == "U" and given.shape == (count,) else []
    if len(set(names)) != count:
        raise GanvasError(
            f"{name}: columns must be {count} different names, got {given.dtype} of shape {given.shape}."
        )
    check_names(names, f"{name}: the names of columns")
    return [Column(each) for each in names]
