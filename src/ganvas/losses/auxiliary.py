"""What may be added to the game: terms of the generator's or the critic's loss, each a pure function."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """Squared distance of the mean features (B, F) of real and fake, per feature (Salimans et al. 2016, section 3.1)."""
    return (real.mean(0) - fake.mean(0)).square().mean()


def mode_seeking(samples: Tensor, latents: Tensor, labels: Tensor | None = None) -> Tensor:
    """Inverse of how far samples (B, ...) move as their latents (B, Z) do, over pairs of the batch (Mao et al. 2019, eq. 4).

    Pairs are neighbours after sorting by label; pairs of two labels do not count, nor those of one latent, as codes are.
    """
    pairs = len(samples) // 2
    if labels is None:
        weight = torch.ones(pairs, device=samples.device)
    else:
        order = labels.argsort(stable=True)
        samples, latents, labels = samples[order], latents[order], labels[order]
        weight = (labels[0 : 2 * pairs : 2] == labels[1 : 2 * pairs : 2]).float()
    moved = (samples[0 : 2 * pairs : 2] - samples[1 : 2 * pairs : 2]).abs().flatten(1).mean(1)
    apart = (latents[0 : 2 * pairs : 2] - latents[1 : 2 * pairs : 2]).abs().mean(1)
    weight, apart = weight * (apart > 0), torch.where(apart > 0, apart, 1.0)
    return (weight / (moved / apart + 1e-5)).sum() / weight.sum().clamp(min=1)


def top_k(logits: Tensor, share: float) -> Tensor:
    """Indices of the `share` of logits (B,) that are highest: only those fakes teach the generator (Sinha et al. 2020)."""
    return logits.topk(max(1, round(share * len(logits)))).indices


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the auxiliary classifier (Odena et al. 2017, eq. 3)."""
    return F.cross_entropy(logits, labels)


def code_loss(guessed: Tensor, latents: Tensor) -> Tensor:
    """Squared error of the guessed codes (B, K) against the first K entries of z: the bound of InfoGAN (Chen et al. 2016, eq. 5)
    for normal codes with a guess of unit variance, without its constant. What stands in front of the codes is cut off before."""
    return 0.5 * (guessed - latents[:, : guessed.shape[1]]).square().sum(1).mean()


def category_loss(guessed: Tensor, latents: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cross-entropy of the guessed categories (B, sum of sizes) against the one-hot blocks that z (B, Z) begins with, summed.

    The entropy of the codes, sum of log sizes, less this is InfoGAN's lower bound on the mutual information of codes and
    samples, in nats (Chen et al. 2016, eq. 4-5).
    """
    hot = latents[:, : sum(sizes)]
    pairs = zip(guessed.split(list(sizes), 1), hot.split(list(sizes), 1), strict=True)
    losses = [F.cross_entropy(logits, block.argmax(1)) for logits, block in pairs]
    return torch.stack(losses).sum()


def orthogonality(weights: Iterable[Tensor]) -> Tensor:
    """The sum of the squares of all products of two different rows of weights (rows, ...) (Brock et al. 2019, eq. 3).

    It is 0 where all are at right angles to each other, however long they are.
    """
    total: Tensor | float = 0.0  # no tensor: one that is copied to the device cannot be in a captured step
    for weight in weights:
        rows = weight.float().flatten(1)
        products = (rows @ rows.T).square()
        total = total + products.sum() - products.diagonal().sum()
    return torch.as_tensor(total)


def path_lengths(images: Tensor, w_plus: Tensor, directions: Tensor) -> Tensor:
    """|J^T y| of each image by random directions y of unit length, per layer of w+ (B,) (Karras et al. 2020, eq. 4)."""
    projected = (images * directions).sum() / (images[0, 0].numel() ** 0.5)
    (gradient,) = torch.autograd.grad(projected, w_plus, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()
