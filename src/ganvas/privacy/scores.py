"""How well a score tells the data that a generator was trained on from data it never saw: with its error, and what it needs."""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid
from torch import Tensor

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError
from ganvas.metrics.memorisation import mann_whitney_z

RATES = (0.01, 0.001)
"""False alarms at which an attack's hits are stated (Carlini et al. 2022): what an attacker would be sure of."""
DRAWS = 500
"""Bootstrap draws behind an interval."""
LEVEL = 0.95
"""Of all intervals."""


class Estimate(NamedTuple):
    """A figure with the bootstrap interval of 95 %."""

    value: float
    low: float
    high: float


class Attack(NamedTuple):
    """What one score gives away of who was in the training data."""

    auc: Estimate
    """Chance that a member scores above a non-member, ties by half: 0.5 gives nothing away, 1 everything."""
    hits: dict[float, Estimate | None]
    """False-positive rate -> true-positive rate there; None where the non-members are fewer than 1 / rate."""
    chance: float
    """Of figures so high where members and non-members are alike: the smallest p-value of AUC and hits, times their number; of
    scores in groups that of the AUC."""
    members: int
    non_members: int


Groups = tuple[Tensor | None, Tensor | None]
"""Of members and of others the numbers of what is independent (n,), as windows of one sequence are not; None: each score is."""


def attack(
    members: Array, non_members: Array, *, draws: int = DRAWS, seed: int = 0, groups: Groups = (None, None)
) -> Attack:
    """Judge a membership score: numbers (n,) of members and (m,) of non-members, higher said to be a member.

    Intervals are the 2.5 and 97.5 % quantiles of `draws` bootstrap draws of both sets. The p-value of the AUC is that of the
    rank sum test; that of the hits is exact: members before the (k + 1)-th non-member in a random order follow the negative
    hypergeometric distribution, k the false alarms allowed. Of scores in `groups` whole groups are drawn, and the p-value is
    that of the AUC alone, by the spread of the draws (Student's t); of a single group nothing is known: 0 to 1, and p is 1.
    Raises `GanvasError` for fewer than two of either, and for NaN.
    """
    inside, outside = (
        arrays.as_floats(arrays.as_tensor(values, name), name).double().cpu().numpy()
        for values, name in ((members, "members"), (non_members, "non_members"))
    )
    for name, values in (("members", inside), ("non_members", outside)):
        if values.ndim != 1 or len(values) < 2:
            raise GanvasError(f"{name} has shape {values.shape}; expected scores (N,) of at least two.")
    draws = arrays.count(draws, "draws", 20)
    curve = _Curve(inside, outside)
    rng = np.random.default_rng(arrays.seed(seed))
    found, spread = curve.figures(np.ones(len(inside)), np.ones(len(outside))), []
    sides = [drawn_by(len(scores), group) for scores, group in zip((inside, outside), groups, strict=True)]
    counts = [int(each.max()) + 1 for each in sides]
    for _ in range(draws):
        weights = [
            np.bincount(rng.integers(n, size=n), minlength=n)[each]
            for n, each in zip(counts, sides, strict=True)
        ]
        spread.append(curve.figures(*weights))
    low, high = np.quantile(np.asarray(spread), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    chance = _chance(inside, outside)
    if any(group is not None for group in groups):
        chance = chance_of_groups(found[0] - 0.5, [each[0] for each in spread], counts)
        low, high = (low, high) if min(counts) > 1 else (np.zeros(len(low)), np.ones(len(high)))
    auc, *rates = (Estimate(float(v), float(a), float(b)) for v, a, b in zip(found, low, high, strict=True))
    hits = {rate: each if len(outside) * rate >= 1 else None for rate, each in zip(RATES, rates, strict=True)}
    return Attack(auc, hits, chance, len(inside), len(outside))


def drawn_by(count: int, group: Tensor | None) -> np.ndarray:
    """The number, from 0, of what each of so many scores is drawn with (n,): itself, or its group. Raises `GanvasError` for
    groups of more or fewer."""
    if group is None:
        return np.arange(count)
    if group.shape != (count,):
        raise GanvasError(f"There are {count} samples and groups {tuple(group.shape)}: give one number each.")
    found: np.ndarray = np.unique(group.cpu().numpy(), return_inverse=True)[1]
    return found


def chance_of_groups(excess: float, spread: Sequence[float] | np.ndarray, counts: Sequence[int]) -> float:
    """Of a figure so far above what is expected, by the spread of its draws; never less than that of one order among all of
    the groups."""
    from scipy.stats import t  # slow to import

    if min(counts) < 2:
        return 1.0
    beyond = excess / max(float(np.std(spread)), 1e-12)
    return max(float(t.sf(beyond, min(counts) - 1)), 1 / comb(sum(counts), counts[0]))


def _chance(inside: np.ndarray, outside: np.ndarray) -> float:
    from scipy.stats import nhypergeom, norm  # slow to import

    found = [float(norm.sf(mann_whitney_z(inside, outside)))]
    ordered = np.sort(outside)[::-1]
    for rate in RATES:
        allowed = int(rate * len(outside) + 1e-9)
        if allowed:
            above = int((inside > ordered[allowed]).sum())
            among = nhypergeom(len(inside) + len(outside), len(inside), allowed + 1)
            found.append(float(among.sf(above - 1)))
    return min(1.0, min(found) * len(found))


class _Curve:
    """The ROC curve of two sets of scores, for any weights of the scores: sorted once."""

    def __init__(self, inside: np.ndarray, outside: np.ndarray) -> None:
        values = np.unique(np.concatenate([inside, outside]))[::-1]
        self.places = [len(values) - 1 - np.searchsorted(values[::-1], each) for each in (inside, outside)]
        self.count = len(values)

    def figures(self, inside: np.ndarray, outside: np.ndarray) -> list[float]:
        """AUC, and the true-positive rates at `RATES`, for weights of the scores."""
        true, false = (
            np.cumsum(np.bincount(place, weights, self.count)) / weights.sum()
            for place, weights in zip(self.places, (inside, outside), strict=True)
        )
        auc = float(trapezoid(np.r_[0, true], np.r_[0, false]))
        reached = [np.searchsorted(false, rate + 1e-12, "right") - 1 for rate in RATES]
        return [auc, *(float(true[at]) if at >= 0 else 0.0 for at in reached)]
