"""Series: closed forms, what chance gives, planted cheats, and what the published scores say of them."""

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

from ganvas.errors import GanvasError
from ganvas.metrics import published, sequences
from ganvas.metrics.sequences import Encoder, Sample
from ganvas.metrics.wide import RIDGES, Convolved, Ridge
from ganvas.processes import Regimes, sines, three_regimes
from ganvas.series import deviations

RNG = np.random.default_rng
STEPS, COUNT = 24, 300


def windows(long: np.ndarray, steps: int) -> np.ndarray:
    """All windows of a series (T, D)."""
    return np.lib.stride_tricks.sliding_window_view(long, steps, 0).transpose(0, 2, 1)


def shuffled(series: np.ndarray, seed: int = 5) -> np.ndarray:
    """The same values of every series, in random order."""
    found = series.copy()
    for each in found:
        RNG(seed).shuffle(each)
        seed += 1
    return found


def mixed(series: np.ndarray) -> np.ndarray:
    """Each half of each series of another series: right values at every step, wrong correlation in time."""
    found = series.copy()
    for start in range(0, series.shape[1], 4):
        found[:, start : start + 4] = series[RNG(start).permutation(len(series)), start : start + 4]
    return found


@pytest.fixture(scope="module")
def real() -> dict[str, np.ndarray]:
    process = three_regimes()
    parts = {name: process.draw(COUNT, STEPS, RNG(i))[0] for i, name in enumerate(("train", "held", "fresh"))}
    one = Regimes(
        np.full((2, 2), 0.5), *(each[[0, 0]] for each in (process.mean, process.coefficient, process.sigma))
    )
    return parts | {
        "shuffled": shuffled(parts["train"]),
        "copied": parts["train"][RNG(9).permutation(COUNT)],
        "mixed": mixed(parts["train"]),
        "one regime": one.draw(COUNT, STEPS, RNG(8))[0],
    }


@pytest.fixture(scope="module")
def encoder(real: dict[str, np.ndarray]) -> Encoder:
    return Encoder(real["train"])


@pytest.mark.parametrize(
    ("cheat", "caught"),
    [
        ("fresh", ""),
        ("shuffled", "discriminative predictive autocorrelation spectrum frechet"),
        ("mixed", "discriminative predictive autocorrelation spectrum frechet"),
        ("one regime", "discriminative predictive autocorrelation spectrum marginals frechet"),
        ("copied", "copies"),
    ],
)
def test_planted_cheats_are_caught_by_what_is_made_for_them_and_by_nothing_else(
    real: dict[str, np.ndarray], encoder: Encoder, cheat: str, caught: str
) -> None:
    fake, train, held = real[cheat], real["train"], real["held"]
    told = sequences.discriminative(fake, held, permutations=19)
    found = {"discriminative": told.p_value < 0.06 and told.score > 0.1}
    taught, usual = (sequences.predictive(each, held) for each in (fake, train))
    found["predictive"] = taught > 1.1 * usual
    distances: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "autocorrelation": sequences.autocorrelation_distance,
        "spectrum": sequences.spectrum_distance,
        "marginals": lambda x, y: float(sequences.marginal_distances(x, y).mean()),
        "frechet": lambda x, y: encoder.frechet(Sample.of(x, "x"), Sample.of(y, "y")),
    }
    for name, distance in distances.items():
        found[name] = distance(fake, train) > 3 * distance(held, train)
    same = sequences.copies(fake, train, held)
    found["copies"] = same.share > 0.5 and same.nearer > 0.5 + 3 * same.error
    assert {name for name, sees in found.items() if sees} == set(caught.split())


def test_published_scores_are_fooled_by_a_copy_and_by_columns_that_lost_each_other() -> None:
    """Its two units see what is shifted, and neither copies nor which columns belong together."""
    train = sines(600, 8, 4, random=RNG(0)) * RNG(1).uniform(0.2, 1, (600, 1, 1))
    apart = np.stack([train[RNG(2 + i).permutation(600), :, i] for i in range(4)], 2)

    def legacy(fake: np.ndarray) -> float:
        return published.discriminative(fake, train, iterations=300)

    assert legacy(train) < 0.06
    assert legacy(apart) < 0.06
    assert legacy(train + 1) == 0.5
    held = sines(600, 8, 4, random=RNG(8)) * RNG(9).uniform(0.2, 1, (600, 1, 1))
    assert sequences.discriminative(apart, held, permutations=0).score > 0.3
    assert sequences.copies(train, train, held).share == 1


def test_published_predictor_finds_the_median_of_what_cannot_be_predicted() -> None:
    series = RNG(0).uniform(size=(256, 6, 2))
    lengths = np.full(256, 6)
    state = torch.get_rng_state()
    found = published.predictive(series, lengths, series, lengths, iterations=300)
    assert torch.equal(state, torch.get_rng_state())
    assert found == pytest.approx(0.25, abs=0.01)  # E |u - 1/2|
    assert [published.units(columns) for columns in (5, 6)] == [2, 3]


def test_published_scores_scale_prices_and_leave_sines() -> None:
    series = 0.5 + 0.5 * sines(50, 8, 2, random=RNG(0))
    assert np.allclose(published._scaled(series, series)[0], series)
    prices = 100 + 60 * RNG(1).uniform(size=(50, 8, 2))
    fake, real = published._scaled(2 * prices, prices)
    assert np.allclose([real.min(), real.max()], [0, 1])
    assert fake.min() > 0.5


def test_autocorrelation_of_known_series() -> None:
    # Of steps in random order: the mean is that of the same T steps, so that any two correlate by -1 / (T - 1).
    order = sequences.autocorrelation(RNG(0).normal(size=(20_000, 6, 1)), 5)[:, 0]
    assert np.allclose(order, [-(6 - k) / (6 * 5) for k in range(1, 6)], atol=0.01)
    noise = RNG(1).normal(size=(4, 20_000))
    series = np.empty_like(noise)
    series[:, 0] = noise[:, 0]
    for step in range(1, 20_000):
        series[:, step] = 0.8 * series[:, step - 1] + noise[:, step]
    found = sequences.autocorrelation(series[:, :, None], 4)[:, 0]
    assert np.allclose(found, 0.8 ** np.arange(1, 5), atol=0.02)
    assert sequences.autocorrelation_distance(series[:, :, None], -series[:, :, None], 4) == 0
    assert (sequences.autocorrelation(np.ones((3, 5, 1))) == 0).all()


def test_spectrum_of_waves() -> None:
    step = np.arange(16)
    phase = RNG(0).uniform(0, 7, (50, 1))
    slow, fast = (np.sin(2 * np.pi * k * step / 16 + phase)[:, :, None] for k in (2, 5))
    assert np.allclose(sequences.spectrum(slow)[:, 0], np.eye(8)[1])
    assert sequences.spectrum_distance(slow, fast) == pytest.approx(1)
    assert sequences.spectrum_distance(slow, np.concatenate([slow, fast])) == pytest.approx(0.5)
    assert sequences.spectrum_distance(slow, 3 * slow + 7) == pytest.approx(0)


def test_cross_correlation_is_the_usual_one_and_sees_a_delay() -> None:
    rows = RNG(0).normal(size=(2_000, 5, 3)) @ RNG(1).normal(size=(3, 3))
    found = sequences.cross_correlation(rows)[0]
    assert np.allclose(found, np.corrcoef(rows.reshape(-1, 3), rowvar=False))
    noise = RNG(2).normal(size=(2_000, 11))
    late = np.stack([noise[:, 1:], noise[:, :-1]], 2)  # the second column is the first one a step later
    assert np.allclose(sequences.cross_correlation(late, 1)[:, 0, 1], [0, 1], atol=0.03)
    assert sequences.cross_correlation_distance(late, late[:, :, ::-1], 0) < 0.03
    assert sequences.cross_correlation_distance(late, late[:, :, ::-1], 1) > 0.4


def test_marginals_of_a_shift_are_the_shift() -> None:
    x = RNG(0).normal(size=(200, 7, 2)) * [1, 10]
    found = sequences.marginal_distances(x + x.reshape(-1, 2).std(0) * [0.5, 2], x)
    assert np.allclose(found, [0.5, 2])


def test_lengths_are_tested() -> None:
    x, y = RNG(0).integers(5, 20, 300), RNG(1).integers(5, 20, 300)
    assert sequences.length_distance(x, y).p_value > 0.05
    late = sequences.length_distance(x, y + 5)
    assert late.p_value < 1e-9
    # Largest difference of the distribution functions, by hand.
    each = [np.array([(a <= n).mean() for n in range(30)]) for a in (x, y + 5)]
    assert late.statistic == pytest.approx(np.abs(each[0] - each[1]).max())


def test_prediction_of_an_autoregression_has_the_error_of_its_noise() -> None:
    def draw(seed: int) -> np.ndarray:
        still = Regimes(*(np.array([[value]]) for value in (1.0, 5.0, 0.9, 2.0)))
        return still.draw(400, 20, RNG(seed))[0]

    train, held = draw(0), draw(1)
    # In units of the spread s / (1 - a^2)^(1/2): noise of (1 - a^2)^(1/2), of which the mean absolute value is taken.
    noise = (1 - 0.9**2) ** 0.5 * (2 / np.pi) ** 0.5
    assert sequences.predictive(train, held) == pytest.approx(noise, rel=0.03)
    assert sequences.predictive(shuffled(train), held) > 1.2 * noise


def test_transfer_of_classes() -> None:
    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        label = RNG(seed).integers(3, size=150)
        wave = np.sin(np.arange(16) * (0.5 + 0.3 * label[:, None]) + RNG(seed + 1).uniform(0, 7, (150, 1)))
        return wave[:, :, None] + 0.3 * RNG(seed + 2).normal(size=(150, 16, 1)), label

    (x, a), (y, b) = draw(0), draw(10)
    assert sequences.transfer(x, a, y, b) > 0.95
    assert sequences.transfer(x, RNG(3).permutation(a), y, b) < 0.55
    # A model of one series a class is of no use to train on, and scores well as a test.
    one = np.concatenate([np.repeat(x[a == k][:1], 50, 0) for k in range(3)])
    kinds = np.repeat(np.arange(3), 50)
    assert sequences.transfer(x, a, one, kinds) == 1
    assert sequences.transfer(one, kinds, y, b) < 0.9
    assert sequences.transfer(x[a == 1], a[a == 1], y, b) == (b == 1).mean()


def test_p_values_are_those_of_chance() -> None:
    """Over 60 pairs of equal distributions a p-value of at most 1/5 comes with a chance of 1/5, or less for ties."""
    low = 0
    for seed in range(60):
        x, y = RNG(seed).normal(size=(2, 40, 6, 1)).cumsum(2)
        low += sequences.discriminative(x, y, permutations=9, seed=seed).p_value <= 0.2
    assert 2 <= low <= 24  # beyond three standard deviations of 12


def test_overlapping_windows_are_told_apart_unless_their_groups_stay_whole() -> None:
    long = three_regimes().draw(1, 2_400, RNG(0))[0][0]
    cut = windows(long, STEPS)
    groups = sequences.blocks(len(cut), STEPS, 24)
    odd, even = (np.flatnonzero((groups >= 0) & (groups % 2 == k)) for k in (1, 0))
    blind = sequences.discriminative(cut[odd], cut[even], permutations=19)
    fair = sequences.discriminative(cut[odd], cut[even], groups=(groups[odd], groups[even]), permutations=19)
    assert blind.score > 0.2
    assert blind.p_value == 0.05
    assert fair.score < 0.1
    assert fair.p_value > 0.05


def test_blocks_share_no_row() -> None:
    groups = sequences.blocks(77, 5, 4)
    rows = [set(range(i, i + 5)) for i in range(77)]
    of = [set().union(*(rows[i] for i in np.flatnonzero(groups == k))) for k in range(4)]
    assert all(of[a].isdisjoint(of[b]) for a in range(4) for b in range(a))
    assert sorted(set().union(*of)) == list(range(81))
    assert (groups == -1).sum() == 3 * 4  # of 4 windows over each inner edge


def test_copies_by_hand() -> None:
    train = np.array([0.0, 0.1, 10.0, 10.1, 20.0])[:, None, None]
    groups = np.array([0, 0, 1, 1, 2])
    held = np.array([1.0, 12.0, 25.0])[:, None, None]
    # Spacings to other groups are about 10: quotients of the held-out are about .09, .19 and .5, of the fakes .4 and .001.
    found = sequences.copies(np.array([4.0, 0.01])[:, None, None], train, held, groups=(groups, None))
    assert found.nearer == pytest.approx((1 / 3 + 1) / 2)
    assert found.share == 0.5
    # Without groups 0 has a neighbour at 0.1: quotients of .8 for the fakes, of 9, 19 and .5 for the held-out.
    alone = sequences.copies(np.array([-0.08])[:, None, None].repeat(2, 0), train, held)
    assert alone.nearer == pytest.approx(2 / 3)


def test_figures_do_not_move_with_units_nor_with_room_behind_the_end() -> None:
    lengths = RNG(0).integers(6, 13, 60)
    x, y = RNG(1).normal(size=(2, 60, 12, 2)).cumsum(2)
    room = np.concatenate([x, np.full((60, 3, 2), 7.0)], 1)  # what stands behind the end is not read

    def figures(fake: np.ndarray, real: np.ndarray) -> list[float]:
        both = (lengths, lengths)
        return [
            sequences.discriminative(fake, real, lengths=both, permutations=0).score,
            sequences.predictive(fake, real, lengths=both),
            sequences.autocorrelation_distance(fake, real, 4, lengths=both),
            sequences.cross_correlation_distance(fake, real, 2, lengths=both),
            float(sequences.marginal_distances(fake, real, lengths=both).mean()),
            sequences.copies(fake, real, real[::-1], lengths=(lengths, lengths, lengths[::-1])).nearer,
        ]

    usual = figures(x, y)
    unit = [1e-3, 1e4]
    assert np.allclose(figures(x * unit, y * unit), usual, rtol=1e-6)
    more = np.concatenate([y, np.zeros((60, 3, 2))], 1)
    assert np.allclose(figures(room, more)[1:], usual[1:], rtol=1e-9)


@pytest.mark.parametrize("level", [0.1, 0.7, 1e6 + 0.1, 3.0])
def test_what_does_not_move_correlates_with_nothing(level: float) -> None:
    """The mean of many 0.1 is not quite 0.1, and what is left then is the same at every step."""
    noise = RNG(0).normal(size=(50, 24, 1))
    still, other = (np.concatenate([np.full((50, 24, 1), each), noise], 2) for each in (level, 0.25))
    assert (sequences.autocorrelation(still, 3)[:, 0] == 0).all()
    assert (sequences.spectrum(still)[:, 0] == 0).all()
    assert sequences.autocorrelation_distance(still, other) == sequences.spectrum_distance(still, other) == 0
    assert float(deviations(still[:, :, 0].ravel())) == 0


def test_ridge_is_that_of_another_library() -> None:
    x = RNG(0).normal(size=(80, 12)) * RNG(1).uniform(0.1, 9, 12)
    x[:, 3] = 2.0  # constant
    targets = (x @ RNG(2).normal(size=(12, 3)) + 20 * RNG(3).normal(size=(80, 3)))  # fmt: skip
    others = np.delete(x, 3, 1)
    scaled = (others - others.mean(0)) / others.std(0)
    theirs = RidgeCV(RIDGES * 80, alpha_per_target=True).fit(scaled, targets).predict(scaled)
    assert np.allclose(Ridge.fit(x, targets)(x), theirs)


def test_convolutions_are_the_same_for_the_same_seed_and_take_single_steps() -> None:
    x, ends = RNG(0).normal(size=(9, 1, 1)), np.ones(9, int)
    once, again = (Convolved(x, ends, seed)(x, ends) for seed in (0, 0))
    assert np.array_equal(once, again)
    assert np.isfinite(once).all()


def test_measure_has_a_floor_for_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "STEPS", 20)
    random, process = RNG(0), three_regimes()
    parts = []
    for _ in range(3):
        label = random.integers(2, size=60)
        series = process.draw(60, 12, random)[0] + 3 * label[:, None, None]
        parts.append(Sample.of(series, "series", random.integers(6, 13, 60), labels=label))
    found = {each.name: each for each in sequences.measure(*parts)}
    assert list(found) == [
        "discriminative", "predictive", "tstr", "trts", "autocorrelation", "spectrum", "marginals", "cross-correlation",
        "frechet-encoder", "lengths", "near-training", "nearer-than-held-out",
    ]  # fmt: skip
    assert all(each.floor is not None and np.isfinite(each.value) for each in found.values())
    assert found["lengths"].p_value is not None
    assert found["lengths"].p_value > 0.01


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x: sequences.discriminative(x[:, :, 0], x), r"fake has shape .* expected series \(N, T, D\)"),
        (lambda x: sequences.discriminative(x, x[:, :, :1]), "fake has 2 columns and real has 1"),
        (lambda x: sequences.discriminative(x[:5], x), "at least 20"),
        (lambda x: sequences.discriminative(x, x, groups=(None, np.zeros(30, int))), "one group"),
        (lambda x: sequences.discriminative(x, x, groups=(None, np.zeros(3, int))), "one a series"),
        (lambda x: sequences.discriminative(x, x, groups=(None, np.zeros(30))), "whole numbers"),
        (lambda x: sequences.discriminative(x, x, groups=(None, np.arange(30)), legacy=True), "omit groups"),
        (lambda x: sequences.predictive(x[:, :, :1], x[:, :, :1], legacy=True), "two columns"),
        (lambda x: sequences.predictive(x[:, :1], x[:, :1]), "one step"),
        (lambda x: sequences.cross_correlation_distance(x[:, :, :1], x[:, :, :1]), "single column"),
        (lambda x: sequences.autocorrelation(x, 9), "lags is 9; it must be at most 7"),
        (lambda x: sequences.copies(x, x, x, groups=(np.zeros(30, int), None)), "one group"),
        (lambda x: sequences.transfer(x, np.zeros(3, int), x, np.zeros(30, int)), "30 series and 3 labels"),
        (lambda x: sequences.blocks(20, 10, 4), "too few"),
        (lambda x: sequences.frechet(np.full_like(x, np.nan), x), "NaN"),
        (lambda x: sequences.measure(*[Sample.of(x[:9], "x")] * 3), "at least 20"),
    ],
)  # fmt: skip
def test_mistakes_are_said(wrong: Callable[[np.ndarray], object], words: str) -> None:
    with pytest.raises(GanvasError, match=words):
        wrong(RNG(0).normal(size=(30, 8, 2)))


def test_many_held_out_series_are_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30,000 the features of all their steps took 6 GB, and as much what tells their classes."""
    x, y = (RNG(seed).normal(size=(200, 12, 2)).cumsum(1) for seed in (0, 1))
    kinds = RNG(2).integers(3, size=(2, 200))

    def figures() -> list[float]:
        return [sequences.predictive(x, y), sequences.transfer(x, kinds[0], y, kinds[1])]

    whole, sizes, answer = figures(), list[int](), Ridge.__call__

    def watched(ridge: Ridge, features: np.ndarray) -> np.ndarray:
        sizes.append(len(features))
        return answer(ridge, features)

    monkeypatch.setattr(Ridge, "__call__", watched)
    monkeypatch.setattr(sequences, "MOST_SERIES", 60)
    assert figures() == pytest.approx(whole)
    assert sizes == [2200, 60, 60, 60, 20]
    monkeypatch.setattr(sequences, "MOST_STEPS", 700)
    sizes.clear()
    sequences.predictive(x, y)
    assert max(sizes) == 700


def test_autocorrelation_and_spectrum_of_long_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lag by lag they took minutes for each of the measures; some series are transformed at a time."""
    series, lengths = RNG(0).normal(size=(9, 21, 2)).cumsum(1), RNG(1).integers(3, 22, 9)
    lengths[0] = 21
    alive = np.arange(21) < lengths[:, None]
    means = (series * alive[:, :, None]).sum(1) / lengths[:, None]
    x = (series - means[:, None]) * alive[:, :, None]
    expected = [(x[:, :-k] * x[:, k:]).sum((0, 1)) / (x**2).sum((0, 1)) for k in range(1, 11)]
    power = (np.abs(np.fft.rfft(x, axis=1)) ** 2).sum(0)[1:]
    monkeypatch.setattr(sequences, "NUMBERS", 2 * 2 * 64)
    np.testing.assert_allclose(sequences.autocorrelation(series, lengths=lengths), expected, atol=1e-12)
    np.testing.assert_allclose(sequences.spectrum(series, lengths=lengths), power / power.sum(0), atol=1e-12)
    long = RNG(2).normal(size=(60, 40_000, 1)).cumsum(1)
    begun = time.monotonic()
    assert len(sequences.autocorrelation(long)) == 20_000
    assert time.monotonic() - begun < 40, "half a second on a quiet machine"


def test_an_encoder_sees_a_few_long_series_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """520 series of 9,000 steps took 4 GB, and a minute for each step of its training."""
    monkeypatch.setattr(Encoder, "STEPS", 2)
    sample = Sample.of(RNG(0).standard_normal((40, 100, 2)), "series")
    seen: list[int] = []
    forward = sequences._Net.forward
    monkeypatch.setattr(sequences._Net, "forward", lambda net, x: seen.append(len(x)) or forward(net, x))
    encoder = Encoder.of(sample, 0)
    whole = encoder(sample)
    assert seen == [64, 64, 40]
    monkeypatch.setattr(sequences, "NUMBERS", 10 * 48 * 100)
    assert encoder(sample) == pytest.approx(whole, abs=1e-4)
    monkeypatch.setattr(sequences, "NUMBERS", 10 * 48 * 25)
    few = encoder(sample)
    assert few == pytest.approx(whole, abs=1e-4)
    assert seen[3:] == [40, 10, 10, 10, 10]
    Encoder.of(sample, 0)
    assert seen[-2:] == [2, 2]


def test_steps_of_long_series_are_not_copied_eight_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 series of 9,000 steps of six columns what a predictor sees was 4 GB."""
    x, y = (RNG(seed).normal(size=(4000, 50, 2)) for seed in (0, 1))
    monkeypatch.setattr(sequences, "MOST_STEPS", 500)
    tracemalloc.start()
    sequences.predictive(x, y)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12 * x.nbytes, "what is seen of all steps, twelve times a series, was there twice"
