"""Pictures from outside: any of them fits or is refused in words."""

import contextlib
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.web.upload import LARGEST, read_image


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["L", "RGB", "RGBA", "P", "1", "LA", "I;16"]),
    st.sampled_from([1, 3]),
)
def test_every_size_and_mode_becomes_the_models(width: int, height: int, mode: str, channels: int) -> None:
    found = read_image(encoded(Image.new(mode, (width, height))), (channels, 16, 16))
    assert found.shape == (channels, 16, 16)
    assert found.dtype == torch.uint8


@given(st.binary(max_size=400))
def test_other_files_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(GanvasError, match="cannot be read"):
        read_image(content, (1, 8, 8))


@given(st.integers(10, 300), st.integers(0, 255))
def test_a_damaged_picture_is_refused_or_read(at: int, byte: int) -> None:
    rng = np.random.default_rng(0)
    content = bytearray(encoded(Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))))
    content[at] = byte
    with contextlib.suppress(GanvasError):  # anything else would be a crash of the page
        assert read_image(bytes(content), (3, 8, 8)).shape == (3, 8, 8)


def test_the_pixels_stay_where_the_size_fits() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels))
    assert np.array_equal(read_image(content, (1, 8, 8))[0].numpy(), pixels)
    assert np.array_equal(read_image(content, (1, 8, 8), negative=True)[0].numpy(), 255 - pixels)


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("RGBA", 1), ("LA", 1), ("LA", 3)])
def test_transparent_is_white_as_in_what_is_trained_on(mode: str, channels: int, tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (2, 2, 6, 6))
    content = encoded(clear.convert(mode))
    (tmp_path / "icon.png").write_bytes(content)
    (trained_on,) = load_dataset(DataConfig(str(tmp_path), 8), (channels, 8, 8)).take(torch.arange(1))[0]
    found = read_image(content, (channels, 8, 8))
    assert torch.equal(found, trained_on)
    assert (found.min(), found[:, 0].min()) == (0, 255)


def test_a_deep_picture_is_as_bright_as_those_that_were_trained_on() -> None:
    dark = encoded(Image.fromarray(np.full((8, 8), 1000, np.uint16)))
    assert read_image(dark, (1, 8, 8)).unique().tolist() == [249], "of 0 to 1,023, by itself"
    assert read_image(dark, (1, 8, 8), white=8191.0).unique().tolist() == [31]


def test_the_middle_is_taken() -> None:
    wide = Image.new("L", (24, 8), 0)
    wide.paste(255, (8, 0, 16, 8))
    assert read_image(encoded(wide), (1, 8, 8)).min() == 255


def test_a_phones_picture_is_turned_upright() -> None:
    """Held upright, the camera writes a picture that lies and says so in its EXIF."""
    upright = Image.new("L", (8, 8), 0)
    upright.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    upright.rotate(90).save(buffer, "PNG", exif=exif)
    assert np.array_equal(read_image(buffer.getvalue(), (1, 8, 8))[0].numpy(), np.array(upright))


def test_deep_pictures_and_words_for_others() -> None:
    ramp = np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8)
    found = read_image(encoded(Image.fromarray(ramp)), (1, 8, 8))[0].double().numpy()
    assert np.abs(found - ramp * (255 / 4095)).max() <= 0.5
    with pytest.raises(
        GanvasError, match=r"^This cannot be read as a picture: no picture: expected PNG, JPEG"
    ):
        read_image(b"hello", (1, 8, 8))


def test_what_is_broken_beside_the_pixels_is_told_too() -> None:
    """More transparencies than colours: they are looked at when the picture is converted."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    head = chunk(b"IHDR", (8).to_bytes(4, "big") * 2 + bytes([8, 3, 0, 0, 0]))
    colours = chunk(b"PLTE", bytes(9)) + chunk(b"tRNS", b"a" * 257)
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\1" * 8) * 8))
    with pytest.raises(GanvasError, match="cannot be read as a picture"):
        read_image(b"\x89PNG\r\n\x1a\n" + head + colours + pixels + chunk(b"IEND", b""), (1, 8, 8))


def test_bombs_and_large_files_are_refused() -> None:
    with pytest.raises(GanvasError, match="6000 x 6000 px is more than 25 megapixels"):
        read_image(encoded(Image.new("1", (6000, 6000))), (1, 8, 8))
    with pytest.raises(GanvasError, match="MiB"):
        read_image(b"\0" * (LARGEST + 1), (1, 8, 8))
    with pytest.raises(GanvasError, match="cannot be read"):
        read_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", (1, 8, 8))
