"""Several data sets in one run."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas.config import DataConfig
from ganvas.data import Dataset, balanced, join, load_dataset
from ganvas.errors import GanvasError


@pytest.fixture
def sets(tmp_path: Path) -> tuple[str, str]:
    """30 dark grey and 10 bright colour images of 8 px."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "dark.npz", images=rng.integers(0, 60, (30, 8, 8), dtype=np.uint8))
    np.savez(tmp_path / "bright.npz", images=rng.integers(190, 256, (10, 8, 8, 3), dtype=np.uint8))
    return str(tmp_path / "dark.npz"), str(tmp_path / "bright.npz")


def test_the_set_is_the_label(sets: tuple[str, str]) -> None:
    data = load_dataset(DataConfig(sets[0], also=(sets[1],)))
    assert data.class_names == ("dark", "bright")
    assert data.shape == (3, 8, 8)
    assert len(data) == 40
    images, labels = data.take(torch.arange(40))
    assert labels is not None
    assert torch.equal(images.float().mean((1, 2, 3)) > 128, labels == 1)
    assert torch.equal(images[0, 0], images[0, 2]), "grey as three equal channels"


def test_streamed_sets_give_the_same_items(
    sets: tuple[str, str], monkeypatch: pytest.MonkeyPatch, image_folder: Path
) -> None:
    parts = [
        load_dataset(DataConfig(str(image_folder))),
        load_dataset(DataConfig(str(image_folder), mirror=True)),
    ]
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0")
    streamed = load_dataset(DataConfig(str(image_folder)))
    assert not streamed.resident
    other = load_dataset(DataConfig(sets[1], resolution=None))
    with pytest.raises(GanvasError, match=r"differ in size.*--resolution"):
        join([streamed, other])
    from dataclasses import replace

    joined = join([streamed, replace(parts[0], fingerprint="other", name="other")])
    images, labels = joined.take(torch.tensor([0, 11, 12, 23]))
    assert torch.equal(images[:2], parts[0].take(torch.tensor([0, 11]))[0])
    assert torch.equal(images[2:], parts[0].take(torch.tensor([0, 11]))[0])
    assert labels.tolist() == [0, 0, 1, 1]


def test_the_same_data_twice_is_refused(sets: tuple[str, str]) -> None:
    with pytest.raises(GanvasError, match="given twice"):
        load_dataset(DataConfig(sets[0], also=(sets[0],)))
    with pytest.raises(GanvasError, match="must all be images"):
        load_dataset(DataConfig("digits", also=("toy:ring8",)))


def test_no_two_sets_have_one_name(tmp_path: Path) -> None:
    """Sets of one name are numbered; one that was called so itself was the class of a number alone."""
    paths = [tmp_path / "x" / "a.npz", tmp_path / "y" / "a.npz", tmp_path / "a-0.npz"]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        np.savez(path, images=np.full((4, 8, 8), i, dtype=np.uint8))
    first, *others = map(str, paths)
    assert load_dataset(DataConfig(first, also=(others[0],))).class_names == ("a-0", "a-1")
    with pytest.raises(GanvasError, match="Two of the data sets would be called 'a-0'"):
        load_dataset(DataConfig(first, also=tuple(others)))


def test_balance_repeats_the_smaller_set_in_training_alone(sets: tuple[str, str]) -> None:
    data = load_dataset(DataConfig(sets[0], also=(sets[1],)))
    trained_on, held_out = data.split(0.25)
    even = balanced(trained_on)
    counts = torch.bincount(even.take_labels())
    assert counts[0] == counts[1] == torch.bincount(trained_on.take_labels()).max()
    assert even.indices is not None
    assert held_out.indices is not None
    assert not set(even.indices.tolist()) & set(held_out.indices.tolist()), "nothing held out is trained on"
    with pytest.raises(GanvasError, match="has neither"):
        balanced(load_dataset(sets[0]))


def test_folds_hold_every_image_out_once() -> None:
    data = load_dataset("digits")
    parts = [data.split(1 / 4, fold)[1].indices for fold in range(4)]
    together = torch.cat([part for part in parts if part is not None])
    assert len(together.unique()) == len(together) == 4 * round(len(data) / 4)


def test_one_generator_draws_the_set_that_is_asked_for(sets: tuple[str, str], tmp_path: Path) -> None:
    result = ganvas.train(
        list(sets), balance=True, kimg=6, batch=16, device="cpu", precision="fp32", out=tmp_path, quiet=True, report=False,
        settings={"network.generator.channels": 8, "network.critic.channels": 8},
    )  # fmt: skip
    assert result.run.config.network.conditional
    assert result.run.config.data.also == (sets[1],)
    model = ganvas.load(result.run.path)
    dark, bright = (model.sample(16, labels=[label]).float().mean().item() for label in (0, 1))
    assert dark < 90
    assert bright > 160
    resumed = ganvas.train(resume=result.run.path, kimg=6.1, quiet=True, report=False)
    assert resumed.kimg > 6


def test_grey_and_coloured_sets_are_the_same_data_when_a_model_asks_for_them(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    np.save(tmp_path / "colours.npy", colours)
    config = DataConfig("digits", also=(str(tmp_path / "colours.npy"),))
    data = load_dataset(config)
    again = load_dataset(config, data.shape)
    assert data.shape == (3, 8, 8)
    assert again.fingerprint == data.fingerprint
    other = load_dataset(config, (1, 8, 8))
    assert other.shape == (1, 8, 8)
    assert other.fingerprint != data.fingerprint


def test_sets_are_joined_part_by_part(sets: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of both were copied twice more."""
    monkeypatch.setattr("ganvas.data.joined.SOME", 7)
    parts = [load_dataset(DataConfig(name)) for name in sets]
    taken: list[int] = []
    take = Dataset.take
    monkeypatch.setattr(Dataset, "take", lambda self, rows: taken.append(len(rows)) or take(self, rows))
    joined = join(parts)
    assert max(taken) == 7
    assert isinstance(joined.items, torch.Tensor)
    for place, i, row in ((0, 0, 0), (29, 0, 29), (30, 1, 0), (39, 1, 9)):
        assert torch.equal(joined.items[place], parts[i].items[row].expand(3, -1, -1))


def test_balance_of_a_long_tail_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,001 classes, of 125,000 points the largest: 2 MB took 10 GB, and a minute."""
    labels = np.array([0] * 50 + [7, 3, 3])
    np.savez(tmp_path / "tail.npz", points=np.zeros((53, 2), np.float32), labels=labels)
    data = load_dataset(str(tmp_path / "tail.npz"))
    found = balanced(data).indices
    assert found is not None
    assert found.tolist() == [*range(50), *[51, 52] * 25, *[50] * 50]
    monkeypatch.setattr("ganvas.data.joined.MOST_BALANCED", 149)
    with pytest.raises(GanvasError, match="the largest one, of 50: 150 samples, and 149 are taken at most"):
        balanced(data)
