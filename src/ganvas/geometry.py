"""Distances, straight lines and great circles between points."""

import torch
from torch import Tensor


def distance_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Between the rows of x (n, F) and of y (m, F): (n, m). From the middle of y: squares of what lies far from 0 leave nothing
    of what is between them."""
    middle = y.mean(0)
    return torch.cdist(x - middle, y - middle)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Straight line from a to b: (n, Z), (n, Z), t (n, 1)."""
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Along the great circle from a to b, the length going evenly from one's to the other's (Shoemake 1985)."""
    # The origin has a length and no direction: a way from it or to it is straight.
    length_a, length_b = (x.norm(dim=1, keepdim=True) for x in (a, b))
    unit_a, unit_b = a / length_a.clamp(min=1e-12), b / length_b.clamp(min=1e-12)
    angle = torch.arccos((unit_a * unit_b).sum(1, keepdim=True).clamp(-1 + 1e-7, 1 - 1e-7))
    on_sphere = (torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b) / torch.sin(angle)
    out: Tensor = on_sphere * lerp(length_a, length_b, t)
    return out
