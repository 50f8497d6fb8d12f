"""How well an autoencoder draws again what it is shown, and what its codes do: for samples that it was not trained on."""

import math
from dataclasses import asdict, dataclass, replace
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.features.base import Extractor, at_once, embed
from ganvas.io import Json
from ganvas.metrics.frechet import frechet
from ganvas.model import Model
from ganvas.series import STILL, Series, plain, until_ends

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
"""Of the structural similarity, as published."""
ACTIVE = 0.01
"""Variance of a code over the data above which it is active (Burda et al. 2016, section 5.2)."""
BATCH = 256
NUMBERS = 2**22
"""Of the images that are compared at a time, in float64 and blurred in five ways."""
TINY = 1e-300


@dataclass(frozen=True)
class Reconstruction:
    """Means over n images."""

    n: int
    psnr: float | None
    """Peak signal-to-noise ratio in dB; higher is better. Of images."""
    ssim: float | None
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
    error: float | None = None
    """Mean distance of the numbers of series to those of their reconstructions, in standard deviations of their column; what a
    reconstruction leaves out is one off. None for images, and where no number moves."""
    agreement: float | None = None
    """Share of the categories of series that are the same again; None where there are none."""

    def to_json(self) -> Json:
        return asdict(self)


def measure(model: Model, samples: Tensor, extractor: Extractor | None = None) -> Reconstruction:
    """Encode, decode and compare uint8 images (n, C, H, W), or series (n, C, T) as the model has them.

    Raises `GanvasError` for a model without an encoder, for fewer than two samples, and for features of series.
    """
    if len(samples) < 2:
        raise GanvasError(f"Reconstructions are measured on two samples or more, got {len(samples)}.")
    if samples.dim() not in (3, 4):
        raise GanvasError(
            f"Reconstructions are measured on images and series, got samples of shape {tuple(samples.shape[1:])}."
        )
    again, codes = model.reconstruct(samples), model.codes(samples)
    rank, active = effective_rank(codes), int((codes.var(0) > ACTIVE).sum())
    found = Reconstruction(
        len(samples), None, None, None, None, rank, active, codes.shape[1], "" if extractor is None else extractor.id
    )  # fmt: skip
    if samples.dim() == 3:
        if extractor is not None:
            raise GanvasError("Reconstructed series are compared by their values, and not by features.")
        schema = model.info.series or plain(*samples.shape[1:])
        error, agreement = compared(schema.decode(samples), schema.decode(again))
        return replace(found, error=error, agreement=agreement)
    some = max(1, NUMBERS // math.prod(samples.shape[1:]))
    pairs = list(zip(samples.split(some), again.split(some), strict=True))
    noise, similar = (torch.cat([figure(a, b) for a, b in pairs]) for figure in (psnr, ssim))
    found = replace(found, psnr=float(noise.mean()), ssim=float(similar.mean()))
    if extractor is None:
        return found
    few = at_once(tuple(samples.shape[1:]), BATCH)
    real, fake = (embed(extractor, part.split(few)).features for part in (samples, again))
    # Of any two: images that lie beside each other in a folder are of one class.
    mixed = real[np.random.default_rng(0).permutation(len(real))]
    others = np.linalg.norm(mixed - np.roll(mixed, 1, 0), axis=1).mean()
    apart = float(np.linalg.norm(real - fake, axis=1).mean() / max(others, 1e-12))
    return replace(found, feature_distance=apart, frechet=frechet(fake, real))


def compared(true: Series, again: Series) -> tuple[float | None, float | None]:
    """`error` and `agreement` of series and their reconstructions, means over the columns; of logarithmic ones by logarithms."""
    errors, same = list[float](), list[float]()
    true, again = until_ends(true), until_ends(again)
    for i, column in enumerate(true.schema.columns):
        x, y = true.values[:, :, i], again.values[:, :, i]
        there = ~np.isnan(x)
        if column.same_as or not there.any():
            continue
        if column.categories:
            same.append(float((x == y)[there].mean()))
            continue
        if column.log:
            x, y = (np.log(np.maximum(each, TINY)) for each in (x, y))
        spread = x[there].std()
        if spread > STILL * np.abs(x[there]).max():
            errors.append(float((np.nan_to_num(np.abs(x - y), nan=spread)[there] / spread).mean()))
    return (mean(errors) if errors else None), (mean(same) if same else None)


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
