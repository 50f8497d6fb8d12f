"""Images of any size and colour brought to those of a model."""

from dataclasses import replace

import torch
from torch import Tensor

from ganvas.config import Resize
from ganvas.data.base import Dataset, Items, fingerprint
from ganvas.data.decode import to_mode
from ganvas.data.limits import memory_limit
from ganvas.data.resize import WORDS, resize, to_tensor
from ganvas.errors import GanvasError
from ganvas.pictures import to_image
from ganvas.types import Shape, kind_of

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
WORDS_OF_MODE = {"L": "grey", "RGB": "RGB", "RGBA": "RGB with alpha"}


class FittedItems:
    """Images of another data set, brought to one shape when asked for."""

    def __init__(self, items: Tensor | Items, shape: Shape, how: Resize) -> None:
        self.items, self.shape, self.how = items, shape, how

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor:
        picture = to_mode(to_image(self.items[index].cpu()), MODES[self.shape[0]])
        return to_tensor(resize(picture, (self.shape[2], self.shape[1]), self.how))


def fit(dataset: Dataset, shape: Shape, how: Resize = "crop") -> Dataset:
    """The data set with images of `shape` (C, H, W): the same one where they have it, else resized, grey or coloured.

    Raises `GanvasError` where one is of images and the other of points, or points differ in their number of coordinates.
    """
    shape = tuple(shape)
    if tuple(dataset.shape) == shape:
        return dataset
    if not dataset.is_images or len(shape) != 3:
        kinds = [kind_of(each) for each in (dataset.shape, shape)]
        raise GanvasError(
            f"{dataset.name} holds {kinds[0]} of shape {tuple(dataset.shape)}, and {kinds[1]} of shape {shape} are wanted."
        )
    notes: tuple[str, ...] = ()
    if dataset.shape[1:] != shape[1:]:
        notes += (f"All images of {dataset.name} brought to {shape[2]} x {shape[1]} px, {WORDS[how]}.",)
    if dataset.shape[0] != shape[0]:
        notes += (f"All images of {dataset.name} made {WORDS_OF_MODE[MODES[shape[0]]]}.",)
    items: Tensor | FittedItems = FittedItems(dataset.items, shape, how)
    if dataset.resident and len(items) * shape[0] * shape[1] * shape[2] <= memory_limit():
        items = torch.stack([items[i] for i in range(len(items))])
    mark = fingerprint(dataset.fingerprint, f"{shape} {how}")
    return replace(dataset, items=items, shape=shape, fingerprint=mark, notes=dataset.notes + notes)
