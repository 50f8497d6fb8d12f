"""How well an autoencoder draws again what it is shown, and what its codes do: for images that it was not trained on."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.features.base import Extractor, embed
from ganvas.io import Json
from ganvas.metrics.frechet import frechet
from ganvas.model import Model

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
"""Of the structural similarity, as published."""
ACTIVE = 0.01
"""Variance of a code over the data above which it is active (Burda et al. 2016, section 5.2)."""
BATCH = 256


@dataclass(frozen=True)
class Reconstruction:
    """Means over n images."""

    n: int
    psnr: float
    """Peak signal-to-noise ratio in dB; higher is better."""
    ssim: float
    """Structural similarity; 1 is the same image."""
    feature_distance: float | None
    """Distance of the features of an image and its reconstruction, over that of two images; None without an extractor."""
    frechet: float | None
    """Frechet distance of the reconstructions from the images themselves."""
    rank: float
    """Effective rank of the codes: the exponential of the entropy of their covariance's eigenvalues (Roy and Vetterli 2007)."""
    active: int
    """Codes whose variance over the data is above `ACTIVE`."""
    codes: int
    extractor: str

    def to_json(self) -> Json:
        return asdict(self)


def measure(model: Model, images: Tensor, extractor: Extractor | None = None) -> Reconstruction:
    """Encode, decode and compare uint8 images (n, C, H, W).

    Raises `GanvasError` for a model without an encoder, and for fewer than two images.
    """
    if len(images) < 2:
        raise GanvasError(f"Reconstructions are measured on two images or more, got {len(images)}.")
    if images.dim() != 4:
        raise GanvasError(
            f"Reconstructions are measured on images, got samples of shape {tuple(images.shape[1:])}."
        )
    again, codes = model.reconstruct(images), model.codes(images)
    apart, distance = None, None
    if extractor is not None:
        real, fake = (embed(extractor, part.split(BATCH)).features for part in (images, again))
        others = np.linalg.norm(real - np.roll(real, 1, 0), axis=1).mean()
        apart = float(np.linalg.norm(real - fake, axis=1).mean() / max(others, 1e-12))
        distance = frechet(fake, real)
    return Reconstruction(
        len(images),
        float(psnr(images, again).mean()),
        float(
            torch.cat(
                [ssim(a, b) for a, b in zip(images.split(BATCH), again.split(BATCH), strict=True)]
            ).mean()
        ),
        apart,
        distance,
        effective_rank(codes),
        int((codes.var(0) > ACTIVE).sum()),
        codes.shape[1],
        "" if extractor is None else extractor.id,
    )


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of uint8 images (n, C, H, W) in dB (n,); 120 at most."""
    error = (a.double() - b.double()).square().flatten(1).mean(1) / 255**2
    return -10 * torch.log10(error.clamp(min=1e-12))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of uint8 images (n, C, H, W), each channel by itself: (n,), 1 for equal ones.

    Wang et al. 2004, eq. 13.
    Their Gaussian window of 11 px, sigma 1.5, where it lies inside of the image; of images below 11 px the largest odd one.
    """
    if a.shape != b.shape or a.dim() != 4:
        raise GanvasError(
            f"Similarity is between images of one shape, got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    side = min(WINDOW, *(size - 1 + size % 2 for size in a.shape[2:]))
    at = torch.arange(side, dtype=torch.float64) - side // 2
    bell = torch.exp(-at.square() / (2 * SIGMA**2))
    bell = (bell / bell.sum()).to(a.device)

    def blurred(x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)[:, None]
        once = F.conv2d(flat, bell[None, None, None])
        twice: Tensor = F.conv2d(once, bell[None, None, :, None]).unflatten(0, x.shape[:2])
        return twice

    x, y = a.double() / 255, b.double() / 255
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    shared = blurred(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    found = (
        (2 * mean_x * mean_y + c1) * (2 * shared + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )
    similar: Tensor = found.flatten(1).mean(1)
    return similar


def effective_rank(codes: Tensor) -> float:
    """Of codes (N, D), from 1 to D: D where they spread alike in all directions (Roy and Vetterli 2007)."""
    rows = arrays.as_floats(codes, "codes").double()
    spread = torch.linalg.svdvals(rows - rows.mean(0)).square()
    share = spread / spread.sum().clamp(min=1e-300)
    return math.exp(float(-(share * share.clamp(min=1e-300).log()).sum()))
