"""`ganvas sample`"""

import json as json_module
from pathlib import Path
from typing import Annotated

import tyro


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    n: int = 64,
    seed: int = 0,
    labels: tuple[int, ...] | None = None,
    out: Path = Path("samples.png"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Draw samples from a trained model.

    Args:
        model: A run folder (its newest snapshot), a snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        n: How many.
        seed: The same seed draws the same samples.
        labels: Classes to draw, repeated to n; for models trained with --conditional.
        out: A .png grid, an .npz array, or a new folder of PNGs.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from ganvas.model import load
    from ganvas.pictures import check_out, save_samples

    check_out(out)
    loaded = load(model, device=device, critic=False)
    samples = loaded.sample(n, seed=seed, labels=labels)
    save_samples(samples, out)
    if json:
        print(json_module.dumps({"out": str(out), "n": n, "seed": seed, "kimg": loaded.info["kimg"]}))
    else:
        print(f"{n} samples (seed {seed}, {loaded.info['kimg']:g} kimg) -> {out}")
