"""25 Gaussians and the ring of 8 by PacGAN's protocol: modes, high-quality samples, reverse KL over several trials.

    python benchmarks/gaussians.py [--trials 10] [--kimg 2000] [--data grid25 ring8] [--presets toy]

100,000 training points, z of 2 numbers, 2,500 samples a trial; a mode is hit when a sample lies within 3 standard
deviations of it, and the share of such samples is the quality (Lin et al. 2018, section 4.1). The reverse KL is that of the
histogram of those samples over the modes against the uniform one. The published rows trained 400 epochs (40,000 kimg).
"""

import argparse
import statistics
import time

import torch

import ganvas
from ganvas import io
from ganvas.data.toy import distribution
from ganvas.metrics.modes import mode_coverage_of_counts
from judge import OUT

SAMPLES = 2500
PUBLISHED = {
    "grid25": ("GAN 17.3 / 94.8 % / 0.70", "ALI 24.1 / 95.7 % / 0.14", "PacGAN4 24.8 / 93.6 % / 0.04"),
    "ring8": ("GAN 6.3 / 98.2 % / 0.45", "ALI 6.6 / 97.6 % / 0.36", "PacGAN4 7.8 / 95.9 % / 0.07"),
}
"""PacGAN, table 1: modes / high quality / reverse KL."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--kimg", type=float, default=2000)
    parser.add_argument("--data", nargs="+", default=["grid25", "ring8"], choices=list(PUBLISHED))
    parser.add_argument("--presets", nargs="+", default=["toy"])
    parser.add_argument("--first", type=int, default=0, help="seed of the first trial")
    options = parser.parse_args()
    table = []
    for data in options.data:
        for preset in options.presets:
            rows = []
            for seed in range(options.first, options.first + options.trials):
                start = time.monotonic()
                result = ganvas.train(
                    f"toy:{data}", preset=preset, kimg=options.kimg, seed=seed, device="cpu", quiet=True, report=False,
                    out=OUT / "runs", name=f"{data}-{preset}-{seed}", settings={"network.latent_dim": 2},
                )  # fmt: skip
                points = ganvas.load(result.run.path, device="cpu").sample(SAMPLES, seed=1)
                rows.append(score(f"toy:{data}", points))
                modes, quality, kl = rows[-1]
                print(
                    f"{data} {preset} seed {seed}: {modes} modes, {quality:.1%} high quality, reverse KL {kl:.3f} "
                    f"({time.monotonic() - start:.0f} s)",
                    flush=True,
                )
            table.append((data, preset, rows))
    print("\n| data | recipe | modes | high quality | reverse KL |\n| --- | --- | --- | --- | --- |")
    for data, preset, rows in table:
        cells = [spread([row[i] for row in rows]) for i in range(3)]
        count = 25 if data == "grid25" else 8
        print(f"| {data} | {preset}, {len(rows)} trials | {cells[0]} of {count} | {cells[1]} | {cells[2]} |")
        for published in PUBLISHED[data]:
            name, rest = published.split(" ", 1)
            print(f"| {data} | {name} (published) | " + " | ".join(rest.split(" / ")) + " |")
    io.write_json(OUT / f"gaussians-{options.first}.json", {"rows": table, "kimg": options.kimg})


def score(name: str, points: torch.Tensor) -> tuple[int, float, float]:
    """(modes hit, share of high-quality points, reverse KL of the high-quality ones)."""
    exact = distribution(name)
    distance, nearest = torch.cdist(points.double(), exact.centres.double()).min(1)  # type: ignore[union-attr]
    good = distance < 3 * exact.sigma
    counts = torch.bincount(nearest[good], minlength=len(exact.centres))  # type: ignore[union-attr]
    found = mode_coverage_of_counts(counts)
    return found.modes, float(good.float().mean()), found.reverse_kl


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} +/- {deviation:.3f}"


if __name__ == "__main__":
    main()
