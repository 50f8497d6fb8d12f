"""MNIST and its relatives: IDX files from a folder, from Debian's package, or downloaded once and checked."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganvas import io
from ganvas.cache import cache_folder, fetch, keeping
from ganvas.config import DataConfig
from ganvas.data.base import Dataset, datasets
from ganvas.data.fitted import from_arrays
from ganvas.data.labels import number
from ganvas.data.limits import EACH_LABEL, check_count, check_growth, check_memory
from ganvas.data.listing import show
from ganvas.errors import GanvasError, counted

Split = Literal["train", "test"]
PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
CLASSES = {
    "digits": tuple("0123456789"),
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip
URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
BLOCK = 2**24
"""Bytes that are read at a time."""
SYSTEM_FOLDERS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
"""Of the compressed files as published by their authors."""


def is_idx_folder(path: Path) -> bool:
    """True for a folder with MNIST's file names in it."""
    return _find(path, "train", "images") is not None


def read_idx(path: Path) -> Tensor:
    """One IDX file of bytes, gzipped or not, as a uint8 tensor.

    Raises `GanvasError` when it is damaged, or says that it holds more than the limits allow: that much is never unpacked.
    """
    try:
        packed = path.stat().st_size
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08" or not 1 <= start[3] <= 3:
                raise GanvasError(f"{path} is not an IDX file of bytes.")
            sizes = file.read(4 * start[3])
            shape = [int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * start[3], 4)]
            size = math.prod(shape)
            if path.suffix == ".gz":
                check_growth(packed, size, str(path))
                if len(shape) == 3:
                    check_count(packed, shape[0], str(path))
            check_memory(size, str(path), "Take a part of it")
            # A piece at a time: as much memory as it says would be asked for at once.
            content = bytearray()
            while len(content) <= size and (piece := file.read(min(BLOCK, size + 1 - len(content)))):
                content += piece
    except (OSError, EOFError, zlib.error) as error:
        raise GanvasError(f"{path} cannot be read: {error}.") from error
    # Of no images the other sizes may be as large as one likes, which numpy refuses.
    if len(sizes) == 4 * start[3] and 0 in shape:
        raise GanvasError(f"{path} holds nothing: its header says {shape}.")
    if len(sizes) != 4 * start[3] or len(content) != size:
        raise GanvasError(
            f"{path} is damaged: its header says {shape}, its size says otherwise. Fetch it again."
        )
    # The very bytes: a copy would be as many again.
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)


def load_folder(
    path: Path, config: DataConfig, name: str = "", class_names: tuple[str, ...] = (), split: Split = "train"
) -> Dataset:
    """The training (or test) images and labels of a folder of IDX files."""
    found = _find(path, split, "images")
    if found is None:
        raise GanvasError(f"{path} holds no {PREFIX[split]}-images-idx3-ubyte file.")
    labels_path = _find(path, split, "labels")
    with io.unchanged(found, *([] if labels_path is None else [labels_path])):
        images = read_idx(found)
        given = None if labels_path is None else read_idx(labels_path)
    if images.dim() != 3:
        raise GanvasError(f"{found} holds no images: its shape is {tuple(images.shape)}, expected (N, H, W).")
    if given is not None and given.shape != (len(images),):
        raise GanvasError(
            f"{path} holds {counted(len(images), 'image')} and {counted(len(given), 'label')}; expected as many."
        )
    # Beside the images: their sizes, and labels as numbers that are looked up in one another.
    noted = EACH_LABEL * (len(images) + (0 if given is None else len(given)))
    check_memory(images.nbytes + noted, f"{path} with its labels", "Take a part of it")
    if given is not None:
        given = given.long()
    if given is not None and class_names and int(given.max()) >= len(class_names):
        raise GanvasError(
            f"{labels_path} is damaged: it holds the label {int(given.max())} of {len(class_names)} classes."
        )
    if given is None or class_names:
        return from_arrays(name or path.resolve().name, images[:, None], given, class_names, config)
    labels, class_names, notes = number(given.numpy(), str(labels_path))
    return from_arrays(
        name or show(path.resolve().name),
        images[:, None],
        labels,
        class_names,
        config,
        notes,
        own_labels=True,
    )


def load_named(name: str, config: DataConfig, split: Split = "train") -> Dataset:
    """`mnist` or `fashion-mnist`: the system's copy when there is one, else the checked download in the cache."""
    folder = _system_copy(name)
    if folder is None:
        folder = cache_folder() / name
        for kind in ("images-idx3", "labels-idx1"):
            _download(name, f"{PREFIX[split]}-{kind}-ubyte.gz", folder)
    return load_folder(folder, config, name, CLASSES[name], split)


def at_hand(name: str) -> bool:
    """Whether `name` is here already: `load_named` would not download it."""
    return _system_copy(name) is not None or is_idx_folder(cache_folder() / name)


def _system_copy(name: str) -> Path | None:
    folder = SYSTEM_FOLDERS.get(name)
    return folder if folder is not None and is_idx_folder(folder) else None


def _find(folder: Path, split: Split, kind: str) -> Path | None:
    dims = "3" if kind == "images" else "1"
    for separator in ("-", "."):
        for suffix in ("", ".gz"):
            path = folder / f"{PREFIX[split]}-{kind}{separator}idx{dims}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def _download(name: str, file: str, folder: Path) -> None:
    if (folder / file).is_file():
        return
    url = URLS[name] + file
    packed = f" (Debian has them: apt install dataset-{name})" if name in SYSTEM_FOLDERS else ""
    content = fetch(
        url,
        f"Fetch the four files of {name} by other means{packed} and give their folder: ganvas train /path/to/{name}, "
        f"or for a model --data /path/to/{name} (ganvas eval: --reference).",
    )
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name][file]:
        raise GanvasError(
            f"{url} gave a file with SHA-256 {found}, expected {SHA256[name][file]}. It was not kept."
        )
    with keeping():
        io.write_bytes(folder / file, content)


datasets.add(
    "mnist", lambda config: load_named("mnist", config), "60,000 handwritten digits, 28 px, download"
)
datasets.add(
    "fashion-mnist",
    lambda config: load_named("fashion-mnist", config),
    "60,000 garments, 28 px: Debian's dataset-fashion-mnist or download",
)
