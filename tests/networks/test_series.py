"""Networks of series: the cell is torch's, its gradient has one of its own, and what is drawn is what the layout says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

import ganvas
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.export import hub, onnx
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_critic, build_generator, series
from ganvas.networks.series import Attention, ChunkedGenerator, Gru, RecurrentGenerator, SeriesGenerator, run
from ganvas.series import LENGTHS, read_lengths, told_lengths

CHUNKED = ["recurrent", "tcn", "transformer-small"]
FAMILIES = [*CHUNKED, "timegan"]
LAYOUT = "n0 m n0 c3 n e / c2 n n n"
"""Two numbers of a frame, the second with gaps; a category; a number; the end; once a category, a number, the frame."""
SHAPE = (13, 10)


def made(
    family: str, layout: str = LAYOUT, shape: tuple[int, int] = SHAPE, **options: int
) -> ChunkedGenerator:
    config = NetworkConfig(family, latent_dim=48, generator={"channels": 16, "layout": layout, **options})
    generator = build_generator(config, shape, 0, seed=3)
    assert isinstance(generator, ChunkedGenerator)
    return generator


def z(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 48, generator=torch.Generator().manual_seed(seed))


def test_the_cell_is_that_of_torch() -> None:
    torch.manual_seed(0)
    theirs = nn.GRU(5, 7, batch_first=True, bidirectional=True).double()
    ours = [Gru(5, 7).double() for _ in range(2)]
    for unit, end in zip(ours, ("", "_reverse"), strict=True):
        for name, part in (("ih", unit.read), ("hh", unit.recur)):
            part.weight.data = getattr(theirs, f"weight_{name}_l0{end}").data
            part.bias.data = getattr(theirs, f"bias_{name}_l0{end}").data
    x = torch.randn(3, 6, 5, dtype=torch.double)
    torch.testing.assert_close(run(ours, x), theirs(x)[0])


@pytest.mark.parametrize("family", CHUNKED)
def test_samples_differ_and_have_no_teeth_before_anything_is_learned(family: str) -> None:
    """Else the first thing to learn is that z counts, and the next that a series is not made of chunks."""
    drawn = made(family, "", (2, 24), noise=0, chunk=3, channels=96)(z(64)).detach()
    assert drawn.std(0).mean() > 0.2
    bends = drawn[:, :, 6:].diff(n=2, dim=2).square().mean().sqrt()  # behind what a state of 0 grows from
    assert bends < 0.1 * drawn.std(0).mean()


@pytest.mark.parametrize("family", CHUNKED)
def test_critics_see_teeth_better_than_levels(family: str) -> None:
    critic = build_critic(NetworkConfig(family, critic={"channels": 32}), (1, 24), 0, seed=1)
    curves = torch.sin(torch.linspace(0, 3, 24)).expand(16, 1, 24) * torch.linspace(-1, 1, 16)[:, None, None]
    teeth = 0.01 * (-1.0) ** torch.arange(24)

    def moved(by: Tensor) -> float:
        return float((critic.features(curves + by) - critic.features(curves)).norm().detach())

    assert moved(teeth) > 4 * moved(torch.full((24,), 0.01))


@pytest.mark.parametrize("family", FAMILIES)
def test_critics_can_be_differentiated_twice(family: str) -> None:
    """What R1 and WGAN-GP need: the gradient of the squared gradient is that of finite differences."""
    # Of a batch's spread, which is in single precision, differences are too rough.
    spread = {} if family == "timegan" else {"minibatch_std": False}
    config = NetworkConfig(family, critic={"channels": 8, **spread})
    critic = build_critic(config, (2, 6), 0, seed=1).double()
    x = torch.randn(2, 2, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradgradcheck(critic, (x,), fast_mode=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_past_knows_nothing_of_the_future(family: str) -> None:
    generator, points = made(family, "n n", (2, 10), **({} if family == "timegan" else {"chunk": 2})), z(4)
    other, before = points.clone(), 10 - 2 * generator.chunk
    other[:, -2 * generator.noise :] = z(4, 1)[:, -2 * generator.noise :]  # of the last two chunks
    first, second = generator(points), generator(other)
    torch.testing.assert_close(first[:, :, :before], second[:, :, :before], atol=1e-6, rtol=0)
    assert (first[:, :, before:] - second[:, :, before:]).abs().amax(0).min() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_longer_series_begin_as_those_of_the_trained_length(family: str) -> None:
    generator = made(family)
    short, long = generator(z(4)), generator.over(23)(z(4))
    assert long.shape == (4, 13, 23)
    torch.testing.assert_close(long[:, :, :10], short, atol=1e-5, rtol=0)
    assert len({round(float(v), 5) for v in long[0, 3].detach()}) > 15, "it does not repeat itself"


@pytest.mark.parametrize("family", FAMILIES)
def test_shorter_series_are_the_first_steps_of_those_of_the_trained_length(family: str) -> None:
    """Frames stretched what there was of a window to the range of a whole one."""
    generator = made(family)
    whole, short = generator(z(4)), generator.over(6)(z(4))
    assert short.shape == (4, 13, 6)
    torch.testing.assert_close(short, whole[:, :, :6], atol=1e-5, rtol=0)
    torch.testing.assert_close(generator.over(6).over(10)(z(4)), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["recurrent", "timegan"])
def test_drawn_series_are_what_the_layout_says(family: str) -> None:
    x = made(family)(5 * z(200))
    first, there, second, kinds, number, alive, fixed = x.split([1, 1, 1, 3, 1, 1, 5], 1)
    torch.testing.assert_close(alive.cummin(2).values, alive)
    assert (alive[:, :, 0] == 1).all()
    going = (alive > 0.5).expand(-1, 2, -1)
    framed = torch.cat([first, second], 1)
    seen = going & torch.cat([torch.ones_like(there), there], 1).gt(0.5)
    # Channels are those of the steps times whether the series goes on; what is hidden, or behind the end, is nearly 0.
    high = framed.div(torch.cat([alive, there], 1)).masked_fill(~seen, -2).amax((1, 2))
    low = framed.div(torch.cat([alive, there], 1)).masked_fill(~seen, 2).amin((1, 2))
    many = seen.flatten(1).sum(1) > 3
    torch.testing.assert_close(high[many], torch.ones_like(high[many]), atol=1e-4, rtol=0)
    torch.testing.assert_close(low[many], -torch.ones_like(low[many]), atol=1e-4, rtol=0)
    torch.testing.assert_close(kinds.sum(1, keepdim=True), alive)
    assert (number.abs() <= 1).all()
    torch.testing.assert_close(fixed, fixed[:, :, :1].expand_as(fixed))
    torch.testing.assert_close(fixed[:, :2].sum(1), torch.ones(200, 10))


@pytest.mark.parametrize("option", [{"noise": -1}, {"chunk": 0}])
def test_chunks_of_nothing_are_a_sentence(option: dict[str, int]) -> None:
    with pytest.raises(GanvasError, match="needs chunk from 1 and noise from 0"):
        RecurrentGenerator((2, 9), 20, channels=8, **option)  # type: ignore[arg-type]


def with_lengths(told: str, family: str = "recurrent", classes: int = 0) -> SeriesGenerator:
    options = {"channels": 16, "layout": "n e", "lengths": told}
    config = NetworkConfig(family, latent_dim=48, generator=options, conditional=classes > 0)
    generator = build_generator(config, (2, 20), classes, seed=3)
    assert isinstance(generator, SeriesGenerator)
    return generator


@pytest.mark.parametrize("family", CHUNKED)
def test_lengths_are_those_of_their_class_before_anything_is_learned(family: str) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    lengths = np.where(labels == 0, random.integers(3, 8, 1000), random.binomial(14, 0.6, 1000) + 6)
    generator = with_lengths(told_lengths(lengths, labels, 2), family, 2)
    wanted = torch.arange(2).repeat_interleave(2000)
    alive = generator(z(4000), wanted)[:, 1]
    assert set(alive.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(alive.cummin(1).values, alive)
    for number in range(2):
        drawn = alive[wanted == number].sum(1).detach()
        own = lengths[labels == number]
        # Between two lengths that were seen lie those between them: no step of a distribution is off by more than a quantile.
        shares = (own[:, None] <= np.arange(21)).mean(0)
        found = (drawn[:, None] <= torch.arange(21)).float().mean(0).numpy()
        assert np.abs(found - shares).max() < 1 / LENGTHS + 2.5 / 2000**0.5, number


@pytest.mark.parametrize("classes", [0, 2])
def test_lengths_are_in_the_graph_of_any_batch(classes: int) -> None:
    generator = with_lengths(told_lengths(np.arange(5, 20)), classes=classes).eval()
    model = Model(generator, None, ModelInfo.of(generator, "recurrent"))
    given = {"z": z(5), **({"labels": torch.arange(5) % 2} if classes else {})}
    drawn = onnx.run(model, onnx.to_onnx(model), given)
    with torch.no_grad():
        torch.testing.assert_close(drawn, generator(*given.values()), atol=1e-4, rtol=0)


def test_lengths_of_many_values_follow_their_distribution() -> None:
    """As a test for continuous ones says it, of series so long that steps do not count."""
    own = np.random.default_rng(1).integers(200, 1000, 5000)
    generator = with_lengths("")
    generator.quantiles = read_lengths(told_lengths(own), 0, 1000)
    drawn = generator.lengths(z(2000), None)
    assert kstest(drawn.numpy(), "uniform", (200, 800)).pvalue > 0.05


def test_lengths_are_of_a_normal_number_behind_categories() -> None:
    """They were of the first number, of which a category has two values: there were two lengths."""
    config = NetworkConfig(
        "recurrent", 48, categorical=(5, 3), generator={"channels": 8, "layout": "n e", "lengths": told_lengths(np.arange(5, 21))}
    )  # fmt: skip
    generator = build_generator(config, (2, 20), 0).eval()
    assert generator.prior == "categorical 5 3"
    model = Model(generator, None, ModelInfo.of(generator, "recurrent"))
    lengths = model.sample(500)[:, 1].sum(1)
    assert sorted(lengths.unique().tolist()) == list(range(5, 21))


def test_a_file_may_hold_any_lengths() -> None:
    """Lengths of 0 drew NaN."""
    generator = with_lengths(told_lengths(np.arange(5, 20)))
    generator.quantiles = torch.zeros_like(generator.quantiles)
    assert torch.isfinite(generator(z(4))).all()
    assert generator.lengths(z(4), None).min() >= 1


def test_the_end_can_be_moved_by_descent() -> None:
    """What an inversion needs: the gradient of a step that should be there points to points of longer series."""
    generator = with_lengths(told_lengths(np.arange(5, 20)))
    points = z(64).requires_grad_()
    lengths = generator.lengths(points, None).detach()
    alive = generator(points)[:, 1]
    first = lengths.round().long().clamp(max=19)
    alive.gather(1, first[:, None]).sum().backward()
    assert points.grad is not None
    inside = (lengths > 5) & (lengths < 19)
    assert (points.grad[inside, 0] > 0).all()
    assert inside.sum() > 30


def test_series_that_may_have_been_cut_go_on_when_more_steps_are_asked_for() -> None:
    generator = with_lengths(told_lengths(np.array([6] * 10 + [20] * 30)))
    short, long = (each[:, 1].sum(1) for each in (generator(z(200)), generator.over(50)(z(200))))
    assert short.max() == 20
    assert ((short == 20) == (long == 50)).all()
    torch.testing.assert_close(long[short < 20], short[short < 20])


@pytest.mark.parametrize("family", CHUNKED)
def test_series_that_go_on_begin_as_they_did(family: str) -> None:
    """They were told how much there is to come of as many steps as are asked for, and were other series."""
    generator = with_lengths(told_lengths(np.array([6] * 10 + [20] * 30)), family)
    short, long = generator(z(50)), generator.over(50)(z(50))
    torch.testing.assert_close(long[:, :, :20], short, atol=1e-5, rtol=0)
    goes_on = short[:, 1].sum(1) == 20
    assert goes_on.any()
    assert long[goes_on, 0, 20:].std(1).median() > 1e-3, "and do not stand still behind"


@pytest.mark.parametrize(
    "told", ["7", "7 " * 63 + "x", "0 " * 64, "7 " * 63 + "21", "7 " * 63 + "6", "7 " * 64 + "/ " + "7 " * 63, "9" * 10**6]
)  # fmt: skip
def test_lengths_that_no_series_has(told: str) -> None:
    with pytest.raises(GanvasError, match="lengths"):
        with_lengths(told)


def test_layouts_and_shapes_that_do_not_fit() -> None:
    for layout, message in (("n n", "13"), ("n9 " * 12 + "n", "frame"), ("q", "layout")):
        with pytest.raises(GanvasError, match=message):
            made("recurrent", layout)
    model = ganvas.wrap(nn.Linear(3, 2), latent_dim=3)
    with pytest.raises(GanvasError, match="recurrent, tcn, transformer-small and timegan"):
        model.over(5)


def test_a_model_of_another_length_is_not_saved_as_that_of_the_trained_one(tmp_path: Path) -> None:
    network = NetworkConfig("tcn", 48, generator={"channels": 16, "layout": LAYOUT})
    generator = build_generator(network, SHAPE, 0).eval()
    model = Model(generator, None, ModelInfo.of(generator, "tcn", architecture=network))
    assert model.over(SHAPE[1]).key == model.key
    assert model.over(20).key != model.key, "the cache kept maps and directions of one length for all"
    model.over(SHAPE[1]).save(tmp_path / "same.safetensors")
    assert onnx._about(model.over(20), "whole", False)["ganvas.shape"] == f"[{SHAPE[0]}, 20]"
    with pytest.raises(GanvasError, match="ask for another length when you draw"):
        model.over(20).save(tmp_path / "longer.safetensors")
    with pytest.raises(GanvasError, match="ask for another length when you draw"):
        hub.write(model.over(20), tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["same.safetensors"]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_looks_at_parts_of_a_long_series(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of 10,000 steps of 16 series take 3 GB, and as much again for their softmax."""
    torch.manual_seed(0)
    body, x = Attention(8, 2, causal), torch.randn(3, 37, 8)
    with torch.no_grad():
        whole = body(x)
        monkeypatch.setattr(series, "PAIRS", 5 * 3 * 4 * 37)
        torch.testing.assert_close(body(x), whole)


def test_places_have_their_digits_in_bf16() -> None:
    """Under autocast they were worked out in bf16: off by 2 of 1,000 steps, and drawn from in single precision later."""
    exact, given = (
        series.positions(1000, 32, torch.zeros(1, dtype=kind)) for kind in (torch.float64, torch.bfloat16)
    )
    assert given.dtype == torch.bfloat16
    assert (given.double() - exact).abs().max() < 0.01
