"""Which data a file may name: the known sets that are at hand, and what this user has trained on.

A model or a run may come from anybody, and its header says what it was trained on. Opening whatever stands there would let a
stranger choose a folder of this machine, whose pictures the explorer then shows, or a download. So a run carries a mark that
only this user's key makes (HMAC, RFC 2104); without it a known name is opened where that needs no download, and nothing else.
"""

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from ganvas.config import DataConfig
from ganvas.data import idx
from ganvas.data.base import datasets

MOST = 128
"""Side in pixels that a file without the mark may have a known set brought to: at 70,000 grey images a gigabyte."""


def mark(config: DataConfig) -> str:
    """What says that this user has trained on these data; empty where no key can be kept."""
    return sign(_said(config))


def is_marked(config: DataConfig, found: object) -> bool:
    """Whether `found` is the mark of these data by this user's key, with paths meant from the current folder."""
    return is_signed(_said(config), found)


def sign(said: str) -> str:
    """This user's signature of a text; empty where no key can be kept."""
    key = _key(make=True)
    return "" if key is None else hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def is_signed(said: str, found: object) -> bool:
    """Whether `found` is this user's signature of a text."""
    key = _key(make=False)
    if key is None or not isinstance(found, str) or not found.isascii():
        return False
    return hmac.compare_digest(found, hmac.new(key, said.encode(), hashlib.sha256).hexdigest())


def needs_network(config: DataConfig) -> bool:
    """Whether opening these would fetch something."""
    sources = (config.source, *config.also)
    return any(each.startswith("hub:") or (each in idx.URLS and not idx.at_hand(each)) for each in sources)


def at_hand(config: DataConfig) -> bool:
    """Whether these are known sets, of a bounded size, that need no download."""
    sources = (config.source, *config.also)
    small = (config.resolution or 0) <= MOST and len(sources) <= len(list(datasets))
    return small and all(each in datasets for each in sources) and not needs_network(config)


def _said(config: DataConfig) -> str:
    sources = (config.source, *config.also)
    named = [each in datasets or each.startswith(("hub:", "toy:")) for each in sources]
    return json.dumps(
        [each if name else os.path.abspath(each) for each, name in zip(sources, named, strict=True)]
    )


def _key(make: bool) -> bytes | None:
    """This user's key, kept beside what is downloaded."""
    path: Path = idx.cache_folder() / "key"
    with suppress(OSError):
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # another process was faster
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(32))
        key = path.read_bytes()
        return key if len(key) == 32 else None
    return None
