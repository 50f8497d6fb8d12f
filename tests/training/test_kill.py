"""`kill -9` at any moment leaves a run that loads and can be resumed."""

import multiprocessing
import random
import time
from pathlib import Path

import pytest

import ganvas
from tests.conftest import TINY, same_tensors
from tests.forked import start
from tests.training.test_train import weights

KILLS = 16
SETTINGS = {**TINY, "training.snapshot_kimg": 0.032}  # writes at every step: most kills land in one


def work(resume: str | None, out: str) -> None:
    if resume is None:
        ganvas.train("digits", kimg=1.28, batch=32, device="cpu", out=out, quiet=True, settings=SETTINGS)
    else:
        ganvas.train(resume=resume, quiet=True)


@pytest.mark.slow
def test_killed_many_times(tmp_path: Path) -> None:
    # Children of a fork server that has imported everything start at once, so many kills fit into seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ganvas.training", "sklearn.datasets", "tests.training.test_kill"])
    chance = random.Random(0)
    out = tmp_path / "killed"
    kills = 0
    while kills < KILLS:
        found = list(out.glob("0*")) if out.exists() else []
        process = context.Process(target=work, args=(str(found[0]) if found else None, str(out)))
        start(process)
        while not (found or list(out.glob("0*/snapshots/0*"))) and process.is_alive():
            time.sleep(0.005)
        process.join(chance.uniform(0.0, 0.6) if found else chance.uniform(0.0, 0.1))
        finished = process.exitcode == 0
        process.kill()
        process.join()
        (path,) = out.glob("0*")
        model = ganvas.load(path, device="cpu")  # loads, whatever happened
        assert model.sample(2).shape == (2, 1, 8, 8)
        if finished:
            break
        kills += 1
    assert kills >= 5, "the run ended before it was killed often enough to mean anything"
    (path,) = out.glob("0*")
    resumed = ganvas.train(resume=path, quiet=True)
    whole = ganvas.train(
        "digits", kimg=1.28, batch=32, device="cpu", out=tmp_path / "whole", quiet=True, settings=SETTINGS
    )
    assert same_tensors(weights(whole), weights(resumed))
    kimgs = [record["kimg"] for record in resumed.run.stats()]
    assert kimgs == sorted(set(kimgs))
    assert not list(path.rglob("*.tmp")), "what killed writes left behind is cleared away"
