"""Generators that other toolkits made: their files' content -> a family of ganvas, its options and its weights.

One module a toolkit. A file is read by `ganvas.inert`, which runs nothing; what is built of it is checked by
`ganvas.checkpoint.rebuild`.
"""

from ganvas.importers import biggan, lightweight, lucidrains, r3gan
from ganvas.importers.base import Imported, Importer, importers

__all__ = ["Imported", "Importer", "biggan", "importers", "lightweight", "lucidrains", "r3gan"]
