"""The derivative of what a sample looks like by its point, and the metric that it pulls back into the space."""

import threading
import warnings

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.latent.paths import Perception, pyramid, see_many
from ganvas.latent.space import LatentSpace

MOST = 512
"""Numbers in a point beyond which Jacobians are not taken: each number costs a forward pass."""
MOST_NUMBERS = 2**27
"""Numbers of a Jacobian, 0.5 GB: those of a point times those of what is seen of a sample, of 512 latents and 256 px in colour
as many."""
PART = 2**24
"""Numbers of it that are brought to float64 at a time."""
FORWARD = threading.Lock()
"""Torch counts levels of forward mode for the process, not for the thread: of Jacobians that two threads took at once some
were wrong, without a word."""
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
    found = [
        columns(space, point, see, None if labels is None else labels[i]) for i, point in enumerate(points)
    ]
    return torch.stack([f for f, _ in found]), torch.stack([j.t() for _, j in found])


def columns(
    space: LatentSpace, point: Tensor, see: Perception = pyramid, label: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Features (F,) at a point (*shape) and the columns of their Jacobian, each a row (D, F). It is held once.

    `label` () is the class of the sample, for conditional generators.
    """
    size, point = space.model.at_once, point.detach()  # each coordinate takes the memory of a sample
    basis = torch.eye(space.size, device=point.device, dtype=point.dtype).reshape(-1, *space.shape)
    found = torch.empty(0)

    def one(point: Tensor) -> Tensor:
        features: Tensor = see(space.decode(point[None], None if label is None else label[None]))[0]
        return features

    def push(tangent: Tensor) -> Tensor:
        pushed: Tensor = torch.func.jvp(one, (point,), (tangent,))[1]
        return pushed

    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Of what torch itself loads for forward mode.
            warnings.simplefilter("ignore", DeprecationWarning)
            features = one(point)
            for first, some in zip(range(0, len(basis), size), basis.split(size), strict=True):
                with FORWARD:
                    pushed = torch.func.vmap(push)(some)
                found = found if first else pushed.new_empty(len(basis), len(features))
                found[first : first + len(some)] = pushed
    except (RuntimeError, NotImplementedError):
        for first, some in zip(range(0, len(basis), size), basis.split(size), strict=True):
            with torch.enable_grad():
                at = point.expand(len(some), *space.shape).clone().requires_grad_(True)
                several = see(space.decode(at, None if label is None else label.expand(len(some))))
                dummy = torch.zeros_like(several, requires_grad=True)
                (pulled,) = torch.autograd.grad(several, at, dummy, create_graph=True)
                (pushed,) = torch.autograd.grad(pulled, dummy, some)
            features = several[0].detach()
            found = found if first else pushed.new_empty(len(basis), len(features))
            found[first : first + len(some)] = pushed
    return features, found


def squared(found: Tensor) -> Tensor:
    """J^T J (D, D) of the `columns` of a Jacobian (D, F), in float64."""
    total = torch.zeros(len(found), len(found), dtype=torch.float64, device=found.device)
    for part in found.split(arrays.fitting(len(found), PART, found.shape[1]), 1):
        j = part.t().to(torch.float64, memory_format=torch.contiguous_format)
        total += j.t() @ j
    return total


def slopes(space: LatentSpace) -> int:
    """Numbers of the Jacobian that `metric` takes; above `MOST_NUMBERS` it is not taken."""
    seen = see_many(space, pyramid)(torch.zeros(1, *space.model.shape))
    return space.size * seen.numel()


def metric(
    space: LatentSpace, points: Tensor, see: Perception = pyramid, labels: Tensor | None = None
) -> Tensor:
    """The mean of J^T J (D, D) over points (n, *shape), J the Jacobian of features: what a step changes, in float64.

    Of a conditional model the samples are of `labels` (n,), or of all classes in turn. Large pictures are seen small
    (`small_pyramid`): a Jacobian of one of 1,024 px takes 8 GB else.
    """
    see = see_many(space, see)
    total = torch.zeros(space.size, space.size, dtype=torch.float64)
    points, labels = space.check(points), space.labels(len(points), labels)
    for i, point in enumerate(points):
        total += squared(columns(space, point, see, None if labels is None else labels[i])[1]).cpu()
    return total / len(points)


def spectrum(space: LatentSpace, seed: int = 0) -> Tensor:
    """Eigenvalues of the mean metric at a few samples of `seed` as shares, largest first.

    Empty for spaces above `MOST`, and for samples whose Jacobians are above `MOST_NUMBERS`.
    """
    if space.size > MOST or slopes(space) > MOST_NUMBERS:
        return torch.zeros(0, dtype=torch.float64)
    classes = space.model.generator.num_classes
    count = max(SPECTRUM_POINTS, min(classes, SPECTRUM_CLASSES))
    numbers = [i * classes // count if classes > count else i for i in range(count)]
    labels = space.model.labels_at(numbers)
    labels = None if labels is None else labels.to(space.model.device)
    values = torch.linalg.eigvalsh(metric(space, space.at(numbers, seed), labels=labels)).flip(0).clamp(min=0)
    shares: Tensor = values / values.sum().clamp(min=1e-300)
    return shares
