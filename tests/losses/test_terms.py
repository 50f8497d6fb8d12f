"""Terms whose value can be said beforehand: of a critic that adds up pixels, of a generator that repeats a number."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganvas.losses import StepView, terms
from ganvas.networks import Answer
from ganvas.networks.layers import ConditionalBatchNorm


class Repeats(nn.Module):
    """z (B, 1) -> images (B, 1, 8, 8) of that number."""

    value_range = (-1.0, 1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z[:, :, None, None].expand(-1, 1, 8, 8)


def mean_critic(x: Tensor, labels: Tensor | None = None) -> Answer:
    """The mean of each image is its logit."""
    return Answer(x.mean((1, 2, 3)), x.flatten(1), None, None)


def view(real: Tensor, fake: Tensor, name: str, **more: Any) -> StepView:
    z = fake.mean((1, 2, 3))[:, None]
    term = terms.get(name)
    return StepView(
        z=z, labels=None, generator=Repeats(), critic=mean_critic, latents=lambda: z,
        normal=lambda *sizes: torch.ones(len(z), *sizes), uniform=lambda *sizes: torch.full((len(z), *sizes), 0.25),
        real=real, fake=fake, on_real=mean_critic(real), on_fake=mean_critic(fake),
        options={**term.options, **more.pop("options", {})}, **more,
    )  # fmt: skip


def images(*values: float) -> Tensor:
    return torch.tensor(values).float()[:, None, None, None].expand(-1, 1, 8, 8).contiguous()


def test_lecam_is_the_distance_to_the_other_sides_mean() -> None:
    """Anchors move by a half first: from 0 to 0.5 x mean(1, 3) = 1 and to 0.5 x -2 = -1.

    Then real logits 1 and 3 lie 2 and 4 from -1, fakes of -2 lie 3 from 1: (4 + 16) / 2 + 9.
    """
    memory = {"real": torch.tensor(0.0), "fake": torch.tensor(0.0)}
    lecam = terms.get("lecam").critic
    assert lecam is not None
    found = lecam(view(images(1, 3), images(-2, -2), "lecam", options={"decay": 0.5}, memory=memory))
    assert float(found) == pytest.approx(10 + 9)
    assert (float(memory["real"]), float(memory["fake"])) == (1, -1)


def test_balanced_consistency_is_what_moving_changes() -> None:
    """Random numbers of 0.25 flip and move by floor(0.25 x 3) - 1 = -1 of 8 pixels both ways: a black border of 15 pixels.

    The mean of images of v falls from v to (49 v - 15) / 64, by 15 (v + 1) / 64; black ones (-1) stay as they are.
    """
    bcr = terms.get("bcr").critic
    assert bcr is not None
    found = bcr(view(images(1, -1), images(0.0, 0.0), "bcr"))
    expected = (30 / 64) ** 2 / 2 + (15 / 64) ** 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_latent_consistency_is_sigma_squared_for_a_critic_of_the_latent() -> None:
    """Where the logit is z itself, noise of sigma changes it by sigma; the generator is asked for the opposite."""
    zcr = terms.get("zcr")
    assert zcr.critic is not None
    assert zcr.generator is not None
    seen = view(images(0, 0), images(0.5, -0.5), "zcr", options={"sigma": 0.3, "apart": 0.1})
    assert float(zcr.critic(seen)) == pytest.approx(0.09, rel=1e-5)
    shown = replace(
        seen, seen=lambda samples: samples + 1
    )  # it was held against those that were augmented as it was
    assert float(zcr.critic(shown)) != pytest.approx(0.09, rel=0.1)
    assert float(zcr.generator(seen)) == pytest.approx(-0.1 * 0.09, rel=1e-5)


def test_orthogonal_leaves_lengths_and_classes_alone() -> None:
    """Rows (3, 0), (0, 5) and (1, 2): products 3 and 10, each twice. Nothing of vectors of classes, nor of a bias."""
    generator = nn.Module()
    generator.first, generator.embed = nn.Linear(2, 3), nn.Embedding(4, 2)
    generator.norm = ConditionalBatchNorm(5, 4)
    generator.first.weight.data = torch.tensor([[3.0, 0.0], [0.0, 5.0], [1.0, 2.0]])
    term = terms.get("orthogonal").generator
    assert term is not None
    seen = replace(view(images(0), images(0), "orthogonal"), generator=generator)
    found = term(seen)
    assert found.item() == 2 * (3**2 + 10**2)
    found.backward()
    assert generator.embed.weight.grad is None
    assert generator.norm.scale.weight.grad is None, "all classes have the same scales at first"
    generator.first.weight.data = torch.tensor([[3.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert term(seen).item() == 0
