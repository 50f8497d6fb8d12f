"""Generators of other toolkits at their real sizes: images/s and memory of ganvas, and of the official code beside it.

    python benchmarks/import_speed.py [--official FOLDER] [--networks stylegan2-256 ...] [--device cuda] [--rounds 3] [--json F]

Random weights, which cost what others do, with channel_base 32768 (R: 65536, and a kernel of 1), noise const. Every row is a
process of its own: it builds the network, draws once, then for `--seconds`. FOLDER is a checkout of the official StyleGAN3
repository (github.com/NVlabs/stylegan3), whose CPU path of reference, in float32, is measured in turn with ganvas. Images a
second are by the wall clock, medians of the rounds; the ratio is that of CPU seconds, which other work on the machine disturbs
less. Memory is what the process held at most above what it had before the network was built. Targets: twice the images, and
no more memory. On a GPU ganvas draws as it does for `sample`, by CUDA graphs, the official code with its own operations (they
are compiled at first, which needs nvcc); there the ratio is that of the images a second, and memory that of the GPU.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.device import has_fast_bf16
from ganvas.graph import Replay
from ganvas.networks.stylegan2 import StyleGAN2Generator
from ganvas.networks.stylegan3 import StyleGAN3Generator

BASE = {"channel_base": 32768, "channel_max": 512}
WIDE = {"channel_base": 65536, "channel_max": 1024, "conv_kernel": 1, "use_radial_filters": True}
NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "stylegan2-256": ("stylegan2", 256, BASE),
    "stylegan2-1024": ("stylegan2", 1024, BASE),
    "stylegan3-t-256": ("stylegan3", 256, BASE),
    "stylegan3-r-256": ("stylegan3", 256, WIDE),
}
WIDTH = 512
"""Numbers of z and of w."""


def ours(network: str, device: str) -> Callable[[Tensor], Tensor]:
    kind, side, options = NETWORKS[network]
    made = (StyleGAN2Generator if kind == "stylegan2" else StyleGAN3Generator)(
        (3, side, side), WIDTH, output="linear", **options
    )
    replay = Replay(made.eval().requires_grad_(False).to(device))
    return lambda z: replay(z, None)


def official(network: str, folder: str, device: str) -> Callable[[Tensor], Tensor]:
    kind, side, options = NETWORKS[network]
    sys.path.insert(0, folder)
    if not (Path(folder) / "training" / "networks_stylegan3.py").is_file():
        raise SystemExit(f"{folder} is no checkout of the official StyleGAN3 repository.")
    for name in (
        "requests",
        "pkg_resources",
    ):  # to download and to compare versions, where they are not installed
        stand_in: Any = types.ModuleType(name)
        stand_in.parse_version = lambda said: tuple(
            int(part) for part in said.split("+")[0].split(".")[:2] if part.isdigit()
        )
        sys.modules.setdefault(name, stand_in)
    module = __import__(f"training.networks_{kind}", fromlist=["Generator"])
    made = module.Generator(WIDTH, 0, WIDTH, side, 3, num_fp16_res=0, **options)
    made = made.eval().requires_grad_(False).to(device)
    given = {"noise_mode": "const"} if kind == "stylegan2" else {}

    def drawn(z: Tensor) -> Tensor:
        found: Tensor = made(z, None, **given)
        return found

    return drawn


def held(what: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def child(
    network: str, batch: int, threads: int, precision: str, folder: str, seconds: float, device: str
) -> None:
    """Measure one, and print it."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    z = torch.randn(batch, WIDTH, device=device)
    finished = torch.cuda.synchronize if device == "cuda" else lambda: None
    torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3))
    before = held("VmRSS")
    draw = official(network, folder, device) if folder else ours(network, device)
    lower = torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
    with torch.inference_mode(), lower:
        for _ in range(5 if device == "cuda" else 1):  # until its graph is captured
            draw(z)
        finished()
        wall, busy, calls = time.perf_counter(), time.process_time(), 0
        while calls < 2 or time.perf_counter() - wall < seconds:
            draw(z)
            finished()
            calls += 1
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
    images = calls * batch
    most = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else held("VmHWM") - before
    print(json.dumps({"rate": images / wall, "cpu": busy / images, "memory": most}))


def measured(row: tuple[Any, ...], folder: str, seconds: float, device: str) -> dict[str, float]:
    network, batch, threads, precision = row
    command = [
        sys.executable,
        __file__,
        "--child",
        network,
        str(batch),
        str(threads),
        precision,
        folder,
        str(seconds),
        device,
    ]
    kept = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def middle(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--official", default="", metavar="FOLDER", help="a checkout of the official StyleGAN3 repository"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="how long each process draws; twice at least"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    precisions = ["fp32"] + ["bf16"] * has_fast_bf16(torch.device(options.device))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {', '.join(precisions)}\n"
    )
    print(
        "| network | batch | threads | | images/s | CPU s an image | MB | official: images/s | CPU s | MB | images, ratio |"
    )
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    found = []
    for network in options.networks:
        for batch in options.batches:
            for threads in options.threads:
                theirs: dict[str, float] | None = None
                for precision in precisions:
                    row = network, batch, threads, precision
                    beside = options.official if precision == "fp32" else ""
                    mine, other = [], []
                    for _ in range(options.rounds):
                        mine.append(measured(row, "", options.seconds, options.device))
                        other += [measured(row, beside, options.seconds, options.device)] if beside else []
                    own, theirs = middle(mine), middle(other) if other else theirs
                    words = ["-"] * 4
                    if theirs:
                        words = [f"{theirs['rate']:.2f}", f"{theirs['cpu']:.3f}", f"{theirs['memory']:.0f}"]
                        by_images = own["rate"] / theirs["rate"]
                        ratio = by_images if options.device == "cuda" else theirs["cpu"] / own["cpu"]
                        words.append(f"{ratio:.2f} x")
                    found.append(
                        {
                            "network": network,
                            "batch": batch,
                            "threads": threads,
                            "precision": precision,
                            "ganvas": own,
                            "official": theirs,
                        }
                    )
                    print(
                        f"| {network} | {batch} | {threads} | {precision} | {own['rate']:.2f} | {own['cpu']:.3f} | "
                        f"{own['memory']:.0f} | {' | '.join(words)} |",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, count, cores, kind, folder, duration, where = sys.argv[2:]
        child(name, int(count), int(cores), kind, folder, float(duration), where)
    else:
        main()
