"""What samplers share: candidates with their log ratio, and their exact target density.

A sampler wants points distributed as p_G(x) r(x), with r = p_data / p_G estimated by a `Ratio`. It works on
standard normal noise u, whose density is exact for every prior (`LatentSpace.from_noise`): the target is
exp(-|u|^2 / 2) r(G(u)).
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.data import limits
from ganvas.device import stream
from ganvas.errors import GanvasError, counted, expect
from ganvas.latent.paths import rows_back
from ganvas.latent.space import LatentSpace
from ganvas.model import ROWS, Model
from ganvas.registry import FactRegistry

BATCH, NUMBERS = 500, 2**22
"""Candidates that are drawn and judged at a time, of large ones as many as have so many numbers."""
HELD, MOST_HELD = 2**28, 100_000
"""Bytes of the samples of candidates that are in memory together, and how many these are at most."""
GRADIENT = 3.0
"""Forward passes that one gradient costs: forward, and about twice as much backward."""

Ratio = Callable[[Tensor, Tensor | None], Tensor]
"""(float samples (n, ...) as `LatentSpace.decode` gives them, labels (n,) or None) -> log p_data / p_G (n,). Differentiable."""
Callback = Callable[[int, int], None]
"""(done, of how many) for a progress bar."""


class Candidates(NamedTuple):
    """Candidates, a row each."""

    noise: Tensor
    """(n, Z)"""
    samples: Tensor
    """uint8 images or float points, as `Model.sample` gives them."""
    log_ratio: Tensor
    """(n,); -inf where the ratio was not finite, so that no sampler picks it."""
    labels: Tensor | None

    def take(self, rows: Tensor) -> "Candidates":
        """The candidates of some rows."""
        return Candidates(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]

    def where(self, better: Tensor, other: "Candidates", first: int = 0) -> "Candidates":
        """These, themselves changed: from row `first` on those of `other` where `better` (k,). Both are of the same labels."""
        chosen = better.nonzero()[:, 0]
        return self.put(first + chosen, other.take(chosen))

    def put(self, rows: Tensor | slice, other: "Candidates") -> "Candidates":
        """These, themselves changed: some rows are now those of `other`, and keep their labels."""
        # Samples are large: of those before, those that come and those after there would be three in memory.
        for mine, theirs in zip(self[:3], other[:3], strict=True):
            mine[rows] = theirs
        return self

    def room(self, n: int, labels: Tensor | None) -> "Candidates":
        """Room for n such candidates of these labels (n,): nothing stands there yet."""
        noise, samples, log_ratio = (each.new_empty(n, *each.shape[1:]) for each in self[:3])
        return Candidates(noise, samples, log_ratio, labels)


@dataclass
class Drawn:
    """What a sampler drew, row i for slot i."""

    points: Tensor = field(repr=False)
    """(n, *shape) of the space."""
    samples: Tensor = field(repr=False)
    """uint8 images (n, C, H, W), or float points (n, D)."""
    log_ratio: Tensor = field(repr=False)
    """(n,)"""
    labels: Tensor | None = field(repr=False)
    cost: float
    """Forward passes of generator and critic for each sample; a gradient counts for `GRADIENT` of them."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler has to say: acceptance, step size, restarts."""

    @property
    def costs(self) -> str:
        """The cost in words."""
        return each_costs(self.cost)


def each_costs(cost: float) -> str:
    """`1 run of the network a sample`, `10.5 runs ...`."""
    return f"{cost:.3g} {'run' if f'{cost:.3g}' == '1' else 'runs'} of the network a sample"


def check_room(model: Model, n: int) -> None:
    """Raise `GanvasError` where n samples of a sampler, which are in memory together, have no room there."""
    size = math.prod(model.shape)
    # Beside its samples the noise and the points of each.
    each = (size if len(model.shape) == 3 else 4 * size) + 8 * model.latent_dim
    limits.check_memory(
        n * each,
        f"A sampler, which keeps its {n:,} samples in memory until all are drawn,",
        "Draw fewer at a time (--n)",
    )


class Target:
    """Draws and judges candidates in batches, and counts what it costs."""

    def __init__(
        self,
        space: LatentSpace,
        ratio: Ratio,
        n: int,
        generator: torch.Generator | None,
        labels: Tensor | None,
    ) -> None:
        expect(space, LatentSpace, "space", 'a space of a model: ganvas.open_space(model, "z")')
        self.space, self.ratio, self.n = space, ratio, arrays.count(n, "n, the number of samples,")
        check_room(space.model, self.n)
        self.random = generator or stream(0, "sampling")
        self.labels = space.labels(n, labels)
        size = math.prod(space.model.shape)
        few = max(1, NUMBERS // size)
        self.batch = min(BATCH, few // ROWS * ROWS or few)
        """How many are drawn and judged at a time."""
        self.most = min(
            MOST_HELD, max(self.batch, HELD // (size if len(space.model.shape) == 3 else 4 * size))
        )
        """How many candidates may be in memory together."""
        self.forwards = self.gradients = 0

    def normal(self, *size: int) -> Tensor:
        """Standard normal numbers, the same on every device."""
        return torch.randn(*size, generator=self.random).to(self.space.model.device)

    def uniform(self, *size: int) -> Tensor:
        """Uniform numbers in [0, 1)."""
        return torch.rand(*size, generator=self.random).to(self.space.model.device)

    def bank_labels(self, count: int) -> Tensor | None:
        """The classes of a bank of latents: of those asked for, of all of them where they are more."""
        labels = self.labels
        if labels is not None and count < len(labels):  # the first of sorted ones are all of one class
            labels = labels[torch.randperm(len(labels), generator=stream(0, "bank")).to(labels.device)]
        return self.space.labels(count, labels)

    def draw(self, n: int, labels: Tensor | None) -> Candidates:
        """n candidates of the prior, judged; labels are repeated to n."""
        return self.at(self.normal(n, self.space.model.latent_dim), self.space.labels(n, labels))

    def at(self, noise: Tensor, labels: Tensor | None) -> Candidates:
        """The candidates of noise (n, Z), judged."""
        return _whole(self.judged(noise, labels), len(noise), labels)

    def judged(self, noise: Tensor, labels: Tensor | None) -> Iterator[tuple[slice, Candidates]]:
        """The candidates of noise (n, Z), judged: a batch at a time with its rows."""
        for start in range(0, len(noise), self.batch):
            rows = slice(start, start + self.batch)
            u, label = noise[rows], None if labels is None else labels[rows]
            with torch.no_grad():
                drawn = self.space.decode(self.space.from_noise(u, label), label)
                part = Candidates(
                    u, self.space.model.to_data(drawn), _finite(rated(self.ratio, drawn, label)), label
                )
            self.forwards += len(u)
            yield rows, part

    def slope(self, noise: Tensor, labels: Tensor | None) -> tuple[Candidates, Tensor]:
        """The candidates, and the gradient of the log ratio by their noise (n, Z); 0 where it is not finite."""
        slopes = list[Tensor]()

        def parts() -> Iterator[tuple[slice, Candidates]]:
            for rows, part, slope in self.sloped(noise, labels):
                slopes.append(slope)
                yield rows, part

        return _whole(parts(), len(noise), labels), torch.cat(slopes)

    def uphill(self, noise: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The log ratios (n,) and slopes (n, Z) of noise: as `slope`, whose samples nobody needs."""
        found = [(part.log_ratio, slope) for _, part, slope in self.sloped(noise, labels)]
        return torch.cat([each[0] for each in found]), torch.cat([each[1] for each in found])

    def sloped(self, noise: Tensor, labels: Tensor | None) -> Iterator[tuple[slice, Candidates, Tensor]]:
        """The candidates and slopes of noise, as `slope` has them: a batch at a time with its rows."""
        shape = self.space.model.shape
        # The results of all layers are kept for the gradient: of grey pictures of 128 px, 256 at a time, 4 GB; of large ones few.
        batch = self.batch if len(shape) == 1 else min(self.batch, rows_back(self.space))
        for start in range(0, len(noise), batch):
            rows = slice(start, start + batch)
            label = None if labels is None else labels[rows]
            with torch.enable_grad():
                u = noise[rows].detach().requires_grad_(True)
                drawn = self.space.decode(self.space.from_noise(u, label), label)
                value = rated(self.ratio, drawn, label)
                slope = gradient(value, u)
            u, drawn, value = u.detach(), drawn.detach(), value.detach()
            self.gradients += len(u)
            slope = torch.where(slope.isfinite().all(1, keepdim=True), slope, torch.zeros_like(slope))
            yield rows, Candidates(u, self.space.model.to_data(drawn), _finite(value), label), slope

    @property
    def cost(self) -> float:
        """Forward passes a sample so far."""
        return (self.forwards + GRADIENT * self.gradients) / self.n

    def drawn(self, state: Candidates, **info: Any) -> Drawn:
        """The outcome. Raises `GanvasError` when the ratio could not tell anything about a sample."""
        bad = int((~state.log_ratio.isfinite()).sum())
        if bad:
            raise GanvasError(
                f"The ratio is NaN or infinite at {bad} of {len(state.log_ratio)} samples and at all their candidates. "
                "Calibrate again (ganvas calibrate), or check the critic with ganvas diagnose."
            )
        with torch.no_grad():
            rows = arrays.split(state.noise, state.labels, BATCH)
            points = torch.cat([self.space.from_noise(*each) for each in rows])
        return Drawn(points, state.samples, state.log_ratio, state.labels, self.cost, info)


def _whole(parts: Iterator[tuple[slice, Candidates]], n: int, labels: Tensor | None) -> Candidates:
    """n candidates that come a batch at a time, in one piece of memory: many would lie scattered between what drawing takes."""
    rows, part = next(parts)
    whole = part.room(n, labels).put(rows, part)
    for rows, part in parts:
        whole.put(rows, part)
    return whole


def rated(ratio: Ratio, samples: Tensor, labels: Tensor | None) -> Tensor:
    """What a ratio says of samples (n,). Raises `GanvasError` when it is not one number a sample."""
    found: Any = ratio(samples, labels)
    if (
        not isinstance(found, Tensor)
        or tuple(found.shape) != (len(samples),)
        or not found.is_floating_point()
    ):
        got = f"{tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise GanvasError(
            f"The ratio gave {got} for {counted(len(samples), 'sample')}; expected a float tensor ({len(samples)},), "
            "log p_data / p_G of each."
        )
    return found


def gradient(value: Tensor, points: Tensor) -> Tensor:
    """Of the log ratios (n,) by what they were computed from. Raises `GanvasError` where none flows back."""
    found = torch.autograd.grad(value.sum(), points, allow_unused=True)[0] if value.requires_grad else None
    if found is None:
        raise GanvasError(
            "The ratio of this generator's samples has no gradient by the latents, which repair and the samplers "
            f"{_named(True)} follow. Compute it from the samples by torch alone (no .detach(), no NumPy, no torch.no_grad), "
            f"or use a sampler without gradients: {_named(False)}."
        )
    return found


def _named(gradient: bool) -> str:
    """The samplers that follow the ratio with or without its gradient."""
    facts = {name: samplers.get(name) for name in samplers}
    return ", ".join(name for name, each in facts.items() if not each.blind and each.gradient == gradient)


def _finite(log_ratio: Tensor) -> Tensor:
    value = log_ratio.double()
    return torch.where(value.isfinite(), value, torch.full_like(value, -torch.inf))


Draw = Callable[..., Drawn]
"""(space, ratio, n, *, generator, labels, callback, ...) -> `Drawn`. All further options are keywords with defaults."""
Options = Mapping[str, Any]
GIVEN = ("generator", "labels", "callback")
"""Keywords that every sampler has; the others are its own options."""


@dataclass(frozen=True)
class Sampler:
    """A sampler with what else has to be known of it before it is called. Calling it draws."""

    draw: Draw
    blind: bool = False
    """It never asks the ratio, so that none has to be calibrated, nor anew on truncated spaces."""
    gradient: bool = False
    """It follows the gradient of the ratio."""
    bank: bool = False
    """It looks at a bank of latents before the first sample, so that one sample costs nearly what many do."""
    in_w: bool = False
    """It draws in w where there is one, else in z."""
    at_budget: Callable[[int], Options] = lambda budget: {}
    """Its options at about so many forward passes a sample; a gradient counts for `GRADIENT` of them."""
    tried_from: int | None = 1
    """The least budget at which `improve` tries it; None: never."""
    tried: Callable[[int, bool], Sequence[Options]] | None = None
    """(budget, whether the space is flat) -> the options that `improve` tries, where `at_budget` is not all of them."""
    tried_truncated: bool = False
    """Whether `improve` tries it on truncated spaces too."""
    exact: Options | None = None
    """Options with which its samples are distributed as p_G(x) r(x) to within a statistical test; None: it aims elsewhere."""
    tiny: Options = field(default_factory=dict)
    """Options with which a sample is drawn in no time, for tests."""

    def __call__(self, space: LatentSpace, ratio: Ratio, n: int, **options: Any) -> Drawn:
        return self.draw(space, ratio, n, **options)

    @property
    def options(self) -> Options:
        """Its own options with their defaults."""
        keywords = inspect.signature(self.draw).parameters.values()
        return {k.name: k.default for k in keywords if k.kind is k.KEYWORD_ONLY and k.name not in GIVEN}

    def variants(self, budget: int, flat: bool) -> Sequence[Options]:
        """The options that `improve` tries at a budget."""
        if self.tried_from is None or budget < self.tried_from:
            return []
        return [self.at_budget(budget)] if self.tried is None else self.tried(budget, flat)


def in_gradients(budget: int) -> Options:
    """`Sampler.at_budget` of one whose step is a gradient."""
    return {"steps": max(1, int((budget - 1) // GRADIENT))}


samplers = FactRegistry("sampler", Sampler)
