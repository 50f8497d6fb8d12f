"""The commands on a GPU beside the CPU of the same machine: does it run, does it say the same, how long does it take?

    python benchmarks/gpu.py [--devices cuda cpu] [--only walk 'invert *']

The commands run one after another in one process on the packaged model, each on both devices with the same seed. Latents
are drawn on the CPU everywhere, so the same seed must draw the same pictures: the last column is the largest difference of
the samples of `ganvas sample`, of 255, and of any figure that both print, relative to it. Figures that come from a training
or a search need not agree to the last digit.
"""

import argparse
import json
import statistics
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from fnmatch import fnmatch
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import ganvas
from ganvas.cli import main as command
from ganvas.config import Config, NetworkConfig
from ganvas.model import Model
from ganvas.networks import build_generator
from ganvas.web.renderer import Renderer
from ganvas.web.state import Move, State, pack


def commands(folder: Path) -> dict[str, list[str]]:
    """Name -> the command line, without the device."""
    images = folder / "images.npz"
    np.savez(
        images, images=ganvas.load("fashion", device="cpu").sample(16, seed=5).permute(0, 2, 3, 1).numpy()
    )
    found = {
        "sample": ["sample", "fashion", "--n", "512", "--out", str(folder / "sample.npz")],
        "walk": ["walk", "fashion", "--equal", "--out", str(folder / "walk.gif")],
        "edit": [
            "edit",
            "fashion",
            "--direction",
            str(folder / "pca.safetensors"),
            "--out",
            str(folder / "edit.png"),
        ],
        "dissect": ["dissect", "fashion", "--concept", "stroke", "--out", str(folder / "dissect.png")],
        "map": ["map", "fashion", "--method", "pca", "--out", str(folder / "map.png")],
        "statistics": ["statistics", "fashion", "--n", "1000"],
        "calibrate": [
            "calibrate",
            "fashion",
            "--data",
            "fashion-mnist",
            "--out",
            str(folder / "ratio.safetensors"),
        ],
        "eval": ["eval", "fashion", "--n", "10000"],
    }
    out = str(folder / "geodesic.gif")
    found["walk geodesic"] = ["walk", "fashion", "--kind", "geodesic", "--frames", "16", "--out", out]
    for method in ("pca", "ica", "sefa", "jacobian", "local", "learned", "random"):
        out = str(folder / f"{method}.safetensors")
        found[f"directions {method}"] = [
            "directions",
            "fashion",
            "--method",
            method,
            "--steps",
            "500",
            "--out",
            out,
        ]
    found["directions attribute"] = [
        "directions", "fashion", "--method", "attribute", "--attribute", "slant", "--out", str(folder / "slant.safetensors")
    ]  # fmt: skip
    for method in ("optimise", "encoder", "hybrid", "tune"):
        out = str(folder / f"{method}.npz")
        encoder = str(folder / "encoder.safetensors")
        found[f"invert {method}"] = [
            "invert", "fashion", str(images), "--method", method, "--encoder", encoder, "--out", out
        ]  # fmt: skip
    for task in ("inpaint", "superres", "denoise", "deblur", "colorize"):
        out = str(folder / f"{task}.npz")
        found[f"restore {task}"] = ["restore", "fashion", str(images), "--task", task, "--out", out]
    samplers = {"langevin": 128, "ex2": 128, "flow": 128, "transport": 128, "reweight": 128, "polarity": 128}
    for name, n in {**samplers, "budget": 128, "resample": 128, "metropolis": 512}.items():
        out = str(folder / f"{name}.npz")
        found[f"sample {name}"] = ["sample", "fashion", "--sampler", name, "--n", str(n), "--out", out]
    for preset in ("small", "hour", "r3", "progressive", "sagan", "wgan-gp", "gpu"):
        found[f"train {preset}"] = [
            "train", "fashion-mnist", "--preset", preset, "--kimg", "2", "--out", str(folder / "runs"), "--name", preset
        ]  # fmt: skip
    found["train compiled"] = [*found["train small"][:-1], "compiled", "--set", "training.compile=true"]
    # A direction is made before it is used.
    return {"directions pca": found.pop("directions pca"), **found}


def numbers(value: object, name: str = "") -> dict[str, float]:
    """All figures of a JSON outcome by their path."""
    if isinstance(value, bool):
        return {}
    if isinstance(value, int | float):
        return {name: float(value)}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: found for k, each in pairs for key, found in numbers(each, f"{name}/{k}").items()}


def run(arguments: list[str], device: str) -> tuple[float, dict[str, float], str]:
    """Seconds, figures, and what went wrong."""
    said, heard = StringIO(), StringIO()
    start = time.perf_counter()
    try:
        with redirect_stdout(said), redirect_stderr(heard):
            code = command([*arguments, "--device", device, "--json"])
    except Exception:
        return time.perf_counter() - start, {}, traceback.format_exc()
    seconds = time.perf_counter() - start
    if code:
        return seconds, {}, f"exit {code}: {heard.getvalue()[-400:]}"
    try:
        return seconds, numbers(json.loads(said.getvalue())), ""
    except json.JSONDecodeError:
        return seconds, {}, f"no JSON: {said.getvalue()[-400:]}"


def slider(devices: list[str]) -> None:
    """What one move of a slider of the explorer takes, without the browser: untrained style generators of several sizes."""
    print("\n| a slider's move, style generator of | " + " | ".join(f"{each}, ms" for each in devices) + " |")
    print("| --- |" + " --- |" * len(devices))
    for size, channels in ((28, 16), (64, 16), (128, 16), (256, 16)):
        cells = []
        for device in devices:
            config = replace(
                Config(), network=NetworkConfig("style", latent_dim=128, generator={"channels": channels})
            )
            torch.manual_seed(0)
            generator = (
                build_generator(config.network, (3, size, size), 0).eval().requires_grad_(False).to(device)
            )
            renderer = Renderer(Model.of_run(generator, None, config, {}))
            vector = pack(torch.nn.functional.normalize(torch.randn(128), dim=0))
            states = [State(moves=(Move("one", vector, 1.0, i / 10),)) for i in range(-5, 25)]
            took = []
            for state in states:
                start = time.perf_counter()
                renderer.draw([state])  # ends on the CPU, so the GPU has finished
                took.append(time.perf_counter() - start)
            cells.append(f"{1000 * statistics.median(took):.1f}")
        print(f"| {size} px, {channels} channels | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"])
    parser.add_argument("--only", nargs="+", default=["*"], help="names or patterns, say 'directions *'")
    options = parser.parse_args()
    first, *others = options.devices
    print(
        "| command | "
        + " | ".join(f"{device}, s" for device in options.devices)
        + " | ratio | largest difference |"
    )
    print("| --- |" + " --- |" * (len(options.devices) + 2))
    failures = []
    with TemporaryDirectory() as folder:
        for name, arguments in commands(Path(folder)).items():
            if not any(fnmatch(name, each) for each in options.only):
                continue
            outcome, drawn = {}, []
            for device in options.devices:
                outcome[device] = run(arguments, device)
                if outcome[device][2]:
                    failures.append(f"{name} on {device}: {outcome[device][2]}")
                elif name == "sample":
                    with np.load(Path(folder) / "sample.npz") as arrays:
                        drawn.append(arrays["images"].astype(int))
            cells = [f"{outcome[d][0]:.2f}" + (" failed" if outcome[d][2] else "") for d in options.devices]
            ratio = f"{outcome[others[0]][0] / outcome[first][0]:.1f} x" if others else ""
            said = ""
            if others and not (outcome[first][2] or outcome[others[0]][2]):
                one, two = outcome[first][1], outcome[others[0]][1]
                off = {
                    key: abs(one[key] - two[key]) / max(abs(two[key]), 1e-9)
                    for key in one.keys() & two.keys()
                    if not key.endswith(("seconds", "time"))
                }
                if off:
                    worst = max(off, key=lambda key: off[key])
                    said = f"{off[worst]:.1e} ({worst.strip('/')})"
                if len(drawn) == 2:
                    said = f"{np.abs(drawn[0] - drawn[1]).max()} of 255"
            print(f"| {name} | {' | '.join(cells)} | {ratio} | {said} |", flush=True)
    if any(fnmatch("slider", each) for each in options.only):
        slider(options.devices)
    for failure in failures:
        print(f"\n{failure}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
