"""From what somebody typed to a `Renderer`: the model, the ratio kept for it, and real images to compare with."""

from pathlib import Path

import numpy as np
import torch

from ganvas.errors import GanvasError
from ganvas.latent.attributes import data_of, load_data_of
from ganvas.model import PACKAGED, Model, is_packaged, load
from ganvas.sampling import LogRatio
from ganvas.sampling.improve import kept_ratio
from ganvas.web.film import Progress, film
from ganvas.web.quality import BALL, Real
from ganvas.web.renderer import Renderer
from ganvas.web.state import Recipe, from_json, read

REALS = 5000
DEFAULT = "fashion"


def open_renderer(model: str | Path = DEFAULT, data: str | None = None, device: str = "auto") -> Renderer:
    """A model with everything that is at hand for it. A ratio that does not fit is left out; wrong `data` are an error."""
    loaded = load(model, device=device)
    try:
        ratio = LogRatio.load(kept_ratio(loaded), loaded)
    except GanvasError:
        ratio = None
    return Renderer(loaded, str(model), ratio, _real(loaded, Path(model), data))


def _real(model: Model, path: Path, data: str | None) -> Real | None:
    try:
        found, _ = load_data_of(model, data)
        if len(found) <= BALL:
            raise GanvasError(
                f"{found.name} holds {len(found)} images; to compare with, more than {BALL} are needed."
            )
        rows = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:REALS]
        return Real(found.take(rows)[0], f"{len(rows):,} of {len(found):,} images of {found.name}")
    except GanvasError:
        if data:
            raise
    shipped = PACKAGED / path.name / "real.npz"
    if is_packaged(path) and shipped.is_file():
        with np.load(shipped) as arrays:  # without pickle, which is numpy's default
            return Real(
                torch.from_numpy(arrays["images"]),
                f"{len(arrays['images']):,} images of {data_of(model)} that come along",
            )
    return None


def replay(
    recipe: "Recipe | dict[str, object] | str | Path",
    model: "Model | Renderer | None" = None,
    *,
    device: str = "auto",
) -> torch.Tensor:
    """The picture of a recipe: uint8 (C, H, W), the same pixels that the explorer showed on this machine.

    `recipe`: what the explorer saved, as a path, a JSON object or a `Recipe`. `model`: by default the one that the recipe names.
    Raises `GanvasError` when the model has other weights than the recipe was made with.
    """
    found, renderer = _both(recipe, model, device)
    return renderer.draw([found.state])[0]


def replay_film(
    recipe: "Recipe | dict[str, object] | str | Path", model: "Model | Renderer | None" = None, *, device: str = "auto",
    progress: Progress = lambda done, total: None,
) -> torch.Tensor:  # fmt: skip
    """The film of a recipe's timeline: uint8 (T, C, H, W)."""
    found, renderer = _both(recipe, model, device)
    return film(renderer, found.timeline, progress)[0]


def _both(recipe: object, model: "Model | Renderer | None", device: str) -> tuple[Recipe, Renderer]:
    if isinstance(recipe, str | Path):
        recipe = read(Path(recipe))
    found = recipe if isinstance(recipe, Recipe) else from_json(recipe)
    if isinstance(model, Renderer):
        renderer = model
    else:
        renderer = Renderer(model if model is not None else load(found.model, device=device), found.model)
    if renderer.hash != found.hash:
        raise GanvasError(
            f"The recipe was made with a model of weights {found.hash}, this one has {renderer.hash}. "
            "Give the right one with --model."
        )
    return found, renderer
