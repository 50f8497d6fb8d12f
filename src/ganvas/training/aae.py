"""Adversarial autoencoder (Makhzani et al. 2015): samples to codes and back, the codes made normal by a critic of codes.

The decoder is a generator like any other: it is sampled, walked and explored. The encoder stands beside it in each snapshot.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import losses, networks
from ganvas.config import Config, NetworkConfig
from ganvas.errors import GanvasError
from ganvas.losses.penalties import Batch as PenaltyBatch
from ganvas.networks import to_prior
from ganvas.training import ema
from ganvas.training.autoencoder import EncodingMethod
from ganvas.training.engine import Engine, cosine
from ganvas.training.method import DataSpec, methods
from ganvas.training.monitor import ranked_right
from ganvas.types import Batch


class AutoencoderMethod(EncodingMethod):
    """Encoder and decoder learn to reconstruct, and the encoder to fool a critic that tells its codes from the prior.

    The two phases of section 2 are one step down the sum of both losses here, as in algorithm 1 of Tolstikhin et al. 2018: a
    pass through the encoder less, and a weight between the two in place of a further rate.

    Options: `hidden`, widths of the critic of codes; `weight`, how much its verdict weighs beside the mean squared error of the
    reconstruction; `noise`, standard deviation of the posterior, a normal around the code that the encoder gives (0: none).
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"hidden": (256, 256), "weight": 0.05, "noise": 0.1}

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        config = self.config
        self.critic = networks.build_critic(
            code_critic_config(self.options), (self.decoder.latent_dim,), 0, config.training.seed
        ).to(engine.device)
        self.loss = losses.losses.get(config.objective.loss)
        self.penalties = [(losses.penalties.get(p.name), p) for p in config.objective.penalties]
        self.networks["code_critic"] = self.critic
        self.weight, self.noise = self.options["weight"], self.options["noise"]
        self.optimizers["optimizer_critic"] = engine.optimizer(self.critic, config.optimizer.lr_critic)

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """A loss and penalties by name, too."""
        super().check(config, spec)
        losses.losses.get(config.objective.loss)
        for penalty in config.objective.penalties:
            if losses.penalties.get(penalty.name).loss is None:
                raise GanvasError(
                    f"Penalty {penalty.name!r} is not for method {config.method.name}. Use --penalty r1 or none."
                )

    @classmethod
    def check_options(cls, options: Mapping[str, Any], name: str) -> None:
        """Widths of the critic of codes, too."""
        super().check_options(options, name)
        code_critic_config({**cls.OPTIONS, **options})

    def prepare(self, progress: float) -> None:
        """The averaging, and the weights of the penalties."""
        super().prepare(progress)
        self.weights = [
            self.engine.set_knob(f"penalty {i}", cosine(p.weight, p.weight_end, progress))
            for i, (_, p) in enumerate(self.penalties)
        ]

    def kind(self) -> Hashable:
        """Which penalties are due."""
        return tuple(self.engine.steps % p.interval == 0 for _, p in self.penalties)

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Judge the codes; then reconstruct and fool the judge."""
        x, e = self.real(batches[0]), self.engine
        noise, z = e.normal(self.decoder.latent_dim), e.normal(self.decoder.latent_dim)
        z = to_prior(self.decoder.prior, z)
        with e.autocast():
            codes = self.encode(self.live, x).codes + self.noise * noise
            reconstruction = F.mse_loss(self.decode(codes), x)
        loss_critic, real_logits, fake_logits, penalty = self._critic_step(z, codes.detach())
        self.critic.requires_grad_(False)
        with e.autocast():
            logits = self.critic(codes).float()
            on_prior = self.critic(z).float() if self.loss.pairs else logits
            loss_encoder = self.loss.generator(on_prior, logits)
        e.update(self.optimizers["optimizer_autoencoder"], reconstruction + self.weight * loss_encoder)
        self.critic.requires_grad_(True)
        ema.update(self.average, self.live, self.ema_weight)
        return {
            "loss_reconstruction": reconstruction,
            "loss_encoder": loss_encoder,
            "loss_critic": loss_critic,
            "real_logits": real_logits,
            "fake_logits": fake_logits,
            "penalty": penalty,
        }

    def _critic_step(self, z: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        real, fake = (each.clone().requires_grad_(True) for each in (z, codes))
        with self.engine.autocast():
            on_real, on_fake = self.critic(real).float(), self.critic(fake).float()
            loss = self.loss.critic(on_real, on_fake)
            penalty = torch.zeros((), device=self.engine.device)
            seen = PenaltyBatch(self.critic, real, fake, on_real, on_fake, None, self.engine.uniform(1))
            for (function, p), weight in zip(self.penalties, self.weights, strict=True):
                if function.loss is not None and self.engine.steps % p.interval == 0:
                    penalty = penalty + weight * p.interval * function.loss(seen)
        self.engine.update(self.optimizers["optimizer_critic"], loss + penalty)
        return loss.detach(), on_real.detach().mean(), on_fake.detach().mean(), penalty.detach()

    def exports(self) -> Mapping[str, nn.Module]:
        """The critic of codes, too."""
        return {**super().exports(), "code_critic": self.critic}

    def signals(self, held: Tensor) -> dict[str, float]:
        """`code_accuracy` too, the share of pairs of a latent and a code that the critic ranks right, and `code_distance`: the
        squared Frechet distance of the codes' numbers, one by one, from the standard normal, for each of them.
        """
        found = super().signals(held)
        codes = self.encode(self.live, held).codes
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
