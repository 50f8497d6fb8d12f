import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganvas.config import (
    Config,
    ObjectiveConfig,
    PenaltyConfig,
    TermConfig,
    TrainingConfig,
    differences,
    from_dict,
    replace_at,
    to_dict,
    validate,
)
from ganvas.errors import GanvasError
from ganvas.presets import presets

penalty = st.builds(
    PenaltyConfig,
    name=st.text(),
    weight=st.floats(0, 1e6),
    interval=st.integers(1, 1000),
)
training = st.builds(
    TrainingConfig,
    kimg=st.none() | st.floats(0.001, 1e9),
    minutes=st.none() | st.floats(0.001, 1e9),
    batch=st.integers(2, 10_000),
    seed=st.integers(0, 2**63),
    precision=st.sampled_from(["auto", "fp32", "bf16"]),
)
configs = st.builds(
    Config,
    training=training,
    objective=st.builds(ObjectiveConfig, penalties=st.lists(penalty, max_size=3).map(tuple)),
)


@given(configs)
def test_json_round_trip(config: Config) -> None:
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("name", list(presets))
def test_every_preset_round_trips_and_is_valid(name: str) -> None:
    config = presets.get(name)
    assert config.preset == name
    assert to_dict(from_dict(Config, to_dict(config))) == to_dict(config)
    assert validate(config) is config


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().preset = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training.bacth", 3, r"Unknown setting config.training.bacth. Did you mean 'batch'\?"),
        ("trainin.batch", 3, "Did you mean 'training.batch'"),
        ("training.batch", "many", "config.training.batch must be int, got 'many'"),
        ("training.batch", True, "must be int, got True"),
        ("training.precision", "fp8", "expected one of 'auto', 'fp32', 'bf16'"),
        ("objective.penalties", 3, "must be a list"),
        ("objective.penalties", [{"nam": "r1"}], r"penalties\[0\].nam. Did you mean 'name'"),
        ("network", 3, "must be a JSON object"),
        ("network.generator", 3, "must be a JSON object"),
    ],
)
def test_wrong_settings_name_their_path(path: str, value: object, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        replace_at(Config(), path, value)


def test_replace_at_reaches_options_and_sections() -> None:
    config = replace_at(Config(), "network.generator.channels", 7)
    assert config.network.generator == {"channels": 7}
    assert replace_at(config, "optimizer.lr_critic", 1).optimizer.lr_critic == 1.0


def test_differences_name_field_and_both_values() -> None:
    changed = replace_at(replace_at(Config(), "training.batch", 8), "preset", "toy")
    assert differences(Config(), changed) == ["preset: '' -> 'toy'", "training.batch: 64 -> 8"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.batch", 1),
        ("training.kimg", 0),
        ("training.kimg", None),
        ("network.latent_dim", 0),
        ("optimizer.lr_critic", float("nan")),
        ("data.holdout", 1.0),
        ("objective.critic_steps", 0),
        ("objective.penalties", [{"interval": 0}]),
        ("optimizer.beta1", 1.0),
        ("optimizer.beta2", 1.5),
        ("optimizer.beta2_end", 1.0),
        ("training.seed", -1),
        ("training.ema_rampup", -0.1),
    ],
)
def test_ranges(path: str, value: object) -> None:
    with pytest.raises(GanvasError):
        validate(replace_at(Config(), path, value))


def test_config_and_presets_import_no_torch() -> None:
    code = "import sys, ganvas, ganvas.config, ganvas.presets; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["training.kimg", "training.minutes", "optimizer.lr_critic"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_are_finite(name: str, value: float) -> None:
    """An endless budget was written to config.json as no JSON: a traceback."""
    with pytest.raises(GanvasError, match=f"{name} is (inf|nan); it must be a finite number"):
        replace_at(Config(), name, value)


def test_budgets_are_finite() -> None:
    with pytest.raises(
        GanvasError, match=r"training\.minutes \(--minutes\) is inf; it must be more than 0, and finite"
    ):
        validate(Config(training=TrainingConfig(minutes=float("inf"))))


def test_many_terms_are_not_compared_with_each_other() -> None:
    """Of 100,000 in a header of 2 MB each was: four minutes."""
    compared = 0

    class Word(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str(self) == str(other)

        __hash__ = str.__hash__

    terms = tuple(TermConfig(Word(f"t{i}")) for i in range(500))
    config = Config(objective=ObjectiveConfig(terms=terms), training=TrainingConfig(kimg=1.0))
    assert validate(config) is config
    assert compared < 1000
    with pytest.raises(GanvasError, match="'t3' is named twice"):
        validate(dataclasses.replace(config, objective=ObjectiveConfig(terms=(*terms, TermConfig("t3")))))
