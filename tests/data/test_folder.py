"""Folders and zips: every mode, every way of being wrong."""

import errno
import io
import json
import os
import shutil
import struct
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli import main
from ganvas.config import DataConfig
from ganvas.data import Dataset, folder, load_beside, load_dataset
from ganvas.data.labels import natural
from ganvas.data.limits import memory_limit
from ganvas.data.resize import to_tensor
from ganvas.errors import GanvasError
from ganvas.metrics.evaluate import Size, _open_real, given_as
from ganvas.model import DataReference
from ganvas.model_data import config_for
from ganvas.options import TrainOptions
from ganvas.privacy.auditing import _real
from ganvas.training import Result, plan
from tests.conftest import TINY


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


def test_no_two_folders_have_one_fingerprint(tmp_path: Path) -> None:
    """Readers of pictures stop at their end: what follows may hold a name and another picture."""
    one, two = (png(colour=value) for value in (0, 255))
    for name, first, second in (("A", one, one + b"b.png\0" + two), ("B", one + b"b.png\0" + one, two)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(first)
        (tmp_path / name / "b.png").write_bytes(second)
    read = [load_dataset(str(tmp_path / name)) for name in "AB"]
    brightest = [[int(data.take(torch.tensor([i]))[0].max()) for i in (0, 1)] for data in read]
    assert brightest == [[0, 0], [0, 255]]
    assert read[0].fingerprint != read[1].fingerprint


def test_names_of_files_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An archive from anybody names its files; they are in what is said of it, on the terminal and in log.txt."""
    folder = tmp_path / "a\x1b[2Jb\u202e"
    for name in ("\x1b]0;pwned\x07", "line\u2028", "plain"):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            (folder / name / f"{i}\x1b[31m.png").write_bytes(png(colour=i))
        (folder / name / "other\x1b[2J.\x1b[2Jz").write_bytes(b"x")
    (folder / "plain" / "broken\x1b[2J.png").write_bytes(b"x")
    data = load_dataset(str(folder))
    assert any("Left out" in note for note in data.notes)
    assert any("Skipped 1" in note for note in data.notes)
    assert all(text.isprintable() for text in (data.name, *data.notes))
    done = ganvas.train(
        str(folder),
        kimg=0.016,
        batch=8,
        device="cpu",
        out=tmp_path,
        report=False,
        settings={**TINY, "network.conditional": True},
    )
    said = capsys.readouterr().err + (done.run.path / "log.txt").read_text()
    assert "Left out" in said
    assert said.replace("\n", "").replace(str(folder), "").isprintable()


@pytest.mark.parametrize("command", [["eval", "--reference"], ["reference"], ["train"]])
def test_a_run_is_no_folder_of_pictures(
    trained: Result, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`eval mine --reference RUN` measured against the previews of the run, and `train RUN` learned from them."""
    np.save(tmp_path / "mine.npy", np.zeros((40, 8, 8, 1), dtype=np.uint8))
    mine = [str(tmp_path / "mine.npy")] if command[0] == "eval" else []
    assert (
        main([command[0], *mine, *command[1:], str(trained.run.path), "--resolution", "8", "--resize", "fit"])
        == 2
    )
    assert f"{trained.run.path} is a run, whose pictures are previews and no data." in capsys.readouterr().err


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
    with pytest.raises(GanvasError, match=r"2 of 14 images .* cannot be read, more than 1%.*x.png"):
        load_dataset(str(image_folder))


def test_all_broken_fails(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(GanvasError, match="1 of 1 image in"):
        load_dataset(str(tmp_path))


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        GanvasError, match=r"holds no images. Expected .*\.png.*Left out: 1 .txt \(notes.txt\)"
    ):
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


def test_a_picture_that_is_changed_after_it_was_looked_at_is_refused(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprint was that of the old one, and a training on the new one had it."""
    found = folder.plan

    def between(*given: Any) -> Any:
        path = next(image_folder.rglob("*.png"))
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
        return found(*given)

    monkeypatch.setattr(folder, "plan", between)
    with pytest.raises(GanvasError, match="the file was changed meanwhile"):
        load_dataset(DataConfig(str(image_folder), resolution=8))


def test_a_document_that_is_changed_while_pictures_are_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that were made anew had the labels of before."""
    labels = [[f"{i}.png", i % 2] for i in range(8)]
    for name, _ in labels:
        (tmp_path / str(name)).write_bytes(png())
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    found = folder.plan

    def between(*given: Any) -> Any:
        (tmp_path / "dataset.json").write_text(
            json.dumps({"labels": [[name, 1 - int(label)] for name, label in labels]})
        )
        return found(*given)

    assert load_dataset(str(tmp_path)).num_classes == 2
    monkeypatch.setattr(folder, "plan", between)
    with pytest.raises(GanvasError, match=r"dataset.json was changed while it was read"):
        load_dataset(str(tmp_path))


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


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_pixels_of_all_pictures_have_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Twenty pictures of one colour, of 64 megapixels each, are 4 kB in a .zip and took 40 seconds; 100 kB took hours."""
    members = {f"{i}.png": png((100, 100), "L", 100) for i in range(3)}
    members["broken.png"] = png((100, 100), "L", 100)[:-30]
    where = tmp_path / "a.zip"
    if kind == "zip":
        pack(where, members)
    else:
        where = tmp_path / "a"
        where.mkdir()
        for name, content in members.items():
            (where / name).write_bytes(content)
    monkeypatch.setattr(folder, "MOST_UNFOLDED", 10_000)
    size_of, looked_up = folder.FolderItems.size_of, list[str]()

    def noting(self: folder.FolderItems, name: str) -> int:
        looked_up.append(name)
        return size_of(self, name)

    monkeypatch.setattr(folder.FolderItems, "size_of", noting)
    assert len(load_dataset(str(where))) == 3, "few pixels for each byte"
    # Once for the block that it is read in, once for all: it was once more for each picture, hours of a hundred thousand.
    assert len(looked_up) == (0 if kind == "zip" else 2 * 4)
    monkeypatch.setattr(folder, "EACH_BYTE", 10)
    with pytest.raises(GanvasError, match=r"refused as a decompression bomb: its [0-9,]+ bytes unfold to"):
        load_dataset(str(where))


@pytest.mark.parametrize(
    ("content", "what"), [(b"P5 100 100 9\n" + bytes(10_000), "MOST_PYTHON"), (b"", "MOST_READ")]
)
def test_what_python_does_for_all_pictures_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, what: str
) -> None:
    """GIFs with half a million comments each, 1.2 kB in a .zip, took a second each; PGMs of 16 kB half a minute."""
    if not content:
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "GIF")
        at = file.getvalue().find(b",", 13)
        content = file.getvalue()[:at] + b"!\xfe" + b"\1a" * 5000 + b"\0" + file.getvalue()[at:]
    members = {f"{i}.{'pgm' if content[:1] == b'P' else 'gif'}": content for i in range(3)}
    archive = pack(tmp_path / "a.zip", members)
    assert len(load_dataset(str(archive))) == 3
    monkeypatch.setattr(folder, what, 25_000)
    with pytest.raises(GanvasError, match=r"refused as a decompression bomb: its [0-9,]+ bytes unfold to"):
        load_dataset(str(archive))
    (tmp_path / "a").mkdir()
    for name, each in members.items():
        (tmp_path / "a" / name).write_bytes(each)
    assert len(load_dataset(str(tmp_path / "a"))) == 3, "few for each byte"


def test_a_picture_of_a_zip_is_held_once_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice while it was unfolded, beside the one before it: two of 512 MiB took 2.9 GB."""
    file = io.BytesIO()
    Image.new("RGB", (1500, 1500)).save(file, "BMP")
    archive = pack(tmp_path / "a.zip", {f"{i}.bmp": file.getvalue() for i in range(3)})
    load_dataset(DataConfig(str(archive), resolution=8))
    monkeypatch.setattr(folder, "PIECE", 2**16)
    tracemalloc.start()
    load_dataset(DataConfig(str(archive), resolution=8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * len(file.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_zipfile_unfolds_at_once_are_refused(tmp_path: Path, method: int) -> None:
    """12 kB that said 1,000 bytes were unfolded to 7 GB and more before they were cut to these."""
    for name in ("a.zip", "a.npz"):
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            archive.writestr("a.png" if name == "a.zip" else "images.npy", png())
        with pytest.raises(GanvasError, match=rf"packed by method {method}, .* expected 8 \(deflate"):
            load_dataset(tmp_path / name)


def test_image_bomb_counts_as_broken(image_folder: Path) -> None:
    """A PNG whose header promises 100 megapixels is never unfolded."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    (image_folder / "cats" / "bomb.png").write_bytes(buffer.getvalue())
    notes = load_dataset(str(image_folder)).notes
    assert any(
        "Skipped 1 of 13" in note and "bomb.png (10000 x 10000 px is more than 64 mega" in note
        for note in notes
    )


def written(root: Path, *names: str) -> Path:
    """Pictures, each of another brightness, and empty files of other kinds."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(colour=i % 256) if name.endswith(".png") else b"")
    return root


def brightness(data: Dataset) -> list[int]:
    return [int(image.max()) for image in data.take(torch.arange(len(data)))[0]]


@pytest.mark.parametrize(
    ("suffix", "kind", "options"),
    [
        ("bmp", "BMP", {}),
        ("tif", "TIFF", {}),
        ("TIFF", "TIFF", {"compression": "tiff_lzw"}),
        ("gif", "GIF", {}),
        ("ppm", "PPM", {}),
        ("jfif", "JPEG", {"quality": 95}),
        ("webp", "WEBP", {"lossless": True}),
    ],
)
def test_the_formats_that_people_have(
    tmp_path: Path, suffix: str, kind: str, options: dict[str, object]
) -> None:
    """A grey ramp in RGB, which every one of them holds exactly (a JPEG to 2 levels)."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}", kind, **options)  # type: ignore[arg-type]
    pixels = load_dataset(str(tmp_path)).take(torch.tensor([0]))[0][0].int()
    wanted = torch.from_numpy(ramp).permute(2, 0, 1).int()
    assert (pixels - wanted).abs().max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["gif", "tiff", "webp", "png"])
def test_the_first_of_several_pictures_in_a_file(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), (40 + 60 * i,) * 3) for i in range(3)]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], lossless=True)
    Image.new("RGB", (16, 16), (7, 7, 7)).save(tmp_path / f"b.{kind}", lossless=True)
    data = load_dataset(str(tmp_path))
    assert brightness(data) == [40, 7]
    assert data.notes == ("1 file with several pictures (frames or pages), of which the first is taken.",)


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    names = (
        "a.png",
        "b.png",
        "c.heic",
        "d.heic",
        "e.txt",
        "Makefile",
        ".DS_Store",
        ".ipynb_checkpoints/a.png",
        "__MACOSX/b.png",
    )
    folder = written(tmp_path / "mine", *names)
    (folder / "gone.png").symlink_to("nowhere.png")
    data = load_dataset(str(folder))
    assert brightness(data) == [0, 1]
    assert data.labels is None, "a hidden folder is no class"
    assert data.notes == (
        "Left out: 3 hidden (.DS_Store, .ipynb_checkpoints and 1 more); 2 .heic (c.heic, d.heic); 1 .txt (e.txt); "
        "1 link to nothing (gone.png); 1 without a suffix (Makefile). Save .heic as PNG or JPEG to have them read.",
    )


def test_a_zip_from_a_mac_with_a_zip_in_it(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner.zip", {"c.png": png()}).read_bytes()
    members = {
        "cats/a.png": png(colour=1),
        "dogs/b.png": png(colour=2),
        "__MACOSX/cats/._a.png": b"x",
        "more.zip": inner,
    }
    data = load_dataset(str(pack(tmp_path / "a.zip", members)))
    assert data.class_names == ("cats", "dogs")
    assert data.notes == ("Left out: 1 .zip (more.zip); 1 hidden (__MACOSX).",)


def test_names_of_classes_and_notes_are_one_line(tmp_path: Path) -> None:
    """Classes and notes are printed as they are."""
    for name in ("a\x1b[2J", "b\nerror: pay"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "1.png")
        (tmp_path / name / "\x1b[31m.txt").touch()
    found = load_dataset(DataConfig(str(tmp_path)))
    assert found.class_names == ("a\\x1b[2J", "b\\nerror: pay")
    assert found.notes
    assert all(each.isprintable() for each in found.notes)


def test_a_link_to_itself_is_left_out(tmp_path: Path) -> None:
    """It ended in a traceback."""
    for i in range(3):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    (tmp_path / "self.png").symlink_to("self.png")
    found = load_dataset(DataConfig(str(tmp_path)))
    assert len(found) == 3
    assert any("cannot be opened" in note and "self.png" in note for note in found.notes)


def test_a_folder_that_may_not_be_entered_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is a run was asked before: a traceback."""
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "1.png")
    is_file, scandir = Path.is_file, os.scandir

    def refused(path: Path) -> None:
        if path.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_file", lambda path: refused(path.parent) or is_file(path))
    monkeypatch.setattr(os, "scandir", lambda path: refused(Path(path)) or scandir(path))
    found = load_dataset(str(tmp_path))
    assert len(found) == 1
    assert "Left out: 1 folder that cannot be opened: Permission denied (closed)." in found.notes


def test_links_are_followed_once(tmp_path: Path) -> None:
    away = written(tmp_path / "away", "1.png", "2.png")
    folder = written(tmp_path / "mine", "cats/0.png")
    (folder / "dogs").symlink_to(away)
    (folder / "again").symlink_to(away)
    (folder / "cats" / "3.png").symlink_to(away / "2.png")
    (folder / "cats" / "4.png").symlink_to("0.png")
    (folder / "cats" / "words.txt").symlink_to(away / "2.png")
    data = load_dataset(str(folder))
    assert data.class_names == ("again", "cats")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1, 1, 1]
    left_out, elsewhere = data.notes
    assert left_out == "Left out: 1 .txt (cats/words.txt); 1 link to a folder that is read already (dogs)."
    assert elsewhere.startswith("Read through 2 links (again, cats/3.png) to outside of the folder")


@pytest.mark.parametrize("target", ["cats", ".", "..", "/"])
def test_loops_are_refused(tmp_path: Path, target: str) -> None:
    """A link to its own folder, to the root, to what the root lies in, to everything."""
    folder = written(tmp_path / "mine", "cats/0.png")
    (folder / "cats" / "loop").symlink_to((folder / target).resolve())
    with pytest.raises(GanvasError, match=r"a loop. Remove the link"):
        load_dataset(str(folder))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("names", "classes", "labels", "note"),
    [
        (["s/cats/0.png", "s/dogs/1.png"], ("cats", "dogs"), [0, 1], "Labels are the 2 folders below s"),
        (["r/s/cats/0.png", "r/s/dogs/b/1.png"], ("cats", "dogs"), [0, 1], "below r/s: cats, dogs."),
        (
            ["train/cats/0.png", "train/dogs/1.png", "val/cats/2.png"],
            ("cats", "dogs"),
            [0, 1, 0],
            "parts of one set; its",
        ),
        (["train/0.png", "test/1.png"], (), None, "parts of one set and not"),
        (["mine/0.png", "mine/1.png"], (), None, None),
        (["cats/0.png", "dogs/1.png", "x.png"], (), None, "1 of 3 pictures lies beside the 2 sub-folders"),
    ],
)
def test_labels_are_found(
    tmp_path: Path,
    names: list[str],
    classes: tuple[str, ...],
    labels: list[int] | None,
    note: str | None,
    zipped: bool,
) -> None:
    folder = written(tmp_path / "mine", *names)
    source = shutil.make_archive(str(tmp_path / "pictures"), "zip", folder) if zipped else str(folder)
    data = load_dataset(source)
    assert data.class_names == classes
    assert (None if data.labels is None else data.labels.tolist()) == labels
    assert [note is not None and note in said for said in data.notes] == ([True] if note else [])


def test_a_stray_picture_does_not_cost_the_labels(image_folder: Path) -> None:
    (image_folder / "cover.png").write_bytes(png(colour=9))
    data = load_dataset(str(image_folder))
    assert data.class_names == ("cats", "dogs")
    assert len(data) == 12
    assert data.notes == ("Left out 1 of 13 pictures, which lies beside the class folders: cover.png.",)


def test_numbered_classes_keep_their_natural_order(tmp_path: Path) -> None:
    plain = load_dataset(str(written(tmp_path / "a", *[f"{i:02}/{i}.png" for i in range(12)])))
    data = load_dataset(str(written(tmp_path / "b", *[f"{i}/{i}.png" for i in range(12)])))
    assert data.class_names == tuple(map(str, range(12)))
    assert data.labels is not None
    assert data.labels.tolist() == brightness(data)
    assert plain.class_names[:3] == ("00", "01", "02")
    numbers = [natural(name) for name in ("2", "10", "a", "a2", "a10", "a02")]
    assert numbers[:5] == sorted(numbers[:5])
    assert numbers[5] != numbers[3]


def stylegan(root: Path, labels: object) -> str:
    """A data set as StyleGAN's dataset_tool writes it: compartments that are no classes."""
    written(root, "00000/img00000000.png", "00000/img00000001.png", "00001/img00000002.png")
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    return str(root)


@pytest.mark.parametrize("zipped", [False, True])
def test_labels_from_stylegans_document(tmp_path: Path, zipped: bool) -> None:
    numbers = {"00000/img00000000.png": 6, "00001/img00000002.png": 2, "00000/img00000001.png": 2}
    source = stylegan(tmp_path / "a", [*map(list, numbers.items())])
    if zipped:
        source = shutil.make_archive(str(tmp_path / "b"), "zip", source)
    data = load_dataset(source)
    assert data.class_names == ("2", "6")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 0]
    other = stylegan(tmp_path / "a", [[name, 8 - label] for name, label in numbers.items()])
    assert load_dataset(other).fingerprint != data.fingerprint, "exchanged labels are other data"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["00000/img00000000.png", 0]], "no label for 2 of 3 pictures"),
        ([["00000/img00000000.png", [0.5, 1]]], r"label \[0.5, 1\]; expected whole numbers"),
        ([["00000/img00000000.png", -1]], "expected whole numbers from 0"),
        ([["00000/img00000000.png", True]], "expected whole numbers from 0"),
        (
            [["00000/img00000000.png", 0], ["00000/img00000001.png", 1], ["00001/img00000002.png", None]],
            "label None; expected whole numbers",
        ),
        (
            [["00000/img00000000.png", 0], ["00000/img00000001.png", 1], ["00000\\img00000000.png", 2]],
            "'00000/img00000000.png' two labels; expected one",
        ),
        (5, "must be a list"),
        ([5], "must be a list"),
    ],
)
def test_documents_that_do_not_fit(tmp_path: Path, labels: object, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        load_dataset(stylegan(tmp_path, labels))
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(GanvasError, match=r"dataset\.json"):
        load_dataset(str(tmp_path))


def test_a_document_without_labels(tmp_path: Path) -> None:
    data = load_dataset(stylegan(tmp_path, None))
    assert data.labels is None
    assert "has no labels" in data.notes[0]


def test_grey_below_zero_is_told_of(tmp_path: Path) -> None:
    """A scan in Hounsfield units, or floats from -1 to 1, lost its dark half without a word."""
    Image.fromarray(np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)).save(tmp_path / "a.tiff")
    assert (
        "1 grey image with values below 0, all of which become black" in load_dataset(str(tmp_path)).notes[1]
    )


@pytest.mark.parametrize(("bits", "kind"), [(12, "png"), (10, "tiff"), (16, "png")])
def test_deep_grey_is_scaled_by_what_is_there(tmp_path: Path, bits: int, kind: str) -> None:
    """A ramp over all values of a camera's bits becomes the 8-bit ramp: value / (2^bits - 1) * 255."""
    values = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / f"a.{kind}")
    data = load_dataset(str(tmp_path))
    assert data.shape == (1, 16, 16)
    pixels = data.take(torch.tensor([0]))[0].flatten().int()
    assert (pixels - torch.arange(256)).abs().max() == 0
    assert data.notes == (
        f"1 grey image of more than 8 bits, with values up to {2**bits - 1:,}: 0 to {2**bits - 1:,} becomes black to white.",
    )


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two folders of 12-bit pictures of one kind, of which one has a single brighter pixel."""
    folder, rng = tmp_path_factory.mktemp("deep"), np.random.default_rng(0)
    for name, hot in (("hot", 4200), ("usual", 2500)):
        (folder / name).mkdir()
        for i in range(40):
            values = rng.integers(0, 2500, (8, 8)).astype(np.uint16)
            values[0, 0] = hot if i == 7 else values[0, 0]
            Image.fromarray(values).save(folder / name / f"{i:02}.png")
    return str(folder / "hot"), str(folder / "usual")


def test_what_is_compared_has_one_white(deep: tuple[str, str]) -> None:
    """One pixel in 240 pictures made all the others of a set half as bright as those that they were held against."""
    hot, usual = deep
    real = load_dataset(hot)
    assert real.white == 8191
    assert load_dataset(usual).white == 4095
    brightness = float(real.items.float().mean())
    for found in (
        given_as(usual, load_dataset(usual), real),
        load_dataset(DataConfig(hot, also=(usual,))).subset(torch.arange(40, 80)),
        load_dataset(config_for(_trained_on(hot), usual), (1, 8, 8)),
    ):
        assert found.white == 8191
        assert float(found.take(torch.arange(40))[0].float().mean()) == pytest.approx(brightness, rel=0.05)
    (note,) = load_dataset(DataConfig(hot, white=4095.0)).notes
    assert note.endswith("0 to 4,095 becomes black to white; what is brighter is white, too.")
    with pytest.raises(GanvasError, match=r"data\.white is 0; it must be above 0"):
        load_dataset(DataConfig(hot, white=0.0))


@pytest.fixture(scope="module")
def dim(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same dim pictures of 8 bits, and of 16."""
    folder, rng = tmp_path_factory.mktemp("dim"), np.random.default_rng(0)
    for name in ("bytes", "deep"):
        (folder / name).mkdir()
    for i in range(40):
        values = rng.integers(0, 116, (8, 8)).astype(np.uint8)
        Image.fromarray(values).save(folder / "bytes" / f"{i:02}.png")
        Image.fromarray(values.astype(np.uint16) * 257).save(folder / "deep" / f"{i:02}.png")
    return str(folder / "bytes"), str(folder / "deep")


def test_deep_pictures_are_compared_with_bytes_by_the_white_of_16_bits(
    dim: tuple[str, str], tmp_path: Path
) -> None:
    """By their brightest pixel they became twice as bright: verbatim copies were found to be none."""
    plain, deep = dim
    real = load_dataset(plain)
    pixels = real.take(torch.arange(40))[0]
    assert load_dataset(deep).white == 32767
    mixed = shutil.copytree(plain, tmp_path / "mixed")
    for path in Path(deep).iterdir():
        shutil.copy(path, mixed / f"deep-{path.name}")
    both = load_dataset(mixed)
    for found in (
        given_as(deep, load_dataset(deep), real),
        load_beside(DataConfig(deep), None, (1, 8, 8)),
        _real(None, plain, deep, "cpu")[1],
        load_dataset(DataConfig(plain, also=(deep,))).subset(torch.arange(40, 80)),
        both.subset(torch.arange(40, 80)),
    ):
        assert found.white == 65535
        assert torch.equal(found.take(torch.arange(40))[0], pixels)
    for size in (Size(), Size(resolution=8)):
        assert _open_real(deep, _trained_on(plain), size).white == 65535
    said = DataConfig(deep, white=30000.0)
    assert load_beside(said, None).white == 30000, "what somebody says is that"
    assert load_dataset(replace(said, also=(plain,))).white == 30000


def test_shares_may_overshoot(tmp_path: Path) -> None:
    """One pixel of 1.004, as resampling leaves them, made all of a folder black."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    ramp[-1, -1] = 1.004
    Image.fromarray(ramp).save(tmp_path / "a.tiff")
    pixels = load_dataset(str(tmp_path)).take(torch.tensor([0]))[0].flatten().int()
    assert (pixels - torch.arange(256)).abs().max() == 0


def _trained_on(source: str) -> ganvas.Model:
    """A model that says so."""
    model = ganvas.load("fashion")
    config, data = plan(source, network="dcgan", batch=8)
    assert config.data.white == data.white
    told = DataReference(config.data, data.name, data.fingerprint)
    return replace(model, info=replace(model.info, shape=(1, 8, 8), data=told))


def test_white_of_a_private_training_is_told_not_looked_for(deep: tuple[str, str]) -> None:
    wanted = TrainOptions(private=True, kimg=1.0, batch=8)
    with pytest.raises(
        GanvasError, match=r"from its brightest picture without noise\..*--set data\.white=8191"
    ):
        plan(deep[0], wanted)
    with pytest.raises(GanvasError, match=r"data\.white is for grey pictures of more than 8 bits"):
        plan("digits", settings={"data.white": 255})


def test_fractions_are_scaled_too(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)).save(tmp_path / "a.tiff")
    pixels = load_dataset(str(tmp_path)).take(torch.tensor([0]))[0].flatten().int()
    assert torch.equal(pixels, torch.arange(256, dtype=torch.int32))
    Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(tmp_path / "b.tiff")
    assert "holds NaN" in load_dataset(str(tmp_path)).notes[0]


def test_dark_colours_of_16_bits_are_said(tmp_path: Path) -> None:
    """Pillow reads the upper byte of 16-bit colour alone; 12-bit values leave 15 of it."""
    rows = b"".join(b"\0" + b"\x0f\xff" * 48 for _ in range(16))
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    data = load_dataset(str(tmp_path))
    assert brightness(data) == [15]
    assert "1 dark colour image of 16 bits" in data.notes[0]


def test_opaque_alpha_is_not_called_transparent(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (9, 9, 9, 255)).save(tmp_path / "a.png")
    data = load_dataset(str(tmp_path))
    assert brightness(data) == [9]
    assert data.notes == ()


@pytest.mark.parametrize(("mode", "key"), [("L", 9), ("RGB", (9, 9, 9)), ("I;16", 999), ("P", 0)])
def test_a_colour_that_means_transparent_becomes_white(tmp_path: Path, mode: str, key: object) -> None:
    picture = Image.new(mode, (16, 16), key)  # type: ignore[arg-type]
    picture.putpixel((0, 0), {"RGB": (50, 50, 50), "I;16": 1023, "P": 3}.get(mode, 50))  # type: ignore[arg-type]
    picture.save(tmp_path / "a.png", transparency=key)
    data = load_dataset(str(tmp_path))
    pixels = data.take(torch.tensor([0]))[0][0]
    assert pixels[:, 5, 5].tolist() == [255] * len(pixels)
    assert any(
        note == "1 image with transparent parts, which become white (--alpha keeps them)."
        for note in data.notes
    )


def test_broken_pictures_are_named_in_words(image_folder: Path) -> None:
    (image_folder / "cats" / "x.png").write_bytes(b"no image")
    note = next(note for note in load_dataset(str(image_folder)).notes if "broken" in note)
    assert (
        note
        == "Skipped 1 of 13 images, broken: cats/x.png (no picture: expected PNG, JPEG, WebP, BMP, GIF, TIFF and PPM)."
    )
    (image_folder / "cats" / "x.png").write_bytes(b"")
    assert any("cats/x.png (an empty file)" in note for note in load_dataset(str(image_folder)).notes)


def test_one_picture_is_a_data_set(tmp_path: Path) -> None:
    written(tmp_path, "a.png", "b.png", "c.png")
    data = load_dataset(str(tmp_path / "c.png"))
    assert (data.name, len(data), brightness(data)) == ("c", 1, [2])


def test_everything_is_brought_to_a_models_shape(tmp_path: Path) -> None:
    """Wide, tall and grey pictures for a model of 20 x 28 px: the middle is kept, nothing is stretched."""
    wide = Image.new("RGB", (84, 28))
    wide.paste("lime", (28, 0, 56, 28))  # the middle third
    wide.save(tmp_path / "a.png")
    Image.new("L", (20, 56), 90).save(tmp_path / "b.jpg")
    data = load_dataset(str(tmp_path), (3, 28, 20))
    assert data.shape == (3, 28, 20)
    first, second = data.take(torch.arange(2))[0]
    assert first[1].min() == 255, "a crop of 20 x 28 px from the middle third"
    assert second.float().sub(90).abs().max() <= 1
    assert load_dataset(str(tmp_path), (1, 28, 20)).shape == (1, 28, 20)
    assert data.notes == (
        "2 of 2 images brought to 20 x 28 px, cropped to the middle.",
        "1 of 2 images made RGB.",
    )
    bars = load_dataset(DataConfig(str(tmp_path), resize="fit"), (3, 28, 20)).take(torch.tensor([0]))[0][0]
    assert bars[:, 0].max() == 0


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 in the name of a class and of pictures; in that of the whole it could not be kept in a config."""
    root = tmp_path / "set"
    for name in (b"a\xff", b"b"):
        folder = root / os.fsdecode(name)
        folder.mkdir(parents=True)
        (folder / os.fsdecode(b"1\xfe.png")).write_bytes(png())
    (root / os.fsdecode(b"b/x\xfd.png")).write_bytes(b"broken")
    data = load_dataset(str(root))
    text = json.dumps([data.name, data.class_names, data.notes], ensure_ascii=False)
    assert text.encode()  # can be written
    assert data.class_names == ("a\\udcff", "b")
    root.rename(tmp_path / os.fsdecode(b"se\xfft"))
    with pytest.raises(GanvasError, match=r"se\\udcfft': its name has bytes that are no UTF-8.*Rename it"):
        load_dataset(str(tmp_path / os.fsdecode(b"se\xfft")))


@pytest.mark.parametrize("source", ["x" * 5000, "~nouser/a", "a\0b", "/root\0", "x/" * 3000])
def test_paths_that_can_not_be_opened(source: str) -> None:
    with pytest.raises(GanvasError, match="No data at") as error:
        load_dataset(source)
    assert len(str(error.value)) < 500


def test_a_zip_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member stays below the ratio; together they are a bomb. Nothing is unpacked, and the limit can be raised."""
    noise = np.random.default_rng(0).integers(0, 2, (100, 100, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "BMP")
    archive = pack(tmp_path / "a.zip", {f"{i}.bmp": buffer.getvalue() for i in range(20)})
    monkeypatch.setenv("GANVAS_MAX_GB", "0.0005")
    with pytest.raises(GanvasError, match=r"more than the 0.0005 GB that may be added.*GANVAS_MAX_GB="):
        load_dataset(str(archive))
    monkeypatch.setenv("GANVAS_MAX_GB", "0.001")
    assert len(load_dataset(str(archive))) == 20


def test_a_member_that_lies_about_its_size_is_not_unfolded(tmp_path: Path) -> None:
    """The directory says 100 bytes; the member inflates to 300 MB."""
    archive = pack(tmp_path / "a.zip", {"a.png": png(), "bomb.png": b"\0" * 300_000_000})
    content = bytearray(archive.read_bytes())
    at = content.rfind(b"PK\1\2")
    content[at + 24 : at + 28] = (100).to_bytes(4, "little")
    archive.write_bytes(bytes(content))
    tracemalloc.start()
    data = load_dataset(str(archive))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert any("bomb.png" in note for note in data.notes)
    assert peak < 50_000_000


@pytest.mark.parametrize("size", [(1000, 10), (10, 1000), (64, 1), (3, 192)])
def test_a_strip_that_is_fitted_is_seen(tmp_path: Path, size: tuple[int, int]) -> None:
    """Of half a pixel and less it was a strip of no pixels, and the picture black."""
    (tmp_path / "strip.png").write_bytes(png(size, colour=200))
    data = load_dataset(DataConfig(str(tmp_path), resolution=32, resize="fit"))
    assert isinstance(data.items, torch.Tensor)
    assert (data.items == 200).sum() == 3 * 32


def test_large_pictures_are_decoded_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight of 64 megapixels side by side took 3.5 GB, and as much stayed with the threads that had decoded them."""
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(png(colour=i))
    now, most = [0], [0]

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def one(*given: Any) -> Any:
            now[0] += 1
            most[0] = max(most[0], now[0])
            time.sleep(0.01)
            now[0] -= 1
            return work(*given)

        return one

    monkeypatch.setattr(folder, "look", counted(folder.look))
    monkeypatch.setattr(folder, "decode", counted(folder.decode))
    monkeypatch.setattr(folder, "SOME", 1)  # that a thread takes in a row
    usual = load_dataset(str(tmp_path))
    monkeypatch.setattr(folder, "PIXELS", 2 * 16 * 16 - 1)
    monkeypatch.setattr(folder, "BYTES", 100)  # of files that are read side by side
    assert most[0] > 1
    most[0] = 0
    found = load_dataset(str(tmp_path))
    assert most == [1]
    assert found.fingerprint == usual.fingerprint
    assert isinstance(found.items, torch.Tensor)
    assert found.items[:, 0, 0, 0].tolist() == list(range(8))
    assert Image.core.get_block_size() > 2**25  # above what glibc ever keeps for a thread


def test_a_zip_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.zip", {f"{i}.txt": b"" for i in range(100)})
    monkeypatch.setenv("GANVAS_MAX_FILES", "20")
    with pytest.raises(GanvasError, match=r"more than the 20 files.*GANVAS_MAX_FILES="):
        load_dataset(str(archive))


@pytest.mark.parametrize("forged", ["counts", "zip64"])
def test_a_zip_has_the_directory_that_whoever_unpacks_it_finds(
    forged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found elsewhere it had no bytes, and no bound: counts that look like the mark of the record, a large record beside."""
    archive = pack(tmp_path / "a.zip", {f"{i}.txt": b"" for i in range(100)})
    content = archive.read_bytes()
    rows, end = content[:-22], content[-22:]
    if forged == "counts":
        end = end[:8] + end[:4] + end[12:]
    else:
        size, at = struct.unpack("<LL", end[12:20])
        large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 100, 100, size, at)
        end = large + struct.pack("<4sLQL", b"PK\6\7", 0, len(rows), 1) + end[:12] + b"\1\0\0\0" + end[16:]
    archive.write_bytes(rows + end)
    assert len(zipfile.ZipFile(archive).namelist()) == 100
    monkeypatch.setenv("GANVAS_MAX_FILES", "20")
    with pytest.raises(GanvasError, match=r"more than the 20 files.*GANVAS_MAX_FILES="):
        load_dataset(str(archive))


@pytest.mark.parametrize("value", ["many", "-1", "nan"])
def test_limits_that_are_no_numbers(image_folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ("GANVAS_MAX_MEGAPIXELS", "GANVAS_MAX_CLASSES", "GANVAS_RESIDENT_MB"):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(GanvasError, match=f"{name} is '{value}'"):
                load_dataset(str(image_folder))


@pytest.mark.parametrize(("value", "size"), [("0.5", 2**19), ("1.5", 3 * 2**19), ("1e305", 2**60)])
def test_memory_may_be_said_in_parts_of_a_megabyte(
    monkeypatch: pytest.MonkeyPatch, value: str, size: int
) -> None:
    """Of less than one there was none at all; a number without end was a traceback."""
    monkeypatch.setenv("GANVAS_RESIDENT_MB", value)
    assert memory_limit() == size


def test_damaged_zip(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"good.png": png()})
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(GanvasError, match=r"not a readable .zip"):
        load_dataset(str(archive))


def test_what_is_left_out_is_counted_in_the_singular_and_the_plural(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", "a.png", "b.png")
    (folder / "gone").symlink_to(folder / "nothing")
    (note,) = load_dataset(str(folder)).notes
    assert note == "Left out: 1 link to nothing (gone)."
    (folder / "lost").symlink_to(folder / "nothing")
    (note,) = load_dataset(str(folder)).notes
    assert note == "Left out: 2 links to nothing (gone, lost)."
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, of the name
        for name in ("a.png", "b.png", "b.png"):
            archive.write(folder / "a.png", name)
    (note,) = load_dataset(str(tmp_path / "twice.zip")).notes
    assert note == "Left out: 1 member named as another (b.png)."
