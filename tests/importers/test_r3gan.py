"""R3GAN's snapshots against what the published code draws and judges."""

import pytest
import torch

from ganvas.errors import GanvasError
from ganvas.importers import Imported, recognise
from ganvas.importers.r3gan import r3gan
from ganvas.inert import Thing
from tests.importers.opened import content, critic_of, generator_of, imported, near, official


@pytest.mark.parametrize("name", ["r3gan", "r3gan_plain"])
def test_it_draws_and_judges_what_the_published_code_does(name: str) -> None:
    """Widths and groups of every size their own, and class vectors of another length than z; and a plain one."""
    found, held = imported(f"{name}.pkl"), official(name)
    labels = held["labels"] if found.num_classes else None
    near(generator_of(found)(held["z"], labels), held["image"])
    near(critic_of(found)(held["image"], labels), held["logits"])


def test_what_it_says_of_itself() -> None:
    found = imported("r3gan.pkl")
    assert (found.source, found.shape, found.num_classes) == ("R3GAN", (3, 16, 16), 3)
    assert found.network.generator == {
        "published": True, "expansion": 2, "counts": [1, 1, 2], "groups": [4, 8, 8], "channels": 6,
        "max_channels": 12, "class_dim": 7,
    }  # fmt: skip
    assert found.network.critic == {
        "published": True, "expansion": 2, "counts": [1, 2, 1], "groups": [4, 12, 8], "channels": 8,
        "max_channels": 12, "class_dim": 5,
    }  # fmt: skip
    assert "bfloat16" in found.notes[0]
    plain = imported("r3gan_plain.pkl")
    assert (plain.num_classes, plain.network.conditional) == (0, False)
    assert (plain.network.generator["channels"], plain.network.generator["blocks"]) == (4, 1)


def test_without_a_critic_it_opens_all_the_same() -> None:
    whole = content("r3gan.pkl")
    del whole["D"]
    found = recognise(whole)
    assert found.critic is None
    assert found.notes[1] == "the file has no critic"


def broken(**state: object) -> Imported:
    """G_ema with other plain attributes."""
    whole = content("r3gan.pkl")
    thing = whole["G_ema"]
    whole["G_ema"] = Thing(thing.name, thing.args, thing.kwargs, {**thing.state, **state}, thing.items)
    return recognise(whole)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"z_dim": 9}, "its first layer takes 17 numbers, and z has 9"),
        ({"z_dim": None}, "needs z_dim"),
        ({"img_resolution": 2**30}, "needs img_resolution"),
        ({"img_resolution": 32}, "one for each of the 4 sizes"),
        ({"img_resolution": 2048}, "draws square images of 8 to 1024 px"),
    ],
)
def test_what_it_says_has_to_fit_its_tensors(state: dict[str, object], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        generator_of(broken(**state))


def test_another_filter_is_refused() -> None:
    whole = content("r3gan.pkl")
    kernel = whole["G_ema"]
    for name in ("Model", "MainLayers", "1", "Layers", "0", "Resampler"):
        kernel = kernel.state["_modules"][name]
    kernel.state["_buffers"]["Kernel"] = torch.ones(2, 2) / 4
    with pytest.raises(GanvasError, match=r"its resampling filter is not \[1, 3, 3, 1\]"):
        recognise(whole)


def test_other_pickles_are_left_to_others() -> None:
    assert r3gan({"G_ema": Thing("somebody.Generator", (), {}, {"_modules": {}}, {})}, None) is None
    assert r3gan([], None) is None
