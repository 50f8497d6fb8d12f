"""Critic-guided sampling on a ring of eight Gaussians and a Swiss roll, against their exact densities, with pictures.

    python benchmarks/sampling_toys.py [--seeds 0 1 2] [--epochs 10] [--budget 20]

Preset `toy`, dense layers of 100, z in R^2; the critic is calibrated on held-out points. A sample is good when it is as likely
under the exact density as all but 1 % of true points. The distance is the squared sliced Wasserstein one to 10,000 fresh true
points, times 1,000. Pictures: benchmarks/out/sampling-ring8.png and -swissroll.png, of the first seed.
"""

import argparse
import statistics

import torch
from matplotlib.figure import Figure

import ganvas
from ganvas import io, pictures
from ganvas.data import load_dataset
from ganvas.data.toy import distribution
from ganvas.latent import LatentZ
from ganvas.metrics.sliced import sliced_wasserstein
from ganvas.sampling import fit_ratio, samplers
from ganvas.sampling.settings import at_budget
from judge import OUT

SAMPLES = 10_000
TOYS = {"ring8": "toy:ring8", "swissroll": "toy:swissroll"}
NAMES = ("prior", "reject", "budget", "metropolis", "resample", "langevin", "ex2", "flow", "transport")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--budget", type=int, default=20)
    options = parser.parse_args()
    settings = {
        "network.latent_dim": 2, "network.generator": {"hidden": [100, 100, 100], "act": "relu", "output": "linear"},
        "network.critic": {"hidden": [100, 100, 100], "act": "relu"}, "objective.loss": "non-saturating",
        "objective.penalties": [], "data.holdout": 0.1,
    }  # fmt: skip
    for name, source in TOYS.items():
        exact = distribution(source)
        fresh = exact.draw(SAMPLES, torch.Generator().manual_seed(99))[0]
        limit = float(exact(fresh).quantile(0.01))
        rows: dict[str, list[tuple[float, float, float]]] = {}
        shown: dict[str, torch.Tensor] = {"true points": fresh}
        for seed in options.seeds:
            run = ganvas.train(
                source, preset="toy", kimg=90 * options.epochs, seed=seed, device="cpu", quiet=True, report=False,
                out=OUT / "runs", settings=settings,
            ).run  # fmt: skip
            model = ganvas.load(run.path, device="cpu")
            space = LatentZ(model)
            train, held = load_dataset(source).split(0.1)
            real = held.take(torch.arange(len(held)))[0]
            points = train.take(torch.arange(30_000))[0]
            ratio = fit_ratio(space, real, train=(points, None), seed=seed)
            print(
                f"{name}, seed {seed}: {ratio.report.critic} critic, AUC {ratio.report.auc:.3f}", flush=True
            )
            for sampler in NAMES:
                setting = at_budget(sampler, options.budget)
                drawn = samplers.get(sampler)(
                    space, ratio, SAMPLES, generator=torch.Generator().manual_seed(seed), **setting.options
                )
                good = float((exact(drawn.samples) >= limit).double().mean())
                away = 1000 * sliced_wasserstein(drawn.samples.double().numpy(), fresh.double().numpy())
                rows.setdefault(sampler, []).append((good, away, drawn.cost))
                if seed == options.seeds[0]:
                    shown[sampler] = drawn.samples
        floor = 1000 * sliced_wasserstein(
            exact.draw(SAMPLES, torch.Generator().manual_seed(7))[0].numpy(), fresh.double().numpy()
        )
        print(f"\n| {name}, {len(options.seeds)} seeds | runs | good | distance |\n| --- | --- | --- | --- |")
        print(f"| true points | | 0.990 | {floor:.2f} |")
        for sampler, found in rows.items():
            cells = [
                f"{statistics.mean(c):.3f} +/- {statistics.pstdev(c):.3f}"
                for c in list(zip(*found, strict=True))[:2]
            ]
            print(f"| {sampler} | {statistics.mean(f[2] for f in found):.3g} | {' | '.join(cells)} |")
        print(flush=True)
        _draw(name, shown)


def _draw(name: str, shown: dict[str, torch.Tensor]) -> None:
    figure = Figure(figsize=(15, 6.4), dpi=80)
    for place, (title, points) in enumerate(shown.items()):
        axes = figure.add_subplot(2, 5, place + 1)
        axes.scatter(points[:3000, 0], points[:3000, 1], s=1.5, alpha=0.5, linewidths=0)
        axes.set(title=title, xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[])
    io.write_bytes(OUT / f"sampling-{name}.png", pictures.plot_png(figure))


if __name__ == "__main__":
    main()
