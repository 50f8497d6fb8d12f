"""Paths on decoders whose geometry is known."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ganvas
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent import (
    equal_steps,
    geodesic,
    open_space,
    paths,
    step_lengths,
    style_mixing,
    through,
    variation,
)  # fmt: skip
from ganvas.latent.paths import pyramid, rows_back
from tests.latent.test_space import ours

TIMES = torch.linspace(0, 1, 41, dtype=torch.float64)


class Curved(nn.Module):
    """(u, v) -> (u, v, exp(3 u)): straight steps in u look longer and longer."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([z[:, 0], z[:, 1], (3 * z[:, 0]).exp()], 1)


class Sphere(nn.Module):
    """Angles (longitude, latitude) -> a point on the unit sphere."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([z[:, 0].cos() * z[:, 1].cos(), z[:, 0].sin() * z[:, 1].cos(), z[:, 1].sin()], 1)


def test_paths_reach_their_keys() -> None:
    space = open_space(ours(), "z")
    keys = space.sample(4, torch.Generator().manual_seed(0))
    for kind in ("auto", "linear", "spherical"):
        for loop in (False, True):
            path = through(space, keys, kind, loop)  # type: ignore[arg-type]
            count = 4 if loop else 3
            found = path(torch.arange(4) / count)
            torch.testing.assert_close(found, keys, atol=1e-4, rtol=1e-4)
            if loop:
                torch.testing.assert_close(path(torch.tensor([1.0])), keys[:1], atol=1e-4, rtol=1e-4)
    lengths = through(space, keys)(TIMES).norm(dim=1)
    assert lengths.min() > 0.9 * keys.norm(dim=1).min(), "great circles do not cut through the middle"


def test_splines_are_smooth_where_lines_have_corners() -> None:
    space = open_space(ours(), "w")
    keys = space.sample(5, torch.Generator().manual_seed(0))
    times = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for loop in (False, True):
        bends = {}
        for kind in ("linear", "spline"):
            points = through(space, keys, kind, loop)(times).double()  # type: ignore[arg-type]
            steps = points[1:] - points[:-1]
            if loop:
                steps = torch.cat([steps, steps[:1]])
            bends[kind] = (steps[1:] - steps[:-1]).norm(dim=1).max() / steps.norm(dim=1).mean()
        assert bends["spline"] < 0.1 * bends["linear"]
        torch.testing.assert_close(
            through(space, keys, "spline", loop)(torch.arange(5) / (5 if loop else 4)),
            keys,
            atol=1e-4,
            rtol=1e-3,
        )


def test_equal_steps_on_a_curve_of_known_length() -> None:
    model = ganvas.wrap(Curved(), latent_dim=2, prior="uniform")
    space = open_space(model, "z")
    path = through(space, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    before = variation(step_lengths(space, path(TIMES)))
    times = equal_steps(space, path, 41)
    after = variation(step_lengths(space, path(times)))
    assert before > 0.8
    assert after < 0.02
    assert times[0] == 0
    assert times[-1] == 1
    assert (times[1:] > times[:-1]).all()


def test_steps_are_measured_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of a long film of large pictures take gigabytes: two of a part's neighbours are all that a step needs."""
    space = open_space(ganvas.load("fashion", device="cpu"), "z")
    points, seen = space.sample(11, torch.Generator().manual_seed(1)), list[int]()
    whole = step_lengths(space, points)

    def see(samples: torch.Tensor) -> torch.Tensor:
        seen.append(len(samples))
        return pyramid(samples)

    monkeypatch.setattr(paths, "NUMBERS", 3 * 28 * 28 + 1)
    torch.testing.assert_close(step_lengths(space, points, see=see), whole)
    assert seen == [3, 3, 3, 2]
    monkeypatch.setattr(paths, "NUMBERS", 1)
    torch.testing.assert_close(step_lengths(space, points), whole)


@pytest.mark.parametrize("name", ["z", "w"])
def test_equal_steps_on_the_packaged_model(name: str) -> None:
    """The coefficient of variation falls to less than a third of that of even times."""
    space = open_space(ganvas.load("fashion", device="cpu"), name)
    with torch.no_grad():
        keys = space.sample(3, torch.Generator().manual_seed(1))
    path = through(space, keys)
    before = variation(step_lengths(space, path(TIMES)))
    after = variation(step_lengths(space, path(equal_steps(space, path, 41))))
    assert after < before / 3


def test_the_geodesic_on_a_sphere_is_a_great_circle() -> None:
    """Between two points of latitude 60 degrees, 120 degrees of longitude apart, the straight line follows the parallel; the
    great circle is shorter and passes nearer to the pole."""
    space = open_space(ganvas.wrap(Sphere(), latent_dim=2, prior="uniform"), "z")
    start, stop = torch.tensor([-math.pi / 3, math.pi / 3]), torch.tensor([math.pi / 3, math.pi / 3])
    points, energies = geodesic(space, start, stop, frames=21, steps=400)
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], stop)
    a, b = Sphere()(start[None])[0], Sphere()(stop[None])[0]
    angle = float(torch.arccos(a @ b))
    parallel = 2 * math.pi / 3 * math.cos(math.pi / 3)
    length = float(step_lengths(space, points).sum())
    assert energies[0] == pytest.approx(parallel**2, rel=0.01)
    assert length == pytest.approx(angle, rel=0.02)
    assert length < 0.9 * parallel


def test_style_mixing() -> None:
    model = ours()
    space = open_space(model, "w+")
    w = space.sample(5, torch.Generator().manual_seed(0))
    mixed = style_mixing(space, w[:2], w[2:], 2)
    assert mixed.shape == (6, *space.shape)
    assert torch.equal(mixed[4, :2], w[1, :2])
    assert torch.equal(mixed[4, 2:], w[3, 2:])
    with pytest.raises(GanvasError, match=r"happens in w\+"):
        style_mixing(open_space(model, "w"), w[:2], w[2:], 2)
    with pytest.raises(GanvasError, match="between 1 and"):
        style_mixing(space, w[:2], w[2:], 99)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--frames", "12", "--equal"], "walk.gif"),
        (["--frames", "12", "--kind", "spline", "--loop", "--space", "z"], "walk.webp"),
        (["--kind", "geodesic", "--frames", "6"], "walk.png"),
        (["--kind", "mixing", "--keys", "6"], "mixing.png"),
        (["--frames", "12", "--space", "layer:layers.1", "--kind", "linear"], "layer.png"),
    ],
)
def test_walks_by_command(
    flags: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert main(["walk", "fashion", *flags, "--out", str(out), "--device", "cpu", "--json"]) == 0
    assert '"space"' in capsys.readouterr().out
    with Image.open(out) as picture:
        assert getattr(picture, "n_frames", 1) == (12 if out.suffix != ".png" else 1)


def test_a_gradient_goes_back_from_no_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the size of the pictures alone, 256 of 32 px kept 8 GB of a StyleGAN2 of 512 channels."""
    assert rows_back(open_space(ours(), "z")) == 256
    monkeypatch.setattr("ganvas.model.AT_ONCE", 1)
    assert rows_back(open_space(ours(), "z")) == 16


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", "walk.mp5"], "as a film; use .gif, .webp, .mp4"),
        (["--keys", "1"], "keys is 1; it must be at least 2"),
        (["--space", "ww"], "no space 'ww'"),
        (["--kind", "mixing", "--out", "a.gif"], "table of pictures"),
        (["--kind", "mixing", "--keys", "1000", "--out", "a.png"], "table of 501 x 501 pictures"),
        (["--frames", "100000", "--out", "a.png"], "table of 8,334 x 12 pictures"),
    ],
)
def test_mistakes(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["walk", "fashion", *flags]) == 2
    assert message in capsys.readouterr().err
