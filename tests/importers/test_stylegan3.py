"""StyleGAN3 files against what the published code draws of them: configurations T (with classes) and R.

files/ holds tiny networks with random weights, pickled by that code (the text of programs in them emptied), and what it gave.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganvas.checkpoint import rebuild
from ganvas.errors import GanvasError
from ganvas.importers import Imported, recognise
from ganvas.importers.stylegan2 import tensors_of
from ganvas.inert import read
from ganvas.networks import StyleBased, build_critic, build_generator
from ganvas.networks import stylegan3 as network
from ganvas.networks.stylegan3 import StyleGAN3Generator, placement
from ganvas.testing import check_style_based

FILES = Path(__file__).with_name("files")
NAMES = ["stylegan3_t", "stylegan3_r"]


def content(name: str) -> Any:
    return read(FILES / f"{name}.pkl")


def official(name: str) -> dict[str, Tensor]:
    with np.load(FILES / f"{name}.npz") as held:
        return {key: torch.from_numpy(held[key]) for key in held}


def build(found: Imported) -> StyleGAN3Generator:
    generator = build_generator(found.network, found.shape, found.num_classes)
    assert isinstance(generator, StyleGAN3Generator)
    generator.load_state_dict(found.generator)
    return generator.eval().requires_grad_(False)


def near(found: Tensor, expected: Tensor) -> None:
    """Within 2e-5 of the largest official value."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize("strip", [network.STRIP, 1])
@pytest.mark.parametrize("name", NAMES)
def test_it_draws_and_judges_what_the_published_code_does(
    name: str, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole maps and, with `strip` 1, the strips of eight rows that large maps are computed in."""
    monkeypatch.setattr(network, "STRIP", strip)
    found, held = recognise(content(name)), official(name)
    generator = build(found)
    labels = held["labels"] if found.num_classes else None
    w = generator.mapping(held["z"], labels)
    near(w, held["w"])
    rows, cut = generator.broadcast(w), int(held["cut"])

    def draw(w_plus: Tensor, **given: Any) -> Tensor:
        return generator.synthesis(generator.styles(w_plus), **given)

    near(generator(held["z"], labels), held["image"])
    near(draw(generator.truncate(rows, 0.7)), held["psi"])
    near(draw(generator.truncate(rows, 0.7, cut)), held["cutoff"])
    near(draw(torch.cat([rows[:, :cut], rows.flip(0)[:, cut:]], 1)), held["mixed"])
    near(draw(rows, transform=held["transform"]), held["moved"])
    generator.transform = placement(25, 0.1, -0.07)
    near(generator(held["z"], labels), held["moved"])
    assert found.critic is not None
    critic = build_critic(found.network, found.shape, found.num_classes)
    critic.load_state_dict(found.critic)
    near(critic.eval()(held["image"], labels).detach(), held["logits"])


@pytest.mark.parametrize("name", NAMES)
def test_the_steps_fit_each_other(name: str) -> None:
    generator = build(recognise(content(name)))
    assert isinstance(generator, StyleBased)
    styles = generator.styles(
        generator.broadcast(torch.randn(2, 7, generator=torch.Generator().manual_seed(0)))
    )
    expected = generator.synthesis(styles)
    # With a graph the same is computed another way.
    near(generator.synthesis([style.clone().requires_grad_(True) for style in styles]).detach(), expected)
    near(generator.synthesis([style[1:] for style in styles]), expected[1:])
    found = check_style_based(generator)
    assert all(each.passed for each in found), [str(each) for each in found]


def test_what_is_found_is_said() -> None:
    found = recognise(content("stylegan3_t"))
    assert found.source == "StyleGAN3 (PyTorch)"
    assert (found.shape, found.num_classes, found.network.latent_dim) == ((1, 32, 32), 3, 6)
    assert found.notes == ("32 px, configuration T, w of 7, 6 layers",)
    options = found.network.generator
    assert (options["conv_clamp"], options["magnitude_decay"], options["margin_size"]) == (2, 0.99, 4)
    assert "configuration R" in recognise(content("stylegan3_r")).notes[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_gives_the_same_design(name: str) -> None:
    """By its keys, sizes and filters alone; but for clamping and the decay, which no tensor tells."""
    snapshot = content(name)
    whole, plain = recognise(snapshot), recognise(tensors_of(snapshot["G_ema"]))
    silent = ("conv_clamp", "magnitude_decay", "mapping_rate")
    told = [{k: v for k, v in each.network.generator.items() if k not in silent} for each in (whole, plain)]
    assert told[0] == told[1]
    assert plain.source == "StyleGAN3 (PyTorch), state dict"
    assert plain.critic is None
    assert plain.notes[-2:] == (
        "a state dict does not tell of clamping and output scale: 256 and 0.25 were assumed", "no critic",
    )  # fmt: skip
    assert all(torch.equal(whole.generator[key], plain.generator[key]) for key in whole.generator)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_built_without_memory(name: str) -> None:
    """As files are opened: on the meta device, then the file's tensors."""
    found, held = recognise(content(name)), official(name)
    spec = {"generator": dict(found.network.generator)}
    generator = rebuild(
        Path(name),
        spec,
        lambda: build_generator(found.network, found.shape, found.num_classes),
        found.generator,
    ).eval()
    with torch.no_grad():
        near(generator(held["z"], held.get("labels")), held["image"])


def broken(name: str, change: Any) -> Any:
    tensors = tensors_of(content(name)["G_ema"])
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("synthesis.L2_40_6.weight"), r"incomplete, it has layers \[0, 1, 3, 4, 5, 6\]"),
        (lambda t: t.pop("synthesis.L2_40_6.up_filter"), "incomplete, tensor 'synthesis.L2_40_6.up_filter' is missing"),
        (lambda t: t.update({"synthesis.input.phases": torch.zeros(2, 2)}), r"of shape \(2, 2\); expected 1 dim"),
        (lambda t: t.update({"synthesis.L1_23_6.weight": t.pop("synthesis.L1_24_6.weight")}), "L1_23_6.bias' is missing"),
        (lambda t: t.update({"synthesis.L0_24_6.up_filter": torch.zeros(7)}), "not those of StyleGAN3's design"),
    ],
)  # fmt: skip
def test_what_is_incomplete_is_refused(change: Any, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        recognise(broken("stylegan3_t", change))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("output_scale", "much", "no sound number as output_scale"),
        ("output_scale", float("nan"), "no sound number as output_scale"),
        ("filter_size", 2.5, "no whole number as filter_size"),
        ("first_cutoff", 100.0, "the bands that the file describes are none"),
        ("margin_size", 3, "not those of StyleGAN3's design"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: Any, said: str) -> None:
    snapshot = content("stylegan3_t")
    snapshot["G_ema"].state["_init_kwargs"][name] = value
    with pytest.raises(GanvasError, match=said):
        recognise(snapshot)


def test_nothing_is_clamped_where_the_file_says_so() -> None:
    """The published code clamped the images of these weights at 0.5, which is 2 before the output scale."""
    snapshot, held = content("stylegan3_t"), official("stylegan3_t")
    snapshot["G_ema"].state["_init_kwargs"]["conv_clamp"] = None
    drawn = build(recognise(snapshot))(held["z"], held["labels"])
    assert float(held["image"].abs().max()) == 0.5
    assert float(drawn.abs().max()) > 0.5


def test_stylegan_xl_is_none() -> None:
    """It has a mean of w for each class."""
    change = {"mapping.w_avg": torch.zeros(3, 7), "synthesis.head_layer_names": torch.zeros(1)}
    with pytest.raises(GanvasError, match="StyleGAN-XL"):
        recognise(broken("stylegan3_t", lambda tensors: tensors.update(change)))


def test_a_critic_of_other_images_is_left_out() -> None:
    snapshot = content("stylegan3_t")
    snapshot["D"] = content("stylegan3_r")["D"]
    found = recognise(snapshot)
    assert found.critic is None
    assert any("judges other images" in each for each in found.notes)
