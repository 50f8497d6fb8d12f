"""R3GAN's parts."""

import pytest
import torch

from ganvas.networks.layers import bilinear_down, bilinear_up
from ganvas.networks.r3 import R3Critic, R3Generator, ResidualBlock


def test_a_new_block_is_the_identity() -> None:
    block = ResidualBlock(8, 2, 4, depth=6)
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), x)
    assert block.mix.groups == 4
    assert block.mix.weight.shape == (16, 4, 3, 3)


def test_resampling_filters() -> None:
    """An impulse spreads as [1, 3, 3, 1]; halving is the transpose of doubling over four, and keeps constants."""
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 2, 2] = 1
    row = torch.tensor([1.0, 3, 3, 1]) / 4
    torch.testing.assert_close(bilinear_up(x)[0, 0, 3:7, 3:7], row[:, None] * row)
    down = bilinear_down(
        torch.zeros(1, 1, 8, 8).index_put((*map(torch.tensor, ([0], [0], [4], [4])),), torch.ones(1))
    )
    assert down.sum() == pytest.approx(0.25)
    torch.manual_seed(0)
    a, b = torch.randn(1, 1, 12, 12), torch.zeros(1, 1, 6, 6)
    b[:, :, 2:4, 2:4] = torch.randn(2, 2)  # away from the border
    assert (bilinear_down(a) * b).sum().item() == pytest.approx(
        (a * bilinear_up(b)).sum().item() / 4, rel=1e-4
    )
    torch.testing.assert_close(bilinear_down(torch.ones(1, 1, 8, 8)), torch.ones(1, 1, 4, 4))


def test_no_norms_anywhere() -> None:
    for network in (R3Generator((3, 32, 32), 8, channels=8), R3Critic((3, 32, 32), channels=8)):
        assert not any("Norm" in type(module).__name__ for module in network.modules())
