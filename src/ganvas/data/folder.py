"""A folder or a .zip of images; sub-folders are labels. Decoded once: broken files are found before training."""

import hashlib
import io as memory
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import torch
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ganvas.config import DataConfig, Resize
from ganvas.data.base import Dataset, fingerprint, memory_limit
from ganvas.data.resize import Size, plan, resize, to_tensor
from ganvas.errors import GanvasError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_PIXELS = 64_000_000
"""Of one image. A small file that unfolds to more is taken for a decompression bomb."""
MAX_RATIO = 200
"""Of unpacked to packed size of a member of a .zip; photographs stay near 1."""
BROKEN_SHARE = 0.01


class FolderItems:
    """Images of a folder or .zip, decoded and resized when asked for."""

    def __init__(self, path: Path, names: list[str], mode: str, side: int | None, how: Resize | None) -> None:
        self.path, self.names, self.mode, self.side, self.how = path, names, mode, side, how
        self.zip: zipfile.ZipFile | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        name = self.names[index]
        try:
            picture = to_mode(decode(self._read(name)), self.mode)
        except Exception as error:
            raise GanvasError(
                f"{name} in {self.path} could be read before and can not any more: {error}"
            ) from error
        if self.side is not None and self.how is not None:
            picture = resize(picture, self.side, self.how)
        return to_tensor(picture)

    def _read(self, name: str) -> bytes:
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        if self.zip is None:  # every worker opens its own: a file position can not be shared
            self.zip = zipfile.ZipFile(self.path)
        return self.zip.read(name)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "zip": None}


def decode(content: bytes) -> Image.Image:
    """Bytes -> upright picture. Raises for anything that is not a whole image of a sane size."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = Image.open(memory.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(
                f"{picture.width} x {picture.height} px is more than {MAX_PIXELS // 10**6} megapixels"
            )
        picture.load()
    upright: Image.Image = ImageOps.exif_transpose(picture)
    return upright


def to_mode(picture: Image.Image, mode: str) -> Image.Image:
    """Grey (`L`) or `RGB`; transparent parts become white."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        picture = picture.point(lambda value: value / 256).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert(mode)


def is_grey(picture: Image.Image) -> bool:
    """True when the file has one channel (besides transparency)."""
    return picture.mode in ("1", "L", "LA", "I", "F") or picture.mode.startswith("I;16")


def load(path: Path, config: DataConfig) -> Dataset:
    """All images below `path`. Raises `GanvasError` for an empty, mixed or mostly broken set, and for hostile zips."""
    names = sorted(_names_in_zip(path) if path.is_file() else _names_in_folder(path))
    if not names:
        raise GanvasError(
            f"{path} holds no images. Expected {', '.join(SUFFIXES)} files, in sub-folders if labelled."
        )
    reader = FolderItems(path, names, "RGB", None, None)
    good: list[str] = []
    sizes: list[Size] = []
    broken: list[str] = []
    grey, transparent = True, 0
    digest = hashlib.sha256()
    for name, content, result in _decode_all(reader):
        if isinstance(result, str):
            broken.append(f"{name} ({result})")
            continue
        good.append(name)
        sizes.append(result.size)
        grey = grey and is_grey(result)
        transparent += result.has_transparency_data
        digest.update(name.encode() + b"\0" + content)
    notes = _report_broken(path, broken, len(names))
    size, how, said = plan(sizes, config)
    mode = "L" if grey else "RGB"
    labels, class_names = _labels(good)
    files = FolderItems(path, good, mode, size[0] if how else None, how)
    items: FolderItems | Tensor = files
    shape = (1 if grey else 3, size[1], size[0])
    notes += said
    if transparent:
        notes += (f"{transparent} images have transparent parts; they become white.",)
    if len(good) * shape[0] * shape[1] * shape[2] <= memory_limit():
        items = _gather(files, shape)
    else:
        notes += ("The images do not fit in memory and stream from the disk through loader workers.",)
    return Dataset(
        name=path.stem,
        items=items,
        shape=shape,
        fingerprint=fingerprint(digest.digest(), f"{size} {how} {mode}"),
        labels=labels,
        class_names=class_names,
        notes=notes,
    )


def _gather(items: FolderItems, shape: tuple[int, int, int]) -> Tensor:
    images = torch.empty(len(items), *shape, dtype=torch.uint8)

    def fill(i: int) -> None:
        images[i] = items[i]

    # An open zip has one reading position, so only files of a folder are read side by side.
    with ThreadPoolExecutor(None if items.path.is_dir() else 1) as pool:
        list(pool.map(fill, range(len(items))))
    return images


def _decode_all(reader: FolderItems) -> Iterator[tuple[str, bytes, Image.Image | str]]:
    def one(name: str) -> tuple[str, bytes, Image.Image | str]:
        content = b""
        try:
            content = reader._read(name)
            return name, content, decode(content)
        except Exception as error:  # Pillow raises many kinds for broken files
            return name, content, str(error) or type(error).__name__

    names = track(
        reader.names,
        description=f"Reading {reader.path.name}",
        console=Console(stderr=True),
        transient=True,
        disable=len(reader.names) < 2000,
    )
    if not reader.path.is_dir():
        yield from map(one, names)
        return
    with ThreadPoolExecutor() as pool:
        # In blocks, so that decoded pictures of a large folder do not pile up in memory.
        block: list[str] = []
        for name in names:
            block.append(name)
            if len(block) == 256:
                yield from pool.map(one, block)
                block = []
        yield from pool.map(one, block)


def _names_in_folder(path: Path) -> list[str]:
    return [
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
    ]


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise GanvasError(f"{path} is not a readable .zip file: {error}.") from error
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in member.filename:
            raise GanvasError(
                f"{path} is refused: its member {member.filename!r} points outside of the archive."
            )
        if member.file_size > MAX_RATIO * max(member.compress_size, 1) and member.file_size > 2**20:
            raise GanvasError(
                f"{path} is refused as a decompression bomb: {member.filename!r} unpacks {member.compress_size} bytes "
                f"to {member.file_size}, more than {MAX_RATIO} times as much."
            )
    return [
        member.filename
        for member in members
        if PurePosixPath(member.filename).suffix.lower() in SUFFIXES
        and not member.is_dir()
        and not PurePosixPath(member.filename).name.startswith(".")
    ]


def _report_broken(path: Path, broken: list[str], total: int) -> tuple[str, ...]:
    if not broken:
        return ()
    listed = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    # One broken file among a few is an accident too; the share counts from the second one on.
    if len(broken) == total or (len(broken) > 1 and len(broken) > BROKEN_SHARE * total):
        raise GanvasError(
            f"{len(broken)} of {total} images in {path} are broken, more than {BROKEN_SHARE:.0%}: {listed}. "
            "Remove or replace them."
        )
    return (f"Skipped {len(broken)} of {total} images, broken: {listed}.",)


def _labels(names: list[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    folders = [PurePosixPath(name).parts[0] if "/" in name else "" for name in names]
    classes = tuple(sorted(set(folders)))
    if "" in classes or len(classes) < 2:
        return None, ()
    return torch.tensor([classes.index(folder) for folder in folders]), classes
