"""What a picture shows, as a number: measured on the pixels, or by a classifier."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.model_data import class_names, classifier_of, data_of
from ganvas.registry import Registry

Attribute = Callable[[Tensor], Tensor]
"""uint8 images (n, C, H, W) -> scores (n,)."""
attributes: Registry[Attribute] = Registry("attribute")


def _ink(images: Tensor) -> Tensor:
    """Brightness as weights (n, H, W)."""
    return images.float().mean(1)


def _spread(images: Tensor, axis: int) -> Tensor:
    weights = _ink(images).sum(3 - axis) + 1e-6  # over the other axis: (n, size)
    weights = weights / weights.sum(1, keepdim=True)
    places = torch.arange(weights.shape[1], device=images.device, dtype=torch.float32)
    mean = (weights * places).sum(1, keepdim=True)
    return (weights * (places - mean).square()).sum(1).sqrt()


@attributes.register("brightness")
def brightness(images: Tensor) -> Tensor:
    """Mean of the pixels"""
    return _ink(images).mean((1, 2))


@attributes.register("contrast")
def contrast(images: Tensor) -> Tensor:
    """Standard deviation of the pixels"""
    return _ink(images).flatten(1).std(1)


@attributes.register("width")
def width(images: Tensor) -> Tensor:
    """Standard deviation of the bright pixels' columns"""
    return _spread(images, 2)


@attributes.register("height")
def height(images: Tensor) -> Tensor:
    """Standard deviation of the bright pixels' rows"""
    return _spread(images, 1)


@attributes.register("slant")
def slant(images: Tensor) -> Tensor:
    """How much the bright pixels lean: covariance of columns and rows over the variance of rows"""
    ink = _ink(images) + 1e-6
    ink = ink / ink.sum((1, 2), keepdim=True)
    rows = torch.arange(ink.shape[1], device=images.device, dtype=torch.float32)[:, None]
    columns = torch.arange(ink.shape[2], device=images.device, dtype=torch.float32)[None]
    down = rows - (ink * rows).sum((1, 2), keepdim=True)
    right = columns - (ink * columns).sum((1, 2), keepdim=True)
    return (ink * down * right).sum((1, 2)) / ((ink * down.square()).sum((1, 2)) + 1e-6)


def open_attribute(name: str, model: Model) -> Attribute:
    """The attribute called `name`, or `class:NAME`: its probability by the bundled classifier of the model's data."""
    if not name.startswith("class:"):
        return attributes.get(name)
    judge = classifier_of(model)
    if judge is None:
        data = data_of(model)
        why = f"there is none of {data!r}" if data else "and what this model was trained on is not known"
        raise GanvasError(f"class:NAME needs a bundled classifier of the model's data, {why}.")
    wanted, names = name.removeprefix("class:"), class_names(model)
    if wanted in names:
        index = names.index(wanted)
    elif wanted.isdigit() and int(wanted) < judge.network.head.out_features:
        index = int(wanted)
    else:
        raise GanvasError(
            f"There is no class {wanted!r}. Use a number or one of: {', '.join(names) or 'numbers only here'}."
        )

    def score(images: Tensor) -> Tensor:
        logits = judge(images).logits
        assert logits is not None
        return logits.float().softmax(1)[:, index]

    return score
