"""Generators as ONNX, judged by onnxruntime: the same pictures within one grey level, in any batch, for every family."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.cli import main
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.export import onnx as export
from ganvas.export import page
from ganvas.export.onnx import difference, optional_of, parts_of, run, to_onnx, write
from ganvas.latent import LatentSpace, open_space
from ganvas.model import Model, ModelInfo
from ganvas.networks import StyleBased, build_generator, families
from ganvas.networks.stylegan3 import placement
from tests.contracts.test_networks import SERIES

LEVEL = 1 / 255
"""Of the range: a grey level."""
SIZES: dict[str, dict[str, Any]] = {
    "biggan": {"channels": 2, "rows": 51},
    "stylegan3": {"num_layers": 2, "num_critical": 1, "channel_base": 32, "channel_max": 4},
}
"""Options beside the tiny ones of a family: statistics for truncation, few layers."""


@cache
def model_of(name: str) -> Model:
    """A random model of 8 px, or 8 steps, with two classes, whose noise shows."""
    options = {**families.get(name).tiny, **SIZES.get(name, {})}
    config = NetworkConfig(name, latent_dim=6, conditional=True, generator=options)
    shape = (2, 8) if name in SERIES else (3, 8, 8)
    generator = build_generator(config, shape, 2, seed=1).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part, weight in [*generator.named_parameters(), *generator.named_buffers()]:
            if part.endswith(("strength", ".noise.weight", "means")):
                weight.copy_(torch.randn(weight.shape, generator=random))
            elif part.endswith("variances"):
                weight.copy_(torch.rand(weight.shape, generator=random) + 0.5)
    return Model(generator, None, ModelInfo.of(generator, name, architecture=config))


def some(names: Iterable[str]) -> list[Any]:
    """What exports a family once more is slow but for three, a kind each: dense, convolutional, with styles."""
    few = ("mlp", "dcgan", "style")
    return [pytest.param(name, marks=() if name in few else pytest.mark.slow) for name in names]


@cache
def whole(name: str) -> bytes:
    """The whole of it, with all inputs that it can have."""
    return to_onnx(model_of(name), optional=optional_of(model_of(name)))


def alike(model: Model, found: Tensor, wanted: Tensor) -> None:
    low, high = model.generator.value_range
    assert found.shape == wanted.shape
    # The file holds values as they are; what is beyond the range is clipped in pixels.
    apart = (found.clamp(low, high) - wanted.clamp(low, high)).abs().max() / (high - low)
    assert apart < LEVEL / 10
    assert wanted.std() > 1e-4 * (high - low)


@pytest.mark.parametrize("name", some(families))
def test_onnxruntime_draws_the_same_in_any_batch(name: str) -> None:
    model = model_of(name)
    z, labels = model.latents(3), torch.tensor([0, 1, 1])
    with torch.no_grad():
        wanted = model.generator(z, labels)
    for rows in (slice(0, 3), slice(1, 2)):
        alike(model, run(model, whole(name), {"z": z[rows], "labels": labels[rows]}), wanted[rows])


@pytest.mark.parametrize(
    "name", some(name for name in families if isinstance(model_of(name).generator, StyleBased))
)
def test_psi_noise_and_place_are_inputs(name: str) -> None:
    model = model_of(name)
    network: Any = model.generator
    z, labels = model.latents(2), torch.tensor([1, 0])
    middle = open_space(model, "w").mean_of(labels)
    random = torch.Generator().manual_seed(3)
    noise = [torch.rand(1, *shape, generator=random) for shape in network.noise_shapes]
    given = {"z": z, "labels": labels, "psi": torch.tensor(0.3)} | {
        f"noise_{i}": n for i, n in enumerate(noise)
    }
    place = {}
    if "transform" in optional_of(model):
        given["transform"] = place["transform"] = placement(30.0, 0.1, 0.2)
    with torch.no_grad():
        w = network.mapping(z, labels)
        styles = network.styles(network.broadcast(middle + 0.3 * (w - middle)))
        wanted = network.synthesis(styles, noise or None, **place)
        alike(model, run(model, whole(name), given), wanted)
        assert not torch.allclose(wanted, network(z, labels), atol=0.01)


@pytest.mark.slow
def test_levels_of_biggans_truncation_are_an_input() -> None:
    model = model_of("biggan")
    z, labels = model.latents(2), torch.tensor([0, 1])
    for level in (0.02, 0.4, 0.41, 0.58, 0.999, 1.0):
        found = run(
            model, whole("biggan"), {"z": level * z, "labels": labels, "truncation": torch.tensor(level)}
        )
        with torch.no_grad():
            alike(model, found, model.generator.truncated(level)(level * z, labels))


@pytest.mark.parametrize("name", some(["biggan", "style"]))
def test_mixed_classes_are_an_input(name: str) -> None:
    model = model_of(name)
    z, labels, other = model.latents(2), torch.tensor([0, 1]), torch.tensor([1, 1])
    given = {"z": z, "labels": labels, "other": other, "share": torch.tensor(0.3)}
    with torch.no_grad():
        wanted = model.generator.with_class(1, 0.3)(z, labels)
        assert not torch.allclose(wanted[0], model.generator(z, labels)[0], atol=0.01)
    alike(model, run(model, whole(name), given), wanted)


def test_psi_pulls_mixed_classes_to_the_way_between_both_means() -> None:
    """As the explorer and the live page do; the file went to the mean of the own class alone, at psi 0 whatever the share."""
    model = model_of("style")
    network: Any = model.generator.with_class(1, 0.8)
    z, labels, other = model.latents(2), torch.tensor([0, 1]), torch.tensor([1, 1])
    space = open_space(model, "w")
    middle = torch.lerp(space.mean_of(labels), space.mean_of(other), 0.8)
    assert not torch.allclose(middle[0], middle[1], atol=0.01)
    given = {"z": z, "labels": labels, "other": other, "share": torch.tensor(0.8), "psi": torch.tensor(0.3)}
    with torch.no_grad():
        w = middle + 0.3 * (network.mapping(z, labels) - middle)
        wanted = network.synthesis(network.styles(network.broadcast(w)))
    alike(model, run(model, whole("style"), given), wanted)


@pytest.fixture(scope="module")
def parts() -> dict[Any, bytes]:
    return {part: to_onnx(model_of("style"), part) for part in parts_of(model_of("style"))}


def test_means_of_too_many_classes_are_refused_before_they_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """65,536 classes, in 4 MB, took gigabytes and hours, to be a file that nothing opens."""
    model = model_of("style")
    network: Any = model.generator
    monkeypatch.setattr(export, "MOST_MEANS", network.num_classes * network.w_dim - 1)
    monkeypatch.setattr(page, "MOST_MEANS", export.MOST_MEANS)
    monkeypatch.setattr(LatentSpace, "_mean_of_class", lambda *_: pytest.fail("drawn"))
    with pytest.raises(GanvasError, match=r"2 classes are .* Name inputs without psi: --inputs noise"):
        to_onnx(model)
    with pytest.raises(GanvasError, match=r"2 classes are .* --inputs other"):
        page.check(model, half=False)
    assert "middle" not in dict(export.Graph(model, "whole", ["noise"]).named_buffers())


def test_parts_of_a_generator_without_w_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"dcgan has none\. Omit --parts"):
        write(model_of("dcgan"), tmp_path / "x.onnx", parts=True)
    assert not list(tmp_path.iterdir())


def test_mapping_and_synthesis_apart(parts: dict[Any, bytes]) -> None:
    model = model_of("style")
    network: Any = model.generator
    assert list(parts) == ["whole", "mapping", "synthesis"]
    z, labels = model.latents(3), torch.tensor([0, 1, 0])
    w = run(model, parts["mapping"], {"z": z, "labels": labels})
    with torch.no_grad():
        torch.testing.assert_close(w, network.mapping(z, labels), atol=1e-5, rtol=1e-5)
        alike(model, run(model, parts["synthesis"], {"w": w[:, None]}), network(z, labels))
        # Every layer its own: w+.
        mixed = network.broadcast(w).clone()
        mixed[:, 2:] = network.broadcast(w.flip(0))[:, 2:]
        wanted = network.synthesis(network.styles(mixed))
        alike(model, run(model, parts["synthesis"], {"w": mixed}), wanted)
    assert difference(model, parts) < 0.1
    assert [each.name for each in onnx.load_from_string(parts["whole"]).graph.input] == ["z", "labels", "psi"]
    assert parts_of(model_of("dcgan")) == ("whole",)
    with pytest.raises(GanvasError, match="no part 'mapping', but whole"):
        to_onnx(model_of("dcgan"), "mapping")


def test_half_rounds_the_weights_and_nothing_else(parts: dict[Any, bytes]) -> None:
    model = model_of("style")
    full, half = (
        onnx.load_from_string(parts["synthesis"]),
        onnx.load_from_string(to_onnx(model, "synthesis", half=True)),
    )
    stored = {
        each.name.removesuffix(".half"): onnx.numpy_helper.to_array(each) for each in half.graph.initializer
    }
    rounded = 0
    for each in full.graph.initializer:
        values = onnx.numpy_helper.to_array(each)
        if stored[each.name].dtype == "float16":
            assert (stored[each.name] == values.astype("float16")).all()
            rounded += 1
        else:
            assert (stored[each.name] == values).all()
    assert rounded > 5
    assert size(half) < 0.7 * size(full)
    w = torch.randn(2, 1, model.generator.w_dim)  # type: ignore[arg-type]
    exact, near = (run(model, content.SerializeToString(), {"w": w}) for content in (full, half))
    # Weights are off by 2^-11 of themselves at most; a few layers add up to a few times that.
    assert 0 < (exact - near).abs().max() < 20 * 2**-11


def test_a_thousand_names_of_classes_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were cut after 2,000 letters, which is no JSON any more."""
    names = [f"class number {i}" for i in range(1000)]
    monkeypatch.setattr(export, "class_names", lambda model: names)
    assert json.loads(export._about(model_of("style"), "whole", False)["ganvas.classes"]) == names
    monkeypatch.setattr(export, "MOST_OF_CLASSES", 2000)
    assert export._about(model_of("style"), "whole", False)["ganvas.classes"] == "2"


def test_a_file_says_what_it_is(parts: dict[Any, bytes]) -> None:
    model = model_of("style")
    said = {each.key: each.value for each in onnx.load_from_string(parts["whole"]).metadata_props}
    assert said["ganvas.hash"] == model.hash
    assert json.loads(said["ganvas.shape"]) == [3, 8, 8]
    assert json.loads(said["ganvas.value_range"]) == [-1.0, 1.0]
    assert said["ganvas.latent_dim"] == "6"
    assert said["ganvas.classes"] == "2"
    assert said["ganvas.prior"] == "normal"
    assert said["ganvas.licence"].startswith("not known")
    for content in parts.values():
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


@pytest.mark.parametrize("name", some(families))
def test_folders_of_this_machine_are_not_inside(name: str) -> None:
    """Each node had the lines of source that it comes from, by their whole paths."""
    folders = {str(Path(each.__file__ or "").resolve().parent) for each in (ganvas, torch, onnx, os)}
    for place in (*folders, str(Path.home()), "site-packages", "/ganvas/", ".py"):
        assert place.encode() not in whole(name)


def size(model: Any) -> int:
    """Bytes of its tensors."""
    return sum(each.ByteSize() for each in model.graph.initializer)


class Stubborn(nn.Module):
    """Asks its values what to do next."""

    def forward(self, z: Tensor) -> Tensor:
        scale = 1.0 if float(z.sum()) > 0 else 0.5
        return torch.tanh(z * scale).reshape(-1, 1, 2, 2)


def test_what_cannot_be_written_is_said() -> None:
    model = ganvas.wrap(nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4))), latent_dim=4)
    z = model.latents(3)
    with torch.no_grad():
        alike(model, run(model, to_onnx(model), {"z": z}), model.generator(z))
    stubborn = model_of("dcgan").generator
    bad = Model(Wrapped(stubborn), None, ModelInfo.of(stubborn, "Stubborn"))
    with pytest.raises(GanvasError, match="cannot be written as ONNX"):
        to_onnx(bad)
    with pytest.raises(
        GanvasError, match=r"no input 'nois'.* Did you mean 'noise'\? It can have: psi, noise"
    ):
        to_onnx(model_of("style"), optional=["nois"])


class Wrapped(nn.Module):
    """A generator whose way depends on what it is given."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.inner, self.module = generator, Stubborn()
        self.num_classes, self.latent_dim, self.prior, self.value_range = 0, 4, "normal", (-1.0, 1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.module(z)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "model.safetensors", tmp_path / "out.onnx"
    model_of("style").save(file)
    assert main(["export", str(file), "--out", str(out), "--parts", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["difference"] < 0.1
    assert [Path(each).name for each in said["files"]] == [
        "out.onnx",
        "out.mapping.onnx",
        "out.synthesis.onnx",
    ]
    for each, size in said["files"].items():
        assert Path(each).stat().st_size == size
    for arguments, words in (
        (["--out", str(tmp_path / "a.txt")], "use .onnx"),
        (["--to", "hub", "--half", "--dry-run"], "not for --to hub"),
        (["--repo", "a/b"], "not for --to onnx"),
    ):
        assert main(["export", str(file), *arguments]) == 2
        assert words in capsys.readouterr().err


def test_without_the_packages_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(GanvasError, match=r"ONNX needs the package onnx: .*pip install 'onnx"):
        to_onnx(model_of("dcgan"))


def test_the_python_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import numpy.*?)```", text, re.S)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    assert main(["export", "fashion", "--to", "onnx", "--out", "fashion.onnx", "--quiet"]) == 0
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert names["pixels"].shape == (4, 1, 28, 28)
    assert names["pixels"].std() > 30
    assert json.loads(names["about"]["ganvas.shape"]) == [1, 28, 28]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that have a name")
def test_the_runtime_tells_nobody_and_waits_for_no_pipe(tmp_path: Path) -> None:
    """It opened /tmp/.ses, of whoever made it, for what it sends to its makers: for ever, and deaf to Ctrl-C."""
    os.mkfifo(tmp_path / ".ses")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = "from ganvas.export import onnx; onnx._library('onnxruntime')"
    subprocess.run(
        [sys.executable, "-c", command], env={**environment, "TMPDIR": str(tmp_path)}, check=True, timeout=60
    )
