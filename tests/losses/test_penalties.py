"""Critics whose gradient is known in closed form judge every penalty."""

import pytest
import torch
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.losses import penalties
from ganvas.losses.penalties import Batch

W = torch.tensor([1.0, -2.0, 2.0])  # norm 3
A = torch.diag(torch.tensor([1.0, 2.0, 3.0]))


def batch_for(function: object, real: Tensor, fake: Tensor, mix: Tensor | None = None) -> Batch:
    real, fake = real.clone().requires_grad_(True), fake.clone().requires_grad_(True)

    def critic(x: Tensor, labels: Tensor | None = None) -> Tensor:
        return function(x)  # type: ignore[operator]

    mix = torch.rand(len(real), 1) if mix is None else mix
    return Batch(critic, real, fake, critic(real), critic(fake), None, mix)


def value(name: str, batch: Batch) -> Tensor:
    loss = penalties.get(name).loss
    assert loss is not None
    return loss(batch)


def test_linear_critic() -> None:
    """D(x) = w x has gradient w everywhere: R1 = R2 = |w|^2 / 2 and WGAN-GP = (|w| - 1)^2."""
    w = W.clone().requires_grad_(True)
    batch = batch_for(lambda x: x @ w, torch.randn(5, 3), torch.randn(5, 3))
    assert value("r1", batch).item() == pytest.approx(4.5)
    assert value("r2", batch).item() == pytest.approx(4.5)
    assert value("wgan-gp", batch).item() == pytest.approx(4.0)
    (gradient,) = torch.autograd.grad(value("r1", batch), w, retain_graph=True)
    torch.testing.assert_close(gradient, W)  # d (|w|^2 / 2) / dw
    (gradient,) = torch.autograd.grad(value("wgan-gp", batch), w)
    torch.testing.assert_close(gradient, 2 * (3 - 1) * W / 3)


def test_quadratic_critic_sees_the_right_points() -> None:
    """D(x) = x A x / 2 has gradient A x: R1 looks at the reals, R2 at the fakes, WGAN-GP in between."""
    real, fake = torch.randn(6, 3), torch.randn(6, 3)
    mix = torch.full((6, 1), 0.25)
    batch = batch_for(lambda x: 0.5 * ((x @ A) * x).sum(1), real, fake, mix)
    torch.testing.assert_close(value("r1", batch), 0.5 * (real @ A).square().sum(1).mean())
    torch.testing.assert_close(value("r2", batch), 0.5 * (fake @ A).square().sum(1).mean())
    between = fake + 0.25 * (real - fake)
    torch.testing.assert_close(value("wgan-gp", batch), ((between @ A).norm(dim=1) - 1).square().mean())


@pytest.mark.parametrize("name", ["r1", "r2", "wgan-gp"])
def test_a_dead_critic_has_a_finite_gradient(name: str) -> None:
    w = torch.zeros(3, requires_grad=True)
    batch = batch_for(lambda x: x @ w, torch.randn(4, 3), torch.randn(4, 3))
    (gradient,) = torch.autograd.grad(value(name, batch), w)
    assert torch.isfinite(gradient).all()


def test_clipping_bounds_every_weight() -> None:
    critic = nn.Linear(4, 4)
    before = critic.weight.detach().clone()
    project = penalties.get("clip").project
    assert project is not None
    project(critic, 0.1)
    torch.testing.assert_close(critic.weight.detach(), before.clamp(-0.1, 0.1))
    with pytest.raises(GanvasError, match="above 0"):
        project(critic, 0.0)
