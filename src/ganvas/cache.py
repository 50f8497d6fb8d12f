"""The user's cache folder, and what is downloaded into it."""

import os
import urllib.request
from pathlib import Path

from ganvas.errors import GanvasError


def cache_folder() -> Path:
    """Where downloads are kept: GANVAS_CACHE, or `ganvas` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GANVAS_CACHE") or Path(base) / "ganvas")


def fetch(url: str, otherwise: str) -> bytes:
    """What lies at `url`; raises `GanvasError` that ends with `otherwise`, the way without a download."""
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content: bytes = response.read()
    except OSError as error:
        raise GanvasError(f"Could not download {url}: {error}. {otherwise}") from error
    return content
