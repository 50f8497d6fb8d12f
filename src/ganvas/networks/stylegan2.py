"""The networks of the StyleGAN2 files that people have, to the letter of the published code, 8 to 4096 px.

Karras et al. 2020 as the authors' later repositories have it (skip, residual or plain; any filter; clamping; class embeddings).
`style` is the smaller network of the same paper that trains on CPUs; the weights of one mean nothing to the other.
"""

import math
import sys
from collections.abc import Callable, Sequence
from itertools import chain, pairwise, zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks import winograd
from ganvas.networks.base import CriticBase, Family, families, numpy_normal, square_side
from ganvas.networks.layers import EqualConv2d, EqualLinear, MinibatchStd, autocast
from ganvas.networks.style import StyledGenerator
from ganvas.types import Shape

ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], float]] = {
    "lrelu": (lambda x, inplace=False: F.leaky_relu(x, 0.2, inplace), math.sqrt(2)),
    "relu": (F.relu, math.sqrt(2)),
    "linear": (lambda x, inplace=False: x, 1.0),
}
"""Name -> function, and the gain behind it that keeps the variance."""
ARCHITECTURES = ("skip", "resnet", "orig")
MOST_TAPS = 64
LARGE = 1 << 21
"""Numbers in the maps of a layer above which it is computed in strips."""
STRIP = 1 << 21
"""Numbers in the maps of a strip: what a processor's cache holds."""


class Filter:
    """A low-pass filter (n,) in both directions, beyond the border zeros. A true convolution: the taps are reversed."""

    def __init__(self, taps: Sequence[float]) -> None:
        good = 0 < len(taps) <= MOST_TAPS and all(type(tap) in (int, float) for tap in taps)
        total = math.fsum(taps) if good else math.nan
        if not math.isfinite(total) or abs(total) < 1e-12:
            raise GanvasError(f"A filter needs 1 to {MOST_TAPS} taps, numbers whose sum is not 0.")
        self.size = len(taps)
        self.taps = [tap / total for tap in taps]
        # No part of the network's state: each device and type gets its own when it is first asked for.
        self._kernels: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def _kernel(self, x: Tensor) -> Tensor:
        """(n, n) for maps like x."""
        key = (x.device, x.dtype)
        if key not in self._kernels:
            with torch.inference_mode(False):
                taps = torch.tensor(self.taps, dtype=torch.float64)
                self._kernels[key] = torch.outer(taps, taps).to(*key)
        return self._kernels[key]

    def __call__(self, x: Tensor, pads: tuple[int, int, int, int], gain: float = 1.0) -> Tensor:
        """x (B, C, H, W), and zeros `pads` (left, right, top, bottom) around it -> (B, C, H + top + bottom - n + 1, ...)."""
        kernel = (gain * self._kernel(x).flip(0, 1)).repeat(x.shape[1], 1, 1, 1)
        left, right, top, bottom = pads
        if left != right or top != bottom or min(pads) < 0:
            x, left, top = F.pad(x, pads), 0, 0
        return F.conv2d(x, kernel, padding=(top, left), groups=x.shape[1])

    def up(self, x: Tensor) -> Tensor:
        """Double the size: zeros between the pixels, then the filter (B, C, H, W) -> (B, C, 2 H, 2 W)."""
        kernel = (4 * self._kernel(x)).repeat(x.shape[1], 1, 1, 1)
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
        self.pads = (0, 0) if low_pass is None else ((low_pass.size + 1) // 2 - 1, (low_pass.size - 2) // 2)
        # As convolutions and their transposes take them, the latter inputs first, and in the layout that they read fastest.
        sides = (outputs, inputs) if low_pass is None else (inputs, outputs)
        self.weight = nn.Parameter(torch.randn(*sides, 3, 3).contiguous(memory_format=torch.channels_last))
        self.affine = EqualLinear(w_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(outputs))
        if noise:
            self.strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(size, size))
        nn.Module.register_load_state_dict_post_hook(self, _lay_out)
        self.has_noise = noise
        self._kept = winograd.Kept()
        self.active, own = ACTIVATIONS[activation]
        self.gain = own * gain
        self.clamp = None if clamp is None else clamp * gain

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None = None) -> Tensor:
        """x (B, I, h, w), style (B, I), noise (B, 1, H, W) or None for the fixed one -> (B, O, H, W)."""
        weight: Tensor = self.weight
        if (kernels := self.kernels(x)) is not None:
            x = F.pad(x, (1, 1, 1, 1)).mul_(style[:, :, None, None])
            return self._end(winograd.convolved(x, kernels), self._factor(style), self.added(noise))
        factor: Tensor | None = None
        if style.shape[0] == 1 and weight.numel() < x[0].numel():
            weight = self.of_one(style)
        else:
            factor = self._factor(style)
            x = x * style.to(x.dtype)[:, :, None, None]
        if self.low_pass is None:
            x = F.conv2d(x, weight, padding=1)
        else:
            x = self.low_pass(F.conv_transpose2d(x, weight, stride=2), self.pads + self.pads, 4.0)
        return self._end(x, factor, self.added(noise))

    def of_one(self, style: Tensor) -> Tensor:
        """The weights of one sample, by its style (1, I): scaled, demodulated and with the gain."""
        across, out = (1, 0) if self.low_pass is None else (0, 1)
        weight = self.weight * style[0].unflatten(0, (-1, *[1] * (3 - across)))
        factor = self.gain * torch.rsqrt(weight.float().square().sum([across, 2, 3]) + 1e-8)
        found: Tensor = weight * factor.unflatten(0, (-1, *[1] * (3 - out))).to(weight.dtype)
        return found

    def added(self, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What is added to every map (O, 1, 1), and to every pixel (B or 1, 1, H, W): bias and noise, with the gain."""
        shift = self.gain * self.bias[:, None, None]
        if not self.has_noise:
            return shift, None
        fixed: Any = self.noise
        return shift, self.gain * self.strength * (fixed[None, None] if noise is None else noise)

    def kernels(self, x: Tensor) -> Tensor | None:
        """What `winograd.convolved` takes of frozen weights; None where maps like x do not gain by it."""
        if self.low_pass is not None or not self._frozen() or not winograd.fits(x, self.weight, self.size):
            return None
        found: Tensor = self._kept.once(self.weight, "kernels", lambda: winograd.kernels(self.weight))
        return found

    def strip(
        self, x: Tensor, style: Tensor, weight: Tensor | None, added: tuple[Tensor, Tensor | None],
        first: int, last: int,
    ) -> Tensor:  # fmt: skip
        """Rows `first` to `last` of what `forward` gives of one sample of a `style`, by its own `weight` (or `kernels`).

        `x` is the whole input where the size doubles, else the rows of it that these see: one more on each side that has one.
        """
        shift, noise = added
        factor: Tensor | None = None
        if self.low_pass is None:
            wide = int(weight is None)
            border = (wide, wide, int(first == 0), int(last == self.size))
            x = F.pad(x, border) if any(border) else x
            if weight is None:
                kernels, factor = self.kernels(x), self._factor(style)
                assert kernels is not None
                x = winograd.convolved(x.mul_(style[:, :, None, None]), kernels)
            else:
                x = F.conv2d(x, weight, padding=(0, 1))
        else:
            assert weight is not None
            # The filter sees these rows of the doubled map, and of zeros around it; they come from these of x.
            top = first - self.pads[0]
            bottom = last + self.low_pass.size - 1 - self.pads[0]
            low, high = max(top, 0), min(bottom, 2 * x.shape[2] + 1)
            begin, end = max((low - 1) // 2, 0), (high + 1) // 2
            x = F.conv_transpose2d(x[:, :, begin:end], weight, stride=2)[
                :, :, low - 2 * begin : high - 2 * begin
            ]
            x = self.low_pass(x, (*self.pads, low - top, bottom - high), 4.0)
        return self._end(x, factor, (shift, None if noise is None else noise[:, :, first:last]))

    def _factor(self, style: Tensor) -> Tensor:
        """The demodulation by a style (B, I), with the gain (B, O)."""
        frozen = self._frozen()
        squares = self._kept.once(self.weight, "squares", self._squares) if frozen else self._squares()
        return self.gain * torch.rsqrt(style.float().square() @ squares + 1e-8)

    def _squares(self) -> Tensor:
        """Sums of the squares of each kernel (I, O)."""
        squares = self.weight.float().square().sum((2, 3))
        return (squares.t() if self.low_pass is None else squares).contiguous()

    def _frozen(self) -> bool:
        """Whether what is made of the weights can be kept: nobody learns here, and they say when they change."""
        weight = self.weight
        alone = in_place() and not weight.requires_grad
        return alone and weight.device.type == "cpu" and not weight.is_inference()

    def _end(self, x: Tensor, factor: Tensor | None, added: tuple[Tensor, Tensor | None]) -> Tensor:
        """Demodulation, bias, noise, activation and clamp. The gain is above 0: it is the same in front of the activation."""
        shift, noise = added[0].to(x.dtype), added[1]
        if not in_place():
            x = x + shift if factor is None else torch.addcmul(shift, x, factor.to(x.dtype)[:, :, None, None])
            x = self.active(x if noise is None else x + noise.to(x.dtype))
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        x = x.add_(shift) if factor is None else x.mul_(factor[:, :, None, None]).add_(shift)
        x = self.active(x if noise is None else x.add_(noise), inplace=True)
        return x if self.clamp is None else x.clamp_(-self.clamp, self.clamp)


def _lay_out(module: Modulated, given: object) -> None:
    """Weights that were loaded in the place of others lie as these did."""
    module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


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
        if style.shape[0] == 1:
            drawn = F.conv2d(x, self.weight * (self.scale * style[0])[:, None, None], self.bias)
        else:
            drawn = F.conv2d(x * (self.scale * style).to(x.dtype)[:, :, None, None], self.weight, self.bias)
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
        taps: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
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
        check_clamp(conv_clamp)
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
    def coarse_sides(self) -> tuple[int, ...]:
        """Of the images that `skip` sums."""
        sides = sorted({layer.size for layer in self._layers()}) if self.architecture == "skip" else []
        return tuple(side for side in sides if side < self.shape[1])

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Of the noise of each convolution: (1, H, W)."""
        return [(1, layer.size, layer.size) for layer in self._layers() if layer.has_noise]

    @property
    def style_layers(self) -> list[nn.Module]:
        """The affine layers of the convolutions and of the last image."""
        return [*(layer.affine for layer in self._layers()), self._images()[-1].affine]

    def seeded(self, seed: int) -> Tensor:
        """As NVIDIA's scripts draw z."""
        return numpy_normal(seed, self.latent_dim)

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
        x = self.constant.expand(styles[0].shape[0], -1, -1, -1)
        x = autocast(x).contiguous(memory_format=torch.channels_last)
        drawn: Tensor | None = None
        images_after = dict(
            zip(self._image_after(), zip(images, styles[len(layers) :], strict=True), strict=True)
        )
        maps = [None if noise is None or not layer.has_noise else noise[i] for i, layer in enumerate(layers)]
        x = layers[0](x, styles[0], maps[0])
        for done in range(1, len(layers) + 1, 2):  # two convolutions a size, but one at the first
            image = images_after.get(done)
            if done == 1:
                new = None if image is None else image[0](x, image[1])
            else:
                pair = slice(done - 2, done)
                x, new = self._doubled(x, done - 2, styles[pair], maps[pair], image)
            if new is not None:
                drawn = new.float() if drawn is None else self.low_pass.up(drawn) + new.float()
                if drawn.shape[-1] == self.shape[-1]:
                    break
        assert drawn is not None
        return drawn.tanh() if self.output == "tanh" else drawn

    def _doubled(
        self,
        x: Tensor,
        number: int,
        styles: Sequence[Tensor],
        noise: Sequence[Tensor | None],
        image: tuple[ToImage, Tensor] | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The convolution `number`, which doubles the size, and the next: their maps, and the image drawn of them."""
        up, level = self._layers()[number : number + 2]
        watched = [up, level] if image is None else [up, level, image[0]]
        large = level.size**2 * level.bias.numel() > LARGE and x.device.type == "cpu" and in_place()
        if large and self.architecture != "resnet" and not any(each._forward_hooks for each in watched):
            return self._strips(x, up, level, styles, noise, image, number + 2 == len(self.layers))
        hidden = level(up(x, styles[0], noise[0]), styles[1], noise[1])
        if self.architecture == "resnet":
            hidden = self.low_pass.up(self.shortcuts[number // 2](x)) + hidden
        return hidden, None if image is None else image[0](hidden, image[1])

    def _strips(
        self,
        x: Tensor,
        up: Modulated,
        level: Modulated,
        styles: Sequence[Tensor],
        noise: Sequence[Tensor | None],
        image: tuple[ToImage, Tensor] | None,
        last: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The same a few rows at a time: what lies between stays in the cache, and asks for no new pages of memory.

        With `last`, nobody needs the maps, and they are not kept.
        """
        size, width = level.size, level.bias.numel()
        found = x
        if not last:
            found = torch.empty(
                len(x), width, size, size,
                dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
            )  # fmt: skip
        drawn = None if image is None else x.new_empty(len(x), image[0].bias.numel(), size, size)
        rows = max(8, STRIP // (width * size)) // 2 * 2
        both = [layer.added(given) for layer, given in zip((up, level), noise, strict=True)]
        for i in range(len(x)):
            one = slice(i, i + 1)
            own_style = [style[one] for style in styles]
            raised = up.of_one(own_style[0])
            weight = level.of_one(own_style[1]) if level.kernels(x) is None else None
            own = [(shift, maps if maps is None or len(maps) == 1 else maps[one]) for shift, maps in both]
            for first in range(0, size, rows):
                end = min(first + rows, size)
                seen = max(first - 1, 0), min(end + 1, size)
                hidden = up.strip(x[one], own_style[0], raised, own[0], *seen)
                hidden = level.strip(hidden, own_style[1], weight, own[1], first, end)
                if image is not None and drawn is not None:
                    drawn[one, :, first:end] = image[0](hidden, image[1][one])
                if not last:
                    found[one, :, first:end] = hidden
        return found, drawn

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
            pads = (k // 2 + (n - 1) // 2, k // 2 + (n - 2) // 2)
            x = self.low_pass(x, pads + pads)
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
    `map_width`; `label_outputs`: by one logit for each class, as the first TensorFlow files do. `std_group` (0: the whole
    batch) and `std_channels` are of minibatch std, whose groups are neighbours here: the authors' are strided, the same
    but for the order of a batch.
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
        taps: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
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
        check_clamp(conv_clamp)
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

    @property
    def in_order(self) -> list[nn.Module]:
        """As the picture passes them: of `skip` each block is followed by what reads the picture at the next size."""
        seen = chain.from_iterable(zip_longest(self.from_image, self.blocks))
        return [*(part for part in seen if part is not None), self.conv, self.dense, self.last]

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
    pads = ((n - 1) // 2, (n - 2) // 2)
    return low_pass(x, pads + pads)[:, :, ::2, ::2]


def in_place() -> bool:
    """Whether maps may be changed where they lie: memory that is asked for anew costs more than what is done in it.

    Not where gradients are wanted, nor inside of `torch.func.vmap` and `jvp`.
    """
    return not torch.is_grad_enabled() and torch._C._functorch.peek_interpreter_stack() is None


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
            f"stylegan2 needs a width of at least 1 for each of the sides {sides}, got {found}: "
            "channel_base / side, at most channel_max, or widths."
        )
    return found


def check_choices(architecture: str, *activations: str) -> None:
    """Raise `GanvasError` for names that mean nothing."""
    for name, known in ((architecture, ARCHITECTURES), *((each, ACTIVATIONS) for each in activations)):
        if name not in known:
            raise GanvasError(f"stylegan2 knows no {name!r} here, but {', '.join(known)}.")


def check_clamp(bound: float | None) -> None:
    """Raise `GanvasError` for what is no bound."""
    if bound is not None and (type(bound) not in (int, float) or not bound > 0):
        raise GanvasError(f"conv_clamp of stylegan2 is a number above 0, or none; got {bound!r}.")


families.add(
    "stylegan2",
    Family(StyleGAN2Generator, StyleGAN2Critic, "", {"channel_base": 64, "channel_max": 8}),
    "StyleGAN2 exactly as published, for the files that people have (`ganvas import`); sides of a power of two from 8 px",
)
