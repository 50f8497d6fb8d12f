"""Which hidden units of a generator draw what: agreement with concepts, ablation and insertion (Bau et al. 2019).

A unit is one channel of one layer. A concept is a mask over pixels (stroke, edge, or a person's own), or a
number for each picture (a class by the classifier, a measured attribute, the critic score).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.features.base import grey_or_rgb
from ganvas.latent.attributes import attributes
from ganvas.latent.critic import CRITIC_SCORE
from ganvas.latent.hooks import hooked
from ganvas.latent.paths import rows_seen
from ganvas.latent.space import LatentSpace, layers_of
from ganvas.latent.supervised import scores_of
from ganvas.model import ROWS, Model
from ganvas.model_data import class_names, classifier_of
from ganvas.notebook import shown
from ganvas.registry import did_you_mean
from ganvas.types import Progress, kind_of, silent

TOP = 0.2
"""A unit is on where it is among its highest fifth over all pixels and pictures."""
INSERTED = 0.1
"""An inserted unit is set to its mean map over this share of the pictures, those where it is strongest."""
CANDIDATES = 4
"""So many times the units are tried one by one; those with the strongest effect are switched."""
MEASURED, MOVED = 256, 12
"""Samples that the change is measured on, and of those that are shown."""
MOST_SORTED = 1_000_000
"""Values that the highest fifth is found among."""
SIDE, LARGEST = 16, 128
"""Of the maps that are compared with masks, and of those that say where a unit is on."""
HELD, UNITS = 3 * 2**30, 32
"""Bytes that the maps of all samples may take (512 of StyleGAN3-R: 2.6 GB), and units that are held against masks at a time."""
LIT = (255.0, 140.0, 0.0)
"""Colour of where a unit is on."""


@dataclass(frozen=True)
class Unit:
    """What one channel agrees with most."""

    layer: str
    index: int
    concept: str
    kind: Literal["mask", "score"]
    agreement: float
    """Mask: intersection over union with where the unit is on. Score: correlation with the unit's mean over the picture."""


@dataclass(frozen=True)
class Dissection:
    """The units of some layers, and every agreement."""

    layers: tuple[str, ...]
    concepts: tuple[str, ...]
    agreement: dict[str, Tensor]
    """Layer -> (units, concepts), masks first."""
    masks: int
    """How many of the concepts are masks."""
    high: dict[str, Tensor]
    """Layer -> what inserted units are set to (units, h, w)."""

    def units(self, concept: str, count: int = 10) -> list[Unit]:
        """The units that agree most with one concept, over all layers; for the critic score, those of the worst pictures."""
        if concept not in self.concepts:
            raise GanvasError(
                f"There is no concept {concept!r}.{did_you_mean(concept, list(self.concepts))} "
                f"There are {', '.join(self.concepts)}."
            )
        column = self.concepts.index(concept)
        found = [
            Unit(layer, i, concept, "mask" if column < self.masks else "score", float(value))
            for layer in self.layers
            for i, value in enumerate(self.agreement[layer][:, column])
        ]
        return sorted(found, key=lambda unit: unit.agreement * (1 if concept == CRITIC_SCORE else -1))[:count]


def drawing_layers(model: Model) -> list[str]:
    """One layer for each size of maps on the way: the last module that gives maps of that size."""
    seen: dict[tuple[int, ...], str] = {}
    with ExitStack() as stack, torch.no_grad():
        for name, module in layers_of(model.generator).items():

            def note(module: object, inputs: object, output: object, name: str = name) -> None:
                if (
                    isinstance(output, Tensor)
                    and output.dim() == 4
                    and output.shape[1] > 4
                    and output.shape[2] > 1
                ):
                    seen[tuple(output.shape[2:])] = name

            stack.enter_context(hooked(module, note))
        labels = model.labels(1)
        model.generator(
            model.latents(1).to(model.device), None if labels is None else labels.to(model.device)
        )
    if not seen:
        raise GanvasError(
            "This generator has no layer that gives maps (B, C, H, W), so it has no units to dissect."
        )
    return list(seen.values())


@torch.no_grad()
def dissect(
    space: LatentSpace,
    layers: Sequence[str] | None = None,
    n: int = 512,
    seed: int = 0,
    masks: Mapping[str, Tensor] | None = None,
) -> Dissection:
    """Agreement of every unit of `layers` (default `drawing_layers`) with every concept, over n samples of `seed`.

    `masks` adds concepts of a person's own: name -> (H, W), 1 where the concept is. Raises `GanvasError` for
    layers that there are none of.
    """
    model = space.model
    _check_images(model)
    n = arrays.count(n, "n, the number of samples,", 2)
    chosen = list(layers or drawing_layers(model))
    modules = layers_of(model.generator)
    for name in chosen:
        if name not in modules:
            raise GanvasError(f"The generator has no layer {name!r}.{did_you_mean(name, list(modules))}")
    size = model.shape[1:]
    own = {name: mask.to(model.device).bool() for name, mask in (masks or {}).items()}
    for name, mask in own.items():
        if tuple(mask.shape) != tuple(size):
            raise GanvasError(f"The mask {name!r} is {tuple(mask.shape)}, the samples are {tuple(size)}.")
    # Whole maps and masks of all samples would be gigabytes: small ones, and means, are kept.
    maps: dict[str, list[Tensor]] = {name: [] for name in chosen}
    means: dict[str, list[Tensor]] = {name: [] for name in chosen}
    pixel: dict[str, dict[int, list[Tensor]]] = {}
    scores: dict[str, list[Tensor]] = {}
    for drawn, label, seen in _drawn(space, chosen, n, seed):
        if not scores:
            _check_room(seen, n)
        for name, output in seen.items():
            maps[name].append(F.adaptive_avg_pool2d(output, min(SIDE, output.shape[2])))
            means[name].append(output.mean((2, 3)).double())
        images = model.to_data(drawn)
        sides = {min(SIDE, output.shape[2]) for output in seen.values()}
        for name, mask in (
            _pixel_masks(images) | {k: v.expand(len(images), -1, -1) for k, v in own.items()}
        ).items():
            for side in sides:
                pixel.setdefault(name, {}).setdefault(side, []).append(_small(mask, side).cpu())
        for name, value in _scores(space, images, label).items():
            scores.setdefault(name, []).append(value.cpu())
    together = torch.stack([torch.cat(parts).double() for parts in scores.values()], 1)
    standard = (together - together.mean(0)) / together.std(0).clamp(min=1e-12)
    agreement, strongest = {}, {}
    for name in chosen:
        mean = torch.cat(means[name])
        mean = (mean - mean.mean(0)) / mean.std(0).clamp(min=1e-12)
        correlation = mean.t() @ standard / (n - 1)
        of_layer = torch.cat(maps.pop(name))
        overlap = _overlap(of_layer, [torch.cat(parts[of_layer.shape[2]]) for parts in pixel.values()])
        agreement[name] = torch.cat([overlap, correlation.float()], 1)
        best = mean.topk(max(1, round(INSERTED * n)), dim=0)
        strongest[name] = torch.zeros_like(mean, dtype=torch.float32).scatter_(
            0, best.indices, 1 / len(best.indices)
        )
    high: dict[str, Tensor] = {}
    done = 0
    for drawn, _, seen in _drawn(space, chosen, n, seed):
        for name, output in seen.items():
            share = torch.einsum("bu,buhw->uhw", strongest[name][done : done + len(drawn)], output)
            high[name] = high[name] + share if name in high else share
        done += len(drawn)
    return Dissection(tuple(chosen), (*pixel, *scores), agreement, len(pixel), high)


def _check_room(seen: Mapping[str, Tensor], n: int) -> None:
    """Raise `GanvasError` where the maps of n samples, like these ones, take more than `HELD`."""
    each = 4 * sum(x.shape[1] * min(SIDE, x.shape[2]) ** 2 for x in seen.values())
    if n * each > HELD:
        raise GanvasError(
            f"The maps of {n:,} samples take {n * each / 1e9:.1f} GB. Look at {HELD // each:,} at most (--n), or fewer --layers."
        )


def _drawn(
    space: LatentSpace, layers: Sequence[str], n: int, seed: int
) -> Iterator[tuple[Tensor, Tensor | None, dict[str, Tensor]]]:  # fmt: skip
    """n samples of `seed` in batches: float samples, labels, and the maps of each layer on the CPU."""
    model = space.model
    modules = layers_of(model.generator)
    points, labels = space.numbered(n, seed), model.labels(n)
    for rows in torch.arange(n).split(min(64, model.at_once)):
        label = None if labels is None else labels[rows].to(model.device)
        seen: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for name in layers:

                def note(
                    module: object, inputs: object, output: Any, name: str = name, seen: Any = seen
                ) -> None:
                    if not isinstance(output, Tensor) or output.dim() != 4:
                        raise GanvasError(
                            f"Layer {name!r} gives no maps (B, C, H, W), so it has no units to dissect. Without --layers those "
                            "are looked at that do."
                        )
                    # A copy: the next module may work in place.
                    seen[name] = output.to("cpu", torch.float32, copy=True)

                stack.enter_context(hooked(modules[name], note))
            drawn = space.decode(points[rows.to(points.device)], label)
        yield drawn, label, seen


def _scores(space: LatentSpace, images: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
    """Attributes, evidence of each class, critic score of uint8 images: (n,) each."""
    model = space.model
    found = {name: attributes.get(name)(images) for name in attributes}
    judge, names = classifier_of(model), class_names(model)
    if judge is not None:
        logits = judge(images).logits
        assert logits is not None
        evidence = logits.float().log_softmax(1)
        found |= {
            f"class:{names[i] if i < len(names) else i}": evidence[:, i] for i in range(evidence.shape[1])
        }
    if space.scorer is not None:
        found[CRITIC_SCORE] = space.scorer.scores(images, labels)
    return found


@torch.no_grad()
def by_effect(
    space: LatentSpace, units: Sequence[Unit], n: int = 128, seed: int = 1
) -> list[tuple[Unit, float]]:
    """Units of one concept with how much switching each off alone changes it, most wanted first.

    The mean over n samples of: the change of the score; the change of the share of pixels in the mask (its
    brightness for a mask of a person's own is not known here, so such units keep their order, at 0).
    Agreement alone is no cause: a unit that only goes along with a concept is last here.
    """
    model, points = space.model, space.numbered(n, seed)
    labels = space.labels(n, None)

    def value(concept: str) -> Tensor | None:
        parts = list[Tensor | None]()
        for rows in torch.arange(n).split(rows_seen(space)):  # all at once 128 of 1,024 px take 8 GB
            label = None if labels is None else labels[rows]
            images = model.to_data(space.decode(points[rows], label))
            masks = _pixel_masks(images)
            scored = concept not in masks
            parts.append(
                _scores(space, images, label).get(concept) if scored else masks[concept].float().mean((1, 2))
            )
        known = [each for each in parts if each is not None]
        return torch.cat(known) if known else None

    start, found = value(units[0].concept), []
    for unit in units:
        with switched(model, [unit]):
            changed = value(unit.concept)
        found.append((unit, 0.0 if start is None or changed is None else float((changed - start).mean())))
    # A higher critic score is wanted; of what is to be drawn no more, less.
    return sorted(found, key=lambda pair: -pair[1] if pair[0].concept == CRITIC_SCORE else pair[1])


@torch.no_grad()
def where_on(
    space: LatentSpace, units: Sequence[Unit], count: int = 10, n: int = 512, seed: int = 0
) -> Tensor:
    """For each unit the `count` of n samples where it is strongest, with where it is on in colour: uint8 (units, count, 3, H, W).

    On is where its map, at the size of the picture, is among its highest fifth over all samples; what is off
    is dimmed.
    """
    maps = [_Strongest(min(count, n), n) for _ in units]
    for _, _, seen in _drawn(space, sorted({unit.layer for unit in units}), n, seed):
        for unit, several in zip(units, maps, strict=True):
            several.add(_no_larger(seen[unit.layer][:, unit.index]))
    points, labels, found = space.numbered(n, seed), space.labels(n, None), []
    size = tuple(space.model.shape[1:])
    for several in maps:
        rows = several.rows
        at = F.interpolate(several.maps[:, None], size, mode="bilinear", align_corners=False) > several.limit
        # Drawn once more: all samples, of large pictures, are gigabytes.
        drawn = space.decode(points[rows], None if labels is None else labels[rows])
        picture = grey_or_rgb(space.model.to_data(drawn).cpu(), 3).float()
        lit = 0.6 * picture + 0.4 * torch.tensor(LIT)[:, None, None]
        found.append(torch.where(at, lit, picture / 3).round().to(torch.uint8))
    return torch.stack(found)


def _pixel_masks(images: Tensor) -> dict[str, Tensor]:
    """Masks (n, H, W) of what can be seen without a network; what is transparent lies on white."""
    images = grey_or_rgb(images, 3) if images.shape[1] == 4 else images
    light = images.float().mean(1)
    down = F.pad(light[:, 1:] - light[:, :-1], (0, 0, 0, 1))
    right = F.pad(light[:, :, 1:] - light[:, :, :-1], (0, 1))
    found = {"stroke": light > 127, "edge": (down.square() + right.square()).sqrt() > 64}
    if images.shape[1] >= 3:
        strongest, value = images.argmax(1), images.amax(1)
        coloured = (value.float() - images.amin(1).float()) > 64
        found |= {name: coloured & (strongest == i) for i, name in enumerate(("red", "green", "blue"))}
    return found


def _no_larger(maps: Tensor) -> Tensor:
    """Maps (n, h, w) at a whole fraction of their size, `LARGEST` at most."""
    factor = -(-max(maps.shape[1:]) // LARGEST)
    return F.avg_pool2d(maps, tuple(min(factor, side) for side in maps.shape[1:])) if factor > 1 else maps


class _Strongest:
    """Of maps (n, h, w) that come in parts the `count` with the largest values, and above what a unit is on: all are not held."""

    def __init__(self, count: int, total: int) -> None:
        self.count, self.total, self.done = count, total, 0
        self.rows, self.maps = torch.empty(0, dtype=torch.long), torch.empty(0)
        self.some: list[Tensor] = []
        """Of all values, in equal steps."""

    def add(self, maps: Tensor) -> None:
        """The next of them."""
        flat = maps.flatten()
        step = max(1, self.total * maps[0].numel() // MOST_SORTED)
        self.some.append(flat[-self.done * maps[0].numel() % step :: step].clone())
        rows = torch.arange(self.done, self.done + len(maps))
        self.done += len(maps)
        both = torch.cat([self.maps.reshape(-1, *maps.shape[1:]), maps])
        best = both.amax((1, 2)).topk(min(self.count, len(both))).indices
        self.rows, self.maps = torch.cat([self.rows, rows])[best], both[best]

    @property
    def limit(self) -> Tensor:
        """Above it a unit is on."""
        return torch.cat(self.some).quantile(1 - TOP)


def _quantile(values: Tensor, q: float) -> Tensor:
    flat = values.flatten()
    return flat[:: max(1, len(flat) // MOST_SORTED)].quantile(q)  # quantile takes 16 million numbers at most


def _small(masks: Tensor, side: int) -> Tensor:
    """Masks (n, H, W) at `side` x `side`: where they hold for half of it."""
    found: Tensor = F.adaptive_avg_pool2d(masks.float()[:, None], side)[:, 0] >= 0.5
    return found


def _overlap(maps: Tensor, masks: list[Tensor]) -> Tensor:
    """maps (n, U, s, s), masks (n, s, s) -> intersection over union (U, masks)."""
    there = [mask.float().flatten() for mask in masks]
    found = []
    for some in maps.split(UNITS, 1):  # of all units there would be two more copies
        small = some.transpose(0, 1).flatten(1)
        limits = torch.stack([_quantile(unit, 1 - TOP) for unit in small])
        on = (small > limits[:, None]).float()
        both = torch.stack([on @ each for each in there], 1)
        total = torch.stack([each.sum() for each in there])
        found.append(both / (on.sum(1, keepdim=True) + total - both).clamp(min=1))
    return torch.cat(found)


@contextmanager
def switched(
    model: Model, units: Sequence[Unit], values: Mapping[str, Tensor] | None = None
) -> Iterator[None]:
    """Inside, the units are off (0), or on at `values` (layer -> (units, h, w)), everywhere in every picture."""
    modules = layers_of(model.generator)
    by_layer: dict[str, list[int]] = {}
    for unit in units:
        by_layer.setdefault(unit.layer, []).append(unit.index)

    with ExitStack() as stack:
        for layer in by_layer:

            def switch(module: object, inputs: object, output: Tensor, layer: str = layer) -> Tensor:
                rows = by_layer[layer]
                changed = output.clone()
                changed[:, rows] = 0.0 if values is None else values[layer][rows].to(output)
                return changed

            stack.enter_context(hooked(modules[layer], switch))
        yield


@dataclass(frozen=True)
class Switching:
    """The units of a concept, switched, and what that changed."""

    found: Dissection
    concept: str
    inserted: bool
    """On, not off."""
    units: tuple[tuple[Unit, float], ...]
    """What was switched, with the effect of each alone (`by_effect`), most wanted first."""
    before: dict[str, float]
    """Attributes and the critic score, means of `MEASURED` samples that the units were not chosen with."""
    after: dict[str, float]
    samples: Tensor
    """uint8 (12, C, H, W), as they are."""
    changed: Tensor
    """The same with the units switched."""
    strongest: Tensor
    """What `where_on` shows of each unit: uint8 (units, 10, 3, H, W)."""

    @property
    def note(self) -> str | None:
        """Said where no unit stands behind bad samples."""
        if (
            self.concept != CRITIC_SCORE
            or self.inserted
            or self.after[CRITIC_SCORE] > self.before[CRITIC_SCORE]
        ):
            return None
        return (
            "No unit stands behind bad samples: switched off together, even the likeliest ones lower the "
            "critic score."
        )


@shown
def switch(
    space: LatentSpace,
    concept: str = CRITIC_SCORE,
    *,
    layers: Sequence[str] = (),
    mask: Tensor | None = None,
    units: int = 8,
    insert: bool = False,
    n: int = 512,
    seed: int = 0,
    progress: Progress = silent,
) -> Switching:
    """Find the units that draw a concept, switch them off (or on, with `insert`), and measure what changes.

    `units` of them are chosen by the effect of each alone among `CANDIDATES` times as many that agree best
    (`dissect`, n samples of `seed`). `mask` (H, W), 1 where it holds, is the concept `mask`. The change is
    measured on samples of other seeds. Raises `GanvasError` for a concept that is not known, or needs a
    critic that the model has not.
    """
    arrays.count(units, "units")
    progress(f"maps of {n:,} samples", 0, 1)
    _check_images(space.model)
    if concept == CRITIC_SCORE and space.scorer is None:
        raise GanvasError(
            "critic-score needs a critic of single samples, and this model has none. Name another concept, "
            "for instance --concept stroke."
        )
    found = dissect(space, layers or None, n, seed, {} if mask is None else {"mask": mask})
    progress("units switched off one by one", 0, 1)
    ranked = by_effect(space, found.units(concept, CANDIDATES * units), seed=seed + 1)[:units]
    chosen, points = [unit for unit, _ in ranked], space.numbered(MEASURED, seed + 2)
    names = [*attributes, *([concept] if concept.startswith("class:") else [])]
    before, samples = _measured(space, points, names)
    with switched(space.model, chosen, found.high if insert else None):
        after, changed = _measured(space, points, names)
    strongest = where_on(space, chosen, n=n, seed=seed)
    return Switching(found, concept, insert, tuple(ranked), before, after, samples, changed, strongest)


def _check_images(model: Model) -> None:
    if len(model.shape) != 3:
        raise GanvasError(
            f"Dissection is for generators of images, and this model draws {kind_of(model.shape)}."
        )


@torch.no_grad()
def _measured(space: LatentSpace, points: Tensor, names: Sequence[str]) -> tuple[dict[str, float], Tensor]:
    """Means of attributes and of the critic score over the samples of points, and the first samples."""
    labels = space.labels(len(points), None)
    figures = {name: float(each.mean()) for name, each in scores_of(space, names, points).items()}
    if space.scorer is not None:
        scores = [
            space.scorer.scores(space.model.to_data(space.decode(part, label)), label)
            for part, label in arrays.split(points, labels, rows_seen(space))
        ]
        figures[CRITIC_SCORE] = float(torch.cat(scores).mean())
    # As many rows as are drawn together at the least: of fewer pixels round differently.
    drawn = space.decode(points[:ROWS], None if labels is None else labels[:ROWS])
    return figures, space.model.to_data(drawn[:MOVED]).cpu()
