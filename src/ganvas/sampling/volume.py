"""Sampling by how much the generator stretches its latent space; needs no critic."""

import math

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.latent.finders import MOST_SLOPES
from ganvas.latent.jacobian import MOST_NUMBERS, columns, squared
from ganvas.latent.space import LatentSpace, LatentZ
from ganvas.sampling.base import Callback, Drawn, Ratio, Target, samplers

LARGEST = 30
"""Singular values whose product is the volume (Humayun et al. 2022)."""
NOTHING = 1e-12
"""Of the largest square: what rounding leaves of directions in which nothing changes, as points of two numbers have many."""
STEEPEST = 1e9
"""Power of the volume, either way: what is far smaller takes the one largest or smallest of a bank already."""


class _Noise(LatentZ):
    """The normal numbers that samplers draw in any space, and what becomes of them there."""

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space.model)
        self.where = space

    def _decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        return self.where.decode(self.where.from_noise(points, labels), labels)


def log_volumes(
    space: LatentSpace, noise: Tensor, labels: Tensor | None = None, callback: Callback | None = None
) -> Tensor:
    """Sum of the logarithms of the `LARGEST` singular values of the pixels' Jacobian at normal numbers (n, Z): (n,).

    Those of directions in which nothing changes are left out: points of two numbers have two.

    `labels` (n,) are the classes of the samples; all classes in turn where nobody says.
    """
    if (size := space.model.latent_dim) > MOST_SLOPES:
        raise GanvasError(
            f"polarity and magnet take the derivative by each of the {size:,} numbers of z; {MOST_SLOPES:,} are the most. Take "
            "--sampler truncate."
        )
    if (numbers := size * math.prod(space.model.shape)) > MOST_NUMBERS:
        raise GanvasError(
            f"polarity and magnet take the derivative of each of the {numbers // size:,} numbers of a sample by each of the "
            f"{size:,} numbers of z: {numbers:,}, and {MOST_NUMBERS:,} are the most. Take --sampler truncate."
        )
    home = _Noise(space)
    noise, labels = home.check(noise), space.labels(len(noise), labels)
    found = []
    for i, each in enumerate(noise):
        label = None if labels is None else labels[i]
        slopes = columns(home, each, lambda samples: samples.flatten(1), label)[1]
        squares = torch.linalg.eigvalsh(squared(slopes)).flip(0)[:LARGEST].clamp(min=1e-20)
        found.append(0.5 * squares[squares > NOTHING * squares[0]].log().sum())
        if callback is not None:
            callback(i + 1, len(noise))
    return torch.stack(found)


# `improve` tries neither: they need Jacobians, which take minutes and bring no gain (docs/figures.md).
@samplers.register("polarity", blind=True, bank=True, tried_from=None, tiny={"bank": 30})
def polarity(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    rho: float = -0.1,
    bank: int = 500,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """resample a bank by the Jacobian's volume to the power of rho: below 0 typical samples, above 0 rare ones

    Humayun et al. 2022 (Polarity). The bank of `bank` latents costs a Jacobian each, once; samples repeat when n is not far
    below its effective size, which `info` names. Where there are several classes each has its part of the bank.
    """
    rho, bank = arrays.number(rho, "rho", least=-STEEPEST, most=STEEPEST), arrays.count(bank, "bank", 2)
    target = Target(space, ratio, n, generator, labels)
    if space.model.generator.prior != "normal":
        raise GanvasError("polarity and magnet take generators with a normal prior.")
    u = target.normal(bank, space.model.latent_dim)
    wanted = torch.zeros(n, dtype=torch.long) if target.labels is None else target.labels.cpu()
    classes = wanted.unique()
    if bank < len(classes):
        raise GanvasError(
            f"A bank of {bank} has no latent for each of {len(classes)} classes. Give a larger one."
        )
    kind = classes[torch.arange(bank) % len(classes)]
    powers = rho * log_volumes(space, u, None if target.labels is None else kind.to(u.device), callback).cpu()
    chosen, effective = torch.zeros(n, dtype=torch.long), 0.0
    for each in classes:
        rows, mine = (kind == each).nonzero()[:, 0], wanted == each
        weights = powers[rows].softmax(0)
        drawn = torch.multinomial(weights, int(mine.sum()), replacement=True, generator=target.random)
        chosen[mine] = rows[drawn]
        effective += float(1 / weights.square().sum())
    chosen = chosen.to(u.device)
    state = target.at(u[chosen], target.labels)
    return target.drawn(
        state._replace(log_ratio=state.log_ratio.nan_to_num(neginf=0.0)),
        one_off_jacobians=bank,
        effective_size=effective,
    )


@samplers.register("magnet", blind=True, bank=True, tried_from=None, tiny={"bank": 30})
def magnet(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    bank: int = 500,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """nearer to uniform on the manifold of samples: polarity with rho 1 (MaGNET)

    Humayun et al. 2022 (MaGNET) resample latents that are uniform: rho 1 then gives a uniform sample of the manifold.
    These are normal, and the outcome is uniform times the latents' normal density, thin far out: on x = sinh z .21 of the
    samples lie in [0, 1) and .013 in [5, 6).
    """
    return polarity(
        space, ratio, n, rho=1.0, bank=bank, generator=generator, labels=labels, callback=callback
    )
