"""Every command with every kind of model: nothing ends in a traceback, and nothing small takes gigabytes or many minutes.

    python tools/sweep.py FOLDER                      # all kinds: hours
    python tools/sweep.py FOLDER --kinds visits rect  # these alone
    python tools/sweep.py FOLDER --words              # what was refused, and how: to be read

Not part of the tests: it takes its hours. A kind of model is trained for a blink on data that are made here by formula; then
it is given some 120 lines of commands, sensible ones and mistakes, each in a folder of its own. What was done is not done again,
so that a sweep goes on where it was stopped. A line holds when its exit code is 0, or 2 with a sentence, and when it takes less
than `MEMORY` and `--limit` seconds of the processor. The table says how many of each did; the exit code is 1 when one did not.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganvas.cli import main
from ganvas.web import landscape

MEMORY = 1500
"""Megabytes."""
PRELOADED = [
    "ganvas.training", "ganvas.web.app", "matplotlib.backends.backend_agg", "matplotlib.figure", "sklearn.datasets",
    "sklearn.linear_model", "sklearn.manifold", "sympy", "torch._dynamo", "typeguard", "tyro",
]  # fmt: skip
"""What commands import, some only when they come to it: a second and more that each line would take anew."""
SHORT = [
    "--kimg",
    "0.256",
    "--batch",
    "32",
    "--quiet",
    "--device",
    "cpu",
    "--set",
    "training.eval_samples=100",
]
SMALL = ["network.generator.channels=4", "network.critic.channels=4"]
SERIES = ["--network", "recurrent"]
KINDS: dict[str, list[str]] = {
    "small": ["digits", "--set", *SMALL],
    "classes": ["{classes}", "--conditional", "--set", *SMALL],
    "oblong": ["{wide}", "--resolution", "32", "--height", "16", "--resize", "crop", "--set", *SMALL],
    "alpha": ["{alpha}", "--alpha", "--set", *SMALL],
    "two": ["{pictures}", "{classes}", "--resolution", "16", "--resize", "crop", "--set", *SMALL],
    "style": ["{classes}", "--preset", "hour", "--conditional", "--set", *SMALL],
    **{
        f"pictures-{method}": ["digits", "--method", method]
        for method in ("ae", "aae", "vae", "vae-gan", "bigan", "vq")
    },
    "alpha-vae": ["{alpha}", "--alpha", "--method", "vae"],
    "codes": ["digits", "--in-latent", "<pictures-ae>"],
    "codes-vq": ["digits", "--in-latent", "<pictures-vq>"],
    **{preset: ["digits", "--preset", preset] for preset in ("wgan-gp", "r3", "progressive", "article")},
    **{preset: ["{classes}", "--preset", preset, "--conditional"] for preset in ("biggan", "sagan")},
    "tuned": ["digits", "--from", "<small>"],
    "plane": ["toy:grid25"],
    "points": ["{points}"],
    "points-vae": ["{points}", "--method", "vae", "--network", "mlp"],
    "prices": ["{prices}", "--window", "24"],
    "visits": ["{visits}", "--by", "who", "--static", "sex", "--label", "outcome", "--conditional"],
    "gaps": ["{gaps}", "--by", "who"],
    "waves": ["{waves}", "--conditional"],
    "tcn": ["{waves}", "--network", "tcn"],
    "transformer": ["{waves}", "--network", "transformer-small"],
    "timegan": ["{waves}", "--method", "timegan"],
    **{
        f"waves-{method}": ["{waves}", "--method", method, *SERIES]
        for method in ("aae", "vae", "bigan", "vq")
    },
    "gaps-ae": ["{gaps}", "--by", "who", "--method", "ae", *SERIES],
    "codes-waves": ["{waves}", "--in-latent", "<waves-aae>"],
}
"""What they are trained on, {made here}, or with <another kind>."""
SAMPLERS = ("metropolis", "langevin", "transport", "reweight", "truncate", "magnet")
SEARCH = ["--n", "2", "--steps", "2", "--restarts", "1"]


def lines(model: str, own: str, data: dict[str, str]) -> Iterator[list[str]]:
    """What is given to a model that was trained on `own`: each command in the ways that people take."""
    yield from (
        ["info", model],
        ["diagnose", model],
        ["calibrate", model],
        ["sample", model, "--best", "--n", "4"],
    )
    for out in ("a.png", "a.npz", "a.npy", "a.csv", "folder"):
        yield ["sample", model, "--n", "5", "--out", out]
    for more in (
        ["--truncate", "0.7"],
        ["--labels", "0", "1"],
        ["--seeds", "0-3"],
        ["--length", "40", "--out", "b.csv"],
    ):
        yield ["sample", model, *([] if "--seeds" in more else ["--n", "4"]), *more]
    for critic in ("own", "fresh", "features"):
        yield ["calibrate", model, "--critic", critic]
    yield from (["sample", model, "--n", "6", "--sampler", sampler] for sampler in SAMPLERS)
    yield ["improve", model, "--n", "100", "--budget", "4"]
    yield ["sample", model, "--best", "--n", "4"]
    for more in (
        [],
        ["--extractor", "pyramid"],
        ["--snapshots"],
        *(["--reference", data[name]] for name in data),
    ):
        yield ["eval", model, "--n", "100", *more]
    for more in ([], ["--data", own], ["--data", data["visits"]], ["--against", model]):
        yield ["audit", model, "--n", "100", "--reconstruct", "2", *more]
    for more in (
        [],
        ["--spaces", "z", "w", "w+", "styles"],
        ["--rca", "5", "--rescore", "brightness", "contrast"],
    ):
        yield ["statistics", model, "--n", "60", *more]
    yield ["explore", model, "--static", "a.html"]
    yield ["explore", model, "--export", "a.html", "--data", own, "--share-data"]
    for kind in ("auto", "linear", "spherical", "spline", "geodesic", "mixing"):
        yield ["walk", model, "--keys", "3", "--frames", "6", "--kind", kind, "--out", "a.gif"]
    for more in (
        ["--equal", "--loop", "--out", "a.png"],
        ["--out", "a.csv"],
        ["--out", "a.npz"],
        ["--out", "a.mp4"],
    ):
        yield ["walk", model, "--keys", "3", "--frames", "6", *more]
    for more in (["--space", "class"], ["--space", "w+"], ["--space", "styles"], ["--labels", "0", "1", "0"]):
        yield ["walk", model, "--keys", "3", "--frames", "6", *more]
    found = f"{model}-directions.safetensors"
    for method in ("pca", "ica", "sefa", "jacobian", "local", "learned", "random"):
        yield [
            "directions",
            model,
            "--method",
            method,
            "--count",
            "2",
            *(["--steps", "3"] if method == "learned" else []),
            "--out",
            found,
        ]
    for name in ("brightness", "width", "trend", "class:0"):
        yield ["directions", model, "--method", "attribute", "--attribute", name, "--samples", "60"]
    yield ["edit", model, "--direction", found, "--strength", "-1", "1", "--n", "3"]
    yield ["edit", model, "--direction", found, "--n", "3", "--keep", "brightness"]
    yield ["edit", model, "--arithmetic", "1 - 2 + 3", "--n", "3"]
    for given in dict.fromkeys([own, *data.values()]):
        yield ["invert", model, given, *SEARCH, "--newton", "1", "--method", "optimise"]
        yield ["restore", model, given, *SEARCH]
        yield ["encode", model, given, "--n", "6"]
        yield ["reconstruct", model, given, "--n", "6"]
    yield ["invert", model, own, "--n", "2", "--method", "encoder"]
    yield ["invert", model, own, "--n", "2", "--method", "tune", "--steps", "2"]
    yield ["encode", model, own, "--n", "40", "--fit", "2", "--out", "fitted.npz"]
    for task in ("inpaint", "superres", "colorize"):
        yield ["restore", model, own, "--task", task, *SEARCH]
        yield ["restore", model, own, "--task", task, *SEARCH, "--damaged"]
    for more in (
        [],
        ["--data", own],
        *(["--colour", name] for name in ("class", "critic-score", "density", "brightness")),
    ):
        yield ["map", model, "--n", "60", "--method", "pca", *more]
    for concept in ("critic-score", "stroke", "red", "brightness", "class:0"):
        yield ["dissect", model, "--n", "16", "--concept", concept]
    for more in (["onnx"], ["onnx", "--half", "--parts"], ["page"], ["hub", "--dry-run"]):
        yield ["export", model, "--to", *more]
    yield ["train", own, "--from", model, *SHORT]
    yield ["train", own, "--in-latent", model, *SHORT]
    yield ["train", "--resume", model, "--more", "0.01", "--quiet"]


class Sweep:
    """A folder with the data, the models, what each line left, and lines.jsonl, which says how each ended."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder.resolve(), limit
        (self.folder / "models").mkdir(parents=True, exist_ok=True)
        os.environ["GANVAS_CACHE"] = str(self.folder / "cache")
        self.log = self.folder / "lines.jsonl"
        self.done = (
            [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        )
        self.data = made(self.folder / "data")
        # Children of a fork server that has imported everything start at once.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)

    def model(self, kind: str) -> str | None:
        """The run of a kind, trained where there is none yet; None where that failed."""
        for _ in range(2):
            if found := list((self.folder / "models").glob(f"?????-{kind}")):
                return str(found[0])
            words = [self.data.get(word[1:-1], word) if word[0] == "{" else word for word in KINDS[kind]]
            words = [self.model(word[1:-1]) or word if word[0] == "<" else word for word in words]
            held = [] if words[0] in ("digits", "toy:grid25") else ["--set", "data.holdout=0.3"]
            self.line(
                kind, ["train", *words, *held, *SHORT, "--out", str(self.folder / "models"), "--name", kind]
            )
        return None

    def line(self, kind: str, words: list[str]) -> None:
        """One command, if it was not given before."""
        if any(row["kind"] == kind and row["words"] == words for row in self.done):
            return
        place = self.folder / "lines" / f"{len(self.done):05d}"
        # What a line left that was stopped with the sweep would be taken for what this one did.
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        process = self.context.Process(target=command, args=(words, str(place), self.limit))
        process.start()
        process.join()
        took = place / "took.json"
        row = (
            json.loads(took.read_text())
            if took.exists()
            else {"code": process.exitcode, "mb": 0, "seconds": self.limit}
        )
        said = (place / "err").read_text(errors="replace") if (place / "err").exists() else ""
        row |= {"kind": kind, "words": words, "said": said[-1000:], "traceback": "Traceback" in said}
        self.done.append(row)
        with self.log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if fault := faults(row):
            print(f"FAULT: {kind}: {' '.join(words)}: {fault}", flush=True)

    def table(self) -> str:
        """Markdown: how the lines of each kind ended."""
        rows = [
            "| kind | lines | done | refused in words | did not hold |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for kind in dict.fromkeys(row["kind"] for row in self.done):
            count = Counter(
                "fault" if faults(row) else row["code"] for row in self.done if row["kind"] == kind
            )
            rows.append(f"| {kind} | {count.total()} | {count[0]} | {count[2]} | {count['fault']} |")
        return "\n".join(rows)


def faults(row: dict[str, Any]) -> str:
    """What did not hold in a line; empty where all did."""
    if row["traceback"] or row["code"] not in (0, 2):
        return f"exit code {row['code']}: {row['said'].strip().splitlines()[-1:]}"
    return f"{row['mb']} MB" if row["mb"] > MEMORY else ""


def command(words: list[str], place: str, limit: int) -> None:
    """In the child: be `ganvas words`, in the folder `place`; what it took is in took.json."""
    os.chdir(place)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    landscape.SAMPLES = 100  # thousands of samples on the map of a page take a minute each time
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 2
    except BaseException:
        traceback.print_exc()
        code = 1
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stderr.flush()
    took = {"code": code, "mb": used.ru_maxrss // 1024, "seconds": round(used.ru_utime + used.ru_stime, 1)}
    Path("took.json").write_text(json.dumps(took))


def made(folder: Path) -> dict[str, str]:
    """Data of several kinds by formula, the same each time: names and paths."""
    random = np.random.default_rng(0)
    files = (
        "pictures",
        "wide",
        "alpha",
        "classes",
        "one.png",
        "points.npy",
        "waves.npz",
        "prices.csv",
        "visits.csv",
        "gaps.csv",
    )
    paths = {file.split(".")[0]: str(folder / file) for file in files}
    if folder.exists():
        return paths
    folder.mkdir(parents=True)
    for name, side, mode in (
        ("pictures", (20, 16), "RGB"),
        ("wide", (32, 16), "RGB"),
        ("alpha", (16, 16), "RGBA"),
    ):
        for i in range(500):
            save(folder / name / f"{i:03d}.png", i, side, mode, random)
    for i in range(900):
        save(folder / "classes" / f"kind{i % 3}" / f"{i:03d}.png", i, (16, 16), "RGB", random)
    save(folder / "one.png", 0, (40, 30), "RGB", random)
    np.save(
        paths["points"],
        np.concatenate([random.normal(c, 0.1, (400, 3)) for c in (-1, 0, 1)]).astype(np.float32),
    )
    phase = random.normal(0, 1, (1200, 1, 2))
    waves = np.sin(np.arange(24)[None, :, None] / 3 + phase).astype(np.float32)
    np.savez(paths["waves"], series=waves, labels=np.arange(1200) % 2)
    days = np.datetime64("2020-01-01") + np.arange(1500)
    price, volume = (
        100 * np.exp(random.normal(0, 0.01, 1500).cumsum()),
        1e6 * np.exp(random.normal(0, 0.3, 1500)),
    )
    rows = [f"{day},{p:.3f},{v:.0f}" for day, p, v in zip(days, price, volume, strict=True)]
    Path(paths["prices"]).write_text("\n".join(["date,close,volume", *rows]))
    rows = [
        f"p{s},{np.sin(t / 3 + s) + s % 3:.4f},{100 + 10 * np.cos(t / 2 + s):.3f},{'mf'[s % 2]},{'ab'[s % 2]}"
        for s in range(400) for t in range(12)
    ]  # fmt: skip
    Path(paths["visits"]).write_text("\n".join(["who,close,volume,sex,outcome", *rows]))
    rows = [
        f"p{s},{np.sin(t + s):.3f},{'' if (s + t) % 5 == 0 else f'{np.cos(t * s):.3f}'}"
        for s in range(400) for t in range(6 + s % 7)
    ]  # fmt: skip
    Path(paths["gaps"]).write_text("\n".join(["who,a,b", *rows]))
    return paths


def save(path: Path, i: int, side: tuple[int, int], mode: str, random: np.random.Generator) -> None:
    """The i-th picture: stripes in a disc, with a little noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = side
    y, x = np.mgrid[:height, :width]
    values = (
        np.sin(x[..., None] / (1 + i % 5) + np.arange(4)) + np.cos(y[..., None] / (1 + i % 3))
    ) * 60 + 128
    values += random.normal(0, 5, values.shape)
    values[..., 3] = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (3 + i % 5) ** 2, 255, 0)
    Image.fromarray(values.clip(0, 255).astype(np.uint8), "RGBA").convert(mode).save(path)


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument(
        "--limit", type=int, default=300, help="seconds of the processor that a line may take"
    )
    parser.add_argument("--words", action="store_true", help="print what was refused, and how")
    options = parser.parse_args()
    sweep = Sweep(options.folder, options.limit)
    if options.words:
        for row in sweep.done:
            if row["code"] == 2:
                print(
                    row["kind"],
                    " ".join(row["words"]),
                    "|",
                    row["said"].strip().replace(str(sweep.folder), "."),
                )
        return 0
    others = {name: sweep.data[name] for name in ("pictures", "one", "waves", "visits", "points")}
    for kind in options.kinds:
        if (model := sweep.model(kind)) is not None:
            own = next(
                row["words"][1] for row in sweep.done if row["kind"] == kind and row["words"][0] == "train"
            )
            for words in lines(model, own, others):
                sweep.line(kind, words)
    print(sweep.table())
    return int(any(faults(row) for row in sweep.done))


if __name__ == "__main__":
    sys.exit(run())
