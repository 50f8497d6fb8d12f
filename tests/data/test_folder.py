"""Folders and zips: every mode, every way of being wrong."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.data.resize import to_tensor
from ganvas.errors import GanvasError


def png(size: tuple[int, int] = (16, 16), mode: str = "RGB", colour: object = 100) -> bytes:
    buffer = io.BytesIO()
    if mode == "RGB" and isinstance(colour, int):
        colour = (colour,) * 3
    Image.new(mode, size, colour).save(buffer, "PNG")  # type: ignore[arg-type]
    return buffer.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_sub_folders_are_labels(image_folder: Path) -> None:
    data = load_dataset(str(image_folder))
    assert data.shape == (3, 16, 16)
    assert data.class_names == ("cats", "dogs")
    assert data.labels is not None
    assert data.labels.tolist() == [0] * 6 + [1] * 6
    images, labels = data.take(torch.tensor([7]))
    assert images.dtype == torch.uint8
    assert labels is not None
    assert labels.item() == 1
    assert torch.equal(images[0], to_tensor(Image.open(image_folder / "dogs" / "1.png")))


def test_a_zip_is_the_same_as_its_folder(image_folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "pictures"), "zip", image_folder)
    folder, zipped = load_dataset(str(image_folder)), load_dataset(archive)
    assert torch.equal(folder.items, zipped.items)  # type: ignore[arg-type]
    assert zipped.class_names == folder.class_names
    assert zipped.fingerprint == folder.fingerprint


def test_fingerprint_follows_content_and_resizing(image_folder: Path) -> None:
    first = load_dataset(str(image_folder)).fingerprint
    assert load_dataset(str(image_folder)).fingerprint == first
    assert load_dataset(DataConfig(str(image_folder), resolution=8)).fingerprint != first
    (image_folder / "cats" / "0.png").write_bytes(png(colour=7))
    assert load_dataset(str(image_folder)).fingerprint != first


def test_all_formats_and_modes(tmp_path: Path) -> None:
    for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16"):
        Image.new(mode, (16, 16)).save(tmp_path / f"{mode.replace(';', '')}.png")
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.JPEG", "JPEG")
    Image.new("CMYK", (16, 16)).save(tmp_path / "cmyk.jpg")
    Image.new("RGB", (16, 16), "red").save(tmp_path / "b.webp")
    data = load_dataset(str(tmp_path))
    assert len(data) == 10
    assert data.shape == (3, 16, 16)
    assert any("transparent" in note for note in data.notes)
    names = ["1", "I16", "L", "LA", "P", "RGB", "RGBA", "a", "b", "cmyk"]
    pixels = data.take(torch.arange(10))[0]
    assert pixels[names.index("RGBA")].min() == 255, "transparent becomes white"
    assert pixels[names.index("b")][0].float().mean() > 240


def test_grey_stays_one_channel(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp // 257).astype(np.uint8)).save(tmp_path / "shallow.png")
    data = load_dataset(str(tmp_path))
    assert data.shape == (1, 16, 16)
    deep, shallow = data.take(torch.arange(2))[0].int()
    assert (deep - shallow).abs().max() <= 1, "16-bit grey is scaled, not clipped"


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (16, 16))
    picture.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    picture.save(tmp_path / "a.png", exif=exif)
    pixels = load_dataset(str(tmp_path)).take(torch.tensor([0]))[0]
    assert pixels[0, 0, 15, 15] == 255


def test_one_broken_image_is_skipped_counted_and_named(image_folder: Path) -> None:
    whole = (image_folder / "cats" / "0.png").read_bytes()
    (image_folder / "cats" / "bad.png").write_bytes(whole[: len(whole) // 2])
    data = load_dataset(str(image_folder))
    assert len(data) == 12
    assert any("Skipped 1 of 13" in note and "cats/bad.png" in note for note in data.notes)


def test_more_than_one_percent_broken_fails(image_folder: Path) -> None:
    for name in ("x.png", "y.jpg"):
        (image_folder / "cats" / name).write_bytes(b"no image")
    with pytest.raises(GanvasError, match=r"2 of 14 images .* are broken, more than 1%.*x.png"):
        load_dataset(str(image_folder))


def test_all_broken_fails(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(GanvasError, match="1 of 1 images"):
        load_dataset(str(tmp_path))


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(GanvasError, match=r"holds no images. Expected .png"):
        load_dataset(str(tmp_path))


def test_mixed_sizes_need_a_word(image_folder: Path) -> None:
    (image_folder / "cats" / "big.png").write_bytes(png((40, 30)))
    with pytest.raises(GanvasError, match=r"2 different sizes, from 16 x 16 to 40 x 30.*--resize crop"):
        load_dataset(str(image_folder))
    with pytest.raises(GanvasError, match="--resize"):
        load_dataset(DataConfig(str(image_folder), resolution=16))
    data = load_dataset(DataConfig(str(image_folder), resize="crop"))
    assert data.shape == (3, 16, 16)
    assert any("1 of 13 images resized to 16 x 16 px (chosen" in note for note in data.notes)


def test_resizing_does_what_it_says(tmp_path: Path) -> None:
    """A picture that is red left, green in the middle and blue right."""
    picture = Image.new("RGB", (48, 16))
    for i, colour in enumerate(("red", "lime", "blue")):
        picture.paste(colour, (16 * i, 0, 16 * i + 16, 16))
    picture.save(tmp_path / "a.png")

    def middle_row(how: str) -> torch.Tensor:
        data = load_dataset(DataConfig(str(tmp_path), resolution=24, resize=how))  # type: ignore[arg-type]
        assert data.shape == (3, 24, 24)
        return data.take(torch.tensor([0]))[0][0]

    crop, fit, stretch = middle_row("crop"), middle_row("fit"), middle_row("stretch")
    assert crop[1, 12].float().mean() > 240, "only the green middle"
    assert fit[:, 0].max() == 0, "black bars above"
    assert stretch[0, 12, 0] == 255, "red on the left"
    assert stretch[2, 0, -1] == 255, "blue on the right"
    with pytest.raises(GanvasError, match="not square"):
        load_dataset(DataConfig(str(tmp_path), resolution=24))


def test_streaming_gives_the_same_images(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = load_dataset(DataConfig(str(image_folder), resolution=8))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.001")
    streamed = load_dataset(DataConfig(str(image_folder), resolution=8))
    assert resident.resident
    assert not streamed.resident
    assert any("stream" in note for note in streamed.notes)
    order = torch.tensor([3, 11, 0])
    assert torch.equal(resident.take(order)[0], streamed.take(order)[0])
    assert resident.fingerprint == streamed.fingerprint


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
)
def test_zip_traversal_is_refused(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "evil.zip", {"good.png": png(), name: png()})
    with pytest.raises(GanvasError, match="points outside"):
        load_dataset(str(archive))
    assert [p.name for p in tmp_path.rglob("*")] == ["evil.zip"]


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "bomb.zip", {"good.png": png(), "bomb.png": b"\0" * 50_000_000})
    assert archive.stat().st_size < 100_000
    with pytest.raises(GanvasError, match="decompression bomb"):
        load_dataset(str(archive))


def test_image_bomb_counts_as_broken(image_folder: Path) -> None:
    """A PNG whose header promises 100 megapixels is never unfolded."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    (image_folder / "cats" / "bomb.png").write_bytes(buffer.getvalue())
    notes = load_dataset(str(image_folder)).notes
    assert any("Skipped 1 of 13" in note and "bomb.png (Image size" in note for note in notes)


def test_damaged_zip(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"good.png": png()})
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(GanvasError, match=r"not a readable .zip"):
        load_dataset(str(archive))
