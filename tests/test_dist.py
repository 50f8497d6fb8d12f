"""Two gloo processes with half a batch each are one process with the whole batch, R1 and WGAN-GP on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ganvas import dist, io
from ganvas.networks import build_critic, build_generator
from ganvas.runs import open_run

WORKER = Path(__file__).with_name("dist_worker.py")


def test_two_processes_equal_one(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command, name in (([*torchrun, str(WORKER)], "two"), ([sys.executable, str(WORKER)], "one")):
        subprocess.run([*command, str(tmp_path / name)], check=True, env=environment, timeout=300)
    one, two = (open_run(next((tmp_path / name).iterdir())) for name in ("one", "two"))
    assert [p.name for p in two.path.parent.iterdir()] == ["00000-digits-small"], "rank 0 alone writes"
    assert len(two.stats()) == len(one.stats())
    for kind in ("generator", "critic"):
        first, second = (io.load_tensors(run.snapshots[-1] / f"{kind}.safetensors")[0] for run in (one, two))
        build = build_generator if kind == "generator" else build_critic
        start = build(one.config.network, (1, 8, 8), 10, seed=5).state_dict()
        moved = sum((first[key] - start[key]).square().sum() for key in first) ** 0.5
        apart = sum((first[key] - second[key]).square().sum() for key in first) ** 0.5
        assert moved > 0.1, "the run trained"
        # Sums in another order differ in the last bits, and Adam divides small numbers by small numbers.
        assert apart < 0.005 * moved, f"{kind}: {apart} apart after moving {moved}"


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


def test_parts_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "world_size", lambda: 2)
    for rank, expected in ((0, [0, 1]), (1, [2, 3])):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        assert dist.mine(torch.arange(4)).tolist() == expected
