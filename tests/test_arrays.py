"""The door: what people have becomes the same numbers, or an error that says what to write."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ganvas import arrays
from ganvas.effort import largest_result
from ganvas.errors import GanvasError
from tests.held import Held

X = np.random.default_rng(0).integers(-50, 50, (6, 4)).astype(np.float64)
SAME = {
    "float16": X.astype(np.float16),
    "float32": X.astype(np.float32),
    "longdouble": X.astype(np.longdouble),
    "int8": X.astype(np.int8),
    "int32": X.astype(np.int32),
    "big-endian": X.astype(">f8"),
    "big-endian whole": X.astype(">i4"),
    "negative strides": np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "column by column": np.asfortranarray(X),
    "every other row": np.repeat(X, 2, 0)[::2],
    "nothing masked": np.ma.masked_array(X, mask=np.zeros_like(X, bool)),
    "a list": X.tolist(),
    "bfloat16": torch.from_numpy(X).bfloat16(),
    "half": torch.from_numpy(X).half(),
    "uint8 offset": (X + 50).astype(np.uint8),
    "uint16 offset": (X + 50).astype(np.uint16),
    "uint64 offset": (X + 50).astype(np.uint64),
    "gradient": torch.from_numpy(X).requires_grad_(True),
    "transposed": torch.from_numpy(X.T.copy()).T,
    "conjugate": torch.from_numpy(X + 0j).conj().real,
    "negative": torch.from_numpy(1j * X).conj().imag * -1,
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_numbers_in_any_clothes(name: str) -> None:
    found = arrays.as_rows(SAME[name], "x")
    assert found.dtype in (torch.float32, torch.float64)
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy() - (50 if "offset" in name else 0), X)


def read_only() -> np.ndarray:
    locked = X.copy()
    locked.flags.writeable = False
    return locked


def test_memory_that_must_not_be_written_stays_as_it_is() -> None:
    given_ = read_only()
    arrays.as_rows(given_, "x").add_(1)
    np.testing.assert_array_equal(given_, X)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (X + 0j, "complex"),
        (torch.from_numpy(X) + 0j, "complex"),
        (np.ma.masked_less(X, 0), "masked"),
        (X.astype(object), r"astype\('float64'\)"),
        (X.astype(str), "expected numbers"),
        (np.array(["2020-01-01"], "datetime64[D]"), "expected numbers"),
        ([[1.0, 2.0], [3.0]], "equal length"),
        (torch.from_numpy(X).to_sparse(), "to_dense"),
        (torch.empty(3, 2, device="meta"), "holds no numbers"),
        (None, "expected numbers"),
        ("rows.npy", r"x is 'rows.npy', expected numbers. A file is read before: .* numpy.load\(FILE\)"),
        (Path("rows.npy"), "x is 'rows.npy', expected numbers"),
        (3.0, r"shape \(\)"),
        (np.zeros((0, 3)), "0 rows"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (X[0], r"shape \(4,\)"),
        (X[None], r"shape \(1, 6, 4\)"),
        (np.where(X > 0, np.nan, X), "hold NaN"),
        (np.where(X > 0, np.inf, X).astype(np.float32), "hold NaN or infinity"),
        (np.full((3, 2), 2**60), "beyond 2\\^53"),
        (np.full((3, 2), 2**63, np.uint64), "2\\^53"),
    ],
)
def test_what_can_not_be_taken_says_what_to_write(values: object, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        arrays.as_rows(values, "x")


@given(
    arrays_of.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint32, np.bool_, np.complex64]),
        arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
@settings(max_examples=150, deadline=None)
def test_rows_are_right_or_refused(values: np.ndarray) -> None:
    try:
        found = arrays.as_rows(values, "x")
    except GanvasError:
        good = values.ndim == 2 and values.size and values.dtype.kind != "c" and np.isfinite(values).all()
        good = good and (values.dtype.kind not in "iu" or np.abs(values.astype(float)).max() < 2**53)
        assert not good
        return
    np.testing.assert_array_equal(found.numpy(), values.astype(np.float64))


@given(st.integers(-300, 300), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60, deadline=None)
def test_sets_are_brought_near_one_and_keep_their_ratios(power: int, kind: type) -> None:
    values = X * (
        1e-38
        if kind is np.float32 and power < -37
        else 1e36
        if kind is np.float32 and power > 36
        else 10.0**power
    )
    rows = arrays.as_rows(values.astype(kind), "x")
    (found,), unit = arrays.apart(rows)
    largest = float(found.abs().max())
    assert 1 / arrays.TAME < largest < arrays.TAME
    differences = (found[1:] - found[:-1]).double().numpy() * unit
    np.testing.assert_allclose(differences, np.diff(rows.double().numpy(), axis=0), rtol=1e-6)


IMAGES = np.random.default_rng(1).integers(0, 256, (5, 3, 8, 6), dtype=np.uint8)


@pytest.mark.parametrize(
    "values",
    [IMAGES, IMAGES.transpose(0, 2, 3, 1), torch.from_numpy(IMAGES), IMAGES[::-1][::-1], torch.from_numpy(IMAGES).to(
        memory_format=torch.channels_last)],
)  # fmt: skip
def test_layouts_of_images(values: object) -> None:
    np.testing.assert_array_equal(arrays.as_samples(values, "x").numpy(), IMAGES)


def test_grey_images_without_their_channel() -> None:
    assert arrays.as_samples(IMAGES[:, 0], "x").shape == (5, 1, 8, 6)
    assert arrays.as_samples(IMAGES[:, :1].transpose(0, 2, 3, 1), "x").shape == (5, 1, 8, 6)
    assert arrays.as_samples(X, "x").dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (IMAGES[0].transpose(1, 2, 0), r"x\[None\] for the one"),
        (np.zeros((5, 8, 8, 7), np.uint8), "1, 3 or 4 channels"),
        (IMAGES / 255, "round"),
        (IMAGES.astype(int), r"astype\('uint8'\)"),
        (IMAGES + 0j, r"complex \(complex128\).*x.real"),
        (np.ma.masked_less(IMAGES, 9), r"masked.*x.filled\(VALUE\)"),
        (np.zeros((0, 3, 8, 8), np.uint8), "empty"),
        (X.astype(np.uint8), "expected uint8 images"),
        (X.astype(np.int64) + 2**40, "more digits than float32 has"),
        (X * 1e300, "more digits than float32 has"),
        (np.concatenate([X * 1e6, X + 2.0**40], 1), "more digits than float32 has"),
    ],
)
def test_samples_that_are_none(values: np.ndarray, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        arrays.as_samples(values, "x")


def test_points_with_a_constant_column_are_points() -> None:
    points = np.concatenate([X, np.full((len(X), 1), 0.1), np.full((len(X), 1), 1e9 + 0.3)], 1)
    np.testing.assert_allclose(arrays.as_samples(points, "x").numpy(), points, rtol=1e-6)


@pytest.mark.parametrize("value", [0, -1, 10**9, 1e3, 2.5, "3", None, float("nan")])
def test_counts(value: object) -> None:
    with pytest.raises(
        GanvasError, match=r"n is .*; it must be (at least 1|at most 10,000,000|a whole number)"
    ):
        arrays.count(value, "n")
    assert arrays.count(np.int32(3), "n") == 3


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "a", None, np.zeros(2)])
def test_numbers(value: object) -> None:
    with pytest.raises(GanvasError, match=r"size is .*; it must be (above 0|a number)"):
        arrays.number(value, "size", above=0)
    assert arrays.number(np.float32(0.5), "size", above=0, most=1) == 0.5


def test_points_that_are_nothing_in_float32_are_refused() -> None:
    """Their squares are nothing in float64 either, so that their deviation looked like that of a constant."""
    with pytest.raises(GanvasError, match="needs more digits than float32 has: values up to"):
        arrays.as_points(1e-200 * X, "x")
    assert arrays.as_points(np.full((5, 2), 1e-200), "x").shape == (5, 2)


def test_principal_components_of_many_rows_take_no_copy_of_them() -> None:
    """They are those of all rows at once; nothing that is made on the way has as many numbers as there are."""
    rows = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    values, vectors = arrays.leading(rows, 3)
    wanted = torch.linalg.svd(rows.double(), full_matrices=False)
    torch.testing.assert_close(values.flip(0), wanted.S[:3].square())
    torch.testing.assert_close((wanted.Vh[:3] @ vectors.flip(1)).abs(), torch.eye(3, dtype=torch.float64))
    assert largest_result(lambda: arrays.leading(rows, 3)) < rows.numel() / 2


def test_points_are_held_against_their_float32_some_at_a_time() -> None:
    """Of 0.4 GB of points there were five copies in float64."""
    points = torch.randn(200_000, 8, generator=torch.Generator().manual_seed(0))
    with Held() as held:
        assert torch.equal(arrays.as_points(points, "x"), points)
    assert held.most < 3 * points.nbytes  # one of them is for what is finite


def test_parts_are_joined_as_they_come() -> None:
    whole = torch.arange(14, dtype=torch.uint8).reshape(7, 2)
    found = arrays.joined(iter(whole.split(3)), 7)
    assert torch.equal(found, whole)
    assert found.dtype == whole.dtype
