import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from ganvas.config import DataConfig
from ganvas.data import Dataset, fit, fitted, load_dataset
from ganvas.data.fitted import gathered
from ganvas.data.joined import in_memory
from ganvas.errors import GanvasError


def numbers(n: int) -> Dataset:
    return Dataset("n", torch.arange(n, dtype=torch.float32)[:, None], (1,), "x")


def test_an_item_of_another_shape_is_named() -> None:
    """It was broadcast where it fitted so, and a traceback where not."""
    images = [torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 4, dtype=torch.uint8)]
    with pytest.raises(
        GanvasError, match=r"Sample 1 of mine has shape \(1, 1, 4\), and the data \(1, 4, 4\)"
    ):
        Dataset("mine", images, (1, 4, 4), "f").take(torch.arange(2))


def test_digits_are_scikit_learns() -> None:
    data, bunch = load_dataset("digits"), load_digits()
    images, labels = data.take(torch.arange(len(data)))
    assert images.shape == (1797, 1, 8, 8)
    assert images.max() == 255
    torch.testing.assert_close(
        images[:, 0].double() * 16 / 255, torch.from_numpy(bunch.images), atol=0.04, rtol=0
    )
    assert labels is not None
    assert labels.tolist() == bunch.target.tolist()


def test_digits_are_found_where_scikit_learn_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is read without it, as that is quicker; a version that keeps it elsewhere is asked."""
    usual = load_dataset("digits")
    monkeypatch.setattr("ganvas.data.digits.find_spec", lambda name: None)
    asked = load_dataset("digits")
    for one, other in zip(*(data.take(torch.arange(len(data))) for data in (usual, asked)), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_digits_are_there_without_what_takes_long_to_import() -> None:
    code = "import sys, ganvas.data; ganvas.data.load_dataset('digits'); print('sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 3000), share=st.floats(0, 0.89))
def test_the_split_is_a_partition_and_never_moves(n: int, share: float) -> None:
    kept, held = numbers(n).split(share)
    together = torch.cat([part.take(torch.arange(len(part)))[0].flatten() for part in (kept, held)])
    assert sorted(together.tolist()) == list(range(n))
    assert len(held) == min(round(n * share), 10_000, n - 1)
    again = numbers(n).split(share)[1]
    assert torch.equal(again.take(torch.arange(len(again)))[0], held.take(torch.arange(len(held)))[0])


@pytest.mark.parametrize(
    ("n", "folds"), [(27, 10), (1797, 10), (16, 10), (33, 7), (20, 2), (10, 10), (100, 3)]
)
@pytest.mark.parametrize("windows", [False, True])
def test_no_two_folds_hold_out_the_same(n: int, folds: int, windows: bool) -> None:
    """Of 27 patients in ten folds three were held out each time, so that the last fold was the first one again."""
    data = numbers(n)
    if windows:
        n = max(n, 20)  # sequences of two windows each, held out as a whole
        spans = torch.stack(
            [torch.arange(n).repeat_interleave(2), *torch.tensor([[0, 0.9], [0.1, 1]]).T.repeat(1, n)], 1
        )
        data = replace(numbers(2 * n), spans=spans.double())
    parts = [data.split(1 / folds, fold) for fold in range(folds)]
    held = [
        number for _, held in parts for number in held.take(torch.arange(len(held)))[0].flatten().tolist()
    ]
    assert len(set(held)) == len(held)
    assert len(data) - len(held) < folds * (2 if windows else 1)
    assert all(len(kept) + len(held) == len(data) for kept, held in parts)


def test_what_is_brought_to_a_shape_is_held_once() -> None:
    """A list of all pictures stood beside all of them."""
    alive, most = weakref.WeakSet[torch.Tensor](), 0

    class Counted:
        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: int) -> torch.Tensor:
            nonlocal most
            found = torch.full((1, 2, 2), index, dtype=torch.uint8)
            alive.add(found)
            most = max(most, len(alive))
            return found

    assert gathered(Counted())[:, 0, 0, 0].tolist() == list(range(50))
    assert most <= 3


def test_of_many_pictures_that_are_enlarged_only_some_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's model of 211 kB that named a known set had all of its 70,000 pictures enlarged: 3.4 GB, and a minute."""
    data = Dataset("d", torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8), (1, 8, 8), "x")
    brought = [fit(data, (3, 16, 16))]
    monkeypatch.setattr(fitted, "ALWAYS", 50 * 3 * 16 * 16 - 1)
    brought.append(fit(data, (3, 16, 16)))
    assert [each.resident for each in brought] == [True, False]
    assert torch.equal(*(each.take(torch.tensor([3, 49]))[0] for each in brought))
    assert brought[0].fingerprint == brought[1].fingerprint
    # As large as a header says beside the set, and of several sets; who trains has them in memory.
    several = DataConfig("digits", resolution=16, also=("shapes",))
    monkeypatch.setattr(fitted, "ALWAYS", 2**28)
    at_once = load_dataset(several)
    monkeypatch.setattr(fitted, "ALWAYS", 1000)
    asked_for = load_dataset(several)
    assert (at_once.resident, asked_for.resident, in_memory(asked_for).resident) == (True, False, True)
    assert torch.equal(in_memory(asked_for).items, at_once.items)
    assert asked_for.fingerprint == at_once.fingerprint


def test_a_part_is_split_into_parts_of_it() -> None:
    """It was split by the places of all the data: 90 zeros of digits became the first 90 of anything."""
    part = numbers(100).subset(torch.arange(60, 100))
    kept, held = (each.take(torch.arange(len(each)))[0].flatten().tolist() for each in part.split(0.25))
    assert (len(kept), len(held)) == (30, 10)
    assert sorted(kept + held) == list(range(60, 100))


def test_a_part_of_windows_is_split_in_its_time() -> None:
    data = load_dataset(DataConfig("goog", window=24))
    part = data.split(0.5)[1]
    kept, held = part.split(0.6)
    assert part.indices is not None
    assert kept.indices is not None
    assert held.indices is not None
    assert 0 < len(held) < len(part)
    assert set(held.indices.tolist()) <= set(part.indices.tolist())
    assert set(kept.indices.tolist()) <= set(part.indices.tolist())


def test_a_part_of_many_sequences_is_split_by_them() -> None:
    """Of ten sequences that are held out of a hundred each was cut in time: what was apart was of the same ones."""
    start = torch.arange(5).repeat(100) / 10
    spans = torch.stack([torch.arange(100).repeat_interleave(5), start, start + 0.5], 1).double()
    data = Dataset("x", torch.zeros(500, 1, 4, 4, dtype=torch.uint8), (1, 4, 4), "", spans=spans)
    held = data.split(0.1)[1]
    parts = [set(spans[part.indices][:, 0].tolist()) for part in held.split(0.5)]
    assert [len(part) for part in parts] == [5, 5]
    assert not parts[0] & parts[1]
    assert held.kin is not None
    assert held.kin[:, 1:].unique(dim=0).tolist() == [[0, 1]]  # each is kin to all of its sequence
    one = data.subset(torch.arange(5))
    assert one.kin is not None
    assert torch.equal(one.kin, spans[:5])  # of a single sequence there is nothing else to hold it against
    assert numbers(10).kin is None


def test_at_most_ten_thousand_are_held_out() -> None:
    assert len(numbers(200_000).split(0.1)[1]) == 10_000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("fashion-mnits", "Did you mean 'fashion-mnist'"),
        ("no/such/folder", "neither a known data set nor an existing path"),
        ("toy:ring9", "Did you mean 'toy:ring8'"),
    ],
)
def test_unknown_sources(source: str, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        load_dataset(source)


def test_a_part_is_split_among_its_own() -> None:
    images = torch.zeros(50, 1, 4, 4, dtype=torch.uint8)
    spans = torch.stack([torch.zeros(50), torch.arange(50) / 50, torch.arange(1, 51) / 50], 1).double()
    for data in (Dataset("x", images, (1, 4, 4), ""), Dataset("x", images, (1, 4, 4), "", spans=spans)):
        parts = data.subset(torch.arange(30, 50)).split(0.2)
        rows = [part.indices.tolist() for part in parts if part.indices is not None]
        assert min(rows[0] + rows[1]) == 30
        assert len(rows[0]) > 5
        assert not set(rows[0]) & set(rows[1])


def test_what_is_read_one_by_one_comes_in_one_piece() -> None:
    items = [torch.full((1, 2, 3), i, dtype=torch.uint8) for i in range(5)]
    data = Dataset("n", items, (1, 2, 3), "x", labels=torch.arange(5), indices=torch.tensor([4, 1, 3]))
    found, labels = data.take(torch.tensor([2, 0]))
    assert (found.dtype, found.shape) == (torch.uint8, (2, 1, 2, 3))
    assert found[:, 0, 0, 0].tolist() == [3, 4]
    assert labels is not None
    assert labels.tolist() == [3, 4]
    assert data.take(torch.empty(0, dtype=torch.int64))[0].shape == (0, 1, 2, 3)


def test_pictures_have_no_way_to_two_channels() -> None:
    """Another toolkit's generator may draw them: it was a traceback."""
    with pytest.raises(
        GanvasError, match="Images of 2 channels are wanted, and those of digits have 1, 3 or 4"
    ):
        load_dataset("digits", (2, 8, 8))
