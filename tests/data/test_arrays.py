from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.errors import GanvasError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)


def saved(tmp_path: Path, array: np.ndarray, name: str = "a.npy", **more: np.ndarray) -> str:
    path = tmp_path / name
    np.save(path, array) if name.endswith("npy") else np.savez(path, images=array, **more)
    return str(path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 4),
    c=st.sampled_from([1, 3]),
    h=st.integers(4, 9),
    w=st.integers(4, 9),
    layout=st.sampled_from(["chw", "hwc", "hw"]),
)
def test_every_layout_is_read(tmp_path: Path, n: int, c: int, h: int, w: int, layout: str) -> None:
    images = np.random.default_rng(1).integers(0, 256, (n, c, h, w), dtype=np.uint8)
    if layout == "hw":
        images = images[:, :1]
    written = {"chw": images, "hwc": images.transpose(0, 2, 3, 1), "hw": images[:, 0]}[layout]
    data = load_dataset(saved(tmp_path, written))
    assert torch.equal(data.take(torch.arange(n))[0], torch.from_numpy(images))


def test_npz_with_labels(tmp_path: Path) -> None:
    data = load_dataset(saved(tmp_path, IMAGES, "a.npz", labels=np.array([0, 2, 1, 2, 0])))
    assert data.num_classes == 3
    assert data.labels is not None
    assert data.labels.tolist() == [0, 2, 1, 2, 0]


def test_points(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(10, 2))
    data = load_dataset(saved(tmp_path, points))
    assert not data.is_images
    assert data.shape == (2,)
    torch.testing.assert_close(data.take(torch.tensor([3]))[0], torch.from_numpy(points[3:4]).float())


def test_a_large_array_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, IMAGES.transpose(0, 2, 3, 1))
    resident = load_dataset(path)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.0001")
    streamed = load_dataset(path)
    assert not streamed.resident
    order = torch.tensor([4, 0, 2])
    assert torch.equal(streamed.take(order)[0], resident.take(order)[0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2, 8, 8), np.uint8), r"shape \(3, 2, 8, 8\)"),
        (np.zeros((3, 3, 8, 8), np.float32), r"float32.*\(x \* 255\)"),
        (np.zeros((3, 3, 8, 8), np.int64), "int64"),
        (np.zeros(7, np.uint8), r"shape \(7,\)"),
        (np.zeros((0, 3, 8, 8), np.uint8), r"shape \(0, 3"),
        (np.zeros((4, 2), np.complex64), "complex64"),
        (np.array([[0.0, 1.0], [np.nan, 2.0], [np.inf, 1.0]]), "2 of 3 points hold NaN"),
        (np.zeros((0, 2)), "empty array"),
        (np.array([{"a": 1}]), "can not be read"),
    ],
)
def test_wrong_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(GanvasError, match=message):
        load_dataset(str(path))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(4), r"5 samples and labels of shape \(4,\)"),
        (np.zeros((5, 1), int), r"labels of shape \(5, 1\)"),
        (np.zeros(5), "whole numbers"),
        (np.array([0, 1, -1, 0, 0]), "whole numbers"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        load_dataset(saved(tmp_path, IMAGES, "a.npz", labels=labels))


def test_other_problems(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=IMAGES, b=IMAGES)
    (tmp_path / "cut.npy").write_bytes(Path(saved(tmp_path, IMAGES)).read_bytes()[:300])
    (tmp_path / "a.csv").write_text("1,2")
    for name, message in (
        ("two.npz", "expected an array named"),
        ("cut.npy", "can not be read"),
        ("a.csv", "Do not know"),
    ):
        with pytest.raises(GanvasError, match=message):
            load_dataset(str(tmp_path / name))
    points = saved(tmp_path, np.zeros((5, 2)), "p.npy")
    with pytest.raises(GanvasError, match="are for images"):
        load_dataset(DataConfig(points, resolution=8))
