"""From a picture back to its latent, and through it: inversion, and restoration of what is hidden, small, noisy or grey.

Every function gives its best attempt and how far it is from the target; none returns nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.paths import Perception, pyramid
from ganvas.latent.space import LatentSpace
from ganvas.networks import from_uint8
from ganvas.registry import Registry

Degrade = Callable[[Tensor], Tensor]
"""Float images (n, C, H, W) in the generator's range -> what was seen of them. Differentiable."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Inversion:
    """What was found for n targets."""

    points: Tensor
    """(n, *shape) of the space: the best of the restarts."""
    drawn: Tensor
    """Float samples of these points (n, C, H, W)."""
    residual: Tensor
    """Feature distance to the target, over the mean distance of two samples of the generator (n,)."""
    ambiguity: Tensor
    """How far the restarts' answers lie apart, in the same unit: large where the target does not decide (n,)."""
    typicality: Tensor
    """Of the points (n,)."""


def scale_of(space: LatentSpace, see: Perception) -> float:
    """Mean feature distance of two samples of the generator: the unit of residuals."""
    with torch.no_grad():
        points = space.known[:256]
        features = see(space.decode(points, space.labels(len(points), None)))
        return float((features[:128] - features[128:]).norm(dim=1).mean())


def invert(
    space: LatentSpace,
    targets: Tensor,
    *,
    start: Tensor | None = None,
    steps: int = 200,
    restarts: int = 4,
    rate: float = 0.1,
    keep: float = 0.001,
    degrade: Degrade | None = None,
    labels: Tensor | None = None,
    see: Perception = pyramid,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inversion:
    """The points whose samples look like `targets` (n, C, H, W), uint8 or floats in the generator's range.

    Adam from `start` (n, *shape), or from `restarts` typical points each, all in one batch; the rate rises over the first
    twentieth of the steps and falls over the last quarter (Karras et al. 2020, appendix D). `keep` weighs the distance to the
    mean of the space in units of its spread, which keeps points where the generator was trained. `degrade` is applied to both
    sides: that is restoration, and the residual is then that of what was seen.
    Raises `GanvasError` for targets of another size and when no gradient comes back.
    """
    wanted = _as_floats(space, targets)
    count, random = len(wanted), stream(seed, "invert")
    restarts = 1 if start is not None else max(1, restarts)
    scale = scale_of(space, see)
    with torch.no_grad():
        seen = see(degrade(wanted) if degrade else wanted).repeat_interleave(restarts, 0)
        begin = space.sample(count * restarts, random) if start is None else space.check(start).clone()
    known = None if labels is None else labels.to(space.model.device).repeat_interleave(restarts)
    known = space.labels(count * restarts, known) if space.model.generator.num_classes else None
    deviation = space.std.clamp(min=1e-6)
    offset = ((begin - space.mean) / deviation).detach().requires_grad_(True)
    optimizer = torch.optim.Adam([offset], lr=rate, betas=(0.9, 0.99))
    best = torch.full((count * restarts,), float("inf"), device=wanted.device)
    kept = begin.detach().clone()
    for step in range(steps + 1):
        points = space.mean + offset * deviation
        drawn = space.decode(points, known)
        error = (see(degrade(drawn) if degrade else drawn) - seen).norm(dim=1) / scale
        with torch.no_grad():
            better = error < best
            best = torch.where(better, error, best)
            kept[better] = points[better]
        if progress is not None:
            progress(step, steps)
        if step == steps:
            break
        loss = error.square() + keep * offset.flatten(1).square().mean(1) if keep else error.square()
        optimizer.zero_grad()
        if not error.requires_grad:
            raise GanvasError(
                "No gradient flows from this generator's samples to its latents, so descent can not invert it."
            )
        loss.sum().backward()
        if offset.grad is None or not torch.isfinite(offset.grad).all():
            raise GanvasError(
                "The gradient of the generator is missing or not finite, so it can not be inverted by descent."
            )
        progress_share = step / steps
        optimizer.param_groups[0]["lr"] = (
            rate * min(1.0, progress_share / 0.05 + 0.05) * min(1.0, (1 - progress_share) / 0.25)
        )
        optimizer.step()
    return _choose(space, kept, best, count, restarts, known, see, scale)


@torch.no_grad()
def _choose(
    space: LatentSpace,
    points: Tensor,
    errors: Tensor,
    count: int,
    restarts: int,
    labels: Tensor | None,
    see: Perception,
    scale: float,
) -> Inversion:
    drawn = space.decode(points, labels)
    features = see(drawn).unflatten(0, (count, restarts))
    best = errors.reshape(count, restarts).argmin(1)
    rows = torch.arange(count, device=points.device)
    chosen = points.unflatten(0, (count, restarts))[rows, best]
    apart = (features - features[rows, best][:, None]).norm(dim=2).sum(1) / max(1, restarts - 1) / scale
    return Inversion(
        chosen,
        drawn.unflatten(0, (count, restarts))[rows, best],
        errors.reshape(count, restarts)[rows, best],
        apart,
        space.typicality(chosen),
    )


def _as_floats(space: LatentSpace, targets: Tensor) -> Tensor:
    model = space.model
    if tuple(targets.shape[1:]) != tuple(model.shape):
        raise GanvasError(
            f"The model draws samples of shape {tuple(model.shape)}, the targets have {tuple(targets.shape[1:])}. Resize them."
        )
    targets = targets.to(model.device)
    if targets.dtype == torch.uint8:
        return from_uint8(targets, model.generator.value_range)
    low, high = model.generator.value_range
    if targets.min() < low - 1e-3 or targets.max() > high + 1e-3:
        raise GanvasError(
            f"Float targets must lie from {low} to {high}, they go from {float(targets.min()):.2f} to {float(targets.max()):.2f}."
        )
    return targets.float()


class Encoder(nn.Module):
    """Image -> the point of a space that draws it: strided convolutions and a dense layer."""

    def __init__(self, space: LatentSpace, channels: int = 32) -> None:
        super().__init__()
        size, inputs, layers = space.model.shape[1], space.model.shape[0], []
        width = channels
        while size > 4:
            layers += [nn.Conv2d(inputs, width, 3, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
            inputs, width, size = width, min(256, 2 * width), (size + 1) // 2
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(inputs * size * size, space.size)
        )
        self.shape = space.shape
        self.register_buffer("mean", space.mean.detach().clone())
        self.register_buffer("std", space.std.detach().clamp(min=1e-6).clone())

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.mean + self.layers(images).unflatten(1, self.shape) * self.std
        return found


def train_encoder(
    space: LatentSpace,
    steps: int = 1500,
    batch: int = 64,
    rate: float = 2e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> Encoder:
    """An encoder trained on the generator's own samples: the points are known, so no data are needed (Zhu et al. 2016)."""
    random = stream(seed, "encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(space).to(space.model.device)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        with torch.no_grad():
            points = space.sample(batch, random)
            images = space.decode(points, space.labels(batch, None))
        loss = ((encoder(images) - points) / space.std.clamp(min=1e-6)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return encoder.eval().requires_grad_(False)


def encode(space: LatentSpace, encoder: Encoder, targets: Tensor, see: Perception = pyramid) -> Inversion:
    """One pass of the encoder, no optimisation."""
    wanted, scale = _as_floats(space, targets), scale_of(space, see)
    with torch.no_grad():
        points = encoder(wanted)
        labels = space.labels(len(points), None)
        errors = (see(space.decode(points, labels)) - see(wanted)).norm(dim=1) / scale
    return _choose(space, points, errors, len(points), 1, labels, see, scale)


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


def psnr(a: Tensor, b: Tensor, value_range: tuple[float, float], mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB (n,), over the pixels where `mask` is 1."""
    weight = torch.ones_like(a) if mask is None else mask.to(a).expand_as(a)
    error = ((a - b).square() * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return 10 * torch.log10((value_range[1] - value_range[0]) ** 2 / error.clamp(min=1e-12))
