"""lucidrains' lightweight-gan: model_N.pt of {GAN, version}, with .config.json beside it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.lucidrains import gan_of
from ganvas.importers.parts import Weights, config_beside, whole

SOURCE = "lightweight-gan (lucidrains)"
ATTENTION = {
    "to_lin_q": "attend.query", "to_lin_kv.net.0": "attend.near", "to_lin_kv.net.1": "attend.key_value",
    "to_q": "query", "to_kv": "key_value", "to_out": "out",
}  # fmt: skip


@importers.register("lightweight-gan")
def lightweight_gan(content: Any, file: Path | None) -> Imported | None:
    """lightweight-gan of lucidrains: model_N.pt with .config.json beside it; the averaged generator is taken."""
    state = gan_of(content)
    if state is None or "GE.layers.0.0.0.net.0.weight" not in state:
        return None
    weights = Weights(state, SOURCE)
    side = whole(config_beside(file, ".config.json", SOURCE), "image_size", SOURCE)
    found = {
        **_layer(weights, "GE.initial_conv.0", "first"),
        **_norm(weights, "GE.initial_conv.1", "first_norm"),
        **_layer(weights, "GE.out_conv", "last"),
    }
    stages = weights.count("GE.layers.{}.")
    widths, attention, kinds = [], [], set()
    for i in range(stages):
        theirs, ours = f"GE.layers.{i}", f"stages.{i}"
        found |= _layer(weights, f"{theirs}.0.0.net.0", f"{ours}.up")
        found |= _layer(weights, f"{theirs}.0.2.1", f"{ours}.conv")
        found[f"{ours}.strength"] = weights.take(f"{theirs}.0.3.weight", 1)
        found |= _norm(weights, f"{theirs}.0.4", f"{ours}.norm")
        widths.append(len(found[f"{ours}.conv.bias"]) // 2)
        if f"{theirs}.1.net.0.weight" in weights:
            kinds.add(kind := "dct_weights" if f"{theirs}.1.dct_weights" in weights else "to_k")
            if kind == "dct_weights":
                found[f"excite.{i}.cosines"] = weights.take(f"{theirs}.1.dct_weights", 4).flatten(0, 1)
            else:
                found |= _layer(weights, f"{theirs}.1.to_k", f"excite.{i}.look")
            for number, part in ((0, "narrow"), (2, "widen")):
                found |= _layer(weights, f"{theirs}.1.net.{number}", f"excite.{i}.{part}")
        if f"{theirs}.2.norm.g" in weights:
            attention.append(i)
            found |= _attention(weights, f"{theirs}.2", f"attention.{i}")
    if len(kinds) > 1:
        raise GanvasError(f"{SOURCE}: the file mixes two kinds of channel attention, which no version wrote.")
    weights.all_taken(("GE.",), but=(".f", ".num_batches_tracked"))
    options = {
        "widths": widths, "blur": "GE.layers.0.0.1.f" in weights, "attention": attention,
        "cosines": kinds == {"dct_weights"}, "output": "linear",
    }  # fmt: skip
    return Imported(
        source=SOURCE,
        network=NetworkConfig("lightweight", len(found["first.weight"]), generator=options),
        shape=(len(found["last.bias"]), side, side),
        num_classes=0,
        generator=found,
        critic=None,
        notes=(
            "drawn without the noise that it was trained with",
            "the critic of the file is not taken",
        ),
    )


def _layer(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    return {
        f"{ours}.weight": weights.take(f"{theirs}.weight", 4),
        f"{ours}.bias": weights.take(f"{theirs}.bias", 1),
    }


def _norm(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    parts = ("weight", "bias", "running_mean", "running_var")
    found = {f"{ours}.{part}": weights.take(f"{theirs}.{part}", 1) for part in parts}
    return found | {f"{ours}.num_batches_tracked": torch.zeros((), dtype=torch.long)}


def _attention(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    found = {
        f"{ours}.norm.{part}": weights.take(f"{theirs}.norm.{name}", 4).flatten()
        for part, name in (("weight", "g"), ("bias", "b"))
    }
    for name, layer in ATTENTION.items():
        found[f"{ours}.{layer}.weight"] = weights.take(f"{theirs}.fn.{name}.weight", 4)
    return found | {f"{ours}.out.bias": weights.take(f"{theirs}.fn.to_out.bias", 1)}
