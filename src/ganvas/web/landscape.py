"""The map of the page: thousands of samples on a plane, with what they can be coloured by, found once for a model."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganvas import io
from ganvas.checkpoint import hash_of
from ganvas.errors import GanvasError
from ganvas.latent.attributes import attributes_of
from ganvas.latent.map import place
from ganvas.latent.paths import SMALL
from ganvas.model import ROWS
from ganvas.model_data import class_names
from ganvas.types import Progress, silent
from ganvas.web.pace import MAP
from ganvas.web.renderer import Renderer

SAMPLES = 5000
SLOW = 1000
"""Samples at most where pictures take long, and coarse ones stand for them if there are such."""
LANDMARKS = 1000
"""Samples that t-SNE places; the others go to where their nearest landmarks lie, which is fast and keeps neighbourhoods."""
NEAREST = 3
SEED = 0
REALS = 2000


@dataclass(frozen=True)
class Landscape:
    """Sample i is number i of `model.sample(n, seed=SEED)`."""

    places: Tensor
    """(n, 2) within [-1, 1]"""
    values: dict[str, Tensor]
    """(n,) each: density, realism where something judges it, class where there is a classifier, attributes."""
    real_places: Tensor | None
    """(m, 2) of the first real images."""
    features: Tensor
    """(n, F) of the samples, to place other pictures by."""

    def at(self, features: Tensor) -> Tensor:
        """Places (k, 2) of pictures by their features (k, F): among the nearest samples.

        None, (0, 2), of features of another number: coarse pictures of a snapshot that was opened while the machine was less busy
        than before, or busier, may have another side (`Renderer._pace`).
        """
        if features.shape[1] != self.features.shape[1]:
            return features.new_empty(0, 2)
        return _among(features, self.features, self.places)


def _among(features: Tensor, known: Tensor, places: Tensor) -> Tensor:
    away, which = torch.cdist(features, known).topk(min(NEAREST, len(known)), largest=False)
    # A twin decides alone; otherwise the nearer ones count more.
    weight = (away[:, :1] + 1e-6) / (away + 1e-6)
    found: Tensor = (places[which] * weight[:, :, None]).sum(1) / weight.sum(1)[:, None]
    return found


def samples_of(renderer: Renderer) -> int:
    """How many samples the map of a model shows."""
    return MAP.affords(SLOW, renderer.view.seconds) if renderer.slow else SAMPLES


def landscape(renderer: Renderer, n: int | None = None, progress: Progress = silent) -> Landscape:
    """The map of a model, from the user's cache when it was drawn before with the same ratio and real images.

    n samples, by default as many as `samples_of`, or as were drawn before where pictures take long; those are then the coarse
    ones, and without what judges say.
    """
    any_number = n is None and renderer.slow
    n = samples_of(renderer) if n is None else n
    made_of: dict[str, object] = {
        "n": n, "real": None if renderer.view.real is None else _mark(renderer.view.real.images[:REALS]),
        "judge": _judge(renderer),
    }  # fmt: skip
    if renderer.view is not renderer:
        made_of["side"] = renderer.view.model.shape[1]
    if renderer.plots:  # before, their pictures were measured
        made_of["measured"] = "series"
    if max(renderer.view.model.shape[1:]) > SMALL:  # before, they were compared pixel by pixel
        made_of["seen"] = SMALL
    path = renderer.kept("landscape")
    if path is None:
        return _draw(renderer, n, progress)
    try:
        tensors, header = io.load_tensors(path)
        before = header.get("made_of")
        if any_number and isinstance(before, dict) and "n" in before:
            made_of["n"] = before["n"]
        if header.get("kind") == "landscape" and before == made_of:
            values = {
                k.removeprefix("value."): v.float() for k, v in tensors.items() if k.startswith("value.")
            }
            kept = Landscape(
                tensors["places"], values, tensors.get("real_places"), tensors["features"].float()
            )
            if _fits(kept, len(kept.places) if any_number else n):
                return kept
    except (GanvasError, KeyError):
        pass
    made_of["n"] = n
    found = _draw(renderer, n, progress)
    tensors = {"places": found.places, "features": found.features.half()}
    tensors |= {f"value.{name}": each for name, each in found.values.items()}
    if found.real_places is not None:
        tensors["real_places"] = found.real_places
    # A cache that cannot be written only costs time.
    with suppress(GanvasError), io.atomic(path) as temporary:
        io.save_tensors(temporary, tensors, {"kind": "landscape", "made_of": made_of})
    return found


def _judge(renderer: Renderer) -> str:
    """What says how real samples look: of one generator there may be files with a critic and without."""
    if renderer.ratio is not None:
        return f"{renderer.ratio.report.critic} {renderer.ratio.mark}"
    critic = renderer.view.model.critic
    return "nothing" if critic is None or not renderer.gauge.judges else f"critic {hash_of(critic)}"


def _mark(images: Tensor) -> str:
    """Of the pictures themselves: others may have the same name and number."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    digest.update(images.contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _fits(kept: Landscape, n: int) -> bool:
    """Whether a map of the cache is a whole one."""
    real = kept.real_places
    numbers = (kept.places, kept.features, *kept.values.values(), *([] if real is None else [real]))
    return (
        tuple(kept.places.shape) == (n, 2) and "density" in kept.values
        and all(each.is_floating_point() and bool(each.isfinite().all()) for each in numbers)
        and all(tuple(each.shape) == (n,) for each in kept.values.values())
        and kept.features.ndim == 2 and len(kept.features) == n
        and (real is None or (real.ndim == 2 and real.shape[1] == 2))
    )  # fmt: skip


def _draw(renderer: Renderer, n: int, progress: Progress) -> Landscape:
    view = renderer.view
    model = view.model
    features, scores = [], []
    measures = attributes_of(renderer.drawn)
    shown: dict[str, list[Tensor]] = {name: [] for name in measures}
    labels = view.space.labels(n, None)
    done = 0
    size = ROWS if renderer.slow else min(each.at_once for each in (model, renderer.drawn))
    batches = model.batches(n, seed=SEED, batch=size)
    curves = renderer.drawn.batches(n, seed=SEED, batch=size) if renderer.plots else None
    while done < n:
        with renderer.turn(MAP):
            images = next(batches).cpu()
        features.append(view.gauge.features(images))
        label = None if labels is None else labels[done : done + len(images)]
        with torch.no_grad():
            if (judged := view.gauge.scores(images, label)) is not None:
                scores.append(judged)
        samples = images if curves is None else next(curves).cpu()
        for name, rows in shown.items():
            rows.append(measures[name](samples).double())
        done += len(images)
        progress("samples", done, n)
    together = torch.cat(features)
    progress("places", 0, 1)
    few = min(LANDMARKS, n)
    spots = torch.from_numpy(place(together[:few].double().numpy(), "tsne", SEED)).float()
    places = torch.cat([spots, _among(together[few:], together[:few], spots)]) if n > few else spots
    # Samples between the same landmarks would lie upon one another.
    near = float((spots.amax(0) - spots.amin(0)).mean()) / 150
    shift = torch.randn(n - few, 2, generator=torch.Generator().manual_seed(SEED)) * near
    places[few:] += shift
    progress("density", 0, 1)
    from sklearn.neighbors import NearestNeighbors

    away, _ = NearestNeighbors(n_neighbors=6).fit(together.numpy()).kneighbors(together.numpy())
    values = {"density": torch.from_numpy(-np.log(away[:, 1:].mean(1) + 1e-12)).float()}
    if scores:
        values["realism"] = torch.cat(scores).float()
    if (kinds := view.gauge.kinds(together)) is not None:
        values["class"] = kinds.float()
    values |= {name: torch.cat(rows).float() for name, rows in shown.items()}
    real_places = None
    if view.real is not None:
        real_places = _among(view.gauge.features(view.real.images[:REALS]), together, places)
    middle, reach = (
        (places.amax(0) + places.amin(0)) / 2,
        (places.amax(0) - places.amin(0)).clamp(min=1e-9) / 2,
    )
    scaled = (places - middle) / reach
    return Landscape(
        scaled, values, None if real_places is None else (real_places - middle) / reach, together
    )


def colour_names(renderer: Renderer) -> tuple[str, ...]:
    """Names of the classes that the value `class` numbers."""
    return class_names(renderer.model)
