"""One picture: from the bytes of a file to upright pixels, and what there is to say about it."""

import contextlib
import io as memory
import math
import re
import warnings
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ganvas.data.limits import limit
from ganvas.data.resize import Size
from ganvas.pictures import opaque

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
KINDS = "PNG, JPEG, WebP, BMP, GIF, TIFF and PPM"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F")
MAX_BYTES = 2**29
"""Of one file of a picture."""

MOST_SCANS = 64
"""Passes over the pixels in a progressive JPEG: usual are 10. Each takes as long as the picture is large, in ten bytes."""
MOST_EXIF, MOST_COMMENTS = 16, 100
"""Parts of Exif in a JPEG, and comments in a PPM that is text: reading n of them takes time as n squared."""
AT_ONCE = 2**20
"""Pixels of a grey picture of more than 8 bits that are brought to 8 at a time."""
PIECES, MOST_PIECES = (273, 324), 2**16
"""Tags of a TIFF with the places of its strips and tiles, and how many: Pillow has 200 bytes of each before it says how large the
picture is, and decodes them all."""
MOST_NUMBERS = 2**18
"""In another entry of a TIFF. The curves of a scan of 16 bits have thrice 65,536 (TIFF 6.0, section 20)."""
TILE = 322, 323
"""Tags of a TIFF with the width and length of a tile (TIFF 6.0, section 15)."""
MOST_READS, EACH_READ = 2**20, 64
"""How often Pillow may read of a file: so often, and once more for so many bytes. It keeps a part of a JPEG, PNG or GIF of
two bytes as an object of 150, and reads white space byte by byte; files that people have take a hundredth of that."""
BY_PYTHON = ("PPM", "BMP", "DIB")
"""Formats of which some are decoded in Python, number by number."""
CODECS, MOST_BY_PYTHON = ("bmp_rle", "ppm", "ppm_plain"), 2**24
"""Which decoders do so, and of how many pixels: a second takes them one to three millions, and few bytes may say many."""
MOST_BESIDE = 2**24
"""Bytes that Pillow may read of a file before its pixels, or behind them, and keep: comments, profiles, texts, thumbnails. Text
of a PNG it has a dozen times over for a moment, as it may take four bytes for each letter."""
MOST_LAYERS = 2**26
"""So many of a TIFF, in an entry of which programs keep the layers that the picture was made of. Pillow reads it twice."""
AGAIN = 4
"""How often it may read a file of few bytes: it tries formats, and entries of a TIFF may share theirs."""
MOST_WEBP = 2**27
"""Bytes of a WebP: Pillow reads it whole, and has it four times for a moment."""
MOST_SEGMENTS = 2**13
"""Of a JPEG before and between its scans: cameras write some dozens."""
MOST_CHUNKS = 2**18
"""Of a PNG: some programs cut a large picture into pieces of 8 KiB."""
MOST_EXIF_BYTES = 2**20
"""16 parts of a JPEG: of others Pillow unpacks every number of an entry before it looks at the first."""
WHOLE = (1, 2, 7)
"""Types of entries of a TIFF that Pillow leaves as bytes; numbers of the others become objects."""
PIECE = 2**26
"""Bytes that Pillow asks for at a time: by its own 16 MiB the memory of large pictures stays with each thread that had one."""
Image.core.set_block_size(PIECE)  # type: ignore[attr-defined]
_PARTS = "it is made of more parts than any camera or program writes"
_BESIDE = "it has more beside its pixels (comments, profiles, texts, layers) than is read; save it anew without them"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""Any number of FF may fill the place before it: the last of them is enough, and a run of them is read once."""


class Counted(memory.BytesIO):
    """A file that is not read in more pieces than a picture has, nor further than what lies beside its pixels may reach."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.size, self.reads, self.most = len(content), 0, MOST_READS + len(content) // EACH_READ
        self.pieces = True
        """They count: of what Python decodes there are as many as pixels."""
        self.beside = math.inf
        """So many bytes may be read from now on."""

    def read(self, size: int | None = -1) -> bytes:
        """Raises `ValueError` at the end of the pieces, and where more is asked for than may lie beside the pixels."""
        self.reads += self.pieces
        if self.reads > self.most:
            raise ValueError(_PARTS)
        rest = max(0, self.size - self.tell())
        self.beside -= rest if size is None or size < 0 else min(size, rest)
        if self.beside < 0:
            raise ValueError(_BESIDE)
        return super().read(size)


@dataclass(frozen=True)
class Facts:
    """What has to be known of all pictures before one of them is used."""

    size: Size
    grey: bool
    transparent: bool
    """Some part of it is: an opaque alpha channel does not count."""
    deep: float = 0.0
    """The largest value of a grey picture with more than 8 bits or with fractions; 0 for others."""
    below: bool = False
    """Such a grey picture has numbers below 0."""
    shallow_colour: bool = False
    """16-bit colour whose upper bytes, all that is read of it, hold hardly anything."""
    several: bool = False
    """More pictures than the first lie in the file."""
    pixels: int = 0
    """That it counts for where it is decoded beside others: `room_of`."""
    checksum: int = 0
    """Of the file's bytes, by which one is known that was changed meanwhile."""


@contextlib.contextmanager
def hush() -> Iterator[None]:
    """Without Pillow's own warnings: what matters is raised or noted. Filters are one for all threads, so enter it outside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(content: bytes, megapixels: float | None = None) -> Image.Image:
    """Bytes -> upright picture, the first of several. Raises for anything that is not a whole image of a sane size.

    `megapixels` stands in for GANVAS_MAX_MEGAPIXELS where less is to be taken.
    """
    return _loaded(opened(content), content, megapixels)[0]


def opened(content: bytes, file: Counted | None = None) -> Image.Image:
    """A picture of which no pixel is decoded; `file` counts what is read of it. Raises like `decode` where it is none."""
    _check_parts(content)
    file = Counted(content) if file is None else file
    # A WebP is read whole. Of others not much more than there is.
    if not _is_webp(content):
        file.beside = min(2 * MOST_LAYERS if _is_tiff(content) else MOST_BESIDE, AGAIN * len(content) + 2**16)
    picture = Image.open(file, formats=FORMATS)
    # Of a GIF one more picture is looked for, behind the pixels of the first.
    file.beside = MOST_BESIDE + 2 * pixels_of(picture) if picture.format == "GIF" else math.inf
    file.pieces = picture.format not in BY_PYTHON
    return picture


def python_pixels(picture: Image.Image) -> int:
    """How many Python will decode one by one, counted by the time that they take: a colour as two greys, a run as an eighth."""
    codec = next((tile[0] for tile in getattr(picture, "tile", ()) if tile[0] in CODECS), None)
    if codec is None:
        return 0
    pixels = picture.width * picture.height
    if codec == "bmp_rle" or picture.mode == "1":
        return pixels // 8
    return pixels * (1 if is_grey(picture) else 2)


def pixels_of(picture: Image.Image) -> int:
    """How many will be unfolded where one of `opened` is decoded."""
    return max(_sizes(picture))


def room_of(picture: Image.Image) -> int:
    """Pixels that a picture counts for while it is decoded beside others. Of a WebP Pillow has two canvases, the frame and the
    bytes besides; what is transparent, or of more than 8 bits, has copies that others have not."""
    plain = picture.mode in ("1", "L", "P", "RGB", "YCbCr") and "transparency" not in picture.info
    return pixels_of(picture) * (3 if picture.format == "WEBP" else 1 if plain else 2)


def _sizes(picture: Image.Image) -> tuple[int, int]:
    """Pixels of a picture, and of a tile of it, which is unfolded whole however small the picture; 0 where it has none."""
    tile = [int(picture.tag_v2.get(tag) or 0) for tag in TILE] if isinstance(picture, TiffImageFile) else [0]
    return picture.width * picture.height, math.prod(tile)


def look(content: bytes, of: Image.Image | None = None) -> Facts:
    """Decode a picture for what has to be known of it; `of` is the one that was `opened`. Raises like `decode`."""
    of = opened(content) if of is None else of
    pixels = room_of(of)
    picture, several = _loaded(of, content)
    deep, below = 0.0, False
    if is_deep(picture):
        values = np.asarray(picture)
        deep, below = max(float(values.max()), 1e-12), bool(values.min() < 0)
    return Facts(
        picture.size,
        is_grey(picture),
        _is_transparent(picture),
        deep,
        below,
        content[:4] == b"\x89PNG"
        and content[24:26] in (b"\x10\x02", b"\x10\x06")
        and _brightest(picture) < 128,
        several,
        pixels,
        zlib.crc32(content),
    )


def why(error: Exception) -> str:
    """What is wrong with a picture, in words for people."""
    if isinstance(error, UnidentifiedImageError):
        return f"no picture: expected {KINDS}"
    return str(error) or type(error).__name__


def _loaded(
    picture: Image.Image, content: bytes, megapixels: float | None = None
) -> tuple[Image.Image, bool]:
    most = limit("GANVAS_MAX_MEGAPIXELS") if megapixels is None else megapixels
    whole, tile = _sizes(picture)
    if whole > most * 1e6:
        raised = "; GANVAS_MAX_MEGAPIXELS raises that" if megapixels is None else ""
        raise ValueError(f"{picture.width} x {picture.height} px is more than {most:g} megapixels{raised}")
    if tile > most * 1e6:
        raise ValueError(f"a tile of {tile:,} px is more than {most:g} megapixels")
    if whole > MOST_BY_PYTHON and any(tile[0] in CODECS for tile in getattr(picture, "tile", ())):
        raise ValueError(
            f"{picture.width} x {picture.height} px in a form that takes minutes to read, of which {MOST_BY_PYTHON / 1e6:.0f} "
            "megapixels are taken; save it as PNG"
        )
    if picture.mode not in MODES and not picture.mode.startswith("I;16"):
        raise ValueError(f"its colours are {picture.mode}, which is not read; save it as RGB")
    if picture.format in ("JPEG", "MPO") and _scans(content) > MOST_SCANS:
        raise ValueError(f"it is made of more than {MOST_SCANS} passes, which no camera or program writes")
    # The second picture of an .mpo is that of a phone's second lens, nothing that moves.
    several = picture.format in ("GIF", "TIFF", "WEBP", "PNG") and bool(
        getattr(picture, "is_animated", False)
    )
    picture.seek(0)
    if isinstance(file := getattr(picture, "fp", None), Counted):
        file.beside = math.inf
    picture.load()
    if picture.mode == "F" and not np.isfinite(np.asarray(picture)).all():
        raise ValueError("it holds NaN or infinity")
    # Only now: a PNG may have it behind its pixels, and ImageMagick writes it in hexadecimal.
    held = (picture.info.get("exif") or b"", (picture.info.get("Raw profile type exif") or "")[::2])
    if max(map(len, held)) > MOST_EXIF_BYTES:
        raise ValueError("it has more than 1 MiB of Exif, which no camera or program writes")
    return ImageOps.exif_transpose(picture), several


def _check_parts(content: bytes) -> None:
    """Raise `ValueError` for more parts beside the pixels than are read in the time that the pixels take."""
    if not content:
        raise ValueError("an empty file")
    if content[:2] == b"\xff\xd8" and _exif_parts(content) > MOST_EXIF:
        raise ValueError(f"it has more than {MOST_EXIF} parts of Exif, which no camera or program writes")
    if content[:2] in (b"P1", b"P2", b"P3") and content.count(b"#") > MOST_COMMENTS:
        raise ValueError(f"it has more than {MOST_COMMENTS} comments")
    if content[:4] == b"\x89PNG":
        _check_chunks(content)
    if _is_webp(content) and len(content) > MOST_WEBP:
        raise ValueError(f"a WebP of {len(content) >> 20} MiB; {MOST_WEBP >> 20} are read")
    if _is_tiff(content):
        pieces, numbers = _entries(content)
        if pieces > MOST_PIECES:
            raise ValueError(f"it is made of more than {MOST_PIECES:,} strips or tiles")
        if numbers > MOST_NUMBERS:
            raise ValueError(f"it has more than {MOST_NUMBERS:,} numbers in an entry")


def _is_tiff(content: bytes) -> bool:
    return content[:2] in (b"II", b"MM")


def _is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def _check_chunks(content: bytes) -> None:
    """Raise `ValueError` for a PNG of too many chunks, or with too much in those that hold no pixels (PNG, section 5)."""
    at, chunks, beside = 8, 0, 0
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        chunks, beside = chunks + 1, beside + (0 if kind in (b"IDAT", b"fdAT") else size)
        if chunks > MOST_CHUNKS:
            raise ValueError(_PARTS)
        if min(beside, len(content)) > MOST_BESIDE:
            raise ValueError(_BESIDE)
        if kind == b"IEND":
            return
        at += 12 + size


def _entries(content: bytes) -> tuple[int, int]:
    """Of how many strips or tiles the first picture of a TIFF says it is, and how many numbers the longest of its entries has.

    TIFF 6.0, section 2; BigTIFF has longer numbers.
    """
    order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
    big = content[2] == 43 if len(content) > 2 else False  # as Pillow tells them apart

    def number(at: int, size: int) -> int:
        return int.from_bytes(content[at : at + size], order)

    at, wide, entry = (number(8, 8), 8, 20) if big else (number(4, 4), 4, 12)
    first = at + (8 if big else 2)
    count = min(number(at, first - at), len(content) // entry)
    if count > MOST_PIECES:
        raise ValueError(_PARTS)
    pieces = numbers = 0
    for at in range(first, first + entry * count, entry):
        if number(at, 2) in PIECES:
            pieces = max(pieces, number(at + 4, wide))
        elif number(at + 2, 2) not in WHOLE:
            numbers = max(numbers, number(at + 4, wide))
    return pieces, numbers


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """The kind of each segment of the first picture of a JPEG, and where what it holds begins (ITU T.81, annex B)."""
    at, seen = 2, 0
    while found := _MARKER.search(content, at):
        at, seen = found.end(), seen + 1
        if seen > MOST_SEGMENTS:
            raise ValueError(_PARTS)
        kind = content[at - 1]
        if kind == 0xD9:  # the end of the picture
            return
        yield kind, at
        if kind not in (0x01, 0xD8):  # a segment that says how long it is
            at += max(2, int.from_bytes(content[at : at + 2], "big"))


def _exif_parts(content: bytes) -> int:
    """How many segments of Exif lie before the pixels of a JPEG, counted to one above what is allowed."""
    parts = 0
    for kind, at in _segments(content):
        parts += kind == 0xE1 and content[at + 2 : at + 6] == b"Exif"
        if kind == 0xDA or parts > MOST_EXIF:
            break
    return parts


def _scans(content: bytes) -> int:
    """How many scans the first picture of a JPEG has, counted to one above what is allowed."""
    return sum(1 for _ in islice((1 for kind, _ in _segments(content) if kind == 0xDA), MOST_SCANS + 1))


def _is_transparent(picture: Image.Image) -> bool:
    if not picture.has_transparency_data:
        return False
    if is_deep(picture):
        return bool((np.asarray(picture) == picture.info.get("transparency")).any())
    return bool(np.asarray(picture.convert("RGBA").getchannel("A")).min() < 255)


def _brightest(picture: Image.Image) -> int:
    return int(np.asarray(picture.convert("RGB")).max())


def is_deep(picture: Image.Image) -> bool:
    """True for grey pictures of more than 8 bits, or of fractions."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def is_grey(picture: Image.Image) -> bool:
    """True when the file has one channel (besides transparency)."""
    return picture.mode in ("1", "L", "LA") or is_deep(picture)


def white_of(largest: float) -> float:
    """The value that becomes white in deep pictures whose largest value is `largest`: 1 for shares, which may overshoot, else
    255, 511, ... 65,535.

    Of two sets of one kind it may differ by a factor of two: what is compared needs one and the same.
    """
    return 1.0 if largest < 2 else float(2 ** max(8, math.ceil(math.log2(largest + 1))) - 1)


def white_beside(white: float) -> float:
    """The value that is white in deep pictures which are compared with some of 8 bits, by what `white_of` says of them.

    As programs make 8 bits of 16 it is 65,535 but for shares and bytes, which may overshoot.
    """
    return min(white, 255.0) if white < 512 else max(white, 65535.0)


def white_among(facts: Collection[Facts]) -> float:
    """The value that becomes white in the deep ones of these pictures, beside which there may be some of 8 bits."""
    white = white_of(max(fact.deep for fact in facts))
    return white if all(fact.deep for fact in facts) else white_beside(white)


def to_mode(picture: Image.Image, mode: str, white: float = 65535.0) -> Image.Image:
    """Grey (`L`) or `RGB`, transparent parts become white; or `RGBA`, where what cannot be seen becomes black.

    The value `white` of a deep picture becomes 255.
    """
    if is_deep(picture):
        values = np.asarray(picture)
        key = picture.info.get("transparency")
        pixels = np.empty(values.shape, np.uint8)
        # Some rows at a time: in float64, and thrice, a picture of 64 megapixels took 1.9 GB.
        rows = max(1, AT_ONCE // max(1, values.shape[1]))
        for start in range(0, len(values), rows):
            part = values[start : start + rows].astype(np.float64) * (255 / white)
            pixels[start : start + rows] = part.clip(0, 255).round()
        picture = Image.fromarray(pixels)
        if isinstance(key, int):
            picture.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    if mode == "RGBA":
        # There and back again: a colour that cannot be seen may be anything, and would have to be learnt.
        return picture.convert("RGBA").convert("RGBa").convert("RGBA")
    if picture.has_transparency_data:
        picture = opaque(picture.convert("RGBA"))
    return picture.convert(mode)
