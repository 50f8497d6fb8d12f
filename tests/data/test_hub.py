"""`hub:` through a stand-in for the `datasets` package: same calls, no network."""

import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import load_dataset
from ganvas.errors import GanvasError


class FakeImage:
    pass


class FakeClassLabel:
    names = ("a", "b")


class Table:
    _fingerprint = "f"

    def __init__(
        self, features: dict[str, object], labels: Sequence[int | None], odd: dict[int, Any]
    ) -> None:
        self.features, self.labels, self.odd = features, labels, odd

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Any) -> Any:
        if key == "label":
            return self.labels
        if isinstance(self.odd.get(key), Exception):
            raise self.odd[key]
        return {"picture": self.odd.get(key, Image.new("L", (8, 8), 10 * key)), "label": self.labels[key]}


def install(
    monkeypatch: pytest.MonkeyPatch,
    features: dict[str, object],
    labels: Sequence[int | None] = (0, 1, 1, 0),
    odd: dict[int, Any] | None = None,
) -> None:
    fake = types.ModuleType("datasets")
    fake.Image, fake.ClassLabel = FakeImage, FakeClassLabel  # type: ignore[attr-defined]

    def load(name: str, split: str) -> Table:
        if name != "org/name":
            raise FileNotFoundError(f"{name} does not exist")
        assert split == "train"
        return Table(features, labels, odd or {})

    fake.load_dataset = load  # type: ignore[attr-defined]
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
    with pytest.raises(GanvasError, match=r"pip install 'datasets>=3'"):
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
        ((0, 1, 1, 0), {3: Image.DecompressionBombError("too large")}, r"Picture 3 of .* too large"),
        ((0, 1, 1, 0), {1: SyntaxError("broken PNG file")}, r"Picture 1 of .* broken PNG file"),
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
