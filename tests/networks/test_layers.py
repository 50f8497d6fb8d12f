import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganvas.errors import GanvasError
from ganvas.networks.layers import MinibatchStd, PixelNorm, activation, maybe_spectral_norm, norm


@settings(deadline=None, max_examples=30)
@given(groups=st.integers(1, 4), group=st.integers(1, 5), channels=st.integers(1, 3), side=st.integers(1, 4))
def test_minibatch_std_against_numpy(groups: int, group: int, channels: int, side: int) -> None:
    x = np.random.default_rng(0).normal(size=(groups * group, channels, side, side)).astype(np.float32)
    out = MinibatchStd(group)(torch.from_numpy(x)).numpy()
    assert out.shape == (groups * group, channels + 1, side, side)
    np.testing.assert_array_equal(out[:, :channels], x)
    for g in range(groups):
        part = slice(g * group, (g + 1) * group)
        np.testing.assert_allclose(out[part, channels], x[part].std(axis=0).mean(), atol=2e-4)


def test_minibatch_std_splits_with_the_batch() -> None:
    """Two processes with half a batch each see what one with the whole batch sees."""
    x = torch.randn(16, 3, 4, 4)
    layer = MinibatchStd(4)
    torch.testing.assert_close(layer(x), torch.cat([layer(x[:8]), layer(x[8:])]))


def test_minibatch_std_of_equal_samples_has_a_gradient() -> None:
    x = torch.ones(8, 3, requires_grad=True)
    out = MinibatchStd(4)(x)
    assert out[:, 3].max() < 1e-3
    out.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_spectral_norm_against_svd() -> None:
    torch.manual_seed(0)
    layer = maybe_spectral_norm(nn.Linear(7, 5), True)
    for _ in range(100):  # one power iteration a forward pass in training mode
        layer(torch.randn(2, 7))
    assert torch.linalg.svdvals(layer.weight)[0].item() == pytest.approx(1.0, abs=1e-3)


def test_pixel_norm() -> None:
    out = PixelNorm()(torch.randn(2, 5, 3, 3) * 7)
    torch.testing.assert_close(out.square().mean(1), torch.ones(2, 3, 3), atol=1e-5, rtol=0)


def test_unknown_names() -> None:
    with pytest.raises(GanvasError, match="Unknown norm"):
        norm("layer", 4)
    with pytest.raises(GanvasError, match="Unknown activation"):
        activation("swoosh")
