"""What keeps the critic smooth. A penalty is added to the critic's loss; clipping changes weights after a step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.registry import Registry


@dataclass(frozen=True)
class Batch:
    """What a penalty may look at. Images within the generator's range; logits still attached to their images."""

    critic: Callable[[Tensor, Tensor | None], Tensor]
    real: Tensor
    """(B, ...), requires grad."""
    fake: Tensor
    """(B, ...), detached from the generator, requires grad."""
    real_logits: Tensor
    fake_logits: Tensor
    labels: Tensor | None
    mix: Tensor
    """(B, 1, ...) uniform random numbers, drawn by the loop so that processes and resumed runs agree."""


@dataclass(frozen=True)
class Penalty:
    """`loss(batch) -> scalar`, multiplied by weight and interval; or `project(critic, bound)` after each step."""

    loss: Callable[[Batch], Tensor] | None = None
    project: Callable[[nn.Module, float], None] | None = None
    usual: float = 1.0
    """The weight (of a `project`: the bound) when neither the preset nor the user says one."""
    gamma: bool = False
    """Whether --gamma sets its weight."""


penalties: Registry[Penalty] = Registry("penalty")


def _gradient(logits: Tensor, x: Tensor) -> Tensor:
    """d logits / d x per sample, flattened (B, F), itself differentiable."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1).float()


def r1(batch: Batch) -> Tensor:
    """Half the mean squared gradient norm on real data (Mescheder et al. 2018, eq. 9); times gamma.

    The mean is over images. With packing a logit judges `pack` of them at once, so gamma counts 1 / pack of what it would for
    the gradient of a whole pack.
    """
    return 0.5 * _gradient(batch.real_logits, batch.real).square().sum(1).mean()


def r2(batch: Batch) -> Tensor:
    """Half the mean squared gradient norm on fakes (Mescheder et al. 2018, eq. 10); times gamma."""
    return 0.5 * _gradient(batch.fake_logits, batch.fake).square().sum(1).mean()


def wgan_gp(batch: Batch) -> Tensor:
    """Squared distance of the gradient norm to 1 between real and fake (Gulrajani et al. 2017, eq. 3); times lambda."""
    between = (batch.fake + batch.mix * (batch.real - batch.fake)).detach().requires_grad_(True)
    squares = _gradient(batch.critic(between, batch.labels), between).square().sum(1)
    # A norm of exactly 0 has no gradient: without the small number a dead critic turns everything into NaN.
    return ((squares + 1e-12).sqrt() - 1).square().mean()


def drift(batch: Batch) -> Tensor:
    """Mean square of the real logits: keeps Wasserstein logits near 0 (Karras et al. 2018, appendix A.1: weight 0.001)."""
    return batch.real_logits.square().mean()


def clip_weights(critic: nn.Module, bound: float) -> None:
    """Clamp every weight to [-bound, bound] after each critic step (Arjovsky et al. 2017, algorithm 1: 0.01)."""
    if bound <= 0:
        raise GanvasError(f"Weight clipping needs a bound above 0, got {bound}.")
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-bound, bound)


# R1 and R2 as our presets have them, the others as published.
penalties.add(
    "r1",
    Penalty(r1, usual=0.05, gamma=True),
    "gradient norm on real data (Mescheder et al. 2018); gamma about 0.05 at 28 px",
)
penalties.add(
    "r2",
    Penalty(r2, usual=0.05, gamma=True),
    "gradient norm on fakes (Mescheder et al. 2018), usually with r1",
)
penalties.add(
    "wgan-gp",
    Penalty(wgan_gp, usual=10.0, gamma=True),
    "gradient norm 1 between real and fake (Gulrajani et al. 2017); lambda 10",
)
penalties.add(
    "drift",
    Penalty(drift, usual=0.001),
    "square of the real logits, for the Wasserstein loss (Karras et al. 2018); 0.001",
)
penalties.add(
    "clip",
    Penalty(project=clip_weights, usual=0.01),
    "clamp the weights (original WGAN, Arjovsky et al. 2017); bound 0.01",
)
