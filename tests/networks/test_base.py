from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas.config import NetworkConfig, from_dict
from ganvas.errors import GanvasError
from ganvas.networks import build_critic, build_generator, from_uint8, to_uint8
from ganvas.networks.base import halvings


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_every_byte_survives_the_round_trip(value_range: tuple[float, float]) -> None:
    every = torch.arange(256, dtype=torch.uint8)
    floats = from_uint8(every, value_range)
    assert floats[0].item() == pytest.approx(value_range[0])
    assert floats[-1].item() == pytest.approx(value_range[1])
    assert torch.equal(to_uint8(floats, value_range), every)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_out_of_range_values_are_clipped_not_wrapped(value: float) -> None:
    pixel = int(to_uint8(torch.tensor([value]), (-1.0, 1.0)))
    assert abs(pixel - 127.5 * (min(1.0, max(-1.0, value)) + 1)) <= 0.51


def test_halvings() -> None:
    sizes = {8: 1, 16: 2, 28: 2, 32: 3, 64: 4, 7: 0, 12: 1, 20: 2, 40: 3}
    assert {side: halvings(side) for side in sizes} == sizes


OLDER = {
    "r3": {"channels": 4},
    "progressive": {"channels": 4},
    "style": {"channels": 4},
    "resnet": {"channels": 4, "attention": 8},
}
NEW = ("mix.bias", "first_norm", "parametrizations", "guess_categories")


@pytest.mark.parametrize("name", list(OLDER))
def test_a_config_without_the_newer_options_means_the_network_that_it_meant(name: str) -> None:
    """Files of before: a tanh at the end, plain heads, and no tensor that only the published forms have."""
    config = from_dict(
        NetworkConfig,
        {"name": name, "latent_dim": 6, "conditional": True, "generator": OLDER[name], "critic": OLDER[name]},
    )
    generator, critic = build_generator(config, (1, 8, 8), 3), build_critic(config, (1, 8, 8), 3)
    assert generator.prior == "normal"
    assert not any(part in key for key in generator.state_dict() for part in NEW)
    heads = [key for key in critic.state_dict() if key.startswith(("embed", "guess"))]
    assert heads == ["embed.weight"]
    assert (name == "resnet") == any("parametrizations" in key for key in critic.state_dict())
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(100)
        drawn = generator(torch.randn(8, 6), torch.arange(8) % 3)
    assert drawn.abs().max() <= 1
    assert drawn.abs().max() > 0.99


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dcgan", {"init_std": -1.0}, "init_std of a dcgan network is a number from 0"),
        ("style", {"w_dim": -1}, "No style generator can be built with these sizes and options"),
        ("dcgan", {"channels": -1}, "No dcgan generator can be built"),
        ("dcgan", {"channels": 0}, "No dcgan generator can be built"),
        ("lucidrains", {"max_channels": 0}, "No lucidrains generator can be built"),
        ("mlp", {"hidden": [8, 0]}, "No mlp generator can be built"),
    ],
)
def test_options_that_make_no_network_are_a_sentence(name: str, options: dict[str, Any], said: str) -> None:
    """Of a file, and of --set."""
    with pytest.raises(GanvasError, match=said):
        build_generator(NetworkConfig(name, 4, generator=options), (3, 32, 32), 0)


@pytest.mark.parametrize(
    ("name", "option"),
    [("dcgan", "channels"), ("resnet", "channels"), ("resnet", "blocks"), ("biggan", "blocks")],
)
def test_critics_of_no_size_are_a_sentence(name: str, option: str) -> None:
    """torch builds them, and the first step ended in a traceback."""
    with pytest.raises(GanvasError, match=f"No {name} critic can be built|critic needs blocks from 1"):
        build_critic(NetworkConfig(name, 4, critic={option: 0}), (3, 32, 32), 0)


@pytest.mark.parametrize(
    ("family", "shape", "side"), [("dcgan", (1, 28, 28), 14), ("mlp", (2, 8, 8), 8), ("mlp", (3,), 0)]
)
def test_templates_add_their_product_with_the_coarse_sample(
    family: str, shape: tuple[int, ...], side: int
) -> None:
    """Nothing at first; then the scalar product with means of pixels, or with the point itself."""
    critic = build_critic(
        NetworkConfig(family, conditional=True, critic={"templates": True}), shape, 2, seed=0
    )
    x, labels = torch.randn(4, *shape), torch.tensor([0, 1, 1, 0])
    assert critic.templates is not None
    assert not critic.templates.weight.any()
    with torch.no_grad():
        before = critic(x, labels)
        pictures = torch.randn(2, *shape) if not side else torch.randn(2, shape[0], side, side)
        critic.templates.weight.copy_(pictures.flatten(1))
        coarse = x if not side else x.unflatten(3, (side, -1)).unflatten(2, (side, -1)).mean((3, 5))
        wanted = (pictures[labels] * coarse).flatten(1).sum(1)
        torch.testing.assert_close(critic(x, labels) - before, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("heads", [{}, {"auxiliary": True}, {"codes": 2}])
@pytest.mark.parametrize("last_conv", [True, False])
@pytest.mark.parametrize("minibatch_std", [True, False])
def test_heads_of_a_dcgan_critic_take_what_it_sees(
    heads: dict[str, Any], last_conv: bool, minibatch_std: bool
) -> None:
    """Without a last convolution they did not see the spread of the batch, and did not fit."""
    options = {"channels": 4, "last_conv": last_conv, "minibatch_std": minibatch_std, **heads}
    classes = 0 if "codes" in heads else 3
    critic = build_critic(
        NetworkConfig("dcgan", conditional=classes > 0, critic=options), (1, 16, 24), classes
    )
    answer = critic.answer(torch.rand(4, 1, 16, 24), torch.arange(4) % 3 if classes else None)
    assert answer.logits.shape == (4,)
    assert (answer.classes is not None) == ("auxiliary" in heads)
    assert (answer.codes is not None) == ("codes" in heads)
