"""The residual pair of SNGAN and WGAN-GP (Miyato et al. 2018, appendix B; Gulrajani et al. 2017, appendix F)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, GeneratorBase, families, start_of
from ganvas.networks.layers import ConditionalBatchNorm, SelfAttention, maybe_spectral_norm, norm
from ganvas.types import Shape


class GeneratorBlock(nn.Module):
    """norm - ReLU - upsample - conv - norm - ReLU - conv, plus a 1 x 1 shortcut. Doubles the size."""

    def __init__(
        self, inputs: int, outputs: int, norm_name: str, num_classes: int = 0, spectral_norm: bool = False
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = (
            _norm_of(norm_name, inputs, num_classes),
            _norm_of(norm_name, outputs, num_classes),
        )
        self.conv1 = maybe_spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1), spectral_norm)
        self.conv2 = maybe_spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1), spectral_norm)
        self.shortcut = maybe_spectral_norm(nn.Conv2d(inputs, outputs, 1), spectral_norm)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        hidden = self.conv1(F.interpolate(F.relu(_normalise(self.norm1, x, labels)), scale_factor=2.0))
        hidden = self.conv2(F.relu(_normalise(self.norm2, hidden, labels)))
        # A 1 x 1 convolution and nearest upsampling commute; the small one first is four times cheaper.
        shortcut: Tensor = F.interpolate(self.shortcut(x), scale_factor=2.0)
        total: Tensor = hidden + shortcut
        return total


def _norm_of(name: str, channels: int, num_classes: int) -> nn.Module:
    """`norm`, or the one that knows the class where `conditional` was asked for and there are classes."""
    if name == "conditional":
        return ConditionalBatchNorm(channels, num_classes) if num_classes else norm("batch", channels)
    return norm(name, channels)


def _normalise(layer: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    done: Tensor = layer(x, labels) if isinstance(layer, ConditionalBatchNorm) else layer(x)
    return done


class CriticBlock(nn.Module):
    """ReLU - conv - ReLU - conv - average pooling, plus a shortcut. `first` has no ReLU in front; may keep the size."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool, spectral_norm: bool) -> None:
        super().__init__()
        self.conv1 = maybe_spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1), spectral_norm)
        self.conv2 = maybe_spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1), spectral_norm)
        self.shortcut = (
            maybe_spectral_norm(nn.Conv2d(inputs, outputs, 1), spectral_norm)
            if down or inputs != outputs
            else nn.Identity()
        )
        self.down, self.first = down, first

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            hidden, x = F.avg_pool2d(hidden, 2), F.avg_pool2d(x, 2)
        shortcut: Tensor = self.shortcut(x)
        total: Tensor = hidden + shortcut
        return total


class ResnetGenerator(GeneratorBase):
    """z -> `channels` maps at the smallest size -> one residual block per doubling -> tanh image.

    `norm` may be `conditional`: batch norm with a scale and shift per class, and no label beside z. `attention` puts a
    self-attention block where the maps have that side; `spectral_norm` keeps every layer's largest singular value at 1
    (Zhang et al. 2019, sections 3 and 4.1).
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 128,
        norm: str = "batch",
        attention: int = 0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, embed=norm != "conditional")
        steps, rows, columns = start_of(shape, "resnet", 8, 64)
        self.start = (channels, rows, columns)
        self.first = maybe_spectral_norm(nn.Linear(self.input_dim, channels * rows * columns), spectral_norm)
        self.blocks = nn.ModuleList()
        for step in range(steps + 1):
            if attention == shape[1] >> (steps - step):
                self.blocks.append(SelfAttention(channels, spectral_norm))
            if step < steps:
                self.blocks.append(GeneratorBlock(channels, channels, norm, num_classes, spectral_norm))
        self.last_norm = _norm_of(norm, channels, num_classes)
        self.last = maybe_spectral_norm(nn.Conv2d(channels, shape[0], 3, padding=1), spectral_norm)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        hidden = self.first(self.with_labels(z, labels)).unflatten(1, self.start)
        for block in self.blocks:
            hidden = block(hidden, labels) if isinstance(block, GeneratorBlock) else block(hidden)
        drawn: Tensor = self.last(F.relu(_normalise(self.last_norm, hidden, labels))).tanh()
        return drawn


class ResnetCritic(CriticBase):
    """Image -> residual blocks, the first two halving the size -> sum over pixels -> logit."""

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        channels: int = 128,
        blocks: int = 4,
        spectral_norm: bool = True,
        attention: int = 0,
        **heads: Any,
    ) -> None:
        super().__init__(shape, num_classes, channels, **heads)
        if blocks < 1:
            raise GanvasError(f"The resnet critic needs blocks from 1, got {blocks}.")
        steps = min(start_of(shape, "resnet", 8, 64).steps, blocks)
        down = [i < max(2, steps - 1) and i < steps for i in range(blocks)]
        layers: list[nn.Module] = []
        side = shape[1]
        for i in range(blocks):
            inputs = shape[0] if i == 0 else channels
            layers.append(
                CriticBlock(inputs, channels, down=down[i], first=i == 0, spectral_norm=spectral_norm)
            )
            side >>= down[i]
            if attention == side and (down[i] or i == 0):
                layers.append(SelfAttention(channels, spectral_norm))
        self.blocks = nn.Sequential(*layers)
        self.last = maybe_spectral_norm(nn.Linear(channels, 1), spectral_norm)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = F.relu(self.blocks(x)).sum((2, 3))
        return hidden

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits


families.add(
    "resnet",
    Family(ResnetGenerator, ResnetCritic, "sngan", {"channels": 8}),
    "residual blocks, spectral norm in the critic and, by option, the generator (SNGAN, SAGAN, WGAN-GP), 8 to 64 px",
)
