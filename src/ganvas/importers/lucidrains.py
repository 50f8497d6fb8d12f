"""lucidrains' stylegan2-pytorch: model_N.pt of {GAN, version}, with .config.json beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.checkpoint import LARGEST_NUMBER
from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.parts import Weights, config_beside, whole

SOURCE = "stylegan2-pytorch (lucidrains)"
MEAN_OF = 10_000
"""Samples that the mean of w is taken from; the file has none."""
MOST_DENSE = 64
WIDEST = 8192
"""Numbers of z and w at most; the toolkit's own have 512."""
BLUR = "GE.blocks.0.to_rgb.upsample.1.f"
"""The filter that images are blurred with when they are doubled; files of versions before 1.1 have none."""
ATTENTION = {
    "0.fn.fn.to_q": "attend.query", "0.fn.fn.to_kv.net.0": "attend.near", "0.fn.fn.to_kv.net.1": "attend.key_value",
    "0.fn.fn.to_out": "out", "1.fn.fn.0": "widen", "1.fn.fn.2": "narrow",
}  # fmt: skip


@importers.register("stylegan2-pytorch")
def stylegan2_pytorch(content: Any, file: Path | None) -> Imported | None:
    """stylegan2-pytorch of lucidrains: model_N.pt with .config.json beside it; the averaged networks are taken."""
    state = gan_of(content)
    if state is None or "GE.blocks.0.conv1.weight" not in state or "SE.net.0.weight" not in state:
        return None
    weights = Weights(state, SOURCE)
    config = config_beside(file, ".config.json", SOURCE)
    side = whole(config, "image_size", SOURCE)
    rate = config.get("lr_mlp", 0.1)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= LARGEST_NUMBER:
        raise GanvasError(f"{SOURCE}: its config needs lr_mlp, a number above 0.")
    layers = 0
    found: dict[str, Tensor] = {}
    while f"SE.net.{2 * layers}.weight" in weights and layers < MOST_DENSE:
        for part, dims in (("weight", 2), ("bias", 1)):
            found[f"map.{layers}.{part}"] = weights.take(f"SE.net.{2 * layers}.{part}", dims)
        layers += 1
    latent_dim = weights.take("SE.net.0.weight", 2).shape[1]
    found["w_mean"], found["path_mean"] = _mean_of_w(found, layers, rate), torch.zeros(())
    constant = "GE.initial_block" in weights
    if constant:
        found["constant"] = weights.take("GE.initial_block", 4).flatten(0, 1)
    else:
        found["first.weight"] = weights.take("GE.to_initial_block.weight", 4)
    for part, dims in (("weight", 4), ("bias", 1)):
        found[f"initial.{part}"] = weights.take(f"GE.initial_conv.{part}", dims)
    blocks = weights.count("GE.blocks.{}.")
    attention = [i for i in range(blocks) if f"GE.attns.{i}.0.fn.fn.to_q.weight" in weights]
    for i in range(blocks):
        found |= _block(weights, i)
        if i in attention:
            found |= _attention(weights, f"GE.attns.{i}", f"attention.{i}")
    weights.all_taken(("GE.", "SE."), but=(".f",))
    channels, widest = (len(found[f"layers.{i}.weight"]) for i in (2 * blocks - 1, 0))
    options = {
        "channels": channels, "max_channels": widest, "mapping_layers": layers, "mapping_rate": float(rate),
        "attention": attention, "constant": constant, "blur": BLUR in state, "output": "linear",
    }  # fmt: skip
    return Imported(
        source=SOURCE,
        network=NetworkConfig("lucidrains", latent_dim, generator=options),
        shape=(len(found[f"to_image.{blocks - 1}.weight"]), side, side),
        num_classes=0,
        generator=found,
        critic=None,
        notes=(
            "drawn with noise of 0.5 everywhere, the mean of what it was trained with",
            f"the mean of w, for truncation, is that of {MEAN_OF:,} samples",
            "the critic of the file is not taken",
        ),
    )


def gan_of(content: Any) -> Mapping[Any, Any] | None:
    """The state dict: under "GAN" in the file that the toolkit writes, with or without that word before its names in others."""
    if not isinstance(content, Mapping):
        return None
    if isinstance(content.get("GAN"), Mapping):
        state: Mapping[Any, Any] = content["GAN"]
        return state
    return {name.removeprefix("GAN."): value for name, value in content.items() if isinstance(name, str)}


def _mean_of_w(found: Mapping[str, Tensor], layers: int, rate: float) -> Tensor:
    """The mean of w (W,)."""
    width = found["map.0.weight"].shape[1]
    if any(found[f"map.{i}.weight"].shape != (width, width) for i in range(layers)) or width > WIDEST:
        raise GanvasError(f"{SOURCE}: the layers of its mapping are not square, or wider than {WIDEST:,}.")
    z = torch.randn(MEAN_OF, width, generator=stream(0, "mean of w"))
    w = torch.nn.functional.normalize(z, dim=1)
    for i in range(layers):
        weight, bias = (found[f"map.{i}.{part}"] for part in ("weight", "bias"))
        if len(bias) != width:
            raise GanvasError(
                f"{SOURCE}: layer {i} of its mapping has {len(bias)} biases for {width} numbers."
            )
        w = torch.nn.functional.leaky_relu(w @ (weight * rate).t() + bias * rate, 0.2)
    return w.mean(0)


def _block(weights: Weights, i: int) -> dict[str, Tensor]:
    theirs, found = f"GE.blocks.{i}", {}
    for conv in (1, 2):
        ours = f"layers.{2 * i + conv - 1}"
        found[f"{ours}.weight"] = weights.take(f"{theirs}.conv{conv}.weight", 4)
        for part, dims in (("weight", 2), ("bias", 1)):
            found[f"{ours}.affine.{part}"] = weights.take(f"{theirs}.to_style{conv}.{part}", dims)
            found[f"{ours}.noise.{part}"] = weights.take(f"{theirs}.to_noise{conv}.{part}", dims)
    found[f"to_image.{i}.weight"] = weights.take(f"{theirs}.to_rgb.conv.weight", 4)
    for part, dims in (("weight", 2), ("bias", 1)):
        found[f"to_image.{i}.affine.{part}"] = weights.take(f"{theirs}.to_rgb.to_style.{part}", dims)
    return found


def _attention(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    found = {}
    for i, norm in enumerate(("norm", "norm2")):
        for part, name in (("weight", "g"), ("bias", "b")):
            found[f"{ours}.{norm}.{part}"] = weights.take(f"{theirs}.{i}.fn.norm.{name}", 4).flatten()
    for name, layer in ATTENTION.items():
        found[f"{ours}.{layer}.weight"] = weights.take(f"{theirs}.{name}.weight", 4)
        if f"{theirs}.{name}.bias" in weights:
            found[f"{ours}.{layer}.bias"] = weights.take(f"{theirs}.{name}.bias", 1)
    return found
