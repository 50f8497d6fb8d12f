"""Images, series or points from an .npy or .npz file. Object arrays are refused: they are pickles."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from zipfile import ZipInfo

import numpy as np
import torch
from torch import Tensor

from ganvas import io
from ganvas.arrays import as_points, channel_axis
from ganvas.config import DataConfig
from ganvas.data.base import Dataset, fingerprint
from ganvas.data.decode import KINDS
from ganvas.data.fitted import as_config, from_arrays
from ganvas.data.labels import number, shorten
from ganvas.data.limits import EACH_LABEL, EACH_SERIES, check_count, check_growth, check_memory, memory_limit
from ganvas.data.listing import open_zip, show
from ganvas.data.series import Table
from ganvas.data.tables import of_arrays
from ganvas.errors import GanvasError, counted
from ganvas.series import LONGEST_NAME, MOST_COLUMNS
from ganvas.types import Shape

WANTED = (
    "Expected uint8 images (N, C, H, W), (N, H, W, C) or (N, H, W) with 1, 3 or 4 channels, float series (N, T, D), "
    "or float points (N, D)."
)
BESIDE = ("labels", "lengths", "static", "columns", "static_columns")
"""What may stand beside the samples of an .npz."""
WRITTEN = ("time",)
"""What ganvas writes there besides, and nobody misses."""
LONGEST_HEADER = 10_000
"""Bytes before an array, as numpy has it; those of images have 128."""
BYTES = 16
"""That a number of points or series counts for: their digits are looked at in float64, several times over."""
SQUARE = 8
"""Steps and columns from which series that have as many of both may be meant as pictures."""
DARK = 32
"""Below this the brightest pixel of a data set may be its white."""
BLOCK = 2**26
"""Bytes of a large array that are read at a time."""


@dataclass(frozen=True)
class Header:
    """What an array says of itself, before it is read."""

    shape: Shape
    dtype: np.dtype
    nbytes: int
    start: int
    """Bytes before its numbers."""
    fortran: bool = False
    """Its first index changes first: it is brought into the usual order, which takes as much again."""

    @property
    def held(self) -> int:
        """Bytes that it takes in memory; texts are sorted, and held three times for that."""
        texts = 3 if self.dtype.kind == "U" else 1
        return self.nbytes * max(texts, 2 if self.fortran and len(self.shape) > 1 else 1)

    @property
    def pictures(self) -> int:
        """How many it holds, where it holds any."""
        return self.shape[0] if self.dtype == np.uint8 and len(self.shape) > 2 else 0

    @property
    def last(self) -> bool:
        """Whether it is of images whose channels come last, and lie first in memory once they are read."""
        return len(self.shape) == 4 and channel_axis(self.shape) == 3 and not self.fortran


class ArrayItems:
    """Images of an .npy file, read when asked for.

    The file is not mapped into memory: one that is written anew meanwhile would end the process.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header, self.stamp = path, header, io.stamp(path)

    def __len__(self) -> int:
        return self.header.shape[0]

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.read(slice(index, index + 1))[0])

    def read(self, rows: slice) -> np.ndarray:
        """Images as uint8 (n, C, H, W). Raises `GanvasError` where the file is no longer what it was."""
        first, end, _ = rows.indices(len(self))
        sizes = self.header.shape[1:]
        each = math.prod(sizes)
        try:
            start = self.header.start
            if (found := io.stamp(self.path)) is not None and found != self.stamp:
                raise ValueError("the file was changed meanwhile")
            content = np.fromfile(self.path, np.uint8, each * (end - first), offset=start + each * first)
            images = content.reshape(end - first, *sizes)
        except (OSError, ValueError) as error:
            raise GanvasError(
                f"{show(str(self.path))} could be read before and cannot any more: {error}"
            ) from error
        if images.ndim == 3:
            images = images[:, None]
        elif self.header.last:
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images)


def load(path: Path, config: DataConfig, shape: Shape | None = None) -> Dataset | Table:
    """The array in an .npy file, or `images` (or `points`, `series`, or the only array) and `labels` in an .npz; series may have
    `lengths` and `static` beside them.

    Labels are whole numbers from 0 or names. `shape`, of a model, decides whether a fourth channel is kept. Raises
    `GanvasError` for everything else, and for arrays that say they are larger than the file, than memory or than
    `ganvas.data.limits` allow, before they are read.
    """
    if path.suffix not in (".npy", ".npz"):
        raise GanvasError(
            f"Do not know how to read {path.name[:80]!r}. Give a folder or .zip of images, a picture ({KINDS}), "
            "or an .npy or .npz file."
        )
    if not path.is_file():
        raise GanvasError(f"{path} is no file.")
    try:
        if path.suffix == ".npz":
            return _load_npz(path, config, shape)
        with open(path, "rb") as file:
            header = _read_header(file, path.stat().st_size, str(path))
            _check(header, path, config)
            streams = header.nbytes > memory_limit() and header.dtype == np.uint8  # series do not
            if not streams:
                size = header.held + EACH_LABEL * header.pictures
                check_memory(size, str(path), "Take a part of it")
                array = _read_array(file, header)
    except GanvasError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for damaged files
        raise GanvasError(f"{path} cannot be read as {path.suffix}: {error}") from error
    return _streamed(path, header, config, shape) if streams else _resident(path, {"": array}, config, shape)


def _load_npz(path: Path, config: DataConfig, shape: Shape | None) -> Dataset | Table:
    with open_zip(path) as file:
        listed = file.infolist()
        members = {member.filename.removesuffix(".npy"): member for member in listed}
        names = [name for name in members if name not in (*BESIDE, *WRITTEN)]
        known = [n for n in ("images", "points", "series") if n in names]
        if len(known) > 1:
            raise GanvasError(
                f"{path} holds {' and '.join(known)}, and nothing says which is meant. Save the one you mean alone."
            )
        name = next(iter(known), names[0] if len(names) == 1 else None)
        if name is None:
            raise GanvasError(
                f"{path} holds {sorted(members)[:20]}; expected an array named 'images', 'series' or 'points'."
            )
        headers = {}
        for each in (name, *(other for other in BESIDE if other in members)):
            with file.open(members[each]) as stream:
                headers[each] = _read_header(stream, members[each].file_size, f"{each} in {path}")
            check_growth(members[each].compress_size, headers[each].nbytes, f"{each} in {path}")
            check_memory(
                headers[each].held, f"{each} in {path}", "Save it as .npy, which can stay on the disk"
            )
    noted = EACH_LABEL * headers[name].pictures * (2 if "labels" in headers else 1)
    check_memory(sum(each.held for each in headers.values()) + noted, str(path), "Take a part of it")
    _check(headers[name], path, config)
    count = headers[name].shape[0]
    if len(headers[name].shape) > 2:
        check_count(members[name].compress_size, count, str(path))
    if "labels" in headers and headers["labels"].shape != (count,):
        raise GanvasError(
            f"{path} holds {counted(count, 'sample')} and labels of shape {headers['labels'].shape}; expected ({count},)."
        )
    for each, header in headers.items():
        if header.shape[:1] > (max(count, MOST_COLUMNS),):
            raise GanvasError(
                f"{path} holds {counted(count, 'sample')} and {each} of shape {header.shape}, of which there can not be so many."
            )
    if "labels" in headers and len(headers[name].shape) == 2 and _is_series(headers[name], config):
        raise GanvasError(
            f"{path} holds one series of {count:,} steps, and a label for each of these. Labels are of whole series: save it in "
            "parts (N, T, D) with N labels, or the label of a step as a column of the series."
        )
    found = {}
    with open_zip(path) as file:
        for each in headers:
            # The very members that were looked at: np.load takes `images` where that and `images.npy` are there.
            with file.open(members[each]) as stream:
                found[each] = _read_array(stream, headers[each])
    data = _resident(path, {"": found.pop(name), **found}, config, shape)
    return replace(data, notes=(*data.notes, *_unread(path, listed, [members[each] for each in headers])))


def _read_array(stream: IO[bytes], header: Header) -> np.ndarray:
    """The whole array of a file."""
    if header.last:
        stream.seek(header.start)
        return _read_images(stream, header)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _read_images(stream: IO[bytes], header: Header) -> np.ndarray:
    """Images (N, H, W, C), bytes after a header, that lie in memory as (N, C, H, W): a copy of all would be as large again."""
    count, *sizes = header.shape
    images = np.empty((count, sizes[2], *sizes[:2]), header.dtype)
    each = math.prod(sizes) * header.dtype.itemsize
    rows = max(1, BLOCK // each)
    for start in range(0, count, rows):
        part = images[start : start + rows]
        content = stream.read(each * len(part))
        part[:] = np.frombuffer(content, header.dtype).reshape(len(part), *sizes).transpose(0, 3, 1, 2)
    return images.transpose(0, 2, 3, 1)


def _unread(path: Path, listed: Sequence[ZipInfo], read: Sequence[ZipInfo]) -> tuple[str, ...]:
    """What to say of the other arrays: one of labels may have another name than is looked for."""
    others = [each.filename.removesuffix(".npy") for each in listed if each not in read]
    if not (others := sorted({name for name in others if name not in WRITTEN})):
        return ()
    taken = ", ".join(each.filename.removesuffix(".npy") for each in read)
    return (f"Left out of {show(path.name)}: {shorten([show(name) for name in others])}. Read: {taken}.",)


def _read_header(stream: IO[bytes], size: int, what: str) -> Header:
    """Shape and type of the array that follows; its length must be what is left of `size` bytes."""
    version = np.lib.format.read_magic(stream)
    # numpy reads as many bytes as this says before it finds them too many.
    start = stream.tell()
    long = int.from_bytes(stream.read(2 if version == (1, 0) else 4), "little")
    if long > LONGEST_HEADER:
        raise GanvasError(f"{what} is damaged: its header says it is {long:,} bytes long. It cannot be read.")
    stream.seek(start)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise GanvasError(f"{what} is an array of format {version[0]}.{version[1]}. {WANTED}")
    if dtype.kind == "U" and dtype.itemsize > 4 * LONGEST_NAME:
        raise GanvasError(
            f"{what} has room for {dtype.itemsize // 4:,} letters in each text; names of classes and columns have at most "
            f"{LONGEST_NAME:,}."
        )
    if dtype.hasobject:
        raise GanvasError(f"{what} cannot be read: it holds Python objects, which are pickles. {WANTED}")
    if any(type(length) is not int or length < 0 for length in shape):
        raise GanvasError(f"{what} is damaged: it says its shape is {str(shape)[:100]}.")
    if not dtype.itemsize:
        raise GanvasError(f"{what} is damaged: it says that each of its values ({dtype}) takes no room.")
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes != size - stream.tell():
        raise GanvasError(
            f"{what} is damaged: it says its shape is {str(shape)[:100]} of {dtype}, {nbytes:,} bytes, and holds "
            f"{size - stream.tell():,}. It cannot be read."
        )
    return Header(tuple(shape), dtype, nbytes, stream.tell(), fortran)


def _is_points(header: Header | np.ndarray) -> bool:
    return len(header.shape) == 2 and np.issubdtype(header.dtype, np.floating)


def _is_series(header: Header | np.ndarray, config: DataConfig) -> bool:
    """Floats (N, T, D), or one long series (L, D) that is to be cut."""
    wanted = (2, 3) if config.window else (3,)
    return len(header.shape) in wanted and np.issubdtype(header.dtype, np.floating)


def _check(header: Header, path: Path, config: DataConfig) -> None:
    """Raise `GanvasError` with what to write unless these are images, series or points."""
    shape, dtype = header.shape, header.dtype
    if 0 in shape:
        raise GanvasError(f"{path} holds an empty array of shape {shape}. {WANTED}")
    if _is_points(header) or _is_series(header, config):
        series = shape[0] if len(shape) == 3 else 0
        check_memory(
            BYTES * math.prod(shape) + EACH_SERIES * series,
            f"{path}, of shape {shape} and computed with in float64,",
            "Take a part of it",
        )
        return
    hint = ""
    if len(shape) == 1 and np.issubdtype(dtype, np.floating):
        hint = " Points of one coordinate are x[:, None]."
    elif len(shape) == 2 and dtype.kind in "iu":
        hint = " Points are floats: x.astype('float32'). One grey image is x[None]."
    elif len(shape) == 3 and (shape[2] in (1, 3) or (shape[2] == 4 and shape[1] >= 16)):
        hint = f" One image of {shape[1]} x {shape[0]} px is x[None]."
    elif len(shape) > 2 and dtype.kind == "f":
        hint = " Convert floats in [0, 1] with (x * 255).round().astype('uint8')."
    elif len(shape) > 2 and dtype.kind in "iu" and dtype != np.uint8:
        hint = " Convert 0 to 255 with x.astype('uint8'), 16 bits with (x / 257).round().astype('uint8')."
    good = (len(shape) == 3 and not hint) or (len(shape) == 4 and channel_axis(shape) is not None)
    if not good or dtype != np.uint8:
        raise GanvasError(f"{path} holds {dtype} of shape {shape}. {WANTED}{hint}")


def _channels_last(array: np.ndarray) -> bool:
    return array.ndim == 4 and channel_axis(array.shape) == 3


def _resident(
    path: Path, arrays: dict[str, np.ndarray], config: DataConfig, shape: Shape | None
) -> Dataset | Table:
    array, given = arrays.pop(""), arrays.get("labels")
    name, names, notes = show(path.stem), tuple[str, ...](), tuple[str, ...]()
    labels: Tensor | None = None
    if given is not None:
        labels, names, notes = number(given, str(path))
    if _is_series(array, config):
        table = of_arrays(name, {**arrays, "series": array}, labels, names)
        return replace(table, notes=(*_not_pictures(path, array), *table.notes))
    if _is_points(array):
        return _points(name, path, array, labels, names, notes, config)
    array = array.transpose(0, 3, 1, 2) if _channels_last(array) else array
    images = torch.from_numpy(np.require(array, requirements=["C", "W"]))  # a copy where there has to be one
    del array
    images = images[:, None] if images.dim() == 3 else images
    if 0 < (white := int(images.max())) < DARK:
        notes = (
            *notes,
            f"The brightest pixel of {name} is {white} of 255: nearly black. Is {white} white? Scale it to 255.",
        )
    return from_arrays(name, images, labels, names, config, notes, own_labels=True, shape=shape)


def _not_pictures(path: Path, array: np.ndarray) -> tuple[str, ...]:
    """What to say of series that have as many columns as steps: grey pictures in floats have."""
    if array.ndim != 3 or array.shape[1] != array.shape[2] or array.shape[1] < SQUARE:
        return ()
    steps, columns = array.shape[1:]
    return (
        f"Floats of {steps} x {columns} in {show(path.name)} are read as series of {steps} steps. Are these pictures? Save them "
        "as uint8: those in [0, 1] as (x * 255).round().astype('uint8').",
    )


def _points(
    name: str,
    path: Path,
    array: np.ndarray,
    labels: Tensor | None,
    names: tuple[str, ...],
    notes: tuple[str, ...],
    config: DataConfig,
) -> Dataset:
    bad = int(np.count_nonzero(~np.isfinite(array).all(axis=1)))
    if bad:
        raise GanvasError(
            f"{path}: {bad} of {len(array)} points hold{'s' if bad == 1 else ''} NaN or infinity. Remove them first."
        )
    largest = max(float(array.max()), -float(array.min()))
    if largest > float(np.finfo(np.float32).max):
        raise GanvasError(
            f"{path} holds values up to {largest:.3g}, and ganvas computes in float32, which ends at 3.4e38. "
            "Scale them: x / x.std(0)."
        )
    if config.resolution or config.resize:
        raise GanvasError(
            f"{path} holds points of shape {array.shape}; --resolution and --resize are for images."
        )
    points = as_points(array, str(path))
    parts: list[str | np.ndarray] = [points.numpy()]
    if labels is not None:
        parts += [repr(names), labels.numpy()]
    return Dataset(name, points, (points.shape[1],), fingerprint(*parts), labels, names, notes)


def _streamed(path: Path, header: Header, config: DataConfig, shape: Shape | None) -> Dataset:
    if header.fortran and len(header.shape) > 1:
        raise GanvasError(
            f"{path} holds its images in the order of Fortran, in which none can be read without the others, and is larger than "
            "what is held in memory. Save it anew: np.save(path, np.ascontiguousarray(array))."
        )
    source = ArrayItems(path, header)
    items, wanted, mark, notes = as_config(source, tuple(source[0].shape), config, show(path.stem), shape)
    notes += (
        f"{header.nbytes / 2**20:.0f} MiB of images stay on the disk and stream through loader workers.",
    )
    # All of it is read: a cache of features must not outlive its data. The same text as for an array in memory.
    digest = hashlib.sha256()
    rows = max(1, BLOCK // (header.nbytes // len(source)))
    for start in range(0, len(source), rows):
        digest.update(source.read(slice(start, start + rows)).tobytes())
    digest.update(b"\0")
    whole = fingerprint(digest.hexdigest()[:16], mark)
    return Dataset(show(path.stem), items, wanted, whole, notes=notes)
