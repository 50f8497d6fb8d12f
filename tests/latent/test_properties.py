"""Spaces and paths given points as people have them: the same answer in any type, or a `GanvasError`; never a silent NaN."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from torch import Tensor, nn

import ganvas
from ganvas import latent
from ganvas.errors import GanvasError
from ganvas.geometry import slerp
from ganvas.latent.space import LatentSpace, open_space
from ganvas.latent.statistics import intrinsic_dimension, participation
from tests.latent.test_space import ours

POINTS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float16).astype(np.float64)
CLOTHES: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda x: x.astype(np.float16), "float64": lambda x: x, "big-endian": lambda x: x.astype(">f8"),
    "negative strides": lambda x: x[::-1].copy()[::-1], "list": lambda x: x.tolist(),
    "half": lambda x: torch.from_numpy(x).half(), "double": lambda x: torch.from_numpy(x),
    "gradient": lambda x: torch.from_numpy(x).float().requires_grad_(True),
}  # fmt: skip


class Round(nn.Module):
    """Pictures of 4 x 4 px that depend on every number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "basis", torch.linalg.qr(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))[0]
        )

    def forward(self, z: Tensor) -> Tensor:
        basis: Any = self.basis
        return torch.tanh(z @ basis.t()).reshape(-1, 1, 4, 4)


def space(prior: Any = "normal") -> LatentSpace:
    return open_space(ganvas.wrap(Round(), latent_dim=4, prior=prior, value_range=(-1, 1)), "z")


TOOLS: dict[str, Callable[[LatentSpace, Any], Any]] = {
    "check": lambda s, x: s.check(x), "decode": lambda s, x: s.decode(x), "typicality": lambda s, x: s.typicality(x),
    "project": lambda s, x: s.project(x),
    "distance": lambda s, x: s.distance(x, POINTS if isinstance(x, np.ndarray) and x.shape == (5, 4) else x),
    "through": lambda s, x: latent.through(s, x)(torch.linspace(0, 1, 7)),
    "spline": lambda s, x: latent.through(s, x, "spline")(np.linspace(0, 1, 7)),
    "loop": lambda s, x: latent.through(s, x, loop=True)([0, 0.3, 1]),
    "step_lengths": lambda s, x: latent.step_lengths(s, x),
    "equal_steps": lambda s, x: latent.equal_steps(s, latent.through(s, x), 5, oversample=2, rounds=1),
    "geodesic": lambda s, x: latent.geodesic(s, x[0], x[-1], frames=4, steps=2)[0],
}  # fmt: skip


@pytest.mark.parametrize("clothes", CLOTHES)
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_points_in_any_clothes(tool: str, clothes: str, prior: str) -> None:
    expected = TOOLS[tool](space(prior), torch.from_numpy(POINTS).float())
    found = TOOLS[tool](space(prior), CLOTHES[clothes](POINTS))
    np.testing.assert_allclose(found.detach().double(), expected.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["z", "w", "w+", "styles", "layer:mapping"])
def test_double_points_of_every_space(name: str) -> None:
    model = ours()
    opened = (
        open_space(model, name) if name != "layer:mapping" else open_space(model, latent.spaces(model)[-1])
    )
    points = opened.sample(3, torch.Generator().manual_seed(0))
    expected = opened.decode(points)
    for found in (opened.decode(points.double()), opened.decode(points.numpy())):  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    "points",
    [
        POINTS * np.nan, np.where(POINTS > 1, np.inf, POINTS), POINTS[:, :3], POINTS[None], POINTS[0], POINTS[:0], POINTS + 0j,
        POINTS.astype(object), np.ma.masked_less(POINTS, 0), None, "points", torch.from_numpy(POINTS).to_sparse(),
    ],
)  # fmt: skip
def test_points_that_do_not_belong(tool: str, points: Any) -> None:
    if tool == "decode" and isinstance(points, np.ndarray) and points.shape[1:] == (4,) and len(points) == 0:
        return  # nothing of nothing
    try:
        found = TOOLS[tool](space(), points)
    except GanvasError:
        return
    except (TypeError, IndexError):
        assert tool == "geodesic", "its ends are rows, which this has none of"
        return
    raise AssertionError(f"{tool} gave {found}")


@pytest.mark.parametrize(
    "call",
    [
        lambda: space().sample(-1, torch.Generator()),
        lambda: space().sample(10**12, torch.Generator()),
        lambda: space().numbered(0),
        lambda: space().project(torch.ones(2, 4), least=math.nan),
        lambda: space().distance(torch.ones(2, 4), torch.ones(3, 4)),
        lambda: latent.through(space(), torch.ones(1, 4)),
        lambda: latent.through(space(), POINTS)(torch.tensor([math.nan])),  # type: ignore[arg-type]
        lambda: latent.through(space(), POINTS, "curved"),  # type: ignore[arg-type]
        lambda: latent.equal_steps(space(), latent.through(space(), POINTS), 1),  # type: ignore[arg-type]
        lambda: latent.equal_steps(space(), latent.through(space(), POINTS), 10**12),  # type: ignore[arg-type]
        lambda: latent.equal_steps(space(), latent.through(space(), POINTS), 5, oversample=0),  # type: ignore[arg-type]
        lambda: latent.geodesic(space(), torch.ones(4), torch.ones(3)),
        lambda: latent.geodesic(space(), torch.ones(4), torch.zeros(4), frames=0),
        lambda: latent.geodesic(space(), torch.ones(4), torch.zeros(4), steps=-1),
        lambda: latent.variation(torch.tensor([1.0, math.nan])),
        lambda: latent.variation(torch.zeros(0)),
        lambda: latent.variation(torch.tensor([1.0, -1.0])),
        lambda: latent.pyramid(torch.ones(3)),
        lambda: latent.style_mixing(space(), torch.ones(1, 4), torch.ones(1, 4), 1),
        lambda: participation(torch.tensor([1.0, math.nan])),
        lambda: participation(torch.zeros(3)),
        lambda: intrinsic_dimension(POINTS),
    ],
)
def test_what_has_no_value_is_said(call: Callable[[], object]) -> None:
    with pytest.raises(GanvasError):
        call()


def test_a_way_through_the_origin_has_no_nan() -> None:
    """The origin has no direction: half-way to x along a great circle lies half of x's length."""
    ends = torch.tensor([[0.0, 0, 0, 0], [2.0, 0, 0, 0]])
    half = latent.through(space(), ends, "spherical")(torch.tensor([0.5]))
    assert float(half.norm()) == pytest.approx(math.sin(math.pi / 4), rel=1e-5)
    assert torch.isfinite(slerp(ends[:1], ends[:1], torch.tensor([[0.5]]))).all()


def test_images_of_bytes_are_seen_as_floats() -> None:
    images = torch.randint(
        0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(latent.pyramid(images), latent.pyramid(images.float()))


@given(arrays_of.arrays(np.float64, st.tuples(st.integers(0, 30), st.integers(0, 3))))
@settings(max_examples=80, deadline=None)
def test_dimensions_are_finite_or_refused(points: np.ndarray) -> None:
    try:
        found = intrinsic_dimension(points)
    except GanvasError:
        return
    assert math.isfinite(found)


@given(st.lists(st.floats(0, 1e300), max_size=6))
@settings(max_examples=80, deadline=None)
def test_participation_counts_what_matters(values: list[float]) -> None:
    try:
        found = participation(torch.tensor(values, dtype=torch.float64))
    except GanvasError:
        assert not any(values)
        return
    assert 1 - 1e-9 <= found <= len(values) + 1e-9
