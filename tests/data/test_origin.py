"""What a file from outside may have opened: the sets that ganvas knows and that are here, and nothing else."""

import shutil
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cache import cache_folder
from ganvas.config import DataConfig
from ganvas.data import Dataset, arrays, fitted, idx, limits, load_dataset, origin
from ganvas.data.joined import in_memory
from ganvas.errors import GanvasError
from ganvas.latent.attributes import open_attribute
from ganvas.model_data import class_names, data_config_of, load_data_of, real_images_of
from ganvas.training import Result
from ganvas.types import Shape
from ganvas.web.opening import open_renderer
from tests.test_model_file import rewrite


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data set is installed, and whoever asks the network for one fails the test."""

    def asked(url: str, *rest: object, **more: object) -> object:
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr(idx, "SYSTEM_FOLDERS", {})
    monkeypatch.setattr(urllib.request, "urlopen", asked)


@pytest.mark.usefixtures("bare_machine")
def test_the_packaged_model_knows_its_classes_images_and_ratio_by_itself() -> None:
    model = ganvas.load("fashion", device="cpu")
    assert class_names(model) == idx.CLASSES["fashion-mnist"]
    assert model.info.class_names == class_names(model), "in its own header"
    score = open_attribute("class:Sandal", model)(model.sample(4))
    assert torch.isfinite(score).all()
    found = real_images_of(model, 5000)
    assert found[0] is not None
    assert found[0].shape == (1000, 1, 28, 28)
    assert "come along" in found[1]
    renderer = open_renderer("fashion", device="cpu")
    assert renderer.ratio is not None
    assert renderer.real is not None
    assert len(renderer.real.images) == 1000
    assert model.info.data is not None
    assert not origin.at_hand(model.info.data.config)


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("command", [
    ["dissect", "fashion", "--concept", "class:Sandal", "--out", "{out}/a.png"],
    ["edit", "fashion", "--arithmetic", "Sandal - Sneaker + 9", "--out", "{out}/a.png"],
    ["map", "fashion", "--n", "300", "--out", "{out}/a.png"],
], ids=lambda words: words[0])  # fmt: skip
def test_commands_on_the_packaged_model_need_no_data_set(tmp_path: Path, command: list[str]) -> None:
    from ganvas.cli import main

    assert main([word.format(out=tmp_path) for word in command]) == 0


def test_every_model_knows_its_class_names(trained: Result) -> None:
    model = ganvas.load(trained.run.path, device="cpu")
    assert model.generator.num_classes == 0
    assert class_names(model) == tuple("0123456789")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Sixty grey 8 px pictures that are nobody's business, and the number of times that they were opened is."""
    folder = tmp_path / "private"
    folder.mkdir()
    np.save(folder / "photographs.npy", np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8))
    return folder / "photographs.npy"


def test_a_model_from_outside_chooses_no_path(
    trained: Result, tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header names private pictures, in the source, beside it and as the name: none is opened."""
    opened: list[object] = []
    real = arrays.load

    def noted(path: Path, config: DataConfig, shape: Shape | None) -> Dataset:
        opened.append(path)
        return real(path, config, shape)

    monkeypatch.setattr(arrays, "load", noted)
    good = trained.run.snapshots[-1] / "generator.safetensors"
    named = str(photographs)
    for change in (
        {"config.data.source": named},
        {"config.data.also": [named]},
        {"config.data.source": named, "data.mark": "0" * 64},
        {"config.data.source": named, "data.mark": "\u00e9"},
        {"config.data.source": named, "data.mark": None},
    ):
        model = ganvas.load(rewrite(good, tmp_path / "stranger.safetensors", change), device="cpu")
        with pytest.raises(GanvasError, match=r"may not choose what is opened.*--data"):
            load_data_of(model)
        with pytest.raises(GanvasError, match=r"may not choose.*--reference"):
            ganvas.evaluate(model, n=100)
        assert real_images_of(model, 10)[0] is None
        assert open_renderer(model.path or "", device="cpu").real is None
    model = ganvas.load(rewrite(good, tmp_path / "stranger.safetensors", {"data.name": named}), device="cpu")
    assert class_names(model) == tuple("0123456789")
    assert not opened
    assert real_images_of(model, 10, data=named)[0] is not None, "named by the person it is"
    assert len(opened) == 1


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("source", ["mnist", "fashion-mnist", "hub:org/name"])
def test_a_model_from_outside_starts_no_download(trained: Result, tmp_path: Path, source: str) -> None:
    good = trained.run.snapshots[-1] / "generator.safetensors"
    path = rewrite(
        good, tmp_path / "stranger.safetensors", {"config.data.source": source, "data.name": source}
    )
    model = ganvas.load(path, device="cpu")
    class_names(model)
    with pytest.raises(GanvasError, match="may not choose"):
        load_data_of(model)
    with pytest.raises(GanvasError, match="may not choose"):
        ganvas.evaluate(model, n=100)


def test_a_known_set_at_hand_is_opened_for_anybody(trained: Result, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(trained.run.snapshots[-1] / "generator.safetensors", alone)
    data, config = load_data_of(ganvas.load(alone, device="cpu"))
    assert data.name == "digits"
    assert config.source == "digits"


def test_what_this_user_trained_on_is_opened_and_nobody_elses(
    tiny_train: Callable[..., Result], photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_train(str(photographs), kimg=0.064).run
    model = ganvas.load(run.path, device="cpu")
    assert model.info.data is not None
    assert load_data_of(model)[0].fingerprint == model.info.data.fingerprint
    assert load_data_of(model, download=False)[1] == model.info.data.config
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "another user"))
    with pytest.raises(GanvasError, match=f"trained on {str(photographs)!r}"):
        load_data_of(model)


def test_a_mark_is_of_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = DataConfig("pictures", also=("digits",))
    made = origin.mark(config)
    assert len(made) == 64
    assert origin.is_marked(config, made)
    assert origin.is_marked(replace(config, source=str(tmp_path / "pictures"), mirror=True), made)
    for other in (
        DataConfig("pictures"),
        DataConfig("digits", also=("pictures",)),
        replace(config, source="../pictures"),
    ):
        assert not origin.is_marked(other, made)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not origin.is_marked(config, made), "the same words mean another folder here"
    key = cache_folder() / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_size == 32
    monkeypatch.chdir(tmp_path)
    assert origin.is_marked(config, made)
    monkeypatch.setattr("os.getuid", lambda: key.stat().st_uid + 1)
    assert not origin.is_marked(config, made), "whoever put the key there can make every mark"
    assert origin.mark(config) == ""


def test_without_a_place_for_the_key_nothing_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file" / "below"))
    assert origin.mark(DataConfig("digits")) == ""
    assert not origin.is_marked(DataConfig("digits"), "")


def test_a_known_set_is_not_blown_up_for_a_stranger() -> None:
    assert origin.at_hand(DataConfig("digits", resolution=128))
    assert not origin.at_hand(DataConfig("digits", resolution=129))
    assert not origin.at_hand(DataConfig("digits", also=("digits",) * 100))
    assert not origin.at_hand(DataConfig("digits", also=("shapes", "shapes")))
    assert origin.at_hand(DataConfig("digits", resolution=128, height=128))
    assert not origin.at_hand(DataConfig("digits", resolution=128, height=10**9, resize="crop"))
    assert origin.at_hand(DataConfig("regimes", window=48))
    assert not origin.at_hand(DataConfig("regimes", window=10**7))


def test_sizes_are_counted_before_pictures_are_brought_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header names them beside data that somebody gives."""
    with pytest.raises(GanvasError, match="--height is 1000000000; it must be between 4 and 1024"):
        load_dataset(DataConfig("digits", resolution=128, height=10**9, resize="crop"))
    monkeypatch.setattr(limits, "ALWAYS", 2**20)
    monkeypatch.setattr(fitted, "ALWAYS", 2**20)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "2")
    with pytest.raises(GanvasError, match="digits, brought to 64 x 64 px, holds 7 MB"):
        in_memory(load_dataset(DataConfig("digits", resolution=64)))


def test_no_source_is_no_folder(monkeypatch: pytest.MonkeyPatch, image_folder: Path) -> None:
    """An empty name stood for the current folder, and whatever pictures lay in it."""
    monkeypatch.chdir(image_folder)
    for refused in (lambda: ganvas.load_dataset(""), lambda: ganvas.evaluate("fashion", "", n=100)):
        with pytest.raises(GanvasError, match="No data are named"):
            refused()
    wrapped = ganvas.wrap(torch.nn.Linear(4, 2), latent_dim=4)
    assert class_names(wrapped) == ()
    with pytest.raises(GanvasError, match=r"does not say what it was trained on.*--reference"):
        ganvas.evaluate(wrapped, n=100)
    with pytest.raises(GanvasError, match=r"does not say what it was trained on.*--data"):
        data_config_of(wrapped)


def test_files_of_mnist_in_the_current_folder_are_not_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert not idx.at_hand("mnist")


@pytest.mark.parametrize("left", [b"", b"cut", bytes(33)])
def test_a_key_that_is_none_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    """A disk that was full left an empty one, and nothing was ever known to be one's own again."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    (tmp_path / "key").write_bytes(left)
    config = DataConfig(source=str(tmp_path / "mine"))
    made = origin.mark(config)
    assert len(made) == 64
    assert origin.is_marked(config, made)
    assert origin.mark(config) == made, "and is kept"
    assert not origin.is_marked(replace(config, source=str(tmp_path / "other")), made)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_two_processes_make_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        marks = set(pool.map(origin.sign, ["the same"] * 64))
    assert len(marks) == 1
    assert "" not in marks


def test_a_disk_without_hard_links_keeps_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr(origin.os, "link", refused)
    assert origin.is_signed("a", origin.sign("a"))
