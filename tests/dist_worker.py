"""Run by tests/test_dist.py under torchrun, and in one process as the reference: pictures, then series.

Two processes first ask for what can not be split over them.
"""

import os
import sys
from pathlib import Path

import ganvas
from ganvas.cli import main

if os.environ.get("WORLD_SIZE") == "2":
    for batch in ("5", "12"):
        refused = ["train", "digits", "--kimg", "1", "--batch", batch, "--out", f"{sys.argv[1]}-refused"]
        assert main(refused) == 2


class Ear(ganvas.Logger):
    """Leaves a file that says who was called."""

    def on_start(self, run: ganvas.Run, step: int) -> None:
        (run.path / f"heard by {os.environ.get('RANK', 0)}").touch()


ganvas.train(
    "digits",
    kimg=0.64,
    batch=32,
    seed=5,
    device="cpu",
    out=sys.argv[1],
    quiet=True,
    report=False,
    log=[Ear()],
    settings={
        "network.latent_dim": 8,
        "network.generator.channels": 4,
        "network.critic.channels": 4,
        "objective.penalties": [
            {"name": "r1", "weight": 0.1, "interval": 2},
            {"name": "wgan-gp", "weight": 1.0},
        ],
        "objective.instance_noise": 0.1,
        "objective.critic_steps": 2,
        "data.mirror": True,
        "optimizer.lr_generator": 1e-3,
        "optimizer.lr_critic": 1e-3,
        "training.precision": "fp32",
        "training.log_kimg": 0.064,
        "training.monitor_kimg": 0.128,
        "training.eval_kimg": 0.256,
        "training.eval_samples": 200,
        "training.snapshot_kimg": 0.128,
    },
)

# Series: one process goes through, two stop half way and resume.
SERIES = {
    "network.latent_dim": 8, "network.generator.noise": 2, "network.generator.channels": 8, "network.critic.channels": 8,
    "optimizer.schedule": "constant", "objective.penalties": [{"name": "r1", "weight": 0.1}, {"name": "r2", "weight": 0.1}],
    "training.monitor_kimg": 0,
}  # fmt: skip
two = os.environ.get("WORLD_SIZE") == "2"
run = ganvas.train(
    sys.argv[2], kimg=0.128 if two else 0.256, batch=32, seed=5, device="cpu", out=f"{sys.argv[1]}-series", quiet=True,
    report=False, settings=SERIES,
).run  # fmt: skip
if two:
    ganvas.train(resume=run.path, kimg=0.256, quiet=True, report=False)

# A thread of the group that outlives it may still drop a tensor when the interpreter ends, which aborts the process.
tasks = Path("/proc/self/task")
left = [name for task in tasks.glob("*/comm") if "gloo" in (name := task.read_text())]
assert not left, left
