"""500 images of Fashion-MNIST: the same run without augmentation, with DiffAugment, ADA and APA.

    python benchmarks/small_data.py [--kimg 150] [--seeds 0 1 2] [--count 500]

Frechet distance of 10,000 samples to all 60,000 training images in the judge's features, at the end of the run and at the best
snapshot of each (which nobody knows without the other 59,500 images).
"""

import argparse
import statistics
from pathlib import Path

import numpy as np

import ganvas
from ganvas import io
from judge import OUT, features, frechet, load_judge, splits

SAMPLES = 10_000
RECIPES: dict[str, str | list[str]] = {
    "none": "none",
    "diffaugment": "diffaugment",
    "ada": "ada-diffaugment",
    "apa": "apa",
    "ada-shift": ["translation", "flip"],
    "shift": ["translation", "flip"],
    "shift-cutout": ["translation", "flip", "cutout"],
}
"""What `--augment` gets. `shift` takes the two augmentations that change no brightness, always; `ada-shift` with ADA's p."""


def subset(count: int) -> Path:
    """The first `count` training images as an .npz."""
    images, labels, _, _ = splits()
    path = OUT / f"fashion-{count}.npz"
    with io.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, images=images[:count].numpy(), labels=labels[:count].numpy())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kimg", type=float, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--augment", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--preset", default="small")
    parser.add_argument("--gamma", type=float, help="weight of R1 instead of the preset's")
    options = parser.parse_args()
    judge, _ = load_judge()
    images, _, _, _ = splits()
    real = features(judge, images)
    path = subset(options.count)
    print(
        f"floor: the {options.count} images themselves score {frechet(features(judge, images[: options.count]), real):.2f}"
    )
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in options.seeds:
        for augment in options.augment:
            settings: dict[str, float] = {"training.snapshot_kimg": options.kimg / 4}
            if "ada" in augment or augment == "apa":
                settings |= {"augment.kimg": options.kimg / 4, "augment.target": 0.6, "augment.p": 0.0}
            result = ganvas.train(
                str(path), preset=options.preset, augment=RECIPES[augment], kimg=options.kimg, seed=seed, device="cpu",
                gamma=options.gamma, quiet=True, report=False, out=OUT / "runs", settings=settings,
                name=f"{options.count}-{augment}-{seed}",
            )  # fmt: skip
            curve = [
                frechet(features(judge, ganvas.load(snapshot, device="cpu").sample(SAMPLES, seed=1)), real)
                for snapshot in result.run.snapshots[1:]
            ]
            found.setdefault(augment, []).append((curve[-1], min(curve)))
            last = [record for record in result.run.stats() if "overfit" in record][-1]
            print(
                f"{augment:12} seed {seed}: {curve[-1]:.1f} (best {min(curve):.1f}); over-fitting {last['overfit']:.2f}, "
                f"p {last.get('augment_p', 0):.2f}; {result.seconds:.0f} s",
                flush=True,
            )
    plain = statistics.mean(end for end, _ in found["none"]) if "none" in found else float("nan")
    print(
        "\n| augmentation | Frechet distance at the end, mean (each) | of without | best snapshot, mean |\n"
        "| --- | --- | --- | --- |"
    )
    for augment, rows in found.items():
        ends = [end for end, _ in rows]
        each = ", ".join(f"{end:.1f}" for end in ends)
        best = statistics.mean(best for _, best in rows)
        print(
            f"| {augment} | {statistics.mean(ends):.1f} ({each}) | {statistics.mean(ends) / plain:.2f} | {best:.1f} |"
        )
    io.write_json(OUT / "small_data.json", {"kimg": options.kimg, "count": options.count, "rows": found})


if __name__ == "__main__":
    main()
