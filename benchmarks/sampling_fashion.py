"""Every sampler at ten runs of the network on Fashion-MNIST, in the features of a classifier that guided nothing, over seeds.

    python benchmarks/sampling_fashion.py [--models packaged short] [--seeds 0 1 2] [--n 10000] [--minutes 2]
                                          [--judges benchmark residual]

`packaged` is the model that comes with ganvas, drawn and calibrated anew with every seed; `short` is one trained here for
`--minutes` with every seed. The guide is what `ganvas calibrate` takes. Two judges of other shapes than the guide's, because one
can be a friend of it by chance: that of the other Fashion-MNIST benchmarks, and a residual network trained here once. Both
compare with the official 10,000 test images, which nobody saw. The Frechet distance of 5,000 samples varies by a fifth from
draw to draw: take 10,000 or more.
"""

import argparse
import statistics

import torch

import ganvas
from ganvas.config import DataConfig
from ganvas.data import Dataset
from ganvas.data.idx import load_named
from ganvas.errors import GanvasError
from ganvas.features import classifier
from ganvas.features.base import Embedded
from ganvas.sampling import calibrate_model
from ganvas.sampling.improve import Evaluator
from ganvas.sampling.settings import Setting, at_budget
from judge import OUT, load_judge, prepare

BUDGET = 10
MEASURES = ("frechet", "precision", "recall", "coverage")


class Benchmark:
    """The benchmarks' judge as an extractor."""

    id, resize, cacheable = "benchmark-judge", "none", False

    def __init__(self) -> None:
        self.network = load_judge()[0]

    def __call__(self, images: torch.Tensor) -> Embedded:
        return Embedded(self.network.body(prepare(images)))


def judge_called(name: str, test: Dataset) -> Evaluator:
    """One of the two, against the test images."""
    if name == "benchmark":
        return Evaluator(Benchmark(), test)
    path = OUT / "residual.safetensors"
    if not path.is_file():
        train = load_named("fashion-mnist", DataConfig())
        trained = classifier.train_on(train, test, seed=1, body="residual", device=torch.device("cpu"))
        print(f"residual judge: {trained.accuracy:.2%} of the test images right", flush=True)
        classifier.save(path, trained, "residual", {})
    return Evaluator(classifier.load(path, torch.device("cpu")), test)


def settings(wanted: list[str]) -> list[Setting]:
    names = ("reject", "budget", "metropolis", "resample", "langevin", "ex2", "flow", "transport")
    both = [
        Setting(name, at_budget(name, BUDGET).options, a)
        for a in (0.95, 0.9)
        for name in ("metropolis", "budget")
    ]
    every = [Setting("prior"), Setting("truncate", {"amount": 0.9}), Setting("reweight")]
    every += [at_budget(name, BUDGET) for name in names] + both
    return [e for e in every if not wanted or (e.sampler in ("prior", *wanted) and e.truncation is None)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["packaged", "short"], choices=["packaged", "short"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument(
        "--samplers", nargs="+", default=[], help="these alone, not truncated, beside the prior"
    )
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument(
        "--judges", nargs="+", default=["benchmark", "residual"], choices=["benchmark", "residual"]
    )
    options = parser.parse_args()
    test = load_named("fashion-mnist", DataConfig(), "test")
    judges = {name: judge_called(name, test) for name in options.judges}
    for which in options.models:
        rows: dict[tuple[str, str], list[dict[str, float]]] = {}
        for seed in options.seeds:
            path = "fashion"
            if which == "short":
                path = str(
                    ganvas.train(
                        "fashion-mnist", minutes=options.minutes, seed=seed, device="cpu", quiet=True, report=False,
                        out=OUT / "runs",
                    ).run.path
                )  # fmt: skip
            model = ganvas.load(path, device="cpu")
            ratio, _ = calibrate_model(model, "fashion-mnist", seed=seed, judged=True)
            print(
                f"{which}, seed {seed}: AUC {ratio.report.auc:.3f}, effective {ratio.report.ess:.1%}",
                flush=True,
            )
            for setting in settings(options.samplers):
                try:
                    drawn = setting.draw(model, ratio, options.n, seed=seed)
                except GanvasError as error:
                    print(f"  {setting.label}: {error}")
                    continue
                for name, judge in judges.items():
                    values = {**judge(drawn.samples, seed)[0], "cost": drawn.cost}
                    rows.setdefault((name, setting.label), []).append(values)
                    print(
                        f"  {setting.label}, {name}: {', '.join(f'{values[m]:.3f}' for m in MEASURES)}",
                        flush=True,
                    )
        for judged_by in options.judges:
            table(
                f"{which}, {len(options.seeds)} seeds, judge {judged_by}",
                {k: v for (j, k), v in rows.items() if j == judged_by},
            )


def table(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    """Mean and spread of each row, and its change against the prior of the same seed."""
    print(f"\n| {title} | runs | {' | '.join(MEASURES)} | Frechet, change |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for label, found in rows.items():
        cells = []
        for name in MEASURES:
            each = [row[name] for row in found]
            cells.append(f"{statistics.mean(each):.3f} +/- {statistics.pstdev(each):.3f}")
        pairs = zip(found, rows["prior"], strict=False)
        change = [row["frechet"] / first["frechet"] - 1 for row, first in pairs]
        cost = statistics.mean(row["cost"] for row in found)
        said = f"{statistics.mean(change):+.0%} ({', '.join(f'{each:+.0%}' for each in change)})"
        print(f"| {label} | {cost:.3g} | {' | '.join(cells)} | {said} |", flush=True)


if __name__ == "__main__":
    main()
