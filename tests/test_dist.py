"""Two gloo processes with half a batch each are one process with the whole batch: whole runs, and every kind of step."""

import itertools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as td
from torch import nn
from torch.distributed import TCPStore

import ganvas
from ganvas import dist, io
from ganvas.errors import GanvasError
from ganvas.networks import build_critic, build_generator
from ganvas.runs import Run, open_run
from tests.forked import Process

WORKER = Path(__file__).with_name("dist_worker.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@contextmanager
def two(*words: str, **given: Any) -> Iterator[list[Process]]:
    """Two processes `python words` that meet, started as torchrun does it and killed in the end; `given`: `env` and `cwd`."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        **given.pop("env", os.environ), "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    ranks = [{**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    started = [Process(*words, env=each, **given) for each in ranks]
    try:
        yield started
    finally:
        for process in started:
            process.kill()


def ended(started: list[Process]) -> list[tuple[int | None, str, str]]:
    """What each ends with, and says on stdout and on stderr."""
    said = [process.communicate(timeout=300) for process in started]
    return [(process.returncode, *words) for process, words in zip(started, said, strict=True)]


def one_process(script: Path, *arguments: str, **given: Any) -> tuple[str, str]:
    """What one such process, which ends well, says on stdout and on stderr."""
    alone = Process(str(script), *arguments, **given)
    said = alone.communicate(timeout=300)
    assert alone.returncode == 0, said
    return said


def two_processes(script: Path, *arguments: str, **given: Any) -> list[tuple[str, str]]:
    """What two such processes, which end well, say on stdout and on stderr."""
    with two(str(script), *arguments, **given) as started:
        found = ended(started)
    assert [code for code, _, _ in found] == [0, 0], found
    return [(out, err) for _, out, err in found]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same run by one process and by two."""
    out = tmp_path_factory.mktemp("pair")
    # Without frames: where a level is taken out again, the gradient of a bias is rounding alone, of which Adam makes steps.
    np.save(out / "series.npy", np.random.default_rng(0).normal(size=(128, 8, 2)).clip(-2, 2))
    series = str(out / "series.npy")
    launched = subprocess.run(
        [*TORCHRUN, str(WORKER), str(out / "two"), series], stderr=subprocess.PIPE, text=True, timeout=300
    )
    assert launched.returncode == 0, launched.stderr
    (out / "said by two").write_text(launched.stderr)
    one_process(WORKER, str(out / "one"), series)
    one, two = (open_run(next((out / name).iterdir())) for name in ("one", "two"))
    return one, two


def test_two_processes_equal_one(pair: tuple[Run, Run]) -> None:
    two = pair[1]
    assert [p.name for p in two.path.parent.iterdir()] == ["00000-digits-small"], "rank 0 alone writes"
    assert [p.name for p in two.path.glob("heard*")] == ["heard by 0"], "and calls loggers"
    check_equal(*pair, (1, 8, 8))


def test_two_processes_that_resume_equal_one_on_series_too(pair: tuple[Run, Run]) -> None:
    one, two = (open_run(next(Path(f"{run.path.parent}-series").iterdir())) for run in pair)
    assert [path.name for path in one.snapshots] == ["000000"], "the last one stands at 0.256 kimg"
    assert "Resumed at 0.1 kimg." in (two.path / "log.txt").read_text()
    check_equal(one, two, (2, 8))


def check_equal(one: Run, two: Run, shape: tuple[int, ...]) -> None:
    """The weights of two runs, up to rounding."""
    for kind in ("generator", "critic"):
        first, second = (io.load_tensors(run.snapshots[-1] / f"{kind}.safetensors")[0] for run in (one, two))
        build = build_generator if kind == "generator" else build_critic
        start = build(one.config.network, shape, 10, seed=5).state_dict()
        moved = sum((first[key] - start[key]).square().sum() for key in first) ** 0.5
        apart = sum((first[key] - second[key]).square().sum() for key in first) ** 0.5
        assert moved > 0.1, "the run trained"
        # Sums in another order differ in the last bits, and Adam divides small numbers by small numbers.
        assert apart < 0.005 * moved, f"{kind}: {apart} apart after moving {moved}"


def test_monitor_and_evaluation_of_two_processes_write_what_one_writes(pair: tuple[Run, Run]) -> None:
    """Rank 0 measures and writes, once, and the other waits: of 10 steps each second is measured, each fourth evaluated."""
    one, two = ([[record for record in run.stats() if "diversity" in record], run.metrics()] for run in pair)
    for rows, kimgs in zip(two, ([0.128, 0.256, 0.384, 0.512, 0.64], [0.256, 0.512]), strict=True):
        assert [row["kimg"] for row in rows] == kimgs
    for alone, shared in zip(itertools.chain(*one), itertools.chain(*two), strict=True):
        assert alone.keys() == shared.keys()
        for name in alone.keys() - {"seconds", "images_per_second"}:
            value = alone[name]
            # The weights of the two runs differ by rounding, as above.
            expected = pytest.approx(value, rel=0.01, abs=2e-3) if isinstance(value, float) else value
            assert shared[name] == expected, f"{name} at {alone['kimg']} kimg"
    assert (two_best := pair[1].path / "snapshots" / "best").is_dir(), "the best snapshot is kept"
    assert {p.name for p in two_best.iterdir()} == {"generator.safetensors", "critic.safetensors"}


@pytest.mark.slow
def test_every_kind_of_step_is_that_of_one_process() -> None:
    """In float64 nothing but rounding is left: batch norm (also per class, sorted by label), w_mean, path lengths, ranks, ADA;
    samples drawn one by one, gradients clipped, one noise for all."""
    names = [
        "small, two classes", "hour with path lengths and style mixing", "small with ada", "small with apa",
        "small with top-k, feature matching, mode seeking", "progressive", "series", "timegan",
        "private, two classes, mirrored", "vae with free bits", "vae-gan from the start",
    ]  # fmt: skip

    def launched(kind: str, words: list[str]) -> None:
        (one_process if kind == "one" else two_processes)(Path(words[0]), *words[1:])

    benchmark = runpy.run_path(str(WORKER.parents[1] / "benchmarks" / "processes.py"))
    found = benchmark["compare"](names, double=True, steps=8, launch=launched)
    assert list(found) == names
    for name, figures in found.items():
        assert len(figures) == 2
        assert max(figures) < 1e-9, (name, figures)


def test_a_batch_that_can_not_be_split_is_refused_before_there_is_a_folder(pair: tuple[Run, Run]) -> None:
    out = pair[1].path.parent
    said = (out.parent / "said by two").read_text()
    for batch in (5, 12):
        assert f"A batch of {batch} cannot be split over 2 processes" in said
    for advice in ("--batch 8", "--batch 16"):
        assert advice in said
    assert not (out.parent / f"{out.name}-refused").exists()


def struck(which: int, how: signal.Signals, tmp_path: Path) -> list[tuple[int | None, str, str]]:
    """What two processes that train end with and say when one of them gets a signal."""
    line = ["train", "digits", "--batch", "32", "--kimg", "500", "--device", "cpu", "--out", str(tmp_path)]
    with two("-m", "ganvas", *line, "--set", "training.log_kimg=0.1") as started:
        deadline = time.monotonic() + 120
        while not any(tmp_path.glob("*/stats.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(started[which].pid, how)
        return ended(started)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_whose_partner_is_killed_says_so_in_words(killed: int, tmp_path: Path) -> None:
    code, _, said = struck(killed, signal.SIGKILL, tmp_path)[1 - killed]
    assert code == 2
    assert "error: Another process stopped" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_signal_to_one_process_interrupts_all(tmp_path: Path) -> None:
    (first, out, err), (second, _, _) = struck(1, signal.SIGTERM, tmp_path)
    assert (first, second) == (130, 130)
    said = out + err
    assert "budget" not in said
    assert "--resume" in said


BY_RANK = """
import os, sys
from ganvas.cli import main
folder, *words = sys.argv[1 + int(os.environ["RANK"])].split()
os.chdir(folder)
raise SystemExit(main([*words, "--device", "cpu"]))
"""


def by_rank(first: str, second: str, folder: Path) -> list[tuple[int | None, str, str]]:
    """What two processes end with and say that each run a line, a folder and the words of a command, as one group."""
    with two("-c", BY_RANK, first, second, cwd=folder) as started:
        return ended(started)


@pytest.fixture
def two_places(tmp_path: Path) -> Path:
    """A folder with `0` and `1`, in which the same names are of other pictures and of runs of other lengths."""
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        for name, side in (("a", 8), ("b", 8), ("c", 16)):
            seed = 10 * number + ord(name)
            images = np.random.default_rng(seed).integers(0, 255, (64, side, side, 1), dtype=np.uint8)
            np.save(place / f"{name}.npy", images)
        run = ganvas.train(
            "digits", kimg=0.064 + 0.032 * number, batch=32, seed=7, quiet=True, report=False, out=place, device="cpu",
        ).run  # fmt: skip
        run.path.rename(place / "run")
    return tmp_path


@pytest.mark.slow
def test_processes_that_were_given_different_things_are_refused(two_places: Path) -> None:
    """Each trained on its half of something else, or waited without an end for what the other would never send."""
    train = "train {}.npy --batch 32 --kimg 0.1 --out runs"
    judged = "--metrics frechet --extractor pyramid"
    lines = [
        (f"0 {train.format('a')}", f"1 {train.format('a')}", "different data"),
        (f"0 {train.format('a')}", f"0 {train.format('c')}", "different data"),
        (f"0 {train.format('a')}", f"0 {train.format('a')} --seed 2", "different settings"),
        ("0 train --resume run --kimg 0.5", "1 train --resume run --kimg 0.5", "different states"),
        ("0 sample fashion --n 64 --out x.npy", "0 sample fashion --n 64 --out x.npy --seed 1", "different models"),
        (f"0 eval a.npy --reference b.npy {judged}", f"0 eval b.npy --reference b.npy {judged}", "different samples"),
    ]  # fmt: skip
    for first, second, wanted in lines:
        for code, _, words in by_rank(first, second, two_places):
            assert code == 2, (first, words)
            assert wanted in words
            assert "Traceback" not in words
    assert not (two_places / "0" / "runs").exists()


@pytest.mark.slow
def test_all_begin_with_the_weights_of_the_first(two_places: Path) -> None:
    """As on two machines without a disk that they share: the second has no folder, and tells nothing of it."""
    words = "train digits --batch 32 --kimg 0.032 --from run --out two --json"
    (first, told, _), (second, nothing, said) = by_rank(f"0 {words}", f"1 {words}", two_places)
    assert (first, second) == (0, 0), said
    assert json.loads(told)["kimg"] == 0.032
    assert nothing == ""
    assert not (two_places / "1" / "two").exists()
    ganvas.train(
        "digits", batch=32, kimg=0.032, start=str(two_places / "0" / "run"), out=two_places / "one", quiet=True, report=False,
        device="cpu",
    )  # fmt: skip
    of = {
        name: io.load_tensors(open_run(path).snapshots[-1] / "generator.safetensors")[0]
        for name, path in (
            ("one", next((two_places / "one").iterdir())),
            ("two", next((two_places / "0" / "two").iterdir())),
            *((name, two_places / name / "run") for name in ("0", "1")),
        )
    }

    def apart(first: str, second: str) -> float:
        return sum(float((of[first][name] - of[second][name]).square().sum()) for name in of[first]) ** 0.5

    # Adam turns a difference in the last digit into a step, of some weights.
    assert apart("one", "two") < 0.1 * apart("0", "1"), "the start of the second process was another one"


@pytest.mark.parametrize("agent", [True, False])
def test_a_process_that_waits_for_the_others_hears_signals(agent: bool, tmp_path: Path) -> None:
    """torch waits outside of Python, for ten minutes and more: for a store, and by torchrun, which has one, for the group."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        group = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1"}
        group |= {"TORCHELASTIC_USE_AGENT_STORE": str(agent), "TORCHELASTIC_RESTART_COUNT": "0"}
        port = store.port if agent else silent.getsockname()[1]
        env = {**os.environ, **group, "MASTER_PORT": str(port)}
        alone = Process("-m", "ganvas", "train", "digits", "--out", str(tmp_path), env=env)
        try:
            if agent:
                store.wait(["ganvas 0 1/here 1"], timedelta(seconds=120))
            else:
                silent.settimeout(120)
                connection, _ = silent.accept()
            os.kill(alone.pid, signal.SIGTERM)
            _, said = alone.communicate(timeout=30)
            if not agent:
                connection.close()
        finally:
            alone.kill()
    assert alone.returncode == 130, said
    assert "Traceback" not in said


def test_processes_that_do_not_find_each_other_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(GanvasError, match=r"MASTER_ADDR.*\n.*torchrun, or unset WORLD_SIZE"):
        dist.start(torch.device("cpu"))


def test_the_group_of_somebody_else_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A training ended the group of whoever called it, and in one of several processes stumbled over having no store."""
    td.init_process_group("gloo", store=td.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        dist.start(torch.device("cpu"))
        dist.stop()
        assert td.is_initialized()
        monkeypatch.setattr(td, "get_world_size", lambda: 2)
        with pytest.raises(GanvasError, match="A process group is there already"):
            ganvas.train("toy:ring8", kimg=1, quiet=True, out=tmp_path)
        assert td.is_initialized()
    finally:
        td.destroy_process_group()


@pytest.mark.parametrize("work", ["done", "failed"])
def test_the_first_process_says_in_words_that_the_store_has_gone(
    work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With torchrun, which holds it. An error of before is the one to tell."""

    class Broken:
        def set(self, *given: object) -> None:
            raise td.DistNetworkError("Broken pipe")

    monkeypatch.setattr(dist, "_store", Broken())
    monkeypatch.setattr(td, "is_initialized", lambda: True)
    monkeypatch.setattr(td, "get_rank", lambda: 0)
    monkeypatch.setattr(td, "get_world_size", lambda: 2)
    said = "Another process stopped" if work == "done" else "no room"

    def in_turn() -> None:
        with dist.turn() as first:
            assert first
            if work == "failed":
                raise GanvasError("no room")

    with pytest.raises(GanvasError, match=said):
        in_turn()


STARTED_AGAIN = """
import os, subprocess, sys, time
import torch
from ganvas import dist

if len(sys.argv) == 1:
    for count in "01":
        env = {**os.environ, "TORCHELASTIC_RESTART_COUNT": count}
        subprocess.run([sys.executable, __file__, count], env=env, check=True)
else:
    time.sleep(2 * int(sys.argv[1]) * int(os.environ["RANK"]))
    dist.start(torch.device("cpu"))
    print(sys.argv[1], dist.agree(dist.rank() == 1, torch.device("cpu")), flush=True)
    time.sleep(1)
    os._exit(0)  # as one that is killed: it leaves its address
"""


def test_processes_that_torchrun_starts_again_find_each_other(tmp_path: Path) -> None:
    """They shared a store with the dead ones, took their addresses, and used up all restarts or waited for half an hour."""
    script = tmp_path / "again.py"
    script.write_text(STARTED_AGAIN)
    with two(str(script), env={**os.environ, "LOCAL_WORLD_SIZE": "2"}) as started:
        for code, said, wrong in ended(started):
            assert (code, said) == (0, "0 True\n1 True\n"), wrong


LATE = """
import time
import torch
from ganvas import dist
dist.start(torch.device("cpu"))
time.sleep(2 * dist.rank())
for _ in range(9):
    with dist.turn() as first:
        pass
dist.stop()
print(first)
"""


def test_turns_are_there_for_whoever_comes_late(tmp_path: Path) -> None:
    """The word of a turn was taken away two turns later: of three in a row without anything sent the late one waited for ever."""
    script = tmp_path / "late.py"
    script.write_text(LATE)
    with two(str(script)) as started:
        for number, (code, said, wrong) in enumerate(ended(started)):
            assert (code, said) == (0, f"{number == 0}\n"), wrong


def test_in_one_process_everything_is_a_no_op() -> None:
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad
    dist.sync_gradients(layer.parameters())
    dist.broadcast_buffers(layer)
    assert layer.weight.grad is before
    assert (dist.rank(), dist.world_size(), dist.share("x")) == (0, 1, "x")
    assert dist.agree(True, torch.device("cpu"))
    assert not dist.agree(False, torch.device("cpu"))
    batch = torch.arange(4)
    assert torch.equal(dist.mine(batch), batch)
    assert dist.whole(batch) is batch
    with dist.turn() as first:
        assert first
    with dist.together(torch.device("cpu")):
        assert not dist.spread()
        assert list(dist.shard(range(3))) == [0, 1, 2]
        assert list(dist.collect(iter([batch, batch]), everywhere=False)) == [batch, batch]
        assert dist.total(batch) is batch
        dist.copy(layer)


def test_parts_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "world_size", lambda: 2)
    for rank, expected in ((0, [0, 1]), (1, [2, 3])):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        assert dist.mine(torch.arange(4)).tolist() == expected
