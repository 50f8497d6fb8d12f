"""What can have happened to a picture: known degradations, whose undoing is inversion (`invert(..., degrade=...)`)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas import arrays
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.invert import Degrade, Inversion, as_floats, invert, seen_shape
from ganvas.latent.space import LatentSpace
from ganvas.model import Model
from ganvas.model_data import classifier_of
from ganvas.registry import Registry
from ganvas.types import kind_of

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
    """Only the mean of the colours was seen"""
    return lambda images: images[:, :3].mean(1, keepdim=True)


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


PRIOR = 0.003
"""What `restore` weighs the distance to the mean of the space with (`keep` of `invert`)."""


@dataclass(frozen=True)
class Damage:
    """What happened to pictures of one model."""

    task: str
    degrade: Degrade = field(repr=False)
    mask: Tensor | None = field(default=None, repr=False)
    """Of `inpaint` (1, 1, H, W): 1 where the picture was seen."""


def damage(
    model: Model,
    task: str = "inpaint",
    *,
    hidden: Part = "bottom",
    mask: Tensor | None = None,
    factor: int = 4,
) -> Damage:
    """A damage from `tasks` to pictures of a model.

    `inpaint` hides a part (`half`), or what is 0 in `mask` (H, W) or (1, 1, H, W); `factor` is that of
    `superres`, and the width of `deblur`. Raises `GanvasError` for an unknown task, a mask of another size,
    and for a factor beyond half the shorter side.
    """
    if len(model.shape) != 3:
        raise GanvasError(f"Pictures are restored, and this model draws {kind_of(model.shape)}.")
    _, height, width = model.shape
    most = min(height, width) // 2
    if task in ("superres", "deblur") and not 2 <= factor <= most:
        raise GanvasError(f"--factor is {factor}; it must lie from 2 to {most}.")
    if mask is not None and tuple(mask.shape[-2:]) != (height, width):
        raise GanvasError(f"The mask is {tuple(mask.shape)}, pictures of this model {(height, width)}.")
    if task == "inpaint":
        # Of a picture white may be 255, or true.
        seen = (
            half(hidden, height, width) if mask is None else (mask.reshape(1, 1, height, width) != 0).float()
        )
        return Damage(task, tasks.get(task)(seen), seen)
    arguments = {"superres": (factor,), "deblur": (factor | 1,)}
    return Damage(task, tasks.get(task)(*arguments.get(task, ())))


@dataclass(frozen=True)
class Restored:
    """What `restore` made of n pictures."""

    found: Inversion
    """Its `drawn` keeps the pixels that were seen."""
    damaged: Tensor = field(repr=False)
    """What was left of the pictures, at the model's size: uint8 (n, C, H, W)."""
    samples: Tensor = field(repr=False)
    """Restored: uint8 (n, C, H, W)."""
    psnr: Tensor | None = field(default=None, repr=False)
    """In dB (n,), of the hidden pixels where some were seen; None where the pictures were damaged already."""
    class_agreement: float | None = None
    """Share that the bundled classifier names as before; None without one, or without originals."""


def restore(
    space: LatentSpace,
    images: Tensor,
    done: Damage,
    *,
    damaged: bool = False,
    noise: float = 0.3,
    seed: int = 0,
    **options: Any,
) -> Restored:
    """Repair pictures: the samples that look like `images` where both went through the damage `done`.

    `images` are whole, uint8 (n, C, H, W) or floats in the generator's range, and are damaged first, so that
    the result can be measured; `denoise` then adds normal noise of standard deviation `noise`, in units of
    half the range. With `damaged` they are so already, of the shape that the damage leaves. `options` are
    those of `invert`: steps, restarts ... Raises `GanvasError` for images of another size or range.
    """
    model, (low, high) = space.model, space.model.generator.value_range
    channels, height, width = model.shape
    originals = arrays.as_tensor(images, "images")
    wanted = seen = as_floats(space, originals, seen_shape(space, done.degrade) if damaged else model.shape)
    if done.task == "denoise" and not damaged:
        grain = torch.randn(wanted.shape, generator=stream(seed, "noise")).to(wanted)
        seen = (wanted + noise * (high - low) / 2 * grain).clamp(low, high)
    if damaged and done.task == "inpaint":
        seen = done.degrade(seen)
    options = {"keep": PRIOR, **options}
    found = invert(space, seen, degrade=done.degrade, damaged=damaged, seed=seed, **options)
    shown, filled = seen if damaged else done.degrade(seen), found.drawn
    if done.mask is not None:
        there = done.mask.to(seen).bool()
        shown = torch.where(there, seen, torch.zeros_like(seen) + (low + high) / 2)
        filled = torch.where(there, seen, found.drawn)  # what was seen stays
    shown = F.interpolate(shown, (height, width))
    if shown.shape[1] != channels:  # grey, and of alpha nothing was seen
        grey = shown.expand(-1, min(channels, 3), -1, -1)
        shown = torch.cat(
            [grey, torch.full_like(shown, high).expand(-1, channels - grey.shape[1], -1, -1)], 1
        )
    shown = model.to_data(shown).cpu()
    samples = model.to_data(filled).cpu()
    quality, agreement = None, None
    if not damaged:
        quality = psnr(found.drawn, wanted, (low, high), None if done.mask is None else 1 - done.mask)
        if (classifier := classifier_of(model)) is not None:
            before, after = (classifier(each).logits for each in (model.to_data(wanted).cpu(), samples))
            assert before is not None
            assert after is not None
            agreement = float((before.argmax(1) == after.argmax(1)).float().mean())
    return Restored(replace(found, drawn=filled), shown, samples, quality, agreement)
