"""What noise costs: epsilon of DP-SGD, by the accountant of Opacus (extra `privacy`)."""

import math
import warnings
from functools import lru_cache
from typing import Any

from ganvas import arrays
from ganvas.errors import GanvasError, install

ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(11, 64), 80, 96, 128, 192, 256, 512)
"""Of Renyi's divergence; the best of them gives epsilon."""
LEAST_NOISE = 1e-3
"""Below it nothing is hidden: epsilon is some millions, and its arithmetic ends."""


def epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """Epsilon after `steps` steps of the sampled Gaussian mechanism (Mironov et al. 2019), each sample in a step with
    probability `rate`, by Renyi's divergence.

    `noise` is the standard deviation over the clipping bound. Raises `GanvasError` without Opacus.
    """
    arrays.number(noise, "noise", least=LEAST_NOISE)
    arrays.number(rate, "rate", above=0, most=1)
    arrays.number(delta, "delta", above=0, most=0.5)
    if not steps:
        return 0.0
    analysis = _opacus().accountants.analysis.rdp
    each = _of_one_step(noise, rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an order at the end of the list: the bound holds, if not as tightly
        found, _ = analysis.get_privacy_spent(
            orders=ORDERS, rdp=[steps * value for value in each], delta=delta
        )
    return max(0.0, float(found))  # of a delta above the inverse of the largest order it would fall below


@lru_cache(maxsize=8)
def _of_one_step(noise: float, rate: float) -> tuple[float, ...]:
    analysis = _opacus().accountants.analysis.rdp
    return tuple(
        float(each) for each in analysis.compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=ORDERS)
    )


def noise_for(target: float, rate: float, steps: int, delta: float) -> float:
    """The smallest noise, to four digits, with which `steps` steps stay within the target epsilon."""
    arrays.number(target, "epsilon", above=0)
    low, high = 0.1, 0.2
    while epsilon(high, rate, steps, delta) > target:
        low, high = high, 2 * high
        if high > 1e4:
            raise GanvasError(
                f"No noise gives epsilon {target:g} within {steps:,} steps. Train for fewer, or allow more."
            )
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if epsilon(middle, rate, steps, delta) <= target else (middle, high)
    return high


def steps_within(target: float, noise: float, rate: float, delta: float) -> int:
    """How many steps with this noise stay within the target epsilon."""
    low, high = 0, 1
    while epsilon(noise, rate, high, delta) <= target:
        low, high = high, 2 * high
        if high > 2**40:
            return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if epsilon(noise, rate, middle, delta) <= target else (low, middle)
    return low


def _opacus() -> Any:
    try:
        import opacus.accountants.analysis.rdp
    except ImportError as error:
        raise GanvasError(f"Private training needs the accountant of Opacus. {install('privacy')}") from error
    return opacus
