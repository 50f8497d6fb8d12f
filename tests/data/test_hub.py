"""`hub:` through a stand-in for the `datasets` package: same calls, no network."""

import io
import os
import sys
import types
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import folder, load_dataset
from ganvas.errors import GanvasError


class FakeImage:
    mode = None

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class FakeClassLabel:
    names: Sequence[str] = ("a", "b")


def content(picture: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


class Table:
    """Of a picture to each label, or what `odd` has in its row: a picture, or the bytes or row that the library would have."""

    _fingerprint = "f"
    data = types.SimpleNamespace(nbytes=10_000)

    def __init__(
        self, features: dict[str, object], labels: Sequence[int | None], odd: dict[int, Any]
    ) -> None:
        self.features, self.labels, self.odd = features, labels, odd

    def __len__(self) -> int:
        return len(self.labels)

    def select_columns(self, names: list[str]) -> "Table":
        return Table({name: self.features[name] for name in names}, self.labels, self.odd)

    def cast_column(self, name: str, kind: object) -> "Table":
        return Table({**self.features, name: kind}, self.labels, self.odd)

    def __getitem__(self, key: Any) -> Any:
        if key == "label":
            return self.labels
        kind = self.features["picture"]
        assert isinstance(kind, FakeImage)
        assert not kind.decode, "the library decodes it, by its own limits"
        found = self.odd.get(key, Image.new("L", (8, 8), 10 * key))
        if isinstance(found, Image.Image):
            found = content(found)
        row = {"picture": {"bytes": found, "path": "x.png"} if isinstance(found, bytes) else found}
        return row | {name: None for name in self.features if name != "picture"}


def install(
    monkeypatch: pytest.MonkeyPatch,
    features: dict[str, object],
    labels: Sequence[int | None] = (0, 1, 1, 0),
    odd: dict[int, Any] | None = None,
    cache: Path | None = None,
    files: dict[str, list[str]] | None = None,
    named: str = "org/name",
) -> None:
    fake = types.ModuleType("datasets")
    fake.Image, fake.ClassLabel = FakeImage, FakeClassLabel  # type: ignore[attr-defined]
    kept = dict.fromkeys(
        ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH"), cache or "none"
    )
    fake.config = types.SimpleNamespace(**kept)  # type: ignore[attr-defined]

    class Builder:
        config = types.SimpleNamespace(data_files=files)
        repo_id = "org/name"
        ready = False

        def __init__(self, name: str) -> None:
            if name != named:
                raise FileNotFoundError(f"{name} does not exist")

        def download_and_prepare(self) -> None:
            self.ready = True

        def as_dataset(self, split: str) -> Table:
            assert self.ready
            assert split == "train"
            return Table(features, labels, odd or {})

    fake.load_dataset_builder = Builder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)


def test_images_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"picture": FakeImage(), "label": FakeClassLabel()})
    data = load_dataset("hub:org/name")
    assert data.shape == (1, 8, 8)
    assert data.class_names == ("a", "b")
    images, labels = data.take(torch.tensor([3]))
    assert images.unique().item() == 30
    assert labels is not None
    assert labels.item() == 0


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"text": object()})
    with pytest.raises(GanvasError, match="no image column; its columns are text"):
        load_dataset("hub:org/name")
    with pytest.raises(GanvasError, match="Could not open hub:org/none"):
        load_dataset("hub:org/none")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(GanvasError, match=r"pip install 'datasets>=\d'"):
        load_dataset("hub:org/name")


@pytest.mark.parametrize(
    ("labels", "odd", "words"),
    [
        ((), {}, r"training part of hub:org/name is empty"),
        ((0, None, 1, 0), {}, r"without a label \(-1, or none\)"),
        ((0, -1, 1, 0), {}, r"without a label \(-1, or none\)"),
        ((0, 1, 2, 0), {}, r"damaged: it holds the label 2 of 2 classes"),
        ((0, 1, 1, 0), {0: None}, r"Row 0 of hub:org/name has no picture"),
        ((0, 1, 1, 0), {2: None}, r"Row 2 of hub:org/name has no picture"),
        ((0, 1, 1, 0), {2: {"bytes": None, "path": None}}, r"Row 2 of hub:org/name has no picture"),
        ((0, 1, 1, 0), {1: content(Image.new("L", (8, 8)))[:40]}, r"Picture 1 of .* cannot be read"),
        ((0, 1, 1, 0), {3: b"P5 20000 20000 255\n"}, r"Picture 3 of .* decompression bomb"),
        ((0, 1, 1, 0), {3: b"P5 9000 9000 255\n"}, r"Picture 3 of .* more than 64 megapixels"),
        (
            (0, 1, 1, 0),
            {3: b"P2 8000 8000 255\n" + b"1 " * 99},
            r"hub:org/name is refused as a decompression bomb",
        ),
        ((0, 1, 1, 0), {0: b"<svg/>"}, r"Picture 0 of .* expected PNG, JPEG"),
    ],
)
def test_what_is_missing_or_broken(
    monkeypatch: pytest.MonkeyPatch, labels: Sequence[int | None], odd: dict[int, Any], words: str
) -> None:
    install(monkeypatch, {"picture": FakeImage(), "label": FakeClassLabel()}, labels, odd)
    with pytest.raises(GanvasError, match=words):
        load_dataset("hub:org/name")


def test_all_pictures_say_whether_they_are_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {"picture": FakeImage(), "label": FakeClassLabel()}
    install(monkeypatch, features, odd={2: Image.new("RGB", (8, 8), (200, 10, 30))})
    data = load_dataset("hub:org/name")
    assert data.shape == (3, 8, 8)
    assert data.take(torch.tensor([2]))[0][0, :, 0, 0].tolist() == [200, 10, 30]
    grey = load_dataset("hub:org/name", (1, 8, 8))
    assert grey.fingerprint != data.fingerprint, "features of grey pictures are others"
    install(monkeypatch, features)
    assert load_dataset("hub:org/name").fingerprint != data.fingerprint


def test_deep_grey_pictures_are_scaled_by_the_brightest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = {i: Image.fromarray(np.full((8, 8), 1000 * i, np.uint16)) for i in range(4)}
    install(monkeypatch, {"picture": FakeImage(), "label": FakeClassLabel()}, odd=deep)
    data = load_dataset("hub:org/name")
    assert data.shape == (1, 8, 8)
    assert data.take(torch.arange(4))[0][:, 0, 0, 0].tolist() == [0, 62, 125, 187]


def test_a_row_opens_no_file_outside_of_the_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody's own photographs were trained on where a stranger's table named them, and addresses were fetched."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name, home in (("secret", tmp_path), ("fetched", cache)):
        Image.new("L", (8, 8), 200).save(home / f"{name}.png")
    features = {"picture": FakeImage()}
    fetched, private = (
        tmp_path / "hub" / f"datasets--{name}" / "x.png" for name in ("org--name", "me--private")
    )
    for file in (fetched, private):
        file.parent.mkdir(parents=True)
        Image.new("L", (8, 8), 200).save(file)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    refused = [
        private,
        tmp_path / "secret.png",
        cache / "../secret.png",
        "secret.png",
        "http://127.0.0.1:9/secret.png",
    ]
    for path in map(str, refused):
        install(monkeypatch, features, odd={1: {"bytes": None, "path": path}}, cache=cache)
        with pytest.raises(GanvasError, match=r"Row 1 of hub:org/name names a file outside of the data set"):
            load_dataset("hub:org/name")
    for file in (fetched, cache / "fetched.png"):
        install(monkeypatch, features, odd={1: {"bytes": None, "path": str(file)}}, cache=cache)
        assert load_dataset("hub:org/name").take(torch.tensor([1]))[0].unique().tolist() == [200]


@pytest.mark.parametrize(
    "place",
    ["/home/me/private.parquet", "http://127.0.0.1:9/x.parquet", "hf://datasets/me/private@main/x.csv"],
)
def test_tables_outside_of_the_data_set_are_not_opened(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Its README may say where they lie."""
    own = "hf://datasets/org/name@0123/data/x.parquet"
    install(monkeypatch, {"picture": FakeImage()}, files={"test": [own], "train": [own, place]})
    with pytest.raises(GanvasError, match="Could not open hub:org/name: it names a file outside of itself"):
        load_dataset("hub:org/name")
    install(monkeypatch, {"picture": FakeImage()}, files={"train": [own]})
    assert len(load_dataset("hub:org/name")) == 4


def test_pictures_in_a_zip_of_the_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As many are: their rows were refused, as if they named files outside of it."""
    for place in ("cache", "elsewhere"):
        (tmp_path / place).mkdir()
        with zipfile.ZipFile(tmp_path / place / "a.zip", "w") as archive:
            for i in range(4):
                archive.writestr(f"b/{i}.png", content(Image.new("L", (8, 8), 10 * i)))
    for place in ("cache", "elsewhere"):
        rows = {
            i: {"bytes": None, "path": f"zip://b/{i}.png::{tmp_path / place / 'a.zip'}"} for i in range(4)
        }
        install(monkeypatch, {"picture": FakeImage()}, odd=rows, cache=tmp_path / "cache")
        if place == "cache":
            assert load_dataset("hub:org/name").take(torch.arange(4))[0][:, 0, 0, 0].tolist() == [
                0,
                10,
                20,
                30,
            ]
        else:
            with pytest.raises(
                GanvasError, match="Row 0 of hub:org/name names a file outside of the data set"
            ):
                load_dataset("hub:org/name")
    with zipfile.ZipFile(tmp_path / "cache" / "a.zip", "a") as archive:
        archive.writestr("x.bin", content(Image.new("L", (8, 8))) + bytes(10**8), zipfile.ZIP_DEFLATED)
        archive.writestr("y.apng", content(Image.new("L", (8, 8))))
    rows = {1: {"bytes": None, "path": f"zip://y.apng::{tmp_path / 'cache' / 'a.zip'}"}}
    install(monkeypatch, {"picture": FakeImage()}, odd=rows, cache=tmp_path / "cache")
    assert len(load_dataset("hub:org/name")) == 4, "the library takes other suffixes, too"
    for member in ("c.png", "x.bin"):
        rows = {1: {"bytes": None, "path": f"zip://{member}::{tmp_path / 'cache' / 'a.zip'}"}}
        install(monkeypatch, {"picture": FakeImage()}, odd=rows, cache=tmp_path / "cache")
        with pytest.raises(
            GanvasError, match=r"Picture 1 of hub:org/name cannot be read: its archive has no such"
        ):
            load_dataset("hub:org/name")


@pytest.mark.parametrize(
    "files",
    [
        '"http://127.0.0.1:9/x.csv"', '"zip://*.png::/a/pipe"', "[a.csv, /etc/x.csv]", "{train: [../x.csv]}",
        "[{split: train, path: 'hf://datasets/me/private@main/x.csv'}]", "&a [*a, ../x]", "&a [b.csv, {c: *a}]",
        "[b.csv, {own}/c.csv, 'deep/*.png']",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
def test_what_a_folder_names_elsewhere_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: str, name: str
) -> None:
    """The library had asked there, ten times, or waited at a pipe, before it was refused."""
    said = f"configs:\n- config_name: default\n  data_files: {files.replace('{own}', str(tmp_path))}\n"
    (tmp_path / name).write_text(f"---\n{said}---\n# A card\n" if name == "README.md" else said)
    install(monkeypatch, {"picture": FakeImage()}, named=str(tmp_path))
    if "b.csv" in files and "*a" not in files:
        assert len(load_dataset(f"hub:{tmp_path}")) == 4
        return
    monkeypatch.setattr(sys.modules["datasets"], "load_dataset_builder", None)
    what = "names more than 10,000 files" if "*a" in files else "it names a file outside of itself"
    with pytest.raises(GanvasError, match=what):
        load_dataset(f"hub:{tmp_path}")


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
def test_a_description_that_is_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, name: str
) -> None:
    """Of one of the two the library waits at a pipe without end, or reads a device into memory; the other it passes over."""
    path = tmp_path / name
    os.mkfifo(path) if what == "pipe" else path.symlink_to("/dev/zero")
    install(monkeypatch, {"picture": FakeImage()}, named=str(tmp_path))
    if name == "README.md":
        assert len(load_dataset(f"hub:{tmp_path}")) == 4
        return
    with pytest.raises(GanvasError, match="is no file; remove it"):
        load_dataset(f"hub:{tmp_path}")


def test_a_place_of_many_folders_is_not_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each takes a step of the system, and its name three letters more: 16 kB took 17 seconds, 230 kB would have taken hours."""
    place = "a/" * 3000 + "x"
    said = f'configs:\n- config_name: default\n  data_files: [&a "{place}"' + ", *a" * 3000 + "]\n"
    (tmp_path / "README.md").write_text(f"---\n{said}---\n")
    install(monkeypatch, {"picture": FakeImage()}, named=str(tmp_path))
    with pytest.raises(GanvasError, match="names a file by more than 4,096 letters"):
        load_dataset(f"hub:{tmp_path}")


def test_what_names_itself_over_and_over_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lists of lists of lists, by their names: 300 bytes took hours to walk through."""
    lists = ["a0: &a0 [" + ", ".join(["x.csv"] * 20) + "]"]
    lists += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 20) + "]" for i in range(1, 9)]
    said = "\n".join([*lists, "configs:", "- config_name: default", "  data_files: *a8", ""])
    (tmp_path / "README.md").write_text(f"---\n{said}---\n")
    install(monkeypatch, {"picture": FakeImage()}, named=str(tmp_path))
    with pytest.raises(GanvasError, match=r"its README\.md names more than 10,000 files"):
        load_dataset(f"hub:{tmp_path}")


def test_pictures_in_files_of_their_own_count_by_these(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The usual form: its table holds names alone, by whose bytes 4,100 photographs of 1,024 px were a decompression bomb."""
    rows = {}
    for i in range(4):
        Image.new("L", (8, 8), 10 * i).save(tmp_path / f"{i}.png")
        rows[i] = {"bytes": None, "path": str(tmp_path / f"{i}.png")}
    monkeypatch.setattr(Table, "data", types.SimpleNamespace(nbytes=1))
    monkeypatch.setattr(folder, "MOST_UNFOLDED", 100)
    install(monkeypatch, {"picture": FakeImage()}, odd=rows, cache=tmp_path)
    assert len(load_dataset("hub:org/name")) == 4
    monkeypatch.setattr(folder, "EACH_BYTE", 0.1)
    with pytest.raises(GanvasError, match="refused as a decompression bomb"):
        load_dataset("hub:org/name")


@pytest.mark.parametrize(
    "place", ["zip://*.png::{}/photos.zip", "https://host/x.parquet", "link.parquet", "a.parquet"]
)
def test_a_folder_names_its_own_files_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """Where the current folder lies in it an address was taken for a path in it: photographs in a .zip elsewhere were trained on.
    So were those that a link leads to, without the line that a folder of pictures gets."""
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "photos.parquet").touch()
    (tmp_path / "set" / "link.parquet").symlink_to(tmp_path / "photos.parquet")
    monkeypatch.chdir(tmp_path / "set" / "deep")
    named = place.format(tmp_path) if "://" in place else str(tmp_path / "set" / place)
    install(monkeypatch, {"picture": FakeImage()}, files={"train": [named]}, named=str(tmp_path / "set"))
    if place == "a.parquet":
        assert len(load_dataset(f"hub:{tmp_path / 'set'}")) == 4
        return
    with pytest.raises(GanvasError, match="it names a file outside of itself"):
        load_dataset(f"hub:{tmp_path / 'set'}")


def test_classes_have_the_limits_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = FakeClassLabel()
    install(monkeypatch, {"picture": FakeImage(), "label": kind})
    kind.names = ("\x1b[31mred\n", "b")
    assert load_dataset("hub:org/name").class_names == (r"\x1b[31mred\n", "b")
    kind.names = [str(i) for i in range(40_000)]
    with pytest.raises(GanvasError, match="more than 32,768 classes"):
        load_dataset("hub:org/name")
