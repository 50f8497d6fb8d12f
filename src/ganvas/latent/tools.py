"""The commands of the latent space as functions of a model: what `ganvas.walk`, `ganvas.invert` and the others are.

Each takes a `Model`, or a `LatentSpace` where another one than the model's usual is wanted, and draws the
same as its command.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as File
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays, io, pictures
from ganvas.errors import PATH, GanvasError, expect
from ganvas.latent import directions, supervised
from ganvas.latent import invert as inversion
from ganvas.latent import map as maps
from ganvas.latent.directions import Direction, Directions
from ganvas.latent.encoder import encode, has_encoder, own_encoder, train_encoder
from ganvas.latent.invert import BEYOND, OUTSIDE, Inversion
from ganvas.latent.learned import learn
from ganvas.latent.map import Map
from ganvas.latent.paths import (
    equal_steps,
    geodesic,
    last_key,
    step_lengths,
    style_mixing,
    through,
    variation,
)
from ganvas.latent.space import LatentSpace, open_space
from ganvas.model import Model
from ganvas.notebook import shown
from ganvas.series import Schema
from ganvas.types import Progress, counted_samples, silent

Kind = Literal["auto", "linear", "spherical", "spline", "geodesic", "mixing"]
BATCH = 64
STEPS, ROUNDS = 100, 3
"""Of a geodesic and of equal steps."""
STARTS = "starts that look alike"
STRIP = 12
"""Pictures in a row of a strip."""
MOST_KEYS, MOST_FRAMES = 1000, 100_000
"""Of a walk: a point and a sample each, whatever the film is."""


@dataclass(frozen=True, repr=False)
class Walk:
    """Samples on a way through a space."""

    samples: Tensor
    """uint8 (T, C, H, W), series (T, C, steps), or points (T, D)."""
    points: Tensor
    """(T, *shape) of the space."""
    space: str
    figures: Mapping[str, float]
    """How evenly the pictures change (coefficient of variation of their steps), or the energy of a geodesic."""
    columns: int
    schema: Schema | None = None
    """Of series: what their channels are."""

    def save(self, out: str | File, fps: float = 24.0) -> None:
        """Write a film (.gif, .webp, .mp4), a strip (.png); series, as `pictures.write_samples` does, or points as arrays."""
        expect(out, PATH, "out", "the name of a .gif, .webp, .mp4 or .png")
        out = File(out)
        if self.samples.dim() == 2 or (self.samples.dim() == 3 and out.suffix in (".csv", ".npz", ".npy")):
            pictures.write_samples([self.samples], len(self.samples), out, self.schema)
        elif out.suffix == ".png":
            rows = -(-len(self.samples) // self.columns)
            pictures.check_table(rows, self.columns, self.samples.shape[1:])
            io.write_bytes(out, self._repr_png_() or b"")
        else:
            pictures.check_film(out, fps)
            pictures.save_animation(pictures.shown(self.samples, self.schema), out, fps)

    def __repr__(self) -> str:
        figures = "".join(f", {name.replace('_', ' ')} {value:.3g}" for name, value in self.figures.items())
        return f"Walk({counted_samples(len(self.samples), self.samples.shape[1:])} through {self.space}{figures})"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the strip."""
        if self.samples.dim() == 2:
            return None
        return pictures.png(pictures.grid(pictures.shown(self.samples, self.schema), columns=self.columns))


def space_of(model: Model | LatentSpace, space: str | None = None) -> LatentSpace:
    """The space called `space` of a model, by default w where there is one, else z; a space is taken as it is."""
    if isinstance(model, LatentSpace):
        if space is not None and space != model.name:
            raise GanvasError(f"This is the space {model.name!r}; give its model to open {space!r}.")
        return model
    if not isinstance(model, Model):
        raise GanvasError(
            f"Expected a Model or one of its spaces, got a {type(model).__name__}. Open one: ganvas.load(path)"
        )
    return open_space(model, space)


@shown
def walk(
    model: Model | LatentSpace, *, kind: Kind = "auto", keys: int = 4, frames: int = 60, loop: bool = False,
    equal: bool = False, labels: Sequence[int] | Tensor | None = None, layers: int = 3, seed: int = 0,
    space: str | None = None, progress: Progress = silent,
) -> Walk:  # fmt: skip
    """A walk through random key points, as `ganvas walk` takes it.

    `kind`: `auto` is a straight line in flat spaces and a great circle in z; `spline` is smooth through all
    keys; `geodesic` is the shortest way between the first two as the pictures see it; `mixing` crosses keys
    in w+, `layers` coarse ones by row. `equal` makes every picture differ from the one before by the same
    amount. `labels` (keys,) are the classes of the keys; a geodesic has that of the first.
    `progress` hears what is being done, how much of it is done, and of how much.
    """
    keys, frames = arrays.count(keys, "keys", 2, MOST_KEYS), arrays.count(frames, "frames", 2, MOST_FRAMES)
    where = space_of(model, "w+" if kind == "mixing" and space is None else space)
    owner = where.model
    if kind == "mixing":
        pictures.check_table(keys // 2 + 1, keys - keys // 2 + 1, owner.shape)
        pictures.check_series(keys // 2 * (keys - keys // 2), owner.shape, "Take fewer --keys.")
    else:
        pictures.check_walk(frames, owner.shape)
    classes = owner.labels(keys, labels)
    if labels is not None and (named := arrays.as_tensor(labels, "labels").numel()) > keys:
        raise GanvasError(f"There are {named} labels for {keys} keys. Give fewer, or more keys (--keys).")
    figures: dict[str, float] = {}
    columns = STRIP
    with torch.no_grad():
        points = where.numbered(keys, seed, classes)
    chosen = None
    if kind == "mixing":
        half = keys // 2
        columns = keys - half
        way = style_mixing(where, points[:half], points[half:], layers)
    elif kind == "geodesic":
        first = None if classes is None else classes[:1]
        way, energies = geodesic(
            where, points[0], points[1], frames, STEPS,
            advance=lambda done: progress("steps of the geodesic", done, STEPS), label=first,
        )  # fmt: skip
        chosen = where.labels(len(way), first)
        figures |= {"energy_before": energies[0], "energy_after": min(energies)}
    else:
        path = through(where, points, kind, loop)

        def labels_at(times: Tensor) -> Tensor | None:
            if classes is None:
                return None
            return classes[last_key(times, keys, loop)].to(owner.device)

        times = torch.linspace(0, 1, frames, dtype=torch.float64)
        progress("how evenly the pictures change", 0, 1)
        figures["variation_before"] = variation(step_lengths(where, path(times), labels_at(times)))
        if equal:
            times = equal_steps(
                where, path, frames, labels_at, rounds=ROUNDS,
                advance=lambda done: progress("rounds of equal steps", done, ROUNDS),
            )  # fmt: skip
            figures["variation_after"] = variation(step_lengths(where, path(times), labels_at(times)))
        way, chosen = path(times), labels_at(times)
    with torch.no_grad():
        size = min(BATCH, owner.at_once)  # 64 of 1,024 px take 3 GB

        def drawn() -> Iterator[Tensor]:
            for i, (part, label) in enumerate(arrays.split(way, chosen, size)):
                progress("frames", i * size, len(way))
                yield owner.to_data(where.decode(part, label)).cpu()

        samples = arrays.joined(drawn(), len(way))
    return Walk(samples, way, where.name, figures, min(columns, len(way)), owner.info.series)


def check_method(
    method: str, attribute: str | None, scores: str | File | None, keep: Sequence[str] = ()
) -> None:
    """Raise `GanvasError` unless an attribute, or scores, and what is kept, come with the method `attribute` and no other."""
    if keep and method != "attribute":
        raise GanvasError(
            f"--keep leaves attributes alone along the direction of another one; method {method!r} knows of none. Omit it, or "
            "edit with --keep: ganvas edit MODEL --direction FILE --keep NAME."
        )
    if (method == "attribute") != bool(attribute or scores) or (attribute and scores):
        raise GanvasError(
            "--method attribute needs --attribute NAME (brightness, contrast, width, height, slant or class:NAME; of series "
            "trend, volatility, period, amplitude or level) or --scores FILE, and no other method takes them."
        )


@shown
def find_directions(
    model: Model | LatentSpace,
    method: str = "pca",
    count: int = 8,
    *,
    seed: int = 0,
    space: str | None = None,
    attribute: str | None = None,
    scores: str | File | None = None,
    keep: Sequence[str] = (),
    samples: int = 2000,
    steps: int = 2000,
    state: str | File | None = None,
    progress: Progress = silent,
) -> list[Direction]:
    """`count` directions by a method of `ganvas directions`, each measured, best first.

    `learned` trains a network for `steps` steps, and resumes after an interruption from a file beside `state`, in
    whose name it says which job it is.
    The method `attribute` takes the name of an `attribute`, scored on `samples` samples of `seed`, or a file
    of `scores` (`ganvas.latent.supervised.read_scores`), and gives one direction, without the part of the
    attributes of `keep`. `progress` hears what is being done, how much of it is done, and of how much.
    Raises `GanvasError` for an unknown method or attribute.
    """
    check_method(method, attribute, scores, keep)
    where = space_of(model, space)
    if attribute is not None:
        progress(f"scores of {samples:,} samples", 0, 1)
    if scores is not None:
        progress(f"scores of {File(scores).name}", 0, 1)
        return Directions([supervised.from_scores(where, File(scores), keep, samples, seed)])
    if attribute is not None:
        return Directions([supervised.from_attribute(where, attribute, keep, samples, seed)])
    if method == "learned":
        path = None if state is None else File(state)
        hear = partial(progress, "learning directions")
        made = learn(where, count, seed, steps=steps, state=path, progress=hear)
        return directions.named(where, method, *made, {"seed": seed, "steps": steps}, progress=progress)
    return directions.find(where, method, count, seed, progress=progress)


def edit(
    model: Model | LatentSpace, numbers: Sequence[int], direction: Direction, strengths: Sequence[float], *, seed: int = 0
) -> Tensor:  # fmt: skip
    """Samples by number at each of the strengths, in sigmas, of a direction: uint8 (numbers, strengths, C, H, W)."""
    expect(direction, Direction, "direction", "one of ganvas.find_directions(model)")
    expect(strengths, (Sequence, Tensor, np.ndarray), "strengths", "numbers of sigmas, say [-2, 0, 2]")
    if not len(strengths):
        raise GanvasError("strengths is empty; give numbers of sigmas, say [-2, 0, 2].")
    amounts = [arrays.number(each, "a strength") for each in strengths]
    where = space_of(model, direction.space if isinstance(model, Model) else None)
    directions.check_model(direction, where.model)
    points, labels = where.at(numbers, seed), where.model.labels_at(numbers)
    labels = None if labels is None else labels.to(where.model.device)
    with torch.no_grad():
        rows = [where.decode(directions.edit(where, points, direction, each), labels) for each in amounts]
    return torch.stack([where.model.to_data(row).cpu() for row in rows], 1)


@shown
def invert(
    model: Model | LatentSpace,
    images: Any,
    *,
    method: Literal["optimise", "encoder", "hybrid", "tune"] = "optimise",
    space: str | None = None,
    encoder: str | File | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Inversion:
    """The points whose samples look most like `images`: uint8, one or several, channels first or last, array or tensor; or
    floats (n, C, H, W) in the generator's range.

    `optimise` descends from several starts; `encoder` is one pass of the model's own encoder or, without one or
    with a file `encoder`, of a network that is trained on the model's own samples and kept in the file; `hybrid`
    descends from what the encoder says; `tune` then changes a copy of the generator until it draws the images, which is the
    result's `tuned`. `options` are those of `ganvas.latent.invert.invert`: steps, restarts, newton, labels,
    seed ... `progress` hears what is being done, how much of it is done, and of how much.
    """
    if method not in ("optimise", "encoder", "hybrid", "tune"):
        raise GanvasError(f"Unknown method {method!r}. Use optimise, encoder, hybrid or tune.")
    if method == "optimise" and encoder is not None:
        raise GanvasError(
            "encoder would do nothing: method 'optimise' asks none. Use encoder, hybrid or tune."
        )
    where, targets = space_of(model, space), arrays.as_tensor(images, "images")
    shape = tuple(where.model.shape)
    if tuple(targets.shape) in (shape, (*shape[1:], shape[0]), shape[1:]):
        targets = targets[None]  # one
    if targets.dtype == torch.uint8 and targets.dim() in (3, 4):
        targets = arrays.channels_first(targets, "images")
    beyond = len(shape) == 2 and bool((targets.abs() > BEYOND).any())
    # Prices of a later year are higher than all that was learned.
    targets = targets.clamp(-1, 1) if beyond else targets
    seed = options.get("seed", 0)
    found = None
    if method != "optimise":
        path = None if encoder is None else File(encoder)
        progress("encoder", 0, 1)
        if path is None and has_encoder(where.model):
            found = own_encoder(where, targets)
        else:
            trained = train_encoder(where, seed=seed, path=path, progress=partial(progress, "encoder"))
            found = encode(where, trained, targets, labels=options.get("labels"))
    if method != "encoder":
        if found is not None:
            options |= {"start": found.points, "labels": found.labels}
        heard = {"progress": partial(progress, "descent"), "starts": partial(progress, STARTS)}
        found = inversion.invert(where, targets, **{**heard, **options})
    assert found is not None
    if method == "tune":
        steps = {name: options[name] for name in ("steps",) if name in options}
        tuned, found = inversion.tune(
            where, found, targets, seed=seed, progress=partial(progress, "tuning"), **steps
        )
        found = replace(found, tuned=tuned)
    return replace(found, notes=(*found.notes, OUTSIDE)) if beyond else found


def map(model: Model | LatentSpace, *, space: str | None = None, **options: Any) -> Map:
    """A map of the model's samples; `options` are those of `ganvas.latent.map.draw_map`: n, method, seed, real ..."""
    return maps.draw_map(space_of(model, space), **options)
