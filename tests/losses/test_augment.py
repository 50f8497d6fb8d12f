"""Augmentations pixel by pixel, and the controller of ADA."""

import pytest
import torch
from torch import Tensor

from ganvas.losses.augment import (
    Adaptive,
    augment,
    augmentations,
    colour,
    cutout,
    flip,
    rotate90,
    translation,
)

X = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def numbers(*values: float) -> Tensor:
    return torch.tensor([values] * len(X))


def uniform(seed: int = 0):  # type: ignore[no-untyped-def]
    random = torch.Generator().manual_seed(seed)
    return lambda n: torch.rand(len(X), n, generator=random)


@pytest.mark.parametrize("name", list(augmentations))
def test_shapes_and_second_derivatives(name: str) -> None:
    found = augmentations.get(name)
    x = X.double().requires_grad_(True)
    u = torch.rand(len(X), found.draws, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = (0.7,) if found.by_itself else ()
    assert found.apply(x, u, *p).shape == x.shape
    small = X[:2, :, :4, :4].double().requires_grad_(True)
    assert torch.autograd.gradgradcheck(lambda x: found.apply(x, u[:2], *p).square(), small)


@pytest.mark.parametrize("name", list(augmentations))
def test_every_range_of_values_sees_the_same(name: str) -> None:
    """Black stays black and grey grey where a generator draws in [0, 1]."""
    expected = augment(X, [name], 0.8, uniform())
    found = augment((X + 1) / 2, [name], 0.8, uniform(), (0.0, 1.0))
    torch.testing.assert_close(found, (expected + 1) / 2, atol=1e-5, rtol=0)
    assert not torch.allclose(expected, X)


def test_colour_by_hand() -> None:
    torch.testing.assert_close(
        colour(X, numbers(0.5, 0.5, 0.5)), X, msg="the middle of each range changes nothing"
    )
    torch.testing.assert_close(colour(X, numbers(0.75, 0.5, 0.5)), X + 0.25)
    grey = X.mean(1, keepdim=True).expand_as(X)
    torch.testing.assert_close(colour(X, numbers(0.5, 0.0, 0.5)), grey)
    mean = X.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(colour(X, numbers(0.5, 0.5, 0.0)), mean + 0.5 * (X - mean))


@pytest.mark.parametrize(("u", "shift"), [(0.0, -2), (0.5, 0), (0.7, 1), (0.999, 2)])
def test_translation_by_whole_pixels(u: float, shift: int) -> None:
    """Up to an eighth of 16 px: 2; what comes in is black."""
    found = translation(X, numbers(u, 0.5))
    expected = X.roll(shift, 2)
    if shift > 0:
        expected[:, :, :shift] = -1
    elif shift < 0:
        expected[:, :, shift:] = -1
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(translation(X.mT, numbers(0.5, u)), expected.mT)


def test_cutout_is_half_a_side_wide() -> None:
    inside = cutout(X, numbers(0.5, 0.5)) == 0
    assert inside.float().sum((1, 2, 3)).unique().tolist() == [3 * 7 * 7]
    assert (cutout(X, numbers(0.0, 0.0)) == 0).float().sum((1, 2, 3)).unique().tolist() == [3 * 4 * 4], (
        "cut at the corner"
    )


def test_flip_and_rotate() -> None:
    assert torch.equal(flip(X, numbers(0.2)), X.flip(3))
    assert torch.equal(flip(X, numbers(0.8)), X)
    for turn in range(4):
        assert torch.equal(rotate90(X, numbers(turn / 4 + 0.1)), torch.rot90(X, turn, (2, 3)))


def test_probability() -> None:
    torch.testing.assert_close(augment(X, list(augmentations), 0.0, uniform()), X, atol=2e-6, rtol=0)
    images = torch.zeros(4000, 1, 8, 8)
    random = torch.Generator().manual_seed(0)
    changed = augment(images, ["colour"], 0.3, lambda n: torch.rand(4000, n, generator=random))
    assert (changed != 0).flatten(1).any(1).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_adaptive_p_rises_by_the_book() -> None:
    """500 kimg from 0 to 1: after 4 steps of 50 images p has moved by 200 / 500,000."""
    ada = Adaptive(0.0, 0.6, 500.0)
    for _ in range(3):
        ada.update(torch.tensor(0.9), 50)
    assert ada.p == 0
    ada.update(torch.tensor(0.9), 50)
    assert float(ada.p) == pytest.approx(200 / 500_000, rel=1e-5)
    for _ in range(4):
        ada.update(torch.tensor(0.1), 50)
    assert float(ada.p) == pytest.approx(0, abs=1e-9)
    for _ in range(4):
        ada.update(torch.tensor(0.1), 50)
    assert float(ada.p) == 0, "never below 0"
    for limit in (0.8, 1.0):
        fast = Adaptive(0.7, 0.6, 0.1, limit=limit)
        for _ in range(8):
            fast.update(torch.tensor(1.0), 50)
        assert float(fast.p) == pytest.approx(limit)


def test_fixed_p_stays() -> None:
    fixed = Adaptive(1.0, None, 500.0)
    for _ in range(8):
        fixed.update(torch.tensor(-1.0), 500)
    assert float(fixed.p) == 1
