"""Instance selection: train on the part of the data that a small model can hope to learn."""

import numpy as np
import torch
from torch import Tensor

from ganvas import dist
from ganvas.config import DataConfig
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.features import embed_dataset, open_extractor
from ganvas.features.stats import CHUNK, moments


def likeliest(dataset: Dataset, share: float, device: str = "auto") -> Dataset:
    """The `share` of a data set with the highest likelihood under a Gaussian fitted to its features (DeVries et al. 2020).

    Fidelity rises, rare kinds are lost: recall falls. Features are those of `ganvas eval`, kept in its cache. Of several
    processes the first chooses, while the others wait.
    """
    count = how_many(dataset, share)
    if count < 2:
        raise GanvasError(f"data.select {share:g} leaves {count} of {len(dataset)} samples.")
    chosen = ""
    with dist.turn() as first:
        if first:
            chosen = " ".join(str(row) for row in _likeliest(dataset, count, device).tolist())
    kept = torch.tensor([int(row) for row in dist.share(chosen).split()])
    return dataset.subset(kept)


def how_many(dataset: Dataset, share: float) -> int:
    """Samples of a training part that instance selection leaves."""
    return len(dataset) if share >= 1 else round(share * len(dataset))


def trained_on(dataset: Dataset, config: DataConfig, device: str = "auto") -> tuple[Dataset, Dataset]:
    """What is learned from with these settings, of which instance selection leaves a part alone, and what is held out."""
    train, held_out = dataset.split(config.holdout, config.fold)
    return train if config.select >= 1 else likeliest(train, config.select, device), held_out


def _likeliest(dataset: Dataset, count: int, device: str) -> Tensor:
    found = embed_dataset(dataset, open_extractor("auto", dataset, device))
    m = found.moments or moments(found.features)
    # A ridge keeps features that never vary from deciding everything.
    covariance = m.cov + 1e-6 * np.trace(m.cov) / len(m.cov) * np.eye(len(m.cov))
    distances = np.empty(len(found.features))
    for start in range(0, len(distances), CHUNK):  # of all at once there would be three copies in float64
        part = slice(start, start + CHUNK)
        centred = found.features[part].astype(np.float64) - m.mean
        distances[part] = (centred * np.linalg.solve(covariance, centred.T).T).sum(1)
    return torch.from_numpy(distances.argsort(kind="stable")[:count].copy()).sort().values
