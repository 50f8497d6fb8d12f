"""The user's cache folder, and what is downloaded into it."""

import os
import time
import urllib.request
from pathlib import Path

from ganvas.errors import GanvasError

PAUSE, SLOWEST = 60.0, 20_000
"""Seconds that a download may take whatever its size; bytes a second, below which it is not waited for longer."""


def cache_folder() -> Path:
    """Where downloads are kept: GANVAS_CACHE, or `ganvas` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GANVAS_CACHE") or Path(base) / "ganvas")


def fetch(url: str, otherwise: str) -> bytes:
    """What lies at `url`; raises `GanvasError` that ends with `otherwise`, the way without a download."""
    try:
        with urllib.request.urlopen(url, timeout=PAUSE) as response:
            begun, content = time.monotonic(), bytearray()
            while piece := response.read1(2**20):
                content += piece
                if time.monotonic() - begun > PAUSE + len(content) / SLOWEST:
                    raise TimeoutError(f"{len(content):,} bytes in {time.monotonic() - begun:.0f} s")
    except OSError as error:
        raise GanvasError(f"Could not download {url}: {error}. {otherwise}") from error
    return bytes(content)
