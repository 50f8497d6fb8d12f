"""What an extractor is: uint8 images in, features (and perhaps class scores) out, under a name that says how."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays, dist
from ganvas.checkpoint import hash_of
from ganvas.errors import GanvasError, counted
from ganvas.features.stats import Moments
from ganvas.registry import Registry
from ganvas.types import Shape, kind_of


class Embedded(NamedTuple):
    """Features (B, D) float32 and, where the extractor is a classifier, logits (B, K)."""

    features: Tensor
    logits: Tensor | None = None


class Extractor(Protocol):
    """Embeds a batch of uint8 images (B, C, H, W), or float points (B, D)."""

    id: str
    """Name, version and hash of the weights. Numbers of different ids are never compared."""
    resize: str
    """How images get to the size it wants: part of what the number means."""
    cacheable: bool
    """False when the id cannot tell two of them apart (own functions and modules): its features are not kept on the disk."""

    def __call__(self, samples: Tensor) -> Embedded: ...


Opener = Callable[[torch.device], Extractor]
extractors: Registry[Opener] = Registry("extractor")


CPU_BATCH = 32
"""Pictures that a large network sees at a time on a CPU: at 299 px 256 of them take 4 GB."""


NUMBERS = 256 * 3 * 128 * 128
"""In the samples that are looked at together, at most: of 256 pictures of 1,024 px an extractor takes gigabytes."""


MOST_ANSWERS = 2048
"""Classes up to which a classifier's logits are kept of a whole set: of 20,000 they took 6 GB of 30,000 pictures."""


def at_once(shape: Shape, most: int = 256) -> int:
    """How many samples of a shape are looked at together, `most` at most."""
    return arrays.fitting(math.prod(shape), NUMBERS, most)


def in_parts(see: Callable[[Tensor], Embedded], samples: Tensor, device: torch.device) -> Embedded:
    """What `see` gives for samples, a few at a time on a CPU."""
    found = [see(part) for part in (samples.split(CPU_BATCH) if device.type == "cpu" else (samples,))]
    scores = [each.logits for each in found if each.logits is not None]
    return Embedded(torch.cat([each.features for each in found]), torch.cat(scores) if scores else None)


def grey_or_rgb(images: Tensor, channels: int) -> Tensor:
    """Images (B, C, H, W) with 1, 3 or 4 channels brought to `channels`, 1, 3 or 4.

    Grey is repeated, colour is averaged as luma, what is transparent lies on white, and what has no alpha is solid.
    """
    if images.shape[1] == channels:
        return images
    if channels == 4:
        return torch.cat([grey_or_rgb(images, 3), torch.full_like(images[:, :1], 255)], 1)
    if images.shape[1] == 4:
        solid = images[:, 3:].float() / 255
        flat = images[:, :3].float() * solid + 255 * (1 - solid)
        images = flat.round().to(images.dtype)
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)[:, None, None]
    return (images.float() * weights).sum(1, keepdim=True).round().to(images.dtype)


class Raw:
    """The values themselves, flattened: points as they are, pixels from 0 to 1."""

    id, resize, cacheable = "raw", "none", True

    def __call__(self, samples: Tensor) -> Embedded:
        flat = samples.flatten(1).float()
        return Embedded(flat if samples.is_floating_point() else flat / 255)


@extractors.register("raw")
def open_raw(device: torch.device) -> Extractor:
    """no network: points as they are, pixels flattened"""
    return Raw()


class Pyramid:
    """What needs no network: averages over 8 x 8 parts, and how much detail of each scale lies in 4 x 4 parts.

    Images (B, C, H, W) -> (B, 64 C + 16 scales): means of the pixels from 0 to 1; for each halving down to 8 px the
    decimal logarithm of the mean absolute difference, in grey, between the image and its neighbours' average, and a grey level.
    """

    id, resize, cacheable = "pyramid-1", "none", True

    def __call__(self, samples: Tensor) -> Embedded:
        if samples.dim() != 4:
            raise GanvasError(
                f"The extractor pyramid is for images, and these are {kind_of(samples.shape[1:])}. Use raw."
            )
        x = samples.float() / 255
        found = [F.adaptive_avg_pool2d(x, 8).flatten(1)]
        grey = x.mean(1, keepdim=True)
        while min(grey.shape[2:]) >= 16:
            coarse = F.avg_pool2d(grey, 2)
            even = grey[:, :, : 2 * coarse.shape[2], : 2 * coarse.shape[3]]
            detail = (even - F.interpolate(coarse, scale_factor=2.0)).abs()
            found.append((F.adaptive_avg_pool2d(detail, 4) + 1 / 255).log10().flatten(1))
            grey = coarse
        return Embedded(torch.cat(found, 1))


@extractors.register("pyramid")
def open_pyramid(device: torch.device) -> Extractor:
    """no network: averages of images, and how much detail of each scale they have"""
    return Pyramid()


class Wrapped:
    """Anybody's module or function: uint8 images (B, C, H, W) on its device -> features (B, ...), flattened."""

    def __init__(self, function: Callable[[Tensor], Tensor], device: torch.device) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        self.cacheable = False  # its weights do not tell what is computed with them
        self.id = (
            f"custom-{name.lower()}-{hash_of(function)}"
            if isinstance(function, nn.Module)
            else f"custom-{name}"
        )
        self.resize = "its own"
        self.device = device
        self.function = function.to(device).eval() if isinstance(function, nn.Module) else function

    def __call__(self, samples: Tensor) -> Embedded:
        found = self.function(samples.to(self.device))
        if not isinstance(found, Tensor) or found.dim() == 0 or len(found) != len(samples):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise GanvasError(
                f"The extractor {self.id} gave {got} for {counted(len(samples), 'image')}; "
                "expected a tensor with one row an image."
            )
        return Embedded(found.reshape(len(found), -1).float())


class Features(NamedTuple):
    """A whole set, embedded."""

    features: np.ndarray
    """float32 (N, D)"""
    logits: np.ndarray | None
    """float32 (N, K), K at most `MOST_ANSWERS`"""
    moments: Moments | None = None
    """Mean and covariance, kept for references."""

    @property
    def probabilities(self) -> np.ndarray | None:
        """softmax of the logits, float64 (N, K)"""
        if self.logits is None:
            return None
        return torch.from_numpy(self.logits).double().softmax(1).numpy()


@dataclass
class Counter:
    """How many samples an embedding pass decoded; tests and the speed benchmark read it."""

    seen: int = 0


decoded = Counter()


def _embedded(extractor: Extractor, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
    for batch in batches:
        found = extractor(batch)
        decoded.seen += len(batch)
        yield found.features.float().cpu(), None if found.logits is None else found.logits.float().cpu()


class _Rows:
    """Rows that come part by part, in one array that grows: of a list and its whole there would be two."""

    def __init__(self) -> None:
        self.held: np.ndarray | None = None
        self.count = 0

    def add(self, part: Tensor) -> None:
        """float32 (n, D), as many numbers in a row as those before."""
        rows, wanted = part.numpy(), self.count + len(part)
        if self.held is None:
            self.held = np.empty(rows.shape, rows.dtype)
        if rows.shape[1:] != self.held.shape[1:]:
            raise GanvasError(
                f"The extractor gives {rows.shape[1]} features for some images and {self.held.shape[1]} for others; "
                "as many for every image are needed."
            )
        if wanted > len(self.held):
            self.held.resize((max(wanted, len(self.held) * 9 // 8), *self.held.shape[1:]), refcheck=False)
        self.held[self.count : wanted] = rows
        self.count = wanted

    def whole(self) -> np.ndarray | None:
        """All of them; None where none came."""
        if self.held is not None:
            self.held.resize((self.count, *self.held.shape[1:]), refcheck=False)
        return self.held


@torch.inference_mode()
def embed(
    extractor: Extractor,
    batches: Iterable[Tensor],
    advance: Callable[[int], None] | None = None,
    *,
    sharded: bool = False,
) -> Features:
    """Each batch is embedded once. `advance` is told how many samples are done, for a progress bar.

    `sharded`: the batches are this process's part of them (`dist.shard`); every process gets all features.
    """
    features, logits, finite = _Rows(), _Rows(), True
    each = _embedded(extractor, batches)
    for rows, scores in dist.collect(each) if sharded else each:
        features.add(rows)
        finite = finite and bool(torch.isfinite(rows).all())
        if scores is not None and scores.shape[1] <= MOST_ANSWERS:
            logits.add(scores)
        if advance is not None:
            advance(len(rows))
    together = features.whole()
    if together is None:
        raise GanvasError("There is nothing to embed: the set is empty.")
    if not finite:
        raise GanvasError(f"The extractor {extractor.id} gave NaN or infinity for some images.")
    return Features(together, logits.whole())
