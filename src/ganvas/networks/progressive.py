"""Progressive growing (Karras et al. 2018): the pair starts at the smallest size, and larger ones fade in on a schedule of kimg.

Samples always have the full size: what is not grown yet is enlarged after drawing, and averaged before it is judged.

`published` takes the paper's gain of sqrt(2) in front of every leaky ReLU (in the generator's dense layer a quarter of it,
as the authors' code has), pixel norm behind the dense layer too, and a linear image. Without it all gains are 1 and the image
is a tanh: with equal weights the critic's logits then start 2^(n / 2) times smaller, n being its layers.
"""

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, GeneratorBase, doubled, families, start_of
from ganvas.networks.layers import EqualConv2d, EqualLinear, MinibatchStd, PixelNorm
from ganvas.types import Shape


def schedule(kimg: float, stable: float, fade: float, steps: int) -> float:
    """The level after `kimg`: each is trained alone for `stable` kimg, then the next fades in over `fade` (section 2)."""
    level, rest = divmod(kimg, stable + fade)
    return min(float(steps), level + max(0.0, rest - stable) / fade)


class ProgressiveGenerator(GeneratorBase):
    """z -> the smallest maps -> nearest doubling and two 3 x 3 convolutions a size, pixel norm -> tanh image.

    `level` 0 draws the smallest size, `steps` the full one; between two whole numbers both are drawn and mixed. A new
    generator is fully grown; training sets the level by `stable_kimg` and `fade_kimg`, as if it had gone on for `begun_kimg`.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 32,
        max_channels: int = 512,
        stable_kimg: float = 600.0,
        fade_kimg: float = 600.0,
        begun_kimg: float = 0.0,
        published: bool = False,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes)
        self.steps, rows, columns = start_of(shape, "progressive", 8, 256)
        if stable_kimg < 0 or fade_kimg <= 0 or begun_kimg < 0:
            raise GanvasError(
                "The progressive generator needs stable_kimg and begun_kimg of at least 0 and fade_kimg above 0."
            )
        self.stable_kimg, self.fade_kimg, self.begun_kimg = stable_kimg, fade_kimg, begun_kimg
        width = doubled(channels, self.steps, max_channels)[::-1]
        self.start = (width[0], rows, columns)
        self.published = published
        gain = math.sqrt(2) if published else 1.0
        self.first = EqualLinear(
            self.input_dim, width[0] * rows * columns, gain=gain / 4 if published else 1.0
        )
        self.first_norm = PixelNorm() if published else nn.Identity()
        self.blocks = nn.ModuleList([_convolutions(width[0], width[0], gain=gain)])
        for inputs, outputs in pairwise(width):
            self.blocks.append(_convolutions(inputs, outputs, outputs, gain=gain))
        self.to_image = nn.ModuleList(EqualConv2d(w, shape[0], 1) for w in width)
        self.register_buffer("level", torch.tensor(float(self.steps)))

    def grow(self, kimg: float) -> float:
        level = schedule(self.begun_kimg + kimg, self.stable_kimg, self.fade_kimg, self.steps)
        own: Any = self
        own.level.fill_(level)
        return level

    @property
    def grown_kimg(self) -> float:
        """When the schedule reaches the level."""
        whole, rest = divmod(_level(self), 1.0)
        return whole * (self.stable_kimg + self.fade_kimg) + (
            self.stable_kimg + rest * self.fade_kimg if rest else 0.0
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        level = _level(self)
        whole = int(level)
        z = self.with_labels(z, labels)
        hidden = self.first(z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)).unflatten(1, self.start)
        hidden = self.blocks[0](self.first_norm(F.leaky_relu(hidden, 0.2)))
        for block in list(self.blocks)[1 : whole + 1]:
            hidden = block(F.interpolate(hidden, scale_factor=2.0))
        drawn = self.to_image[whole](hidden)
        if level > whole:
            finer = self.to_image[whole + 1](self.blocks[whole + 1](F.interpolate(hidden, scale_factor=2.0)))
            drawn = torch.lerp(F.interpolate(drawn, scale_factor=2.0), finer, level - whole)
        missing = self.shape[1] // drawn.shape[2]
        drawn = drawn.float() if self.published else drawn.float().tanh()
        return F.interpolate(drawn, scale_factor=float(missing)) if missing > 1 else drawn


def _level(network: nn.Module) -> float:
    """How far a network has grown; a number from a file may be anything."""
    steps: Any = network.steps
    level: Any = network.level
    return float(steps) if getattr(level, "is_meta", False) else min(max(float(level), 0.0), float(steps))


def _convolutions(*width: int, gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(width):
        layers += [EqualConv2d(inputs, outputs, 3, gain=gain), nn.LeakyReLU(0.2), PixelNorm()]
    return nn.Sequential(*layers)


class ProgressiveCritic(CriticBase):
    """The generator's mirror, with minibatch std in groups of `std_group` before the last convolution. Follows the generator's
    level.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        channels: int = 32,
        max_channels: int = 512,
        published: bool = False,
        std_group: int = 4,
        **heads: Any,
    ) -> None:
        steps, rows, columns = start_of(shape, "progressive", 8, 256)
        width = doubled(channels, steps, max_channels)[::-1]
        super().__init__(shape, num_classes, width[0], **heads)
        self.steps = steps
        gain = math.sqrt(2) if published else 1.0
        self.from_image = nn.ModuleList(EqualConv2d(shape[0], w, 1, gain=gain) for w in width)
        # blocks[i] goes from size i + 1 to size i, 0 being the smallest.
        self.blocks = nn.ModuleList(
            nn.Sequential(
                EqualConv2d(fine, fine, 3, gain=gain),
                nn.LeakyReLU(0.2),
                EqualConv2d(fine, coarse, 3, gain=gain),
                nn.LeakyReLU(0.2),
                nn.AvgPool2d(2),
            )
            for coarse, fine in pairwise(width)
        )
        self.end = nn.Sequential(
            MinibatchStd(std_group),
            EqualConv2d(width[0] + 1, width[0], 3, gain=gain),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            EqualLinear(width[0] * rows * columns, width[0], gain=gain),
            nn.LeakyReLU(0.2),
        )
        self.last = EqualLinear(width[0], 1)
        self.register_buffer("level", torch.tensor(float(self.steps)))

    @property
    def in_order(self) -> list[nn.Module]:
        """From the full size down; what reads smaller images is none of them."""
        return [self.from_image[-1], *reversed(list(self.blocks)), self.end, self.last]

    def follow(self, level: float) -> None:
        own: Any = self
        own.level.fill_(level)

    def features(self, x: Tensor) -> Tensor:
        level = _level(self)
        whole = int(level)
        missing = 1 << (self.steps - whole)
        coarse = F.avg_pool2d(x, missing) if missing > 1 else x
        hidden = F.leaky_relu(self.from_image[whole](coarse), 0.2)
        if level > whole:
            fine = F.avg_pool2d(x, missing // 2) if missing > 2 else x
            # A real image fades like a drawn one: its fine detail comes in with the level (section 2).
            fine = torch.lerp(F.interpolate(coarse, scale_factor=2.0), fine, level - whole)
            finer = self.blocks[whole](F.leaky_relu(self.from_image[whole + 1](fine), 0.2))
            hidden = torch.lerp(hidden, finer.to(hidden.dtype), level - whole)
        for block in reversed(list(self.blocks)[:whole]):
            hidden = block(hidden)
        ended: Tensor = self.end(hidden)
        return ended

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits


families.add(
    "progressive",
    Family(ProgressiveGenerator, ProgressiveCritic, "progressive", {"channels": 4, "max_channels": 16}),
    "progressive growing with fade-in, on a schedule of its own in kimg; 8 to 256 px",
)
