"""Files of models as they are opened: those that ganvas wrote, and those of other toolkits. `ganvas.load` is here."""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import arrays, hub, importers, io, networks
from ganvas.checkpoint import LARGEST_NUMBER, LARGEST_SETTING, check_numbers, rebuild
from ganvas.config import Config, NetworkConfig, read_config, to_dict, validate
from ganvas.data.limits import limit
from ganvas.data.origin import MOST_MARKS
from ganvas.device import resolve_device
from ganvas.errors import PATH, GanvasError, expect, printable
from ganvas.model import (
    CRITIC,
    ENCODER,
    MOST_BEFORE,
    MOST_SIDE,
    MOST_VALUES,
    PACKAGED,
    Audited,
    Model,
    ModelInfo,
    is_packaged,
    least_batch,
    packaged,
    run_once,
)
from ganvas.networks.base import CriticBase, GeneratorBase
from ganvas.networks.coded import bare, encoder_network
from ganvas.registry import did_you_mean
from ganvas.runs import check_beside, is_run, open_run, runs_near
from ganvas.series import read_schema
from ganvas.types import Guarantee

LOG = logging.getLogger("ganvas")
PAUSE = 0.1
"""Seconds after which files are read again that were replaced meanwhile."""
MOST_CLASSES = 2**16
MOST_NOTES = 64
LONGEST_WORDS = 1000
"""Letters of a name or a note in a header that are shown."""


@torch.inference_mode(False)  # else what is opened inside it has no gradients, for good
def load(
    path: str | os.PathLike[str], *, device: str = "auto", critic: bool = True, side: int | None = None
) -> Model:
    """Open a run folder (its newest snapshot), a snapshot folder, a generator's .safetensors file, a packaged model,
    hub:org/name[@revision], or the file or folder of another toolkit that `ganvas list importers` names.

    `side`: pixels of a side of the pictures of another toolkit's autoencoder, which draws any; 64 where nobody says.
    Nothing that a file names is run. Raises `GanvasError` when there is nothing there, or the file is damaged, of an
    unknown kind, or newer than this version.
    """
    expect(path, PATH, "model", "a run or snapshot folder, a model's file, or the name of a packaged model")
    theirs = importers.find(Path(path))
    if theirs is not None:
        with io.unchanged(*importers.read_with(theirs)):
            found = _imported(theirs, critic, side)
    elif side is None:
        file = find_generator(Path(path))
        try:
            found = _own(file, critic)
        except GanvasError as error:
            if not hub.is_address(path):
                raise
            kept = hub.kept_in(Path(path).as_posix())
            raise GanvasError(
                f"{error} If it was damaged on its way, delete {kept} and try again."
            ) from error
    else:
        raise GanvasError(
            f"A side is for autoencoders of other toolkits; {path} has a size of its own. Omit it."
        )
    where = resolve_device(device)
    for network in (found.generator, found.critic, found.encoder):
        if network is not None:
            network.eval().requires_grad_(False).to(where)
    return found


def _own(file: Path, critic: bool) -> Model:
    """A model that ganvas wrote, on the CPU.

    Read again where its files were replaced meanwhile, as a training does with its best snapshot and with one that is written
    again: the critic would be that of another generator. What stays so is said: a kill leaves it where a snapshot was written
    again.
    """
    for last in (False, False, True):
        before = _standing(file)
        try:
            found = _read(file, critic)
        except GanvasError:
            if last or _standing(file) == before:
                raise
        else:
            if (stays := _standing(file) == before) and not (told := _of_other_times(file, critic)):
                return found
            if last:
                if stays:
                    LOG.warning(
                        "%s holds networks of different snapshots: %s. Bring back those of one, or resume the run.",
                        printable(str(file.parent)),
                        told,
                    )
                return found
        time.sleep(PAUSE)
    raise AssertionError("the last one returns or raises")


def _standing(file: Path) -> list[tuple[int, int] | None]:
    """What another file in the place of a generator's, or of one beside it, changes."""
    beside = (file.with_name(f"{name}.safetensors") for name in ("critic", "encoder"))
    return [io.stamp(path) for path in (file, *beside)]


def _of_other_times(file: Path, critic: bool) -> str:
    """How far a generator and the networks that were read beside it are trained, in words, where their files differ in that."""
    try:
        own = io.read_header(file)
    except GanvasError:  # it is being replaced
        return "a generator that is replaced"
    told, beside = {file.stem: str(own.get("kimg"))}, list[str]()
    if critic and own.get("with_critic") is not True:
        beside.append("critic")
    if file.name == "generator.safetensors" and own.get("with_encoder") is not True:
        beside.append("encoder")
    for name in beside:
        with suppress(GanvasError):  # there is none, or nobody has asked what it is
            header = io.read_header(file.with_name(f"{name}.safetensors"))
            if "job" not in header:  # an encoder that `ganvas invert` trained and kept there
                told[name] = str(header.get("kimg"))
    return (
        ", ".join(f"{name} of {kimg:.20} kimg" for name, kimg in told.items())
        if len({*told.values()}) > 1
        else ""
    )


def _read(file: Path, critic: bool) -> Model:
    names = ("critic", "encoder") if file.name == "generator.safetensors" else ("critic",)
    for each in (file, *(file.with_name(f"{name}.safetensors") for name in names)):
        check_beside(each, file)
    tensors, header = io.load_tensors(file)
    its_own = _inside(tensors, CRITIC, header.get("with_critic"))
    coder = _inside(tensors, ENCODER, header.get("with_encoder"))
    generator, config, about = _network(file, tensors, header, "generator", networks.build_generator)
    beside, judge = file.with_name("critic.safetensors"), None
    if critic and its_own:
        judge = _network(file, its_own, {**header, "kind": "critic"}, "critic", networks.build_critic)[0]
    elif critic and beside.is_file():
        judge = read_network(beside, "critic", networks.build_critic)[0]
        _check_fits(beside, io.read_header(beside), header)
    assert isinstance(generator, GeneratorBase)
    assert judge is None or isinstance(judge, CriticBase)
    _set(generator, file, header.get("settings", {}))
    info = ModelInfo.of_run(generator, config, about)
    if "training" not in about["config"]:
        info = replace(info, training=None)
    encoder = _encoder(file, coder, header, bare(generator).latent_dim)
    return Model(generator, judge, info, file, encoder)


def _check_fits(file: Path, header: io.Json, generator: io.Json) -> None:
    """Raise `GanvasError` where a network that lies beside a generator is one of another model."""
    told = [tuple(each["shape"]) for each in (header, generator)]
    data = [each.get("data") for each in (header, generator)]
    marks = [each.get("fingerprint") if isinstance(each, dict) else None for each in data]
    if told[0] != told[1] or (all(marks) and marks[0] != marks[1]):
        raise GanvasError(
            f"{file} belongs to another model than the generator beside it: it is for samples of shape {told[0]}, of other data "
            "or another size. Take it away, or bring its own back."
        )


def _inside(tensors: dict[str, Tensor], prefix: str, there: object) -> dict[str, Tensor]:
    """The tensors of another network in the generator's file, taken out."""
    names = [name for name in tensors if name.startswith(prefix)] if there is True else []
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _encoder(file: Path, inside: dict[str, Tensor], header: io.Json, size: int) -> CriticBase | None:
    """The encoder of an autoencoder, from the generator's file or beside it; None where there is none."""
    beside = file.with_name("encoder.safetensors")
    if inside:
        tensors, about = inside, {**header, "kind": "encoder"}
    elif file.name == "generator.safetensors" and beside.is_file():
        file = beside
        tensors, about = io.load_tensors(beside)
        if "job" in about:  # one that `ganvas invert` trained and kept here
            return None
    else:
        return None
    # A code and, of a posterior, its log variance; of other toolkits an encoder has no such head, and gives the code.
    count = tensors["guess.bias"].numel() if "guess.bias" in tensors else size
    if count not in (size, 2 * size):
        raise GanvasError(f"{file} gives {count} numbers, and its decoder takes {size}.")
    found, _, _ = _network(
        file, tensors, about, "encoder",
        lambda config, shape, classes: networks.build_critic(encoder_network(config, count), shape, 0),
    )  # fmt: skip
    assert isinstance(found, CriticBase)
    if not inside:
        _check_fits(file, about, header)
    return found


def _set(generator: GeneratorBase, file: Path, given: Any) -> None:
    """Draw as the file says; files of before say nothing. Raises `GanvasError` for what the generator cannot be set to."""
    try:
        for name, value in dict(given).items():
            if name not in generator.settings:
                raise GanvasError(f"there is no setting {name!r}")
            setattr(generator, name, value)
    except (TypeError, ValueError, GanvasError) as error:
        raise GanvasError(f"{file} has a damaged header: settings, {error}.") from error


def _imported(file: Path, critic: bool, side: int | None = None) -> Model:
    """A model of another toolkit, on the CPU."""
    found = importers.open_file(file)
    if side is not None:
        if found.at is None:
            raise GanvasError(
                f"A side is for autoencoders of other toolkits; {file} has a size of its own. Omit it."
            )
        found = found.at(arrays.count(side, "side"))
        if (numbers := found.network.latent_dim) > LARGEST_NUMBER:
            raise GanvasError(
                f"A side of {side} px (--side) makes codes of {numbers:,} numbers; {LARGEST_NUMBER:,} are the most. "
                "Give a smaller one."
            )
    spec = {**to_dict(found.network), "shape": list(found.shape), "num_classes": found.num_classes}
    built = (found.network, found.shape, found.num_classes)
    # A side that somebody asks for is no claim of the file, and may take what it takes.
    rows, run = least_batch(found.shape), run_once if side is None else None
    generator = rebuild(
        file, spec, lambda: networks.build_generator(*built), _dense(found.generator), run, rows
    )
    judge = coder = None
    if critic and found.critic is not None:
        judge = rebuild(
            file, spec, lambda: networks.build_critic(*built), _dense(found.critic), run_once, rows
        )
    if found.encoder is not None:
        coder = rebuild(file, spec, lambda: networks.build_critic(*built), _dense(found.encoder), run, rows)
    assert isinstance(generator, GeneratorBase)
    assert judge is None or isinstance(judge, CriticBase)
    assert coder is None or isinstance(coder, CriticBase)
    info = ModelInfo.of(
        generator, found.network.name, architecture=found.network, notes=found.notes, source=found.source
    )
    return Model(generator, judge, info, file, coder)


def _dense(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that lie as a file of ganvas would hold them: the same last bits, and the whole of the other file is let go."""
    return {name: each.clone(memory_format=torch.contiguous_format) for name, each in tensors.items()}


def find_generator(path: Path) -> Path:
    """The generator file that a run folder, a snapshot folder, a file or an address on the hub stands for."""
    if hub.is_address(path):
        return hub.fetch(path.as_posix(), limit("GANVAS_MAX_GB") * 1e9)
    if is_packaged(path):
        path = PACKAGED / path.name
    if path.is_dir():
        if is_run(path):
            snapshots = open_run(path).snapshots
            if not snapshots:
                raise GanvasError(
                    f"{path} holds no snapshot yet. Train on: ganvas train --resume {path} --minutes 5"
                )
            path = snapshots[-1]
        if not (path / "generator.safetensors").is_file():
            raise GanvasError(
                f"{path} is neither a run nor a snapshot folder: it holds no config.json of a run and no generator.safetensors."
                f"{runs_near(path)}"
            )
        return path / "generator.safetensors"
    if not path.exists():
        names = list(packaged())
        raise GanvasError(
            f"No such model: {path}.{runs_near(path, did_you_mean(str(path), names))} "
            f"Give a run folder, a snapshot folder, a .safetensors file or a packaged model: {', '.join(names)}."
        )
    if path.suffix != ".safetensors":
        raise GanvasError(
            f"{path.name} is neither a .safetensors file nor one of another toolkit "
            f"({', '.join(importers.SUFFIXES)})."
        )
    return path


def read_network(
    path: Path, kind: str, build: Callable[[NetworkConfig, tuple[int, ...], int], nn.Module]
) -> tuple[nn.Module, Config, io.Json]:
    """One network of a snapshot: `build(architecture, shape, num_classes)` with the file's weights, its config and header.

    Raises `GanvasError` for a file of another kind, and for one that does not fit what it says of itself.
    """
    return _network(path, *io.load_tensors(path), kind, build)


def _network(
    path: Path, tensors: dict[str, Tensor], header: io.Json, kind: str,
    build: Callable[[NetworkConfig, tuple[int, ...], int], nn.Module],
) -> tuple[nn.Module, Config, io.Json]:  # fmt: skip
    if header.get("kind") != kind:
        raise GanvasError(f"{path} holds a {header.get('kind')}, not the {kind} expected there.")
    config, about = _about(path, header)
    shape, num_classes = tuple(about["shape"]), about["num_classes"]
    spec = {**to_dict(config.network), "shape": list(shape), "num_classes": num_classes}
    network = rebuild(
        path, spec, lambda: build(config.network, shape, num_classes), tensors, run_once, least_batch(shape)
    )
    return network, config, about


def _about(path: Path, header: io.Json) -> tuple[Config, io.Json]:
    """The config and the header of a network's file, once everything in them is of its kind and within bounds."""
    try:
        config = header["config"]
        check_numbers(config, "config", LARGEST_SETTING)
        found = validate(read_config(config, header.get("format_version", 1)))
        shape, names = list(header["shape"]), list(header.get("class_names") or [])
        data = dict(header.get("data") or {})
        # Only what was imported has notes.
        notes = list(header.get("notes", [])) if header.get("source") else []
        said = header.get("series")
        known = {
            "privacy": _guarantee(header.get("privacy")),
            "audit": _audited(header.get("audit")),
            "series": None if said is None else read_schema(said, shape),
        }
    except (KeyError, TypeError, ValueError, GanvasError) as error:
        raise GanvasError(f"{path} has a damaged header: {error}.") from error
    kimg, classes, wide = header.get("kimg", 0.0), header.get("num_classes"), found.data.resolution
    high = wide if found.data.height is None else found.data.height
    sizes = len(shape) in (1, 2, 3) and all(_whole(size, 1, MOST_SIDE) for size in shape)
    for fits, what in (
        (sizes and math.prod(shape) <= MOST_VALUES, f"shape {shape}"),
        (
            not sizes or len(shape) != 3 or wide is None or (high, wide) == tuple(shape[1:]),
            f"shape {shape} of images of {wide} x {high} px",
        ),
        (_whole(classes, 0, MOST_CLASSES), f"num_classes {classes!r}"),
        (isinstance(kimg, int | float) and 0 <= kimg < 2**53, f"kimg {kimg!r}"),
        (len(names) <= MOST_CLASSES and all(isinstance(name, str) for name in names), "class_names"),
        (not names or not classes or len(names) == classes, f"{len(names)} class_names, {classes} classes"),
        (len(notes) <= MOST_NOTES and all(isinstance(note, str) for note in notes), "notes"),
        (isinstance(header.get("source", ""), str), f"source {header.get('source')!r}"),
        (isinstance(data.get("name", ""), str), f"data.name {data.get('name')!r}"),
        (are_learned(data.get("before", [])), "data.before"),
    ):
        if not fits:
            raise GanvasError(f"{path} has a damaged header: {what}.")
    if "name" in data:
        data["name"] = _words(data["name"])
    if header.get("class_names") is not None:
        header = {**header, "class_names": [_words(name) for name in names]}
    words = {"notes": [_words(note) for note in notes], "source": _words(header.get("source", ""))}
    return found, {**header, **words, **known, "data": data}


def are_learned(said: object) -> bool:
    """Whether these are rows of `Learned`; those of files of before have no places."""
    if not isinstance(said, list) or len(said) > MOST_BEFORE:
        return False
    rows = [(*each, []) if len(each) == 3 else each for each in said if isinstance(each, list)]
    return len(rows) == len(said) and all(len(row) == 4 and _is_learned(*row) for row in rows)


def _is_learned(mark: object, share: object, fold: object, places: object) -> bool:
    return (
        isinstance(mark, str)
        and type(share) in (int, float) and 0 <= share < 1  # type: ignore[operator]
        and _whole(fold, 0, 2**16)
        and isinstance(places, list) and len(places) <= MOST_MARKS and all(isinstance(each, str) for each in places)
    )  # fmt: skip


def _guarantee(said: Any) -> Guarantee | None:
    """Of a header; raises `ValueError` or `TypeError` for what is none."""
    if said is None:
        return None
    found = Guarantee(*(_figure(said[name], "privacy") for name in ("epsilon", "delta")))
    if found.epsilon < 0 or not 0 < found.delta < 1:
        raise ValueError(f"privacy {found}")
    return found


def _audited(said: Any) -> Audited | None:
    """Of a header; raises `ValueError` or `TypeError` for what is none."""
    if said is None:
        return None
    attacks = {
        str(name): tuple(_figure(each, "audit") for each in figures)
        for name, figures in dict(said["attacks"]).items()
    }
    samples, suspects = said["samples"], said["suspects"]
    fits = all(len(figures) == 3 and all(0 <= each <= 1 for each in figures) for figures in attacks.values())
    if (
        not attacks
        or len(attacks) > MOST_NOTES
        or not fits
        or not all(_whole(n, 0, 2**53) for n in (samples, suspects))
    ):
        raise ValueError("audit")
    return Audited(samples, {_words(name): (a, b, c) for name, (a, b, c) in attacks.items()}, suspects)


def _figure(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} {value!r}")
    return float(value)


def _words(text: str) -> str:
    """A text of a header as it is shown."""
    return printable(text[:LONGEST_WORDS])


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
