"""BiGAN (Donahue et al. 2017) and ALI (Dumoulin et al. 2017): an encoder that comes with the generator.

A critic sees an image and its code together: (x, E(x)) of real images against (G(z), z) of drawn ones. Nothing asks for a
reconstruction; where the critic cannot tell the pairs apart, encoder and generator are each other's inverse.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import networks
from ganvas.config import Config, NetworkConfig
from ganvas.device import seeded
from ganvas.errors import GanvasError
from ganvas.networks import to_prior
from ganvas.training import ema
from ganvas.training.autoencoder import JudgedMethod
from ganvas.training.method import DataSpec, methods
from ganvas.types import Batch, Shape


class PairCritic(nn.Module):
    """The family's critic and dense layers see an image and a code; dense layers judge both together."""

    def __init__(self, config: NetworkConfig, shape: Shape, width: int, seed: int) -> None:
        super().__init__()
        self.eye = networks.build_critic(config, shape, 0, seed)
        features = self._features(shape)
        with seeded(seed + 2):
            self.code = dense(config.latent_dim, width, width)
            self.both = dense(features + width, width, 1)

    def _features(self, shape: Shape) -> int:
        with torch.no_grad():
            return self.eye.features(torch.zeros(2, *shape)).shape[1]

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Samples (B, ...) and codes (B, D) -> logits (B,)."""
        logits: Tensor = self.both(torch.cat([self.eye.features(x), self.code(z)], 1))
        return logits[:, 0]


def dense(*widths: int) -> nn.Sequential:
    """Linear layers with leaky ReLUs between."""
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers[:-1])


class BiGan(JudgedMethod):
    """Encoder and generator fool a critic of pairs from both sides.

    Options: `width` of the dense layers that judge pairs; `codes`, the weight of the squared error of E(G(z)) against z, and
    `pixels`, of that of G(E(x)) against x: 0 and 0 as published.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"width": 256, "codes": 0.0, "pixels": 0.0}
    judge_name = "pair_critic"

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """Penalties of single samples, and a width."""
        super().check(config, spec)
        for penalty in config.objective.penalties:
            if penalty.name not in ("r1", "r2"):
                raise GanvasError(
                    f"Penalty {penalty.name!r} is not for method bigan. Use --penalty r1, r2 or none."
                )
        width = config.method.options.get("width", 1)
        if type(width) is not int or not 1 <= width <= 2**14:
            raise GanvasError(f"method.options.width is {width!r}; it must be a whole number from 1.")

    def build_judge(self) -> nn.Module:
        """The critic of pairs."""
        n = self.config.network
        found: nn.Module = self.place(
            PairCritic(n, self.spec.shape, self.options["width"], self.config.training.seed)
        )
        return found

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Judge both pairs; then each side learns to look like the other."""
        x, e = self.real(batches[0]), self.engine
        z = to_prior(self.decoder.prior, e.normal(self.decoder.latent_dim))
        with e.autocast():
            codes, fake = self.encode(self.live, x).codes, self.decode(z)
        beside = {"real": codes.detach(), "fake": z}
        judged = self.critic_step(x, fake, lambda images, which: self.critic(images, beside[which]).float())
        self.critic.requires_grad_(False)
        with e.autocast():
            on_real, on_fake = self.critic(x, codes).float(), self.critic(fake, z).float()
            # Turned about what says neither, the real pair is the one that has to be taken for the other.
            about = 2 * self.loss.middle
            fooled = self.loss.generator(on_real, on_fake)
            fooled = fooled + self.loss.generator(about - on_fake, about - on_real)
            wanted = fooled
            if self.options["codes"]:
                wanted = wanted + self.options["codes"] * F.mse_loss(self.encode(self.live, fake).codes, z)
            if self.options["pixels"]:
                wanted = wanted + self.options["pixels"] * F.mse_loss(self.decode(codes), x)
        e.update(self.optimizers["optimizer_autoencoder"], wanted)
        self.critic.requires_grad_(True)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        return {"loss_generator": fooled, **judged}


methods.add(
    "bigan", BiGan, "an encoder learned with the generator, by a critic of pairs (Donahue et al. 2017)"
)
