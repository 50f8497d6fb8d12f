"""Procedural pictures with exact factors: the yardstick of disentanglement, where nothing has to be guessed.

Like dSprites (Matthey et al. 2017) in colour: one shape on black, drawn by a formula. Every factor is independent and uniform.
"""

import torch
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.data.base import Dataset, datasets
from ganvas.data.fitted import from_arrays

FACTORS = {"shape": 3, "size": 6, "angle": 8, "column": 12, "row": 12, "hue": 8}
"""Name -> how many values."""
SHAPES = ("square", "ellipse", "triangle")
SIDE = 32
COUNT = 20_000


def render(values: Tensor, side: int = SIDE) -> Tensor:
    """Factor values (n, 6), whole numbers below those of `FACTORS`, fractions between them -> uint8 images (n, 3, side, side)."""
    shape, size, angle, column, row, hue = values.double().unbind(1)
    centre_x, centre_y = (0.3 + 0.4 * each / 11 for each in (column, row))
    radius = 0.10 + 0.02 * size
    turn = angle * (torch.pi / 2 / 8)
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    x = axis[None, None, :] - centre_x[:, None, None]
    y = axis[None, :, None] - centre_y[:, None, None]
    cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
    u, v = ((cos * x + sin * y) / radius[:, None, None], (cos * y - sin * x) / radius[:, None, None])
    # Signed distance to each outline in units of the radius, negative inside.
    square = torch.maximum(u.abs(), v.abs()) - 0.9
    ellipse = (u.square() + (v / 0.5).square()).clamp(min=1e-12).sqrt() - 1.1
    triangle = torch.maximum(torch.maximum(-v - 0.6, 0.866 * u + 0.5 * v - 0.6), -0.866 * u + 0.5 * v - 0.6)
    distance = torch.stack([square, ellipse, triangle])[
        shape.round().long().clamp(0, 2), torch.arange(len(values))
    ]
    # One pixel of the edge is a ramp, so that fractions of a pixel are seen.
    ink = (0.5 - distance * radius[:, None, None] * side).clamp(0, 1)
    # Hues around half of the circle: its ends are different colours.
    position = hue / 8 * 3
    colour = torch.stack(
        [(1 - (position - place).abs() / 1.5).clamp(0.15, 1) for place in (0.0, 1.5, 3.0)], 1
    )
    return (ink[:, None] * colour[:, :, None, None] * 255).round().to(torch.uint8)


def draw_factors(n: int, seed: int = 0) -> Tensor:
    """n rows of factor values (n, 6), drawn uniformly."""
    random = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(values, (n,), generator=random) for values in FACTORS.values()], 1)


def load(config: DataConfig) -> Dataset:
    """The pictures of `draw_factors(COUNT)`, the shape being the label."""
    factors = draw_factors(COUNT)
    images = torch.cat([render(part) for part in factors.split(1000)])
    return from_arrays("shapes", images, factors[:, 0], SHAPES, config)


datasets.add(
    "shapes", load, "20,000 drawn shapes, 32 px in colour, six exact factors: to judge disentanglement"
)
