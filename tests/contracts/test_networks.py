"""What every registered network family must do, at every size it says it draws."""

import pytest
import torch

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.networks import CriticBase, GeneratorBase, build_critic, build_generator, families


def build(
    name: str, shape: tuple[int, ...], classes: int = 0, seed: int = 0
) -> tuple[GeneratorBase, CriticBase]:
    options = families.get(name).tiny
    config = NetworkConfig(name, latent_dim=6, conditional=classes > 0, generator=options, critic=options)
    return build_generator(config, shape, classes, seed), build_critic(config, shape, classes, seed)


OBLONG = ("dcgan", "progressive", "projected", "r3", "resnet", "style")
"""Families that draw images with other sides than equal ones."""


@pytest.mark.parametrize("name", OBLONG)
def test_oblong_images_with_four_channels_are_drawn_and_judged(name: str) -> None:
    options = families.get(name).tiny
    seeing = {**options, **({"pixels": 4} if name == "projected" else {})}
    config = NetworkConfig(name, latent_dim=6, generator=options, critic=seeing)
    generator, critic = build_generator(config, (4, 16, 24), 0), build_critic(config, (4, 16, 24), 0)
    drawn = generator(torch.randn(4, 6))
    assert drawn.shape == (4, 4, 16, 24)
    answer = critic.answer(drawn)
    assert answer.logits.shape == (4,)
    # Every column of the picture is drawn from z and seen by the critic.
    assert (drawn.var(0).amin((0, 1)) > 0).all()
    (slopes,) = torch.autograd.grad(answer.logits.sum(), drawn)
    assert (slopes.abs().amax((0, 1, 2)) > 0).all()
    for side in generator.coarse_sides:
        assert generator.at(side)(torch.randn(1, 6)).shape == (1, 4, side, side * 24 // 16)


SERIES = ("recurrent", "tcn", "transformer-small", "timegan")


def small(name: str) -> tuple[int, ...]:
    """A shape that the family draws."""
    return (2, 8) if name in SERIES else (1, 8, 8)


@pytest.mark.parametrize("name", list(families))
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again, other = (build(name, small(name), seed=s)[0].state_dict() for s in (1, 1, 2))
    torch.testing.assert_close(torch.rand(3), expected, msg="the global random stream was touched")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", list(families))
def test_unknown_options_are_named(name: str) -> None:
    config = NetworkConfig(name, generator={"chanels": 4, "hiden": 4})
    with pytest.raises(GanvasError, match=rf"Unknown option 'chanels' of the {name} generator"):
        build_generator(config, small(name), 0)


@pytest.mark.parametrize("name", list(families))
def test_impossible_sizes_say_what_to_type(name: str) -> None:
    try:
        assert build(name, (3, 9, 17))[0](torch.randn(2, 6)).shape == (2, 3, 9, 17)
        return  # it draws every size
    except GanvasError:
        pass
    oblong = [] if name in OBLONG else [(1, 28, 32)]
    shapes = ((1, 9, 9), *oblong, (1, 9, 32), (1, 28, 8192), (3, 8192, 8192), (1, 4, 4))
    for shape in shapes if name not in SERIES else ():
        with pytest.raises(GanvasError, match=r"--resolution \d+"):
            build(name, shape)
    other = {2: "dcgan" if name in SERIES else "recurrent", 1: "mlp"}
    for shape in ((2,), (3, 8, 8) if name in SERIES else (2, 8)):
        with pytest.raises(GanvasError, match=f"--network {other[min(2, len(shape))]}"):
            build(name, shape)
