"""What noise costs: published figures and exact limits."""

import math

import pytest

from ganvas.errors import GanvasError
from ganvas.privacy import account


def test_published_epsilon() -> None:
    """Abadi et al. 2016, section 3.2: q 0.01, sigma 4, 10,000 steps, delta 1e-5 give 1.26, by the conversion of that time."""
    orders = account.ORDERS
    each = account._of_one_step(4.0, 0.01)
    then = min(
        10_000 * value + math.log(1e5) / (order - 1) for order, value in zip(orders, each, strict=True)
    )
    assert then == pytest.approx(1.26, abs=0.005)
    now = account.epsilon(4.0, 0.01, 10_000, 1e-5)
    assert 0.8 < now < then, "today's conversion is tighter"


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    """One step of all samples: Renyi's divergence of order a is a / (2 sigma^2) (Mironov 2017, proposition 7)."""
    for order, value in zip(account.ORDERS, account._of_one_step(2.0, 1.0), strict=True):
        assert value == pytest.approx(order / 8)


def test_noise_and_steps_are_inverse() -> None:
    noise = account.noise_for(3.0, 0.02, 500, 1e-5)
    assert account.epsilon(noise, 0.02, 500, 1e-5) <= 3.0 < account.epsilon(noise / 1.001, 0.02, 500, 1e-5)
    steps = account.steps_within(3.0, noise, 0.02, 1e-5)
    assert account.epsilon(noise, 0.02, steps, 1e-5) <= 3.0 < account.epsilon(noise, 0.02, steps + 1, 1e-5)
    assert account.epsilon(1.0, 0.02, 0, 1e-5) == 0


def test_epsilon_is_never_below_nothing() -> None:
    """Of few samples, which allow a large delta, the conversion gave -0.02."""
    assert account.epsilon(1000.0, 0.5, 10, 0.02) == 0


def test_wrong_numbers() -> None:
    for wrong in ((0.0, 0.1, 1, 1e-5), (1.0, 0.0, 1, 1e-5), (1.0, 1.5, 1, 1e-5), (1.0, 0.1, 1, 0.0)):
        with pytest.raises(GanvasError):
            account.epsilon(*wrong)


@pytest.mark.parametrize("noise", [0.0, -1.0, 1e-300, 1e-150])
def test_no_noise_is_refused(noise: float) -> None:
    """The squares of small ones are nothing, by which the accountant divides."""
    with pytest.raises(GanvasError, match=r"noise is .*; it must be at least 0\.001"):
        account.epsilon(noise, 0.02, 10, 1e-5)
