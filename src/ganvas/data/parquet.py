"""Parquet files, read by pyarrow (extra `parquet`) into the columns of a table as those of a .csv are.

Nothing is decoded before the footer has said how much there is. Columns are read one at a time, a few thousand rows at once, and
texts come as numbers of entries in a dictionary, so that neither many equal rows nor long texts take more than they are worth.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ganvas.config import DataConfig
from ganvas.data.columns import (
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
from ganvas.data.limits import check_growth, check_memory
from ganvas.errors import GanvasError, install
from ganvas.series import MOST_COLUMNS

ROWS = 2**14
"""That are decoded at once."""
TAIL = 8
"""Bytes of the end of a file: how long its footer is, and the letters PAR1."""
IN_MEMORY = 256
"""Bytes that the library may take for each of a footer."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read(path: Path, config: DataConfig) -> dict[str, Values]:
    """Columns by name. Raises `GanvasError` for what cannot be read, is too large, or is asked for and is of another kind."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise GanvasError(
            f"{path}: .parquet is read by pyarrow, which is not installed. Install it: {install('parquet')}"
        ) from error
    _check_footer(path)
    try:
        footer = parquet.read_metadata(path)
        if footer.num_columns > MOST_COLUMNS:
            raise GanvasError(
                f"{path} has {footer.num_columns:,} columns; {MOST_COLUMNS:,} are taken at most."
            )
        if footer.num_rows < 0:
            raise GanvasError(f"{path} is damaged: its footer says {footer.num_rows:,} rows.")
        schema = footer.schema.to_arrow_schema()
        kinds = {field.name: _kind(field.type) for field in schema}
        for column in (footer.schema.column(i) for i in range(len(footer.schema))):
            # Decimals of any length come unfolded: only texts do not.
            if column.physical_type == "BYTE_ARRAY" and kinds.get(column.path) not in ("text", None):
                kinds[column.path] = ""
        check_columns(path, schema.names)
        texts = [name for name, kind in kinds.items() if kind == "text"]
        roles = {config.by, config.label} & set(kinds)
        check_rows(path, footer.num_rows, len(kinds), len({*texts, *roles}))
        # Not of the columns: what the library finds wrong in those when they are asked for ends the process.
        unpacked = sum(max(0, footer.row_group(i).total_byte_size) for i in range(footer.num_row_groups))
        check_growth(path.stat().st_size, unpacked, str(path))
        check_memory(unpacked, f"{path}, unpacked,", "Take a part of it")
        asked = {*config.columns, *config.static, config.time, config.by, config.label}
        found, seen = {}, dict[str, Sniffed]()
        with parquet.ParquetFile(path, metadata=footer, read_dictionary=texts) as file:
            for field in schema:
                kind = kinds[field.name]
                if kind and field.name in roles:
                    kind = "text"
                if kind:
                    found[field.name] = _column(path, file, field.name, kind, field.name in roles, seen)
                elif field.name in asked:
                    raise GanvasError(
                        f"{path}: column {field.name!r} holds {str(field.type)[:80]}; numbers, dates and texts are read."
                    )
                else:
                    found[field.name] = Values("other", np.broadcast_to(np.nan, footer.num_rows))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise GanvasError(f"{path} cannot be read as .parquet: {str(error)[:200]}") from error
    commas = any(each.number and each.decimals for each in seen.values())
    for name, each in seen.items():
        if not config.columns or name in asked:
            check_grouped(f"{path}: column {name!r}", each, "", commas)
    if all(each.kind == "other" for each in found.values()):
        raise GanvasError(f"{path} has no column of numbers, dates or texts.")
    return found


def names(path: Path) -> list[str]:
    """Names of the columns; none where they cannot be read. Raises `GanvasError` for a file that is not whole."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        return []
    _check_footer(path)
    try:
        return [str(name) for name in parquet.read_schema(path).names]
    except (ArrowException, OverflowError):
        return []


def _check_footer(path: Path) -> None:
    """Raise `GanvasError` unless the file ends as a Parquet file does, with a footer that there is memory for."""
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - TAIL))
        end = file.read(TAIL)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or length + TAIL > size:
        raise GanvasError(f"{path} is no whole .parquet file: its end is missing.")
    check_memory(IN_MEMORY * length, f"The footer of {path}", "Take a part of it")


def _kind(type: Any) -> str:
    """What a column of an Arrow type is: number, date or text; "" for what no table of text could hold."""
    from pyarrow import types

    if types.is_dictionary(type):
        return _kind(type.value_type)
    if types.is_integer(type) or types.is_floating(type) or types.is_decimal(type):
        return "number"
    if types.is_date(type) or types.is_timestamp(type):
        return "date"
    texts = types.is_string(type) or types.is_large_string(type) or types.is_boolean(type)
    return "text" if texts or str(type) == "string_view" else ""


def _column(path: Path, file: Any, name: str, kind: str, role: bool, seen: dict[str, Sniffed]) -> Values:
    """The values of one column; what its texts look like, where it is one of texts and no role, goes into `seen`."""
    rows, place = file.metadata.num_rows, 0
    numbers, texts = np.full(rows, np.nan), _Texts(name)
    for batch in file.iter_batches(ROWS, columns=[name]):
        column = batch.column(batch.schema.get_field_index(name))
        if place + len(column) > rows:
            break
        column.validate(full=True)  # a dictionary may lack entries that rows have
        found = texts.take(column) if kind == "text" else _numbers(column, kind)
        numbers[place : place + len(column)] = found
        place += len(column)
        if texts.hopeless and not role:
            return Values("text", numbers)
    if place != rows:
        raise GanvasError(f"{path}: column {name!r} has other rows than the {rows:,} that its footer says.")
    if kind == "text":
        if role:
            check_role(path, name, texts.sniffed.longest)
        else:
            seen[name] = texts.sniffed
        return texts.values(numbers, "text" if role else kind_of_texts(texts.sniffed))
    if np.isinf(numbers).any():
        raise GanvasError(f"{path}: column {name!r} holds infinity. Remove it first.")
    if kind == "number":
        return Values(kind, numbers)
    days = not (numbers % 86_400 > 0).any()
    return Values(kind, numbers / 86_400 if days else numbers, unit="D" if days else "s")


def _numbers(column: Any, kind: str) -> np.ndarray:
    """Numbers, or seconds from 1970 (n,); NaN is missing."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_date(column.type):
        return 86_400.0 * _floats(column.cast(pyarrow.date32()).cast(pyarrow.int32()))
    if kind == "date":
        return _floats(column.cast(pyarrow.int64())) / PER_SECOND[column.type.unit]
    return _floats(column)


def _floats(column: Any) -> np.ndarray:
    """The numbers of a column (n,); NaN is missing."""
    import pyarrow

    found: np.ndarray = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


class _Texts:
    """The texts of a column, numbered as they come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sniffed = Sniffed()
        self.keys: dict[str, int] = {}

    @property
    def hopeless(self) -> bool:
        """Whether they are too many, or too long, to be anything."""
        s = self.sniffed
        return not (s.number or s.date) and kind_of_texts(s) == "text"

    def take(self, column: Any) -> np.ndarray:
        """The numbers of some more (n,)."""
        import pyarrow
        from pyarrow import types

        # Spelled as Python and pandas write them into a .csv: it is the same table.
        capital = types.is_boolean(column.type)
        if not types.is_dictionary(column.type):
            column = column.cast(pyarrow.string()).dictionary_encode()
        # Missing ones are empty texts, as in a .csv; entries that no row has are not looked at.
        used, places = np.unique(
            column.indices.fill_null(-1).to_numpy(zero_copy_only=False), return_inverse=True
        )
        texts = ["" if i < 0 else str(column.dictionary[int(i)]).strip() for i in used]
        texts = [text.capitalize() if capital else text for text in texts]
        for text in texts:
            self.sniffed.see(text)
        return np.array([self.keys.setdefault(text, len(self.keys)) for text in texts], dtype=float)[places]

    def values(self, numbers: np.ndarray, kind: str) -> Values:
        """What the column is, of the numbers of its texts (rows,)."""
        texts = list(self.keys)
        if kind == "number":
            known = [number_in(text) for text in texts]
        elif kind == "date":
            per = 86_400 if self.sniffed.days else 1
            known = [None if (moment := date_in(text)) is None else moment / per for text in texts]
        else:
            return numbered(kind, numbers, texts)
        unit = ("D" if self.sniffed.days else "s") if kind == "date" else ""
        read = np.array([np.nan if value is None else value for value in known] or [np.nan])
        return Values(kind, read[numbers.astype(int)], unit=unit)
