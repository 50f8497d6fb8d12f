"""Pictures a second of ganvas and of onnxruntime, which runs the same generator as ONNX, in turn in one run.

    python benchmarks/export_speed.py [--models fashion RUN FILE] [--seconds 3] [--threads 1]

Without models: the packaged one, and untrained networks of 64 and 128 px. Median of the rounds; both draw the same latents.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import ganvas
from ganvas.config import NetworkConfig
from ganvas.export.onnx import to_onnx
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator

ROUNDS = 5
UNTRAINED = {
    "style, 64 px": ("style", 64, {"channels": 32}),
    "stylegan2, 128 px": ("stylegan2", 128, {"channel_base": 8192, "channel_max": 128}),
}


def opened(name: str) -> Model:
    """A model of a file, or an untrained one."""
    if name not in UNTRAINED:
        return ganvas.load(name, device="cpu", critic=False)
    family, side, options = UNTRAINED[name]
    config = NetworkConfig(family, latent_dim=128, generator=options)
    generator = build_generator(config, (3, side, side), 0).eval().requires_grad_(False)
    return Model(generator, None, ModelInfo.of(generator, family, architecture=config))


def rate(draw: object, count: int, seconds: float) -> float:
    """Pictures a second of a function that draws `count`."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds / ROUNDS:
        draw()  # type: ignore[operator]
        done += count
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["fashion", *UNTRAINED])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {options.threads} threads, "
        f"load {os.getloadavg()[0]:.1f} before\n\n"
        "| model | batch | ganvas | onnxruntime | ratio | grey levels apart |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in options.models:
        model = opened(name)
        content = to_onnx(model, optional=())
        session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        for batch in options.batches:
            z = model.latents(batch)
            labels = model.labels(batch)
            feeds = {"z": z.numpy()} | ({} if labels is None else {"labels": labels.numpy()})

            def ours(
                model: Model = model, z: torch.Tensor = z, labels: torch.Tensor | None = labels
            ) -> torch.Tensor:
                with torch.inference_mode():
                    found: torch.Tensor = model.generator(z, labels)
                    return found

            def theirs(session: onnxruntime.InferenceSession = session, feeds: dict = feeds) -> np.ndarray:
                return session.run(None, feeds)[0]

            low, high = model.generator.value_range
            apart = float(np.abs(ours().numpy() - theirs()).max()) * 255 / (high - low)
            pairs = [
                (rate(ours, batch, options.seconds), rate(theirs, batch, options.seconds))
                for _ in range(ROUNDS)
            ]
            a, b = (statistics.median(each) for each in zip(*pairs, strict=True))
            ratio = statistics.median(theirs / ours for ours, theirs in pairs)
            shown = Path(name).name
            print(f"| {shown} | {batch} | {a:.0f}/s | {b:.0f}/s | {ratio:.2f} | {apart:.4f} |", flush=True)


if __name__ == "__main__":
    main()
