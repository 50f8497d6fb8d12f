"""Samples, or a sum of them, moved along a direction at several strengths: what `ganvas edit` draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.latent import directions
from ganvas.latent.arithmetic import Sum, arithmetic
from ganvas.latent.directions import Direction, check_model
from ganvas.latent.space import LatentSpace, open_space
from ganvas.latent.supervised import from_attribute
from ganvas.model import Model
from ganvas.notebook import shown
from ganvas.types import Progress, silent


@dataclass(frozen=True)
class Edit:
    """Samples at each strength."""

    space: LatentSpace = field(repr=False)
    """Where they were moved."""
    direction: Direction | None
    """As it was used: without what was to be kept, in its layers."""
    sum: Sum | None = field(repr=False)
    """What was worked out first."""
    strengths: tuple[float, ...]
    """In sigmas of the space, rising; 0, which is among them, is the samples as they are."""
    samples: tuple[Tensor, ...] = field(repr=False)
    """uint8 (n, C, H, W) for each strength; n is 1 for a sum."""
    typicality: tuple[float, ...]
    """Mean share of the model's own samples that are less usual, for each strength."""
    terms: Tensor | None = field(repr=False)
    """Samples of the terms of a sum and of its result, uint8 (t + 1, C, H, W)."""


@shown
def draw_edit(
    model: Model,
    direction: Direction | None = None,
    *,
    strengths: Sequence[float] = (2.0,),
    layers: Sequence[int] = (),
    keep: Sequence[str] = (),
    expression: str | None = None,
    space: str | None = None,
    n: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Edit:
    """n samples of `seed`, or the result of an `expression` (`arithmetic`), at each strength along a direction.

    `layers` are the rows of w+ that are touched, by default the direction's own; `keep` names attributes whose part is
    projected out (`directions.keeping`). Without a direction `space` is where the expression is worked out.
    `progress` hears what is being done, how much of it is done, and of how much.
    Raises `GanvasError` for layers that the space has not, attributes and terms that are not known.
    """
    chosen = direction
    if chosen is not None:
        check_model(chosen, model)
        chosen = replace(chosen, layers=tuple(layers) or chosen.layers)
        space = chosen.space
        if keep:
            home = open_space(model, space)
            kept: list[Direction] = []
            for name in keep:
                progress("attributes to keep", len(kept), len(keep))
                kept.append(from_attribute(home, name))
            # Measured in the whole space: layers are those of w+.
            chosen = replace(directions.keeping(home, replace(chosen, layers=()), kept), layers=chosen.layers)
        if chosen.layers and chosen.space == "w":
            space = "w+"
    where = open_space(model, space)
    if chosen is not None and not all(0 <= layer < where.shape[0] for layer in chosen.layers):
        raise GanvasError(f"Layers go from 0 to {where.shape[0] - 1}, got {list(chosen.layers)}.")
    progress("points", 0, 1)
    found = None if expression is None else arithmetic(where, expression, seed)
    points = where.numbered(n, seed) if found is None else found.result[None]
    of_terms = None if found is None else found.labels
    # A sum is of the class of its first term.
    labels = where.labels(n, None) if of_terms is None else of_terms[:1]

    def drawn(points: Tensor, labels: Tensor | None) -> Tensor:
        return model.to_data(where.decode(points, labels)).cpu()

    amounts = [0.0] if chosen is None else sorted({0.0, *strengths})
    samples: list[Tensor] = []
    typicality: list[float] = []
    with torch.no_grad():
        for amount in amounts:
            progress("strengths", len(samples), len(amounts))
            moved = points if not amount or chosen is None else directions.edit(where, points, chosen, amount)
            typicality.append(float(where.typicality(moved).mean()))
            samples.append(drawn(moved, labels))
        of_row = None if of_terms is None else torch.cat([of_terms, of_terms[:1]])
        terms = None if found is None else drawn(torch.cat([found.terms, points]), of_row)
    return Edit(where, chosen, found, tuple(amounts), tuple(samples), tuple(typicality), terms)
