"""The figures of membership scores: closed forms, and scikit-learn's and scipy's as judges."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import nhypergeom
from sklearn.metrics import roc_auc_score, roc_curve

from ganvas.errors import GanvasError
from ganvas.privacy.scores import RATES, attack


def test_closed_forms() -> None:
    apart = attack(np.arange(100.0) + 1000, np.arange(100.0))
    assert [apart.auc.value, apart.auc.low, apart.hits[0.01].value] == pytest.approx([1, 1, 1])
    same = attack(np.ones(50), np.ones(70))
    assert (same.auc.value, same.chance) == (0.5, 0.5)
    assert attack(np.array([1.0, 3.0]), np.array([0.0, 2.0])).auc.value == 0.75


def test_as_scikit_learn_finds_them() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0.5, 1, 300).round(1), rng.normal(0, 1, 1000).round(1)
    found = attack(inside, outside)
    truth, scores = np.r_[np.ones(300), np.zeros(1000)], np.r_[inside, outside]
    assert found.auc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    for rate in RATES:
        hit = found.hits[rate]
        assert hit is not None
        assert hit.value == pytest.approx(true[false <= rate + 1e-12].max(), abs=1e-12)
    assert found.auc.low < found.auc.value < found.auc.high
    # Two normals half a deviation apart: Phi(0.5 / 2^(1/2)).
    assert found.auc.low < 0.6382 < found.auc.high


def test_chance_is_rarely_small_by_chance() -> None:
    rng = np.random.default_rng(1)
    p = [attack(rng.normal(size=100), rng.normal(size=100), draws=20).chance for _ in range(300)]
    assert np.mean(np.asarray(p) <= 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


def test_hits_have_the_share_of_all_orders() -> None:
    """Three members and nine others in a line: in how many lines are all three before the second other?"""
    lines = list(combinations(range(12), 3))
    before = [sum(place < sorted(set(range(12)) - set(line))[1] for place in line) for line in lines]
    assert nhypergeom(12, 3, 2).sf(2) == pytest.approx(np.mean(np.asarray(before) == 3))
    found = attack(np.array([98.1, 98.2, 98.3, -1.0]), np.arange(100.0), draws=20)
    assert found.hits[0.01].value == 0.75
    assert found.hits[0.001] is None
    assert found.chance == pytest.approx(2 * nhypergeom(104, 4, 2).sf(2))  # two figures were looked at


@pytest.mark.parametrize("wrong", [np.array([1.0]), np.ones((3, 2)), np.array([1.0, np.nan])])
def test_wrong_scores(wrong: np.ndarray) -> None:
    with pytest.raises(GanvasError):
        attack(wrong, np.arange(5.0))


def test_windows_of_one_sequence_are_not_independent() -> None:
    """Intervals of 5 sequences of 40 windows each were those of 200 samples: they missed 0.5 in most of the draws."""
    rng = np.random.default_rng(0)
    groups = torch.arange(200) // 40, torch.arange(800) // 40
    hits, chances = 0, []
    for seed in range(60):
        inside, outside = (np.repeat(rng.normal(size=n), 40) + 0.3 * rng.normal(size=40 * n) for n in (5, 20))
        found = attack(inside, outside, draws=100, seed=seed, groups=groups)
        hits += found.auc.low <= 0.5 <= found.auc.high
        chances.append(found.chance)
    assert hits >= 45
    assert np.mean(np.asarray(chances) <= 0.05) <= 0.15
    assert np.mean(np.asarray(chances) <= 0.5) == pytest.approx(0.5, abs=0.2)
    whole = attack(inside, outside, draws=20)
    assert found.auc.value == whole.auc.value
    assert found.auc.high - found.auc.low > 2 * (whole.auc.high - whole.auc.low)
    surely = attack(inside + 100, outside, draws=20, groups=groups)
    assert 0 < surely.chance < 1e-3
    single = attack(inside, outside, draws=20, groups=(groups[0] * 0, groups[1]))
    assert (single.auc.low, single.auc.high, single.chance) == (0, 1, 1)
