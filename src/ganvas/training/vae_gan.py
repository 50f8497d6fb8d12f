"""VAE-GAN (Larsen et al. 2016): a variational autoencoder that a critic teaches what images look like.

What the critic sees of an image is a measure of likeness as well. Its weight follows the gradients at the decoder's last layer,
as in VQGAN (Esser et al. 2021, eq. 6-7), and it begins late: reconstructions are good when it comes.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganvas import dist, networks
from ganvas.config import Config
from ganvas.errors import GanvasError
from ganvas.networks import to_prior
from ganvas.networks.coded import Mixture
from ganvas.training import ema
from ganvas.training.autoencoder import JudgedMethod
from ganvas.training.engine import Engine
from ganvas.training.method import DataSpec, methods
from ganvas.training.vae import VariationalAutoencoder
from ganvas.types import Batch

DELTA, MOST = 1e-4, 1e4
"""Of the adaptive weight, as published."""
FIGURES = ("loss_generator", "critic_weight", "loss_critic", "real_logits", "fake_logits", "penalty")
"""What a step with a critic says besides one of `vae`."""


RECENT, FIT_STEPS = 2000, 500
"""Codes that the mixture is fitted to, and steps between two fits."""


class Seen(nn.Module):
    """The codes of the last images, and the mixture of normals that was fitted to them."""

    codes: Tensor

    def __init__(self, components: int, dim: int) -> None:
        super().__init__()
        self.mixture = Mixture(components, dim)
        self.register_buffer("codes", torch.zeros(RECENT, dim))

    def take(self, codes: Tensor) -> None:
        """Codes (B, D) for the oldest ones."""
        self.codes.copy_(torch.cat([self.codes, dist.whole(codes.detach().float())])[-RECENT:])


class VaeGan(JudgedMethod, VariationalAutoencoder):
    """Half of the fakes are reconstructions, half samples as the model will draw them: of a mixture that is fitted to the codes
    (`network.codes`), without one of the normal. Encoder and decoder learn from the critic.

    Options beside those of `vae`: `weight`, of the critic's verdict, as a share of the reconstruction's gradient at the last
    layer; `features`, the weight of likeness as the critic sees it, whose deviation is the best one as well; `start`, the share
    of the budget after which there is a critic: before it a step is one of `vae`, at less than half the cost.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        **VariationalAutoencoder.OPTIONS, "weight": 0.1, "features": 0.1, "start": 0.4,
    }  # fmt: skip

    @classmethod
    def unit(cls, config: Config, spec: DataSpec) -> int:
        """A reconstruction and a sample."""
        return 2

    @classmethod
    def check_options(cls, options: Mapping[str, Any], name: str) -> None:
        """A share of the budget, too."""
        super().check_options(options, name)
        if options.get("start", 0) > 1:
            raise GanvasError(
                f"method.options.start is {options['start']!r}; it must be a share of the budget, from 0 to 1."
            )

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        components = self.config.network.codes.get("components", 0)
        self.seen = Seen(components, self.decoder.latent_dim).to(engine.device) if components else None
        if self.seen is not None:
            self.networks["seen"] = self.seen

    def build_judge(self) -> nn.Module:
        """The family's critic."""
        found: nn.Module = self.place(
            networks.build_critic(self.config.network, self.spec.shape, 0, self.config.training.seed)
        )
        return found

    def prepare(self, progress: float) -> None:
        """Whether there is a critic yet; a run that goes on with a longer budget keeps the one that it has."""
        super().prepare(progress)
        judged = bool(self.optimizers["optimizer_critic"].state)
        self.begun = judged or progress >= self.options["start"]
        due = self.begun and (not judged or self.engine.steps % FIT_STEPS == 0)
        if due and self.seen is not None and self.engine.images > RECENT:
            self.seen.mixture.fit(self.seen.codes, self.config.training.seed)

    def kind(self) -> Hashable:
        """Whether there is a critic, and which penalties are due."""
        return self.begun and super().kind()

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Draw; judge; then a step down bound, likeness and the critic's verdict."""
        x = self.real(batches[0])
        loss, figures, drawn, codes = self.bound(x)
        if self.seen is not None:
            self.seen.take(codes)
        if self.begun:
            taught, found = self.taught(x, drawn, loss)
            loss = loss + taught
        else:
            found = dict.fromkeys(FIGURES, torch.zeros((), device=x.device))
        self.engine.update(self.optimizers["optimizer_autoencoder"], loss)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        return {**figures, **found}

    def taught(self, x: Tensor, drawn: Tensor, bound: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the critic; what has the gradient of likeness and verdict, with its figures."""
        e = self.engine
        noise = e.normal(self.decoder.latent_dim)
        prior = to_prior(self.decoder.prior, noise)
        z = prior if self.seen is None else self.seen.mixture.drawn(noise, e.uniform())
        with e.autocast():
            # Every other one, which every process has as many of.
            fake = torch.cat([drawn[::2], self.decode_some(z[1::2])])
        judged = self.critic_step(x, fake)
        # Gradients at the images come first: two passes back through the critic give both the weight and the step.
        self.critic.requires_grad_(False)
        judge: Any = self.critic
        seen = fake.detach().requires_grad_(True)
        with e.autocast():
            on_fake = judge.answer(seen).float()
            with torch.no_grad():
                on_real = judge.answer(x).float()
            verdict = self.loss.generator(on_real.logits, on_fake.logits)
        alike = torch.zeros_like(seen)
        if self.options["features"]:
            again = on_fake.features[: len(drawn[::2])]
            unlike = dist.whole((again - on_real.features[::2]).square().mean(1)).mean()
            likeness = (unlike + 1e-8).log() / 2
            (alike,) = torch.autograd.grad(likeness, seen, retain_graph=True)
        (push,) = torch.autograd.grad(verdict, seen)
        self.critic.requires_grad_(True)
        pull = self.options["features"] * alike
        last = last_layer(self.decoder)
        wanted = _at(bound, last) + _at(fake, last, pull)
        adaptive = (wanted.norm() / (_at(fake, last, push).norm() + DELTA)).clamp(max=MOST)
        slope = (pull + self.options["weight"] * adaptive * push).detach()
        found = {"loss_generator": verdict.detach(), "critic_weight": adaptive.detach(), **judged}
        return (fake * slope).sum(), found

    def decode_some(self, codes: Tensor) -> Tensor:
        """A part of a batch, without the random inputs of a whole one."""
        drawn: Tensor = self.decoder(codes, None)
        return drawn.float()


def _at(found: Tensor, layer: nn.Parameter, slope: Tensor | None = None) -> Tensor:
    """Gradient of a loss, or of what has such a `slope`, at the weights of one layer, over all processes."""
    (gradient,) = torch.autograd.grad(found, layer, slope, retain_graph=True)
    return dist.mean(gradient.float())


def last_layer(network: nn.Module) -> nn.Parameter:
    """The weights of its last layer: where all that is drawn passes through."""
    return [each for each in network.parameters() if each.dim() > 1][-1]


methods.add(
    "vae-gan",
    VaeGan,
    "variational autoencoder with a critic of images, for sharper ones (Larsen et al. 2016)",
)
