"""lucidrains' stylegan2-pytorch against what the published code draws."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.importers import recognise
from ganvas.latent import open_space
from ganvas.latent.directions import find
from ganvas.model import Model, ModelInfo
from ganvas.networks.lucidrains import LucidrainsGenerator
from ganvas.testing import check_generator, check_style_based
from tests.importers.opened import FILES, content, generator_of, imported, near, official

NAMES = ["lucidrains", "lucidrains_attention"]


def opened(name: str) -> LucidrainsGenerator:
    made = generator_of(imported(f"{name}/model_3.pt"))
    assert isinstance(made, LucidrainsGenerator)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_what_the_published_code_does(name: str) -> None:
    """With its constant; and without, with attention and a fourth channel."""
    generator, held = opened(name), official(name)
    w = generator.mapping(held["z"])
    near(w, held["w"])
    rows, noise = generator.broadcast(w), held["noise"].permute(0, 3, 1, 2)

    def draw(w_plus: Tensor, noise: Tensor | None = None) -> Tensor:
        return generator.synthesis(generator.styles(w_plus), None if noise is None else [noise])

    near(draw(rows, noise), held["image"])
    near(draw(rows, torch.zeros(1, 1, 16, 16)), held["image_zero_noise"])
    near(draw(rows), held["image_half_noise"])
    near(generator(held["z"]), held["image_half_noise"])
    near(draw(torch.cat([rows[:, :1], rows.flip(0)[:, 1:]], 1), noise), held["image_mixed"])
    # Their mean of w is that of 2,000 samples, drawn anew for every picture; ours that of more.
    spread = float((w - held["av"]).square().mean().sqrt())
    assert float((generator.w_mean - held["av"]).abs().max()) < 0.2 * spread
    generator.w_mean.copy_(held["av"])
    near(draw(generator.truncate(rows, 0.75), noise), held["image_psi"])


@pytest.mark.parametrize("name", NAMES)
def test_it_has_w_and_its_tools(name: str) -> None:
    generator = opened(name)
    assert all(each.passed for each in check_style_based(generator))
    model = Model(generator, None, ModelInfo.of(generator, "lucidrains"))
    found = [each for each in check_generator(model) if each.name.startswith("space ")]
    assert [each.name for each in found if each.passed] == ["space z", "space w", "space w+", "space styles"]
    assert find(open_space(model, "w"), "sefa", 2)[0].vector.shape == (generator.w_dim,)


def test_what_it_says_of_itself() -> None:
    found, other = (imported(f"{name}/model_3.pt") for name in NAMES)
    assert (found.shape, found.num_classes, found.network.latent_dim) == ((3, 16, 16), 0, 16)
    assert (other.shape, other.network.generator["attention"]) == ((4, 16, 16), [1])
    assert other.network.generator["constant"] is False
    assert generator_of(found).value_range == (0.0, 1.0)
    assert "noise of 0.5" in found.notes[0]


@pytest.mark.parametrize("prefix", ["", "GAN."])
def test_a_bare_state_dict_is_the_same(prefix: str) -> None:
    tensors = {f"{prefix}{name}": each for name, each in content("lucidrains/model_3.pt")["GAN"].items()}
    held = official("lucidrains")
    made = generator_of(recognise(tensors, FILES / "lucidrains/model_3.pt"))
    near(made(held["z"]), held["image_half_noise"])


def test_files_of_before_version_1_1_are_drawn_without_a_blur() -> None:
    state = {
        name: each
        for name, each in content("lucidrains/model_3.pt")["GAN"].items()
        if not name.endswith(".f")
    }
    made = generator_of(recognise({"GAN": state}, FILES / "lucidrains/model_3.pt"))
    assert isinstance(made, LucidrainsGenerator)
    images: list[Tensor] = []
    for layer in made.to_image:
        layer.register_forward_hook(lambda *given: images.append(given[2]))
    drawn = made(official("lucidrains")["z"])
    expected = images[0]
    for image in images[1:]:
        doubled = torch.nn.functional.interpolate(expected, scale_factor=2, mode="bilinear")
        expected = image + doubled
    assert len(images) == 3
    near(drawn, expected)
    assert opened("lucidrains").blur


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"image_size": 32}, "tensor 'attention|tensor 'layers|tensor 'to_image"),
        ({"image_size": 2048}, "draws square images of 8 to 1024 px"),
        ({"image_size": "16"}, "needs image_size, a whole number"),
        ({"image_size": True}, "needs image_size, a whole number"),
        ({"lr_mlp": "fast"}, "needs lr_mlp, a number above 0"),
        ({"lr_mlp": 0}, "needs lr_mlp, a number above 0"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    shutil.copytree(FILES / "lucidrains", tmp_path, dirs_exist_ok=True)
    given = json.loads((tmp_path / ".config.json").read_text()) | config
    (tmp_path / ".config.json").write_text(json.dumps(given))
    with pytest.raises(GanvasError, match=said):
        generator_of(recognise(content("lucidrains/model_3.pt"), tmp_path / "model_3.pt"))


def test_it_needs_its_config(tmp_path: Path) -> None:
    with pytest.raises(
        GanvasError, match=r"stylegan2-pytorch \(lucidrains\): these weights are read by the \.config\.json"
    ):
        recognise(content("lucidrains/model_3.pt"), tmp_path / "model_3.pt")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GE.initial_conv.bias", None, "tensor 'GE.initial_conv.bias' is missing"),
        ("GE.initial_block", torch.ones(0, 8, 4, 4), "tensor 'constant'"),
        ("SE.net.2.weight", torch.ones(16, 3), "the layers of its mapping are not square"),
        ("SE.net.2.bias", torch.ones(3), "layer 1 of its mapping has 3 biases for 16 numbers"),
        ("SE.net.0.weight", torch.ones(16, 9000), "not square, or wider than 8,192"),
        ("GE.blocks.1.to_noise2.weight", torch.ones(3), "expected 2 dimensions"),
    ],
)
def test_damaged_tensors_are_named(name: str, value: Tensor | None, said: str) -> None:
    whole = content("lucidrains/model_3.pt")
    whole["GAN"] = {**whole["GAN"], name: value}
    with pytest.raises(GanvasError, match=said):
        generator_of(recognise(whole, FILES / "lucidrains/model_3.pt"))
