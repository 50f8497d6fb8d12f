"""Refinement: every sample moves along the gradient of its log ratio, none is thrown away."""

import math
from typing import Literal

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.latent.space import LatentSpace
from ganvas.sampling.base import Callback, Drawn, Ratio, Target, gradient, in_gradients, rated, samplers
from ganvas.sampling.langevin import replace_unjudged

Divergence = Literal["kl", "js", "logd"]
SLOPE_PAIRS = 100


# `improve` does not try it: its Frechet distance is ten times the prior's in every table of docs/figures.md.
@samplers.register("flow", gradient=True, at_budget=in_gradients, tried_from=None)
def flow(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    steps: int = 25,
    size: float = 0.1,
    noise: float = 0.01,
    divergence: Divergence = "kl",
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """discriminator gradient flow (DGflow): a few noisy steps uphill

    u <- u + size s grad d + sqrt(2 size noise) n with d the log ratio and s = 1 for the KL divergence, sigmoid(d) for JS and
    sigmoid(-d) for logD (Ansari et al. 2021). The prior is no part of it: many steps leave it.
    """
    steps, size = arrays.count(steps, "steps"), arrays.number(size, "size", above=0)
    noise = arrays.number(noise, "noise", least=0)
    if divergence not in ("kl", "js", "logd"):
        raise GanvasError(f"Unknown divergence {divergence!r}. Use kl, js or logd.")
    target = Target(space, ratio, n, generator, labels)
    u = target.normal(n, space.model.latent_dim)
    for step in range(steps):
        log_ratio, slope = target.uphill(u, target.labels)
        d = log_ratio.nan_to_num(neginf=0.0)
        weight = {"kl": torch.ones_like(d), "js": torch.sigmoid(d), "logd": torch.sigmoid(-d)}[divergence]
        u = (
            u
            + size * weight[:, None].to(u.dtype) * slope
            + math.sqrt(2 * size * noise) * target.normal(*u.shape)
        )
        if callback is not None:
            callback(step + 1, steps)
    return target.drawn(replace_unjudged(target, target.at(u, target.labels)))


@samplers.register("transport", gradient=True, at_budget=in_gradients, tried_from=4)
def transport(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    steps: int = 10,
    size: float = 0.01,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """discriminator optimal transport (DOT): uphill, but not far from where it began

    Minimises |u - u0 + 0.001| - d(u) / k by gradient descent, k the steepest slope of d over `SLOPE_PAIRS` pairs (Tanaka
    2019). Steps are along the sphere through u, where normal latents live.
    """
    steps, size = arrays.count(steps, "steps"), arrays.number(size, "size", above=0)
    target = Target(space, ratio, n, generator, labels)
    kinds = target.bank_labels(SLOPE_PAIRS)
    pairs = target.draw(2 * SLOPE_PAIRS, None if kinds is None else kinds.repeat_interleave(2))
    a, b = (pairs.take(torch.arange(i, 2 * SLOPE_PAIRS, 2)) for i in (0, 1))
    slopes = (a.log_ratio - b.log_ratio).abs() / (a.noise - b.noise).norm(dim=1).clamp(min=1e-9)
    k = float(slopes[slopes.isfinite()].max()) if bool(slopes.isfinite().any()) else 1.0
    start = u = target.normal(n, space.model.latent_dim)
    for step in range(steps):
        _, slope = target.uphill(u, target.labels)
        away = u - start + 0.001
        gradient = away / away.norm(dim=1, keepdim=True) - slope / max(k, 1e-9)
        outward = u / u.norm(dim=1, keepdim=True)
        u = u - size * (gradient - (gradient * outward).sum(1, keepdim=True) * outward)
        if callback is not None:
            callback(step + 1, steps)
    return target.drawn(replace_unjudged(target, target.at(u, target.labels)), steepest=k)


def repair(
    space: LatentSpace,
    ratio: Ratio,
    points: Tensor,
    labels: Tensor | None = None,
    steps: int = 10,
    size: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Points (n, *shape) of any space after `steps` uphill steps, and the log ratios along the way (steps + 1, n).

    For points that somebody chose: nothing but the points themselves is known of them. A step is `size` deviations of the space
    in the direction that raises the log ratio most, measured where the space is white. A step that does not raise it is halved.
    """
    steps, size = arrays.count(steps, "steps", 0), arrays.number(size, "size", above=0)
    points, labels = space.check(points), space.labels(len(points), labels)
    sizes = torch.full((len(points), 1), size, dtype=torch.float64, device=points.device)

    def judged(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = at.detach().requires_grad_(True)
            value = rated(ratio, space.decode(x, labels), labels)
            slope = gradient(value, x)
        return value.detach(), slope.nan_to_num()

    value, slope = judged(points)
    way = [value]
    for _ in range(steps):
        # The gradient in white coordinates is the transpose of `unwhiten`; in z both are the identity.
        uphill = _white_gradient(space, slope.flatten(1))
        step = uphill / uphill.norm(dim=1, keepdim=True).clamp(min=1e-12) * sizes * math.sqrt(uphill.shape[1])
        moved = points + space.unwhiten(step).to(points).reshape(points.shape)
        new, new_slope = judged(moved)
        good = new > value
        points, value, slope = (
            torch.where(good.reshape(-1, *[1] * (old.dim() - 1)), fresh, old)
            for fresh, old in ((moved, points), (new, value), (new_slope, slope))
        )
        sizes = torch.where(good[:, None], sizes, sizes / 2)
        way.append(value)
    return points, torch.stack(way)


def _white_gradient(space: LatentSpace, slope: Tensor) -> Tensor:
    slope = slope.double()
    with torch.enable_grad():
        step = torch.zeros_like(slope, requires_grad=True)
        (found,) = torch.autograd.grad((space.unwhiten(step) * slope).sum(), step)
    return found
