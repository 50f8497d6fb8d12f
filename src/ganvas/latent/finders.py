"""How directions are found without labels: by the spread of a space, by the generator's weights, by its Jacobian; and by chance.

A finder is a function of (space, how many, seed). One more is one function with a decorator.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.jacobian import metric
from ganvas.latent.space import LatentSpace, covariance
from ganvas.registry import Registry

Finder = Callable[[LatentSpace, int, int], tuple[Tensor, Tensor]]
"""(space, how many, seed) -> unit vectors (k, D) of the flattened space and their scores (k,), best first."""
finders: Registry[Finder] = Registry("method")


def leading(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first eigenvectors (k, D) of a symmetric matrix (D, D), largest first, and their shares of its trace (k,)."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors.flip(1).t()[:count].float(), (values.flip(0) / values.sum())[:count].float()


@finders.register("pca")
def pca(space: LatentSpace, count: int, seed: int, samples: int = 20_000) -> tuple[Tensor, Tensor]:
    """Principal axes of the space's own points, in one pass (GANSpace, Harkonen et al. 2020)"""
    random = stream(seed, "pca")
    with torch.no_grad():
        batches = (space.sample(2000, random) for _ in range(max(1, samples // 2000)))
        _, found = covariance(batches, space.size)
    return leading(found, count)


@finders.register("ica")
def ica(space: LatentSpace, count: int, seed: int, samples: int = 10_000) -> tuple[Tensor, Tensor]:
    """Independent axes of the space's own points (FastICA), ordered by their spread"""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    with torch.no_grad():
        points = space.sample(samples, stream(seed, "ica")).flatten(1).cpu().double()
    count = min(count, points.shape[1])
    with warnings.catch_warnings():
        # Sources that are nearly normal have no sharp optimum: the best attempt is what there is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = FastICA(count, random_state=seed, whiten="unit-variance", max_iter=300, tol=1e-3).fit(
            points.numpy()
        )
    mixing = torch.from_numpy(fitted.mixing_).t()  # (k, D): how far one unit of each source moves a point
    spread = mixing.norm(dim=1)
    order = spread.argsort(descending=True)
    return F.normalize(mixing[order]).float(), spread[order].float()


@finders.register("sefa")
def sefa(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Directions that the first affine layers magnify most: eigenvectors of their weights (Shen and Zhou 2021)"""
    matrix = torch.cat([F.normalize(rows.double()) for rows in _first_weights(space)])
    return leading(matrix.t() @ matrix, count)


def _first_weights(space: LatentSpace) -> list[Tensor]:
    """Weights (out, D) of the layers that read a point of the space."""
    generator, dim = space.model.generator, space.size
    if space.name == "w":
        layers: Any = (*generator.layers, *generator.to_image)  # type: ignore[misc]
        return [layer.affine.weight.detach() for layer in layers]
    if space.name != "z":
        raise GanvasError(f"sefa reads the layers behind z or w; for {space.name!r} take jacobian or pca.")
    for module in generator.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.ConvTranspose2d) and weight is not None and weight.shape[0] == dim:
            return [weight.detach().flatten(2).permute(1, 2, 0).flatten(0, 1)]
        if (
            isinstance(weight, Tensor)
            and weight.dim() == 2
            and weight.shape[1] >= dim
            and not isinstance(module, nn.Embedding)
        ):
            return [weight.detach()[:, :dim]]
    raise GanvasError("sefa found no dense or transposed layer that reads z. Take --method jacobian or pca.")


@finders.register("jacobian")
def jacobian(space: LatentSpace, count: int, seed: int, samples: int = 16) -> tuple[Tensor, Tensor]:
    """Directions that change the picture most: eigenvectors of the mean J^T J (Ramesh et al. 2018; Wang and Ponce 2021)"""
    with torch.no_grad():
        points = space.sample(samples, stream(seed, "jacobian"))
    return leading(metric(space, points), count)


@finders.register("local")
def local(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Directions that change one picture most, that of the seed: eigenvectors of J^T J there"""
    return leading(metric(space, space.numbered(1, seed)), count)


@finders.register("random")
def random_directions(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random orthogonal directions: the control beside every other method"""
    dim = space.size
    q, _ = torch.linalg.qr(torch.randn(dim, min(count, dim), generator=stream(seed, "random directions")))
    return q.t(), torch.zeros(min(count, dim))
