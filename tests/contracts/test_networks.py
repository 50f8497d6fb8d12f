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


@pytest.mark.parametrize("name", list(families))
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again, other = (build(name, (1, 8, 8), seed=s)[0].state_dict() for s in (1, 1, 2))
    torch.testing.assert_close(torch.rand(3), expected, msg="the global random stream was touched")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", list(families))
def test_unknown_options_are_named(name: str) -> None:
    config = NetworkConfig(name, generator={"chanels": 4, "hiden": 4})
    with pytest.raises(GanvasError, match=rf"Unknown option 'chanels' of the {name} generator"):
        build_generator(config, (1, 8, 8), 0)


@pytest.mark.parametrize("name", list(families))
def test_impossible_sizes_say_what_to_type(name: str) -> None:
    try:
        assert build(name, (3, 9, 17))[0](torch.randn(2, 6)).shape == (2, 3, 9, 17)
        return  # it draws every size
    except GanvasError:
        pass
    for shape in ((1, 9, 9), (1, 28, 32), (3, 8192, 8192), (1, 4, 4)):
        with pytest.raises(GanvasError, match=r"--resolution \d+"):
            build(name, shape)
    with pytest.raises(GanvasError, match="--network mlp"):
        build(name, (2,))
