"""TimeGAN's three phases: who learns what when, that it is learned, and that the model is one of series like any other."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.config import Config, replace_at
from ganvas.data import Batches, Dataset
from ganvas.errors import GanvasError
from ganvas.presets import presets
from ganvas.training.method import DataSpec, build_method
from ganvas.training.timegan import TimeGan, moments_apart

CPU = torch.device("cpu")


def config(**changes: Any) -> Config:
    made = presets.get("timegan")
    for path, value in {
        "network.latent_dim": 16, "network.generator.channels": 8, "network.critic.channels": 8, "training.batch": 16,
        "training.device": "cpu", "training.precision": "fp32", "training.ema_kimg": 0.0, **changes,
    }.items():  # fmt: skip
        made = replace_at(made, path, value)
    return made


def flips(count: int = 64) -> Dataset:
    """Series whose every step is the one before with the other sign, of their own height; and what never changes in them."""
    heights = torch.rand(count, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.3
    x = heights * (-1.0) ** torch.arange(8)
    return Dataset("flips", torch.cat([x, heights.expand(-1, -1, 8)], 1), (2, 8), "flips")


LAYOUT = {"network.generator.layout": "n / n", "network.critic.layout": "n / n"}


class Trained:
    """A method on the flips, step by step."""

    def __init__(self, **changes: Any) -> None:
        found = build_method(config(**LAYOUT, **changes), DataSpec((2, 8)), CPU)
        assert isinstance(found, TimeGan)
        self.method, self.batches = found, iter(Batches(flips(), 16, 0, CPU))

    def steps(self, progress: float, count: int = 1) -> dict[str, float]:
        for _ in range(count):
            self.method.engine.read_figures()
            self.method.step(lambda name: next(self.batches), progress)
        return self.method.engine.read_figures()

    def weights(self) -> dict[str, Tensor]:
        m = self.method
        parts = {
            "embedder": m.critic.embedder, "judge": m.critic.judge, "recovery": m.generator.recovery,
            "maker": m.generator.maker, "supervisor": m.generator.supervisor,
        }  # fmt: skip
        return {
            name: torch.cat([p.detach().flatten() for p in part.parameters()]) for name, part in parts.items()
        }

    def moved(self, progress: float) -> set[str]:
        """Which networks the next step moves."""
        before = self.weights()
        self.steps(progress)
        return {name for name, now in self.weights().items() if not torch.equal(now, before[name])}


def test_each_phase_has_its_share_of_the_budget_and_its_networks() -> None:
    """And a run that goes on with a longer budget, of which it has used less, stays where it is."""
    run = Trained(**{"method.options": {"embedding": 0.25, "supervised": 0.25}})
    assert run.moved(0.0) == run.moved(0.24) == {"embedder", "recovery"}
    probe = run.method.probe()
    assert probe is not None
    assert not probe.begun, "nothing has learned to draw"
    assert run.moved(0.26) == run.moved(0.1) == {"supervisor"}
    left = [p.grad for p in run.method.critic.embedder.parameters()]
    assert all(each is None for each in left), "a run that is resumed here has none, and its figures say so"
    others = {"embedder", "recovery", "maker", "supervisor"}
    assert run.moved(0.5) == {*others, "judge"}, "the game begins with the critic"
    assert [run.moved(0.0) for _ in range(2)] in ([others, {*others, "judge"}], [{*others, "judge"}, others])
    probe = run.method.probe()
    assert probe is not None
    assert probe.begun


def test_latents_hold_the_series_and_the_supervisor_knows_what_comes_next() -> None:
    """Where each step is the reverse of the last one, to expect what was there is as wrong as can be."""
    run = Trained(**{"optimizer.lr_generator": 5e-3})
    x = flips().take(torch.arange(64))[0]
    error = run.steps(0.0, 150)["loss_reconstruction"]
    assert error < 0.25 * float((x - x.mean((0, 2), keepdim=True)).square().mean().sqrt())
    with torch.no_grad():
        h = run.method.critic.embedder(x)[:, 1:]
    same = float((h[:, 1:] - h[:, :-1]).square().mean().sqrt())
    assert run.steps(0.15, 100)["loss_supervised"] < 0.25 * same


def test_figures_of_the_critic_are_those_of_its_own_steps() -> None:
    """A critic that knows nothing has a loss of 2 log 2: with the steps between its own counted as 0 it was half of that."""
    options = {"embedding": 0.0, "supervised": 0.0}
    run = Trained(**{"method.options": options, "optimizer.lr_critic": 0.0})
    run.method.critic.judge.last.weight.data.zero_()
    once = run.method.critic.judge.once
    assert once is not None
    once[-1].weight.data.zero_()
    run.steps(0.0)  # the first step is the critic's, wherever it falls
    for _ in range(4):
        run.method.step(lambda name: next(run.batches), 0.0)
    assert run.method.engine.read_figures()["loss_critic"] == pytest.approx(2 * math.log(2), abs=1e-5)


def test_each_weight_teaches_the_networks_that_it_is_for() -> None:
    """One step of the game with a weight and one without it: which networks end elsewhere."""

    def after(**weights: float) -> dict[str, Tensor]:
        start = {"embedding": 0.0, "supervised": 0.0, "moments": 0.0, "eta": 0.0, "lambda": 0.0}
        run = Trained(**{"method.options": start | weights})
        run.steps(0.0)
        return run.weights()

    plain = after()
    for name, taught in (
        ("moments", {"maker", "supervisor"}), ("eta", {"supervisor"}), ("lambda", {"embedder"})
    ):  # fmt: skip
        assert {
            part for part, w in after(**{name: 10.0}).items() if not torch.equal(w, plain[part])
        } == taught


def test_moments_are_means_and_deviations_of_each_channel_at_each_step() -> None:
    real = torch.randn(400, 2, 3, generator=torch.Generator().manual_seed(0))
    real = (real - real.mean(0)) / real.std(0, correction=0)
    assert float(moments_apart(real.flip(0), real)) < 1e-3
    assert float(moments_apart(real + torch.tensor([0.0, 0.5])[:, None], real)) == pytest.approx(
        0.25, abs=1e-3
    )
    assert float(moments_apart(real * torch.tensor([1.0, 1.0, 4.0]), real)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method.options": {"supervized": 0.1}}, "Did you mean 'supervised'"),
        ({"method.options": {"embedding": 0.9}}, "shares of the budget, 1 in all"),
        ({"method.options": {"eta": -1.0}}, "at least 0"),
        ({"network.conditional": True}, "--conditional is not for method timegan"),
        ({"objective.critic_steps": 2}, "critic_steps above 1 is not for method timegan"),
        ({"objective.penalties": [{"name": "clip"}]}, "--penalty r1 or none"),
        ({"network.name": "recurrent"}, "--network timegan"),
    ],
)
def test_what_it_does_not_know_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        TimeGan.check(config(**changes), DataSpec((2, 8)))
    with pytest.raises(GanvasError, match="is for series, and the data holds images"):
        TimeGan.check(config(), DataSpec((1, 8, 8)))


def test_series_with_ends_gaps_and_attributes_are_drawn_like_any_others(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 7, 2)).cumsum(1)
    values[::5, 2, 1] = np.nan
    np.savez(
        tmp_path / "x.npz",
        series=values,
        lengths=random.integers(4, 8, 60),
        static=random.normal(size=(60, 1)),
    )
    run = ganvas.train(
        str(tmp_path / "x.npz"), method="timegan", kimg=0.128, batch=16, out=tmp_path, quiet=True, report=False, device="cpu",
        settings={"network.generator.channels": 8, "network.critic.channels": 8, "training.monitor_kimg": 0.032},
    ).run  # fmt: skip
    stats = run.stats()
    assert any("logits_train" in record for record in stats), "the monitor watches the game"
    model = ganvas.load(run.path, device="cpu")
    assert model.critic is not None
    drawn = model.series(8, length=12)
    assert (drawn.values.shape, drawn.static.shape) == ((8, 12, 2), (8, 1))
    again = ganvas.train(resume=run.path, kimg=0.16, quiet=True, report=False)
    assert (again.stopped, again.kimg) == ("budget", 0.16)


def test_every_phase_runs_in_half_precision() -> None:
    found = Trained(**{"training.precision": "bf16"})
    for progress in (0.0, 0.15, 0.5):
        assert found.steps(progress, 2)["bad_step"] == -1
    assert found.method.phase == 2
    assert next(found.method.generator.parameters()).dtype == torch.float32
