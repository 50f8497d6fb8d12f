"""The duality gap on a game whose answer is known."""

import torch

import ganvas
from ganvas.config import replace_at
from ganvas.presets import presets
from ganvas.training.duality import duality_gap
from ganvas.training.gan import GanMethod
from tests.training.games import gan


def players() -> GanMethod:
    made = presets.get("toy")
    for path, value in {
        "training.precision": "fp32", "training.device": "cpu", "network.generator.hidden": [32], "network.critic.hidden": [32],
    }.items():  # fmt: skip
        made = replace_at(made, path, value)
    return gan(made, (2,), 8, torch.device("cpu"))


def test_it_is_smaller_where_the_players_are_nearer_to_the_solution_and_leaves_no_trace() -> None:
    data = ganvas.load_dataset("toy:ring8")
    p = players()
    before = {
        key: value.clone()
        for key, value in (*p.generator.state_dict().items(), *p.critic.state_dict().items())
    }
    untrained = duality_gap(p, data, 60)
    after = {**p.generator.state_dict(), **p.critic.state_dict()}
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert duality_gap(p, data, 60) == untrained, "its random numbers are its own"
    batches = torch.Generator().manual_seed(0)
    for _ in range(400):
        p.step(
            lambda _: data.take(torch.randint(len(data), (p.config.training.batch,), generator=batches)), 0.5
        )
    trained = duality_gap(p, data, 60)
    assert 0 <= trained < 0.7 * untrained


def test_a_conditional_critic_compares_samples_of_one_class_as_in_training() -> None:
    """Batches of a training have their classes side by side, whose spread the critic's minibatch std compares."""
    made = replace_at(presets.get("small"), "network.conditional", True)
    for path, value in {"network.generator.channels": 4, "network.critic.channels": 4}.items():
        made = replace_at(made, path, value)
    p = gan(replace_at(made, "training.precision", "fp32"), (1, 8, 8), 10, torch.device("cpu"))
    seen: list[torch.Tensor] = []
    p.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    duality_gap(p, ganvas.load_dataset("digits"), 1)
    assert seen
    assert all(bool((labels.diff() >= 0).all()) for labels in seen)


def test_a_run_writes_it_with_its_snapshots(tmp_path: object) -> None:
    result = ganvas.train(
        "toy:ring8", kimg=2, batch=32, device="cpu", quiet=True, report=False, out=str(tmp_path),
        settings={"training.duality_steps": 3, "training.snapshot_kimg": 1.0, "training.log_kimg": 0.5},
    )  # fmt: skip
    found = [record["duality_gap"] for record in result.run.stats() if "duality_gap" in record]
    assert len(found) >= 1
    assert all(abs(value) < 10 for value in found)
