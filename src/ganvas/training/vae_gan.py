"""VAE-GAN (Larsen et al. 2016): a variational autoencoder that a critic teaches what images look like.

What the critic sees of an image is a measure of likeness as well. Its weight follows the gradients at the decoder's last layer,
as in VQGAN (Esser et al. 2021, eq. 6-7), and it begins late.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import networks
from ganvas.networks import to_prior
from ganvas.training import ema
from ganvas.training.autoencoder import JudgedMethod
from ganvas.training.method import methods
from ganvas.training.vae import VariationalAutoencoder
from ganvas.types import Batch

DELTA, MOST = 1e-4, 1e4
"""Of the adaptive weight, as published."""


class VaeGan(JudgedMethod, VariationalAutoencoder):
    """Half of the fakes are reconstructions, half are samples of the prior. Encoder and decoder learn from the critic.

    Options beside those of `vae`: `weight`, of the critic's verdict, as a share of the reconstruction's gradient at the last
    layer; `features`, the weight of likeness as the critic sees it, whose deviation is the best one as well; `start_kimg`, when
    the critic begins to be heard.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        **VariationalAutoencoder.OPTIONS, "weight": 0.25, "features": 0.25, "start_kimg": 4.0,
    }  # fmt: skip

    def build_judge(self) -> nn.Module:
        """The family's critic."""
        found: nn.Module = self.place(
            networks.build_critic(self.config.network, self.spec.shape, 0, self.config.training.seed)
        )
        return found

    def prepare(self, progress: float) -> None:
        """Whether the critic is heard, too."""
        super().prepare(progress)
        heard = self.engine.images >= 1000 * self.options["start_kimg"]
        self.heard = self.engine.set_knob("heard", float(heard))

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Draw; judge; then a step down bound, likeness and the critic's verdict."""
        x, e = self.real(batches[0]), self.engine
        loss, figures, drawn, _ = self.bound(x)
        half = len(x) // 2
        z = to_prior(self.decoder.prior, e.normal(self.decoder.latent_dim))[half:]
        with e.autocast():
            fake = torch.cat([drawn[:half], self.decode_some(z)])
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
        unlike = F.mse_loss(on_fake.features[:half], on_real.features[:half])
        likeness = (unlike + 1e-8).log() / 2
        (alike,) = torch.autograd.grad(likeness, seen, retain_graph=True)
        (push,) = torch.autograd.grad(verdict, seen)
        pull = self.heard * self.options["features"] * alike
        last = last_layer(self.decoder)
        wanted = _at(loss, last) + _at(fake, last, pull)
        adaptive = (wanted.norm() / (_at(fake, last, push).norm() + DELTA)).clamp(max=MOST)
        slope = (pull + self.heard * self.options["weight"] * adaptive * push).detach()
        e.update(self.optimizers["optimizer_autoencoder"], loss + (fake * slope).sum())
        self.critic.requires_grad_(True)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        verdict = verdict.detach()
        return {**figures, "loss_generator": verdict, "critic_weight": adaptive.detach(), **judged}

    def decode_some(self, codes: Tensor) -> Tensor:
        """A part of a batch, without the random inputs of a whole one."""
        drawn: Tensor = self.decoder(codes, None)
        return drawn.float()


def _at(found: Tensor, layer: nn.Parameter, slope: Tensor | None = None) -> Tensor:
    """Gradient of a loss, or of what has such a `slope`, at the weights of one layer."""
    (gradient,) = torch.autograd.grad(found, layer, slope, retain_graph=True)
    return gradient.float()


def last_layer(network: nn.Module) -> nn.Parameter:
    """The weights of its last layer: where all that is drawn passes through."""
    return [each for each in network.parameters() if each.dim() > 1][-1]


methods.add(
    "vae-gan",
    VaeGan,
    "variational autoencoder with a critic of images, for sharper ones (Larsen et al. 2016)",
)
