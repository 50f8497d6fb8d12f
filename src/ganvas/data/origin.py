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

from ganvas.cache import cache_folder
from ganvas.config import DataConfig
from ganvas.data import idx
from ganvas.data.base import datasets

MOST_MARKS = 64
"""Sets of one training that are marked."""
MOST = 128
"""Side in pixels, or steps of a window, that a file without the mark may have a known set brought to: at 70,000 grey images a
gigabyte."""
KEY_BYTES = 32


def mark(config: DataConfig) -> str:
    """What says that this user has trained on these data; empty where no key can be kept."""
    return sign(places(config))


def is_marked(config: DataConfig, found: object) -> bool:
    """Whether `found` is the mark of these data by this user's key, with paths meant from the current folder."""
    return is_signed(places(config), found)


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
    small = all((size or 0) <= MOST for size in (config.resolution, config.height, config.window))
    once = len(set(sources)) == len(sources)
    return small and once and all(each in datasets for each in sources) and not needs_network(config)


def places(config: DataConfig) -> str:
    """Where these data lie, the same for every spelling of a path."""
    sources = (config.source, *config.also)
    named = [each in datasets or each.startswith(("hub:", "toy:")) for each in sources]
    return json.dumps(
        [
            each if name else os.path.abspath(os.path.expanduser(each))
            for each, name in zip(sources, named, strict=True)
        ]
    )


def marks(config: DataConfig) -> tuple[str, ...]:
    """A mark of where each of these lies, which names no folder."""
    sources = (config.source, *config.also)[:MOST_MARKS]
    return tuple(
        hashlib.blake2b(
            places(DataConfig(each)).encode("utf-8", "surrogateescape"), digest_size=8
        ).hexdigest()
        for each in sources
        if each
    )


def _key(make: bool) -> bytes | None:
    """This user's key, kept beside what is downloaded."""
    path = cache_folder() / "key"
    with suppress(OSError):
        if make and not (path.is_file() and path.stat().st_size == KEY_BYTES):
            _make_key(path)
    with suppress(OSError):
        with path.open("rb") as file:
            own = not hasattr(os, "getuid") or os.fstat(file.fileno()).st_uid == os.getuid()
            key = file.read(KEY_BYTES + 1)
        # In a cache that several people share somebody else may have put one there, which he knows.
        return key if own and len(key) == KEY_BYTES else None
    return None


def _make_key(path: Path) -> None:
    """Write a key that appears whole, or leave the one that another process made meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".key.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(temporary, path)
        except FileExistsError:
            if path.stat().st_size != KEY_BYTES:  # cut by a full disk: it would never be a key again
                os.replace(temporary, path)
        except OSError:  # a disk without hard links
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
