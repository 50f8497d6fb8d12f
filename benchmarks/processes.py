"""How far the weights of two processes lie from those of one, for every preset after 1, 8 and 32 steps.

    python benchmarks/processes.py                     # all presets, narrow networks: minutes on two cores
    python benchmarks/processes.py small sagan         # some of them
    python benchmarks/processes.py --endings 100       # do so many runs of two processes end with exit code 0?

A figure is the distance of all weights and buffers of both networks over the distance that one process moved them. In fp32
rounding grows as training is chaotic (Adam without momentum divides tiny gradients by tiny roots); in float64 the same programs
show whether anything but rounding differs.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ganvas import dist, io
from ganvas.config import Config, replace_at
from ganvas.data import Batches, Dataset
from ganvas.presets import presets
from ganvas.training import private
from ganvas.training.method import DataSpec, build_method
from ganvas.types import Batch

STEPS = (1, 8, 32)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FURTHER = {
    "small, two classes": {"network.conditional": True},
    "small with ada": {"augment": {"policy": ["colour", "translation", "cutout"], "p": 0.0, "target": 0.6, "kimg": 0.5}},
    "small with apa": {"augment": {"p": 0.3, "target": 0.6, "kimg": 0.5, "pseudo": True}},
    "small with top-k, feature matching, mode seeking": {
        "objective.terms": [
            {"name": "top-k"}, {"name": "feature-matching"}, {"name": "mode-seeking"},
        ],
    },
    "series": {"preset": "series", "network.generator.chunk": 2, "network.generator.layout": "n0 m n0 / n n"},
    "timegan": {
        "preset": "timegan", "network.generator.layout": "n0 m n0 / n n", "network.critic.layout": "n0 m n0 / n n",
        "method.options": {"embedding": 0.02, "supervised": 0.03}, "objective.penalties": [{"name": "r1"}],
    },
    "vae with free bits": {"preset": "vae", "method.options": {"free_bits": 0.05}},
    "vae-gan from the start": {"preset": "vae-gan", "method.options": {"start": 0.0}},
    "private, two classes, mirrored": {"preset": "private", "network.conditional": True, "data.mirror": True},
    "hour with path lengths and style mixing": {
        "preset": "hour", "objective.terms": [{"name": "path-length"}], "network.generator.style_mixing": 0.9,
    },
}  # fmt: skip
"""Name -> settings beside those of `small` or of the preset named there."""


def data(image: bool, size: int = 16, series: bool = False) -> Dataset:
    """Two classes: dark and bright random pictures; or points; or series of five channels."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(512) % 2
    if series:
        walks = torch.randn(512, 5, 8, generator=random).cumsum(2).tanh()
        return Dataset("series", walks, (5, 8), "series", labels, ("a", "b"))
    if not image:
        return Dataset("points", torch.randn(512, 2, generator=random), (2,), "points", labels, ("a", "b"))
    pictures = torch.randint(0, 128, (512, 1, size, size), dtype=torch.uint8, generator=random)
    pictures += (labels * 100)[:, None, None, None].to(torch.uint8)
    return Dataset("pictures", pictures, (1, size, size), "pictures", labels, ("dark", "bright"))


def config(name: str) -> Config:
    """The preset (or what `FURTHER` says), its networks narrow and its batch 16."""
    changes = dict(FURTHER.get(name, {"preset": name}))
    made = presets.get(str(changes.pop("preset", "small")))
    for options in ("generator", "critic"):
        for key, value in dict(getattr(made.network, options)).items():
            if key in ("channels", "hidden", "w_dim"):
                narrow = (
                    8 if key == "channels" else ([32] * len(value) if isinstance(value, list | tuple) else 32)
                )
                made = replace_at(made, f"network.{options}.{key}", narrow)
    made = replace_at(made, "network.latent_dim", min(16, made.network.latent_dim))
    for path, value in {
        "training.batch": 16,
        "training.device": "cpu",
        "training.precision": "fp32",
        **changes,
    }.items():
        made = replace_at(made, path, value)
    # A short schedule, so that growing networks grow within 32 steps.
    if "stable_kimg" in made.network.generator:
        made = replace_at(
            replace_at(made, "network.generator.stable_kimg", 0.1), "network.generator.fade_kimg", 0.1
        )
    return made


def work(names: list[str], out: Path, double: bool, steps: int) -> None:
    """Train so many steps of each in this process, or this process's part of them; rank 0 writes the weights."""
    if double:
        torch.set_default_dtype(torch.float64)
        # What the code brings to float32 stays as it is.
        torch.Tensor.float = lambda self, *a, **k: self.double()
    # Of private trainings, which else never repeat.
    private.secret_generator = lambda secret, device: torch.Generator(device).manual_seed(63)
    dist.start(torch.device("cpu"))
    for name in names:
        made = config(name)
        series = made.preset in ("series", "timegan")
        dataset = data(made.network.name != "mlp" or made.preset == "article", series=series)
        here, by_label = torch.device("cpu"), made.network.conditional
        spec = DataSpec(dataset.shape, dataset.num_classes, len(dataset))
        method = build_method(made, spec, here)
        positions = method.positions(len(dataset))
        batches = iter(Batches(dataset, 16, 0, here, by_label=by_label, positions=positions))
        following = functools.partial(_next, batches)
        for step in range(steps + 1):
            if step in (0, *STEPS) and dist.rank() == 0:
                tensors = {
                    f"{kind}.{key}": value
                    for kind, network in method.networks.items()
                    for key, value in network.state_dict().items()
                    if value.is_floating_point()
                }
                io.save_tensors(out / f"{slug(name)}-{step}.safetensors", tensors, {})
            method.step(following, step / 64)
    dist.stop()


def _next(batches: Iterator[Batch], stream: str) -> Batch:
    return next(batches)


def slug(name: str) -> str:
    """The name as a part of a file's name."""
    return name.replace(" ", "-").replace(",", "")


def launched(kind: str, words: list[str]) -> None:
    """`python words`, in one process or in two."""
    command = [sys.executable] if kind == "one" else TORCHRUN
    subprocess.run([*command, *words], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def compare(
    names: list[str], double: bool, steps: int, launch: Callable[[str, list[str]], object] = launched
) -> dict[str, list[float]]:
    """The distance of two processes from one, over the distance that one moved, after each of `STEPS` up to `steps`."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for kind in ("one", "two"):
            out = Path(folder) / kind
            out.mkdir()
            arguments = [*names, "--steps", str(steps), "--work", str(out)]
            launch(kind, [__file__, *arguments, *(["--double"] if double else [])])
            found.append(out)
        return {name: [apart(*found, slug(name), step) for step in STEPS if step <= steps] for name in names}


def apart(one: Path, two: Path, name: str, step: int) -> float:
    """Distance of the two over the distance that one moved."""
    paths = (
        one / f"{name}-{step}.safetensors",
        two / f"{name}-{step}.safetensors",
        one / f"{name}-0.safetensors",
    )
    first, second, start = (io.load_tensors(path)[0] for path in paths)
    difference = sum(float((first[key] - second[key]).double().square().sum()) for key in first)
    moved = sum(float((first[key] - start[key]).double().square().sum()) for key in first)
    return float((difference / moved) ** 0.5)


def endings(count: int) -> int:
    """How many of so many short trainings in two processes do not end with 0."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            train = [
                "train",
                "digits",
                "--kimg",
                "0.256",
                "--batch",
                "32",
                "--size",
                "xs",
                "--device",
                "cpu",
                "--out",
                folder,
            ]
            done = subprocess.run(
                [*TORCHRUN, "-m", "ganvas", *train],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            bad += done.returncode != 0
            if done.returncode:
                print(done.stderr)
            print(f"{i + 1} runs, {bad} did not end with 0", flush=True)
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("presets", nargs="*")
    parser.add_argument("--endings", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=max(STEPS))
    parser.add_argument("--only-double", action="store_true", help="float64 alone")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--double", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.presets or [*presets, *FURTHER]
    if options.work:
        work(names, options.work, options.double, options.steps)
        return
    if options.endings:
        sys.exit(bool(endings(options.endings)))
    single = {name: [] for name in names} if options.only_double else compare(names, False, options.steps)
    double = compare(names, True, options.steps)
    if options.json:
        print(json.dumps({name: {"fp32": single[name], "float64": double[name]} for name in names}))
        return
    print(
        "| preset | " + " | ".join(f"{kind}, {n} steps" for kind in ("fp32", "float64") for n in STEPS) + " |"
    )
    print("| --- |" + " ---: |" * 2 * len(STEPS))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{x:.0e}" for x in single[name] + double[name]) + " |")


if __name__ == "__main__":
    main()
