"""Private training: the clipping, the noise, the account, and everything that would break the guarantee."""

import json
import math
import secrets
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import ganvas
from ganvas import io, losses
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.export import hub
from ganvas.losses import auxiliary
from ganvas.model_data import unseen
from ganvas.networks.dcgan import DcganCritic
from ganvas.privacy import account, attack
from ganvas.report import write_report
from ganvas.training import Result, private
from ganvas.training.method import DataSpec, build_method, evaluating
from ganvas.training.private import SECRET, secret_generator
from ganvas.types import Guarantee

QUICK = {
    "network.latent_dim": 8, "network.generator.channels": 4, "network.critic.channels": 4,
    "training.monitor_kimg": 0, "training.log_kimg": 0.128, "training.snapshot_kimg": 0.256,
}  # fmt: skip


def train(tmp_path: Any, **changes: Any) -> Result:
    settings = {**QUICK, **changes.pop("settings", {})}
    usual: dict[str, Any] = {
        "private": True, "kimg": 0.512, "batch": 64, "seed": 1, "device": "cpu", "quiet": True, "report": False,
    }  # fmt: skip
    return ganvas.train("digits", out=tmp_path, settings=settings, **{**usual, **changes})


@pytest.mark.parametrize("loss", ["non-saturating", "hinge", "wasserstein", "least-squares"])
@pytest.mark.parametrize("clip", [0.05, 1e9])
def test_gradients_are_clipped_one_by_one(loss: str, clip: float) -> None:
    """As a loop over samples gives them."""
    torch.manual_seed(0)
    critic = DcganCritic(
        (1, 8, 8), num_classes=3, channels=4, minibatch_std=False, label_maps=True, templates=True
    )
    x, labels, real = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6) < 3
    found, (_, logits) = private.clipped(critic, losses.losses.get(loss), x, labels, real, clip)
    wanted = {name: torch.zeros_like(p) for name, p in critic.named_parameters()}
    formula = {
        "non-saturating": lambda logit, real: F.softplus(-logit if real else logit),
        "hinge": lambda logit, real: F.relu(1 - logit if real else 1 + logit),
        "wasserstein": lambda logit, real: -logit if real else logit,
        "least-squares": lambda logit, real: 0.5 * (logit - float(real)) ** 2,
    }[loss]
    for i in range(6):
        critic.zero_grad()
        logit = critic(x[i : i + 1], labels[i : i + 1]).squeeze()
        assert logits[i] == pytest.approx(float(logit.detach()), abs=1e-5)
        formula(logit, bool(real[i])).backward()
        length = sum(float(p.grad.square().sum()) for p in critic.parameters()) ** 0.5
        for name, p in critic.named_parameters():
            wanted[name] += p.grad * min(1.0, clip / max(length, 1e-12))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-6)


def method_of(sigma: float = 2.0, **settings: Any) -> private.PrivateGan:
    config, _ = ganvas.training.plan(
        "digits", private=True, batch=64, device="cpu", precision="fp32",
        settings={**QUICK, "method.options": {"noise": sigma, "clip": 0.5}, **settings},
    )  # fmt: skip
    made = build_method(config, DataSpec((1, 8, 8), 0, 1617), torch.device("cpu"))
    assert isinstance(made, private.PrivateGan)
    return made


def test_the_noise_has_its_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without samples the critic's gradient is noise of sigma x clip / batch, laid out like the weight it belongs to."""
    made = method_of()
    seen: list[torch.Tensor] = []

    def look() -> None:
        for p in made.critic.parameters():
            assert p.grad.stride() == p.stride()
            seen.append(p.grad.flatten().clone())

    monkeypatch.setattr(made.optimizer_critic, "step", look)
    nothing = torch.empty(0, 1, 8, 8)
    monkeypatch.setattr(private, "clipped", lambda critic, *_: (
        {name: torch.zeros_like(p) for name, p in critic.named_parameters()}, (torch.zeros(64), torch.zeros(64))
    ))  # fmt: skip
    for _ in range(100):
        made._private_step(nothing, None, torch.zeros(64, 1, 8, 8), None)
    noise = torch.cat(seen)
    assert len(noise) > 5_000
    assert float(noise.std()) == pytest.approx(2.0 * 0.5 / 64, rel=0.03)
    assert abs(float(noise.mean())) < 4 * float(noise.std()) / len(noise) ** 0.5
    assert not torch.equal(seen[0], seen[len(seen) // 2])


@pytest.mark.parametrize("terms", [[], [{"name": "mode-seeking"}], [{"name": "top-k"}]])
def test_terms_that_look_at_fakes_alone_teach_the_generator(terms: list[dict[str, str]]) -> None:
    """A critic that takes all for the same teaches nothing: what moves the generator is the term."""
    made = method_of(**{"objective.terms": terms})
    for p in made.critic.parameters():
        p.data.zero_()
    z = torch.randn(64, made.generator.latent_dim, generator=torch.Generator().manual_seed(0))

    def apart() -> float:
        with evaluating(made.generator), torch.no_grad():
            return float(auxiliary.mode_seeking(made.generator(z), z))

    before, weights = apart(), [p.clone() for p in made.generator.parameters()]
    made.prepare(0.0)
    for _ in range(5):
        made._move(3)
    if terms and terms[0]["name"] == "mode-seeking":
        assert apart() < before
    else:
        assert all(map(torch.equal, weights, made.generator.parameters()))


@pytest.mark.parametrize("part", ["generator", "latents"])
@pytest.mark.parametrize("name", ["real", "on_real"])
def test_a_term_that_asks_for_real_samples_is_refused(
    part: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an extension need not say so; fakes in their place would make it teach nothing, without a word."""

    def look(view: losses.StepView, *_: Any) -> torch.Tensor:
        real = getattr(view, name)
        return view.z if part == "latents" else view.z.sum() if real is None else real.mean()

    term = losses.Term(**{part: look})  # type: ignore[arg-type]
    monkeypatch.setitem(losses.terms._entries, "looking", term)
    made = method_of(**{"objective.terms": [{"name": "looking"}]})
    made.prepare(0.0)
    with pytest.raises(GanvasError, match="looks at real samples"):
        made._move(3)


def test_processes_with_other_numbers_of_samples_go_on_with_the_same_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of them share batches of 33 samples: noise of their own would be less by the root of two."""
    made = method_of()
    start = made.account.random.clone()
    monkeypatch.setattr(private.dist, "world_size", lambda: 2)
    ends, chances = [], []
    for rank in range(2):
        monkeypatch.setattr(private.dist, "rank", lambda rank=rank: rank)
        made.account.generator.set_state(start)
        chances.append(made._chances(torch.zeros(17 - rank, 1, 8, 8)))
        ends.append(made.account.generator.get_state())
    assert torch.equal(*ends)
    assert [each.shape for each in chances] == [(17, 1, 1, 1), (16, 1, 1, 1)]
    assert not torch.equal(chances[0][:16], chances[1]), "each sample has a number of its own"


def test_a_loader_that_reads_ahead_leaves_the_noise_as_it_is() -> None:
    """On machines with other numbers of processors loaders read further ahead; the noise of all must be the same."""
    made = method_of()
    before = made.account.random.clone()
    positions = made.positions(1617)
    assert not torch.equal(next(positions), next(positions))
    assert torch.equal(made.account.random, before)
    assert torch.equal(made.account.generator.get_state(), before)


@pytest.mark.parametrize(("share", "found"), [(1.0, False), (0.4, True)])
def test_a_canary_is_hidden_as_epsilon_says(
    share: float, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees the noisy gradient, knows the canary and asks whether it was in the step.

    Hits are at most e^epsilon times the false alarms and delta, and so are misses by correct rejections (Wasserman and Zhou 2010,
    theorem 2.4): the area under that curve is 1 - (1 - delta)^2 / (1 + e^epsilon). With less noise than is paid for it is more.
    """
    made, delta = method_of(sigma=1.0), 0.1
    bound = 1 - (1 - delta) ** 2 / (1 + math.exp(account.epsilon(1.0, 1.0, 1, delta)))
    made.sigma *= share
    made.account.generator.manual_seed(0)
    canary, fakes = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    direction, _ = private.clipped(made.critic, made.loss, canary, None, torch.tensor([True]), made.clip)
    scores: list[float] = []

    def look() -> None:
        parts = (float((p.grad * direction[name]).sum()) for name, p in made.critic.named_parameters())
        scores.append(sum(parts))

    monkeypatch.setattr(made.optimizer_critic, "step", look)
    for real in (canary, canary[:0]):
        for _ in range(150):
            made._private_step(real, None, fakes, None)
    auc = attack(scores[:150], scores[150:]).auc
    assert auc.low > 0.6, "the attack is a good one"
    assert (auc.low > bound) if found else (auc.high < bound), (auc, bound)


def test_the_noise_cannot_be_found_by_trying_seeds() -> None:
    """torch takes 32 bits of a seed on the CPU: with a released critic and its first weights all of them could be tried."""
    cpu = torch.device("cpu")
    secret = bytes(range(256)) * 10
    one = secret[:SECRET]

    def draw(given: bytes) -> torch.Tensor:
        return torch.randn(20_000, generator=secret_generator(given, cpu))

    first = draw(one)
    assert first.equal(draw(one)), "the same in all processes"
    # In the lower 32 bits of the seed, above them, and anywhere in the rest.
    for place in (3, 7, 12, 100, SECRET - 1):
        other = draw(one[:place] + bytes([one[place] ^ 1]) + one[place + 1 :])
        assert other.equal(first) == (place < 8), "what counts is the whole state"
    assert not draw(one[:8] + secrets.token_bytes(SECRET - 8)).equal(first)
    found = secret_generator(one, cpu).get_state().view(torch.int64)[3:627]
    assert found.tolist() == [int.from_bytes(one[i : i + 4], "little") for i in range(8, SECRET, 4)]
    fresh = draw(secrets.token_bytes(SECRET))
    assert abs(float(fresh.mean())) < 0.05
    assert float(fresh.std()) == pytest.approx(1, abs=0.05)


def test_every_sample_has_the_same_chance() -> None:
    """Batches differ in size, as the account of sampled steps wants it: mean N q, variance N q (1 - q)."""
    positions = method_of().positions(1617)
    drawn = [next(positions) for _ in range(400)]
    counts = torch.tensor([float(len(each)) for each in drawn])
    assert float(counts.mean()) == pytest.approx(64, abs=4 * (64 * 0.96 / 400) ** 0.5)
    assert float(counts.var()) == pytest.approx(64 * (1 - 64 / 1617), rel=0.3)
    assert all(len(each.unique()) == len(each) for each in drawn)
    assert len(torch.cat(drawn).unique()) == 1617


def test_a_chance_below_single_precision_is_kept() -> None:
    """A draw of 24 bits is below any rate, however small, once in 2^24 times: four of these 2^26."""
    made = method_of()
    made.rate = 2.0**-40
    made.account.generator.manual_seed(0)
    made.account.keep()
    positions = made.positions(2**22)
    assert sum(len(next(positions)) for _ in range(16)) == 0


def test_it_trains_and_says_what_it_spent(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, epsilon=3.0, conditional=True).run
    last = run.stats()[-1]
    rate, noise = 64 / 1617, account.noise_for(3.0, 64 / 1617, 8, 1e-5)
    assert last["epsilon"] == pytest.approx(account.epsilon(noise, rate, 8, 1e-5), abs=1e-4)
    assert 2.9 < last["epsilon"] <= 3.0
    assert f"It has spent epsilon {last['epsilon']:.3g} of 3." in (run.path / "log.txt").read_text()
    assert "Trained in private: epsilon 3 at delta 1e-05." in write_report(run).read_text()
    (run.path / "stats.jsonl").write_text(json.dumps({**last, "epsilon": 1.0}) + "\n")
    ganvas.train(resume=run.path, device="cpu", quiet=True, report=False)
    said = [line for line in (run.path / "log.txt").read_text().splitlines() if "It has spent" in line]
    assert said[-1].endswith("epsilon 3 of 3."), "a resumed run drops lines past its state"
    header = io.read_header(run.snapshots[-1] / "generator.safetensors")
    assert header["privacy"] == {"epsilon": pytest.approx(last["epsilon"], abs=1e-4), "delta": 1e-5}
    content = (run.snapshots[-1] / "generator.safetensors").read_bytes()
    assert run.info["data"]["fingerprint"].encode() not in content, (
        "whoever knows all samples but one finds that"
    )
    assert unseen(ganvas.load(run.path, device="cpu"), "digits")[1] is True
    tensors = io.load_tensors(run.snapshots[-1] / "critic.safetensors")[0]
    assert not any("random" in name or "account" in name for name in tensors), "the secret stays in the state"
    model = ganvas.load(run.path, device="cpu")
    assert model.sample(4, labels=[1]).shape == (4, 1, 8, 8)
    assert model.info.privacy == Guarantee(**header["privacy"])
    model.save(tmp_path / "kept.safetensors")
    assert ganvas.load(tmp_path / "kept.safetensors", device="cpu").info == model.info
    said = str(model.info.privacy)
    assert said.startswith(("epsilon 3 at", "epsilon 2.9"))
    assert said in repr(model)
    assert f"Trained with a guarantee: {said}" in hub.card(model, [], None, None)
    capsys.readouterr()
    assert main(["info", str(run.path)]) == 0
    assert said in capsys.readouterr().out


def test_averages_of_other_lengths_move_too() -> None:
    made = method_of(**{"training.ema_also_kimg": [0.01]})
    ((_, average),) = made.averages.values()
    before = [p.clone() for p in average.parameters()]
    made.prepare(0.0)
    made._move(3)
    assert any(not torch.equal(old, new) for old, new in zip(before, average.parameters(), strict=True))


def test_it_ends_where_the_guarantee_does(tmp_path: Any) -> None:
    result = train(
        tmp_path, kimg=100.0, epsilon=2.0, settings={"method.options": {"noise": 1.0, "epsilon": 2.0}}
    )
    steps = account.steps_within(2.0, 1.0, 64 / 1617, 1e-5)
    assert result.kimg == pytest.approx(steps * 0.064)
    assert result.run.stats()[-1]["epsilon"] <= 2.0


def test_a_resumed_run_keeps_the_account(tmp_path: Any) -> None:
    """Half of the steps are half of the steps, whoever makes them."""
    options = {"noise": 3.0, "epsilon": 50.0}
    whole = train(tmp_path / "a", settings={"method.options": options})
    half = train(tmp_path / "b", kimg=0.256, settings={"method.options": options})
    spent = half.run.stats()[-1]["epsilon"]
    assert 0 < spent < whole.run.stats()[-1]["epsilon"]
    ganvas.train(resume=half.run.path, kimg=0.512, device="cpu", quiet=True, report=False)
    assert half.run.stats()[-1]["epsilon"] == whole.run.stats()[-1]["epsilon"]
    state = io.load_tensors(half.run.state_path)[0]
    assert int(state["account.steps"]) == 8
    weights = [io.load_tensors(each.run.snapshots[-1] / "critic.safetensors")[0] for each in (whole, half)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0]), (
        "seeds do not give the noise away"
    )


def test_a_snapshot_that_the_state_is_older_than_stays_paid_for(tmp_path: Any) -> None:
    """A kill between the two: the steps are made again with other noise, and what is out of the first ones is out."""
    options = {"noise": 3.0, "epsilon": 50.0}
    run = train(tmp_path, kimg=0.256, settings={"method.options": options}).run
    before = run.state_path.read_bytes()
    ganvas.train(resume=run.path, kimg=0.512, device="cpu", quiet=True, report=False)
    run.state_path.write_bytes(before)
    (run.snapshots[-1] / "critic.safetensors").write_bytes(b"damaged")
    ganvas.train(resume=run.path, kimg=0.512, device="cpu", quiet=True, report=False)
    spent = io.read_header(run.snapshots[-1] / "critic.safetensors")["privacy"]["epsilon"]
    assert spent == account.epsilon(3.0, 64 / 1617, 4 + 4 + 4, 1e-5)


def test_another_budget_leaves_the_noise_of_the_steps_made(tmp_path: Any) -> None:
    """Noise chosen anew for a longer budget would make what was spent look like less."""
    run = train(tmp_path, kimg=0.128, epsilon=3.0).run
    spent = run.stats()[-1]["epsilon"]
    rate = 64 / 1617
    noise = account.noise_for(3.0, rate, 2, 1e-5)
    assert run.config.method.options["noise"] == noise
    again = ganvas.train(resume=run.path, kimg=20.0, device="cpu", quiet=True, report=False)
    assert again.kimg == pytest.approx(0.064 * account.steps_within(3.0, noise, rate, 1e-5))
    found = [line["epsilon"] for line in run.stats()]
    assert found == sorted(found)
    assert spent <= found[-1] <= 3.0
    assert "start a new run" in (run.path / "log.txt").read_text()


def test_a_run_whose_noise_follows_from_its_budget_keeps_that(tmp_path: Any) -> None:
    """Runs from before the noise was written into them; and whoever edits the budget of one."""
    run = train(tmp_path, kimg=0.256, settings={"method.options": {"noise": 3.0}}).run
    config = io.read_json(run.config_path)
    config["config"]["method"]["options"] = {}
    io.write_json(run.config_path, config)
    tensors, header = io.load_tensors(run.state_path)
    header["config"]["method"]["options"] = {}
    io.save_tensors(run.state_path, tensors, header)
    with pytest.raises(GanvasError, match="chosen for its budget"):
        ganvas.train(resume=run.path, kimg=20.0, device="cpu", quiet=True)
    config["config"]["training"]["kimg"] = 20.0
    io.write_json(run.config_path, config)
    with pytest.raises(GanvasError, match="other settings"):
        ganvas.train(resume=run.path, device="cpu", quiet=True)


def test_copies_of_a_run_go_on_with_noise_of_their_own() -> None:
    """With the same noise and other schedules the difference of two copies would show the data without any."""
    spent = method_of().account.state_dict()
    copies = [method_of().account for _ in range(2)]
    noise = []
    for each in copies:
        each.load_state_dict(spent)
        each.take_up()
        noise.append(torch.randn(8, generator=each.generator))
    assert not torch.equal(*noise)


def test_series_are_refused(tmp_path: Any) -> None:
    """Their schema holds the least and largest number of each column, without noise."""
    with pytest.raises(GanvasError, match="how series are scaled"):
        ganvas.train("goog", private=True, kimg=0.1, batch=16, delta=1e-4, network="recurrent", out=tmp_path / "runs",
                     settings={"network.critic.minibatch_std": False}, quiet=True)  # fmt: skip
    assert not (tmp_path / "runs").exists()


def test_an_account_that_no_training_has_kept_is_refused(tmp_path: Any) -> None:
    run = train(tmp_path, kimg=0.128).run
    tensors, header = io.load_tensors(run.state_path)
    for name, value in (
        ("steps", torch.tensor(-5)),
        ("steps", torch.tensor(2**63 - 1)),
        ("waited", torch.tensor(-5)),
        ("waited", torch.tensor(2**63 - 1)),
        ("ahead", torch.tensor(float("nan"), dtype=torch.float64)),
    ):
        io.save_tensors(run.state_path, {**tensors, f"account.{name}": value}, header)
        with pytest.raises(GanvasError, match="does not fit"):
            ganvas.train(resume=run.path, device="cpu", quiet=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"penalty": ("r1",)}, "penalty r1"),
        ({"penalty": ("wgan-gp",)}, "penalty wgan-gp"),
        ({"augment": ("ada",)}, "augmentation"),
        ({"augment": ("apa",)}, "augmentation"),
        ({"term": ("feature-matching",)}, "real samples"),
        ({"penalty": ("clip",)}, "penalty clip"),
        ({"term": ("zcr",)}, "real samples"),
        ({"settings": {"objective.terms": [{"name": "mode-seeking", "interval": 2}]}}, "needs interval 1"),
        ({"settings": {"network.critic.codes": 2}}, "term codes"),
        ({"settings": {"network.critic.auxiliary": True}, "conditional": True}, "term auxiliary"),
        ({"settings": {"training.freeze_critic": 1}}, "training.freeze_critic"),
        ({"settings": {"method.options": {"noise": 1e300}}}, "at most 1e+06"),
        ({"settings": {"method.options": {"clip": 1e300}}}, "at most 1e+06"),
        ({"settings": {"method.options": {"chunk": True}}}, "whole number"),
        ({"loss": "relativistic"}, "compares real samples with fakes"),
        ({"loss": "wasserstein", "settings": {"method.options": {"ahead": 0.6}}}, "method.options.ahead"),
        ({"balance": True, "conditional": True}, "--balance"),
        ({"eval_kimg": 0.256}, "--eval-kimg"),
        ({"on_collapse": "rollback"}, "--on-collapse"),
        ({"settings": {"network.pack": 2}}, "network.pack"),
        ({"settings": {"network.critic.minibatch_std": True}}, "minibatch std"),
        ({"settings": {"network.critic.spectral_norm": True}}, "spectral norm"),
        ({"settings": {"objective.critic_steps": 2}}, "critic_steps"),
        ({"settings": {"objective.instance_noise": 0.1}}, "instance_noise"),
        ({"settings": {"training.duality_steps": 5}}, "duality_steps"),
        ({"settings": {"data.select": 0.5}}, "data.select"),
        ({"settings": {"training.freeze_critic": 1}}, "freeze_critic"),
        ({"settings": {"method.options": {"sigma": 1.0}}}, "no option 'sigma'"),
        ({"delta": 0.01}, "delta"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"preset": "small"}, "Private training cannot have"),
        ({"preset": "vae"}, "--private is for games"),
        ({"network": "sngan-like", "preset": "small"}, "sngan-like"),
        ({"network": "resnet", "settings": {"training.monitor_kimg": 0}}, "Private training cannot have"),
        ({"network": "style", "settings": {"training.monitor_kimg": 0}}, "minibatch std"),
        ({"settings": {"method.options": {"noise": 0.2, "epsilon": 0.1}}}, "One step with noise"),
    ],
)  # fmt: skip
def test_what_breaks_the_guarantee_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the noise that lasts is looked for, which takes a second."""
    monkeypatch.setattr(account, "noise_for", lambda *_: pytest.fail("refused too late"))
    with pytest.raises(GanvasError) as caught:
        train(tmp_path / "runs", **changes)
    assert words in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_epsilon_belongs_to_private_training(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--epsilon", "1", "--kimg", "0.1", "--out", str(tmp_path)]) == 2
    assert "Add --private" in capsys.readouterr().err
    assert main(["train", "digits", "--private", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"]["name"] == "private"


def test_a_critic_that_compares_samples_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is made of: its verdict on a sample changes with those beside it."""

    class Comparing(DcganCritic):
        def score(self, features: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            return super().score(features - features.mean(0), labels)

    normed = DcganCritic((1, 16, 16), channels=4, minibatch_std=False, norm="batch")
    with pytest.raises(GanvasError, match="batch norm"):
        private.check_alone(normed, DataSpec((1, 16, 16)))
    critic = Comparing((1, 8, 8), channels=4, minibatch_std=False)
    with pytest.raises(GanvasError, match="changes with those beside it"):
        private.check_alone(critic, DataSpec((1, 8, 8)))


def test_without_opacus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [each for each in sys.modules if each.split(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    account._of_one_step.cache_clear()
    with pytest.raises(GanvasError, match="pip install"):
        account.epsilon(1.0, 0.1, 1, 1e-5)


@pytest.mark.parametrize("loss", ["wasserstein", "hinge"])
def test_a_critic_without_a_middle_is_not_said_to_be_ahead(loss: str) -> None:
    """A share of logits below 0 was, which of differences alone says nothing."""
    made = method_of(**{"objective.loss": loss})
    figures = made.play([(torch.zeros(8, 1, 8, 8), None)])
    assert ("critic_ahead" in figures) == (loss == "hinge")
