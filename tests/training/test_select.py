"""Instance selection against the closed form of a Gaussian, and from the command line's settings."""

from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2

import ganvas
from ganvas.errors import GanvasError
from ganvas.training import Result
from ganvas.training.select import likeliest


def test_the_likeliest_half_of_a_gaussian_lies_within_its_median_ellipse() -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.randn(20_000, 2, generator=random) * torch.tensor([3.0, 0.5]) + 1
    data = ganvas.Dataset("points", points, (2,), "select-test")
    kept, _ = likeliest(data, 0.5).take(torch.arange(10_000))
    assert len(likeliest(data, 0.5)) == 10_000
    lengths = ((kept - 1) / torch.tensor([3.0, 0.5])).square().sum(1)
    assert float(lengths.max()) == pytest.approx(chi2.ppf(0.5, 2), rel=0.05)
    with pytest.raises(GanvasError, match="leaves"):
        likeliest(data, 1e-5)


def test_a_run_on_a_selection(tiny_train: Callable[..., Result]) -> None:
    result = tiny_train(settings={"data.select": 0.3, "objective.latent_step": 0.5})
    assert result.stopped == "budget"
    with pytest.raises(GanvasError, match=r"data\.select"):
        tiny_train(settings={"data.select": 0.0})
