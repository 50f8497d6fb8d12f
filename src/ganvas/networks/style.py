"""The style-based pair of StyleGAN2 (Karras et al. 2020), 8 to 256 px, in plain tensor operations.

z -> `mapping` -> w -> `broadcast` -> w+ (one w a layer) -> `styles` -> style vectors -> `synthesis` -> image. Each of the
four can be edited and decoded (`StyleBased`); `forward` runs the whole way.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import dist
from ganvas.errors import GanvasError
from ganvas.networks.base import (
    CriticBase,
    Family,
    GeneratorBase,
    doubled,
    families,
    start_of,
    to_prior,
)
from ganvas.networks.layers import EqualConv2d, EqualLinear, MinibatchStd, SelfAttention, autocast
from ganvas.types import Shape

W_MEAN_DECAY = 0.998
"""Of the running mean of w, per training step, as published."""


class Modulated(nn.Module):
    """A convolution whose input channels are scaled by a style, then noise, bias and leaky ReLU (section 2.2).

    Weights stay shared by the batch: scaling the input, and the output by the demodulation, is the same sum (eq. 1, 3) and lets
    every library run it as one plain convolution. Doubling the size takes a 4 x 4 kernel of stride 2, four ninths of the
    work of a 3 x 3 one on the doubled maps.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        *,
        size: tuple[int, int],
        up: bool = False,
        image: bool = False,
    ) -> None:
        """`size` is (H, W) of what comes out."""
        super().__init__()
        self.size, self.up, self.image = size, up, image
        kernel = 4 if up else (1 if image else 3)
        shape = (inputs, outputs, kernel, kernel) if up else (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape))
        # A doubled pixel is touched by a quarter of the kernel.
        self.scale = (inputs * kernel * kernel / (4 if up else 1)) ** -0.5
        self.affine = EqualLinear(w_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(outputs))
        if not image:
            self.strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(size))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None = None) -> Tensor:
        """x (B, I, h, w), style (B, I), noise (B, 1, H, W) or None for the fixed one -> (B, O, H, W)."""
        weight = self.weight * self.scale
        x = x * style.to(x.dtype)[:, :, None, None]
        x = (
            F.conv_transpose2d(x, weight, stride=2, padding=1)
            if self.up
            else F.conv2d(x, weight, padding=weight.shape[2] // 2)
        )
        if self.image:
            return x + self.bias.to(x.dtype)[:, None, None]
        squares = weight.square().sum((2, 3))
        squares = squares / 4 if self.up else squares.t()
        demodulation = torch.rsqrt(style.float().square() @ squares.float() + 1e-8)
        fixed: Any = self.noise
        noise = (fixed if noise is None else noise) * self.strength
        # sqrt(2) keeps the variance behind the leaky ReLU, which it passes through.
        factor = (math.sqrt(2) * demodulation).to(x.dtype)[:, :, None, None]
        shift = (math.sqrt(2) * self.bias).to(x.dtype)[:, None, None]
        return F.leaky_relu(torch.addcmul(shift, x, factor) + (math.sqrt(2) * noise).to(x.dtype), 0.2)


class StyledGenerator(GeneratorBase):
    """What the style-based families share: `forward` by their steps, truncation, and the random inputs of training.

    Has `w_mean` and `path_mean` (of path-length regularisation). A subclass brings the members of `StyleBased` that are
    missing here. `style_mixing` is the share of training samples that take w from two latents.
    """

    w_mean: Tensor
    uniform_noise = False
    """The noise is uniform in [0, 1), not standard normal."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        num_classes: int,
        w_dim: int,
        style_mixing: float,
        *,
        embed: bool = True,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, embed=embed)
        self.w_dim = w_dim or latent_dim
        self.style_mixing = style_mixing

    @property
    def num_layers(self) -> int:
        """Rows of w+."""
        raise NotImplementedError

    @property
    def noise_shapes(self) -> Sequence[tuple[int, ...]]:
        """(1, H, W) of each noise map."""
        raise NotImplementedError

    @property
    def fixed_noise(self) -> list[Tensor]:
        """What `synthesis` takes where no noise is given: (1, 1, H, W) for each of `noise_shapes`."""
        return [maps[None, None] for name, maps in self.named_buffers() if name.endswith(".noise")]

    @property
    def style_layers(self) -> Sequence[nn.Module]:
        """The affine layers that `sefa` reads."""
        raise NotImplementedError

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), labels (B,) -> w (B, W)."""
        raise NotImplementedError

    def broadcast(self, w: Tensor) -> Tensor:
        """w (B, W) -> w+ (B, num_layers, W), every layer the same."""
        return w[:, None].expand(-1, self.num_layers, -1)

    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        """Pull w (B, W) or w+ (B, L, W) towards the mean of w (Karras et al. 2019, B); `layers`: only the first of w+."""
        pulled: Tensor = self.w_mean + psi * (w - self.w_mean)
        return pulled if layers is None or w.dim() == 2 else torch.cat([pulled[:, :layers], w[:, layers:]], 1)

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """w+ (B, L, W) -> style vectors (B, C), coarse to fine."""
        raise NotImplementedError

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Style vectors, and noise (B, 1, H, W) for each of `noise_shapes` or None for the fixed one -> (B, *shape)."""
        raise NotImplementedError

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        *,
        mix: Tensor | None = None,
        cut: Tensor | None = None,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """`mix` (B, Z) are the latents that take over from layer `cut` (B,) on; `noise` as in `synthesis`."""
        w = self.mapping(z, labels)
        if self.training:
            self.w_mean.lerp_(dist.mean(w.detach().float().mean(0)), 1 - W_MEAN_DECAY)
        w_plus = self.broadcast(w)
        if mix is not None and cut is not None:
            late = torch.arange(self.num_layers, device=z.device) >= cut[:, None]
            w_plus = torch.where(late[:, :, None], self.mapping(mix, labels)[:, None], w_plus)
        return self.synthesis(self.styles(w_plus), noise)

    def training_inputs(
        self, normal: Callable[..., Tensor], uniform: Callable[..., Tensor]
    ) -> dict[str, Any]:
        draw = uniform if self.uniform_noise else normal
        inputs: dict[str, Any] = {"noise": [draw(*shape) for shape in self.noise_shapes]}
        if self.style_mixing:
            cut = 1 + (uniform() * (self.num_layers - 1)).long()
            unmixed = uniform() >= self.style_mixing
            inputs |= {
                "mix": to_prior(self.prior, normal(self.latent_dim)),
                "cut": cut.masked_fill(unmixed, self.num_layers),
            }
        return inputs


def unmixed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """`training_inputs` without the second latent, for samples that have to tell of the one that they are drawn from."""
    return {name: value for name, value in inputs.items() if name not in ("mix", "cut")}


class StyleGenerator(StyledGenerator):
    """Learned constant -> modulated convolutions, doubling the size -> sum of the images of all sizes -> tanh, or as it is.

    `channels` is the width at the full size; it doubles with every halving up to `max_channels`. `convs` are the
    convolutions at each size. `last_up` draws the last image straight from half the size, with nothing hidden at the full
    one: the fast choice on CPUs. `style_mixing` is the share of training samples that take w from two latents. `output` is
    `tanh`, or `linear` as published: values beyond the range are then clipped when they become pixels.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 32,
        max_channels: int = 512,
        w_dim: int = 0,
        mapping_layers: int = 2,
        mapping_rate: float = 0.01,
        convs: int = 2,
        last_up: bool = False,
        style_mixing: float = 0.9,
        output: str = "tanh",
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, w_dim, style_mixing)
        steps, rows, columns = start_of(shape, "style", 8, 256)
        if not 0 <= style_mixing <= 1 or convs < 1 or mapping_layers < 1:
            raise GanvasError(
                "The style generator needs style_mixing from 0 to 1, convs and mapping_layers from 1."
            )
        if output not in ("tanh", "linear"):
            raise GanvasError(f"Unknown output {output!r} of the style generator. Known: tanh, linear.")
        self.output = output
        widths = [self.input_dim, *[self.w_dim] * mapping_layers]
        self.map = nn.ModuleList(EqualLinear(a, b, rate=mapping_rate) for a, b in pairwise(widths))
        sizes = [(rows << i, columns << i) for i in range(steps + 1)]
        channel = doubled(channels, steps, max_channels)[::-1]
        self.constant = nn.Parameter(torch.randn(channel[0], rows, columns))
        self.layers = nn.ModuleList()
        self.to_image = nn.ModuleList()
        # Number of convolutions that have run when each image is drawn.
        self.image_after: list[int] = []
        inputs = channel[0]
        for i, (size, outputs) in enumerate(zip(sizes, channel, strict=True)):
            last = last_up and i == steps
            for j in range(0 if last else max(1, convs - (i == 0))):
                up = i > 0 and j == 0
                self.layers.append(Modulated(inputs, outputs, self.w_dim, size=size, up=up))
                inputs = outputs
            self.to_image.append(Modulated(inputs, shape[0], self.w_dim, size=size, up=last, image=True))
            self.image_after.append(len(self.layers))
        self.register_buffer("w_mean", torch.zeros(self.w_dim))
        self.register_buffer("path_mean", torch.zeros(()))  # of path-length regularisation

    @property
    def num_layers(self) -> int:
        """Rows of w+: one a convolution, and one for the last image."""
        return len(self.layers) + 1

    @property
    def coarse_sides(self) -> tuple[int, ...]:
        """Of the images that are summed."""
        return tuple(image.size[0] for image in self._images() if image.size[0] < self.shape[1])

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Of the noise of each convolution: (1, H, W)."""
        return [(1, *layer.size) for layer in self._layers()]

    @property
    def style_layers(self) -> list[nn.Module]:
        """The affine layers of the convolutions and of the last image."""
        return [layer.affine for layer in (*self._layers(), self._images()[-1])]

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), labels (B,) -> w (B, W)."""
        parts = self.with_labels(z, labels).split(self.latent_dim, 1)
        hidden = torch.cat(
            [part * torch.rsqrt(part.square().mean(1, keepdim=True) + 1e-8) for part in parts], 1
        )
        for layer in self.map:
            hidden = F.leaky_relu(layer(hidden), 0.2) * math.sqrt(2)
        return hidden

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """w+ (B, L, W) -> the style vectors: one (B, C) a convolution, then one an image, coarse to fine."""
        found = [layer.affine(w_plus[:, i]) for i, layer in enumerate(self._layers())]
        return found + [
            image.affine(w_plus[:, after])
            for image, after in zip(self._images(), self.image_after, strict=True)
        ]

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Style vectors, and noise (B, 1, H, W) a convolution or None for the fixed one -> images (B, *shape)."""
        x = self.constant.expand(styles[0].shape[0], -1, -1, -1)
        x = autocast(x).contiguous(memory_format=torch.channels_last)
        layers, images = list(self._layers()), list(self._images())
        drawn: Tensor | None = None
        done = 0
        for image, after, style in zip(images, self.image_after, styles[len(layers) :], strict=True):
            while done < after:
                x = layers[done](x, styles[done], None if noise is None else noise[done])
                done += 1
            new = image(x, style)
            if drawn is not None:
                new = new + F.interpolate(drawn, size=new.shape[2:], mode="bilinear", align_corners=False)
            drawn = new
            if drawn.shape[-1] == self.shape[-1]:
                break
        assert drawn is not None
        return drawn.float().tanh() if self.output == "tanh" else drawn.float()

    def _layers(self) -> list[Modulated]:
        return list(self.layers)  # type: ignore[arg-type]

    def _images(self) -> list[Modulated]:
        return list(self.to_image)  # type: ignore[arg-type]


class StyleBlock(nn.Module):
    """Halve the size: 3 x 3 and strided 4 x 4 convolution plus a shortcut (`residual`), or the strided one alone."""

    def __init__(self, inputs: int, outputs: int, residual: bool) -> None:
        super().__init__()
        self.first = EqualConv2d(inputs, inputs, 3) if residual else None
        self.down = EqualConv2d(inputs, outputs, 4, stride=2)
        self.shortcut = EqualConv2d(inputs, outputs, 1, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.first is None else _active(self.first(x))
        hidden = _active(self.down(hidden))
        if self.shortcut is None:
            return hidden
        total: Tensor = (hidden + self.shortcut(F.avg_pool2d(x, 2))) * math.sqrt(0.5)
        return total


class StyleCritic(CriticBase):
    """Image -> blocks that halve the size, doubling the channels -> minibatch std -> convolution -> dense -> logit.

    `attention` puts a self-attention block where the maps have that side.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        channels: int = 32,
        max_channels: int = 512,
        residual: bool = True,
        minibatch_std: bool = True,
        attention: int = 0,
        **heads: Any,
    ) -> None:
        steps, rows, columns = start_of(shape, "style", 8, 256)
        width = doubled(channels, steps, max_channels)
        super().__init__(shape, num_classes, width[-1], **heads)
        layers: list[nn.Module] = []
        if residual:
            layers += [EqualConv2d(shape[0], width[0], 1), _Active()]
        for i, (inputs, outputs) in enumerate(pairwise(width)):
            if attention == shape[1] >> i:
                layers.append(SelfAttention(inputs if residual or i else shape[0]))
            layers.append(StyleBlock(inputs if residual or i else shape[0], outputs, residual))
        if attention == shape[1] >> steps:
            layers.append(SelfAttention(width[-1]))
        if minibatch_std:
            layers.append(MinibatchStd())
        layers += [EqualConv2d(width[-1] + minibatch_std, width[-1], 3), _Active(), nn.Flatten()]
        layers += [EqualLinear(width[-1] * rows * columns, width[-1]), _Active()]
        self.layers = nn.Sequential(*layers)
        self.last = EqualLinear(width[-1], 1)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layers(x)
        return hidden

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class _Active(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _active(x)


families.add(
    "style",
    Family(StyleGenerator, StyleCritic, "hour", {"channels": 4, "max_channels": 16}),
    "StyleGAN2: mapping network, modulated convolutions, noise, skip outputs; exposes w, w+ and styles, 8 to 256 px",
)
