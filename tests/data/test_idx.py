import gzip
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.cache import cache_folder
from ganvas.config import DataConfig
from ganvas.data import idx, limits, load_dataset
from ganvas.errors import GanvasError
from tests.conftest import full_disk

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def encode(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write(
    folder: Path, suffix: str = ".gz", labels: np.ndarray = LABELS, images: np.ndarray = IMAGES
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        content = encode(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_idx_files(tmp_path: Path, suffix: str) -> None:
    data = load_dataset(str(write(tmp_path / "mine", suffix)))
    assert data.shape == (1, 28, 28)
    assert data.num_classes == 10
    images, labels = data.take(torch.arange(20))
    assert torch.equal(images[:, 0], torch.from_numpy(IMAGES))
    assert labels is not None
    assert labels.tolist() == LABELS.tolist()


def test_damaged_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(encode(IMAGES)[:-5])
    with pytest.raises(GanvasError, match="damaged"):
        load_dataset(str(folder))
    path.write_bytes(b"hello world")
    with pytest.raises(GanvasError, match="not an IDX file"):
        load_dataset(str(folder))
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(encode(IMAGES))[:-50])
    with pytest.raises(GanvasError, match="cannot be read"):
        load_dataset(str(folder))


def test_labels_must_match_in_number(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="20 images and 19 labels"):
        load_dataset(str(write(tmp_path / "mine", labels=LABELS[:19])))


def test_files_that_are_written_anew_while_they_are_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of one version stood beside the images of another."""
    write(tmp_path, "")
    read = idx.read_idx

    def between(path: Path) -> torch.Tensor:
        found = read(path)
        write(tmp_path, "", LABELS[::-1], IMAGES[::-1])
        return found

    monkeypatch.setattr(idx, "read_idx", between)
    with pytest.raises(GanvasError, match="was changed while it was read"):
        load_dataset(str(tmp_path))


def test_labels_are_the_classes_that_are_there(tmp_path: Path) -> None:
    data = load_dataset(str(write(tmp_path / "mine", labels=LABELS * 20 + 5)))
    assert data.class_names == ("5", "25", "45", "65", "85", "105", "125", "145", "165", "185")
    assert data.labels is not None
    assert data.labels.tolist() == LABELS.tolist()
    other = load_dataset(str(write(tmp_path / "other", labels=LABELS[::-1].copy())))
    assert other.fingerprint != load_dataset(str(write(tmp_path / "more"))).fingerprint, (
        "exchanged labels are other data"
    )


def test_a_header_decides_how_much_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 30 kB that inflate to 30 MB: one whose header says less is damaged, one that says so is too large."""
    zeros = np.zeros((30, 1000, 1000), np.uint8)
    lying, honest = (write(tmp_path / name) for name in ("lying", "honest"))
    for folder, content in ((lying, encode(IMAGES)[:16] + zeros.tobytes()), (honest, encode(zeros))):
        (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    monkeypatch.setenv("GANVAS_MAX_GB", "0.02")
    tracemalloc.start()
    with pytest.raises(GanvasError, match="damaged"):
        load_dataset(str(lying))
    with pytest.raises(GanvasError, match=r"more than the 0.02 GB.*GANVAS_MAX_GB="):
        load_dataset(str(honest))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_byte_holds_no_thousands_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is brought to its size alone, which takes a thousand times as long as to unpack it."""
    folder = write(
        tmp_path / "mine", ".gz", images=np.zeros((20_000, 2, 2), np.uint8), labels=np.zeros(20_000, np.uint8)
    )
    assert len(load_dataset(str(folder))) == 20_000
    monkeypatch.setenv("GANVAS_MAX_FILES", "100")
    with pytest.raises(GanvasError, match=r"to 20,000 samples.*GANVAS_MAX_FILES=20000"):
        load_dataset(str(folder))


def test_sizes_that_wrap_and_empty_ones(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(bytes([0, 0, 8, 3]) + b"\x80\0\0\0" + b"\0\0\0\x02" * 1 + b"\0\0\0\x02")
    with pytest.raises(GanvasError, match="more than the"):
        load_dataset(str(folder))
    path.write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12)  # (2^32 - 1)^3 wraps in 64 bits
    with pytest.raises(GanvasError, match="more than the"):
        load_dataset(str(folder))
    for sizes in (
        b"\0" * 12,
        b"\0" * 4 + b"\xff" * 8,
    ):  # none, and none of more pixels than an array can have
        path.write_bytes(bytes([0, 0, 8, 3]) + sizes)
        with pytest.raises(GanvasError, match="holds nothing"):
            load_dataset(str(folder))
    path.write_bytes(bytes([0, 0, 8, 3, 0, 0]))
    with pytest.raises(GanvasError, match="damaged"):
        load_dataset(str(folder))


def test_a_label_beyond_the_classes_of_a_named_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(idx.SYSTEM_FOLDERS, "fashion-mnist", write(tmp_path / "system", labels=LABELS + 1))
    with pytest.raises(GanvasError, match="holds the label 10 of 10 classes"):
        load_dataset("fashion-mnist")


def test_download_is_checked_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = write(tmp_path / "server")
    monkeypatch.setitem(idx.URLS, "mnist", server.as_uri() + "/")
    with pytest.raises(GanvasError, match=r"SHA-256 .* It was not kept"):
        load_dataset("mnist")
    assert not list(cache_folder().rglob("*")) or not list(cache_folder().rglob("*.gz"))
    good = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in server.iterdir()}
    monkeypatch.setitem(idx.SHA256, "mnist", good)
    assert len(load_dataset("mnist")) == 20
    for path in server.iterdir():
        path.unlink()
    data = load_dataset("mnist")  # from the cache now
    assert data.class_names == tuple("0123456789")


def test_who_has_no_room_in_the_cache_is_told_how_to_name_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words named --out, which is another folder."""
    server = write(tmp_path / "server")
    monkeypatch.setitem(idx.URLS, "mnist", server.as_uri() + "/")
    monkeypatch.setitem(
        idx.SHA256, "mnist", {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in server.iterdir()}
    )
    monkeypatch.setattr(idx.io, "write_bytes", full_disk)
    with pytest.raises(GanvasError, match=r"No space left.*GANVAS_CACHE=FOLDER"):
        load_dataset("mnist")


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(idx.URLS, "mnist", (tmp_path / "nowhere").as_uri() + "/")
    told = r"Could not download.*ganvas train /path/to/mnist.*for a model --data /path/to/mnist.*--reference"
    with pytest.raises(GanvasError, match=told) as caught:
        load_dataset("mnist")
    assert "Debian" not in str(caught.value)
    monkeypatch.setitem(idx.URLS, "fashion-mnist", (tmp_path / "nowhere").as_uri() + "/")
    monkeypatch.setitem(idx.SYSTEM_FOLDERS, "fashion-mnist", tmp_path / "nowhere")
    with pytest.raises(GanvasError, match=r"apt install dataset-fashion-mnist"):
        load_dataset("fashion-mnist")


def test_the_systems_copy_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(idx.SYSTEM_FOLDERS, "fashion-mnist", write(tmp_path / "system"))
    data = load_dataset(DataConfig("fashion-mnist", resolution=14))
    assert data.shape == (1, 14, 14)
    assert data.class_names[9] == "Ankle boot"


def test_published_checksums_are_complete() -> None:
    for name, files in idx.SHA256.items():
        assert name in idx.URLS
        assert len(files) == 4
        assert all(len(digest) == 64 and int(digest, 16) for digest in files.values())


@pytest.mark.parametrize("packed", [True, False])
def test_no_memory_is_asked_for_what_a_file_says_it_holds(tmp_path: Path, packed: bool) -> None:
    """Half a gigabyte, of 20 bytes."""
    path = tmp_path / ("images.gz" if packed else "images")
    content = b"\0\0\x08\x03" + b"".join(each.to_bytes(4, "big") for each in (8192, 256, 256)) + b"x"
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(GanvasError, match="its size says otherwise"):
            idx.read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


def test_images_are_held_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unpacked and its copy: 0.95 MB took 2.2 GB."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(
        gzip.compress(
            b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (5000, 64, 64)) + bytes(5000 * 2**12)
        )
    )
    load_dataset(str(tmp_path))
    monkeypatch.setattr(idx, "BLOCK", 2**16)
    tracemalloc.start()
    found = load_dataset(str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tuple(found.items.shape) == (5000, 1, 64, 64)  # type: ignore[union-attr]
    assert peak < 1.4 * 5000 * 2**12


def test_labels_that_do_not_fit_beside_the_images_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each became several numbers of eight bytes, before any was compared with the images."""
    for kind, sizes in (("images-idx3", (20_000, 1, 1)), ("labels-idx1", (20_000,))):
        start = b"\0\0\x08" + bytes([len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
        (tmp_path / f"train-{kind}-ubyte").write_bytes(start + bytes(20_000))
    monkeypatch.setattr(limits, "ALWAYS", 2**20)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "1")
    with pytest.raises(GanvasError, match="with its labels holds 3 MB, more than"):
        load_dataset(str(tmp_path))
