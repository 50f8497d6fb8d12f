"""StyleGAN2 files against what the code that they belong to draws of them.

files/ holds tiny networks with random weights, pickled by the published code (the text of programs in them
emptied), and what that code gave: w, images and the critic's logits.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.importers import Imported, recognise
from ganvas.inert import Thing, parameters, read
from ganvas.networks import CriticBase, build_critic, build_generator
from ganvas.networks.stylegan2 import StyleGAN2Generator

FILES = Path(__file__).with_name("files")
NAMES = [
    "stylegan2_ada.pkl",
    "stylegan2_ada_resnet.pkl",
    "stylegan2_of_3.pkl",
    "stylegan2_tf.pkl",
    "rosinality.pt",
]


def content(name: str) -> Any:
    return read(FILES / name)


def build(found: Imported) -> tuple[StyleGAN2Generator, CriticBase | None]:
    generator = build_generator(found.network, found.shape, found.num_classes)
    assert isinstance(generator, StyleGAN2Generator)
    generator.load_state_dict(found.generator)
    critic = None
    if found.critic is not None:
        critic = build_critic(found.network, found.shape, found.num_classes)
        critic.load_state_dict(found.critic)
        critic.eval().requires_grad_(False)
    return generator.eval().requires_grad_(False), critic


def official(name: str) -> dict[str, Tensor]:
    with np.load((FILES / name).with_suffix(".npz")) as held:
        return {key: torch.from_numpy(held[key]) for key in held}


def near(found: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the largest official value."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_and_judges_what_the_published_code_does(name: str) -> None:
    found, held = recognise(content(name), FILES), official(name)
    generator, critic = build(found)
    assert critic is not None
    labels = held["labels"] if found.num_classes else None
    w = generator.mapping(held["z"], labels)
    near(w, held["w"])
    rows, cut = generator.broadcast(w), int(held["cut"])

    def draw(w_plus: Tensor, **given: Any) -> Tensor:
        return generator.synthesis(generator.styles(w_plus), **given)

    near(draw(rows), held["image"])
    near(generator(held["z"], labels), held["image"])
    near(draw(rows, noise=[torch.zeros(1, *shape) for shape in generator.noise_shapes]), held["no_noise"])
    if "average" in held:
        generator.w_mean.copy_(held["average"])
    near(draw(generator.truncate(rows, 0.7)), held["psi"])
    if "cutoff" in held:
        near(draw(generator.truncate(rows, 0.7, cut)), held["cutoff"])
    if "mixed" in held:
        near(draw(torch.cat([rows[:, :cut], rows.flip(0)[:, cut:]], 1)), held["mixed"])
    near(critic(held["image"], labels), held["logits"])


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_and_gradients_agree_with_the_batch(name: str) -> None:
    """Other ways of computing the same: alone, without a graph, and with one."""
    generator, _ = build(recognise(content(name), FILES))
    w = generator.mapping(torch.randn(3, generator.latent_dim, generator=torch.Generator().manual_seed(0)),
                          torch.tensor([0, 1, 2]) if generator.num_classes else None)  # fmt: skip
    styles = generator.styles(generator.broadcast(w))
    expected = generator.synthesis(styles)
    near(generator.synthesis([style[1:2] for style in styles]), expected[1:2])
    near(generator.synthesis([style.clone().requires_grad_(True) for style in styles]).detach(), expected)
    near(generator.double().synthesis([style.double() for style in styles]).float(), expected)


def test_what_is_found_is_said() -> None:
    found = recognise(content("stylegan2_ada.pkl"), FILES)
    assert found.source == "StyleGAN2-ADA (PyTorch)"
    assert (found.shape, found.num_classes, found.network.latent_dim) == ((3, 16, 16), 3, 8)
    assert found.network.conditional
    options = found.network.generator
    assert options["taps"] == pytest.approx([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])
    assert (options["conv_clamp"], options["embed_width"], options["mapping_layers"]) == (256, 5, 3)
    found = recognise(content("stylegan2_ada_resnet.pkl"), FILES)
    assert found.network.generator["architecture"] == "resnet"
    assert found.network.critic["architecture"] == "skip"
    assert found.network.generator["mapping_rate"] == pytest.approx(0.1)
    assert recognise(content("stylegan2_tf.pkl"), FILES).source == "StyleGAN2 (TensorFlow)"


def test_the_mean_of_w_is_the_files_or_that_of_samples() -> None:
    made = content("rosinality.pt")
    drawn = recognise(made, FILES)
    assert any("10,000 samples" in note for note in drawn.notes)
    generator, _ = build(drawn)
    others = generator.mapping(torch.randn(50_000, 8, generator=torch.Generator().manual_seed(3)))
    error = others.std(0) * (1 / 10_000 + 1 / 50_000) ** 0.5
    assert bool(((drawn.generator["w_mean"] - others.mean(0)).abs() < 5 * error).all())
    average = official("rosinality.pt")["average"]
    converted = recognise({"g_ema": made["g_ema"], "latent_avg": average}, None)
    assert torch.equal(converted.generator["w_mean"], average)
    assert converted.critic is None
    assert "no critic" in converted.notes


def test_old_files_without_noise_maps_draw_the_same_every_time() -> None:
    made = content("rosinality.pt")
    old = {name: tensor for name, tensor in made["g_ema"].items() if not name.startswith("noises.")}
    first, again = (recognise({"g_ema": old}, None) for _ in range(2))
    assert any("no noise maps" in note for note in first.notes)
    assert torch.equal(first.generator["layers.3.noise"], again.generator["layers.3.noise"])
    given, _ = build(recognise(made, None))
    drawn, _ = build(first)
    z, zero = official("rosinality.pt")["z"], [torch.zeros(1, *shape) for shape in drawn.noise_shapes]
    assert torch.equal(drawn(z, noise=zero), given(z, noise=zero))


@pytest.mark.parametrize("name", ["stylegan2_ada_resnet.pkl", "rosinality.pt"])
@pytest.mark.parametrize("wrapped", ["", "g_ema", "state_dict"])
def test_a_state_dict_with_the_same_keys_opens_too(name: str, wrapped: str) -> None:
    made = content(name)
    tensors = parameters(made["G_ema"]) if "G_ema" in made else made["g_ema"]
    tensors = {f"module.{key}": tensor for key, tensor in tensors.items()}
    whole, alone = recognise(made, None), recognise({wrapped: tensors} if wrapped else tensors, None)
    assert alone.critic is None
    assert alone.generator.keys() == whole.generator.keys()
    assert all(torch.equal(alone.generator[key], whole.generator[key]) for key in whole.generator)
    taken = any("state_dict was taken" in note for note in alone.notes)
    assert taken == (wrapped == "state_dict")


def as_tensorflow(made: Any) -> tuple[Thing, Thing, Thing]:
    """The conditional PyTorch file in the names and layouts of TensorFlow's."""
    theirs = parameters(made["G_ema"])
    parts: dict[str, list[tuple[str, Tensor]]] = {"mapping": [], "synthesis": []}
    for key, tensor in theirs.items():
        part, rest = key.split(".", 1)
        names = rest.split(".")
        if part == "mapping" and names[0].startswith("fc"):
            parts[part].append((f"Dense{names[0][2:]}/{names[1]}", tensor.t()))
        elif part == "mapping" and names[0] == "embed":
            parts[part].append((f"LabelEmbed/{names[1]}", tensor.t()))
        elif part == "synthesis" and rest == "b4.const":
            parts[part].append(("4x4/Const/const", tensor[None]))
        elif part == "synthesis" and "resample_filter" not in rest:
            side = int(names[0][1:])
            layer = {"conv0": "Conv0_up", "conv1": "Conv1" if side > 4 else "Conv", "torgb": "ToRGB"}[
                names[1]
            ]
            if names[2] == "noise_const":
                number = [4, 8, 8, 16, 16].index(side) + (names[1] == "conv1" and side > 4)
                parts[part].append((f"noise{number}", tensor[None, None]))
                continue
            what = names[2]
            if what == "affine":
                what, tensor = (
                    ("mod_weight", tensor.t()) if names[3] == "weight" else ("mod_bias", tensor - 1)
                )
            elif what == "weight":
                tensor = tensor.permute(2, 3, 1, 0).flip((0, 1) if layer == "Conv0_up" else ())
            parts[part].append((f"{side}x{side}/{layer}/{what}", tensor))
    given = {"label_size": 3, "resample_kernel": [1, 4, 6, 4, 1], "conv_clamp": 256}

    def network(variables: list[tuple[str, Tensor]], **components: Thing) -> Thing:
        state = {"version": 4, "static_kwargs": given, "components": components, "variables": variables}
        return Thing(name="dnnlib.tflib.network.Network", args=(), kwargs={}, state=state, items={})

    whole = network(
        [("dlatent_avg", theirs["mapping.w_avg"])],
        **{name: network(variables) for name, variables in parts.items()},
    )
    return network([]), network([]), whole


def test_classes_of_tensorflow() -> None:
    """The names of the later TensorFlow repository for a file of which the PyTorch code says what it draws."""
    held = official("stylegan2_ada.pkl")
    found = recognise(as_tensorflow(content("stylegan2_ada.pkl")), None)
    assert found.source == "StyleGAN2 (TensorFlow)"
    near(build(found)[0](held["z"], held["labels"]), held["image"])


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("synthesis.b8.conv0.weight", "'synthesis.b8.conv0.weight' is missing"),
        ("mapping.fc0.weight", "'mapping.fc0.weight' is missing"),
        ("synthesis.b4.conv1.noise_strength", "one number as 'synthesis.b4.conv1.noise_strength'"),
        ("synthesis.b8.conv1.bias", "'synthesis.b8.conv1.bias' is missing"),
    ],
)
def test_what_is_missing_is_named(lost: str, said: str) -> None:
    tensors = parameters(content("stylegan2_ada.pkl")["G_ema"])
    del tensors[lost]
    with pytest.raises(GanvasError, match=said):
        recognise(tensors, None)


def test_filters_of_two_kinds_are_refused() -> None:
    tensors = parameters(content("stylegan2_ada.pkl")["G_ema"])
    tensors["synthesis.b8.conv0.resample_filter"] = torch.eye(4)
    with pytest.raises(GanvasError, match="not one filter for both directions"):
        recognise(tensors, None)


@pytest.mark.parametrize(
    ("name", "filter_of_images"),
    [("rosinality.pt", "to_rgbs.0.upsample.kernel"), ("stylegan2_ada.pkl", "synthesis.b8.resample_filter")],
)
def test_images_that_are_doubled_by_a_filter_of_their_own_are_refused(
    name: str, filter_of_images: str
) -> None:
    """As rosinality's are where `blur_kernel` is given: it is that of the convolutions alone."""
    made = content(name)
    tensors = dict(made["g_ema"] if "g_ema" in made else parameters(made["G_ema"]))
    tensors[filter_of_images] = torch.outer(*[torch.tensor([1.0, 2.0, 1.0]) / 4] * 2)
    with pytest.raises(GanvasError, match="more than one filter"):
        recognise(tensors, None)


def test_a_critic_of_other_images_is_left_out_and_said() -> None:
    made, other = content("stylegan2_ada_resnet.pkl"), content("stylegan2_of_3.pkl")
    found = recognise({**made, "D": other["D"]}, None)
    assert found.critic is None
    assert any("judges other images" in note for note in found.notes)


ONE = torch.zeros(1)
SWAGAN = {"input.input": ONE, "conv1.conv.modulation.weight": ONE, "to_rgbs.0.iwt.ll": ONE}
OLD = {"version": 3, "build_func_name": "G_style", "components": {}}
KNOWN: list[tuple[Any, str]] = [
    ({"generator_smooth": {"synthesis.early_layer.const": ONE}}, "genforce"),
    ({"g_ema": SWAGAN}, "SWAGAN"),
    ({"state_dict": {"linear0.weight_orig": ONE, "blocks.0.0.bn1.gain.weight": ONE}}, "StudioGAN"),
    ((Thing("dnnlib.tflib.network.Network", (), {}, OLD, {}),), "StyleGAN1"),
    (
        {"G_ema": Thing("SuperresGenerator", (), {}, {"_modules": {}, "head_layer_names": []}, {})},
        "StyleGAN-XL",
    ),
]


@pytest.mark.parametrize(("held", "name"), KNOWN)
def test_what_is_recognised_and_not_supported_is_named(held: Any, name: str) -> None:
    with pytest.raises(GanvasError, match=rf"recognised and cannot be opened. It is of {name}.*"):
        recognise(held, None)


@pytest.mark.parametrize("held", [{}, [], None, {"a": torch.zeros(2)}, {"G_ema": {}}, (1, 2, 3), "text"])
def test_what_nobody_knows_gets_the_list_of_what_is_known(held: Any) -> None:
    with pytest.raises(
        GanvasError, match=r"Nothing in this file is a generator.*StyleGAN2-ADA-PyTorch.*ganvas\.wrap"
    ):
        recognise(held, None)
