"""The latent tools: principal axes beside scikit-learn, equal steps, inversion of own samples, directions beside random ones.

    python benchmarks/latent.py [--parts pca steps invert tune directions attributes restore discovery factors] [--seeds 0 1 2]

`pca`: a million 512-d vectors in batches of 10,000, ours (one covariance, one eigendecomposition) and scikit-learn's
IncrementalPCA on the same batches, 80 components. The other parts are on the packaged model.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

import ganvas
from ganvas.data import load_dataset
from ganvas.latent import equal_steps, open_space, step_lengths, through, variation
from ganvas.latent.directions import find, keeping
from ganvas.latent.encoder import encode, train_encoder
from ganvas.latent.finders import covariance, finders
from ganvas.latent.invert import invert, scale_of, tune
from ganvas.latent.learned import discovery_accuracy, learn
from ganvas.latent.paths import pyramid
from ganvas.latent.statistics import rescore
from ganvas.latent.supervised import from_attribute
from judge import OUT

DIM, BATCH, COMPONENTS = 512, 10_000, 80


def batches(vectors: int) -> Iterator[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIM, DIM, generator=random) * torch.logspace(0, -2, DIM)
    for _ in range(vectors // BATCH):
        yield torch.nn.functional.leaky_relu(torch.randn(BATCH, DIM, generator=random) @ mixing, 0.2)


def pca(vectors: int) -> None:
    from sklearn.decomposition import IncrementalPCA

    start = time.perf_counter()
    for _ in batches(vectors):
        pass
    making = time.perf_counter() - start
    start = time.perf_counter()
    _, found = covariance(batches(vectors), DIM)
    ours = torch.linalg.eigh(found)[1].flip(1)[:, :COMPONENTS]
    our_time = time.perf_counter() - start - making
    start = time.perf_counter()
    theirs = IncrementalPCA(COMPONENTS)
    for batch in batches(vectors):
        theirs.partial_fit(batch.numpy())
    their_time = time.perf_counter() - start - making
    other = torch.from_numpy(theirs.components_).double().t()
    total, outer = torch.zeros(DIM, dtype=torch.float64), torch.zeros(DIM, DIM, dtype=torch.float64)
    for batch in batches(vectors):
        double = batch.double()
        total, outer = total + double.sum(0), outer + double.t() @ double
    exact = torch.linalg.eigh(outer / vectors - torch.outer(total, total) / vectors**2)[1].flip(1)[
        :, :COMPONENTS
    ]
    print(
        "\n| PCA of vectors, dimensions | ganvas | IncrementalPCA | ratio | angle to the exact subspace of 80, ganvas | "
        "IncrementalPCA |\n| --- | --- | --- | --- | --- | --- |"
    )
    angles = [float(torch.arcsin((a - exact @ (exact.t() @ a)).norm(2).clamp(max=1))) for a in (ours, other)]
    cells = f"{our_time:.1f} s | {their_time:.1f} s | {their_time / our_time:.1f} x"
    print(f"| {vectors:,} x {DIM} | {cells} | {angles[0]:.1e} | {angles[1]:.1e} |")


def steps(seeds: list[int]) -> None:
    model = ganvas.load("fashion", device="cpu")
    print("\n| path of 60 frames | even times | equal steps | ratio |\n| --- | --- | --- | --- |")
    for name in ("z", "w"):
        space = open_space(model, name)
        before, after = [], []
        for seed in seeds:
            with torch.no_grad():
                path = through(space, space.sample(4, torch.Generator().manual_seed(seed)))
            before.append(variation(step_lengths(space, path(torch.linspace(0, 1, 60, dtype=torch.float64)))))
            after.append(variation(step_lengths(space, path(equal_steps(space, path, 60)))))
        a, b = statistics.mean(before), statistics.mean(after)
        print(f"| {name}, {len(seeds)} seeds | {a:.2f} | {b:.3f} | {b / a:.2f} |")


def inversion(seeds: list[int]) -> None:
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    print(
        "\n| inversion of own samples in w | seconds an image | residual, median | below 5 % | below 1 % |\n"
        "| --- | --- | --- | --- | --- |"
    )
    start = time.perf_counter()
    encoder = train_encoder(space, steps=800)
    training = time.perf_counter() - start
    # Equal seconds: the descent alone gets steps until it has used what the hybrid uses.
    recipes: dict[str, tuple[bool, dict[str, int]]] = {
        "descent": (False, {"steps": 300, "restarts": 1}),
        "encoder": (True, {}),
        "encoder, descent": (True, {"steps": 300}),
        "descent, Gauss-Newton": (False, {"steps": 100, "restarts": 1, "newton": 10}),
        "encoder, descent, Gauss-Newton": (True, {"steps": 100, "newton": 10}),
    }
    for name, (encoded, options) in recipes.items():
        residuals, seconds = [], 0.0
        for seed in seeds:
            targets = model.sample(32, seed=100 + seed)
            start = time.perf_counter()
            found = encode(space, encoder, targets) if encoded else None
            if options:
                found = invert(space, targets, start=found.points if found else None, seed=seed, **options)  # type: ignore[arg-type]
            seconds += time.perf_counter() - start
            assert found is not None
            residuals.append(found.residual)
        each = torch.cat(residuals)
        shares = " | ".join(f"{float((each < limit).float().mean()):.0%}" for limit in (0.05, 0.01))
        print(f"| {name} | {seconds / len(each):.2f} | {float(each.median()):.2%} | {shares} |", flush=True)
    print(f"\nThe encoder's training took {training:.0f} s.")


def tuning(seeds: list[int]) -> None:
    """Held-out real images: found in w, then the generator tuned around them; how far its other pictures go."""
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    scale, held_out = scale_of(space), load_dataset("fashion-mnist").split(0.1)[1]
    print(
        "\n| 16 held-out real images in w | seconds an image | residual, median | below 5 % | other samples moved by |\n"
        "| --- | --- | --- | --- | --- |"
    )
    rows: dict[str, list[tuple[float, torch.Tensor, float]]] = {}
    for seed in seeds:
        targets = held_out.take(torch.arange(16) + 16 * seed)[0]
        start = time.perf_counter()
        found = invert(space, targets, steps=100, restarts=2, newton=10, seed=seed)
        first = time.perf_counter() - start
        rows.setdefault("descent, Gauss-Newton", []).append((first, found.residual, 0.0))
        before = pyramid(space.decode(space.numbered(256, 7)))
        for locality in (0.0, 0.1, 1.0):
            start = time.perf_counter()
            tuned, there = tune(space, found, targets, steps=200, locality=locality, seed=seed)
            took = first + time.perf_counter() - start
            with torch.no_grad():
                moved = (pyramid(open_space(tuned, "w").decode(space.numbered(256, 7))) - before).norm(
                    dim=1
                ).mean() / scale
            rows.setdefault(f"then tuned, locality {locality:g}", []).append(
                (took, there.residual, float(moved))
            )
    for name, each in rows.items():
        residual = torch.cat([row[1] for row in each])
        seconds, moved_ = (statistics.mean(row[i] for row in each) / d for i, d in ((0, 16), (2, 1)))
        cells = f"{seconds:.2f} | {float(residual.median()):.2%} | {float((residual < 0.05).float().mean()):.0%} | {moved_:.1%}"
        print(f"| {name} | {cells} |", flush=True)


def attributes(seeds: list[int]) -> None:
    """Directions from 50 scored samples, each projected off the others, scored anew on other samples at matched effects."""
    space = open_space(ganvas.load("fashion", device="cpu"), "w")
    print(
        "\n| 50 scored samples of w | kept | strongest leakage of the effect, mean | worst | over the leakage |\n"
        "| --- | --- | --- | --- | --- |"
    )
    # A class that is a matter of width and height cannot be told from them: the losing row.
    for names in (["brightness", "width", "slant"], ["brightness", "width", "slant", "class:Dress"]):
        for kept in (False, True):
            leaks = []
            for seed in seeds:
                found = [
                    from_attribute(space, name, samples=50 if ":" not in name else 150, seed=seed)
                    for name in names
                ]
                if kept:
                    others = [from_attribute(space, name, samples=2000, seed=seed + 50) for name in names]
                    found = [keeping(space, d, others[:i] + others[i + 1 :]) for i, d in enumerate(found)]
                leaks.append(rescore(space, found, names, effect=0.5, seed=seed).leakage())
            each = torch.from_numpy(np.stack(leaks)).flatten()
            what = f"{each.mean():.2f} | {each.max():.2f} | {1 / each.mean():.1f} x"
            print(f"| {', '.join(names)} | {'the others' if kept else 'none'} | {what} |", flush=True)


def restoration(seeds: list[int]) -> None:
    """Half of held-out real images hidden: does the class stay?"""
    import sys
    from contextlib import redirect_stdout
    from io import StringIO

    from ganvas.cli import main as command

    images, labels = load_dataset("fashion-mnist").split(0.1)[1].take(torch.arange(100))
    path = OUT / "held-out.npz"
    np.savez(path, images=images.numpy(), labels=labels.numpy() if labels is not None else np.zeros(0))
    print(
        "\n| 100 held-out images, hidden | class agreement (target: 85 %) | dB of the hidden pixels | restarts' spread |"
    )
    print("| --- | --- | --- | --- |")
    agreements = []
    for hidden in ("left", "right", "top", "bottom"):
        text = StringIO()
        with redirect_stdout(text):
            flags = [
                "--hidden",
                hidden,
                "--n",
                "100",
                "--restarts",
                "2",
                "--out",
                str(OUT / "restored.npz"),
                "--json",
            ]
            assert command(["restore", "fashion", str(path), *flags]) == 0, sys.stderr
        row = json.loads(text.getvalue())
        agreements.append(row["class_agreement"])
        print(
            f"| {hidden} | {row['class_agreement']:.0%} | {row['psnr']:.1f} | {row['ambiguity']:.0%} |",
            flush=True,
        )
    print(f"| mean | {statistics.mean(agreements):.0%} | | |")


def discovery(seeds: list[int], steps: int) -> None:
    """RCA on a generator of handwritten digits: 64 directions of a z of 128 numbers, shifts to 6 deviations, batch 32."""
    run = ganvas.train(
        "digits", kimg=200, seed=0, device="cpu", quiet=True, report=False, out=OUT / "runs",
        settings={"network.latent_dim": 128},
    ).run  # fmt: skip
    space = open_space(ganvas.load(run.path, device="cpu"), "z")
    count = 64
    print(f"\n| RCA, {count} directions, {steps:,} steps | each seed |\n| --- | --- |")
    rows: dict[str, list[float]] = {"learned": [], "coordinates": [], "random": []}
    for seed in seeds:
        vectors, _ = learn(space, count, seed, steps=steps)
        sets = {
            "learned": vectors,
            "coordinates": torch.eye(space.size)[:count],
            "random": finders.get("random")(space, count, seed)[0],
        }
        for name, each in sets.items():
            rows[name].append(discovery_accuracy(space, each, seed, steps=steps))
    for name, found in rows.items():
        print(f"| {name} | {', '.join(f'{value:.3f}' for value in found)} |", flush=True)


def factors(seeds: list[int]) -> None:
    """Disentanglement of z, w and style vectors on a renderer with known factors: one generator a seed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from ganvas.cli import main as command

    figures = (
        "DCI disentanglement",
        "DCI completeness",
        "DCI informativeness",
        "MIG",
        "SAP",
        "FactorVAE score",
    )
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        run = ganvas.train(
            "shapes",
            preset="hour",
            kimg=300,
            seed=seed,
            device="cpu",
            quiet=True,
            report=False,
            out=OUT / "runs",
        ).run
        text = StringIO()
        with redirect_stdout(text):
            assert (
                command(
                    ["statistics", str(run.path), "--spaces", "z", "w", "styles", "--n", "1000", "--json"]
                )
                == 0
            )
        for name, row in json.loads(text.getvalue())["spaces"].items():
            rows.setdefault(name, []).append(row)
            print(
                f"seed {seed}, {name}: {', '.join(f'{each} {row[each]:.3f}' for each in figures)}", flush=True
            )
    print(
        f"\n| `shapes`, {len(seeds)} generators | {' | '.join(figures)} |\n| --- |{' --- |' * len(figures)}"
    )
    for name, found in rows.items():
        cells = [[row[each] for row in found] for each in figures]
        print(
            f"| {name} | {' | '.join(f'{statistics.mean(c):.3f} +/- {statistics.pstdev(c):.3f}' for c in cells)} |"
        )


def directions(seeds: list[int]) -> None:
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    print(
        "\n| directions of w | effect of one sigma, first | mean of the first 6 | over random |\n| --- | --- | --- | --- |"
    )
    control = statistics.mean(d.effect for seed in seeds for d in find(space, "random", 6, seed))
    for name in finders:
        found = [[d.effect for d in find(space, name, 6, seed)] for seed in seeds]
        mean = statistics.mean(effect for each in found for effect in each)
        first = statistics.mean(each[0] for each in found)
        print(f"| {name}, {len(seeds)} seeds | {first:.2f} | {mean:.2f} | {mean / control:.1f} x |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["pca", "steps", "invert", "tune", "directions", "attributes", "restore"],
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=6000,
        help="of the discovery part, which is not run by default: it takes long",
    )
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for part in options.parts:
        if part == "pca":
            pca(options.vectors)
        else:
            parts = {
                "steps": steps, "invert": inversion, "tune": tuning, "directions": directions, "attributes": attributes,
                "restore": restoration, "factors": factors, "discovery": lambda seeds: discovery(seeds, options.steps),
            }  # fmt: skip
            parts[part](options.seeds)


if __name__ == "__main__":
    main()
