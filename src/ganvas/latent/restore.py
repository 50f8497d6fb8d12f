"""What can have happened to a picture: known degradations, whose undoing is inversion (`invert(..., degrade=...)`)."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.latent.invert import Degrade
from ganvas.registry import Registry

tasks: Registry[Callable[..., Degrade]] = Registry("task")


@tasks.register("inpaint")
def inpaint(mask: Tensor) -> Degrade:
    """Only the pixels where the mask (H, W) or (n, 1, H, W) is 1 were seen"""
    return lambda images: images * mask.to(images)


@tasks.register("superres")
def superres(factor: int = 4) -> Degrade:
    """Only averages over blocks of `factor` pixels were seen"""
    return lambda images: F.avg_pool2d(images, factor)


@tasks.register("denoise")
def denoise() -> Degrade:
    """The image was seen under noise: the generator's range is the prior"""
    return lambda images: images


@tasks.register("deblur")
def deblur(width: int = 5) -> Degrade:
    """The image was seen through a box blur of `width` pixels"""
    return lambda images: F.avg_pool2d(images, width, 1, width // 2, count_include_pad=False)


@tasks.register("colorize")
def colorize() -> Degrade:
    """Only the mean of the channels was seen"""
    return lambda images: images.mean(1, keepdim=True)


Part = Literal["left", "right", "top", "bottom", "middle"]


def half(hidden: Part, height: int, width: int) -> Tensor:
    """A mask for `inpaint` (1, 1, H, W): 0 in the half (or the middle) that is hidden, 1 where the image is seen."""
    rows, columns = slice(None), slice(None)
    if hidden in ("top", "bottom"):
        rows = slice(0, height // 2) if hidden == "top" else slice(height // 2, None)
    elif hidden in ("left", "right"):
        columns = slice(0, width // 2) if hidden == "left" else slice(width // 2, None)
    else:
        rows, columns = slice(height // 4, height * 3 // 4), slice(width // 4, width * 3 // 4)
    mask = torch.ones(1, 1, height, width)
    mask[:, :, rows, columns] = 0
    return mask


def psnr(a: Tensor, b: Tensor, value_range: tuple[float, float], mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB (n,), over the pixels where `mask` is 1."""
    weight = torch.ones_like(a) if mask is None else mask.to(a).expand_as(a)
    error = ((a - b).square() * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return 10 * torch.log10((value_range[1] - value_range[0]) ** 2 / error.clamp(min=1e-12))
