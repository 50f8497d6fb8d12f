"""What a metric of `evaluate` is, and everything that several of them share, computed once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from ganvas.features.base import Features
from ganvas.features.stats import Moments, RunningMoments, moments
from ganvas.metrics.arrays import pick
from ganvas.metrics.manifold import Neighbourhood, neighbourhood
from ganvas.metrics.memorisation import NearestTraining, nearest_training
from ganvas.registry import Registry

K_PRECISION, K_DENSITY = 3, 5
BLOCKS = 10
"""Parts of the fakes whose spread gives the error of the Frechet distance."""


class Value(NamedTuple):
    """One figure of a metric."""

    name: str
    value: float
    error: float | None
    kind: str
    """What the error is: `subsets`, `jackknife`, `bootstrap`, `samples` (standard error over samples) or an empty string."""


@dataclass
class Inputs:
    """Fakes and reference as features; what is asked for first is computed, what nobody asks for is not."""

    fake: Features
    real: Features
    seed: int = 0
    fake_labels: np.ndarray | None = None
    real_labels: np.ndarray | None = None
    held_out: Features | None = None
    """Real samples that nobody trained on, for tests of copying."""
    modes: tuple[Any, float] | None = None
    """Known centres (K, D) and the standard deviation around them."""
    path: Callable[[], tuple[float, float]] | None = None
    """Perceptual path length of the model, when there is one."""

    @cached_property
    def fake_blocks(self) -> list[RunningMoments]:
        blocks = []
        for rows in np.array_split(self.fake.features, BLOCKS):
            block = RunningMoments(self.fake.features.shape[1])
            block.update(rows)
            blocks.append(block)
        return blocks

    @cached_property
    def reference_moments(self) -> Moments:
        return self.real.moments or moments(self.real.features)

    @cached_property
    def equal(self) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """As many fakes as reference rows, and which of the fakes they are."""
        fake, real = self.fake.features, self.real.features
        count = min(len(fake), len(real))
        chosen = pick(len(real), count, self.seed).numpy()
        kept = pick(len(fake), count, self.seed).numpy()
        return torch.from_numpy(fake[kept]), torch.from_numpy(real[chosen]), kept

    @cached_property
    def nearest(self) -> NearestTraining:
        """Against the whole reference: a copy may be of any of it."""
        return nearest_training(self.fake.features, self.real.features)

    @cached_property
    def neighbours(self) -> Neighbourhood:
        fake, real = self.equal[:2]
        return neighbourhood(fake, real, K_PRECISION, K_DENSITY)


@dataclass(frozen=True)
class Metric:
    """One entry of the registry."""

    compute: Callable[[Inputs], list[Value]]
    fits: Callable[[Inputs], str] = lambda inputs: ""
    """Why it can not be had for these inputs; empty when it can."""
    default: bool = True
    """Part of `all`."""


metrics: Registry[Metric] = Registry("metric")
