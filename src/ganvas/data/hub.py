"""`hub:org/name`: the training split of a Hugging Face data set (extra `hub`)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.config import DataConfig, Resize
from ganvas.data.base import Dataset, fingerprint
from ganvas.data.decode import to_mode
from ganvas.data.limits import memory_limit
from ganvas.data.resize import Size, plan, resize, to_tensor
from ganvas.errors import GanvasError, install
from ganvas.types import Shape


class HubItems:
    """Images of a memory-mapped Arrow table, decoded when asked for."""

    def __init__(self, table: Any, column: str, mode: str, size: Size | None, how: Resize | None) -> None:
        self.table, self.column, self.mode, self.size, self.how = table, column, mode, size, how

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Tensor:
        picture = to_mode(self.table[index][self.column], self.mode)
        if self.size is not None and self.how is not None:
            picture = resize(picture, self.size, self.how)
        return to_tensor(picture)


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
    first = table[0][image]
    grey = shape[0] == 1 if shape else first.mode in ("1", "L")
    alpha = shape[0] == 4 if shape else config.alpha
    mode = "RGBA" if alpha else "L" if grey else "RGB"
    sizes = [table[i][image].size for i in range(len(table))]
    size, how, notes = plan(sizes, config, shape)
    items: Any = HubItems(table, image, mode, size if how else None, how)
    shape = tuple(items[0].shape)
    labels = None if label is None else torch.as_tensor(np.array(table[label]))
    if labels is not None and int(labels.min()) < 0:
        raise GanvasError(
            f"{config.source} has pictures without a label (-1) in its training part; it cannot be taken."
        )
    if int(np.prod(shape)) * len(items) <= memory_limit():
        items = torch.stack([items[i] for i in range(len(items))])
    return Dataset(
        name=name.split("/")[-1],
        items=items,
        shape=shape,
        fingerprint=fingerprint(str(table._fingerprint), f"{size} {how}", *(["RGBA"] if alpha else [])),
        labels=labels,
        class_names=tuple(features[label].names) if label else (),
        notes=notes,
    )
