"""Which metric notices what: real Fashion-MNIST test images, damaged in one way each, against the training images.

    python benchmarks/metric_blindness.py [--n 4000] [--out docs/images/metric-blindness.png]

Each cell is a figure; its colour says how many standard deviations it lies on the wrong side of what undamaged real
images score, where the deviation is that of eight undamaged sets of the same size.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from ganvas import io, pictures
from ganvas.config import DataConfig
from ganvas.data import Dataset, load_dataset
from ganvas.data.idx import load_named
from ganvas.metrics import Evaluation, evaluate
from ganvas.metrics.base import better

NAMES = ["frechet", "kid", "inception-score", "precision-recall", "density-coverage", "authenticity", "data-copying",
         "ndb", "sliced-wasserstein", "modes"]  # fmt: skip
BASELINES = 8


def damaged(test: Dataset, train: Dataset, n: int, seed: int) -> dict[str, torch.Tensor]:
    """Name of the damage -> n images."""
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(test), generator=random)
    images, labels = test.take(order)
    assert labels is not None
    real = images[:n]
    kernel = torch.exp(-torch.arange(-3.0, 4).square() / 2)
    kernel = (kernel[:, None] * kernel / kernel.sum() ** 2)[None, None]
    blurred = F.conv2d(F.pad(real.float(), (3, 3, 3, 3), mode="replicate"), kernel)
    noisy = real.float() + 25 * torch.randn(real.shape, generator=random)
    few = real[torch.randint(200, (n,), generator=random)]
    half = torch.cat([images[labels == 6][: n // 2], images[labels != 6]])[:n]
    return {
        "real test images": real,
        "one class dropped": images[labels != 6][:n],
        "half are shirts": half[torch.randperm(n, generator=random)],
        "200 images repeated": few,
        "blurred": blurred.round().to(torch.uint8),
        "noise added": noisy.clamp(0, 255).round().to(torch.uint8),
        "copies of training images": train.take(torch.randperm(len(train), generator=random)[:n])[0],
    }


def figures(images: torch.Tensor, data: Dataset) -> dict[str, float]:
    found: Evaluation = evaluate(images, data, NAMES, n=len(images), device="cpu", floor=False)
    return {row.metric: row.value for row in found.rows}


def wrongness(name: str, value: float, baseline: np.ndarray) -> float:
    """Standard deviations to the worse side of undamaged images; both sides count for `near`."""
    distance = (value - baseline.mean()) / max(baseline.std(ddof=1), 1e-3 * abs(baseline.mean()), 1e-6)
    way = better(name)
    return float(abs(distance) if way.startswith("near") else -distance if way == "higher" else distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("docs/images/metric-blindness.png"))
    options = parser.parse_args()
    data, test = load_dataset("fashion-mnist"), load_named("fashion-mnist", DataConfig(), "test")
    train, _ = data.split(0.1)
    baselines = [
        figures(damaged(test, train, options.n, 100 + i)["real test images"], data) for i in range(BASELINES)
    ]
    table = {name: figures(images, data) for name, images in damaged(test, train, options.n, 0).items()}
    metrics = list(baselines[0])
    scores = np.array(
        [
            [wrongness(m, row[m], np.array([b[m] for b in baselines])) for m in metrics]
            for row in table.values()
        ]
    )
    print("| images | " + " | ".join(metrics) + " |\n|" + " --- |" * (len(metrics) + 1))
    for (name, row), wrong in zip(table.items(), scores, strict=True):
        cells = [f"{row[m]:.3g}{' **!**' if s > 5 else ''}" for m, s in zip(metrics, wrong, strict=True)]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\n**!** more than five standard deviations worse than undamaged images.")
    draw(list(table), metrics, [[row[m] for m in metrics] for row in table.values()], scores, options.out)


def draw(
    rows: list[str], columns: list[str], values: list[list[float]], scores: np.ndarray, out: Path
) -> None:
    """The table as a picture."""
    figure = Figure(figsize=(12, 4.2), dpi=100)
    axes = figure.add_subplot()
    axes.imshow(np.clip(scores, 0, 20), cmap=matplotlib.colormaps["OrRd"], vmin=0, vmax=25, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            axes.text(x, y, f"{value:.3g}", ha="center", va="center", fontsize=8)
    axes.set_title("Which metric notices? Darker: further on the wrong side of real images", fontsize=10)
    io.write_bytes(out, pictures.plot_png(figure))
    print(f"\n{out}")


if __name__ == "__main__":
    main()
