"""One step of the game, checked against a step written out by hand."""

import copy
import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.config import Config, replace_at, validate
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.losses import Penalty, StepView
from ganvas.networks import GeneratorBase, from_uint8
from ganvas.presets import presets
from ganvas.training.duality import duality_gap
from ganvas.training.gan import GanMethod
from ganvas.training.monitor import Monitor
from tests.training.games import gan

IMAGES = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 4


def config(**changes: Any) -> Config:
    made = presets.get("small")
    for path, value in {
        "network.latent_dim": 6, "network.generator.channels": 4, "network.critic.channels": 4,
        "training.batch": 8, "training.device": "cpu", "training.precision": "fp32", **changes,
    }.items():  # fmt: skip
        made = replace_at(made, path.replace("__", "."), value)
    return made


def stream() -> Callable[[], tuple[Tensor, Tensor]]:
    place = itertools.count(0, 8)

    def following(_: str) -> tuple[Tensor, Tensor]:
        i = next(place) % 64
        return IMAGES[i : i + 8], LABELS[i : i + 8]

    return following


def players(**changes: Any) -> GanMethod:
    return gan(config(**changes), (1, 8, 8), 4, torch.device("cpu"))


def test_a_step_is_the_step_written_out_by_hand() -> None:
    ours = players(
        objective__penalties=[{"name": "r1", "weight": 0.3, "interval": 1}], objective__loss="non-saturating"
    )
    generator, critic = copy.deepcopy(ours.generator), copy.deepcopy(ours.critic)
    random = torch.Generator()
    random.set_state(ours.engine.random.get_state())
    ours.step(stream(), 0.0)

    rate, betas = ours.config.optimizer.lr_critic, (0.0, 0.99)
    step_critic = torch.optim.Adam(critic.parameters(), rate, betas)
    step_generator = torch.optim.Adam(generator.parameters(), rate, betas)
    real = from_uint8(IMAGES[:8], (-1, 1)).requires_grad_(True)
    fake = generator(torch.randn(8, 6, generator=random))
    scores = critic(real)
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    r1 = 0.3 / 2 * gradient.square().sum((1, 2, 3)).mean()
    (F.softplus(-scores).mean() + F.softplus(critic(fake.detach())).mean() + r1).backward()
    step_critic.step()
    step_generator.zero_grad()
    F.softplus(-critic(fake)).mean().backward()
    step_generator.step()

    for mine, theirs in ((ours.generator, generator), (ours.critic, critic)):
        for (name, a), b in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=name)


def test_lazy_penalties_are_scaled_by_their_interval() -> None:
    """With frozen networks, one lazy penalty of interval 4 weighs as much as four eager ones."""
    totals = {}
    for interval in (1, 4):
        p = players(
            objective__penalties=[{"name": "wgan-gp", "weight": 2.0, "interval": interval}],
            optimizer__lr_critic=0.0, optimizer__lr_generator=0.0, training__batch=64,
        )  # fmt: skip
        values = []
        for _ in range(4):
            p.step(lambda _: (IMAGES, LABELS), 0.0)
            values.append(p.engine.read_figures()["penalty"])
        totals[interval] = values
    assert totals[4][1:] == [0, 0, 0]
    assert totals[4][0] == pytest.approx(sum(totals[1]), rel=0.02)


def test_critic_steps_and_the_count_of_images() -> None:
    p = players(objective__critic_steps=3, objective__penalties=[{"name": "clip", "weight": 0.01}])
    p.step(stream(), 0.0)
    assert p.engine.images == 24
    assert p.engine.steps == 1
    assert p.optimizer_critic.state[next(iter(p.critic.parameters()))]["step"] == 3
    assert p.optimizer_generator.state[next(iter(p.generator.parameters()))]["step"] == 1
    assert max(w.abs().max().item() for w in p.critic.parameters()) <= 0.01 + 1e-7


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rate_schedules(schedule: str) -> None:
    p = players(optimizer__schedule=schedule)
    rates = []
    for progress in (0.0, 0.5, 1.0):
        p.engine.set_rates(progress)
        rates.append(p.optimizer_critic.param_groups[0]["lr"] / p.config.optimizer.lr_critic)
    assert rates == pytest.approx([1, 1, 1] if schedule == "constant" else [1, 0.51, 0.02])


def test_the_schedules_of_r3gan() -> None:
    """Half a cosine over the budget: at a quarter of it 0.146 of the way, in the middle half, at the end all."""
    p = players(
        optimizer__schedule="cosine", optimizer__lr_critic=2e-4, optimizer__rate_end=0.25,
        optimizer__beta2=0.9, optimizer__beta2_end=0.99,
        augment__policy=["flip"], augment__p=0.0, augment__p_end=0.55,
        training__ema_kimg=0.0, training__ema_end_kimg=5000.0, training__ema_rampup=None,
        objective__penalties=[{"name": "r1", "weight": 0.05, "weight_end": 0.005}],
    )  # fmt: skip
    probed: list[float] = []
    p.penalties = [
        (Penalty(lambda batch: (probed.append(1.0), batch.real_logits.sum() * 0 + 1)[1]), p.penalties[0][1])
    ]
    for progress, way in ((0.0, 0.0), (0.25, 0.5 - 0.5 * 0.5**0.5), (0.5, 0.5), (1.0, 1.0)):
        before = [q.detach().clone() for q in p.average.parameters()]
        p.step(stream(), progress)
        for optimizer in (p.optimizer_generator, p.optimizer_critic):
            assert optimizer.param_groups[0]["betas"] == pytest.approx((0.0, 0.9 + way * 0.09))
        assert p.optimizer_critic.param_groups[0]["lr"] == pytest.approx(2e-4 - way * 1.5e-4)
        assert float(p.adaptive.p) == pytest.approx(way * 0.55)
        assert p.engine.read_figures()["penalty"] == pytest.approx(0.05 - way * 0.045)
        share = 1.0 if way == 0 else 1 - 0.5 ** (8 / (way * 5e6))
        for old, new, live in zip(before, p.average.parameters(), p.generator.parameters(), strict=True):
            torch.testing.assert_close(new, old + share * (live - old))
    assert len(probed) == 4


def test_a_schedule_of_p_and_an_adaptive_p_exclude_each_other() -> None:
    with pytest.raises(GanvasError, match=r"augment.p_end is a schedule of p and augment.target adapts it"):
        validate(config(augment__p_end=0.5, augment__target=0.6))
    for wrong in ({"augment__p_end": 1.5}, {"optimizer__beta2_end": -0.1}, {"training__ema_end_kimg": -1.0}):
        with pytest.raises(GanvasError, match=next(iter(wrong)).replace("__", r"\.")):
            validate(config(**wrong))


def test_noise_reaches_the_networks() -> None:
    """Instance noise falls to nothing over the budget; input noise does not."""
    plain, noisy = players(), players(objective__instance_noise=0.5)
    noisy.prepare(1.0)
    first_plain = plain._real(stream()("data"))[0]
    assert torch.equal(noisy._augment(first_plain), first_plain)
    noisy.prepare(0.0)
    spread = (noisy._augment(first_plain) - first_plain).std().item()
    assert spread == pytest.approx(0.5, rel=0.15)
    a, b = players(), players(objective__input_noise=1.0)
    assert not torch.allclose(a._fake(None)[1], b._fake(None)[1])


def test_mirror_flips_about_half() -> None:
    p = players(data__mirror=True, training__batch=64)
    flipped = [
        torch.equal(x, y)
        for x, y in zip(p._real((IMAGES, None))[0].flip(3), from_uint8(IMAGES, (-1, 1)), strict=True)
    ]
    assert 15 < sum(flipped) < 49


def test_conditional_networks_get_their_labels() -> None:
    p = players(network__conditional=True)
    p.step(stream(), 0.0)
    assert p.generator.embed is not None
    assert p.critic.embed is not None
    assert p.critic.embed.weight.grad is not None
    assert p.critic.embed.weight.grad.abs().sum() > 0


def test_the_first_bad_step_is_remembered() -> None:
    p = players()
    p.step(stream(), 0.0)
    assert p.engine.read_figures()["bad_step"] == -1
    with torch.no_grad():
        next(p.critic.parameters()).fill_(float("nan"))
    for _ in range(3):
        p.step(stream(), 0.0)
    assert p.engine.read_figures()["bad_step"] == 2, "counted from 1, as in stats.jsonl"


def test_bf16_autocast_runs_and_stays_close() -> None:
    full, half = players(), players(training__precision="bf16")
    for p in (full, half):
        p.step(stream(), 0.0)
    a, b = full.engine.read_figures(), half.engine.read_figures()
    assert b["loss_critic"] == pytest.approx(a["loss_critic"], abs=0.05)
    assert b["penalty"] == pytest.approx(a["penalty"], rel=0.1, abs=1e-3)
    assert next(half.generator.parameters()).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo looks at it
def test_compiled_networks_take_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the tracer and its autograd, with R1 on; no C++ compiler is needed for this backend."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain, compiled = players(), players(training__compile=True)
    for p in (plain, compiled):
        for batch in (stream(), stream()):
            p.step(batch, 0.0)
    a, b = plain.engine.read_figures(), compiled.engine.read_figures()
    assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


def test_a_batch_that_processes_can_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.dist.world_size", lambda: 3)
    with pytest.raises(GanvasError, match="cannot be split over 3"):
        players()


def one_step(**changes: Any) -> GanMethod:
    p = players(**changes)
    p.step(stream(), 0.5)
    assert all(torch.isfinite(torch.tensor(list(p.engine.read_figures().values()))))
    return p


def moved(a: GanMethod, b: GanMethod) -> float:
    """How far the generators of two runs lie apart."""
    pairs = zip(a.generator.parameters(), b.generator.parameters(), strict=True)
    return max((x - y).abs().max().item() for x, y in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective__terms": [{"name": "top-k", "weight": 0.5}]},
        {"objective__terms": [{"name": "latent-optimisation", "weight": 0.9}]},
        {"objective__terms": [{"name": "feature-matching", "weight": 10.0}]},
        {"objective__terms": [{"name": "mode-seeking", "weight": 1.0}]},
        {"augment__policy": ["translation", "cutout"]},
    ],
    ids=["top-k", "latent-optimisation", "feature-matching", "mode-seeking", "augment"],
)
def test_each_option_changes_the_generators_step(changes: dict[str, Any]) -> None:
    assert moved(one_step(), one_step(**changes)) > 1e-4
    assert moved(one_step(), one_step()) == 0


def latent_step(weight: float, damping: float) -> dict[str, Any]:
    return {"name": "latent-optimisation", "weight": weight, "options": {"damping": damping}}


def stepped(p: GanMethod, z: Tensor) -> Tensor:
    """z as the game's only term moves it."""
    (active,) = p.terms
    assert active.term.latents is not None
    return active.term.latents(p._view(z, None, active), active.weight)


def test_the_latent_step_is_the_natural_gradient_of_the_logit() -> None:
    """LOGAN's closed form: with a large damping the step is a g / b, and the logit rises by a |g|^2 / b to first order."""
    p = players(objective__terms=[latent_step(1.0, 1e4)], network__critic__minibatch_std=False)
    z = torch.randn(8, p.generator.latent_dim)
    start = z.clone().requires_grad_(True)
    logits = p.critic(p.generator(start))
    (g,) = torch.autograd.grad(logits.sum(), start)
    moved = stepped(p, z)
    torch.testing.assert_close(moved - z, g / (1e4 + g.square().sum(1, keepdim=True)), atol=1e-6, rtol=1e-2)
    near = players(objective__terms=[latent_step(0.01, 1.0)], network__critic__minibatch_std=False)
    moved = stepped(near, z)
    assert (near.critic(near.generator(moved)) > near.critic(near.generator(z))).float().mean() > 0.8


def test_top_k_is_the_step_on_the_best_fakes_alone() -> None:
    """At half of the budget the share has fallen to its end: the other half of the fakes gets no gradient."""
    p = players(
        objective__terms=[{"name": "top-k"}], network__critic__minibatch_std=False, optimizer__lr_critic=0.0
    )
    p.prepare(0.25)
    assert [share for _, share in p.choosing] == [0.75]
    p.prepare(0.5)
    turn = p._draw_batch(stream()("data"))
    assert [share for _, share in p.choosing] == [0.5]
    turn.fake.retain_grad()
    p._generator_step(turn)
    assert turn.fake.grad is not None
    taught = turn.fake.grad.abs().flatten(1).sum(1) > 0
    logits = p.critic(turn.fake.detach())
    assert taught.sum() == 4
    assert logits[taught].min() >= logits[~taught].max()


def test_packing_halves_the_logits_and_shows_neighbours_together() -> None:
    p = one_step(network__pack=2, network__critic__minibatch_std=False)
    x = torch.randn(8, 1, 8, 8)
    logits = p.critic.eval()(x)
    assert logits.shape == (4,)
    torch.testing.assert_close(p.critic(x[:2]), logits[:1])
    swapped = x.clone()
    swapped[1] = x[3]
    assert not torch.allclose(p.critic(swapped)[0], logits[0])
    with pytest.raises(GanvasError, match="cannot be packed by 3"):
        validate(config(network__pack=3))
    with pytest.raises(GanvasError, match="cannot be combined with labels"):
        players(network__pack=2, network__conditional=True)


def test_an_auxiliary_classifier_learns_the_labels() -> None:
    p = players(
        network__conditional=True,
        network__critic__auxiliary=True,
        training__batch=32,
        optimizer__lr_critic=1e-2,
    )
    assert p.critic.embed is None
    images = torch.randint(
        0, 40, (32, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.arange(32) % 4
    images[torch.arange(32), 0, labels * 2] = 250  # a bright row names the class
    for _ in range(60):
        p.step(lambda _: (images, labels), 0.0)
    found = p.critic.answer(from_uint8(images, (-1, 1)), labels).classes
    assert found is not None
    assert (found.argmax(1) == labels).float().mean() > 0.9


def test_codes_come_to_be_readable() -> None:
    """InfoGAN: the critic's guess at the first entries of z gets better than guessing 0 (a loss of K / 2)."""
    p = players(
        network__critic__codes=2, objective__terms=[{"name": "codes", "weight": 1.0}], training__batch=64
    )
    for _ in range(150):
        p.step(lambda _: (IMAGES, LABELS), 0.0)
    z = torch.randn(256, 6)
    guess = p.critic.answer(p.generator(z)).codes
    assert guess is not None
    assert (guess - z[:, :2]).square().mean() < 0.6


def test_pseudo_augmentation_shows_fakes_as_real() -> None:
    seen = []
    p = players(augment__pseudo=True, augment__p=1.0)
    original = p.judge
    p.judge = lambda x, labels: (seen.append(x.detach()), original(x, labels))[1]  # type: ignore[func-returns-value]
    p.penalties = []
    p.step(stream(), 0.0)
    assert torch.equal(seen[0], seen[1].roll(1, 0)), "at p = 1 all of them"


def test_ada_state_is_saved_with_the_run() -> None:
    p = one_step(augment__policy=["translation"], augment__p=0.0, augment__target=-1.0, augment__kimg=0.01)
    assert "augment" in p.networks
    for _ in range(3):
        p.step(stream(), 0.0)
    assert 0 < float(p.adaptive.p) <= 0.8 + 1e-6


@pytest.mark.parametrize(
    ("loss", "said"), [("least-squares", 0.4), ("relativistic", 5.0), ("wasserstein", 5.0)]
)
def test_a_critic_that_cannot_tell_is_not_sure(loss: str, said: float) -> None:
    """What one of least squares says of both then is 0.5, and where differences alone count it is anything: by the sign of it
    the critic was always sure, and p went up to its limit.
    """
    p = one_step(
        objective__loss=loss, augment__policy=["translation"], augment__p=0.5, augment__target=0.6, augment__kimg=1.0
    )  # fmt: skip
    with torch.no_grad():
        for weight in p.critic.parameters():
            weight.zero_()
        list(p.critic.parameters())[-1].fill_(said)
    p.optimizer_critic.param_groups[0]["lr"] = 0.0
    p.engine.set_rates = lambda progress: None  # type: ignore[method-assign]
    for _ in range(8):
        p.step(stream(), 0.0)
    assert float(p.adaptive.p) < 0.5


STYLE: dict[str, Any] = {
    "network.name": "style", "network.generator": {"channels": 4}, "network.critic": {"channels": 4},
}  # fmt: skip


def style_players(**changes: Any) -> GanMethod:
    made = presets.get("small")
    for path, value in {
        **STYLE, "network.latent_dim": 6, "training.batch": 8, "training.device": "cpu", "training.precision": "fp32", **changes,
    }.items():  # fmt: skip
        made = replace_at(made, path, value)
    return gan(made, (1, 8, 8), 4, torch.device("cpu"))


def test_path_length_regularisation_changes_the_step_and_keeps_a_mean() -> None:
    plain, regularised = style_players(), style_players(**{"objective.terms": [{"name": "path-length"}]})
    for p in (plain, regularised):
        p.step(stream(), 0.0)
    assert moved(plain, regularised) > 1e-5
    assert float(regularised.generator.path_mean) > 0  # type: ignore[arg-type]


def test_path_lengths_are_those_of_all_classes() -> None:
    """Batches are sorted by class: half of one from its start held the first classes alone, in every step."""
    p = style_players(**{"network.conditional": True, "objective.terms": [{"name": "path-length"}]})
    seen: list[Tensor] = []
    generator: Any = p.generator
    mapping = generator.mapping
    generator.mapping = lambda z, labels=None: (seen.append(labels), mapping(z, labels))[1]
    p.step(lambda _: (IMAGES[:8], torch.arange(4).repeat_interleave(2)), 0.0)
    assert seen[-1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("group", "batch", "unit"), [(0, 8, 8), (4, 8, 4), (4, 6, 6), (64, 8, 8)])
def test_a_critic_is_watched_by_as_many_as_it_compares(group: int, batch: int, unit: int) -> None:
    """`std_group` 0, the whole batch, asked the monitor for 9 quintillion samples."""
    widths = {"channel_base": 64, "channel_max": 8}
    p = players(
        network__name="stylegan2", network__generator=widths, network__critic={**widths, "std_group": group},
        training__batch=batch,
    )  # fmt: skip
    data = Dataset("noise", IMAGES, (1, 8, 8), "")
    watched = Monitor(p, data, data)
    assert watched.part == batch
    assert len(watched.z) == 128 // unit * unit
    assert "accuracy_train" in watched.measure(p)


def test_near_latents_are_drawn_with_what_their_fakes_were_drawn_with() -> None:
    """Beside a fake with another latent mixed in, that of its own latent is no near one."""
    networks = {"channels": 4, "max_channels": 8}
    p = players(
        network__name="style", network__generator={**networks, "style_mixing": 1.0}, network__critic=networks,
        objective__terms=[{"name": "zcr", "options": {"sigma": 0.0}}],
    )  # fmt: skip
    for layer in p.generator.layers:  # type: ignore[union-attr]
        layer.strength.data.fill_(1.0)  # type: ignore[union-attr, operator]
    found: list[float] = []

    def heard(part: Any) -> Callable[[StepView], Tensor]:
        def told(view: StepView) -> Tensor:
            value: Tensor = part(view)
            found.append(float(value.detach()))
            return value

        return told

    (zcr,) = p.terms
    term = replace(zcr.term, generator=heard(zcr.term.generator), critic=heard(zcr.term.critic))
    p.terms = [replace(zcr, term=term)]
    p.step(stream(), 0.0)
    assert found == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("statistics", [False, True])
def test_a_growing_pair_follows_the_images_seen(statistics: bool) -> None:
    """Averaged statistics are those of norms: an average of levels drew smaller pictures than there were."""
    made = replace_at(presets.get("small"), "network.name", "progressive")
    schedule = {"channels": 4, "stable_kimg": 0.008, "fade_kimg": 0.016}
    for path, value in {
        "network.generator": schedule, "network.critic": {"channels": 4}, "training.batch": 8, "training.precision": "fp32",
        "training.ema_statistics": statistics, "training.ema_rampup": None, "training.ema_also_kimg": [5.0],
    }.items():  # fmt: skip
        made = replace_at(made, path, value)
    p = gan(made, (1, 8, 8), 0, torch.device("cpu"))
    levels = []
    for _ in range(5):
        p.step(stream(), 0.0)
        levels.append(float(p.average.level))  # type: ignore[arg-type]
        for other in (p.critic, p.average, p.networks["generator-ema5"]):
            assert torch.equal(other.level, p.generator.level)  # type: ignore[arg-type]
    assert levels == pytest.approx([0, 0, 0.5, 1, 1])


def test_pseudo_augmentation_keeps_every_fake_under_its_own_label() -> None:
    seen: list[Tensor] = []
    p = players(network__conditional=True, augment__pseudo=True, augment__p=1.0)
    original = p.judge
    p.judge = lambda x, labels: (seen.append(x.detach()), original(x, labels))[1]  # type: ignore[func-returns-value]
    p.penalties = []
    p.step(stream(), 0.0)
    assert torch.equal(seen[0], seen[1]), "the labels of the batch are those that the fakes were drawn for"


LENGTHS = {"uniform": (lambda z: z.abs().max(), 1.0), "sphere": (lambda z: z.norm(dim=1).max(), 6**0.5)}


@pytest.mark.parametrize("prior", list(LENGTHS))
def test_all_of_training_draws_from_the_prior(prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the generator sees in a step, in the monitor's probe and in the duality gap: never a plain normal z."""
    monkeypatch.setattr(GeneratorBase, "prior", prior)
    p = style_players(
        **{"objective.terms": [{"name": "path-length", "weight": 1.0}], "network.generator.style_mixing": 1.0}
    )
    seen: list[Tensor] = []
    generator: Any = p.generator
    mapping = generator.mapping
    generator.mapping = lambda z, labels=None: (seen.append(z), mapping(z, labels))[1]
    p.step(stream(), 0.0)
    assert len(seen) == 3, "z, the latents mixed in, and those of the path lengths"
    data = Dataset("noise", IMAGES, (1, 8, 8), "")
    seen.append(Monitor(p, data, data).z)
    duality_gap(p, data, 1)
    assert len(seen) > 6
    length, expected = LENGTHS[prior]
    for z in seen:
        assert float(length(z)) <= expected + 1e-4
        if prior == "sphere":
            torch.testing.assert_close(z.norm(dim=1), torch.full((len(z),), expected))
        else:
            assert float(length(z)) > 0.5


def test_what_a_term_remembers_is_part_of_the_state() -> None:
    """LeCam's running means after one step are a hundredth of the mean logits; a game without such a term keeps no more."""
    p = players(objective__terms=[{"name": "lecam"}])
    p.step(stream(), 0.0)
    kept = p.networks["terms"].state_dict()
    figures = p.engine.read_figures()
    assert float(kept["lecam.real"]) == pytest.approx(0.01 * figures["real_logits"], rel=1e-4)
    assert float(kept["lecam.fake"]) == pytest.approx(0.01 * figures["fake_logits"], rel=1e-4)
    assert "terms" not in players().networks


def test_averages_of_other_lengths_are_kept_beside() -> None:
    """After one step of 8 images from equal weights each has gone 1 - 2^(-8 / half-life) of the way of the live ones."""
    p = players(training__ema_kimg=0.008, training__ema_also_kimg=[0.004, 0.016], training__ema_rampup=None)
    before = [q.detach().clone() for q in p.generator.parameters()]
    p.step(stream(), 0.0)
    assert list(p.exports()) == ["generator", "critic", "generator-ema0.004", "generator-ema0.016"]
    for name, share in (
        ("generator", 0.5), ("generator-ema0.004", 0.75), ("generator-ema0.016", 1 - 0.5**0.5),
    ):  # fmt: skip
        average = p.exports()[name]
        for old, new, live in zip(before, average.parameters(), p.generator.parameters(), strict=True):
            torch.testing.assert_close(new, old + share * (live - old), atol=1e-6, rtol=1e-5)
    for wrong in ([0.0], [2.0, 2.0]):
        with pytest.raises(GanvasError, match="different lengths above 0"):
            validate(config(training__ema_also_kimg=wrong))
