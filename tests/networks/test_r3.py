"""R3GAN's parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
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


def conv(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[2] // 2, groups=groups)


def fir(x: Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> Tensor:
    """Zeros between the pixels, zeros around them, the filter [1, 3, 3, 1] / 8 in both directions, every `down`-th pixel."""
    wide = torch.zeros(*x.shape[:2], up * x.shape[2], up * x.shape[3], dtype=x.dtype)
    wide[:, :, ::up, ::up] = x
    taps = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 8
    wide = F.pad(wide, (*pad, *pad)).flatten(0, 1)[:, None]
    return F.conv2d(wide, gain * (taps[:, None] * taps)[None, None], stride=down).reshape(
        *x.shape[:2], up * x.shape[2] // down, -1
    )


def published_block(x: Tensor, w: dict[str, Tensor], name: str, group: int) -> Tensor:
    """conv 1 x 1 - bias, leaky ReLU - grouped conv 3 x 3 - bias, leaky ReLU - conv 1 x 1, added to the input."""
    y = conv(x, w[f"{name}.widen.weight"])
    y = F.leaky_relu(y + w[f"{name}.widen.bias"][:, None, None], 0.2)
    y = conv(y, w[f"{name}.mix.weight"], groups=y.shape[1] // group)
    y = F.leaky_relu(y + w[f"{name}.mix.bias"][:, None, None], 0.2)
    return x + conv(y, w[f"{name}.narrow.weight"])


def foreign(network: nn.Module) -> dict[str, Tensor]:
    """Weights as somebody else's training leaves them: none is zero, biases included."""
    random = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        spread = 0.3 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
        parameter.data = spread * torch.randn(parameter.shape, generator=random, dtype=torch.float64)
    return {name: value.detach() for name, value in network.state_dict().items()}


def test_the_published_generator_written_out() -> None:
    """Widths 8, 8, 4 over three stages of two blocks: maps - (1 x 1 where the width changes) - up - blocks - 1 x 1, linear."""
    g = R3Generator(
        (3, 16, 16), 6, num_classes=5, channels=4, max_channels=8, blocks=2, group=4, published=True
    )
    w = foreign(g.double())
    random = torch.Generator().manual_seed(0)
    z, labels = torch.randn(3, 6, generator=random).double(), torch.tensor([0, 4, 2])
    mixed = torch.cat([z, w["embed.weight"][labels]], 1) @ w["first.weight"].t()
    x = w["basis"] * mixed[:, :, None, None]
    place = 0
    for stage in range(3):
        if stage:
            if f"layers.{place}.change.weight" in w:
                x = conv(x, w[f"layers.{place}.change.weight"])
            x = fir(x, 2, 1, (2, 1), 4)
            place += 1
        for _ in range(2):
            x = published_block(x, w, f"layers.{place}", 4)
            place += 1
    expected = conv(x, w["last.weight"])
    assert "last.bias" not in w
    torch.testing.assert_close(g(z, labels), expected.float(), atol=1e-5, rtol=1e-5)
    assert expected.abs().max() > 1, "no tanh"


def test_the_published_critic_written_out() -> None:
    c = R3Critic((3, 16, 16), num_classes=5, channels=4, max_channels=8, blocks=2, group=4, published=True)
    w = foreign(c.double())
    image, labels = torch.randn(3, 3, 16, 16).double(), torch.tensor([0, 4, 2])
    x = conv(image, w["layers.0.weight"])
    assert "layers.0.bias" not in w
    place = 1
    for stage in range(3):
        if stage:
            x = fir(x, 1, 2, (1, 1), 1)
            if f"layers.{place}.change.weight" in w:
                x = conv(x, w[f"layers.{place}.change.weight"])
            place += 1
        for _ in range(2):
            x = published_block(x, w, f"layers.{place}", 4)
            place += 1
    numbers = (x * w[f"layers.{place}.weight"][:, 0]).sum((2, 3)) @ w["last.weight"].t()
    expected = (numbers * w["embed.weight"][labels]).sum(1)
    torch.testing.assert_close(c(image, labels), expected, atol=1e-10, rtol=1e-9)


def test_the_published_spread_of_the_first_weights() -> None:
    """He's for a leaky ReLU times depth^(-1/4) in two layers of a block, zero in the third; else one over the root of the fan."""
    torch.manual_seed(0)
    he = (2 / (1 + 0.2**2)) ** 0.5
    blocks = 2 * 3
    g = R3Generator((3, 16, 16), 64, num_classes=10, channels=96, max_channels=96, published=True)
    c = R3Critic((3, 16, 16), num_classes=10, channels=96, max_channels=96, published=True)
    block = g.layers[0]
    for weight, expected in (
        (g.basis, 1.0),
        (g.first.weight, 128**-0.5),
        (g.last.weight, 96**-0.5),
        (g.embed.weight, 10**-0.5),  # type: ignore[union-attr]
        (block.widen.weight, he * blocks**-0.25 * 96**-0.5),
        (block.mix.weight, he * blocks**-0.25 * (16 * 9) ** -0.5),
        (c.layers[0].weight, 3**-0.5),
        (c.layers[-2].weight, 1 / 4),
        (c.last.weight, 96**-0.5),
        (c.embed.weight, (96 * 10) ** -0.5),  # type: ignore[union-attr]
    ):
        assert float(weight.detach().std()) == pytest.approx(expected, rel=0.12)  # type: ignore[union-attr,operator]
    assert float(block.narrow.weight.detach().abs().max()) == 0  # type: ignore[union-attr,operator]


def test_without_labels_the_published_critic_has_one_number() -> None:
    c = R3Critic((1, 8, 8), channels=4, published=True)
    assert c.last.weight.shape == (1, 8)
    auxiliary = R3Critic((1, 8, 8), num_classes=3, channels=4, published=True, auxiliary=True)
    assert auxiliary.last.weight.shape == (1, 8)
    assert auxiliary.answer(torch.randn(2, 1, 8, 8), torch.tensor([0, 1])).classes is not None


def test_every_size_may_have_widths_blocks_and_groups_of_its_own() -> None:
    """Given from the full size down; what is the same for all draws the same weights as one number."""
    options = {
        "widths": (6, 12, 4),
        "counts": (1, 3, 2),
        "groups": (3, 8, 2),
        "class_dim": 5,
        "published": True,
    }
    g = R3Generator((3, 16, 16), 7, num_classes=2, **options)  # type: ignore[arg-type]
    c = R3Critic((3, 16, 16), num_classes=2, **options)  # type: ignore[arg-type]
    for network, order in ((g, [4, 4, 12, 12, 12, 6]), (c, [6, 12, 12, 12, 4, 4])):
        blocks = [layer for layer in network.layers if isinstance(layer, ResidualBlock)]
        assert [block.narrow.out_channels for block in blocks] == order
        sizes = {6: 3, 12: 8, 4: 2}
        assert [block.mix.weight.shape[1] for block in blocks] == [sizes[width] for width in order]
    assert g.first.weight.shape == (4, 12)
    assert c.last.weight.shape == (5, 4)
    labels = torch.tensor([0, 1])
    assert c(g(torch.randn(2, 7), labels), labels).shape == (2,)
    states = []
    for given in ({"blocks": 2, "channels": 4, "max_channels": 8}, {"counts": (2, 2), "widths": (4, 8)}):
        torch.manual_seed(0)
        states.append(R3Generator((3, 8, 8), 7, **given).state_dict())  # type: ignore[arg-type]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": (4,)}, "widths from 1, one for each of the 2 sizes"),
        ({"counts": (1, 2, 3)}, "counts from 1, one for each of the 2 sizes"),
        ({"blocks": 0}, "counts from 1"),
        ({"groups": (4, 0)}, "groups from 1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        R3Generator((3, 8, 8), 7, channels=4, **options)  # type: ignore[arg-type]
    with pytest.raises(GanvasError, match=said):
        R3Critic((3, 8, 8), channels=4, **options)  # type: ignore[arg-type]
    with pytest.raises(GanvasError, match="class_dim as published alone"):
        R3Critic((3, 8, 8), channels=4, num_classes=2, class_dim=3)
