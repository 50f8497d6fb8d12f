"""Adversarial autoencoder (Makhzani et al. 2015): samples to codes and back, the codes made normal by a critic of codes.

The decoder is a generator like any other: it is sampled, walked and explored. The encoder stands beside it in each snapshot.
"""

import copy
import inspect
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import losses, networks
from ganvas.config import Config, NetworkConfig
from ganvas.errors import GanvasError
from ganvas.losses.penalties import Batch as PenaltyBatch
from ganvas.model import read_network
from ganvas.networks import CriticBase, to_prior
from ganvas.registry import did_you_mean
from ganvas.training import ema
from ganvas.training.engine import Engine, cosine
from ganvas.training.method import DataSpec, Method, Probe, methods
from ganvas.types import Batch

OPTIONS: dict[str, Any] = {"hidden": (256, 256), "weight": 0.05, "noise": 0.1}
"""Of `method.options`: widths of the critic of codes; how much its verdict weighs beside the mean squared error of the
reconstruction; standard deviation of the posterior, a normal around the code that the encoder gives (0: deterministic)."""


class AutoencoderMethod(Method):
    """Encoder and decoder learn to reconstruct, and the encoder to fool a critic that tells its codes from the prior.

    The two phases of section 2 are one step down the sum of both losses here, as in algorithm 1 of Tolstikhin et al. 2018: a
    pass through the encoder less, and a weight between the two in place of a further rate.
    """

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        config, t, o = self.config, self.config.training, self.config.optimizer
        options = {**OPTIONS, **config.method.options}
        decoder = self.place(networks.build_generator(config.network, spec.shape, 0, t.seed))
        encoder = self.place(networks.build_critic(encoder_config(config.network), spec.shape, 0, t.seed))
        self.live = nn.ModuleDict({"decoder": decoder, "encoder": encoder})
        self.average = copy.deepcopy(self.live).eval().requires_grad_(False)
        self.critic = networks.build_critic(code_critic_config(options), (decoder.latent_dim,), 0, t.seed).to(
            engine.device
        )
        self.decoder, self.encoder = decoder, encoder
        self.loss = losses.losses.get(config.objective.loss)
        self.penalties = [(losses.penalties.get(p.name), p) for p in config.objective.penalties]
        self.networks = {"autoencoder": self.live, "average": self.average, "code_critic": self.critic}
        self.weight, self.noise = options["weight"], options["noise"]
        self.optimizers = {
            "optimizer_autoencoder": engine.optimizer(self.live, o.lr_generator),
            "optimizer_critic": engine.optimizer(self.critic, o.lr_critic),
        }

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """Networks that fit the data, a loss and penalties by name; neither labels nor packing nor augmentation."""
        code_critic_config(config.method.options)
        n, objective = config.network, config.objective
        if config.data.also:
            raise GanvasError(
                "Several data sets share a conditional generator, with the set as the label, and method aae takes no labels. "
                "Give one data set."
            )
        for what, given in (
            ("objective.critic_steps above 1", objective.critic_steps > 1),
            ("objective.instance_noise", objective.instance_noise > 0),
            ("objective.input_noise", objective.input_noise > 0),
            ("training.duality_steps", config.training.duality_steps > 0),
            ("training.compile", config.training.compile),
            ("--conditional", n.conditional),
            ("network.pack", n.pack > 1),
            ("network.categorical", bool(n.categorical)),
            ("--augment", bool(config.augment.policy) or config.augment.pseudo),
            ("--term", bool(objective.terms)),
        ):
            if given:
                raise GanvasError(f"{what} is not for method aae. Omit it.")
        losses.losses.get(objective.loss)
        for penalty in objective.penalties:
            if losses.penalties.get(penalty.name).loss is None:
                raise GanvasError(
                    f"Penalty {penalty.name!r} is not for method aae. Use --penalty r1 or none."
                )
        with torch.device("meta"):
            decoder = networks.build_generator(n, spec.shape, 0)
            networks.build_critic(encoder_config(n), spec.shape, 0)
        if type(decoder).grow is not networks.GeneratorBase.grow:
            raise GanvasError(f"Network {n.name!r} grows, which method aae does not. Use another --network.")

    def prepare(self, progress: float) -> None:
        """The averaging, and the weights of the penalties."""
        t = self.config.training
        half_life = ema.half_life_images(
            cosine(t.ema_kimg, t.ema_end_kimg, progress), t.ema_rampup, self.engine.images
        )
        self.ema_weight = self.engine.set_knob("ema", ema.weight(t.batch, half_life))
        self.weights = [
            self.engine.set_knob(f"penalty {i}", cosine(p.weight, p.weight_end, progress))
            for i, (_, p) in enumerate(self.penalties)
        ]

    def kind(self) -> Hashable:
        """Which penalties are due."""
        return tuple(self.engine.steps % p.interval == 0 for _, p in self.penalties)

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Judge the codes; then reconstruct and fool the judge."""
        x, e = self._real(batches[0]), self.engine
        noise, z = e.normal(self.decoder.latent_dim), e.normal(self.decoder.latent_dim)
        z = to_prior(self.decoder.prior, z)
        with e.autocast():
            codes = self.encode(self.live, x).float() + self.noise * noise
            inputs = self.decoder.training_inputs(e.normal, e.uniform)
            reconstruction = F.mse_loss(self.decoder(codes, None, **inputs).float(), x)
        loss_critic, real_logits, fake_logits, penalty = self._critic_step(z, codes.detach())
        self.critic.requires_grad_(False)
        with e.autocast():
            logits = self.critic(codes).float()
            on_prior = self.critic(z).float() if self.loss.pairs else logits
            loss_encoder = self.loss.generator(on_prior, logits)
        e.update(self.optimizers["optimizer_autoencoder"], reconstruction + self.weight * loss_encoder)
        self.critic.requires_grad_(True)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
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

    def _real(self, batch: Batch) -> Tensor:
        samples = self.floats(batch[0], self.decoder.value_range)
        if self.spec.kind == "images" and self.config.data.mirror:
            samples = torch.where(self.engine.uniform(1, 1, 1) < 0.5, samples.flip(3), samples)
        return samples

    @staticmethod
    def encode(networks_: nn.ModuleDict, x: Tensor) -> Tensor:
        """Samples (B, ...) -> codes (B, Z)."""
        encoder: Any = networks_["encoder"]
        codes: Tensor = encoder.answer(x).codes
        return codes

    def exports(self) -> Mapping[str, nn.Module]:
        """The averaged decoder as `generator`, the averaged encoder, the critic of codes."""
        return {
            "generator": self.average["decoder"],
            "encoder": self.average["encoder"],
            "code_critic": self.critic,
        }

    def probe(self) -> Probe:
        """The decoder on latents of the prior; no network here judges samples."""
        average: Any = self.average["decoder"]
        return Probe(self.decoder, average, None, {"generator": self.decoder, "encoder": self.encoder})


methods.add("aae", AutoencoderMethod, "adversarial autoencoder, with an encoder (Makhzani et al. 2015)")


def encoder_config(config: NetworkConfig) -> NetworkConfig:
    """The family's critic as an encoder: its head of codes gives the whole of z.

    The codes of a sample are its own: the spread of its neighbours in a batch, which a critic may see, is left out.
    """
    critic = networks.families.get(config.critic_name or config.name).critic
    alone = {"minibatch_std": False} if "minibatch_std" in inspect.signature(critic).parameters else {}
    return replace(config, critic={**config.critic, **alone, "codes": config.latent_dim})


def code_critic_config(options: Mapping[str, Any]) -> NetworkConfig:
    """The dense critic of codes; raises `GanvasError` for options that are none."""
    found = {**OPTIONS, **options}
    for name in found:
        if name not in OPTIONS:
            raise GanvasError(
                f"Unknown option {name!r} of method aae.{did_you_mean(name, list(OPTIONS))} Known: {', '.join(OPTIONS)}."
            )
    hidden = found["hidden"]
    widths = isinstance(hidden, list | tuple) and all(type(width) is int and width > 0 for width in hidden)
    if not (widths and hidden):
        raise GanvasError(
            f"method.options.hidden is {hidden!r}; it must be a list of widths, for instance [256, 256]."
        )
    for name in ("weight", "noise"):
        if not (type(found[name]) in (int, float) and 0 <= found[name] < math.inf):
            raise GanvasError(f"method.options.{name} is {found[name]!r}; it must be a number of at least 0.")
    return NetworkConfig("mlp", critic={"hidden": tuple(hidden)})


def load_encoder(path: str | Path, device: str = "cpu") -> CriticBase:
    """The encoder of a snapshot folder: its `answer(x).codes` are the codes (B, Z) of samples (B, ...) in the decoder's range.

    Raises `GanvasError` for a folder without one.
    """
    file = Path(path) / "encoder.safetensors"
    if not file.is_file():
        raise GanvasError(f"{path} holds no encoder.safetensors. Give a snapshot of a run with --preset aae.")
    network, _, _ = read_network(
        file,
        "encoder",
        lambda config, shape, classes: networks.build_critic(encoder_config(config), shape, 0),
    )
    assert isinstance(network, CriticBase)
    return network.to(device).eval().requires_grad_(False)
