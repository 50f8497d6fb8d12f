"""Blocks that several families use."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as parametrize_spectral_norm

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
        return nn.BatchNorm2d(channels)
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


class MinibatchStd(nn.Module):
    """Append one channel: the mean standard deviation within groups of the batch (Karras et al. 2018, section 3).

    x (B, C, H, W) -> (B, C + 1, H, W); points (B, C) -> (B, C + 1). A group is `group` neighbours of the batch, so
    that splitting a batch over processes leaves the groups whole. Lets the critic see a lack of diversity.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        group = self.group if batch % self.group == 0 else batch
        grouped = x.float().reshape(batch // group, group, *x.shape[1:])
        # By hand: torch's var over a strided axis is slow on CPUs, a seventh of a whole step of the small preset.
        variance = (grouped - grouped.mean(1, keepdim=True)).square().mean(1)
        # 1e-8 under the root keeps the gradient finite for identical samples.
        spread = (variance + 1e-8).sqrt().flatten(1).mean(1)
        channel = spread.repeat_interleave(group).reshape(batch, *[1] * (x.dim() - 1))
        return torch.cat([x, channel.to(x.dtype).expand(batch, 1, *x.shape[2:])], dim=1)
