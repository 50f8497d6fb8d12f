"""The prior as it is, and truncated: nearer the middle, where samples are typical and alike."""

import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.device import stream
from ganvas.errors import GanvasError, expect
from ganvas.latent.space import LatentSpace, of_a_class
from ganvas.lazy import lazy
from ganvas.model import Model
from ganvas.sampling.base import Callback, Drawn, Ratio, Target, samplers

Mode = Literal["auto", "threshold", "psi", "clusters"]
CENTRES = 64


def cuts(model: Model) -> bool:
    """Whether a threshold on normal numbers makes samples more typical: on a sphere hardly anything but their length changes,
    which is put back."""
    return model.generator.prior != "sphere"


class Truncated(LatentSpace):
    """A space whose own distribution is truncated: every sampler works on it. The ratio must be fitted anew for it.

    `threshold`: noise outside [-amount, amount] is drawn again (Brock et al. 2019), by quantiles of the truncated normal,
    that is the same distribution and differentiable. `psi`: mean + amount (point - mean) (Karras et al. 2019), in spaces
    that are flat. `clusters`: the same towards the nearest of `CENTRES` centres of the space's own points, for several modes
    (after Mokady et al. 2022, there with a perceptual distance, here with the space's whitened one). `auto`: psi where the
    space is flat, else threshold. Where there are classes, mean and centres are those of the point's own class.
    """

    def __init__(self, space: LatentSpace, amount: float, mode: Mode = "auto") -> None:
        expect(space, LatentSpace, "space", 'a space of a model: ganvas.open_space(model, "z")')
        super().__init__(space.model, space.name)
        self.base, self.amount, self.flat = space, amount, space.flat
        self.mode = mode if mode != "auto" else "psi" if space.name in ("w", "w+", "styles") else "threshold"
        if self.mode not in ("threshold", "psi", "clusters"):
            raise GanvasError(f"Unknown mode {mode!r}. Use auto, threshold, psi or clusters.")
        if self.mode == "threshold" and not cuts(space.model):
            raise GanvasError(
                "The latents of this model are of one length, so that a threshold (--truncate) takes nothing off them. "
                "Omit it."
            )
        most = math.inf if self.mode == "threshold" else 1
        self.amount = arrays.number(amount, "amount of truncation", above=0, most=most)

    @lazy
    def centres(self) -> Tensor:
        """(CENTRES, *shape), or the mean alone for psi."""
        return self.base.mean[None] if self.mode == "psi" else self._clusters(self.base.known)

    def _clusters(self, points: Tensor) -> Tensor:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        known = points.flatten(1)
        with warnings.catch_warnings():
            # Of fewer different points, as vectors of classes are, some centres come twice.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = KMeans(CENTRES, n_init=1, random_state=0).fit(known.cpu().numpy()).cluster_centers_
        return torch.from_numpy(found).to(known).reshape(-1, *self.base.shape)

    @torch.no_grad()
    def _clusters_of(self, label: int) -> Tensor:
        """The centres of one class's points."""
        if label not in self._by_class:
            labels = torch.full((of_a_class(self.model, 4 * CENTRES),), label, device=self.model.device)
            points = self.base.sample(len(labels), stream(0, f"centres {label}"), labels)
            self._by_class[label] = self._clusters(points)
        return self._by_class[label]

    @lazy
    def _by_class(self) -> dict[int, Tensor]:
        return {}

    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        noise = torch.randn(arrays.count(n, "n"), self.model.latent_dim, generator=generator)
        return self.from_noise(noise.to(self.model.device), labels)

    def of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Points of given latents: pulled to the centre; a threshold takes normal latents to truncated ones."""
        if self.mode == "threshold":
            return self.from_noise(z, labels)
        labels = self.labels(len(z), labels)
        return self._pull(self.base.of(z, labels), labels)

    def from_noise(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.mode != "threshold":
            labels = self.labels(len(noise), labels)
            return self._pull(self.base.from_noise(noise, labels), labels)
        share = math.erf(self.amount / math.sqrt(2))  # of the normal that lies within
        inside = torch.special.ndtr(noise.double()) - 0.5
        kept = math.sqrt(2) * torch.special.erfinv(2 * inside * share)
        return self.base.from_noise(kept.clamp(-self.amount, self.amount).to(noise.dtype), labels)

    def decode(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.base.decode(points, labels)

    def _pull(self, points: Tensor, labels: Tensor | None) -> Tensor:
        if self.mode == "psi":
            centre = self.base.mean_of(labels)
        elif labels is None or self.base.name == "z":
            centre = self._nearest(points, self.centres)
        else:
            centre = points.clone()
            for label in labels.unique().tolist():
                here = labels == label
                centre[here] = self._nearest(points[here], self._clusters_of(label))
        return centre + self.amount * (points - centre)

    def _nearest(self, points: Tensor, centres: Tensor) -> Tensor:
        away = torch.cdist(self.base.whiten(points.flatten(1)), self.base.whiten(centres.flatten(1)))
        return centres[away.argmin(1)]


@samplers.register("prior", blind=True)
def prior(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """the generator as it is: one forward a sample"""
    target = Target(space, ratio, n, generator, labels)
    found = target.draw(n, target.labels)
    # The prior is drawn whatever the ratio says of it; what it cannot judge counts as no evidence either way.
    return target.drawn(found._replace(log_ratio=found.log_ratio.nan_to_num(neginf=0.0)))


def usual_amounts(flat: bool) -> tuple[float, ...]:
    """Amounts of truncation that `improve` tries: of psi in flat spaces, of a threshold in others."""
    return (0.9, 0.8, 0.7) if flat else (2.0, 1.5, 1.0)


@samplers.register(
    "truncate",
    blind=True,
    in_w=True,
    tried=lambda budget, flat: [{"amount": amount} for amount in usual_amounts(flat)],
)
def truncate(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    amount: float = 0.7,
    mode: Mode = "auto",
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """the prior nearer its middle: better single samples, less variety"""
    return prior(
        Truncated(space, amount, mode), ratio, n, generator=generator, labels=labels, callback=callback
    )
