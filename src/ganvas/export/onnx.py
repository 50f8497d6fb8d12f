"""Generators as ONNX, for onnxruntime and whatever else reads it: phones, browsers, other languages.

A style-based generator has three parts: `whole` (z -> image), `mapping` (z -> w) and `synthesis` (w or w+ -> image); others
have the first alone. What has a usual value, as psi and noise have, is an input where that is asked for, and else inside.
"""

import copy
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ganvas import io
from ganvas.errors import GanvasError, install
from ganvas.latent import open_space
from ganvas.model import PACKAGED_LICENSE, Model
from ganvas.model_data import class_names
from ganvas.networks import GeneratorBase, StyleBased
from ganvas.networks.biggan import BigGenerator
from ganvas.networks.coded import Coded
from ganvas.networks.progressive import ProgressiveGenerator
from ganvas.networks.stylegan3 import StyleGAN3Generator
from ganvas.registry import did_you_mean

Part = Literal["whole", "mapping", "synthesis"]
PARTS: tuple[Part, ...] = ("whole", "mapping", "synthesis")
SMALL = 64
"""Tensors of fewer numbers stay as they are in a file of halves."""
MOST_BYTES = 2**31 - 2**20
"""One file of this format holds no more."""
CHECKED = 3
"""Samples that a file draws beside the model."""
NUMBERS = ("psi", "truncation")
"""Inputs that can be left out of a graph, but are in it if nobody says otherwise."""
MILLION = 1_000_000
MOST_MEANS = 2**24
"""Numbers of the means of w, one a class, that a file holds: of ImageNet's classes they are half a million."""
LONGEST, MOST_OF_CLASSES = 2000, 100_000
"""Characters of a name in a file, and of the list of classes; of a longer one their number stands there."""


class Input(NamedTuple):
    """An input of a graph."""

    example: Tensor
    """The graph is traced with it."""
    free: tuple[str, ...] = ()
    """Names of the first sizes, which may be any."""


class Graph(nn.Module):
    """One part of a generator, as it is exported: named tensors -> (image or w)."""

    def __init__(self, model: Model, part: Part, optional: Sequence[str] | None) -> None:
        super().__init__()
        # Where gradients are wanted, networks take the plain way: no strips, no layouts, nothing in place.
        self.generator: GeneratorBase = (
            copy.deepcopy(model.generator).cpu().float().eval().requires_grad_(True)
        )
        self.part = part
        known = optional_of(model)
        for name in optional or ():
            if name not in known:
                raise GanvasError(
                    f"This model has no input {name!r}.{did_you_mean(name, known)} It can have: {', '.join(known) or 'none'}."
                )
        self.optional = [name for name in known if name in (NUMBERS if optional is None else optional)]
        if isinstance(self.generator, ProgressiveGenerator):  # a number: the graph has no ways to choose from
            growing: Any = self.generator
            level = float(growing.level)
            del growing.level
            growing.level = level
        if isinstance(self.generator, BigGenerator) and "truncation" in self.optional:
            self.register_buffer("on_rows", torch.tensor(_on_rows(self.generator.rows)))
        if "psi" in self.optional and part == "whole":
            check_means(model, _without_psi(known), MOST_MEANS)
            classes = model.generator.num_classes
            labels = torch.arange(classes, device=model.device) if classes else None
            middle = open_space(model, "w").mean_of(labels)
            self.register_buffer("middle", middle.detach().float().cpu().clone())

    def inputs(self) -> dict[str, Input]:
        """The inputs by name, in the order of the graph."""
        network: Any = self.generator
        found: dict[str, Input] = {}
        if self.part == "synthesis":
            found["w"] = Input(torch.randn(2, 1, network.w_dim), ("batch", "layers"))
        else:
            found["z"] = Input(torch.randn(2, network.latent_dim), ("batch",))
            if network.num_classes:
                found["labels"] = Input(torch.arange(2) % network.num_classes, ("batch",))
            if "other" in self.optional:
                found["other"] = Input(torch.ones(2, dtype=torch.long), ("batch",))
                found["share"] = Input(torch.tensor(0.5))
        if self.part == "mapping":
            return found
        if "psi" in self.optional and self.part == "whole":
            found["psi"] = Input(torch.tensor(1.0))
        if "truncation" in self.optional:
            found["truncation"] = Input(torch.tensor(network.truncation))
        if "transform" in self.optional:
            found["transform"] = Input(network.transform.detach().clone())
        if "noise" in self.optional:
            for i, maps in enumerate(network.fixed_noise):
                found[f"noise_{i}"] = Input(maps.detach().clone(), ("noises",))
        return found

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        """What the part gives: w (B, W), or samples (B, *shape) within the range."""
        network: Any = self.generator
        labels = given.get("labels")
        noise = [maps for name, maps in given.items() if name.startswith("noise_")]
        if "other" in given:
            network = network.mixed(given["other"], given["share"])
        if "truncation" in given:
            network.level = self._level(given["truncation"], network.rows)
        if self.part == "mapping":
            w: Tensor = network.mapping(given["z"], labels)
            return w
        if not isinstance(network, StyleBased):
            drawn: Tensor = network(given["z"], labels)
            return drawn
        if self.part == "synthesis":
            w_plus = given["w"].expand(-1, network.num_layers, -1)
        else:
            w_plus = network.broadcast(self._pulled(network.mapping(given["z"], labels), given))
        place = {"transform": given["transform"]} if "transform" in given else {}
        image: Tensor = network.synthesis(network.styles(w_plus), noise or None, **place)
        return image

    def _pulled(self, w: Tensor, given: dict[str, Tensor]) -> Tensor:
        """w (B, W) nearer the mean: of its class where there are classes, of two that are mixed the way between theirs."""
        if "psi" not in given:
            return w
        means: Any = self.middle
        middle: Tensor = means[given["labels"]] if "labels" in given else means
        if "other" in given:
            middle = torch.lerp(middle, means[given["other"]], given["share"])
        return middle + given["psi"] * (w - middle)

    def _level(self, truncation: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """The row of BigGAN's statistics and its share, as `BigGenerator.truncation` counts them."""
        own: Any = self
        # In millionths, since graphics cards have no float64.
        place = (truncation * MILLION).round().long() * (rows - 1)
        row = torch.div(place, MILLION, rounding_mode="trunc").clamp(0, rows - 1)
        rest = (place - row * MILLION).float() / MILLION
        on_row = (rest == 0) | (row >= rows - 1)
        # By one number alone torch 2.9 asks which it is.
        itself = own.on_rows.index_select(0, row.reshape(-1)).reshape(row.shape)
        return torch.where(on_row, itself, row), torch.where(on_row, torch.ones_like(rest), rest)


def _on_rows(rows: int) -> list[int]:
    """The row of BigGAN's statistics that each row's level gives: its own, or the next where float64 divides to beside it."""
    step = 1 / (rows - 1) if rows > 1 else math.inf
    places = [round(row * step, 6) / step if row else 0.0 for row in range(rows)]
    # Of what lies a hair above a row the whole share is the next one's, of what lies below it that of the one before.
    return [min(rows - 1, int(p) if p <= row else row + 1) for row, p in enumerate(places)]


def parts_of(model: Model) -> tuple[Part, ...]:
    """The parts that a model's generator has."""
    return PARTS if isinstance(model.generator, StyleBased) else ("whole",)


def optional_of(model: Model) -> list[str]:
    """The names of inputs that a file of this model has only where they are asked for."""
    network = model.generator
    found = ["psi"] if isinstance(network, StyleBased) else []
    found += ["noise"] if getattr(network, "fixed_noise", []) else []
    found += ["other"] if getattr(network, "embed", None) is not None and network.num_classes > 1 else []
    found += ["truncation"] if isinstance(network, BigGenerator) and network.rows else []
    return found + (["transform"] if isinstance(network, StyleGAN3Generator) else [])


def check(model: Model) -> None:
    """Raise `GanvasError` for a model that cannot be written, and where the extra `export` is missing."""
    generator = model.generator
    if isinstance(generator, Coded) and generator.mixture is not None and generator.mixture.components > 1:
        single = (
            "give an autoencoder a single normal, which can be written: ganvas encode MODEL IMAGES --fit 1 --out FILE."
            if generator.maker is None
            else "begin a GAN in a latent space with a single normal, which can be written: "
            "ganvas train DATA --in-latent AUTOENCODER --set network.codes.components=1."
        )
        raise GanvasError(
            f"This model's codes are drawn from a mixture of {generator.mixture.components} normals, number by number in "
            f"float64, for which onnxruntime has no operators. Draw with ganvas sample; or {single}"
        )
    _library("onnx")
    _library("onnxscript")


def _without_psi(known: Sequence[str]) -> str:
    """How to have a file without psi, of a model that has the inputs `known`."""
    other = [name for name in known if name != "psi"]
    how = f"--inputs {other[0]}" if other else "to_onnx(model, optional=[]) in Python"
    return f"Name inputs without psi: {how}."


def check_means(model: Model, advice: str, most: int) -> None:
    """Raise `GanvasError`, ending with `advice`, where the means of w of all classes are too many numbers for a file."""
    network = model.generator
    if not isinstance(network, StyleBased):
        return
    numbers = network.num_classes * network.w_dim
    if numbers > most:
        raise GanvasError(
            f"Truncation pulls w to the mean of its class, and those of {network.num_classes:,} classes are {numbers:,} "
            f"numbers; a file of this kind holds at most {most:,}. {advice}"
        )


def to_onnx(
    model: Model, part: Part = "whole", *, half: bool = False, optional: Sequence[str] | None = None
) -> bytes:
    """One part of a model's generator as the bytes of an ONNX file.

    Inputs: `z` (batch, latent_dim) and, with classes, `labels` (batch,) int64; of `synthesis` `w` (batch, 1 or layers, w_dim).
    `optional` (None: the numbers among them) are `psi`, a number that pulls w to its mean, or that of the class, or between
    those of two that are mixed; `truncation` of BigGAN, for which z must be drawn; `noise`, maps `noise_0`, ...
    (1 or batch, 1, H, W); `transform` (3, 3) of StyleGAN3; `other` (batch,) int64, classes that are mixed in, with `share`, a
    number from 0 to 1.
    Output: `image` (batch, *shape) in the model's value range, or `w` (batch, w_dim). `half` keeps weights as float16, and
    computes in float32 all the same.

    Raises `GanvasError` for parts that there are not, what cannot be exported, and where the extra `export` is missing.
    """
    if part not in parts_of(model):
        raise GanvasError(f"This model has no part {part!r}, but {', '.join(parts_of(model))}.")
    check(model)
    onnx = _library("onnx")
    graph = Graph(model, part, optional).eval()
    inputs = graph.inputs()
    examples = {name: each.example for name, each in inputs.items()}
    # Only the batch is traced as a symbol: the other free sizes are 1 in the example, which broadcasts, and stays so.
    sizes = {
        name: {0: torch.export.Dim("batch")} if "batch" in each.free else None
        for name, each in inputs.items()
    }
    output = "w" if part == "mapping" else "image"
    with _quiet(), torch.enable_grad():
        graph(examples)  # whatever is kept between calls is made of real tensors
        try:
            traced = torch.export.export(graph, (examples,), dynamic_shapes=(sizes,), strict=False)
            program = torch.onnx.export(
                traced, input_names=list(inputs), output_names=[output], dynamo=True, verbose=False
            )
        except Exception as error:
            raise GanvasError(f"This generator cannot be written as ONNX: {_first_line(error)}.") from error
    assert program is not None
    made = program.model_proto
    _name_sizes(made, inputs, output)
    _forget(made.graph)
    for function in made.functions:
        _forget(function)
    if half:
        _halve(onnx, made)
    for key, value in _about(model, part, half).items():
        made.metadata_props.add(key=key, value=value)
    if made.ByteSize() > MOST_BYTES:
        raise GanvasError("One ONNX file holds at most 2 GiB." + ("" if half else " Try --half."))
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def difference(model: Model, contents: dict[Part, bytes]) -> float:
    """How far onnxruntime's samples are from the model's at most: in grey levels, or for points as they are.

    Counted over `CHECKED` samples in batches of one and of all, of every part there is.
    """
    z = model.latents(CHECKED, seed=1)
    labels = model.labels(CHECKED)
    with torch.inference_mode():
        on = model.device
        wanted = model.generator(z.to(on), None if labels is None else labels.to(on)).float().cpu()
    low, high = model.generator.value_range
    scale = 255 / (high - low) if len(model.shape) == 3 else 1.0
    found: list[float] = []
    for rows in (slice(None), slice(1)):
        feeds = {"z": z[rows]} | ({} if labels is None else {"labels": labels[rows]})
        for part, content in contents.items():
            if part != "synthesis":
                drawn = run(model, content, feeds)
                drawn = drawn if part == "whole" else run(model, contents["synthesis"], {"w": drawn[:, None]})
                found.append((drawn - wanted[rows]).abs().max().item())
    return scale * max(found)


def run(model: Model, content: bytes, feeds: Mapping[str, Tensor]) -> Tensor:
    """What onnxruntime computes of the inputs by name; those that are not given are what the model takes by itself."""
    runtime = _library("onnxruntime")
    runtime.disable_telemetry_events()  # some of its builds tell their maker of sessions
    opened = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    network: Any = model.generator
    usual = {"psi": torch.tensor(1.0)}
    if isinstance(network, BigGenerator):
        usual["truncation"] = torch.tensor(network.truncation)
    if isinstance(network, StyleGAN3Generator):
        usual["transform"] = network.transform
    if network.num_classes and "labels" in feeds:
        usual |= {"other": feeds["labels"], "share": torch.tensor(0.0)}
    usual |= {f"noise_{i}": maps for i, maps in enumerate(getattr(network, "fixed_noise", []))}
    given = {each.name: (usual | dict(feeds))[each.name].cpu().numpy() for each in opened.get_inputs()}
    return torch.from_numpy(opened.run(None, given)[0])


def write(
    model: Model, out: Path, *, half: bool = False, parts: bool = False, optional: Sequence[str] | None = None
) -> tuple[list[Path], float]:
    """Write the generator to `out`, with `parts` its mapping and synthesis beside it too.

    Each is drawn with and compared before it is kept. Returns the files, and `difference`.
    Raises `GanvasError` for `parts` of a generator without w.
    """
    if parts and len(parts_of(model)) == 1:
        raise GanvasError(
            f"Only a generator with w has a mapping and a synthesis to write apart; {model.info.name} has none. Omit --parts."
        )
    _library("onnxruntime")
    wanted = parts_of(model) if parts else ("whole",)
    contents = {part: to_onnx(model, part, half=half, optional=optional) for part in wanted}
    found = difference(model, contents)
    files = [out if part == "whole" else out.with_name(f"{out.stem}.{part}.onnx") for part in wanted]
    for file, part in zip(files, wanted, strict=True):
        io.write_bytes(file, contents[part])
    return files, found


def _about(model: Model, part: Part, half: bool) -> dict[str, str]:
    """What a file says of itself."""
    info, network = model.info, model.generator
    names = class_names(model) if network.num_classes else None
    if names and len(json.dumps(names)) > MOST_OF_CLASSES:
        names = None
    known: dict[str, Any] = {
        "made_by": f"ganvas {version('ganvas')}",
        "part": part,
        "family": info.name,
        "shape": list(model.shape),
        "value_range": list(info.value_range),
        "latent_dim": info.latent_dim,
        "prior": network.prior,
        "classes": names or network.num_classes or None,
        "hash": model.hash,
        "weights": "float16" if half else "float32",
        "source": info.source or None,
        "kimg": info.kimg,
        "licence": PACKAGED_LICENSE if model.is_packaged else "not known: that of the weights",
    }
    if isinstance(network, StyleBased):
        known |= {"w_dim": network.w_dim, "layers": network.num_layers}
    said = {key: value for key, value in known.items() if value is not None}
    return {
        f"ganvas.{key}": value[:LONGEST] if isinstance(value, str) else json.dumps(value)
        for key, value in said.items()
    }


def _name_sizes(made: Any, inputs: dict[str, Input], output: str) -> None:
    """Give the free sizes their names: a graph that spreads a size of 1 takes the full one too."""
    for value in made.graph.input:
        for size, name in zip(value.type.tensor_type.shape.dim, inputs[value.name].free, strict=False):
            size.dim_param = name
    for value in made.graph.output:
        assert value.name == output
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del made.graph.value_info[:]


def _forget(graph: Any) -> None:
    """Remove what the exporter says of each node: the lines of source it comes from, in folders of this machine."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                _forget(inner)


def _halve(onnx: Any, made: Any) -> None:
    """Keep the large tensors as float16, and take them to float32 where they are used."""
    graph, casts = made.graph, []
    for tensor in graph.initializer:
        large = math.prod(tensor.dims) >= SMALL and tensor.data_type == onnx.TensorProto.FLOAT
        if not large:
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        values = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        if values.abs().max() > torch.finfo(torch.float16).max:
            continue
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.half().numpy(), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _library(name: str) -> Any:
    """A package of the extra `export`. Raises `GanvasError` saying what to type where it is missing."""
    from importlib import import_module

    # Since 1.32 it tells its makers what it is used for, and reads a file of /tmp for that, where
    # a pipe of anybody's would be waited for, deaf to Ctrl-C.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(name)
    except ImportError as error:
        raise GanvasError(f"ONNX needs the package {name}: {install('export')}") from error


def _first_line(error: BaseException) -> str:
    """The beginning of an error of the exporter, which tells its whole story."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own remarks, on packages that it looks for and ways that will end, say nothing to a user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for each in loggers:
                each.setLevel(logging.ERROR)
            yield
        finally:
            for each, level in zip(loggers, before, strict=True):
                each.setLevel(level)
