"""How good are drawn series? Pure functions on series (N, T, D), and `measure` for all of them with their floors.

    from ganvas.metrics import sequences
    sequences.discriminative(fake, real, groups=sequences.blocks(len(real), 24))

`fake` comes first. Series that end earlier are filled up with 0, and `lengths` says how many steps each has. Columns are brought
to the mean and spread of the real ones, so that units do not matter. Windows of one long series overlap: `groups` says which
belong together, and no group is ever on both sides of a split. The published scores that do otherwise are there by
`legacy=True`; docs/series-measures.md shows what fools them.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.device import seeded, stream
from ganvas.errors import GanvasError
from ganvas.metrics import published
from ganvas.metrics.frechet import frechet as frechet_of_features
from ganvas.metrics.manifold import at_a_time, nearest_distances
from ganvas.metrics.resample import pick, spread_of_groups
from ganvas.metrics.wide import Convolved, Ridge
from ganvas.processes import Floats, Wholes, as_series
from ganvas.series import STILL, deviations

FOLDS = 4
"""Parts that are tested in turn."""
PERMUTATIONS = 199
LEAST = 20
"""Series of a set that a classifier or a test takes."""
LAGS = 8
"""Steps back that a predictor sees."""
UNITS = 256
"""Random features of a predictor."""
ROWS = 512
"""Training series whose neighbours are looked for at a time."""
NUMBERS = 2**22
"""Of series that are transformed at a time."""
CLOSE = 0.05
"""Share of the held-out series that count as near to the training data."""


@dataclass(frozen=True)
class Sample:
    """A set of series: (N, T, D), steps (N,), groups (N,) and labels (N,), checked."""

    series: Floats
    lengths: Wholes
    groups: Wholes
    labels: Wholes | None = None

    @staticmethod
    def of(
        series: Array,
        name: str,
        lengths: Array | None = None,
        groups: Array | None = None,
        labels: Array | None = None,
    ) -> "Sample":
        """From arrays. Raises `GanvasError` for what does not fit. Series of a group below 0 are left out."""
        x, ends = as_series(series, name, lengths)
        alive = np.arange(x.shape[1]) < ends[:, None]
        x = x if alive.all() else x * alive[:, :, None]
        kinds = None if labels is None else arrays.as_whole(labels, f"labels of {name}").numpy()
        together = np.arange(len(x))
        if groups is not None:
            together = arrays.as_tensor(groups, f"groups of {name}").cpu().numpy()
        for values, what in ((together, "groups"), (kinds, "labels")):
            if values is not None and values.shape != (len(x),):
                raise GanvasError(
                    f"{what} of {name} must be {len(x)} whole numbers, one a series, got {values.shape}."
                )
        if together.dtype.kind not in "iu":
            raise GanvasError(f"groups of {name} must be whole numbers, got {together.dtype}.")
        found = Sample(x, ends, together.astype(np.int64), kinds)
        return found if (together >= 0).all() else found.at(np.flatnonzero(together >= 0))

    def __len__(self) -> int:
        return len(self.series)

    def at(self, rows: np.ndarray) -> Self:
        """Some of them."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(
            self,
            series=self.series[rows],
            lengths=self.lengths[rows],
            groups=self.groups[rows],
            labels=labels,
        )

    def first(self, count: int, seed: int) -> Self:
        """`count` of them by chance, or all."""
        return self if count >= len(self) else self.at(pick(len(self), count, seed).numpy())

    @property
    def alive(self) -> np.ndarray:
        """Which steps count (N, T)."""
        found: np.ndarray = np.arange(self.series.shape[1]) < self.lengths[:, None]
        return found

    @property
    def rows(self) -> Floats:
        """All steps that count (steps, D)."""
        alive = self.alive
        found: Floats = self.series.reshape(-1, self.series.shape[2]) if alive.all() else self.series[alive]
        return found

    @property
    def scale(self) -> tuple[Floats, Floats]:
        """Mean and spread of each column; 1 for the spread of one that does not move."""
        rows = self.rows
        spread = deviations(rows)
        return rows.mean(0), np.where(spread > 0, spread, 1.0)

    def scaled(self, middle: Floats, spread: Floats) -> Self:
        """Its columns less a mean, over a spread; 0 behind the ends."""
        series = self.series - middle
        series /= spread
        series *= self.alive[:, :, None]
        return replace(self, series=series)

    def scaled_by(self, other: "Sample") -> Self:
        """The same by the other's `scale`."""
        return self.scaled(*other.scale)


def pair(
    fake: Array,
    real: Array,
    lengths: tuple[Array | None, Array | None] = (None, None),
    groups: tuple[Array | None, Array | None] = (None, None),
    names: tuple[str, str] = ("fake", "real"),
    least: int = 1,
) -> tuple[Sample, Sample]:
    """Two sets of series of equal columns; the shorter ones are filled up. Raises `GanvasError` for others."""
    x, y = (
        Sample.of(each, name, ends, together)
        for each, name, ends, together in zip((fake, real), names, lengths, groups, strict=True)
    )
    if x.series.shape[2] != y.series.shape[2]:
        raise GanvasError(
            f"{names[0]} has {x.series.shape[2]} columns and {names[1]} has {y.series.shape[2]}; both must hold the same ones."
        )
    for each, name in ((x, names[0]), (y, names[1])):
        if len(each) < least:
            raise GanvasError(f"{name} has {len(each)} series; this measure needs at least {least}.")
    return _equal_steps(x, y)


def _equal_steps(x: Sample, y: Sample) -> tuple[Sample, Sample]:
    steps = max(x.series.shape[1], y.series.shape[1])

    def filled(each: Sample) -> Sample:
        more = steps - each.series.shape[1]
        return replace(each, series=np.pad(each.series, ((0, 0), (0, more), (0, 0)))) if more else each

    return filled(x), filled(y)


def blocks(count: int, window: int, parts: int = 10) -> Wholes:
    """Groups of the `count` windows that stride 1 cuts from one long series, in their order: (count,), -1 to be left out.

    The series is cut into `parts` stretches of time. A window that lies in one of them belongs to it, and one that reaches
    over an edge to none, so that windows of different groups share no row.
    """
    arrays.count(parts, "parts", 2)
    arrays.count(window, "window")
    rows = arrays.count(count, "count") + window - 1
    if rows < parts * window:
        raise GanvasError(
            f"{count} windows of {window} steps come of {rows} rows, too few for {parts} parts of a window each. Ask for fewer."
        )
    edges = np.linspace(0, rows, parts + 1).round().astype(int)
    first = np.searchsorted(edges, np.arange(count), side="right") - 1
    last = np.searchsorted(edges, np.arange(count) + window - 1, side="right") - 1
    return np.where(first == last, first, -1)


class Discriminative(NamedTuple):
    """How well a classifier tells fakes from real series that it has not seen."""

    score: float
    """Share of right answers less 1/2: 0 where it cannot tell them, 1/2 where it always can. With `legacy` its absolute value."""
    p_value: float
    """Chance of a score as high for series of one distribution, by permutation. NaN with `legacy`: no test was published."""


def discriminative(
    fake: Array,
    real: Array,
    *,
    lengths: tuple[Array | None, Array | None] = (None, None),
    groups: tuple[Array | None, Array | None] = (None, None),
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    legacy: bool = False,
) -> Discriminative:
    """A two-sample test by a wide classifier (Lopez-Paz and Oquab 2017): random convolutions and a ridge, four folds.

    As many fakes as real series are taken. `groups` (N,) are never divided between folds: `blocks` gives those of windows that
    overlap; drawn series have none. A score well below 0 says that fakes and real ones of different folds are alike: copies.

    The p-value fits again with the labels of a real group and of as many fakes swapped, or not, for all groups by chance. It is
    exact where groups are independent, and cannot fall below 1 over 2 to the power of the number of groups.

    `legacy` is the score of TimeGAN's published code instead: `published.discriminative`.
    """
    both = pair(fake, real, lengths, groups, least=LEAST)
    if legacy:
        if any(each is not None for each in groups):
            raise GanvasError(
                "The published protocol splits at random, over overlapping windows: omit groups."
            )
        return Discriminative(_told(*both, seed), np.nan)
    return _discriminative(*both, permutations, seed)


def _discriminative(fake: Sample, real: Sample, permutations: int, seed: int) -> Discriminative:
    arrays.count(permutations, "permutations", 0)
    random = np.random.default_rng(seed)
    fake, real, owner = _paired(fake, real, random)
    fold_of = np.argsort(random.permutation(owner.max() + 1)) % FOLDS
    folds = np.tile(fold_of[owner], 2)
    embed = Convolved(real.series, real.lengths, seed)
    features = np.concatenate([embed(fake.series, fake.lengths), embed(real.series, real.lengths)])
    # Column 0 is what is true; in the others a group and its fakes have changed sides, or not.
    swaps = random.choice([-1.0, 1.0], (len(fold_of), permutations))
    side = np.concatenate([np.ones((len(fold_of), 1)), swaps], 1)[owner]
    labels = np.concatenate([-side, side])
    right = np.zeros(1 + permutations)
    for fold in np.unique(folds):
        test = folds == fold
        answers = Ridge.fit(features[~test], labels[~test])(features[test])
        right += (answers * labels[test] > 0).sum(0)
    scores = right / len(folds) - 0.5
    return Discriminative(float(scores[0]), float((scores >= scores[0]).mean()) if permutations else np.nan)


def _paired(fake: Sample, real: Sample, random: np.random.Generator) -> tuple[Sample, Sample, Wholes]:
    """As many fakes as real series, side by side in units that keep whole what is of one group; and the unit of each pair.

    The side with fewer groups names the units, and each of the other's groups goes where most room is left.
    """
    swapped = len(np.unique(fake.groups)) < len(np.unique(real.groups))
    few, many = (fake, real) if swapped else (real, fake)
    few, many = (each.at(random.permutation(len(each))) for each in (few, many))
    owner = np.unique(few.groups, return_inverse=True)[1].reshape(-1)
    room = np.bincount(owner).astype(float)
    if len(room) < 2:
        raise GanvasError("All series are of one group, which cannot be split. Give at least two groups.")
    _, whose, sizes = np.unique(many.groups, return_inverse=True, return_counts=True)
    place = np.zeros(len(sizes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        place[group] = room.argmax()
        room[place[group]] -= sizes[group]
    other = place[whose.reshape(-1)]
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    for unit in range(len(room)):
        mine, theirs = np.flatnonzero(owner == unit), np.flatnonzero(other == unit)
        count = min(len(mine), len(theirs))
        chosen.append((mine[:count], theirs[:count]))
    units = np.repeat(np.arange(len(chosen)), [len(mine) for mine, _ in chosen])
    units = np.unique(units, return_inverse=True)[1].reshape(-1)
    if len(units) < LEAST or units.max() == 0:
        raise GanvasError(
            "The groups of fakes and real series are too unequal to be compared. Cut smaller groups."
        )
    ours, beside = (
        each.at(np.concatenate(rows))
        for each, rows in zip((few, many), zip(*chosen, strict=True), strict=True)
    )
    return (ours, beside, units) if swapped else (beside, ours, units)


def predictive(
    fake: Array,
    held_out: Array,
    *,
    lengths: tuple[Array | None, Array | None] = (None, None),
    seed: int = 0,
    legacy: bool = False,
) -> float:
    """Mean absolute error of the next step of held-out series, by a predictor that was fitted to fakes.

    In units of the standard deviation of each held-out column. The predictor sees eight steps back, through 256 random rectified
    features and directly, and is a ridge. Give training data in place of the fakes for the floor: what real data teach.

    `legacy` is the score of TimeGAN's published code instead, of which `held_out` is the original data, all of it:
    `published.predictive`.
    """
    x, y = pair(fake, held_out, lengths, names=("fake", "held_out"))
    if legacy:
        return _taught(x, y, seed)
    return _predictive(x, y, seed)


def _predictive(x: Sample, y: Sample, seed: int) -> float:
    x, y = x.scaled_by(y), y.scaled_by(y)
    random = np.random.default_rng(seed)
    step, (row, place) = _steps(x)
    if len(row) > MOST_STEPS:
        chosen = pick(len(row), MOST_STEPS, seed).numpy()
        row, place = row[chosen], place[chosen]
    past, following = step(row, place)
    weight = random.standard_normal((past.shape[1], UNITS)) / past.shape[1] ** 0.5
    bias = random.uniform(-1, 1, UNITS)

    def features(seen: Floats) -> Floats:
        return np.concatenate([seen, np.maximum(seen @ weight + bias, 0)], 1)

    model = Ridge.fit(features(past), following)
    step, (row, place) = _steps(y)
    missed = 0.0
    for start in range(0, len(row), MOST_STEPS):
        part = slice(start, start + MOST_STEPS)
        seen, true = step(row[part], place[part])
        missed += np.abs(model(features(seen)) - true).sum()
    return float(missed / (len(row) * y.series.shape[2]))


MOST_STEPS = 20_000
"""Steps that a predictor is fitted to, and predicts at a time."""


def _steps(
    sample: Sample,
) -> tuple[Callable[[Wholes, Wholes], tuple[Floats, Floats]], tuple[Wholes, Wholes]]:
    """Every step but the first of every series, as numbers of series and of steps before; and what gives of some of them what is
    seen (n, lags (D + 1)), 0 before it begins, and that step (n, D). Of all of them there would be eight copies."""
    series, alive = sample.series, sample.alive
    if series.shape[1] < 2 or not alive[:, 1].any():
        raise GanvasError("Series of one step have nothing to predict.")
    lags = min(LAGS, series.shape[1] - 1)
    seen = np.pad(np.concatenate([series, alive[:, :, None]], 2), ((0, 0), (lags, 0), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(seen, lags, 1)[:, 1 : series.shape[1]]

    def step(row: Wholes, place: Wholes) -> tuple[Floats, Floats]:
        return windows[row, place].reshape(len(row), -1), series[row, place + 1]

    row, place = np.nonzero(alive[:, 1:])
    return step, (row, place)


MOST_SERIES = 4096
"""Series that a classifier names at a time."""


def transfer(
    train: Array,
    train_labels: Array,
    test: Array,
    test_labels: Array,
    *,
    lengths: tuple[Array | None, Array | None] = (None, None),
    seed: int = 0,
) -> float:
    """Share of right answers on `test` of a classifier of the labels that was fitted to `train` (Esteban et al. 2017).

    TSTR: train on fakes, test on held-out real series. TRTS: train on real ones, test on fakes; it stays high for a model that
    draws one series of each class. The floor is train on real, test on held-out.
    """
    x, y = pair(train, test, lengths, names=("train", "test"), least=2)
    x = replace(x, labels=arrays.as_whole(train_labels, "train_labels").numpy())
    y = replace(y, labels=arrays.as_whole(test_labels, "test_labels").numpy())
    return _transfer(x, y, seed)


def _transfer(train: Sample, test: Sample, seed: int) -> float:
    for each, name in ((train, "train"), (test, "test")):
        assert each.labels is not None
        if len(each.labels) != len(each):
            raise GanvasError(f"{name} has {len(each)} series and {len(each.labels)} labels.")
    assert train.labels is not None
    assert test.labels is not None
    classes = np.unique(train.labels)
    if len(classes) == 1:
        return float((test.labels == classes[0]).mean())
    embed = Convolved(train.series, train.lengths, seed)
    targets = np.where(train.labels[:, None] == classes, 1.0, -1.0)
    model = Ridge.fit(embed(train.series, train.lengths), targets)
    right = 0
    for start in range(0, len(test), MOST_SERIES):
        part = slice(start, start + MOST_SERIES)
        answers = model(embed(test.series[part], test.lengths[part]))
        right += int((classes[answers.argmax(1)] == test.labels[part]).sum())
    return right / len(test)


def autocorrelation(
    series: Array, lags: int | None = None, *, lengths: Array | None = None, name: str = "series"
) -> Floats:
    """Correlation of a column with itself so many steps later, within series: (lags, D) for lags 1, 2, ...

    Sums over all series of (x_t - m)(x_{t+k} - m) over those of (x_t - m)^2, with the mean m of the series. Without `lags` up to
    half of the steps. A series in random order has -(T - k) / (T (T - 1)), as the mean is that of the same T steps.
    """
    return _autocorrelation(Sample.of(series, name, lengths), lags)


def _autocorrelation(sample: Sample, lags: int | None) -> Floats:
    steps = sample.series.shape[1]
    lags = _lags(lags, steps)
    size = 1 << (2 * steps - 1).bit_length()  # so long that the end of a series does not meet its beginning
    power = _power(sample, size)
    # By the theorem of Wiener and Khinchin: lag by lag long series take their time by the square of their length.
    sums = np.fft.irfft(power, size, axis=0)
    # A constant column correlates with nothing.
    return np.asarray(sums[1 : lags + 1] / np.where(power.sum(0) > 0, sums[0], np.inf))


def _power(sample: Sample, size: int) -> Floats:
    """Sum of the periodograms of all series, less their own mean and filled up to `size` steps: (size // 2 + 1, D)."""
    found = np.zeros((size // 2 + 1, sample.series.shape[2]))
    middle = _centred(sample)[0]
    some = max(1, NUMBERS // (size * middle.shape[2]))
    for start in range(0, len(middle), some):
        found += np.square(np.abs(np.fft.rfft(middle[start : start + some], size, axis=1))).sum(0)
    return found


def _lags(lags: int | None, steps: int) -> int:
    if steps < 2:
        raise GanvasError("Series of one step have no correlation in time.")
    return max(1, steps // 2) if lags is None else arrays.count(lags, "lags", 1, steps - 1)


def _centred(sample: Sample) -> tuple[Floats, Floats]:
    """Series less their own mean, 0 behind the end; and the means (N, D)."""
    mean = sample.series.sum(1) / sample.lengths[:, None]
    found = (sample.series - mean[:, None]) * sample.alive[:, :, None]
    # What rounding leaves of a series that does not move would correlate with itself.
    return np.where(np.abs(found) > STILL * np.abs(sample.series).max((0, 1)), found, 0.0), mean


def autocorrelation_distance(
    fake: Array,
    real: Array,
    lags: int | None = None,
    *,
    lengths: tuple[Array | None, Array | None] = (None, None),
) -> float:
    """Mean absolute difference of the `autocorrelation` over lags and columns: 0 to 2, lower is better."""
    x, y = pair(fake, real, lengths)
    return float(np.abs(_autocorrelation(x, lags) - _autocorrelation(y, lags)).mean())


def cross_correlation(
    series: Array, lags: int = 0, *, lengths: Array | None = None, name: str = "series"
) -> Floats:
    """Correlation of column i with column j so many steps later: (lags + 1, D, D) for 0, 1, ... `lags`.

    About the means of all series, so that levels which move together count; the first is the correlation matrix.
    """
    return _cross_correlation(Sample.of(series, name, lengths), lags)


def _cross_correlation(sample: Sample, lags: int) -> Floats:
    steps, columns = sample.series.shape[1:]
    arrays.count(lags, "lags", 0, steps - 1)
    alive = sample.alive[:, :, None]
    x = sample.scaled_by(sample).series * alive
    found = np.empty((lags + 1, columns, columns))
    for k in range(lags + 1):
        first, later = x[:, : steps - k], x[:, k:]
        there = (alive[:, : steps - k] & alive[:, k:]).sum()
        found[k] = np.einsum("nti,ntj->ij", first, later) / max(1, there)
    return found


def cross_correlation_distance(
    fake: Array, real: Array, lags: int = 0, *, lengths: tuple[Array | None, Array | None] = (None, None)
) -> float:
    """Mean absolute difference of the `cross_correlation` over lags and pairs of different columns: 0 to 2, lower is better.

    Raises `GanvasError` for a single column.
    """
    x, y = pair(fake, real, lengths)
    columns = x.series.shape[2]
    if columns < 2:
        raise GanvasError("A single column has no cross-correlation. Use autocorrelation_distance.")
    between = ~np.eye(columns, dtype=bool)
    return float(np.abs(_cross_correlation(x, lags) - _cross_correlation(y, lags))[:, between].mean())


def spectrum(series: Array, *, lengths: Array | None = None, name: str = "series") -> Floats:
    """Share of each frequency 1/T, 2/T, ... 1/2 a step in the power of a column, over all series: (T // 2, D).

    Of the periodograms of the series less their own mean. All 0 for a column that is constant in every series.
    """
    return _spectrum(Sample.of(series, name, lengths))


def _spectrum(sample: Sample) -> Floats:
    if sample.series.shape[1] < 2:
        raise GanvasError("Series of one step have no spectrum.")
    power = _power(sample, sample.series.shape[1])[1:]
    total = power.sum(0)
    return np.asarray(power / np.where(total > 0, total, np.inf))


def spectrum_distance(
    fake: Array, real: Array, *, lengths: tuple[Array | None, Array | None] = (None, None)
) -> float:
    """Total variation between the two `spectrum`, mean over columns: share of the power that lies elsewhere, 0 to 1."""
    return _spectrum_distance(*pair(fake, real, lengths))


def _spectrum_distance(x: Sample, y: Sample) -> float:
    return float(np.abs(_spectrum(x) - _spectrum(y)).sum(0).mean() / 2)


class Lengths(NamedTuple):
    """Two-sample test of Kolmogorov and Smirnov. Numbers of steps tie, which makes the p-value too large, not too small."""

    statistic: float
    """Largest difference of the distribution functions, 0 to 1."""
    p_value: float


def length_distance(fake: Array, real: Array) -> Lengths:
    """Whether numbers of steps (N,) and (M,) may be of one distribution."""
    from scipy.stats import ks_2samp  # slow to import

    x, y = (arrays.as_whole(each, name).numpy() for each, name in ((fake, "fake"), (real, "real")))
    found = ks_2samp(x, y)
    return Lengths(float(found.statistic), float(found.pvalue))


def marginal_distances(
    fake: Array, real: Array, *, lengths: tuple[Array | None, Array | None] = (None, None)
) -> Floats:
    """1-Wasserstein distance of the values of each column, whatever their order, in its real standard deviation: (D,)."""
    x, y = pair(fake, real, lengths)
    return _marginals(x.scaled_by(y), y.scaled_by(y))


def _marginals(x: Sample, y: Sample) -> Floats:
    from scipy.stats import wasserstein_distance  # slow to import

    a, b = x.rows, y.rows
    return np.array([wasserstein_distance(a[:, i], b[:, i]) for i in range(a.shape[1])])


def frechet(
    fake: Array,
    real: Array,
    *,
    train: Array | None = None,
    lengths: tuple[Array | None, Array | None] = (None, None),
    seed: int = 0,
) -> float:
    """Frechet distance in the features of an encoder that is trained on real series in a few seconds; lower is better.

    The idea of the Context-FID of Jeha et al. (2022) with an `Encoder` of another kind: its figures are no Context-FID.
    `train` are the series for the encoder, by default `real`: give the same ones for two figures that are to be compared.
    """
    x, y = pair(fake, real, lengths, least=2)
    if train is not None:
        return Encoder(train, seed=seed).frechet(x, y)
    return Encoder.of(y, seed).frechet(x, y)


class Encoder:
    """Dilated convolutions to 24 numbers, from which the whole series is restored; half of its steps or fewer are hidden."""

    WIDTH, FEATURES, STEPS, BATCH = 48, 24, 250, 64

    def __init__(self, series: Array, *, lengths: Array | None = None, seed: int = 0) -> None:
        self._train(Sample.of(series, "series", lengths), seed)

    @classmethod
    def of(cls, sample: Sample, seed: int) -> "Encoder":
        """Of series that are checked already."""
        found = cls.__new__(cls)
        found._train(sample, seed)
        return found

    def _train(self, sample: Sample, seed: int) -> None:
        self.scale = sample.scale
        random = stream(seed, "series encoder")
        channels, steps = sample.series.shape[2] + 1, sample.series.shape[1]
        with seeded(arrays.seed(seed)):
            self.network = _Net(channels, self.WIDTH, self.FEATURES, steps)
            restore = nn.Sequential(
                nn.Linear(self.FEATURES, 128), nn.GELU(), nn.Linear(128, (channels - 1) * steps)
            )
        optimizer = torch.optim.AdamW([*self.network.parameters(), *restore.parameters()], 2e-3)
        batch = arrays.fitting(self.WIDTH * steps, NUMBERS, self.BATCH)
        for _ in range(self.STEPS):
            chosen = torch.randint(len(sample), (batch,), generator=random)
            rows = self._tensor(sample.at(chosen.numpy()))
            drawn = restore(self.network(_partly_hidden(rows, random))).view(-1, channels - 1, steps)
            counts = rows[:, -1:]
            loss = ((drawn - rows[:, :-1]).square() * counts).sum() / (counts.sum() * (channels - 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.network.eval()

    def _tensor(self, sample: Sample) -> Tensor:
        """(N, D + 1, T): the columns, and which steps count."""
        x = sample.scaled(*self.scale).series
        return torch.from_numpy(np.concatenate([x, sample.alive[:, :, None]], 2)).float().transpose(1, 2)

    @torch.inference_mode()
    def __call__(self, sample: Sample) -> Floats:
        """Features (N, 24)."""
        some = arrays.fitting(self.WIDTH * sample.series.shape[1], 4 * NUMBERS, ROWS)
        parts = (self._tensor(sample.at(rows.numpy())) for rows in torch.arange(len(sample)).split(some))
        return torch.cat([self.network(part) for part in parts]).double().numpy()

    def frechet(self, fake: Sample, real: Sample) -> float:
        """The Frechet distance of the two in its features."""
        return frechet_of_features(self(fake), self(real))


class _Net(nn.Module):
    """(B, D + 1, T), the last channel says which steps count -> features, of the mean and the most of each quarter."""

    QUARTERS = 4

    def __init__(self, inputs: int, width: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, width, 1)
        depth = max(1, min(6, int(np.log2(steps))))
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding="same", dilation=2**i) for i in range(depth)
        )
        self.last = nn.Linear(2 * width * self.QUARTERS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        alive = x[:, -1:]
        hidden = self.first(x)
        for block in self.blocks:
            hidden = hidden + F.gelu(block(F.gelu(hidden) * alive))
        mean = F.adaptive_avg_pool1d(hidden * alive, self.QUARTERS)
        most = F.adaptive_max_pool1d(hidden * alive, self.QUARTERS)
        found: Tensor = self.last(torch.cat([mean, most], 1).flatten(1))
        return found


def _partly_hidden(x: Tensor, random: torch.Generator) -> Tensor:
    """Of every series a random stretch of at least half of the steps, a quarter of these hidden."""
    count, _, steps = x.shape
    size = torch.randint(max(1, steps // 2), steps + 1, (count, 1), generator=random)
    start = (torch.rand(count, 1, generator=random) * (steps - size + 1)).long()
    place = torch.arange(steps)
    seen = (place >= start) & (place < start + size)
    seen &= torch.rand(count, steps, generator=random) > 0.25
    return x * seen[:, None]


class Copies(NamedTuple):
    """Do fakes lie nearer to the training series than held-out series do?"""

    share: float
    """Of the fakes that lie nearer than all but a twentieth of the held-out series: about 0.05 where nothing is copied, 1 where
    all is."""
    nearer: float
    """Chance that a fake lies nearer than a held-out series: 1/2 where nothing is copied, below where the model is worse."""
    error: float
    """Standard error of `nearer`: by more than three of it above 1/2 the model copies. Infinite with one group of either,
    of which nobody knows how much groups differ."""


def copies(
    fake: Array,
    train: Array,
    held_out: Array,
    *,
    lengths: tuple[Array | None, Array | None, Array | None] = (None, None, None),
    groups: tuple[Array | None, Array | None] = (None, None),
) -> Copies:
    """By the distance to the nearest training series, step by step, over that one's own distance to its nearest other.

    The quotient is that of Alaa et al. (2022, authenticity): it keeps a model that draws from a dense part of the data alone from
    looking like one that copies. `groups` are those of the training series and of the held-out ones, as `blocks` gives them:
    neighbours are looked for in other groups, and the error is that between groups.

    Give all training series. Held-out series should be of the same levels and seasons: where they are unlike the training
    data for another reason, every model looks like a copier.
    """
    x, y = pair(fake, train, lengths[:2], (None, groups[0]), names=("fake", "train"), least=2)
    z, y = pair(held_out, train, (lengths[2], lengths[1]), (groups[1], groups[0]), ("held_out", "train"), 2)
    return _copies(x, y, z)


def _copies(fake: Sample, train: Sample, held_out: Sample) -> Copies:
    fake, train = _equal_steps(fake, train)
    held_out, train = _equal_steps(held_out, train)
    fake, train = _equal_steps(fake, train)
    rows = [
        torch.from_numpy(each.scaled_by(train).series.reshape(len(each), -1))
        for each in (fake, train, held_out)
    ]
    ours, theirs = (_quotients(each, rows[1], train.groups) for each in (rows[0], rows[2]))
    near = float((ours < np.quantile(theirs, CLOSE)).mean())
    # Of the chance that one of the fakes lies nearer: by the groups of both, where each drawn series is one of its own.
    by_fake, by_held = _shares_above(ours, theirs), 1 - _shares_above(theirs, ours)
    error = sum(
        spread_of_groups(shares - shares.mean(), torch.from_numpy(groups)) / len(shares) ** 2
        for shares, groups in ((by_fake, fake.groups), (by_held, held_out.groups))
    )
    return Copies(near, float(by_fake.mean()), float(error**0.5))


def _shares_above(x: Floats, y: Floats) -> Floats:
    """For every x the share of y above it, of equal ones half."""
    y = np.sort(y)
    below = np.searchsorted(y, x, "left") + np.searchsorted(y, x, "right")
    return np.asarray(1 - below / (2 * len(y)))


def _quotients(rows: Tensor, train: Tensor, groups: Wholes) -> Floats:
    """Distance of every row to its nearest training series over that one's distance to the nearest of another group."""
    distance, which = nearest_distances(rows, train)
    met, place = which.unique(return_inverse=True)
    together = torch.from_numpy(groups)
    spacing = []
    for part in met.split(at_a_time(2 * len(train), ROWS)):
        between = torch.cdist(train[part], train)
        between[together[part][:, None] == together] = torch.inf
        spacing.append(between.amin(1))
    found = torch.cat(spacing)[place]
    if not bool(torch.isfinite(found).all()):
        raise GanvasError("All training series are of one group. Give at least two groups.")
    return (distance / found.clamp(min=1e-12)).double().numpy()


@dataclass(frozen=True)
class Figure:
    """One figure with its floor."""

    name: str
    value: float
    floor: float | None
    """What as many held-out real series score; None where there is no such thing."""
    better: str
    """`lower`, `higher` or `near X`."""
    p_value: float | None = None
    floor_p: float | None = None
    error: float | None = None
    """Standard error, where there is one."""
    note: str = ""


def measure(
    fake: Sample, train: Sample, held_out: Sample, *, legacy: bool = False, seed: int = 0
) -> list[Figure]:
    """All measures that the data have, each beside its floor: held-out real series in place of the fakes.

    As many fakes, training series and held-out ones are compared. TSTR and TRTS are there where all have labels, the test of
    lengths where they differ, cross-correlation with several columns. `legacy` adds the published scores.
    """
    x, y, z = _three(fake, train, held_out)
    count = min(len(x), len(y), len(z))
    ours, reference, floor = (each.first(count, seed) for each in (x, y, z))
    found: list[Figure] = []

    def add(
        name: str, figure: Callable[[Sample], float], better: str, *, against: Sample = floor, note: str = ""
    ) -> None:
        found.append(Figure(name, figure(ours), figure(against), better, note=note))

    usual, usual_p = None, None
    # What is held out of a short table is one stretch of time, which cannot be split; so is a short one that is given, or it has
    # groups too unequal to the real ones.
    with suppress(GanvasError):
        usual, usual_p = _discriminative(floor, reference, PERMUTATIONS, seed)
    with suppress(GanvasError):
        told = _discriminative(ours, reference, PERMUTATIONS, seed)
        found.append(Figure("discriminative", told.score, usual, "near 0", told.p_value, usual_p))
    add("predictive", lambda each: _predictive(each, z, seed), "lower", against=reference, note=TAUGHT)
    if x.labels is not None and y.labels is not None and z.labels is not None:
        add("tstr", lambda each: _transfer(each, z, seed), "higher", against=reference, note=TAUGHT)
        add("trts", lambda each: _transfer(reference, each, seed), "higher")
    for name, distance in _distances(x.series.shape[2]).items():
        add(name, partial(distance, reference), "lower")
    encoder = Encoder.of(y, seed)
    add("frechet-encoder", lambda each: encoder.frechet(each, reference), "lower")
    if np.ptp(y.lengths) or np.ptp(x.lengths):
        steps, others = (length_distance(each.lengths, y.lengths) for each in (x, z))
        found.append(
            Figure("lengths", steps.statistic, others.statistic, "lower", steps.p_value, others.p_value)
        )
    same = _copies(x, y, z)
    found.append(Figure("near-training", same.share, CLOSE, "near 0.05"))
    error = same.error if np.isfinite(same.error) else None
    found.append(Figure("nearer-than-held-out", same.nearer, 0.5, "near 0.5", error=error))
    return [*found, *measure_legacy(fake, train, held_out, seed=seed)] if legacy else found


def measure_legacy(fake: Sample, train: Sample, held_out: Sample, *, seed: int = 0) -> list[Figure]:
    """The published two scores, for series of several columns, beside their floors.

    As in the published code all fakes and all training series are compared, or as many of one as there are of the other.
    """
    x, y, z = _three(fake, train, held_out)
    if x.series.shape[2] < 2:
        return []

    def told(each: Sample) -> float:
        count = min(len(each), len(y))
        return _told(each.first(count, seed), y.first(count, seed), seed)

    return [
        Figure("discriminative-legacy", told(x), told(z), "lower", note=PUBLISHED),
        Figure("predictive-legacy", _taught(x, y, seed), _taught(y, y, seed), "lower", note=PUBLISHED),
    ]


def _three(fake: Sample, train: Sample, held_out: Sample) -> tuple[Sample, Sample, Sample]:
    """The sets filled up to equal steps. Raises `GanvasError` for sets that are too small."""
    for each, name in ((fake, "fake"), (train, "train"), (held_out, "held_out")):
        if len(each) < LEAST:
            raise GanvasError(f"{name} has {len(each)} series; measuring needs at least {LEAST}.")
    x, y = _equal_steps(fake, train)
    z, y = _equal_steps(held_out, y)
    x, y = _equal_steps(x, y)
    return x, y, z


TAUGHT, PUBLISHED = "floor: trained on real", "published protocol"


def _told(fake: Sample, real: Sample, seed: int) -> float:
    return published.discriminative(fake.series, real.series, seed=seed)


def _taught(fake: Sample, real: Sample, seed: int) -> float:
    return published.predictive(fake.series, fake.lengths, real.series, real.lengths, seed=seed)


def _distances(columns: int) -> dict[str, Callable[[Sample, Sample], float]]:
    """Name -> distance of (real, fake)."""

    def of(function: Callable[[Sample], Floats]) -> Callable[[Sample, Sample], float]:
        return lambda y, x: float(np.abs(function(x) - function(y)).mean())

    found: dict[str, Callable[[Sample, Sample], float]] = {
        "autocorrelation": of(lambda each: _autocorrelation(each, None)),
        "spectrum": _spectrum_distance,
        "marginals": lambda y, x: float(_marginals(x.scaled_by(y), y.scaled_by(y)).mean()),
    }
    if columns > 1:
        between = ~np.eye(columns, dtype=bool)
        found["cross-correlation"] = of(lambda each: _cross_correlation(each, 0)[:, between])
    return found
