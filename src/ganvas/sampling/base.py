"""What samplers share: candidates with their log ratio, and the exact density that they aim at.

A sampler wants points distributed as p_G(x) r(x), with r = p_data / p_G estimated by a `Ratio`. It works on standard normal
noise u, whose density is exact for every prior (`LatentSpace.from_noise`): the aim is exp(-|u|^2 / 2) r(G(u)).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.space import LatentSpace
from ganvas.registry import Registry

BATCH = 500
"""Candidates that are drawn and judged at a time."""
GRADIENT = 3.0
"""Forward passes that one gradient costs: forward, and about twice as much backward."""

Ratio = Callable[[Tensor, Tensor | None], Tensor]
"""(float samples (n, ...) as `LatentSpace.decode` gives them, labels (n,) or None) -> log p_data / p_G (n,). Differentiable."""
Callback = Callable[[int, int], None]
"""(done, of how many) for a progress bar."""


class State(NamedTuple):
    """Candidates, a row each."""

    noise: Tensor
    """(n, Z)"""
    samples: Tensor
    """uint8 images or float points, as `Model.sample` gives them."""
    log_ratio: Tensor
    """(n,); -inf where the ratio was not finite, so that no sampler picks it."""
    labels: Tensor | None

    def take(self, rows: Tensor) -> "State":
        """The candidates of some rows."""
        return State(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]

    def where(self, better: Tensor, other: "State") -> "State":
        """Rows of `other` where `better` (n,), else these. Both are of the same labels."""

        def mix(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(better.reshape(-1, *[1] * (mine.dim() - 1)), theirs, mine)

        noise, samples, log_ratio = (
            mix(mine, theirs) for mine, theirs in zip(self[:3], other[:3], strict=True)
        )
        return State(noise, samples, log_ratio, self.labels)

    def put(self, rows: Tensor, other: "State") -> "State":
        """These with some rows replaced by those of `other`, which keeps their labels."""
        noise, samples, log_ratio = (
            mine.index_copy(0, rows, theirs) for mine, theirs in zip(self[:3], other[:3], strict=True)
        )
        return State(noise, samples, log_ratio, self.labels)

    @staticmethod
    def join(parts: "list[State]") -> "State":
        """Several after one another."""
        labels = (
            None if parts[0].labels is None else torch.cat([p.labels for p in parts if p.labels is not None])
        )
        noise, samples, log_ratio = (torch.cat([part[i] for part in parts]) for i in range(3))  # type: ignore[misc]
        return State(noise, samples, log_ratio, labels)


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
        arrays.count(n, "n")
        self.space, self.ratio, self.n = space, ratio, n
        self.random = generator or stream(0, "sampling")
        self.labels = space.labels(n, labels)
        self.forwards = self.gradients = 0

    def normal(self, *size: int) -> Tensor:
        """Standard normal numbers, the same on every device."""
        return torch.randn(*size, generator=self.random).to(self.space.model.device)

    def uniform(self, *size: int) -> Tensor:
        """Uniform numbers in [0, 1)."""
        return torch.rand(*size, generator=self.random).to(self.space.model.device)

    def draw(self, n: int, labels: Tensor | None) -> State:
        """n candidates of the prior, judged; labels are repeated to n."""
        return self.at(self.normal(n, self.space.model.latent_dim), self.space.labels(n, labels))

    @torch.no_grad()
    def at(self, noise: Tensor, labels: Tensor | None) -> State:
        """The candidates of noise (n, Z), judged."""
        parts = []
        for start in range(0, len(noise), BATCH):
            rows = slice(start, start + BATCH)
            u, label = noise[rows], None if labels is None else labels[rows]
            drawn = self.space.decode(self.space.from_noise(u, label), label)
            value = _judged(self.ratio(drawn, label), len(u))
            parts.append(State(u, self.space.model.to_data(drawn), _finite(value), label))
        self.forwards += len(noise)
        return State.join(parts)

    def slope(self, noise: Tensor, labels: Tensor | None) -> tuple[State, Tensor]:
        """The candidates, and the gradient of the log ratio by their noise (n, Z); 0 where it is not finite."""
        parts, slopes = [], []
        for start in range(0, len(noise), BATCH):
            rows = slice(start, start + BATCH)
            label = None if labels is None else labels[rows]
            with torch.enable_grad():
                u = noise[rows].detach().requires_grad_(True)
                drawn = self.space.decode(self.space.from_noise(u, label), label)
                value = _judged(self.ratio(drawn, label), len(u))
                slope = gradient(value, u)
            u, drawn, value = u.detach(), drawn.detach(), value.detach()
            parts.append(State(u, self.space.model.to_data(drawn), _finite(value), label))
            slopes.append(torch.where(slope.isfinite().all(1, keepdim=True), slope, torch.zeros_like(slope)))
        self.gradients += len(noise)
        return State.join(parts), torch.cat(slopes)

    @property
    def cost(self) -> float:
        """Forward passes a sample so far."""
        return (self.forwards + GRADIENT * self.gradients) / self.n

    def drawn(self, state: State, **info: Any) -> Drawn:
        """The outcome. Raises `GanvasError` when the ratio could not tell anything about a sample."""
        bad = int((~state.log_ratio.isfinite()).sum())
        if bad:
            raise GanvasError(
                f"The ratio is NaN or infinite at {bad} of {len(state.log_ratio)} samples and at all their candidates. "
                "Calibrate again (ganvas calibrate), or check the critic with ganvas diagnose."
            )
        with torch.no_grad():
            rows = zip(
                state.noise.split(BATCH),
                [None] * self.n if state.labels is None else state.labels.split(BATCH),
                strict=False,
            )
            points = torch.cat([self.space.from_noise(u, label) for u, label in rows])
        return Drawn(points, state.samples, state.log_ratio, state.labels, self.cost, info)


def _judged(log_ratio: Tensor, n: int) -> Tensor:
    """What a ratio said of n samples. Raises `GanvasError` unless it is one number a sample."""
    if not isinstance(log_ratio, Tensor) or log_ratio.shape != (n,) or not log_ratio.is_floating_point():
        got = (
            f"{tuple(log_ratio.shape)} of {log_ratio.dtype}"
            if isinstance(log_ratio, Tensor)
            else type(log_ratio).__name__
        )
        raise GanvasError(
            f"The ratio gave {got} for {n} samples; expected floats ({n},), one log ratio a sample."
        )
    return log_ratio


def gradient(log_ratio: Tensor, by: Tensor) -> Tensor:
    """Of the sum of log ratios by what they depend on. Raises `GanvasError` where none flows."""
    found = None
    if log_ratio.requires_grad:
        (found,) = torch.autograd.grad(log_ratio.sum(), by, allow_unused=True)
    if found is None:
        raise GanvasError(
            "No gradient flows from the ratio to the latents: it, or the generator, is cut off on the way (detach, no_grad, "
            "rounding). Take a sampler that needs none: reject, budget, metropolis or resample."
        )
    return found


def _finite(log_ratio: Tensor) -> Tensor:
    value = log_ratio.double()
    return torch.where(value.isfinite(), value, torch.full_like(value, -torch.inf))


samplers: Registry[Callable[..., Drawn]] = Registry("sampler")
"""(space, ratio, n, *, generator, labels, callback, ...) -> `Drawn`. All further options are keywords with defaults."""
