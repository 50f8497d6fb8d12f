"""Blocks that several families use."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as parametrize_spectral_norm

from ganvas import dist
from ganvas.errors import GanvasError

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def activation(name: str) -> nn.Module:
    """`relu`, `silu`, `tanh`, `gelu` or `leaky` (slope 0.2)."""
    if name == "leaky":
        return nn.LeakyReLU(0.2)
    if name not in ACTIVATIONS:
        raise GanvasError(f"Unknown activation {name!r}. Known: leaky, {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()


def norm(name: str, channels: int) -> nn.Module:
    """`batch`, `group`, `pixel` or `none`."""
    if name == "batch":
        return BatchNorm(channels)
    if name == "group":
        return nn.GroupNorm(min(8, channels), channels)
    if name == "pixel":
        return PixelNorm()
    if name == "none":
        return nn.Identity()
    raise GanvasError(f"Unknown norm {name!r}. Known: batch, group, pixel, none.")


def maybe_spectral_norm(module: nn.Module, on: bool) -> nn.Module:
    """Divide the weight by its largest singular value (Miyato et al. 2018) when `on`."""
    return parametrize_spectral_norm(module) if on else module


class PixelNorm(nn.Module):
    """Scale the channel vector at every pixel to unit mean square (Karras et al. 2018, section 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over the whole batch, also where several processes hold a part of it each.

    torch's synchronised one runs on GPUs only and cannot be differentiated twice.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or dist.world_size() == 1:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        parts = dist.whole(torch.stack(torch.var_mean(wide, (0, 2, 3), correction=0))[None])
        mean = parts[:, 1].mean(0)
        # The parts are of one size: the variance of all is that within them and that between their means.
        variance = (parts[:, 0] + (parts[:, 1] - mean).square()).mean(0)
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            count = len(parts) * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(variance.detach() * (count / (count - 1)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        done = (wide - mean[:, None, None]) * scale[:, None, None]
        return (done + self.bias[:, None, None] if self.affine else done).to(x.dtype)


class MinibatchStd(nn.Module):
    """Append one channel: the mean standard deviation within groups of the batch (Karras et al. 2018, section 3).

    x (B, C, H, W) -> (B, C + 1, H, W); points (B, C) -> (B, C + 1). A group is `group` neighbours of the batch, so
    that splitting a batch over processes leaves the groups whole. Lets the critic see a lack of diversity. With `channels`
    above 1 there is one for each such part of C.
    """

    def __init__(self, group: int = 4, channels: int = 1) -> None:
        super().__init__()
        if group < 1 or channels < 1:
            raise GanvasError(f"Minibatch std needs a group and channels from 1, got {group} and {channels}.")
        self.group, self.channels = group, channels

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        group = self.group if batch % self.group == 0 else batch
        grouped = x.float().reshape(batch // group, group, *x.shape[1:])
        # By hand: torch's var over a strided axis is slow on CPUs, a seventh of a whole step of the small preset.
        variance = (grouped - grouped.mean(1, keepdim=True)).square().mean(1)
        # 1e-8 under the root keeps the gradient finite for identical samples.
        spread = (variance + 1e-8).sqrt().reshape(batch // group, self.channels, -1).mean(2)
        channel = spread.repeat_interleave(group, 0).reshape(batch, -1, *[1] * (x.dim() - 2))
        return torch.cat([x, channel.to(x.dtype).expand(-1, -1, *x.shape[2:])], dim=1)


class EqualLinear(nn.Module):
    """A dense layer with equalised learning rate: unit normal weights, scaled as they are used (Karras et al. 2018, 4.1).

    `rate` is a further factor on how fast it learns; `bias` is what the bias starts from; `gain` multiplies the weights.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = gain * rate * inputs**-0.5, rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv2d(nn.Module):
    """A convolution with equalised learning rate; keeps the size, or halves it with `stride` 2 and an even kernel."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.stride, self.padding = gain * (inputs * kernel**2) ** -0.5, stride, (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, stride=self.stride, padding=self.padding)


class SelfAttention(nn.Module):
    """Every pixel looks at every other; enters with a learned weight that starts at 0 (Zhang et al. 2019, eq. 1-3).

    x (B, C, H, W) -> the same shape. Queries and keys have C / 8 channels, values C / 2, as published.
    """

    def __init__(self, channels: int, spectral_norm: bool = False) -> None:
        super().__init__()
        self.narrow, self.wide = max(1, channels // 8), max(1, channels // 2)
        self.project = maybe_spectral_norm(nn.Conv2d(channels, 2 * self.narrow + self.wide, 1), spectral_norm)
        self.out = maybe_spectral_norm(nn.Conv2d(self.wide, channels, 1), spectral_norm)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).flatten(2).split([self.narrow, self.narrow, self.wide], 1)
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        seen = (value @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        total: Tensor = x + self.weight.to(x.dtype) * self.out(seen)
        return total


def autocast(x: Tensor) -> Tensor:
    """x in the type that autocast computes in, where it is on."""
    kind = x.device.type
    on = kind != "meta" and torch.is_autocast_enabled(kind)
    return x.to(torch.get_autocast_dtype(kind)) if on else x


def bilinear_up(x: Tensor, *, zeros: bool = False) -> Tensor:
    """Double the size with the filter [1, 3, 3, 1] / 4: x (B, C, H, W) -> (B, C, 2 H, 2 W).

    Beyond the border the image goes on as it ends, or with `zeros`.
    """
    if zeros:
        return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear")[..., 2:-2, 2:-2]
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def bilinear_down(x: Tensor, *, zeros: bool = False) -> Tensor:
    """Halve the size with the filter [1, 3, 3, 1] / 8, the border repeated or `zeros`: inside the transpose of `bilinear_up`."""
    # Boxes of two, thrice, make [1, 3, 3, 1]; pooling is faster than a depthwise convolution on CPUs.
    x = F.pad(x, (1, 1, 1, 1), mode="constant" if zeros else "replicate")
    return F.avg_pool2d(F.avg_pool2d(F.avg_pool2d(x, 2, 1), 2, 1), 2)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift are learned per class (Dumoulin et al. 2017; SNGAN's conditional generator)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.scale = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scale, shift = (e(labels).to(x.dtype)[:, :, None, None] for e in (self.scale, self.shift))
        return torch.addcmul(shift, self.norm(x), scale)
