"""What the files of tests/importers do not reach: strips, transforms, frozen weights, filters, the critic's heads."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import convolve2d

from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.latent.jacobian import jacobians
from ganvas.model import Model, ModelInfo
from ganvas.networks import stylegan2, winograd
from ganvas.networks.layers import MinibatchStd
from ganvas.networks.stylegan2 import Filter, StyleGAN2Critic, StyleGAN2Generator, halved
from ganvas.testing import check_style_based


def small(side: int = 32, **options: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    made = StyleGAN2Generator((3, side, side), 8, channel_base=128, channel_max=8, output="linear", **options)
    for layer in made.layers:
        torch.nn.init.normal_(layer.strength)  # type: ignore[arg-type]
        torch.nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    return made.eval()


@pytest.fixture
def strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer is large, and a strip is of 8 rows."""
    monkeypatch.setattr(stylegan2, "LARGE", 1)
    monkeypatch.setattr(stylegan2, "STRIP", 1)


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize(
    "taps", [(1, 3, 3, 1), (1, 2, 5, 3, 1), (1, 2), (1,), (1, 2, 1), (1, 5, 9, 10, 4, 1)]
)
@pytest.mark.usefixtures("strips")
def test_strips_draw_what_the_whole_draws(architecture: str, taps: tuple[float, ...]) -> None:
    generator = small(architecture=architecture, taps=taps, conv_clamp=2.0)
    z = torch.randn(3, 8)
    noise = [torch.randn(3, *shape) for shape in generator.noise_shapes]
    whole = generator(z).detach(), generator(z, noise=noise).detach()  # with a graph, nothing is cut
    with torch.no_grad():
        cut = generator(z), generator(z, noise=noise)
    for found, expected in zip(cut, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.usefixtures("strips")
def test_hidden_layers_and_transforms_see_the_whole_maps() -> None:
    generator = small().requires_grad_(False)
    model = Model(generator, None, ModelInfo.of(generator, "stylegan2"))
    z = model.latents(3)
    drawn = generator(z)
    for name in ("w", "w+", "styles", "layer:layers.4", "layer:layers.3"):
        space = open_space(model, name)
        if not name.startswith("layer:"):
            torch.testing.assert_close(space.decode(space.of(z)), drawn, rtol=0, atol=1e-4)
            continue
        points = space.of(z)
        assert points.shape == (3, 8, 16, 16)
        moved = space.decode(points + 1)
        assert float((moved - space.decode(points)).abs().max()) > 0.1, "what is put in goes on from there"
    w = open_space(model, "w")
    point = w.of(z[:1])
    _, columns = jacobians(w, point, lambda drawn: drawn.flatten(1))
    step = 1e-2 * torch.eye(generator.w_dim)[0]
    slope = ((w.decode(point + step) - w.decode(point - step)) / 2e-2).flatten()
    torch.testing.assert_close(columns[0, :, 0], slope, rtol=0.05, atol=0.02 * float(slope.abs().max()))


def test_frozen_weights_that_change_are_seen() -> None:
    generator = small().requires_grad_(False)
    z = torch.randn(2, 8)
    generator(z)
    with torch.no_grad():
        for layer in generator.layers:
            layer.weight.mul_(1 + torch.rand_like(layer.weight))  # type: ignore[operator,arg-type]
    found = generator(z)
    torch.testing.assert_close(found, generator.requires_grad_(True)(z).detach(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 5.0, 3.0, 1.0), (1.0, 2.0), (2.0,)])
def test_filters_against_scipy(taps: tuple[float, ...]) -> None:
    """Doubling is zeros between the pixels and a true convolution of gain 4; halving convolves and takes every second."""
    low_pass, n = Filter(taps), len(taps)
    kernel = np.outer(taps, taps) / sum(taps) ** 2
    x = torch.randn(1, 2, 6, 6)
    for channel, found in zip(x[0].double().numpy(), low_pass.up(x)[0], strict=True):
        spread = np.zeros((12, 12))
        spread[::2, ::2] = channel
        begin = n - 1 - (n + 1) // 2
        full = np.pad(convolve2d(spread, 4 * kernel), 1)[begin + 1 :, begin + 1 :]
        np.testing.assert_allclose(found.numpy(), full[:12, :12], atol=1e-6)
    for channel, found in zip(x[0].double().numpy(), halved(low_pass, x)[0], strict=True):
        begin = n - 1 - (n - 1) // 2
        full = convolve2d(np.pad(channel, 2), kernel)[begin + 2 :, begin + 2 :]
        np.testing.assert_allclose(found.numpy(), full[:6:2, :6:2], atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"architecture": "orig"}, {"architecture": "resnet"}, {"num_classes": 3, "embed_width": 5}, {"w_dim": 5}]
)  # fmt: skip
def test_the_steps_fit(options: dict[str, Any]) -> None:
    assert all(each.passed for each in check_style_based(small(16, **options)))
    bare = StyleGAN2Generator((3, 16, 16), 8, channel_base=128, channel_max=8, noise=False)
    assert bare.noise_shapes == []
    assert all(each.passed for each in check_style_based(bare.eval()))


def test_channels_of_minibatch_std() -> None:
    """The standard deviation over the group, its mean over the pixels and the channels of each part."""
    x = torch.randn(8, 6, 4, 4)
    found = MinibatchStd(4, 2)(x)
    assert found.shape == (8, 8, 4, 4)
    for group in (slice(0, 4), slice(4, 8)):
        for part in (0, 1):
            channels = x[group, 3 * part : 3 * part + 3]
            expected = channels.std(0, correction=0).mean()
            torch.testing.assert_close(found[group, 6 + part], expected.expand(4, 4, 4), atol=1e-5, rtol=1e-5)


def test_one_logit_a_class_is_chosen_by_the_label() -> None:
    critic = StyleGAN2Critic(
        (1, 8, 8), num_classes=3, channel_base=32, channel_max=4, label_outputs=True, std_group=0
    )
    x, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    every = critic.head(critic.features(x))
    assert every.shape == (6, 3)
    torch.testing.assert_close(critic(x, labels), every[range(6), labels])


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((3, 48, 48), {}, r"power of two, the data has 48. Add --resolution 64"),
        ((3, 16, 16), {"channel_base": 8}, "a width of at least 1"),
        ((3, 16, 16), {"widths": (4, 4)}, "a width of at least 1"),
        ((3, 16, 16), {"architecture": "skips"}, "knows no 'skips' here, but skip, resnet, orig"),
        ((3, 16, 16), {"activation": "gelu"}, "knows no 'gelu'"),
        ((3, 16, 16), {"taps": (1, -1)}, "sum is not 0"),
        ((3, 16, 16), {"taps": ("a",)}, "numbers whose sum is not 0"),
        ((3, 16, 16), {"taps": (1.0,) * 65}, "1 to 64 taps"),
        ((3, 16, 16), {"conv_clamp": "much"}, "conv_clamp of stylegan2 is a number above 0"),
        ((3, 16, 16), {"output": "clip"}, "output of tanh or linear"),
    ],
)
def test_what_cannot_be_built_says_why(shape: tuple[int, ...], options: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        StyleGAN2Generator(shape, 8, **options)


def test_a_saved_file_draws_the_same(tmp_path: Path) -> None:
    import ganvas
    from ganvas.config import Config, NetworkConfig
    from ganvas.networks import build_generator

    options = {"widths": [8, 8, 4], "output": "linear", "taps": [1, 2, 5, 3, 1], "conv_clamp": 256.0}
    config = Config(network=NetworkConfig("stylegan2", 8, generator=options))
    generator = build_generator(config.network, (3, 16, 16), 0).eval().requires_grad_(False)
    info = ModelInfo.of_run(generator, config, {})
    model = Model(generator, None, info)
    model.save(tmp_path / "model.safetensors")
    again = ganvas.load(tmp_path / "model.safetensors", device="cpu")
    z = model.latents(3)
    assert torch.equal(again.generator(z), generator(z))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("count", [1, 3])
def test_fewer_products_are_the_same_convolution(
    size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3 x 3 pixels, with their border: as torch convolves them in float64; in one part, and in many."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, size, size, generator=random)
    weight = torch.randn(7, 5, 3, 3, generator=random)
    expected = F.conv2d(x.double(), weight.double(), padding=1)
    for held in (winograd.HELD, 16 * 5 * size, 1):
        monkeypatch.setattr(winograd, "HELD", held)
        padded = F.pad(x, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
        found = winograd.convolved(padded, winograd.kernels(weight)).double()
        assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_frozen_layers_take_fewer_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pictures that a network which learns draws; new weights are seen, and a copy keeps nothing."""
    monkeypatch.setattr(winograd, "FEWEST", 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    made = StyleGAN2Generator((3, 64, 64), 8, channel_base=512, channel_max=16, output="linear").eval()
    calls: list[int] = []
    true = winograd.convolved
    monkeypatch.setattr(winograd, "convolved", lambda x, k: (calls.append(x.shape[2] - 2), true(x, k))[1])
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    for large in (stylegan2.LARGE, 1):  # whole, and in strips
        monkeypatch.setattr(stylegan2, "LARGE", large)
        for _ in range(2):
            with torch.no_grad():
                for weight in made.parameters():
                    weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
            expected = made.requires_grad_(True)(z).detach()
            calls.clear()
            with torch.inference_mode():
                found = made.requires_grad_(False)(z)
            assert set(calls) & {32, 64}
            assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    copied = copy.deepcopy(made)
    assert not any(layer._kept.made for layer in copied._layers())
