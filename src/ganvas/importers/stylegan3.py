"""StyleGAN3 in the files of NVIDIA's repository, configurations T and R, and state dicts of their keys."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.parts import Weights
from ganvas.importers.stylegan2 import AVERAGES, CRITICS, candidates, embedding, official_critic, tensors_of
from ganvas.inert import Thing
from ganvas.networks.stylegan3 import MOST_LAYERS, MOST_TAPS, Band, bands, lowpass, radial_lowpass

LAYER = re.compile(r"synthesis\.L(\d{1,3})_(\d{1,5})_(\d{1,5})\.weight")


@importers.register("stylegan3")
def nvidia(content: Any, file: Path | None) -> Imported | None:
    """StyleGAN3 (PyTorch), T and R: .pkl, or a state dict of its keys."""
    named = ((*each, tensors_of(each[1])) for each in candidates(content, AVERAGES))
    keys = {"synthesis.input.freqs", "mapping.w_avg"}
    name, given, tensors = next((each for each in named if keys <= each[2].keys()), ("", None, {}))
    if not tensors:
        return None
    if tensors["mapping.w_avg"].dim() != 1:
        return None  # StyleGAN-XL: `recognise` says so
    source = "StyleGAN3 (PyTorch)" if isinstance(given, Thing) else "StyleGAN3 (PyTorch), state dict"
    notes = []
    if name and name not in AVERAGES[:3]:
        notes.append(f"it has no averaged generator: {name} was taken")
    if not isinstance(given, Thing):
        notes.append("a state dict does not tell of clamping and output scale: 256 and 0.25 were assumed")
    options, state, shape, latent_dim = _generator(Weights(tensors, source), _said(given))
    classes = len(state["embed.weight"]) if "embed.weight" in state else 0
    judge, judged = _critic(content, shape, classes, notes)
    which = "R" if options["use_radial_filters"] else "T"
    return Imported(
        source=source,
        network=NetworkConfig(
            "stylegan3", latent_dim, conditional=classes > 0, generator=options, critic=judge
        ),
        shape=shape,
        num_classes=classes,
        generator=state,
        critic=judged,
        notes=(
            f"{shape[1]} px, configuration {which}, w of {options['w_dim']}, {options['num_layers']} layers",
            *notes,
            *([] if judged else ["no critic"]),
        ),
    )


def _said(given: Any) -> dict[str, Any]:
    """The keyword arguments of the generator and of its layers that the object of a .pkl tells."""
    state = given.state if isinstance(given, Thing) else None
    said = state.get("_init_kwargs") if isinstance(state, Mapping) else None
    return (
        {name: value for name, value in said.items() if isinstance(name, str)}
        if isinstance(said, dict)
        else {}
    )


def _number(said: Mapping[str, Any], name: str, default: float, most: float = 2.0**16) -> float:
    value = said.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise GanvasError(f"The file says no sound number as {name}.")
    return value


def _whole(said: Mapping[str, Any], name: str, default: int) -> int:
    value = _number(said, name, default)
    if value != int(value):
        raise GanvasError(f"The file says no whole number as {name}.")
    return int(value)


def _generator(
    weights: Weights, said: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor], tuple[int, int, int], int]:
    """Options and state dict of the family's generator, shape and latent_dim."""
    found = sorted(
        (int(match[1]), int(match[2]), int(match[3]), name.removesuffix(".weight"))
        for name in weights.tensors
        if (match := LAYER.fullmatch(name))
    )
    if len(found) < 3 or [i for i, *_ in found] != list(range(len(found))) or len(found) > MOST_LAYERS + 1:
        raise GanvasError(
            f"{weights.source}: the file is incomplete, it has layers {[i for i, *_ in found][:20]}."
        )
    sizes, names = [size for _, size, *_ in found], [name for *_, name in found]
    state = _state(weights, names)
    widths = [len(state[f"layers.{i}.bias"]) for i in range(len(names))]
    shape = (widths[-1], sizes[-1], sizes[-1])
    dense = weights.count("mapping.fc{}.")
    embedded = state["embed.weight"].shape[1] if "embed.weight" in state else 0
    latent_dim = state["map.0.weight"].shape[1] - embedded
    kernel = state["layers.0.weight"].shape[2]
    options: dict[str, Any] = {
        "widths": widths[:-1],
        "w_dim": len(state["w_mean"]),
        "mapping_layers": dense,
        "num_layers": len(names) - 1,
        "output_scale": _number(said, "output_scale", 0.25),
        "conv_kernel": kernel,
        "filter_size": _whole(said, "filter_size", 6),
        "lrelu_upsampling": _whole(said, "lrelu_upsampling", 2),
        "use_radial_filters": any(
            tensor.dim() == 2 for name, tensor in state.items() if "down_filter" in name
        ),
        "conv_clamp": 0 if said.get("conv_clamp", 256) is None else _number(said, "conv_clamp", 256),
        "magnitude_decay": _number(said, "magnitude_ema_beta", 0.999, 1),
        "output": "linear",
    }
    mapping = said.get("mapping_kwargs")
    if isinstance(mapping, Mapping):
        options["mapping_rate"] = _number(mapping, "lr_multiplier", 0.01)
    if latent_dim < 1 or len(widths) < 3:
        raise GanvasError(
            f"{weights.source}: its class embedding is as wide as the whole input of the mapping."
        )
    taps = options["filter_size"] * options["lrelu_upsampling"]
    if not 0 < taps <= MOST_TAPS or options["lrelu_upsampling"] < 1:  # before a filter is computed
        raise GanvasError(f"{weights.source}: the file's filters of {taps:,} taps are none.")
    options |= _design(weights.source, said, options, sizes, state)
    return options, state, shape, latent_dim


def _state(weights: Weights, names: list[str]) -> dict[str, Tensor]:
    own = {"weight": 4, "bias": 1, "magnitude_ema": 0, "affine.weight": 2, "affine.bias": 1}
    state = {
        f"layers.{i}.{part}": weights.take(f"{name}.{part}", n)
        for i, name in enumerate(names)
        for part, n in own.items()
    }
    for i, name in enumerate(names[:-1]):
        for part in ("up_filter", "down_filter"):
            key = f"{name}.{part}"
            radial = part == "down_filter" and key in weights and weights.tensors[key].dim() == 2
            state[f"layers.{i}.{part}"] = weights.take(key, 2 if radial else 1)
    parts = {"weight": 2, "freqs": 2, "phases": 1, "transform": 2, "affine.weight": 2, "affine.bias": 1}
    state |= {f"input.{part}": weights.take(f"synthesis.input.{part}", n) for part, n in parts.items()}
    for i in range(max(1, weights.count("mapping.fc{}."))):
        state[f"map.{i}.weight"] = weights.take(f"mapping.fc{i}.weight", 2)
        state[f"map.{i}.bias"] = weights.take(f"mapping.fc{i}.bias", 1)
    if (rows := embedding(weights.tensors)) is not None:
        state["embed.weight"] = rows
    return state | {"w_mean": weights.take("mapping.w_avg", 1), "path_mean": torch.zeros(())}


def _design(
    source: str,
    said: Mapping[str, Any],
    options: Mapping[str, Any],
    sizes: list[int],
    state: Mapping[str, Tensor],
) -> dict[str, Any]:
    """The options that say at what rates the layers are sampled: the first that give the file's sizes and filters."""
    side, last = sizes[-1], len(sizes) - 1
    if side & (side - 1) or not 8 <= side <= 2048:
        raise GanvasError(
            f"{source}: its images have {side} px; stylegan3 draws powers of two from 8 to 2048."
        )
    fitting: dict[str, Any] | None = None
    for design in _designs(said, last, sizes):
        if (
            not 0 < design["first_cutoff"] < min(side / 2, design["first_stopband"])
            or not design["last_stopband_rel"]
        ):
            raise GanvasError(f"{source}: the bands that the file describes are none.")
        signal = bands(side, 1, widths=[1] * last, num_layers=last, **design)
        if [band.size for band in signal] == sizes and _filters(
            signal, options, design["num_critical"], state
        ):
            return design
        if [band.size for band in signal] == sizes and all(
            state[f"layers.{i}.{part}_filter"].shape[0] == taps
            for i in range(last)
            for part, taps in zip(("up", "down"), _taps(signal, i, options), strict=True)
        ):
            fitting = fitting or design
    if fitting is None or not said:
        raise GanvasError(f"{source}: its layers of {sizes} px are not those of StyleGAN3's design.")
    return fitting


def _designs(said: Mapping[str, Any], last: int, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """What the file says; where it says nothing the defaults, then other margins and numbers of layers at the full rate."""
    given = {
        "first_cutoff": _number(said, "first_cutoff", 2),
        "first_stopband": _number(said, "first_stopband", 2**2.1),
        "last_stopband_rel": _number(said, "last_stopband_rel", 2**0.3),
    }
    margins = (
        [_whole(said, "margin_size", 10)]
        if said
        else [10, *(i for i in range(min(sizes[0] // 2, 256)) if i != 10)]
    )
    critical = [_whole(said, "num_critical", 2)] if said else [2, 1, *range(3, last)]
    for margin in margins:
        rate = sizes[0] - 2 * margin
        if rate < 1 or rate & (rate - 1):
            continue
        for count in critical:
            if 1 <= count < last:
                yield {**given, "margin_size": margin, "num_critical": count}


def _taps(signal: list[Band], i: int, options: Mapping[str, Any]) -> tuple[int, int]:
    before, after = signal[max(i - 1, 0)], signal[i]
    rate = max(before.rate, after.rate) * options["lrelu_upsampling"]
    return options["filter_size"] * (rate // before.rate), options["filter_size"] * (rate // after.rate)


def _filters(
    signal: list[Band], options: Mapping[str, Any], critical: int, state: Mapping[str, Tensor]
) -> bool:
    """Whether the file's filters are those of this design."""
    last = len(signal) - 1
    for i in range(last):
        before, after = signal[max(i - 1, 0)], signal[i]
        rate = max(before.rate, after.rate) * options["lrelu_upsampling"]
        up_taps, down_taps = _taps(signal, i, options)
        design = radial_lowpass if options["use_radial_filters"] and i < last - critical else lowpass
        up = lowpass(up_taps, before.cutoff, 2 * before.half_width, rate)
        down = design(down_taps, after.cutoff, 2 * after.half_width, rate)
        for part, made in (("up", up), ("down", down)):
            held = state[f"layers.{i}.{part}_filter"]
            if held.shape != made.shape or not torch.allclose(held, made, atol=1e-4):
                return False
    return True


def _critic(
    content: Any, shape: tuple[int, int, int], classes: int, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Tensor] | None]:
    for _, given in candidates(content, CRITICS):
        try:
            found = official_critic(given)
        except GanvasError as error:
            notes.append(f"its critic was left out: {error}")
            return {}, None
        if found is not None:
            options, state = found
            channels, side = state["from_image.0.conv.weight"].shape[1], 2 << len(options["widths"])
            if (channels, side) == (shape[0], shape[1]) and ("embed.weight" in state) == (classes > 0):
                return options, state
            notes.append("its critic judges other images than the generator draws, and was left out")
            return {}, None
    return {}, None
