"""Instance selection: train on the part of the data that a small model can hope to learn."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas import dist
from ganvas.config import DataConfig
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.features import embed_dataset, open_extractor
from ganvas.features.stats import CHUNK, moments


def how_many(dataset: Dataset, share: float) -> int:
    """Samples of a training part that instance selection leaves."""
    return len(dataset) if share >= 1 else round(share * len(dataset))


def trained_on(
    dataset: Dataset, config: DataConfig, device: str = "auto", given: Dataset | None = None
) -> tuple[Dataset, Dataset]:
    """What is learned from with these settings, and what is held out, or `given`, to hold it against.

    With instance selection of either what the same rule takes: beside usual samples all others would stand out, whoever was
    trained on.
    """
    train, held_out = dataset.split(config.holdout, config.fold)
    beside = held_out if given is None else given
    return (train, beside) if config.select >= 1 else selected(train, config.select, device, beside)


def selected(train: Dataset, share: float, device: str, beside: Dataset) -> tuple[Dataset, Dataset]:
    """The `share` of a training part with the highest likelihood under a Gaussian fitted to its features (DeVries et al. 2020),
    and of others what is at least as likely.

    Fidelity rises, rare kinds are lost: recall falls. Features are those of `ganvas eval`, kept in its cache. Of several
    processes the first chooses, while the others wait.
    """
    count = how_many(train, share)
    if count < 2:
        raise GanvasError(f"data.select {share:g} leaves {count} of {len(train)} samples.")
    chosen = ""
    with dist.turn() as first:
        if first:
            rows = _likeliest(train, beside, count, device)
            chosen = ";".join(" ".join(str(row) for row in each.tolist()) for each in rows)
    kept, others = (
        torch.tensor([int(row) for row in each.split()], dtype=torch.int64)
        for each in dist.share(chosen).split(";")
    )
    return train.subset(kept), beside.subset(others)


def _likeliest(train: Dataset, beside: Dataset, count: int, device: str) -> tuple[Tensor, Tensor]:
    """Positions in both, in order."""
    extractor = open_extractor("auto", train, device)
    found = embed_dataset(train, extractor)
    m = found.moments or moments(found.features)
    # A ridge keeps features that never vary from deciding everything.
    covariance = m.cov + 1e-6 * np.trace(m.cov) / len(m.cov) * np.eye(len(m.cov))

    def distances(features: NDArray[np.float32]) -> NDArray[np.float64]:
        parts = []
        for start in range(0, len(features), CHUNK):  # of all at once there would be three copies in float64
            centred = features[start : start + CHUNK].astype(np.float64) - m.mean
            parts.append((centred * np.linalg.solve(covariance, centred.T).T).sum(1))
        return np.concatenate(parts)

    away = distances(found.features)
    kept = away.argsort(kind="stable")[:count]
    near = np.zeros(0, np.int64)
    if len(beside):
        near = np.flatnonzero(distances(embed_dataset(beside, extractor).features) <= away[kept].max())
    return torch.from_numpy(kept.copy()).sort().values, torch.from_numpy(near)
