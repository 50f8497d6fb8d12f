"""The explorer at the sizes of other people's generators, in headless Chromium: slider to painted picture, and the whole one.

    python benchmarks/explorer_sizes.py [--models stylegan2-256 stylegan2-1024 stylegan3-t-256] [--seconds 10] [--runs 3]

Networks of the published widths with random weights, which cost what trained ones do. A drag is a real one of the mouse, a
move every 16 ms; times are from the move that asked for a picture until it is on the screen. "Whole" is the time from the last
move until the whole picture is there, which begins after the hand has rested for 0.25 s.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from ganvas.config import NetworkConfig
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator
from tools.browser import CHROMIUM, DRIVER, Browser, chromium, server

STEP = 0.016
PATIENCE = 1800.0
MODELS = {
    "stylegan2-256": ("stylegan2", 256, {"w_dim": 512, "output": "linear"}, 100),
    "stylegan2-1024": ("stylegan2", 1024, {"w_dim": 512, "output": "linear"}, 150),
    "stylegan3-t-256": (
        "stylegan3", 256,
        {"w_dim": 512, "channel_base": 32768, "channel_max": 512, "output": "linear"}, None,
    ),
}  # fmt: skip
"""Family, side, options, and the target of p95 in ms."""


def make(name: str, folder: Path) -> Path:
    """A file with random weights."""
    family, side, options, _ = MODELS[name]
    config = NetworkConfig(name=family, latent_dim=512, generator=options)
    generator = build_generator(config, (3, side, side), 0).eval()
    with torch.no_grad():  # pictures that one can see moving
        generator.w_mean.copy_(generator.mapping(torch.randn(1000, 512)).mean(0))
    path = folder / f"{name}.safetensors"
    Model(generator, None, ModelInfo.of(generator, family, architecture=config)).save(path)
    return path


def drag(page: Browser, name: str, seconds: float) -> tuple[np.ndarray, float]:
    """Times of a drag in ms, and of the whole picture after the last move."""
    page.script("ganvas.times = []")
    page.drag(name, [3 if (i // 45) % 2 == 0 else -3 for i in range(int(seconds / STEP))])
    moved = page.script("return ganvas.movedAt")
    page.wait(
        lambda: page.script("return !ganvas.waiting && !ganvas.inFlight && ganvas.wholeAt > ganvas.movedAt")
    )
    return np.array(page.script("return ganvas.times")), page.script("return ganvas.wholeAt") - moved


def explored(name: str, path: Path, seconds: float, runs: int, cache: Path) -> None:
    """A row for each drag, and how long what a first look needs takes."""
    target = MODELS[name][3]
    with server(str(path), cache=cache) as (url, _), chromium() as page:
        page.driver.get(url)
        start = time.perf_counter()
        page.wait(
            lambda: page.script("return document.body.dataset.ready === 'yes' && ganvas.painted > 0"),
            PATIENCE,
        )
        first = time.perf_counter() - start
        page.wait(lambda: page.all('[data-id="tray"] input'), PATIENCE)
        sliders = time.perf_counter() - start
        page.wait(lambda: "manifold" in page.text("verdict"), PATIENCE)
        judged = time.perf_counter() - start
        page.wait(lambda: "click to go" in page.text("map-words"), PATIENCE)
        drawn = time.perf_counter() - start
        for i in range(runs):
            page.settled()
            times, whole = drag(page, f"pca-{i}", seconds)
            p50, p95 = np.percentile(times, [50, 95])
            print(
                f"| {name} | {len(times)} | {p50:.0f} ms | {p95:.0f} ms | {target or ''} | {times.max():.0f} ms | "
                f"{whole / 1000:.2f} s | {os.getloadavg()[0]:.1f} |",
                flush=True,
            )
        print(
            f"{name}: first picture {first:.1f} s, sliders {sliders:.0f} s, quality {judged:.0f} s, map "
            f"({page.text('map-words').split()[0]} samples) {drawn:.0f} s after the page was opened",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if not (CHROMIUM and DRIVER):
        raise SystemExit("No Chromium with its driver here: apt-get install chromium chromium-driver")
    print(f"{len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, random weights\n")
    print(
        "| model | pictures | p50 | p95 | target | slowest | whole | load |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            explored(name, make(name, Path(folder)), options.seconds, options.runs, Path(folder) / "cache")


if __name__ == "__main__":
    main()
