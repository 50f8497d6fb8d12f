"""What a picture or a series shows, as a number: measured on the pixels or the steps, or by a classifier."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.features.base import grey_or_rgb
from ganvas.model import Model
from ganvas.model_data import class_names, classifier_of, data_of
from ganvas.registry import Registry
from ganvas.series import Schema

Attribute = Callable[[Tensor], Tensor]
"""uint8 images (n, C, H, W), or series (n, C, T), -> scores (n,)."""
attributes: Registry[Attribute] = Registry("attribute")


def _ink(images: Tensor) -> Tensor:
    """Brightness as weights (n, H, W); what is transparent lies on white."""
    return (grey_or_rgb(images, 3) if images.shape[1] == 4 else images).float().mean(1)


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


of_series: Registry[Attribute] = Registry("attribute of series")
"""float64 series of one column (n, T), NaN where there is no value -> (n,)."""


@of_series.register("trend")
def trend(series: Tensor) -> Tensor:
    """Slope of the line through the steps, times their number"""
    there = ~series.isnan()
    step = torch.arange(series.shape[1], device=series.device, dtype=series.dtype).expand_as(series)
    count = there.sum(1, keepdim=True).clamp(min=1)
    step = torch.where(there, step - (step * there).sum(1, keepdim=True) / count, 0.0)
    slope: Tensor = (step * series.nan_to_num()).sum(1) / step.square().sum(1).clamp(min=1e-9)
    return slope * series.shape[1]


@of_series.register("volatility")
def volatility(series: Tensor) -> Tensor:
    """Standard deviation of the changes from step to step"""
    steps = series.diff(dim=1)
    return (steps - steps.nanmean(1, keepdim=True)).square().nanmean(1).nan_to_num().sqrt()


@of_series.register("period")
def period(series: Tensor) -> Tensor:
    """Steps of a wave: one over the mean frequency, frequencies weighed by their power"""
    x = (series - series.nanmean(1, keepdim=True)).nan_to_num()
    power = torch.fft.rfft(x).abs().square()[:, 1:]
    frequency = torch.arange(1, power.shape[1] + 1, device=x.device, dtype=x.dtype) / x.shape[1]
    mean: Tensor = (power * frequency).sum(1) / power.sum(1).clamp(min=1e-30)
    return mean.clamp(min=0.5 / x.shape[1]).reciprocal()


@of_series.register("amplitude")
def amplitude(series: Tensor) -> Tensor:
    """Half of the way from the least value to the largest"""
    least, most = (series.nan_to_num(nan=edge) for edge in (torch.inf, -torch.inf))
    return ((most.amax(1) - least.amin(1)) / 2).nan_to_num(posinf=0.0, neginf=0.0)


@of_series.register("level")
def level(series: Tensor) -> Tensor:
    """Mean of the steps"""
    return series.nanmean(1).nan_to_num()


def _of_column(measure: Attribute, schema: Schema, column: int) -> Attribute:
    """An attribute of one column of series (n, C, T), by its logarithm where it is scaled by that."""

    def score(samples: Tensor) -> Tensor:
        found = schema.decode(samples)
        values = torch.from_numpy(found.values[:, :, column].copy())
        values[torch.arange(values.shape[1]) >= torch.from_numpy(found.lengths)[:, None]] = torch.nan
        return measure(values.log() if schema.columns[column].log else values)

    return score


def attributes_of(model: Model) -> dict[str, Attribute]:
    """Those that need no classifier, by name: of images; of series that of the first column of numbers; of points none."""
    if len(model.shape) == 3:
        return {name: attributes.get(name) for name in attributes}
    return {name: _open_of_series(name, model) for name in of_series} if _columns(model) else {}


def _columns(model: Model) -> list[int]:
    """The columns of numbers of a model of series."""
    schema = model.info.series
    return [] if schema is None else [i for i, c in enumerate(schema.columns) if c.kind == "number"]


def _open_of_series(name: str, model: Model) -> Attribute:
    """`trend`, of the first column, or `trend:COLUMN`."""
    measure, _, column = name.partition(":")
    chosen, schema = _columns(model), model.info.series
    if schema is None or not chosen:
        raise GanvasError(
            "This model draws series without a column of numbers, which attributes are measured on."
        )
    names = [schema.columns[i].name for i in chosen]
    if column and column not in names:
        raise GanvasError(f"There is no column of numbers {column!r}. Use one of: {', '.join(names[:20])}.")
    return _of_column(of_series.get(measure), schema, chosen[names.index(column)] if column else chosen[0])


def open_attribute(name: str, model: Model) -> Attribute:
    """The attribute called `name`, or `class:NAME`: its probability by the bundled classifier of the model's data."""
    if len(model.shape) == 2 and not name.startswith("class:"):
        return _open_of_series(name, model)
    if not name.startswith("class:"):
        if len(model.shape) == 1:
            raise GanvasError(
                f"{name} is not measured here: this model draws points, which have no attributes. "
                "ganvas directions takes your own: --method attribute --scores FILE."
            )
        return attributes.get(name)
    judge = classifier_of(model)
    if judge is None:
        data = data_of(model)
        why = f"there is none of {data!r}" if data else "and what this model was trained on is not known"
        raise GanvasError(f"class:NAME needs a bundled classifier of the model's data, {why}.")
    wanted, names = name.removeprefix("class:"), class_names(model)
    if wanted in names:
        index = names.index(wanted)
    elif wanted.isdecimal() and len(wanted) < 10 and int(wanted) < judge.network.head.out_features:
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
