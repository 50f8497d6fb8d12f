"""`ganvas extractor`"""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganvas.cli import _shared
from ganvas.errors import GanvasError


def run(
    action: Annotated[Literal["train"], tyro.conf.Positional],
    data: Annotated[str, tyro.conf.Positional],
    *,
    out: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    resolution: int | None = None,
    resize: Literal["crop", "fit", "stretch"] | None = None,
    height: int | None = None,
    alpha: bool = False,
    json: bool = False,
) -> None:
    """Train a small classifier on labelled data; its last hidden layer gives features made for that data.

    Args:
        action: train
        data: Labelled images: a name, a folder with one sub-folder a class, an .npz with labels.
        out: Where to write it. Default: DATA-extractor.safetensors
        epochs: Passes over the data; chosen from its size when left out.
        seed: Of weights and order.
        device: auto, cpu, cuda or mps.
        resolution: Side of the images in pixels.
        resize: How images of other sizes get there.
        height: Height of images that are not square; --resolution is then their width.
        alpha: Keep transparent parts as a fourth channel; else they become white.
        json: Print the outcome as JSON.
    """
    import torch

    from ganvas.config import DataConfig
    from ganvas.data import load_dataset
    from ganvas.device import resolve_device
    from ganvas.features import classifier

    dataset = load_dataset(DataConfig(data, resolution, resize, height=height, alpha=alpha))
    if not dataset.is_images or dataset.num_classes < 2:
        raise GanvasError(
            f"{dataset.name} has no labels of two or more classes. Put images in one sub-folder a class, or use "
            "--extractor efficientnet-lite0, which needs none."
        )
    train, held_out = dataset.split(0.1)
    path = out or Path(f"{dataset.name}-extractor.safetensors")
    _shared.outputs(path, ".safetensors")
    with _shared.progress() as tell:
        trained = classifier.train_on(
            train, held_out, epochs=epochs, seed=seed, device=resolve_device(device),
            advance=lambda share: tell("training the classifier", round(100 * share), 100),
        )  # fmt: skip
    counts = {"trained_on": len(train), "held_out": len(held_out)}
    classifier.save(path, trained, dataset.name, {"data": dataset.fingerprint, "seed": seed, **counts})
    identity = classifier.load(path, torch.device("cpu")).id  # that it opens
    if json:
        _shared.answer({"out": str(path), "id": identity, "accuracy": trained.accuracy})
        return
    _shared.say(f"{identity}: {trained.accuracy:.1%} of {len(held_out):,} held-out images right -> {path}")
    _shared.say(f"Use it: ganvas eval RUN --extractor {path}")
