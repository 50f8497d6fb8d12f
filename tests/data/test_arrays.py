import os
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganvas.config import DataConfig, Resize
from ganvas.data import Dataset, arrays, fitted, limits, load_dataset
from ganvas.data.base import fingerprint
from ganvas.data.joined import in_memory
from ganvas.data.labels import natural
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


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        ([1, 2, 1, 2, 2], ("1", "2"), [0, 1, 0, 1, 1]),
        ([0, 0, 0, 0, 1_000_000], ("0", "1000000"), [0, 0, 0, 0, 1]),
        ([2**31, 7, 7, 2**62, 7], ("7", "2147483648", "4611686018427387904"), [1, 0, 0, 2, 0]),
        (["dog", "cat", "dog", "cat", "cat"], ("cat", "dog"), [1, 0, 1, 0, 0]),
        ([True, False, True, False, False], ("0", "1"), [1, 0, 1, 0, 0]),
    ],
)
def test_labels_are_the_classes_that_are_there(
    tmp_path: Path, labels: list[object], names: tuple[str, ...], numbers: list[int]
) -> None:
    data = load_dataset(saved(tmp_path, IMAGES, "a.npz", labels=np.array(labels)))
    assert data.class_names == names
    assert data.num_classes == len(names)
    assert data.labels is not None
    assert data.labels.tolist() == numbers
    assert ["keep these names" in note for note in data.notes] == [True] * (
        names[0] not in ("0", "cat") or len(names[1]) > 3
    )


def test_measurements_are_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_MAX_CLASSES", "4")
    path = saved(tmp_path, IMAGES, "a.npz", labels=np.arange(5) * 10)
    with pytest.raises(GanvasError, match=r"5 labels of 5 different values.*set GANVAS_MAX_CLASSES=5"):
        load_dataset(path)
    monkeypatch.setenv("GANVAS_MAX_CLASSES", "5")
    assert load_dataset(path).num_classes == 5


def test_exchanged_labels_are_other_data(tmp_path: Path) -> None:
    first = load_dataset(saved(tmp_path, IMAGES, "a.npz", labels=np.array([0, 1, 0, 1, 0]))).fingerprint
    assert (
        load_dataset(saved(tmp_path, IMAGES, "b.npz", labels=np.array([0, 1, 0, 1, 0]))).fingerprint == first
    )
    assert (
        load_dataset(saved(tmp_path, IMAGES, "b.npz", labels=np.array([1, 0, 0, 1, 0]))).fingerprint != first
    )
    assert (
        load_dataset(saved(tmp_path, IMAGES, "b.npz", labels=np.array([0, 2, 0, 2, 0]))).fingerprint != first
    )
    points = np.random.default_rng(0).normal(size=(4, 2))
    marks = [
        load_dataset(saved(tmp_path, points, "p.npz", labels=np.array(labels))).fingerprint
        for labels in ([0, 1, 0, 1], [1, 0, 0, 1])
    ]
    assert marks[0] != marks[1]


def test_classes_without_samples_are_named() -> None:
    data = Dataset("a", torch.zeros(4, 2), (2,), "", torch.tensor([0, 0, 2, 2]), ("x", "y", "z"))
    assert data.empty_classes() == ("y",)
    assert replace(data, indices=torch.tensor([2, 3])).empty_classes() == ("x", "y")
    assert replace(data, labels=None, class_names=()).empty_classes() == ()


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
    assert streamed.fingerprint == resident.fingerprint
    smaller = load_dataset(DataConfig(path, resolution=4))
    assert not smaller.resident
    monkeypatch.delenv("GANVAS_RESIDENT_MB")
    assert torch.equal(load_dataset(DataConfig(path, resolution=4)).take(order)[0], smaller.take(order)[0])


@pytest.mark.parametrize("count", [0, 2, len(IMAGES), 9])
def test_a_large_array_that_is_written_anew_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """It was mapped into memory: a shorter file ended the process, without a word and without what had been learned. Of one as
    long other pictures were taken."""
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.0001")
    path = saved(tmp_path, IMAGES)
    data = load_dataset(path)
    data.take(torch.tensor([4]))
    saved(tmp_path, np.resize(IMAGES, (count, *IMAGES.shape[1:])))
    with pytest.raises(GanvasError, match="could be read before and cannot any more"):
        data.take(torch.tensor([4]))
    os.unlink(path)
    with pytest.raises(GanvasError, match="cannot any more"):
        data.take(torch.tensor([4]))


def test_labels_with_room_for_very_long_names_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of them took three, and three times what is allowed."""
    path = saved(tmp_path, IMAGES, "a.npz", labels=np.array(list("ababa"), dtype="U1001"))
    with pytest.raises(GanvasError, match=r"labels in .* has room for 1,001 letters in each text"):
        load_dataset(path)
    path = saved(tmp_path, IMAGES, "a.npz", labels=np.array(list("ababa"), dtype="U1000"))
    assert load_dataset(path).class_names == ("a", "b")
    monkeypatch.setattr(limits, "ALWAYS", 0)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.05")
    with pytest.raises(GanvasError, match="GANVAS_RESIDENT_MB"):
        load_dataset(path)


def test_a_large_array_in_the_order_of_fortran_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, np.asfortranarray(IMAGES))
    assert torch.equal(load_dataset(path).take(torch.arange(5))[0], torch.from_numpy(IMAGES[:5]))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.0001")
    with pytest.raises(GanvasError, match="ascontiguousarray"):
        load_dataset(path)


def test_the_fingerprint_of_a_large_array_covers_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same name, same size, same first image, same time of change: all that a cheaper mark could look at."""
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.0001")
    monkeypatch.setattr(arrays, "BLOCK", 300)
    path = saved(tmp_path, IMAGES)
    first, times = load_dataset(path).fingerprint, os.stat(path)
    other = IMAGES.copy()
    other[3, 2, 7, 7] ^= 1
    saved(tmp_path, other)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load_dataset(path).fingerprint != first


@pytest.mark.parametrize("limit", ["100", "0.0001"])
@pytest.mark.parametrize("how", ["stretch", "crop", "fit"])
def test_wide_and_high_pictures_of_the_same_bytes_are_different_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Resize, limit: str
) -> None:
    """Height and width mixed up, and saved anew: the features of the wrong pictures were those of the right ones."""
    monkeypatch.setenv("GANVAS_RESIDENT_MB", limit)
    content = np.random.default_rng(0).integers(0, 256, 16 * 144, dtype=np.uint8)
    shapes = [
        (16, 12, 12),
        (16, 8, 18),
        (16, 18, 8),
        (16, 6, 24),
        (16, 24, 6),
        (16, 4, 6, 6),
        (16, 4, 4, 9),
        (16, 4, 9, 4),
    ]
    marks = [
        load_dataset(
            DataConfig(saved(tmp_path, content.reshape(shape)), resolution=4, resize=how)
        ).fingerprint
        for shape in shapes
    ]
    assert len(set(marks)) == len(shapes)


def test_square_and_unchanged_pictures_keep_the_fingerprint_of_their_runs(tmp_path: Path) -> None:
    """Runs of before go on."""
    digest = fingerprint(IMAGES)
    square, wide = saved(tmp_path, IMAGES), saved(tmp_path, IMAGES.reshape(5, 3, 4, 16), "wide.npy")
    assert load_dataset(DataConfig(square, resolution=4)).fingerprint == fingerprint(digest, "(4, 4) stretch")
    assert load_dataset(square).fingerprint == fingerprint(digest, "(8, 8) None")
    assert load_dataset(DataConfig(wide, resolution=16, height=4)).fingerprint == fingerprint(
        digest, "(16, 4) stretch"
    )


def test_arrays_of_any_size_for_a_model(tmp_path: Path) -> None:
    grey = np.full((5, 30, 40), 77, np.uint8)
    data = load_dataset(saved(tmp_path, grey), (3, 16, 12))
    assert torch.equal(data.take(torch.arange(5))[0], torch.full((5, 3, 16, 12), 77, dtype=torch.uint8))
    assert data.notes == (
        "All images of a brought to 12 x 16 px, cropped to the middle.",
        "All images of a made RGB.",
    )
    assert load_dataset(saved(tmp_path, IMAGES), (3, 8, 8)).notes == ()
    with pytest.raises(
        GanvasError, match=r"images of shape \(3, 8, 8\), and points of shape \(2,\) are wanted"
    ):
        load_dataset(saved(tmp_path, IMAGES), (2,))
    with pytest.raises(GanvasError, match=r"points of shape \(2,\), and images"):
        load_dataset(saved(tmp_path, np.zeros((5, 2))), (3, 8, 8))


def header(shape: object, dtype: str = "|u1") -> bytes:
    """An .npy header that says anything."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("()", "damaged: it says its shape"),
        ("(4294967296, 4294967296, 1)", "damaged: it says its shape"),  # 2^64 wraps to 0 in 64 bits
        ("(10000000000, 3, 8, 8)", "damaged: it says its shape"),
        ("(-1, 8, 8)", "damaged"),
        ("(True, 8, 8)", "damaged"),
        ("(0, 8, 8)", "empty array"),
        ("__import__('os')", "cannot be read"),
        ("(" * 5000, "cannot be read"),
    ],
)
def test_headers_that_lie_are_refused_at_once(tmp_path: Path, shape: str, message: str, inside: bool) -> None:
    path = tmp_path / ("a.npz" if inside else "a.npy")
    if inside:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("images.npy", header(shape))
    else:
        path.write_bytes(header(shape))
    with pytest.raises(GanvasError, match=message):
        load_dataset(str(path))


def test_an_npz_is_not_unpacked_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 MB of zeros in 40 kB: refused by its directory and header, in no memory."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.zeros((40, 1000, 1000), np.uint8))
    monkeypatch.setenv("GANVAS_MAX_GB", "0.03")
    tracemalloc.start()
    with pytest.raises(
        GanvasError, match=r"images in .* unpacks 0.0 MB to 0.0 GB, more than the 0.03 GB.*GANVAS_MAX_GB="
    ):
        load_dataset(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    monkeypatch.delenv("GANVAS_MAX_GB")
    monkeypatch.setattr(limits, "ALWAYS", 2**20)
    monkeypatch.setattr(fitted, "ALWAYS", 2**20)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "30")
    with pytest.raises(
        GanvasError, match=r"holds 40 MB, more than the 31 MB.*Save it as .npy.*GANVAS_RESIDENT_MB=39"
    ):
        load_dataset(str(path))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "39")
    assert len(load_dataset(str(path))) == 40


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
        (np.array([{"a": 1}]), "cannot be read"),
        (np.array([[1e300, 0.0]]), r"up to 1e\+300.*float32"),
        (np.zeros((8, 9, 3), np.uint8), r"One image of 9 x 8 px is x\[None\]"),
        (np.zeros((5, 2), int), r"Points are floats"),
        (np.zeros(7), r"x\[:, None\]"),
        (np.zeros((), np.uint8), r"shape \(\)"),
        (np.zeros((5, 8, 8), np.uint16), r"16 bits with"),
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
    np.savez(tmp_path / "both.npz", images=IMAGES, series=np.zeros((5, 4, 1), np.float32))
    (tmp_path / "cut.npy").write_bytes(Path(saved(tmp_path, IMAGES)).read_bytes()[:300])
    (tmp_path / "a.xyz").write_text("1,2")
    for name, message in (
        ("two.npz", "expected an array named"),
        ("both.npz", "holds images and series, and nothing says which is meant"),
        ("cut.npy", "cannot be read"),
        ("a.xyz", "Do not know"),
    ):
        with pytest.raises(GanvasError, match=message):
            load_dataset(str(tmp_path / name))
    points = saved(tmp_path, np.zeros((5, 2)), "p.npy")
    with pytest.raises(GanvasError, match="are for images"):
        load_dataset(DataConfig(points, resolution=8))


def test_pictures_in_floats_and_masks_are_asked_about(tmp_path: Path) -> None:
    def said(array: np.ndarray) -> str:
        np.save(tmp_path / "x.npy", array)
        return " ".join(load_dataset(str(tmp_path / "x.npy")).notes)

    floats = np.random.default_rng(0).random((9, 12, 12))
    assert "Floats of 12 x 12 in x.npy are read as series of 12 steps. Are these pictures?" in said(floats)
    assert "pictures" not in said(floats[:, :, :5])
    whole = (floats * 255).round().astype("uint8")
    assert not said(whole)
    assert "The brightest pixel of x is 1 of 255: nearly black. Is 1 white?" in said(whole // 128)


def test_points_far_from_zero_keep_their_digits_or_are_refused(tmp_path: Path) -> None:
    """float32 has 24 bits: at 2^40 it would make one point of all of them."""
    near = np.random.default_rng(0).normal(size=(50, 3))
    np.save(tmp_path / "far.npy", near + 2.0**40)
    with pytest.raises(GanvasError, match="more digits than float32 has"):
        load_dataset(str(tmp_path / "far.npy"))
    np.save(tmp_path / "some.npy", near + 2.0**10)
    np.testing.assert_allclose(load_dataset(str(tmp_path / "some.npy")).items, near + 2.0**10, atol=1e-4)


def test_what_is_read_of_an_npz_is_what_was_looked_at(tmp_path: Path) -> None:
    """numpy takes the member `images` where that and `images.npy` are there: here 40 MB that nobody had looked at."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images", header("(40, 1000, 1000)") + bytes(40_000_000))
        file.writestr("images.npy", header("(5, 8, 8)") + bytes(range(64)) * 5)
    tracemalloc.start()
    data = load_dataset(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert isinstance(data.items, torch.Tensor)
    assert torch.equal(
        data.items, torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(5, -1, -1, -1)
    )


def test_arrays_that_are_not_read_are_said(tmp_path: Path) -> None:
    """Labels by another name would be missed by nobody."""
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES, y=np.arange(5), time=np.arange(5))
    (note,) = load_dataset(str(path)).notes
    assert note == "Left out of a.npz: y. Read: images."
    np.savez(path, series=np.ones((4, 6, 2)), lengths=np.full(4, 6), time=np.arange(6))
    assert not any("Left out" in note for note in load_dataset(str(path)).notes)
    np.savez(path, series=np.ones((4, 6, 2)), classes=np.arange(4))
    assert "Left out of a.npz: classes. Read: series." in load_dataset(str(path)).notes
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", header("(3, 8, 8)") + bytes(64 * 3))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("images.npy", header("(5, 8, 8)") + bytes(64 * 5))
    data = load_dataset(str(path))
    assert data.notes == ("Left out of a.npz: images. Read: images.",)
    assert len(data) == 5


@pytest.mark.parametrize("inside", [False, True])
def test_the_header_of_an_array_is_bounded_before_it_is_read(tmp_path: Path, inside: bool) -> None:
    content = b"\x93NUMPY\2\0" + (50_000_000).to_bytes(4, "little") + b" " * 50_000_000
    path = tmp_path / ("a.npz" if inside else "a.npy")
    if inside:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("images.npy", content)
    else:
        path.write_bytes(content)
    del content
    tracemalloc.start()
    with pytest.raises(GanvasError, match="its header says it is 50,000,000 bytes long"):
        load_dataset(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_names_of_classes_are_bounded(tmp_path: Path) -> None:
    """A compressed array of long names took 8 GB to sort; a model's file has no room for them."""
    labels = np.array(["a", "1a" * 501] * 2 + ["b"])
    with pytest.raises(GanvasError, match="1,002 letters"):
        load_dataset(saved(tmp_path, IMAGES, "a.npz", labels=labels))
    assert len(natural("1a" * 500)) < 8 * 1000
    assert sorted(["b", "a10", "a2", "a02", "10", "2", "a", "a2b"], key=natural) == [
        "2", "10", "a", "a02", "a2", "a2b", "a10", "b",
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(40_000_000, 2), (5_000_000, 8, 2)])
def test_points_and_series_are_counted_as_they_are_computed_with(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As float64, several times over, points take six times their file; this one has no bytes on the disk."""
    path = tmp_path / "zeros.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + 4 * int(np.prod(shape)))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "400")  # more than the file has
    with pytest.raises(GanvasError, match=r"in float64, holds [0-9,]+ MB, more than the 419 MB"):
        load_dataset(str(path))


@pytest.mark.parametrize(("layout", "most"), [("first", 1.1), ("last", 1.1), ("fortran", 2.1)])
def test_images_of_an_array_are_held_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, most: float
) -> None:
    """There were a copy to keep, one in the order of channels and one for the fingerprint: 3.4 GB of 1."""
    images = np.random.default_rng(0).integers(0, 256, (100, 3, 64, 64), dtype=np.uint8)
    monkeypatch.setattr(arrays, "BLOCK", 2**16)
    given = {
        "first": images,
        "last": np.ascontiguousarray(images.transpose(0, 2, 3, 1)),
        "fortran": np.asfortranarray(images),
    }[layout]
    path = saved(tmp_path, given, "a.npz")
    load_dataset(path)
    tracemalloc.start()
    found = load_dataset(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert torch.equal(found.items, torch.from_numpy(images))  # type: ignore[arg-type]
    assert peak < most * images.nbytes + 600_000


def test_what_is_held_twice_is_counted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays in the order of Fortran, labels beside images, and pictures of another size beside those they are made of."""
    images = np.zeros((100, 3, 64, 64), np.uint8)
    monkeypatch.setattr(limits, "ALWAYS", 2**20)
    monkeypatch.setattr(fitted, "ALWAYS", 2**20)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "2")
    assert len(load_dataset(saved(tmp_path, images, "a.npz"))) == 100
    with pytest.raises(GanvasError, match=r"holds 2 MB, more than the 2 MB"):
        load_dataset(saved(tmp_path, np.asfortranarray(images), "b.npz"))
    np.savez(tmp_path / "c.npz", images=images, labels=np.full(100, "a" * 1000))
    with pytest.raises(GanvasError, match=r"c.npz holds 2 MB, more than the 2 MB"):
        load_dataset(str(tmp_path / "c.npz"))
    with pytest.raises(GanvasError, match="brought to 60 x 60 px, holds 2 MB, more than the 2 MB"):
        in_memory(load_dataset(DataConfig(str(tmp_path / "a.npz"), resolution=60)))


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_tiny_pictures_count_for_what_is_noted_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """50 million of four pixels, 0.8 MB packed, took 2.4 GB, whatever the limit was."""
    monkeypatch.setattr(limits, "ALWAYS", 2**20)
    monkeypatch.setattr(fitted, "ALWAYS", 2**20)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "2")
    path = saved(tmp_path, np.zeros((40_000, 2, 2), np.uint8), name)
    with pytest.raises(GanvasError, match=r"holds 3 MB, more than the 2 MB"):
        load_dataset(path)


def test_a_byte_holds_no_thousands_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of four pixels in 17 kB took half a minute to be brought to another size, 50 million would have taken 25."""
    few, many = (np.zeros((count, 2, 2), np.uint8) for count in (40, 20_000))
    noise = np.random.default_rng(0).integers(0, 255, many.shape, np.uint8)
    for name, images in {"few": few, "many": many, "noise": noise}.items():
        np.savez_compressed(tmp_path / f"{name}.npz", images=images)
    monkeypatch.setenv("GANVAS_MAX_FILES", "100")
    assert len(load_dataset(str(tmp_path / "few.npz"))) == 40
    assert len(load_dataset(str(tmp_path / "noise.npz"))) == 20_000, "as many in as many bytes"
    with pytest.raises(GanvasError, match=r"many.npz unpacks .* to 20,000 samples.*GANVAS_MAX_FILES=20000"):
        load_dataset(str(tmp_path / "many.npz"))
    monkeypatch.setenv("GANVAS_MAX_FILES", "20000")
    assert len(load_dataset(str(tmp_path / "many.npz"))) == 20_000


@pytest.mark.parametrize("name", ["columns", "static_columns", "lengths", "static"])
def test_there_are_no_more_beside_series_than_there_can_be(tmp_path: Path, name: str) -> None:
    """Texts of no letters take no room: 6 kB of them said that there were 2^31 columns, each of which was made a text."""
    several = {"columns": np.full(2000, "a"), "static_columns": np.full(2000, "a")}
    np.savez(
        tmp_path / "many.npz",
        series=np.zeros((60, 12, 2), np.float32),
        **{name: several.get(name, np.zeros(2000))},
    )
    with pytest.raises(GanvasError, match=r"60 samples and .* can not be so many"):
        load_dataset(str(tmp_path / "many.npz"))
    header = np.lib.format.magic(1, 0), {"descr": "<U0", "fortran_order": False, "shape": (2**31,)}
    with zipfile.ZipFile(tmp_path / "none.npz", "w") as archive:
        for each, array in {"series": np.zeros((60, 12, 2), np.float32)}.items():
            with archive.open(f"{each}.npy", "w") as file:
                np.save(file, array)
        with archive.open(f"{name}.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, header[1])
    with pytest.raises(GanvasError, match="takes no room"):
        load_dataset(str(tmp_path / "none.npz"))
