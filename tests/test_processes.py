"""Exact processes: likelihoods against all hidden paths and all sentences, moments and shares against closed forms."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm

from ganvas import processes
from ganvas.errors import GanvasError
from ganvas.processes import Grammar, MarkovChain, Regimes, three_regimes


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_sines_are_those_of_the_published_code(random: np.random.Generator) -> None:
    series = processes.sines(20_000, 24, 5, random=random)
    assert series.shape == (20_000, 24, 5)
    # E sin(p) with p uniform below 0.1 is (1 - cos 0.1) / 0.1; at step t it is the product of two such means.
    f, p, t = 0.1, 0.1, np.arange(1, 24)
    means = (np.sin(f * t + p) - np.sin(f * t) - np.sin(p)) / (-f * p * t)
    # An error of 5 standard errors: the values lie within [0, 1], so that their deviation is at most 1/2.
    assert np.abs(series[:, 1:].mean((0, 2)) - (means + 1) / 2).max() < 5 * 0.5 / 100_000**0.5
    angle = np.arcsin(2 * series - 1)
    assert angle[:, 0].min() > 0
    assert angle[:, 0].max() < 0.1
    # One frequency for every column: sin(a + f) + sin(a - f) = 2 cos(f) sin(a).
    wave = 2 * series - 1
    cosine = (wave[:, 2:] + wave[:, :-2]) / (2 * wave[:, 1:-1])
    frequency = np.arccos(np.clip(cosine, -1, 1))
    assert np.ptp(cosine, 1).max() < 1e-9
    assert 0.099 < frequency.max() <= 0.1 + 1e-6


def by_hand(process: Regimes, series: np.ndarray) -> list[float]:
    """Joint density of the series (T, D) and every path of regimes, in the order of `itertools.product`."""
    found = []
    for path in itertools.product(range(len(process.mean)), repeat=len(series)):
        chance = process.stationary[path[0]]
        for before, after in itertools.pairwise(path):
            chance *= process.transition[before, after]
        for step, k in enumerate(path):
            if step == 0:
                centre = process.mean[k]
                spread = process.sigma[k] / np.sqrt(1 - process.coefficient[k] ** 2)
            else:
                centre = process.mean[k] + process.coefficient[k] * (series[step - 1] - process.mean[k])
                spread = process.sigma[k]
            chance *= norm.pdf(series[step], centre, spread).prod()
        found.append(chance)
    return found


def test_the_published_predictor_has_learned_the_median_of_the_sines(random: np.random.Generator) -> None:
    """Papers report 0.093 for TimeGAN, TimeVAE and Diffusion-TS: columns are independent, nothing else can be learned."""
    x = processes.sines(20_000, 24, 5, random=random)[:, 1:, -1]
    assert np.abs(x - np.median(x, 0)).mean() == pytest.approx(0.093, abs=1e-3)


def test_likelihood_and_path_of_regimes_equal_the_sum_and_the_best_of_all_paths(
    random: np.random.Generator,
) -> None:
    process = three_regimes()
    series, _ = process.draw(3, 5, random)
    lengths = np.array([5, 3, 1])
    every = [by_hand(process, each[:end]) for each, end in zip(series, lengths, strict=True)]
    assert np.allclose(process.log_likelihood(series, lengths), [np.log(sum(each)) for each in every])
    decoded = process.decode(series, lengths)
    for each, end, path in zip(every, lengths, decoded, strict=True):
        best = list(itertools.product(range(3), repeat=int(end)))[int(np.argmax(each))]
        assert path.tolist() == [*best, *[-1] * (5 - end)]


def test_regimes_have_their_shares_moments_and_durations(random: np.random.Generator) -> None:
    process = three_regimes()
    assert np.allclose(process.stationary @ process.transition, process.stationary)
    series, states = process.draw(2_000, 60, random)
    shares = np.bincount(states.ravel()) / states.size
    assert np.abs(shares - process.stationary).max() < 0.01
    # Within a regime x - m = a (past - m) + noise: the residual has the regime's sigma and nothing of the past.
    for k in range(3):
        at = np.argwhere(states[:, 1:] == k)
        past = series[at[:, 0], at[:, 1]] - process.mean[k]
        now = series[at[:, 0], at[:, 1] + 1] - process.mean[k]
        residual = now - process.coefficient[k] * past
        assert np.allclose(residual.std(0), process.sigma[k], rtol=0.02)
        assert np.abs((residual * past).mean(0) / (residual.std(0) * past.std(0))).max() < 0.02
    # Decoding finds what was drawn; a long path loses few stays at its ends, whose lengths are geometric.
    assert (process.decode(series) == states).mean() > 0.97
    _, long = process.draw(20, 5_000, random)
    for k, mean in enumerate(1 / (1 - np.diag(process.transition))):
        stays = processes.durations(long, k)
        assert abs(stays.mean() - mean) < 4 * mean / len(stays) ** 0.5


def test_durations_leave_out_what_the_ends_cut() -> None:
    states = np.array([[0, 0, 1, 1, 1, 0, 2, 2], [1, 1, 1, 1, 0, -1, -1, -1]])
    assert processes.durations(states).tolist() == [3, 1]
    assert processes.durations(states, 1).tolist() == [3]


def test_chain_has_the_likelihood_of_its_steps(random: np.random.Generator) -> None:
    chain = MarkovChain(np.array([[0.9, 0.1], [0.5, 0.5]]))
    assert np.allclose(chain.start, [5 / 6, 1 / 6])  # pi_1 = 0.1 / (0.1 + 0.5)
    every = np.array(list(itertools.product(range(2), repeat=6)))
    found = np.exp(chain.log_likelihood(every))
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(5 / 6 * 0.9**5)
    drawn = chain.draw(50_000, 6, random)
    counts = np.bincount(drawn @ 2 ** np.arange(5, -1, -1), minlength=64) / 50_000
    assert np.abs(counts - found).max() < 5 * np.sqrt(0.25 / 50_000)
    sure = processes.random_chain(8, random)
    assert sure.transition.min() >= 0.01 / 8 * (1 - 1e-12)


def test_grammar_has_the_likelihood_of_all_its_sentences(random: np.random.Generator) -> None:
    grammar = processes.sums(9)
    # (TsT) with T a word: 0.55^2. With one of the two T a sum of words, in two ways: 2 * 0.55^3 * 0.45.
    lengths = np.zeros(10)
    lengths[5], lengths[9] = 0.55**2, 2 * 0.55**3 * 0.45
    assert np.allclose(grammar.lengths, lengths)
    every = np.array(
        [
            [processes.SIGNS.index(sign) for sign in text.ljust(9, ".")]
            for text in (
                *(f"(x{a}x)" for a in "+*"),
                *(f"(x{a}(x{b}x))" for a in "+*" for b in "+*"),
                *(f"((x{b}x){a}x)" for a in "+*" for b in "+*"),
            )
        ]
    )
    chances = np.exp(grammar.log_likelihood(every))
    assert chances.sum() == pytest.approx(1)
    assert chances[0] == pytest.approx(0.7 * 0.55**2 / lengths.sum())
    drawn = grammar.draw(4_000, random)
    assert np.isfinite(grammar.log_likelihood(drawn)).all()
    share = (drawn == every[0]).all(1).mean()
    assert abs(share - chances[0]) < 5 * np.sqrt(0.25 / 4_000)
    broken = every[:3].copy()
    broken[0, 4], broken[1, 7], broken[2, 0] = 0, 0, 1  # (x+xx, something after the end, +x+...
    assert np.isneginf(grammar.log_likelihood(broken)).all()


def test_sentences_are_judged_some_at_a_time(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each part of each sentence there was a number for every name at once: gigabytes of 100,000 sentences."""
    grammar = processes.sums(9)
    drawn = grammar.draw(3_000, random)
    whole = grammar.log_likelihood(drawn)
    monkeypatch.setattr(processes, "AT_A_TIME", 70)
    tracemalloc.start()
    assert (grammar.log_likelihood(drawn) == whole).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_an_ambiguous_grammar_adds_up_its_trees() -> None:
    # S -> S S | a: a sentence of n symbols has Catalan(n - 1) trees, each of probability p^(n-1) (1 - p)^n.
    grammar = Grammar({"S": [("S", "S", 0.3)]}, {"S": [(0, 0.7)]}, longest=5, symbols=2)
    catalan = np.array([1, 1, 2, 5, 14])
    sizes = np.arange(1, 6)
    expected = catalan * 0.3 ** (sizes - 1) * 0.7**sizes
    sentences = np.where(np.arange(5) < sizes[:, None], 0, 1)
    assert np.allclose(np.exp(grammar.log_likelihood(sentences)), expected / expected.sum())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Regimes(np.eye(2) * 0.5, np.zeros((2, 1)), np.zeros((2, 1)), np.ones((2, 1))), "rows sum to 1"),
        (lambda: Regimes(np.full((2, 2), 0.5), np.zeros((3, 1)), np.zeros((2, 1)), np.ones((2, 1))), "2 regimes"),
        (lambda: Regimes(np.full((2, 2), 0.5), np.zeros((2, 1)), np.ones((2, 1)), np.ones((2, 1))), "within"),
        (lambda: processes.stationary(np.eye(2)), "several stationary"),
        (lambda: MarkovChain(np.full((2, 2), 0.5), np.array([0.5, 0.6])), "distribution over 2"),
        (lambda: MarkovChain(np.full((2, 2), 0.5)).log_likelihood([[0, 2]]), "from 0 to 1"),
        (lambda: three_regimes().log_likelihood(np.zeros((2, 5, 3))), "3 columns; the process has 2"),
        (lambda: three_regimes().log_likelihood(np.zeros((2, 5))), r"series \(N, T, D\)"),
        (lambda: three_regimes().log_likelihood(np.zeros((2, 5, 2)), [5, 6]), "from 0 to 5"),
        (lambda: three_regimes().log_likelihood(np.zeros((2, 5, 2)), [5, 0]), "from 1 to 5"),
        (lambda: processes.durations([0.5]), "whole numbers"),
        (lambda: Grammar({"S": [("S", "T", 1.0)]}, {}, 5, 2), "no rules"),
        (lambda: Grammar({"S": [("S", "S", 1.0)]}, {}, 5, 2), "No sentence"),
        (lambda: Grammar({}, {"S": [(0, 0.5)]}, 5, 2), "expected 1"),
        (lambda: processes.sums(9).log_likelihood(np.zeros((1, 5), int)), "5 steps"),
    ],
)  # fmt: skip
def test_mistakes_are_said(wrong: object, words: str) -> None:
    assert callable(wrong)
    with pytest.raises(GanvasError, match=words):
        wrong()
