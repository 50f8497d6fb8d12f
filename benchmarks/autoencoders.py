"""Autoencoders at equal minutes of CPU time on Fashion-MNIST: how near their samples and their reconstructions are to the data.

    python benchmarks/autoencoders.py run --minutes 10 --seeds 3          # every row that is not there yet, one after the other
    python benchmarks/autoencoders.py run --rows vae latent --seeds 1     # some of them
    python benchmarks/autoencoders.py show                                # the table, means over the seeds
    python benchmarks/autoencoders.py picture                             # docs/images/reduce.png: digits in two numbers
    python benchmarks/autoencoders.py factors --minutes 1.5 --seeds 1     # disentanglement on `shapes`, whose factors are known

Minutes are of the process's CPU time, which other work on the machine does not lengthen: set OMP_NUM_THREADS=1. A GAN in a
latent space shares them with its autoencoder (`SHARE`). Rows are kept in benchmarks/autoencoders.json by name, minutes and
seed, each as it is done; what was trained stays in benchmarks/out/autoencoders, and an interrupted row begins anew.
"""

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import torch
from clock import count_by

import ganvas
from ganvas import io
from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.data.shapes import draw_factors, render
from ganvas.features import open_extractor
from ganvas.features.base import embed
from ganvas.latent.prior import fit_prior
from ganvas.latent.statistics import dci, factor_vae_score, mig, sap
from ganvas.metrics import evaluate
from ganvas.metrics.reconstruction import measure
from ganvas.model import Model
from ganvas.model_data import unseen
from judge import OUT

ROWS = Path(__file__).with_name("autoencoders.json")
FOLDER = OUT / "autoencoders"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "reduce.png"
DATA = "fashion-mnist"
SHARE = 0.6
"""Of the minutes of a GAN in a latent space that its autoencoder gets."""
SAMPLES = 5000
HELD = 5000
INVERTED = 200
"""Held-out images whose codes are looked for."""
TRAINED = ("vae", "ae", "vae-gan", "aae", "bigan", "bigan-pixels", "vq", "latent", "small")
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {"bigan-pixels": ("bigan", {"pixels": 5.0})}
"""Rows of a preset with other options of its method than its own."""
SAMPLERS: dict[str, tuple[int, ...]] = {"vae": (0, 1, 10), "ae": (1, 10), "vae-gan": (0, 10)}
"""Components of the priors that are fitted to one trained model, each a row; 0 is the standard normal. Others are as trained."""
SIDE = 11
"""Of the lattice of the picture."""
FACTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", {}),
    "beta-vae, beta 4": ("vae", {"beta": 4.0}),
    "aae": ("aae", {}),
}
"""Rows of `factors`: the method and its options, with ten codes each."""
FACTOR_COLUMNS = ("FactorVAE", "DCI", "SAP", "MIG", "completeness", "informativeness", "PSNR", "active")
COLUMNS = ("frechet", "psnr", "ssim", "reconstruction_frechet", "same_class", "rank", "active", "kimg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--rows", nargs="+", choices=TRAINED, default=TRAINED)
    run.add_argument("--minutes", type=float, default=10.0)
    run.add_argument("--seeds", type=int, default=3)
    commands.add_parser("show")
    picture = commands.add_parser("picture")
    picture.add_argument("--minutes", type=float, default=1.0)
    known = commands.add_parser("factors")
    known.add_argument("--minutes", type=float, default=1.5)
    known.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    if options.command == "show":
        show()
    elif options.command == "picture":
        draw(options.minutes)
    elif options.command == "factors":
        factors(options.minutes, options.seeds)
    else:
        for seed in range(options.seeds):
            for name in options.rows:
                if not any(_is(row, name, options.minutes, seed) for row in rows()):
                    keep(measured(name, options.minutes, seed))


def rows() -> list[dict[str, Any]]:
    return list(io.read_json(ROWS)["rows"]) if ROWS.is_file() else []


def _is(row: dict[str, Any], name: str, minutes: float, seed: int) -> bool:
    return (row["trained"], row["minutes"], row["seed"]) == (name, minutes, seed)


def keep(new: list[dict[str, Any]]) -> None:
    io.write_json(ROWS, {"rows": [*rows(), *new]})
    for row in new:
        print(json.dumps(row), flush=True)


def trained(name: str, minutes: float, seed: int, data: str = DATA, **given: Any) -> Path:
    """A run of so many minutes of CPU time."""
    count_by("cpu")
    label = f"{data}-{name}-{minutes:g}-{seed}"
    for old in FOLDER.glob(f"*-{label}"):
        shutil.rmtree(old)
    if name == "latent":
        coder = trained("ae", SHARE * minutes, seed, data)
        minutes, given = (1 - SHARE) * minutes, {"in_latent": str(coder), **given}
    else:
        preset, options = OPTIONS.get(name, (name, {}))
        given = {"preset": preset, **given}
        if options:
            given["settings"] = {"method.options": options}
    result = ganvas.train(
        data, minutes=minutes, seed=seed, device="cpu", precision="fp32", out=FOLDER, name=label, report=False,
        quiet=True, **given,
    )  # fmt: skip
    if result.stopped != "budget":
        raise SystemExit(f"{label} was {result.stopped}: no row.")
    return result.run.path


def measured(name: str, minutes: float, seed: int) -> list[dict[str, Any]]:
    """The rows of one training."""
    model = ganvas.load(trained(name, minutes, seed), device="cpu")
    data, _ = unseen(model, DATA)
    held = data.take(torch.arange(min(HELD, len(data))))[0]
    extractor = open_extractor("auto", data, "cpu")
    common: dict[str, Any] = {
        "trained": name,
        "minutes": minutes,
        "seed": seed,
        "kimg": round(model.info.kimg or 0),
    }
    if model.encoder is not None:
        found = measure(model, held, extractor)
        seen = [embed(extractor, part.split(250)).logits for part in (held, model.reconstruct(held))]
        assert seen[0] is not None
        assert seen[1] is not None
        common |= {
            "psnr": found.psnr, "ssim": found.ssim, "reconstruction_frechet": found.frechet, "rank": found.rank,
            "active": found.active, "same_class": float((seen[0].argmax(1) == seen[1].argmax(1)).mean()),
        }  # fmt: skip
    if name == "bigan":  # beside an encoder that is trained afterwards on the generator's own samples
        for kind, file in (("own", None), ("later", FOLDER / f"encoder-{minutes:g}-{seed}.safetensors")):
            found_by = ganvas.invert(model, held[:INVERTED], method="encoder", encoder=file, seed=seed)
            common[f"residual_{kind}"] = float(found_by.residual.mean())
    whole = load_dataset(DataConfig(DATA))
    known = whole.split(0.1)[0].take(
        torch.randperm(len(whole) - len(data), generator=torch.Generator().manual_seed(seed))[:5000]
    )[0]
    each = {name: model} if name not in SAMPLERS else {
        f"{name} + {'normal' if k == 0 else 'Gaussian' if k == 1 else f'mixture of {k}'}": fit_prior(model, known, k, seed)
        for k in SAMPLERS[name]
    }  # fmt: skip
    return [
        {"row": label, **common, "frechet": _frechet(one, extractor, seed)} for label, one in each.items()
    ]


def _frechet(model: Model, extractor: Any, seed: int) -> float:
    found = evaluate(
        model, DATA, ["frechet"], n=SAMPLES, extractor=extractor, seed=seed, device="cpu", floor=False
    )
    return float(found["frechet"])


def show() -> None:
    """Means over the seeds, and their spread."""
    print(f"| row | minutes | seeds | {' | '.join(COLUMNS)} |")
    print(f"| --- | ---: | ---: |{' ---: |' * len(COLUMNS)}")
    names = dict.fromkeys((row["minutes"], row["row"]) for row in rows())
    for minutes, name in sorted(names):
        those = [row for row in rows() if (row["minutes"], row["row"]) == (minutes, name)]
        cells = []
        for column in COLUMNS:
            values = [row[column] for row in those if row.get(column) is not None]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3g}{spread}" if values else "")
        print(f"| {name} | {minutes:g} | {len(those)} | {' | '.join(cells)} |")


def factors(minutes: float, seeds: int) -> None:
    """How disentangled the codes of freshly drawn shapes are."""
    print(
        f"| `shapes`, {seeds} seeds | {' | '.join(FACTOR_COLUMNS)} |\n| --- |{' ---: |' * len(FACTOR_COLUMNS)}"
    )
    for row, (method, options) in FACTORS.items():
        found = []
        for seed in range(seeds):
            settings = {"network.latent_dim": 10, "method.options": options}
            model = ganvas.load(trained(method, minutes, seed, "shapes", settings=settings), device="cpu")
            values = draw_factors(HELD, 1_000 + seed)
            images = torch.cat([render(part) for part in values.split(500)])
            codes, known = model.codes(images).double().numpy(), values.numpy()
            separate, complete, told = dci(codes, known, seed)
            like = measure(model, images, None)
            scores = (factor_vae_score(codes, known, seed), separate, sap(codes, known), mig(codes, known))
            found.append((*scores, complete, told, like.psnr, float(like.active)))
        cells = [
            f"{statistics.mean(each):.3g}" + (f" ± {statistics.stdev(each):.2g}" if seeds > 1 else "")
            for each in zip(*found, strict=True)
        ]
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def draw(minutes: float) -> None:
    """The held-out and the other digits in two numbers, by AE, VAE and AAE side by side, and what each draws on a lattice."""
    import matplotlib
    from matplotlib.figure import Figure

    from ganvas import pictures

    digits = load_dataset(DataConfig("digits"))
    samples, labels = digits.take(torch.arange(len(digits)))
    assert labels is not None
    colours = matplotlib.colormaps["tab10"]
    figure = Figure(figsize=(13.5, 9), dpi=90)
    for i, name in enumerate(("ae", "vae", "aae")):
        run = trained(name, minutes, 0, "digits", settings={"network.latent_dim": 2})
        model = ganvas.load(run, device="cpu")
        codes = model.codes(samples)
        axes = figure.add_subplot(2, 3, i + 1)
        for digit in range(10):
            at = codes[labels == digit]
            axes.scatter(at[:, 0], at[:, 1], s=4, color=colours(digit), linewidths=0, label=str(digit))
        error = float((model.reconstruct(samples).double() - samples).square().mean()) / 255**2
        axes.set(title=f"{name}: the codes of the digits (squared error {error:.3f})", aspect="equal")
        if i == 2:
            axes.legend(markerscale=3, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        axes = figure.add_subplot(2, 3, i + 4)
        line = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.03, 0.97, SIDE))
        lattice = torch.cartesian_prod(line.flip(0), line)[:, [1, 0]]
        drawn = model.to_data(model.generator(lattice))
        axes.imshow(pictures.grid(drawn, SIDE, gap=2), cmap="gray", interpolation="nearest")
        axes.set(title=f"{name}: what it draws of z, from corner to corner", xticks=[], yticks=[])
    figure.tight_layout()
    io.write_bytes(PICTURE, pictures.plot_png(figure))
    print(PICTURE)


if __name__ == "__main__":
    main()
