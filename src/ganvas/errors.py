"""The errors that ganvas raises on purpose.

Each message says what was wrong, what was expected and what to type.
"""

import errno
import os
import reprlib
import sys
import unicodedata
from importlib import metadata
from typing import Any

LONGEST, ENDING = 4000, 1000
"""Letters of a message, and of its end where its middle is left out: names in files may have millions."""


class GanvasError(Exception):
    """The user can fix this: a wrong path, name, size or file. The command line exits with code 2."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST else f"{text[: LONGEST - ENDING - 5]} ... {text[-ENDING:]}"


class TrainingError(GanvasError):
    """A run that cannot continue (non-finite losses). The last good snapshot is kept. Exit code 1."""


class Interrupted(TrainingError):
    """A series of runs that was stopped by Ctrl-C or a signal. Exit code 130."""


def expect(value: Any, kinds: type | tuple[type, ...], name: str, wanted: str) -> None:
    """Raise `GanvasError` unless `value` is of one of the kinds; `name` and `wanted` say it: `data is 5; it must be ...`."""
    if not isinstance(value, kinds):
        raise GanvasError(f"{name} is {brief(value)}; it must be {wanted}.")


def brief(value: Any) -> str:
    """What a value of a file or a call is, in some letters: it may hold millions."""
    return " ".join(reprlib.repr(value).split())


PATH: tuple[type, ...] = (str, os.PathLike)
"""What a path may be."""


def explain_os_error(error: OSError, doing: str) -> GanvasError:
    """Turn a failed write into a message that names the file and the way out."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return GanvasError(
            f"The disk is full (or its quota is used up): could not finish {doing}{where}. Nothing half-written was kept. "
            "Free some space or choose another folder with --out, then give the same command again."
        )
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        return GanvasError(
            f"Could not finish {doing}{where}: something else was written there in the meantime, and is kept. "
            "Choose another name, and give the same command again."
        )
    return GanvasError(f"Could not finish {doing}{where}: {error.strerror or error}.")


def is_of_memory(error: Exception) -> bool:
    """Whether an error says that there was not enough memory: Python's, NumPy's and torch's own, of which one is plain."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "allocate memory" in str(error)
    )


def printable(text: str) -> str:
    """Text from a file as a terminal may have it: what is no visible character, and could rewrite the screen, is spelled out.

    Spaces of any width stay, and so do the two signs that say which letters of Persian or Hindi are joined.
    """

    def stays(each: str) -> bool:
        return each.isprintable() or each in "\n\u200c\u200d" or unicodedata.category(each) == "Zs"

    return "".join(each if stays(each) else each.encode("unicode_escape").decode() for each in text)


def counted(count: int, thing: str, things: str = "") -> str:
    """`1 image`, `2,000 images`; `things` where the plural is more than an s."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def size(count: int) -> str:
    """What a file of so many bytes has: `700 bytes`, `27 KiB`, `1.4 MiB`."""
    if count < 1024:
        return counted(count, "byte")
    return f"{count / 2**10:.0f} KiB" if count < 2**20 - 2**9 else f"{count / 2**20:.1f} MiB"


def lasting(seconds: float) -> str:
    """About how long: `40 s`, `12 min`, `8.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def install(extra: str) -> str:
    """The command that installs what an extra of ganvas needs, wherever ganvas itself came from: an index, a clone, a wheel.

    It names the packages and not `ganvas[extra]`, which an index may not know and pip would fetch anew.
    """
    try:
        wanted = [line for line in metadata.requires("ganvas") or [] if f'extra == "{extra}"' in line]
    except metadata.PackageNotFoundError:  # run from its sources: they say it too
        wanted = []
    names = " ".join(f"'{line.split(';')[0].strip()}'" for line in wanted) or f"'ganvas[{extra}]'"
    return f"{sys.executable or 'python'} -m pip install {names}"
