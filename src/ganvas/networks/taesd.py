"""TAESD, the AutoencoderTiny of diffusers: plain convolutions that were taught to give the codes of Stable Diffusion."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.autoencoder_kl import Decoder, Encoder, maps_of
from ganvas.networks.base import Family, opened_only
from ganvas.types import Shape

STAGES = (1, 3, 3, 3)
"""Blocks of the encoder at each size; the decoder has them the other way round."""
FACTOR = 8
"""Pixels to a number of a map, each way."""


class TaesdGenerator(Decoder):
    """Its decoder, `width` wide; codes have `channels` maps."""

    def __init__(
        self, shape: Shape, latent_dim: int, *, num_classes: int = 0, width: int = 64, channels: int = 4
    ) -> None:
        _check(width, channels)
        super().__init__(shape, latent_dim, num_classes, FACTOR, channels)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for i, blocks in enumerate(STAGES[::-1]):
            if i:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
            layers += [TinyBlock(width) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def draw(self, codes: Tensor) -> Tensor:
        found: Tensor = self.layers(3 * (codes / 3).tanh())
        return 2 * found - 1


class TaesdCoder(Encoder):
    """Its encoder, with the options of the generator."""

    def __init__(self, shape: Shape, *, num_classes: int = 0, width: int = 64, channels: int = 4) -> None:
        _check(width, channels)
        super().__init__(shape)
        maps_of(shape, FACTOR, channels)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
        for i, blocks in enumerate(STAGES):
            if i:
                layers.append(nn.Conv2d(width, width, 3, 2, 1, bias=False))
            layers += [TinyBlock(width) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))

    def code(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers((x + 1) / 2)
        return found


class TinyBlock(nn.Module):
    """Three convolutions, plus the input, and a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


def _check(width: int, channels: int) -> None:
    if width < 1 or channels < 1:
        raise GanvasError("AutoencoderTiny needs a width and channels from 1.")


opened_only.add(
    "taesd",
    Family(TaesdGenerator, TaesdCoder),
    "TAESD, a small decoder of the codes of Stable Diffusion, with its encoder beside it; for weights of others",
)
