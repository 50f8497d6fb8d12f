"""The weights that every preset gives after some hundred images on a CPU in fp32, as one hash each.

    python tools/weight_hashes.py > before.txt      # on the code as it was
    python tools/weight_hashes.py --check before.txt # after a change that must not alter a training

The hash covers all tensors of the state, whatever they are called: the networks, the optimisers' memory, the random stream.
The hash is that of one machine and one torch: other kernels round differently.
"""

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1] / "benchmarks")
)  # Opacus installs a package of this name

from processes import FURTHER, config, data

from ganvas import io
from ganvas.config import replace_at, to_dict
from ganvas.presets import presets
from ganvas.runs import create_run
from ganvas.training.display import Display
from ganvas.training.loop import Loop

STEPS = 16
OBJECTIVES = {
    "latent optimisation": {"objective.terms": [{"name": "latent-optimisation"}], "objective.input_noise": 0.1},
    "packed": {"network.pack": 2},
    "codes": {"network.critic": {"codes": 2, "channels": 8}, "network.categorical": [3]},
    "auxiliary classes": {"network.conditional": True, "network.critic": {"auxiliary": True, "channels": 8}},
    "relativistic, instance noise, mirror": {
        "objective.loss": "relativistic", "objective.instance_noise": 0.1, "data.mirror": True, "optimizer.schedule": "cosine",
    },
    "bgc": {"augment": {"policy": ["bgc"], "p": 0.0, "target": 0.6, "kimg": 0.5, "limit": 1.0}},
    "schedules": {
        "objective.penalties": [{"name": "r1", "weight": 0.1, "weight_end": 0.01, "interval": 2}],
        "optimizer.beta2_end": 0.9, "training.ema_end_kimg": 1.0, "objective.critic_steps": 2,
    },
}  # fmt: skip
"""Name -> settings beside those of `small`: what no preset has."""


def weights(name: str, folder: Path) -> str:
    """Train `STEPS` steps of 16 images; the hash of all tensors of the state."""
    made = config("small" if name in OBJECTIVES else name)
    for path, value in {**OBJECTIVES.get(name, {}), "training.seed": 3}.items():
        made = replace_at(made, path, value)
    per_step = 16 * made.objective.critic_steps
    budget = {
        "kimg": STEPS * per_step / 1000,
        "minutes": None,
        "log_kimg": 0.064,
        "monitor_kimg": 0.064,
        "snapshot_kimg": 0.128,
    }
    for key, value in budget.items():
        made = replace_at(made, f"training.{key}", value)
    dataset = data(made.network.name != "mlp" or made.preset == "article")
    run = create_run(folder, "x", {"format_version": io.FORMAT_VERSION, "config": to_dict(made)})
    Loop(run, dataset, Display(quiet=True), made)()
    tensors = io.load_tensors(run.state_path)[0]
    parts = sorted(hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest() for t in tensors.values())
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", type=Path, help="compare with this file, exit with 1 when one differs")
    parser.add_argument("names", nargs="*", help="some of them instead of all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = dict(line.split("\t") for line in options.check.read_text().splitlines()) if options.check else {}
    differing = 0
    for name in options.names or [*presets, *FURTHER, *OBJECTIVES]:
        with tempfile.TemporaryDirectory() as folder:
            found = weights(name, Path(folder))
        if options.check and known.get(name) != found:
            differing += 1
            print(f"{name}: {found}, was {known.get(name)}", flush=True)
        elif not options.check:
            print(f"{name}\t{found}", flush=True)
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
