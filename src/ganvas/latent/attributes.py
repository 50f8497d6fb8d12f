"""What a picture shows, as a number: measured on the pixels, or by a classifier."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.data import Dataset, fit, load_dataset
from ganvas.errors import GanvasError
from ganvas.features import classifier
from ganvas.model import Model
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


def data_of(model: Model) -> str:
    """Name of the data set that the model was trained on, as far as it is known."""
    return str(model.info.get("data", {}).get("name", ""))


def load_data_of(model: Model, data: str | None = None) -> tuple[Dataset, DataConfig]:
    """What the model was trained on, as it was cut then; or `data`, of any size and colour, brought to the model's.

    Raises `GanvasError` where that is not at hand or unfit.
    """
    source = data or model.config.data.source or data_of(model)
    if not source:
        raise GanvasError("Real data are needed. Give them with --data.")
    if data and data != model.config.data.source:
        config = DataConfig(source=data, resize=model.config.data.resize)
        return load_dataset(config, model.shape), config
    config = replace(model.config.data, source=source)
    return fit(load_dataset(config), model.shape, config.resize or "crop"), config


def classifier_of(model: Model) -> classifier.ClassifierExtractor | None:
    """The bundled classifier of the data that the model was trained on; None where there is none."""
    data, names = data_of(model), model.info.get("class_names") or ()
    return _open_classifier(data, model.device) if classifier.knows(data, model.shape, names) else None


@cache
def _open_classifier(data: str, device: torch.device) -> classifier.ClassifierExtractor:
    return classifier.load(classifier.FOLDER / f"{data}.safetensors", device)


def class_names(model: Model) -> tuple[str, ...]:
    """Names of the classes of the model's data; empty where the data are not on this machine: numbers will do."""
    return _class_names(data_of(model))


@cache
def _class_names(
    data: str,
) -> tuple[str, ...]:  # asked for again and again, and each time all images would be opened
    try:
        return load_dataset(data).class_names
    except GanvasError:
        return ()


def open_attribute(name: str, model: Model) -> Attribute:
    """The attribute called `name`, or `class:NAME`: its probability by the bundled classifier of the model's data."""
    if not name.startswith("class:"):
        return attributes.get(name)
    judge = classifier_of(model)
    if judge is None:
        raise GanvasError(
            f"class:NAME needs a bundled classifier of the model's data, there is none of {data_of(model) or 'unknown data'!r}."
        )
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
