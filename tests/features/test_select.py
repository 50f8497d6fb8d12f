"""Instance selection against the closed form of a Gaussian, and from the command line's settings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2

import ganvas
from ganvas.config import DataConfig
from ganvas.errors import GanvasError
from ganvas.features.select import selected, trained_on
from ganvas.training import Result
from tests.test_dist import two_processes


def likeliest(data: ganvas.Dataset, share: float) -> ganvas.Dataset:
    """Of one data set, with nothing beside it."""
    return selected(data, share, "auto", data.subset(torch.arange(0)))[0]


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


def test_the_likeliest_are_those_of_all_rows_together(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(1000, 3, generator=torch.Generator().manual_seed(1))
    data = ganvas.Dataset("points", points, (3,), "select-parts")
    whole = likeliest(data, 0.3).indices
    monkeypatch.setattr("ganvas.features.select.CHUNK", 64)
    parts = likeliest(data, 0.3).indices
    assert whole is not None
    assert parts is not None
    assert torch.equal(whole, parts)


def test_what_is_held_against_a_selection_is_selected_by_the_same_rule() -> None:
    """Of one law the same share, and none that lies further out than those that were kept."""
    points = torch.randn(4000, 2, generator=torch.Generator().manual_seed(2)) * torch.tensor([3.0, 0.5])
    data = ganvas.Dataset("points", points, (2,), "select-beside")
    config = DataConfig("points", holdout=0.5, select=0.2)
    kept, beside = trained_on(data, config)
    assert len(kept) == 400
    assert len(beside) == pytest.approx(400, abs=60)
    lengths = [
        (part.take(torch.arange(len(part)))[0] / torch.tensor([3.0, 0.5])).norm(dim=1).max()
        for part in (kept, beside)
    ]
    assert lengths[1] <= 1.05 * lengths[0]
    others = torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    given = trained_on(data, config, given=ganvas.Dataset("others", others, (2,), "select-given"))[1]
    assert given.take(torch.arange(len(given)))[0].tolist() == [[0.0, 0.0]]


WORKER = """
import sys, time
from datetime import timedelta
from functools import partial
import torch
import ganvas
from ganvas import dist
from ganvas.features.base import decoded
from ganvas.features import select
from ganvas.features.select import selected

td, quick = torch.distributed, select._likeliest
td.init_process_group = partial(td.init_process_group, timeout=timedelta(seconds=2))
select._likeliest = lambda *given: (time.sleep(3), quick(*given))[1]  # longer than a collective would wait
dist.start(torch.device("cpu"))
points = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
data = ganvas.Dataset("points", points, (2,), "select-two")
kept, _ = selected(data, 0.1, "cpu", data.subset(torch.arange(0)))
torch.save([kept.indices, decoded.seen], f"{sys.argv[1]}/{dist.rank()}.pt")
dist.stop()
"""


def test_of_two_processes_the_first_chooses(tmp_path: Path) -> None:
    """Both train on the same part, which one of them alone has embedded the data for, however long that takes."""
    (tmp_path / "worker.py").write_text(WORKER)
    two_processes(tmp_path / "worker.py", str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first[0], second[0])
    assert len(first[0]) == 300
    assert first[1] == 3000
    assert second[1] == 0


def test_a_run_on_a_selection(tiny_train: Callable[..., Result]) -> None:
    result = tiny_train(
        settings={"data.select": 0.3, "objective.terms": [{"name": "latent-optimisation", "weight": 0.5}]}
    )
    assert result.stopped == "budget"
    assert ganvas.train(resume=result.run.path, kimg=0.576, quiet=True, report=False).kimg > result.kimg
    with pytest.raises(GanvasError, match=r"data\.select"):
        tiny_train(settings={"data.select": 0.0})
