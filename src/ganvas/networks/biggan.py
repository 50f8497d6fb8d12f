"""The generator of BigGAN-deep (Brock et al. 2019, appendix B) as its authors' weights have it, 8 to 512 px; trained to 64 px.

z and the class's vector side by side are the condition: they make the first maps, and the scale and shift of every norm. The
published weights carry statistics for the norms at 51 levels of truncation; `BigGenerator.truncation` chooses among them, and
scales z's prior.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.networks.base import (
    TRUNCATED,
    Family,
    GeneratorBase,
    doubled,
    families,
    halvings,
    square_side,
)
from ganvas.networks.layers import BatchNorm, maybe_spectral_norm
from ganvas.networks.resnet import ResnetCritic
from ganvas.types import Shape

NARROWING = 4
"""The 3 x 3 convolutions of a block have so many times fewer channels than its input (figure 16)."""

Level = tuple[int, float] | tuple[Tensor, Tensor]
"""A row of the statistics, and its share; the rest comes from the row behind it. In a graph that is exported both are tensors."""


class StandingNorm(nn.Module):
    """Batch norm by statistics that stand in a table, a row for each level of truncation; without `rows` by the batch's own.

    Scale and shift are linear in the condition, around 1 and 0 (`condition` numbers), or learned where it is 0.
    """

    def __init__(
        self, channels: int, condition: int, rows: int, eps: float, spectral_norm: bool = False
    ) -> None:
        super().__init__()
        self.eps, self.rows = eps, rows
        if rows:
            self.register_buffer("means", torch.zeros(rows, channels))
            self.register_buffer("variances", torch.ones(rows, channels))
        else:
            self.norm = BatchNorm(channels, eps=eps, affine=False)
        if condition:
            self.scale, self.offset = (
                maybe_spectral_norm(nn.Linear(condition, channels, bias=False), spectral_norm)
                for _ in range(2)
            )
        else:
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.conditional = condition > 0

    def forward(self, x: Tensor, condition: Tensor, level: Level) -> Tensor:
        """x (B, C, H, W), condition (B, N) -> (B, C, H, W)."""
        if self.conditional:
            scale, shift = 1 + self.scale(condition), self.offset(condition)
        else:
            scale, shift = self.weight[None], self.bias[None]
        if self.rows:
            mean, variance = (_row(table, level) for table in (self.means, self.variances))
            scale = scale * torch.rsqrt(variance + self.eps)
            shift = shift - mean * scale
        else:
            x = self.norm(x)
        scale, shift = (each.to(x.dtype)[:, :, None, None] for each in (scale, shift))
        return torch.addcmul(shift, x, scale)


def _row(table: Any, level: Level) -> Tensor:
    row, share = level
    if isinstance(row, Tensor):
        this, behind = table[torch.stack([row, (row + 1).clamp(max=len(table) - 1)])].unbind()
        mixed: Tensor = share * this + (1 - share) * behind
        return mixed
    found: Tensor = table[row]
    return found if share == 1 else share * found + (1 - share) * table[row + 1]


class BigBlock(nn.Module):
    """1 x 1 - 3 x 3 - 3 x 3 - 1 x 1, each behind norm and ReLU; `up` doubles the size before the first 3 x 3.

    The shortcut keeps the first half of the channels where their number is halved, and repeats pixels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        condition: int,
        rows: int,
        eps: float,
        *,
        up: bool,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        narrow = max(1, inputs // NARROWING)
        widths = [inputs, narrow, narrow, narrow, outputs]
        self.norms = nn.ModuleList(
            StandingNorm(width, condition, rows, eps, spectral_norm) for width in widths[:-1]
        )
        self.convs = nn.ModuleList(
            maybe_spectral_norm(nn.Conv2d(a, b, kernel, padding=kernel // 2), spectral_norm)
            for (a, b), kernel in zip(pairwise(widths), (1, 3, 3, 1), strict=True)
        )
        self.outputs, self.up = outputs, up

    def forward(self, x: Tensor, condition: Tensor, level: Level) -> Tensor:
        hidden = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            hidden = F.relu(norm(hidden, condition, level))
            if self.up and i == 1:
                hidden = F.interpolate(hidden, scale_factor=2.0)
            hidden = conv(hidden)
        x = x[:, : self.outputs]
        return hidden + (F.interpolate(x, scale_factor=2.0) if self.up else x)


class PooledAttention(nn.Module):
    """Every pixel looks at the strongest of every 2 x 2; enters with a learned weight that starts at 0 (Zhang et al. 2019).

    x (B, C, H, W) -> the same shape. Queries and keys have C / 8 channels, values C / 2.
    """

    def __init__(self, channels: int, spectral_norm: bool = False) -> None:
        super().__init__()
        narrow, wide = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key, self.value, self.out = (
            maybe_spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False), spectral_norm)
            for inputs, outputs in (
                (channels, narrow),
                (channels, narrow),
                (channels, wide),
                (wide, channels),
            )
        )
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        seen = (value @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        total: Tensor = x + self.weight.to(x.dtype) * self.out(seen)
        return total


class BigGenerator(GeneratorBase):
    """Condition -> smallest maps -> residual blocks, every other one doubling the size -> tanh image.

    `channels` is the width at the full size. `widths`, in multiples of it, are those before, between and behind the blocks,
    and `doubling` says by 0 and 1 which of the blocks double the size; none: two blocks for each doubling, with the published
    widths. `attention` is the place of the block before which self-attention stands, -1 for none. `class_dim` is the length
    of a class's vector, 0 for that of z. `rows` is how many levels of truncation there are statistics for; 0, for training,
    has norms by the batch. `spectral_norm` keeps every layer's largest singular value at 1: for training, as the published
    weights have been divided by theirs already.
    """

    settings: ClassVar[Mapping[str, float]] = {"truncation": 1.0}

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 8,
        widths: Sequence[int] = (),
        doubling: Sequence[int] = (),
        attention: int = -1,
        class_dim: int = 0,
        rows: int = 0,
        eps: float = 1e-4,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, embed=False)
        side = square_side(shape, "biggan", 8, 512)
        if not widths and not doubling:
            widths, doubling = _usual(halvings(side))
        _check(widths, doubling, side)
        blocks = list(zip(doubling, widths, widths[1:], strict=False))
        if channels < 1 or rows < 0 or class_dim < 0 or not eps > 0 or not -1 <= attention < len(blocks):
            raise GanvasError(
                f"The biggan generator needs channels from 1, rows and class_dim from 0, eps above 0 and attention from -1 to "
                f"{len(blocks) - 1}."
            )
        self.embed = nn.Embedding(num_classes, class_dim or latent_dim) if num_classes else None
        condition = latent_dim + (self.embed.embedding_dim if self.embed is not None else 0)
        self.rows = rows
        self.truncation = 1.0
        start = side >> sum(up for up, _, _ in blocks)
        self.start = (start, start, blocks[0][1] * channels)
        self.first = maybe_spectral_norm(nn.Linear(condition, math.prod(self.start)), spectral_norm)
        self.layers = nn.ModuleList()
        for place, (up, inputs, outputs) in enumerate(blocks):
            if place == attention:
                self.layers.append(PooledAttention(inputs * channels, spectral_norm))
            width, wider = inputs * channels, outputs * channels
            self.layers.append(
                BigBlock(width, wider, condition, rows, eps, up=bool(up), spectral_norm=spectral_norm)
            )
        last = blocks[-1][2] * channels
        self.last_norm = StandingNorm(last, 0, rows, eps)
        self.last = maybe_spectral_norm(nn.Conv2d(last, shape[0], 3, padding=1), spectral_norm)

    def seeded(self, seed: int) -> Tensor:
        """As Hugging Face's `truncated_noise_sample` draws z: normal numbers cut off at 2, times the truncation."""
        import numpy as np
        from scipy.stats import truncnorm

        drawn = truncnorm.rvs(-2, 2, size=(1, self.latent_dim), random_state=np.random.RandomState(seed))
        return torch.from_numpy(self.truncation * drawn).float()

    @property
    def truncation(self) -> float:
        """The level of truncation, above 0 to 1: what the prior of z is multiplied by, and the norms' statistics are those of."""
        return self._truncation

    @truncation.setter
    def truncation(self, value: float) -> None:
        value = arrays.number(value, "truncation", above=0, most=1)
        step = 1 / (self.rows - 1) if self.rows > 1 else math.inf
        # Divided by the step, and mixed the other way round than one would: both as published.
        share, row = math.modf(value / step)
        last = max(0, self.rows - 1)
        if self.rows:
            self.prior = f"{TRUNCATED} {value!r}"
        self._truncation, self.level = value, (int(row), share or 1.0) if row < last else (last, 1.0)

    def truncated(self, value: float) -> Self:
        """This generator at another level of truncation, with the same weights; z is the caller's to scale."""
        found = copy.copy(self)
        found.truncation = value
        return found

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = self.with_labels(z, labels)
        hidden = self.first(condition).unflatten(1, self.start).permute(0, 3, 1, 2)
        for layer in self.layers:
            hidden = layer(hidden, condition, self.level) if isinstance(layer, BigBlock) else layer(hidden)
        drawn: Tensor = self.last(F.relu(self.last_norm(hidden, condition, self.level))).float().tanh()
        return drawn


def _usual(steps: int) -> tuple[list[int], list[int]]:
    """The published sequence of widths and doublings: at each size a block that keeps everything, then one that doubles it."""
    widths = doubled(1, steps, 16)[::-1]
    return [widths[0], *(each for pair in pairwise(widths) for each in pair)], [0, 1] * steps


def _check(widths: Sequence[int], doubling: Sequence[int], side: int) -> None:
    if len(widths) != len(doubling) + 1 or not doubling or any(each not in (0, 1) for each in doubling):
        raise GanvasError(
            "A biggan generator needs a 0 or 1 in doubling for each block, and one more of widths."
        )
    if any(b < 1 or b not in (a, a // 2) for a, b in pairwise(widths)):
        raise GanvasError("The blocks of a biggan generator keep the width or halve it.")
    times = sum(doubling)
    if times >= side.bit_length() or side % (1 << times):
        raise GanvasError(f"A biggan generator of {side} px cannot double its size {times} times.")


families.add(
    "biggan",
    Family(BigGenerator, ResnetCritic, "biggan", {"channels": 4}),
    "BigGAN-deep: residual bottlenecks, norms conditioned on z and class, SNGAN's critic; 8 to 64 px, others' weights to 512",
)
