"""StyleGAN2 in the files of NVIDIA's repositories (PyTorch and TensorFlow) and of rosinality, and state dicts of their keys.

All become one list of names first, those of StyleGAN2-ADA-PyTorch. Sizes are read off the tensors; what these do
not tell (clamping, activations, the mapping's learning rate) off the attributes of the file's objects, else it is as by
default there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.importers.base import Imported, importers
from ganvas.importers.parts import LONGEST_NAME, MOST, Weights
from ganvas.inert import Thing, parameters

MOST_STAGES = 11
"""4 to 4096 px."""
MOST_DENSE = 64
SAMPLED = 10_000
"""Latents whose mean w stands in where the file has none."""
WIDEST = 8192
"""Numbers of z, w and what lies between for that; published are 512."""
AVERAGES = ("G_ema", "g_ema", "generator_ema", "G", "g", "generator", "state_dict", "params_ema", "model")
"""What the dict of a generator is called in a larger one, the averaged first."""
CRITICS = ("D", "d", "discriminator")


@dataclass
class Found:
    """A network by the names of StyleGAN2-ADA-PyTorch, and what its tensors do not tell."""

    tensors: dict[str, Tensor]
    embed: Tensor | None = None
    """A row for each class."""
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@importers.register("stylegan2")
def nvidia(content: Any, file: Path | None) -> Imported | None:
    """StyleGAN2-ADA-PyTorch, and StyleGAN2 of the StyleGAN3 repository: .pkl, or a state dict of its keys."""
    held = _first(content, AVERAGES, "synthesis.b4.conv1.weight")
    if held is None:
        return None
    name, given, tensors = held
    found = Found(tensors, embedding(tensors))
    if isinstance(given, Thing):
        found.options = _generator_attributes(given)
        source = "StyleGAN2-ADA (PyTorch)"
    else:
        source = "StyleGAN2-ADA (PyTorch), state dict"
        found.notes.append(
            "a state dict does not tell of clamping and activations: none, and leaky ReLU, were assumed"
        )
    if name and name not in AVERAGES[:3]:
        found.notes.append(f"it has no averaged generator: {name} was taken")
    return _imported(source, found, _first_critic(content))


@importers.register("rosinality")
def rosinality(content: Any, file: Path | None) -> Imported | None:
    """rosinality's stylegan2-pytorch, trained or converted: .pt, or a state dict of its keys."""
    held = _first(content, AVERAGES, "conv1.conv.modulation.weight")
    if held is None:
        return None
    name, _, tensors = held
    if any(".iwt." in key for key in tensors):
        return None  # SWAGAN: `recognise` says so
    weights = Weights(tensors, "stylegan2-pytorch (rosinality)")
    found = Found(_of_rosinality(weights))
    if name and name not in AVERAGES[:3]:
        found.notes.append(f"it has no averaged generator: {name} was taken")
    average = content.get("latent_avg") if isinstance(content, dict) else None
    if isinstance(average, Tensor) and average.is_floating_point():
        found.tensors["mapping.w_avg"] = average.reshape(-1)
        found.notes.append("the mean of w is the file's latent_avg")
    if "noises.noise_0" not in tensors:
        found.notes.append("the file has no noise maps: they were drawn, from a seed of their own")
    judge = _first(content, CRITICS, "final_conv.0.weight")
    critic = None if judge is None else Found(_critic_of_rosinality(Weights(judge[2], weights.source)))
    return _imported(weights.source, found, critic)


@importers.register("stylegan2-tensorflow")
def tensorflow(content: Any, file: Path | None) -> Imported | None:
    """StyleGAN2 and StyleGAN2-ADA for TensorFlow: .pkl of (G, D, Gs)."""
    networks = [each for each in content if is_tensorflow(each)] if isinstance(content, list | tuple) else []
    if not networks and is_tensorflow(content):
        networks = [content]
    generators = [each for each in networks if "synthesis" in _dict(each.state, "components")]
    if not generators:
        return None
    chosen = generators[-1]
    source, state = "StyleGAN2 (TensorFlow)", chosen.state
    version = state.get("version")
    if type(version) is not int or version < 4:
        return None  # StyleGAN1: `recognise` says so
    variables = _variables(chosen)
    if "synthesis/4x4/Conv/mod_weight" not in variables:
        return None
    given = _dict(state, "static_kwargs")
    found = _of_tensorflow(Weights(variables, source), given)
    if len(generators) == 1 < len(networks):
        found.notes.append("it has no averaged generator: the only one was taken")
    critics = [each for each in networks if "components" in each.state and each is not chosen]
    critic = next(
        (
            _critic_of_tensorflow(Weights(their, source), each.state)
            for each in critics
            if "4x4/Dense0/weight" in (their := _variables(each))
        ),
        None,
    )
    return _imported(source, found, critic)


def official_critic(given: Any) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Options of the family's critic, and its state dict, of NVIDIA's StyleGAN2 discriminator; None for anything else.

    `given` is the object of a .pkl or a state dict. StyleGAN3's files have the same.
    """
    found = _critic(given)
    return None if found is None else _built_critic(found)


def _imported(source: str, found: Found, critic: Found | None) -> Imported:
    options, state, shape, latent_dim, classes = _built_generator(found, source)
    notes = list(found.notes)
    judge: dict[str, Any] = {}
    judged: dict[str, Tensor] | None = None
    if critic is not None:
        try:
            judge, judged = _built_critic(critic)
            sides = len(judge["widths"]), judged["from_image.0.conv.weight"].shape[1]
            knows = critic.embed is not None or bool(critic.options.get("label_outputs"))
            if sides != (len(options["widths"]), shape[0]) or knows != (classes > 0):
                judge, judged = {}, None
                notes.append("its critic judges other images than the generator draws, and was left out")
        except GanvasError as error:
            judge, judged = {}, None
            notes.append(f"its critic was left out: {error}")
    return Imported(
        source=source,
        network=NetworkConfig(
            "stylegan2",
            latent_dim,
            conditional=classes > 0,
            generator=options,
            critic=judge if judged else {},
        ),
        shape=shape,
        num_classes=classes,
        generator=state,
        critic=judged,
        notes=(
            f"{shape[1]} px, {options['architecture']}, w of {options['w_dim']}, {options['mapping_layers']} mapping layers",
            *notes,
            *([] if judged else ["no critic"]),
        ),
    )


def _built_generator(
    found: Found, source: str
) -> tuple[dict[str, Any], dict[str, Tensor], tuple[int, int, int], int, int]:
    """Options and state dict of the family's generator; shape, latent_dim and classes."""
    weights = Weights(found.tensors, source)
    sides = _sides(weights, "synthesis.b{}.conv1.")
    convolutions = [f"synthesis.b{side}.conv{i}" for side in sides for i in (0, 1) if side > 4 or i]
    images = [f"synthesis.b{side}.torgb" for side in sides if f"synthesis.b{side}.torgb.weight" in weights]
    shortcuts = [f"synthesis.b{side}.skip.weight" for side in sides[1:]]
    residual = shortcuts[0] in weights
    noise = f"{convolutions[0]}.noise_const" in weights
    state = {"constant": weights.take("synthesis.b4.const", 3)}
    for i, name in enumerate(convolutions):
        state |= _modulated(weights, name, f"layers.{i}")
        if i % 2:  # what doubles the size has its inputs first
            state[f"layers.{i}.weight"] = state[f"layers.{i}.weight"].transpose(0, 1).contiguous()
        if noise:
            state[f"layers.{i}.strength"] = _scalar(weights, f"{name}.noise_strength")
            state[f"layers.{i}.noise"] = weights.take(f"{name}.noise_const", 2)
    for i, name in enumerate(images):
        state |= _modulated(weights, name, f"to_image.{i}")
    if residual:
        state |= {f"shortcuts.{i}.weight": weights.take(name, 4) for i, name in enumerate(shortcuts)}
    if not images:
        raise GanvasError(f"{source}: the file is incomplete, no block has a torgb.")
    dense = min(weights.count("mapping.fc{}.", MOST_DENSE), MOST_DENSE)
    for i in range(max(dense, 1)):
        state[f"map.{i}.weight"] = weights.take(f"mapping.fc{i}.weight", 2)
        state[f"map.{i}.bias"] = weights.take(f"mapping.fc{i}.bias", 1)
    classes, embedded = (0, 0) if found.embed is None else found.embed.shape
    if found.embed is not None:
        state["embed.weight"] = found.embed
    latent_dim = state["map.0.weight"].shape[1] - embedded
    if latent_dim < 1:
        raise GanvasError(f"{source}: its class embedding is as wide as the whole input of the mapping.")
    w_dim = state[f"map.{dense - 1}.bias"].shape[0]
    options: dict[str, Any] = {
        "widths": [state[f"layers.{2 * i}.bias"].shape[0] for i in range(len(sides))],
        "w_dim": w_dim,
        "mapping_layers": dense,
        "mapping_width": state["map.0.bias"].shape[0],
        "embed_width": embedded,
        "architecture": "resnet" if residual else "skip" if len(images) == len(sides) else "orig",
        "taps": _taps(
            weights,
            [f"synthesis.b{side}.{name}resample_filter" for side in sides[1:] for name in ("conv0.", "")],
        ),
        "noise": noise,
        "output": "linear",
        **found.options,
    }
    if "mapping.w_avg" in weights:
        state["w_mean"] = weights.take("mapping.w_avg", 1)
    else:
        state["w_mean"] = _mean_w(state, latent_dim, options)
        found.notes.append(f"the file has no mean of w: it is that of {SAMPLED:,} samples")
    state["path_mean"] = torch.zeros(())
    shape = (state["to_image.0.bias"].shape[0], sides[-1], sides[-1])
    return options, state, shape, latent_dim, classes


def _built_critic(found: Found) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Options and state dict of the family's critic."""
    weights = Weights(found.tensors, "the critic")
    sides = [4, *_sides(weights, "b{}.conv1.", 8)]
    down = sides[:0:-1]
    skip = f"b{sides[0]}.fromrgb.weight" in weights
    residual = f"b{down[0]}.skip.weight" in weights
    state: dict[str, Tensor] = {}

    def plain(theirs: str, ours: str) -> None:
        state[f"{ours}.conv.weight"] = weights.take(f"{theirs}.weight", 4)
        state[f"{ours}.conv.bias"] = weights.take(f"{theirs}.bias", 1)

    for i, side in enumerate([*down, 4] if skip else down[:1]):
        plain(f"b{side}.fromrgb", f"from_image.{i}")
    for i, side in enumerate(down):
        plain(f"b{side}.conv0", f"blocks.{i}.first")
        plain(f"b{side}.conv1", f"blocks.{i}.down")
        if residual:
            state[f"blocks.{i}.shortcut.weight"] = weights.take(f"b{side}.skip.weight", 4)
    plain("b4.conv", "conv")
    for theirs, ours in (("b4.fc", "dense"), ("b4.out", "last")):
        state[f"{ours}.weight"] = weights.take(f"{theirs}.weight", 2)
        state[f"{ours}.bias"] = weights.take(f"{theirs}.bias", 1)
    widths = [state[f"blocks.{i}.first.conv.bias"].shape[0] for i in range(len(down))]
    widths.append(state[f"blocks.{len(down) - 1}.down.conv.bias"].shape[0])
    options: dict[str, Any] = {
        "widths": widths[::-1],
        "architecture": "resnet" if residual else "skip" if skip else "orig",
        "taps": _taps(weights, [f"b{side}.conv1.resample_filter" for side in down]),
        "std_channels": state["conv.conv.weight"].shape[1] - widths[-1],
        **found.options,
    }
    if found.embed is not None:
        dense = weights.count("mapping.fc{}.", MOST_DENSE)
        for i in range(dense):
            state[f"map.{i}.weight"] = weights.take(f"mapping.fc{i}.weight", 2)
            state[f"map.{i}.bias"] = weights.take(f"mapping.fc{i}.bias", 1)
        state["embed.weight"] = found.embed
        options |= {
            "map_layers": dense,
            "map_width": state["last.bias"].shape[0],
            "embed_width": found.embed.shape[1],
        }
    return options, state


def candidates(content: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    """The content itself, and what it calls by one of `names`: objects and dicts."""
    found = [("", content)] if isinstance(content, Thing | dict) else []
    if isinstance(content, dict):
        found += [(name, content[name]) for name in names if isinstance(content.get(name), Thing | dict)]
    return found


def _first(content: Any, names: Sequence[str], key: str) -> tuple[str, Any, dict[str, Tensor]] | None:
    """The first of `candidates` with a tensor called `key`: its name, itself, its tensors."""
    for name, given in candidates(content, names):
        tensors = tensors_of(given)
        if key in tensors:
            return name, given, tensors
    return None


def tensors_of(given: Any) -> dict[str, Tensor]:
    """The tensors of an object or of a state dict, without the prefix that parallel training gives."""
    if isinstance(given, Thing):
        held = parameters(given) if isinstance(given.state, dict) else {}
    else:
        held = {
            name: each for name, each in given.items() if isinstance(name, str) and isinstance(each, Tensor)
        }
    return {name.removeprefix("module."): tensor for name, tensor in held.items()}


def _sides(weights: Weights, name: str, first: int = 4) -> list[int]:
    """first, 2 first, ... for as long as there are tensors of that name."""
    sides = [first << i for i in range(MOST_STAGES)]
    found = [side for side in sides if weights.any_of(name.format(side))]
    if not found or found != sides[: len(found)] or (first == 4 and len(found) < 2):
        raise GanvasError(f"{weights.source}: the file is incomplete, it has blocks of {found} px alone.")
    return found


def _scalar(weights: Weights, name: str) -> Tensor:
    found = weights.tensors.get(name)
    if found is None or found.numel() != 1 or not found.is_floating_point():
        raise GanvasError(f"{weights.source}: the file needs one number as {name!r}.")
    return found.detach().float().reshape(())


def _modulated(weights: Weights, theirs: str, ours: str) -> dict[str, Tensor]:
    return {
        f"{ours}.weight": weights.take(f"{theirs}.weight", 4),
        f"{ours}.bias": weights.take(f"{theirs}.bias", 1),
        f"{ours}.affine.weight": weights.take(f"{theirs}.affine.weight", 2),
        f"{ours}.affine.bias": weights.take(f"{theirs}.affine.bias", 1),
    }


def embedding(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """A dense layer's answer to every one-hot label (classes, width)."""
    weights = Weights(tensors, "the class embedding")
    if "mapping.embed.weight" not in weights:
        return None
    weight = weights.take("mapping.embed.weight", 2)
    found: Tensor = (weight * weight.shape[1] ** -0.5).t() + weights.take("mapping.embed.bias", 1)
    return found


def _taps(weights: Weights, names: list[str]) -> list[float]:
    """The one filter (n,) of the `names` that the file has, as it is there; the usual one where it has none."""
    found = [_filter(weights, name) for name in names if name in weights]
    if not found:
        return [1.0, 3.0, 3.0, 1.0]
    shares = [each / each.sum() for each in found]
    if any(
        each.shape != shares[0].shape or not torch.allclose(each, shares[0], atol=1e-6) for each in shares
    ):
        raise GanvasError(
            f"{weights.source}: its layers change the size by more than one filter, and ganvas draws with one. Build the module "
            "with its own code and give it to ganvas.wrap(module, latent_dim=...)."
        )
    return [float(tap) for tap in found[0]]


def _filter(weights: Weights, name: str) -> Tensor:
    """The filter (n,) whose outer product the file has (n, n), up to a factor."""
    kernel = weights.take(name, weights.tensors[name].dim()).double()
    if kernel.dim() == 2:
        total = kernel.sum()
        taps = kernel.sum(0) / total
        apart = (torch.outer(kernel.sum(1) / total, taps) - kernel / total).abs().max()
        if (
            kernel.shape[0] != kernel.shape[1]
            or not apart < 1e-5
            or not torch.allclose(kernel, kernel.t(), atol=1e-6)
        ):
            raise GanvasError(f"{weights.source}: its filter {name} is not one filter for both directions.")
        kernel = taps
    if kernel.dim() != 1 or not 1 <= len(kernel) <= 64:
        raise GanvasError(f"{weights.source}: its filter {name} has shape {tuple(kernel.shape)}.")
    return kernel


def _mean_w(state: Mapping[str, Tensor], latent_dim: int, options: Mapping[str, Any]) -> Tensor:
    """The mean of `SAMPLED` w of a mapping without classes."""
    if "embed.weight" in state:
        raise GanvasError("The file has no mean of w, and classes: there is no telling whose mean is meant.")
    widths = [latent_dim, *(len(state[f"map.{i}.weight"]) for i in range(options["mapping_layers"]))]
    if max(widths) > WIDEST:
        raise GanvasError(
            f"The file has no mean of w, and a mapping of {max(widths):,} numbers: it is taken of {WIDEST:,} at most."
        )
    x = torch.randn(SAMPLED, latent_dim, generator=stream(0, "mean of w"))
    x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
    rate = options.get("mapping_rate", 0.01)
    for i in range(options["mapping_layers"]):
        weight = state[f"map.{i}.weight"]
        x = (
            F.leaky_relu(
                F.linear(x, weight * (rate * weight.shape[1] ** -0.5), state[f"map.{i}.bias"] * rate), 0.2
            )
            * 2**0.5
        )
    return x.mean(0)


def _part(thing: Any, *path: str) -> Any:
    """A module below a module, by the names of the way; None where there is none."""
    for name in path:
        held = _dict(thing.state, "_modules") if isinstance(thing, Thing) else {}
        thing = held.get(name)
    return thing


def _attribute(module: Any, name: str) -> Any:
    state = module.state if isinstance(module, Thing) else None
    return state.get(name) if isinstance(state, dict) else None


def _dict(given: Any, name: str) -> dict[Any, Any]:
    found = given.get(name) if isinstance(given, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise GanvasError(f"The file says no sound number as {what}.")
    return float(value)


def _activation(value: Any, what: str) -> str:
    if value not in ("lrelu", "relu", "linear"):
        raise GanvasError(f"The file's {what} is none of lrelu, relu and linear.")
    return str(value)


def _generator_attributes(generator: Thing) -> dict[str, Any]:
    """What the objects of a .pkl say besides their tensors."""
    options: dict[str, Any] = {}
    first, dense = _part(generator, "synthesis", "b4", "conv1"), _part(generator, "mapping", "fc0")
    if (clamp := _attribute(first, "conv_clamp")) is not None:
        options["conv_clamp"] = _number(clamp, "conv_clamp")
    if (name := _attribute(first, "activation")) is not None:
        options["activation"] = _activation(name, "activation")
    if (name := _attribute(dense, "activation")) is not None:
        options["mapping_activation"] = _activation(name, "activation of the mapping")
    if (rate := _attribute(dense, "bias_gain")) is not None:
        options["mapping_rate"] = _number(rate, "learning rate of the mapping")
    return options


def _first_critic(content: Any) -> Found | None:
    return next(
        (found for _, given in candidates(content, CRITICS) if (found := _critic(given)) is not None), None
    )


def _critic(given: Any) -> Found | None:
    """NVIDIA's discriminator as an object or a state dict; None for anything else."""
    tensors = tensors_of(given) if isinstance(given, Thing | dict) else {}
    if "b4.fc.weight" not in tensors or "b4.out.weight" not in tensors:
        return None
    found = Found(tensors, embedding(tensors))
    end, dense = _part(given, "b4"), _part(given, "mapping", "fc0")
    conv, std = _part(end, "conv"), _part(end, "mbstd")
    if (clamp := _attribute(conv, "conv_clamp")) is not None:
        found.options["conv_clamp"] = _number(clamp, "conv_clamp of the critic")
    if (name := _attribute(conv, "activation")) is not None:
        found.options["activation"] = _activation(name, "activation of the critic")
    if (rate := _attribute(dense, "bias_gain")) is not None and found.embed is not None:
        found.options["map_rate"] = _number(rate, "learning rate of the critic's mapping")
    if (name := _attribute(dense, "activation")) is not None and found.embed is not None:
        found.options["map_activation"] = _activation(name, "activation of the critic's mapping")
    if isinstance(std, Thing):
        group = _attribute(std, "group_size")
        found.options["std_group"] = 0 if group is None else int(_number(group, "group of minibatch std"))
    return found


def _of_rosinality(weights: Weights) -> dict[str, Tensor]:
    stages = weights.count("to_rgbs.{}.", MOST_STAGES)
    found = {"synthesis.b4.const": weights.take("input.input", 4)[0]}
    names = [("conv1", 4, 1)] + [(f"convs.{2 * b + i}", 8 << b, i) for b in range(stages) for i in (0, 1)]
    drawn = "noises.noise_0" not in weights
    for i, (theirs, side, which) in enumerate(names):
        ours = f"synthesis.b{side}.conv{which}"
        found |= _of_modulation(weights, theirs, ours)
        found[f"{ours}.bias"] = weights.take(f"{theirs}.activate.bias", 1)
        found[f"{ours}.noise_strength"] = weights.take(f"{theirs}.noise.weight", 1)
        noise = f"noises.noise_{i}"
        found[f"{ours}.noise_const"] = (
            torch.randn(side, side, generator=stream(0, noise)) if drawn else weights.take(noise, 4)[0, 0]
        )
        if f"{theirs}.conv.blur.kernel" in weights:
            found[f"{ours}.resample_filter"] = weights.take(f"{theirs}.conv.blur.kernel", 2)
    for theirs, side in [("to_rgb1", 4)] + [(f"to_rgbs.{b}", 8 << b) for b in range(stages)]:
        ours = f"synthesis.b{side}.torgb"
        # Here the weights are scaled where they are used.
        found |= _of_modulation(weights, theirs, ours, scaled=False)
        found[f"{ours}.bias"] = weights.take(f"{theirs}.bias", 4).flatten()
        if f"{theirs}.upsample.kernel" in weights:  # of images, which need not be that of maps
            found[f"synthesis.b{side}.resample_filter"] = weights.take(f"{theirs}.upsample.kernel", 2)
    for i in range(MOST_DENSE):
        if f"style.{i + 1}.weight" not in weights:
            break
        found[f"mapping.fc{i}.weight"] = weights.take(f"style.{i + 1}.weight", 2)
        found[f"mapping.fc{i}.bias"] = weights.take(f"style.{i + 1}.bias", 1)
    return found


def _of_modulation(weights: Weights, theirs: str, ours: str, scaled: bool = True) -> dict[str, Tensor]:
    weight = weights.take(f"{theirs}.conv.weight", 5)[0]
    return {
        # Before the demodulation and its epsilon they are divided by the root of the fan-in there.
        f"{ours}.weight": weight * weight[0].numel() ** -0.5 if scaled else weight,
        f"{ours}.affine.weight": weights.take(f"{theirs}.conv.modulation.weight", 2),
        f"{ours}.affine.bias": weights.take(f"{theirs}.conv.modulation.bias", 1),
    }


def _critic_of_rosinality(weights: Weights) -> dict[str, Tensor]:
    stages = weights.count("convs.{}.", MOST_STAGES + 1) - 1
    side = 4 << stages
    found = {
        f"b{side}.fromrgb.weight": weights.take("convs.0.0.weight", 4),
        f"b{side}.fromrgb.bias": weights.take("convs.0.1.bias", 1),
    }
    for i in range(stages):
        ours, theirs = f"b{side >> i}", f"convs.{i + 1}"
        found[f"{ours}.conv0.weight"] = weights.take(f"{theirs}.conv1.0.weight", 4)
        found[f"{ours}.conv0.bias"] = weights.take(f"{theirs}.conv1.1.bias", 1)
        found[f"{ours}.conv1.resample_filter"] = weights.take(f"{theirs}.conv2.0.kernel", 2)
        found[f"{ours}.conv1.weight"] = weights.take(f"{theirs}.conv2.1.weight", 4)
        found[f"{ours}.conv1.bias"] = weights.take(f"{theirs}.conv2.2.bias", 1)
        found[f"{ours}.skip.weight"] = weights.take(f"{theirs}.skip.1.weight", 4)
    found["b4.conv.weight"] = weights.take("final_conv.0.weight", 4)
    found["b4.conv.bias"] = weights.take("final_conv.1.bias", 1)
    for ours, theirs in (("b4.fc", "final_linear.0"), ("b4.out", "final_linear.1")):
        found[f"{ours}.weight"] = weights.take(f"{theirs}.weight", 2)
        found[f"{ours}.bias"] = weights.take(f"{theirs}.bias", 1)
    return found


def is_tensorflow(given: Any) -> bool:
    """Whether this is a network of NVIDIA's TensorFlow repositories."""
    return (
        isinstance(given, Thing)
        and given.name.endswith("tflib.network.Network")
        and isinstance(given.state, dict)
    )


def _variables(network: Thing) -> dict[str, Tensor]:
    """The arrays of a network and of those that it is made of. Raises `GanvasError` for more than any has, or longer names."""
    found: dict[str, Tensor] = {}

    def collect(part: Thing, prefix: str, depth: int) -> None:
        state: Any = part.state
        variables = state.get("variables") if isinstance(state, dict) else None
        for each in variables if isinstance(variables, list) else []:
            if (
                isinstance(each, list | tuple)
                and len(each) == 2
                and isinstance(each[0], str)
                and isinstance(each[1], Tensor)
            ):
                found[named(prefix, each[0])] = each[1]
        for name, inner in _dict(state, "components").items():
            if isinstance(name, str) and isinstance(inner, Thing) and depth:
                collect(inner, named(prefix, name) + "/", depth - 1)

    def named(prefix: str, name: str) -> str:
        if len(prefix) + len(name) > LONGEST_NAME or len(found) >= MOST:
            raise GanvasError(
                f"A network of the file has more than {MOST:,} arrays, or names of more than {LONGEST_NAME} letters."
            )
        return prefix + name

    collect(network, "", 3)
    return found


def _of_tensorflow(weights: Weights, given: Mapping[Any, Any]) -> Found:
    sides = [4, *_sides(weights, "synthesis/{0}x{0}/Conv1/", 8)]
    found = Found({"synthesis.b4.const": weights.take("synthesis/4x4/Const/const", 4)[0]})
    tensors = found.tensors
    for side in sides:
        log = side.bit_length() - 1
        layers = {"conv1": "Conv"} if side == 4 else {"conv0": "Conv0_up", "conv1": "Conv1"}
        if f"synthesis/{side}x{side}/ToRGB/weight" in weights:
            layers["torgb"] = "ToRGB"
        for ours, theirs in layers.items():
            name, key = f"synthesis/{side}x{side}/{theirs}", f"synthesis.b{side}.{ours}"
            tensors[f"{key}.weight"] = _kernel(weights, f"{name}/weight", flip=ours == "conv0")
            tensors[f"{key}.bias"] = weights.take(f"{name}/bias", 1)
            tensors[f"{key}.affine.weight"] = weights.take(f"{name}/mod_weight", 2).t()
            tensors[f"{key}.affine.bias"] = weights.take(f"{name}/mod_bias", 1) + 1
            if ours != "torgb" and f"{name}/noise_strength" in weights:
                index = 0 if side == 4 else 2 * log - (5 if ours == "conv0" else 4)
                tensors[f"{key}.noise_strength"] = _scalar(weights, f"{name}/noise_strength")
                tensors[f"{key}.noise_const"] = weights.take(f"synthesis/noise{index}", 4)[0, 0]
        if f"synthesis/{side}x{side}/Skip/weight" in weights:
            tensors[f"synthesis.b{side}.skip.weight"] = _kernel(
                weights, f"synthesis/{side}x{side}/Skip/weight", flip=True
            )
    for i in range(weights.count("mapping/Dense{}/", MOST_DENSE)):
        tensors[f"mapping.fc{i}.weight"] = weights.take(f"mapping/Dense{i}/weight", 2).t()
        tensors[f"mapping.fc{i}.bias"] = weights.take(f"mapping/Dense{i}/bias", 1)
    if "mapping/LabelConcat/weight" in weights:
        found.embed, found.options["joint_norm"] = weights.take("mapping/LabelConcat/weight", 2), True
    elif "mapping/LabelEmbed/weight" in weights:
        weight = weights.take("mapping/LabelEmbed/weight", 2)
        found.embed = weight * weight.shape[0] ** -0.5 + weights.take("mapping/LabelEmbed/bias", 1)
    if "dlatent_avg" in weights:
        tensors["mapping.w_avg"] = weights.take("dlatent_avg", 1)
    _tensorflow_options(found, given, "synthesis.b8.resample_filter")
    found.options["mapping_rate"] = _number(given.get("mapping_lrmul", 0.01), "mapping_lrmul")
    if given.get("mapping_nonlinearity") is not None:
        found.options["mapping_activation"] = _activation(
            given["mapping_nonlinearity"], "mapping_nonlinearity"
        )
    return found


def _critic_of_tensorflow(weights: Weights, state: Mapping[Any, Any]) -> Found:
    found, given = Found({}), _dict(state, "static_kwargs")
    for side in [4, *_sides(weights, "{0}x{0}/Conv1_down/", 8)]:
        for ours, theirs in (
            ("fromrgb", "FromRGB"),
            ("conv0", "Conv0"),
            ("conv1", "Conv1_down"),
            ("skip", "Skip"),
            ("conv", "Conv"),
        ):
            name = f"{side}x{side}/{theirs}"
            if f"{name}/weight" in weights:
                found.tensors[f"b{side}.{ours}.weight"] = _kernel(weights, f"{name}/weight")
            if f"{name}/bias" in weights:
                found.tensors[f"b{side}.{ours}.bias"] = weights.take(f"{name}/bias", 1)
    for ours, theirs in (("b4.fc", "4x4/Dense0"), ("b4.out", "Output")):
        found.tensors[f"{ours}.weight"] = weights.take(f"{theirs}/weight", 2).t()
        found.tensors[f"{ours}.bias"] = weights.take(f"{theirs}/bias", 1)
    if "LabelEmbed/weight" in weights:
        weight = weights.take("LabelEmbed/weight", 2)
        found.embed = weight * weight.shape[0] ** -0.5 + weights.take("LabelEmbed/bias", 1)
        for i in range(weights.count("Mapping{}/", MOST_DENSE)):
            found.tensors[f"mapping.fc{i}.weight"] = weights.take(f"Mapping{i}/weight", 2).t()
            found.tensors[f"mapping.fc{i}.bias"] = weights.take(f"Mapping{i}/bias", 1)
        found.options["map_rate"] = _number(given.get("mapping_lrmul", 0.1), "mapping_lrmul of the critic")
        found.options["map_activation"] = _activation(given.get("nonlinearity", "lrelu"), "nonlinearity")
    elif found.tensors["b4.out.bias"].numel() > 1 or given.get("label_size"):
        found.options["label_outputs"] = True
    # The later repository takes the whole batch where nobody says another size.
    group = given.get("mbstd_group_size", 4 if state.get("build_func_name") == "D_stylegan2" else None)
    found.options["std_group"] = 0 if group is None else int(_number(group, "mbstd_group_size"))
    _tensorflow_options(found, given, "b8.conv1.resample_filter")
    return found


def _tensorflow_options(found: Found, given: Mapping[Any, Any], taps: str) -> None:
    """What the keyword arguments of a network say that its tensors do not."""
    if given.get("conv_clamp") is not None:
        found.options["conv_clamp"] = _number(given["conv_clamp"], "conv_clamp")
    if given.get("nonlinearity") is not None:
        found.options["activation"] = _activation(given["nonlinearity"], "nonlinearity")
    kernel = given.get("resample_kernel")
    if isinstance(kernel, list | tuple) and 0 < len(kernel) <= 64:
        if not all(isinstance(tap, int | float) and not isinstance(tap, bool) for tap in kernel):
            raise GanvasError("The file's resample_kernel is no list of numbers.")
        found.tensors[taps] = torch.tensor([float(tap) for tap in kernel])


def _kernel(weights: Weights, name: str, flip: bool = False) -> Tensor:
    """A kernel (height, width, in, out) -> (out, in, height, width); `flip` turns it by half a circle."""
    found = weights.take(name, 4)
    return (found.flip(0, 1) if flip else found).permute(3, 2, 0, 1)
