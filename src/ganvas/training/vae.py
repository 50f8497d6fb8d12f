"""Variational autoencoder (Kingma and Welling 2014), with beta (Higgins et al. 2017) and free bits (Kingma et al. 2016)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ganvas import dist
from ganvas.training import ema
from ganvas.training.autoencoder import EncodingMethod
from ganvas.training.method import methods
from ganvas.types import Batch


class VariationalAutoencoder(EncodingMethod):
    """A normal posterior for each sample, held to the standard normal by its divergence.

    Options: `beta`, the weight of the divergence; `free_bits`, nats of each code that cost nothing; `sigma`, standard deviation
    of what the decoder draws, with black 0 and white 1, or 0 for the best one of each batch (Rybkin et al. 2021), with which
    beta 1 is the likelihood's own balance.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"beta": 1.0, "free_bits": 0.0, "sigma": 0.0}
    spread = True

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """One step down the negative lower bound on the likelihood, in nats for each number of a sample."""
        loss, figures, _, _ = self.bound(self.real(batches[0]))
        self.engine.update(self.optimizers["optimizer_autoencoder"], loss)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        return figures

    def bound(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """The loss, its figures, the reconstructions and the codes that they were drawn from."""
        e = self.engine
        with e.autocast():
            mean, spread = self.encode(self.live, x)
            assert spread is not None
            codes = mean + (spread / 2).exp() * e.normal(mean.shape[1])
            drawn = self.decode(codes)
        # Of the whole batch: neither the root nor what is free is a mean of parts.
        error = dist.whole((drawn - x).square().flatten(1).mean(1)).mean()
        divergence = divergences(dist.whole(mean), dist.whole(spread))
        low, high = self.decoder.value_range
        sigma = self.options["sigma"] * (high - low)
        likelihood = error / (2 * sigma**2) if sigma else (error + 1e-8).log() / 2
        paid = divergence.clamp(min=self.options["free_bits"]).sum() / x[0].numel()
        figures = {
            "loss_reconstruction": error,
            "loss_divergence": divergence.sum(),
            "units_used": (divergence > 0.1).float().sum(),
        }
        return likelihood + self.options["beta"] * paid, figures, drawn, codes


def divergences(mean: Tensor, spread: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normals with log variances `spread` from the standard one, in nats (Kingma and Welling 2014,
    appendix B): (B, D) twice -> (D,), the mean over the batch.
    """
    each: Tensor = (mean.square() + spread.exp() - 1 - spread) / 2
    return each.mean(0)


methods.add(
    "vae",
    VariationalAutoencoder,
    "variational autoencoder, with beta and free bits (Kingma and Welling 2014)",
)
