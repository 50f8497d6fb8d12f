"""From a path to what another toolkit left there."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ganvas import inert, io
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.unsupported import unsupported
from ganvas.runs import check_beside

SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")
DIFFUSERS = "diffusion_pytorch_model.safetensors"
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", DIFFUSERS, "diffusion_pytorch_model.bin")
"""What Hugging Face calls the weights beside a config.json."""
HALVES = {"decoder": "taesd_decoder.safetensors", "encoder": "taesd_encoder.safetensors"}
"""The two files of TAESD, as its author calls them: what draws, and what lies beside it."""
CONFIGS = ("config.json", ".config.json")
"""What toolkits keep beside weights, whatever these are called."""


def find(path: Path) -> Path | None:
    """The file of another toolkit that a path stands for; None for what is ganvas' own, or nothing."""
    if path.is_dir():
        if not (path / "snapshots").exists():
            for name in IN_FOLDERS:
                if (path / "config.json").is_file() and (path / name).is_file():
                    return path / name
            for name in (DIFFUSERS, *HALVES.values()):
                if (path / name).is_file():
                    return path / name
            # lucidrains' toolkits number their files beside a hidden config.
            numbered = [each for each in path.glob("model_*.pt") if each.stem[6:].isdecimal()]
            if (path / ".config.json").is_file() and numbered:
                return max(numbered, key=lambda each: int(each.stem[6:]))
        return None
    if not path.is_file():
        return None
    if path.suffix == ".safetensors":
        return None if io.is_own(path) else path
    return path if path.suffix.lower() in SUFFIXES else None


def read_with(path: Path) -> list[Path]:
    """The file of another toolkit, and what may be read beside it."""
    halves = HALVES.values() if path.name in HALVES.values() else (path.name,)
    return [path.with_name(name) for name in (*halves, *CONFIGS)]


def open_file(path: Path) -> Imported:
    """What is in a file of another toolkit, read without running anything that it names.

    Raises `GanvasError` for a damaged file, for what is read beside it through a link that leads out of its folder, and as
    `recognise`.
    """
    content: Any
    if path.name in HALVES.values():
        content = _both(path)
    else:
        content = io.load_foreign(path) if path.suffix == ".safetensors" else inert.read(path)
    try:
        return recognise(content, path)
    except GanvasError as error:
        raise GanvasError(f"{path}: {error}") from error


def _both(path: Path) -> dict[str, Tensor]:
    """The tensors of TAESD's two files, of which `path` is one, by the names of diffusers. Raises `GanvasError` where one is
    missing, or a link that leads out of the folder of the other."""
    found = {}
    halves = {part: path.with_name(name) for part, name in HALVES.items()}
    for part, file in halves.items():
        if not file.is_file():
            raise GanvasError(
                f"{path.parent} holds one half of TAESD; put {' and '.join(HALVES.values())} there."
            )
        for other in halves.values():
            check_beside(file, other)
        for key, tensor in io.load_foreign(file).items():
            number, _, rest = key.partition(".")
            # The decoder's first layer squashes and has no weights: its numbers begin at 1.
            place = int(number) - (part == "decoder") if number.isdecimal() and len(number) < 4 else number
            found[f"{part}.layers.{place}.{rest}"] = tensor
    return found


def recognise(content: Any, file: Path | None = None) -> Imported:
    """What a file holds, by its `content` (`ganvas.inert.read`) and what lies beside it.

    Raises `GanvasError` for what is known and not supported, with what to do; for what nobody knows; for what is incomplete.
    """
    for name in importers:
        try:
            found = importers.get(name)(content, file)
        except (
            TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError, AssertionError,
        ) as error:  # fmt: skip
            # What the toolkit never writes, wherever an importer meets it first.
            raise GanvasError(
                f"The file looks like one of {name}, and its content is not of the kind that this writes "
                f"({type(error).__name__}: {str(error)[:200]})."
            ) from error
        if found is not None:
            return found
    if known := unsupported(content):
        raise GanvasError(f"This file is recognised and cannot be opened. It is of {known}")
    known = "; ".join(importers.summary(name).split(":")[0] for name in importers)
    raise GanvasError(
        f"Nothing in this file is a generator that ganvas knows. It knows: {known}. Of anything else, build the "
        "module with its own code and give it to ganvas.wrap(module, latent_dim=...)."
    )
