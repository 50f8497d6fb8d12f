"""Adversarial autoencoder (Makhzani et al. 2015): samples to codes and back, the codes made normal by a critic of codes.

The decoder is a generator like any other: it is sampled, walked and explored. The encoder stands beside it in each snapshot.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import networks
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.networks import to_prior
from ganvas.training import ema
from ganvas.training.autoencoder import JudgedMethod
from ganvas.training.engine import Engine
from ganvas.training.method import DataSpec, methods
from ganvas.training.monitor import ranked_right
from ganvas.types import Batch


class AutoencoderMethod(JudgedMethod):
    """Encoder and decoder learn to reconstruct, and the encoder to fool a critic that tells its codes from the prior.

    The two phases of section 2 are one step down the sum of both losses here, as in algorithm 1 of Tolstikhin et al. 2018: a
    pass through the encoder less, and a weight between the two in place of a further rate.

    Options: `hidden`, widths of the critic of codes; `weight`, how much its verdict weighs beside the mean squared error of the
    reconstruction; `noise`, standard deviation of the posterior, a normal around the code that the encoder gives (0: none).
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"hidden": (256, 256), "weight": 0.05, "noise": 0.1}

    judge_name = "code_critic"

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        self.weight, self.noise = self.options["weight"], self.options["noise"]

    def build_judge(self) -> nn.Module:
        """The dense critic of codes."""
        config, size = code_critic_config(self.options), self.decoder.latent_dim
        return networks.build_critic(config, (size,), 0, self.config.training.seed).to(self.engine.device)

    @classmethod
    def check_options(cls, options: Mapping[str, Any], name: str) -> None:
        """Widths of the critic of codes, too."""
        super().check_options(options, name)
        code_critic_config({**cls.OPTIONS, **options})

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Judge the codes; then reconstruct and fool the judge."""
        x, e = self.real(batches[0]), self.engine
        noise, z = e.normal(self.decoder.latent_dim), e.normal(self.decoder.latent_dim)
        z = to_prior(self.decoder.prior, z)
        with e.autocast():
            codes = self.encode(self.live, x).codes + self.noise * noise
            reconstruction = F.mse_loss(self.decode(codes), x)
        judged = self.critic_step(z, codes)
        self.critic.requires_grad_(False)
        with e.autocast():
            logits = self.critic(codes).float()
            on_prior = self.critic(z).float() if self.loss.pairs else logits
            loss_encoder = self.loss.generator(on_prior, logits)
        e.update(self.optimizers["optimizer_autoencoder"], reconstruction + self.weight * loss_encoder)
        self.critic.requires_grad_(True)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        return {"loss_reconstruction": reconstruction, "loss_encoder": loss_encoder, **judged}

    def signals(self, held: Tensor) -> dict[str, float]:
        """`code_accuracy` too, the share of pairs of a latent and a code that the critic ranks right, and `code_distance`: the
        squared Frechet distance of the codes' numbers, one by one, from the standard normal, for each of them.
        """
        found = super().signals(held)
        codes = self.coded(self.live, held).codes
        codes = codes + self.noise * fixed_normal(codes)
        z = to_prior(self.decoder.prior, fixed_normal(codes, 1))
        found["code_accuracy"] = ranked_right(self.critic(z).float(), self.critic(codes).float())
        found["code_distance"] = float(codes.mean(0).square().mean() + (codes.std(0) - 1).square().mean())
        return found


def fixed_normal(like: Tensor, seed: int = 0) -> Tensor:
    """Standard normal numbers of the shape and on the device of a tensor, the same at each call."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=random).to(like)


methods.add("aae", AutoencoderMethod, "adversarial autoencoder, with an encoder (Makhzani et al. 2015)")


def code_critic_config(options: Mapping[str, Any]) -> NetworkConfig:
    """The dense critic of codes; raises `GanvasError` for widths that are none."""
    hidden = options["hidden"]
    widths = isinstance(hidden, list | tuple) and all(type(width) is int and width > 0 for width in hidden)
    if not (widths and hidden):
        raise GanvasError(
            f"method.options.hidden is {hidden!r}; it must be a list of widths, for instance [256, 256]."
        )
    return NetworkConfig("mlp", critic={"hidden": tuple(hidden)})
