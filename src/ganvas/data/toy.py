"""2-D points whose density is known exactly: what a method says about them can be checked."""

import math

import torch
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.data.base import Dataset, datasets, fingerprint

SAMPLES = 100_000


def grid25_centres() -> Tensor:
    """5 x 5 means at -4, -2, 0, 2, 4 (Lin et al. 2018, PacGAN, section 4.1)."""
    axis = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(axis, axis)


def ring8_centres() -> Tensor:
    """8 means on the unit circle (Lin et al. 2018, PacGAN, section 4.1)."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def mixture_log_density(points: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """log of an equal mixture of round Gaussians: points (N, 2), centres (K, 2) -> (N,)."""
    squares = torch.cdist(
        points.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist"
    ).square()
    each = -squares / (2 * sigma**2) - math.log(2 * math.pi * sigma**2)
    return torch.logsumexp(each, dim=1) - math.log(len(centres))


class Mixture:
    """Equal round Gaussians. Call it with points for their log density."""

    def __init__(self, centres: Tensor, sigma: float) -> None:
        self.centres, self.sigma = centres, sigma

    def __call__(self, points: Tensor) -> Tensor:
        return mixture_log_density(points, self.centres, self.sigma)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points (count, 2) and the Gaussian that each comes from (count,)."""
        chosen = torch.randint(len(self.centres), (count,), generator=generator)
        return self.centres[chosen] + self.sigma * torch.randn(count, 2, generator=generator), chosen


class SwissRoll:
    """A noisy spiral: t uniform on [1.5 pi, 4.5 pi], point t (cos t, sin t) / 7 plus Gaussian noise.

    The density is the integral over t by the midpoint rule on 20,000 nodes, right to six digits of its logarithm.
    """

    LOW, HIGH, SCALE = 1.5 * math.pi, 4.5 * math.pi, 1 / 7

    def __init__(self, sigma: float = 0.05) -> None:
        self.sigma = sigma

    def curve(self, t: Tensor) -> Tensor:
        """Parameter (N,) -> points on the spiral (N, 2)."""
        return torch.stack([t.cos(), t.sin()], dim=1) * (t * self.SCALE)[:, None]

    def __call__(self, points: Tensor, nodes: int = 20_000) -> Tensor:
        middle = (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
        centres = self.curve(self.LOW + (self.HIGH - self.LOW) * middle)
        return torch.cat([mixture_log_density(part, centres, self.sigma) for part in points.split(512)])

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, None]:
        """Points (count, 2)."""
        t = self.LOW + (self.HIGH - self.LOW) * torch.rand(count, generator=generator)
        return self.curve(t) + self.sigma * torch.randn(count, 2, generator=generator), None


def distribution(name: str) -> Mixture | SwissRoll:
    """The exact distribution behind `toy:grid25`, `toy:ring8` (sigma 0.05 and 0.01) or `toy:swissroll`."""
    if name == "toy:swissroll":
        return SwissRoll()
    return Mixture(grid25_centres(), 0.05) if name == "toy:grid25" else Mixture(ring8_centres(), 0.01)


def load(config: DataConfig) -> Dataset:
    """100,000 points of a toy distribution, always the same ones."""
    exact = distribution(config.source)
    points, modes = exact.draw(SAMPLES, torch.Generator().manual_seed(0))
    count = 0 if modes is None else int(modes.max()) + 1
    return Dataset(
        name=config.source.replace(":", "-"),
        items=points.float(),
        shape=(2,),
        fingerprint=fingerprint(config.source, str(SAMPLES)),
        labels=modes,
        class_names=tuple(str(i) for i in range(count)),
        log_density=exact,
    )


datasets.add("toy:grid25", load, "2-D points: 25 Gaussians on a grid, exact density")
datasets.add("toy:ring8", load, "2-D points: 8 Gaussians on a circle, exact density")
datasets.add("toy:swissroll", load, "2-D points: a noisy spiral, exact density")
