"""The R3GAN pair (Huang et al. 2024): no normalisation, grouped residual blocks, bilinear resampling; 8 to 1024 px.

Made for the relativistic loss with R1 + R2, whose convergence is what lets everything else be omitted. With `published`
both networks are those of the authors' code, weight for weight (preset `r3-paper`): a bias before either activation of a
block, zeros beyond the border in resampling, no tanh, no bias in the first and last layer, labels by their embedding and inner
product. Without it (preset `r3`) they are a simpler form of it; docs/deviations.md lists what differs.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, GeneratorBase, doubled, families, start_of
from ganvas.networks.layers import bilinear_down, bilinear_up
from ganvas.types import Shape

WIDEST = 2**16
"""Channels of a block: the number of its groups is looked for among them."""


Stage = tuple[int, int, int]
"""Width, blocks, and channels of a group of their 3 x 3 convolutions."""


class ResidualBlock(nn.Module):
    """1 x 1 widening - leaky ReLU - grouped 3 x 3 - leaky ReLU - 1 x 1 narrowing, added to its input (section 3.3).

    The last layer starts at zero, so a deep stack starts as the identity: what lets it train without norms (Zhang et al. 2019,
    Fixup).
    """

    def __init__(
        self, channels: int, expansion: int, group: int, depth: int, published: bool = False
    ) -> None:
        super().__init__()
        wide = channels * expansion
        if not (0 < wide <= WIDEST and group > 0):
            raise GanvasError(
                f"Network 'r3' has blocks of {channels} x {expansion} channels in groups of {group}; there are 1 to {WIDEST:,}."
            )
        groups = max(1, wide // group)
        while wide % groups:
            groups -= 1
        self.widen = nn.Conv2d(channels, wide, 1)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=groups, bias=published)
        self.narrow = nn.Conv2d(wide, channels, 1, bias=False)
        for layer in (self.widen, self.mix):
            _initialise(layer, depth**-0.25)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.mix(F.leaky_relu(self.widen(x), 0.2)), 0.2)
        total: Tensor = x + self.narrow(hidden)
        return total


def _initialise(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> None:
    """He's spread for a leaky ReLU, times `gain` (depth^-1/4 in each of two layers: Fixup's rule for blocks of three)."""
    fan = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain * math.sqrt(2 / (1 + 0.2**2) / fan))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Resample(nn.Module):
    """Bilinear doubling or halving, and a 1 x 1 convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int, *, up: bool, zeros: bool) -> None:
        super().__init__()
        self.up, self.zeros = up, zeros
        self.change = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None
        if self.change is not None:
            nn.init.normal_(self.change.weight, 0.0, inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        # At the smaller size the 1 x 1 convolution is four times cheaper, and it commutes with the filter.
        if self.up:
            return bilinear_up(x if self.change is None else self.change(x), zeros=self.zeros)
        x = bilinear_down(x, zeros=self.zeros)
        return x if self.change is None else self.change(x)


def _stages(usual: Sequence[int], blocks: int, group: int, *given: Sequence[int]) -> list[Stage]:
    """Every stage from the full size down; `given` are widths, counts and groups, or empty for the usual ones."""
    usual_ones = (usual, [blocks] * len(usual), [group] * len(usual))
    columns = [values or ones for values, ones in zip(given, usual_ones, strict=True)]
    for name, values in zip(("widths", "counts", "groups"), columns, strict=True):
        if len(values) != len(usual) or any(each < 1 for each in values):
            raise GanvasError(f"The r3 networks need {name} from 1, one for each of the {len(usual)} sizes.")
    return list(zip(*columns, strict=True))


def _blocks(stages: Sequence[Stage], place: int, expansion: int, published: bool) -> list[nn.Module]:
    """The residual blocks of one stage."""
    depth = sum(count for _, count, _ in stages)
    width, count, group = stages[place]
    return [ResidualBlock(width, expansion, group, depth, published) for _ in range(count)]


class R3Generator(GeneratorBase):
    """z -> mixture of learned 4 x 4 maps -> stages of residual blocks, doubling the size between them -> tanh image.

    `group` is the channels of one group of the 3 x 3 convolutions. `published`: see above; the image is then linear. `widths`
    (for `channels` and `max_channels`), `counts` (for `blocks`) and `groups` have a number for each size, from the full one
    down. `class_dim` is the length of a label's vector, 0 for that of z.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 64,
        max_channels: int = 512,
        blocks: int = 2,
        expansion: int = 2,
        group: int = 16,
        published: bool = False,
        widths: Sequence[int] = (),
        counts: Sequence[int] = (),
        groups: Sequence[int] = (),
        class_dim: int = 0,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, embed=not class_dim)
        if class_dim and num_classes:
            self.embed = nn.Embedding(num_classes, class_dim)
            self.input_dim = latent_dim + class_dim
        self.published = published
        if published and self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, num_classes**-0.5)
        steps, rows, columns = start_of(shape, "r3", 8, 1024)
        stages = _stages(doubled(channels, steps, max_channels), blocks, group, widths, counts, groups)[::-1]
        width = [each for each, _, _ in stages]
        self.basis = nn.Parameter(torch.randn(width[0], rows, columns))
        self.first = nn.Linear(self.input_dim, width[0], bias=False)
        nn.init.normal_(self.first.weight, 0.0, self.input_dim**-0.5)
        layers = _blocks(stages, 0, expansion, published)
        for i, (inputs, outputs) in enumerate(pairwise(width), 1):
            layers += [
                Resample(inputs, outputs, up=True, zeros=published),
                *_blocks(stages, i, expansion, published),
            ]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(width[-1], shape[0], 1, bias=not published)
        nn.init.normal_(self.last.weight, 0.0, width[-1] ** -0.5)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        start = self.basis * self.first(self.with_labels(z, labels))[:, :, None, None]
        drawn: Tensor = self.last(self.layers(start)).float()
        return drawn if self.published else drawn.tanh()


class R3Critic(CriticBase):
    """The generator's mirror: stages of residual blocks, halving the size between them -> one number a map -> logit."""

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        channels: int = 64,
        max_channels: int = 512,
        blocks: int = 2,
        expansion: int = 2,
        group: int = 16,
        published: bool = False,
        widths: Sequence[int] = (),
        counts: Sequence[int] = (),
        groups: Sequence[int] = (),
        class_dim: int = 0,
        **heads: Any,
    ) -> None:
        steps, rows, columns = start_of(shape, "r3", 8, 1024)
        stages = _stages(doubled(channels, steps, max_channels), blocks, group, widths, counts, groups)
        width = [each for each, _, _ in stages]
        super().__init__(shape, num_classes, width[-1], **heads)
        if class_dim and self.embed is not None:
            if not published or self.spectral_heads:
                raise GanvasError("An r3 critic has class_dim as published alone, without spectral_heads.")
            self.embed = nn.Embedding(num_classes, class_dim)
        self.published = published
        # The published critic has no logit without a label: it compares as many numbers as the label's vector has.
        self.compares = published and self.embed is not None
        if published and self.embed is not None and not self.spectral_heads:
            nn.init.normal_(self.embed.weight, 0.0, (width[-1] * num_classes) ** -0.5)
        first = nn.Conv2d(shape[0], width[0], 1, bias=not published)
        if published:
            nn.init.normal_(first.weight, 0.0, shape[0] ** -0.5)
        else:
            _initialise(first)
        layers: list[nn.Module] = [first, *_blocks(stages, 0, expansion, published)]
        for i, (inputs, outputs) in enumerate(pairwise(width), 1):
            layers += [
                Resample(inputs, outputs, up=False, zeros=published),
                *_blocks(stages, i, expansion, published),
            ]
        gather = nn.Conv2d(width[-1], width[-1], (rows, columns), groups=width[-1], bias=False)
        nn.init.normal_(gather.weight, 0.0, 1 / math.sqrt(rows * columns))
        self.layers = nn.Sequential(*layers, gather, nn.Flatten())
        self.last = nn.Linear(width[-1], (class_dim or width[-1]) if self.compares else 1, bias=False)
        nn.init.normal_(self.last.weight, 0.0, width[-1] ** -0.5)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layers(x)
        return hidden

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits

    def score(self, features: Tensor, labels: Tensor | None) -> Tensor:
        if not self.compares or self.embed is None:
            return super().score(features, labels)
        logits: Tensor = (self.head(features) * self.embed(labels)).sum(1)
        return logits


families.add(
    "r3",
    Family(R3Generator, R3Critic, "r3", {"channels": 4, "max_channels": 16, "group": 4}),
    "R3GAN: grouped residual blocks without norms, bilinear resampling; for the relativistic loss with R1 + R2",
)
