"""What every registered loss and penalty must do. A new entry is covered the moment it is registered."""

import pytest
import torch

from ganvas.losses import losses, penalties


@pytest.mark.parametrize("name", list(losses))
def test_losses_push_the_right_way(name: str) -> None:
    loss = losses.get(name)
    real = torch.tensor([0.3, 0.2], requires_grad=True)
    fake = torch.tensor([0.1, 0.4], requires_grad=True)
    critic = loss.critic(real, fake)
    assert critic.shape == ()
    to_real, to_fake = torch.autograd.grad(critic, (real, fake))
    assert (to_real < 0).all(), "the critic lowers its loss by scoring real data higher"
    assert (to_fake > 0).all(), "and fakes lower"
    generator = loss.generator(real.detach(), fake)
    assert generator.shape == ()
    (to_fake,) = torch.autograd.grad(generator, fake)
    assert (to_fake < 0).all(), "the generator lowers its loss by scoring higher"


@pytest.mark.parametrize("name", list(penalties))
def test_penalties_do_one_thing(name: str) -> None:
    penalty = penalties.get(name)
    assert (penalty.loss is None) != (penalty.project is None)
    assert penalties.summary(name)
