"""A model of series as one of pictures: what the explorer draws, moves and compares are its curves."""

import copy
from dataclasses import replace
from typing import Self

from torch import Tensor

from ganvas import pictures
from ganvas.model import Model
from ganvas.networks import GeneratorBase
from ganvas.series import Schema

SIZE = (256, 384)
"""Height and width of the picture that is looked at."""


class Plotted(GeneratorBase):
    """Latents -> the curves of a generator of series, (B, 3, H, W) from -1 to 1. Its weights are those of that generator."""

    def __init__(self, inner: GeneratorBase, schema: Schema | None, size: tuple[int, int]) -> None:
        super().__init__((3, *size), inner.latent_dim, inner.num_classes, embed=False)
        self.schema, self.prior = schema, inner.prior
        self._hold(inner)

    def _hold(self, inner: GeneratorBase) -> None:
        # Not as a module below it, whose weights would have other names: directions and recipes know a model by a hash of them.
        self.held = (inner,)
        self._modules, self._parameters, self._buffers = inner._modules, inner._parameters, inner._buffers
        self.__dict__.pop("embed", None)  # the inner one's, and not that it has none of its own
        if "embed" not in self._modules:
            self.embed = None

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return pictures.lines(self.held[0](z, labels), self.schema, (self.shape[1], self.shape[2]))

    def mixed(self, other: int | Tensor, share: float | Tensor) -> Self:
        found = copy.copy(self)
        found._hold(self.held[0].mixed(other, share))
        return found


def plotted(model: Model, size: tuple[int, int] = SIZE) -> Model:
    """The same model, of whose samples the curves are what it draws. Its critic, which judges series, is left out."""
    generator = Plotted(model.generator, model.info.series, size).eval()
    info = replace(model.info, shape=generator.shape, series=None)
    return replace(model, generator=generator, critic=None, info=info)
