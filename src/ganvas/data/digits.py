"""The 1,797 handwritten digits that scikit-learn carries: 8 x 8 px, no download."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ganvas.config import DataConfig
from ganvas.data.base import Dataset, datasets
from ganvas.data.fitted import from_arrays


def load(config: DataConfig) -> Dataset:
    """Alpaydin and Kaynak's optical digits (test part), 17 grey levels stretched to 0..255."""
    table = torch.from_numpy(_table())
    images = (table[:, :64].reshape(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    return from_arrays("digits", images, table[:, 64].long(), tuple("0123456789"), config)


def _table() -> np.ndarray:
    """A row of 64 grey levels and the label for each, of scikit-learn's file alone: to import the package takes seconds."""
    found = find_spec("sklearn")
    home = Path(found.origin).parent if found and found.origin else None
    if home and (file := home / "datasets" / "data" / "digits.csv.gz").is_file():
        rows = gzip.decompress(file.read_bytes()).decode().splitlines()
        return np.loadtxt(rows, np.uint8, delimiter=",")
    from sklearn.datasets import load_digits  # of a version that keeps the file elsewhere

    return np.column_stack(load_digits(return_X_y=True))


datasets.add("digits", load, "1,797 handwritten digits, 8 px, embedded in scikit-learn")
