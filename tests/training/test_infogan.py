"""Categorical codes: what z is, what the loss is, and that the samples come to tell the code."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ganvas
from ganvas.config import replace_at
from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.losses.auxiliary import category_loss
from ganvas.model import Model
from ganvas.networks import categories_of, to_prior
from ganvas.training import plan
from ganvas.training.gan import GanMethod
from tests.training.games import gan


def test_categories_are_uniform_one_hot_blocks_and_the_rest_is_normal() -> None:
    noise = torch.randn(20_000, 12, generator=torch.Generator().manual_seed(0))
    z = to_prior("categorical 5 3", noise)
    for block in (z[:, :5], z[:, 5:8]):
        assert torch.equal(block.sort(1).values, F.one_hot(torch.full((20_000,), block.shape[1] - 1)).float())
        torch.testing.assert_close(
            block.mean(0), torch.full((block.shape[1],), 1 / block.shape[1]), atol=0.015, rtol=0
        )
    both = z[:, :5].t() @ z[:, 5:8] / 20_000
    torch.testing.assert_close(both, torch.full((5, 3), 1 / 15), atol=0.01, rtol=0)  # independent
    assert torch.equal(z[:, 8:], noise[:, 8:])
    assert categories_of("categorical 5 3") == (5, 3)
    assert categories_of("normal") == ()


def test_the_loss_is_the_cross_entropy_of_every_code() -> None:
    z = torch.tensor([[0.0, 1, 0, 1, 0, 0.3], [1, 0, 0, 0, 1, -2]])
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    first, second = logits[:, :3].log_softmax(1), logits[:, 3:].log_softmax(1)
    expected = -(first[0, 1] + first[1, 0]) / 2 - (second[0, 0] + second[1, 1]) / 2
    torch.testing.assert_close(category_loss(logits, z, (3, 2)), expected)
    torch.testing.assert_close(
        category_loss(torch.zeros(2, 5), z, (3, 2)), torch.tensor(math.log(3) + math.log(2))
    )


def trained(weight: float) -> tuple[GanMethod, Tensor, Tensor]:
    """Eight clusters on a ring and one code of eight, after 400 steps: the players, codes and the cluster of each sample."""
    settings = {
        "network.latent_dim": 10, "network.categorical": [8], "objective.terms": [{"name": "categories", "weight": weight}],
        "network.generator.hidden": [64, 64], "network.critic.hidden": [64, 64], "optimizer.schedule": "constant",
    }  # fmt: skip
    config, data = plan("toy:ring8", device="cpu", precision="fp32", batch=128, settings=settings)
    p = gan(config, data.shape, 0, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    for _ in range(400):
        p.step(lambda _: (data.take(torch.randint(len(data), (128,), generator=random))[0], None), 0.0)
    z = to_prior(p.generator.prior, torch.randn(4000, 10, generator=random))
    with torch.no_grad():
        x = p.generator(z)
    cluster = (torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) * 8).round().long() % 8
    return p, z, cluster


def information(a: Tensor, b: Tensor) -> float:
    """Mutual information in nats of two labels 0 .. 7, from their table of counts."""
    table = torch.zeros(8, 8).index_put((a, b), torch.ones(len(a)), accumulate=True) / len(a)
    independent = table.sum(1, keepdim=True) * table.sum(0, keepdim=True)
    return float(torch.special.xlogy(table, table / independent.clamp(min=1e-12)).sum())


@pytest.mark.slow
def test_the_samples_tell_the_code_and_only_because_of_the_loss() -> None:
    p, z, cluster = trained(1.0)
    code = z[:, :8].argmax(1)
    found = information(code, cluster)
    assert found > 0.8 * math.log(8)
    guessed = p.critic.answer(p.generator(z)).categories
    assert guessed is not None
    assert math.log(8) - float(category_loss(guessed.detach(), z, (8,))) > 0.9 * math.log(8), (
        "InfoGAN's bound"
    )
    p, z, cluster = trained(0.0)
    assert information(z[:, :8].argmax(1), cluster) < 0.2


def test_a_run_with_both_kinds_of_codes_is_kept_drawn_and_explored(tmp_path: object) -> None:
    settings = {"network.categorical": [10, 2], "network.critic.codes": 2, "training.duality_steps": 1}
    result = ganvas.train(
        "digits",
        size="xs",
        kimg=0.064,
        device="cpu",
        out=str(tmp_path),
        quiet=True,
        report=False,
        settings=settings,
    )
    model: Model = ganvas.load(result.run.path)
    assert model.generator.prior == "categorical 10 2"
    z = model.latents(50, 1)
    assert torch.equal(z[:, :10].sum(1), torch.ones(50))
    assert torch.equal(z[:, 10:12].sum(1), torch.ones(50))
    assert model.sample(3).shape == (3, *model.shape)
    assert model.critic is not None
    answer = model.critic.answer(model.generator(z))
    assert answer.codes is not None
    assert answer.categories is not None
    assert (answer.codes.shape, answer.categories.shape) == ((50, 2), (50, 12))
    space = open_space(model, "z")
    between = (z[:1] + z[1:2]) / 2 + 0.01 * torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    kept = space.project(between)
    assert torch.equal(kept[:, :12], to_prior(model.generator.prior, between)[:, :12])


def test_the_code_loss_starts_behind_the_categories() -> None:
    config, _ = plan(
        "digits", size="xs", device="cpu", settings={"network.categorical": [3], "network.critic.codes": 2}
    )
    p = gan(
        replace_at(config, "objective.terms", [{"name": "categories", "weight": 0.0}]),
        (1, 8, 8),
        0,
        torch.device("cpu"),
    )
    z = to_prior(p.generator.prior, torch.randn(4, 64, generator=torch.Generator().manual_seed(0)))
    answer = p.critic.answer(p.generator(z))
    assert answer.codes is not None
    (codes,) = (active for active in p.terms if active.term.critic)
    assert codes.term.critic is not None
    view = replace(p._view(z, None, codes), on_fake=answer)
    added = codes.weight * codes.term.critic(view)
    expected = 0.1 * 0.5 * (answer.codes - z[:, 3:5]).square().sum(1).mean()
    torch.testing.assert_close(added, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network.categorical": [1]}, "every code needs 2 or more categories"),
        ({"network.categorical": [60, 5]}, "fit into the 64 numbers of z"),
        (
            {"network.categorical": [60], "network.critic.codes": 5},
            r"codes is 5 and network.categorical \[60\]",
        ),
        ({"network.categorical": [4], "network.pack": 2}, "cannot be combined with labels or codes"),
        ({"network.categorical": 4}, "must be a list"),
    ],
)
def test_codes_that_do_not_fit(settings: dict[str, object], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        plan("digits", device="cpu", settings=settings)


@pytest.mark.parametrize("codes", [True, False])
def test_samples_that_tell_their_code_have_no_style_of_another(codes: bool) -> None:
    """Style mixing drew the late layers of most samples from other codes than the critic was to guess."""
    settings = {
        "network.generator": {"channels": 4, "max_channels": 8, "style_mixing": 1.0},
        "network.critic": {"channels": 4, "max_channels": 8, "codes": 2 * codes},
    }  # fmt: skip
    config, data = plan(
        "digits", network="style", device="cpu", precision="fp32", batch=32, settings=settings
    )
    p = gan(config, data.shape, 0, torch.device("cpu"))
    z, drawn, _ = p._fake(None)  # noise has no strength before training
    with torch.no_grad():
        assert torch.allclose(drawn, p.generator(z), atol=1e-5) == codes
