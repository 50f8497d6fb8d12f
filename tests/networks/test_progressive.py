"""Growing: the schedule by hand, and that nothing jumps when a size comes in."""

import pytest
import torch
import torch.nn.functional as F

from ganvas.errors import GanvasError
from ganvas.networks.progressive import ProgressiveCritic, ProgressiveGenerator, schedule


def pair() -> tuple[ProgressiveGenerator, ProgressiveCritic]:
    torch.manual_seed(0)
    return ProgressiveGenerator((1, 32, 32), 6, channels=4), ProgressiveCritic((1, 32, 32), channels=4)


@pytest.mark.parametrize(
    ("kimg", "level"),
    [
        (0, 0),
        (600, 0),
        (900, 0.5),
        (1200, 1),
        (1800, 1),
        (1950, 1.25),
        (2400, 2),
        (3300, 2.5),
        (3600, 3),
        (99999, 3),
    ],
)
def test_the_published_schedule(kimg: float, level: float) -> None:
    """600 kimg alone, 600 kimg to fade the next size in; 4, 8, 16, 32 px are levels 0 to 3."""
    assert schedule(kimg, 600, 600, 3) == pytest.approx(level)


@pytest.mark.parametrize("level", [0.0, 1.0, 2.0])
def test_nothing_jumps_when_a_size_comes_in(level: float) -> None:
    generator, critic = pair()
    z, x = torch.randn(4, 6), torch.randn(4, 1, 32, 32)
    drawn, judged = [], []
    for at in (level, level + 1e-4, level + 1 - 1e-4, level + 1):
        generator.level.fill_(at)  # type: ignore[operator,union-attr]
        critic.follow(at)
        drawn.append(generator(z))
        judged.append(critic(x))
    for found in (drawn, judged):
        torch.testing.assert_close(found[0], found[1], atol=2e-3, rtol=0)
        torch.testing.assert_close(found[2], found[3], atol=2e-3, rtol=0)
        assert not torch.allclose(found[0], found[3], atol=2e-3)


def test_a_young_pair_is_blind_to_detail() -> None:
    generator, critic = pair()
    assert generator.grow(0.0) == 0
    critic.follow(0.0)
    drawn = generator(torch.randn(2, 6))
    torch.testing.assert_close(
        drawn, F.interpolate(F.avg_pool2d(drawn, 8), scale_factor=8.0), msg="not 4 px, enlarged"
    )
    x = torch.randn(4, 1, 32, 32)
    blurred = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8.0)
    torch.testing.assert_close(critic(x), critic(blurred))


def test_the_level_is_part_of_the_weights() -> None:
    generator, _ = pair()
    generator.grow(900.0)
    other, _ = pair()
    other.load_state_dict(generator.state_dict())
    z = torch.randn(2, 6)
    assert torch.equal(other(z), generator(z))


def test_bad_schedules() -> None:
    with pytest.raises(GanvasError, match="fade_kimg above 0"):
        ProgressiveGenerator((1, 32, 32), 6, fade_kimg=0)


@pytest.mark.parametrize(("side", "gained", "published"), [(32, 9, 2.2e-2), (128, 13, 4.8e-3)])
def test_the_published_gain_keeps_the_critics_logits_from_vanishing(
    side: int, gained: int, published: float
) -> None:
    """One sqrt(2) in front of each leaky ReLU: with equal weights the logits grow by 2^(layers / 2), to the published spread."""
    spreads = []
    for seed in range(5):
        networks = []
        for option in (False, True):
            torch.manual_seed(seed)
            networks.append(ProgressiveCritic((1, side, side), channels=8, published=option).double())
        x = torch.rand(4, 1, side, side).double() * 2 - 1
        with torch.no_grad():
            # Large inputs: the small number in the minibatch std then does not count, and both are exactly homogeneous.
            plain, gain = (network(1e6 * x) for network in networks)
            torch.testing.assert_close(gain, plain * 2 ** (gained / 2), rtol=1e-4, atol=0)
            spreads.append(float(networks[1](x).std()))
    assert published / 3 < sorted(spreads)[2] < published * 3


def test_the_published_generator_written_out() -> None:
    """Pixel norm of z, dense with a quarter of the gain, leaky ReLU, pixel norm; conv, leaky ReLU, pixel norm; linear image."""
    torch.manual_seed(0)
    g = ProgressiveGenerator((3, 16, 16), 6, channels=4, published=True).double()
    w = g.state_dict()
    z = torch.randn(3, 6).double()

    def normed(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def layer(x: torch.Tensor, name: str) -> torch.Tensor:
        fan = w[f"{name}.weight"][0].numel()
        x = F.conv2d(x, w[f"{name}.weight"] * (2 / fan) ** 0.5, w[f"{name}.bias"], padding=1)
        return normed(F.leaky_relu(x, 0.2))

    x = normed(z) @ (w["first.weight"] * 2**0.5 / 4 / 6**0.5).t() + w["first.bias"]
    x = layer(normed(F.leaky_relu(x.unflatten(1, (16, 4, 4)), 0.2)), "blocks.0.0")
    for size in (1, 2):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = layer(layer(x, f"blocks.{size}.0"), f"blocks.{size}.3")
    drawn = F.conv2d(x, w["to_image.2.weight"] / 4**0.5, w["to_image.2.bias"])
    torch.testing.assert_close(g(z), drawn.float(), atol=1e-5, rtol=1e-5)
    assert drawn.abs().max() > 1, "no tanh"


@pytest.mark.parametrize(("level", "taken"), [(-1.0, 0.0), (-1e9, 0.0), (-3e38, 0.0), (3e38, 3.0)])
def test_a_level_that_no_schedule_gives_is_the_nearest_one(level: float, taken: float) -> None:
    """In a file it may be anything, and the critic took 2 to its power."""
    generator, critic = pair()
    z, x = torch.randn(4, 6), torch.randn(4, 1, 32, 32)
    found = []
    for each in (level, taken):
        for network in (generator, critic):
            network.level.fill_(each)  # type: ignore[operator, union-attr]
        found.append((generator(z), critic(x)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
