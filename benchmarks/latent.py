"""The latent tools: principal axes beside scikit-learn, equal steps, inversion of own samples, directions beside random ones.

    python benchmarks/latent.py [--parts pca steps invert directions] [--vectors 1000000] [--seeds 0 1 2]

`pca`: a million 512-d vectors in batches of 10,000, ours (one covariance, one eigendecomposition) and scikit-learn's
IncrementalPCA on the same batches, 80 components. The other parts are on the packaged model.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import torch

import ganvas
from ganvas.latent import equal_steps, open_space, step_lengths, through, variation
from ganvas.latent.directions import find
from ganvas.latent.finders import covariance, finders
from ganvas.latent.invert import encode, invert, train_encoder

DIM, BATCH, COMPONENTS = 512, 10_000, 80


def batches(vectors: int) -> Iterator[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIM, DIM, generator=random) * torch.logspace(0, -2, DIM)
    for _ in range(vectors // BATCH):
        yield torch.nn.functional.leaky_relu(torch.randn(BATCH, DIM, generator=random) @ mixing, 0.2)


def pca(vectors: int) -> None:
    from sklearn.decomposition import IncrementalPCA

    start = time.perf_counter()
    for _ in batches(vectors):
        pass
    making = time.perf_counter() - start
    start = time.perf_counter()
    _, found = covariance(batches(vectors), DIM)
    ours = torch.linalg.eigh(found)[1].flip(1)[:, :COMPONENTS]
    our_time = time.perf_counter() - start - making
    start = time.perf_counter()
    theirs = IncrementalPCA(COMPONENTS)
    for batch in batches(vectors):
        theirs.partial_fit(batch.numpy())
    their_time = time.perf_counter() - start - making
    other = torch.from_numpy(theirs.components_).double().t()
    print(
        "\n| PCA of vectors, dimensions | ganvas | IncrementalPCA | ratio | largest angle of the first 10 and of all 80 |"
    )
    print("| --- | --- | --- | --- | --- |")
    angles = [
        float(torch.arcsin((a - b @ (b.t() @ a)).norm(2).clamp(max=1)))
        for a, b in ((ours[:, :10], other), (ours, other))
    ]
    cells = f"{our_time:.1f} s | {their_time:.1f} s | {their_time / our_time:.1f} x"
    print(f"| {vectors:,} x {DIM} | {cells} | {angles[0]:.1e}, {angles[1]:.1e} |")


def steps(seeds: list[int]) -> None:
    model = ganvas.load("fashion", device="cpu")
    print("\n| path of 60 frames | even times | equal steps | ratio |\n| --- | --- | --- | --- |")
    for name in ("z", "w"):
        space = open_space(model, name)
        before, after = [], []
        for seed in seeds:
            with torch.no_grad():
                path = through(space, space.sample(4, torch.Generator().manual_seed(seed)))
            before.append(variation(step_lengths(space, path(torch.linspace(0, 1, 60, dtype=torch.float64)))))
            after.append(variation(step_lengths(space, path(equal_steps(space, path, 60)))))
        a, b = statistics.mean(before), statistics.mean(after)
        print(f"| {name}, {len(seeds)} seeds | {a:.2f} | {b:.3f} | {b / a:.2f} |")


def inversion(seeds: list[int]) -> None:
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    print(
        "\n| inversion of own samples in w | seconds an image | residual, median | below 5 % | below 1 % |\n"
        "| --- | --- | --- | --- | --- |"
    )
    start = time.perf_counter()
    encoder = train_encoder(space, steps=800)
    training = time.perf_counter() - start
    for name in ("optimise", "encoder", "hybrid"):
        residuals, seconds = [], 0.0
        for seed in seeds:
            targets = model.sample(32, seed=100 + seed)
            start = time.perf_counter()
            if name == "optimise":
                found = invert(space, targets, steps=300, restarts=3, seed=seed)
            else:
                found = encode(space, encoder, targets)
                if name == "hybrid":
                    found = invert(space, targets, start=found.points, steps=300, seed=seed)
            seconds += time.perf_counter() - start
            residuals.append(found.residual)
        each = torch.cat(residuals)
        shares = " | ".join(f"{float((each < limit).float().mean()):.0%}" for limit in (0.05, 0.01))
        print(f"| {name} | {seconds / len(each):.2f} | {float(each.median()):.1%} | {shares} |", flush=True)
    print(f"\nThe encoder's training took {training:.0f} s.")


def directions(seeds: list[int]) -> None:
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    print(
        "\n| directions of w | effect of one sigma, first | mean of the first 6 | over random |\n| --- | --- | --- | --- |"
    )
    control = statistics.mean(d.effect for seed in seeds for d in find(space, "random", 6, seed))
    for name in finders:
        found = [[d.effect for d in find(space, name, 6, seed)] for seed in seeds]
        mean = statistics.mean(effect for each in found for effect in each)
        first = statistics.mean(each[0] for each in found)
        print(f"| {name}, {len(seeds)} seeds | {first:.2f} | {mean:.2f} | {mean / control:.1f} x |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", default=["pca", "steps", "invert", "directions"])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for part in options.parts:
        if part == "pca":
            pca(options.vectors)
        else:
            {"steps": steps, "invert": inversion, "directions": directions}[part](options.seeds)


if __name__ == "__main__":
    main()
