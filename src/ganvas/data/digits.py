"""The 1,797 handwritten digits that scikit-learn carries: 8 x 8 px, no download."""

import torch

from ganvas.config import DataConfig
from ganvas.data.base import Dataset, datasets
from ganvas.data.fitted import from_arrays


def load(config: DataConfig) -> Dataset:
    """Alpaydin and Kaynak's optical digits (test part), 17 grey levels stretched to 0..255."""
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    return from_arrays("digits", images, torch.from_numpy(bunch.target).long(), tuple("0123456789"), config)


datasets.add("digits", load, "1,797 handwritten digits, 8 px, embedded in scikit-learn")
