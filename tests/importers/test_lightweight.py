"""lucidrains' lightweight-gan against what the published code draws."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.importers import recognise
from ganvas.networks import build_generator
from ganvas.networks.lightweight import Excitation, LightweightGenerator
from tests.importers.opened import FILES, content, generator_of, imported, near, official

NAMES = ["lightweight", "lightweight_cosines"]


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_what_the_published_code_does(name: str) -> None:
    """Attention on both scales and in the channels; and grey, blurred, by cosines, in a file of the old format."""
    held, generator = official(name), generator_of(imported(f"{name}/model_7.pt"))
    near(generator(held["z"])[:, :, ::2, ::2], held["image"])


def test_what_it_says_of_itself() -> None:
    found, other = (imported(f"{name}/model_7.pt") for name in NAMES)
    assert (found.shape, other.shape, found.network.latent_dim) == ((3, 128, 128), (1, 128, 128), 6)
    assert found.network.generator == {
        "widths": [4] * 5, "blur": False, "attention": [1], "cosines": False, "output": "linear",
    }  # fmt: skip
    assert other.network.generator == {
        "widths": [17] * 5, "blur": True, "attention": [], "cosines": True, "output": "linear",
    }  # fmt: skip


def test_new_networks_have_the_published_cosines() -> None:
    """17 channels: one for each of 16 frequencies, and one that is left over."""
    found = imported("lightweight_cosines/model_7.pt")
    new, held = build_generator(found.network, found.shape, 0), generator_of(found)
    assert isinstance(new, LightweightGenerator)
    assert isinstance(held, LightweightGenerator)
    for each in (new, held):
        assert isinstance(each.excite["1"], Excitation)
    torch.testing.assert_close(new.excite["1"].cosines, held.excite["1"].cosines)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GE.out_conv.bias", None, "tensor 'GE.out_conv.bias' is missing"),
        ("GE.layers.1.0.3.weight", torch.ones(1, 1), "expected 1 dimensions"),
        ("GE.layers.1.1.dct_weights", torch.ones(1, 4, 16, 16), "2 of the file's tensors have no place"),
        (
            "GE.layers.2.1.dct_weights",
            torch.ones(1),
            "1 of the file's tensors have no place .*'GE.layers.2.1.dct_w",
        ),
        ("GE.layers.4.0.2.1.bias", torch.ones(4), r"tensor 'excite.1.widen.bias' is \(4,\), expected \(2,\)"),
    ],
)
def test_damaged_tensors_are_named(name: str, value: Tensor | None, said: str) -> None:
    whole = content("lightweight/model_7.pt")
    whole["GAN"] = {**whole["GAN"], name: value}
    with pytest.raises(GanvasError, match=said):
        generator_of(recognise(whole, FILES / "lightweight/model_7.pt"))


def test_the_size_has_to_fit(tmp_path: Path) -> None:
    (tmp_path / ".config.json").write_text('{"image_size": 64}')
    with pytest.raises(GanvasError, match="widths from 1, one for each of 4 stages"):
        generator_of(recognise(content("lightweight/model_7.pt"), tmp_path / "model_7.pt"))
