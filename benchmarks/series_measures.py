"""What the measures of series say of planted cheats, and what the published scores say of them: docs/series-measures.md.

    python benchmarks/series_measures.py               # prices and sines: 12 CPU minutes, most of them the published networks
    python benchmarks/series_measures.py sines --runs 1

Prices are the days of matplotlib's own sample data (goog.npz: open, high, low, close, volume and adjusted close), cut into
windows of 24 days with stride 1. The training windows are of every other stretch of 52 days, the held-out ones of those
between. Sines are drawn by `ganvas.processes`. Every cheat is made of the training series alone.

A cell is bold where a figure gives a cheat away: p at most 0.01; over three times the floor of a distance or 1.1 times that
of a prediction; half of the series nearer to the training data than 95 % of held-out ones are; more than three errors
from a half; 0.1 above the floor of the published classifier.
"""

import argparse
import sys
import time
from statistics import fmean

import numpy as np

from ganvas.config import DataConfig
from ganvas.data.series import goog
from ganvas.metrics import sequences
from ganvas.metrics.sequences import Figure, Sample
from ganvas.processes import sines

STEPS, PARTS, COUNT, RUNS = 24, 20, 300, 3


def parts(long: np.ndarray) -> tuple[Sample, Sample]:
    """Training and held-out windows of a series (T, D), with their groups."""
    cut = np.lib.stride_tricks.sliding_window_view(long, STEPS, 0).transpose(0, 2, 1)
    groups = sequences.blocks(len(cut), STEPS, PARTS)
    chosen = [np.where(groups % 2 == side, groups, -1) for side in (0, 1)]
    train, held = (Sample.of(cut, "prices", groups=each) for each in chosen)
    return train, held


def drawn(random: np.random.Generator) -> Sample:
    """The sines of the paper."""
    return Sample.of(sines(COUNT, STEPS, random=random), "sines")


def cheats(train: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Name -> series that a dishonest or a poor model draws."""
    shuffled = train.copy()
    for each in shuffled:
        random.shuffle(each)
    apart = [train[random.permutation(len(train)), :, i] for i in range(train.shape[2])]
    middle, spread = train.mean((0, 1)), train.std((0, 1))
    return {
        "copies": train[random.permutation(len(train))],
        "steps shuffled": shuffled,
        "columns apart": np.stack(apart, 2),
        "noise": middle + spread * random.standard_normal(train.shape),
        "1.2 times": middle + 1.2 * (train - middle),
    }


def told(fake: Sample, train: Sample, runs: int = RUNS) -> float:
    """The published classifier's score, a mean over trainings: it moves by a tenth and more from one to the next."""
    scores = (
        sequences.discriminative(fake.series, train.series, seed=seed, legacy=True) for seed in range(runs)
    )
    return fmean(each.score for each in scores)


def taught(fake: Sample, train: Sample) -> float:
    """The published predictor's."""
    return sequences.predictive(fake.series, train.series, legacy=True)


def caught(figure: Figure) -> bool:
    """By the rules above."""
    if figure.p_value is not None:
        return figure.p_value <= 0.01
    assert figure.floor is not None
    if figure.name == "near-training":
        return figure.value > 0.5
    if figure.error is not None:
        return abs(figure.value - 0.5) > max(3 * figure.error, 0.01)
    if figure.name == "discriminative-legacy":
        return figure.value > figure.floor + 0.1
    return figure.value > figure.floor * (1.1 if figure.name.startswith("predictive") else 3)


def cell(figure: Figure) -> str:
    text = f"{figure.value:.3f}"
    if figure.p_value is not None:
        text += f" (p {figure.p_value:.3f})"
    if figure.error is not None:
        text += f" ± {figure.error:.2f}"
    return f"**{text}**" if caught(figure) else text


def table(name: str, runs: int) -> None:
    random = np.random.default_rng(0)
    train, held = (
        parts(goog(DataConfig()).sequences[0]) if name == "prices" else (drawn(random), drawn(random))
    )
    fakes = {} if name == "prices" else {"fresh draws": drawn(random).series}
    fakes |= cheats(train.series, random)
    # Of real series: the held-out ones told apart, the training ones taught by.
    floors = told(held, train, runs), taught(train, train)
    columns: dict[str, list[Figure]] = {}
    for cheat, series in fakes.items():
        fake = Sample.of(series, cheat)
        columns[cheat] = [
            Figure("discriminative-legacy", told(fake, train, runs), floors[0], "lower"),
            Figure("predictive-legacy", taught(fake, train), floors[1], "lower"),
        ]
        columns[cheat] += sequences.measure(fake, train, held)
        print(f"{name}, {cheat}: done after {time.process_time():.0f} CPU s", file=sys.stderr, flush=True)
    print(f"\n{name}: {len(train)} training and {len(held)} held-out series\n")
    print("| | real, held out | " + " | ".join(columns) + " |\n" + "| --- " * (len(columns) + 2) + "|")
    for row in zip(*columns.values(), strict=True):
        floor = f"{row[0].floor:.3f}" + (f" (p {row[0].floor_p:.3f})" if row[0].floor_p is not None else "")
        print(f"| `{row[0].name}` | {floor} | " + " | ".join(map(cell, row)) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["prices", "sines"])
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="trainings of the published classifier; the paper takes ten"
    )
    options = parser.parse_args()
    for name in options.sets:
        table(name, options.runs)
    print(f"\n{time.process_time() / 60:.0f} CPU minutes")


if __name__ == "__main__":
    main()
