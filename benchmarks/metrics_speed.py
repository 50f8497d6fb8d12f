"""Our metrics beside other people's on the same arrays, and the cost of all metrics beside one embedding pass.

    python benchmarks/metrics_speed.py [--n 10000] [--dim 2048] [--skip frechet manifold pass]

Peers (installed by `make test`): pytorch-fid, torch-fidelity, prdc. Memory is the peak of the process above the arrays, each
measured in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tools.peers


def arrays(n: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets with a falling spectrum, like the features of a network; float32."""
    rng = np.random.default_rng(0)
    scale = (1 / np.sqrt(1 + np.arange(dim))).astype(np.float32)
    mix = np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype(np.float32)
    x, y = (rng.standard_normal((n, dim), np.float32) * scale for _ in range(2))
    return x @ mix, (y * 1.1 + 0.05 * scale) @ mix


STATISTICS = "from means and covariances"


def both(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance, as pytorch-fid takes them."""
    return rows.mean(0), np.cov(rows, rowvar=False)


def job(name: str, n: int, dim: int) -> dict[str, object]:
    """Run one candidate in this process: its value, seconds and peak memory above what was there."""
    from tools import peers

    x, y = arrays(n, dim)
    if name.startswith("ours frechet"):
        from ganvas.features.stats import moments
        from ganvas.metrics.frechet import frechet, frechet_of_moments

        run = frechet
        if name.endswith(STATISTICS):
            x, y, run = moments(x), moments(y), frechet_of_moments
    elif name.startswith("pytorch-fid"):
        run = peers.pytorch_fid()
        if name.endswith(STATISTICS):
            x, y, run = both(x), both(y), peers.pytorch_fid_statistics()
    elif name.startswith("torch-fidelity"):
        import torch

        fid = peers.torch_fidelity("fid")
        if name.endswith(STATISTICS):
            x, y = (fid.fid_features_to_statistics(torch.from_numpy(v)) for v in (x, y))

        def run(a, b):  # type: ignore[no-untyped-def]
            given = isinstance(a, dict)
            first, second = (
                v if given else fid.fid_features_to_statistics(torch.from_numpy(v)) for v in (a, b)
            )
            return fid.fid_statistics_to_metric(first, second, False)["frechet_inception_distance"]
    elif name == "ours manifold":
        from ganvas.metrics.manifold import neighbourhood

        def run(a, b):  # type: ignore[no-untyped-def]
            found = neighbourhood(a, b, 5, 5)
            shares = (found.near_real, found.near_fake, found.balls, found.covered)
            return [float(v.double().mean()) for v in shares]
    else:
        compute = peers.prdc()

        def run(a, b):  # type: ignore[no-untyped-def]
            found = compute(real_features=b, fake_features=a, nearest_k=5)
            return [float(found[k]) for k in ("precision", "recall", "density", "coverage")]

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    value = run(x, y)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"value": value, "seconds": seconds, "mib": (peak - before) / 1024}


def measure(name: str, n: int, dim: int, repeats: int) -> dict[str, object]:
    """The median by time of fresh processes."""
    command = [sys.executable, __file__, "--job", name, "--n", str(n), "--dim", str(dim)]
    found = []
    for _ in range(repeats):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
    return sorted(found, key=lambda f: f["seconds"])[len(found) // 2]


def table(title: str, names: list[str], n: int, dim: int, repeats: int) -> None:
    print(
        f"\n{title}, N = {n:,} each, D = {dim}\n\n| | seconds | ours is | peak MiB | value |\n|"
        + " --- |" * 5
    )
    found = {name: measure(name, n, dim, repeats) for name in names}
    own = found[names[0]]
    for name, f in found.items():
        ratio = "" if f is own else f"{f['seconds'] / own['seconds']:.1f} x faster"  # type: ignore[operator]
        values = f["value"] if isinstance(f["value"], list) else [f["value"]]
        shown = ", ".join(f"{v:.6g}" for v in values)
        print(f"| {name} | {f['seconds']:.2f} | {ratio} | {f['mib']:.0f} | {shown} |", flush=True)


def one_pass(n: int) -> None:
    """All default metrics on a model beside its embedding pass alone, features of efficientnet-lite0."""
    import tempfile

    import torch

    import ganvas
    from ganvas.features import embed, open_extractor
    from ganvas.metrics import evaluate

    print(
        f"\nAll metrics on one model, N = {n:,}\n"
        "\n| extractor | embedding pass | all metrics | ratio |\n| --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        run = ganvas.train("fashion-mnist", kimg=2, device="cpu", out=folder, quiet=True, report=False).run
        model = ganvas.load(run.path, device="cpu")
        data = ganvas.load_dataset("fashion-mnist")
        small = ganvas.Dataset(
            data.name, data.take(torch.arange(n))[0], data.shape, f"first-{n}", data.take(torch.arange(n))[1],
            data.class_names,
        )  # fmt: skip
        for name in ("efficientnet-lite0", "classifier"):
            extractor = open_extractor(name, small, "cpu")
            evaluate(model, small, n=300, extractor=extractor, device="cpu")  # fills the reference cache
            start = time.perf_counter()
            embed(extractor, model.batches(n))
            alone = time.perf_counter() - start
            start = time.perf_counter()
            evaluate(model, small, n=n, extractor=extractor, device="cpu", floor=False)
            whole = time.perf_counter() - start
            print(f"| {extractor.id} | {alone:.1f} s | {whole:.1f} s | {whole / alone:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(job(options.job, options.n, options.dim)))
        return
    if "frechet" not in options.skip:
        names = ["ours frechet", "torch-fidelity", "pytorch-fid"]
        table("Frechet distance from arrays", names, options.n, options.dim, options.repeats)
        names = [f"{name} {STATISTICS}" for name in names]
        table(f"Frechet distance {STATISTICS}", names, options.n, options.dim, options.repeats)
    if "manifold" not in options.skip:
        names = ["ours manifold", "prdc"]
        table("Precision, recall, density, coverage", names, options.n, options.dim, options.repeats)
    if "pass" not in options.skip:
        one_pass(options.n)


if __name__ == "__main__":
    main()
