"""Directions that a second network can tell apart from pairs of pictures, and how well any directions can be told apart.

Voynov and Babenko 2020: an orthonormal matrix and a reconstructor learn together, the one to shift latents so that the other
can say which direction was taken and how far. With the directions frozen, the reconstructor's accuracy is the score RCA.
"""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal
from torch.nn.utils.parametrize import register_parametrization

from ganvas import arrays
from ganvas.checkpoint import Checkpoint
from ganvas.device import seeded, stream
from ganvas.errors import GanvasError
from ganvas.latent.fit import Advance, fit
from ganvas.latent.paths import drawn_in_parts, smaller, told
from ganvas.latent.space import LatentSpace

REACH, LEAST = 6.0, 0.5
"""Shifts are uniform in [-6, 6] standard deviations, those below 0.5 raised to it (section 4.1 and the authors' defaults)."""
SHIFT_WEIGHT = 0.25
"""Of the shift's error beside the cross-entropy of the direction (equation 1)."""
TEST_BATCHES = 100
BROAD = 4096
"""Numbers in a point above which no matrix of their square is turned: it takes gigabytes."""


class Reconstructor(nn.Module):
    """Two samples -> logits of the directions (B, K) and the shift (B,): a LeNet on both images as channels, of large ones at a
    whole fraction of their size; dense for others."""

    def __init__(self, shape: tuple[int, ...], count: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if len(shape) == 3:
            few = smaller(shape)
            layers += [nn.AvgPool2d(few)] if max(few) > 1 else []
            inputs, size = (
                2 * shape[0],
                tuple(side // each for side, each in zip(shape[1:], few, strict=True)),
            )
            for outputs in (width, 2 * width, 4 * width):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                if min(size) > 4:
                    layers, size = [*layers, nn.MaxPool2d(2)], (size[0] // 2, size[1] // 2)
                inputs = outputs
            layers += [nn.Flatten(), nn.Linear(inputs * math.prod(size), 4 * width)]
        else:
            layers += [
                nn.Flatten(),
                nn.Linear(2 * math.prod(shape), 4 * width),
                nn.ReLU(),
                nn.Linear(4 * width, 4 * width),
            ]
        self.layers = nn.Sequential(*layers, nn.BatchNorm1d(4 * width), nn.ReLU())
        self.which, self.far = nn.Linear(4 * width, count), nn.Linear(4 * width, 1)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.layers(torch.cat([before, after], 1))
        return self.which(hidden), self.far(hidden).squeeze(1)


class _Upright(nn.Module):
    """Columns (D, K) -> orthonormal ones that span the same, with no matrix (D, D) in between."""

    def forward(self, weight: Tensor) -> Tensor:
        found: Tensor = torch.linalg.qr(weight)[0]
        return found


class _Shifts(nn.Module):
    """K directions of unit length in coordinates of unit spread: learned and orthonormal, or given and frozen."""

    def __init__(self, space: LatentSpace, count: int, given: Tensor | None) -> None:
        super().__init__()
        self.std: Tensor
        self.given: Tensor
        self.count = count
        self.register_buffer("std", space.std.detach().flatten().clone())
        self.linear: nn.Module | None = None
        if given is None:
            # The authors take the matrix exponential; the Cayley map spans the same rotations at a sixth of its time.
            self.linear = nn.Linear(count, space.size, bias=False)
            if space.size > BROAD:
                register_parametrization(self.linear, "weight", _Upright())
            else:
                orthogonal(self.linear, orthogonal_map="cayley")
        else:
            scaled = given.to(self.std) / self.std.clamp(min=1e-6)
            self.register_buffer("given", F.normalize(scaled))

    def directions(self) -> Tensor:
        """(K, D)"""
        if self.linear is None:
            return self.given
        weight: Any = self.linear.weight
        return weight.t()  # type: ignore[no-any-return]

    def forward(self, which: Tensor, far: Tensor) -> Tensor:
        return self.directions()[which] * far[:, None] * self.std


def _batch(
    space: LatentSpace, shifts: _Shifts, judge: Reconstructor, batch: int, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, guessed shifts, and the truth of both."""
    device = space.model.device
    with torch.no_grad():
        labels = space.labels_of_batch(batch, random)
        points = space.sample(batch, random, labels)
        which = torch.randint(shifts.count, (batch,), generator=random).to(device)
        far = (torch.rand(batch, generator=random) * 2 - 1).to(device) * REACH
        far = torch.where(far < 0, -1.0, 1.0) * far.abs().clamp(min=LEAST)
        before = space.decode(points, labels)
    after = drawn_in_parts(space, points + shifts(which, far).reshape(points.shape), labels)
    logits, guess = judge(before, after)
    return logits, guess, which, far


def _train(
    space: LatentSpace, count: int, given: Tensor | None, steps: int, batch: int, rate: float, seed: int,
    checkpoint: Checkpoint, progress: Advance | None,
) -> tuple[_Shifts, float]:  # fmt: skip
    random = stream(seed, "learned directions")
    with seeded(seed):
        shifts = _Shifts(space, count, given).to(space.model.device)
        judge = Reconstructor(tuple(space.model.shape), count).to(space.model.device)

    def loss() -> Tensor:
        logits, guess, which, far = _batch(space, shifts, judge, batch, random)
        return F.cross_entropy(logits, which) + SHIFT_WEIGHT * (guess - far).abs().mean()

    def falling(step: int) -> float:
        # In the last fifth, so that the accuracy does not depend on the last few batches.
        return rate * min(1.0, 5 * (steps - step) / steps)

    fit([("shifts", shifts), ("judge", judge)], loss, falling, steps, random, checkpoint, progress)
    right = 0
    with torch.no_grad():
        for _ in range(TEST_BATCHES):
            logits, _, which, _ = _batch(space, shifts, judge, batch, random)
            right += int((logits.argmax(1) == which).sum())
    checkpoint.done()
    return shifts, right / (TEST_BATCHES * batch)


def learn(
    space: LatentSpace, count: int, seed: int = 0, *, steps: int = 2000, batch: int = 32, rate: float = 1e-3,
    state: Path | None = None, progress: Advance | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`count` directions that a reconstructor learns to tell apart: unit vectors (k, D), and how often each is told (k,).

    The authors take 100,000 steps at a rate of 1e-4; a tenfold rate does most of it in a fiftieth. Raises `GanvasError` for more
    directions than the space has numbers.
    """
    steps, batch = arrays.count(steps, "steps"), arrays.count(batch, "batch", 2)
    rate, count = arrays.number(rate, "rate", above=0), arrays.count(count, "count", 2)
    if not 2 <= count <= space.size:
        raise GanvasError(
            f"Learned directions are orthogonal: ask for 2 to {space.size} of {space.name!r}, not {count}."
        )
    job = {"job": "learn", "model": space.model.hash, "key": space.model.key, "space": space.name, "count": count,
           "seed": seed, "steps": steps, "batch": batch, "rate": rate, **told(space.model.shape)}  # fmt: skip
    checkpoint = Checkpoint(state, job)
    shifts, accuracy = _train(space, count, None, steps, batch, rate, seed, checkpoint, progress)
    vectors = F.normalize(shifts.directions().detach() * shifts.std)
    return vectors, torch.full((count,), accuracy)


def discovery_accuracy(
    space: LatentSpace, vectors: Tensor, seed: int = 0, *, steps: int = 2000, batch: int = 32, rate: float = 1e-3,
    progress: Advance | None = None,
) -> float:  # fmt: skip
    """RCA of frozen directions (k, D): the share of fresh pairs whose direction a reconstructor names after `steps` steps.

    Chance is 1 / k. Figures compare at equal k, steps, batch and reach only.
    """
    steps, batch = arrays.count(steps, "steps"), arrays.count(batch, "batch", 2)
    rate = arrays.number(rate, "rate", above=0)
    vectors = arrays.as_floats(vectors, "vectors").flatten(1).to(space.model.device)
    if len(vectors) < 2 or vectors.shape[1] != space.size:
        raise GanvasError(
            f"RCA is of 2 directions or more of {space.name!r}, {space.size} numbers each; got {tuple(vectors.shape)}."
        )
    return _train(space, len(vectors), vectors, steps, batch, rate, seed, Checkpoint(None, {}), progress)[1]
