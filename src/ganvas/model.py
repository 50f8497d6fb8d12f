"""A trained generator, ready to draw: what `ganvas.load` returns."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import arrays, io, networks, pictures
from ganvas.checkpoint import check_numbers, rebuild
from ganvas.config import Config, from_dict, to_dict, validate
from ganvas.device import resolve_device, stream
from ganvas.errors import GanvasError, counted, printable
from ganvas.networks.base import CriticBase, GeneratorBase, to_prior
from ganvas.registry import did_you_mean
from ganvas.runs import open_run

MOST_SIDE = 2**16
MOST_VALUES = 2**26
"""Numbers in one sample that a file may claim: 4,700 px in colour."""
MOST_CLASSES = 2**16
SHOWN = 16
"""Samples that a notebook shows."""
BLOCK = 256
"""Latents are drawn so many at a time, each block from a stream of its own: any of them is a block away."""


def draw_prior(prior: str, n: int, size: int, generator: torch.Generator) -> Tensor:
    """`normal`: standard normal; `uniform`: in [-1, 1]; `sphere`: of length sqrt(size). (n, size) on the CPU."""
    if prior == "uniform":
        return torch.rand(n, size, generator=generator) * 2 - 1
    return to_prior(prior, torch.randn(n, size, generator=generator))


ROWS = 16
"""Batches are whole multiples of so many rows: kernels for fewer add up in another order, and pixels round differently."""
LARGE = 3 * 128 * 128
"""Numbers of a sample above which memory may not hold `ROWS` of them: fewer are drawn at a time where that is asked for."""


@dataclass(repr=False)
class Model:
    """A generator (the EMA one of a run), its critic when there is one, and where they come from."""

    generator: GeneratorBase
    critic: CriticBase | None
    config: Config
    info: io.Json
    """Header of the file: shape, classes, kimg, data fingerprint, versions."""
    path: Path | None = None
    """The generator's file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image or (D,) of a point."""
        return self.generator.shape

    @property
    def latent_dim(self) -> int:
        """Length of z."""
        return self.generator.latent_dim

    @property
    def is_packaged(self) -> bool:
        """Whether it came with ganvas."""
        return self.path is not None and PACKAGED in self.path.resolve().parents

    @property
    def device(self) -> torch.device:
        """Where the generator lives."""
        return next(chain(self.generator.parameters(), self.generator.buffers()), torch.empty(0)).device

    def latents(self, n: int, seed: int = 0) -> Tensor:
        """The first n latents (n, latent_dim) of the generator's prior for a seed."""
        return self.latents_at(range(n), seed)

    def latents_at(self, numbers: Sequence[int], seed: int = 0) -> Tensor:
        """The latents of some samples, by number from 0 (k, latent_dim), drawn on the CPU so that every device agrees.

        Each depends on its number and the seed alone, and costs a block of `BLOCK` wherever it is.
        """
        rows = torch.as_tensor(numbers, dtype=torch.long).reshape(-1)
        found = torch.empty(len(rows), self.latent_dim)
        if len(rows) and rows.min() < 0:
            raise GanvasError(f"Samples are numbered from 0, got {int(rows.min())}.")
        blocks = rows // BLOCK
        for block in blocks.unique().tolist():
            random = stream(seed, f"latents {block}" if block else "latents")
            drawn = draw_prior(self.generator.prior, BLOCK, self.latent_dim, random)
            here = blocks == block
            found[here] = drawn[rows[here] % BLOCK]
        return found

    @torch.inference_mode()
    def sample(
        self, n: int = 64, *, seed: int = 0, labels: Sequence[int] | Tensor | None = None, batch: int = 256,
        first: int = 0,
    ) -> Tensor:  # fmt: skip
        """Draw n samples: uint8 images (n, C, H, W), or float points (n, D) for 2-D data.

        Sample i depends on the seed and on i alone, not on n nor on `batch`, which is rounded to whole multiples of 16. Only
        images above 128 px are drawn fewer at a time where `batch` is below 16, since memory may be short: there a pixel may
        differ by 1 of 255. `first` is the number of the first. `labels` are class numbers, repeated to length n; a conditional
        generator without labels cycles through its classes.
        """
        found = self.batches(n, seed=seed, labels=labels, batch=batch, first=first)
        return torch.cat([drawn.cpu() for drawn in found])

    @torch.inference_mode()
    def batches(
        self, n: int, *, seed: int = 0, labels: Sequence[int] | Tensor | None = None, batch: int = 256,
        first: int = 0,
    ) -> Iterator[Tensor]:  # fmt: skip
        """The samples of `sample`, batch by batch, where the generator lives."""
        n, batch, first = (
            arrays.count(n, "The number of samples"),
            max(arrays.count(batch, "batch"), ROWS if math.prod(self.shape) <= LARGE else 1),
            arrays.count(first, "first", 0, 2**53),
        )
        chosen = self.labels(n, labels) if labels is not None else self.labels_at(range(first, first + n))
        batch -= batch % ROWS if batch >= ROWS else 0
        for start in range(0, n, batch):
            count = min(batch, n - start)
            # The last rows are repeated until the batch is whole, and cut off again.
            rows = start + torch.arange(min(batch, -(-count // ROWS) * ROWS)).clamp(max=count - 1)
            z = self.latents_at((first + rows).tolist(), seed).to(self.device)
            drawn = self.generator(z, None if chosen is None else chosen[rows].to(self.device))
            yield self.to_data(drawn[:count])

    def labels_at(self, numbers: Sequence[int]) -> Tensor | None:
        """The classes that samples have by their number: each in turn (k,); None without classes."""
        classes = self.generator.num_classes
        return torch.as_tensor(numbers, dtype=torch.long).reshape(-1) % classes if classes else None

    def check_shape(self, samples: Tensor, what: str) -> None:
        """Raise `GanvasError` unless samples (n, ...) are of the shape that the model draws; `what` names them."""
        if tuple(samples.shape[1:]) != tuple(self.shape):
            raise GanvasError(
                f"The model draws {tuple(self.shape)}, the {what} are {tuple(samples.shape[1:])}."
            )

    def to_data(self, drawn: Tensor) -> Tensor:
        """What the generator draws -> uint8 images; points stay as they are."""
        return networks.to_uint8(drawn, self.generator.value_range) if len(self.shape) == 3 else drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the generator as one .safetensors file that `load` opens. Raises `GanvasError` for one that it could not."""
        if foreign := self.info.get("foreign"):
            raise GanvasError(
                f"This model is {foreign}, a module of your own: a file of it could not be opened without its code. Keep its "
                "weights, safetensors.torch.save_model(model.generator.module, path), and wrap it again."
            )
        path = Path(path)
        if path.suffix != ".safetensors":
            raise GanvasError(f"A model is written as .safetensors, got {path.name!r}.")
        known = {"kind": "generator", "shape": list(self.shape), "num_classes": self.generator.num_classes}
        about = {key: value for key, value in self.info.items() if key not in ("config", "format_version")}
        with io.atomic(path) as temporary:
            save_network(temporary, self.generator, self.config, {**about, **known})

    def __repr__(self) -> str:
        """One line: what it draws, from what, and where it comes from."""
        kind = self.info.get("foreign") or self.config.network.name
        classes = (
            f", {counted(self.generator.num_classes, 'class', 'classes')}"
            if self.generator.num_classes
            else ""
        )
        trained = f", {self.info.get('kimg', 0):g} kimg" if self.info.get("kimg") else ""
        source = f", {self.path}" if self.path else ""
        critic = ", with its critic" if self.critic is not None else ""
        notes = "".join(f"; {note}" for note in self.info.get("notes", ()))
        return f"Model({kind}: z {self.latent_dim} -> {self.shape}{classes}{trained}{critic}{source}{notes})"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the first samples."""
        if len(self.shape) != 3:
            return None
        return pictures.png(pictures.grid(self.sample(SHOWN), columns=SHOWN // 2))

    def labels(self, n: int, labels: Sequence[int] | Tensor | None = None) -> Tensor | None:
        """Class numbers (n,) for `sample`: those given, repeated; all classes in turn; None without classes."""
        classes = self.generator.num_classes
        if classes == 0:
            if labels is not None:
                raise GanvasError(
                    "This generator was trained without labels, so it can not draw chosen classes. "
                    "Train with --conditional, or leave --labels away."
                )
            return None
        wanted = torch.arange(classes) if labels is None else _whole_numbers(labels)
        if len(wanted) == 0 or wanted.min() < 0 or wanted.max() >= classes:
            said = wanted.tolist() if len(wanted) < 20 else f"{int(wanted.min())} to {int(wanted.max())}"
            raise GanvasError(f"Labels must be whole numbers from 0 to {classes - 1}, got {said}.")
        return wanted.repeat(-(-n // len(wanted)))[:n]


def _whole_numbers(labels: Any) -> Tensor:
    """Class numbers (n,) of whatever holds some. Raises `GanvasError` for soft or one-hot ones, which name no class."""
    found = labels.detach() if isinstance(labels, Tensor) else arrays.as_tensor(labels, "labels")
    if found.dim() > 1 and found.shape[-1] > 1:
        raise GanvasError(
            f"Labels must be class numbers (n,), got shape {tuple(found.shape)}. One-hot or soft labels: labels.argmax(1)"
        )
    if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):
        kind = str(found.dtype).removeprefix("torch.")
        raise GanvasError(
            f"Labels must be whole numbers, got {kind}. Numbers without a fraction: labels.long()"
        )
    return found.long().reshape(-1)


def save_network(
    path: Path, network: nn.Module, config: Config, header: io.Json, dtype: torch.dtype | None = None
) -> None:
    """Write one network with the config in its header; use inside `io.atomic`. `dtype` rounds its numbers."""
    tensors = {
        name: t.to(dtype) if dtype and t.is_floating_point() else t
        for name, t in network.state_dict().items()
    }
    io.save_tensors(path, tensors, {"config": to_dict(config), **header})


PACKAGED = Path(__file__).with_name("models")
"""Trained models that come with ganvas, one folder each: `ganvas.load("fashion")`."""


def packaged() -> dict[str, str]:
    """Name -> line of description of the models that come with ganvas."""
    return {
        path.parent.name: path.read_text(encoding="utf-8").split("\n")[0].lstrip("# ")
        for path in sorted(PACKAGED.glob("*/README.md"))
    }


def is_packaged(path: Path) -> bool:
    """Whether this is the name of a packaged model and of no file here."""
    return not path.exists() and path.name == str(path) and path.name in packaged()


def load(path: str | os.PathLike[str], *, device: str = "auto", critic: bool = True) -> Model:
    """Open a run folder (its newest snapshot), a snapshot folder, a generator's .safetensors file or a packaged model.

    Raises `GanvasError` when there is nothing there, or the file is damaged, foreign or newer than this version.
    """
    file = find_generator(Path(path))
    generator, config, header = _read(file, "generator")
    generator.eval().requires_grad_(False)
    beside = file.with_name("critic.safetensors")
    judge = None
    if critic and beside.is_file():
        judge = _read(beside, "critic")[0].eval().requires_grad_(False)
    where = resolve_device(device)
    assert isinstance(generator, GeneratorBase)
    assert judge is None or isinstance(judge, CriticBase)
    return Model(generator.to(where), judge.to(where) if judge else None, config, header, file)


def find_generator(path: Path) -> Path:
    """The generator file that a run folder, a snapshot folder or a file stands for."""
    if is_packaged(path):
        path = PACKAGED / path.name
    if path.is_dir():
        if (path / "config.json").is_file():
            snapshots = open_run(path).snapshots
            if not snapshots:
                raise GanvasError(
                    f"{path} holds no snapshot yet. Train on: ganvas train --resume {path} --minutes 5"
                )
            path = snapshots[-1]
        if not (path / "generator.safetensors").is_file():
            raise GanvasError(
                f"{path} is neither a run nor a snapshot folder: it holds no config.json and no generator.safetensors."
            )
        return path / "generator.safetensors"
    if not path.exists():
        names = list(packaged())
        raise GanvasError(
            f"No such model: {path}.{did_you_mean(str(path), names)} Give a run folder, a snapshot folder, a .safetensors file "
            f"or a packaged model: {', '.join(names)}."
        )
    if path.suffix != ".safetensors":
        raise GanvasError(
            f"{path.name} is not a .safetensors file. ganvas never unpickles .pt, .pth or .pkl files: "
            "they can run code when opened."
        )
    return path


def _read(path: Path, kind: str) -> tuple[nn.Module, Config, io.Json]:
    tensors, header = io.load_tensors(path)
    if header.get("kind") != kind:
        raise GanvasError(f"{path} holds a {header.get('kind')}, expected a {kind}.")
    config, about = _about(path, header)
    shape, num_classes = tuple(about["shape"]), about["num_classes"]
    make: Callable[..., nn.Module] = (
        networks.build_generator if kind == "generator" else networks.build_critic
    )
    spec = {**to_dict(config.network), "shape": list(shape), "num_classes": num_classes}
    network = rebuild(path, spec, lambda: make(config.network, shape, num_classes), tensors)
    return network, config, about


def _about(path: Path, header: io.Json) -> tuple[Config, io.Json]:
    """The config and the header of a network's file, once everything in them is of its kind and within bounds."""
    try:
        config = header["config"]
        check_numbers(config, "config", 2**53)
        found = validate(from_dict(Config, config))
        shape, names = list(header["shape"]), list(header.get("class_names") or [])
        data = dict(header.get("data") or {})
    except (KeyError, TypeError, ValueError, GanvasError) as error:
        raise GanvasError(f"{path} has a damaged header: {error}.") from error
    kimg, classes, side = header.get("kimg", 0.0), header.get("num_classes"), found.data.resolution
    sizes = len(shape) in (1, 3) and all(_whole(size, 1, MOST_SIDE) for size in shape)
    for fits, what in (
        (sizes and math.prod(shape) <= MOST_VALUES, f"shape {shape}"),
        (not sizes or len(shape) == 1 or side in (None, shape[1]), f"shape {shape} of images of {side} px"),
        (_whole(classes, 0, MOST_CLASSES), f"num_classes {classes!r}"),
        (isinstance(kimg, int | float) and 0 <= kimg < 2**53, f"kimg {kimg!r}"),
        (len(names) <= MOST_CLASSES and all(isinstance(name, str) for name in names), "class_names"),
        (not names or not classes or len(names) == classes, f"{len(names)} class_names, {classes} classes"),
        (isinstance(data.get("name", ""), str), f"data.name {data.get('name')!r}"),
    ):
        if not fits:
            raise GanvasError(f"{path} has a damaged header: {what}.")
    if "name" in data:
        data["name"] = printable(data["name"])
    told = {"kimg": float(kimg), "class_names": [printable(name) for name in names], "data": data}
    # What a wrapped module is called and what was found out about it are in no file that ganvas wrote.
    kept = {key: value for key, value in header.items() if key not in ("foreign", "notes")}
    return found, {**kept, **told}


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
