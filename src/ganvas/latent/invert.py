"""From a picture back to its latent: descent from several starts, Gauss-Newton, a gradient-free search, tuning.

Every function gives its best attempt and how far it is from the target; none returns nothing.
"""

import copy
import gc
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.device import check_defaults, stream
from ganvas.errors import GanvasError, counted
from ganvas.geometry import distance_matrix
from ganvas.latent.fit import Advance
from ganvas.latent.jacobian import MOST, MOST_NUMBERS, PART, columns
from ganvas.latent.paths import Perception, looks, pyramid, rows_back, rows_seen
from ganvas.latent.space import LatentSpace, LatentStyles, LatentW, open_space
from ganvas.model import Model
from ganvas.networks import from_uint8

Degrade = Callable[[Tensor], Tensor]
"""Float images (n, C, H, W) in the generator's range -> what was seen of them. Differentiable."""
GOOD_ENOUGH = 1e-4
"""A residual at which Gauss-Newton stops."""
CANDIDATES = 2048
"""Typical points that the descent chooses its starts from."""
BEYOND = 1 + 1e-6
"""A value above, of those that a model of series draws from -1 to 1, was not among what it learned."""
OUTSIDE = "values that lie outside of what the model learned were searched for at the edge of it"
PAIRED, FEWEST, NUMBERS = 256, 32, 2**27
"""Samples whose mean distance is the unit of residuals; of large ones as many as have so many numbers, and `FEWEST` at least."""
TRIED = 64
"""Classes that are each tried for a target whose point is known; of more, that of the nearest typical sample is taken."""


@dataclass(frozen=True, repr=False)
class Inversion:
    """What was found for n targets."""

    points: Tensor
    """(n, *shape) of the space: the best of the restarts."""
    drawn: Tensor
    """Float samples of these points (n, C, H, W)."""
    residual: Tensor
    """Feature distance to the target, over the mean distance of two samples of the generator (n,)."""
    ambiguity: Tensor
    """How far the restarts' answers lie apart, in the same unit: large where the target does not decide (n,)."""
    typicality: Tensor
    """Of the points (n,)."""
    labels: Tensor | None = None
    """Classes that the points are decoded with (n,), of conditional generators."""
    notes: tuple[str, ...] = ()
    """What went otherwise than asked, in words."""
    tuned: Model | None = None
    """The model whose generator was tuned to draw the targets; None where it was left as it is."""

    def __repr__(self) -> str:
        """How many, and how near they came."""
        found = [each for each in self.residual.tolist() if math.isfinite(each)]
        near = f", residual {min(found):.3g} to {max(found):.3g}" if found else ""
        near = f", residual {found[0]:.3g}" if len(found) == 1 else near
        notes = "".join(f"; {note}" for note in self.notes)
        return f"Inversion({counted(len(self.points), 'target')}{near}{notes})"


@dataclass(frozen=True)
class Search:
    """What is looked for: features of what was seen of the targets, one row for each start."""

    space: LatentSpace
    seen: Tensor = field(repr=False)
    labels: Tensor | None = field(repr=False)
    degrade: Degrade | None
    see: Perception
    scale: float

    def look(self, samples: Tensor) -> Tensor:
        return self.see(self.degrade(samples) if self.degrade else samples)

    def error(self, points: Tensor) -> Tensor:
        found: Tensor = (self.look(self.space.decode(points, self.labels)) - self.seen).norm(
            dim=1
        ) / self.scale
        return found

    def rows(self, rows: Tensor) -> "Search":
        """The same search for some of its rows (int64)."""
        return replace(self, seen=self.seen[rows], labels=None if self.labels is None else self.labels[rows])


def scale_of(space: LatentSpace, see: Perception = pyramid) -> float:
    """Mean feature distance of two samples of the generator, of whatever classes: the unit of residuals."""
    with torch.no_grad():
        points, labels = space.few(arrays.fitting(math.prod(space.model.shape), NUMBERS, PAIRED, FEWEST))
        # All pairs: of classes in turn, one with the one half of them on would always, or never, be of its class.
        half = len(points) // 2
        kinds = (None, None) if labels is None else (labels[:half], labels[half:])
        first = torch.cat(list(looks(space, points[:half], kinds[0], see)))
        away = [distance_matrix(first, others) for others in looks(space, points[half:], kinds[1], see)]
        return float(torch.cat(away, 1).mean())


def invert(
    space: LatentSpace,
    targets: Tensor,
    *,
    start: Tensor | None = None,
    steps: int = 200,
    restarts: int = 4,
    newton: int = 0,
    rate: float = 0.1,
    keep: float = 0.001,
    degrade: Degrade | None = None,
    damaged: bool = False,
    labels: Tensor | None = None,
    see: Perception = pyramid,
    seed: int = 0,
    progress: Advance | None = None,
    starts: Advance | None = None,
) -> Inversion:
    """The points whose samples look like `targets` (n, C, H, W), uint8 or floats in the generator's range.

    Adam from `start` (n, *shape), each with the class that suits it best unless `labels` say it, or from those
    `restarts` of 2,048 typical points whose samples come nearest to the target, all in one batch; the rate rises over the first
    twentieth of the steps and falls over the last quarter (Karras et al. 2020, appendix D). `keep` weighs
    the distance to the mean of the space in units of its spread, which keeps points where the generator was
    trained. Then up to `newton` steps of Levenberg and Marquardt on the best of each target, which costs a
    Jacobian each and lands on what the generator can draw exactly. `degrade` is applied to both sides: that
    is restoration, and the residual is then that of what was seen. With `damaged` the targets are what was
    seen, and `degrade` is applied to samples only.

    Where no gradient comes back, CMA-ES searches instead and a note says so; targets whose gradient is not
    finite stop where they were best. `progress` hears of the steps, `starts` of the typical points before them.
    Raises `GanvasError` for targets of another size or range.
    """
    check_defaults()
    steps, newton = arrays.count(steps, "steps", 0), arrays.count(newton, "newton", 0)
    restarts, rate = arrays.count(restarts, "restarts", 1, CANDIDATES), arrays.number(rate, "rate", above=0)
    keep = arrays.number(keep, "keep", least=0)
    if damaged and degrade is not None:
        wanted = as_floats(space, targets, seen_shape(space, degrade))
    else:
        wanted = as_floats(space, targets)
    count, restarts = len(wanted), 1 if start is not None else restarts
    starts = starts or (lambda done, total: None)
    if start is None:
        starts(0, CANDIDATES)  # before the first sample is drawn, for scale
    with torch.no_grad():
        seen = see(degrade(wanted) if degrade and not damaged else wanted)
    if labels is not None:
        labels = space.labels(count, labels)
    search = Search(space, seen, labels, degrade, see, scale_of(space, see))
    if start is None:
        begin, known = _nearest(search, restarts, seed, starts)
    else:
        begin = space.check(start).clone()
        if len(begin) != count:
            raise GanvasError(
                f"start has {counted(len(begin), 'point')} and there are {counted(count, 'target')}: one for each is expected."
            )
        known = likeliest(search, begin, seed) if labels is None else labels
    search = replace(search, seen=seen.repeat_interleave(restarts, 0), labels=known)
    notes: tuple[str, ...] = ()
    if _has_gradient(search, begin):
        points, errors, stuck = _descend(search, begin, steps, rate, keep, progress)
        if stuck:
            notes = (
                f"the gradient of {stuck} of {len(begin)} starts was not finite: they stopped where they were best",
            )
    else:
        notes = (
            "no gradient flows from this generator's samples to its latents: searched by CMA-ES, without gradients",
        )
        points, errors = _evolve(search, begin, steps, seed, progress)
        newton = 0
    found = choose(search, points, errors, count, restarts)
    if newton and space.size * seen[0].numel() > MOST_NUMBERS:
        notes += (
            f"no Newton steps: the slopes of {seen[0].numel():,} features in {space.size:,} numbers are too many to be held",
        )
        newton = 0
    if newton:
        best = replace(search, seen=seen, labels=found.labels)
        better, residual = _newton(best, found.points, found.residual, newton, progress)
        with torch.no_grad():
            drawn = space.decode(better, found.labels)
        found = replace(
            found, points=better, drawn=drawn, residual=residual, typicality=space.typicality(better)
        )
    return replace(found, notes=notes)


@torch.no_grad()
def likeliest(search: Search, points: Tensor, seed: int = 0) -> Tensor | None:
    """The class with which each point draws what is most like its target (n,), where classes are not in the space."""
    space = search.space
    if not space.model.generator.num_classes or isinstance(space, LatentW | LatentStyles):
        return space.labels(len(points), None)
    if (classes := space.model.generator.num_classes) > TRIED:
        return _nearest(search, 1, seed, lambda done, total: None)[1]
    each = torch.arange(classes, device=points.device)[:, None].expand(classes, len(points))
    errors = [replace(search, labels=labels).error(points) for labels in each]
    return torch.stack(errors).argmin(0)


@torch.no_grad()
def _nearest(search: Search, restarts: int, seed: int, progress: Advance) -> tuple[Tensor, Tensor | None]:
    """Typical points (n * restarts, *shape) whose samples look most like each target, and their labels."""
    space = search.space
    asked = None if search.labels is None else search.labels.unique()
    # Of every class that is asked for there are enough to start from, however many there are.
    count = max(space.affords(CANDIDATES), restarts if asked is None else restarts * len(asked))
    labels = space.labels(count, asked)
    points = space.sample(count, stream(seed, "invert"), labels)
    found = list[Tensor]()
    for i in torch.arange(count, device=points.device).split(rows_seen(space)):
        samples = space.decode(points[i], None if labels is None else labels[i])
        found.append(distance_matrix(search.seen, search.look(samples)))
        progress(int(i[-1]) + 1, count)
    distances = torch.cat(found, 1).nan_to_num(nan=float("inf"))
    if search.labels is not None and labels is not None:
        distances[search.labels[:, None] != labels] = float("inf")
    chosen = distances.topk(restarts, largest=False).indices.flatten()
    return points[chosen], None if labels is None else labels[chosen]


def _has_gradient(search: Search, points: Tensor) -> bool:
    try:
        at = points[:1].detach().clone().requires_grad_(True)
        error = search.rows(torch.tensor([0], device=at.device)).error(at).square().sum()
        (gradient,) = torch.autograd.grad(error, at, allow_unused=True)
    except RuntimeError:
        return False
    return gradient is not None and bool((gradient != 0).any())


def _descend(
    search: Search, begin: Tensor, steps: int, rate: float, keep: float, progress: Advance | None
) -> tuple[Tensor, Tensor, int]:
    space = search.space
    deviation = space.std.clamp(min=1e-6)
    offset = ((begin - space.mean) / deviation).detach().requires_grad_(True)
    optimizer = torch.optim.Adam([offset], lr=rate, betas=(0.9, 0.99))
    best = torch.full((len(begin),), float("inf"), device=begin.device)
    kept, alive = begin.detach().clone(), torch.ones(len(begin), dtype=torch.bool, device=begin.device)
    for step in range(steps + 1):
        optimizer.zero_grad()
        # Back through the generator part by part: what it keeps for that, of 64 pictures of 256 px, is 14 GB.
        for rows in torch.arange(len(begin), device=begin.device).split(rows_back(space)):
            part = offset[rows]
            points = space.mean + part * deviation
            error = search.rows(rows).error(points)
            with torch.no_grad():
                better = error < best[rows]  # never for NaN
                best[rows] = torch.where(better, error, best[rows])
                kept[rows[better]] = points[better]
            loss = error.square()
            if keep:
                loss = loss + keep * part.flatten(1).square().mean(1)
            if step < steps:
                loss.sum().backward()
        if progress is not None:
            progress(step, steps)
        if step == steps:
            break
        assert offset.grad is not None
        finite = offset.grad.flatten(1).isfinite().all(1)
        offset.grad[~finite] = 0
        alive &= finite
        share = step / steps
        optimizer.param_groups[0]["lr"] = rate * min(1.0, share / 0.05 + 0.05) * min(1.0, (1 - share) / 0.25)
        optimizer.step()
    return kept, best, int((~alive).sum())


def _normal(one: Search, point: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """J^T J (D, D) and J^T times what is missing (D,), in float64: the normal equations of a target, summed over its features."""
    features, found = columns(one.space, point, one.look, None if one.labels is None else one.labels[0])
    missing = (one.seen[0] - features).double()
    count = arrays.fitting(one.space.size, PART, len(missing))
    square, slope = missing.new_zeros(one.space.size, one.space.size), missing.new_zeros(one.space.size)
    for few, miss in zip(found.split(count, 1), missing.split(count), strict=True):
        j = few.t().double() * deviation.double()
        square, slope = square + j.t() @ j, slope + j.t() @ miss
    return square, slope


@torch.no_grad()
def _newton(
    search: Search, points: Tensor, errors: Tensor, iterations: int, progress: Advance | None
) -> tuple[Tensor, Tensor]:
    """Levenberg-Marquardt in coordinates of unit spread, every target with a damping of its own."""
    space = search.space
    deviation = space.std.clamp(min=1e-6).flatten()
    points, errors = points.clone(), errors.clone()
    damping = torch.full((len(points),), 1e-2, dtype=torch.float64, device=points.device)
    for iteration in range(iterations):
        rows = (errors > GOOD_ENOUGH).nonzero()[:, 0]
        if len(rows) == 0:
            break
        part = search.rows(rows)
        squares, slopes = list[Tensor](), list[Tensor]()
        for i in range(len(rows)):  # one by one: a Jacobian of a large picture takes hundreds of MB
            square, slope = _normal(
                part.rows(torch.tensor([i], device=rows.device)), points[rows[i]], deviation
            )
            squares.append(square)
            slopes.append(slope)
            if progress is not None:
                progress(iteration * len(points) + i + 1, iterations * len(points))
        square, slope = torch.stack(squares), torch.stack(slopes)
        size = torch.diagonal(square, dim1=1, dim2=2).mean(1)
        eye = torch.eye(space.size, dtype=torch.float64, device=points.device)
        step = torch.linalg.solve(square + (damping[rows] * size + 1e-12)[:, None, None] * eye, slope)
        tried = points[rows] + (step.to(points) * deviation).reshape(-1, *space.shape)
        error = part.error(tried)
        better = error < errors[rows]
        points[rows[better]], errors[rows[better]] = tried[better], error[better]
        damping[rows] = (damping[rows] * torch.where(better, 0.2, 5.0)).clamp(1e-9, 1e4)
    return points, errors


@torch.no_grad()
def _evolve(
    search: Search, begin: Tensor, rounds: int, seed: int, progress: Advance | None
) -> tuple[Tensor, Tensor]:
    """CMA-ES (Hansen) from every start, in coordinates of unit spread; above `MOST` numbers by the spread of each alone, since
    a covariance of 65,536 takes 34 GB, several times over (Ros and Hansen 2008, sep-CMA-ES)."""
    import cma

    space = search.space
    deviation = space.std.clamp(min=1e-6)
    found, errors = [], []
    for i, point in enumerate(begin):
        one = search.rows(torch.tensor([i], device=begin.device))
        start = ((point - space.mean) / deviation).flatten().double().cpu().numpy()
        own = (seed + i) % (2**32 - 1) + 1  # below 2^32, and not 0, which is the clock's
        options: dict[str, Any] = {
            "seed": own, "maxiter": max(1, rounds), "verbose": -9, "tolfun": 1e-9,
            "CMA_diagonal": space.size > MOST,
            "signals_filename": "",  # else a file of the current folder says others while it runs
        }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evolution = cma.CMAEvolutionStrategy(start, 0.5, options)
            while not evolution.stop():
                asked = evolution.ask()
                rows = torch.tensor(asked).to(begin).reshape(-1, *space.shape) * deviation + space.mean
                labels = None if one.labels is None else one.labels.expand(len(rows))
                several = replace(one, seen=one.seen.expand(len(rows), -1), labels=labels)
                evolution.tell(asked, several.error(rows).double().cpu().nan_to_num(nan=1e9).tolist())
                if progress is not None:
                    progress(i * rounds + evolution.countiter, len(begin) * rounds)
        best = torch.tensor(evolution.result.xbest).to(begin).reshape(space.shape) * deviation + space.mean
        found.append(best)
        errors.append(one.error(best[None])[0])
        del evolution
        gc.collect()  # it holds itself in a circle: in 65,536 numbers 74 MB stayed of each start
    return torch.stack(found), torch.stack(errors)


@torch.no_grad()
def choose(search: Search, points: Tensor, errors: Tensor, count: int, restarts: int) -> Inversion:
    """The best of the restarts of each target."""
    space = search.space
    labels = space.labels(len(points), search.labels)
    best = errors.reshape(count, restarts).argmin(1)
    every = torch.arange(len(points), device=points.device).unflatten(0, (count, restarts))
    kept, apart = list[Tensor](), list[Tensor]()
    # Some targets at a time: all restarts of sixteen pictures of 1,024 px take 5 GB.
    size = max(1, rows_seen(space) // restarts)
    for rows, chosen in zip(every.split(size), best.split(size), strict=True):
        mine = rows.flatten()
        drawn = space.decode(points[mine], None if labels is None else labels[mine])
        features = search.see(drawn).unflatten(0, rows.shape)
        place = torch.arange(len(rows), device=points.device)
        away = (features - features[place, chosen][:, None]).norm(dim=2).sum(1)
        apart.append(away / max(1, restarts - 1) / search.scale)
        kept.append(drawn.unflatten(0, rows.shape)[place, chosen])
    rows = every[torch.arange(count, device=points.device), best]
    return Inversion(
        points[rows],
        torch.cat(kept),
        errors[rows],
        torch.cat(apart),
        space.typicality(points[rows]),
        None if search.labels is None else search.labels[rows],
    )


@torch.no_grad()
def seen_shape(space: LatentSpace, degrade: Degrade) -> tuple[int, ...]:
    """What a degradation leaves of the shape of a sample."""
    return tuple(degrade(torch.zeros(1, *space.model.shape, device=space.model.device)).shape[1:])


def as_floats(space: LatentSpace, targets: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """Targets (n, *shape), by default that of samples, as floats in the generator's range.

    Raises `GanvasError` for another size or range.
    """
    model, targets = space.model, arrays.as_tensor(targets, "targets")
    if tuple(targets.shape[1:]) != tuple(shape or model.shape):
        drawn = (
            f"draws samples of shape {tuple(model.shape)}"
            if shape is None
            else f"and this damage leave {shape}"
        )
        raise GanvasError(f"The model {drawn}, the targets have {tuple(targets.shape[1:])}. Resize them.")
    if not len(targets):
        raise GanvasError("There are no targets: give at least one picture or series.")
    targets = targets.to(model.device)
    if targets.dtype == torch.uint8:
        return from_uint8(targets, model.generator.value_range)
    low, high = model.generator.value_range
    finite, points = bool(torch.isfinite(targets).all()), len(model.shape) == 1  # which lie anywhere
    if not finite or (not points and (targets.min() < low - 1e-3 or targets.max() > high + 1e-3)):
        raise GanvasError(
            f"Float targets must lie from {low} to {high}, they go from {float(targets.min()):.2f} to {float(targets.max()):.2f}."
        )
    return targets.float()


def tune(
    space: LatentSpace,
    found: Inversion,
    targets: Tensor,
    *,
    steps: int = 200,
    rate: float = 1e-3,
    locality: float = 0.1,
    see: Perception = pyramid,
    seed: int = 0,
    progress: Advance | None = None,
) -> tuple[Model, Inversion]:
    """A copy of the model that draws the targets at the points found for them (pivotal tuning, Roich et al. 2021).

    Adam on the generator's weights. `locality` holds the samples of points between the pivots and random
    ones where they were (their section 3.3), so that the rest of the space keeps its pictures. Gives the
    tuned model and the inversion in it.
    """
    steps, rate = arrays.count(steps, "steps", 0), arrays.number(rate, "rate", above=0)
    locality = arrays.number(locality, "locality", least=0)
    wanted, random = as_floats(space, targets), stream(seed, "tune")
    tuned = replace(
        space.model,
        generator=copy.deepcopy(space.model.generator).train(False).requires_grad_(True),
        info=space.model.info.changed(),
    )
    there, scale = open_space(tuned, space.name), scale_of(space, see)
    weights = [p for p in tuned.generator.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=rate)
    labels = found.labels
    with torch.no_grad():
        seen = see(wanted)

    def apart(space: LatentSpace, points: Tensor, label: Tensor | None, from_features: Tensor) -> Tensor:
        distances: Tensor = (see(space.decode(points, label)) - from_features).norm(dim=1) / scale
        return distances

    best, kept = float("inf"), copy.deepcopy(tuned.generator.state_dict())
    for step in range(steps + 1):
        optimizer.zero_grad()
        error = torch.empty(len(wanted), device=seen.device)
        with torch.no_grad():
            others = space.sample(len(wanted), random, labels) if step < steps and locality else found.points
            between = found.points + 0.5 * (others - found.points)
        for rows in torch.arange(len(wanted), device=seen.device).split(rows_back(space)):  # as in `_descend`
            label = None if labels is None else labels[rows]
            off = apart(there, found.points[rows], label, seen[rows])
            error[rows] = off.detach()
            if step == steps:
                continue
            (off.square().sum() / len(wanted)).backward()
            if locality:
                with torch.no_grad():
                    before = see(space.decode(between[rows], label))
                strayed = apart(there, between[rows], label, before)
                (locality * strayed.square().sum() / len(wanted)).backward()
        if float(error.mean()) < best:
            best, kept = float(error.mean()), copy.deepcopy(tuned.generator.state_dict())
        if progress is not None:
            progress(step, steps)
        if step == steps:
            break
        if not all(p.grad is None or p.grad.isfinite().all() for p in weights):
            break  # the best weights so far are kept
        optimizer.step()
    tuned.generator.load_state_dict(kept)
    tuned.generator.requires_grad_(False)
    with torch.no_grad():
        drawn = there.decode(found.points, labels)
        residual = (see(drawn) - seen).norm(dim=1) / scale
    return tuned, replace(found, drawn=drawn, residual=residual)
