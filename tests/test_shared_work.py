"""Sampling and measuring in two gloo processes: files and figures of one, each having done its part."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas import io
from ganvas.training import Result
from tests.conftest import once
from tests.forked import Process
from tests.test_dist import two_processes

WORKER = Path(__file__).with_name("shared_work_worker.py")
METRICS = (
    "frechet,kid,kid-exact,inception-score,precision-recall,density-coverage,authenticity,data-copying,ndb,"
    "sliced-wasserstein,modes,per-class,path-length"
)
N = 1300
"""Samples of the evaluation: more than a block of rows."""
COMMANDS = [
    ["sample", "RUN", "--n", "700", "--seed", "2", "--out", "drawn.npy"],
    ["sample", "RUN", "--n", "300", "--out", "drawn"],
    ["sample", "RUN", "--n", "20", "--out", "drawn.png"],
    ["reference", "digits", "--batch", "100", "--json"],
    ["eval", "RUN", "--n", str(N), "--metrics", METRICS, "--batch", "128", "--out", "figures-of-run.json"],
    ["eval", "drawn", "--reference", "digits", "--metrics", "frechet,kid", "--out", "figures-of-folder.json"],
    ["calibrate", "RUN", "--critic", "fresh", "--out", "ratio.safetensors"],
    ["sample", "RUN", "--sampler", "budget", "--ratio", "ratio.safetensors", "--out", "better.npy"],
]  # fmt: skip


@pytest.fixture(scope="module")
def done(common: Path, trained: Result) -> dict[str, Path]:
    """Folders of what one and two processes left."""

    def make(folder: Path) -> None:
        for name in ("one", "two"):
            own = folder / name
            own.mkdir(parents=True)
            shutil.copytree(trained.run.path, own / "run")
            commands = [
                [word.replace("RUN", "run") for word in [*command, "--device", "cpu"]] for command in COMMANDS
            ]
            words, given = json.dumps(commands), {"cwd": own, "env": {**os.environ, "GANVAS_CACHE": "cache"}}
            if name == "two":
                (said, _), (silence, _) = two_processes(WORKER, words, **given)
                assert silence == "", "rank 0 alone prints"
            else:
                alone = Process(str(WORKER), words, **given)
                said, wrong = alone.communicate(timeout=300)
                assert alone.returncode == 0, wrong
            (own / "said.txt").write_text(said)

    folder = once(common / "shared-work", make)
    return {name: folder / name for name in ("one", "two")}


def test_rank_0_alone_prints_and_the_files_are_those_of_one_process(done: dict[str, Path]) -> None:
    one, two = done["one"], done["two"]
    assert (two / "said.txt").read_text() == (one / "said.txt").read_text()
    assert "-> better.npy" in (one / "said.txt").read_text()
    for name in ("drawn.npy", "drawn.png", "better.npy"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert len(np.load(two / "drawn.npy")) == 700
    names = sorted(path.name for path in (one / "drawn").iterdir())
    assert names == sorted(path.name for path in (two / "drawn").iterdir())
    assert all((one / "drawn" / name).read_bytes() == (two / "drawn" / name).read_bytes() for name in names)
    for folder in (one, two):
        assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("subject", "some"),
    [("run", {"recall", "data-copying", "path-length", "kid-exact"}), ("folder", {"kid"})],
)
def test_figures_are_those_of_one_process(done: dict[str, Path], subject: str, some: set[str]) -> None:
    """To six digits; they differ in the order of sums."""
    one, two = (json.loads((folder / f"figures-of-{subject}.json").read_text()) for folder in done.values())
    assert [row["metric"] for row in one["rows"]] == [row["metric"] for row in two["rows"]]
    assert some <= {row["metric"] for row in one["rows"]}
    for first, second in zip(one["rows"], two["rows"], strict=True):
        for field in ("value", "error", "floor", "at_floor_n"):
            of_one, of_two = first.pop(field), second.pop(field)
            if of_one is None:
                assert of_two is None
                continue
            assert of_two == pytest.approx(of_one, rel=1e-6, abs=1e-9), (first["metric"], field)
        assert first == second
    assert [line[:40] for line in one["warnings"]] == [line[:40] for line in two["warnings"]]


def test_figures_of_many_rows(done: dict[str, Path]) -> None:
    """Several blocks of rows for each process, and what is known of each sample."""
    one, two = (json.loads((done[name] / "figures.json").read_text()) for name in ("one", "two"))
    assert "there already" in two.pop("twice")
    assert one.pop("twice") == ""
    assert two["alone"] == one["alone"] == one["frechet"]
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert np.asarray(two[name]) == pytest.approx(np.asarray(value), rel=1e-6, abs=1e-9), name


def test_ratios_are_those_of_one_process(done: dict[str, Path]) -> None:
    (first, about), (second, of_two) = (
        io.load_tensors(done[name] / "ratio.safetensors") for name in ("one", "two")
    )
    assert about["report"] == of_two["report"]
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-6, atol=1e-9)


def test_references_are_kept_once_and_are_those_of_one_process(done: dict[str, Path]) -> None:
    kept = {name: sorted((folder / "cache" / "features").iterdir()) for name, folder in done.items()}
    assert [path.name for path in kept["one"]] == [path.name for path in kept["two"]]
    assert kept["one"]
    for first, second in zip(*kept.values(), strict=True):
        of_one, of_two = io.load_tensors(first)[0], io.load_tensors(second)[0]
        for name, tensor in of_one.items():
            torch.testing.assert_close(of_two[name], tensor, rtol=1e-6, atol=1e-9)


def test_the_run_holds_the_figures_once(done: dict[str, Path]) -> None:
    lines = {name: io.read_json_lines(folder / "run" / "metrics.jsonl") for name, folder in done.items()}
    assert len(lines["two"]) == len(lines["one"]) > 10
    for name in ("nearest", "realism"):
        pictures = [(folder / "run" / "evaluation" / f"{name}.png").read_bytes() for folder in done.values()]
        assert pictures[0] == pictures[1]


def test_each_process_does_its_part(done: dict[str, Path]) -> None:
    """1,617 images and 180 held out are embedded 100 at a time, and then 1,300 samples 128 at a time."""
    one, first, second = (
        json.loads((done[folder] / f"rank{rank}.json").read_text())
        for folder, rank in (("one", 0), ("two", 0), ("two", 1))
    )
    assert one["seen"] == [0, 0, 0, 1797, N, 300, 0, 0]
    assert first["seen"] == [0, 0, 0, 817 + 100, 640 + 20, 256, 0, 0]
    assert second["seen"] == [0, 0, 0, 800 + 80, 640, 44, 0, 0]
    expected: dict[str, Any] = {
        "shares": [[], [0], [0, 1], [0, 1, 2, 3, 4]], "orders": [[], [0], [0, 1], [0, 1, 2, 3, 4]],
        "first": [0, 1, 2, 3, 4], "total": [False, False], "alone": [0, 1, 2, 3, 4],
    }  # fmt: skip
    assert {key: value for key, value in one.items() if key != "seen"} == expected
    assert first["shares"] == [[], [0], [0], [0, 2, 4]]
    assert second["shares"] == [[], [], [1], [1, 3]]
    assert first["orders"] == second["orders"] == expected["orders"]
    assert (first["first"], second["first"]) == (expected["first"], [])
    assert first["total"] == second["total"] == [False, True]
    assert first["alone"] == expected["alone"], "in its turn rank 0 works as if it were alone"
