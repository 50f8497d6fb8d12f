"""Generators and critics, one family a file. A new one: write the file, import it here, add its docs row."""

from ganvas.networks import dcgan, mlp, progressive, r3, resnet, style, stylegan2, stylegan3
from ganvas.networks.base import (
    Answer,
    CriticBase,
    Family,
    GeneratorBase,
    build_critic,
    build_generator,
    categories_of,
    families,
    from_uint8,
    to_prior,
    to_uint8,
)
from ganvas.networks.style_based import StyleBased

__all__ = [
    "Answer",
    "CriticBase",
    "Family",
    "GeneratorBase",
    "StyleBased",
    "build_critic",
    "build_generator",
    "categories_of",
    "dcgan",
    "families",
    "from_uint8",
    "mlp",
    "progressive",
    "r3",
    "resnet",
    "style",
    "stylegan2",
    "stylegan3",
    "to_prior",
    "to_uint8",
]
