"""Several runs, one table."""

import gc
import json
import math
import os
import shutil
import signal
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli import main
from ganvas.errors import GanvasError, Interrupted
from ganvas.metrics import evaluate
from ganvas.networks.base import GeneratorBase
from ganvas.training import Result
from ganvas.training.gan import GanMethod
from ganvas.training.repeat import repeat
from tests.conftest import TINY
from tests.training.test_train import stop_at


def test_seeds(tmp_path: Path) -> None:
    found = repeat(
        "digits",
        seeds=2,
        n=300,
        kimg=0.512,
        batch=32,
        device="cpu",
        out=tmp_path,
        settings=TINY,
        quiet=True,
        report=False,
    )
    values = found.values["frechet"]
    assert values[0] != values[1]
    assert found.mean("frechet") == pytest.approx(sum(values) / 2)
    assert found.spread("frechet") == pytest.approx(statistics.stdev(values))
    assert [r.run.config.training.seed for r in found.results] == [0, 1]
    document = json.loads(found.path.read_text())
    assert document["metrics"]["recall"]["each"] == found.values["recall"]
    assert all(math.isfinite(floor) for floor in found.floors["frechet"])
    assert found.results[0].run.metrics()
    assert document["floor_n"] == found.floor_n == 180
    assert found.at_floor_n["frechet"] != values, "of as few samples as the floor"


def test_nothing_of_a_run_is_alive_while_the_next_one_trains(tmp_path: Path) -> None:
    """Of points of 60,000 numbers each run before took 0.7 GB: its networks and samples, and those that it was measured by."""
    alive: list[int] = []

    class Counts(ganvas.Logger):
        def on_start(self, run: Any, step: int) -> None:
            alive.append(sum(isinstance(each, GeneratorBase) for each in gc.get_objects()))
            gc.disable()  # by chance it collects them itself

    try:
        repeat(
            "digits", seeds=3, n=200, kimg=0.032, batch=32, device="cpu", out=tmp_path, settings=TINY, quiet=True, report=False,
            log=[Counts()],
        )  # fmt: skip
    finally:
        gc.enable()
    assert alive[0] == alive[1] == alive[2]


@pytest.mark.parametrize(
    ("asked", "last"), [({"seeds": 2}, False), ({"folds": 2}, False), ({"seeds": 2}, True)]
)
def test_runs_of_different_data_are_not_averaged(asked: dict[str, int], last: bool, tmp_path: Path) -> None:
    """A picture was added while one of them trained: one mean and one spread over both data, without a word."""
    pictures = np.random.default_rng(0).integers(0, 256, (300, 8, 8), np.uint8)
    np.save(tmp_path / "grows.npy", pictures[:-1])

    class Adds(ganvas.Logger):
        def on_start(self, run: Any, step: int) -> None:
            if not last or run.path.name.startswith("00001"):
                np.save(tmp_path / "more.npy", pictures)
                os.replace(tmp_path / "more.npy", tmp_path / "grows.npy")

    named = r"run 2 of 2 .* Whole runs: \S*00000-x\. " if last else r"run 1 of 2 .* Whole runs: none\. "
    with pytest.raises(GanvasError, match=rf"changed .* in {named}"):
        repeat(
            tmp_path / "grows.npy", n=200, kimg=0.032, batch=32, device="cpu", out=tmp_path / "runs", name="x", settings=TINY,
            quiet=True, report=False, log=[Adds()], **asked,
        )  # fmt: skip
    kept = sorted((tmp_path / "runs").iterdir())
    assert [(each / "metrics.jsonl").is_file() for each in kept] == ([True, False] if last else [False])


def test_runs_that_begin_with_different_models_are_not_averaged(trained: Result, tmp_path: Path) -> None:
    """`--start RUN` while that trains: a mean over what begins here and there, without a word."""
    place, other = tmp_path / "model", ganvas.load(trained.run.path, device="cpu")
    shutil.copytree(trained.run.snapshots[-1], place)

    class Replaces(ganvas.Logger):
        def on_end(self, step: int, stopped: str) -> None:
            with torch.no_grad():
                next(other.generator.parameters()).add_(1)
            other.save(tmp_path / "other.safetensors")
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            shutil.move(tmp_path / "other.safetensors", place / "generator.safetensors")

    with pytest.raises(
        GanvasError, match=r"begins with has changed .* in run 2 of 2: .* Whole runs: \S*00000-x\. "
    ):
        repeat(
            "digits", seeds=2, start=str(place), n=200, kimg=0.032, batch=32, device="cpu", out=tmp_path / "runs", name="x",
            quiet=True, report=False, log=[Replaces()],
        )  # fmt: skip


def test_folds_of_series_are_of_the_same_data(tmp_path: Path) -> None:
    """Each is scaled by what it trains on, and so has another fingerprint."""
    walk = np.random.default_rng(0).standard_normal((400, 2)).cumsum(0)
    np.savetxt(tmp_path / "walk.csv", walk, "%.3f", ",", header="a,b", comments="")
    found = repeat(tmp_path / "walk.csv", folds=2, n=100, window=4, kimg=0.032, batch=16, device="cpu", out=tmp_path,
                   quiet=True, report=False)  # fmt: skip
    marks = {each.run.info["data"]["fingerprint"] for each in found.results}
    assert len(marks) == 2


def test_what_could_not_be_had_of_one_run_has_no_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs were trained, and their table was a traceback: of one value there is no spread."""

    def without_recall(path: Path, **options: Any) -> Any:
        found = evaluate(path, **options)
        rows = [row for row in found.rows if row.metric != "recall" or not path.name.startswith("00001")]
        return replace(found, rows=rows)

    monkeypatch.setattr("ganvas.training.repeat.evaluate", without_recall)
    found = repeat("digits", seeds=2, n=200, kimg=0.032, batch=32, device="cpu", out=tmp_path, settings=TINY,
                   quiet=True, report=False)  # fmt: skip
    assert len(found.values["precision"]) == 2
    assert "recall" not in json.loads(found.path.read_text())["metrics"]


def test_without_floors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where little or nothing is held out the runs were trained, and then nothing was told of them but a traceback."""
    settings = [f"{name}={value}" for name, value in {**TINY, "data.holdout": 0.01}.items()]
    asked = ["--kimg", "0.064", "--batch", "32", "--device", "cpu", "--out", str(tmp_path), "--quiet"]
    assert main(["train", "digits", "--seeds", "2", *asked, "--set", *settings]) == 0
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["metrics"]["frechet"]["floor"] == []
    assert "floor (" not in capsys.readouterr().out


@pytest.mark.parametrize(("given", "path"), [("seeds", "training.seed"), ("folds", "data.holdout")])
def test_what_every_run_has_for_itself_is_not_set(given: str, path: str, tmp_path: Path) -> None:
    """Three runs of one seed were the same, and their spread was said to be 0; a holdout was dropped without a word."""
    with pytest.raises(GanvasError, match=f"--set {path} would be the same in every run"):
        repeat("digits", out=tmp_path, settings={path: 0}, **{given: 2})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("asked", [{"eval_kimg": 0.03}, {"seeds": 2}])
def test_series_too_few_to_measure_are_not_trained_on_first(asked: dict[str, Any], tmp_path: Path) -> None:
    """With --eval-kimg the training ended at its first measurement, and at each again when it was resumed."""
    (tmp_path / "prices.csv").write_text("price\n" + "\n".join(str((7 * i) % 31) for i in range(120)))
    train = repeat if "seeds" in asked else ganvas.train
    with pytest.raises(GanvasError, match="beside 20 series that were trained on and as many held out"):
        train(
            tmp_path / "prices.csv", window=8, kimg=0.06, batch=16, out=tmp_path / "runs", quiet=True, **asked
        )
    assert not (tmp_path / "runs").exists()


def test_series_of_more_numbers_than_have_a_covariance_are_not_ranked(tmp_path: Path) -> None:
    """With --eval-kimg the training ended in a traceback at its first measurement."""
    values = np.random.default_rng(0).standard_normal((2000, 21))
    columns = ",".join(f"c{i}" for i in range(21))
    np.savetxt(tmp_path / "wide.csv", values, "%.3f", ",", header=columns, comments="")
    with pytest.raises(GanvasError, match="at most 4,096 numbers, and samples of wide have 4,200"):
        ganvas.train(
            tmp_path / "wide.csv", window=200, kimg=0.06, eval_kimg=0.03, out=tmp_path / "runs", quiet=True
        )
    assert not (tmp_path / "runs").exists()


def test_more_folds_than_samples_are_refused(tmp_path: Path) -> None:
    """Of 25 in 30 folds the last five held out what the first five had."""
    np.save(tmp_path / "few.npy", np.random.default_rng(0).standard_normal((25, 2)))
    with pytest.raises(GanvasError, match="few has fewer than 30 samples or sequences"):
        repeat(tmp_path / "few.npy", folds=30, kimg=0.06, batch=4, out=tmp_path / "runs", quiet=True)
    assert not (tmp_path / "runs").exists()


def test_folds_beyond_all_samples_are_not_tried_one_by_one(tmp_path: Path) -> None:
    """Of a thousand million each was split off before that was refused: days."""
    np.save(tmp_path / "few.npy", np.random.default_rng(0).standard_normal((25, 2)))
    with pytest.raises(GanvasError, match=r"few has fewer than 1000000000 samples"):
        repeat(tmp_path / "few.npy", folds=10**9, kimg=0.06, batch=4, out=tmp_path / "runs", quiet=True)


def test_folds_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [f"{name}={value}" for name, value in TINY.items()]
    arguments = [
        "train",
        "digits",
        "--folds",
        "2",
        "--kimg",
        "0.256",
        "--batch",
        "32",
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    assert main([*arguments, "--set", *settings]) == 0
    out = capsys.readouterr().out
    assert "spread" in out
    assert "coverage" in out
    held = [json.loads(path.read_text())["config"]["data"] for path in sorted(tmp_path.glob("*/config.json"))]
    assert [(data["holdout"], data["fold"]) for data in held] == [(0.5, 0), (0.5, 1)]


def test_bad_requests() -> None:
    for wrong in ({"seeds": 1}, {"seeds": 2, "folds": 2}, {}):
        with pytest.raises(GanvasError, match="--seeds K or with --folds K"):
            repeat("digits", **wrong)  # type: ignore[arg-type]
    assert main(["train", "--seeds", "3"]) == 2
    with pytest.raises(GanvasError, match="The last of the seeds is 4294967296"):
        repeat("digits", seeds=2, seed=2**32 - 1)


def test_ctrl_c_stops_the_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stopped the current seed only, and put half a training into the mean."""
    stop_at(monkeypatch, 5, signal.SIGINT)
    with pytest.raises(
        Interrupted, match=r"Stopped in run 1 of 3.*nothing is averaged.*Whole runs: none.*--resume"
    ):
        repeat(
            "digits", seeds=3, n=300, kimg=0.512, batch=32, device="cpu", out=tmp_path, settings=TINY, quiet=True, report=False
        )  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_stopped_series_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    stop_at(monkeypatch, 5, number)
    settings = [f"{name}={json.dumps(value)}" for name, value in TINY.items()]
    budget = ["--kimg", "0.512", "--batch", "32", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["train", "digits", "--seeds", "2", *budget, "--set", *settings]) == 130
    printed = capsys.readouterr()
    assert "Stopped in run 1 of 2" in printed.err
    assert "ganvas train --resume" in printed.err
    assert "spread" not in printed.out


def test_whole_runs_of_a_stopped_series_are_named_and_not_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, count = GanMethod.step, [0]

    def stepping(self: GanMethod, *arguments: Any) -> None:
        step(self, *arguments)
        count[0] += 1
        if count[0] == 16 + 5:  # a run has 16 steps
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(GanMethod, "step", stepping)
    with pytest.raises(Interrupted, match=r"(?s)Stopped in run 2 of 3.*Whole runs: \S*00000-digits-small"):
        repeat(
            "digits", seeds=3, n=300, kimg=0.512, batch=32, device="cpu", out=tmp_path, settings=TINY, quiet=True, report=False
        )  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.glob("*.json"))
