"""The averaged generator: smoother and better than any single step of the training one."""

import torch
from torch import Tensor, nn


def half_life_images(ema_kimg: float, rampup: float | None, images: int) -> float:
    """Half-life in images after `images` of training: short at first, so that early noise is forgotten."""
    full = ema_kimg * 1000
    return full if rampup is None else min(full, images * rampup)


def weight(batch: int, half_life: float) -> float:
    """How far `batch` images move the average towards the live weights, 0 to 1. A half-life of 0 copies all."""
    return 1.0 if half_life <= 0 else 1 - 0.5 ** (batch / half_life)


@torch.no_grad()
def update(
    average: nn.Module, source: nn.Module, weight: float | Tensor, *, statistics: bool = False
) -> None:
    """Move `average` towards `source` by `weight`. Buffers are copied; with `statistics`, those of floats are averaged, too.

    The running figures of a norm belong to the weights of their time: those of averaged weights are nearer to their average.
    """
    ours: list[Tensor] = list(average.parameters())
    theirs: list[Tensor] = list(source.parameters())
    if isinstance(weight, Tensor):
        steps = torch._foreach_sub(theirs, ours)
        torch._foreach_mul_(steps, weight)
        torch._foreach_add_(ours, steps)
    else:
        torch._foreach_lerp_(ours, theirs, weight)
    kept: list[Tensor] = list(average.buffers())
    live: list[Tensor] = list(source.buffers())
    if statistics:
        live = [
            now.lerp(new, weight) if now.is_floating_point() else new
            for now, new in zip(kept, live, strict=True)
        ]
    if kept:
        torch._foreach_copy_(kept, live)
