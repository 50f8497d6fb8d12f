"""One picture from bytes that anybody may have written."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ganvas.data import decode
from ganvas.data.decode import look, opened, pixels_of, room_of


def progressive(more: int, behind: bytes = b"") -> bytes:
    """A progressive JPEG whose last pass over the pixels comes again, and what lies behind its end."""
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert content.count(b"\xff\xda") == 6  # of a grey one
    return content[:-2] + content[content.rfind(b"\xff\xda") : -2] * more + content[-2:] + behind


def test_a_jpeg_of_many_passes_is_refused() -> None:
    """Twelve bytes each, and 20 ms at 64 megapixels: 1 MB would take half an hour."""
    assert look(progressive(58)).size == (256, 256)
    with pytest.raises(ValueError, match="more than 64 passes"):
        look(progressive(59))


def test_what_lies_behind_the_end_of_a_jpeg_is_not_counted() -> None:
    """Phones put a film there."""
    assert look(progressive(0, b"\xff\xda" * 1000)).grey


def test_marks_inside_of_a_segment_are_not_counted() -> None:
    content, thumbnails = progressive(0), b"\xff\xda" * 1000
    segment = b"\xff\xe5" + (len(thumbnails) + 2).to_bytes(2, "big") + thumbnails
    assert look(content[:2] + segment + content[2:]).size == (256, 256)


def test_a_jpeg_of_many_parts_of_exif_is_refused() -> None:
    """Each is copied behind those before it: 4 MB of short ones took 69 s, 10 MB minutes."""
    part = b"\xff\xe1" + (18).to_bytes(2, "big") + b"Exif\0\0" + b"a" * 10
    content = progressive(0)
    assert look(content[:2] + 16 * part + content[2:]).size == (256, 256)
    with pytest.raises(ValueError, match="more than 16 parts of Exif"):
        look(content[:2] + 17 * part + content[2:])
    other = b"\xff\xe1" + (18).to_bytes(2, "big") + b"http:" + b"a" * 11
    assert look(content[:2] + 5000 * other + content[2:]).size == (256, 256)


def test_what_fills_a_jpeg_is_read_once() -> None:
    """It took time as the square of its length: 40 kB 22 s, as many as here a quarter of an hour."""
    content = progressive(0)
    assert look(content[:2] + 2**18 * b"\xff" + b"\0" + content[2:]).size == (256, 256)
    assert look(content[:2] + 2**18 * b"\xff" + content[2:]).size == (256, 256)


@pytest.mark.parametrize("kind", [b"P1\n8 8\n", b"P2\n8 8\n1\n", b"P3\n8 8\n1\n"])
def test_a_ppm_of_many_comments_is_refused(kind: bytes) -> None:
    """Each is cut out of all that is left: 1 MB took 47 s."""
    assert look(kind + 100 * b"#\n" + b"1 " * 192).size == (8, 8)
    with pytest.raises(ValueError, match="more than 100 comments"):
        look(kind + 101 * b"#\n" + b"1 " * 192)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A part of a PNG."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def saved(kind: str) -> bytes:
    """A picture of 16 px."""
    file = io.BytesIO()
    Image.new("P" if kind == "GIF" else "RGB", (16, 16)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "PNG behind", "JPEG", "GIF", "GIF comments", "GIF frames", "PPM"])
def test_a_picture_of_many_parts_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Pillow keeps 50 to 200 bytes of each: 48 MiB of a GIF, 300 kB in a .zip, took 2.6 GB and a minute."""
    monkeypatch.setattr(decode, "MOST_READS", 2**15)
    content = saved(kind.split()[0])
    at, part, end = {
        "PNG": (33, chunk(b"aaaa"), b""),
        "PNG behind": (len(content) - 12, chunk(b"aaaa"), b""),
        "JPEG": (2, b"\xff\xe3\0\4ab", b""),
        "GIF": (content.find(b",", 13), b"\2ab", b"\0"),
        "GIF comments": (content.find(b",", 13), b"!\xfe\1a\0", b""),
        "GIF frames": (content.find(b",", 13), b"\1a", b"\0"),
        "PPM": (2, b" ", b""),
    }[kind]
    start = {"GIF": b"!\xfe", "GIF frames": b"!\1"}.get(kind, b"")

    def of(parts: int) -> bytes:
        return content[:at] + start + part * parts + end + content[at:]

    assert look(of(1000)).size == (16, 16)
    with pytest.raises(ValueError, match="more parts than any camera"):
        look(of(50_000))


def test_segments_of_a_jpeg_are_counted_to_an_end() -> None:
    """80 MB of short ones, half a megabyte in a .zip, were counted for a minute before Pillow saw them."""
    content = saved("JPEG")
    with pytest.raises(ValueError, match="more parts than any camera"):
        look(content[:2] + b"\xff\xe3\0\2" * 70_000 + content[2:])


def test_pictures_that_are_decoded_in_python_may_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of their pixels is read by itself."""
    monkeypatch.setattr(decode, "MOST_READS", 2**15)
    assert look(b"P5 300 300 254\n" + bytes(90_000)).size == (300, 300)


def packed_bmp(width: int, height: int) -> bytes:
    """Of one grey, by a run for each line."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 2, 0, 0, 256, 0) + bytes(1024)
    body = (bytes([width, 7]) + b"\0\0") * height + b"\0\1"
    return struct.pack("<2sIII", b"BM", 14 + len(head) + len(body), 0, 14 + len(head)) + head + body


def test_what_python_decodes_number_by_number_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A BMP of 5 kB took 37 seconds, and a .zip of four of them, 1.8 kB, three minutes."""
    monkeypatch.setattr(decode, "MOST_BY_PYTHON", 10_000)
    for content in (packed_bmp(101, 100), b"P5 101 100 254\n" + bytes(10_100)):
        with pytest.raises(ValueError, match="101 x 100 px in a form that takes minutes to read"):
            look(content)
    assert look(packed_bmp(100, 100)).size == (100, 100)
    assert look(b"P5 101 100 255\n" + bytes(10_100)).size == (101, 100)


@pytest.mark.parametrize("kind", ["before", "behind", "text", "WebP"])
def test_long_exif_is_refused(kind: str) -> None:
    """An orientation of 6 million numbers became objects of 36 bytes each."""
    content = saved("PNG")

    def of(numbers: int) -> bytes:
        entry = struct.pack("<2sHLHHHLL", b"II", 42, 8, 1, 0x112, 3, numbers, 26) + bytes(4)
        exif = entry + bytes(2 * numbers)
        if kind == "WebP":
            file = io.BytesIO()
            Image.new("RGB", (16, 16)).save(file, "WEBP", exif=exif)
            return file.getvalue()
        part = chunk(b"eXIf", exif)
        if kind == "text":
            part = chunk(b"tEXt", b"Raw profile type exif\0\n\n\n" + exif.hex().encode())
        place = len(content) - 12 if kind == "behind" else 33
        return content[:place] + part + content[place:]

    assert look(of(1)).size == (16, 16)
    with pytest.raises(ValueError, match="more than 1 MiB of Exif"):
        look(of(600_000))


def test_a_tiff_of_millions_of_numbers_is_refused() -> None:
    """200 MB of bits per sample, 1.3 MB in a .zip, took 2.5 GB."""

    def said(numbers: int) -> bytes:
        entries = [
            (256, 3, 1, 16), (257, 3, 1, 16), (258, 3, numbers, 8 if numbers == 1 else 134), (259, 3, 1, 1),
            (262, 3, 1, 1), (273, 4, 1, 8), (278, 3, 1, 16), (279, 4, 1, 256), (700, 1, numbers, 134), (34377, 7, numbers, 134),
        ]  # fmt: skip
        rows = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
        return (
            struct.pack("<2sHLH", b"II", 42, 8, len(entries))
            + rows
            + bytes(4)
            + b"\x08\0" * numbers
            + bytes(300)
        )

    assert look(said(1)).size == (16, 16)
    assert decode._entries(said(2**18)) == (1, 2**18)
    with pytest.raises(ValueError, match="numbers in an entry"):
        look(said(2**18 + 1))


def test_a_scan_of_16_bits_may_have_its_curves() -> None:
    """Thrice 65,536 numbers, which were more than an entry was allowed."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "TIFF", tiffinfo={301: tuple(range(2**16)) * 3})
    assert look(file.getvalue()).size == (16, 16)


def tiled(width: int, length: int) -> bytes:
    """A TIFF of 16 x 16 px, all of it in one tile of another size."""
    pixels = bytes(width * length) if width * length < 2**20 else b"\0"
    tags = {
        256: 16,
        257: 16,
        258: 8,
        259: 1,
        262: 1,
        277: 1,
        322: width,
        323: length,
        324: 134,
        325: len(pixels),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    assert len(head) == 134
    return head + pixels


def test_pixels_are_those_of_the_tile_that_is_unfolded() -> None:
    """Side by side six of 16 x 16 px with tiles of 64 megapixels took 3.2 GB on two CPUs."""
    assert pixels_of(opened(tiled(512, 256))) == 512 * 256
    assert pixels_of(opened(tiled(16, 16))) == 16 * 16
    assert look(tiled(512, 256)).pixels == 512 * 256


@pytest.mark.parametrize(("order", "number", "magic"), [("<", "L", 42), (">", "L", 42), ("<", "Q", 43)])
def test_a_tiff_of_millions_of_strips_is_refused(order: str, number: str, magic: int) -> None:
    """Pillow made an object of each, and decoded it: 1 MB, which a .zip packs to 1 kB, took half a minute and 477 MB."""

    def said(strips: int) -> bytes:
        entries = [(256, 4, 1, 16), (257, 4, 1, 16), (273, 1, strips, 0), (277, 3, 1, 1)]
        head = {42: 8, 43: 16}[magic]
        start = struct.pack(order + "H", magic) + (
            struct.pack(order + "HHQ", 8, 0, 16) if head == 16 else struct.pack(order + "L", 8)
        )
        count = struct.pack(order + ("Q" if head == 16 else "H"), len(entries))
        rows = b"".join(struct.pack(order + f"HH{number}{number}", *entry) for entry in entries)
        return (b"II" if order == "<" else b"MM") + start + count + rows + bytes(100)

    with pytest.raises(ValueError, match="more than 65,536 strips or tiles"):
        look(said(65537))
    assert decode._entries(said(65536))[0] == 65536


def test_a_tiff_of_a_tile_larger_than_pictures_may_be_is_refused() -> None:
    """A whole tile is unfolded, however small the picture is: 65 KB took 2.3 GB."""
    assert look(tiled(16, 16)).size == (16, 16)
    assert look(tiled(512, 256)).size == (16, 16), (
        "of other programs they may well be larger than the picture"
    )
    with pytest.raises(ValueError, match="a tile of 2,146,959,360 px is more than"):
        look(tiled(32768, 65520))


def test_a_deep_picture_is_brought_to_eight_bits_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same numbers as all at once: round(255 v / white), at most 255."""
    values = np.random.default_rng(0).integers(0, 65536, (37, 53)).astype(np.uint16)
    monkeypatch.setattr(decode, "AT_ONCE", 100)
    for white in (65535.0, 4095.0):
        wanted = (values.astype(np.float64) * (255 / white)).clip(0, 255).round()
        assert np.array_equal(decode.to_mode(Image.fromarray(values), "L", white), wanted)


def beside(kind: str, size: int) -> bytes:
    """A picture of 16 px with so many bytes beside its pixels."""
    content, data = saved(kind.split()[0]), bytes(size)
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, size, 255))
    at = content.find(b",", 13)
    if kind == "GIF":
        return content[:at] + b"!\xfe" + blocks + b"\0" + content[at:]
    if kind == "GIF behind":
        return content[:-1] + b"!\xfe" + blocks + b"\0" + content[at:]
    if kind == "PNG behind":
        return content[:-12] + chunk(b"aaaa", data) + content[-12:]
    if kind == "PNG":
        return content[:33] + chunk(b"tEXt", b"key\0" + data) + content[33:]
    if kind == "JPEG":
        parts = (data[i : i + 60_000] for i in range(0, size, 60_000))
        return (
            content[:2]
            + b"".join(b"\xff\xe2" + struct.pack(">H", 2 + len(each)) + each for each in parts)
            + content[2:]
        )
    if kind == "WEBP":
        return content[:4] + struct.pack("<I", len(content) + size) + content[8:] + chunk_of_webp(data)
    entries = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (278, 3, 1, 16),
               (279, 4, 1, 256), (37724, 7, size, 134)]  # fmt: skip
    rows = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return struct.pack("<2sHLH", b"II", 42, 8, len(entries)) + rows + bytes(16) + data + bytes(300)


def chunk_of_webp(data: bytes) -> bytes:
    """With XMP in it."""
    return b"XMP " + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("kind", ["GIF", "GIF behind", "PNG", "PNG behind", "JPEG", "TIFF", "WEBP"])
def test_what_lies_beside_the_pixels_has_an_end(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Comments of 512 MiB in a GIF, 3 MB in a .zip, were kept thrice; EXIF and XMP of a WebP seven times."""
    for name in ("MOST_BESIDE", "MOST_LAYERS", "MOST_WEBP"):
        monkeypatch.setattr(decode, name, 2**18)
    assert look(beside(kind, 2**17)).size == (16, 16)
    with pytest.raises(ValueError, match=r"save it anew without them|a WebP of 0 MiB"):
        look(beside(kind, 2**19))


def test_entries_of_a_tiff_and_segments_of_a_jpeg_are_few() -> None:
    """Of a BigTIFF there were as many as fit, a million in 20 MB, each looked at before Pillow saw one."""
    entries = struct.pack("<HHQQ", 65000, 7, 1, 0) * 70_000
    with pytest.raises(ValueError, match="more parts than any camera"):
        look(struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 70_000) + entries)
    content = saved("JPEG")
    with pytest.raises(ValueError, match="more parts than any camera"):
        look(content[:2] + b"\xff\xe3\0\2" * 9_000 + content[2:])
    content = saved("PNG")
    with pytest.raises(ValueError, match="more parts than any camera"):
        look(content[:33] + chunk(b"IDAT") * 2**18 + content[33:])


def test_pixels_that_python_decodes_count_by_their_time() -> None:
    """A run of a BMP and a bit take an eighth of a number, a colour as long as two."""
    of = [decode.python_pixels(opened(content)) for content in (
        packed_bmp(100, 80), b"P1 100 80\n" + b"0 " * 8000, b"P2 100 80 9\n" + b"1 " * 8000, b"P5 100 80 9\n" + bytes(8000),
        b"P3 100 80 9\n" + b"1 " * 24000, b"P6 100 80 255\n" + bytes(24000), saved("PNG"),
    )]  # fmt: skip
    assert of == [1000, 1000, 8000, 8000, 16000, 0, 0]


@pytest.mark.parametrize(
    ("mode", "suffix", "times"),
    [
        ("RGB", "png", 1),
        ("L", "jpeg", 1),
        ("RGBA", "png", 2),
        ("F", "tiff", 2),
        ("RGB", "webp", 3),
        ("RGBA", "webp", 3),
    ],
)
def test_pictures_of_more_copies_take_more_room(mode: str, suffix: str, times: int) -> None:
    """Four of 38 bytes took 2.9 GB, two at a time: of a WebP Pillow has several canvases."""
    buffer = io.BytesIO()
    Image.new(mode, (30, 20)).save(buffer, suffix)
    assert room_of(opened(buffer.getvalue())) == times * 600
    assert look(buffer.getvalue()).pixels == times * 600
