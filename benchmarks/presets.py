"""Measure presets on real data and write docs/presets.md.

    python benchmarks/presets.py run digits small --minutes 5      # one row: train, measure, keep in benchmarks/presets.json
    python benchmarks/presets.py write                             # docs/presets.md from the rows and the presets themselves
    python benchmarks/presets.py emoji FONT.ttf                    # a colour folder: Noto's emoji, drawn at 136 px
    python benchmarks/presets.py speed photo 32 --steps 64         # images a second, memory and what waits for data

A row is one run: kimg, seconds, peak memory of the process, and Frechet distance, precision and recall of 10,000 samples
against the training part, in the features that `ganvas eval` takes for that data.
"""

import argparse
import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

import ganvas
from ganvas import io
from ganvas.config import AugmentConfig, DataConfig
from ganvas.data import load_dataset
from ganvas.data.loader import Batches
from ganvas.metrics import evaluate
from ganvas.presets import SIZES, presets, resized
from ganvas.training.method import DataSpec, build_method
from ganvas.training.resolve import LARGE, LARGE_RATE
from judge import OUT

ROWS = Path(__file__).with_name("presets.json")
PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
COLUMNS = (
    "data",
    "preset",
    "size",
    "kimg",
    "minutes",
    "threads",
    "memory",
    "frechet",
    "precision",
    "recall",
    "coverage",
    "floor",
)

AAE = (
    "An autoencoder blurs what its codes do not hold, and goes on doing so. At 40 kimg, seeds 0 and 1, the Frechet "
    "distance of `aae` is 10.8 and 9.8 on Fashion-MNIST where that of `small` is 9.3 and 9.2 (5,000 samples), and 5.1 "
    "and 4.8 on the digits where it is 5.1 and 5.7 (as many samples as images). From there on `small` gains with time, "
    "while reconstructions of real images alone stand at 8.0 on Fashion-MNIST. Take `aae` for its encoder.\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data")
    run.add_argument("preset", choices=list(presets))
    run.add_argument("--minutes", type=float)
    run.add_argument("--kimg", type=float)
    run.add_argument("--size", default="s", choices=list(SIZES))
    run.add_argument("--resolution", type=int)
    run.add_argument("--device", default="cpu")
    run.add_argument("--resume", help="measure this finished run instead of training")
    commands.add_parser("write")
    speed = commands.add_parser("speed")
    speed.add_argument("preset", choices=list(presets))
    speed.add_argument("side", type=int)
    speed.add_argument("--steps", type=int, default=16, help="of which one in eight or sixteen has a penalty")
    speed.add_argument("--plain", action="store_true", help="without augmentation")
    speed.add_argument("--device", default="cpu")
    emoji = commands.add_parser("emoji")
    emoji.add_argument("font")
    options = parser.parse_args()
    if options.command == "emoji":
        draw_emoji(options.font)
    elif options.command == "speed":
        pace(options)
    elif options.command == "write":
        write()
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Train and measure one row."""
    given = {"resolution": options.resolution, "resize": "fit"} if options.resolution else {}
    if options.resume:
        run = ganvas.open_run(options.resume)
        seconds = run.stats()[-1]["seconds"]
    else:
        result = ganvas.train(
            options.data, preset=options.preset, minutes=options.minutes, kimg=options.kimg, size=options.size,
            device=options.device,
            out=OUT / "runs", **given,
        )  # fmt: skip
        run, seconds = result.run, result.seconds
    on_gpu = options.device.startswith("cuda")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if on_gpu:
        memory = torch.cuda.max_memory_allocated() / 2**30
    found = evaluate(
        run.path, metrics=["frechet", "precision-recall", "density-coverage"], n=10_000, device=options.device
    )
    values = {row.metric: row.value for row in found.rows}
    name = run.info["data"]["name"] + (f", {options.resolution} px" if options.resolution else "")
    row = {
        "data": name, "preset": options.preset, "size": options.size, "kimg": round(run.stats()[-1]["kimg"]),
        "minutes": round(seconds / 60, 1),
        "threads": torch.cuda.get_device_name().split()[1] if on_gpu else torch.get_num_threads(),
        "memory": "" if options.resume else round(memory, 2),
        **{metric: round(values[metric], 3) for metric in ("frechet", "precision", "recall", "coverage")},
        "floor": round(next(row.floor for row in found.rows if row.metric == "frechet") or 0, 3),
        "extractor": found.rows[0].extractor, "command": run.info["command"],
    }  # fmt: skip
    rows = [
        old
        for old in _rows()
        if (old["data"], old["preset"], old["size"]) != (name, options.preset, options.size)
    ]
    io.write_json(ROWS, {"rows": [*rows, row], "speed": _rows("speed")})
    print(json.dumps(row, indent=2))


def pace(options: argparse.Namespace) -> None:
    """Steps of a preset on PNG files of twice the side, which are read and made smaller while it trains; after a step to warm up.

    Augmentation is applied to half of the pictures. Images a second are of the processor's time where there is no GPU: other
    work on the machine does not count.
    """
    device, side, preset = torch.device(options.device), options.side, presets.get(options.preset)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    augmented = replace(preset.augment, p=0.5, target=None)
    config = replace(preset, augment=AugmentConfig() if options.plain else augmented)
    with TemporaryDirectory() as folder, patch.dict("os.environ", {"GANVAS_RESIDENT_MB": "0.001"}):
        random = np.random.default_rng(0)
        for i in range(256):
            soft = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            soft.resize((2 * side, 2 * side), Image.Resampling.BICUBIC).save(f"{folder}/{i}.png")
        data = load_dataset(DataConfig(folder, side, "stretch"))
        batches = iter(Batches(data, config.training.batch, 0, device))
        method = build_method(config, DataSpec(data.shape), device)
        waited = 0.0

        def following(_: str) -> tuple[torch.Tensor, torch.Tensor | None]:
            nonlocal waited
            began = time.perf_counter()
            found = next(batches)
            waited += time.perf_counter() - began
            return found

        method.step(following, 0.0)
        waited, began, of_clock = 0.0, time.perf_counter(), clock()
        for _ in range(options.steps):
            method.step(following, 0.0)
        if device.type == "cuda":
            torch.cuda.synchronize()
        whole, used = time.perf_counter() - began, clock() - of_clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**30
    row = {
        "preset": options.preset, "side": side, "augmentation": "no" if options.plain else "yes", "steps": options.steps,
        "batch": config.training.batch, "images a second": round(options.steps * config.training.batch / used, 1),
        "memory": round(memory, 2), "waits for data": f"{waited / whole:.1%}",
        "on": torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} thread",
    }  # fmt: skip
    same = ("preset", "side", "augmentation", "on")
    others = [old for old in _rows("speed") if any(old[key] != row[key] for key in same)]
    io.write_json(ROWS, {"rows": _rows(), "speed": [*others, row]})
    print(json.dumps(row))


def _rows(kind: str = "rows") -> list[dict[str, object]]:
    return list(io.read_json(ROWS).get(kind, [])) if ROWS.is_file() else []


def write() -> None:
    """docs/presets.md."""
    parts = [
        "# Presets\n\nGenerated by `python benchmarks/presets.py write`; "
        "the rows by `python benchmarks/presets.py run DATA PRESET`.\n",
        "`--size` multiplies the widths of both networks: "
        + ", ".join(f"{k} {v:g} x" for k, v in SIZES.items())
        + f". Above {LARGE} px the rates of style-based pairs are {LARGE_RATE:g} at most.\n",
        "## Measured runs\n\nOn CPU threads of an AMD EPYC (AVX512-BF16), seed 0, other work on the machine's "
        "second core; `H100`: one such GPU, which four "
        "other jobs used at the same time. Frechet "
        "distances compare within one data set only; the floor is what held-out real images score. Memory is the peak of "
        "the process in GiB, with `H100` of what torch held on the GPU. `progressive` and `sagan` were measured before their "
        "presets took the published gain and spectral norm. `aae` was measured while other work took most of both "
        "cores: it trains about as fast as `small`.\n",
        AAE,
        "| data | preset | size | kimg | minutes | threads | memory | Frechet | precision | recall | coverage | floor |",
        "| " + " | ".join("---" for _ in COLUMNS) + " |",
    ]
    for row in sorted(_rows(), key=lambda row: (str(row["data"]), float(str(row["frechet"])))):
        parts.append("| " + " | ".join(str(row[column]) for column in COLUMNS) + " |")
    measured = {str(row["preset"]) for row in _rows()}
    missing = [name for name in presets if name not in measured]
    parts += [
        "\nNot in this table: "
        + ", ".join(f"`{name}`" for name in missing)
        + ". Autoencoders and GANs in their latent space are "
        "measured [beside each other](autoencoders.md), `private` beside [its price](leaks.md), series by [measures of "
        "their own](series-measures.md), `projected` on [photographs](figures.md).\n"
    ]
    if paces := _rows("speed"):
        parts += [
            "## Speed and memory\n\n`python benchmarks/presets.py speed PRESET SIDE`: steps on PNG files of twice the side, read "
            "while it trains. Images a second are per second of processor time of one core, other work taking most of the "
            "machine; memory is the peak of the process in GiB; the last column is the share of the time that steps wait for "
            "data. Rows of few steps have fewer penalties than a run.\n",
            f"| {' | '.join(paces[0])} |",
            "| " + " | ".join("---" for _ in paces[0]) + " |",
            *(f"| {' | '.join(str(value) for value in pace.values())} |" for pace in paces),
            "",
        ]
    parts += [
        "## All presets\n",
        "| preset | for | network | loss, penalties | rates | batch | weights at 32 px |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in presets:
        config = resized(presets.get(name), "s")
        o = config.objective
        penalties = ", ".join(
            f"{p.name} {p.weight if p.bound is None else p.bound:g}"
            + (f" every {p.interval}" if p.interval > 1 else "")
            for p in o.penalties
        )
        parts.append(
            f"| `{name}` | {presets.summary(name)} | {config.network.name} | {o.loss}{', ' + penalties if penalties else ''} | "
            f"{config.optimizer.lr_generator:g} / {config.optimizer.lr_critic:g} | {config.training.batch} | {_weights(name)} |"
        )
    io.write_bytes(PAGE, ("\n".join(parts) + "\n").encode())
    print(f"{PAGE}: {len(_rows())} measured rows")


def _weights(name: str) -> str:
    from ganvas.networks import build_critic, build_generator

    network, shape = (
        presets.get(name).network,
        {"toy": (2,), "latent": (64,), "series": (6, 24), "timegan": (6, 24)}.get(name, (3, 32, 32)),
    )
    with torch.device("meta"):
        pair = (build_generator(network, shape, 0), build_critic(network, shape, 0))
    return " + ".join(f"{sum(p.numel() for p in each.parameters()) / 1e6:.2f} M" for each in pair)


def draw_emoji(font: str) -> None:
    """Every colour glyph of a bitmap emoji font as a PNG on white, in benchmarks/out/emoji."""
    from fontTools.ttLib import TTFont
    from PIL import Image, ImageDraw, ImageFont

    folder = OUT / "emoji"
    folder.mkdir(parents=True, exist_ok=True)
    type_ = ImageFont.truetype(font, 109)
    count = 0
    for code in sorted(TTFont(font).getBestCmap()):
        if code < 0x2000:
            continue
        image = Image.new("RGB", (136, 136), "white")
        ImageDraw.Draw(image).text((0, 4), chr(code), font=type_, embedded_color=True)
        if len(image.getcolors(136 * 136) or []) > 8:
            image.save(folder / f"{code:05x}.png")
            count += 1
    print(f"{count} images in {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
