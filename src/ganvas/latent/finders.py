"""How directions are found without labels: by the spread of a space, by the generator's weights, by its Jacobian; and by chance.

A finder is a function of (space, how many, seed). One more is one function with a decorator.
"""

import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.hooks import hooked
from ganvas.latent.jacobian import MOST_NUMBERS, metric, slopes
from ganvas.latent.space import (
    FEWEST,
    NUMBERS,
    HiddenLayer,
    LatentSpace,
    LatentW,
    LatentZ,
    covariance,
    layers_of,
    spaces,
    style_based,
)
from ganvas.model import all_over
from ganvas.networks.coded import Coded
from ganvas.registry import FactRegistry

BROAD = 2048
"""Numbers in a point above which axes are found without a covariance, which takes gigabytes and hours."""
FLAT = 1e-10
"""Share of the largest variance below which there is none, but for rounding."""
MOST_SLOPES = 4096
"""Numbers in a point that a derivative is taken by, at most: each costs a forward pass for each of its points."""

Find = Callable[..., tuple[Tensor, Tensor]]
"""(space, how many, seed) -> unit vectors (k, D) of the flattened space and their scores (k,), best first."""


@dataclass(frozen=True)
class Finder:
    """A method with what else has to be known of it. Calling it finds."""

    find: Find
    spaces: tuple[str, ...] = ()
    """The spaces that it knows, as `open_space` names them; empty: all."""
    of_a_sample: bool = False
    """Its directions are those of one sample, that of the seed, not of the whole space."""

    def knows(self, space: LatentSpace) -> bool:
        """Whether it finds directions of this space."""
        return not self.spaces or space.name in self.spaces

    def __call__(self, space: LatentSpace, count: int, seed: int, **options: Any) -> tuple[Tensor, Tensor]:
        """Raises `GanvasError` for a space that it does not know."""
        if not self.knows(space):
            everywhere = ", ".join(name for name in finders if not finders.get(name).spaces)
            raise GanvasError(
                f"This method finds directions of {' and '.join(self.spaces)} only, not of {space.name!r}. "
                f"Those of every space: {everywhere}."
            )
        return self.find(space, count, seed, **options)


finders = FactRegistry("method", Finder)


def signed(vectors: Tensor) -> Tensor:
    """Axes (k, D) the way round in which the largest number of each is positive: an axis has no sign of its own."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors)


def leading(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first eigenvectors (k, D) of a symmetric matrix (D, D), largest first, and their shares of its trace (k,)."""
    values, vectors = torch.linalg.eigh(matrix)
    shares = values.flip(0) / values.sum().clamp(min=1e-300)
    return signed(vectors.flip(1).t()[:count].float()), shares[:count].float()


def usual(space: LatentSpace) -> str:
    """The method for where nobody says one: `pca`, but for a z that it takes no axes of."""
    return "random" if isinstance(space, LatentZ) and space.size > MOST_SLOPES else "pca"


def _others(space: LatentSpace) -> str:
    """What to take where a method finds nothing: of a long z neither weights nor slopes are to be had."""
    return "random" if usual(space) == "random" else "pca or jacobian"


@finders.register("pca")
def pca(space: LatentSpace, count: int, seed: int, samples: int = 20_000) -> tuple[Tensor, Tensor]:
    """Principal axes of the space's own points, in one pass; in z those of an early layer (GANSpace, Harkonen et al. 2020)

    Every prior is isotropic: principal axes of z itself are those of the sample's noise, and no two seeds
    agree on them.
    """
    if isinstance(space, LatentZ):
        if usual(space) != "pca":
            raise GanvasError(
                f"pca of z takes four samples for each of its {space.size:,} numbers, and their covariance; {MOST_SLOPES:,} are "
                "the most. Take --method sefa or random, or the space of a layer."
            )
        return _from_layer(space, count, seed)
    random = stream(seed, "pca")
    if space.size > BROAD:
        axes, shares, _ = _axes_of(_held(space, samples, random), count, seed)
        return signed(axes), shares
    with torch.no_grad():
        batches = space.batches(max(2000, samples // 2000 * 2000), random, 2000)
        _, found = covariance(batches, space.size)
    return leading(found, count)


@torch.no_grad()
def _held(space: LatentSpace, samples: int, random: torch.Generator) -> Tensor:
    """So many points of a large space, or as many as there is room for (n, D)."""
    count = arrays.fitting(space.size, NUMBERS, samples, FEWEST)
    return _joined(space.batches(count, random, FEWEST), count)


def _joined(parts: Iterable[Tensor], count: int) -> Tensor:
    """Points that come part by part (n, D), in one piece of memory: of all parts and their whole there would be two."""
    found, done = torch.empty(0), 0
    for part in parts:
        rows = part.flatten(1)
        found = found if done else torch.empty(count, rows.shape[1])
        found[done : done + len(rows)] = rows
        done += len(rows)
    return found


def _axes_of(points: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal axes of points (n, D), which are moved to their mean: unit vectors (k, D), their shares of the variance, and the
    places along them (n, k)."""
    from sklearn.utils.extmath import randomized_svd

    # As PCA does it, which makes two more copies: of the first layer behind 2,000 numbers of z a gigabyte each.
    points -= points.mean(0)
    total = sum(float(part.double().square().sum()) for part in points.split(FEWEST))
    sides, sizes, axes = randomized_svd(points.numpy(), min(count, *points.shape), random_state=seed)
    shares = torch.from_numpy(sizes).double().square() / max(total, 1e-300)
    return torch.from_numpy(axes).float(), shares.float(), torch.from_numpy(sides * sizes)


def early_layer(space: LatentSpace) -> str:
    """What the principal axes of z are taken from: `w` where there is one, else the name of the first layer that reads z.

    Raises `GanvasError` where there is neither.
    """
    if "w" in spaces(space.model):
        return "w"
    if not (found := _readers(space)):
        raise GanvasError(
            "z has no principal axes of its own, and this generator no layer of weights. Take --method jacobian."
        )
    return found[0][0]


@torch.no_grad()
def _readers(space: LatentSpace, points: Tensor | None = None) -> list[tuple[str, Tensor]]:
    """The layers of weights that z reaches, in their order, and their inputs at two points of z (2, N) of one class."""
    found: list[tuple[str, Tensor]] = []
    if points is None:
        points = space.numbered(2)
    with ExitStack() as stack:
        for name, module in layers_of(space.model.generator).items():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() > 1 and not isinstance(module, nn.Embedding):

                def note(_: object, inputs: tuple[object, ...], output: object, name: str = name) -> None:
                    given = inputs[0] if inputs else None
                    if not isinstance(given, Tensor) or not isinstance(output, Tensor):
                        return
                    if len(given) == len(output) == 2 and bool((given[0] != given[1]).any()):
                        found.append((name, given.flatten(1)))

                stack.enter_context(hooked(module, note))
        space.decode(points, space.labels(2, space.labels(1, None)))
    return found


@torch.no_grad()
def _from_layer(space: LatentZ, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Principal axes of the early layer, regressed to z: z = sum of x_k u_k with x the whitened coordinates of the layer.

    The latents' own mean and covariance are exactly those of the prior, so that what the layer magnifies is
    found, not what the sample happened to hold more of: behind a linear layer all seeds give its singular
    vectors.
    """
    layer, size = early_layer(space), space.model.latent_dim
    z = space.sample(max(4000, 4 * size), stream(seed, "pca")).double()
    if not space.categories:  # one-hot blocks cannot be turned
        z = z - z.mean(0)
        factor = torch.linalg.cholesky(z.t() @ z / len(z))
        z = torch.linalg.solve_triangular(factor, z.t(), upper=False).t() * space.std[0]
    # One class for all: axes between classes are none of z.
    label, home = (
        space.labels(1, None),
        LatentW(space.model) if layer == "w" else HiddenLayer(space.model, layer),
    )
    parts = (
        home.of(part, None if label is None else label.expand(len(part))) for part in z.float().split(500)
    )
    _, shares, x = _axes_of(_joined(parts, len(z)), min(count, size), seed)
    x = x.to(z)
    found = (x / x.std(0).clamp(min=1e-12)).t() @ (z - z.mean(0))
    return signed(F.normalize(found).float()), shares


@finders.register("ica")
def ica(space: LatentSpace, count: int, seed: int, samples: int = 10_000) -> tuple[Tensor, Tensor]:
    """Independent axes of the space's own points (FastICA), ordered by their spread"""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    if isinstance(space, LatentZ) and space.prior != "uniform":
        raise GanvasError(
            f"All axes of a {space.prior} z are as independent as any other: ica would find noise. Take --method "
            f"{_others(space)}."
        )
    random, axes = stream(seed, "ica"), None
    count = min(count, space.size)
    if space.size > BROAD:  # its authors' algorithm begins with the leading axes, too
        axes, _, points = _axes_of(_held(space, samples, random), count, seed)
        count = len(axes)
    else:
        with torch.no_grad():
            points = space.sample(samples, random).flatten(1).cpu()
    points = points.double()
    spread = torch.linalg.eigvalsh(torch.cov(points.t()).reshape(points.shape[1], -1))
    if not spread.max() > 0:
        raise GanvasError(f"All points of {space.name!r} are the same: it has no axes.")
    # Of fewer directions than numbers, as vectors of a few classes have, the others would be rounding.
    count = min(count, max(1, int((spread > FLAT * spread.max()).sum())))
    with warnings.catch_warnings():
        # Sources that are nearly normal have no sharp optimum: the best attempt is what there is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = FastICA(count, random_state=seed, whiten="unit-variance", max_iter=300, tol=1e-3).fit(
            points.numpy()
        )
    mixing = torch.from_numpy(fitted.mixing_).t()  # (k, D): how far one unit of each source moves a point
    mixing = mixing if axes is None else mixing @ axes.to(mixing)
    spread = mixing.norm(dim=1)
    order = spread.argsort(descending=True)
    return signed(F.normalize(mixing[order]).float()), spread[order].float()


@finders.register("sefa", spaces=("z", "w"))
def sefa(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Directions that the first affine layers magnify most: eigenvectors of their weights (Shen and Zhou 2021)"""
    matrix = torch.cat([F.normalize(rows.double()) for rows in _first_weights(space)])
    # Of z that parts of a network read one by one, the first layer reads some.
    read = int(matrix.any(0).sum())
    if space.size > max(BROAD, len(matrix)):  # the square of its length is larger than the weights
        _, lengths, vectors = torch.linalg.svd(matrix, full_matrices=False)
        shares = lengths.square() / lengths.square().sum().clamp(min=1e-300)
        count = min(count, read, len(vectors))
        return signed(vectors[:count].float()), shares[:count].float()
    return leading(matrix.t() @ matrix, min(count, read))


def _first_weights(space: LatentSpace) -> list[Tensor]:
    """Weights (out, D) of the layers that read a point of the space."""
    generator, dim = space.model.generator, space.size
    if space.name == "w":
        if not (layers := list(style_based(space.model).style_layers)):
            raise GanvasError("sefa found no layers that read w. Take --method jacobian or pca.")
        return [layer.weight.detach() for layer in layers if isinstance(layer.weight, Tensor)]
    points = torch.randn(2, dim, generator=stream(0, "sefa")).to(space.model.device)
    for name, given in _readers(space, points)[:1]:
        module = generator.get_submodule(name)
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.ConvTranspose2d):
            rows = module.weight.detach().flatten(2).permute(1, 2, 0).flatten(0, 1)
        elif isinstance(weight, Tensor) and weight.dim() == 2:
            rows = weight.detach()
        else:
            break
        columns, places = _columns(given, points)
        if len(places) and rows.shape[1] == given.shape[1]:
            found = rows.new_zeros(len(rows), dim)
            found[:, places] = rows[:, columns]
            return [_by_z(space, found)]
    raise GanvasError(
        f"sefa found no dense or transposed layer that reads z. Take --method {_others(space)}."
    )


def _by_z(space: LatentSpace, rows: Tensor) -> Tensor:
    """Weights (out, D) of the layer that reads codes as such of z, where a normal was fitted to the codes."""
    generator = space.model.generator
    mixture = generator.mixture if isinstance(generator, Coded) else None
    if mixture is None:
        return rows
    if mixture.components > 1:
        raise GanvasError(
            "sefa reads the weights of the layer that z reaches first; here that is one behind a mixture of normals, which turns "
            f"z another way at every point. Take --method {_others(space)}."
        )
    return rows @ mixture.factors[0].to(rows)


def _columns(given: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Which numbers of a layer's inputs (2, N) are those of z (2, D), and which ones of z they are; none where nobody can say."""
    columns, size = (given[0] != given[1]).nonzero()[:, 0], points.shape[1]
    every = torch.arange(size, device=points.device)
    # What stands behind z (the vector of a class) may be scaled with it.
    if given.shape[1] == size or len(columns) > size:
        return every, every
    if len(columns) == size:
        return columns, every
    same = (given[:, columns, None] == points[:, None]).all(0)
    known = same.sum(1) == 1
    return columns[known], same[known].int().argmax(1)


@finders.register("jacobian")
def jacobian(space: LatentSpace, count: int, seed: int, samples: int = 16) -> tuple[Tensor, Tensor]:
    """Directions that change the picture most: eigenvectors of the mean J^T J (Ramesh et al. 2018; Wang and Ponce 2021)"""
    _check_slopes(space)
    labels = space.model.labels_at(all_over(samples, space.model.generator.num_classes))
    with torch.no_grad():
        points = space.sample(samples, stream(seed, "jacobian"), labels)
    return leading(metric(space, points, labels=labels), count)


@finders.register("local", of_a_sample=True)
def local(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Directions that change one picture most, that of the seed: eigenvectors of J^T J there"""
    _check_slopes(space)
    return leading(metric(space, space.numbered(1, seed)), count)


def _check_slopes(space: LatentSpace) -> None:
    if space.size > MOST_SLOPES:
        raise GanvasError(
            f"This method takes the derivative by each of the {space.size:,} numbers of a point of {space.name!r}; "
            f"{MOST_SLOPES:,} are the most. Take --method "
            f"{'sefa or random' if isinstance(space, LatentZ) else 'pca or ica'}."
        )
    if (numbers := slopes(space)) > MOST_NUMBERS:
        raise GanvasError(
            f"This method takes the derivative of what is seen of a sample by each of the {space.size:,} numbers of a point of "
            f"{space.name!r}: {numbers:,} numbers, and {MOST_NUMBERS:,} are the most. Take --method pca or random."
        )


@finders.register("random")
def random_directions(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random orthogonal directions: the control beside every other method"""
    dim = space.size
    q, _ = torch.linalg.qr(torch.randn(dim, min(count, dim), generator=stream(seed, "random directions")))
    return q.t(), torch.zeros(min(count, dim))
