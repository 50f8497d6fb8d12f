"""The alias-free pair of StyleGAN3 (Karras et al. 2021), configurations T and R, 8 to 2048 px, in plain tensor operations.

z -> `mapping` -> w -> `broadcast` -> w+ -> `styles` -> style vectors -> `synthesis` -> image. Feature maps are samples of
band-limited signals: each layer convolves, raises the sampling rate, applies the leaky ReLU there and lowers it again.
There is no noise. The image follows the coordinates of the Fourier features at the input: `transform` moves and turns it.
"""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import dist
from ganvas.device import has_fast_bf16
from ganvas.errors import GanvasError
from ganvas.networks.base import Family, families, numpy_normal, square_side, with_parts
from ganvas.networks.layers import EqualLinear, autocast
from ganvas.networks.style import StyledGenerator
from ganvas.networks.stylegan2 import StyleGAN2Critic, normalised
from ganvas.types import Shape

STRIP = 1 << 18
"""Numbers in a map of the filters that are held at once: few enough to stay in a processor's cache."""

MOST_LAYERS, MOST_KERNEL, MOST_TAPS = 64, 15, 64
"""Layers, side of a convolution, taps of a filter between two equal sampling rates; published are 14, 3 and 12."""


class Band(NamedTuple):
    """What signal a layer gives: cutoff and half the transition band (cycles per image), samples per image, map, width."""

    cutoff: float
    half_width: float
    rate: int
    size: int
    channels: int


def bands(
    side: int,
    image_channels: int,
    *,
    channel_base: int = 32768,
    channel_max: int = 512,
    widths: Sequence[int] = (),
    num_layers: int = 14,
    num_critical: int = 2,
    first_cutoff: float = 2.0,
    first_stopband: float = 2**2.1,
    last_stopband_rel: float = 2**0.3,
    margin_size: int = 10,
) -> list[Band]:
    """The `num_layers` + 1 layers, that of the image last: cutoffs and stopbands in geometric progression (section 3.2)."""
    steps = np.minimum(np.arange(num_layers + 1) / (num_layers - num_critical), 1)
    cutoff = first_cutoff * (side / 2 / first_cutoff) ** steps
    stopband = first_stopband * (side / 2 * last_stopband_rel / first_stopband) ** steps
    rate = np.exp2(np.ceil(np.log2(np.minimum(2 * stopband, side))))
    half_width = np.maximum(stopband, rate / 2) - cutoff
    size = rate + 2 * margin_size
    size[-2:] = side
    channels = list(widths) or [
        max(1, round(min(channel_base / 2 / each, channel_max))) for each in cutoff[:-1]
    ]
    return [
        Band(float(c), float(h), int(r), int(s), n)
        for c, h, r, s, n in zip(cutoff, half_width, rate, size, [*channels, image_channels], strict=True)
    ]


def coarse_bands(found: Sequence[Band], side: int) -> list[Band]:
    """The layers of a picture of `side`: what they give up to half of that, at no higher rate, with half the margin."""
    last = found[-1].cutoff + found[-1].half_width
    highest = last * side / found[-1].size
    lower = []
    for i, (cutoff, half_width, rate, size, channels) in enumerate(found):
        kept, fewer = min(cutoff, side / 2), min(rate, side)
        stopband = max(min(cutoff + half_width, highest), fewer / 2)
        inner = i < len(found) - 2
        lower.append(
            Band(kept, stopband - kept, fewer, fewer + 2 * ((size - rate) // 4) if inner else side, channels)
        )
    return lower


def nearer(taps: int, factor: float) -> Tensor:
    """What brings the taps of a kernel `factor` times as near to its middle, as (taps, taps) @ kernel.

    A tap between two samples is shared between them (linear interpolation).
    """
    places = torch.arange(taps, dtype=torch.float32)
    middle = (taps - 1) / 2
    return (1 - (middle + (places - middle) / factor - places[:, None]).abs()).clamp(min=0)


def lowpass(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """A Kaiser-windowed sinc (taps,) that sums to 1; all in cycles per image (appendix C.1)."""
    from scipy.signal import firwin

    with np.errstate(all="ignore"):  # bands from a file may be none, and so is the filter
        return torch.as_tensor(firwin(taps, cutoff, width=width, fs=rate), dtype=torch.float32)


def radial_lowpass(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """The radially symmetric one (taps, taps): jinc under the product of two Kaiser windows (appendix C.2)."""
    from scipy.signal import kaiser_atten, kaiser_beta
    from scipy.special import j1

    at = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(at[:, None], at)
    with np.errstate(all="ignore"):
        window = np.kaiser(taps, kaiser_beta(kaiser_atten(taps, width / (rate / 2))))
    weights = j1(2 * np.pi * cutoff * radius) / (np.pi * radius) * np.outer(window, window)
    return torch.as_tensor(weights / weights.sum(), dtype=torch.float32)


def placement(angle: float = 0.0, x: float = 0.0, y: float = 0.0) -> Tensor:
    """The `transform` (3, 3) that turns the image by `angle` degrees, then moves it by `x` and `y` of its width.

    Positive: anticlockwise, to the right and down. As the published tools write it: the inverse, from the places of the image
    to those of the signal.
    """
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    forward = torch.tensor([[c, s, x], [-s, c, y], [0, 0, 1]], dtype=torch.float64)
    found: Tensor = torch.linalg.inv(forward)
    return found.float()


class FourierInput(nn.Module):
    """Fourier features of random frequencies within the first band, turned and moved by w, then mixed (section 3.1)."""

    def __init__(self, w_dim: int, band: Band) -> None:
        super().__init__()
        self.band = band
        channels = band.channels
        # Uniform in the disc of the band: a Gaussian direction of its own length makes the area uniform.
        frequencies = torch.randn(channels, 2)
        radius = frequencies.square().sum(1, keepdim=True)
        frequencies = frequencies / (radius.sqrt() * (radius / 4).exp()) * band.cutoff
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualLinear(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.mul_(0.01)
            self.affine.bias[0] = 1.0
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", frequencies)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, style: Tensor, transform: Tensor | None = None) -> Tensor:
        """style (B, 4): cosine and sine up to a common factor, x, y; transform (3, 3) or (B, 3, 3) -> (B, C, S, S)."""
        own: Any = self
        c, s, *move = (style / style[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        rotation = torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)
        shift = -rotation @ torch.stack(move, 1)[:, :, None]
        after = own.transform if transform is None else transform.to(style)
        matrix = rotation @ after[..., :2, :2]
        offset = rotation @ after[..., :2, 2:] + shift
        phases = own.phases + (own.freqs @ offset)[:, :, 0]
        freqs = own.freqs @ matrix
        # What the transform turned out of the band fades.
        beyond = (freqs.norm(dim=2) - self.band.cutoff) / (self.band.rate / 2 - self.band.cutoff)
        amplitude = (1 - beyond).clamp(0, 1)
        size = self.band.size
        at = (torch.arange(size, device=style.device, dtype=style.dtype) + 0.5 - size / 2) / self.band.rate
        horizontal, vertical = (freqs[:, None, :, i] * at[:, None] for i in (0, 1))
        angle = vertical[:, :, None] + horizontal[:, None] + phases[:, None, None]
        x = torch.sin(2 * math.pi * angle) * amplitude[:, None, None]
        x = F.linear(x, self.weight * self.weight.shape[1] ** -0.5)
        return x.permute(0, 3, 1, 2)


class FilteredLayer(nn.Module):
    """A modulated convolution and the leaky ReLU at a higher sampling rate (section 3.2 and appendix C.3); or the image.

    x (B, I, s, s) and style (B, I) -> (B, O, S, S). The maps are padded with zeros so that what the filters take from
    beyond the border stays in the margin.
    """

    def __init__(
        self,
        w_dim: int,
        before: Band,
        after: Band,
        *,
        image: bool,
        radial: bool,
        conv_kernel: int,
        filter_size: int,
        lrelu_upsampling: int,
        conv_clamp: float,
        magnitude_decay: float,
    ) -> None:
        super().__init__()
        self.image, self.clamp = image, conv_clamp or None
        self.decay = magnitude_decay
        self.radial, self.taps, self.finer = radial, filter_size, lrelu_upsampling
        kernel = 1 if image else conv_kernel
        self.affine = EqualLinear(w_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        self.lower: tuple[Tensor, ...] = ()
        """Of a layer at a lower rate (`at`): the filters up and down, instead of those that its file holds."""
        self.ready: tuple[Tensor, Tensor] | None = None
        """Of such a layer: its kernels for maps of that rate, and their `_power`."""
        filters = self._between(before, after)
        for name, each in zip(("up_filter", "down_filter"), filters, strict=False):
            self.register_buffer(name, each)

    def at(self, before: Band, after: Band) -> "FilteredLayer":
        """The same layer, and its weights, on maps of lower rates."""
        found = copy.copy(self)
        found.lower = tuple(each.to(self.weight) for each in found._between(before, after))
        if not self.image:
            found.ready = self._kernels(self.before.rate / before.rate)
        return found

    @torch.no_grad()
    def _kernels(self, factor: float) -> tuple[Tensor, Tensor]:
        """The kernels for maps of a rate so many times lower, in bfloat16 where the hardware has it, and their `_power`."""
        weight = _normalized(self.weight)
        power = _power(weight)
        if factor > 1:
            once = nearer(weight.shape[2], factor)
            weight = (weight.flatten(2) @ torch.kron(once, once).t().to(weight)).unflatten(
                2, weight.shape[2:]
            )
        if has_fast_bf16(weight.device):
            weight = weight.bfloat16()
        return weight.contiguous(memory_format=torch.channels_last), power

    def _between(self, before: Band, after: Band) -> tuple[Tensor, ...]:
        """Take maps of these bands from now on. The filters up and down; none for the image."""
        self.before, self.after = before, after
        if self.image:
            return ()
        kernel, filter_size = self.weight.shape[2], self.taps
        rate = max(before.rate, after.rate) * self.finer
        self.up, self.down = rate // before.rate, rate // after.rate
        up_taps, down_taps = filter_size * self.up, filter_size * self.down
        design = radial_lowpass if self.radial else lowpass
        filters = (
            lowpass(up_taps, before.cutoff, 2 * before.half_width, rate),
            design(down_taps, after.cutoff, 2 * after.half_width, rate),
        )
        reach = (after.size - 1) * self.down + up_taps + down_taps - 1
        # Phase p of the fine signal, at up n + p, is `filter_size` samples of the coarse one from n + start[p] on (C.3).
        shift = up_taps - 1 - (reach - (before.size + kernel - 1) * self.up + self.up) // 2
        start = [(p + shift) // self.up - (filter_size - 1) for p in range(self.up)]
        self.begin, self.reach = min(start), max(start) - min(start) + filter_size - 1
        # Of each phase: its first tap, and the zeros on both sides that give all phases one beginning.
        self.phases = [
            ((p + shift) % self.up, start[p] - self.begin, max(start) - start[p]) for p in range(self.up)
        ]
        return filters

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        own: Any = self
        if self.training:
            size = dist.mean(x.detach().float().square().mean())
            own.magnitude_ema.lerp_(size, 1 - self.decay)
        weight: Tensor = self.weight
        gain = own.magnitude_ema.rsqrt()
        if self.image:
            style = style * (weight.shape[1] ** -0.5 * gain)
            rows = gain.new_ones(style.shape[0], len(weight))
        else:
            if self.ready is None:
                weight = _normalized(weight)
                power = _power(weight)
            else:
                weight, power = self.ready
            # Over each sample, not the batch as published: the demodulation below takes it out again.
            style = style * style.square().mean(1, keepdim=True).rsqrt()
            rows = gain * torch.rsqrt(style.square() @ power + 1e-8)
        learns = torch.is_grad_enabled() and any(each.requires_grad for each in (x, style, weight))
        several = max(1, STRIP // x[0].numel())
        if learns or len(x) <= several:
            return self._shared(x, weight, style, rows)
        # Where there is less to scale in the maps than in the kernels, or those are ready as they are.
        if several > 1 or self.ready is not None or x[0].numel() < weight.numel():
            parts = (each.split(several) for each in (x, style, rows))
            return torch.cat([self._shared(a, weight, b, c) for a, b, c in zip(*parts, strict=True)])
        # Large maps one by one: the style enters the weights, and no more than one sample's maps are held.
        each = [
            self._active(
                _convolved(
                    x[i : i + 1], weight * style[i, :, None, None] * rows[i, :, None, None, None], self.bias
                )
            )
            for i in range(len(x))
        ]
        return each[0] if len(each) == 1 else torch.cat(each)

    def _shared(self, x: Tensor, weight: Tensor, style: Tensor, rows: Tensor) -> Tensor:
        """By weights that all samples share: the style scales the maps before them, the demodulation those behind."""
        scaled = x * style.to(x.dtype)[:, :, None, None]
        x = _convolved(scaled if self.ready is None else scaled.to(weight.dtype), weight).to(x.dtype)
        x = torch.addcmul(self.bias.to(x.dtype)[:, None, None], x, rows.to(x.dtype)[:, :, None, None])
        return self._active(x)

    def _active(self, x: Tensor) -> Tensor:
        """Up, leaky ReLU, down. A large map in strips of rows, so that the fine one never exists as a whole."""
        if self.image:
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        size, row = self.after.size, x.shape[0] * x.shape[1] * x.shape[3]
        if x.requires_grad or row * size <= STRIP or x.is_meta:
            return self._rows(x, 0, size)
        step = max(8, STRIP // row) * (self.up // self.down)
        strips = [self._rows(x, start, min(size, start + step)) for start in range(0, size, step)]
        return torch.cat(strips, 2)

    def _rows(self, x: Tensor, start: int, end: int) -> Tensor:
        """Rows `start` to `end` of the map behind the filters.

        No zero is inserted and nothing is computed to be thrown away: the fine signal is kept as its phases, each of them the
        coarse signal filtered with every up-th tap, and the leaky ReLU and every down-th sample do without their order.
        """
        ratio, (height, width), size = self.up // self.down, x.shape[2:], self.after.size
        top, rows = start // ratio + self.begin, math.ceil((end - start + self.taps - 1) / ratio) + self.reach
        columns = math.ceil((size + self.taps - 1) / ratio) + self.reach
        x = F.pad(x, (-self.begin, self.begin + columns - width, -top, top + rows - height))
        own: Any = self
        taps, lower = self.lower or (own.up_filter, own.down_filter)
        up = self.up * torch.stack([F.pad(taps[i :: self.up].flip(0), zeros) for i, *zeros in self.phases])
        across, along = up.to(x.dtype) * math.sqrt(2), up.to(x.dtype)
        fine = [
            [self._bent(each) for each in self._raised(column, along, 2)]
            for column in self._raised(x, across, 3)
        ]
        down: Tensor = lower.to(x.dtype)
        if down.dim() == 2:
            taps = down.flip(0, 1).unflatten(1, (-1, self.down)).unflatten(0, (-1, self.down))
            parts = [
                _filtered(fine[j][i], taps[:, i, :, j]) for i in range(self.down) for j in range(self.down)
            ]
        else:
            taps = down.flip(0).unflatten(0, (-1, self.down)).t()
            sums = [
                _sum([_filtered(*pair) for pair in zip(each, taps[:, :, None], strict=True)]) for each in fine
            ]
            parts = [_filtered(*pair) for pair in zip(sums, taps[:, None], strict=True)]
        return _sum(parts)[:, :, : end - start, :size]

    def _raised(self, x: Tensor, phases: Tensor, dim: int) -> list[Tensor]:
        """The `down` parts of the fine signal along `dim`, each with every `down`-th sample."""
        found = [_filtered(x, taps[None] if dim == 3 else taps[:, None]) for taps in phases]
        if len(found) == self.down:
            return found
        parts = [[each.permute(0, 2, 3, 1) for each in found[i :: self.down]] for i in range(self.down)]
        return [torch.stack(each, dim).flatten(dim - 1, dim).permute(0, 3, 1, 2) for each in parts]

    def _bent(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            x = F.leaky_relu(x, 0.2)
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        x = F.leaky_relu_(x, 0.2)
        return x if self.clamp is None else x.clamp_(-self.clamp, self.clamp)


def _normalized(weight: Tensor) -> Tensor:
    """Every kernel with a mean square of 1."""
    return weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()


def _power(weight: Tensor) -> Tensor:
    """What each channel adds to the squares of those behind it (in, out), for a style of 1: the demodulation is by them."""
    return weight.square().sum((2, 3)).t()


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The full convolution: every place where the kernel meets the map."""
    weight = weight.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, weight, bias, padding=weight.shape[2] - 1)


def _filtered(x: Tensor, taps: Tensor) -> Tensor:
    """Each channel with the same taps (h, w)."""
    return F.conv2d(x, taps.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])


def _sum(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for each in parts[1:]:
        total = total + each if total.requires_grad else total.add_(each)
    return total


class StyleGAN3Generator(StyledGenerator):
    """Fourier features -> `num_layers` filtered layers -> image.

    The defaults are configuration T but for the widths: as published `channel_base` is 32768 and `channel_max` 512. R has
    `conv_kernel` 1, `use_radial_filters` and twice both widths. `w_dim` 0: `latent_dim`. Frequencies are in cycles per
    image; `last_stopband_rel` is relative to half the side. `widths` are the channels of each of the `num_layers`, instead.
    `magnitude_decay` is that of the running mean square of each layer's input, per training step; as published
    0.5 ** (batch / 20000). `conv_clamp` bounds what every layer gives, 0: nothing does. `style_mixing` as in `style`.
    `output` is `tanh`, or `linear` as published: values beyond the range are then clipped when they become pixels.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channel_base: int = 2048,
        channel_max: int = 64,
        widths: Sequence[int] = (),
        w_dim: int = 0,
        mapping_layers: int = 2,
        mapping_rate: float = 0.01,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        output_scale: float = 0.25,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float = 256.0,
        magnitude_decay: float = 0.999,
        style_mixing: float = 0.0,
        output: str = "tanh",
    ) -> None:
        side = square_side(shape, "stylegan3", 8, 2048)
        if side & (side - 1):
            raise GanvasError(
                f"Network 'stylegan3' draws images whose side is a power of two, the data has {side}. Add "
                f"--resolution {1 << side.bit_length() - 1} --resize crop."
            )
        whole = {
            "channel_base": channel_base, "channel_max": channel_max, "mapping_layers": mapping_layers,
            "num_critical": num_critical, "conv_kernel": conv_kernel, "filter_size": filter_size,
            "lrelu_upsampling": lrelu_upsampling,
        }  # fmt: skip
        if (
            min(whole.values()) < 1
            or not num_critical < num_layers <= MOST_LAYERS
            or not 0 <= margin_size <= 256
        ):
            raise GanvasError(
                f"The stylegan3 generator needs {', '.join(whole)} from 1, margin_size from 0 to 256, and more num_layers "
                f"than num_critical, to {MOST_LAYERS}."
            )
        if lrelu_upsampling not in (2, 4):
            raise GanvasError("The stylegan3 generator needs lrelu_upsampling of 2 or 4.")
        if conv_kernel > MOST_KERNEL or filter_size * lrelu_upsampling > MOST_TAPS:
            raise GanvasError(
                f"The stylegan3 generator needs conv_kernel to {MOST_KERNEL}, and filter_size times lrelu_upsampling to "
                f"{MOST_TAPS}."
            )
        if widths and (len(widths) != num_layers or min(widths) < 1):
            raise GanvasError(
                f"stylegan3 needs a width of at least 1 for each of its {num_layers} layers, got {list(widths)}."
            )
        if conv_clamp < 0 or not 0 <= style_mixing <= 1 or output not in ("tanh", "linear"):
            raise GanvasError(
                "The stylegan3 generator needs conv_clamp from 0 (none), style_mixing from 0 to 1 and an output of tanh or "
                "linear."
            )
        if not 0 < first_cutoff < side / 2 or first_stopband <= first_cutoff or last_stopband_rel <= 0:
            raise GanvasError(
                f"The stylegan3 generator needs 0 < first_cutoff < {side / 2:g} (half the side), first_stopband above it "
                f"and last_stopband_rel above 0."
            )
        super().__init__(shape, latent_dim, num_classes, w_dim, style_mixing, embed=False)
        self.output_scale, self.output = output_scale, output
        if num_classes:
            self.embed = nn.Embedding(num_classes, self.w_dim)
            self.input_dim = latent_dim + self.w_dim
        dense = [self.input_dim, *[self.w_dim] * mapping_layers]
        self.map = nn.ModuleList(EqualLinear(a, b, rate=mapping_rate) for a, b in pairwise(dense))
        self.bands = bands(
            side, shape[0], channel_base=channel_base, channel_max=channel_max, widths=widths,
            num_layers=num_layers, num_critical=num_critical, first_cutoff=first_cutoff, first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel, margin_size=margin_size,
        )  # fmt: skip
        self.input = FourierInput(self.w_dim, self.bands[0])
        self.layers = nn.ModuleList(
            FilteredLayer(
                self.w_dim, self.bands[max(i - 1, 0)], band, image=i == num_layers,
                radial=use_radial_filters and i < num_layers - num_critical, conv_kernel=conv_kernel,
                filter_size=filter_size, lrelu_upsampling=lrelu_upsampling, conv_clamp=conv_clamp,
                magnitude_decay=magnitude_decay,
            )
            for i, band in enumerate(self.bands)
        )  # fmt: skip
        self.register_buffer("w_mean", torch.zeros(self.w_dim))
        self.register_buffer("path_mean", torch.zeros(()))  # of path-length regularisation

    @property
    def num_layers(self) -> int:
        """Rows of w+: that of the input, then one a layer, the image's last."""
        return len(self.layers) + 1

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """None: it takes no noise."""
        return []

    @property
    def coarse_sides(self) -> tuple[int, ...]:
        """Powers of two from the rate of its first map on: its maps are signals, and can be sampled at lower rates."""
        least = max(8, self.bands[0].rate)
        return tuple(1 << i for i in range(least.bit_length() - 1, self.shape[1].bit_length() - 1))

    def at(self, side: int) -> Self:
        """This generator with every map sampled at a rate of `side` at most; what lies above that is left out of all layers."""
        found = super().at(side)
        lower = coarse_bands(self.bands, side)
        network: Any = copy.copy(self.input)
        network.band = lower[0]
        layers = [
            layer.at(lower[max(i - 1, 0)], band)
            for i, (layer, band) in enumerate(zip(self._layers(), lower, strict=True))
        ]
        found.bands = lower
        coarse: Self = with_parts(found, input=network, layers=nn.ModuleList(layers))
        return coarse

    @property
    def style_layers(self) -> list[nn.Module]:
        """The affine layers of all but the input, whose four numbers turn and move the image."""
        return [layer.affine for layer in self._layers()]

    @property
    def transform(self) -> Tensor:
        """Where the image lies (3, 3), see `placement`; set it, or give another to `synthesis`."""
        stored: Any = self.input.transform
        place: Tensor = stored
        return place

    @transform.setter
    def transform(self, matrix: Tensor) -> None:
        with torch.no_grad():
            self.transform.copy_(matrix)

    def placed(self, matrix: Tensor) -> Self:
        """This generator with its image elsewhere (`placement`), and the same weights."""
        network: Any = copy.copy(self.input)
        network._buffers = {**self.input._buffers, "transform": matrix.to(self.transform)}
        found: Self = with_parts(self, input=network)
        return found

    def seeded(self, seed: int) -> Tensor:
        """As NVIDIA's scripts draw z."""
        return numpy_normal(seed, self.latent_dim)

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), labels (B,) -> w (B, W)."""
        parts = self.with_labels(z, labels).tensor_split([self.latent_dim], 1)
        hidden = torch.cat([normalised(part) for part in parts if part.shape[1]], 1)
        for layer in self.map:
            hidden = F.leaky_relu(layer(hidden), 0.2) * math.sqrt(2)
        return hidden

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """w+ (B, L, W) -> the style vectors: (B, 4) of the input, then (B, C) a layer, that of the image last."""
        affine = [self.input.affine, *self.style_layers]
        return [layer(w_plus[:, i]) for i, layer in enumerate(affine)]

    def synthesis(
        self,
        styles: Sequence[Tensor],
        noise: Sequence[Tensor] | None = None,
        *,
        transform: Tensor | None = None,
    ) -> Tensor:
        """Style vectors -> images (B, *shape). `transform` (3, 3) or (B, 3, 3): where they lie, instead of the stored one."""
        x = self.input(styles[0], transform)
        x = autocast(x).contiguous(memory_format=torch.channels_last)
        for layer, style in zip(self.layers, styles[1:], strict=True):
            x = layer(x, style)
        x = x.to(torch.promote_types(x.dtype, torch.float32)) * self.output_scale
        drawn: Tensor = x.tanh() if self.output == "tanh" else x
        return drawn

    def _layers(self) -> list[FilteredLayer]:
        return list(self.layers)  # type: ignore[arg-type]


families.add(
    "stylegan3",
    Family(StyleGAN3Generator, StyleGAN2Critic, "", {"channel_base": 64, "channel_max": 8}),
    "StyleGAN3 T and R: no aliasing, follows the coordinates of its input; exposes w, w+ and styles, sides of 2^n",
)
