"""A request from Python: what does not fit is named before anything is opened."""

from dataclasses import replace
from typing import Any

import pytest

import ganvas
from ganvas.config import Config, ObjectiveConfig, TermConfig, differences
from ganvas.errors import GanvasError
from ganvas.options import TrainOptions
from ganvas.presets import presets
from ganvas.training import plan


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"term": {"mode-seeking": 0.2}},
            r'must be a name or a list of names, for instance "mode-seeking=0.2"',
        ),
        ({"term": 5}, "term is 5; it must be a name or a list of names"),
        ({"term": [("mode-seeking", 0.2)]}, "it must be a name or a list of names"),
        ({"penalty": [3]}, r"penalty is \[3\]; it must be a name or a list of names"),
        ({"augment": 5}, "augment is 5; it must be a name or a list of names"),
        ({"preset": 5}, "preset is 5; it must be a name"),
        ({"network": ["dcgan"]}, "it must be a name"),
        ({"loss": 5}, "loss is 5; it must be a name"),
        ({"settings": "x"}, "settings is 'x'; it must be a mapping"),
        ({"settings": {5: 1}}, "it must be a mapping"),
        ({"terms": "mode-seeking"}, "Unknown option 'terms' of a training. Did you mean 'term'"),
    ],
)
def test_what_is_no_request_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        plan("digits", **given)


def test_options_that_are_none_are_refused() -> None:
    wrong: Any = {"minutes": 3}
    with pytest.raises(GanvasError, match="it must be a TrainOptions"):
        ganvas.train("digits", wrong)


def test_keywords_win_over_options_and_one_name_stands_for_a_list() -> None:
    config, _ = plan("digits", TrainOptions(kimg=3, term="mode-seeking=0.2"), kimg=5, device="cpu")
    assert config.training.kimg == 5
    assert [(term.name, term.weight) for term in config.objective.terms] == [("mode-seeking", 0.2)]


def test_a_difference_is_said_in_some_lines_however_long_the_list() -> None:
    terms = tuple(TermConfig(f"t{i}", 1.0) for i in range(10_000))
    (found,) = differences(Config(), Config(objective=ObjectiveConfig(terms=terms)))
    assert found.startswith("objective.terms: [] -> [{'name': 't0'")
    assert len(found) < 400


@pytest.mark.parametrize(
    ("preset", "own"),
    [
        ("hour", TermConfig("path-length", 3.0, interval=8)),
        ("small", TermConfig("latent-optimisation", 0.9, interval=1, options={"damping": 0.7})),
    ],
)
def test_a_weight_leaves_the_rest_of_a_preset_s_term(
    preset: str, own: TermConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--term path-length=0.5` over a preset's entry dropped its interval and its options."""
    config = presets.get(preset)
    changed = replace(config, objective=replace(config.objective, terms=(own,)))
    monkeypatch.setitem(presets._entries, preset, changed)
    for asked, weight in ((f"{own.name}=0.5", 0.5), (own.name, own.weight)):
        found, _ = plan("digits", preset=preset, term=asked, device="cpu")
        assert found.objective.terms == (replace(own, weight=weight),)
    found, _ = plan("digits", preset=preset, term=["mode-seeking=0.2", f"{own.name}=0"], device="cpu")
    assert found.objective.terms == (replace(own, weight=0.0), TermConfig("mode-seeking", 0.2, 1))


def test_a_term_that_is_named_twice_is_refused() -> None:
    twice = [{"name": name} for name in ("top-k", "mode-seeking", "top-k")]
    with pytest.raises(GanvasError, match="Term 'top-k' is named twice"):
        plan("digits", settings={"objective.terms": twice}, device="cpu")


@pytest.mark.parametrize(
    "asked", [{"penalty": ["r1", "r1"]}, {"settings": {"objective.penalties": [{"name": "r1"}] * 2}}]
)
def test_a_penalty_that_is_named_twice_is_refused(asked: dict[str, Any]) -> None:
    """Both were kept, and counted twice."""
    with pytest.raises(GanvasError, match="Penalty 'r1' is named twice"):
        plan("digits", device="cpu", **asked)


def test_a_seed_above_2_32_is_refused_as_a_setting_too() -> None:
    with pytest.raises(GanvasError, match=r"training\.seed is 4294967296; it must be"):
        plan("digits", settings={"training.seed": 2**32}, device="cpu")
