"""The generator of lucidrains' lightweight-gan (after Liu et al. 2021), for the weights that people have of it; 8 to 1024 px.

One narrow stage for each doubling, and maps that are scaled, channel by channel, by what a stage eight times smaller saw.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import Family, GeneratorBase, doubled, families, halvings, square_side
from ganvas.networks.layers import BatchNorm
from ganvas.networks.lucidrains import HEAD, HEADS, ChannelNorm, LinearAttention, blurred, split_heads
from ganvas.networks.style import StyleCritic
from ganvas.types import Shape

EXCITING = (1, 2, 3, 4)
"""Places of the stages that scale another one, as published: those that end at 16 to 128 px."""
FURTHER = 3
"""The other stage is so many places on."""
FREQUENCIES = [(0, v) for v in range(8)] + [(u, 0) for u in range(8)]
"""Of the cosines that channels are weighted by, down and across, as published."""


def gated(x: Tensor) -> Tensor:
    """GLU over the channels, (B, 2 C, H, W) -> (B, C, H, W), by operations that have every derivative in batches."""
    kept, gate = x.chunk(2, 1)
    return kept * gate.sigmoid()


class Stage(nn.Module):
    """1 x 1 convolution - SiLU - pixels out of four channels - blur, if any - 4 x 4 convolution - noise - norm - GLU."""

    def __init__(self, inputs: int, outputs: int, blur: bool) -> None:
        super().__init__()
        self.up = nn.Conv2d(inputs, 4 * inputs, 1)
        self.conv = nn.Conv2d(inputs, 2 * outputs, 4)
        self.strength = nn.Parameter(torch.zeros(1))
        self.norm = BatchNorm(2 * outputs)
        self.blur = blur
        # The four pixels of one are equal at first.
        weight = nn.init.kaiming_uniform_(torch.empty(inputs, inputs, 1, 1))
        self.up.weight = nn.Parameter(weight.repeat_interleave(4, 0))
        self.up.bias = nn.Parameter(torch.zeros(4 * inputs))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), noise (B or 1, 1, 2 H, 2 W) or None for none -> (B, O, 2 H, 2 W)."""
        x = F.pixel_shuffle(F.silu(self.up(x)), 2)
        x = self.conv(F.pad(blurred(x) if self.blur else x, (2, 1, 2, 1)))
        if noise is None and self.training:
            noise = x.new_zeros(1, 1, 1, 1)
        if noise is not None:
            x = x + (self.strength * noise).to(x.dtype)
        return gated(self.norm(x))


class Excitation(nn.Module):
    """Maps (B, C, H, W) -> a factor from 0 to 1 for each channel of another stage (B, O, 1, 1).

    What is seen of a channel is its mean where an attention looks (Cao et al. 2019), or, with `side`, its sum weighted by one
    cosine of maps of that side (Qin et al. 2021).
    """

    def __init__(self, inputs: int, outputs: int, side: int = 0) -> None:
        super().__init__()
        self.look = None if side else nn.Conv2d(inputs, 1, 1)
        if side:
            self.register_buffer("cosines", _cosines(inputs, side))
        narrow = max(3, outputs // (4 if side else 2))
        self.narrow, self.widen = nn.Conv2d(inputs, narrow, 1), nn.Conv2d(narrow, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.look is None:
            cosines: Any = self.cosines
            seen = (x * cosines).sum((2, 3))
        else:
            share = self.look(x).flatten(2).softmax(2)
            seen = (x.flatten(2) @ share.transpose(1, 2)).squeeze(2)
        hidden = F.leaky_relu(self.narrow(seen[:, :, None, None]), 0.1)
        factor: Tensor = self.widen(hidden).sigmoid()
        return factor


def _cosines(channels: int, side: int) -> Tensor:
    """(channels, side, side): an equal part of the channels for each of `FREQUENCIES`, 0 for those that are left over."""
    places = (torch.arange(side) + 0.5) * (math.pi / side)
    waves = torch.stack([(places * f).cos() * math.sqrt((2 if f else 1) / side) for f in range(8)])
    planes = torch.stack([waves[u][:, None] * waves[v] for u, v in FREQUENCIES])
    part = channels // len(FREQUENCIES)
    return F.pad(planes.repeat_interleave(part, 0), (0, 0, 0, 0, 0, channels - part * len(FREQUENCIES)))


class NearAndFar(nn.Module):
    """Linear attention over all pixels beside full attention over 3 x 3 of them, behind a norm, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = HEADS * HEAD
        self.norm, self.attend = ChannelNorm(channels), LinearAttention(channels)
        self.query = nn.Conv2d(channels, wide, 1, bias=False)
        self.key_value = nn.Conv2d(channels, 2 * wide, 1, bias=False)
        self.out = nn.Conv2d(2 * wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(x)
        query = split_heads(self.query(seen)) * HEAD**-0.5
        # (B, HEADS, HEAD, 9, H W): what lies around every pixel, zeros beyond the border.
        key, value = (
            F.unfold(part, 3, padding=1).unflatten(1, (HEADS, HEAD, 9))
            for part in self.key_value(seen).chunk(2, 1)
        )
        share = (query[:, :, :, None] * key).sum(2).softmax(2)
        near = (share[:, :, None] * value).sum(3).flatten(1, 2).unflatten(2, x.shape[2:])
        total: Tensor = x + self.out(torch.cat([self.attend(seen), near], 1))
        return total


class LightweightGenerator(GeneratorBase):
    """z -> smallest maps of unit length at every pixel -> a stage for each doubling -> image.

    `channels` is the width at the full size; it doubles with every halving up to `max_channels`; `widths` are those behind each
    stage instead, from the first on. `attention` are the places of the stages, from 0, with attention before them. `cosines`:
    the factors come from weighted sums, not from attention. `output` is `sigmoid`, or `linear` as published: values beyond 0 to
    1 are then clipped when they become pixels.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 16,
        max_channels: int = 512,
        widths: Sequence[int] = (),
        blur: bool = False,
        attention: Sequence[int] = (),
        cosines: bool = False,
        output: str = "sigmoid",
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, value_range=(0.0, 1.0))
        side = square_side(shape, "lightweight", 8, 1024)
        steps = halvings(side)
        width = list(widths) or doubled(channels, steps, max_channels)[-2::-1]
        if len(width) != steps or any(type(each) is not int or each < 1 for each in width):
            raise GanvasError(
                f"The lightweight generator needs widths from 1, one for each of {steps} stages."
            )
        if output not in ("sigmoid", "linear") or not {*attention} <= {*range(steps)}:
            raise GanvasError(
                f"The lightweight generator needs output sigmoid or linear and attention at places 0 to {steps - 1}."
            )
        self.output, start = output, side >> steps
        self.first = nn.ConvTranspose2d(self.input_dim, 2 * latent_dim, start)
        self.first_norm = BatchNorm(2 * latent_dim)
        self.sides = [start << (i + 1) for i in range(steps)]
        self.stages = nn.ModuleList(
            Stage(a, b, blur) for a, b in zip([latent_dim, *width[:-1]], width, strict=True)
        )
        self.attention = nn.ModuleDict(
            {str(i): NearAndFar([latent_dim, *width][i]) for i in sorted({*attention})}
        )
        self.excite = nn.ModuleDict(
            {
                str(i): Excitation(width[i], width[i + FURTHER], self.sides[i] if cosines else 0)
                for i in EXCITING
                if i + FURTHER < steps
            }
        )
        self.last = nn.Conv2d(width[-1], shape[0], 3, padding=1)

    def forward(
        self, z: Tensor, labels: Tensor | None = None, *, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """`noise`: (B or 1, 1, H, W) for each stage, or None for none."""
        x = self.first_norm(self.first(self.with_labels(z, labels)[:, :, None, None]))
        x = F.normalize(gated(x), dim=1)
        factors: dict[int, Tensor] = {}
        for i, stage in enumerate(self.stages):
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
            x = stage(x, None if noise is None else noise[i])
            if str(i) in self.excite:
                factors[i + FURTHER] = self.excite[str(i)](x)
            if i in factors:
                x = x * factors[i]
        drawn: Tensor = self.last(x).float()
        return drawn.sigmoid() if self.output == "sigmoid" else drawn

    def training_inputs(
        self, normal: Callable[..., Tensor], uniform: Callable[..., Tensor]
    ) -> dict[str, Any]:
        return {"noise": [normal(1, side, side) for side in self.sides]}


families.add(
    "lightweight",
    Family(LightweightGenerator, StyleCritic, "", {"channels": 4, "max_channels": 16}),
    "lightweight-gan of lucidrains: a stage a doubling, channels scaled by smaller stages; for weights of others",
)
