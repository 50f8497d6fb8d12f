"""Differentiable augmentation of what the critic sees, so that few images last longer.

DiffAugment (Zhao et al. 2020) applies three transforms to every image; ADA (Karras et al. 2020, "limited data") applies
those of `ada.bgc` with a probability that follows how far the critic over-fits. Both change real images and fakes alike, so
the generator does not learn them. Everything here is indexing and arithmetic that can be differentiated twice, which
gradient penalties need.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.losses import ada
from ganvas.registry import Registry


class Augmentation(NamedTuple):
    """`apply(images (B, C, H, W) in [-1, 1], numbers (B, draws) uniform in [0, 1)) -> images`."""

    apply: Callable[..., Tensor]
    draws: int
    by_itself: bool = False
    """Several transforms with a chance each: `apply` takes p as its third argument."""
    channels: tuple[int, ...] = ()
    """The numbers of channels that it is for; empty: any."""
    square: bool = False
    """For square images alone."""


augmentations: Registry[Augmentation] = Registry("augmentation")


def _column(numbers: Tensor, index: int) -> Tensor:
    return numbers[:, index, None, None, None]


def colour(x: Tensor, numbers: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x 0 to 2, contrast x 0.5 to 1.5 (DiffAugment, section 4.1); alpha stays."""
    if x.shape[1] == 4:
        return torch.cat([colour(x[:, :3], numbers), x[:, 3:]], 1)
    x = x + (_column(numbers, 0) - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * _column(numbers, 1))
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (0.5 + _column(numbers, 2))


def translation(x: Tensor, numbers: Tensor, share: float = 0.125) -> Tensor:
    """Whole pixels in both directions, up to an eighth of the size; the border is black (-1)."""
    height, width = x.shape[2:]
    down = _shift(numbers[:, 0], height, share)
    right = _shift(numbers[:, 1], width, share)
    rows = (torch.arange(height, device=x.device) - down[:, None]).clamp(-1, height) + 1
    columns = (torch.arange(width, device=x.device) - right[:, None]).clamp(-1, width) + 1
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _shift(numbers: Tensor, size: int, share: float) -> Tensor:
    reach = int(size * share + 0.5)
    return (numbers * (2 * reach + 1)).long() - reach


def cutout(x: Tensor, numbers: Tensor, share: float = 0.5) -> Tensor:
    """A grey (0) square of half the side, its centre anywhere in the image (DiffAugment, section 4.1)."""
    height, width = x.shape[2:]
    top, left = numbers[:, 0] * height, numbers[:, 1] * width
    rows = (torch.arange(height, device=x.device) - top[:, None]).abs() < height * share / 2
    columns = (torch.arange(width, device=x.device) - left[:, None]).abs() < width * share / 2
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def flip(x: Tensor, numbers: Tensor) -> Tensor:
    """Left-right, half of the images."""
    return torch.where(_column(numbers, 0) < 0.5, x.flip(3), x)


def rotate90(x: Tensor, numbers: Tensor) -> Tensor:
    """By 0, 90, 180 or 270 degrees; for square images."""
    turns = (numbers[:, 0] * 4).long()[:, None, None, None]
    for turn in (1, 2, 3):
        x = torch.where(turns == turn, torch.rot90(x, turn, (2, 3)), x)
    return x


augmentations.add("colour", Augmentation(colour, 3), "brightness, saturation and contrast (DiffAugment)")
augmentations.add(
    "translation", Augmentation(translation, 2), "shift by up to an eighth of the size (DiffAugment)"
)
augmentations.add("cutout", Augmentation(cutout, 2), "a grey square of half the side (DiffAugment)")
augmentations.add("flip", Augmentation(flip, 1), "left-right (ADA's pixel blitting)")
augmentations.add(
    "rotate90", Augmentation(rotate90, 1, square=True), "by multiples of 90 degrees (ADA's pixel blitting)"
)


augmentations.add(
    "bgc",
    Augmentation(ada.bgc, ada.DRAWS, by_itself=True, channels=(1, 3, 4)),
    "ADA's pipeline: flips, turns, shifts, scales, stretching, and five changes of colour",
)
augmentations.add(
    "bgc-r3",
    Augmentation(partial(ada.bgc, colour=0.5), ada.DRAWS, by_itself=True, channels=(1, 3, 4)),
    "the same with changes of colour half as often (R3GAN)",
)


def augment(
    x: Tensor,
    policy: Sequence[str],
    p: Tensor | float,
    uniform: Callable[..., Tensor],
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> Tensor:
    """Apply each augmentation of `policy` to each image with probability `p`. `uniform(n)` draws (B, n) numbers.

    Images within `value_range`; what black, grey and the strengths of colours mean follows it.
    """
    middle, half = (value_range[1] + value_range[0]) / 2, (value_range[1] - value_range[0]) / 2
    usual = value_range == (-1.0, 1.0)
    x = x if usual else (x - middle) / half
    for name in policy:
        found = augmentations.get(name)
        if found.by_itself:
            x = found.apply(x, uniform(found.draws), p)
            continue
        numbers = uniform(found.draws + 1)
        chosen = numbers[:, -1, None, None, None] < p
        x = torch.where(chosen, found.apply(x, numbers), x)
    return x if usual else x * half + middle


class Adaptive(nn.Module):
    """The probability of ADA: raised while the critic is too sure of the real images, lowered while it is not.

    `update` takes the real logits of a step; every `steps` of them p moves by `images seen / (1000 kimg)` up or down, so that
    0 to 1 takes `kimg` (Karras et al. 2020, section 3.1). p stays at or below `limit`. Stays on the device: no step waits for it.
    """

    def __init__(
        self, start: float, target: float | None, kimg: float, steps: int = 4, limit: float = 1.0
    ) -> None:
        super().__init__()
        self.p: Tensor
        self.target, self.kimg, self.steps, self.limit = target, kimg, steps, limit
        for name, value in (("p", start), ("signs", 0.0), ("count", 0.0), ("seen", 0.0)):
            self.register_buffer(name, torch.tensor(value))

    @torch.no_grad()
    def update(self, real_signs: Tensor, images: int) -> None:
        """`real_signs` is the mean sign of the real logits of one step of `images`."""
        if self.target is None:
            return
        own: Any = self
        own.signs += real_signs
        own.count += 1
        own.seen += images
        due = own.count >= self.steps
        step = torch.sign(own.signs / own.count - self.target) * own.seen / (1000 * self.kimg)
        own.p.copy_(torch.where(due, (own.p + step).clamp(0, self.limit), own.p))
        for buffer in (own.signs, own.count, own.seen):
            buffer.mul_(~due)
