"""How good and how usual a picture is, beside the generator's own samples and real images."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas import arrays
from ganvas.errors import counted
from ganvas.features.base import Extractor, at_once
from ganvas.latent import LatentSpace
from ganvas.latent.critic import CriticScorer, scorer_of
from ganvas.latent.likeness import LEAST, Likeness, likeness
from ganvas.latent.map import extractor_of
from ganvas.latent.paths import small_pyramid
from ganvas.latent.space import WIDE
from ganvas.lazy import lazy
from ganvas.model import ROWS, Model, all_over
from ganvas.model_data import classifier_of
from ganvas.networks import from_uint8
from ganvas.sampling import LogRatio, repair

KNOWN = 1024
"""Own samples that a point's numbers are compared with."""
RARE = 0.02
"""Share of own samples that are as strange, below which a point is off the manifold."""
BALL = 5
"""A picture is inside the real ones when it lies as near to one as its fifth neighbour does (Kynkaanniemi et al. 2019)."""
CROWD = 8
"""Usual points that a repair is drawn to."""
FEW = 64
"""Instead of `KNOWN` where pictures take long."""
AT_ONCE = 4
"""Of those, between two looks at who waits; of coarse ones `ROWS`, since fewer cost as much."""
ALIKE = 40
"""Own samples of similar looks that the critic's word on a picture is compared with."""


class Real(NamedTuple):
    """Real images to compare with."""

    images: Tensor
    """uint8 (n, C, H, W)"""
    source: str
    """What they are, in words."""

    @classmethod
    def given(cls, images: Tensor) -> "Real":
        """What somebody has given, in another order: people give them class by class, and a map shows the first ones."""
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        return cls(images[order], f"{counted(len(images), 'image')} that were given")

    def of(self, size: Sequence[int]) -> "Real":
        """The same at another height and width."""
        return Real(shrunk(self.images, size), self.source)


@dataclass(frozen=True)
class Quality:
    """The numbers of one point."""

    log_ratio: float | None
    """Calibrated log p_data / p_G; None without a ratio."""
    realism: float
    """Share of the generator's own samples that look less real, by the ratio, else by the critic; NaN without either."""
    typicality: float
    """Of the point in its space, in [0, 1]."""
    manifold: float
    """Share of own samples that are as strange, by all of `SIGNS` together; below `RARE`: off the manifold."""
    distance: float | None
    """To the nearest real image, in mean distances of own samples to theirs; None without real images."""
    nearest: int | None
    """That image."""
    warnings: tuple[str, ...]
    """Why the point is off the manifold; empty where it is not."""

    @property
    def words(self) -> str:
        """The verdict."""
        return "off the manifold: " + "; ".join(self.warnings) if self.warnings else "on the manifold"


class _Own(NamedTuple):
    views: Tensor
    """The own samples as they are compared."""
    scores: Tensor | None
    logits: Tensor | None
    away: Tensor | None
    looks: Tensor
    labels: Tensor | None


class _Signs(NamedTuple):
    values: dict[str, Tensor]
    """What tells strange pictures, the stranger the larger (n,) each."""
    away: Tensor | None
    """Distances to the real images (n, m)."""


SIGNS = {
    "points": "the point is far from everything that was drawn in its space",
    "looks": "it looks like no real image",
    "critic": "the critic that the generator was trained with likes it less than samples that look alike",
}


class Gauge:
    """Judges pictures of one model. What the own samples score is found with the first picture.

    `turn`, where pictures take long: there are then a `few` own samples, and some of them at a time are drawn within it.
    `coarse`: the model of the pictures that are then compared instead, but for critics, who see the whole ones.
    """

    def __init__(
        self, model: Model, ratio: LogRatio | None, real: Real | None, coarse: Model | None = None,
        turn: Callable[[], AbstractContextManager[None]] | None = None, few: int = FEW,
    ) -> None:  # fmt: skip
        self.model, self.ratio, self.coarse, self.turn = model, ratio, coarse, turn
        self.real = real if real is None or coarse is None else real.of(coarse.shape[1:])
        self.known = KNOWN if turn is None else few
        """Own samples that are looked at."""
        self._whites: dict[str, tuple[Tensor, Tensor]] = {}
        self._usual: dict[str, dict[str, Tensor]] = {}
        self._likeness: Likeness | None = None

    @torch.no_grad()
    def quality(
        self,
        space: LatentSpace,
        points: Tensor,
        images: Tensor,
        label: Tensor | None,
        views: Tensor | None = None,
    ) -> Quality:
        """Of one point (1, *shape) and its picture (1, C, H, W), and where there is one the coarse picture.

        The space is the model's own, whatever was mixed into the point.
        """
        views = images if views is None else views
        typicality, share, log_ratio = float(space.typicality(points)[0]), float("nan"), None
        if (scores := self.scores(images, label)) is not None and self._own.scores is not None:
            share = _below(self._own.scores, scores[0])
            log_ratio = float(scores[0]) if self.ratio is not None else None
        usual, here = self._usual_signs(space), self._signs(space, points, images, views, label)
        distance = nearest = None
        if here.away is not None and self._own.away is not None:
            nearest = int(here.away[0].argmin())
            distance = float(here.away[0, nearest] / self._own.away.mean().clamp(min=1e-12))
        ranks = {name: _rank(usual[name], each[0]) for name, each in here.values.items()}
        manifold = 1 - _below(usual["all"], _together({n: torch.tensor([r]) for n, r in ranks.items()})[0])
        warnings: list[str] = []
        if manifold < RARE and self.tells:
            strongest = max(ranks, key=lambda name: ranks[name])
            warnings += [SIGNS[name] for name, rank in ranks.items() if rank > 0.95 or name == strongest]
        return Quality(log_ratio, share, typicality, manifold, distance, nearest, tuple(warnings))

    @property
    def judges(self) -> bool:
        """Whether something judges whole pictures: a ratio or a critic."""
        return self.ratio is not None or self._critic is not None

    @property
    def tells(self) -> bool:
        """Whether there are enough own samples for a place behind all of them to be as rare as `RARE`."""
        return (self.known + 1) * RARE >= 1

    @property
    def error(self) -> float:
        """Of a share of own samples, at worst: one standard deviation."""
        return 0.5 / math.sqrt(self.known)

    def prepare(self) -> None:
        """Look at the own samples now, not with the first picture."""
        assert self._own is not None

    @property
    def is_ready(self) -> bool:
        """Whether the own samples are known by now."""
        return "_own" in self.__dict__

    def scores(self, images: Tensor, labels: Tensor | None) -> Tensor | None:
        """Log ratios of uint8 images, without a ratio the critic's logits (n,); None without either."""
        if self.ratio is None:
            return None if self._critic is None else self._logits(images, labels)
        parts = arrays.split(images, labels, self.model.at_once)
        found = [self.ratio(self._floats(part), label) for part, label in parts]
        return torch.cat(found).double().cpu().nan_to_num(neginf=-1e9)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What neighbours on the map are told by: (n, F) on the CPU."""
        parts = _parts(images)
        return torch.cat(
            [self._extractor(part.to(self.model.device)).features.float().cpu() for part in parts]
        )

    @torch.no_grad()
    def kinds(self, features: Tensor) -> Tensor | None:
        """Classes (n,) of pictures by their `features`; None without a classifier."""
        known = classifier_of(self.model)
        return None if known is None else known.network.head(features.to(self.model.device)).argmax(1).cpu()

    def repaired(
        self,
        space: LatentSpace,
        points: Tensor,
        label: Tensor | None,
        near: LatentSpace | None,
        steps: int = 10,
    ) -> Tensor:
        """A point (1, *shape) where samples look real: where it is off the manifold half the way to the nearest usual ones of
        the model's own space, which is given as `near` then; and a few steps uphill in realism, and in the own critic's eyes as
        far as its usual samples."""
        assert self.ratio is not None
        ratio = self.ratio
        if near is not None:
            crowd = self._from_known(near, points)[0].topk(CROWD, largest=False).indices
            with torch.no_grad():
                points = near.project((points + near.known[crowd].mean(0)) / 2, RARE)

        def realism(samples: Tensor, labels: Tensor | None) -> Tensor:
            found: Tensor = ratio(samples, labels)
            own = self._own.logits
            if own is None:
                return found
            assert self._critic is not None
            usual = (self._critic.logits(samples, labels) - own.mean()) / own.std().clamp(min=1e-12)
            return found + usual.clamp(max=1)

        return repair(space, realism, points, label, steps=steps)[0].detach()

    def likeness(self, most: int) -> Likeness | None:
        """How like real images `most` samples are, all together: what no rank among themselves can say. None without them."""
        if self.real is None or len(self.real.images) < LEAST:
            return None
        if self._likeness is None:
            self._likeness = likeness(self.coarse or self.model, self.real.images, n=most)
        return self._likeness

    # --- what own samples are like ---------------------------------------------------------------------------------

    def _floats(self, images: Tensor) -> Tensor:
        return from_uint8(images.to(self.model.device), self.model.generator.value_range)

    def _looks(self, images: Tensor) -> Tensor:
        looks, done = torch.empty(0), 0
        for part in _parts(images):
            found = small_pyramid(self._floats(part)).cpu()
            # One piece of memory: of all parts and their whole there would be two, a gigabyte each.
            looks = looks if done else torch.empty(len(images), found.shape[1])
            looks[done : done + len(found)] = found
            done += len(found)
        return looks

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        assert self._critic is not None
        return self._critic.scores(images, labels).nan_to_num(neginf=-1e9)

    @lazy
    def _extractor(self) -> Extractor:
        return extractor_of(self.model)

    @lazy
    def _critic(self) -> CriticScorer | None:
        return scorer_of(self.model)

    @lazy
    def _own(self) -> _Own:
        with torch.no_grad():
            labels = self.model.labels_at(all_over(self.known, self.model.generator.num_classes))
            labels = None if labels is None else labels.to(self.model.device)
            if self.turn is None:
                views = self.model.sample(self.known, seed=1, labels=labels)
                scores, logits = self._judged(views, labels)
            else:
                views, scores, logits = self._slowly(labels, self.turn)
            looks = self._looks(views)
            away = None if self.real is None else self._away(looks).amin(1)
            return _Own(views, scores, logits, away, looks, labels)

    def _judged(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        return self.scores(images, labels), None if self._critic is None else self._logits(images, labels)

    def _slowly(
        self, labels: Tensor | None, turn: Callable[[], AbstractContextManager[None]]
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The own samples as they are compared, and what judges say of them; whole pictures are not kept."""
        views: list[Tensor] = []
        judged: list[tuple[Tensor | None, Tensor | None]] = []

        def drawn(model: Model, some: int) -> Iterator[tuple[Tensor, Tensor | None]]:
            for first in range(0, self.known, some):
                count = min(some, self.known - first)
                part = None if labels is None else labels[first : first + count]
                with turn():
                    yield model.sample(count, seed=1, first=first, batch=count, labels=part), part

        if self.coarse is not None:
            views = [images for images, _ in drawn(self.coarse, ROWS)]
        if self.judges or self.coarse is None:
            for images, part in drawn(self.model, AT_ONCE):
                judged.append(self._judged(images, part))
                if self.coarse is None:
                    views.append(images)
        scores = [each for each, _ in judged if each is not None]
        logits = [each for _, each in judged if each is not None]
        return torch.cat(views), torch.cat(scores) if scores else None, torch.cat(logits) if logits else None

    @lazy
    def _real_looks(self) -> tuple[Tensor, Tensor]:
        """Looks of the real images (m, F), and how far the `BALL`th neighbour of each is (m,)."""
        assert self.real is not None
        looks = self._looks(self.real.images)
        return looks, _radii(looks)

    @torch.no_grad()
    def _white(self, space: LatentSpace, points: Tensor) -> Tensor:
        found, done = torch.empty(len(points), space.size), 0
        for part in space.parts(points):
            found[done : done + len(part)] = space.whiten((part - space.mean).flatten(1))
            done += len(part)
        return found

    def _known(self, space: LatentSpace) -> tuple[Tensor, Tensor]:
        """Points of the space where it is white, and the radius of each one's ball."""
        if space.name not in self._whites:
            known = self._white(space, space.known)
            self._whites[space.name] = known, _radii(known)
        return self._whites[space.name]

    def _from_known(self, space: LatentSpace, points: Tensor) -> Tensor:
        """Distances of points (n, *shape) to these (n, m), some of either at a time: all would be copied."""
        known = space.parts(self._known(space)[0])
        white = (self._white(space, part) for part in space.parts(points))
        # One point of a wide space by plain differences: a product copies all known ones, and takes eight times as long.
        alone = space.size > WIDE and len(points) == 1
        mode = "donot_use_mm_for_euclid_dist" if alone else "use_mm_for_euclid_dist_if_necessary"
        rows = [torch.cat([torch.cdist(few, part, compute_mode=mode) for part in known], 1) for few in white]
        return torch.cat(rows)

    def _away(self, looks: Tensor) -> Tensor:
        """Distances to all real images (n, m): as the eye sees them, since a classifier's features can be fooled where the
        generator never was."""
        return _distances(looks, self._real_looks[0])

    def _signs(
        self, space: LatentSpace, points: Tensor, images: Tensor | None, views: Tensor, labels: Tensor | None
    ) -> "_Signs":
        """Without `images`: of the own samples."""
        own = images is None
        found = {"points": (self._from_known(space, points) / self._known(space)[1]).amin(1)}
        looks, away = self._looks(views), None
        if self.real is not None:
            away = self._away(looks)
            found["looks"] = (away / self._real_looks[1]).amin(1)
        if self._own.logits is not None:
            # An own sample is not among those that it is compared with, as a new one is not.
            count = min(ALIKE, self.known // 2) + own
            alike = torch.cdist(looks, self._own.looks).topk(count, largest=False).indices[:, own:]
            theirs = self._own.logits[alike]
            logits = self._own.logits if images is None else self._logits(images, labels)
            found["critic"] = (theirs.mean(1) - logits) / theirs.std(1).clamp(min=1e-9)
        return _Signs(found, away)

    def _usual_signs(self, space: LatentSpace) -> dict[str, Tensor]:
        if space.name not in self._usual:
            points = space.numbered(self.known, 1, self._own.labels)
            found = self._signs(space, points, None, self._own.views, self._own.labels).values
            ranks = {name: (each.argsort().argsort() + 0.5) / self.known for name, each in found.items()}
            self._usual[space.name] = {**found, "all": _together(ranks)}
        return self._usual[space.name]


def _radii(points: Tensor) -> Tensor:
    rows = points.split(1024)
    return torch.cat([_distances(part, points).topk(BALL + 1, largest=False).values[:, -1] for part in rows])


def _distances(points: Tensor, known: Tensor) -> Tensor:
    """Between the rows of both (n, m), some of either at a time: all would be copied."""
    rows = (torch.cat([torch.cdist(few, part) for part in known.split(256)], 1) for few in points.split(256))
    return torch.cat(list(rows))


def _below(known: Tensor, value: Tensor | float) -> float:
    return float((known < value).double().mean())


def _rank(known: Tensor, value: Tensor) -> float:
    """Place of a new value among known ones, as theirs are among themselves: never quite 0 or 1."""
    return (float((known < value).sum()) + 0.5) / (len(known) + 1)


def _together(ranks: dict[str, Tensor]) -> Tensor:
    """Several shares of own samples that are less strange (n,) as one number: -2 sum log of the tails (Fisher)."""
    return torch.stack([-2 * (1 - rank).log() for rank in ranks.values()]).sum(0)


def _parts(images: Tensor) -> Sequence[Tensor]:
    """Images (n, C, H, W), as many at a time as are looked at together: 256 of 1,024 px are 3 GB as floats."""
    found: Sequence[Tensor] = images.split(at_once(tuple(images.shape[1:])))
    return found


def shrunk(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images (n, C, H, W) at the height and width of coarse pictures, as they are where those are theirs."""
    high, wide = size
    if tuple(images.shape[2:]) == (high, wide):
        return images
    parts = [
        F.interpolate(part.float(), size=(high, wide), mode="area").round().to(torch.uint8)
        for part in _parts(images)
    ]
    return torch.cat(parts)
