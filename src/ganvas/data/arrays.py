"""Images or points from an .npy or .npz file. Object arrays are refused: they are pickles."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.data.base import Dataset, fingerprint, memory_limit
from ganvas.data.resize import from_arrays
from ganvas.errors import GanvasError

WANTED = "Expected uint8 images (N, C, H, W), (N, H, W, C) or (N, H, W) with 1 or 3 channels, or float points (N, D)."


class ArrayItems:
    """Images of a memory-mapped .npy file, read when asked for."""

    def __init__(self, path: Path, channels_last: bool) -> None:
        self.path, self.channels_last = path, channels_last
        self.array: np.ndarray | None = None
        self.length = len(np.load(path, mmap_mode="r", allow_pickle=False))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        if self.array is None:  # opened again in every worker
            self.array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        image = np.array(self.array[index])
        if image.ndim == 2:
            image = image[None]
        elif self.channels_last:
            image = image.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(image))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "array": None}


def load(path: Path, config: DataConfig) -> Dataset:
    """The array in an .npy file, or `images` (or `points`, or the only array) and `labels` in an .npz."""
    if path.suffix not in (".npy", ".npz"):
        raise GanvasError(
            f"Do not know how to read {path.name}. Give a folder or .zip of images, or an .npy or .npz file."
        )
    try:
        file = np.load(path, mmap_mode="r", allow_pickle=False)
        array, given = _from_npz(file, path) if path.suffix == ".npz" else (file, None)
    except GanvasError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for damaged files
        raise GanvasError(f"{path} can not be read as {path.suffix}: {error}") from error
    names: tuple[str, ...] = ()
    labels: Tensor | None = None
    if given is not None:
        names, labels = _check_labels(given, len(array), path)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.floating):
        return _points(array, labels, names, config, path)
    channels_last = _check_images(array, path)
    if path.suffix == ".npy" and array.nbytes > memory_limit():
        return _streamed(path, array, channels_last, config)
    images = torch.from_numpy(np.array(array))
    images = images[:, None] if images.dim() == 3 else images
    images = images.permute(0, 3, 1, 2).contiguous() if channels_last else images
    return from_arrays(path.stem, images, labels, names, config)


def _from_npz(file: np.lib.npyio.NpzFile, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    names = [name for name in file.files if name != "labels"]
    name = next((n for n in ("images", "points") if n in names), names[0] if len(names) == 1 else None)
    if name is None:
        raise GanvasError(f"{path} holds {file.files}; expected an array named 'images' or 'points'.")
    return file[name], file["labels"] if "labels" in file.files else None


def _check_labels(labels: np.ndarray, count: int, path: Path) -> tuple[tuple[str, ...], Tensor]:
    if labels.shape != (count,):
        raise GanvasError(
            f"{path} holds {count} samples and labels of shape {labels.shape}; expected ({count},)."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise GanvasError(f"{path}: labels must be whole numbers from 0, got {labels.dtype}.")
    return tuple(str(i) for i in range(int(labels.max()) + 1)), torch.from_numpy(labels.astype(np.int64))


def _check_images(array: np.ndarray, path: Path) -> bool:
    """True when the channels come last."""
    if array.dtype != np.uint8:
        hint = " Convert floats in [0, 1] with (x * 255).round().astype('uint8')." if array.ndim > 2 else ""
        raise GanvasError(f"{path} holds {array.dtype} of shape {array.shape}. {WANTED}{hint}")
    good = array.ndim == 3 or (array.ndim == 4 and (array.shape[1] in (1, 3) or array.shape[3] in (1, 3)))
    if not good or array.size == 0:
        raise GanvasError(f"{path} holds an array of shape {array.shape}. {WANTED}")
    return array.ndim == 4 and array.shape[1] not in (1, 3)


def _points(
    array: np.ndarray, labels: Tensor | None, names: tuple[str, ...], config: DataConfig, path: Path
) -> Dataset:
    if array.size == 0:
        raise GanvasError(f"{path} holds an empty array of shape {array.shape}. {WANTED}")
    bad = int(np.count_nonzero(~np.isfinite(array).all(axis=1)))
    if bad:
        raise GanvasError(f"{path}: {bad} of {len(array)} points hold NaN or infinity. Remove them first.")
    if config.resolution or config.resize:
        raise GanvasError(
            f"{path} holds points of shape {array.shape}; --resolution and --resize are for images."
        )
    points = torch.from_numpy(np.array(array, dtype=np.float32))
    return Dataset(
        path.stem, points, (points.shape[1],), fingerprint(points.numpy().tobytes()), labels, names
    )


def _streamed(path: Path, array: np.ndarray, channels_last: bool, config: DataConfig) -> Dataset:
    items = ArrayItems(path, channels_last)
    shape = tuple(items[0].shape)
    if config.resolution not in (None, shape[1]) or config.resize:
        raise GanvasError(
            f"{path} is too large to resize in memory. Resize it beforehand, or give the images as a folder."
        )
    stat = path.stat()
    mark = fingerprint(f"{path.name} {stat.st_size} {array.shape}", np.array(array[0]).tobytes())
    note = f"{array.nbytes / 2**20:.0f} MiB of images stay on the disk and stream through loader workers."
    return Dataset(path.stem, items, shape, mark, notes=(note,))
