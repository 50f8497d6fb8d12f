"""How much a data set may hold. Asked of headers and directories, before anything is unpacked or allocated.

A limit stands for what people really have; who has more raises it with the variable that the message names.
"""

import os

from ganvas.errors import GanvasError

LIMITS = {
    "GANVAS_MAX_GB": 16.0,
    "GANVAS_MAX_CLASSES": 32_768.0,
    "GANVAS_MAX_MEGAPIXELS": 64.0,
    "GANVAS_MAX_FILES": 2_000_000.0,
}
"""Name of the environment variable -> default (docs/commands.md, the environment)."""

ALWAYS = 2**28
"""Bytes that every machine has: arrays that cannot stream are read up to here whatever GANVAS_RESIDENT_MB says."""

EACH_SERIES = 600
"""Bytes that a series takes beside its numbers, while it is read and cut: of many short ones it is most of them."""
EACH_BYTE = 4
"""Samples in a byte of a packed file: of pictures that people have none has less than a few bytes."""
EACH_LABEL = 64
"""Bytes that a label takes while it is numbered, and the size of a picture while those of all are looked at."""


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise GanvasError(f"{name} is {text!r}; it must be a number from 0.")
    return value


def limit(name: str) -> float:
    """The limit called `name`: its variable in the environment, else its default."""
    text = os.environ.get(name)
    return _number(name, text) if text else LIMITS[name]


def check_growth(packed: int, unpacked: int, what: str) -> None:
    """Raise `GanvasError` when unpacking adds more than GANVAS_MAX_GB to what lies on the disk."""
    most = limit("GANVAS_MAX_GB")
    if (unpacked - packed) / 1e9 > most:
        raise GanvasError(
            f"{what} unpacks {packed / 1e6:,.1f} MB to {unpacked / 1e9:,.1f} GB, more than the {most:g} GB that may be added: "
            f"a decompression bomb? If it is yours, set GANVAS_MAX_GB={unpacked / 1e9:.0f}."
        )


def check_count(packed: int, count: int, what: str) -> None:
    """Raise `GanvasError` for more than GANVAS_MAX_FILES pictures or series of which `EACH_BYTE` and more lie in a byte: each is
    looked at alone, which takes longer than to unpack it.
    """
    most = limit("GANVAS_MAX_FILES")
    if count > max(most, EACH_BYTE * packed):
        raise GanvasError(
            f"{what} unpacks {packed / 1e3:,.1f} kB to {count:,} samples, more than the {most:,.0f} that are taken of so few "
            f"bytes: a decompression bomb? If it is yours, set GANVAS_MAX_FILES={count}."
        )


def check_memory(size: int, what: str, otherwise: str) -> None:
    """Raise `GanvasError`, ending with `otherwise`, when `size` bytes are more than `memory_limit` and not few."""
    most = max(memory_limit(), ALWAYS)
    if size > most:
        raise GanvasError(
            f"{what} holds {size / 1e6:,.0f} MB, more than the {most / 1e6:,.0f} MB that data may take in memory. "
            f"{otherwise}, or set GANVAS_RESIDENT_MB={-(-size // 2**20)}."
        )


def memory_limit() -> int:
    """Bytes of data that may stay in memory: a third of what the machine has, or GANVAS_RESIDENT_MB."""
    if chosen := os.environ.get("GANVAS_RESIDENT_MB"):
        return int(min(_number("GANVAS_RESIDENT_MB", chosen), 2.0**40) * 2**20)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 3
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30
