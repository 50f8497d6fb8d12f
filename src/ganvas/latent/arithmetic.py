"""Sums of points: `12 - 3 + 40`, `Sandal - Sneaker + Ankle boot` (Radford et al. 2016, section 6.3.2)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.data.labels import shorten
from ganvas.errors import GanvasError
from ganvas.latent.space import LatentSpace, spaces
from ganvas.latent.supervised import scores_of
from ganvas.model_data import class_names
from ganvas.registry import did_you_mean

MOST = 100_000
SAMPLES = 2000


class Sum(NamedTuple):
    """An expression, worked out."""

    names: tuple[str, ...]
    signs: tuple[int, ...]
    terms: Tensor
    """(t, *shape)"""
    result: Tensor
    """(*shape)"""
    labels: Tensor | None = None
    """The class that each term is a sample or the mean of (t,), for conditional models."""


def arithmetic(space: LatentSpace, expression: str, seed: int = 0) -> Sum:
    """`a - b + c`, each a number of a sample of `seed` (`ganvas sample`, from 0) or a class, which stands for its mean point.

    Of a conditional model the classes are those that it draws, of others those that a classifier sees.

    Signs have spaces around them. The sum is taken from the mean of the space, so that `a - b` is a point as well; where
    straight lines are not natural (z) it is brought back to a typical length. Raises `GanvasError` for what is neither.
    """
    parts = re.split(r"\s+([+-])(?:\s+|$)", expression.strip())
    names, signs = tuple(parts[::2]), (1, *(1 if sign == "+" else -1 for sign in parts[1::2]))
    if any(not name for name in names):
        raise GanvasError(
            f"Arithmetic wants terms with spaces around the signs, like '12 - 3 + 40'; got {expression!r}."
        )
    terms = _terms(space, names, seed)
    weights = torch.tensor(signs, dtype=terms.dtype, device=terms.device).reshape(-1, *[1] * len(space.shape))
    result = space.mean + (weights * (terms - space.mean)).sum(0)
    result = result if space.flat else space.project(result[None])[0]
    return Sum(names, signs, terms, result, _labels(space, names))


def _labels(space: LatentSpace, names: Sequence[str]) -> Tensor | None:
    """The class of the sample that each term numbers, or the class that it names."""
    if not space.model.generator.num_classes:
        return None
    return space.model.labels_at([int(name) if name.isdecimal() else _class(space, name) for name in names])


def _class(space: LatentSpace, name: str) -> int:
    """The number of a class that a conditional model draws: what a classifier calls alike may be of another.

    Raises `GanvasError` for one that it does not draw, and where no class has a place of its own.
    """
    known = class_names(space.model)
    if name not in known:
        classes = f"or its classes: {shorten(known)}" if known else "as its classes have no names"
        raise GanvasError(
            f"This model draws no class {name!r}.{did_you_mean(name, list(known))} Terms are numbers of samples, {classes}."
        )
    if space.name == "z":
        others = [each for each in ("w", "class") if each in spaces(space.model)]
        instead = f"Take --space {' or '.join(others)}, or" if others else "Take"
        raise GanvasError(
            f"In z all classes of a conditional model lie in one place: a sum of them says nothing. {instead} numbers of samples."
        )
    return known.index(name)


def _terms(space: LatentSpace, names: Sequence[str], seed: int) -> Tensor:
    digits = [name for name in names if name.isdecimal()]
    # Python reads no number of more than 4,300 digits.
    if large := next((name for name in digits if len(name) > 20 or int(name) >= MOST), None):
        raise GanvasError(f"Samples are numbered from 0 to {MOST - 1}, got {large[:40]}.")
    numbers = {name: int(name) for name in digits}
    found = {name: space.at([number], seed)[0] for name, number in numbers.items()}
    classes = [name for name in names if name not in numbers]
    if classes and space.model.generator.num_classes:
        found |= {name: space.mean_of(torch.tensor([_class(space, name)]))[0] for name in classes}
    elif classes:
        points = space.numbered(space.affords(SAMPLES), seed)
        scores = scores_of(space, [f"class:{name}" for name in classes], points)
        for name in classes:
            chosen = scores[f"class:{name}"] > 0
            if not chosen.any():
                raise GanvasError(
                    f"None of {len(points)} samples is named {name!r} by the classifier, so it has no mean point."
                )
            found[name] = points[chosen.to(points.device)].mean(0)
    return torch.stack([found[name] for name in names])
