"""Which training samples does a generator reproduce? A p-value for each, from real samples that it never saw."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError
from ganvas.metrics.manifold import nearest_distances

LEAST = 50
"""Held-out samples below which there is no tail to speak of."""
ALARM = 0.01
"""Chance of an alarm on a generator that copies nothing, of the verdict."""
FALSE = 0.1
"""Share of false ones among the suspects (Benjamini and Hochberg 1995)."""


@dataclass(frozen=True)
class Copies:
    """What `find_copies` found for n training samples."""

    p: Tensor = field(repr=False)
    """Chance that a sample which the generator never saw lies so near to some fake, float64 (n,)."""
    nearest: Tensor = field(repr=False)
    """The fake that lies nearest to each training sample, int64 (n,)."""
    ratio: Tensor = field(repr=False)
    """Distance to that fake over the distance to the nearest held-out sample, float64 (n,)."""
    held_ratio: Tensor = field(repr=False)
    """The same of held-out samples (m,)."""
    held_nearest: Tensor = field(repr=False)
    """The fake that lies nearest to each held-out sample, int64 (m,)."""
    exponent: float
    """Of the tail of `held_ratio` near 0, at the lower end of its interval."""

    @property
    def chance(self) -> float:
        """That a generator which copies nothing has a suspect so near: the smallest p for all n together (Bonferroni)."""
        return min(1.0, float(self.p.min()) * len(self.p))

    def alarm(self, level: float = ALARM) -> bool:
        """Whether something is copied; wrong for a share `level` of the generators that copy nothing."""
        return self.chance <= level

    def suspects(self, false: float = FALSE) -> Tensor:
        """The training samples said to be reproduced, most striking first; int64. At most a share `false` is wrong."""
        order = self.p.argsort()
        steps = torch.arange(1, len(order) + 1, dtype=torch.float64)
        under = (self.p[order] <= false * steps / len(order)).nonzero()
        return order[: int(under[-1]) + 1] if len(under) else order[:0]


class Distances:
    """Training and held-out samples with the room around each; fakes may come in several times.

    Of windows of longer series `spans` (m, 3) are those of the held-out ones (`Dataset.spans`): a window that overlaps with
    another would have no room, and every training window, which overlaps with none of them, would look like a copy.
    """

    def __init__(self, train: Array, held_out: Array, spans: Tensor | None = None) -> None:
        x, z = arrays.as_pair(train, held_out, names=("train", "held_out"))
        if len(z) < LEAST:
            raise GanvasError(
                f"Copies are told by samples that the generator never saw: {LEAST} or more, got {len(z)}. "
                "Hold out more, or give others."
            )
        self.train, self.held_out = x, z
        inside = nearest_distances(z, z, torch.arange(len(z), device=z.device), spans)[0]
        alone = int(inside.isinf().sum())
        if len(z) - alone < LEAST:
            raise GanvasError(
                f"{alone} of {len(z)} held-out windows overlap with all others, and {LEAST} are needed that do not. "
                "Hold out more, --set data.holdout=0.3, or train with a shorter --window."
            )
        room = torch.cat([nearest_distances(x, z)[0], inside])
        # Real data hold the same sample twice: what is divided by must not be nothing.
        room = room.double().cpu().clamp_min(0.1 * float(room[room.isfinite()].median()) + 1e-300)
        self.room, self.held_room = room[: len(x)], room[len(x) :]

    def nearest(self, fake: Array) -> list[tuple[Tensor, Tensor]]:
        """(distance to the nearest fake, which one) of the training and of the held-out samples."""
        x, y = arrays.as_pair(self.train, fake, names=("train", "fake"))
        both = (nearest_distances(rows, y) for rows in (x, self.held_out.to(x)))
        return [(near.cpu(), which.cpu()) for near, which in both]

    def copies(self, found: list[tuple[Tensor, Tensor]]) -> Copies:
        """The test, from what `nearest` found."""
        (near, which), (held_near, held_which) = found
        ratio, held = near.double() / self.room, held_near.double() / self.held_room
        known = self.held_room.isfinite()
        p, exponent = tail_chance(ratio, held[known])
        held = torch.where(known, held, torch.inf)
        return Copies(p, which, ratio, held, held_which, exponent)


def find_copies(fake: Array, train: Array, held_out: Array, spans: Tensor | None = None) -> Copies:
    """Training samples that fakes lie too near to. Features (N, D), (n, D) and (m, D), m at least 50.

    Of every real sample, trained on or not, the distance to its nearest fake is divided by that to its nearest held-out
    neighbour. Where nothing is copied, training and held-out samples are alike in that, whatever the fakes are: blurred, too
    few, all the same. So the held-out ratios give each training sample its p-value: their share below it, or, nearer than any
    of them, the tail that goes to 0 as a power of the ratio, as distances in a space of so many dimensions do. Its exponent is
    Hill's estimate from the smallest ratios at the lower end of its interval, so that the p-value is rather too large.

    Give all training samples: what is left out is not looked for. Of windows that overlap give the `spans` of the held-out ones.
    """
    distances = Distances(train, held_out, spans)
    return distances.copies(distances.nearest(fake))


def tail_chance(values: Tensor, known: Tensor) -> tuple[Tensor, float]:
    """P(one like `known` (m,) is at most each of `values` (n,)), all at least 0; and the exponent of the tail near 0.

    Above the k smallest of the known, k the root of m, it is (1 + how many are at most so large) / (m + 1). Below, that share
    times (value / k-th)^D with D = (k - 2) / sum log(k-th / smaller) (Hill 1975, without bias), less 1.645 standard errors
    D / (k - 1)^(1/2); and never less than the share of the known that are at most so large.
    """
    ordered = known.double().sort().values
    m = len(ordered)
    k = max(10, int(m**0.5))
    below = torch.searchsorted(ordered, values.double(), right=True) / (m + 1)
    counted = below + 1 / (m + 1)
    edge = ordered[k - 1].clamp_min(1e-300)
    logs = (edge / ordered[: k - 1].clamp_min(1e-12 * float(edge))).log()
    exponent = float((k - 2) / logs.sum().clamp_min(1e-9)) * max(0.0, 1 - 1.645 * (k - 1) ** -0.5)
    tail = (k + 1) / (m + 1) * (values.double() / edge).clamp(0, 1) ** exponent
    return torch.where(values.double() < edge, tail.maximum(below), counted).clamp(0, 1), exponent
