"""The derivative of what a sample looks like by its point, and the metric that it pulls back into the space."""

import warnings

import torch
from torch import Tensor

from ganvas.latent.paths import Perception, pyramid, see_many
from ganvas.latent.space import LatentSpace

MOST = 512
"""Numbers in a point beyond which Jacobians are not taken: each number costs a forward pass."""
SPECTRUM_POINTS, SPECTRUM_CLASSES = 4, 10
"""Points of a spectrum; of a model with classes one of each, of so many from all over where there are more."""


def jacobians(
    space: LatentSpace, points: Tensor, see: Perception = pyramid, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Features (n, F) at points (n, *shape) and their Jacobians (n, F, D).

    Forward mode over `Model.at_once` coordinates at a time; for generators with an operation that has none, each Jacobian-vector
    product is the derivative of a vector-Jacobian product by its vector.
    """
    points = space.check(points)
    labels = space.labels(len(points), labels)
    size = space.model.at_once  # each coordinate takes the memory of a sample
    basis = torch.eye(space.size, device=points.device, dtype=points.dtype).reshape(-1, *space.shape)

    def one(point: Tensor, label: Tensor | None) -> Tensor:
        features: Tensor = see(space.decode(point[None], None if label is None else label[None]))[0]
        return features

    found = []
    for i, point in enumerate(points.detach()):
        label = None if labels is None else labels[i]
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # of what torch itself loads for forward mode

                def push(tangent: Tensor, point: Tensor = point, label: Tensor | None = label) -> Tensor:
                    pushed: Tensor = torch.func.jvp(lambda p: one(p, label), (point,), (tangent,))[1]
                    return pushed

                features = one(point, label)
                columns = torch.func.vmap(push, chunk_size=size)(basis)
        except (RuntimeError, NotImplementedError):
            parts: list[Tensor] = []
            with torch.enable_grad():
                for some in basis.split(size):
                    at = point.expand(len(some), *space.shape).clone().requires_grad_(True)
                    several = see(space.decode(at, None if label is None else label.expand(len(some))))
                    dummy = torch.zeros_like(several, requires_grad=True)
                    (pulled,) = torch.autograd.grad(several, at, dummy, create_graph=True)
                    parts += torch.autograd.grad(pulled, dummy, some)
                    features = several[0].detach()
            columns = torch.cat(parts)
        found.append((features, columns.t()))
    return torch.stack([f for f, _ in found]), torch.stack([j for _, j in found])


def metric(
    space: LatentSpace, points: Tensor, see: Perception = pyramid, labels: Tensor | None = None
) -> Tensor:
    """The mean of J^T J (D, D) over points (n, *shape), J the Jacobian of features: what a step changes, in float64.

    Of a conditional model the samples are of `labels` (n,), or of all classes in turn. Large pictures are seen small
    (`small_pyramid`): a Jacobian of one of 1,024 px takes 8 GB else.
    """
    see = see_many(space, see)
    total = torch.zeros(space.size, space.size, dtype=torch.float64)
    labels = space.labels(len(points), labels)
    for i, point in enumerate(points):
        _, found = jacobians(space, point[None], see, None if labels is None else labels[i : i + 1])
        j = found[0].double().cpu()
        total += j.t() @ j
    return total / len(points)


def spectrum(space: LatentSpace, seed: int = 0) -> Tensor:
    """Eigenvalues of the mean metric at a few samples of `seed` as shares, largest first; empty for spaces above `MOST`."""
    if space.size > MOST:
        return torch.zeros(0, dtype=torch.float64)
    classes = space.model.generator.num_classes
    count = max(SPECTRUM_POINTS, min(classes, SPECTRUM_CLASSES))
    numbers = [i * classes // count if classes > count else i for i in range(count)]
    labels = space.model.labels_at(numbers)
    labels = None if labels is None else labels.to(space.model.device)
    values = torch.linalg.eigvalsh(metric(space, space.at(numbers, seed), labels=labels)).flip(0).clamp(min=0)
    shares: Tensor = values / values.sum().clamp(min=1e-300)
    return shares
