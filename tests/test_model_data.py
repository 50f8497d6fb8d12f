"""What a model was trained on: the same data at another place, and other data of the same name."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.config import DataConfig, NetworkConfig
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.features import open_extractor
from ganvas.metrics.evaluate import Size, _open_real, evaluate
from ganvas.model import DataReference, Model, ModelInfo
from ganvas.model_data import (
    CHANGED,
    class_names,
    classifier_of,
    config_for,
    has_changed,
    is_named,
    is_own,
    learned_from,
    load_data_of,
    real_images_of,
    unseen,
)
from ganvas.networks import GeneratorBase, build_generator
from ganvas.privacy import audit
from ganvas.sampling import calibrate_model
from tests.conftest import TINY
from tests.latent.test_space import ours

HOLDOUT = 0.2


def prices(path: Path, seed: int, spread: float = 1.0) -> Path:
    """A series that wanders about 100, as a table."""
    numbers = np.random.default_rng(seed).normal(100, spread, 1500)
    path.write_text("price\n" + "\n".join(f"{each:.3f}" for each in numbers))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def model(place: Path) -> Iterator[Model]:
    """Trained on a table that was named by its path from the folder that it lies in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        prices(place / "prices.csv", 0)
        done = ganvas.train(
            "prices.csv", window=8, batch=16, kimg=0.05, seed=0, settings={"data.holdout": HOLDOUT}, out="runs", quiet=True
        )  # fmt: skip
        yield ganvas.load(done.run.path)


@pytest.mark.parametrize("moved", [False, True])
def test_a_model_knows_its_data_wherever_they_lie(
    moved: bool, model: Model, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another spelling of the path, or copied to another folder, it is known which part was held out."""
    monkeypatch.chdir(place)
    path = prices(tmp_path / "copy.csv", 0) if moved else place / "prices.csv"
    dataset, config = load_data_of(model, str(path))
    assert is_own(model, dataset, config)
    assert config.holdout == HOLDOUT
    found = audit(model, str(path), n=100)
    assert found.held_out == len(dataset.split(HOLDOUT)[1])
    ratio, _ = calibrate_model(model, str(path), critic="fresh")
    assert not any("trained on" in each for each in ratio.report.warnings)


def test_what_was_held_out_stays_so_in_a_copy_of_the_data(model: Model, tmp_path: Path) -> None:
    """`encode --fit` learned from the usual nine tenths of them, of which the training had held out one more."""
    path = str(prices(tmp_path / "copy.csv", 0))
    config = config_for(model, path)
    data = load_dataset(config, tuple(model.shape), model.info.series)
    mine, wanted = learned_from(model, data, config).indices, data.split(HOLDOUT)[0].indices
    assert mine is not None
    assert wanted is not None
    assert torch.equal(mine, wanted)


def test_other_data_of_the_same_name_are_not_taken_for_what_was_trained_on(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of them was trained on, or the part that was is unknown: an audit would find nothing, and say so."""
    monkeypatch.chdir(tmp_path)
    prices(tmp_path / "prices.csv", 1)
    dataset, config = load_data_of(model, "prices.csv")
    assert not is_own(model, dataset, config)
    assert is_named(model, config)
    with pytest.raises(GanvasError, match="has changed since"):
        audit(model, "prices.csv", n=100)
    ratio, _ = calibrate_model(model, "prices.csv", critic="fresh")
    assert any("has changed since" in each for each in ratio.report.warnings)


def test_members_that_are_not_all_known_are_said_beside_others_that_are_given(
    model: Model, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --held-out the data that had grown were taken for members as a whole, and an audit found less, without a word."""
    held_out = str(prices(tmp_path / "others.csv", 2))
    for folder, said in ((place, False), (tmp_path, True)):
        monkeypatch.chdir(folder)
        if said:
            prices(folder / "prices.csv", 1)
        found = audit(model, "prices.csv", held_out=held_out, n=100)
        assert any("has changed since: not all of it are members" in each for each in found.warnings) == said


def test_data_of_a_snapshot_that_does_not_name_them_are_those_of_its_run(
    model: Model, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of private trainings: whatever lay there was taken for the same, and an audit told members from members."""
    monkeypatch.chdir(place)
    dataset, config = load_data_of(model, "prices.csv")
    assert model.info.data is not None
    silent = replace(model, info=replace(model.info, data=replace(model.info.data, fingerprint="")))
    assert is_own(silent, dataset, config)
    grown = replace(dataset, fingerprint="0")
    assert has_changed(silent, grown, config)
    assert not has_changed(replace(silent, path=None), grown, config), "where nobody knows, by their place"


def test_a_reference_of_the_same_name_is_scaled_as_the_model_is(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own range, other prices would look like those that were trained on."""
    monkeypatch.chdir(tmp_path)
    prices(tmp_path / "prices.csv", 1, spread=20)
    for named in ("prices.csv", "./prices.csv"):
        assert _open_real(named, model, Size()).series == model.info.series


def test_other_tables_are_read_as_the_one_that_was_trained_on(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same columns, as far as they have them, whatever their first row and their path look like."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    kept = {
        "time": "t",
        "by": "id",
        "label": "kind",
        "static": ("sex", "age"),
        "columns": ("a", "b"),
        "window": 5,
    }
    known = DataConfig("mine.csv", **kept)
    assert model.info.data is not None
    asked = replace(model, info=replace(model.info, data=replace(model.info.data, config=known)))

    def roles(text: str, name: str = "other.csv") -> dict[str, object]:
        (tmp_path / name).write_text(text)
        found = config_for(asked, f"~/{name}")
        assert (found.source, found.window) == (f"~/{name}", 5)
        return {role: each for role in kept if (each := getattr(found, role)) and role != "window"}

    whole = {role: each for role, each in kept.items() if role != "window"}
    assert roles("id,t,a,b,sex,age,kind\n") == whole
    assert roles("age,id,a,b,sex\n") == {"by": "id", "static": ("sex", "age"), "columns": ("a", "b")}
    assert roles("t,a,b,sex,kind\n") == {"time": "t", "columns": ("a", "b")}, "nothing tells sequences apart"
    assert roles("t\ta\n", "other.tsv") == {"time": "t", "columns": ("a",)}
    assert roles("series,t,class,sex,a\n") == {
        "time": "t", "by": "series", "label": "class", "static": ("sex",), "columns": ("a",)
    }, "as ganvas writes it"  # fmt: skip
    counted = replace(
        asked, info=replace(asked.info, data=replace(model.info.data, config=replace(known, by="0")))
    )
    (tmp_path / "numbers.csv").write_text("1,2\n3,4\n")
    assert config_for(counted, "~/numbers.csv").by == "0"
    monkeypatch.chdir(tmp_path)
    assert config_for(asked, "~/mine.csv") == replace(known, source="~/mine.csv"), "not looked at"
    assert config_for(asked, "values.npz") == DataConfig("values.npz", resize=model.info.resize)
    with pytest.raises(GanvasError, match=r"No data at 'none\.csv'"):
        config_for(asked, "none.csv")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        assert config_for(asked, "pipe.csv").by == ""


WORDS = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model of three classes with names, and a folder for data."""
    folder = tmp_path_factory.mktemp("animals")
    path = digits_named(folder / "animals.npz", 3, WORDS)
    done = ganvas.train(
        str(path), conditional=True, batch=32, kimg=0.1, seed=0, out=folder / "runs", quiet=True, report=False,
        settings={"network.latent_dim": 8, "network.generator.channels": 4, "network.critic.channels": 4},
    )  # fmt: skip
    return ganvas.load(done.run.path), folder


def digits_named(path: Path, below: int, names: tuple[str, ...], first: int = 0) -> Path:
    """The digits from `first` to `below`, their classes called by names."""
    digits = load_dataset("digits")
    images, labels = digits.take(torch.arange(len(digits)))
    chosen = (labels >= first) & (labels < below)
    np.savez(path, images=images[chosen], labels=np.array(names)[labels[chosen] - first])
    return path


def test_classes_are_those_of_their_names(animals: tuple[Model, Path]) -> None:
    """Of data without the first class the others would be taken for the first ones; numbers are those of the classes."""
    model, folder = animals
    for names in (("dog", "eel"), ("1", "2")):
        data, _ = load_data_of(model, str(digits_named(folder / "part.npz", 3, names, first=1)))
        assert data.class_names == WORDS
        plain = load_dataset(str(folder / "part.npz"))
        assert data.take_labels().tolist() == [1 + each for each in plain.take_labels().tolist()]


def test_data_at_another_place_are_selected_from_as_they_were(
    animals: tuple[Model, Path], tmp_path: Path
) -> None:
    """Members of an audit are those that were trained on, not what a selection left out."""
    model, folder = animals
    known = model.info.data
    assert known is not None
    selected = replace(known, config=replace(known.config, select=0.5, holdout=0.25, fold=1))
    model = replace(model, info=replace(model.info, data=selected))
    copy = shutil.copy(folder / "animals.npz", tmp_path / "copy.npz")
    for path in (folder / "animals.npz", copy):
        config = load_data_of(model, str(path))[1]
        assert (config.select, config.holdout, config.fold) == (0.5, 0.25, 1)


@pytest.mark.parametrize(("names", "first"), [(("ape", "bee", "cow"), 3), (tuple("abcdefghij"), 0)])
def test_data_of_other_classes_are_not_taken_for_those_of_the_model(
    names: tuple[str, ...], first: int, animals: tuple[Model, Path]
) -> None:
    """An audit leaves out what would ask by class, a calibration is refused, and no figure is one of two classes."""
    model, folder = animals
    path = str(digits_named(folder / "others.npz", first + len(names), names, first=first))
    found = audit(model, str(folder / "animals.npz"), held_out=path, n=100, reconstruct=10)
    assert not {"critic", "reconstruction"} & set(found.attacks)
    assert any("neither its critic was asked" in each for each in found.warnings)
    with pytest.raises(GanvasError, match=r"no labels or those of others.*cat, dog, eel"):
        calibrate_model(model, path, critic="fresh")
    for labels in ("data", "uniform"):
        found = evaluate(model, path, "frechet", n=100, labels=labels, extractor="pyramid")
        assert found.inputs.fake_labels is None


def test_pictures_without_classes_are_not_known_by_the_name_of_their_file(tmp_path: Path) -> None:
    """Anything may lie in a digits.npz: its pictures are none of ten digits, and no classifier of them judges it."""
    pictures = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "digits.npy", pictures)
    done = ganvas.train(
        str(tmp_path / "digits.npy"), batch=32, kimg=0.1, seed=0, out=tmp_path / "runs", quiet=True, report=False,
        settings={"network.latent_dim": 8, "network.generator.channels": 4, "network.critic.channels": 4},
    )  # fmt: skip
    model = ganvas.load(done.run.path)
    assert class_names(model) == ()
    assert classifier_of(model) is None
    data = load_dataset(str(tmp_path / "digits.npy"))
    assert open_extractor("auto", load_dataset("digits")).id.startswith("classifier-digits")
    try:
        found = open_extractor("auto", data).id
    except GanvasError as error:
        found = str(error)
    assert not found.startswith("classifier-digits")


def test_as_many_images_of_each_class_are_compared_with_a_conditional_model(tmp_path: Path) -> None:
    """Its samples are of all classes in turn: beside data in other shares, a perfect one would draw what is rare too often."""
    counts = (800, 120, 100)
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    images = (labels * 100).to(torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16).contiguous()
    source = tmp_path / "unequal.npz"
    np.savez(source, images=images.numpy(), labels=labels.numpy())

    def compared(count: int, classes: int = 3) -> tuple[list[int], str]:
        found, line = real_images_of(ours("dcgan", classes), count, str(source))
        assert found is not None
        return [int((found[:, 0, 0, 0] == 100 * label).sum()) for label in range(3)], line

    assert compared(240) == ([80, 80, 80], "240 of 1,020 images of unequal, as many of each class")
    found, line = compared(3000)
    assert found == list(counts)
    assert line.endswith("(in their own shares, though the model draws 3 classes alike)")
    assert compared(3000, classes=0) == (list(counts), "1,020 images of unequal")


def test_own_pictures_are_known_whatever_size_they_were_brought_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by their name as other pictures are, those of `--resolution 16` were said to have changed since."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "1")
    random = np.random.default_rng(0)
    np.save("pictures.npy", random.integers(256, size=(60, 24, 24), dtype=np.uint8))
    for config in (
        DataConfig("pictures.npy", 16),
        DataConfig("pictures.npy", 16, "crop"),
        DataConfig("pictures.npy", 16, "fit", height=12),
        DataConfig("digits", 16, "stretch"),
    ):
        data = load_dataset(config)
        generator = GeneratorBase(data.shape, 2)
        info = ModelInfo.of(generator, "square", data=DataReference(config, data.name, data.fingerprint))
        held, own, _ = unseen(Model(generator, None, info), config.source)
        assert own, config
        assert len(held) == len(data.split(config.holdout)[1])
        if config.source != "digits":
            shutil.copy("pictures.npy", "copy.npy")
            assert unseen(Model(generator, None, info), "copy.npy")[1], "at another place"
        np.save("others.npy", random.integers(256, size=(9, 5, 20), dtype=np.uint8))
        others, own, _ = unseen(Model(generator, None, info), "others.npy")
        assert not own
        assert others.shape == data.shape, "of another shape, they are brought to it as well"


def test_own_data_that_have_changed_are_not_taken_for_unseen_ones(model: Model, place: Path) -> None:
    table = place / "prices.csv"
    kept = table.read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        held, own, words = unseen(model, "prices.csv")
        assert own
        assert words == f"Of prices what was held out of the training: {len(held):,}."
        table.write_text(f"{kept}\n100.5\n")
        try:
            data, own, words = unseen(model, "prices.csv")
        finally:
            table.write_text(kept)
    assert not own
    assert len(data) > len(held)
    assert words.startswith("Of prices it is not known what was held out of the training")


def test_classes_of_own_data_that_have_changed_are_those_of_their_names(
    animals: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the first class the numbers of the others would be those of the ones before."""
    model, folder = animals
    monkeypatch.setattr("ganvas.data.origin.is_marked", lambda *_: True)
    path = folder / "animals.npz"
    kept = path.read_bytes()
    try:
        digits_named(path, 3, WORDS[1:], first=1)
        data, _ = load_data_of(model)
        plain = load_dataset(str(path))
    finally:
        path.write_bytes(kept)
    assert data.class_names == WORDS
    assert data.take_labels().tolist() == [1 + each for each in plain.take_labels().tolist()]


def test_classes_have_no_names_of_others() -> None:
    """A model of before, of twelve classes, whose data were called fashion-mnist had ten names: its page was a traceback."""
    found = ganvas.load("fashion", device="cpu")
    info = replace(found.info, class_names=None)
    assert len(class_names(replace(found, info=info))) == 10
    config = NetworkConfig("dcgan", latent_dim=4, conditional=True, generator={"channels": 2})
    generator = build_generator(config, (1, 28, 28), 12)
    assert class_names(replace(found, generator=generator, info=info)) == ()


def test_pictures_that_have_changed_since_are_said_to(tmp_path: Path) -> None:
    """A map of others told of holes in what the model draws."""
    rng, source = np.random.default_rng(0), tmp_path / "im.npy"
    np.save(source, rng.integers(0, 99, (64, 8, 8), np.uint8))
    asked: Any = {
        "kimg": 0.064, "batch": 16, "device": "cpu", "quiet": True, "report": False, "settings": TINY,
    }  # fmt: skip
    model = ganvas.load(ganvas.train(str(source), out=tmp_path / "runs", **asked).run.path, device="cpu")
    assert "has changed since" not in real_images_of(model, 20)[1]
    np.save(source, rng.integers(99, 255, (64, 8, 8), np.uint8))
    assert real_images_of(model, 20)[1].endswith(f"images of im; im {CHANGED}")
