"""Directions of a latent space: what one is, how it is measured, used, and kept in a file.

A `Direction` lives in one space of one model and carries its units: one standard deviation of the space along it, and how
far that moves a sample in feature distance. Methods that find them are in `finders`, `learned` and `supervised`.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganvas import arrays, io, notebook, pictures
from ganvas.checkpoint import is_hash
from ganvas.device import stream
from ganvas.errors import PATH, GanvasError, expect
from ganvas.latent.attributes import attributes_of
from ganvas.latent.finders import finders
from ganvas.latent.paths import Perception, pyramid, rows_seen
from ganvas.latent.space import LatentSpace, open_space, spaces
from ganvas.model import SHOWN_VALUES, Model, known
from ganvas.types import Progress, silent

EFFECT_SAMPLES, HELD = 128, 2**26
"""Samples that effects are measured on, and numbers of them that are held together: of 1,024 px they take 10 GB."""
COST_SIGMAS = 2.0
STRENGTHS = (-4.0, -2.0, 0.0, 2.0, 4.0)
STRIP = 400
"""Pixels that they are drawn over."""
SHOWN = 8
"""Directions that a notebook shows of a list."""
CONTROLS = 32
"""Random directions that the effect of others is compared with."""


class Chance(NamedTuple):
    """What random directions do."""

    effect: float
    """Mean feature distance that one sigma along `CONTROLS` random directions moves a sample."""
    error: float
    """Its standard error."""

    def times(self, effect: float) -> tuple[float, float]:
        """An effect in units of the random ones, and the standard error that these leave."""
        found = effect / max(self.effect, 1e-12)
        return found, found * self.error / max(self.effect, 1e-12)


@dataclass(frozen=True)
class Direction:
    """A unit vector of a space, with what it does."""

    name: str
    vector: Tensor = field(repr=False)
    """(*shape) of the space, of unit length."""
    space: str
    model: str
    """Hash of the generator's weights."""
    method: str
    sigma: float
    """Standard deviation of the space's own points along the vector: the unit of strengths."""
    effect: float = 0.0
    """Mean feature distance that one sigma moves a sample."""
    score: float = 0.0
    """What the method ranks by: explained share, eigenvalue, or accuracy of an attribute's hyperplane."""
    layers: tuple[int, ...] = ()
    """Rows of w+ that an edit touches; empty: all."""
    effects: Mapping[str, float] = field(default_factory=dict)
    """Attribute -> its mean change by one sigma, in its standard deviations over samples."""
    cost: float | None = None
    """How far two sigmas either way lower the critic score, in its standard deviations over samples; None without a critic."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """How it came to be: seed, options, version of ganvas."""

    def _repr_html_(self) -> str:
        """What a notebook shows: a sample moved along it, where its model is in use."""
        return Directions([self])._repr_html_()


class Directions(list[Direction]):
    """Several of them, which a notebook shows below each other."""

    def _repr_html_(self) -> str:
        parts = []
        for each in self[:SHOWN]:
            words = f"{each.space}, by {each.method}: one sigma moves a sample by a feature distance of {each.effect:.3g}"
            words += (
                f"; mostly {most}"
                if (most := max(each.effects, key=lambda k: abs(each.effects[k]), default=""))
                else ""
            )
            parts.append(notebook.card(each.name, notebook.line(words), _strip(each)))
        if len(self) > SHOWN:
            parts.append(notebook.line(f"and {len(self) - SHOWN} more"))
        return "".join(parts)


@torch.no_grad()
def _strip(direction: Direction) -> str:
    """The first sample at `STRENGTHS` along a direction, as HTML; in words where its model is not in use, or is slow."""
    model = known(direction.model)
    if model is None:
        return notebook.line(f"of a model that is not open here ({direction.model})")
    if len(model.shape) == 1 or len(STRENGTHS) * math.prod(model.shape) > SHOWN_VALUES:
        return notebook.line("its samples are too large to be drawn here: ganvas.edit draws them")
    space = open_space(model, "w+" if direction.layers and direction.space == "w" else direction.space)
    points = space.numbered(1).expand(len(STRENGTHS), *space.shape)
    moved = edit(space, points, direction, torch.tensor(STRENGTHS))
    labels = space.labels(1, None)
    drawn = space.decode(moved, None if labels is None else labels.expand(len(STRENGTHS)))
    picture = pictures.grid(model.shown(model.to_data(drawn).cpu()), columns=len(STRENGTHS), min_width=STRIP)
    heads = ", ".join(f"{strength:g}" for strength in STRENGTHS)
    return notebook.line(f"at {heads} sigmas:") + notebook.picture(picture, direction.name)


def find(
    space: LatentSpace,
    method: str,
    count: int = 8,
    seed: int = 0,
    see: Perception = pyramid,
    progress: Progress = silent,
) -> list[Direction]:
    """`count` directions of a space by a method from `finders`, each measured, best first."""
    count, seed = arrays.count(count, "count, the number of directions,"), arrays.seed(seed)
    progress(f"directions by {method}", 0, 1)
    return named(
        space, method, *finders.get(method)(space, count, seed), {"seed": seed}, see, progress=progress
    )


def named(
    space: LatentSpace,
    method: str,
    vectors: Tensor,
    scores: Tensor,
    made: Mapping[str, Any],
    see: Perception = pyramid,
    progress: Progress = silent,
) -> list[Direction]:
    """Unit vectors (k, D) and their scores (k,) as measured directions called `method-0`, `method-1`, ..."""
    raw = unmeasured(space, method, vectors, scores, made)
    progress("effects of the directions", 0, len(raw))
    start, found = unmoved(space), Directions()
    for each in raw:
        progress("effects of the directions", len(found), len(raw))
        found.append(measured(space, each, see, start))
    return found


def unmeasured(
    space: LatentSpace, method: str, vectors: Tensor, scores: Tensor, made: Mapping[str, Any]
) -> list[Direction]:
    """The same with no more than their sigma, for which nothing is drawn; without those along which all points are the same."""
    mark, made = space.model.hash, {"version": version("ganvas"), **made}
    found = []
    for i, (vector, score) in enumerate(zip(vectors.cpu(), scores, strict=True)):
        vector = vector.reshape(space.shape)
        sigma = space.sigma(vector.to(space.model.device))
        found.append(
            Direction(f"{method}-{i}", vector, space.name, mark, method, sigma, score=float(score), made=made)
        )
    # A file with another among them could not be opened again. Of a collapsed model there are no others: pages show those.
    return [each for each in found if each.sigma > 0] or found


class Unmoved(NamedTuple):
    """The space's own points before a direction moves them, and their samples."""

    points: Tensor
    labels: Tensor | None
    drawn: Tensor | None
    """None of large ones: those are drawn anew, some at a time."""


@torch.no_grad()
def unmoved(space: LatentSpace, samples: int = EFFECT_SAMPLES) -> Unmoved:
    """So many of them."""
    points, labels = space.few(samples)
    fits = len(points) * math.prod(space.model.shape) <= HELD
    return Unmoved(points, labels, space.decode(points, labels) if fits else None)


def _parts(space: LatentSpace, points: Tensor) -> Sequence[Tensor]:
    """Rows of points whose samples are looked at together: all of them, of large samples some."""
    fits = len(points) * math.prod(space.model.shape) <= HELD
    rows = torch.arange(len(points), device=points.device)
    found: Sequence[Tensor] = rows.split(len(points) if fits else rows_seen(space))
    return found


@torch.no_grad()
def measured(
    space: LatentSpace, direction: Direction, see: Perception = pyramid, start: Unmoved | None = None
) -> Direction:
    """The same direction with sigma, effect, effects and cost measured on the space's own points."""
    vector = direction.vector.to(space.model.device)
    direction = replace(direction, sigma=space.sigma(vector))
    points, labels, known = unmoved(space) if start is None else start
    measures, scorer = attributes_of(space.model), space.scorer
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    real, far = list[Tensor](), list[Tensor]()
    moved = points.new_empty(len(points))
    for rows in _parts(space, points):
        at, label = points[rows], None if labels is None else labels[rows]
        before = space.decode(at, label) if known is None else known[rows]
        after = space.decode(edit(space, at, direction, 1.0), label)
        moved[rows] = (see(after) - see(before)).norm(dim=1)
        for name, attribute in measures.items():
            values[name].append(
                torch.stack([attribute(space.model.to_data(each)) for each in (before, after)])
            )
        if scorer is not None:
            real.append(scorer.scores(before, label))
            for strength in (-COST_SIGMAS, COST_SIGMAS):
                far.append(scorer.scores(space.decode(edit(space, at, direction, strength), label), label))
    effects = {}
    for name, parts in values.items():
        first, then = torch.cat(parts, 1)
        effects[name] = float((then - first).mean() / first.std().clamp(min=1e-9))
    cost = None
    if scorer is not None:
        own = torch.cat(real)
        cost = float((own.mean() - torch.cat(far).mean()) / own.std().clamp(min=1e-9))
    return replace(direction, effect=float(moved.mean()), effects=effects, cost=cost)


@torch.no_grad()
def chance(space: LatentSpace, see: Perception = pyramid, progress: Progress = silent) -> Chance:
    """The effect of random directions: always the same ones of a space, however many directions are compared with them."""
    points, labels = space.few(EFFECT_SAMPLES)
    parts = _parts(space, points)
    total = CONTROLS * len(parts)
    progress("effects of random directions", 0, total)
    vectors = torch.randn(CONTROLS, *space.shape, generator=stream(0, "random effects")).to(points)
    steps = [space.sigma(unit) * unit for unit in (vector / vector.norm() for vector in vectors)]
    # Of one piece: a little tensor kept from each step leaves a hole where a large one was, gigabytes in all.
    moved = points.new_empty(len(steps), len(points))
    for done, rows in enumerate(parts):
        at, label = points[rows], None if labels is None else labels[rows]
        before = see(space.decode(at, label))
        for i, step in enumerate(steps):
            progress("effects of random directions", done * CONTROLS + i, total)
            moved[i, rows] = (see(space.decode(at + step, label)) - before).norm(dim=1)
    effects = torch.tensor([float(each.mean()) for each in moved], dtype=torch.float64)
    return Chance(float(effects.mean()), float(effects.std() / CONTROLS**0.5))


def edit(space: LatentSpace, points: Tensor, direction: Direction, strength: float | Tensor) -> Tensor:
    """points (n, *shape) moved by `strength` sigmas, a number or one for each point (n,)."""
    if direction.space != space.name and not (direction.space == "w" and space.name == "w+"):
        raise GanvasError(
            f"The direction {direction.name!r} is one of {direction.space!r}, the points are of {space.name!r}."
        )
    points = space.check(points)
    step = (direction.vector.to(points) * direction.sigma).expand(space.shape).clone()
    if direction.layers:
        if space.name != "w+":
            raise GanvasError("Layers can be chosen in w+ only. Open the space w+.")
        keep = torch.zeros(space.shape[0], 1, device=points.device)
        keep[list(direction.layers)] = 1
        step = step * keep
    amount = torch.as_tensor(strength, dtype=points.dtype, device=points.device)
    if amount.dim() > 1 or (amount.dim() and len(amount) not in (1, len(points))):
        raise GanvasError(
            f"strength is one number or one for each of the {len(points)} points, got {tuple(amount.shape)}."
        )
    if not torch.isfinite(amount).all():
        raise GanvasError("A strength must be finite; there are NaN or infinite ones.")
    amount = amount.reshape(-1, *[1] * len(space.shape))
    return points + amount * step


def check_model(direction: Direction, model: Model) -> None:
    """Raise `GanvasError` for a direction of other weights: in its space it means nothing."""
    if not is_hash(direction.model, model.hash):
        raise GanvasError(
            f"The direction {direction.name!r} is of another model ({direction.model}, this one is {model.hash}). Find it anew; "
            "if both share their latents, dataclasses.replace(direction, model=model.hash) says so."
        )


def without(space: LatentSpace, vector: Tensor, others: Sequence[Direction]) -> Tensor:
    """A vector (D,) less its part in the span of `others`, at unit length: conditional manipulation (Shen et al. 2020, 3.2).

    Projected where the space is white. In z that is the published projection; in w, whose coordinates depend on each other, it
    leaves the linear scores of the others where they were and stays among likely points. Raises `GanvasError` when nothing
    is left.
    """
    white = space.whiten(vector[None].to(space.model.device))[0]
    length = white.norm()
    if others:
        rows = space.whiten(torch.stack([other.vector.flatten() for other in others]).to(space.model.device))
        basis, _ = torch.linalg.qr(rows.t())
        white = white - basis @ (basis.t() @ white)
    if white.norm() < 1e-6 * length:
        raise GanvasError("Nothing is left of the direction after the projection: the kept ones contain it.")
    found = space.unwhiten(white[None])[0]
    unit: Tensor = (found / found.norm()).float().cpu()
    return unit


def keeping(space: LatentSpace, direction: Direction, others: Sequence[Direction]) -> Direction:
    """The direction less what `others` do, measured anew."""
    vector = without(space, direction.vector.flatten(), others).reshape(space.shape)
    made = {**direction.made, "kept": [other.name for other in others]}
    return measured(space, replace(direction, vector=vector, made=made))


def check_moves(directions: Sequence[Direction]) -> None:
    """Raise `GanvasError` where none moves anything: a file of them could not be opened again."""
    if directions and not any(each.sigma for each in directions):
        raise GanvasError(
            f"All points of {directions[0].space} are the same along what {directions[0].method} finds: the model has collapsed "
            "there. Take another --space."
        )


def save(path: str | os.PathLike[str], directions: Sequence[Direction]) -> None:
    """Write directions as one .safetensors file with everything but the vectors in its JSON header."""
    expect(path, PATH, "path", "the name of a .safetensors file")
    rows = [
        {k: v for k, v in asdict(replace(d, vector=torch.empty(0))).items() if k != "vector"}
        for d in directions
    ]
    with io.atomic(Path(path)) as temporary:
        tensors = {str(i): d.vector for i, d in enumerate(directions)}
        io.save_tensors(temporary, tensors, {"kind": "directions", "directions": rows})


def load_directions(path: str | os.PathLike[str], model: Model | None = None) -> list[Direction]:
    """The directions of a file. Raises `GanvasError` when they are of another model than `model`."""
    expect(path, PATH, "path", "a file of `ganvas directions`")
    tensors, header = io.load_tensors(Path(path))
    if header.get("kind") != "directions":
        raise GanvasError(f"{path} holds a {header.get('kind')}, expected directions.")
    try:
        found = [_checked(tensors[str(i)], row) for i, row in enumerate(header["directions"])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GanvasError(f"{path} has a damaged header: {error!r}.") from error
    mark = None if model is None else model.hash
    if mark and not all(is_hash(each.model, mark) for each in found):
        raise GanvasError(f"{path} holds directions of another model ({found[0].model}, this one is {mark}).")
    if model is not None:
        # Once for each space, not for each direction: the shape of a hidden layer takes two samples.
        shapes = {name: open_space(model, name).shape for name in dict.fromkeys(each.space for each in found)}
        rows = open_space(model, "w+").shape[0] if "w+" in spaces(model) else 0
        for each in found:
            if any(layer >= rows for layer in each.layers):
                raise GanvasError(
                    f"{path} is damaged: {each.name!r} has the layers {each.layers}, this model {rows}."
                )
            if each.vector.shape != shapes[each.space]:
                raise GanvasError(
                    f"{path} is damaged: {each.name!r} has {tuple(each.vector.shape)} numbers, {each.space} of this model "
                    f"{shapes[each.space]}."
                )
    return found


def _checked(vector: Tensor, row: Mapping[str, Any]) -> Direction:
    """A direction of a file. Raises `TypeError` or `ValueError` unless all of it is what a direction has."""
    made = Direction(vector=vector, **{**row, "layers": tuple(row["layers"])})
    if vector.dtype != torch.float32 or not torch.isfinite(vector).all() or not vector.any():
        raise ValueError(f"the vector of {made.name!r} is of {vector.dtype}, zero, or not finite")
    if not all(isinstance(each, str) for each in (made.name, made.space, made.model, made.method)):
        raise ValueError("name, space, model and method are texts")
    if not isinstance(made.made, dict):
        raise ValueError("made is an object")
    numbers = [
        made.sigma,
        made.effect,
        made.score,
        *made.effects.values(),
        *([] if made.cost is None else [made.cost]),
    ]
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
        raise ValueError(f"a number of {made.name!r} is not finite")
    if made.sigma <= 0 or not all(type(layer) is int and 0 <= layer < 1000 for layer in made.layers):
        raise ValueError(f"{made.name!r} has a sigma of {made.sigma} and the layers {made.layers}")
    return made
