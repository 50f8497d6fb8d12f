"""Parts of lucidrains' generators, by their formulas. Whole files: tests/importers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.model import Model, ModelInfo
from ganvas.networks.lightweight import Excitation, LightweightGenerator, NearAndFar, Stage
from ganvas.networks.lucidrains import LinearAttention, LucidrainsGenerator, Modulated, blurred


def test_the_blur_mirrors_the_border() -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 1] = 16
    down, across = (
        torch.tensor([2.0, 1, 0, 0]),
        torch.tensor([2.0, 2, 1, 0]),
    )  # beyond column 0 lies column 1 again
    torch.testing.assert_close(blurred(x)[0, 0], down[:, None] * across)
    torch.testing.assert_close(blurred(torch.ones(1, 2, 5, 5)), torch.ones(1, 2, 5, 5))


def test_a_convolution_written_out_for_each_sample() -> None:
    """Weights (style + 1), of unit length for each output; noise on its side, cropped; leaky ReLU."""
    random = torch.Generator().manual_seed(0)
    layer = Modulated(3, 5, 4)
    assert layer.noise is not None
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random)
    x, style = torch.randn(2, 3, 4, 4, generator=random), torch.randn(2, 3, generator=random)
    noise = torch.rand(2, 1, 8, 8, generator=random)
    for i in range(2):
        weight = layer.weight * (style[i] + 1)[:, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        maps = torch.stack(
            [
                noise[i, 0, :4, :4].t() * w + b
                for w, b in zip(layer.noise.weight[:, 0], layer.noise.bias, strict=True)
            ]
        )
        expected = F.leaky_relu(F.conv2d(x[i : i + 1], weight, padding=1) + maps, 0.2)
        torch.testing.assert_close(layer(x, style, noise)[i : i + 1], expected, atol=1e-5, rtol=1e-5)


def heads(x: Tensor) -> Tensor:
    return x.unflatten(1, (8, 64)).flatten(3)


def test_linear_attention_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    layer, x = LinearAttention(6), torch.randn(1, 6, 3, 5)
    query, (key, value) = layer.query(x), layer.key_value(layer.near(x)).chunk(2, 1)
    q, k, v = heads(query).softmax(2) / 8, heads(key).softmax(3), heads(value)
    out = torch.stack(
        [
            torch.stack(
                [sum((q[0, h, :, n] @ k[0, h, :, m]) * v[0, h, :, m] for m in range(15)) for n in range(15)],
                1,
            )
            for h in range(8)
        ]
    )  # type: ignore[misc]
    torch.testing.assert_close(layer(x), F.gelu(out.reshape(1, 512, 3, 5)), atol=1e-5, rtol=1e-4)


def test_attention_to_the_neighbours_counts_what_lies_beyond_the_border() -> None:
    """With queries of 0 all nine count the same, those beyond the border with 0."""
    torch.manual_seed(0)
    layer, x = NearAndFar(4), torch.randn(1, 4, 5, 5)
    torch.nn.init.zeros_(layer.query.weight)
    layer.out.weight.data[:, :512] = 0
    value = layer.key_value(layer.norm(x))[:, 512:]
    mean = F.avg_pool2d(value, 3, 1, 1)
    far = torch.zeros_like(mean)
    torch.testing.assert_close(layer(x), x + layer.out(torch.cat([far, mean], 1)), atol=1e-5, rtol=1e-4)


def test_channels_are_looked_at_where_attention_falls_or_by_cosines() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, 4, 4)
    looks = Excitation(32, 6)
    assert looks.look is not None
    share = looks.look(x).flatten(1).softmax(1)
    seen = (x.flatten(2) * share[:, None]).sum(2)[:, :, None, None]
    expected = torch.sigmoid(looks.widen(F.leaky_relu(looks.narrow(seen), 0.1)))
    torch.testing.assert_close(looks(x), expected)
    waves = Excitation(32, 6, side=4)
    constant = torch.ones(1, 32, 4, 4)
    sums = (constant * waves.cosines).sum((2, 3))[0]
    assert sums[:2].tolist() == pytest.approx([4.0, 4.0]), "frequency 0 of an orthonormal transform"
    assert sums[2:16].abs().max() < 1e-5
    assert waves.cosines.square().sum((1, 2))[:8].tolist() == pytest.approx([1.0] * 8)  # type: ignore[operator,union-attr]


def test_a_stage_has_no_noise_unless_it_is_given() -> None:
    torch.manual_seed(0)
    stage, x = Stage(4, 4, blur=True).eval(), torch.randn(2, 4, 3, 3)
    torch.nn.init.ones_(stage.strength)
    assert torch.equal(stage(x), stage(x, torch.zeros(1, 1, 6, 6)))
    assert not torch.equal(stage(x), stage(x, torch.ones(1, 1, 6, 6)))
    generator = LightweightGenerator((3, 16, 16), 6, channels=4)
    noise = generator.training_inputs(
        lambda *size: torch.randn(2, *size), lambda *size: torch.rand(2, *size)
    )["noise"]
    assert [tuple(each.shape) for each in noise] == [(2, 1, 8, 8), (2, 1, 16, 16)]
    assert generator(torch.randn(2, 6), noise=noise).shape == (2, 3, 16, 16)


def test_noise_is_uniform_in_training_and_in_the_explorer() -> None:
    from ganvas.web.renderer import Renderer
    from ganvas.web.state import State

    generator = LucidrainsGenerator((3, 16, 16), 6, channels=4)
    given = generator.training_inputs(
        lambda *size: torch.full((2, *size), -1.0), lambda *size: torch.rand(2, *size)
    )
    (noise,) = given["noise"]
    assert noise.shape == (2, 1, 16, 16)
    assert 0 <= noise.min() < noise.max() < 1
    for layer in generator.layers:
        torch.nn.init.ones_(layer.noise.weight)  # type: ignore[union-attr,arg-type]
    model = Model(generator.eval().requires_grad_(False), None, ModelInfo.of(generator, "lucidrains"))
    seen: list[Tensor] = []
    generator.layers[0].register_forward_pre_hook(lambda module, given: seen.append(given[2]))
    Renderer(model).draw([State(noise=1)])
    assert 0 <= seen[0].min() < seen[0].max() < 1


def test_options_that_make_no_network_are_refused() -> None:
    for options, said in (
        ({"attention": (3,)}, r"attention at places 0 to 2, got \(3,\)"),
        ({"mapping_layers": 0}, "mapping_layers from 1"),
        ({"mapping_rate": 0.0}, "mapping_rate above 0"),
        ({"output": "tanh"}, "Unknown output 'tanh'"),
    ):
        with pytest.raises(GanvasError, match=said):
            LucidrainsGenerator((3, 16, 16), 6, **options)  # type: ignore[arg-type]
    for options, said in (
        ({"widths": (4,)}, "widths from 1, one for each of 2 stages"),
        ({"widths": (4, 0)}, "widths from 1"),
        ({"attention": (2,)}, "attention at places 0 to 1"),
        ({"output": "tanh"}, "output sigmoid or linear"),
    ):
        with pytest.raises(GanvasError, match=said):
            LightweightGenerator((3, 16, 16), 6, **options)  # type: ignore[arg-type]
