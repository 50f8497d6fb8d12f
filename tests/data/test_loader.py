import multiprocessing
import os
import signal
import subprocess
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganvas.config import DataConfig
from ganvas.data import Batches, Dataset, load_dataset
from ganvas.data.loader import epoch_order
from ganvas.errors import GanvasError
from ganvas.pictures import png, to_image

CPU = torch.device("cpu")


def numbers(n: int) -> Dataset:
    return Dataset("n", torch.arange(n, dtype=torch.float32)[:, None], (1,), "x")


@settings(deadline=None, max_examples=30)
@given(n=st.integers(3, 50), batch=st.integers(2, 50), seed=st.integers(0, 5))
def test_every_epoch_visits_everything_once(n: int, batch: int, seed: int) -> None:
    batch = min(batch, n)
    seen = torch.cat(
        [x.flatten() for x, _ in islice(Batches(numbers(n), batch, seed, CPU), -(-3 * n // batch))]
    )
    for epoch in range(3):
        assert sorted(seen[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_a_later_start_continues_the_same_order() -> None:
    whole = [x for x, _ in islice(Batches(numbers(23), 4, 1, CPU), 20)]
    later = [x for x, _ in islice(Batches(numbers(23), 4, 1, CPU, start=28), 13)]
    assert all(torch.equal(a, b) for a, b in zip(whole[7:], later, strict=True))
    other = next(iter(Batches(numbers(23), 4, 2, CPU)))[0]
    assert not torch.equal(whole[0], other)


def test_workers_give_the_same_batches(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(str(image_folder), resolution=8)
    resident = load_dataset(config)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.0001")
    streamed = load_dataset(config)
    assert not streamed.resident
    first = list(islice(Batches(resident, 5, 0, CPU), 6))
    second = list(islice(Batches(streamed, 5, 0, CPU, workers=2), 6))
    for (a, labels_a), (b, labels_b) in zip(first, second, strict=True):
        assert torch.equal(a, b)
        assert labels_a is not None
        assert labels_b is not None
        assert torch.equal(labels_a, labels_b)


def test_workers_open_a_zip_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were forked off with the one that previews and the monitor had read from: it has one position for all of them."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (200, 3, 48, 48), dtype=torch.uint8, generator=random)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i, each in enumerate(pixels):
            archive.writestr(f"{i:03}.png", png(to_image(each)))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0")
    streamed = load_dataset(tmp_path / "a.zip")
    assert torch.equal(streamed.take(torch.arange(3))[0], pixels[:3])
    found = torch.cat([x for x, _ in islice(Batches(streamed, 20, 0, CPU, workers=2), 40)])
    assert torch.equal(found[-200:], pixels[epoch_order(200, 0, 3)])


@pytest.mark.parametrize("how", ["damaged", "enlarged", "exchanged"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_is_changed_while_others_are_read_is_named(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int, how: str
) -> None:
    """Of a worker the traceback was all that came. One of another size was taken for a worker that ran out of memory, and nothing
    was saved; another of its size was trained on without a word."""
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.0001")
    for path in image_folder.rglob("*.png"):
        Image.open(path).resize((8, 8)).save(path)
    streamed = load_dataset(str(image_folder))
    assert not streamed.resident
    for path in image_folder.rglob("*.png"):
        if how == "damaged":
            path.write_bytes(path.read_bytes()[:40])
            continue
        picture = Image.open(path)
        changed = (
            picture.resize((9, 9)) if how == "enlarged" else picture.transpose(Image.Transpose.ROTATE_90)
        )
        changed.save(path)
    with pytest.raises(GanvasError, match="could be read before and cannot any more") as error:
        next(iter(Batches(streamed, 5, 0, CPU, workers=workers)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_somebody_elses_items_raise_is_theirs(workers: int) -> None:
    """It was said that their process had been ended, most likely for want of memory."""

    class Failing:
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> torch.Tensor:
            raise RuntimeError("of their own")

    data = Dataset("mine", Failing(), (1, 2, 2), "f")
    with pytest.raises(RuntimeError, match="of their own"):
        next(iter(Batches(data, 4, 0, CPU, workers=workers)))


def test_a_batch_larger_than_the_data() -> None:
    with pytest.raises(GanvasError, match=r"batch of 64 does not fit 10 .* --batch 5"):
        Batches(numbers(10), 64, 0, CPU)
    with pytest.raises(GanvasError, match="wants 2 samples at least, of n there are 1"):
        Batches(numbers(1), 2, 0, CPU)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_worker_that_is_killed_is_told_of_between_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of memory, say: torch raised wherever the training was, and it ended in a traceback."""
    np.save(tmp_path / "a.npy", np.zeros((64, 8, 8), np.uint8))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.001")
    others = multiprocessing.active_children()
    batches = iter(Batches(load_dataset(str(tmp_path / "a.npy")), 4, 0, CPU, workers=1))
    next(batches)
    (worker,) = {*multiprocessing.active_children()} - {*others}
    worker.kill()
    worker.join(20)
    with pytest.raises(GanvasError, match=r"ended from outside, .* --resume"):
        list(islice(batches, 20))  # what it had handed on before comes first


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="signals, and who sent them")
@pytest.mark.parametrize("name", ["INT", "HUP", "TERM"])
def test_signals_to_all_processes_leave_the_workers_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A terminal that closes, and `timeout`, tell all of them: torch ended the training in the midst of its save."""
    np.save(tmp_path / "a.npy", np.zeros((64, 8, 8), np.uint8))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.001")
    data = load_dataset(str(tmp_path / "a.npy"))
    assert not data.resident
    others = multiprocessing.active_children()
    batches = iter(Batches(data, 4, 0, torch.device("cpu"), workers=2))
    for _ in range(4):  # of either: one that has not begun takes a signal as Python does
        next(batches)
    before = [*{*multiprocessing.active_children()} - {*others}]
    assert len(before) == 2
    subprocess.run(["kill", "-s", name, *(str(each.pid) for each in before)], check=True)
    for _ in range(20):
        next(batches)
    assert all(each.is_alive() for each in before)
    before[0].terminate()  # as Python does at its end, which then waits for them
    before[1].terminate()
    for each in before:
        each.join(20)
        assert not each.is_alive()
