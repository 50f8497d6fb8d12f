"""The averaged generator: smoother and better than any single step of the training one."""

import torch
from torch import nn


def half_life_images(ema_kimg: float, rampup: float | None, images: int) -> float:
    """Half-life in images after `images` of training: short at first, so that early noise is forgotten."""
    full = ema_kimg * 1000
    return full if rampup is None else min(full, images * rampup)


@torch.no_grad()
def update(average: nn.Module, source: nn.Module, batch: int, half_life: float) -> None:
    """Move `average` towards `source` as far as `batch` images go; copies buffers. A half-life of 0 copies all."""
    weight = 1.0 if half_life <= 0 else 1 - 0.5 ** (batch / half_life)
    torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), weight)
    for ours, theirs in zip(average.buffers(), source.buffers(), strict=True):
        ours.copy_(theirs)
