"""`hub:org/name`: the training split of a Hugging Face data set (extra `hub`)."""

from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.config import DataConfig, Resize
from ganvas.data.base import Dataset, fingerprint
from ganvas.data.decode import is_deep, is_grey, to_mode, white_of, why
from ganvas.data.fitted import gathered
from ganvas.data.limits import memory_limit
from ganvas.data.resize import Size, plan, resize, to_tensor
from ganvas.errors import GanvasError, install
from ganvas.types import Shape


class HubItems:
    """Images of a memory-mapped Arrow table, decoded when asked for."""

    def __init__(
        self,
        table: Any,
        column: str,
        name: str,
        mode: str,
        size: Size | None,
        how: Resize | None,
        white: float,
    ) -> None:
        self.table, self.column, self.name = table, column, name
        self.mode, self.size, self.how, self.white = mode, size, how, white

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Tensor:
        picture = to_mode(_picture(self.table, index, self.column, self.name), self.mode, self.white)
        if self.size is not None and self.how is not None:
            picture = resize(picture, self.size, self.how)
        return to_tensor(picture)


def _picture(table: Any, index: int, column: str, name: str) -> Image.Image:
    """As the table holds it. Raises `GanvasError` where there is none, or none that can be read."""
    try:
        picture = table[index][column]
    except Exception as error:  # the library hands on what Pillow raises, of many kinds
        raise GanvasError(f"Picture {index} of {name} cannot be read: {why(error)}.") from error
    if picture is None:
        raise GanvasError(f"Row {index} of {name} has no picture; it cannot be taken.")
    return cast(Image.Image, picture)


def load(config: DataConfig, shape: Shape | None = None) -> Dataset:
    """The first image column and, when there is one, the first class column; brought to `shape` where one is given."""
    try:
        import datasets as hub
    except ImportError as error:
        raise GanvasError(f"hub: data sets need an extra package. Type: {install('hub')}") from error
    name = config.source.removeprefix("hub:")
    try:
        table = hub.load_dataset(name, split="train")
    except Exception as error:  # the library raises many kinds: not found, no network, no such split
        raise GanvasError(f"Could not open {config.source}: {error}") from error
    features = table.features
    image = next((key for key, kind in features.items() if isinstance(kind, hub.Image)), None)
    label = next((key for key, kind in features.items() if isinstance(kind, hub.ClassLabel)), None)
    if image is None:
        raise GanvasError(f"{config.source} has no image column; its columns are {', '.join(features)}.")
    if not len(table):
        raise GanvasError(f"The training part of {config.source} is empty.")
    given = list(table[label]) if label else []
    if any(each is None or each < 0 for each in given):
        raise GanvasError(
            f"{config.source} has pictures without a label (-1, or none) in its training part; it cannot be taken."
        )
    if label and given and max(given) >= len(features[label].names):
        raise GanvasError(
            f"{config.source} is damaged: it holds the label {max(given)} of {len(features[label].names)} classes."
        )
    sizes, greys, first, deepest = [], [], "", 0.0
    for i in range(len(table)):
        picture = _picture(table, i, image, config.source)
        sizes.append(picture.size)
        greys.append(is_grey(picture))
        first = first or picture.mode
        if is_deep(picture):
            deepest = max(deepest, float(np.asarray(picture).max()))
    grey = shape[0] == 1 if shape else all(greys)
    alpha = shape[0] == 4 if shape else config.alpha
    mode = "RGBA" if alpha else "L" if grey else "RGB"
    size, how, notes = plan(sizes, config, shape)
    white, marks = config.white or white_of(deepest), [f"{size} {how}"]
    # Of the first picture alone it was told what all are, and in that mode they have no mark.
    marks += [mode] if mode != ("L" if first in ("1", "L") else "RGB") else []
    marks += [f"white {white:g}"] if deepest else []
    items: Any = HubItems(table, image, config.source, mode, size if how else None, how, white)
    shape = tuple(items[0].shape)
    if int(np.prod(shape)) * len(items) <= memory_limit():
        items = gathered(items)
    return Dataset(
        name=name.split("/")[-1],
        items=items,
        shape=shape,
        fingerprint=fingerprint(str(table._fingerprint), *marks),
        labels=torch.tensor(given) if label else None,
        class_names=tuple(features[label].names) if label else (),
        notes=notes,
        white=white if deepest else None,
    )
