"""A captured step is the plain step: the same numbers to the last bit, also after stopping and resuming."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ganvas.config import Config, replace_at, to_dict
from ganvas.presets import presets
from ganvas.runs import create_run
from ganvas.training import state
from ganvas.training.capture import WARM_UP
from ganvas.training.gan import GanMethod
from tests.conftest import same_tensors
from tests.training.games import gan

BATCH, CLASSES = 16, 3
CASES: dict[str, dict[str, Any]] = {
    "small": {},
    "gpu": {"preset": "gpu"},
    "sngan": {"preset": "sngan"},
    "dense": {"preset": "article"},
    "conditional": {"network.conditional": True},
    "ada": {"augment": {"policy": ["colour", "translation", "cutout"], "p": 0.2, "target": 0.6}},
    "apa": {"augment": {"p": 0.2, "target": 0.6, "pseudo": True}},
    "noise": {"objective.instance_noise": 0.1, "objective.input_noise": 0.1},
    "terms": {
        "objective.terms": [
            {"name": name, "weight": 0.5}
            for name in ("feature-matching", "mode-seeking", "latent-optimisation")
        ],
    },
    "path length": {"preset": "hour", "objective.terms": [{"name": "path-length"}]},
    "two penalties": {
        "objective.penalties": [{"name": "r1", "interval": 4}, {"name": "r2", "interval": 6}],
        "objective.critic_steps": 2,
    },
    "cosine": {"optimizer.schedule": "cosine", "data.mirror": True},
}


def _config(capture: str, preset: str = "small", **changes: Any) -> Config:
    config = presets.get(preset)
    for path, value in {
        "training.batch": BATCH,
        "training.precision": "fp32",
        "training.device": "cuda",
        "training.capture": capture,
        "training.compile": False,
        **changes,
    }.items():
        config = replace_at(config, path, value)
    return config


def _players(config: Config) -> GanMethod:
    return gan(config, (1, 16, 16), CLASSES, torch.device("cuda"))


def _run(players: GanMethod, steps: int) -> None:
    """Steps on batches that depend on the number of the step alone."""
    for _ in range(steps):
        numbers = torch.Generator("cuda").manual_seed(players.engine.steps)

        def batch(numbers: torch.Generator = numbers) -> tuple[torch.Tensor, torch.Tensor]:
            images = torch.randint(
                0, 256, (BATCH, 1, 16, 16), dtype=torch.uint8, device="cuda", generator=numbers
            )
            return images, torch.arange(BATCH, device="cuda") % CLASSES

        players.step(batch, players.engine.steps / 100)


def _tensors(players: GanMethod) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name, module in players.networks.items()
        for key, value in module.state_dict().items()
    }


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not torch.cuda.is_available():
        pytest.skip("no GPU at hand")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation")
@pytest.mark.parametrize("case", CASES)
def test_fifty_captured_steps_are_fifty_plain_ones(case: str) -> None:
    plain, captured = (_players(_config(capture, **CASES[case])) for capture in ("off", "on"))
    assert captured.captured is not None
    assert not captured.eager_because
    _run(plain, 50)
    _run(captured, 50)
    assert captured.captured.graphs
    assert captured.engine.read_figures() == plain.engine.read_figures()
    assert same_tensors(_tensors(captured), _tensors(plain))
    for ours, theirs in zip(captured.critic.parameters(), plain.critic.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)  # what the monitor reads between steps


@pytest.mark.gpu
def test_a_captured_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = _config("on")
    whole = _players(config)
    _run(whole, 40)
    first = _players(config)
    _run(first, 23)
    run = create_run(tmp_path, "captured", {"config": to_dict(config)})
    state.save(run, first, 1.0)
    state.restore(run, first)  # into the same object: its graphs must not write to tensors of before
    _run(first, 17)
    second = _players(config)
    state.restore(run, second)
    _run(second, 17)
    assert same_tensors(_tensors(first), _tensors(whole))
    assert same_tensors(_tensors(second), _tensors(whole))


@pytest.mark.gpu
def test_a_bad_step_is_found_inside_graphs() -> None:
    players = _players(_config("on"))
    _run(players, 3 * WARM_UP * 16)
    assert players.engine.read_figures()["bad_step"] == -1
    with torch.no_grad():
        next(players.critic.parameters()).fill_(float("nan"))
    bad = players.engine.steps + 1
    _run(players, 5)
    assert players.engine.read_figures()["bad_step"] == bad


@pytest.mark.gpu
def test_what_can_not_be_captured_runs_plainly_and_says_why() -> None:
    for changes, reason in (
        ({"objective.terms": [{"name": "top-k"}]}, "top-k"),
        ({"preset": "progressive"}, "grow"),
    ):
        players = _players(_config("auto", **changes))
        assert players.engine.captured is None
        assert reason in players.engine.eager_because
