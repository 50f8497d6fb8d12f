"""The two scores of TimeGAN's published code (Yoon et al. 2019), as it computes them, for comparison with figures of others.

What it does, read in the code: classifier and predictor are one GRU each, of int(D / 2) units: two on its sines. Prices are
scaled to [0, 1] by the least and largest value of the original data, all of them. The classifier is tested on a random fifth
of windows that overlap with those it was trained on; the predictor is tested on the data that the generator was trained on.
There is no test of significance. The paper reports means of ten trainings. The cells are those of Keras, as in the newest
version of the code; TensorFlow 1's, which it began with, apply the reset gate before the matrix and start its biases at 1.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays
from ganvas.device import seeded, stream
from ganvas.errors import GanvasError
from ganvas.processes import Floats, Wholes

BATCH = 128
TRAINED = 0.8
"""Share of the windows that the classifier is trained on."""


def units(columns: int) -> int:
    """Units of both networks. Raises `GanvasError` for a single column: the published code has no network for it."""
    if columns < 2:
        raise GanvasError(
            "The published scores need two columns: their networks have half as many units as columns."
        )
    return columns // 2


def discriminative(fake: Floats, real: Floats, *, iterations: int = 2000, seed: int = 0) -> float:
    """|share of right answers - 1/2| of the classifier on its random test part; series (N, T, D), ends are not heeded."""
    x, y = _scaled(fake, real)
    random = stream(seed, "published discriminative")
    train, test = zip(*(_split(each, random) for each in (x, y)), strict=True)
    with seeded(arrays.seed(seed)):
        network = _Recurrent(x.shape[2], units(x.shape[2]))

    def loss() -> Tensor:
        batch = [_some(each, random) for each in train]
        logits = network(torch.cat(batch))[:, -1, 0]
        truth = torch.cat([torch.full((len(each),), float(i)) for i, each in enumerate(batch)])
        # The sum of two means, one of the fakes and one of the real ones.
        return 2 * F.binary_cross_entropy_with_logits(logits, truth)

    _fit(network, loss, iterations)
    with torch.inference_mode():
        right = [((network(each)[:, -1, 0] > 0) == bool(i)).float() for i, each in enumerate(test)]
    return abs(float(torch.cat(right).mean()) - 0.5)


def predictive(
    fake: Floats,
    fake_lengths: Wholes,
    real: Floats,
    real_lengths: Wholes,
    *,
    iterations: int = 5000,
    seed: int = 0,
) -> float:
    """Mean absolute error of the last column one step later, seen the other columns up to now, on all original series.

    The predictor is trained on the fakes. Of values within [0, 1]; the steps of the original series that count.
    """
    x, y = _scaled(fake, real)
    random = stream(seed, "published predictive")
    ends = [torch.from_numpy(each) for each in (fake_lengths, real_lengths)]
    with seeded(arrays.seed(seed)):
        network = _Recurrent(x.shape[2] - 1, units(x.shape[2]))

    def errors(series: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of every step, behind the ends too, (B, T - 1), and which of them count."""
        predicted = torch.sigmoid(network(series[:, :-1, :-1])[:, :, 0])
        counts = torch.arange(series.shape[1] - 1) < (lengths - 1)[:, None]
        return (predicted - series[:, 1:, -1]).abs(), counts

    def loss() -> Tensor:
        rows = _chosen(len(x), random)
        return errors(x[rows], ends[0][rows])[0].mean()

    _fit(network, loss, iterations)
    with torch.inference_mode():
        found, counts = errors(y, ends[1])
    each = (found * counts).sum(1) / counts.sum(1).clamp(min=1)
    return float(each.double().mean())


class _Recurrent(nn.Module):
    """One GRU and one dense layer: (B, T, D) -> (B, T, 1)."""

    def __init__(self, columns: int, hidden: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(columns, hidden, batch_first=True)
        self.last = nn.Linear(hidden, 1)
        # As Keras begins: Glorot's uniform weights, orthogonal recurrent ones, biases of 0.
        for name, weight in self.recurrent.named_parameters():
            if "bias" in name:
                nn.init.zeros_(weight)
            elif "hh" in name:
                nn.init.orthogonal_(weight)
            else:
                for gate in weight.chunk(3):
                    nn.init.xavier_uniform_(gate)
        nn.init.xavier_uniform_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.recurrent(x)[0])
        return found


def _fit(network: nn.Module, loss: Callable[[], Tensor], iterations: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, eps=1e-8)
    for _ in range(iterations):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def _scaled(fake: Floats, real: Floats) -> tuple[Tensor, Tensor]:
    """Both in units of the real ones, which then lie within [0, 1]. What lies there stays: the published sines are not scaled."""
    low, high = real.min((0, 1)), real.max((0, 1))
    if low.min() < 0 or high.max() > 1:
        fake, real = ((each - low) / (high - low + 1e-7) for each in (fake, real))
    return torch.from_numpy(fake).float(), torch.from_numpy(real).float()


def _split(x: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(x), generator=random)
    count = int(len(x) * TRAINED)
    return x[order[:count]], x[order[count:]]


def _chosen(total: int, random: torch.Generator) -> Tensor:
    return torch.from_numpy(np.asarray(torch.randperm(total, generator=random)[:BATCH]))


def _some(x: Tensor, random: torch.Generator) -> Tensor:
    return x[_chosen(len(x), random)]
