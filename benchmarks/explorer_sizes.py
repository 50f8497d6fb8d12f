"""The explorer at the sizes of other people's generators, in headless Chromium: slider to painted picture, and the whole one.

    python benchmarks/explorer_sizes.py [--models stylegan2-256 stylegan2-1024 stylegan3-t-256] [--seconds 10] [--runs 3]
        [--shots FOLDER]

Networks of the published widths with random weights, which cost what trained ones do. A drag is a real one of the mouse, a
move every 16 ms; times are from the move that asked for a picture until it is on the screen. "Whole" is the time from the last
move until the whole picture is there, which begins after the hand has rested for 0.25 s. The first drag begins as soon as there
are sliders, while all else is being computed; the others when all is there. Seconds are those of the clock since the page was
opened, and in brackets the processor seconds that the server had taken by then. `--shots` keeps a picture of the page at each.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
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


FIRST_LOOK: dict[str, Callable[[Browser], object]] = {
    "first picture": lambda page: page.script(
        "return document.body.dataset.ready === 'yes' && ganvas.painted > 0"
    ),
    "sliders": lambda page: page.all('[data-id="tray"] input'),
    "quality": lambda page: page.text("q-manifold").endswith("%"),
    "pictures of the sliders": lambda page: page.script(
        "const all = [...document.querySelectorAll('[data-id=tray] img.strip')].filter((each) => each.src);"
        "return all.length && all.length === parseInt(arguments[0].match(/\\d+/)?.[0] ?? 0)",
        page.text("directions-few"),
    ),
    "neighbours": lambda page: page.script(
        "return [...document.querySelectorAll('[data-id=neighbours] img')].every((each) => each.src)"
    ),
    "map": lambda page: "click to go" in page.text("map-words"),
}
"""What comes after the page was opened, and when it is there."""


def processor(pid: int) -> float:
    """Seconds that a process has taken of the processors (Linux)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def explored(
    name: str, path: Path, seconds: float, runs: int, cache: Path, shots: Path | None = None
) -> None:
    """A row for each drag, and how long what a first look needs takes."""
    target = MODELS[name][3]

    def row(which: int, when: str) -> None:
        times, whole = drag(page, f"pca-{which}", seconds)
        p50, p95 = np.percentile(times, [50, 95])
        print(
            f"| {name}, {when} | {len(times)} | {p50:.0f} ms | {p95:.0f} ms | {target or ''} | {times.max():.0f} ms | "
            f"{whole / 1000:.2f} s | {os.getloadavg()[0]:.1f} |",
            flush=True,
        )

    with server(str(path), cache=cache) as (url, process), chromium() as page:
        print(f"{name}: the server takes {processor(process.pid):.0f} processor seconds until it listens")
        page.driver.get(url)
        start, begun = time.perf_counter(), processor(process.pid)
        missing, found = dict(FIRST_LOOK), []
        while missing:
            assert time.perf_counter() - start < PATIENCE, f"waited in vain for {', '.join(missing)}"
            for what in [what for what, is_there in missing.items() if is_there(page)]:
                del missing[what]
                spent = processor(process.pid) - begun
                found.append(f"{what} {time.perf_counter() - start:.0f} s ({spent:.0f})")
                if shots is not None:
                    page.driver.save_screenshot(str(shots / f"{name}-{what.replace(' ', '-')}.png"))
                if what == "sliders":
                    row(0, "while it computes")
            time.sleep(0.1)
        print(f"{name}: {', '.join(found)}; {page.text('map-words')}", flush=True)
        for i in range(runs):
            page.settled()
            row(i, "all there")
        if shots is not None:
            page.driver.save_screenshot(str(shots / f"{name}-all.png"))
        print(page.errors() or "no error in the browser", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shots", type=Path)
    options = parser.parse_args()
    if not (CHROMIUM and DRIVER):
        raise SystemExit("No Chromium with its driver here: apt-get install chromium chromium-driver")
    print(f"{len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, random weights\n")
    print(
        "| model | pictures | p50 | p95 | target | slowest | whole | load |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            explored(
                name,
                make(name, Path(folder)),
                options.seconds,
                options.runs,
                Path(folder) / "cache",
                options.shots,
            )


if __name__ == "__main__":
    main()
