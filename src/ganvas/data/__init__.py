"""Data sets: one kind of source a file. `load_dataset` finds the one that a name or a path stands for."""

from dataclasses import replace

from ganvas.config import DataConfig
from ganvas.data import arrays, digits, folder, hub, idx, origin, shapes, toy
from ganvas.data.base import Dataset, datasets, find_path
from ganvas.data.joined import balanced, join
from ganvas.data.loader import Batches

__all__ = [
    "Batches",
    "Dataset",
    "arrays",
    "balanced",
    "datasets",
    "digits",
    "folder",
    "hub",
    "idx",
    "join",
    "load_dataset",
    "origin",
    "shapes",
    "toy",
]


def load_dataset(config: DataConfig | str) -> Dataset:
    """Open the data of a config or of a plain name or path. Raises `GanvasError` for everything that is wrong with it."""
    config = DataConfig(source=config) if isinstance(config, str) else config
    if config.also:
        return join(
            [load_dataset(replace(config, source=each, also=())) for each in (config.source, *config.also)]
        )
    source = config.source
    if source in datasets:
        return datasets.get(source)(config)
    if source.startswith("hub:"):
        return hub.load(config)
    if source.startswith("toy:"):
        return datasets.get(source)(config)
    path = find_path(source, "a folder or .zip of images, an .npy or .npz array, or a folder of IDX files")
    if path.is_dir():
        return idx.load_folder(path, config) if idx.is_idx_folder(path) else folder.load(path, config)
    if path.suffix == ".zip":
        return folder.load(path, config)
    return arrays.load(path, config)
