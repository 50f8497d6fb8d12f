"""Directions: found without labels (pca, ica, sefa, jacobian), from scores (attribute), and random ones as the control.

A `Direction` lives in one space of one model and carries its units: one standard deviation of the space along it, and how
far that moves a sample in feature distance.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import io
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.paths import Perception, perception
from ganvas.latent.space import LatentSpace
from ganvas.model import Model
from ganvas.registry import Registry

EFFECT_SAMPLES = 64


@dataclass(frozen=True)
class Direction:
    """A unit vector of a space, with what it does."""

    name: str
    vector: Tensor
    """(*shape) of the space, of unit length."""
    space: str
    model: str
    """Fingerprint of the generator's weights."""
    method: str
    sigma: float
    """Standard deviation of the space's own points along the vector: the unit of strengths."""
    effect: float = 0.0
    """Mean feature distance that one sigma moves a sample."""
    score: float = 0.0
    """What the method ranks by: explained share, eigenvalue, or accuracy of an attribute's hyperplane."""
    layers: tuple[int, ...] = ()
    """Rows of w+ that an edit touches; empty: all."""


def fingerprint(model: Model) -> str:
    """Short hash of the generator's weights: a direction of one model is refused by another."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.generator.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


Finder = Callable[[LatentSpace, int, int], tuple[Tensor, Tensor]]
"""(space, how many, seed) -> unit vectors (k, D) of the flattened space and their scores (k,), best first."""
finders: Registry[Finder] = Registry("method")


def covariance(batches: Sequence[Tensor] | Callable[[], object], dim: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of points that come in batches (n, D), in float64; nothing else is kept."""
    total, outer, count = torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64), 0
    shift: Tensor | None = None
    for batch in batches:  # type: ignore[union-attr]
        x = batch.flatten(1)
        if shift is None:
            shift = x.mean(0)  # near the mean, so that squares lose no digits
        x = x - shift
        total += x.sum(0).double().cpu()
        outer += (x.t() @ x).double().cpu()
        count += len(x)
    if shift is None or count < 2:
        raise GanvasError("A covariance needs at least two points.")
    mean = total / count
    return mean + shift.double().cpu(), (outer - count * torch.outer(mean, mean)) / (count - 1)


@finders.register("pca")
def pca(space: LatentSpace, count: int, seed: int, samples: int = 20_000) -> tuple[Tensor, Tensor]:
    """Principal axes of the space's own points, in one pass (GANSpace, Harkonen et al. 2020)"""
    random = stream(seed, "pca")
    dim = int(torch.Size(space.shape).numel())
    with torch.no_grad():
        _, found = covariance([space.sample(2000, random) for _ in range(max(1, samples // 2000))], dim)
    values, vectors = torch.linalg.eigh(found)
    return vectors.flip(1).t()[:count].float(), (values.flip(0) / values.sum())[:count].float()


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
        fitted = FastICA(count, random_state=seed, whiten="unit-variance", max_iter=300, tol=1e-3).fit(points.numpy())
    mixing = torch.from_numpy(fitted.mixing_).t()  # (k, D): how far one unit of each source moves a point
    spread = mixing.norm(dim=1)
    order = spread.argsort(descending=True)
    return F.normalize(mixing[order]).float(), spread[order].float()


@finders.register("sefa")
def sefa(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Directions that the first affine layers magnify most: eigenvectors of their weights (Shen and Zhou 2021)"""
    matrix = torch.cat([F.normalize(rows.double()) for rows in _first_weights(space)])
    values, vectors = torch.linalg.eigh(matrix.t() @ matrix)
    return vectors.flip(1).t()[:count].float(), (values.flip(0) / len(matrix))[:count].float()


def _first_weights(space: LatentSpace) -> list[Tensor]:
    """Weights (out, D) of the layers that read a point of the space."""
    generator, dim = space.model.generator, int(torch.Size(space.shape).numel())
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


def metric(space: LatentSpace, points: Tensor, see: Perception | None = None) -> Tensor:
    """The mean of J^T J (D, D) over points, J the Jacobian of features by the point: what one step changes.

    All D Jacobian-vector products of a point in one batch, each as the derivative of a vector-Jacobian product by its vector.
    """
    see = see or perception(space)
    dim = int(torch.Size(space.shape).numel())
    basis = torch.eye(dim, device=points.device).reshape(dim, *space.shape)
    total = torch.zeros(dim, dim, dtype=torch.float64)
    label = space.labels(1, None)
    for point in points:
        at = point.detach().expand(dim, *space.shape).clone().requires_grad_(True)
        features = see(space.decode(at, None if label is None else label.expand(dim)))
        dummy = torch.zeros_like(features, requires_grad=True)
        (pulled,) = torch.autograd.grad(features, at, dummy, create_graph=True)
        (pushed,) = torch.autograd.grad(pulled, dummy, basis)
        columns = pushed.double().cpu()
        total += columns @ columns.t()
    return total / len(points)


@finders.register("jacobian")
def jacobian(space: LatentSpace, count: int, seed: int, samples: int = 16) -> tuple[Tensor, Tensor]:
    """Directions that change the picture most: eigenvectors of the mean J^T J (Ramesh et al. 2018; Wang and Ponce 2021)"""
    with torch.no_grad():
        points = space.sample(samples, stream(seed, "jacobian"))
    values, vectors = torch.linalg.eigh(metric(space, points))
    return vectors.flip(1).t()[:count].float(), (values.flip(0) / values.sum())[:count].float()


@finders.register("random")
def random_directions(space: LatentSpace, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random orthogonal directions: the control beside every other method"""
    dim = int(torch.Size(space.shape).numel())
    q, _ = torch.linalg.qr(torch.randn(dim, min(count, dim), generator=stream(seed, "random directions")))
    return q.t(), torch.zeros(min(count, dim))


def find(
    space: LatentSpace, method: str, count: int = 8, seed: int = 0, see: Perception | None = None
) -> list[Direction]:
    """`count` directions of a space by a method from `finders`, each with its sigma and effect, best first."""
    if count < 1:
        raise GanvasError(f"The number of directions is {count}; it must be at least 1.")
    vectors, scores = finders.get(method)(space, count, seed)
    mark = fingerprint(space.model)
    made = [
        Direction(f"{method}-{i}", vector.reshape(space.shape), space.name, mark, method, 1.0, score=float(score))
        for i, (vector, score) in enumerate(zip(vectors, scores, strict=True))
    ]
    return [measured(space, each, see) for each in made]


@torch.no_grad()
def measured(space: LatentSpace, direction: Direction, see: Perception | None = None) -> Direction:
    """The same direction with `sigma` and `effect` measured on the space's own points."""
    see = see or perception(space)
    vector = direction.vector.to(space.model.device)
    along = (space.known - space.mean).flatten(1) @ vector.flatten()
    direction = replace(direction, sigma=float(along.std()))
    points = space.known[:EFFECT_SAMPLES]
    labels = space.labels(len(points), None)
    moved = edit(space, points, direction, 1.0)
    distance = (see(space.decode(moved, labels)) - see(space.decode(points, labels))).norm(dim=1)
    return replace(direction, effect=float(distance.mean()))


def edit(space: LatentSpace, points: Tensor, direction: Direction, strength: float | Tensor) -> Tensor:
    """points (n, *shape) moved by `strength` sigmas, a number or one for each point (n,)."""
    if direction.space != space.name and not (direction.space == "w" and space.name == "w+"):
        raise GanvasError(
            f"The direction {direction.name!r} is one of {direction.space!r}, the points are of {space.name!r}."
        )
    points = space.check(points)
    step = (direction.vector.to(points) * direction.sigma).expand(space.shape).clone()
    if direction.layers:
        if space.name != "w+":
            raise GanvasError("Layers can be chosen in w+ only. Open the space w+.")
        keep = torch.zeros(space.shape[0], 1, device=points.device)
        keep[list(direction.layers)] = 1
        step = step * keep
    amount = torch.as_tensor(strength, dtype=points.dtype, device=points.device).reshape(-1, *[1] * len(space.shape))
    return points + amount * step


def attribute(
    space: LatentSpace, points: Tensor, scores: Tensor, name: str = "attribute", against: Sequence[Direction] = ()
) -> Direction:
    """The normal of the hyperplane between points (n, *shape) of low and high scores (n,), by a linear SVM (Shen et al. 2020).

    Scores of two values are classes; others are split at their quartiles. `against` are directions whose attributes shall stay:
    their part is projected out (conditional manipulation, section 3.2). `score` is the accuracy on a held-out third.
    """
    from sklearn.svm import LinearSVC

    points = space.check(points)
    low, high = (
        (scores.min(), scores.max()) if len(scores.unique()) == 2 else (scores.quantile(0.25), scores.quantile(0.75))
    )
    chosen = (scores <= low) | (scores >= high)
    x, y = points[chosen].flatten(1).double().cpu(), (scores[chosen] >= high).cpu()
    if low == high or min(int(y.sum()), int((~y).sum())) < 4:
        raise GanvasError(
            f"The scores of {name!r} need at least 4 samples on each side, there are {int(y.sum())} and {int((~y).sum())}."
        )
    mean, spread = x.mean(0), x.std(0) + 1e-9
    x = (x - mean) / spread
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    cut = max(4, len(x) * 2 // 3)
    trained = LinearSVC(C=0.05, dual=False).fit(x[order[:cut]].numpy(), y[order[:cut]].numpy())
    rest = order[cut:] if len(order) > cut else order
    accuracy = float(trained.score(x[rest].numpy(), y[rest].numpy()))
    whole = LinearSVC(C=0.05, dual=False).fit(x.numpy(), y.numpy())
    vector = torch.from_numpy(whole.coef_[0]) / spread
    if against:
        others = torch.stack([other.vector.flatten().double().cpu() for other in against])
        basis, _ = torch.linalg.qr(others.t())
        vector = vector - basis @ (basis.t() @ vector)
    if vector.norm() < 1e-9:
        raise GanvasError(f"Nothing of {name!r} is left after the projection: the other directions contain it.")
    vector = F.normalize(vector, dim=0).float().reshape(space.shape)
    found = Direction(name, vector, space.name, fingerprint(space.model), "attribute", 1.0, score=accuracy)
    return measured(space, found)


def save(path: Path, directions: Sequence[Direction]) -> None:
    """Write directions as one .safetensors file with everything but the vectors in its JSON header."""
    fields = ("name", "space", "model", "method", "sigma", "effect", "score", "layers")
    header = {"kind": "directions", "directions": [{f: getattr(d, f) for f in fields} for d in directions]}
    with io.atomic(path) as temporary:
        io.save_tensors(temporary, {str(i): d.vector.cpu().contiguous() for i, d in enumerate(directions)}, header)


def load_directions(path: Path, model: Model | None = None) -> list[Direction]:
    """The directions of a file. Raises `GanvasError` when they are of another model than `model`."""
    tensors, header = io.load_tensors(path)
    if header.get("kind") != "directions":
        raise GanvasError(f"{path} holds a {header.get('kind')}, expected directions.")
    try:
        found = [
            Direction(vector=tensors[str(i)], **{**row, "layers": tuple(row["layers"])})
            for i, row in enumerate(header["directions"])
        ]
    except (KeyError, TypeError) as error:
        raise GanvasError(f"{path} has a damaged header: {error!r}.") from error
    if model is not None and any(each.model != fingerprint(model) for each in found):
        raise GanvasError(
            f"{path} holds directions of another model ({found[0].model}, this one is {fingerprint(model)})."
        )
    return found
