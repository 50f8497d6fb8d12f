"""Coverage-guided fuzzing of everything that reads files and texts from outside.

    python tools/fuzz.py all --minutes 30     # every target in turn, in processes of their own
    python tools/fuzz.py zip --minutes 3      # one of them
    python tools/fuzz.py zip crash-0123       # what it found, once more

Needs `pip install atheris` in an environment of its own; the same targets run under hypothesis in tests/test_fuzz.py. A target
returns, or raises `GanvasError`: any other exception, more than 10 s or more than 3 GiB for one input is a find. Inputs that
failed are kept in fuzz/TARGET beside the corpus.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS, MEBIBYTES = 10, 3072
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Target:
    """Something that reads bytes from outside."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    """Inputs that are taken: they show the fuzzer what one looks like."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for one input."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as path:
        yield Path(path)


def opened(name: str) -> Callable[[bytes], object]:
    """Open the input as a data set under this name."""

    def run(content: bytes) -> object:
        from ganvas.data import load_dataset

        with folder() as place:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            source = path.parent if path.parent != place else path
            return load_dataset(str(source)).fingerprint

    return run


def png() -> bytes:
    """A PNG of 4 x 4 px, without a library."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + bytes(range(12)) for _ in range(4)))),
        (b"IEND", b""),
    ]
    body = [
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def pictures() -> list[bytes]:
    """One small picture of each kind."""
    from PIL import Image

    found = [png()]
    for kind in ("JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), "teal").save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def zipped(members: dict[str, bytes]) -> bytes:
    """A .zip as bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # the same date in every run
    return buffer.getvalue()


def zips() -> list[bytes]:
    """Labelled folders, also with StyleGAN's document."""
    document = json.dumps({"labels": [["0/a.png", 1], ["1/b.png", 0]]}).encode()
    labelled = {"cats/a.png": png(), "dogs/b.png": png(), "notes.txt": b"x"}
    return [zipped(labelled), zipped({"0/a.png": png(), "1/b.png": png(), "dataset.json": document})]


def npy(array: object) -> bytes:
    """An array as .npy."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def arrays() -> list[bytes]:
    """Images in two layouts, and points."""
    import numpy as np

    images = np.zeros((2, 4, 4), np.uint8)
    return [npy(images), npy(images[..., None]), npy(np.zeros((3, 2)))]


def archives() -> list[bytes]:
    """Labelled images and points."""
    images, points, _ = arrays()
    return [
        zipped({"images.npy": images, "labels.npy": npy([3, 1])}),
        zipped({"points.npy": npy([[0.5, 1.0]]), "labels.npy": npy(["a"])}),
        zipped({"x.npy": points}),
    ]


def idx() -> list[bytes]:
    """Two images of 3 x 3 px."""
    return [bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3]) + bytes(range(18))]


def split(content: bytes) -> list[bytes]:
    """Parts of an input, each after its length in two bytes."""
    parts = []
    while len(content) > 2:
        length = int.from_bytes(content[:2], "little")
        parts.append(content[2 : 2 + length])
        content = content[2 + length :]
    return parts


def joined(*parts: bytes) -> bytes:
    """The inverse of `split`."""
    return b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def members(name: str, fixed: tuple[str, ...] = ()) -> Callable[[bytes], object]:
    """A .zip whose checksums are right, so that its members are looked at: names and contents in turn, or contents alone."""
    run = opened(name)

    def structured(content: bytes) -> object:
        parts = split(content)[:40]
        names = fixed or tuple(
            part.decode("utf-8", "replace").replace("\0", "") or "x" for part in parts[::2]
        )
        contents = parts if fixed else parts[1::2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that occur twice
            return run(zipped(dict(zip(names, contents, strict=False))))

    return structured


def document(content: bytes) -> object:
    """StyleGAN's dataset.json beside two pictures."""
    from ganvas.data import load_dataset

    with folder() as place:
        for name in ("a.png", "b.png"):
            (place / name).write_bytes(png())
        (place / "dataset.json").write_bytes(content)
        return load_dataset(str(place)).labels


def model() -> bytes:
    """A small generator's file."""
    import torch

    from ganvas import networks
    from ganvas.config import Config, NetworkConfig
    from ganvas.model import save_network

    config = Config(network=NetworkConfig("mlp", 2, generator={"hidden": [4]}, critic={"hidden": [4]}))
    torch.manual_seed(0)
    network = networks.build_generator(config.network, (2,), 0)
    header = {"kind": "generator", "shape": [2], "num_classes": 0, "kimg": 0.0, "data": {}, "class_names": []}
    with folder() as place:
        save_network(place / "a.safetensors", network, config, header)
        return (place / "a.safetensors").read_bytes()


def load_model(content: bytes) -> object:
    """A file of weights, header and all."""
    from ganvas.model_file import load

    with folder() as place:
        (place / "a.safetensors").write_bytes(content)
        return load(place / "a.safetensors", device="cpu").sample(2)


def header() -> list[bytes]:
    """What ganvas writes into the header of such a file."""
    content = model()
    length = int.from_bytes(content[:8], "little")
    return [json.loads(content[8 : 8 + length])["__metadata__"]["ganvas"].encode()]


def load_header(content: bytes) -> object:
    """The same weights under another header."""
    whole = model()
    length = int.from_bytes(whole[:8], "little")
    entries = json.loads(whole[8 : 8 + length])
    entries["__metadata__"]["ganvas"] = content.decode("utf-8", "replace")
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return load_model(len(text).to_bytes(8, "little") + text + whole[8 + length :])


def recipes() -> list[bytes]:
    """A recipe as the explorer saves it."""
    from ganvas.web.state import Recipe, State, Timeline, to_json

    recipe = Recipe("fashion", "0" * 16, State(seed=3), Timeline(keys=(State(), State(seed=1))))
    return [json.dumps(to_json(recipe)).encode()]


def links() -> list[bytes]:
    """The same in an address."""
    from ganvas.web.state import from_bytes, to_text

    return [to_text(from_bytes(recipes()[0])).encode()]


def read_recipe(content: bytes) -> object:
    """An uploaded recipe."""
    from ganvas.web.state import from_bytes

    return from_bytes(content)


def read_link(content: bytes) -> object:
    """A recipe in an address."""
    from ganvas.web.state import from_text

    return from_text(content.decode("utf-8", "replace"))


def read_config(content: bytes) -> object:
    """A run's config.json, its statistics and figures."""
    from ganvas.runs import open_run

    with folder() as place:
        for name in ("config.json", "stats.jsonl", "metrics.jsonl"):
            (place / name).write_bytes(content)
        run = open_run(place)
        return run.config, run.stats, run.metrics


def configs() -> list[bytes]:
    """The least config.json."""
    from ganvas.config import Config, to_dict

    return [json.dumps({"format_version": 1, "config": to_dict(Config()), "data": {"name": "a"}}).encode()]


def read_lines(content: bytes) -> object:
    """JSON lines, and rows of figures."""
    from ganvas import io as files
    from ganvas.metrics.rows import read_rows

    with folder() as place:
        (place / "a.jsonl").write_bytes(content)
        files.read_json_lines(place / "a.jsonl")
        return read_rows(place / "a.jsonl")


def lines() -> list[bytes]:
    """A document of rows as `ganvas eval --out` writes it: on one line."""
    from ganvas.metrics import Row

    row = Row(
        "frechet", 1.0, 0.1, "bootstrap", 0.2, 10, 100, 90, 0, "raw", "none", "a", "0" * 16, "b", "", None
    )
    return [json.dumps({"rows": [row.to_json()], "skipped": {}, "warnings": []}).encode()]


def read_checkpoint(content: bytes) -> object:
    from ganvas import inert

    with folder() as place:
        path = place / "a.pkl"
        path.write_bytes(content)
        return inert.read(path)


def checkpoints() -> list[bytes]:
    """Files of torch.save, new and old, and a pickle with tensors and arrays."""
    import pickle

    import numpy as np
    import torch

    found = []
    for new in (True, False):
        buffer = io.BytesIO()
        torch.save({"g_ema": {"a": torch.ones(2, 3)}}, buffer, _use_new_zipfile_serialization=new)
        found.append(buffer.getvalue())
    return [*found, pickle.dumps({"G_ema": torch.nn.Linear(2, 1), "a": np.ones(3)}, 4)]


TARGETS = {
    "checkpoint": Target(read_checkpoint, checkpoints),
    "idx": Target(opened("set/train-images-idx3-ubyte"), idx),
    "idx-gz": Target(
        opened("set/train-images-idx3-ubyte.gz"), lambda: [gzip.compress(each, mtime=0) for each in idx()]
    ),
    "npy": Target(opened("a.npy"), arrays),
    "npz": Target(opened("a.npz"), archives),
    "npz-members": Target(
        members("a.npz", ("images.npy", "labels.npy")), lambda: [joined(arrays()[0], npy([3, 1]))]
    ),
    "zip": Target(opened("a.zip"), zips),
    "zip-members": Target(members("a.zip"), lambda: [joined(b"cats/a.png", png(), b"dogs/b.png", png())]),
    "document": Target(document, lambda: [b'{"labels": [["a.png", 0], ["b.png", 1]]}', b'{"labels": null}']),
    "picture": Target(opened("a.png"), pictures),
    "model": Target(load_model, lambda: [model()]),
    "header": Target(load_header, header),
    "recipe": Target(read_recipe, recipes),
    "link": Target(read_link, links),
    "config": Target(read_config, configs),
    "lines": Target(read_lines, lines),
}


def once(target: Target, content: bytes) -> None:
    """Run a target; what it refuses in words is what is wanted."""
    from ganvas.errors import GanvasError

    with contextlib.suppress(GanvasError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target.run(content)


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; it ends the process."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["ganvas", "zipfile", "PIL"]):
        import ganvas.data
        import ganvas.metrics
        import ganvas.model_file
        import ganvas.runs
        import ganvas.web.state  # noqa: F401
    target, place = TARGETS[name], Path("fuzz") / name
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(target.seeds()):
        (corpus / f"seed-{i}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEBIBYTES}", f"-artifact_prefix={place}/",
        "-max_len=65536", "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], lambda content: once(target, content))
    atheris.Fuzz()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("inputs", nargs="*", type=Path, help="run these alone, and show what they raise")
    parser.add_argument("--minutes", type=float, default=3.0)
    given = parser.parse_args()
    if given.inputs:
        for path in given.inputs:
            once(TARGETS[given.target], path.read_bytes())
            print(f"{path}: taken, or refused in words")
        return 0
    if given.target != "all":
        fuzz(given.target, round(given.minutes * 60))
    found = 0
    for name in TARGETS:
        share = str(given.minutes / len(TARGETS))
        command = [sys.executable, __file__, name, "--minutes", share]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env={**os.environ})
        runs = [
            line for line in done.stderr.splitlines() if "number_of_executed_units" in line or "cov:" in line
        ]
        print(f"{name}: exit {done.returncode}; {' '.join(runs[-2:])}", flush=True)
        if done.returncode:
            found += 1
            print("\n".join((done.stdout + done.stderr).splitlines()[-40:]), flush=True)
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
