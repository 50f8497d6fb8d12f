"""Images of any size and colour brought to those of a model."""

import math
from dataclasses import replace

import numpy as np
from torch import Tensor

from ganvas.config import DataConfig, Resize
from ganvas.data.base import Dataset, Items, fingerprint
from ganvas.data.decode import to_mode
from ganvas.data.limits import ALWAYS, memory_limit
from ganvas.data.resize import WORDS, plan, resize, to_tensor
from ganvas.errors import GanvasError
from ganvas.pictures import to_image
from ganvas.types import Shape, kind_of

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
WORDS_OF_MODE = {"L": "grey", "RGB": "RGB", "RGBA": "RGB with alpha"}


class FittedItems:
    """Images of another data set, brought to one shape when asked for; what cannot be seen of them is black or white."""

    def __init__(self, items: Tensor | Items, shape: Shape, how: Resize) -> None:
        self.items, self.shape, self.how = items, shape, how

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor:
        picture = to_mode(to_image(self.items[index].cpu()), MODES[self.shape[0]])
        return to_tensor(resize(picture, (self.shape[2], self.shape[1]), self.how))


def gathered(items: Items) -> Tensor:
    """All of them in one piece of memory: of a list and its whole there would be two."""
    first = items[0]
    found = first.new_empty(len(items), *first.shape)
    for i in range(len(items)):
        found[i] = items[i]
    return found


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
    if shape[0] not in MODES:
        raise GanvasError(
            f"Images of {shape[0]} channels are wanted, and those of {dataset.name} have 1, 3 or 4: there is no way from these."
        )
    notes: tuple[str, ...] = ()
    if dataset.shape[1:] != shape[1:]:
        notes += (f"All images of {dataset.name} brought to {shape[2]} x {shape[1]} px, {WORDS[how]}.",)
    if dataset.shape[0] != shape[0]:
        notes += (f"All images of {dataset.name} made {WORDS_OF_MODE[MODES[shape[0]]]}.",)
    fitted = FittedItems(dataset.items, shape, how)
    # Of a larger set only some may be asked for: 16 of 70,000 took 3.3 GB and 39 seconds.
    fits = dataset.resident and len(fitted) * math.prod(shape) <= min(ALWAYS, memory_limit())
    items: Tensor | FittedItems = gathered(fitted) if fits else fitted
    mark = fingerprint(dataset.fingerprint, f"{shape} {how}")
    return replace(dataset, items=items, shape=shape, fingerprint=mark, notes=dataset.notes + notes)


def as_config(
    items: Tensor | Items, given: Shape, config: DataConfig, name: str, shape: Shape | None = None
) -> tuple[Tensor | Items, Shape, str, tuple[str, ...]]:
    """Images that all have the shape `given` as a config says: (images, their shape, a mark for the fingerprint, what to say).

    A fourth channel says how solid a picture is: it stays with `alpha`, or where `shape`, of a model, has one; else the
    picture lies on white. Raises `GanvasError` where there is none and one is asked for.
    """
    if config.alpha and given[0] != 4:
        raise GanvasError(
            f"{name} holds no picture with transparent parts: --alpha is for a folder or .zip of pictures that have some, "
            "or an array of four channels. Omit it."
        )
    size, how, notes = plan([(given[2], given[1])] * len(items), config)
    mark = f"{size} {how}"
    if given[1] != given[2] and size != (given[2], given[1]):
        # The same bytes may be wide or high, as many, and come to one size. Squares of the same bytes differ in their number,
        # and keep the text by which runs know them.
        mark += f" of {tuple(given)}"
    if given[0] == 4:
        channels = 4 if config.alpha or (shape and shape[0] == 4) else 3
        mark += f" {MODES[channels]}"
        done = "kept as a fourth channel" if channels == 4 else "which become white (--alpha keeps them)"
        notes += (f"Four channels are taken as colours and how solid they are: transparent parts, {done}.",)
    elif how is None or size == (given[2], given[1]):
        return items, given, mark, notes
    else:
        channels = given[0]
    wanted = (channels, size[1], size[0])
    return FittedItems(items, wanted, how or "crop"), wanted, mark, notes


def from_arrays(
    name: str,
    images: Tensor,
    labels: Tensor | None,
    class_names: tuple[str, ...],
    config: DataConfig,
    notes: tuple[str, ...] = (),
    own_labels: bool = False,
    shape: Shape | None = None,
) -> Dataset:
    """A data set from uint8 images (N, C, H, W), resized as the config says: many large ones as they are asked for.

    `own_labels`: the labels are somebody's own and may change without the images, so that they belong into the fingerprint.
    `shape`: of a model, which decides whether alpha is kept.
    """
    items, wanted, mark, said = as_config(images, tuple(images.shape[1:]), config, name, shape)
    if not isinstance(items, Tensor) and len(items) * math.prod(wanted) <= ALWAYS:
        items = gathered(items)
    marks: list[str | np.ndarray] = []
    if own_labels and labels is not None:
        marks = [repr(class_names), labels.numpy()]
    return Dataset(
        name=name,
        items=items,
        shape=wanted,
        fingerprint=fingerprint(fingerprint(images.numpy()), mark, *marks),
        labels=labels,
        class_names=class_names,
        notes=notes + said,
    )
