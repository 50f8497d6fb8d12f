"""Training that begins with the weights of a model instead of random ones: fine-tuning."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ganvas.config import Config, DataConfig, NetworkConfig
from ganvas.data import Dataset
from ganvas.data.resize import advice
from ganvas.errors import GanvasError
from ganvas.model import Learned, Model
from ganvas.model_data import is_named, is_own, learned_by, named_before
from ganvas.model_file import load
from ganvas.networks import CriticBase
from ganvas.networks.projected import freeze, guide_of
from ganvas.training.method import Method
from ganvas.types import described

OF_DATA = ("quantiles",)
"""Tensors of a generator that were told by the data, not learned: those of the model that is begun with are of others."""


def network_of(place: str, config: Config, dataset: Dataset) -> NetworkConfig:
    """The networks of a training that begins with the model at `place`: its generator; its critic where it has one.

    A preset whose critic looks through a pretrained network keeps that one, and a model without a critic gets the preset's.
    Raises `GanvasError` for a model that draws something else, or cannot be built anew.
    """
    model = load(place, device="cpu")
    own = model.info.architecture
    if own is None or config.method.name != "gan":
        why = "is a module of your own" if own is None else f"is no pair for method {config.method.name!r}"
        raise GanvasError(
            f"--start {place}: this model {why}. Give a run, a snapshot or a .safetensors file."
        )
    if tuple(model.shape) != tuple(dataset.shape):
        wanted, given = described(model.shape), described(dataset.shape)
        how = advice(tuple(model.shape), tuple(dataset.shape))
        instead = f"{how}, or start from another model." if how else "Start from another model."
        raise GanvasError(f"--start {place}: the model draws {wanted}, the data are {given}. {instead}")
    check_layout(own, f"--start {place}", dataset)
    if model.generator.num_classes not in (0, dataset.num_classes):
        raise GanvasError(
            f"--start {place}: the model draws {model.generator.num_classes} classes, {dataset.name} has {dataset.num_classes}."
        )
    check_held_out(model, f"--start {place}", config.data, dataset)
    found = replace(own, conditional=model.generator.num_classes > 0)
    if (grown := getattr(model.generator, "grown_kimg", None)) is not None:
        # Else it would begin at the smallest size again.
        found = replace(found, generator={**found.generator, "begun_kimg": grown})
    if model.critic is None or guide_of(config.network):
        mine = config.network
        found = replace(found, pack=mine.pack, critic=mine.critic, critic_name=mine.critic_name or mine.name)
    return found


def check_layout(network: NetworkConfig, what: str, dataset: Dataset) -> None:
    """Raise `GanvasError` where networks draw series of other kinds of channels, however many, than the data have."""
    layout = network.generator.get("layout")
    if dataset.series is not None and layout and layout != dataset.series.layout:
        raise GanvasError(
            f"{what}: the model draws other columns than the data have, {layout[:80]!r} and "
            f"{dataset.series.layout[:80]!r}: n is a number, c3 a category of three, m whether a value is there, e whether the "
            "series goes on. Take another model."
        )


def check_held_out(model: Model, what: str, config: DataConfig, dataset: Dataset) -> None:
    """Raise `GanvasError` where a training would hold out samples that the model it begins with has learned from.

    Everything that is measured on them would take them for new ones.
    """
    own = is_own(model, dataset, config)
    # Without a fingerprint, as after a private training, the same part of the same place is taken to be that.
    changed = [
        each
        for each in named_before(model, config)
        if each.fingerprint != dataset.fingerprint
        and (each.fingerprint or (each.holdout, each.fold) != (config.holdout, config.fold))
    ]
    if config.holdout and (changed or (is_named(model, config) and not own)):
        held = len(dataset.split(config.holdout, config.fold)[1])
        raise GanvasError(
            f"{what}: the model has learned from {dataset.name} as it was then, or from another part or size of it, and "
            f"nobody knows which of the {held:,} samples it has seen that this training would hold out. Hold out none, with "
            "--set data.holdout=0, and judge by samples that are new: ganvas audit --held-out, ganvas eval --reference."
        )
    known = model.info.data
    if known is None:
        return
    parts: list[DataConfig | Learned] = [known.config] if own else []
    parts += [each for each in known.before if each.fingerprint == dataset.fingerprint]
    for part in parts:
        mine = dataset.split(config.holdout, config.fold)[1]
        theirs = dataset.split(part.holdout, part.fold)[1]
        assert mine.indices is not None
        assert theirs.indices is not None
        if seen := int((~torch.isin(mine.indices, theirs.indices)).sum()):
            raise GanvasError(
                f"{what}: the model has learned from {seen:,} of the {len(mine):,} samples of {dataset.name} that this training "
                f"would hold out. Hold out those that it has not seen: --set data.holdout={part.holdout} data.fold={part.fold}."
            )


def begun_with(config: Config, dataset: Dataset) -> tuple[str, list[list[object]]]:
    """The hash of the model that a training begins with, and what that had learned from; empty where there is none.

    Raises `GanvasError` for one that is not held out as the data will be: it may be another one than the networks were taken of.
    """
    place = config.training.start or config.method.options.get("autoencoder")
    if not place:
        return "", []
    model = load(place, device="cpu", critic=False)
    check_held_out(model, place, config.data, dataset)
    return model.hash, [[*each[:3], [*each.places]] for each in learned_by(model)]


def begin(method: Method, place: str, known: str) -> None:
    """Give the networks of a new training the weights of the model at `place`; a critic of another kind stays as it is.

    Raises `GanvasError` for a model with another hash than `known`, if any: what it has learned from was not looked at.
    """
    model = load(place, device="cpu")
    if known and model.hash != known:
        raise GanvasError(
            f"{place} holds another model than this run is to begin with ({model.hash}, it was {known}). Bring it back, or start "
            "a new run."
        )
    if not _fits(method.networks["generator"], model.generator):
        raise GanvasError(
            f"--start {place}: the settings ask for another generator than the model has. Omit --set network..."
        )
    for name in method.networks:
        if name in ("generator", "average") or name.startswith("generator-"):
            own = method.networks[name].state_dict()
            told = {key: own[key] for key in OF_DATA if key in own}
            method.networks[name].load_state_dict(model.generator.state_dict() | told)
    if model.critic is not None and _fits(method.networks["critic"], model.critic):
        method.networks["critic"].load_state_dict(model.critic.state_dict())


def _fits(mine: nn.Module, theirs: nn.Module) -> bool:
    ours, given = mine.state_dict(), theirs.state_dict()
    return ours.keys() == given.keys() and all(ours[k].shape == given[k].shape for k in ours)


def freeze_first(critic: CriticBase, layers: int) -> None:
    """The first `layers` layers with weights, from the image on, are not trained (freeze-D, Mo et al. 2020).

    Raises `GanvasError` where fewer than one would be left.
    """
    found = [layer for part in critic.in_order for layer in _layers(part)]
    if not 0 <= layers < len(found):
        raise GanvasError(
            f"training.freeze_critic is {layers}; this critic has {len(found)} layers, of which at least one must learn."
        )
    for module in found[:layers]:
        freeze(module)


def _layers(part: nn.Module) -> list[nn.Module]:
    """Those with weights, in order; one whose weights are divided by their norm is one."""
    if is_parametrized(part) or any(True for _ in part.parameters(recurse=False)):
        return [part]
    return [layer for child in part.children() for layer in _layers(child)]


def freeze_mapping(generator: nn.Module) -> None:
    """Keep the mapping network of a style-based generator. Raises `GanvasError` for one that has none."""
    mapping = getattr(generator, "map", None)
    if not isinstance(mapping, nn.Module):
        raise GanvasError(
            "training.freeze_mapping keeps a mapping network, and this generator has none. Leave it out."
        )
    freeze(mapping)
