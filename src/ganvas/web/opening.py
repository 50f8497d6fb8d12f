"""From what somebody typed to a `Renderer`: the model, the ratio kept for it, and real images to compare with."""

from collections.abc import Callable
from pathlib import Path

import torch

from ganvas import pictures
from ganvas.checkpoint import is_hash
from ganvas.errors import GanvasError
from ganvas.model import Model, is_packaged
from ganvas.model_data import real_images_of
from ganvas.model_file import load
from ganvas.sampling import LogRatio
from ganvas.sampling.store import kept_ratio
from ganvas.web.film import Advance, film
from ganvas.web.quality import BALL, Real
from ganvas.web.renderer import Renderer, check_shown
from ganvas.web.state import FROM_PYTHON, Recipe, from_json, is_own, read

REALS = 5000
DEFAULT = "fashion"


def open_renderer(
    model: str | Path = DEFAULT, data: str | None = None, device: str = "auto", *,
    check: Callable[[Model], object] = lambda model: None,
) -> Renderer:  # fmt: skip
    """A model with everything that is at hand for it. A ratio that does not fit is left out; wrong `data` are an error.

    `check` refuses a model before anything else is opened.
    """
    loaded = load(model, device=device)
    check_shown(loaded)
    check(loaded)
    try:
        ratio = LogRatio.load(kept_ratio(loaded), loaded)
    except GanvasError:
        ratio = None
    images, line = real_images_of(loaded, REALS, data, more_than=BALL)
    if images is None and loaded.info.data is None:
        line = (
            "No nearest real image: this model does not say what it was trained on. Compare it with a folder of such images: "
            "ganvas explore MODEL --data FOLDER"
        )
    if images is not None and len(loaded.shape) == 2:
        images = pictures.shown(images, loaded.info.series)
    return Renderer(loaded, str(model), ratio, None if images is None else Real(images, line), line)


def replay(
    recipe: "Recipe | dict[str, object] | str | Path",
    model: "Model | Renderer | None" = None,
    *,
    device: str = "auto",
) -> torch.Tensor:
    """The picture of a recipe: uint8 (C, H, W), the same pixels that the explorer showed on this machine.

    `recipe`: what the explorer saved, as a path, a JSON object or a `Recipe`. `model`: by default the one that the recipe names;
    a module of your own (`ganvas.wrap`) has no name that could be opened, so give it.
    Raises `GanvasError` when the model has other weights than the recipe was made with.
    """
    found, renderer = _both(recipe, model, device)
    return renderer.draw([found.state])[0]


def replay_film(
    recipe: "Recipe | dict[str, object] | str | Path", model: "Model | Renderer | None" = None, *, device: str = "auto",
    progress: Advance = lambda done, total: None,
) -> torch.Tensor:  # fmt: skip
    """The film of a recipe's timeline: uint8 (T, C, H, W)."""
    found, renderer = _both(recipe, model, device)
    return film(renderer, found.timeline, progress)[0]


def _named(recipe: Recipe, device: str) -> Model:
    """The model that a recipe names."""
    if recipe.model == FROM_PYTHON:
        raise GanvasError(
            f"The recipe was made with a model of weights {recipe.hash} that was given from Python, so no file holds it. "
            "Wrap the module again and give it: ganvas.replay(recipe, model=...)"
        )
    if not is_packaged(Path(recipe.model)) and not is_own(recipe):
        raise GanvasError(
            f"The recipe names the model {recipe.model!r}, and was not saved by you on this machine, so it may not choose what "
            "is opened here. Give the model: --model, or ganvas.replay(recipe, model=...)"
        )
    try:
        return load(recipe.model, device=device)
    except GanvasError as error:
        raise GanvasError(
            f"The recipe names the model {recipe.model!r}, which cannot be opened here: {error} "
            "Give it: --model, or ganvas.replay(recipe, model=...)"
        ) from error


def _both(recipe: object, model: "Model | Renderer | None", device: str) -> tuple[Recipe, Renderer]:
    if isinstance(recipe, str | Path):
        recipe = read(Path(recipe))
    found = recipe if isinstance(recipe, Recipe) else from_json(recipe)
    if isinstance(model, Renderer):
        renderer = model
    else:
        renderer = Renderer(model if model is not None else _named(found, device), found.model)
    if not is_hash(found.hash, renderer.hash):
        raise GanvasError(
            f"The recipe was made with a model of weights {found.hash}, this one has {renderer.hash}. "
            "Give the right one with --model."
        )
    return found, renderer
