"""The user's cache folder, and what is downloaded into it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from ganvas.errors import GanvasError, printable

PAUSE, SLOWEST, LARGEST = 60.0, 20_000, 2**28
"""Seconds that a download may take whatever its size; bytes a second, below which it is not waited for longer; most bytes: what
is fetched here has 91 MB at most, and what else a server sends does not fill the memory."""


def cache_folder() -> Path:
    """Where downloads are kept: GANVAS_CACHE, or `ganvas` in the user's cache folder."""
    if own := os.environ.get("GANVAS_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "ganvas"
    except RuntimeError as error:  # no HOME, and a user whom the system does not know, as in a container
        raise GanvasError(
            "There is no home folder to keep anything in. Name one for it: GANVAS_CACHE=/tmp/ganvas"
        ) from error


COMPILED = "TORCHINDUCTOR_CACHE_DIR"
"""The variable that names torch's folder of compiled networks."""


def keep_compiled() -> None:
    """Have torch keep what it compiles in the cache, unless a variable says where.

    By itself it takes folders of /tmp with names that are known, which any user of the machine can make before this one: one is
    made as soon as an optimiser is, and what lies in them is unpickled and run.
    """
    with suppress(GanvasError, OSError):
        folder = (cache_folder() / "compiled").absolute()
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            os.environ.setdefault(COMPILED, str(folder))
            # Kernels of GPUs, loaded for an ordinary sum where NVIDIA's compiler of them is installed.
            os.environ.setdefault("QUACK_CACHE_DIR", str(folder / "quack"))
            return
    os.environ.setdefault("QUACK_CACHE_ENABLED", "0")


def check_compiled() -> None:
    """Raise `GanvasError` where others made a folder that torch compiles into, or may write there: it runs what it finds."""
    if os.name != "posix":
        return
    torch_has = import_module("torch._inductor.runtime.cache_dir_utils")
    # Headers lie in the folder of /tmp whatever the variable says, and are compiled into what runs.
    ways = {torch_has.default_cache_dir(): "TMPDIR=$HOME/.cache"}
    ways[torch_has.cache_dir()] = f"{COMPILED}=$HOME/.cache/compiled"
    for folder, way in ways.items():
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)  # from now on nobody else can
        # Of a link, too: whoever made it can lead it elsewhere.
        if any(found.st_uid != os.getuid() for found in (os.lstat(folder), os.stat(folder))) or (
            os.stat(folder).st_mode & 0o002
        ):
            raise GanvasError(
                f"{folder} is not yours alone, and torch would run what others put there. Name a folder of your own: {way}"
            )


def fetch(url: str, otherwise: str) -> bytes:
    """What lies at `url`; raises `GanvasError` that ends with `otherwise`, the way without a download."""
    import urllib.request  # slow to import, and every command looks for the cache
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(url, timeout=PAUSE) as response:
            begun, content = time.monotonic(), bytearray()
            while piece := response.read1(2**20):
                content += piece
                if time.monotonic() - begun > PAUSE + len(content) / SLOWEST:
                    raise TimeoutError(f"{len(content):,} bytes in {time.monotonic() - begun:.0f} s")
                if len(content) > LARGEST:
                    raise OSError(f"more than {LARGEST:,} bytes come, and no file of ganvas' is so large")
    except (OSError, HTTPException) as error:  # what is no HTTP is no OSError
        said = printable(str(error).strip() or type(error).__name__)
        raise GanvasError(f"Could not download {url}: {said}. {otherwise}") from error
    return bytes(content)


@contextmanager
def keeping() -> Iterator[None]:
    """Around writing what was downloaded: where there is no room the `GanvasError` says how another cache is named."""
    try:
        yield
    except GanvasError as error:
        raise GanvasError(
            f"{error} That is the cache: another folder is named by GANVAS_CACHE=FOLDER."
        ) from error
