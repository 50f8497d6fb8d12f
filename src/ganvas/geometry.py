"""Straight lines and great circles between points."""

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Straight line from a to b: (n, Z), (n, Z), t (n, 1)."""
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Along the great circle from a to b, the length going evenly from one's to the other's (Shoemake 1985)."""
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    angle = torch.arccos((a / length_a * (b / length_b)).sum(1, keepdim=True).clamp(-1 + 1e-7, 1 - 1e-7))
    on_sphere = (torch.sin((1 - t) * angle) * a / length_a + torch.sin(t * angle) * b / length_b) / torch.sin(
        angle
    )
    out: Tensor = on_sphere * lerp(length_a, length_b, t)
    return out
