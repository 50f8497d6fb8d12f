"""Generators that other toolkits made: their files' content -> a family of ganvas, its options and its weights.

One module a toolkit. A file is read by `ganvas.inert`, which runs nothing; what is built of it is checked by
`ganvas.checkpoint.rebuild`.
"""

from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.importers import biggan, lightweight, lucidrains, r3gan, stylegan2, stylegan3
from ganvas.importers.base import Imported, Importer, importers
from ganvas.importers.unsupported import unsupported

__all__ = [
    "Imported",
    "Importer",
    "biggan",
    "importers",
    "lightweight",
    "lucidrains",
    "r3gan",
    "recognise",
    "stylegan2",
    "stylegan3",
]


def recognise(content: Any, folder: Path | None = None) -> Imported:
    """What a file holds, by its `content` (`ganvas.inert.read`) and the `folder` that it lies in.

    Raises `GanvasError` for what is known and not supported, with what to do; for what nobody knows; for what is incomplete.
    """
    for name in importers:
        found = importers.get(name)(content, folder)
        if found is not None:
            return found
    if known := unsupported(content):
        raise GanvasError(f"This file is recognised and cannot be opened. It is of {known}")
    known = "; ".join(importers.summary(name).split(":")[0] for name in importers)
    raise GanvasError(
        f"Nothing in this file is a generator that ganvas knows. It knows: {known}. Of anything else, build the module with "
        "its own code and give it to ganvas.wrap(module, latent_dim=...)."
    )
