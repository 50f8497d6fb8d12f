"""A folder, a .zip or a single picture; sub-folders are labels. Decoded once: broken files are found before training."""

import hashlib
import io as memory
import os
import threading
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from torch import Tensor

from ganvas import io
from ganvas.config import DataConfig, Resize
from ganvas.data.base import Dataset, fingerprint
from ganvas.data.decode import (
    KINDS,
    MAX_BYTES,
    PIECE,
    SUFFIXES,
    Counted,
    Facts,
    decode,
    hush,
    look,
    opened,
    pixels_of,
    python_pixels,
    room_of,
    to_mode,
    white_among,
    why,
)
from ganvas.data.labels import Labelling, by_document, by_folder, number
from ganvas.data.limits import memory_limit
from ganvas.data.listing import DOCUMENT, Listing, in_folder, in_zip, show
from ganvas.data.resize import Size, plan, resize, to_tensor
from ganvas.errors import GanvasError, counted
from ganvas.types import Shape

BROKEN_SHARE = 0.01
BLOCK, BYTES = 256, 2**28
"""Files that are read side by side, and what they may hold together: who is done waits for the first of them."""
PIXELS = 2**27
"""That are decoded side by side, as many as two of the largest pictures have: of each there are several copies for a moment,
0.9 GB in all; of a WebP, and of what is transparent, there are more (`room_of`). With half of that ten photos of 12 megapixels
would be five on any number of cores."""
MOST_UNFOLDED, EACH_BYTE = 2**32, 2**12
"""Pixels of all pictures together, and for each byte that they take on the disk: those of one colour have a thousand, and in
a .zip a million, which takes hours to look at."""
MOST_PYTHON, EACH_PYTHON = 2**24, 2**4
"""Such pixels and for each byte of those that Python decodes (`python_pixels`): they take a hundred times as long, and each
is decoded twice, so that a megabyte takes half a minute."""
MOST_READ, EACH_READ = 2**22, 2**2
"""How often Pillow may read of all pictures together, and for each byte: files that people have take a tenth of that."""
CHANGED = "the file was changed meanwhile; leave the data as they are, or begin anew with what they are now"
SOME = 32
"""Pictures that a thread brings to their size in a row."""


class Room:
    """So many pixels as are decoded at a time, for which threads wait; a picture of more has all of it."""

    def __init__(self, most: int) -> None:
        self.most = self.free = most
        self.changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many, which is given back in the end."""
        pixels = min(pixels, self.most)
        with self.changed:
            self.changed.wait_for(lambda: pixels <= self.free)
            self.free -= pixels
        try:
            yield
        finally:
            with self.changed:
                self.free += pixels
                self.changed.notify_all()


def read_picture(file: Path) -> bytes:
    """The bytes of a file. Raises `ValueError` for one that is larger than a picture may be."""
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{file.stat().st_size >> 20} MiB are more than the {MAX_BYTES >> 20} of a picture")
    return file.read_bytes()


class FolderItems:
    """Images of a folder or .zip, decoded and resized when asked for."""

    def __init__(
        self,
        path: Path,
        names: list[str],
        mode: str = "RGB",
        size: Size | None = None,
        how: Resize | None = None,
        white: float = 65535.0,
    ) -> None:
        self.path, self.names, self.mode, self.size, self.how, self.white = (
            path,
            names,
            mode,
            size,
            how,
            white,
        )
        self.checksums: array[int] | None = None
        """Of the files when they were looked at, if they were: one that was changed since is not taken for it."""
        self.zip: zipfile.ZipFile | None = None
        self.process = 0
        """That opened it."""
        self.bytes = 0
        """That all of them take on the disk, once they were counted."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        name = self.names[index]
        try:
            content = self.read(name)
            if self.checksums is not None and zlib.crc32(content) != self.checksums[index]:
                raise ValueError(CHANGED)
            picture = to_mode(decode(content), self.mode, self.white)
        except Exception as error:
            raise GanvasError(
                f"{show(name)} in {show(str(self.path))} could be read before and cannot any more: {why(error)}"
            ) from error
        if self.size is not None and self.how is not None:
            picture = resize(picture, self.size, self.how)
        return to_tensor(picture)

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises for one that is larger than a picture may be, or than it says it is."""
        if self.path.is_dir():
            return read_picture(self.path / name)
        if self.zip is None or self.process != os.getpid():
            # Every worker opens its own, also one that was forked off with an open one: a file position cannot be shared.
            self.zip, self.process = zipfile.ZipFile(self.path), os.getpid()
        content, left = memory.BytesIO(), self.zip.getinfo(name).file_size
        with self.zip.open(name) as member:
            # To its length: a member that lies about it is not unfolded. In pieces: at once zipfile has it twice.
            while left > 0 and (piece := member.read(min(left, PIECE))):
                content.write(piece)
                left -= len(piece)
        return content.getvalue()

    def bytes_of_all(self) -> int:
        """That they take on the disk. Looked up once: it is asked for each picture of a large set."""
        if not self.bytes:
            whole = self.path.is_dir()
            self.bytes = sum(map(self.size_of, self.names)) if whole else self.path.stat().st_size
        return self.bytes

    def size_of(self, name: str) -> int:
        """Bytes of a file of a folder; 0 of one that cannot be looked at, or is not read."""
        with suppress(OSError):
            size = (self.path / name).stat().st_size
            return size if size <= MAX_BYTES else 0
        return 0

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "zip": None}


def load(path: Path, config: DataConfig, shape: Shape | None = None) -> Dataset:
    """All images below `path`, or the one that it is; brought to `shape` (C, H, W) where one is given.

    Raises `GanvasError` for an empty, mixed or mostly broken set, and for hostile zips.
    """
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        path, listing = path.parent, Listing([path.name])
        title = Path(listing.pictures[0]).stem
    elif path.is_file():
        listing, title = in_zip(path), path.stem
    else:
        listing, title = in_folder(path), path.resolve().name
    if not listing.pictures:
        raise GanvasError(
            f"{path} holds no images. Expected files of {KINDS} ({', '.join(SUFFIXES)}), in sub-folders if labelled."
            + "".join(f" {note}" for note in listing.notes())
        )
    reader = FolderItems(path, listing.pictures)
    with hush():
        labelling = _labelling(reader, listing)
        facts, broken, digest = _look_at_all(FolderItems(path, list(labelling.names)))
        notes = listing.notes() + labelling.notes + _report_broken(path, broken, len(labelling.names))
        good = list(facts)
        size, how, said = plan([fact.size for fact in facts.values()], config, shape)
        grey = shape[0] == 1 if shape else all(fact.grey for fact in facts.values())
        alpha = shape[0] == 4 if shape else config.alpha
        mode = "RGBA" if alpha else "L" if grey else "RGB"
        if shape and not alpha and (other := sum(fact.grey != grey for fact in facts.values())):
            said += (f"{other:,} of {counted(len(facts), 'image')} made {'grey' if grey else 'RGB'}.",)
        white, marks = None, [f"{size} {how} {mode}"]
        if any(fact.deep for fact in facts.values()):
            white = config.white or white_among(facts.values())
            marks.append(f"white {white:g}")
        labels, classes, marked = _number(labelling, good)
        marks += [marked] if marked else []
        files = FolderItems(path, good, mode, size if how else None, how, white or 65535.0)
        files.checksums = array("I", (fact.checksum for fact in facts.values()))
        items: FolderItems | Tensor = files
        shape = (len(mode), size[1], size[0])
        notes += said + _remarks(list(facts.values()), white, alpha)
        if len(good) * shape[0] * shape[1] * shape[2] <= memory_limit():
            items = _gather(files, shape, [fact.pixels for fact in facts.values()])
        else:
            notes += ("The images do not fit in memory and stream from the disk through loader workers.",)
    return Dataset(
        name=show(title),
        items=items,
        shape=shape,
        fingerprint=fingerprint(digest, *marks),
        labels=labels,
        class_names=classes,
        notes=tuple(show(note) for note in notes),
        white=white,
    )


def _labelling(reader: FolderItems, listing: Listing) -> Labelling:
    if not listing.document:
        return by_folder(listing.pictures)
    where = f"{DOCUMENT} in {show(reader.path.name)}"
    try:
        content = reader.read(DOCUMENT)
    except Exception as error:  # as broken as a picture may be
        raise GanvasError(f"{where} cannot be read: {why(error)}.") from error
    return by_document(listing.pictures, io.parse_json(content, where), where)


def _number(labelling: Labelling, good: list[str]) -> tuple[Tensor | None, tuple[str, ...], str]:
    """Class numbers (N,) of the pictures that can be read, names of the classes, and what of it the fingerprint lacks."""
    if labelling.classes is None:
        return None, (), ""
    class_of = dict(zip(labelling.names, labelling.classes, strict=True))
    labels, classes, _ = number([show(class_of[name]) for name in good], "sub-folders")
    if len(classes) < 2:
        return None, (), ""
    return labels, classes, fingerprint(repr(classes), labels.numpy().tobytes()) if labelling.mark else ""


def _remarks(facts: list[Facts], white: float | None, alpha: bool) -> tuple[str, ...]:
    """What was done to the pixels, of how many pictures."""
    notes = []
    transparent = sum(fact.transparent for fact in facts)
    if transparent and not alpha:
        notes.append(
            f"{counted(transparent, 'image')} with transparent parts, which become white (--alpha keeps them)."
        )
    elif alpha:
        notes.append(
            f"{transparent:,} of {counted(len(facts), 'image')} with transparent parts, kept as a fourth channel."
        )
    if several := sum(fact.several for fact in facts):
        notes.append(
            f"{counted(several, 'file')} with several pictures (frames or pages), of which the first is taken."
        )
    deep = [fact.deep for fact in facts if fact.deep]
    if deep and white:
        unit = f"0 to {white:,.6g}"
        notes.append(
            f"{counted(len(deep), 'grey image')} of more than 8 bits, with values up to {max(deep):,.6g}: "
            f"{unit} becomes black to white"
            + ("; what is brighter is white, too." if max(deep) > white else ".")
        )
    if below := sum(fact.below for fact in facts):
        notes.append(
            f"{counted(below, 'grey image')} with values below 0, all of which become black: shift them beforehand to see them."
        )
    if shallow := sum(fact.shallow_colour for fact in facts):
        notes.append(
            f"{counted(shallow, 'dark colour image')} of 16 bits: only the upper 8 are read, "
            "and they hold less than 128. Bring them to 8 bits beforehand."
        )
    return tuple(notes)


def _gather(items: FolderItems, shape: tuple[int, int, int], pixels: list[int]) -> Tensor:
    """All of them; `pixels` are those that each has in its file."""
    images, room = torch.empty(len(items), *shape, dtype=torch.uint8), Room(PIXELS)

    def fill(rows: range) -> None:
        for i in rows:
            with room.taken(pixels[i]):
                images[i] = items[i]

    # An open zip has one reading position, so only files of a folder are read side by side.
    with ThreadPoolExecutor(None if items.path.is_dir() else 1) as pool:
        # Some at a time: of a million pictures what waits for a thread would be as large as they are.
        parts = [range(i, min(i + SOME, len(items))) for i in range(0, len(items), SOME)]
        list(pool.map(fill, parts))
    return images


def _look_at_all(reader: FolderItems) -> tuple[dict[str, Facts], list[str], bytes]:
    """Facts of the pictures that can be read, what is wrong with the others, and a digest of names and contents."""
    facts: dict[str, Facts] = {}
    broken: list[str] = []
    digest = hashlib.sha256()
    for name, content, result in looked(reader):
        if isinstance(result, str):
            broken.append(f"{name} ({result})")
            del content
            continue
        facts[name] = result
        # With its length, or a name within a content would be taken for the next picture's.
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + len(content).to_bytes(8))
        digest.update(content)
        del content  # not beside the next one
    return facts, broken, digest.digest()


def looked(reader: FolderItems) -> Iterator[tuple[str, bytes, Facts | str]]:
    """Of each picture its name, its bytes, and its facts or what is wrong with it. Raises `GanvasError` for bombs."""
    room, sums = Room(PIXELS), dict.fromkeys(("pixels", "python", "reads"), 0)

    def count(what: str, cost: int, most: int, each: int, unit: str) -> None:
        sums[what] += cost
        if sums[what] > most and sums[what] > each * (size := reader.bytes_of_all()):
            raise GanvasError(
                f"{show(str(reader.path))} is refused as a decompression bomb: its {size:,} bytes unfold to more than "
                f"{sums[what] / 1e6:,.1f} million {unit}. Pictures may have {most / 1e6:,.1f} in all, and beyond that "
                f"{each:,} for each byte."
            )

    def one(name: str) -> tuple[str, bytes, Facts | str]:
        content = b""
        try:
            content = reader.read(name)
            file = Counted(content)
            try:
                picture = opened(content, file)
                pixels = pixels_of(picture)
                count("pixels", pixels, MOST_UNFOLDED, EACH_BYTE, "pixels")
                slow = "pixels in forms that are decoded one by one (save them as PNG)"
                count("python", python_pixels(picture), MOST_PYTHON, EACH_PYTHON, slow)
                with room.taken(room_of(picture)):
                    return name, content, look(content, picture)
            finally:
                count("reads", file.reads, MOST_READ, EACH_READ, "parts")
        except GanvasError:  # of all together, or a limit in the environment that is no number
            raise
        except Exception as error:  # Pillow raises many kinds for broken files
            return name, content, why(error)

    names = track(
        reader.names,
        description=f"Reading {escape(show(reader.path.name))}",
        console=Console(stderr=True),
        transient=True,
        disable=len(reader.names) < 2000,
    )
    if not reader.path.is_dir():
        yield from map(one, names)
        return
    with ThreadPoolExecutor() as pool:
        # In blocks, so that the bytes of a large folder do not pile up in memory.
        block, held = list[str](), 0
        for name in names:
            size = reader.size_of(name)
            if len(block) == BLOCK or held + size > BYTES:
                yield from pool.map(one, block)
                block, held = [], 0
            block.append(name)
            held += size
        yield from pool.map(one, block)


def _report_broken(path: Path, broken: list[str], total: int) -> tuple[str, ...]:
    if not broken:
        return ()
    listed = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    # One broken file among a few is an accident too; the share counts from the second one on.
    if len(broken) == total or (len(broken) > 1 and len(broken) > BROKEN_SHARE * total):
        raise GanvasError(
            f"{len(broken)} of {counted(total, 'image')} in {path} cannot be read, more than {BROKEN_SHARE:.0%}: "
            f"{listed}. Remove or replace them."
        )
    return (f"Skipped {len(broken)} of {counted(total, 'image')}, broken: {listed}.",)
