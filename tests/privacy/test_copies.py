"""Copies: exact tails, generators that copy nothing, planted copies."""

import numpy as np
import pytest
import scipy.signal
import torch

from ganvas.errors import GanvasError
from ganvas.metrics import authenticity
from ganvas.privacy.copies import Distances, find_copies, tail_chance


def sets(
    seed: int, dim: int = 12, train: int = 2000, held: int = 400, fakes: int = 1000
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, dim, generator=generator) for n in (train, held, fakes)]


def test_the_tail_is_that_of_a_power_law() -> None:
    """P(value <= t) = t^5: far below what was seen the chance is right within the error of the exponent, and rather larger."""
    known = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** (1 / 5)
    asked = torch.tensor([1.0, 0.5, 0.2, 0.02], dtype=torch.float64)
    p, exponent = tail_chance(asked, known)
    assert p[0] == 1
    assert p[1] == pytest.approx(0.5**5, rel=0.3)
    assert 2.5 < exponent < 5
    assert bool((p[2:] >= asked[2:] ** 5).all())
    assert p[3] < 1e-4
    assert tail_chance(torch.zeros(1), known)[0] == 0


def test_without_copies_there_is_no_alarm() -> None:
    """20 generators: of the very distribution, blurred, narrow, and ones that draw always the same."""
    alarms = 0
    for seed in range(20):
        train, held, fake = sets(seed)
        fake = (fake, 0.5 * fake, fake * torch.tensor([1.0] * 6 + [0.0] * 6), fake[:1].expand(1000, -1))[
            seed % 4
        ]
        alarms += find_copies(fake, train, held).alarm()
    assert alarms == 0


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_planted_copies_are_found(noise: float) -> None:
    """One sample in a thousand, and one in a hundred, exact or nearly so; all suspects but a tenth are the planted ones."""
    train, held, fake = sets(3, fakes=2000)
    distances = Distances(train, held)
    for count in (2, 20):
        changed = fake.clone()
        places = torch.arange(count) * 7
        changed[:count] = train[places] + noise * torch.randn(count, train.shape[1])
        found = distances.copies(distances.nearest(changed))
        suspects = found.suspects()
        assert found.alarm()
        assert torch.isin(places, suspects).float().mean() >= 0.9
        assert len(suspects) <= count / 0.8
        assert torch.equal(found.nearest[places], torch.arange(count))


def test_twins_in_the_data_are_no_copies() -> None:
    """Every held-out sample has a twin in the training data, and so may what a faithful generator draws."""
    train, held, _ = sets(4)
    train[:400] = held
    generator = torch.Generator().manual_seed(5)
    drawn = torch.cat([train, held])[torch.randperm(2400, generator=generator)[:1000]]
    assert not find_copies(drawn, train, held).alarm()


def test_too_few_held_out_samples() -> None:
    train, held, fake = sets(0)
    with pytest.raises(GanvasError, match="50 or more, got 20"):
        find_copies(fake, train, held[:20])


def windows(seed: int, steps: int = 3000, width: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """All windows of an autoregressive series of two columns, and their spans."""
    noise = np.random.default_rng(seed).standard_normal((steps, 2))
    series = scipy.signal.lfilter([(1 - 0.9**2) ** 0.5], [1, -0.9], noise, axis=0)
    cut = np.lib.stride_tricks.sliding_window_view(series, width, 0)
    start = np.arange(len(cut))
    spans = np.stack([0 * start, start / steps, (start + width) / steps], 1)
    return torch.from_numpy(cut.reshape(len(cut), -1).astype(np.float32)), torch.from_numpy(spans)


def test_windows_that_overlap_are_no_neighbours() -> None:
    """A held-out window, moved by a step, is the next one: by that room all training windows of a long series were copies."""
    real, spans = windows(0)
    train, held, fake = real[:2677], real[2700:], windows(1)[0]
    assert not find_copies(fake, train, held, spans[2700:]).alarm()
    planted = torch.cat([fake, train[100:110]])
    assert torch.isin(
        torch.arange(100, 110), find_copies(planted, train, held, spans[2700:]).suspects()
    ).all()
    assert authenticity(fake, train, spans[:2677]) < 0.9 < authenticity(fake, train)
    wide, spans = windows(0, width=40)
    with pytest.raises(GanvasError, match="overlap with all others"):
        find_copies(wide, wide, wide[:60], spans[:60])
