"""One line a figure, with everything that tells what it may be compared with."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from itertools import compress
from pathlib import Path

from ganvas import notebook
from ganvas.checkpoint import DIGITS, OLD_DIGITS
from ganvas.config import from_dict
from ganvas.errors import GanvasError
from ganvas.io import Json, read_json
from ganvas.metrics.base import better

LONGEST = 4096
"""Letters of a text in a row: as long as the longest path."""


@dataclass(frozen=True)
class Row:
    """A figure and how it was made."""

    metric: str
    value: float
    error: float | None
    error_kind: str
    """`subsets` (spread over random subsets), `jackknife`, `bootstrap` or `samples` (standard errors), or empty."""
    floor: float | None
    """What `floor_n` held-out real samples score against the same reference."""
    floor_n: int
    n: int
    reference_n: int
    seed: int
    extractor: str
    resize: str
    reference: str
    fingerprint: str
    """Of the reference data."""
    source: str
    """Model or images that were measured."""
    snapshot: str
    kimg: float | None
    note: str = ""
    better: str = ""
    """`lower`, `higher` or `near X`; empty where the metric does not say."""
    at_floor_n: float | None = None
    """The figure of `floor_n` of the samples: what the floor is to be compared with."""
    split: str = ""
    """Which part of the data is the reference; empty in files from before this was kept."""
    p_value: float | None = None
    """Of a test of series: chance of such a figure for samples from the data's own distribution."""
    floor_p: float | None = None
    """That of the held-out real samples."""
    labels: str = ""
    """How the classes of a conditional model's samples were chosen: `data` or `uniform`; empty where nobody chose."""

    @property
    def classes(self) -> str:
        """How the classes of the samples were chosen, in words; empty where nobody chose."""
        return {"data": "classes in the shares of the data", "uniform": "as many samples of each class"}.get(
            self.labels, ""
        )

    @property
    def label(self) -> str:
        """Name with the extractor in it; FID for the Frechet distance of Inception-2015 alone."""
        if self.metric == "frechet" and self.extractor.startswith("inception-2015"):
            protocol = self.resize.split(" ")[0]
            return "FID" if protocol == "tf1" else f"FID ({protocol})"
        return self.metric

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook.table(*cells([self]))

    def to_json(self) -> Json:
        """Plain values; what is not finite becomes text, which JSON has room for."""
        return {k: str(v) if isinstance(v, float) and v - v != 0 else v for k, v in asdict(self).items()}

    @staticmethod
    def from_json(values: Json) -> "Row":
        """The row that `to_json` wrote. Raises `GanvasError` for anything else."""
        try:
            fixed: Json = {
                k: float(v)
                if k in ("value", "error", "floor", "at_floor_n", "p_value", "floor_p") and isinstance(v, str)
                else v
                for k, v in values.items()
            }
            found = from_dict(Row, {"better": better(str(fixed.get("metric"))), **fixed}, "row")
            if any(isinstance(text, str) and len(text) > LONGEST for text in asdict(found).values()):
                raise ValueError(f"a text of more than {LONGEST:,} letters")
            return found
        except (TypeError, ValueError, AttributeError, GanvasError) as error:
            raise GanvasError(f"This is no row of ganvas eval: {error}") from error


def rows_among(lines: Iterable[Json]) -> list[Row]:
    """The rows among the lines of a run's metrics.jsonl; what another version or anybody else wrote there is left out."""
    found = []
    names = {each.name for each in fields(Row)}
    for line in lines:
        # An error would look for the name that is meant, which takes minutes of a file of forged ones.
        if line.keys() <= names:
            with suppress(GanvasError):
                found.append(Row.from_json(line))
    return _by_today(found)


def name_of_before(extractor: str) -> str:
    """What an extractor that is named by its weights was called when that was by eight digits of them."""
    return extractor[: OLD_DIGITS - DIGITS]


def _by_today(rows: list[Row]) -> list[Row]:
    """Extractors of before were named by eight digits of their weights: they get the name of today that another row has."""
    names = {row.extractor for row in rows}
    whole = [name for name in names if re.search(rf"-[0-9a-f]{{{DIGITS}}}$", name)]
    old = Counter(map(name_of_before, whole))
    today = {before: name for name in whole if old[before := name_of_before(name)] == 1}
    return [replace(row, extractor=today.get(row.extractor, row.extractor)) for row in rows]


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of a table of figures of one set of samples."""

    def written(value: float | None, digits: int = 4) -> str:
        return "" if value is None else f"{value:.{digits}g}"

    counts = {row.floor_n for row in rows if row.floor is not None}
    beside = any(row.at_floor_n is not None and 0 < row.floor_n < row.n for row in rows)
    tests = any(row.p_value is not None for row in rows)
    # Of several evaluations, or measures, the floors may be of several N: each figure then says its own.
    same = f"{min(counts):,}" if len(counts) == 1 else ""
    ends = ["" if same else f" (N={row.floor_n:,})" for row in rows]
    at, floor = (f"at N={same}", f"floor (N={same})") if same else ("at the floor's N", "floor")
    heads = ["metric", "value", "±", "p", at, floor, "its p", "better"]
    kept = [True, True, True, tests, beside, bool(counts), tests, True]
    found = [
        [
            row.label,
            written(row.value),
            written(row.error, 2),
            written(row.p_value, 2),
            written(row.at_floor_n),
            written(row.floor) and written(row.floor) + end,
            written(row.floor_p, 2),
            row.better,
        ]
        for row, end in zip(rows, ends, strict=True)
    ]
    return list(compress(heads, kept)), [list(compress(row, kept)) for row in found]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `ganvas eval --json` or `evaluate` wrote. Raises `GanvasError` for anything else."""
    rows = read_json(path).get("rows")
    if not isinstance(rows, list) or not rows:
        raise GanvasError(f"{path} holds no rows of figures. Give a file that ganvas eval wrote.")
    return [Row.from_json(row) for row in rows]


def check_comparable(rows: Iterable[Row]) -> None:
    """Raise `GanvasError` unless all rows share extractor, resizing, reference, its part, number and classes of samples."""
    rows = _by_today(list(rows))
    for field, word in (
        ("extractor", "extractors"), ("resize", "resizing"), ("fingerprint", "references"),
        ("n", "numbers of samples"), ("reference_n", "reference sizes"), ("split", "parts of the reference"),
        ("labels", "shares of the classes"),
    ):  # fmt: skip
        found = sorted({str(getattr(row, field)) for row in rows} - {""})
        if len(found) > 1:
            raise GanvasError(
                f"These figures cannot be compared: different {word} ({' and '.join(found[:3])}). "
                "Measure them again with the same --extractor, --reference, --n and --labels."
            )


def compare(*measured: Sequence[Row]) -> list[tuple[str, list[float | None]]]:
    """(metric, its value in each set of rows), for rows that may be compared. Raises `GanvasError` for others."""
    check_comparable([row for rows in measured for row in rows])
    names = list(dict.fromkeys(row.metric for rows in measured for row in rows))
    tables = [{row.metric: row.value for row in rows} for rows in measured]
    return [(name, [table.get(name) for table in tables]) for name in names]
