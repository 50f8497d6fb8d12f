"""The pictures that people know by their seeds: each sample has one of its own, numbered as its toolkit does."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.model import Model

MOST = 100_000
"""Seeds that one text may name."""
AT_ONCE = 2**21
"""Numbers of the samples that are drawn in one batch."""


def parse(text: str) -> list[int]:
    """`85,265,297`, `0-9` or both: whole numbers from 0, in the order given. Raises `GanvasError` for anything else."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:\s*-\s*(\d{1,10}))?\s*", part)
        if match is None:
            raise GanvasError(f"Seeds are whole numbers and ranges like 85,265 or 0-9, got {text[:100]!r}.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first + len(found) >= MOST:
            raise GanvasError(
                f"A range of seeds rises, and there are at most {MOST:,}; got {part.strip()!r}."
            )
        found += range(first, last + 1)
    return [arrays.seed(each) for each in found]


def latents(model: Model, seeds: Sequence[int]) -> Tensor:
    """z (n, latent_dim), each from a seed of its own.

    Of a family whose toolkit has a rule, that rule (NumPy's RandomState in NVIDIA's and Hugging Face's), so that known seeds
    give the known pictures; else the first latent of the seed.
    """
    rows = []
    for seed in seeds:
        known = model.generator.seeded(seed)
        rows.append(model.latents(1, seed) if known is None else known)
    return torch.cat(rows)


@torch.no_grad()
def draw(
    model: Model,
    seeds: Sequence[int],
    *,
    labels: Sequence[int] | Tensor | None = None,
    truncate: float | None = None,
) -> Iterator[Tensor]:
    """Samples of seeds in batches, uint8 images or points, each alone in its noise: the fixed one where there is any.

    `truncate` is psi of w, with the mean of w that the file has (1: as it is), or what a generator with a `truncation` of
    its own (BigGAN) takes, and keeps. Raises `GanvasError` where there is neither.
    """
    generator: Any = model.generator  # of a family with more than all have
    own = truncate is not None and hasattr(generator, "truncation")
    if own:
        generator.truncation = truncate
    elif truncate is not None and not hasattr(generator, "truncate"):
        raise GanvasError(
            "This generator has no w to truncate in. Omit --truncate; without --seeds it cuts z."
        )
    z = latents(model, seeds)
    classes = model.labels(len(seeds), labels)
    step = arrays.fitting(math.prod(model.shape), AT_ONCE, model.at_once)
    for rows in torch.arange(len(seeds)).split(step):
        label = None if classes is None else classes[rows].to(model.device)
        points = z[rows].to(model.device)
        if truncate is None or own:
            drawn = generator(points, label)
        else:
            w_plus = generator.broadcast(generator.mapping(points, label))
            pulled = generator.truncate(w_plus, truncate)
            drawn = generator.synthesis(generator.styles(pulled))
        yield model.to_data(drawn.float()).cpu()
