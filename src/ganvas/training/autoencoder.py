"""What all autoencoders share: a decoder with an encoder beside it, both averaged, and the prior of the codes in each snapshot.

A method of its own (`ae`, `vae`, ...) adds the loss. The decoder is a generator like any other.
"""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ganvas import losses, networks
from ganvas.config import Config
from ganvas.data import Dataset
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.features.base import at_once
from ganvas.losses.penalties import Batch as PenaltyBatch
from ganvas.networks import GeneratorBase
from ganvas.networks.coded import Coded, encoder_network
from ganvas.networks.style import unmixed
from ganvas.training import ema
from ganvas.training.engine import Engine, cosine
from ganvas.training.method import DataSpec, Method, Probe, check_options, check_plain, evaluating
from ganvas.types import Batch

CODES = 5000
"""Samples whose codes a prior is fitted to."""
BATCH = 256
ACTIVE = 0.01
"""Variance of a code over the data above which it is active (Burda et al. 2016, section 5.2)."""
LOG_VARIANCES = -14.0, 6.0
"""Of posteriors, from the least to the most: the deviation of one beyond them is no number of its own any more."""
PREVIEWS = 16
"""Originals and reconstructions of a preview."""


class Coding(NamedTuple):
    """What is made of a batch."""

    codes: Tensor
    """(B, D): what the decoder gets."""
    spread: Tensor | None
    """(B, D) log variances of the posterior, of encoders that give one."""


class EncodingMethod(Method):
    """An encoder and a decoder that reconstruct; subclasses say what else they learn from."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {}
    """Numbers of at least 0 of `method.options`, with their defaults."""
    spread: ClassVar[bool] = False
    """Whether the encoder gives a log variance beside each code."""
    normal: ClassVar[bool] = True
    """Whether training makes the codes standard normal. Others are drawn from what is fitted to them."""

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        config, seed = self.config, self.config.training.seed
        self.options: dict[str, Any] = {**self.OPTIONS, **config.method.options}
        decoder = self.place(networks.build_generator(replace(config.network, codes={}), spec.shape, 0, seed))
        encoder = self.place(networks.build_critic(self._encoder(config), spec.shape, 0, seed))
        self.live = nn.ModuleDict({"decoder": decoder, "encoder": encoder})
        self.average = copy.deepcopy(self.live).eval().requires_grad_(False)
        self.decoder, self.encoder = decoder, encoder
        self.networks = {"autoencoder": self.live, "average": self.average}
        self.optimizers = {
            "optimizer_autoencoder": engine.optimizer(self.live, config.optimizer.lr_generator)
        }
        self.rough = (
            None
            if self.normal
            else Coded(decoder, {**config.network.codes, "components": 1}).to(engine.device)
        )
        """What the monitor draws: one normal, fitted to a few codes."""
        self.whole: GeneratorBase | None = None
        """The averaged decoder behind the prior of its codes; built and fitted for a snapshot."""

    @classmethod
    def _encoder(cls, config: Config) -> Any:
        size = config.network.latent_dim
        return encoder_network(config.network, 2 * size if cls.spread else size)

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """Networks that fit the data, options by name; neither labels nor packing nor augmentation."""
        n, name = config.network, config.method.name
        cls.check_options(config.method.options, name)
        check_plain(config)
        if "network" in n.codes:
            raise GanvasError(f"network.codes.network is not for method {name}. Omit it.")
        check_mixture(config, spec)
        with torch.device("meta"):
            decoder = networks.build_generator(replace(n, codes={}), spec.shape, 0)
            networks.build_generator(n, spec.shape, 0)
            networks.build_critic(cls._encoder(config), spec.shape, 0)
        if type(decoder).grow is not GeneratorBase.grow:
            raise GanvasError(
                f"Network {n.name!r} grows, which method {name} does not. Use another --network."
            )

    @classmethod
    def check_options(cls, options: Mapping[str, Any], name: str) -> None:
        """Raise `GanvasError` for options that are none."""
        check_options(cls.OPTIONS, options, name)

    def prepare(self, progress: float) -> None:
        """The averaging."""
        t = self.config.training
        half_life = ema.half_life_images(
            cosine(t.ema_kimg, t.ema_end_kimg, progress), t.ema_rampup, self.engine.images
        )
        self.ema_weight = self.engine.set_knob("ema", ema.weight(t.batch, half_life))

    @abstractmethod
    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]: ...

    def encode(self, pair: nn.ModuleDict, x: Tensor) -> Coding:
        """Samples (B, ...) in the decoder's range -> codes, of a posterior its means and log variances."""
        encoder: Any = pair["encoder"]
        found: Tensor = encoder.answer(x).codes
        found = found.float()
        size = self.decoder.latent_dim
        return Coding(found[:, :size], found[:, size:].clamp(*LOG_VARIANCES) if self.spread else None)

    def coded(self, pair: nn.ModuleDict, x: Tensor) -> Coding:
        """The same of many samples, of large pictures some at a time: the first layer of 256 of 256 px takes gigabytes."""
        parts = [self.encode(pair, part) for part in x.split(at_once(self.spec.shape, BATCH))]
        spreads = [each.spread for each in parts if each.spread is not None]
        return Coding(torch.cat([each.codes for each in parts]), torch.cat(spreads) if spreads else None)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, D) -> samples, as training draws them."""
        inputs = self.decoder.training_inputs(self.engine.normal, self.engine.uniform)
        drawn: Tensor = self.decoder(codes, None, **unmixed(inputs))
        return drawn.float()

    def real(self, batch: Batch) -> Tensor:
        """Samples in the decoder's range, mirrored where that was asked for."""
        samples = self.floats(batch[0], self.decoder.value_range)
        if self.spec.kind == "images" and self.config.data.mirror:
            samples = torch.where(self.engine.uniform(1, 1, 1) < 0.5, samples.flip(3), samples)
        return samples

    def exports(self) -> Mapping[str, nn.Module]:
        """The averaged decoder as `generator`, behind the prior of its codes, and the averaged encoder."""
        average: Any = self.average["decoder"]
        if not self.config.network.codes:
            return {"generator": average, "encoder": self.average["encoder"]}
        if self.whole is None:
            self.whole = Coded(average, self.config.network.codes).to(self.engine.device).eval()
        return {"generator": self.whole, "encoder": self.average["encoder"]}

    def settle(self, data: Dataset) -> None:
        """Fit the prior to codes of the data, drawn from the posterior where there is one."""
        whole, seed = self.exports()["generator"], self.config.training.seed
        if not isinstance(whole, Coded) or whole.mixture is None:
            return
        chosen = torch.randperm(len(data), generator=stream(seed, "codes"))[:CODES]
        random = stream(seed, "posterior")
        found = []
        with evaluating(self.average), torch.no_grad():
            for part in chosen.split(BATCH):
                x = self.floats(data.take(part)[0].to(self.engine.device), self.decoder.value_range)
                with self.engine.autocast():
                    codes, spread = self.coded(self.average, x)
                noise = torch.randn(codes.shape, generator=random).to(codes)
                found.append(codes if spread is None else codes + (spread / 2).exp() * noise)
        whole.mixture.fit(torch.cat(found), seed)

    def reconstruct(self, samples: Tensor) -> Tensor:
        """uint8 images or points -> what encoder and decoder make of them, as floats in the decoder's range."""
        average: Any = self.average["decoder"]
        with evaluating(self.average), torch.no_grad(), self.engine.autocast():
            x = self.floats(samples.to(self.engine.device), self.decoder.value_range)
            drawn: Tensor = average(self.quantised(self.encode(self.average, x).codes))
        return drawn.float()

    def quantised(self, codes: Tensor) -> Tensor:
        """What the decoder gets of codes: the codes, unless there is a code book."""
        return codes

    def probe(self) -> Probe:
        """The decoder as it is; no network here judges samples."""
        average: Any = self.average["decoder"]
        pair = {"generator": self.decoder, "encoder": self.encoder}
        return Probe(self.rough or self.decoder, average, None, pair, learn=self._learn, signals=self.signals)

    def _learn(self, samples: Tensor) -> None:
        if self.rough is not None and self.rough.mixture is not None and len(samples) > 1:
            self.rough.mixture.fit(self.coded(self.live, samples).codes)

    def signals(self, held: Tensor) -> dict[str, float]:
        """Of held-out samples (B, ...) in the decoder's range: `psnr`, `sharpness` (differences of neighbouring pixels of
        reconstructions over those of the originals), `active` (share of the codes that tell samples apart).
        """
        codes = self.coded(self.live, held).codes
        some = codes.split(at_once(self.spec.shape, BATCH))
        drawn = torch.cat([self.decoder(self.quantised(part)).float() for part in some])
        low, high = self.decoder.value_range
        error = float((drawn - held).square().mean())
        found = {
            "psnr": 10 * math.log10((high - low) ** 2 / max(error, 1e-12)),
            "active": float((codes.var(0) > ACTIVE).float().mean()),
        }
        if held.dim() == 4:
            blur = [float(sum(x.diff(dim=axis).square().mean() for axis in (2, 3))) for x in (drawn, held)]
            found["sharpness"] = math.sqrt(blur[0] / max(blur[1], 1e-12))
        return found


def check_mixture(config: Config, spec: DataSpec) -> None:
    """Raise `GanvasError` for a mixture of more normals than there are codes to fit it to."""
    components = config.network.codes.get("components", 0)
    if 0 < spec.count <= components:
        raise GanvasError(
            f"A mixture of {components} normals needs more than {components} samples, there are {spec.count}. "
            "Add --set network.codes.components=1."
        )


class JudgedMethod(EncodingMethod):
    """One that a critic teaches, too, by the loss and the penalties of the config."""

    has_loss = True
    judge_name: ClassVar[str] = "critic"
    """What the critic's file is called."""

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        self.critic = self.build_judge()
        self.loss = losses.losses.get(self.config.objective.loss)
        self.penalties = [(losses.penalties.get(p.name), p) for p in self.config.objective.penalties]
        self.networks[self.judge_name] = self.critic
        self.optimizers["optimizer_critic"] = engine.optimizer(self.critic, self.config.optimizer.lr_critic)

    @abstractmethod
    def build_judge(self) -> nn.Module:
        """The critic, with fresh weights, on the run's device."""

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

    def critic_step(
        self, real: Tensor, fake: Tensor, judge: Callable[[Tensor, str], Tensor] | None = None
    ) -> dict[str, Tensor]:
        """One update of the critic on what is real and what is not, (B, ...) both, and its figures.

        `judge` gives the logits of a batch and hears whether it is the real one or the fake one, for a critic that sees more.
        """
        real, fake = (each.detach().clone().requires_grad_(True) for each in (real, fake))
        judge = judge or (lambda x, which: self.critic(x).float())
        with self.engine.autocast():
            on_real, on_fake = judge(real, "real"), judge(fake, "fake")
            loss = self.loss.critic(on_real, on_fake)
            penalty = torch.zeros((), device=self.engine.device)
            mix = self.engine.uniform(*[1] * (real.dim() - 1))
            seen = PenaltyBatch(self.critic, real, fake, on_real, on_fake, None, mix)
            for (function, p), weight in zip(self.penalties, self.weights, strict=True):
                if function.loss is not None and self.engine.steps % p.interval == 0:
                    penalty = penalty + weight * p.interval * function.loss(seen)
        self.engine.update(self.optimizers["optimizer_critic"], loss + penalty)
        return {
            "loss_critic": loss.detach(),
            "real_logits": on_real.detach().mean(),
            "fake_logits": on_fake.detach().mean(),
            "penalty": penalty.detach(),
        }

    def exports(self) -> Mapping[str, nn.Module]:
        """The critic, too."""
        return {**super().exports(), self.judge_name: self.critic}
