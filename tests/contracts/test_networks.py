"""What every registered network family must do, at every size it says it draws."""

import pytest
import torch

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.networks import CriticBase, GeneratorBase, build_critic, build_generator, families
from ganvas.types import Critic, Generator

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64)]
SMALL = {
    "mlp": {"hidden": [16, 16]},
    "dcgan": {"channels": 4},
    "resnet": {"channels": 8},
    "r3": {"channels": 4, "max_channels": 16, "group": 4},
    "progressive": {"channels": 4, "max_channels": 16},
    "style": {"channels": 4, "max_channels": 16},
}
GROWTH = [0.0, 900.0, 2100.0, 3300.0, 4500.0, 6000.0]
"""kimg in the default schedule of progressive growing: in the middle of each fade."""


def build(
    name: str, shape: tuple[int, ...], classes: int = 0, seed: int = 0
) -> tuple[GeneratorBase, CriticBase]:
    options = SMALL[name]
    config = NetworkConfig(name, latent_dim=6, conditional=classes > 0, generator=options, critic=options)
    return build_generator(config, shape, classes, seed), build_critic(config, shape, classes, seed)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", list(families))
def test_shapes_ranges_and_gradients(name: str, shape: tuple[int, ...], classes: int) -> None:
    generator, critic = build(name, shape, classes)
    assert isinstance(generator, Generator)
    assert isinstance(critic, Critic)
    labels = torch.tensor([0, 1, 2, 0]) if classes else None
    fake = generator(torch.randn(4, 6), labels)
    assert fake.shape == (4, *shape)
    low, high = generator.value_range
    assert fake.min() >= low
    assert fake.max() <= high
    logits = critic(fake, labels)
    assert logits.shape == (4,)
    logits.sum().backward()
    for kimg in GROWTH:  # families that grow use every layer at some level
        level = generator.grow(kimg)
        if level is not None:
            critic.follow(level)
            critic(generator(torch.randn(4, 6), labels), labels).sum().backward()
    for network in (generator, critic):
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", list(families))
def test_second_derivatives_exist(name: str) -> None:
    """Gradient penalties need them."""
    _, critic = build(name, (1, 8, 8))
    x = torch.randn(4, 1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters())


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
def test_samples_do_not_depend_on_their_neighbours(name: str) -> None:
    generator = build(name, (1, 8, 8))[0].eval()
    z = torch.randn(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(generator(z)[:2], generator(z[:2]))


@pytest.mark.parametrize("name", list(families))
def test_labels_matter(name: str) -> None:
    generator, critic = build(name, (1, 8, 8), classes=3)
    generator.eval()
    z = torch.randn(4, 6)
    one, two = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.allclose(generator(z, one), generator(z, two))
    x = torch.randn(4, 1, 8, 8)
    assert not torch.allclose(critic(x, one), critic(x, two))
    with pytest.raises(GanvasError, match="conditional"):
        generator(z)
    with pytest.raises(GanvasError, match="conditional"):
        critic(x)


@pytest.mark.parametrize("name", list(families))
def test_unknown_options_are_named(name: str) -> None:
    config = NetworkConfig(name, generator={"chanels": 4, "hiden": 4})
    with pytest.raises(GanvasError, match=rf"Unknown option 'chanels' of the {name} generator"):
        build_generator(config, (1, 8, 8), 0)


@pytest.mark.parametrize("name", list(families))
def test_impossible_sizes_say_what_to_type(name: str) -> None:
    if name == "mlp":
        assert build(name, (3, 9, 17))[0](torch.randn(2, 6)).shape == (2, 3, 9, 17)
        return
    for shape in ((1, 9, 9), (1, 28, 32), (3, 512, 512), (1, 4, 4)):
        with pytest.raises(GanvasError, match=r"--resolution \d+"):
            build(name, shape)
    with pytest.raises(GanvasError, match="--network mlp"):
        build(name, (2,))
