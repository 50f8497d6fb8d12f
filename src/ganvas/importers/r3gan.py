"""R3GAN's snapshots (.pkl): their networks are family `r3` as published, weight for weight."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.parts import Weights, whole
from ganvas.inert import Thing, parameters

SOURCE = "R3GAN"
MARK = "Model.MainLayers.0.Layers.0.Basis"
FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
Stage = tuple[int, int, int]
"""Width, blocks, and channels in a group of their 3 x 3 convolutions."""


@importers.register("r3gan")
def r3gan(content: Any, file: Path | None) -> Imported | None:
    """R3GAN: a snapshot's .pkl with G, D and G_ema, of which the averaged G_ema is taken."""
    if not isinstance(content, dict) or not isinstance(content.get("G_ema"), Thing):
        return None
    thing = content["G_ema"]
    try:
        weights = Weights(parameters(thing), SOURCE)
    except GanvasError:  # an object of another toolkit
        return None
    if MARK not in weights:
        return None
    about = thing.state if isinstance(thing.state, Mapping) else {}
    latent_dim, side = whole(about, "z_dim", SOURCE), whole(about, "img_resolution", SOURCE)
    generator, found, classes = _generator(weights, latent_dim)
    channels = len(found["last.weight"])
    notes = ["computed in float32; the published code rounds its last stages to bfloat16"]
    critic, judge = None, content.get("D")
    options: dict[str, Any] = {"published": True}
    if isinstance(judge, Thing):
        options, critic = _critic(Weights(parameters(judge), SOURCE), classes)
    else:
        notes.append("the file has no critic")
    return Imported(
        source=SOURCE,
        network=NetworkConfig("r3", latent_dim, conditional=classes > 0, generator=generator, critic=options),
        shape=(channels, side, side),
        num_classes=classes,
        generator=found,
        critic=critic,
        notes=tuple(notes),
    )


def _generator(weights: Weights, latent_dim: int) -> tuple[dict[str, Any], dict[str, Tensor], int]:
    """Options, state dict and the number of classes."""
    first = weights.take("Model.MainLayers.0.Layers.0.LinearLayer.weight", 2)
    found = {
        "basis": weights.take(MARK, 3),
        "first.weight": first,
        "last.weight": weights.take("Model.AggregationLayer.Layer.weight", 4),
    }
    classes = class_dim = 0
    if "Model.EmbeddingLayer.weight" in weights:
        embedding = weights.take("Model.EmbeddingLayer.weight", 2)
        class_dim, classes = embedding.shape
        found["embed.weight"] = embedding.t().contiguous()
    if first.shape[1] != latent_dim + class_dim:
        raise GanvasError(
            f"{SOURCE}: its first layer takes {first.shape[1]} numbers, and z has {latent_dim}."
        )
    stages: list[Stage] = []
    place = 0
    for stage in range(weights.count("Model.MainLayers.{}.")):
        name = f"Model.MainLayers.{stage}.Layers"
        if stage:
            found |= _resampling(weights, f"{name}.0", f"layers.{place}")
            place += 1
        blocks = range(1, weights.count(name + ".{}."))
        stages.append(_stage(weights, found, name, blocks, place))
        place += len(blocks)
    weights.all_taken(("Model.",))
    return _options(stages[::-1], class_dim if class_dim != latent_dim else 0, found), found, classes


def _critic(weights: Weights, classes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Options and state dict."""
    found = {"layers.0.weight": weights.take("Model.ExtractionLayer.Layer.weight", 4)}
    stages: list[Stage] = []
    place, count = 1, weights.count("Model.MainLayers.{}.")
    for stage in range(count):
        name = f"Model.MainLayers.{stage}.Layers"
        blocks = range(weights.count(name + ".{}.") - 1)
        stages.append(_stage(weights, found, name, blocks, place))
        place += len(blocks)
        if stage < count - 1:
            found |= _resampling(weights, f"{name}.{len(blocks)}", f"layers.{place}")
            place += 1
        else:
            found[f"layers.{place}.weight"] = weights.take(f"{name}.{len(blocks)}.Basis.weight", 4)
            found["last.weight"] = weights.take(f"{name}.{len(blocks)}.LinearLayer.weight", 2)
    class_dim = 0
    if classes:
        embedding = weights.take("Model.EmbeddingLayer.weight", 2)
        found["embed.weight"] = embedding.t().contiguous()
        class_dim = len(embedding) if stages and len(embedding) != stages[-1][0] else 0
    weights.all_taken(("Model.",))
    return _options(stages, class_dim, found), found


def _stage(weights: Weights, found: dict[str, Tensor], name: str, blocks: Sequence[int], place: int) -> Stage:
    """The blocks of a stage into `found`, as `layers.{place}` and on."""
    if not blocks:
        raise GanvasError(f"{SOURCE}: the file is incomplete, {name!r} has no blocks.")
    width = group = 0
    for i, number in enumerate(blocks):
        theirs, ours = f"{name}.{number}", f"layers.{place + i}"
        for layer, part in ((1, "widen"), (2, "mix"), (3, "narrow")):
            found[f"{ours}.{part}.weight"] = weights.take(f"{theirs}.LinearLayer{layer}.Layer.weight", 4)
            if layer < 3:
                found[f"{ours}.{part}.bias"] = weights.take(f"{theirs}.NonLinearity{layer}.Bias", 1)
        width, group = found[f"{ours}.narrow.weight"].shape[0], found[f"{ours}.mix.weight"].shape[1]
    return width, len(blocks), group


def _resampling(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    kernel = weights.take(f"{theirs}.Resampler.Kernel", 2)
    expected = torch.outer(FILTER, FILTER)
    if kernel.shape != expected.shape or not torch.allclose(kernel, expected, atol=1e-6):
        raise GanvasError(
            f"{SOURCE}: its resampling filter is not [1, 3, 3, 1], the only one that ganvas has for it."
        )
    name = f"{theirs}.LinearLayer.Layer.weight"
    return {f"{ours}.change.weight": weights.take(name, 4)} if name in weights else {}


def _options(stages: Sequence[Stage], class_dim: int, found: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of stages from the full size down; one number stands for many that are equal."""
    if not stages:
        raise GanvasError(f"{SOURCE}: the file is incomplete, its networks have no stages.")
    widths, blocks, groups = ([stage[i] for stage in stages] for i in range(3))
    wide = next(found[name].shape[0] for name in found if name.endswith("widen.weight"))
    narrow = next(found[name].shape[1] for name in found if name.endswith("widen.weight"))
    options: dict[str, Any] = {"published": True, "expansion": wide // max(1, narrow)}
    for name, many, values in (("blocks", "counts", blocks), ("group", "groups", groups)):
        options |= {name: values[0]} if len({*values}) == 1 else {many: values}
    usual = [min(max(widths), widths[0] << i) for i in range(len(widths))]
    options |= {"channels": widths[0], "max_channels": max(widths)} if usual == widths else {"widths": widths}
    return options | ({"class_dim": class_dim} if class_dim else {})
