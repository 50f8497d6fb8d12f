"""Closed forms, torch's own cross-entropy as a judge, and the signs that every loss must have."""

import math

import pytest
import torch
import torch.nn.functional as F

from ganvas.losses import losses

REAL, FAKE = torch.tensor([1.5, -0.3, 0.2]), torch.tensor([-2.0, 0.4, 0.1])


def test_cross_entropy_losses_against_torch() -> None:
    bce = F.binary_cross_entropy_with_logits
    expected = bce(REAL, torch.ones(3)) + bce(FAKE, torch.zeros(3))
    for name in ("minimax", "non-saturating"):
        torch.testing.assert_close(losses.get(name).critic(REAL, FAKE), expected)
    torch.testing.assert_close(losses.get("minimax").generator(REAL, FAKE), -bce(FAKE, torch.zeros(3)))
    torch.testing.assert_close(losses.get("non-saturating").generator(REAL, FAKE), bce(FAKE, torch.ones(3)))


def test_minimax_at_the_optimum_is_the_jensen_shannon_divergence() -> None:
    """With the optimal critic the value is 2 JSD - log 4 (Goodfellow et al. 2014, theorem 1): here for two coins."""
    p, q = torch.tensor([0.8, 0.2]), torch.tensor([0.3, 0.7])
    logits = (p / q).log()
    # 10 draws each, in exact proportion
    real, fake = (
        logits.repeat_interleave(torch.tensor([8, 2])),
        logits.repeat_interleave(torch.tensor([3, 7])),
    )
    m = (p + q) / 2
    jsd = 0.5 * (p * (p / m).log()).sum() + 0.5 * (q * (q / m).log()).sum()
    torch.testing.assert_close(-losses.get("minimax").critic(real, fake), 2 * jsd - math.log(4))


def test_hinge_least_squares_and_wasserstein_by_hand() -> None:
    hinge = losses.get("hinge")
    assert hinge.critic(REAL, FAKE).item() == pytest.approx((0 + 1.3 + 0.8) / 3 + (0 + 1.4 + 1.1) / 3)
    assert hinge.generator(REAL, FAKE).item() == pytest.approx(0.5)
    squares = losses.get("least-squares")
    assert squares.critic(REAL, FAKE).item() == pytest.approx(
        (0.25 + 1.69 + 0.64) / 6 + (4 + 0.16 + 0.01) / 6
    )
    assert squares.generator(REAL, FAKE).item() == pytest.approx((9 + 0.36 + 0.81) / 6)
    assert losses.get("wasserstein").critic(REAL, FAKE).item() == pytest.approx(-0.5 - 1.4 / 3)


def test_relativistic_compares_pairs() -> None:
    loss = losses.get("relativistic")
    expected = sum(math.log1p(math.exp(f - r)) for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)) / 3
    assert loss.critic(REAL, FAKE).item() == pytest.approx(expected, rel=1e-6)
    # Only differences count: shifting every logit changes nothing.
    torch.testing.assert_close(loss.critic(REAL + 7, FAKE + 7), loss.critic(REAL, FAKE), atol=1e-5, rtol=0)
    assert loss.generator(REAL, REAL).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "hinge", "least-squares", "wasserstein"])
def test_turned_about_its_middle_one_side_is_the_other(name: str) -> None:
    """That of least squares is 0.5: turned about 0, real pairs of a BiGAN were to be less than any fake is said to be."""
    loss = losses.get(name)
    about = 2 * loss.middle
    torch.testing.assert_close(loss.critic(about - FAKE, about - REAL), loss.critic(REAL, FAKE))


@pytest.mark.parametrize("name", list(losses))
def test_saturated_logits_stay_finite(name: str) -> None:
    loss = losses.get(name)
    for real, fake in ((1e4, -1e4), (-1e4, 1e4)):
        a = torch.full((4,), real, requires_grad=True)
        b = torch.full((4,), fake, requires_grad=True)
        total = loss.critic(a, b) + loss.generator(a, b)
        gradients = torch.autograd.grad(total, (a, b), allow_unused=True)
        assert torch.isfinite(total)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)
