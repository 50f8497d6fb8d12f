"""Inception score: how sure a classifier is of each sample, and how many classes it sees in all."""

from typing import NamedTuple

import numpy as np
import torch

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError


class InceptionScore(NamedTuple):
    """Mean and spread over the splits."""

    mean: float
    std: float


def inception_score(probabilities: Array, *, splits: int = 10, seed: int = 2020) -> InceptionScore:
    """exp E_x KL(p(y|x) || p(y)), mean over splits of the shuffled samples (Salimans et al. 2016).

    Class probabilities (N, K), rows summing to 1; from 1 to K, higher is better. It never looks at real data, does not
    notice copies, and one sample a class is a full score. The default seed shuffles as torch-fidelity does.
    """
    arrays.count(splits, "splits")
    p = arrays.as_rows(probabilities, "probabilities", least=splits).double()
    if bool((p < 0).any()) or not torch.allclose(
        p.sum(1), torch.ones((), dtype=p.dtype, device=p.device), atol=1e-3
    ):
        raise GanvasError(
            "inception_score wants probabilities: rows of at least 0 that sum to 1. Apply softmax first."
        )
    order = np.random.RandomState(arrays.seed(seed)).permutation(len(p))
    p = p[torch.from_numpy(order).to(p.device)]
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        # x log x tends to 0 with x; classes that no sample has add nothing.
        entropy = torch.special.entr(part).sum(1)
        cross = -torch.special.xlogy(part, part.mean(0, keepdim=True)).sum(1)
        scores.append(float((cross - entropy).mean().exp()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
