"""Better latents and better data while training: LOGAN's step, instance selection, top-k, beside the same run without.

    python benchmarks/sampling_training.py [--kimg 100] [--seeds 0 1] [--recipes plain logan select top-k]

Fashion-MNIST, preset `small`, equal images seen; 10,000 samples against the 10,000 official test images by the benchmarks'
judge, with its precision, recall and coverage. What an option costs is in the minutes.
"""

import argparse
import statistics
from typing import Any

from sampling_fashion import MEASURES, judge_called

import ganvas
from ganvas.config import DataConfig
from ganvas.data.idx import load_named
from judge import OUT

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "logan": {"objective.terms": [{"name": "latent-optimisation"}]},
    "select": {"data.select": 0.8},
    "top-k": {"objective.terms": [{"name": "top-k"}]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kimg", type=float, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--n", type=int, default=10_000)
    options = parser.parse_args()
    judge = judge_called("benchmark", load_named("fashion-mnist", DataConfig(), "test"))
    rows: dict[str, list[dict[str, float]]] = {}
    for name in options.recipes:
        for seed in options.seeds:
            result = ganvas.train(
                "fashion-mnist", preset="small", kimg=options.kimg, seed=seed, settings=RECIPES[name], device="cpu",
                quiet=True, report=False, out=OUT / "runs", name=f"{name}-{seed}",
            )  # fmt: skip
            samples = ganvas.load(result.run.path, device="cpu").sample(options.n, seed=1)
            found = {**judge(samples, seed)[0], "minutes": result.seconds / 60}
            rows.setdefault(name, []).append(found)
            said = ", ".join(f"{each} {found[each]:.3f}" for each in (*MEASURES, "minutes"))
            print(f"{name}, seed {seed}: {said}", flush=True)
    print(f"\n| {options.kimg:g} kimg, {len(options.seeds)} seeds | minutes | {' | '.join(MEASURES)} |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, each in rows.items():
        cells = [[row[key] for row in each] for key in MEASURES]
        minutes = statistics.mean(row["minutes"] for row in each)
        said = " | ".join(f"{statistics.mean(c):.3f} +/- {statistics.pstdev(c):.3f}" for c in cells)
        print(f"| {name} | {minutes:.1f} | {said} |")


if __name__ == "__main__":
    main()
