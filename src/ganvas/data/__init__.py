"""Data sets: one kind of source a file. `load_dataset` finds the one that a name or a path stands for."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from ganvas.arrays import number
from ganvas.config import DataConfig
from ganvas.data import arrays, digits, folder, hub, idx, origin, series, shapes, tables, toy
from ganvas.data.base import Dataset, datasets, find_path
from ganvas.data.decode import SUFFIXES, white_beside
from ganvas.data.fitted import fit
from ganvas.data.joined import balanced, join
from ganvas.data.listing import DOCUMENT
from ganvas.data.loader import Batches
from ganvas.data.series import Table
from ganvas.errors import PATH, GanvasError, expect
from ganvas.io import unchanged
from ganvas.series import Schema
from ganvas.types import Shape, kind_of

__all__ = [
    "Batches",
    "Dataset",
    "arrays",
    "balanced",
    "datasets",
    "digits",
    "fit",
    "folder",
    "hub",
    "idx",
    "join",
    "load_beside",
    "load_dataset",
    "origin",
    "series",
    "shapes",
    "tables",
    "toy",
]

WANTED = "a folder or .zip of images, a picture, an .npy or .npz array, a folder of IDX files, or series as .csv, .parquet or .ts"
OF_TABLES = ("time", "by", "static", "label")
"""Settings of the data that say what columns of a file are."""
OF_IMAGES = ("resolution", "resize", "height", "mirror", "alpha")
"""Settings of the data that only images have."""
OF_SERIES = ("window", "columns", *OF_TABLES)
"""Settings of the data that only series have."""


def load_dataset(
    config: DataConfig | str | os.PathLike[str], shape: Shape | None = None, schema: Schema | None = None
) -> Dataset:
    """Open the data of a config or of a plain name or path.

    `shape`, of a model, is what images of any size and colour are brought to, in place of the config's resolution; `schema`, of
    a model of series, says what the channels of series then are.
    Raises `GanvasError` for everything that is wrong with the data.
    """
    expect(config, (DataConfig, *PATH), "data", "a name of `ganvas list datasets` or a path")
    config = config if isinstance(config, DataConfig) else DataConfig(source=os.fspath(config))
    _check_size(config)
    if config.also:
        each = [replace(config, source=source, also=()) for source in (config.source, *config.also)]
        with suppress(GanvasError):
            # As they were trained on, grey ones beside coloured: what is brought to a shape has another fingerprint.
            if shape is not None and (own := join(_of_one_white(each, None))).shape == tuple(shape):
                return own
        return join(_of_one_white(each, shape))
    if schema is not None and config.source.lower().endswith(tables.NAMED):
        config = tables.read_as(find_path(config.source, WANTED), config, schema)
    found = _open(config, None) if shape is None else _of_shape(config, shape)
    if isinstance(found, Table):
        if shape is not None and len(shape) != 2:
            raise GanvasError(
                f"{found.name} holds series, and {kind_of(shape)} of shape {tuple(shape)} are wanted."
            )
        if not config.source.lower().endswith(tables.NAMED) and (
            stray := [name for name in OF_TABLES if getattr(config, name)]
        ):
            raise GanvasError(
                f"--{stray[0]} names a column of a .csv or .parquet, and {found.name} has its own. Omit it."
            )
        return series.make(found, config, schema)
    if found.kind != "series" and (stray := [name for name in OF_SERIES if getattr(config, name)]):
        raise GanvasError(f"--{stray[0]} is for series, and {found.name} holds {found.kind}. Omit it.")
    if shape is None and found.kind == "points" and (stray := [x for x in OF_IMAGES if getattr(config, x)]):
        raise GanvasError(f"--{stray[0]} is for images, and {found.name} holds points. Omit it.")
    return found if shape is None else fit(found, shape, config.resize or "crop")


def load_beside(
    config: DataConfig, white: float | None, shape: Shape | None = None, schema: Schema | None = None
) -> Dataset:
    """`load_dataset` of what is compared with others, in whose grey pictures of more than 8 bits `white` is white, or None: they
    have 8."""
    found = load_dataset(config, shape, schema)
    if found.white is not None:
        white = white or config.white or white_beside(found.white)
    if found.white in (None, white):
        return found
    return load_dataset(replace(config, white=white), shape, schema)


def _of_one_white(configs: Sequence[DataConfig], shape: Shape | None) -> list[Dataset]:
    """Several sets, in whose grey pictures of more than 8 bits the same value is white."""
    found = [load_dataset(config, shape) for config in configs]
    whites = [each.white for each in found]
    known = {white for white in whites if white}
    if not known or configs[0].white is not None:
        return found
    white = white_beside(max(known)) if None in whites else max(known)
    if known == {white}:
        return found
    return [load_dataset(replace(config, white=white), shape) for config in configs]


def _of_shape(config: DataConfig, shape: Shape) -> Dataset | Table:
    """Data as a config has them, which says how they come to the shape of a model; where it says another, or cannot, from as
    they are."""
    if config.resolution is None:
        return _open(config, shape)
    plain = replace(config, resolution=None, height=None)
    if tuple(shape[1:]) != (config.height or config.resolution, config.resolution):
        return _open(plain, shape)
    try:
        return _open(config, shape)
    except GanvasError:  # others are not of one shape with those
        return _open(plain, shape)


def _check_size(config: DataConfig) -> None:
    """Before anything is brought to it: a model's header may name it beside data that somebody gives."""
    sides, (width, height) = range(4, 1025), (config.resolution, config.height)
    if config.white is not None:
        number(config.white, "data.white", above=0)
    if width is not None and width not in sides:
        raise GanvasError(f"--resolution is {width}; it must be between 4 and 1024.")
    if height is not None and (width is None or height not in sides):
        raise GanvasError(
            f"--height is {height}; it must be between 4 and 1024, with the width as --resolution beside it."
        )


def _open(config: DataConfig, shape: Shape | None) -> Dataset | Table:
    # Pictures are brought to a shape while they are decoded; everything else has one size and is fitted afterwards.
    source, plain = config.source, config
    if shape is not None and config.resolution is None:
        plain = replace(config, resize=None)
    if source in datasets or source.startswith("toy:"):
        return datasets.get(source)(plain)
    path = None if source.startswith("hub:") else find_path(source, WANTED)
    if path is not None and path.is_dir() and idx.is_idx_folder(path):
        return idx.load_folder(path, plain)
    if path is not None and not path.is_dir() and path.suffix.lower() in tables.SUFFIXES:
        with unchanged(path):
            return tables.load(path, plain)
    if path is not None and not path.is_dir() and path.suffix.lower() not in (".zip", *SUFFIXES):
        with unchanged(path):
            return arrays.load(path, plain, shape)
    if shape is not None and len(shape) != 3:
        raise GanvasError(
            f"{source} holds pictures, and {kind_of(shape)} of shape {tuple(shape)} are wanted."
        )
    if path is None:
        return hub.load(config, shape)
    with unchanged(path / DOCUMENT if path.is_dir() else path):
        return folder.load(path, config, shape)
