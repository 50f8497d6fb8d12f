"""BigGAN-deep's folder against what the published code draws of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganvas
from ganvas import io
from ganvas.errors import GanvasError
from ganvas.export import hub
from ganvas.importers import recognise
from ganvas.latent import open_space, spaces
from ganvas.model import Model, ModelInfo
from ganvas.networks.biggan import BigGenerator
from tests.importers.opened import FILES, content, generator_of, imported, near, official

FILE = "biggan_deep/pytorch_model.bin"
ROUNDING = 1e-4
"""Norms that divide by small variances: in float64 the published pictures are 2e-5 away too."""


def opened() -> BigGenerator:
    made = generator_of(imported(FILE))
    assert isinstance(made, BigGenerator)
    return made


def test_it_draws_what_the_published_code_does_at_every_truncation() -> None:
    """Rows of the statistics, and between them: 0.58 / 0.02 is a little less than 29."""
    generator, held = opened(), official("biggan_deep")
    levels = {0.4: (20, 1.0), 0.43: (21, 0.5), 0.58: (28, 1.0), 0.99: (49, 0.5), 1.0: (50, 1.0)}
    for level, images in zip(held["truncation"].tolist(), held["images"], strict=True):
        generator.truncation = level
        assert generator.level == pytest.approx(levels[level])
        near(generator(held["z"] * level, held["labels"]), images, ROUNDING)


def test_what_it_says_of_itself() -> None:
    found = imported(FILE)
    assert (found.source, found.shape, found.num_classes) == ("BigGAN-deep", (3, 32, 32), 4)
    assert (found.network.name, found.network.latent_dim, found.network.conditional) == ("biggan", 6, True)
    assert found.critic is None
    assert "51 levels of truncation" in found.notes[0]


def test_classes_can_be_mixed() -> None:
    generator = opened()
    model = Model(generator, None, ModelInfo.of(generator, "biggan"))
    assert "class" in spaces(model)
    space = open_space(model, "class")
    assert isinstance(generator.embed, nn.Embedding)
    both = generator.embed.weight[[0, 3]]
    ends, middle = space.decode(both), space.decode(both.mean(0)[None])
    torch.testing.assert_close(ends, generator(torch.zeros(2, 6), torch.tensor([0, 3])))
    assert all(float((middle[0] - end).abs().max()) > 0.01 for end in ends)


def test_weights_without_spectral_norm_are_taken_as_they_are() -> None:
    """As a file has them whose norms were removed: weight for weight_orig over its largest singular value."""
    tensors = content(FILE)
    for name in [name for name in tensors if name.endswith("weight_orig")]:
        base = name.removesuffix("_orig")
        weight, u, v = (tensors.pop(f"{base}_{part}") for part in ("orig", "u", "v"))
        tensors[base] = weight / torch.einsum("i,ij,j", u, weight.flatten(1), v)
    held = official("biggan_deep")
    made = generator_of(recognise(tensors, FILES / "biggan_deep/pytorch_model.bin"))
    near(made(held["z"], held["labels"]), held["images"][0], ROUNDING)


def folder(path: Path, **config: Any) -> Path:
    shutil.copytree(FILES / "biggan_deep", path, dirs_exist_ok=True)
    given = json.loads((path / "config.json").read_text()) | config
    (path / "config.json").write_text(json.dumps({k: v for k, v in given.items() if v is not None}))
    return path


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"z_dim": 7}, r"tensor 'first.weight' is \(768, 12\), expected \(768, 13\)"),
        ({"z_dim": "6"}, "needs z_dim, a whole number from 1 to 65,536"),
        ({"z_dim": None}, "needs z_dim"),
        ({"output_dim": 2**40}, "needs output_dim"),
        ({"output_dim": 64}, r"tensor 'first.bias' is \(768,\), expected \(3072,\)"),
        ({"output_dim": 9}, "draws square images of 8 to 512 px"),
        ({"n_stats": 50}, r"tensor 'last_norm.means'|tensor 'layers.0"),
        ({"num_classes": 5}, "another num_classes than the 4"),
        ({"channel_width": 65536}, r"tensor 'first.bias'"),
        ({"attention_layer_position": -1}, "needs attention_layer_position"),
        ({"attention_layer_position": 9}, "'generator.layers.2.bn_0.running_means' is missing"),
        ({"eps": "small"}, "needs eps"),
        ({"eps": 0}, "needs eps"),
        ({"layers": []}, "a list of 1 to 64"),
        ({"layers": [[True, 16, 8]] * 65}, "a list of 1 to 64"),
        ({"layers": [[True, 16]]}, r"is \[doubles the size, inputs, outputs\]"),
        ({"layers": [[1, 16, 8]]}, r"is \[doubles the size, inputs, outputs\]"),
        ({"layers": [[True, 16, 8]] * 5}, "takes what the one before gives"),
        ({"layers": [[True, 16, 8]], "attention_layer_position": 5}, "205 of the file's tensors have no place"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_refused(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=said):
        generator_of(recognise(content(FILE), folder(tmp_path, **config) / "model.safetensors"))


def test_it_needs_its_config(tmp_path: Path) -> None:
    for where in (None, tmp_path / "model.safetensors"):
        with pytest.raises(GanvasError, match=r"BigGAN-deep: these weights are read by the config\.json"):
            recognise(content(FILE), where)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("generator.gen_z.bias", None, "incomplete, tensor 'generator.gen_z.bias' is missing"),
        ("generator.gen_z.weight_u", torch.ones(3), "the vectors beside 'generator.gen_z' do not fit"),
        ("generator.bn.weight", torch.ones(3, 3), "expected 1 dimensions of floats"),
        ("generator.bn.weight", torch.ones(3, dtype=torch.int64), "is int64 of shape"),
        ("embeddings.weight", torch.ones(5, 4, 1), "expected 2 dimensions"),
    ],
)
def test_damaged_tensors_are_named(name: str, value: torch.Tensor | None, said: str) -> None:
    tensors = content(FILE) | {name: value}
    with pytest.raises(GanvasError, match=said):
        recognise(tensors, FILES / "biggan_deep/pytorch_model.bin")


def test_the_truncation_is_kept_in_the_file(tmp_path: Path) -> None:
    """A file of before, which says nothing of it, is at 1; what no generator can be set to is refused."""
    path = tmp_path / "model.safetensors"
    model = ganvas.load(FILES / "biggan_deep", device="cpu")
    plain = model.sample(2)
    generator: Any = model.generator
    generator.truncation = 0.5
    model.save(path)
    again: Any = ganvas.load(path, device="cpu")
    assert again.generator.truncation == 0.5
    assert again.info.prior == "truncated 0.5"
    assert torch.equal(again.sample(2), model.sample(2))
    hub.write(model, tmp_path / "shared")
    assert torch.equal(ganvas.load(tmp_path / "shared", device="cpu").sample(2), model.sample(2))
    assert not torch.equal(again.sample(2), plain)
    tensors, header = io.load_tensors(path)
    io.save_tensors(path, tensors, {name: value for name, value in header.items() if name != "settings"})
    assert torch.equal(ganvas.load(path, device="cpu").sample(2), plain)
    for wrong in ({"truncation": 7}, {"truncation": "much"}, {"forward": 1}, {"truncation": None}, 5, "ab"):
        io.save_tensors(path, tensors, {**header, "settings": wrong})
        with pytest.raises(GanvasError, match="damaged header"):
            ganvas.load(path, device="cpu")
