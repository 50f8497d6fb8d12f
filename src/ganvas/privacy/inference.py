"""What somebody who knows a part of a record can infer of the rest from samples: of records that were trained on, and of others.

The attack, its control and the figure are those of Giomi et al. 2023 (Anonymeter): the sample that is most like what is known
gives the rest; what it gets right of records that nobody trained on is true of the whole group, and no leak.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError
from ganvas.metrics.manifold import nearest_distances
from ganvas.privacy.scores import DRAWS, LEVEL, Estimate, Groups, attack, chance_of_groups, drawn_by
from ganvas.series import Column, Series, deviations, until_ends

TOLERANCE = 0.1
"""Deviations of a number within which it counts as inferred; of many numbers the root of their mean squared error."""
SURE = (1.0, 0.1, 0.01)
"""Shares of the records that the attacker is asked about, those that a sample comes nearest to."""
LEAST = 10
"""Records that were not trained on, in such a share, below which nothing is said of it."""
MOST = 16
"""Attributes that are asked for, each in its turn, at most."""
CLASS = "class"


class Records(NamedTuple):
    """What an attacker knows of each record, and what he wants to know."""

    known: Array
    """(N, K), numbers whose Euclidean distances say how alike two records are."""
    secret: Array
    """Whole numbers (N,): categories. Or numbers (N, S), each in units of its deviation."""
    group: Tensor | None = None
    """Numbers (N,) of what is independent, as windows of one sequence are not; None: each record is."""


@dataclass(frozen=True)
class Guesses:
    """Of those records whose known part a sample comes nearest to."""

    train: float
    """Share of those that were trained on whose secret is guessed."""
    held_out: float
    """The same of those that were not."""
    risk: Estimate
    """(train - held_out) / (1 - held_out): what of the rest is given away, 0 nothing, 1 all; below 0 by chance."""
    members: int
    others: int


@dataclass(frozen=True)
class Inference:
    """What samples give away of one attribute."""

    guesses: Mapping[float, Guesses | None]
    """Share of the held-out records that is asked about, the surest -> how it went; None where they are too few."""
    baseline: float
    """Share of the held-out records whose secret the most alike of the `reference` has: what a guess without samples finds."""
    nearer: Estimate | None
    """Of a secret in numbers: chance that a guess misses by less of a record that was trained on than of another; 0.5 gives
    nothing away. None of a category."""
    chance: float
    """Of figures so high where trained and held-out records are alike: the smallest p-value of all these, times their number."""

    @property
    def told(self) -> tuple[float, Guesses]:
        """The share, and the guesses, whose risk is surely the highest: by the lower end of its interval."""
        there = [(share, each) for share, each in self.guesses.items() if each is not None]
        return max(there, key=lambda each: each[1].risk.low)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        guesses = {
            f"{share:g}": None if each is None else {**asdict(each), "risk": each.risk._asdict()}
            for share, each in self.guesses.items()
        }
        nearer = None if self.nearer is None else self.nearer._asdict()
        return {"guesses": guesses, "baseline": self.baseline, "nearer": nearer, "chance": self.chance}

    @property
    def risk(self) -> Estimate:
        """Of all records."""
        found = self.guesses[1.0]
        assert found is not None
        return found.risk


def infer(
    train: Records, held_out: Records, fake: Records, reference: Records, *, draws: int = DRAWS, seed: int = 0
) -> Inference:
    """How much better samples tell the secret of records that were trained on than of others that were not.

    A guess is the secret of the most alike of `fake`, and right if the category is the same, or numbers are within `TOLERANCE`.
    The surest are those that lie nearer to a sample than the k-th of the held-out ones does, so that k - 1 of these are among
    them: where both kinds of record are alike, so are those. Then the number of right guesses among the trained ones is
    hypergeometric, which gives the p-value (Fisher's exact test, one-sided). By how much guesses of numbers miss is compared too,
    as `attack` does, since few are within the tolerance. Intervals are the 2.5 and 97.5 % quantiles of `draws` bootstrap draws of
    both. Of records in groups whole groups are drawn, and p-values follow from the spread of the draws.
    `reference` are real records that nobody trained on and nobody asks about.

    Raises `GanvasError` for records that do not fit each other, or fewer than `LEAST` of the held-out ones.
    """
    draws, seed = arrays.count(draws, "draws", 20), arrays.seed(seed)
    sets = {"train": train, "held_out": held_out, "fake": fake, "reference": reference}
    kinds = {name: _checked(name, each) for name, each in sets.items()}
    if len(set(kinds.values())) != 1:
        raise GanvasError(
            f"The records differ in what is known or secret: {', '.join(f'{k} {v}' for k, v in kinds.items())}."
        )
    if len(held_out.known) < LEAST:
        raise GanvasError(f"held_out has {len(held_out.known)} records; {LEAST} or more are needed.")
    (near, missed), (held_near, held_missed) = (_attack(each, fake) for each in (train, held_out))
    right, held_right = missed <= TOLERANCE, held_missed <= TOLERANCE
    random, groups = np.random.default_rng(seed), (train.group, held_out.group)
    found: dict[float, Guesses | None] = {}
    chances = []
    for share in SURE:
        count = round(share * len(held_right))
        edge = np.inf if share == 1 else np.sort(held_near)[count] if count >= LEAST else -1.0
        rows = near < edge, held_near < edge
        of = right[rows[0]], held_right[rows[1]]
        if len(of[0]) < 2 or len(of[1]) < LEAST:
            found[share] = None
            continue
        within = [None if g is None else g[torch.from_numpy(r)] for g, r in zip(groups, rows, strict=True)]
        found[share], chance = _compared(*of, (within[0], within[1]), draws, random)
        chances.append(chance)
    nearer = None
    if kinds["train"][1]:
        both = torch.from_numpy(-missed), torch.from_numpy(-held_missed)
        judged = attack(*both, draws=draws, seed=seed, groups=groups)
        nearer = judged.auc
        chances.append(judged.chance)
    _, plain = _attack(held_out, reference)
    return Inference(found, float((plain <= TOLERANCE).mean()), nearer, min(1.0, min(chances) * len(chances)))


def _checked(name: str, records: Records) -> tuple[int, int]:
    """How many numbers are known and secret; 0 for a category."""
    known, secret = (arrays.as_tensor(each, name) for each in records[:2])
    if known.dim() != 2 or secret.dim() not in (1, 2) or len(known) != len(secret) or not len(known):
        raise GanvasError(
            f"{name} has known {tuple(known.shape)} and secret {tuple(secret.shape)}; expected (N, K), and (N,) categories or "
            "(N, S) numbers."
        )
    if not all(bool(torch.isfinite(each).all()) for each in (known, secret)):
        raise GanvasError(f"{name} holds NaN or infinite numbers.")
    drawn_by(len(known), records.group)  # as many
    return known.shape[1], 0 if secret.dim() == 1 else secret.shape[1]


def _attack(asked: Records, by: Records) -> tuple[np.ndarray, np.ndarray]:
    """Of each record the distance to the most alike, and by how much that one's secret misses its own: 1 for another category."""
    place = arrays.as_tensor(asked.known, "records").device
    (known, secret), (among, theirs) = (
        [arrays.as_tensor(each, "records").to(place) for each in records[:2]] for records in (asked, by)
    )
    near, which = nearest_distances(known.float(), among.float())
    guess = theirs[which]
    missed = (
        (guess != secret).double() if secret.dim() == 1 else (guess - secret).double().square().mean(1).sqrt()
    )
    return near.double().cpu().numpy(), missed.cpu().numpy()


def _compared(
    right: np.ndarray, held: np.ndarray, groups: Groups, draws: int, random: np.random.Generator
) -> tuple[Guesses, float]:
    """Of right guesses (n,) and (m,) what they say, and the chance of so many more of the first."""

    def risk(train: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.where(others < 1, (train - others) / np.maximum(1 - others, 1e-12), 0.0)

    if all(group is None for group in groups):
        # A bootstrap of rights and wrongs is binomial.
        drawn = [random.binomial(len(each), each.mean(), draws) / len(each) for each in (right, held)]
        chance, known = _chance(right, held), True
    else:
        sides = [drawn_by(len(each), group) for each, group in zip((right, held), groups, strict=True)]
        drawn = [_redrawn(each, side, draws, random) for each, side in zip((right, held), sides, strict=True)]
        counts = [int(side.max()) + 1 for side in sides]
        chance = chance_of_groups(float(right.mean() - held.mean()), drawn[0] - drawn[1], counts)
        known = min(counts) > 1
    low, high = np.quantile(risk(*drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if known else (-1.0, 1.0)
    value = risk(right.mean(), held.mean())
    return Guesses(
        float(right.mean()), float(held.mean()), Estimate(float(value), float(low), float(high)), len(right), len(held)
    ), chance  # fmt: skip


def _redrawn(right: np.ndarray, side: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """Shares of right guesses (draws,) in draws of whole groups."""
    hits, sizes = np.bincount(side, right), np.bincount(side)
    times = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), draws)
    found: np.ndarray = (times @ hits) / (times @ sizes)
    return found


def _chance(right: np.ndarray, held: np.ndarray) -> float:
    from scipy.stats import hypergeom  # slow to import

    total = len(right) + len(held)
    return float(hypergeom.sf(right.sum() - 1, total, int(right.sum() + held.sum()), len(right)))


class Scales(NamedTuple):
    """Mean and deviation of each column of steps and of each static one, of real records that nobody asks about."""

    steps: list[tuple[float, float]]
    static: list[tuple[float, float]]

    @classmethod
    def of(cls, found: Series) -> "Scales":
        alive = np.arange(found.values.shape[1])[None] < found.lengths[:, None]
        steps = [found.values[:, :, i][alive] for i in range(found.values.shape[2])]
        return cls([_scale(each) for each in steps], [_scale(each) for each in found.static.T])


def _scale(values: np.ndarray) -> tuple[float, float]:
    there = values[~np.isnan(values)]
    return (float(there.mean()), float(deviations(there)) or 1.0) if len(there) else (0.0, 1.0)


def secrets(
    found: Series, labels: Tensor | None, classes: int, scales: Scales, group: Tensor | None = None
) -> dict[str, Callable[[], Records]]:
    """Secret by name -> what makes the records: each static column and the class, to whoever knows all else; and the second half
    of the steps, to whoever knows the first and what is said once. Series that end before the second half are left out of that.

    They are made as they are asked for, since each holds all steps again. A column counts once, however many steps or categories
    it has: those of numbers in units of their deviation, and the distance between two categories is 1. `group` as in `Records`.
    """
    found = until_ends(
        found
    )  # 0 of their own units is no value, and may lie a hundred deviations from all there are
    schema, half = found.schema, found.values.shape[1] // 2
    once: dict[str, Tensor] = {}
    hidden: dict[str, Tensor] = {}
    for i, column in enumerate(schema.static[: MOST - 2]):
        values, name = found.static[:, i : i + 1], column.name
        once[name] = _block(column, values, scales.static[i])
        hidden[name] = torch.from_numpy(values[:, 0]).long() if column.categories else once[name]
    if labels is not None:
        name = CLASS if CLASS not in once else "class of series"
        once[name], hidden[name] = _one_hot(labels[:, None], classes), labels
    early, late = (
        [_block(column, found.values[:, part, i], scales.steps[i]) for i, column in enumerate(schema.columns)]
        for part in (slice(half), slice(half, None))
    )

    def one(name: str) -> Records:
        others = [each for other, each in once.items() if other != name]
        return Records(_beside(others, [*early, *late], found.values.shape[1]), hidden[name], group)

    def steps() -> Records:
        on = torch.from_numpy(found.lengths > half)
        known = _beside([each[on] for each in once.values()], [each[on] for each in early], half)
        return Records(known, torch.cat([each[on] for each in late], 1), None if group is None else group[on])

    records: dict[str, Callable[[], Records]] = {name: partial(one, name) for name in hidden}
    return {**records, f"steps {half + 1} to {found.values.shape[1]}": steps} if half else records


def _beside(once: Sequence[Tensor], steps: Sequence[Tensor], count: int) -> Tensor:
    """What is said once beside columns of so many steps, each of which counts once."""
    known = torch.cat([*once, *steps], 1)
    known[:, sum(each.shape[1] for each in once) :] /= math.sqrt(count)
    return known


def _block(column: Column, values: np.ndarray, scale: tuple[float, float]) -> Tensor:
    """Values (N, T) of a column as (N, T) numbers, 0 where missing; categories as (N, T x categories)."""
    if column.categories:
        numbers = torch.from_numpy(np.nan_to_num(values)).long().clamp(0, len(column.categories) - 1)
        return _one_hot(numbers, len(column.categories))
    middle, spread = scale
    return torch.from_numpy(np.nan_to_num((values - middle) / spread)).float()


def _one_hot(numbers: Tensor, count: int) -> Tensor:
    """(N, T x count): those of two categories are 1 apart."""
    found = torch.zeros(*numbers.shape, count)
    return found.scatter_(2, numbers[..., None], 1 / math.sqrt(2)).flatten(1)
