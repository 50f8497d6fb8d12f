import numpy as np
import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.errors import GanvasError
from ganvas.geometry import slerp
from ganvas.latent import open_space, paths
from ganvas.metrics import path_length
from ganvas.metrics.path_length import PairedSpace
from ganvas.model import draw_prior
from tests.latent.test_space import ours


class Linear:
    """G(w) = A w."""

    flat = True

    def __init__(self, matrix: Tensor, flat: bool = True) -> None:
        self.matrix, self.flat = matrix, flat

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.matrix.shape[1], generator=generator, dtype=torch.float64)

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.matrix.T


def total(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(1)


@pytest.mark.parametrize("epsilon", [1e-2, 1e-4])
def test_linear_generator_in_a_flat_space(epsilon: float) -> None:
    """E |A (w2 - w1)|^2 = 2 |A|_F^2, whatever epsilon is."""
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 5)))
    found = path_length(Linear(matrix), n=20_000, epsilon=epsilon, distance=total, trim=False)
    assert found.mean == pytest.approx(2 * float(matrix.square().sum()), abs=4 * found.error)


def test_on_a_sphere_the_speed_is_the_angle() -> None:
    """Identity on a circle of latents of one length: |dG| = length * angle * epsilon, angles uniform on [0, pi]."""

    class Circle(Linear):
        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            angle = 2 * np.pi * torch.rand(n, generator=generator, dtype=torch.float64)
            return 3 * torch.stack([angle.cos(), angle.sin()], 1)

    found = path_length(
        Circle(torch.eye(2, dtype=torch.float64), flat=False), n=20_000, distance=total, trim=False
    )
    assert found.mean == pytest.approx(9 * np.pi**2 / 3, abs=4 * found.error)


def test_at_the_end_nothing_depends_on_t() -> None:
    class Squared(Linear):
        def decode(self, latents: Tensor) -> Tensor:
            return latents.square()

    # d/dt of w^2 at t = 0 is 2 w1 (w2 - w1): E 4 w1^2 (w2 - w1)^2 = 4 (1 + 3) for each coordinate.
    found = path_length(
        Squared(torch.eye(3).double()), n=50_000, at="end", epsilon=1e-6, distance=total, trim=False
    )
    assert found.mean == pytest.approx(3 * 16, abs=4 * found.error)


def test_the_path_starts_and_ends_where_it_should() -> None:
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, torch.zeros(6, 1, dtype=torch.float64)), a)
    torch.testing.assert_close(slerp(a, b, torch.ones(6, 1, dtype=torch.float64)), b)


def test_trimming_and_bad_input() -> None:
    space = Linear(torch.eye(3).double())
    assert (
        path_length(space, n=5000, distance=total).mean
        < path_length(space, n=5000, distance=total, trim=False).mean
    )
    with pytest.raises(GanvasError, match="epsilon is 0; it must be above 0"):
        path_length(space, n=10, epsilon=0)

    class Bytes(Linear):
        def decode(self, latents: Tensor) -> Tensor:
            return latents.to(torch.uint8)

    with pytest.raises(GanvasError, match="float samples"):
        path_length(Bytes(torch.eye(3).double()), n=10)


@pytest.mark.parametrize("name", ["z", "w", "w+"])
def test_both_ends_of_a_path_are_of_one_class(name: str) -> None:
    """Where classes are in the points, too: a path between two of them is longer than any that samples lie on."""
    space = open_space(ours("style", 3), name)
    points = PairedSpace(space).sample(8, torch.Generator().manual_seed(1))
    z = draw_prior("normal", 8, 8, torch.Generator().manual_seed(1))
    wanted = space.of(z, torch.tensor([0, 1, 2, 0, 0, 1, 2, 0])).flatten(1)
    torch.testing.assert_close(points, wanted)


def test_more_classes_than_samples_are_all_there() -> None:
    """A batch of 128 of a thousand classes was of the first ones."""
    labels = PairedSpace(open_space(ours("dcgan", 40), "z"))._labels(16)
    assert labels is not None
    assert labels.tolist() == [0, 5, 10, 15, 20, 25, 30, 35] * 2


def test_the_unit_is_no_matter_of_the_range() -> None:
    """What draws from 0 to 1 moves no less than what draws the same from -1 to 1."""
    half = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Sigmoid())
    pair = (ganvas.wrap(half, latent_dim=4, shape=(1, 4, 4), value_range=(low, 1)) for low in (0, -1))
    one, other = (path_length(PairedSpace(open_space(each, "z")), n=200).mean for each in pair)
    assert one == pytest.approx(4 * other, rel=1e-4)


def test_paths_of_large_pictures_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 of 1,024 px took 14 GB. Both ends are of the class that they have among all."""
    space = PairedSpace(open_space(ours("dcgan", 40), "z"))
    first, second = torch.randn(2, 16, space.space.size)
    whole = space.decode(torch.cat([first, second]))
    numbers = whole[0].numel()
    monkeypatch.setattr(paths, "NUMBERS", 6 * numbers)
    parts = list(space.pairs(first, second))
    assert [len(each) for each, _ in parts] == [3, 3, 3, 3, 3, 1]
    found = torch.cat([torch.cat(each) for each in zip(*parts, strict=True)])
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)
    assert path_length(space, n=40).mean > 0
