"""Build the models that ganvas carries: python tools/package_model.py fashion [--run RUN] [--kimg 2000]

Without `--run` it trains first, by the command that the model card names; with it, an existing run is packaged. The newest
snapshot's averaged generator and its critic are stored in bf16, measured as they are stored, and the card is written beside
them, with the calibrated ratio and a few real images for the explorer (`--extras`: these two alone). `--header` only writes
the files of a packaged model anew, with the names of its classes and the checksums of its tensors; `--audit` measures what it
gives away of its data, for header and card; the weights stay as they are.
The judge of the benchmarks is trained on the first call.
"""

import argparse
import io as memory
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ganvas
from ganvas import io
from ganvas.data import load_dataset
from ganvas.data.idx import CLASSES
from ganvas.metrics import evaluate
from ganvas.model import PACKAGED, save_network
from ganvas.privacy import Audit
from ganvas.runs import open_run
from ganvas.sampling import calibrate_model

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from judge import features, frechet, load_judge, splits

MODELS = {"fashion": ("fashion-mnist", "hour", 2000.0, "Fashion-MNIST, 28 px grey, style-based")}
SAMPLES = 10_000
REALS = 1000
GIVES_AWAY = "## What it gives away of its data"
"""Begins the last part of a card."""


def extras(folder: Path, data: str) -> None:
    """ratio.safetensors, and real.npz: `REALS` images that the generator was trained on."""
    model = ganvas.load(folder, device="cpu")
    ratio, _ = calibrate_model(model, data, judged=True)
    ratio.save(folder / "ratio.safetensors")
    print(ratio.report)
    assert model.info.data is not None
    cut = model.info.data.config
    train = load_dataset(cut).split(cut.holdout, cut.fold)[0]
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:REALS]
    buffer = memory.BytesIO()
    np.savez_compressed(buffer, images=train.take(rows)[0].numpy())
    io.write_bytes(folder / "real.npz", buffer.getvalue())


def header(folder: Path, **said: Any) -> None:
    """The same tensors under a header with the names of the classes, and what else is said."""
    for kind in ("generator", "critic"):
        path = folder / f"{kind}.safetensors"
        tensors, about = io.load_tensors(path)
        about["class_names"] = list(CLASSES[about["data"]["name"]])
        with io.atomic(path) as temporary:
            io.save_tensors(temporary, tensors, {**about, **said})


def audit(folder: Path, data: str) -> None:
    """What `ganvas audit` finds, in the headers of both networks and at the end of the card."""
    found = ganvas.audit(folder, data, device="cpu")
    header(folder, audit={**found.brief._asdict()})
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").partition(f"\n{GIVES_AWAY}")[0]
    io.write_bytes(card, f"{text}\n{gives_away(found, folder.name, data)}".encode())


def gives_away(found: Audit, name: str, data: str) -> str:
    """The last part of a card."""
    heads, rows = found.cells()
    controls = [
        f"Of {each.planted:,} training images planted among the samples ({each.rate:.1%}) the test finds {each.found:,}."
        for each in found.controls
    ]
    table = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
    seen = f"{found.samples:,} samples, {found.train:,} images seen and {found.held_out:,} not"
    parts = [
        GIVES_AWAY,
        f"By `ganvas audit {name} --data {data}`: {seen}, compared by {found.view}; AUC 0.5 gives nothing away.",
        "\n".join(table),
        "\n".join([*found.verdict(), *controls]),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=list(MODELS))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--kimg", type=float)
    parser.add_argument("--extras", action="store_true")
    parser.add_argument("--header", action="store_true")
    parser.add_argument("--audit", action="store_true")
    options = parser.parse_args()
    data, preset, kimg, line = MODELS[options.name]
    if options.header:
        header(PACKAGED / options.name)
        return
    if options.audit:
        audit(PACKAGED / options.name, data)
        return
    if options.extras:
        extras(PACKAGED / options.name, data)
        return
    if options.run is None:
        run = ganvas.train(data, preset=preset, kimg=options.kimg or kimg, seed=0, name=options.name).run
    else:
        run = open_run(options.run)
    model = ganvas.load(run.path, device="cpu")
    assert model.critic is not None
    assert model.config is not None
    folder = PACKAGED / options.name
    folder.mkdir(parents=True, exist_ok=True)
    for kind, network in (("generator", model.generator), ("critic", model.critic)):
        with io.atomic(folder / f"{kind}.safetensors") as temporary:
            save_network(
                temporary, network, model.config, {**model.info.header(), "kind": kind}, torch.bfloat16
            )
    size = sum((folder / f"{kind}.safetensors").stat().st_size for kind in ("generator", "critic"))
    stored = ganvas.load(folder, device="cpu")

    judge, accuracy = load_judge()
    images, _, test_images, _ = splits()
    real = features(judge, images)
    drawn = features(judge, stored.sample(SAMPLES, seed=1))
    distance, floor = frechet(drawn, real), frechet(features(judge, test_images), real)
    found = evaluate(
        stored, metrics=["frechet", "precision-recall", "density-coverage"], n=SAMPLES, device="cpu"
    )
    last = run.stats()[-1]
    rows = "\n".join(f"| {row.label} | {row.value:.4g} | {row.floor:.4g} |" for row in found.rows)
    about, t = run.info["data"], run.config.training
    machine = f"CPU ({platform.machine()}), torch {torch.__version__.split('+')[0]}, {t.precision}"
    counts = [sum(p.numel() for p in network.parameters()) for network in (model.generator, model.critic)]
    card = f"""# {line}

`ganvas.load("{options.name}")` opens the averaged generator and its critic: {size / 2**20:.2f} MiB together, bf16.

| | |
| --- | --- |
| command | `{run.info["command"]}` |
| seed, length | {t.seed}, {model.info.kimg or 0:,.0f} kimg |
| time | {last["seconds"] / 60:.0f} minutes on a {machine} |
| data | {about["name"]}, fingerprint {about["fingerprint"]} |
| images | {about["trained_on"]:,} trained on, {about["held_out"]:,} held out |
| weights | {counts[0]:,} in the generator, {counts[1]:,} in the critic |

Measured as stored, {SAMPLES:,} samples (seed 1 for the judge, 0 for the others), none chosen:

| metric | value | held-out real images |
| --- | --- | --- |
| Frechet distance in the benchmarks' judge ({accuracy:.1%} right) | {distance:.2f} | {floor:.2f} |
{rows}

`ratio.safetensors` is the critic of `ganvas calibrate {options.name} --data {data}`, which samplers and the explorer follow;
`real.npz` holds {REALS:,} of the images trained on, for the explorer to compare with where the data set is not at hand.

Features of the lower rows: {found.rows[0].extractor}. Rebuild with `python tools/package_model.py {options.name}`. The data
are Fashion-MNIST (Xiao et al. 2017, MIT licence); the weights have the licence of ganvas.
"""
    io.write_bytes(folder / "README.md", card.encode())
    extras(folder, data)
    audit(folder, data)
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
