"""What a metric of `evaluate` is, and everything that several of them share, computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas import dist
from ganvas.features.base import Features
from ganvas.features.stats import Moments, RunningMoments, moments
from ganvas.lazy import lazy
from ganvas.metrics.manifold import Neighbourhood, neighbourhood
from ganvas.metrics.memorisation import NearestTraining, nearest_training
from ganvas.metrics.resample import parts, pick
from ganvas.metrics.sequences import Figure
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
    """Classes that were asked for. What was drawn is `seen_classes`."""
    real_labels: np.ndarray | None = None
    class_names: Sequence[str] = ()
    """Classes of the reference, by number; empty where they are not known."""
    held_out: Features | None = None
    """Real samples that nobody trained on, for tests of copying."""
    modes: tuple[Any, float] | None = None
    """Known centres (K, D) and the standard deviation around them."""
    path: Callable[[], tuple[float, float]] | None = None
    """Perceptual path length of the model, when there is one."""
    series: Callable[[bool], tuple[list[Figure], int]] | None = None
    """The measures of series, or with True the published scores, and how many series were compared; for series alone."""
    figures: dict[str, tuple[Figure, int]] = field(default_factory=dict)
    """Those that were computed, by name: they bring their own floors."""
    real_spans: Tensor | None = None
    """Where the reference's windows are cut from (`Dataset.kin`)."""
    groups: tuple[Tensor | None, Tensor | None] = (None, None)
    """Of samples and held-out ones, by what windows are independent of one another (`Dataset.stretches`)."""
    seen_names: Sequence[str] = ()
    """Classes of the extractor's classifier, in the order of its logits; empty where it does not say."""

    @lazy
    def fake_blocks(self) -> list[RunningMoments]:
        blocks = []
        for rows in self.parts(len(self.fake.features)):
            block = RunningMoments(self.fake.features.shape[1])
            block.update(self.fake.features[list(dist.shard(rows.tolist()))])
            blocks.append(block.whole())
        return blocks

    def parts(self, total: int) -> list[torch.Tensor]:
        """`BLOCKS` random parts of the numbers below `total`, whose spread is the error of a figure."""
        return parts(total, BLOCKS, self.seed)

    @lazy
    def classes(self) -> np.ndarray | None:
        """The classes that reference samples have, rising; None without labels. A number that no sample has is no class."""
        return None if self.real_labels is None else np.unique(self.real_labels)

    @lazy
    def seen_classes(self) -> np.ndarray | None:
        """Class of every fake as the extractor's classifier sees it, one of `classes`, whatever was asked for.

        None where the reference has no labels, or the extractor is no classifier of just these classes: by their names, or
        where one side has none by their number.
        """
        logits = self.fake.logits
        if logits is None or self.classes is None or self.classes[-1] >= logits.shape[1]:
            return None
        if self.class_names and logits.shape[1] != len(self.class_names):
            return None
        columns = self.classes
        if self.are_named:
            places = _places(self.class_names, self.seen_names)
            if places is None:
                return None
            columns = np.array(places)[self.classes]
        found: np.ndarray = self.classes[logits[:, columns].argmax(1)]
        return found

    @property
    def are_named(self) -> bool:
        """Whether both the reference and the extractor's classifier say what their classes are called."""
        return bool(self.class_names and self.seen_names)

    @lazy
    def reference_moments(self) -> Moments:
        return self.real.moments or moments(self.real.features)

    @lazy
    def equal(self) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """As many fakes as reference rows, and which of the fakes they are."""
        fake, real = self.fake.features, self.real.features
        count = min(len(fake), len(real))
        chosen = pick(len(real), count, self.seed).numpy()
        kept = pick(len(fake), count, self.seed).numpy()
        return torch.from_numpy(fake[kept]), torch.from_numpy(real[chosen]), kept

    @lazy
    def nearest(self) -> NearestTraining:
        """Against the whole reference: a copy may be of any of it."""
        return nearest_training(self.fake.features, self.real.features, self.real_spans)

    @lazy
    def neighbours(self) -> Neighbourhood:
        fake, real = self.equal[:2]
        return neighbourhood(fake, real, K_PRECISION, K_DENSITY)


def _places(names: Sequence[str], among: Sequence[str]) -> list[int] | None:
    """Where each of the names stands among others; None where those are not the same ones, or two are alike."""
    if tuple(names) == tuple(among):
        return list(range(len(names)))
    place = {name: i for i, name in enumerate(among)}
    if place.keys() != set(names) or not len(place) == len(names) == len(among):
        return None
    return [place[name] for name in names]


@dataclass(frozen=True)
class Metric:
    """One entry of the registry."""

    compute: Callable[[Inputs], list[Value]]
    fits: Callable[[Inputs], str] = lambda inputs: ""
    """Why it cannot be had for these inputs; empty when it can."""
    default: bool = True
    """Part of `all`."""
    better: Mapping[str, str] = field(default_factory=dict)
    """Figure -> `lower`, `higher` or `near X`, without the class in brackets."""


metrics: Registry[Metric] = Registry("metric")


def better(figure: str) -> str:
    """Which way a figure gets better, as its metric says: `lower`, `higher`, `near X`, or nothing where no metric knows it."""
    name = figure.split("[")[0]
    return next((metrics.get(each).better[name] for each in metrics if name in metrics.get(each).better), "")
