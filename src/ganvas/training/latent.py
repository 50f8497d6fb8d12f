"""A GAN in the latent space of an autoencoder: the dimension is reduced first, then the codes of the data are learned.

Generator and critic see codes alone, which are a few numbers each; what is drawn goes through the decoder to pictures, and both
together are one model. The autoencoder stays as it is, and is kept with the run.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import networks
from ganvas.config import Config, MethodConfig, to_dict
from ganvas.data import Dataset
from ganvas.data.resize import advice
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.features.base import at_once
from ganvas.model import Model
from ganvas.model_file import load
from ganvas.networks import CriticBase
from ganvas.networks.coded import Coded, Mixture, bare, code_network, encoder_network, mean_codes
from ganvas.training.autoencoder import CODES, check_mixture
from ganvas.training.engine import Engine
from ganvas.training.gan import GanMethod
from ganvas.training.method import DataSpec, Method, Probe, methods
from ganvas.training.start import check_held_out, check_layout
from ganvas.types import Batch, Shape, described

BATCH = 256


class CodeGame(GanMethod):
    """A game whose generator takes what a mixture draws."""

    mixture: Mixture | None = None

    def _latents(self) -> Tensor:
        if self.mixture is None:
            return super()._latents()
        return self.mixture.drawn(self.engine.normal(self.generator.latent_dim), self.engine.uniform())


class LatentMethod(Method):
    """`GanMethod` on the codes of an encoder, each as normal numbers without correlation.

    The generator begins as the mixture that is fitted to them (`network.codes.components`) and learns what to add.

    `method.options`: `autoencoder`, its file, its `hash`, and how many `numbers` its encoder gives.
    """

    frozen = ("decoder", "encoder", "book")

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        config = self.config
        _check_options(config)
        outer = replace(config.network, codes={})
        self.decoder = self.place(networks.build_generator(outer, spec.shape, 0)).eval()
        self.encoder = self.place(
            networks.build_critic(encoder_network(outer, _numbers(config)), spec.shape, 0)
        ).eval()
        book: nn.Module | None = None
        place = config.method.options["autoencoder"]
        self.opened = Path(place).exists()  # else the state of the run holds it
        if self.opened:
            opened = opened_autoencoder(place, spec.shape)
            if opened.hash != config.method.options["hash"]:
                raise GanvasError(
                    f"{place} holds another autoencoder than this run began with "
                    f"({opened.hash}, it was {config.method.options['hash']}). Bring it back, or move this one."
                )
            assert opened.encoder is not None
            self.decoder.load_state_dict(bare(opened.generator).state_dict())
            self.encoder.load_state_dict(opened.encoder.state_dict())
            book = opened.generator.book if isinstance(opened.generator, Coded) else None
        for network in (self.decoder, self.encoder):
            network.requires_grad_(False)
        self.game = CodeGame(engine, _codes(config), inner(config))
        self.networks = {**self.game.networks, "decoder": self.decoder, "encoder": self.encoder}
        self.optimizers = self.game.optimizers
        self.whole = self._behind(self.game.average)
        self.drawing = self._behind(self.game.generator)
        for name in ("scale", "mixture", "book"):
            setattr(self.drawing, name, getattr(self.whole, name))
        self.game.mixture = self.whole.mixture
        if self.whole.book is not None:
            self.networks["book"] = self.whole.book
            if book is not None:
                self.whole.book.load_state_dict(book.state_dict())

    def begin(self) -> None:
        """Raises `GanvasError` without the autoencoder: of its networks there are only random weights yet."""
        if not self.opened:
            place = self.config.method.options["autoencoder"]
            raise GanvasError(
                f"{place!r} is gone, the autoencoder that this run is to begin with, and the run has no state yet that holds it. "
                "Bring it back, or start a new run with --in-latent."
            )

    def _behind(self, maker: Any) -> Coded:
        """The decoder behind a generator of codes, sharing the weights of both."""
        made = Coded(self.decoder, self.config.network.codes).to(self.engine.device)
        made.maker = maker
        return made

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """An autoencoder that fits the data, and a game that fits its codes."""
        if not config.method.options.get("autoencoder"):
            raise GanvasError(
                "Which latent space? Give an autoencoder: ganvas train DATA --in-latent RUN. "
                "Train one first: ganvas train DATA --method vae."
            )
        _check_options(config)
        for what, given in (
            ("--conditional", config.network.conditional or bool(config.data.also)),
            ("--mirror", config.data.mirror),
            ("--augment", bool(config.augment.policy) or config.augment.pseudo),
            ("training.duality_steps", config.training.duality_steps > 0),
            ("training.ema_also_kimg", bool(config.training.ema_also_kimg)),
        ):
            if given:
                raise GanvasError(f"{what} is not for a GAN in a latent space. Omit it.")
        with torch.device("meta"):
            networks.build_generator(config.network, spec.shape, 0)
        check_mixture(config, spec)
        GanMethod.check(inner(config), _codes(config))

    @classmethod
    def unit(cls, config: Config, spec: DataSpec) -> int:
        """Of the game."""
        return GanMethod.unit(inner(config), _codes(config))

    @property
    def batches_per_step(self) -> int:
        """Of the game."""
        return self.game.batches_per_step

    def prepare(self, progress: float) -> None:
        """Of the game."""
        self.game.prepare(progress)

    def kind(self) -> Hashable:
        """Of the game."""
        return self.game.kind()

    def why_eager(self) -> str:
        """Of the game."""
        return self.game.why_eager()

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """A step of the game on codes."""
        return self.game.play(batches)

    @torch.no_grad()
    def takes(self, data: Dataset) -> Dataset:
        """The codes of all samples, without correlation and of unit spread; encoded once."""
        codes = torch.empty(len(data), self.decoder.latent_dim, device=self.engine.device)
        for part in torch.arange(len(data)).split(at_once(data.shape, BATCH)):
            x = self.floats(data.take(part)[0].to(self.engine.device), self.decoder.value_range)
            codes[part] = mean_codes(self.encoder, x, self.decoder.latent_dim).float()
        assert self.whole.scale is not None
        self.whole.scale.fit(codes)
        for rows in codes.split(BATCH):
            rows.copy_(self.whole.scale.back(rows))
        if self.whole.mixture is not None:
            seed = self.config.training.seed
            chosen = torch.randperm(len(codes), generator=stream(seed, "codes"))[:CODES]
            self.whole.mixture.fit(codes[chosen.to(codes.device)], seed)
        return replace(
            data, items=codes, shape=(codes.shape[1],), indices=None, labels=None, class_names=()
        )  # fmt: skip

    def reconstruct(self, samples: Tensor) -> Tensor:
        """What the autoencoder makes of samples: no sample of the generator can be nearer to the data."""
        with torch.no_grad():
            x = self.floats(samples.to(self.engine.device), self.decoder.value_range)
            codes = mean_codes(self.encoder, x, self.decoder.latent_dim)
            book = self.whole.book
            drawn: Tensor = self.decoder(codes if book is None else book(codes))
        return drawn.float()

    def exports(self) -> Mapping[str, nn.Module]:
        """The averaged generator of codes with its decoder as `generator`, and the critic of codes."""
        return {"generator": self.whole, "code_critic": self.game.critic}

    def probe(self) -> Probe:
        """What is drawn now, through the decoder."""
        pair = {"generator": self.game.generator, "critic": self.game.critic}
        return Probe(self.drawing, self.whole, None, pair)


methods.add("latent", LatentMethod, "a GAN in the latent space of an autoencoder (--in-latent)")


def opened_autoencoder(path: str, shape: Shape) -> Model:
    """The autoencoder of a run, snapshot or file, on the CPU. Raises `GanvasError` for one that is none, or of another shape."""
    found = load(path, device="cpu")
    if found.encoder is None or found.info.architecture is None:
        raise GanvasError(
            f"{path} has no encoder, so there are no codes to learn. Train an autoencoder: ganvas train DATA --method vae."
        )
    if isinstance(found.generator, Coded) and found.generator.maker is not None:
        raise GanvasError(f"{path} is a GAN in a latent space itself. Give its autoencoder.")
    if tuple(found.shape) != tuple(shape):
        how = (
            advice(tuple(found.shape), tuple(shape))
            or "Train one on these data: ganvas train DATA --method vae"
        )
        raise GanvasError(
            f"The autoencoder draws {described(found.shape)}, the data are {described(shape)}. {how}."
        )
    return found


def in_latent(config: Config, path: str, dataset: Dataset) -> Config:
    """The config with its networks put behind the decoder of an autoencoder."""
    found = opened_autoencoder(path, dataset.shape)
    check_held_out(found, f"--in-latent {path}", config.data, dataset)
    outer, encoder = found.info.architecture, found.encoder
    assert outer is not None
    check_layout(outer, f"--in-latent {path}", dataset)
    assert isinstance(encoder, CriticBase)
    numbers = 0 if encoder.guess is None else encoder.guess.out_features
    maker = replace(config.network, latent_dim=outer.latent_dim, codes={})
    components = config.network.codes.get("components", 0)
    book = {name: outer.codes[name] for name in ("book", "dim") if name in outer.codes}
    place = found.place
    if found.path is not None and not found.is_packaged:
        # Not what the name itself leads to: the hub's cache calls that by its checksum, and the encoder lies beside the name.
        place = str(found.path.parent.resolve() / found.path.name)
    return replace(
        config,
        network=replace(outer, codes={"components": components, "network": to_dict(maker), **book}),
        method=MethodConfig("latent", {"autoencoder": place, "hash": found.hash, "numbers": numbers}),
    )


def inner(config: Config) -> Config:
    """The config of the game on codes."""
    n = config.network
    return replace(
        config, network=code_network(n.codes.get("network", {}), n.latent_dim), method=MethodConfig("gan")
    )


def _codes(config: Config) -> DataSpec:
    return DataSpec((config.network.latent_dim,))


def _check_options(config: Config) -> None:
    """Raise `GanvasError` for options that `in_latent` does not give, as a config from elsewhere may have."""
    for name, kind in (("autoencoder", str), ("hash", str), ("numbers", int)):
        if type(told := config.method.options.get(name)) is not kind:
            raise GanvasError(
                f"method.options.{name} is {str(told)[:100]!r}; expected what --in-latent says of an autoencoder."
            )


def _numbers(config: Config) -> int:
    """How many numbers the encoder gives: a code and, of a posterior, its log variance."""
    found: int = config.method.options["numbers"]
    return found
