"""Generators that other toolkits made: their files' content -> a family of ganvas, its options and its weights.

One module a toolkit. A file is read by `ganvas.inert`, which runs nothing; what is built of it is checked by
`ganvas.checkpoint.rebuild`.
"""

from ganvas.importers import autoencoders, biggan, lightweight, lucidrains, r3gan, stylegan2, stylegan3
from ganvas.importers.base import Imported, Importer, importers
from ganvas.importers.opening import SUFFIXES, find, open_file, read_with, recognise

__all__ = [
    "SUFFIXES",
    "Imported",
    "Importer",
    "autoencoders",
    "biggan",
    "find",
    "importers",
    "lightweight",
    "lucidrains",
    "open_file",
    "r3gan",
    "read_with",
    "recognise",
    "stylegan2",
    "stylegan3",
]
