"""The generator of lucidrains' stylegan2-pytorch, for the weights that people have of it; 8 to 1024 px.

A variant of StyleGAN2 (Karras et al. 2020) of its own: z of unit length, no gain behind the activations, styles around 1, one
uniform noise map for all layers, bilinear doubling with a blur for the images, and linear attention where it was asked for.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import Family, doubled, families, halvings, square_side
from ganvas.networks.layers import bilinear_up
from ganvas.networks.style import StyleCritic, StyledGenerator
from ganvas.types import Shape

FIXED_NOISE = 0.5
"""The mean of the uniform noise, for pictures without any."""
HEADS, HEAD = 8, 64
"""Heads of attention, and numbers in each."""


class ChannelNorm(nn.Module):
    """The channels of every pixel to mean 0 and variance 1, then scaled and shifted: x (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        scaled = (x - mean) * torch.rsqrt(variance + 1e-5)
        return torch.addcmul(self.bias[:, None, None], scaled, self.weight[:, None, None])


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the pixels (Shen et al. 2021): x (B, C, H, W) -> (B, HEADS x HEAD, H, W), behind GELU.

    Queries are normalised over their numbers, keys over the pixels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = HEADS * HEAD
        self.query = nn.Conv2d(channels, wide, 1, bias=False)
        self.near = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.key_value = nn.Conv2d(channels, 2 * wide, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query = split_heads(self.query(x)).softmax(2) * HEAD**-0.5
        key, value = (split_heads(part) for part in self.key_value(self.near(x)).chunk(2, 1))
        context = value @ key.softmax(3).transpose(2, 3)
        return F.gelu((context @ query).flatten(1, 2).unflatten(2, x.shape[2:]))


def split_heads(x: Tensor) -> Tensor:
    """(B, HEADS x HEAD, H, W) -> (B, HEADS, HEAD, H W)."""
    split: Tensor = x.flatten(2).unflatten(1, (HEADS, HEAD))
    return split


class Attention(nn.Module):
    """Linear attention, then two 1 x 1 convolutions with a leaky ReLU between them, each behind a norm and added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.attend = ChannelNorm(channels), LinearAttention(channels)
        self.out = nn.Conv2d(HEADS * HEAD, channels, 1)
        self.norm2 = ChannelNorm(channels)
        self.widen, self.narrow = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.out(self.attend(self.norm(x)))
        total: Tensor = x + self.narrow(F.leaky_relu(self.widen(self.norm2(x)), 0.2))
        return total


def blurred(x: Tensor) -> Tensor:
    """The filter [1, 2, 1] / 4 in both directions, the image mirrored beyond its border: (B, C, H, W) -> the same shape."""
    # Boxes of two, twice.
    return F.avg_pool2d(F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 2, 1), 2, 1)


class Slow(nn.Module):
    """A dense layer that learns `rate` times as fast, and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, rate: float) -> None:
        super().__init__()
        # Published are unit normal weights, with which z passes eight layers only where it is long.
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (2 / inputs) ** 0.5 / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(F.linear(x, self.weight * self.rate, self.bias * self.rate), 0.2)


class Modulated(nn.Module):
    """A 3 x 3 convolution with a scale around 1 for each input channel, demodulated; noise with a weight for each channel;
    leaky ReLU. Or the 1 x 1 one of an image, with none of these (`image`).
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, image: bool = False) -> None:
        super().__init__()
        kernel = 1 if image else 3
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        nn.init.kaiming_normal_(self.weight)
        self.affine = nn.Linear(w_dim, inputs)
        self.noise = None if image else nn.Linear(1, outputs)
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)
            nn.init.zeros_(self.noise.bias)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """x (B, I, H, W), style (B, I), noise (B or 1, 1, H or more, W or more) or (1, 1, 1, 1) -> (B, O, H, W)."""
        scale = style + 1
        x = F.conv2d(x * scale.to(x.dtype)[:, :, None, None], self.weight, padding=self.weight.shape[2] // 2)
        if self.noise is None:
            return x
        squares = self.weight.square().sum((2, 3)).float()
        demodulation = torch.rsqrt(scale.float().square() @ squares.t() + 1e-8)
        # The map lies on its side, as published: its rows are the columns of the picture.
        noise = noise[:, :, : x.shape[2], : x.shape[3]].transpose(2, 3)
        shift = torch.addcmul(self.noise.bias[:, None, None], noise, self.noise.weight[:, :, None])
        return F.leaky_relu(
            torch.addcmul(shift.to(x.dtype), x, demodulation.to(x.dtype)[:, :, None, None]), 0.2
        )


class LucidrainsGenerator(StyledGenerator):
    """z -> w; learned constant -> pairs of modulated convolutions, doubling the size -> sum of the images of all sizes.

    `channels` is the width at the full size; it doubles with every halving up to `max_channels`. `attention` are the places of
    the blocks, from 0 at the smallest size, with attention before them. Without `constant` the first maps are made of the mean
    of w+'s rows, which then is the first style. `blur`: images are blurred when they are doubled, as published from version 1.1
    on. `output` is `sigmoid`, or `linear` as published: values beyond 0 to 1 are then clipped when they become pixels.
    """

    uniform_noise = True

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 16,
        max_channels: int = 512,
        mapping_layers: int = 8,
        mapping_rate: float = 0.1,
        attention: Sequence[int] = (),
        constant: bool = True,
        blur: bool = True,
        style_mixing: float = 0.9,
        output: str = "sigmoid",
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, latent_dim, style_mixing)
        self.value_range = (0.0, 1.0)
        steps = halvings(square_side(shape, "lucidrains", 8, 1024))
        if not 0 <= style_mixing <= 1 or mapping_layers < 1 or not mapping_rate > 0:
            raise GanvasError(
                "The lucidrains generator needs style_mixing from 0 to 1, mapping_layers from 1 and mapping_rate above 0."
            )
        if output not in ("sigmoid", "linear"):
            raise GanvasError(
                f"Unknown output {output!r} of the lucidrains generator. Known: sigmoid, linear."
            )
        if not {*attention} <= {*range(steps + 1)}:
            raise GanvasError(
                f"The lucidrains generator has attention at places 0 to {steps}, got {attention}."
            )
        self.output = output
        widths = [self.input_dim, *[self.w_dim] * mapping_layers]
        self.map = nn.Sequential(*(Slow(a, b, mapping_rate) for a, b in pairwise(widths)))
        width = doubled(channels, steps, max_channels)[::-1]
        self.full, side = shape[1], shape[1] >> steps
        if constant:
            self.constant = nn.Parameter(torch.randn(width[0], side, side))
        else:
            self.first = nn.ConvTranspose2d(self.w_dim, width[0], side, bias=False)
        self.from_constant, self.blur = constant, blur
        self.initial = nn.Conv2d(width[0], width[0], 3, padding=1)
        self.attention = nn.ModuleDict()
        self.layers, self.to_image = nn.ModuleList(), nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise([width[0], *width])):
            if i in attention:
                self.attention[str(i)] = Attention(inputs)
            for each in (inputs, outputs):
                self.layers.append(Modulated(each, outputs, self.w_dim))
            self.to_image.append(Modulated(outputs, shape[0], self.w_dim, image=True))
        self.register_buffer("w_mean", torch.zeros(self.w_dim))
        self.register_buffer("path_mean", torch.zeros(()))  # of path-length regularisation

    @property
    def num_layers(self) -> int:
        """Rows of w+: one a block, for its two convolutions and its image."""
        return len(self.to_image)

    @property
    def coarse_sides(self) -> tuple[int, ...]:
        """Of the images that are summed."""
        return tuple(self.full >> i for i in range(len(self.to_image) - 1, 0, -1))

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """One map for all convolutions, uniform in [0, 1) as published: smaller ones take its corner."""
        return [(1, self.full, self.full)]

    @property
    def fixed_noise(self) -> list[Tensor]:
        """One map of the mean."""
        return [torch.full((1, *self.noise_shapes[0]), FIXED_NOISE)]

    @property
    def style_layers(self) -> list[nn.Module]:
        """The affine layers of the convolutions and of the last image."""
        return [layer.affine for layer in (*self._layers(), self._images()[-1])]

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        parts = self.with_labels(z, labels).split(self.latent_dim, 1)
        w: Tensor = self.map(torch.cat([F.normalize(part, dim=1) for part in parts], 1))
        return w

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """w+ (B, L, W) -> the style vectors: one (B, C) a convolution, then one an image.

        Without a constant the mean row comes before them.
        """
        found = [layer.affine(w_plus[:, i // 2]) for i, layer in enumerate(self._layers())]
        found += [image.affine(w_plus[:, i]) for i, image in enumerate(self._images())]
        return found if self.from_constant else [w_plus.mean(1), *found]

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Style vectors, and noise ((B or 1, 1, H, W),) or None for the fixed one -> images (B, *shape)."""
        styles = list(styles)
        if self.from_constant:
            x = self.constant.expand(styles[0].shape[0], -1, -1, -1)
        else:
            x = self.first(styles.pop(0)[:, :, None, None])
        used = x.new_full((1, 1, 1, 1), FIXED_NOISE) if noise is None else noise[0]
        layers, images = self._layers(), self._images()
        x = self.initial(x)
        drawn: Tensor | None = None
        for i, image in enumerate(images):
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
            if i:
                x = bilinear_up(x)
            for place in (2 * i, 2 * i + 1):
                x = layers[place](x, styles[place], used)
            new = image(x, styles[len(layers) + i], used)
            drawn = new if drawn is None else drawn + new
            if drawn.shape[-1] == self.shape[-1]:
                break
            drawn = bilinear_up(drawn)
            drawn = blurred(drawn) if self.blur else drawn
        assert drawn is not None
        return drawn.float().sigmoid() if self.output == "sigmoid" else drawn.float()

    def _layers(self) -> list[Modulated]:
        return list(self.layers)  # type: ignore[arg-type]

    def _images(self) -> list[Modulated]:
        return list(self.to_image)  # type: ignore[arg-type]


families.add(
    "lucidrains",
    Family(LucidrainsGenerator, StyleCritic, "", {"channels": 4, "max_channels": 16}),
    "stylegan2-pytorch of lucidrains: a StyleGAN2 of its own, for weights of others; exposes w, w+ and styles",
)
