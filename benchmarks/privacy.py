"""Does the audit find what it must, how much do generators give away, and what does training with a guarantee cost?

    python benchmarks/privacy.py copies                      # planted copies, and alarms on generators that copy nothing
    python benchmarks/privacy.py alarms                      # whole audits of the same generators
    python benchmarks/privacy.py attacks --sizes 200 1000    # GANs that were trained on few images, on purpose for long
    python benchmarks/privacy.py attributes                  # what samples of series tell of records: planted copies, and alarms
    python benchmarks/privacy.py learned --sizes 100 400     # the same of GANs that were trained on few series
    python benchmarks/privacy.py private --data digits --epsilon 10 3 1 0 --seeds 3        # 0: the same without privacy
    python benchmarks/privacy.py show                        # the tables

Rows are kept in benchmarks/privacy.json, each as it is done: what is there already is not done again. Minutes are of the
process's CPU time, which other work on the machine does not lengthen: set OMP_NUM_THREADS=1. What is trained stays in
benchmarks/out/privacy.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from clock import count_by
from sequences import archive, of_archive
from torch import Tensor, nn

import ganvas
import ganvas.privacy
from ganvas import io, pictures
from ganvas.data import load_dataset
from ganvas.metrics import evaluate
from ganvas.privacy.copies import Distances
from ganvas.runs import open_run
from judge import OUT, splits

ROWS = Path(__file__).with_name("privacy.json")
FOLDER = OUT / "privacy"
SIDE = 14
"""Pixels of the pictures of `copies` and `attacks`: means of four of Fashion-MNIST."""
SAMPLES = 10_000
SEEN, UNSEEN = 10_000, 3000
"""Images in the trials of `copies`: those that the generator is said to have been trained on, and those that it was not."""
CLEAN = 20
RATES = (0.001, 0.01, 0.1)
PLANTED: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "copies": lambda x, random: x,
    "noise of 8 grey levels": lambda x, random: x + 8 * torch.randn(x.shape, generator=random),
    "noise of 32 grey levels": lambda x, random: x + 32 * torch.randn(x.shape, generator=random),
    "moved by a pixel": lambda x, random: x.roll((1, 1), (2, 3)),
    "mirrored": lambda x, random: x.flip(3),
}
"""What is done to planted copies: grey levels in, grey levels out."""
MINUTES = 2.0
"""Of CPU time, of the GANs of `attacks`."""
KIMG = {"digits": 150.0, "fashion-mnist": 2304.0}
"""Length of the private trainings, in thousands of images: 1,172 and 18,000 steps."""
NOTHING = {"epsilon": 1e12, "noise": 0.05}
"""Of method `private` without privacy: the same game with next to no noise, gradients clipped as before."""
EVALUATED = 5000
"""Samples behind a Frechet distance."""
EPOCHS = {"digits": 10, "fashion-mnist": 3}
"""Of the classifier that samples, or as many real images, train."""
BLACK_BOX = ("distance", "monte-carlo", "density", "calibrated", "domias")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    planted = commands.add_parser("copies")
    whole = commands.add_parser("alarms")
    for each in (planted, whole):
        each.add_argument("--clean", type=int, default=CLEAN)
    attacked = commands.add_parser("attacks")
    attacked.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 5000])
    attacked.add_argument("--minutes", type=float, default=MINUTES)
    attacked.add_argument("--seeds", type=int, default=1)
    asked = commands.add_parser("attributes")
    asked.add_argument("--clean", type=int, default=CLEAN)
    learned_of = commands.add_parser("learned")
    learned_of.add_argument("--sizes", type=int, nargs="+", default=[100, 400])
    learned_of.add_argument("--minutes", type=float, default=MINUTES)
    learned_of.add_argument("--seeds", type=int, default=3)
    learned_of.add_argument(
        "--archive", type=Path, default=archive(), help="folder of ItalyPowerDemand, of the package aeon"
    )
    guaranteed = commands.add_parser("private")
    guaranteed.add_argument("--data", nargs="+", choices=list(KIMG), default=list(KIMG))
    guaranteed.add_argument("--epsilon", type=float, nargs="+", default=[10.0, 3.0, 1.0, 0.0])
    guaranteed.add_argument("--seeds", type=int, default=3)
    commands.add_parser("show")
    for each in (planted, whole, attacked, asked, learned_of, guaranteed):
        each.add_argument("--nice", type=int, default=10, help="added to the niceness of this process")
    options = parser.parse_args()
    os.nice(getattr(options, "nice", 0))
    if options.command == "show":
        show()
    elif options.command in ("copies", "alarms"):
        for seed in range(options.clean):
            once({"part": options.command, "seed": seed}, copies if options.command == "copies" else alarms)
    elif options.command == "attributes":
        for seed in range(options.clean):
            once({"part": "attributes", "seed": seed}, attributes)
    elif options.command == "learned":
        if options.archive is None:
            raise SystemExit(
                "The package aeon holds the series: pip install aeon, or give its data by --archive."
            )
        measure = partial(learned, archive=options.archive)
        for seed in range(options.seeds):
            for size in options.sizes:
                once({"part": "learned", "size": size, "minutes": options.minutes, "seed": seed}, measure)
    elif options.command == "attacks":
        for seed in range(options.seeds):
            for size in options.sizes:
                once({"part": "attacks", "size": size, "minutes": options.minutes, "seed": seed}, attacks)
    else:
        for seed in range(options.seeds):
            for data in options.data:
                for epsilon in options.epsilon:
                    once({"part": "private", "data": data, "epsilon": epsilon, "seed": seed}, private)


def rows(part: str | None = None) -> list[dict[str, Any]]:
    found = list(io.read_json(ROWS)["rows"]) if ROWS.is_file() else []
    return [row for row in found if part in (None, row["part"])]


def once(what: dict[str, Any], measure: Callable[..., dict[str, Any]]) -> None:
    """Measure what is not there yet, and keep it."""
    if any(what.items() <= row.items() for row in rows()):
        return
    began = time.process_time()
    row = {**what, **measure(**{name: value for name, value in what.items() if name != "part"})}
    row["cpu_minutes"] = round((time.process_time() - began) / 60, 2)
    io.write_json(ROWS, {"rows": [*rows(), row]})
    print(json.dumps(row), flush=True)


def everything() -> Tensor:
    """All 70,000 images of Fashion-MNIST at `SIDE` px, uint8."""
    images, _, others, _ = splits()
    return as_images(F.avg_pool2d(torch.cat([images, others]).float(), 28 // SIDE))


def saved(name: str, images: Tensor) -> str:
    path = FOLDER / f"{name}.npz"
    with io.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, images=images.numpy())
    return str(path)


def as_images(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def gaussian(images: Tensor, random: torch.Generator, components: int = 50) -> Tensor:
    """`SAMPLES` of a Gaussian on the largest principal components of the images, float."""
    flat = images.flatten(1).double()
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    codes = (
        torch.randn(SAMPLES, components, generator=random, dtype=torch.float64) * values[-components:].sqrt()
    )
    return (mean + codes @ vectors[:, -components:].T).unflatten(1, images.shape[1:])


def clean(seed: int) -> tuple[str, Tensor, Tensor, Tensor]:
    """A generator that copies nothing, its samples, what it is said to have seen, and what not.

    By turns: real images that nobody trained on (a perfect generator), the same blurred, the same with noise, and a Gaussian on
    principal components of others.
    """
    random = torch.Generator().manual_seed(seed)
    images = everything()
    images = images[torch.randperm(len(images), generator=random)]
    seen, unseen, rest = images.split([SEEN, UNSEEN, len(images) - SEEN - UNSEEN])
    drawn, others = rest[:SAMPLES], rest[SAMPLES:]
    kinds: tuple[tuple[str, Callable[[], Tensor]], ...] = (
        ("unseen images", lambda: drawn),
        ("unseen images, blurred", lambda: F.avg_pool2d(drawn.float(), 3, 1, 1)),
        ("unseen images with noise", lambda: drawn + 16 * torch.randn(drawn.shape, generator=random)),
        ("a Gaussian of 50 components", lambda: gaussian(others, random)),
    )
    kind, make = kinds[seed % len(kinds)]
    return kind, as_images(make()), seen, unseen


def copies(seed: int) -> dict[str, Any]:
    """What the test of copies says of such a generator as it is, and with copies of seen images among its samples."""
    kind, samples, seen, unseen = clean(seed)
    x, z, f = (part.flatten(1).float() for part in (seen, unseen, samples))
    distances = Distances(x, z)
    near = distances.nearest(f)
    plain = distances.copies(near)
    random = torch.Generator().manual_seed(seed)
    planted = []
    for (what, alter), rate in itertools.product(PLANTED.items(), RATES):
        count = round(rate * SAMPLES)
        new = as_images(alter(seen[:count].float(), random)).flatten(1).float()
        both = [
            (torch.minimum(old, other), torch.where(other < old, len(f) + which, place))
            for (old, place), (other, which) in zip(near, distances.nearest(new), strict=True)
        ]
        test = distances.copies(both)
        found = int((test.suspects() < count).sum()) / count
        planted.append({"what": what, "rate": rate, "alarm": test.alarm(), "found": found})
    return {"kind": kind, "alarm": plain.alarm(), "chance": plain.chance, "planted": planted}


def alarms(seed: int) -> dict[str, Any]:
    """What the whole audit says of such a generator, and which attacks notice the copies that it plants itself."""
    kind, samples, seen, unseen = clean(seed)
    found = ganvas.audit(
        samples,
        saved("seen", seen),
        held_out=saved("unseen", unseen),
        n=SAMPLES,
        reconstruct=0,
        seed=seed,
        device="cpu",
    )
    noticed = {
        f"{each.rate:g}": [name for name, heard in each.noticed.items() if heard] for each in found.controls
    }
    return {
        "kind": kind,
        "alarm": found.leaks,
        "chance": found.chance,
        "telling": found.telling,
        "noticed": noticed,
    }


def trained(data: str, label: str, minutes: float | None = None, **given: Any) -> Path:
    """A run of so many minutes of CPU time, or of its kimg."""
    count_by("cpu")
    for old in FOLDER.glob(f"*-{label}"):
        shutil.rmtree(old)
    return ganvas.train(
        data, minutes=minutes, device="cpu", precision="fp32", out=FOLDER, name=label, report=False, quiet=True, **given,
    ).run.path  # fmt: skip


def attacks(size: int, minutes: float, seed: int) -> dict[str, Any]:
    """A GAN of the usual preset that sees few images again and again, and what each attack makes of it."""
    random = torch.Generator().manual_seed(seed)
    images = everything()
    order = torch.randperm(len(images), generator=random)
    few, others = images[order[:size]], images[order[size : size + 2 * max(size, 1000)]]
    seen, unseen = saved(f"seen-{size}-{seed}", few), saved(f"unseen-{size}-{seed}", others)
    run = trained(
        seen, f"attacks-{size}-{minutes:g}-{seed}", minutes, preset="small", seed=seed,
        settings={"data.holdout": 0.0, "training.monitor_kimg": 0},
    )  # fmt: skip
    found = ganvas.audit(run, seen, held_out=unseen, n=SAMPLES, seed=seed, device="cpu")
    kimg = ganvas.load(run, device="cpu").info.kimg or 0
    return {
        "kimg": round(kimg), "times": round(1000 * kimg / size), "suspects": found.suspects, "chance": found.chance,
        "copying": found.copying, "authenticity": found.authenticity, "telling": found.telling, "verdict": found.verdict(),
        "attacks": {name: list(each.auc) for name, each in found.attacks.items()},
        "hits": {
            name: None if each.hits[0.01] is None else each.hits[0.01].value for name, each in found.attacks.items()
        },
    }  # fmt: skip


def patients(count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Eight visits with heart rate and weight, age and one of four sites beside them, and an outcome: a little of everything
    goes with the curves, the site with nothing."""
    level, slope = random.normal(size=(2, count, 1))
    wobble = 0.3 * random.normal(size=(2, count, 8))
    heart, weight = level + slope * np.arange(8) / 8 + wobble[0], slope + wobble[1]
    age = level[:, 0] + random.normal(size=count)
    return {
        "series": np.stack([heart, weight], 2), "static": np.stack([age, random.integers(0, 4, count)], 1),
        "labels": (level[:, 0] + random.normal(size=count) > 0).astype(int),
        "columns": np.array(["heart", "weight"]), "static_columns": np.array(["age", "site"]),
    }  # fmt: skip


def kept(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    path = FOLDER / f"{name}.npz"
    with io.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return str(path)


def told(found: ganvas.privacy.Audit) -> dict[str, Any]:
    """What an audit says of attributes: right guesses of all that were trained on, of others, and without samples; the risk with
    its interval; the p-value; of numbers how often a guess misses by less, with its interval."""
    return {
        "inferred": found.inferred,
        "noticed": {f"{each.rate:g}": [name for name, heard in each.inferred.items() if heard] for each in found.controls},
        "attributes": {
            name: [of.train, of.held_out, each.baseline, *of.risk, each.chance, *(each.nearer or ())]
            for name, each in found.inferences.items()
            if (of := each.guesses[1.0]) is not None
        },
    }  # fmt: skip


def attributes(seed: int) -> dict[str, Any]:
    """What the audit says of new patients of the same law, of which it plants its own copies."""
    random = np.random.default_rng(seed)
    FOLDER.mkdir(parents=True, exist_ok=True)
    seen, unseen, fake = (
        kept(f"patients-{name}", patients(n, random)) for name, n in (("seen", 2000), ("unseen", 1000), ("fake", 4000))
    )  # fmt: skip
    return told(ganvas.audit(fake, seen, held_out=unseen, n=4000, seed=seed, device="cpu"))


def learned(size: int, minutes: float, seed: int, archive: Path) -> dict[str, Any]:
    """A GAN with classes that sees few days of Italian power demand again and again."""
    task = of_archive("ItalyPowerDemand", archive)
    series, labels = (
        np.concatenate([getattr(part, name) for part in (task.train, task.held)])
        for name in ("series", "labels")
    )
    order = np.random.default_rng(seed).permutation(len(series))
    FOLDER.mkdir(parents=True, exist_ok=True)
    seen, unseen = (
        kept(f"power-{name}-{size}-{seed}", {"series": series[part], "labels": labels[part]})
        for name, part in (("seen", order[:size]), ("unseen", order[size:]))
    )
    run = trained(
        seen, f"learned-{size}-{minutes:g}-{seed}", minutes, conditional=True, seed=seed,
        settings={"data.holdout": 0.0, "training.monitor_kimg": 0},
    )  # fmt: skip
    found = ganvas.audit(run, seen, held_out=unseen, n=SAMPLES, seed=seed, device="cpu")
    kimg = ganvas.load(run, device="cpu").info.kimg or 0
    return {"times": round(1000 * kimg / size), "suspects": found.suspects, "telling": found.telling, "largest": found.largest,
            **told(found)}  # fmt: skip


def private(data: str, epsilon: float, seed: int) -> dict[str, Any]:
    """The preset `private` with classes: how well do its samples teach a classifier of real images that it never saw?

    Digits: the held-out tenth, another one for each seed. Fashion-MNIST: its 10,000 test images, which no training here sees.
    """
    settings = {"method.options": {"epsilon": epsilon} if epsilon else NOTHING, "training.monitor_kimg": 0}
    settings |= {"data.fold": seed} if data == "digits" else {}
    path = trained(
        data, f"private-{data}-{epsilon:g}-{seed}", preset="private", private=True, conditional=True, kimg=KIMG[data], seed=seed,
        settings=settings,
    )  # fmt: skip
    model = ganvas.load(path, device="cpu")
    spent, record = model.info.privacy, open_run(path).stats()[-1]
    labels = torch.arange(SAMPLES) % model.generator.num_classes
    samples = model.sample(SAMPLES, seed=seed, labels=labels)
    pictures.grid(samples[:100], columns=10).save(FOLDER / f"{path.name}.png")
    assert model.info.data is not None
    config = model.info.data.config
    known, held = load_dataset(config).split(config.holdout, config.fold)
    tests = splits()[2:] if data == "fashion-mnist" else held.take(torch.arange(len(held)))
    rows = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    frechet = evaluate(model, data, ["frechet"], n=EVALUATED, seed=seed, device="cpu", floor=False)["frechet"]
    return {
        "spent": spent and spent.epsilon if epsilon else None, "delta": spent and spent.delta, "steps": record["step"],
        "kimg": record["kimg"], "train_minutes": round(record["seconds"] / 60, 2), "frechet": float(frechet),
        "accuracy": taught(samples, labels, *tests, EPOCHS[data], seed),
        "accuracy_of_real": taught(*known.take(rows), *tests, EPOCHS[data], seed), "tests": len(tests[0]),
    }  # fmt: skip


def taught(images: Tensor, labels: Tensor, tests: Tensor, answers: Tensor, epochs: int, seed: int) -> float:
    """Accuracy on the tests of a small classifier that learns from the images."""
    torch.manual_seed(seed)
    side = images.shape[-1]
    if side < 16:
        layers: list[nn.Module] = [
            nn.Flatten(),
            nn.Linear(side * side, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, 10),
        ]
    else:
        layers = [
            nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(32 * (side // 4) ** 2, 10),
        ]  # fmt: skip
    network = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs * -(-SAMPLES // len(images))):
        for rows in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(network(images[rows].float() / 127.5 - 1), labels[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        found = torch.cat([network.eval()(part.float() / 127.5 - 1).argmax(1) for part in tests.split(1000)])
    return float((found == answers).float().mean())


def show() -> None:
    """The tables of docs/leaks.md."""
    if found := rows("copies"):
        print(f"{sum(row['alarm'] for row in found)} alarms on {len(found)} generators that copy nothing\n")
        print("| planted | rate | noticed in | share of them found |\n| --- | ---: | ---: | ---: |")
        planted = [each for row in found for each in row["planted"]]
        for what, rate in dict.fromkeys((each["what"], each["rate"]) for each in planted):
            those = [each for each in planted if (each["what"], each["rate"]) == (what, rate)]
            noticed = f"{sum(each['alarm'] for each in those)} of {len(those)}"
            print(
                f"| {what} | {rate:.1%} | {noticed} | {statistics.mean(each['found'] for each in those):.0%} |"
            )
    if found := rows("alarms"):
        print(
            f"\n{sum(row['alarm'] for row in found)} alarms of whole audits on {len(found)} generators that copy nothing"
        )
        for rate in found[0]["noticed"]:
            heard = [name for row in found for name in row["noticed"][rate]]
            counts = (
                ", ".join(f"{name} in {heard.count(name)}" for name in dict.fromkeys(heard)) or "no attack"
            )
            print(f"{float(rate):.1%} planted: noticed by {counts}")
    if found := rows("attacks"):
        names = list(found[0]["attacks"])
        print(f"\n| images | seeds | seen each | suspects | C_T | {' | '.join(names)} | m^(-1/4) |")
        print(f"| ---: | ---: | ---: | ---: | ---: |{' ---: |' * (len(names) + 1)}")
        for size in sorted({row["size"] for row in found}):
            those = [row for row in found if row["size"] == size]
            seen = f"{statistics.mean(row['times'] for row in those):,.0f} times"
            suspects = ", ".join(str(row["suspects"]) for row in those)
            cells = [mean([row["copying"][0] for row in those], 1)]
            cells += [mean([row["attacks"][name][0] for row in those], 3) for name in names]
            print(
                f"| {size:,} | {len(those)} | {seen} | {suspects} | {' | '.join(cells)} | {size**-0.25:.2f} |"
            )
    if found := rows("attributes"):
        print(
            f"\n{sum(bool(row['inferred']) for row in found)} alarms on {len(found)} sets of new patients\n"
        )
        print("| attribute | trained on | others | without samples | noticed at 0.1 % | 1 % | 10 % |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name in found[0]["attributes"]:
            heard = [
                f"{sum(name in row['noticed'][f'{rate:g}'] for row in found)} of {len(found)}"
                for rate in RATES
            ]
            print(f"| {name} | {' | '.join([*rates(found, name), *heard])} |")
    if found := rows("learned"):
        print(
            "\n| series | seen each | attribute | trained on | others | without samples | risk | nearer, AUC | noticed "
            "| best attack, AUC |"
        )
        print(f"| ---: | ---: | --- |{' ---: |' * 7}")
        for size in sorted({row["size"] for row in found}):
            those = [row for row in found if row["size"] == size]
            for name in those[0]["attributes"]:
                risks = [row["attributes"][name][3] for row in those]
                noticed = f"{sum(name in row['inferred'] for row in those)} of {len(those)}"
                times = f"{statistics.mean(row['times'] for row in those):,.0f} times"
                largest = mean([row["largest"] for row in those], 2)
                nearer = [each[7] for row in those if len(each := row["attributes"][name]) > 7]
                near = mean(nearer, 3) if nearer else ""
                line = [str(size), times, name, *rates(those, name), mean(risks, 3), near, noticed, largest]
                print(f"| {' | '.join(line)} |")
    if found := rows("private"):
        print("\n| data | epsilon | seeds | accuracy | of real images | Frechet distance | CPU minutes |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        order = sorted({(row["data"], -(row["epsilon"] or 1e9)) for row in found})
        for data, epsilon in order:
            those = [row for row in found if (row["data"], -(row["epsilon"] or 1e9)) == (data, epsilon)]
            figures = [
                mean([row[name] for row in those], digits)
                for name, digits in (
                    ("accuracy", 3),
                    ("accuracy_of_real", 3),
                    ("frechet", 2),
                    ("train_minutes", 1),
                )
            ]
            name = "none" if epsilon == -1e9 else f"{-epsilon:g}"
            print(f"| {data} | {name} | {len(those)} | {' | '.join(figures)} |")


def rates(found: list[dict[str, Any]], name: str) -> list[str]:
    """Right guesses of an attribute: of what was trained on, of others, of others without samples."""
    return [mean([row["attributes"][name][i] for row in found], 3) for i in range(3)]


def mean(values: list[float], digits: int) -> str:
    """With the spread over the seeds."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
