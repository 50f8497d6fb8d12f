"""The style-based pair against its equations, written out the slow way."""

import math

import pytest
import torch
import torch.nn.functional as F

from ganvas.errors import GanvasError
from ganvas.losses.auxiliary import path_lengths
from ganvas.networks.style import Modulated, StyleCritic, StyleGenerator


def generator(shape: tuple[int, int, int] = (1, 16, 16), **options: object) -> StyleGenerator:
    torch.manual_seed(0)
    made = StyleGenerator(shape, 8, **{"channels": 4, **options})  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in made.layers:
            layer.strength.fill_(0.3)  # type: ignore[operator,union-attr]
    return made.eval()


@pytest.mark.parametrize("up", [False, True])
def test_modulation_is_a_convolution_with_weights_of_its_own_for_each_sample(up: bool) -> None:
    """Equations 1 and 3 of StyleGAN2: scale the weights by the style, divide by their norm, convolve sample by sample."""
    torch.manual_seed(0)
    layer = Modulated(3, 5, 6, size=(8, 8), up=up)
    x, style = torch.randn(4, 3, 4 if up else 8, 4 if up else 8), torch.randn(4, 3)
    with torch.no_grad():
        layer.strength.fill_(0.7)
        layer.bias.normal_()
    found = layer(x, style)
    weight = layer.weight * layer.scale
    for i in range(4):
        modulated = weight * (style[i, :, None, None, None] if up else style[i, None, :, None, None])
        axes = (0, 2, 3) if up else (1, 2, 3)
        norm = modulated.square().sum(axes) / (4 if up else 1)
        if up:
            out = F.conv_transpose2d(
                x[i : i + 1], modulated / norm.sqrt()[None, :, None, None], stride=2, padding=1
            )
        else:
            out = F.conv2d(x[i : i + 1], modulated / norm.sqrt()[:, None, None, None], padding=1)
        out = out + 0.7 * layer.noise + layer.bias[:, None, None]  # type: ignore[operator]
        torch.testing.assert_close(found[i], F.leaky_relu(out[0], 0.2) * math.sqrt(2), atol=1e-4, rtol=1e-4)


def test_the_variance_stays_near_one_through_the_layers() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 32, 8, 8)
    for up in (False, True, False):
        layer = Modulated(32, 32, 8, size=(x.shape[2] * (2 if up else 1),) * 2, up=up)
        x = layer(x, torch.ones(16, 32) + 0.3 * torch.randn(16, 32))
        # The mean square of sqrt(2) leaky(y, 0.2) of a unit normal y is 1.04.
        assert x.square().mean().item() == pytest.approx(1.04, rel=0.25)


def test_the_spaces_lead_to_the_same_image() -> None:
    g = generator()
    z = torch.randn(3, 8)
    w = g.mapping(z)
    w_plus = g.broadcast(w)
    assert w.shape == (3, g.w_dim)
    assert w_plus.shape == (3, g.num_layers, g.w_dim)
    styles = g.styles(w_plus)
    assert len(styles) == len(g.layers) + len(g.to_image)
    assert torch.equal(g(z), g.synthesis(styles))
    scaled = g.mapping(3 * z)
    torch.testing.assert_close(scaled, w, msg="the length of z does not matter: it is normalised")


@pytest.mark.parametrize("last_up", [False, True])
def test_every_row_of_w_plus_matters(last_up: bool) -> None:
    g = generator(last_up=last_up)
    w_plus = g.broadcast(g.mapping(torch.randn(2, 8))).detach().clone().requires_grad_(True)
    g.synthesis(g.styles(w_plus)).square().sum().backward()
    assert w_plus.grad is not None
    assert (w_plus.grad.abs().amax((0, 2)) > 0).all()


def test_truncation() -> None:
    g = generator()
    with torch.no_grad():
        g.w_mean.normal_()  # type: ignore[operator,union-attr]
    w = torch.randn(3, 8)
    assert torch.equal(g.truncate(w, 1.0), g.w_mean + (w - g.w_mean))  # type: ignore[operator]
    torch.testing.assert_close(g.truncate(w, 0.0), g.w_mean.expand(3, -1))  # type: ignore[operator,union-attr]
    part = g.truncate(g.broadcast(w), 0.0, layers=2)
    torch.testing.assert_close(part[:, :2], g.w_mean.expand(3, 2, -1))  # type: ignore[operator,union-attr]
    torch.testing.assert_close(part[:, 2:], g.broadcast(w)[:, 2:])


def test_the_mean_of_w_follows_in_training_only() -> None:
    g = generator()
    z = torch.randn(256, 8)
    g(z)
    assert torch.equal(g.w_mean, torch.zeros(8))  # type: ignore[arg-type]
    g.train()
    for _ in range(3000):
        g.mapping(z)
    with torch.no_grad():
        for _ in range(2000):
            g(z[:4])
    target = g.mapping(z[:4]).mean(0)
    torch.testing.assert_close(g.w_mean, target * (1 - 0.998**2000), atol=1e-4, rtol=1e-3)  # type: ignore[arg-type]


def test_style_mixing_takes_the_late_layers_from_the_second_latent() -> None:
    g = generator()
    z, other = torch.randn(2, 8), torch.randn(2, 8)
    cut = torch.tensor([2, g.num_layers])
    mixed = g(z, mix=other, cut=cut)
    w_plus = g.broadcast(g.mapping(z)).clone()
    w_plus[0, 2:] = g.mapping(other)[0]
    torch.testing.assert_close(mixed, g.synthesis(g.styles(w_plus)))
    torch.testing.assert_close(mixed[1], g(z)[1])


def test_training_inputs_mix_as_often_as_asked() -> None:
    g = generator(style_mixing=0.9)
    random = torch.Generator().manual_seed(0)
    inputs = g.training_inputs(
        lambda *s: torch.randn(4000, *s, generator=random), lambda *s: torch.rand(4000, *s, generator=random)
    )
    share = (inputs["cut"] < g.num_layers).float().mean().item()
    assert share == pytest.approx(0.9, abs=0.02)
    assert inputs["cut"].min() == 1
    assert [n.shape[1:] for n in inputs["noise"]] == [(1, *layer.size) for layer in g.layers]
    assert "mix" not in generator(style_mixing=0.0).training_inputs(
        lambda *s: torch.zeros(2, *s), lambda *s: torch.zeros(2, *s)
    )


def test_path_lengths_of_a_linear_map() -> None:
    """For images = A w the expected squared length over random y is the squared Frobenius norm of A over H W."""
    torch.manual_seed(0)
    a = torch.randn(6, 1 * 4 * 4)
    w_plus = torch.randn(5000, 1, 6, requires_grad=True)
    images = (w_plus[:, 0] @ a).reshape(-1, 1, 4, 4)
    lengths = path_lengths(images, w_plus, torch.randn(5000, 1, 4, 4))
    assert lengths.square().mean().item() == pytest.approx(a.square().sum().item() / 16, rel=0.03)


def test_sizes_and_attention() -> None:
    for side in (16, 28, 256):
        g = generator((3, side, side), channels=2, max_channels=4)
        assert g(torch.randn(1, 8)).shape == (1, 3, side, side)
    plain = StyleCritic((1, 16, 16), channels=4)
    for attention in (16, 8, 4):
        critic = StyleCritic((1, 16, 16), channels=4, attention=attention)
        extra = sum(p.numel() for p in critic.parameters()) - sum(p.numel() for p in plain.parameters())
        assert extra > 0
        assert critic(torch.randn(4, 1, 16, 16)).shape == (4,)


def test_the_image_is_a_tanh_of_the_sum_or_as_published_the_sum() -> None:
    """The same weights, so files of before draw what they drew."""
    bounded, linear = generator(), generator(output="linear")
    linear.load_state_dict(bounded.state_dict())
    z = 3 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert linear(z).abs().max() > 1
    torch.testing.assert_close(bounded(z), linear(z).tanh())
    with pytest.raises(GanvasError, match=r"Unknown output 'relu' .* Known: tanh, linear"):
        generator(output="relu")
