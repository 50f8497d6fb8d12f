"""What generator and critic minimise: a pair of pure functions on logits (B,) each. Higher logits mean more real."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ganvas.registry import Registry

LogitsLoss = Callable[[Tensor, Tensor], Tensor]
"""(real logits (B,), fake logits (B,)) -> a scalar to minimise."""


@dataclass(frozen=True)
class AdversarialLoss:
    """The critic's loss and the generator's."""

    critic: LogitsLoss
    generator: LogitsLoss
    pairs: bool = False
    """The generator's loss needs the real logits too."""
    middle: float = 0.0
    """The logit that says neither real nor fake."""
    compares: bool = False
    """Differences of logits alone count: what says neither is half way between the means of both sides, wherever they lie."""


losses: Registry[AdversarialLoss] = Registry("loss")


def _cross_entropy_critic(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


losses.add(
    "minimax",
    AdversarialLoss(_cross_entropy_critic, lambda real, fake: -F.softplus(fake).mean()),
    "G minimises log(1 - D(fake)): the original game (Goodfellow et al. 2014, eq. 1)",
)
losses.add(
    "non-saturating",
    AdversarialLoss(_cross_entropy_critic, lambda real, fake: F.softplus(-fake).mean()),
    "G maximises log D(fake): same critic, stronger early gradient (Goodfellow et al. 2014, section 3)",
)
losses.add(
    "hinge",
    AdversarialLoss(
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    "margins of 1 for the critic (Lim and Ye 2017; Miyato et al. 2018, eq. 16-17)",
)
losses.add(
    "least-squares",
    AdversarialLoss(
        lambda real, fake: 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean(),
        lambda real, fake: 0.5 * (fake - 1).square().mean(),
        middle=0.5,
    ),
    "squared distance of the logits to 1 and 0 (Mao et al. 2017, eq. 9)",
)
losses.add(
    "wasserstein",
    AdversarialLoss(
        lambda real, fake: fake.mean() - real.mean(), lambda real, fake: -fake.mean(), compares=True
    ),
    "difference of means; needs clipping or a gradient penalty (Arjovsky et al. 2017, algorithm 1)",
)
losses.add(
    "relativistic",
    AdversarialLoss(
        lambda real, fake: F.softplus(fake - real).mean(),
        lambda real, fake: F.softplus(real - fake).mean(),
        pairs=True,
        compares=True,
    ),
    "each real against a fake (Jolicoeur-Martineau 2018, section 4; with R1 + R2: Huang et al. 2024)",
)
