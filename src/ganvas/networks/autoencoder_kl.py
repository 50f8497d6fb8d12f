"""AutoencoderKL of diffusers, the first stage of Stable Diffusion (Rombach et al. 2022): for weights of others."""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import UNKNOWN, Answer, CriticBase, Family, GeneratorBase, opened_only
from ganvas.types import Shape

SCALE = 0.18215
"""What codes of Stable Diffusion 1 and 2 are multiplied by, so that their spread is about 1 (Rombach et al. 2022)."""
GROUPS, EPSILON = 32, 1e-6
"""Of the group norms."""
LARGEST_SIDE = 1024
LARGEST_SCALE = 1e3


def maps_of(shape: Shape, factor: int, channels: int) -> tuple[int, int, int]:
    """The maps that the code of a picture is. Raises `GanvasError` for a picture that is not halved evenly."""
    if len(shape) != 3 or shape[0] != 3:
        raise GanvasError(
            f"This autoencoder draws pictures in colour, (3, height, width), not {tuple(shape)}."
        )
    if any(side % factor or not 0 < side <= LARGEST_SIDE for side in shape[1:]):
        sides = shape[1] if shape[1] == shape[2] else f"{shape[2]} x {shape[1]}"
        raise GanvasError(
            f"The side is {sides}; this autoencoder takes multiples of {factor} up to {LARGEST_SIDE}."
        )
    return channels, shape[1] // factor, shape[2] // factor


class Decoder(GeneratorBase):
    """z, the maps of a code in units of about their spread, -> picture; what z is drawn from nobody has said."""

    prior = UNKNOWN

    def __init__(self, shape: Shape, latent_dim: int, num_classes: int, factor: int, channels: int) -> None:
        super().__init__(shape, latent_dim, num_classes)
        self.maps = maps_of(shape, factor, channels)
        if num_classes or latent_dim != math.prod(self.maps):
            raise GanvasError(
                f"The codes of this autoencoder are {math.prod(self.maps)} numbers without classes, not {latent_dim}."
            )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.draw(z.unflatten(1, self.maps))

    def draw(self, codes: Tensor) -> Tensor:
        """Maps (B, C, h, w) -> pictures (B, 3, H, W)."""
        raise NotImplementedError


class Encoder(CriticBase):
    """Picture -> z: the mean of the code's posterior, and nothing else."""

    def answer(self, x: Tensor, labels: Tensor | None = None) -> Answer:
        codes = self.code(x).flatten(1)
        return Answer(codes.new_zeros(len(codes)), codes, None, codes)

    def code(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) -> maps (B, C, h, w)."""
        raise NotImplementedError


class KlGenerator(Decoder):
    """Its decoder. `widths` are those of the stages from the full size down; codes are less `shift` and times `scale`."""

    def __init__(
        self, shape: Shape, latent_dim: int, *, num_classes: int = 0, widths: Sequence[int] = (128, 256, 512, 512),
        layers: int = 2, channels: int = 4, quant: bool = True, scale: float = SCALE, shift: float = 0.0,
    ) -> None:  # fmt: skip
        _check(widths, layers, channels, scale, shift)
        super().__init__(shape, latent_dim, num_classes, 2 ** (len(widths) - 1), channels)
        self.scale, self.shift = scale, shift
        self.post_quant_conv = nn.Conv2d(channels, channels, 1) if quant else nn.Identity()
        self.decoder = KlDecoder(tuple(widths)[::-1], layers + 1, channels)

    def draw(self, codes: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.post_quant_conv(codes / self.scale + self.shift))
        return found


class KlCoder(Encoder):
    """Its encoder, with the options of the generator."""

    def __init__(
        self, shape: Shape, *, num_classes: int = 0, widths: Sequence[int] = (128, 256, 512, 512), layers: int = 2,
        channels: int = 4, quant: bool = True, scale: float = SCALE, shift: float = 0.0,
    ) -> None:  # fmt: skip
        _check(widths, layers, channels, scale, shift)
        super().__init__(shape)
        maps_of(shape, 2 ** (len(widths) - 1), channels)
        self.channels, self.scale, self.shift = channels, scale, shift
        self.encoder = KlEncoder(tuple(widths), layers, 2 * channels)
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1) if quant else nn.Identity()

    def code(self, x: Tensor) -> Tensor:
        found: Tensor = self.quant_conv(self.encoder(x))
        return self.scale * (found[:, : self.channels] - self.shift)


def _check(widths: Sequence[int], layers: int, channels: int, scale: Any, shift: Any) -> None:
    if not widths or any(width < GROUPS or width % GROUPS for width in widths):
        raise GanvasError(f"AutoencoderKL has widths {list(widths)}; they must be multiples of {GROUPS}.")
    if layers < 1 or channels < 1 or not 0 < scale < LARGEST_SCALE or not abs(shift) < LARGEST_SCALE:
        raise GanvasError(
            "AutoencoderKL needs layers and channels from 1, a scale above 0, and a shift near it."
        )


class KlEncoder(nn.Module):
    """Stages that halve the size - the middle - a convolution to the maps of mean and log variance."""

    def __init__(self, widths: tuple[int, ...], layers: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        inputs = (widths[0], *widths)
        self.down_blocks = nn.ModuleList(
            KlStage(inputs[i], width, layers, "downsamplers" if i < len(widths) - 1 else "")
            for i, width in enumerate(widths)
        )
        self.mid_block = KlMiddle(widths[-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        found: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return found


class KlDecoder(nn.Module):
    """A convolution - the middle - stages that double the size - the picture."""

    def __init__(self, widths: tuple[int, ...], layers: int, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.mid_block = KlMiddle(widths[0])
        inputs = (widths[0], *widths)
        self.up_blocks = nn.ModuleList(
            KlStage(inputs[i], width, layers, "upsamplers" if i < len(widths) - 1 else "")
            for i, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        found: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return found


class KlStage(nn.Module):
    """Residual blocks of one size, and what changes it: `downsamplers`, `upsamplers` or nothing."""

    def __init__(self, inputs: int, outputs: int, layers: int, scaling: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(KlBlock(outputs if i else inputs, outputs) for i in range(layers))
        self.scaling = scaling
        if scaling:
            self.add_module(scaling, nn.ModuleList([Scaled(outputs, down=scaling == "downsamplers")]))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        for scaled in getattr(self, self.scaling) if self.scaling else ():
            x = scaled(x)
        return x


class Scaled(nn.Module):
    """Half the size by a strided convolution that sees beyond the lower and right border, or double and convolved."""

    def __init__(self, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, 2 if down else 1, 0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0))
        return found


class KlBlock(nn.Module):
    """norm - SiLU - conv, twice, plus the input, through a 1 x 1 convolution where the widths differ."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inputs, EPSILON)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, outputs, EPSILON)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        total: Tensor = self.conv_shortcut(x) + hidden
        return total


class KlMiddle(nn.Module):
    """A block, attention of one head over all places, a block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(KlBlock(channels, channels) for _ in range(2))
        self.attentions = nn.ModuleList([KlAttention(channels)])

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return found


class KlAttention(nn.Module):
    """Every place looks at every other, and what it sees is added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels, EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        places = self.group_norm(x).flatten(2).transpose(1, 2)
        # One head, as a dimension of its own: ONNX knows no attention without.
        query, key, value = (layer(places)[:, None] for layer in (self.to_q, self.to_k, self.to_v))
        seen = F.scaled_dot_product_attention(query, key, value)[:, 0]
        total: Tensor = x + self.to_out[0](seen).transpose(1, 2).unflatten(2, x.shape[2:])
        return total


opened_only.add(
    "autoencoder-kl",
    Family(KlGenerator, KlCoder),
    "AutoencoderKL of Stable Diffusion: its decoder, with its encoder beside it; for weights of others",
)
