"""The StyleGAN3 generator against its published formulas, written out the slow way, and what they promise."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from scipy.special import i0, j1
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.foreign import wrap
from ganvas.latent import open_space
from ganvas.latent.jacobian import jacobians
from ganvas.networks import stylegan3
from ganvas.networks.stylegan3 import (
    StyleGAN3Generator,
    bands,
    coarse_bands,
    lowpass,
    nearer,
    placement,
    radial_lowpass,
)
from ganvas.testing import check_style_based

T = {"channel_base": 128, "channel_max": 6, "num_layers": 6, "margin_size": 5, "output": "linear"}
R = {**T, "conv_kernel": 1, "use_radial_filters": True}


def generator(side: int = 32, seed: int = 0, **options: Any) -> StyleGAN3Generator:
    """Weights as after training: nothing is 0 or 1."""
    torch.manual_seed(seed)
    made = StyleGAN3Generator((2, side, side), 8, **{**T, **options})
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
        made.input.affine.weight.normal_()
        for layer in made._layers():
            layer.magnitude_ema.fill_(0.5 + float(torch.rand(())))  # type: ignore[operator]
    return made.eval().requires_grad_(False)


def slow(made: StyleGAN3Generator, w_plus: Tensor, transform: np.ndarray | None = None) -> np.ndarray:
    """One sample (2, H, W) in float64 from the appendices: zeros inserted, whole two-dimensional filters, one weight a sample."""
    w = w_plus.double().numpy()
    held = {name: tensor.double().numpy() for name, tensor in made.state_dict().items()}
    signal = made.bands

    def affine(name: str, row: int) -> np.ndarray:
        return held[f"{name}.affine.weight"] @ w[row] / math.sqrt(w.shape[1]) + held[f"{name}.affine.bias"]

    c, s, x, y = affine("input", 0)
    length = math.hypot(c, s)
    c, s, x, y = c / length, s / length, x / length, y / length
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    matrix = matrix @ (held["input.transform"] if transform is None else transform)
    first = signal[0]
    phase = held["input.phases"] + held["input.freqs"] @ matrix[:2, 2]
    freqs = held["input.freqs"] @ matrix[:2, :2]
    amplitude = 1 - (np.linalg.norm(freqs, axis=1) - first.cutoff) / (first.rate / 2 - first.cutoff)
    at = (2 * (np.arange(first.size) + 0.5) / first.size - 1) * first.size / (2 * first.rate)
    places = np.stack(np.meshgrid(at, at), 2)
    waves = np.sin(2 * np.pi * (places @ freqs.T + phase)) * amplitude.clip(0, 1)
    maps = (waves @ held["input.weight"].T / math.sqrt(first.channels)).transpose(2, 0, 1)
    for i, after in enumerate(signal):
        before, last = signal[max(i - 1, 0)], i == len(signal) - 1
        name = f"layers.{i}"
        weight, style = held[f"{name}.weight"], affine(name, i + 1)
        if last:
            weight = weight * (style / math.sqrt(len(style)))[:, None, None]
        else:
            weight = weight / np.sqrt((weight**2).mean((1, 2, 3), keepdims=True))
            weight = weight * (style / np.sqrt((style**2).mean()))[:, None, None]
            weight = weight / np.sqrt((weight**2).sum((1, 2, 3), keepdims=True) + 1e-8)
        weight = weight / np.sqrt(held[f"{name}.magnitude_ema"])
        kernel = weight.shape[2]
        maps = np.stack(
            [sum(scipy.signal.convolve2d(m, k[::-1, ::-1]) for m, k in zip(maps, row, strict=True)) for row in weight]
        )  # fmt: skip
        maps = maps + held[f"{name}.bias"][:, None, None]
        if not last:
            fine = 2 * max(before.rate, after.rate)
            up, down = fine // before.rate, fine // after.rate
            up_taps, down_taps = held[f"{name}.up_filter"], held[f"{name}.down_filter"]
            if down_taps.ndim == 1:
                down_taps = np.outer(down_taps, down_taps)
            pad = (
                (after.size - 1) * down
                + 1
                - (before.size + kernel - 1) * up
                + len(up_taps)
                + len(down_taps)
                - 2
            )
            low = (pad + up) // 2
            high = pad - low
            spread = np.zeros((len(maps), maps.shape[1] * up, maps.shape[2] * up))
            spread[:, ::up, ::up] = maps
            spread = np.pad(spread, ((0, 0), (max(low, 0), max(high, 0)), (max(low, 0), max(high, 0))))
            cut = slice(max(-low, 0), spread.shape[1] - max(-high, 0))
            spread = spread[:, cut, cut]
            raised = [scipy.signal.convolve2d(m, np.outer(up_taps, up_taps) * up**2, "valid") for m in spread]
            bent = np.where(np.stack(raised) < 0, 0.2, 1) * np.stack(raised) * math.sqrt(2)
            maps = np.stack(
                [scipy.signal.convolve2d(m, down_taps, "valid")[::down, ::down] for m in bent.clip(-256, 256)]
            )
        assert maps.shape[1] == after.size
    return np.asarray(maps.clip(-256, 256) * 0.25)


@pytest.mark.parametrize("strip", [stylegan3.STRIP, 1])
@pytest.mark.parametrize(
    "options",
    [
        T,
        R,
        {**T, "num_critical": 1, "margin_size": 0, "filter_size": 4, "conv_kernel": 5},
        {**R, "last_stopband_rel": 2**0.8, "num_layers": 9, "filter_size": 3, "margin_size": 6},
    ],
)
def test_it_is_the_published_formulas(
    options: dict[str, Any], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stylegan3, "STRIP", strip)
    made = generator(**options)
    assert len({band.rate for band in made.bands}) > 1, "a layer raises the rate"
    w_plus = torch.randn(2, made.num_layers, 8)
    found = made.synthesis(made.styles(w_plus)).numpy()
    turned = placement(30, 0.05, 0.1)
    moved = made.synthesis(made.styles(w_plus), transform=torch.stack([torch.eye(3), turned])).numpy()
    for i in range(2):
        expected = slow(made, w_plus[i])
        np.testing.assert_allclose(found[i], expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    np.testing.assert_allclose(moved[0], found[0], atol=1e-6)
    expected = slow(made, w_plus[1], turned.double().numpy())
    np.testing.assert_allclose(moved[1], expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_gradients_are_those_of_differences() -> None:
    """In double precision, through strips of no graph and the graph."""
    for options in (T, R):
        made = generator(16, **options).double()
        w = torch.randn(2, made.num_layers, 8, dtype=torch.float64)
        step, weights = torch.randn_like(w), torch.randn(2, 2, 16, 16, dtype=torch.float64)
        w.requires_grad_(True)
        (gradient,) = torch.autograd.grad((made.synthesis(made.styles(w)) * weights).sum(), w)
        with torch.no_grad():
            high, low = ((made.synthesis(made.styles(w + h * step)) * weights).sum() for h in (1e-6, -1e-6))
        torch.testing.assert_close((gradient * step).sum(), (high - low) / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch itself loads for forward mode
def test_forward_differentiation_passes_through_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator(16)
    z, step = torch.randn(2, 1, 8)
    expected = torch.autograd.functional.jacobian(made, z)[0, :, :, :, 0] @ step[0]
    monkeypatch.setattr(stylegan3, "STRIP", 1)
    with torch.no_grad():
        _, found = torch.func.jvp(made, (z,), (step,))
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)


def test_jacobians() -> None:
    made = generator(16)
    space = open_space(wrap(made, latent_dim=8, output=lambda x: x[:, :1]), "z")
    z = torch.randn(1, 8)
    _, found = jacobians(space, z, lambda samples: samples.flatten(1))
    expected = torch.autograd.functional.jacobian(made, z)[0, 0, :, :, 0].flatten(0, 1)
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)


def test_the_published_sizes() -> None:
    """Configuration T at 1024 px: the layers of the paper's table, by the names that its files have."""
    found = bands(1024, 3)
    assert [f"L{i}_{band.size}_{band.channels}" for i, band in enumerate(found)] == [
        "L0_36_512", "L1_36_512", "L2_52_512", "L3_52_512", "L4_84_512", "L5_148_512", "L6_148_512", "L7_276_323",
        "L8_276_203", "L9_532_128", "L10_1044_81", "L11_1044_51", "L12_1044_32", "L13_1024_32", "L14_1024_3",
    ]  # fmt: skip


def test_the_filters_are_kaiser_windows_on_sinc_and_jinc() -> None:
    taps, cutoff, width, rate = 12, 3.0, 4.0, 32.0
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    at = (np.arange(taps) - (taps - 1) / 2) / rate
    window = i0(beta * np.sqrt(1 - (2 * at * rate / (taps - 1)) ** 2)) / i0(beta)
    expected = np.sinc(2 * cutoff * at) * window
    np.testing.assert_allclose(lowpass(taps, cutoff, width, rate), expected / expected.sum(), atol=1e-7)
    np.testing.assert_allclose(
        lowpass(taps, cutoff, width, rate),
        scipy.signal.firwin(taps, cutoff, width=width, fs=rate),
        atol=1e-7,
    )
    radius = np.hypot(*np.meshgrid(at, at))
    expected = 2 * cutoff * j1(2 * np.pi * cutoff * radius) / radius * np.outer(window, window)
    np.testing.assert_allclose(
        radial_lowpass(taps, cutoff, width, rate), expected / expected.sum(), atol=1e-7
    )


def test_the_image_follows_a_turn_of_its_input() -> None:
    """A quarter turn maps samples onto samples: R gives the turned image to the last digits, anticlockwise; T does not."""
    z = torch.randn(3, 8)
    for options, exact in ((R, True), (T, False)):
        made = generator(**options)
        expected = torch.rot90(made(z), 1, (2, 3))
        made.transform = placement(90)
        apart = float((made(z) - expected).abs().max()) / float(expected.abs().max())
        assert (apart < 2e-5) == exact, apart


@pytest.mark.parametrize("options", [T, R])
def test_the_image_follows_a_shift_of_its_input(options: dict[str, Any]) -> None:
    """By a sample of the coarsest map, a sixteenth of the width: to the right and down; the border comes in at the edges."""
    made = generator(**{**options, "margin_size": 12})
    made.input.affine.weight.zero_()
    z = torch.randn(3, 8)
    plain = made(z)
    made.transform = placement(0, 1 / 16, 2 / 16)
    inside = made(z)[:, :, 12:24, 12:24]
    shifted, still = plain[:, :, 8:20, 10:22], plain[:, :, 12:24, 12:24]
    assert float((inside - shifted).square().mean()) < 1e-3 * float((inside - still).square().mean())


def test_fresh_layers_keep_the_variance() -> None:
    torch.manual_seed(0)
    made = StyleGAN3Generator((3, 64, 64), 16, channel_max=32, output="linear").eval()
    sizes: list[float] = []
    for layer in made.layers:
        layer.register_forward_pre_hook(lambda module, given: sizes.append(float(given[0].square().mean())))
    with torch.no_grad():
        made(torch.randn(8, 16))
    # The filters take what lies above the band; without the running mean square it fades slowly.
    assert 0.2 < sizes[0] < 0.8, "sines have a mean square of a half"
    assert all(later > 0.4 * before for before, later in pairwise(sizes[1:]))


def test_training_keeps_the_mean_square_of_each_input_and_of_w() -> None:
    made = generator(16, magnitude_decay=0.5).train()
    seen: list[Tensor] = []
    made.layers[3].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    before = made.layers[3].magnitude_ema.clone()  # type: ignore[operator,union-attr]
    z = torch.randn(4, 8)
    made(z)
    expected = 0.5 * before + 0.5 * seen[0].square().mean()
    torch.testing.assert_close(made.layers[3].magnitude_ema, expected)
    torch.testing.assert_close(made.w_mean, made.mapping(z).mean(0) * (1 - 0.998))


def test_a_class_is_a_vector_beside_z() -> None:
    made = generator(16, num_classes=3)
    z, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 1])
    assert isinstance(made.embed, nn.Embedding)
    x = torch.cat(
        [
            z / z.square().mean(1, keepdim=True).sqrt(),
            made.embed.weight[labels] / made.embed.weight[labels].square().mean(1, keepdim=True).sqrt(),
        ],
        1,
    )
    for layer in made.map:
        x = x @ (layer.weight.t() * 0.01 / x.shape[1] ** 0.5) + 0.01 * layer.bias  # type: ignore[operator]
        x = torch.where(x < 0, 0.2 * x, x) * 2**0.5
    torch.testing.assert_close(made.mapping(z, labels), x)
    with pytest.raises(GanvasError, match="conditional"):
        made(z)


@pytest.mark.parametrize("options", [{}, {"num_classes": 3}, {"w_dim": 5}, R])
def test_the_steps_fit_each_other_from_the_start(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    found = check_style_based(StyleGAN3Generator((3, 16, 16), 8, **{**T, **options}))
    assert all(each.passed for each in found), [str(each) for each in found]


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_reduced_precision_stays_near(dtype: torch.dtype) -> None:
    made = generator()
    z = torch.randn(3, 8)
    expected = made(z)
    with torch.autocast("cpu", dtype):
        found = made(z)
    assert found.dtype == torch.float32
    assert float((found - expected).square().mean().sqrt()) < 0.05 * float(expected.square().mean().sqrt())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_critical": 0}, "num_critical"),
        ({"num_layers": 2}, "more num_layers than num_critical"),
        ({"margin_size": -1}, "margin_size from 0"),
        ({"lrelu_upsampling": 3}, "lrelu_upsampling of 2"),
        ({"filter_size": 1000}, "filter_size times lrelu_upsampling to 64"),
        ({"conv_kernel": 101}, "conv_kernel to 15"),
        ({"num_layers": 65}, "more num_layers than num_critical, to 64"),
        ({"first_cutoff": 8.0}, r"first_cutoff < 8 \(half the side\)"),
        ({"widths": (4, 4)}, "each of its 6 layers"),
        ({"output": "sigmoid"}, "an output of tanh or"),
        ({"conv_clamp": -1.0}, "conv_clamp from 0"),
    ],
)
def test_what_is_no_network_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        StyleGAN3Generator((1, 16, 16), 8, **{**T, **options})


# --- coarse pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [T, R], ids=["T", "R"])
def test_a_coarse_picture_is_of_the_same_point(options: dict[str, Any]) -> None:
    made = generator(64, **options)
    assert made.coarse_sides == (16, 32)
    z = torch.randn(6, 8)
    whole = made(z)
    for side, most in ((16, 0.3), (32, 0.2)):
        coarse = made.at(side)
        seen, wanted = coarse(z), F.avg_pool2d(whole, 64 // side)
        spread = (wanted - wanted.mean(0)).square().mean()

        def away(pictures: Tensor, wanted: Tensor = wanted, spread: Tensor = spread) -> float:
            """Mean square from the whole pictures, by what two points differ."""
            return float(((pictures - wanted).square().mean() / spread).sqrt())

        assert away(seen) < most
        assert away(seen.roll(1, 0)) > 1  # those of other points
        # bfloat16 rounds, where the hardware has it.
        assert torch.allclose(coarse(z[2:3])[0], seen[2], atol=0.02)
    assert made(z).equal(whole)
    with pytest.raises(GanvasError, match="no picture of 64 px"):
        made.at(64)


def test_a_coarse_picture_moves_along() -> None:
    made = generator(64)
    z, moved = torch.randn(3, 8), placement(90.0, 0.0, 0.0)
    seen = made.placed(moved).at(32)(z)
    wanted = F.avg_pool2d(made.placed(moved)(z), 2)
    assert (seen - wanted).square().mean() < 0.1 * (made.at(32)(z) - wanted).square().mean()


def test_the_taps_of_a_kernel_come_nearer() -> None:
    assert nearer(3, 1.0).equal(torch.eye(3))
    # The outer taps lie half a sample from the middle at half the rate: each is shared between two places.
    assert nearer(3, 2.0).equal(torch.tensor([[0.5, 0.0, 0.0], [0.5, 1.0, 0.5], [0.0, 0.0, 0.5]]))
    for taps, factor in ((1, 4.0), (3, 8.0), (5, 3.0)):  # what a constant signal becomes stays as it was
        assert torch.allclose(nearer(taps, factor).sum(0), torch.ones(taps))


def test_coarse_layers_keep_what_fits() -> None:
    made = generator(64)
    lower = coarse_bands(made.bands, 16)
    assert [band.rate for band in lower] == [min(band.rate, 16) for band in made.bands]
    assert lower[-1].size == lower[-2].size == 16
    for band in lower:
        assert 0 < band.cutoff < band.cutoff + band.half_width
        assert band.cutoff <= 8
