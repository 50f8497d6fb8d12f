"""The networks of the StyleGAN2 files that people have, to the letter of the published code, 8 to 4096 px.

Karras et al. 2020 as the authors' later repositories have it (skip, residual or plain; any filter; clamping; class embeddings).
`style` is the smaller network of the same paper that trains on CPUs; the weights of one mean nothing to the other.
"""

import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, families, square_side
from ganvas.networks.layers import EqualConv2d, EqualLinear, MinibatchStd
from ganvas.networks.style import StyledGenerator
from ganvas.types import Shape

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "lrelu": (lambda x: F.leaky_relu(x, 0.2), math.sqrt(2)),
    "relu": (F.relu, math.sqrt(2)),
    "linear": (lambda x: x, 1.0),
}
"""Name -> function, and the gain behind it that keeps the variance."""
ARCHITECTURES = ("skip", "resnet", "orig")


class Filter(nn.Module):
    """A low-pass filter (n,) in both directions, beyond the border zeros. A true convolution: the taps are reversed."""

    def __init__(self, taps: Sequence[float]) -> None:
        super().__init__()
        total = math.fsum(taps)
        if not taps or not math.isfinite(total) or abs(total) < 1e-12:
            raise GanvasError(f"A filter needs taps whose sum is not 0, got {list(taps)}.")
        self.size = len(taps)
        kernel = torch.tensor([tap / total for tap in taps], dtype=torch.float64).flip(0).float()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
        """x (B, C, H, W) with `before` and `after` zeros on both axes -> (B, C, H + before + after - n + 1, ...)."""
        if before < 0 or after < 0:
            x = F.pad(x, (min(before, 0), min(after, 0)) * 2)
        before, after = max(before, 0), max(after, 0)
        own: Any = self.kernel
        kernel = (own * math.sqrt(gain)).to(x.dtype).repeat(x.shape[1], 1, 1, 1)
        if before != after:
            x, before = F.pad(x, (before, after) * 2), 0
        x = F.conv2d(x, kernel, padding=(0, before), groups=x.shape[1])
        return F.conv2d(x, kernel.transpose(2, 3), padding=(before, 0), groups=x.shape[1])

    def up(self, x: Tensor) -> Tensor:
        """Double the size: zeros between the pixels, then the filter (B, C, H, W) -> (B, C, 2 H, 2 W)."""
        own: Any = self.kernel
        taps = 2 * own.flip(0).to(x.dtype)
        kernel = torch.outer(taps, taps).expand(x.shape[1], 1, -1, -1)
        spread = F.conv_transpose2d(x, kernel, stride=2, groups=x.shape[1])
        begin = self.size - 1 - (self.size + 1) // 2
        pads = [
            (-begin, 2 * side - (full - begin))
            for side, full in zip(x.shape[2:], spread.shape[2:], strict=True)
        ]
        return F.pad(spread, (*pads[1], *pads[0]))


class Modulated(nn.Module):
    """A convolution whose input channels are scaled by a style, demodulated; noise, bias, activation, clamp.

    Scaling the input, and the output by the demodulation, is the same sum as weights for each sample (eq. 1, 3). Doubling the
    size is the transpose of a 3 x 3 convolution of stride 2, then the filter.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        *,
        size: int,
        low_pass: Filter | None = None,
        noise: bool = True,
        activation: str = "lrelu",
        gain: float = 1.0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.size, self.low_pass = size, low_pass
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.affine = EqualLinear(w_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(outputs))
        if noise:
            self.strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(size, size))
        self.has_noise = noise
        self.active, own = ACTIVATIONS[activation]
        self.gain = own * gain
        self.clamp = None if clamp is None else clamp * gain

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None = None) -> Tensor:
        """x (B, I, h, w), style (B, I), noise (B, 1, H, W) or None for the fixed one -> (B, O, H, W)."""
        squares = self.weight.float().square().sum((2, 3))
        demodulation = torch.rsqrt(style.float().square() @ squares.t() + 1e-8)
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.low_pass is None:
            x = F.conv2d(x, self.weight, padding=1)
        else:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            n = self.low_pass.size
            x = self.low_pass(x, (n + 1) // 2 - 1, (n - 2) // 2, 4.0)
        factor = (self.gain * demodulation).to(x.dtype)[:, :, None, None]
        x = torch.addcmul((self.gain * self.bias).to(x.dtype)[:, None, None], x, factor)
        if self.has_noise:
            fixed: Any = self.noise
            x = x + (self.gain * self.strength * (fixed if noise is None else noise)).to(x.dtype)
        # The gain is above 0, so that it commutes with the activation.
        x = self.active(x)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToImage(nn.Module):
    """A modulated 1 x 1 convolution without demodulation, and a bias."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.affine = EqualLinear(w_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.clamp = inputs**-0.5, clamp

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, I, H, W), style (B, I) -> (B, O, H, W)."""
        weight = self.weight[:, :, 0, 0] * (self.scale * style)[:, None]
        drawn = torch.matmul(weight.to(x.dtype), x.flatten(2)).unflatten(2, x.shape[2:])
        drawn = drawn + self.bias.to(x.dtype)[:, None, None]
        return drawn if self.clamp is None else drawn.clamp(-self.clamp, self.clamp)


class StyleGAN2Generator(StyledGenerator):
    """z and class -> w; learned constant -> modulated convolutions, doubling the size -> image, as published.

    The maps of side s have min(channel_base / s, channel_max) channels, or those of `widths`, from 4 px on. `architecture`:
    `skip` sums the images of all sizes, `resnet` has residual blocks, `orig` neither. `taps` is the filter of doubling.
    `mapping_width` and `embed_width` are the hidden layers of the mapping and the class's vector, by default as wide as w. The
    latter is normalised as z is; `joint_norm`: both together, as the first TensorFlow files do. `conv_clamp` bounds what
    every layer gives. `output` is `tanh`, or `linear` as published: values beyond the range are then clipped in pixels.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        widths: Sequence[int] = (),
        w_dim: int = 0,
        mapping_layers: int = 8,
        mapping_width: int = 0,
        mapping_rate: float = 0.01,
        embed_width: int = 0,
        joint_norm: bool = False,
        architecture: str = "skip",
        taps: Sequence[float] = (1, 3, 3, 1),
        noise: bool = True,
        activation: str = "lrelu",
        mapping_activation: str = "lrelu",
        conv_clamp: float | None = None,
        style_mixing: float = 0.9,
        output: str = "tanh",
    ) -> None:
        sides = sides_of(shape)
        super().__init__(shape, latent_dim, num_classes, w_dim, style_mixing, embed=False)
        check_choices(architecture, activation, mapping_activation)
        if not 0 <= style_mixing <= 1 or mapping_layers < 0 or output not in ("tanh", "linear"):
            raise GanvasError(
                "The stylegan2 generator needs style_mixing from 0 to 1, mapping_layers from 0 and an output of tanh or linear."
            )
        self.output, self.architecture, self.joint_norm = output, architecture, joint_norm
        self.active, self.gain = ACTIVATIONS[mapping_activation]
        width = widths_of(sides, channel_base, channel_max, widths)
        if num_classes:
            self.embed = nn.Embedding(num_classes, embed_width or self.w_dim)
            self.input_dim = latent_dim + self.embed.embedding_dim
        hidden = [mapping_width or self.w_dim] * (mapping_layers - 1)
        dense = [self.input_dim, *hidden, self.w_dim] if mapping_layers else [self.w_dim]
        self.map = nn.ModuleList(EqualLinear(a, b, rate=mapping_rate) for a, b in pairwise(dense))
        self.low_pass = Filter(taps)
        self.constant = nn.Parameter(torch.randn(width[0], 4, 4))
        self.layers, self.to_image, self.shortcuts = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = width[0]
        for i, (size, outputs) in enumerate(zip(sides, width, strict=True)):
            last, residual = size == sides[-1], architecture == "resnet" and i > 0
            if i:
                self.layers.append(
                    Modulated(
                        inputs, outputs, self.w_dim, size=size, low_pass=self.low_pass, noise=noise,
                        activation=activation, clamp=conv_clamp,
                    )
                )  # fmt: skip
            self.layers.append(
                Modulated(
                    outputs, outputs, self.w_dim, size=size, noise=noise, activation=activation,
                    gain=math.sqrt(0.5) if residual else 1.0, clamp=conv_clamp,
                )
            )  # fmt: skip
            if residual:
                self.shortcuts.append(EqualConv2d(inputs, outputs, 1, bias=False, gain=math.sqrt(0.5)))
            if last or architecture == "skip":
                self.to_image.append(ToImage(outputs, shape[0], self.w_dim, conv_clamp))
            inputs = outputs
        self.register_buffer("w_mean", torch.zeros(self.w_dim))
        self.register_buffer("path_mean", torch.zeros(()))  # of path-length regularisation

    @property
    def num_layers(self) -> int:
        """Rows of w+: one a convolution, and one for the last image."""
        return len(self.layers) + 1

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Of the noise of each convolution: (1, H, W)."""
        return [(1, layer.size, layer.size) for layer in self._layers() if layer.has_noise]

    @property
    def style_layers(self) -> list[nn.Module]:
        """The affine layers of the convolutions and of the last image."""
        return [layer.affine for layer in (*self._layers(), self._images()[-1])]

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), labels (B,) -> w (B, W)."""
        both = self.with_labels(z, labels)
        parts = [both] if self.joint_norm else both.tensor_split([self.latent_dim], 1)
        hidden = torch.cat([normalised(part) for part in parts], 1)
        for layer in self.map:
            hidden = self.active(layer(hidden)) * self.gain
        return hidden

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """w+ (B, L, W) -> the style vectors: one (B, C) a convolution, then one an image, coarse to fine."""
        found = [layer.affine(w_plus[:, i]) for i, layer in enumerate(self._layers())]
        return found + [
            image.affine(w_plus[:, after])
            for image, after in zip(self._images(), self._image_after(), strict=True)
        ]

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Style vectors, and noise (B, 1, H, W) a convolution or None for the fixed one -> images (B, *shape)."""
        layers, images = self._layers(), self._images()
        x = self.constant.expand(len(styles[0]), -1, -1, -1)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        drawn: Tensor | None = None
        after = dict(zip(self._image_after(), zip(images, styles[len(layers) :], strict=True), strict=True))
        for i, layer in enumerate(layers):
            if self.architecture == "resnet" and i % 2:  # the first of a block
                shortcut = self.low_pass.up(self.shortcuts[i // 2](x))
            x = layer(x, styles[i], None if noise is None or not layer.has_noise else noise[i])
            if self.architecture == "resnet" and i and i % 2 == 0:
                x = shortcut + x
            if i + 1 in after:
                image, style = after[i + 1]
                new = image(x, style).float()
                drawn = new if drawn is None else self.low_pass.up(drawn) + new
        assert drawn is not None
        return drawn.tanh() if self.output == "tanh" else drawn

    def _image_after(self) -> list[int]:
        """Number of convolutions that have run when each image is drawn."""
        return list(range(1, len(self.layers) + 1, 2))[-len(self.to_image) :]

    def _layers(self) -> list[Modulated]:
        return list(self.layers)  # type: ignore[arg-type]

    def _images(self) -> list[ToImage]:
        return list(self.to_image)  # type: ignore[arg-type]


class Plain(nn.Module):
    """A convolution of the critic: (the filter, then half the size), bias, activation, clamp."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, low_pass: Filter | None, activation: str, gain: float,
        clamp: float | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.active, own = ACTIVATIONS[activation]
        self.conv = EqualConv2d(inputs, outputs, kernel, gain=own * gain, stride=1 if low_pass is None else 2)
        self.low_pass, self.gain = low_pass, own * gain
        self.clamp = None if clamp is None else clamp * gain

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight * self.conv.scale, self.conv.bias
        assert bias is not None
        if self.low_pass is None:
            x = F.conv2d(x, weight, bias * self.gain, padding=self.conv.padding)
        else:
            n, k = self.low_pass.size, weight.shape[2]
            x = self.low_pass(x, k // 2 + (n - 1) // 2, k // 2 + (n - 2) // 2)
            x = F.conv2d(x, weight, bias * self.gain, stride=2)
        x = self.active(x)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Halve(nn.Module):
    """A block of the critic: two convolutions, the second to half the size, and in `resnet` a filtered shortcut."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        residual: bool,
        low_pass: Filter,
        activation: str,
        clamp: float | None,
    ) -> None:
        super().__init__()
        gain = math.sqrt(0.5) if residual else 1.0
        self.first = Plain(inputs, inputs, 3, None, activation, 1.0, clamp)
        self.down = Plain(inputs, outputs, 3, low_pass, activation, gain, clamp)
        self.shortcut = EqualConv2d(inputs, outputs, 1, bias=False, gain=gain) if residual else None
        self.low_pass = low_pass

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.down(self.first(x))
        return hidden if self.shortcut is None else self.shortcut(halved(self.low_pass, x)) + hidden


class StyleGAN2Critic(CriticBase):
    """Image -> blocks that halve the size -> minibatch std -> convolution -> dense -> logit, as published.

    `channel_base`, `channel_max`, `widths` (from 4 px on), `architecture`, `taps` and `conv_clamp` as of the generator.
    A class chooses by the product with what its vector (`embed_width`) becomes in `map_layers` dense layers, of length
    `map_width`; `label_outputs`: by one logit for each class, as the first TensorFlow files do. `std_group` (0: the
    whole batch) and `std_channels` are of minibatch std, whose groups are neighbours here (the authors' are strided: the same but for the order of a batch).
    """

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        widths: Sequence[int] = (),
        architecture: str = "resnet",
        taps: Sequence[float] = (1, 3, 3, 1),
        activation: str = "lrelu",
        conv_clamp: float | None = None,
        std_group: int = 4,
        std_channels: int = 1,
        map_layers: int = 8,
        map_rate: float = 0.01,
        map_activation: str = "lrelu",
        map_width: int = 0,
        embed_width: int = 0,
        label_outputs: bool = False,
        **heads: Any,
    ) -> None:
        sides = sides_of(shape)
        check_choices(architecture, activation, map_activation)
        width = widths_of(sides, channel_base, channel_max, widths)
        super().__init__(shape, num_classes, width[0], **heads)
        self.architecture, self.label_outputs = architecture, label_outputs
        self.low_pass = Filter(taps)
        residual = architecture == "resnet"

        def plain(inputs: int, outputs: int, kernel: int) -> Plain:
            return Plain(inputs, outputs, kernel, None, activation, 1.0, conv_clamp)

        drawn = width[::-1] if architecture == "skip" else width[-1:]
        self.from_image = nn.ModuleList(plain(shape[0], each, 1) for each in drawn)
        self.blocks = nn.ModuleList(
            Halve(fine, coarse, residual, self.low_pass, activation, conv_clamp)
            for fine, coarse in pairwise(width[::-1])
        )
        self.std = MinibatchStd(std_group or sys.maxsize, std_channels) if std_channels else nn.Identity()
        self.conv = plain(width[0] + std_channels, width[0], 3)
        self.dense = EqualLinear(width[0] * 16, width[0])
        self.active, self.gain = ACTIVATIONS[activation]
        self.map_active, self.map_gain = ACTIVATIONS[map_activation]
        outputs = 1
        self.map = nn.ModuleList()
        if self.embed is not None and label_outputs:
            outputs, self.embed = num_classes, None
        elif self.embed is not None:
            outputs = map_width or width[0]
            dense = [embed_width or outputs, *[outputs] * map_layers]
            if dense[0] != width[0]:
                self.embed = nn.Embedding(num_classes, dense[0])
            nn.init.normal_(self.embed.weight)
            self.map.extend(EqualLinear(a, b, rate=map_rate) for a, b in pairwise(dense))
        self.last = EqualLinear(width[0], outputs)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor | None = None
        for i, block in enumerate([*self.blocks, None]):
            if i < len(self.from_image):
                new = self.from_image[i](x)
                hidden = new if hidden is None else hidden + new
                x = halved(self.low_pass, x) if self.architecture == "skip" and block is not None else x
            hidden = hidden if block is None else block(hidden)
        found: Tensor = self.active(self.dense(self.conv(self.std(hidden)).flatten(1))) * self.gain
        return found

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits

    def score(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.head(features)
        if self.label_outputs and labels is not None and logits.shape[1] > 1:
            return logits.gather(1, labels[:, None]).squeeze(1)
        if self.embed is None:
            return logits.squeeze(1)
        asked = normalised(self.embed(labels))
        for layer in self.map:
            asked = self.map_active(layer(asked)) * self.map_gain
        chosen: Tensor = (logits * asked).sum(1) * logits.shape[1] ** -0.5
        return chosen


def normalised(x: Tensor) -> Tensor:
    """Rows (B, D) of mean square 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def halved(low_pass: Filter, x: Tensor) -> Tensor:
    """Filter and take every second pixel: (B, C, 2 H, 2 W) -> (B, C, H, W)."""
    n = low_pass.size
    return low_pass(x, (n - 1) // 2, (n - 2) // 2)[:, :, ::2, ::2]


def sides_of(shape: Shape) -> list[int]:
    """4, 8, ... to the side of the images. Raises `GanvasError` for others."""
    side = square_side(shape, "stylegan2", 8, 4096)
    if side & (side - 1):
        raise GanvasError(
            f"Network 'stylegan2' draws images whose side is a power of two, the data has {side}. "
            f"Add --resolution {2 ** round(math.log2(side))} --resize crop."
        )
    return [2**i for i in range(2, side.bit_length())]


def widths_of(sides: list[int], base: int, most: int, widths: Sequence[int]) -> list[int]:
    """Channels of the maps of each side."""
    found = list(widths) or [min(base // side, most) for side in sides]
    if len(found) != len(sides) or min(found) < 1:
        raise GanvasError(
            f"stylegan2 needs a width of at least 1 for each of the sides {sides}, got {found}: channel_base / side at most channel_max, or widths."
        )
    return found


def check_choices(architecture: str, *activations: str) -> None:
    """Raise `GanvasError` for names that mean nothing."""
    for name, known in ((architecture, ARCHITECTURES), *((each, ACTIVATIONS) for each in activations)):
        if name not in known:
            raise GanvasError(f"stylegan2 knows no {name!r} here, but {', '.join(known)}.")


families.add(
    "stylegan2",
    Family(StyleGAN2Generator, StyleGAN2Critic, "", {"channel_base": 64, "channel_max": 8}),
    "StyleGAN2 exactly as published, for the files that people have (`ganvas import`); sides of a power of two from 8 px",
)
