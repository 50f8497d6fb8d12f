"""Likeness: an absolute measure, which noise fails however its pictures rank among themselves."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.features.base import Wrapped
from ganvas.latent.likeness import likeness, neighbours
from ganvas.model import PACKAGED, Model
from ganvas.networks import build_generator
from tests.held import Held


def normal(n: int, seed: int, size: int = 8) -> Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [100, 1000])
def test_one_distribution_has_likeness_one_at_every_size(n: int) -> None:
    """Two halves of one sample have the share n / (2n - 1), the expected one, within four errors."""
    found = [neighbours(normal(n, seed), normal(n, seed + 50)) for seed in range(5)]
    for each in found:
        assert each.samples == pytest.approx(1, abs=4 * each.error)
        assert each.real == pytest.approx(1, abs=4 * each.error)
        assert not each.strange
    # The error is that of one figure: the spread over seeds is no larger than twice the stated one.
    assert torch.tensor([each.samples for each in found]).std() < 2 * found[0].error


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0, 100.0])
def test_what_lies_elsewhere_has_none_at_any_scale(scale: float) -> None:
    """Narrow clouds are their own neighbours; wide ones have real neighbours and are nobody's."""
    real = normal(500, 0, 32)
    found = neighbours(scale * normal(500, 1, 32), real)
    assert found.value < 0.05
    assert found.strange
    if scale > 1:
        assert found.samples > 0.5, "real images are hubs for scattered noise: one side alone would pass it"


def test_copies_are_above_one() -> None:
    real = normal(400, 0)
    assert neighbours(real + 1e-3 * normal(400, 1), real).value == pytest.approx(2, abs=0.01)


def real_garments() -> Tensor:
    with np.load(PACKAGED / "fashion" / "real.npz") as held:
        return torch.from_numpy(held[held.files[0]])


def test_the_packaged_model_passes_and_noise_fails() -> None:
    real = real_garments()
    good = likeness(ganvas.load("fashion", device="cpu"), real, n=500)
    assert good.value > 0.6
    assert not good.strange
    config = NetworkConfig("style", latent_dim=16, generator={"channels": 8})
    generator = build_generator(config, (1, 28, 28), 0).eval().requires_grad_(False)
    untrained = likeness(Model.of_run(generator, None, ganvas.Config(network=config), {}), real, n=500)
    assert untrained.value < 0.05
    assert untrained.strange
    assert "look like one another and not like the real images" in untrained.words


def test_points_and_mistakes() -> None:
    model = ganvas.wrap(nn.Identity(), latent_dim=3)
    assert likeness(model, normal(300, 5, 3)).value == pytest.approx(1, abs=0.3)
    with pytest.raises(GanvasError, match=r"the real images are \(2,\)"):
        likeness(model, normal(300, 5, 2))
    with pytest.raises(GanvasError, match="at least 20"):
        likeness(model, normal(12, 5, 3))
    with pytest.raises(GanvasError, match="equal numbers"):
        neighbours(normal(5, 0), normal(6, 0))


def test_large_pictures_are_seen_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of 1,024 px took 12 GB."""
    model = ganvas.wrap(nn.Sequential(nn.Linear(4, 64), nn.Tanh()), latent_dim=4, shape=(1, 8, 8))
    real, rows = model.sample(60, seed=9), list[int]()

    def see(images: Tensor) -> Tensor:
        rows.append(len(images))
        return images.float().flatten(1)

    whole = likeness(model, real, extractor=Wrapped(see, torch.device("cpu")))
    rows.clear()
    monkeypatch.setattr("ganvas.features.base.NUMBERS", 20 * 64)
    monkeypatch.setitem(vars(model), "at_once", 16)
    assert likeness(model, real, extractor=Wrapped(see, torch.device("cpu"))) == whole
    assert rows == [16, 16, 16, 12, 20, 20, 20]


def test_neighbours_are_looked_for_part_by_part() -> None:
    """Both sets together, and once more in float64, lay beside them."""
    fake, real = normal(600, 0, 2000), normal(600, 1, 2000)
    with Held() as held:
        neighbours(fake, real)
    assert held.most < 2.5 * 4 * 2 * fake.numel(), held.most
