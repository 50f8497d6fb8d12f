"""Figures of reconstructions against closed forms and scipy's filters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ganvas.errors import GanvasError
from ganvas.features import open_extractor
from ganvas.metrics.reconstruction import compared, effective_rank, measure, psnr, ssim
from ganvas.model import Model, ModelInfo
from ganvas.networks import CriticBase, GeneratorBase
from ganvas.series import Column, Schema, Series

PICTURES = torch.randint(
    0, 256, (2, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def test_psnr_of_a_known_error() -> None:
    black = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert float(psnr(black, black + 51)) == pytest.approx(10 * np.log10(25), abs=1e-4)  # an error of a fifth
    assert float(psnr(black, black)) == pytest.approx(120)


def test_similarity_of_flat_images_is_its_luminance() -> None:
    a, b = (torch.full((1, 1, 12, 12), value, dtype=torch.uint8) for value in (51, 153))
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert float(ssim(a, b)) == pytest.approx(expected, abs=1e-6)


def by_scipy(x: np.ndarray, y: np.ndarray) -> float:
    """The window of 11 px, sigma 1.5, by somebody else's filter, where it is inside of the image."""

    def blurred(z: np.ndarray) -> np.ndarray:
        whole: np.ndarray = gaussian_filter(z, 1.5, truncate=3.5)[5:-5, 5:-5]
        return whole

    mx, my = blurred(x), blurred(y)
    vx, vy, vxy = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    return float(
        ((2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean()
    )


def test_similarity_is_that_of_scipys_filter() -> None:
    a, b = PICTURES, (PICTURES * 0.7).to(torch.uint8).roll(1, 3)
    for i in range(2):
        channels = [
            by_scipy(*(each[i, c].double().numpy() / 255 for each in (a, b))) for c in range(3)
        ]  # fmt: skip
        assert float(ssim(a, b)[i]) == pytest.approx(np.mean(channels), abs=1e-9)
    assert torch.allclose(ssim(a, a), torch.ones(2, dtype=torch.float64))


def test_rank_is_the_number_of_equal_directions() -> None:
    axes = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    codes = torch.cat([torch.eye(3), -torch.eye(3)]) @ axes[:3]
    assert effective_rank(codes) == pytest.approx(3, abs=1e-4)


class Halves(GeneratorBase):
    """Two numbers are the grey of the upper and of the lower half."""

    def __init__(self) -> None:
        super().__init__((1, 8, 8), 2)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return z.repeat_interleave(4, 1)[:, None, :, None].expand(-1, 1, 8, 8)


class Means(CriticBase):
    def __init__(self) -> None:
        super().__init__((1, 8, 8), 0, 2, codes=2)
        self.guess = torch.nn.Identity()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 3)).unflatten(1, (2, 4)).mean(2)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :1]


def test_an_autoencoder_that_loses_nothing_and_one_that_loses_what_it_cannot_hold() -> None:
    generator = Halves()
    model = Model(generator, None, ModelInfo.of(generator, "halves"), encoder=Means())
    z = torch.linspace(-1, 1, 40).reshape(20, 2)
    found = measure(model, model.to_data(generator(z)), open_extractor("raw"))
    assert (found.n, found.psnr, found.active, found.codes) == (20, pytest.approx(120), 2, 2)
    assert found.ssim == pytest.approx(1)
    assert found.frechet == pytest.approx(0, abs=1e-4)
    assert found.feature_distance == pytest.approx(0, abs=1e-6)
    assert found.rank == pytest.approx(1, abs=1e-3), "both numbers rise together"
    checks = (torch.arange(64).reshape(1, 1, 8, 8) % 2 * 255).to(torch.uint8).expand(20, -1, -1, -1)
    lost = measure(model, checks)
    assert lost.psnr == pytest.approx(10 * np.log10(4), abs=0.05), "grey in the place of black and white"
    assert (lost.active, lost.frechet) == (0, None)


def test_images_that_lie_in_the_order_of_their_classes_are_measured_as_any_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neighbours were the unit of the distance of features: of one class, they are alike. And few are compared at a time."""
    generator = Halves()
    model = Model(generator, None, ModelInfo.of(generator, "halves"), encoder=Means())
    random = torch.Generator().manual_seed(0)
    levels = torch.arange(4).repeat_interleave(50)[:, None, None, None] * 60
    images = (levels + torch.randint(0, 20, (200, 1, 8, 8), generator=random)).to(torch.uint8)
    seen: list[int] = []
    monkeypatch.setattr("ganvas.metrics.reconstruction.NUMBERS", 7 * 64)
    monkeypatch.setattr("ganvas.metrics.reconstruction.ssim", lambda a, b: seen.append(len(a)) or ssim(a, b))
    in_order = measure(model, images, open_extractor("raw"))
    mixed = measure(model, images[torch.randperm(200, generator=random)], open_extractor("raw"))
    assert in_order.feature_distance == pytest.approx(mixed.feature_distance, rel=0.15)
    assert max(seen) == 7
    assert in_order.ssim == pytest.approx(float(ssim(images, model.reconstruct(images)).mean()))
    assert in_order.psnr == pytest.approx(float(psnr(images, model.reconstruct(images)).mean()))


def test_what_cannot_be_measured_is_refused() -> None:
    generator = Halves()
    model = Model(generator, None, ModelInfo.of(generator, "halves"))
    with pytest.raises(GanvasError, match=r"\(halves\) has no encoder.*--method vae"):
        measure(model, torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(GanvasError, match="two samples or more, got 1"):
        measure(model, torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


def test_series_are_compared_by_their_values() -> None:
    """By hand: half a deviation off, what is missing by one; a logarithmic column by logarithms; categories by shares."""
    schema = Schema(
        4,
        (
            Column("a", low=-1, high=1),
            Column("b", log=True),
            Column("still"),
            Column("c", "category", categories=("x", "y")),
            Column("copy", same_as="a"),
        ),
        ends=True,
    )
    wave = np.array([1.0, -1.0, 1.0, -1.0])
    row = np.stack([wave, np.exp(wave), np.full(4, 7.0), [0, 1, 0, 1], wave], 1)
    true = Series(np.stack([row, row]), np.array([4, 2]), np.zeros((2, 0)), schema)
    again = np.stack([row, row])
    again[0, :, 0] += 0.5
    again[0, 0, 1] = np.nan
    again[0, 0, 3] = 1
    made = Series(again, np.array([4, 1]), np.zeros((2, 0)), schema)
    error, agreement = compared(true, made)
    # Of six steps of `a` four are half off, and one, behind an end that came too early, is one off; of `b` two are.
    assert error == pytest.approx(np.mean([(4 * 0.5 + 1) / 6, 2 / 6]))
    assert agreement == pytest.approx(4 / 6)
    assert compared(true, true) == (0, 1)
    flat = true._replace(values=np.ones((2, 4, 5)), schema=replace(schema, columns=schema.columns[2:3]))
    assert compared(flat, flat) == (None, None), "no number moves"


def test_extractors_see_few_large_pictures_of_a_reconstruction(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, rows = Halves(), list[int]()
    model = Model(generator, None, ModelInfo.of(generator, "halves"), encoder=Means())
    images = torch.randint(
        0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    def see(images: torch.Tensor) -> torch.Tensor:
        rows.append(len(images))
        return images.float().flatten(1)

    monkeypatch.setattr("ganvas.features.base.NUMBERS", 8 * 64)
    assert measure(model, images, open_extractor(see, device="cpu")).frechet is not None
    assert rows == [8, 8, 4, 8, 8, 4]
