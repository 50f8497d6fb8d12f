"""Autoencoders that others trained: AutoencoderKL of Stable Diffusion, by diffusers' names or CompVis' own, and TAESD."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ganvas import io
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.parts import Weights, json_beside
from ganvas.networks.autoencoder_kl import GROUPS, LARGEST_SCALE, SCALE, maps_of
from ganvas.networks.taesd import FACTOR

SIDE = 64
"""Of the pictures, where none is asked for: the networks draw any."""
KL, TINY = "AutoencoderKL", "AutoencoderTiny"
DECODER, ENCODER = ("decoder.", "post_quant_conv."), ("encoder.", "quant_conv.")
OLD = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Names of the attention's layers in files of before."""
WHOLE = "first_stage_model."
"""Begins the names of the autoencoder's tensors in a file of all of Stable Diffusion."""
COMPVIS = (
    (r"\.mid\.block_([12])\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}."),
    (r"\.mid\.attn_1\.norm\.", lambda m: ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", lambda m: f".mid_block.attentions.0.to_{m[1]}."),
    (r"\.mid\.attn_1\.proj_out\.", lambda m: ".mid_block.attentions.0.to_out.0."),
    (r"\.(down|up)\.(\d{1,2})\.block\.", lambda m: f".{m[1]}_blocks.{m[2]}.resnets."),
    (r"\.down\.(\d{1,2})\.downsample\.", lambda m: f".down_blocks.{m[1]}.downsamplers.0."),
    (r"\.up\.(\d{1,2})\.upsample\.", lambda m: f".up_blocks.{m[1]}.upsamplers.0."),
    (r"\.nin_shortcut\.", lambda m: ".conv_shortcut."),
    (r"\.norm_out\.", lambda m: ".conv_norm_out."),
)  # fmt: skip
"""Names of CompVis' code -> those of diffusers, but for the order of the decoder's stages."""


@importers.register("autoencoder-kl")
def autoencoder_kl(content: Any, file: Path | None) -> Imported | None:
    """AutoencoderKL (diffusers, CompVis): the file, or the folder with its config.json; decoder and encoder."""
    given = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(given, Mapping):
        return None
    tensors: Mapping[Any, Any] = given
    if any(_begins(name, "encoder.down.0.", f"{WHOLE}encoder.down.0.") for name in given):
        tensors = _of_compvis(given)
    if not any(_begins(name, "encoder.down_blocks.", "decoder.up_blocks.") for name in tensors):
        return None
    weights = Weights({_now(name): each for name, each in tensors.items() if isinstance(name, str)}, KL)
    stages = weights.count("encoder.down_blocks.{}.", 8)
    widths = [len(weights.take(f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 4)) for i in range(stages)]
    options = {
        "widths": widths,
        "layers": weights.count("encoder.down_blocks.0.resnets.{}.", 8),
        "channels": len(weights.take("encoder.conv_out.weight", 4)) // 2,
        "quant": "quant_conv.weight" in weights,
        **_of_config(file),
    }
    return _imported(KL, "autoencoder-kl", options, weights, lambda name: name, 2 ** (stages - 1))


@importers.register("taesd")
def taesd(content: Any, file: Path | None) -> Imported | None:
    """TAESD: AutoencoderTiny of diffusers, or the folder with its author's two files; decoder and encoder."""
    if not isinstance(content, Mapping) or "encoder.layers.0.weight" not in content:
        return None
    weights = Weights(content, TINY)
    same = {"act_fn": "relu", "scaling_factor": 1.0, "shift_factor": 0.0, "upsample_fn": "nearest"}
    _as_expected(_config(file), same, TINY)
    options = {
        "width": len(weights.take("encoder.layers.0.weight", 4)),
        "channels": weights.take("decoder.layers.0.weight", 4).shape[1],
    }
    return _imported(TINY, "taesd", options, weights, lambda name: name.partition(".")[2], FACTOR)


def _imported(
    source: str, family: str, options: dict[str, Any], weights: Weights, ours: Callable[[str], str], factor: int
) -> Imported:  # fmt: skip
    """Pictures of `SIDE` px, or as many as are asked for; `ours` is the name of a tensor here."""
    parts = [
        {ours(name): weights.take(name, each.dim()) for name, each in weights.tensors.items() if name.startswith(part)}
        for part in (DECODER, ENCODER)
    ]  # fmt: skip
    weights.all_taken(("",))
    scale, shift = options.get("scale", 1.0), options.get("shift", 0.0)

    def at(side: int) -> Imported:
        maps = maps_of((3, side, side), factor, options["channels"])
        less = f"less {shift:g} and " if shift else ""
        code = f"a code is {maps[0]} maps of {maps[2]} x {maps[1]}, {less}times {scale:g}"
        network = replace(found.network, latent_dim=math.prod(maps))
        return replace(found, network=network, shape=(3, side, side), notes=(code,))

    found = Imported(
        source=source,
        network=NetworkConfig(family, generator=options, critic=options),
        shape=(3, SIDE, SIDE),
        num_classes=0,
        generator=parts[0],
        critic=None,
        notes=(),
        encoder=parts[1],
        at=at,
    )
    return at(SIDE)


def _begins(name: object, *starts: str) -> bool:
    return isinstance(name, str) and name.startswith(starts)


def _now(name: str) -> str:
    for before, now in OLD.items():
        name = name.replace(before, now)
    return name


def _of_compvis(tensors: Mapping[Any, Any]) -> dict[str, Any]:
    """The autoencoder's tensors by the names of diffusers; what else is in the file, as its critic, is left."""
    start = WHOLE if any(_begins(name, WHOLE) for name in tensors) else ""
    own = {name.removeprefix(start): each for name, each in tensors.items() if _begins(name, start)}
    kept = {name: each for name, each in own.items() if name.startswith((*DECODER, *ENCODER))}
    stages = sum(f"decoder.up.{i}.block.0.conv1.weight" in kept for i in range(8))
    found = {}
    for name, each in kept.items():
        for before, now in COMPVIS:
            name = re.sub(before, now, name)
        # There the decoder's stages are counted from the full size down.
        name = re.sub(r"\.up_blocks\.(\d+)\.", lambda m: f".up_blocks.{stages - 1 - int(m[1])}.", name)
        square = ".attentions." in name and isinstance(each, Tensor) and each.shape[2:] == (1, 1)
        found[name] = each[:, :, 0, 0] if square else each
    return found


def _config(file: Path | None) -> io.Json:
    """The config.json beside the file; nothing where there is none."""
    return json_beside(file, "config.json") or {}


def _of_config(file: Path | None) -> dict[str, float]:
    """What is taken off codes, and what they are then multiplied by. Raises `GanvasError` for another network than is built."""
    config = _config(file)
    same = {"act_fn": "silu", "norm_num_groups": GROUPS, "latents_mean": None, "latents_std": None}
    _as_expected(config, same, KL)
    scale = config.get("scaling_factor", SCALE)
    if type(scale) not in (int, float) or not 1 / LARGEST_SCALE < scale < LARGEST_SCALE:
        raise GanvasError(
            f"config.json: scaling_factor is {scale!r}; it must be a number from {1 / LARGEST_SCALE:g} to {LARGEST_SCALE:,g}."
        )
    shift = config.get("shift_factor", 0.0)
    if shift is None:
        shift = 0.0
    if type(shift) not in (int, float) or not abs(shift) < LARGEST_SCALE:
        raise GanvasError(
            f"config.json: shift_factor is {shift!r}; it must be a number within {LARGEST_SCALE:,g} of 0."
        )
    return {"scale": float(scale), "shift": float(shift)}


def _as_expected(config: io.Json, expected: Mapping[str, Any], kind: str) -> None:
    """Raise `GanvasError` where a config.json says of the network what its tensors do not show and is not built here."""
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise GanvasError(
                f"config.json: {name} is {str(config[name])[:80]}, and an {kind} is read with {value!r} alone: "
                "its pictures or codes would be others."
            )
