"""Critic-guided sampling on 25 Gaussians by MH-GAN's protocol (Turner et al. 2019): high quality and mode divergence.

    python benchmarks/sampling_gaussians.py [--seeds 0 1 2] [--epochs 30] [--budgets 20 640]

Means -2 .. 2 squared, sigma .05; 64,000 standardised training points, 10,000 test points; generator and critic of four dense
layers, ReLU, width 100, z in R^2. 10,000 samples a row; high quality is within 4 sigma.
"""

import argparse
import statistics
import time

import numpy as np
import torch

import ganvas
from ganvas.data.toy import Mixture
from ganvas.latent import LatentZ
from ganvas.metrics.modes import point_modes
from ganvas.sampling import fit_ratio, samplers
from ganvas.sampling.settings import at_budget
from judge import OUT

SIGMA, TRAIN, TEST, SAMPLES = 0.05, 64_000, 10_000, 10_000
PUBLISHED = {"GAN": (0.931, 0.138), "DRS": (0.966, 0.107), "MH-GAN, K 640": (0.978, 0.017)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=30)
    parser.add_argument("--budgets", type=int, nargs="+", default=[20, 640])
    parser.add_argument("--critics", nargs="+", default=["own", "fresh"])
    options = parser.parse_args()
    axis = torch.arange(-2.0, 3.0)
    exact = Mixture(torch.cartesian_prod(axis, axis), SIGMA)
    rows: dict[str, list[tuple[float, float, int, float]]] = {}
    for seed in options.seeds:
        random = torch.Generator().manual_seed(seed)
        points = exact.draw(TRAIN + TEST, random)[0].float()
        middle, scale = points[:TRAIN].mean(0), points[:TRAIN].std(0)
        standard = (points - middle) / scale
        OUT.mkdir(exist_ok=True)
        data = OUT / f"mh-gan-grid-{seed}.npy"
        np.save(data, standard[:TRAIN].numpy())
        settings = {
            "network.latent_dim": 2,
            "network.generator": {"hidden": [100, 100, 100], "act": "relu", "output": "linear"},
            "network.critic": {"hidden": [100, 100, 100], "act": "relu"},
            "objective.loss": "non-saturating", "objective.penalties": [],
            "optimizer.lr_generator": 1e-3, "optimizer.lr_critic": 1e-3, "training.batch": 64, "data.holdout": 0.0,
        }  # fmt: skip
        kimg = options.epochs * TRAIN / 1000
        run = ganvas.train(
            str(data), preset="toy", kimg=kimg, seed=seed, device="cpu", quiet=True, report=False, out=OUT / "runs",
            settings=settings,
        ).run  # fmt: skip
        model = ganvas.load(run.path, device="cpu")
        space = LatentZ(model)

        def measure(name: str, samples: torch.Tensor, seconds: float) -> None:
            found = point_modes(samples * scale + middle, exact.centres, SIGMA)  # noqa: B023
            rows.setdefault(name, []).append((found.high_quality, found.jsd, found.modes, seconds))
            print(
                f"seed {seed}, {name}: {found.high_quality:.3f} {found.jsd:.3f} {found.modes} {seconds:.0f} s",  # noqa: B023
                flush=True,
            )

        measure("ganvas, prior", model.sample(SAMPLES, seed=seed), 0.0)
        for critic in options.critics:
            start = time.perf_counter()
            ratio = fit_ratio(
                space, standard[TRAIN:], train=(standard[:TRAIN], None), critic=critic, steps=6000, seed=seed
            )
            print(
                f"  {critic} critic: AUC {ratio.report.auc:.3f}, {time.perf_counter() - start:.0f} s",
                flush=True,
            )
            for budget in options.budgets:
                for name in ("reject", "budget", "metropolis", "resample"):
                    start = time.perf_counter()
                    drawn = samplers.get(name)(
                        space, ratio, SAMPLES, generator=torch.Generator().manual_seed(seed), **at_budget(name, budget).options
                    )  # fmt: skip
                    measure(
                        f"ganvas, {name} {budget}, {critic} critic",
                        drawn.samples,
                        time.perf_counter() - start,
                    )
    print(
        f"\n| {options.epochs:g} epochs, {len(options.seeds)} seeds | high quality | mode-JSD | modes | seconds |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, (quality, jsd) in PUBLISHED.items():
        print(f"| {name} (published, 30 epochs) | {quality:.3f} | {jsd:.3f} | | |")
    for name, found in rows.items():
        columns = list(zip(*found, strict=True))
        both = " | ".join(f"{statistics.mean(c):.3f} +/- {statistics.pstdev(c):.3f}" for c in columns[:2])
        print(f"| {name} | {both} | {statistics.mean(columns[2]):.1f} | {statistics.mean(columns[3]):.0f} |")


if __name__ == "__main__":
    main()
