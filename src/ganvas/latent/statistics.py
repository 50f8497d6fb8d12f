"""How a latent space is made: its dimension, what separates in it, what its directions change, and how disentangled it is.

Pure functions of points, codes and factors. The published metrics carry their names; what differs from them is said.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError, counted
from ganvas.latent.directions import Direction, edit
from ganvas.latent.space import LatentSpace
from ganvas.latent.supervised import scores_of, spanned

Array = NDArray[np.float64]
BINS = 20
VOTES, GROUP = 2000, 64
MANY = 2**24
"""Numbers of points above which they stay in their format: three copies in float64 of 3,000 pictures of 64 px are 1.2 GB."""
BROAD, COLUMNS = 2**18, 2**16
"""Numbers in a point above which distances are taken by so many of them at a time, which takes ten times as long."""
COLLAPSED = 1e-12
"""A code whose spread is below this share of its largest value is constant up to rounding: it says nothing of any factor."""


def intrinsic_dimension(points: Array) -> float:
    """TwoNN (Facco et al. 2017): from the ratio of the distances to the second and the first neighbour of points (n, D)."""
    if (found := _two_nn(points)) is None:
        raise GanvasError("The intrinsic dimension needs at least 12 different points.")
    return found


def sample_dimension(features: Array) -> float:
    """The same of a model's points or samples' features (n, F); 0 where it has collapsed, and they are one another's copies."""
    return _two_nn(features) or 0.0


def _two_nn(points: Array) -> float | None:
    """The dimension; None of points of which too few are different."""
    from sklearn.neighbors import NearestNeighbors

    rows = arrays.as_rows(points, "points", least=12)
    # Ratios: the unit does not matter.
    (rows,), _ = arrays.apart(rows.double() if rows.numel() <= MANY else rows)
    if rows.shape[1] > BROAD:
        distances = _apart(rows).topk(3, largest=False).values.numpy()
    else:
        points = rows.cpu().numpy()
        distances, _ = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)
    near = distances[:, 1] > 0  # copies have no ratio
    ratios = np.sort(np.log(distances[near, 2] / distances[near, 1]))
    kept = ratios[: int(0.9 * len(ratios))]  # the largest tenth is noise (section "Discarding")
    if len(kept) < 10 or kept[-1] <= 0:
        return None
    empirical = -np.log(1 - np.arange(1, len(kept) + 1) / (len(ratios) + 1))
    return float((kept * empirical).sum() / (kept * kept).sum())


def _apart(rows: Tensor) -> Tensor:
    """Distances between rows (n, D) that are few and broad, some columns at a time: scikit-learn takes six times their memory."""
    squares = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(arrays.fitting(len(rows), MANY, COLUMNS), 1):
        exact = part.double().cpu()
        squares += torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist").square()
    return squares.sqrt()


def participation(values: Tensor) -> float:
    """How many eigenvalues (k,) matter: the square of their sum over the sum of their squares; k when all are equal."""
    shares = arrays.as_floats(values, "values").double().flatten()
    if len(shares) == 0 or bool((shares < 0).any()) or float(shares.max()) == 0:
        raise GanvasError("Participation wants eigenvalues (k,): none below 0, and not all 0.")
    shares = shares / shares.max()
    return float(shares.sum().square() / shares.square().sum())


def linear_separability(
    space: LatentSpace, names: Sequence[str], samples: int = 4000, seed: int = 0
) -> float:
    """2 to the power of the summed H(attribute | side of the best hyperplane), in bits (Karras et al. 2019).

    1 is perfect. `names` are attributes; those with values are split at their median, and the half of the samples that is
    surest (furthest from the median) is kept, as published. Compares at equal attributes and classifier only.
    Raises `GanvasError` where a hyperplane would part any of so few points.
    """
    from sklearn.svm import LinearSVC

    arrays.count(samples, "samples", 10)
    if not names:
        raise GanvasError("No attribute was named. See: ganvas list attributes.")
    points = space.numbered(samples, seed)
    rows = space.whiten((points - space.mean).flatten(1)).cpu()
    compared = samples if all(name.startswith("class:") for name in names) else samples // 2
    if compared <= space.size + 1:
        rows = spanned(rows)
        if compared <= rows.shape[1] + 1:  # Cover 1965, theorem 1
            raise GanvasError(
                f"A hyperplane parts any {compared:,} points of {space.size:,} numbers. Take more samples, or a smaller space."
            )
    x, bits = rows.numpy(), 0.0
    for name, scores in scores_of(space, names, points).items():
        if name.startswith("class:"):
            y, kept = scores.numpy() > 0.5, np.ones(samples, bool)
        else:
            away = (scores - scores.median()).abs()
            y, kept = (scores > scores.median()).numpy(), (away >= away.median()).numpy()
        x_kept, y_kept = x[kept], y[kept]
        if y_kept.all() or not y_kept.any():
            continue  # nothing to separate
        side = LinearSVC(dual=False).fit(x_kept, y_kept).predict(x_kept)
        for value in (False, True):
            where = side == value
            p = float(y_kept[where].mean()) if where.any() else 0.0
            bits += float(where.mean()) * -sum(q * np.log2(q) for q in (p, 1 - p) if q > 0)
    return float(2**bits)


class Rescored(NamedTuple):
    """What directions change when each changes its own attribute by the same amount."""

    names: tuple[str, ...]
    """Of the attributes."""
    matrix: Array
    """(directions, attributes): mean change in standard deviations of the attribute, at the matched strength."""
    strengths: Array
    """In sigmas; NaN where a direction does not reach the effect within 4."""

    def leakage(self) -> Array:
        """Strongest change of another attribute over that of the own one, for direction i and attribute i."""
        found = []
        for i, row in enumerate(self.matrix):
            others = np.abs(np.delete(row, i))
            found.append(others.max() / max(abs(row[i]), 1e-12))
        return np.asarray(found)


def rescore(
    space: LatentSpace, directions: Sequence[Direction], names: Sequence[str], effect: float = 1.0, samples: int = 300,
    seed: int = 1,
) -> Rescored:  # fmt: skip
    """Change of every attribute by direction i, at the strength where attribute i has changed by `effect` deviations.

    Matched effects make leakage comparable: a direction that does little leaks little. Measured on samples that no direction was
    found with, from half the strength below to half above, so that a bend in the space does not count for one side.
    """
    if len(directions) != len(names) or len(names) < 2:
        raise GanvasError(
            f"Got {counted(len(directions), 'direction')} and {counted(len(names), 'attribute')}; "
            "expected the attribute of each, at least two."
        )
    arrays.number(effect, "effect", above=0)
    points = space.numbered(arrays.count(samples, "samples", 2), seed + 1_000_003)
    spread = {
        name: float(each.std().clamp(min=1e-9)) for name, each in scores_of(space, names, points).items()
    }

    def changes(direction: Direction, strength: float, of: Sequence[str]) -> list[float]:
        low, high = (scores_of(space, of, edit(space, points, direction, s * strength)) for s in (-0.5, 0.5))
        return [float((high[name] - low[name]).mean()) / spread[name] for name in of]

    rows, strengths = [], []
    for direction, own in zip(directions, names, strict=True):
        low, high = 0.0, 4.0
        reached = changes(direction, high, [own])[0] >= effect
        for _ in range(7 if reached else 0):
            middle = (low + high) / 2
            low, high = (low, middle) if changes(direction, middle, [own])[0] >= effect else (middle, high)
        rows.append(changes(direction, high, names))
        strengths.append(high if reached else float("nan"))
    return Rescored(tuple(names), np.asarray(rows), np.asarray(strengths))


class Dci(NamedTuple):
    """Disentanglement, completeness, informativeness (Eastwood and Williams 2018)."""

    disentanglement: float
    completeness: float
    informativeness: float


def _codes_and_factors(
    codes: Array, factors: NDArray[np.int64], least: int
) -> tuple[Array, NDArray[np.int64]]:
    """Codes (n, D) less those that are constant, and factors (n, K) less those, their values numbered from 0.

    In random order, always the same: rows often come sorted by a factor, and a part of them is held out.

    Raises `GanvasError` for unequal lengths, factors that are no whole numbers, and less than two codes or one factor left.
    """
    x = arrays.as_rows(codes, "codes", least).double().cpu().numpy()
    given = arrays.as_tensor(factors, "factors").cpu()
    if given.dim() != 2 or given.is_floating_point() or len(given) != len(x):
        raise GanvasError(
            f"factors must be whole numbers, one row for each of the {len(x)} codes (n, K); got {tuple(given.shape)} of "
            f"{str(given.dtype).removeprefix('torch.')}."
        )
    scale = np.abs(x).max(0)
    x = x / np.where(scale > 0, scale, 1)
    x = x[:, x.std(0) > COLLAPSED]
    numbered = [np.unique(column, return_inverse=True)[1] for column in given.numpy().T]
    kept = [column for column in numbered if column.max() > 0]
    if x.shape[1] < 2 or not kept:
        raise GanvasError(
            f"{x.shape[1]} of {len(scale)} codes and {len(kept)} of {given.shape[1]} factors vary; it needs two and one that do."
        )
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], np.stack(kept, 1).astype(np.int64)[order]


def dci(codes: Array, factors: NDArray[np.int64], seed: int = 0) -> Dci:
    """Of codes (n, D) and whole-numbered factors (n, K), by the importances of random forests; accuracy on a held-out quarter.

    Their equations 2 to 4. Published figures use forests or boosted trees: compare at equal ones only. Constant codes and
    factors are left out; one factor alone is complete and disentangled by definition.
    """
    from sklearn.ensemble import RandomForestClassifier

    codes, factors = _codes_and_factors(codes, factors, 8)
    cut = len(codes) * 3 // 4
    importances, accuracies = [], []
    for k in range(factors.shape[1]):
        forest = RandomForestClassifier(10, max_features=None, max_depth=8, random_state=seed, n_jobs=-1)
        forest.fit(codes[:cut], factors[:cut, k])
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(codes[cut:], factors[cut:, k]))
    r = np.stack(importances, 1) + 1e-12  # (D, K)
    across, along = (1 - _entropy(r, axis) / np.log(max(2, r.shape[axis])) for axis in (1, 0))
    weight = r.sum(1) / r.sum()
    return Dci(float((weight * across).sum()), float(along.mean()), float(np.mean(accuracies)))


def _entropy(r: Array, axis: int) -> Array:
    p = r / r.sum(axis, keepdims=True)
    found: Array = -(p * np.log(p)).sum(axis)
    return found


def mig(codes: Array, factors: NDArray[np.int64]) -> float:
    """Mutual information gap (Chen et al. 2018, equation 6): (largest - second) / entropy, mean over factors; 20 bins a code.

    Bins hold equally many codes; disentanglement_lib takes bins of equal width, whose figures are others. Constant factors have
    no entropy and are left out, constant codes say nothing.
    """
    from sklearn.metrics import mutual_info_score

    codes, factors = _codes_and_factors(codes, factors, 2)
    edges = [np.quantile(code, np.linspace(0, 1, BINS + 1)[1:-1]) for code in codes.T]
    binned = [np.digitize(code, edge) for code, edge in zip(codes.T, edges, strict=True)]
    gaps = []
    for factor in factors.T:
        shared = np.sort([mutual_info_score(factor, code) for code in binned])
        p = np.bincount(factor) / len(factor)
        gaps.append((shared[-1] - shared[-2]) / -(p[p > 0] * np.log(p[p > 0])).sum())
    return float(np.mean(gaps))


def sap(codes: Array, factors: NDArray[np.int64]) -> float:
    """Separated attribute predictability (Kumar et al. 2018): how much better the best code alone tells a factor than the second.

    The score of one code is the balanced accuracy of a tree of 32 leaves on it, on a held-out half. The authors take a linear
    classifier, which on one number tells only the two ends of an ordered factor apart. Constant codes and factors are left out.
    """
    from sklearn.tree import DecisionTreeClassifier

    codes, factors = _codes_and_factors(codes, factors, 4)
    half, gaps = len(codes) // 2, []
    for factor in factors.T:
        scores = []
        for code in codes.T:
            tree = DecisionTreeClassifier(max_leaf_nodes=32, class_weight="balanced", random_state=0)
            told = tree.fit(code[:half, None], factor[:half]).predict(code[half:, None])
            right = told == factor[half:]
            scores.append(
                np.mean([right[factor[half:] == value].mean() for value in np.unique(factor[half:])])
            )
        first, second = np.sort(scores)[::-1][:2]
        gaps.append(first - second)
    return float(np.mean(gaps))


def factor_vae_score(codes: Array, factors: NDArray[np.int64], seed: int = 0) -> float:
    """Accuracy of telling the factor that was held fixed by the code that varied least (Kim and Mnih 2018, section 4).

    Groups of 64 rows that share one value of one factor, their variances over the whole ones; a majority vote, trained on
    one half of 2,000 groups and scored on the other. Collapsed codes are left out, as the authors do: a constant one would
    always vary least.
    """
    codes, factors = _codes_and_factors(codes, factors, 2)
    random = np.random.default_rng(arrays.seed(seed))
    whole = codes.var(0)
    votes = np.zeros((2, codes.shape[1], factors.shape[1]), np.int64)
    for i in range(VOTES):
        k = int(random.integers(factors.shape[1]))
        rows = np.flatnonzero(factors[:, k] == factors[random.integers(len(factors)), k])
        group = codes[random.choice(rows, GROUP)]
        votes[i % 2, int(np.argmin(group.var(0) / whole)), k] += 1
    guess = votes[0].argmax(1)
    return float(votes[1][np.arange(len(guess)), guess].sum() / votes[1].sum())
