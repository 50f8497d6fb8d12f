import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganvas.training import ema


def constant(value: float) -> nn.BatchNorm1d:
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, value)
    return module


@settings(deadline=None, max_examples=30)
@given(half_life=st.floats(10, 1e5), parts=st.integers(1, 20))
def test_the_half_life_is_a_half_life(half_life: float, parts: int) -> None:
    """Towards a constant source, half of the distance is left after half_life images, however they are batched."""
    average, source = constant(0.0), constant(1.0)
    for _ in range(parts):
        ema.update(average, source, ema.weight(half_life / parts, half_life))  # type: ignore[arg-type]
    assert average.weight.item() == pytest.approx(0.5, abs=1e-4)


def test_zero_copies_and_buffers_follow() -> None:
    average, source = constant(0.0), constant(1.0)
    source.running_mean.fill_(7)  # type: ignore[union-attr]
    ema.update(average, source, ema.weight(1, 0.0))
    assert average.weight.item() == 1
    assert average.running_mean.item() == 7  # type: ignore[union-attr, operator]
    assert average.weight is not source.weight


@pytest.mark.parametrize("weight", [0.25, torch.tensor(0.25)])
def test_running_figures_are_averaged_when_asked_for(weight: float | torch.Tensor) -> None:
    """From mean 0 and variance 1 a quarter of the way to 8 and 9: 2 and 3. Counts are no figures, and are copied."""
    average, source = constant(0.0), constant(1.0)
    source.running_mean.fill_(8)  # type: ignore[union-attr]
    source.running_var.fill_(9)  # type: ignore[union-attr]
    source.num_batches_tracked.fill_(5)  # type: ignore[union-attr]
    ema.update(average, source, weight, statistics=True)
    assert (average.weight.item(), average.running_mean.item(), average.running_var.item()) == (0.25, 2, 3)  # type: ignore[union-attr, operator]
    assert average.num_batches_tracked.item() == 5  # type: ignore[union-attr, operator]


def test_rampup_forgets_the_start() -> None:
    assert ema.half_life_images(10, 0.05, 1000) == 50
    assert ema.half_life_images(10, 0.05, 10**6) == 10_000
    assert ema.half_life_images(10, None, 1) == 10_000
    assert torch.is_grad_enabled()
