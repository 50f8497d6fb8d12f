"""`hub:` through a stand-in for the `datasets` package: same calls, no network."""

import sys
import types
from typing import Any

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

    def __init__(self, features: dict[str, object]) -> None:
        self.features = features

    def __len__(self) -> int:
        return 4

    def __getitem__(self, key: Any) -> Any:
        if key == "label":
            return [0, 1, 1, 0]
        return {"picture": Image.new("L", (8, 8), 10 * key), "label": key % 2}


def install(monkeypatch: pytest.MonkeyPatch, features: dict[str, object]) -> None:
    fake = types.ModuleType("datasets")
    fake.Image, fake.ClassLabel = FakeImage, FakeClassLabel  # type: ignore[attr-defined]

    def load(name: str, split: str) -> Table:
        if name != "org/name":
            raise FileNotFoundError(f"{name} does not exist")
        assert split == "train"
        return Table(features)

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
