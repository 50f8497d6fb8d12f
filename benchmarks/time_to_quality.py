"""Fashion-MNIST at equal minutes: the well-known DCGAN tutorial recipe beside our default preset.

    python benchmarks/time_to_quality.py [--minutes 5] [--seeds 0 1 2] [--presets tutorial small]

Everything in one run on one machine: train the judge, train each recipe for the same wall-clock minutes through
`ganvas.train` (snapshots and previews included in the time), and take the Frechet distance of 10,000 samples of each
snapshot to the training images in the judge's 128 features.
"""

import argparse
import statistics
from pathlib import Path

import ganvas
from ganvas import io
from judge import OUT, features, frechet, load_judge, splits

SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--presets", nargs="+", default=["tutorial", "small"])
    options = parser.parse_args()

    judge, accuracy = load_judge()
    images, _, test_images, _ = splits()
    real = features(judge, images)
    floor = frechet(features(judge, test_images), real)
    print(f"judge {accuracy:.2%}; floor (10,000 test images) {floor:.2f}")

    final: dict[str, list[float]] = {}
    rows = []
    for seed in options.seeds:
        for preset in options.presets:
            result = ganvas.train(
                "fashion-mnist", preset=preset, minutes=options.minutes, seed=seed, device="cpu",
                out=OUT / "runs", name=f"{preset}-{seed}", report=False,
                settings={"training.snapshot_kimg": 9.984},
            )  # fmt: skip
            curve = evaluate(result, judge, real, options.minutes)
            final.setdefault(preset, []).append(curve[-1][1])
            rows.append(
                {
                    "preset": preset,
                    "seed": seed,
                    "kimg": result.kimg,
                    "curve": curve,
                    "run": str(result.run.path),
                }
            )
            print(
                f"{preset:10} seed {seed}  {result.kimg:6.1f} kimg  "
                + "  ".join(f"{minute:.0f} min {distance:6.1f}" for minute, distance in curve),
                flush=True,
            )
    print("\n| recipe | minutes | Frechet distance, mean (each seed) |\n| --- | --- | --- |")
    for preset, values in final.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"| {preset} | {options.minutes:g} | {statistics.mean(values):.1f} ({each}) |")
    if {"tutorial", "small"} <= final.keys():
        ratio = statistics.mean(final["small"]) / statistics.mean(final["tutorial"])
        print(f"\nsmall / tutorial = {ratio:.3f} (target: 0.200)")
    io.write_json(OUT / "time_to_quality.json", {"judge": accuracy, "floor": floor, "rows": rows})


def evaluate(result: ganvas.Result, judge: object, real: object, minutes: float) -> list[tuple[float, float]]:
    """(minute, distance) of the first snapshot at or after each whole minute, and of the last one."""
    when = {int(record["kimg"]): record["seconds"] for record in result.run.stats()}
    snapshots: list[tuple[float, Path]] = []
    for path in result.run.snapshots[1:]:
        snapshots.append((when.get(int(path.name), result.seconds), path))
    wanted = [next((s for s in snapshots if s[0] >= 60 * m), snapshots[-1]) for m in range(1, int(minutes))]
    chosen = [*wanted, snapshots[-1]]
    return [
        (
            seconds / 60,
            frechet(features(judge, ganvas.load(path, device="cpu").sample(SAMPLES, seed=1)), real),
        )  # type: ignore[arg-type]
        for seconds, path in chosen
    ]


if __name__ == "__main__":
    main()
