"""ADA's pipeline: every transform alone against scipy or a closed form, all of it against the published formulas in numpy."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri
from torch import Tensor

from ganvas.losses import ada
from ganvas.losses.ada import SYM6, bgc, warp

Array = NDArray[np.float64]
LAYOUT = (
    "flip", "rotate90", "shift_x", "shift_y", "scale", "rotate", "aniso", "rotate_after", "frac_x", "frac_y",
    "brightness", "contrast", "lumaflip", "hue", "saturation",
)  # fmt: skip
PAIRED = {"shift_x", "frac_x"}
"""Two values share the chance behind the second one."""


def numbers(count: int = 1, **wanted: float) -> Tensor:
    """Uniform numbers for which, at p = 0.5, the named transforms happen with these values and no other does."""
    row: list[float] = []
    for name in LAYOUT:
        row.append(wanted.get(name, 0.5))
        if name not in PAIRED:
            pair = {"shift_y": "shift_x", "frac_y": "frac_x"}.get(name, name)
            row.append(0.1 if name in wanted or pair in wanted else 0.9)
    assert len(row) == ada.DRAWS
    return torch.tensor([row] * count, dtype=torch.float64)


def smooth(side: int = 32, channels: int = 3) -> Tensor:
    """Soft blobs: resampling changes them little, whatever the filter."""
    random = np.random.default_rng(0).normal(size=(2, channels, side, side))
    soft = ndimage.gaussian_filter(random, (0, 0, 3, 3), mode="reflect")
    return torch.from_numpy(soft / np.abs(soft).max() * 0.8)


def inner(x: Tensor, border: int = 6) -> Tensor:
    return x[..., border:-border, border:-border]


def test_the_filter_is_the_wavelet_with_six_vanishing_moments() -> None:
    h = np.array(SYM6)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-9)
    for lag in range(6):
        assert h[: 12 - 2 * lag] @ h[2 * lag :] == pytest.approx(float(lag == 0), abs=1e-9), (
            "orthogonal to its even shifts"
        )
    for power in range(6):
        assert (np.arange(12.0) ** power * (-1.0) ** np.arange(12)) @ h == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("side", [8, 28, 32])
def test_nothing_happens_at_p_0(side: int) -> None:
    x = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    u = torch.rand(4, ada.DRAWS, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(bgc(x, u, 0.0), x, atol=2e-6, rtol=0)


def test_flips_and_quarter_turns() -> None:
    x = smooth()
    # The wavelet is not quite symmetric, so a mirrored image differs a little from the mirror image, as published.
    found = bgc(x, numbers(2, flip=0.7), 0.5)
    torch.testing.assert_close(inner(found), inner(x.flip(3)), atol=0.02, rtol=0)
    torch.testing.assert_close(bgc(x, numbers(2, flip=0.3), 0.5), x, atol=1e-9, rtol=0)
    for turn in range(4):
        found = bgc(x, numbers(2, rotate90=turn / 4 + 0.1), 0.5)
        torch.testing.assert_close(inner(found), inner(torch.rot90(x, turn, (2, 3))), atol=0.02, rtol=0)


def test_whole_pixels_are_exact_and_the_image_goes_on_by_reflection() -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bgc(
        x, numbers(2, shift_x=0.9, shift_y=0.3), 0.5
    )  # 0.8 and -0.4 of an eighth of 32 px: 3 right, 2 up
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="reflect")
    torch.testing.assert_close(found, torch.from_numpy(padded[:, :, 6:38, 1:33]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("wanted", "matrix"),
    [
        ({"scale": 0.8}, np.eye(2) / 2 ** (0.2 * ndtri(0.8))),
        ({"aniso": 0.8}, np.diag([2 ** (0.2 * ndtri(0.8)), 1 / 2 ** (0.2 * ndtri(0.8))])),
        ({"rotate": 0.6}, None),
        ({"rotate_after": 0.6}, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_geometry_against_scipy(wanted: dict[str, float], matrix: Array | None) -> None:
    """`affine_transform` asks the same: where is each pixel of the result taken from, rows before columns?"""
    x = smooth()
    if matrix is None:
        angle = 0.2 * math.pi  # 0.6 of the way from -pi to pi; columns turn towards rows
        matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = np.array([15.5, 15.5])
    expected = [
        ndimage.affine_transform(image.numpy(), matrix, centre - matrix @ centre, order=3, mode="mirror")
        for image in x.flatten(0, 1)
    ]
    found = bgc(x, numbers(2, **wanted), 0.5)
    torch.testing.assert_close(
        inner(found), inner(torch.from_numpy(np.stack(expected)).reshape(x.shape)), atol=0.02, rtol=0
    )
    assert (inner(found) - inner(x)).abs().max() > 0.1


def test_parts_of_pixels_against_scipy() -> None:
    x = smooth()
    shift = 0.125 * 32 * float(ndtri(0.6)), 0.125 * 32 * float(ndtri(0.3))
    found = bgc(x, numbers(2, frac_x=0.6, frac_y=0.3), 0.5)
    expected = ndimage.shift(x.numpy(), (0, 0, shift[1], shift[0]), order=3, mode="mirror")
    torch.testing.assert_close(inner(found), inner(torch.from_numpy(expected)), atol=0.02, rtol=0)


def test_each_change_of_colour_in_closed_form() -> None:
    x = smooth()
    grey = x.mean(1, keepdim=True)
    for wanted, expected in (
        ({"brightness": 0.9}, x + 0.2 * float(ndtri(0.9))),
        ({"contrast": 0.9}, x * 2 ** (0.5 * float(ndtri(0.9)))),
        ({"lumaflip": 0.7}, x - 2 * grey),
        ({"hue": 0.5 + 1 / 3}, x.roll(1, 1)),  # a third of a circle about grey exchanges the channels
        ({"hue": 1.0}, 2 * grey - x),  # half a circle: the complement
        ({"saturation": 0.2}, grey + (x - grey) * 2 ** float(ndtri(0.2))),
    ):
        torch.testing.assert_close(
            bgc(x, numbers(2, **wanted), 0.5), expected, atol=1e-5, rtol=0, msg=str(wanted)
        )


def test_grey_images_keep_one_channel() -> None:
    x = smooth(channels=1)
    torch.testing.assert_close(bgc(x, numbers(2, lumaflip=0.7), 0.5), -x, atol=1e-5, rtol=0)
    torch.testing.assert_close(bgc(x, numbers(2, hue=0.9, saturation=0.9), 0.5), x, atol=1e-5, rtol=0)
    brighter = bgc(x, numbers(2, brightness=0.9, contrast=0.9), 0.5)
    expected = (x + 0.2 * float(ndtri(0.9))) * 2 ** (0.5 * float(ndtri(0.9)))
    torch.testing.assert_close(brighter, expected, atol=1e-5, rtol=0)


def by_hand(image: Array, u: Array, p: float, colour: float) -> Array:
    """Appendix B, one image (C, H, W) and its numbers, step by step: matrices, reflection, filter, samples, filter, colours."""
    draws = iter(u)
    size = image.shape[2], image.shape[1]

    def gated(values: list[float], nothing: float, chance: float) -> list[float]:
        return values if next(draws) < chance else [nothing] * len(values)

    def uniform(reach: float, chance: float = p, count: int = 1) -> list[float]:
        return gated([(2 * next(draws) - 1) * reach for _ in range(count)], 0.0, chance)

    def normal(spread: float, chance: float = p, count: int = 1) -> list[float]:
        return gated([spread * float(ndtri(next(draws))) for _ in range(count)], 0.0, chance)

    def choice(count: int, chance: float = p) -> float:
        return gated([float(int(next(draws) * count))], 0.0, chance)[0]

    def affine(a: Any, shift: Any = (0.0, 0.0)) -> Array:
        made = np.eye(3)
        made[:2, :2], made[:2, 2] = a, shift
        return made

    def turn(t: float) -> Array:
        return affine([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]])

    # What was done to the image, first to last; `g` leads from the result back.
    g = affine(np.diag([1 - 2 * choice(2), 1]))
    g = g @ turn(choice(4) * math.pi / 2)
    x, y = uniform(0.125, count=2)
    g = g @ affine(np.eye(2), (-round(x * size[0]), -round(y * size[1])))
    g = g @ affine(np.eye(2) / 2 ** normal(0.2)[0])
    either = 1 - math.sqrt(1 - p)
    g = g @ turn(uniform(math.pi, either)[0])
    stretched = 2 ** normal(0.2)[0]
    g = g @ affine(np.diag([1 / stretched, stretched]))
    g = g @ turn(uniform(math.pi, either)[0])
    x, y = normal(0.125, count=2)
    g = g @ affine(np.eye(2), (-x * size[0], -y * size[1]))

    taps = np.array(SYM6) / sum(SYM6)
    height, width = image.shape[1:]
    moved = []
    for channel in image:
        padded = np.pad(channel, ((height - 1,) * 2, (width - 1,) * 2), mode="reflect")
        wide = np.zeros((2 * padded.shape[0], 2 * padded.shape[1]))
        wide[::2, ::2] = padded
        for axis in (0, 1):
            wide = np.apply_along_axis(lambda row: np.convolve(row, 2 * taps)[5 : 5 + len(row)], axis, wide)
        rows, columns = 2 * (height + 6), 2 * (width + 6)
        j, i = np.meshgrid(np.arange(columns), np.arange(rows))
        # Old pixel k lies at new pixel 2 k: places in old pixels from the centre, back through g, to new ones.
        x, y = (j / 2 - (width + 5) / 2), (i / 2 - (height + 5) / 2)
        back = g @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
        place = [2 * (back[1] + (padded.shape[0] - 1) / 2), 2 * (back[0] + (padded.shape[1] - 1) / 2)]
        seen = ndimage.map_coordinates(wide, place, order=1, mode="grid-constant").reshape(rows, columns)
        for axis in (0, 1):
            seen = np.apply_along_axis(lambda row: np.correlate(row[1:-1], taps)[::2], axis, seen)
        moved.append(seen)

    p = colour * p
    b, c, flipped = normal(0.2, p)[0], 2 ** normal(0.5, p)[0], choice(2, p)
    v = np.full(3, 3**-0.5)
    m = (np.eye(3) - 2 * flipped * np.outer(v, v)) * c
    shift = m @ np.full(3, b)
    if len(image) == 1:
        return np.stack(moved) * m.sum(1).mean() + shift.mean()
    theta = uniform(math.pi, p)[0]
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    hue = np.eye(3) + math.sin(theta) * cross + (1 - math.cos(theta)) * cross @ cross
    along = np.outer(v, v)
    last = (along + (np.eye(3) - along) * 2 ** normal(1.0, p)[0]) @ hue
    return np.einsum("ij,jhw->ihw", last @ m, np.stack(moved)) + (last @ shift)[:, None, None]


@pytest.mark.parametrize(
    ("shape", "p", "colour"), [((3, 32, 32), 1.0, 1.0), ((1, 28, 28), 0.6, 1.0), ((3, 16, 24), 0.8, 0.5)]
)
def test_the_whole_pipeline_against_the_published_formulas(
    shape: tuple[int, int, int], p: float, colour: float
) -> None:
    """Fractions of an image that lie beyond its reflection may differ: zeros there, and the filter sees them elsewhere."""
    random = torch.Generator().manual_seed(3)
    x = torch.rand(6, *shape, generator=random, dtype=torch.float64) * 2 - 1
    u = torch.rand(6, ada.DRAWS, generator=random, dtype=torch.float64)
    found = bgc(x, u, p, colour=colour).numpy()
    for i in range(len(x)):
        np.testing.assert_allclose(found[i], by_hand(x[i].numpy(), u[i].numpy(), p, colour), atol=2e-5)


def test_every_chance_is_its_own() -> None:
    """At p = 0.3 an image escapes seven transforms, each by 0.7; the two turns count as one."""
    count = 4000
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(count, -1, -1, -1) * 2 - 1
    u = torch.rand(count, ada.DRAWS, generator=torch.Generator().manual_seed(1))
    u[:, [1, 3, 23]] = 0.9  # no flip, quarter turn or mirrored light: some of them change nothing
    u[:, 4] = 0.99  # a shift moves by a whole pixel
    same = (bgc(x, u, 0.3) - x).abs().amax((1, 2, 3)) < 1e-5
    assert same.float().mean().item() == pytest.approx(0.7**7, abs=0.02)
    shapes = (bgc(x, u, 0.3, colour=0.0) - x).abs().amax((1, 2, 3)) < 1e-5
    assert shapes.float().mean().item() == pytest.approx(0.7**5, abs=0.02), "two of them were of colour"


def test_wide_margins_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that must not wait take the widest ones."""
    x = torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angle = torch.tensor([0.1, 0.2, 0.3, 3.0], dtype=torch.float64)
    matrix = ada._turn(angle) @ ada._shift(angle, -angle)
    found = warp(x, matrix)
    monkeypatch.setattr(ada, "_margins", lambda *_, **__: [15, 15, 15, 15])
    torch.testing.assert_close(warp(x, matrix), found, atol=1e-9, rtol=0)


def test_the_number_format_of_the_run_does_not_reach_it() -> None:
    """Real images are augmented outside of autocast and fakes inside of it: both must look the same to the critic."""
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    u = torch.rand(2, ada.DRAWS, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = bgc(x, u, 1.0)
    assert torch.equal(found, bgc(x, u, 1.0))


def test_every_pixel_of_large_pictures_has_a_number() -> None:
    """In float32 there are no odd ones above 2^24: pictures of 683 px and more were taken from beside their places."""
    side = 4200
    x = (torch.arange(side) % 2.0).expand(1, 1, side, side)
    across = torch.arange(side - 8.0, side)[None]
    found = ada._bilinear(x, across, torch.full_like(across, side - 2.0))
    assert found[0, 0].tolist() == [0, 1] * 4
