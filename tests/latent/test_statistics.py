"""Statistics on data whose answer is known: perfect codes, mixed codes, spaces of known dimension."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas import arrays
from ganvas.cli import main, statistics
from ganvas.cli.statistics import _measure, _show_matrix
from ganvas.data.shapes import FACTORS, draw_factors, render
from ganvas.effort import largest_result
from ganvas.errors import GanvasError
from ganvas.latent import open_space, paths
from ganvas.latent.factors import train_reader
from ganvas.latent.jacobian import jacobians, metric, spectrum
from ganvas.latent.statistics import (
    dci,
    factor_vae_score,
    intrinsic_dimension,
    linear_separability,
    mig,
    participation,
    sample_dimension,
    sap,
)
from tests.conftest import series_model
from tests.export.test_onnx import model_of
from tests.latent.test_space import ours, plain_dcgan

FACTS = draw_factors(3000, 5).numpy()
PERFECT = FACTS + 0.01 * np.random.default_rng(0).normal(size=FACTS.shape)
MIXED = PERFECT / PERFECT.std(0) @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
NOISE = np.random.default_rng(2).normal(size=FACTS.shape)


def test_codes_that_are_the_factors_score_one() -> None:
    found = dci(PERFECT, FACTS)
    assert min(found) > 0.95
    assert mig(PERFECT, FACTS) > 0.85
    assert sap(PERFECT, FACTS) > 0.2
    assert factor_vae_score(PERFECT, FACTS) > 0.99


def test_mixed_codes_are_informative_but_not_disentangled() -> None:
    whole, mixed = dci(PERFECT, FACTS), dci(MIXED, FACTS)
    assert mixed.disentanglement < 0.5 * whole.disentanglement
    assert mixed.completeness < 0.5 * whole.completeness
    assert mig(MIXED, FACTS) < 0.2
    assert sap(MIXED, FACTS) < 0.5 * sap(PERFECT, FACTS)


def test_noise_scores_nothing() -> None:
    chance = np.mean([1 / values for values in FACTORS.values()])
    assert dci(NOISE, FACTS).informativeness < chance + 0.05
    assert mig(NOISE, FACTS) < 0.02
    assert factor_vae_score(NOISE, FACTS) < 0.35, "chance is one in six"


def test_what_does_not_vary_changes_no_score() -> None:
    """A constant code varies least of all: counted in, the FactorVAE score of perfect codes fell to 0.233."""
    padded = np.concatenate([PERFECT, np.full((len(PERFECT), 1), 0.1)], 1)
    facts = np.concatenate([FACTS, np.full((len(FACTS), 1), 7)], 1)
    assert factor_vae_score(padded, FACTS) == 1
    for score in (dci, mig, sap, factor_vae_score):
        assert score(padded, facts) == pytest.approx(score(PERFECT, FACTS), abs=1e-9)
        assert score(PERFECT.astype(np.float16)[::-1], FACTS[::-1] - 3) == pytest.approx(
            score(PERFECT, FACTS), abs=0.03
        )


def test_rows_that_come_sorted_by_a_factor() -> None:
    """Otherwise the held-out part would have values of the factor that no training row has."""
    order = np.lexsort(FACTS.T)
    assert dci(PERFECT[order], FACTS[order]).informativeness > 0.95
    assert sap(PERFECT[order], FACTS[order]) == pytest.approx(sap(PERFECT, FACTS), abs=0.05)


@pytest.mark.parametrize("score", [dci, mig, sap, factor_vae_score])
def test_codes_and_factors_that_do_not_fit(score: Callable[..., object]) -> None:
    for codes, factors, message in (
        (PERFECT[:-1], FACTS, "one row for each of the 2999 codes"),
        (PERFECT, FACTS[:, 0], "got \\(3000,\\) of int64"),
        (PERFECT, FACTS + 0.5, "of float64"),
        (np.ones((3000, 4)), FACTS, "0 of 4 codes"),
        (PERFECT, np.ones((3000, 2), int), "0 of 2 factors vary"),
        (PERFECT * np.nan, FACTS, "NaN"),
        (PERFECT[:1], FACTS[:1], "needs at least"),
    ):
        with pytest.raises(GanvasError, match=message):
            score(codes, factors)


@pytest.mark.parametrize("dimension", [2, 5])
def test_two_nearest_neighbours_tell_the_dimension(dimension: int) -> None:
    random = np.random.default_rng(0)
    flat = random.uniform(size=(3000, dimension)) @ random.normal(size=(dimension, 20))
    assert intrinsic_dimension(flat) == pytest.approx(dimension, rel=0.12)
    with pytest.raises(GanvasError, match="12 different points"):
        intrinsic_dimension(np.zeros((50, 3)))


def test_participation_counts_equal_values() -> None:
    assert participation(torch.ones(7)) == pytest.approx(7)
    assert participation(torch.tensor([5.0, 0, 0])) == pytest.approx(1)


class Bright(nn.Module):
    """The first number is the brightness of the picture: it separates by a hyperplane; its square would not."""

    def __init__(self, square: bool) -> None:
        super().__init__()
        self.square = square

    def forward(self, z: Tensor) -> Tensor:
        light = torch.tanh((z[:, 0].square() - 0.45 if self.square else z[:, 0]) / 2)
        return light[:, None, None, None].expand(-1, 1, 8, 8)


def test_linear_separability_is_one_for_a_hyperplane_and_two_for_none() -> None:
    straight, bent = (
        linear_separability(
            open_space(ganvas.wrap(Bright(square), latent_dim=4, value_range=(-1, 1)), "z"), ["brightness"]
        )
        for square in (False, True)
    )
    assert straight == pytest.approx(1, abs=0.1)
    assert bent == pytest.approx(2, abs=0.15), "nearly one bit is left"


def test_few_points_of_many_numbers_are_always_separable() -> None:
    """So said the figure, whatever the space; of 65,536 numbers it took five gigabytes and minutes to say so."""
    space = open_space(ganvas.wrap(Bright(square=True), latent_dim=49, value_range=(-1, 1)), "z")
    for names, samples in ((["brightness"], 100), (["class:0"], 50)):
        with pytest.raises(GanvasError, match="parts any 50 points of 49 numbers"):
            linear_separability(space, names, samples)
    assert linear_separability(space, ["brightness"], 102) >= 1


def test_w_plus_is_as_separable_as_the_w_that_it_repeats() -> None:
    model = ours()
    w, plus = (
        linear_separability(open_space(model, name), ["brightness"], 2 * open_space(model, "w+").size - 2)
        for name in ("w", "w+")
    )
    assert plus == pytest.approx(w, abs=0.05)


def test_a_wide_space_is_measured_by_fewer_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ganvas.load("fashion", device="cpu").latent_dim
    monkeypatch.setattr("ganvas.latent.space.MOST_NUMBERS", 60 * size)
    monkeypatch.setattr("ganvas.latent.space.FEWEST", 1)
    assert main(["statistics", "fashion", "--n", "80", "--spaces", "z", "--json"]) == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)["spaces"].values()
    assert row["samples"] == 60
    assert f"A point of z has {size} numbers: it is measured by 60 samples." in said.err
    assert "linear separability" not in row
    assert f"parts any 60 points of {size} numbers" in said.err


@pytest.mark.parametrize("name", ["w", "z", "w+"])
def test_jacobians_are_those_of_reverse_mode(name: str) -> None:
    model = ours()
    space = open_space(model, name)
    points = space.numbered(2)
    features, found = jacobians(space, points, see=lambda x: x.flatten(1))
    torch.testing.assert_close(features, space.decode(points).flatten(1), atol=1e-5, rtol=1e-4)
    expected = torch.autograd.functional.jacobian(lambda p: space.decode(p).flatten(1), points)
    for i in range(2):
        torch.testing.assert_close(found[i], expected[i, :, i].flatten(1), atol=1e-5, rtol=1e-4)


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * gradient


class Custom(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        doubled: Tensor = NoForwardMode.apply(z)  # type: ignore[no-untyped-call]
        return torch.tanh(doubled).reshape(-1, 1, 2, 2)


def test_jacobians_of_an_operation_without_forward_mode_and_of_a_foreign_generator() -> None:
    space = open_space(ganvas.wrap(Custom(), latent_dim=4), "z")
    points = torch.tensor([[0.1, -0.2, 0.3, 0.0]])
    _, found = jacobians(space, points, see=lambda x: x.flatten(1))
    torch.testing.assert_close(found[0], torch.diag(2 * (1 - torch.tanh(2 * points[0]).square())))
    plain = open_space(ganvas.wrap(plain_dcgan(), latent_dim=20), "z")
    assert jacobians(plain, plain.numbered(1))[1].shape[2] == 20


@pytest.mark.parametrize("forward", [True, False])
def test_jacobians_take_the_memory_of_so_many_samples(forward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each coordinate takes that of a sample: 128 of them at 128 px took gigabytes."""
    space = open_space(ours(), "z")
    point = space.numbered(1)

    def see(samples: Tensor) -> Tensor:
        flat = samples.flatten(1)[:, :4]
        return flat if forward else NoForwardMode.apply(flat)  # type: ignore[no-any-return, no-untyped-call]

    expected = jacobians(space, point, see)[1]
    one = largest_result(lambda: space.decode(point))
    monkeypatch.setitem(vars(space.model), "at_once", 2)
    found: list[Tensor] = []
    assert largest_result(lambda: found.append(jacobians(space, point, see)[1])) <= 2 * one
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-4)


def test_shapes_are_drawn_as_their_factors_say() -> None:
    base = torch.tensor([[0, 3, 0, 6, 6, 4]])
    image = render(base)[0].float().mean(0)
    moved = base.clone()
    moved[0, 3] = 11
    right = render(moved)[0].float().mean(0)
    columns = torch.arange(32.0)
    centre = [(each.sum(0) * columns).sum() / each.sum() for each in (image, right)]
    assert centre[1] - centre[0] == pytest.approx(0.4 / 11 * 5 * 32, abs=0.1)
    areas = [
        (render(torch.tensor([[0, size, 0, 6, 6, 4]]))[0].float().amax(0) / 255).sum() for size in range(6)
    ]
    sides = [1.8 * (0.10 + 0.02 * size) * 32 for size in range(6)]
    hue = render(torch.tensor([[0, 5, 0, 6, 6, 4]])).amax().float() / 255
    np.testing.assert_allclose([float(a / hue) for a in areas], [s * s for s in sides], rtol=0.05)
    factors = draw_factors(20_000)
    for k, values in enumerate(FACTORS.values()):
        counts = torch.bincount(factors[:, k], minlength=values)
        assert len(counts) == values
        assert counts.min() > 0.8 * 20_000 / values
    assert len({tuple(row) for row in render(draw_factors(200)).flatten(1).tolist()}) > 190, "factors show"


@pytest.mark.slow
def test_factors_can_be_read_again() -> None:
    reader, accuracy = train_reader(steps=150)
    assert (accuracy > 2 / torch.tensor(list(FACTORS.values()))).sum() >= 4, (
        "far above chance after 150 steps"
    )
    assert reader.read(render(draw_factors(10))).shape == (10, 6)


def test_large_pictures_are_seen_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dimension of 2,000 samples of 128 px took 4 GB, of 256 px 16; a copy in float64 doubled that of 4,000 of 64 px."""
    monkeypatch.setattr(paths, "SMALL", 4)
    widths: list[int] = []
    kinds: list[np.dtype[np.generic]] = []

    def noting(points: np.ndarray) -> float:
        widths.append(points.shape[1])
        kinds.append(points.dtype)
        return 1.0

    monkeypatch.setattr("ganvas.latent.statistics.sample_dimension", noting)
    space = open_space(model_of("dcgan"), "z")
    _measure(space, 20, 0, [], lambda what: None)
    assert widths == [space.size, 3 * (4 * 4 + 2 * 2)]
    assert kinds[1] == np.float32


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tmp_path / "style.safetensors")
    model_of("style").save(Path(model))
    flags = ["--spaces", "w", "--n", "50", "--rca", "2", "--device", "cpu", "--json"]
    assert main(["statistics", model, *flags]) == 0
    row = json.loads(capsys.readouterr().out)["spaces"]["w"]
    assert row["path length (pixels)"] > 0
    assert 1 <= row["linear separability"] < 2**10
    size = open_space(model_of("style"), "w").size
    assert 0 <= row[f"discovery of {size} random"] <= 1
    flags = ["--spaces", "z", "w", "--n", "50", "--device", "cpu", "--rescore", "brightness", "slant"]
    assert main(["statistics", model, *flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rescored"]
    assert found["space"] == "w"
    for i in range(2):
        assert found["matrix"][i][i] == pytest.approx(found["effect"], abs=0.05), (
            "each reaches its own effect"
        )
        assert found["leakage"][i] == pytest.approx(
            abs(found["matrix"][i][1 - i] / found["matrix"][i][i]), abs=0.01
        )
    _show_matrix(found)
    assert "leakage" in capsys.readouterr().out
    assert main(["statistics", model, "--spaces", "w", *flags[3:-3]]) == 0
    assert "linear separability" in capsys.readouterr().out
    assert main(["statistics", model, *flags[:-1]]) == 2
    assert "name at least two" in capsys.readouterr().err
    assert main(["statistics", model, "--spaces", "v"]) == 2


def test_a_collapsed_model_has_statistics() -> None:
    # Its samples have no dimension, and nothing changes them: both ended the command, with what had been measured.
    model = ours("style")
    for weight in model.generator.parameters():
        weight.zero_()
    found = _measure(open_space(model, "z"), 20, 0, [], lambda what: None)
    assert found["dimension of samples"] == 0 == found["path length (pixels)"]
    assert "metric participation" not in found


def test_of_large_series_fewer_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of 10 kB whose series have a million numbers took more than 8.6 GB: 2,000 of them were kept whole, twice."""
    space = open_space(series_model(), "z")
    assert statistics._count(space, 2000) == 2000
    monkeypatch.setattr(arrays, "TOGETHER", 70 * 48)
    assert statistics._count(space, 2000) == 70
    assert "A sample has 48 numbers: z is measured by 70 of them." in capsys.readouterr().err
    monkeypatch.setattr(arrays, "TOGETHER", 63 * 48)
    with pytest.raises(GanvasError, match=r"63 of them, which are held together, and 64 are the fewest"):
        statistics._count(space, 2000)


def test_distances_of_broad_points_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 series of a million numbers they took 4 GB."""
    points = np.random.default_rng(0).normal(size=(64, 40)) * np.linspace(1, 0.01, 40)
    points = np.concatenate([points, points[:3]])
    whole = sample_dimension(points)
    monkeypatch.setattr("ganvas.latent.statistics.BROAD", 39)
    monkeypatch.setattr("ganvas.latent.statistics.COLUMNS", 7)
    assert sample_dimension(points) == pytest.approx(whole, rel=1e-9)
    assert sample_dimension(np.ones((64, 40))) == 0


def test_a_spectrum_of_large_jacobians_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 latents times a million numbers are 2 GB, three times over."""
    space = open_space(series_model(), "z")
    assert len(spectrum(space)) == 4
    monkeypatch.setattr("ganvas.latent.jacobian.MOST_NUMBERS", 4 * 48 - 1)
    assert len(spectrum(space)) == 0


def test_a_metric_in_parts_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    space = open_space(series_model(), "z")
    points = space.numbered(2)
    whole = metric(space, points)
    j = jacobians(space, points)[1].double()
    assert torch.equal(whole, (j[0].t() @ j[0] + j[1].t() @ j[1]) / 2), "to the bit, where it fits"
    monkeypatch.setattr("ganvas.latent.jacobian.PART", 4 * 7)
    torch.testing.assert_close(metric(space, points), whole, rtol=1e-12, atol=1e-12)
