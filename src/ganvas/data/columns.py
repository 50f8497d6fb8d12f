"""Columns of tables as they are read: what their texts may be (a number, a date, a category), and their values as numbers."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ganvas.data.labels import natural
from ganvas.data.limits import check_memory
from ganvas.errors import GanvasError
from ganvas.series import LONGEST_NAME, MOST_CATEGORIES, MOST_COLUMNS, check_names

OF_SHEETS = {
    "#n/a", "#n/a n/a", "#na", "<na>", "#calc!", "#div/0!", "#field!", "#getting_data", "#name?", "#null!", "#num!", "#ref!",
    "#spill!", "#value!",
}  # fmt: skip
"""What spreadsheets write where a formula has no value."""
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"} | OF_SHEETS
"""Texts, in small letters, that stand for no number and no date; among categories they are some of their own."""
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
"""Numbers whose commas may stand between thousands: 1,234 is 1234 or 1.234."""
DOTTED = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
"""Numbers whose point may stand between thousands, where commas are the decimal ones."""
FEW = 5
"""Cells of a column of numbers that are none, which may be slips of whoever wrote it."""
BYTES, BYTES_OF_NAME = 24, 200
"""That a field of a table takes while it is read, and a text that tells sequences or classes apart."""


@dataclass
class Values:
    """A column as it was read."""

    kind: str
    """number, date, category; text, of which there are too many kinds; or other, which no table of text could hold."""
    numbers: np.ndarray
    """(rows,) float64; NaN is missing."""
    names: tuple[str, ...] = ()
    """Of the categories."""
    unit: str = ""
    stray: str = ""
    """Of a column that is no number for a few cells: what one of them holds."""


@dataclass
class Sniffed:
    """What the texts of a column may be."""

    number: bool = True
    date: bool = True
    days: bool = True
    grouped: str = ""
    """A number that `GROUPED` describes, one that can be nothing else where there is one."""
    plain: bool = False
    """Whether there are numbers without a comma."""
    decimals: bool = False
    """Whether there are numbers whose comma can only be the decimal one."""
    dotted: str = ""
    """A number that `DOTTED` describes."""
    points: bool = False
    """Whether there are numbers whose point can only be the decimal one."""
    texts: set[str] = field(default_factory=set)
    longest: int = 0
    seen: int = 0
    """Cells that are not missing."""
    strays: int = 0
    """Cells that are no number, counted up to `FEW`."""
    stray: str = ""
    """The first of them."""

    @property
    def almost(self) -> str:
        """What stands among numbers, where nine of ten cells are such; empty elsewhere."""
        return self.stray if 0 < self.strays <= min(FEW, self.seen / 10) else ""

    def see(self, text: str) -> None:
        """One more text."""
        self.longest = max(self.longest, len(text))
        if len(self.texts) <= MOST_CATEGORIES and self.longest <= LONGEST_NAME:
            self.texts.add(text)
        if text.lower() in MISSING:
            return
        self.seen += 1
        if self.number and GROUPED.fullmatch(text):
            self.grouped = text if number_in(text) is None else self.grouped or text
        elif self.number:
            self.number = number_in(text) is not None
            self.plain |= "," not in text
            self.decimals |= "," in text
            self.dotted = self.dotted or (text if DOTTED.fullmatch(text) else "")
            self.points |= "." in text and not DOTTED.fullmatch(text)
        if not self.number and self.strays <= FEW and number_in(text) is None:
            self.strays, self.stray = self.strays + 1, self.stray or text
        if self.date:
            moment = date_in(text)
            self.date = moment is not None
            self.days = self.days and moment is not None and moment % 86_400 == 0


def check_grouped(name: str, sniffed: Sniffed, mark: str, commas: bool = False) -> None:
    """Raise `GanvasError` for a column of numbers whose commas are those of thousands, or may be: no factor is guessed.

    Commas are decimal ones where one of them can be nothing else, or where all numbers have one and fields are not parted by it.
    Beside such ones, in the column or (`commas`) in others, points may part thousands.
    """
    sure = sniffed.decimals or (mark != "," and not sniffed.plain)
    if sniffed.number and sniffed.grouped and not (sure and number_in(sniffed.grouped) is not None):
        raise GanvasError(
            f"{name} holds numbers like {sniffed.grouped!r}, whose commas may part thousands. Write them without "
            f"({sniffed.grouped.replace(',', '')}), and decimals with a point."
        )
    if sniffed.number and sniffed.dotted and not sniffed.points and (sniffed.decimals or commas):
        raise GanvasError(
            f"{name} holds numbers like {sniffed.dotted!r}, whose points may part thousands, as decimals have a comma here. "
            f"Write them without ({sniffed.dotted.replace('.', '')}), or all decimals with a point."
        )


def number_in(text: str) -> float | None:
    """A finite number, with a decimal point or comma; None for other texts."""
    try:
        value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def date_in(text: str) -> float | None:
    """Seconds from 1970 of a date or time as ISO 8601 writes it; None for other texts."""
    if len(text) < 8 or text.count("-") < 2:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def kind_of_texts(sniffed: Sniffed) -> str:
    """number, date, category or text."""
    if sniffed.number:
        return "number"
    if sniffed.date:
        return "date"
    few = len(sniffed.texts) <= MOST_CATEGORIES and sniffed.longest <= LONGEST_NAME
    return "category" if few else "text"


def numbered(kind: str, numbers: np.ndarray, keys: Sequence[str], unit: str = "") -> Values:
    """Values whose texts are numbered as they came -> numbered in natural order."""
    if kind in ("number", "date"):
        return Values(kind, numbers, unit=unit)
    order = sorted(range(len(keys)), key=lambda i: natural(keys[i]))
    place = np.empty(max(1, len(keys)))
    place[order] = np.arange(len(order))
    return Values(kind, place[numbers.astype(int)], tuple(keys[i] for i in order))


def check_role(path: Path, name: str, longest: int) -> None:
    """Raise `GanvasError` for a column that tells sequences or classes apart by texts that are too long."""
    if longest > LONGEST_NAME:
        raise GanvasError(
            f"{path}: column {name!r} tells sequences or classes apart by texts of up to {longest:,} letters; "
            f"{LONGEST_NAME:,} are taken at most."
        )


def check_rows(path: Path, rows: int, columns: int, texts: int) -> None:
    """Raise `GanvasError` for more rows than there is memory to read; `texts` of the columns keep their texts."""
    wanted = BYTES * columns + BYTES_OF_NAME * texts
    check_memory(wanted * rows, f"{path} of {rows:,} rows", "Take a part of it")


def check_columns(path: Path, names: Sequence[str]) -> None:
    """Raise `GanvasError` for none or too many, and for names that are none or are there twice."""
    if not names:
        raise GanvasError(f"{path} is empty.")
    if len(names) > MOST_COLUMNS:
        raise GanvasError(f"{path} has {len(names):,} columns; {MOST_COLUMNS:,} are taken at most.")
    check_names(names, f"{path}: the names of columns")
    own = "every column needs a name of its own"
    if "" in names:
        raise GanvasError(f"{path}: {own}, and column {names.index('') + 1} of {len(names)} has none.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise GanvasError(f"{path}: {own}, and {twice[0]!r} is there twice.")
