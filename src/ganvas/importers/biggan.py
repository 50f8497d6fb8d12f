"""BigGAN-deep in the folder layout of Hugging Face: pytorch_model.bin or model.safetensors, and config.json."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.parts import Weights, config_beside, whole

SOURCE = "BigGAN-deep"
ATTENTION = {"query": "theta", "key": "phi", "value": "g", "out": "o_conv"}
BLOCK = 4
"""Norms, and convolutions, of a block."""


@importers.register("biggan-deep")
def biggan(content: Any, file: Path | None) -> Imported | None:
    """BigGAN-deep: a folder with config.json and pytorch_model.bin or model.safetensors, as of Hugging Face."""
    if not isinstance(content, dict) or "generator.conv_to_rgb.bias" not in content:
        return None
    weights = Weights(content, SOURCE)
    config = config_beside(file, "config.json", SOURCE)
    latent_dim, rows = whole(config, "z_dim", SOURCE), whole(config, "n_stats", SOURCE, most=4096)
    side, channels = (whole(config, name, SOURCE) for name in ("output_dim", "channel_width"))
    layers, eps = _layers(config.get("layers")), config.get("eps", 1e-4)
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise GanvasError(f"{SOURCE}: its config needs eps, a number between 0 and 1.")
    attention = whole(config, "attention_layer_position", SOURCE, least=0, most=4096)
    embeddings = weights.take("embeddings.weight", 2)
    class_dim, classes = embeddings.shape
    if classes != whole(config, "num_classes", SOURCE):
        raise GanvasError(
            f"{SOURCE}: its config says another num_classes than the {classes:,} of its embeddings."
        )
    found = {"embed.weight": embeddings.t().contiguous(), **_layer(weights, "generator.gen_z", "first", 2)}
    place = 0
    for number in range(len(layers)):
        if number == attention:
            found |= _attention(weights, f"generator.layers.{place}", f"layers.{place}")
            place += 1
        found |= _block(weights, f"generator.layers.{place}", f"layers.{place}")
        place += 1
    found |= _norm(weights, "generator.bn", "last_norm", ("weight", "bias"), 1)
    # Of the channels that the last convolution gives, the published code keeps three.
    found |= {
        name: tensor[:3] for name, tensor in _layer(weights, "generator.conv_to_rgb", "last", 4).items()
    }
    weights.all_taken(("generator.", "embeddings."))
    options = {
        "channels": channels, "widths": [layers[0][1], *(outputs for _, _, outputs in layers)],
        "doubling": [up for up, _, _ in layers], "attention": attention if attention < len(layers) else -1,
        "class_dim": class_dim, "rows": rows, "eps": eps,
    }  # fmt: skip
    return Imported(
        source=SOURCE,
        network=NetworkConfig("biggan", latent_dim, conditional=True, generator=options),
        shape=(3, side, side),
        num_classes=classes,
        generator=found,
        critic=None,
        notes=(
            f"statistics for {rows} levels of truncation: generator.truncation, from 0 to 1, chooses among them",
            "z is drawn from a normal distribution cut off at 2, times the truncation",
            "spectral normalisation was folded into the weights",
        ),
    )


def _layers(given: Any) -> list[list[int]]:
    """[[doubles, inputs, outputs], ...] of the config."""
    if not isinstance(given, list) or not 0 < len(given) <= 64:
        raise GanvasError(f"{SOURCE}: its config needs layers, a list of 1 to 64.")
    for layer in given:
        kinds = [type(each) for each in layer] if isinstance(layer, list) else []
        if kinds != [bool, int, int]:
            raise GanvasError(
                f"{SOURCE}: each of the config's layers is [doubles the size, inputs, outputs]."
            )
    if any(before[2] != behind[1] for before, behind in pairwise(given)):
        raise GanvasError(f"{SOURCE}: each of the config's layers takes what the one before gives.")
    return [[int(up), inputs, outputs] for up, inputs, outputs in given]


def _block(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for i in range(BLOCK):
        found |= _norm(weights, f"{theirs}.bn_{i}", f"{ours}.norms.{i}", ("scale", "offset"), 2)
        found |= _layer(weights, f"{theirs}.conv_{i}", f"{ours}.convs.{i}", 4)
    return found


def _norm(weights: Weights, theirs: str, ours: str, parts: Iterable[str], dims: int) -> dict[str, Tensor]:
    found = {
        f"{ours}.means": weights.take(f"{theirs}.running_means", 2),
        f"{ours}.variances": weights.take(f"{theirs}.running_vars", 2),
    }
    for part in parts:
        if dims == 1:
            found[f"{ours}.{part}"] = weights.take(f"{theirs}.{part}", 1)
        else:
            found[f"{ours}.{part}.weight"] = _folded(weights, f"{theirs}.{part}", 2)
    return found


def _attention(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    found = {f"{ours}.weight": weights.take(f"{theirs}.gamma", 1).sum()}
    for part, name in ATTENTION.items():
        found[f"{ours}.{part}.weight"] = _folded(weights, f"{theirs}.snconv1x1_{name}", 4)
    return found


def _layer(weights: Weights, theirs: str, ours: str, dims: int) -> dict[str, Tensor]:
    return {
        f"{ours}.weight": _folded(weights, theirs, dims),
        f"{ours}.bias": weights.take(f"{theirs}.bias", 1),
    }


def _folded(weights: Weights, name: str, dims: int) -> Tensor:
    """The weight over its largest singular value as the two vectors beside it have it; or as it is, where they are gone."""
    if f"{name}.weight_orig" not in weights:
        return weights.take(f"{name}.weight", dims)
    weight = weights.take(f"{name}.weight_orig", dims)
    u, v = weights.take(f"{name}.weight_u", 1), weights.take(f"{name}.weight_v", 1)
    matrix = weight.flatten(1)
    if matrix.shape != (len(u), len(v)):
        raise GanvasError(f"{SOURCE}: the vectors beside {name!r} do not fit its weight.")
    return weight / (u @ (matrix @ v))
