"""BigGAN-deep's parts: the norms' statistics, the blocks, and what truncation does to z. Whole files: tests/importers."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import truncnorm
from torch import nn

from ganvas.checkpoint import hash_of
from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.model import Model, ModelInfo, known
from ganvas.networks import to_prior
from ganvas.networks.biggan import BigBlock, BigGenerator, PooledAttention, StandingNorm


def test_a_norm_takes_its_statistics_from_the_table() -> None:
    """Row 1 with a share of 0.25, the rest of row 2: as the published code mixes them."""
    random = torch.Generator().manual_seed(0)
    norm = StandingNorm(3, 4, 5, 1e-3)
    norm.means, norm.variances = (
        torch.randn(5, 3, generator=random),
        torch.rand(5, 3, generator=random) + 0.1,
    )
    x, condition = torch.randn(2, 3, 4, 4, generator=random), torch.randn(2, 4, generator=random)
    mean, variance = (0.25 * table[1] + 0.75 * table[2] for table in (norm.means, norm.variances))
    plain = F.batch_norm(x, mean, variance, eps=1e-3)
    scale, shift = norm.scale(condition)[:, :, None, None], norm.offset(condition)[:, :, None, None]
    for training in (False, True):  # they stand
        torch.testing.assert_close(
            norm.train(training)(x, condition, (1, 0.25)), plain * (1 + scale) + shift, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("truncation", "level"),
    [(0.02, (1, 1)), (0.03, (1, 0.5)), (0.58, (28, 0.9999999999999964)), (0.001, (0, 0.05)), (1, (50, 1))],
)
def test_truncation_is_a_row_or_lies_between_two(truncation: float, level: tuple[int, float]) -> None:
    generator = BigGenerator((3, 16, 16), 4, channels=1, rows=51)
    assert generator.level == (50, 1)
    generator.truncation = truncation
    assert generator.level == pytest.approx(level, abs=1e-12)
    assert generator.prior == f"truncated {float(truncation)}"


def test_truncation_is_a_share() -> None:
    generator = BigGenerator((3, 16, 16), 4, channels=1, rows=51)
    for value in (0, -0.5, 1.01, float("nan"), "half"):
        with pytest.raises(GanvasError, match="truncation"):
            generator.truncation = value  # type: ignore[assignment]
    assert generator.truncation == 1
    one = BigGenerator((3, 16, 16), 4, channels=1, rows=1)
    one.truncation = 0.3
    assert one.level == (0, 1)


def test_z_is_drawn_from_what_is_cut_off_and_scaled() -> None:
    generator = BigGenerator((3, 16, 16), 40, channels=1, rows=51).eval()
    generator.truncation = 0.4
    model = Model(generator, None, ModelInfo.of(generator, "biggan"))
    z = model.latents(2000)
    assert z.abs().max() <= 0.8
    space = open_space(model, "z")
    spread = 0.4 * truncnorm.std(-2, 2)
    assert float(z.std()) == pytest.approx(spread, rel=0.01)
    torch.testing.assert_close(space.std, torch.full((40,), spread, dtype=torch.float32))
    assert space.sigma(z[0]) == pytest.approx(spread)
    assert space.typicality(
        space.sample(500, torch.Generator().manual_seed(0))
    ).mean().item() == pytest.approx(0.5, abs=0.06)  # a tail probability is uniform
    assert (space.typicality(2 * z[:5]) < 0.01).all()
    assert (space.typicality(0.1 * z[:5]) < 0.01).all()
    assert space.project(3 * z[:5]).abs().max() <= 0.8
    torch.testing.assert_close(space.project(z[:5]), z[:5])


def test_the_truncated_prior_by_its_quantiles() -> None:
    noise = torch.tensor([-9.0, -6, -2, -0.5, 0, 1, 3, 5.5, 9], requires_grad=True)
    found = to_prior("truncated 0.5", noise)
    share = torch.special.ndtr(noise.detach().double()).numpy()
    torch.testing.assert_close(found.detach(), torch.tensor(0.5 * truncnorm.ppf(share, -2, 2)).float())
    (gradient,) = torch.autograd.grad(found.sum(), noise)
    assert gradient.isfinite().all()


def test_a_block_that_adds_nothing_is_its_shortcut() -> None:
    """The first half of the channels, each pixel four times."""
    block = BigBlock(8, 4, 3, 0, 1e-4, up=True)
    last = block.convs[-1]
    for parameter in last.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 8, 3, 3)
    expected = x[:, :4].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(block(x, torch.randn(2, 3), (0, 1.0)), expected)
    assert [conv.weight.shape[2] for conv in block.convs] == [1, 3, 3, 1]  # type: ignore[union-attr,index]


def test_attention_looks_at_the_strongest_of_four() -> None:
    """With queries of 0 every pixel sees the mean of the pooled values."""
    attention = PooledAttention(8)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(attention(x), x)
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.ones_(attention.weight)
    mean = F.max_pool2d(attention.value(x), 2).mean((2, 3), keepdim=True)
    torch.testing.assert_close(attention(x), x + attention.out(mean))


def test_layers_that_make_no_network_are_refused() -> None:
    for options, said in (
        ({"widths": (4, 2)}, "a 0 or 1 in doubling for each block, and one more of widths"),
        ({"widths": (4, 2), "doubling": (2,)}, "a 0 or 1 in doubling"),
        ({"widths": (4, 3), "doubling": (1,)}, "keep the width or halve it"),
        ({"widths": (1, 0), "doubling": (1,)}, "keep the width or halve it"),
        ({"widths": (4,) * 7, "doubling": (1,) * 6}, "cannot double its size 6 times"),
        ({"attention": 9}, "attention from -1 to 3"),
        ({"channels": 0}, "channels from 1"),
    ):
        with pytest.raises(GanvasError, match=said):
            BigGenerator((3, 16, 16), 4, **options)  # type: ignore[arg-type]


def test_spectral_norm_is_on_every_layer() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = BigGenerator((3, 16, 16), 4, num_classes=3, channels=2, attention=2, spectral_norm=True)
    layers = [module for module in generator.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert len(layers) == 1 + 4 * 4 + 4 * 4 * 2 + 4 + 1, (
        "first, convolutions, scales and offsets, attention, last"
    )
    with torch.no_grad():
        for _ in range(60):  # a power iteration each
            generator(torch.randn(2, 4), torch.tensor([0, 2]))
        largest = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2) for layer in layers]
    torch.testing.assert_close(torch.stack(largest), torch.ones(len(layers)), atol=0.02, rtol=0)
    assert not any("original" in name for name in BigGenerator((3, 16, 16), 4, channels=2).state_dict()), (
        "files of others"
    )


def test_what_is_kept_of_a_model_is_of_its_truncation() -> None:
    """The explorer's map and directions' units are of one truncation."""
    generator = BigGenerator((3, 16, 16), 8, channels=2, rows=5)
    model = Model(generator, None, ModelInfo.of(generator, "biggan"))
    usual = model.hash
    assert usual == hash_of(generator), "as files of before have it"
    generator.truncation = 0.5
    other = model.hash
    assert other != usual
    generator.truncation = 1.0
    assert model.hash == usual
    assert known(other) is known(usual) is model
