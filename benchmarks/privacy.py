"""Does the audit find what it must, how much do generators give away, and what does training with a guarantee cost?

    python benchmarks/privacy.py copies                      # planted copies, and alarms on generators that copy nothing
    python benchmarks/privacy.py attacks --sizes 200 1000    # GANs that were trained on few images, on purpose for long
    python benchmarks/privacy.py private --data digits --epsilon 10 3 1 0 --seeds 3        # 0: the same without privacy
    python benchmarks/privacy.py show                        # the tables

Rows are kept in benchmarks/privacy.json, each as it is done: what is there already is not done again. Minutes are of the
process's CPU time, which other work on the machine does not lengthen: set OMP_NUM_THREADS=1. What is trained stays in
benchmarks/out/privacy.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganvas
from ganvas import io
from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.privacy.copies import ALARM, Distances
from ganvas.training import loop
from judge import OUT, splits

ROWS = Path(__file__).with_name("privacy.json")
FOLDER = OUT / "privacy"
SAMPLES = 10_000
SEEN, UNSEEN = 10_000, 4000
"""Images in the trials of `copies`: those that the generator is said to have been trained on, and those that it was not."""
CLEAN = 20
ALTERED: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "noise of 8 grey levels": lambda x, random: x + 8 * torch.randn(x.shape, generator=random),
    "noise of 32 grey levels": lambda x, random: x + 32 * torch.randn(x.shape, generator=random),
    "moved by a pixel": lambda x, random: x.roll((1, 1), (2, 3)),
    "mirrored": lambda x, random: x.flip(3),
}
"""What is done to planted copies besides: uint8 as float in, float out."""
MINUTES = 4.0
"""Of CPU time, of the GANs of `attacks`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    planted = commands.add_parser("copies")
    planted.add_argument("--clean", type=int, default=CLEAN)
    attacked = commands.add_parser("attacks")
    attacked.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 5000])
    attacked.add_argument("--minutes", type=float, default=MINUTES)
    attacked.add_argument("--seeds", type=int, default=1)
    commands.add_parser("show")
    options = parser.parse_args()
    os.nice(10)
    if options.command == "show":
        show()
    elif options.command == "copies":
        for seed in range(options.clean):
            once({"part": "copies", "seed": seed}, copies)
    elif options.command == "attacks":
        for seed in range(options.seeds):
            for size in options.sizes:
                once({"part": "attacks", "size": size, "minutes": options.minutes, "seed": seed}, attacks)


def rows(part: str | None = None) -> list[dict[str, Any]]:
    found = list(io.read_json(ROWS)["rows"]) if ROWS.is_file() else []
    return [row for row in found if part in (None, row["part"])]


def once(what: dict[str, Any], measure: Callable[..., dict[str, Any]]) -> None:
    """Measure what is not there yet, and keep it."""
    if any(what.items() <= row.items() for row in rows()):
        return
    began = time.process_time()
    row = {**what, **measure(**{name: value for name, value in what.items() if name != "part"})}
    row["cpu_minutes"] = round((time.process_time() - began) / 60, 2)
    io.write_json(ROWS, {"rows": [*rows(), row]})
    print(json.dumps(row), flush=True)


def everything() -> Tensor:
    """All 70,000 images of Fashion-MNIST, uint8."""
    images, _, others, _ = splits()
    return torch.cat([images, others])


def saved(name: str, images: Tensor) -> str:
    path = FOLDER / f"{name}.npz"
    with io.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, images=images.numpy())
    return str(path)


def as_images(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def copies(seed: int) -> dict[str, Any]:
    """A generator that copies nothing, by turns: real images that nobody trained on (a perfect one), the same blurred, the same
    with noise, and a Gaussian on 50 principal components. The audit plants its own copies; altered ones are planted here."""
    random = torch.Generator().manual_seed(seed)
    images = everything()
    order = torch.randperm(len(images), generator=random)
    seen, unseen, drawn = images[order].split([SEEN, UNSEEN, len(images) - SEEN - UNSEEN])[:3]
    kinds: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
        ("unseen images", lambda x: x[:SAMPLES]),
        ("unseen images, blurred", lambda x: as_images(F.avg_pool2d(x[:SAMPLES].float(), 3, 1, 1))),
        (
            "unseen images with noise",
            lambda x: as_images(
                x[:SAMPLES].float() + 16 * torch.randn(x[:SAMPLES].shape, generator=random)
            ),
        ),
        ("a Gaussian of 50 components", lambda x: as_images(gaussian(x[SAMPLES:], random))),
    )
    kind, make = kinds[seed % len(kinds)]
    samples = make(drawn)
    found = ganvas.audit(
        samples, saved("seen", seen), held_out=saved("unseen", unseen), n=SAMPLES, reconstruct=0, seed=seed, device="cpu"
    )
    x, z, f = (part.flatten(1).float() for part in (seen, unseen, samples))
    distances = Distances(x, z)
    near = distances.nearest(f)
    altered = {}
    for name, alter in ALTERED.items():
        for rate in (0.001, 0.01):
            count = round(rate * SAMPLES)
            new = as_images(alter(seen[:count].float(), random)).flatten(1).float()
            both = [
                (torch.minimum(old, other), torch.where(other < old, len(f) + which, place))
                for (old, place), (other, which) in zip(near, distances.nearest(new), strict=True)
            ]
            test = distances.copies(both)
            suspects = int((test.suspects() < count).sum())
            altered[f"{name}, {rate:.1%}"] = {"alarm": test.chance <= ALARM, "found": suspects / count}
    return {
        "kind": kind, "alarm": found.leaks, "chance": found.chance, "telling": found.telling, "suspects": found.suspects,
        "controls": [
            {
                "rate": each.rate, "alarm": each.chance <= ALARM, "found": each.found / each.planted,
                "noticed": [name for name, heard in each.noticed.items() if heard],
            }
            for each in found.controls
        ],
        "altered": altered,
    }  # fmt: skip


if __name__ == "__main__":
    main()
