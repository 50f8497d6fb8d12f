"""The critic score of a sample is its own: whatever is scored beside it, and wherever it is used."""

import pytest
import torch
from torch import nn

import ganvas
from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.effort import largest_result
from ganvas.latent import critic, open_space
from ganvas.latent import map as maps
from ganvas.latent.critic import CRITIC_SCORE, CriticScorer, alone, scorer_of
from ganvas.latent.directions import COST_SIGMAS, EFFECT_SAMPLES, edit, find
from ganvas.latent.dissect import dissect
from ganvas.model import Model
from ganvas.networks import build_critic, from_uint8
from ganvas.sampling import fit_ratio
from ganvas.web.quality import Gauge
from tests.latent.test_space import ours


@pytest.fixture(scope="module")
def fashion() -> Model:
    return ganvas.load("fashion", device="cpu")


@pytest.fixture(scope="module")
def images(fashion: Model) -> torch.Tensor:
    return fashion.sample(96, seed=7)


def test_a_permutation_and_any_batch_size_leave_every_score(fashion: Model, images: torch.Tensor) -> None:
    scorer = scorer_of(fashion)
    assert scorer is not None
    scores = scorer.scores(images)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scorer.scores(images[order]), scores[order], atol=1e-5, rtol=0)
    for size in (1, 3, 4, 10, 64):
        parts = torch.cat([scorer.scores(part) for part in images.split(size)])
        torch.testing.assert_close(parts, scores, atol=1e-5, rtol=0)
    # The critic itself looks at the batch: the same permutation moves its logits.
    assert fashion.critic is not None
    with torch.no_grad():
        x = from_uint8(images, fashion.generator.value_range)
        moved = (fashion.critic(x[order]) - fashion.critic(x)[order]).abs().mean()
    assert moved > 0.05


def test_everything_that_scores_samples_says_the_same(fashion: Model, images: torch.Tensor) -> None:
    """Map, dissection, directions, the explorer's gauge and the ratio: one scorer."""
    space = open_space(fashion, "w")
    scorer = space.scorer
    assert scorer is not None
    scores = scorer.scores(images)
    drawn = maps.draw_map(space, 96, "pca", seed=7)
    torch.testing.assert_close(torch.from_numpy(drawn.values[CRITIC_SCORE]), scores, atol=1e-5, rtol=0)
    gauge = Gauge(fashion, None, None)
    torch.testing.assert_close(gauge.scores(images[:5], None), scores[:5], atol=1e-5, rtol=0)
    # A direction's cost, by hand from scores of pictures one by one.
    direction = find(space, "pca", 1)[0]
    points = space.known[:EFFECT_SAMPLES]

    def one_by_one(at: torch.Tensor) -> torch.Tensor:
        pictures = fashion.to_data(space.decode(at))
        return torch.cat([scorer.scores(each[None]) for each in pictures])

    before = one_by_one(points)
    far = [one_by_one(edit(space, points, direction, s)) for s in (-COST_SIGMAS, COST_SIGMAS)]
    expected = float((before.mean() - torch.cat(far).mean()) / before.std())
    assert direction.cost == pytest.approx(expected, abs=1e-3)
    # The correlation of a unit with the score does not depend on how the samples were batched either.
    found = dissect(space, n=96, seed=7)
    column = found.concepts.index(CRITIC_SCORE)
    layer = found.layers[-1]
    seen: list[torch.Tensor] = []
    hook = dict(fashion.generator.named_modules())[layer].register_forward_hook(
        lambda module, inputs, output: seen.append(output.float().mean((2, 3)).double())
    )
    with torch.no_grad():
        space.decode(space.numbered(96, 7))
    hook.remove()
    expected_correlation = torch.corrcoef(torch.stack([seen[0][:, 0], scores]))[0, 1]
    assert found.agreement[layer][0, column].item() == pytest.approx(expected_correlation.item(), abs=1e-3)


def test_the_ratio_of_the_own_critic_scores_one_by_one(fashion: Model, images: torch.Tensor) -> None:
    real = fashion.sample(120, seed=9)
    ratio = fit_ratio(open_space(fashion, "z"), real, critic="own", method="platt")
    x = from_uint8(images, fashion.generator.value_range)
    scores = ratio.logits(x)
    parts = torch.cat([ratio.logits(part) for part in x.split(5)])
    torch.testing.assert_close(parts, scores, atol=1e-5, rtol=0)
    expected = CriticScorer(fashion, real).scores(images)
    torch.testing.assert_close(scores.double(), expected, atol=1e-5, rtol=0)


def test_every_spread_of_a_critic_has_its_own_usual_values() -> None:
    """One number stood for all of them: a critic with two channels of it could not judge."""
    model = ours("dcgan")
    config = NetworkConfig("stylegan2", critic={"channel_base": 64, "channel_max": 8, "std_channels": 2})
    model.critic = build_critic(config, (1, 16, 16), 0).eval().requires_grad_(False)
    added: list[torch.Tensor] = []
    model.critic.std.register_forward_hook(lambda m, i, output: added.append(output[:, -2:]))
    samples = model.sample(64)
    for count in (64, 67):  # three more are no group
        given = samples[torch.arange(count) % 64]
        mixed = given[torch.randperm(count, generator=stream(0, "spread"))]
        model.critic(from_uint8(mixed[:64], (-1.0, 1.0)))
        scorer = CriticScorer(model, given)
        torch.testing.assert_close(scorer.network.std.value, added[-1 if count == 64 else -2].mean((0, 2, 3)))
    first = scorer.scores(samples[:1])
    torch.testing.assert_close(scorer.scores(samples)[:1], first, atol=1e-5, rtol=0)
    assert alone(build_critic(config, (1, 16, 16), 0)).state_dict()["std.value"].shape == (2,)


def test_large_pictures_are_judged_some_at_a_time(
    fashion: Model, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 of 256 px at once took a critic 20 GB."""
    at_once = CriticScorer(fashion).scores(images)
    monkeypatch.setattr(critic, "ROOM", 13 * 28 * 28)
    rows: list[int] = []
    assert fashion.critic is not None
    with fashion.critic.register_forward_pre_hook(lambda m, given: rows.append(len(given[0]))):
        scorer = CriticScorer(fashion)
        direction = find(open_space(fashion), "random", 1)[0]
    assert rows
    assert max(rows) <= 13
    torch.testing.assert_close(scorer.scores(images), at_once, atol=1e-5, rtol=0)
    assert direction.cost is not None


def test_a_critic_that_sees_pictures_larger_judges_few_at_a_time(
    fashion: Model, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 pictures of 32 px took a projected critic of `side=256` 8 GB."""
    scorer, x = CriticScorer(fashion), from_uint8(images, (-1.0, 1.0)).requires_grad_(True)
    whole = scorer.logits(x)
    slope = torch.autograd.grad(whole.sum(), x)[0]
    widest = largest_result(lambda: scorer.network(x[:1].detach()))
    monkeypatch.setattr(critic, "LAYER", 13 * widest)
    rows: list[int] = []
    with scorer.network.register_forward_pre_hook(lambda m, given: rows.append(len(given[0]))):
        parts = scorer.logits(x)
        torch.testing.assert_close(torch.autograd.grad(parts.sum(), x)[0], slope, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(scorer.scores(images).float(), whole.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    assert fashion.critic is not None
    with fashion.critic.register_forward_pre_hook(lambda m, given: rows.append(len(given[0]))):
        CriticScorer(fashion)
    assert max(rows) <= 13


def test_a_critic_that_learns_sees_its_batch_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one sample, which its layers were looked at with, batch norm has no spread: a traceback."""

    class Learns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

        def forward(self, samples: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            found: torch.Tensor = self.layers(samples)[:, 0]
            return found

    monkeypatch.setattr(critic, "LAYER", 4 * 20)
    network, points = Learns(), torch.randn(64, 2)
    assert torch.equal(critic.logits_of(network, points, None, (-1, 1)), network(points, None))


def test_few_large_samples_tell_the_usual_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critic, "SEEN", 1)
    model = ganvas.load("fashion", device="cpu")
    drawn: list[int] = []
    with model.generator.register_forward_pre_hook(lambda m, given: drawn.append(len(given[0]))):
        CriticScorer(model)
    assert max(drawn) == critic.FEWEST


def test_a_critic_of_several_samples_at_once_scores_none() -> None:
    model = ours("dcgan")
    assert scorer_of(model) is None
    config = NetworkConfig("dcgan", critic={"channels": 4}, pack=2)
    model.critic = build_critic(config, (1, 16, 16), 0).eval().requires_grad_(False)
    assert scorer_of(model) is None
    drawn = maps.draw_map(open_space(model, "z"), 50, "pca")
    assert CRITIC_SCORE not in drawn.values
    assert all(each.cost is None for each in find(open_space(model, "z"), "random", 2))


def test_the_usual_spread_is_of_samples_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was of the first classes: of a thousand of ImageNet fish and birds, of sorted data the first one."""
    model = ours("dcgan", 100)
    config = NetworkConfig("stylegan2", critic={"channel_base": 64, "channel_max": 8})
    model.critic = build_critic(config, (1, 16, 16), 100).eval().requires_grad_(False)
    seen: list[torch.Tensor] = []
    model.critic.register_forward_pre_hook(lambda m, given: seen.append(given[1]))
    monkeypatch.setattr(critic, "SEEN", 1)
    CriticScorer(model)
    assert max(int(each.max()) for each in seen) > 90
    seen.clear()
    CriticScorer(model, model.sample(600), (torch.arange(600) // 6))
    assert max(int(each.max()) for each in seen) > 90
