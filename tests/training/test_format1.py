"""Runs written in format 1, which had a field of the objective for each term, are opened, resumed and drawn from.

tests/format1 holds three tiny runs at 0.064 kimg. Their continued.safetensors are the weights that the code of that time came
to at 0.128 kimg.
"""

import shutil
from pathlib import Path

import pytest
import torch

import ganvas
from ganvas import io
from ganvas.config import TermConfig, read_config
from ganvas.runs import open_run

HERE = Path(__file__).parents[1] / "format1"
TERMS = {
    "terms": (
        TermConfig("categories", 0.7),
        TermConfig("codes", 0.2),
        TermConfig("feature-matching", 0.5),
        TermConfig("mode-seeking", 0.1),
        TermConfig("latent-optimisation", 0.3, options={"damping": 0.1}),
        TermConfig("top-k", 0.75),
    ),
    "classes": (TermConfig("auxiliary", 0.4),),
    "style": (TermConfig("path-length", 2.0, 2),),
}


@pytest.mark.parametrize("name", list(TERMS))
def test_its_terms_are_read(name: str) -> None:
    run = open_run(HERE / name)
    assert run.info["format_version"] == 1
    assert run.config.objective.terms == TERMS[name]
    assert run.config.method.name == "gan"


@pytest.mark.parametrize("name", list(TERMS))
def test_it_is_drawn_from(name: str) -> None:
    model = ganvas.load(HERE / name, device="cpu")
    assert model.critic is not None
    assert model.sample(4, seed=1).shape == (4, 1, 8, 8)


@pytest.mark.parametrize("name", list(TERMS))
def test_it_is_resumed_to_the_weights_that_it_would_have_had(name: str, tmp_path: Path) -> None:
    run = Path(shutil.copytree(HERE / name, tmp_path / name))
    ganvas.train(resume=run, kimg=0.128, quiet=True, report=False)
    expected, _ = io.load_tensors(run / "continued.safetensors")
    start, _ = io.load_tensors(HERE / name / "state" / "latest.safetensors")
    found, header = io.load_tensors(run / "state" / "latest.safetensors")
    assert header["format_version"] == io.FORMAT_VERSION
    moved = sum(float((start[key] - expected[key]).square().sum()) for key in expected) ** 0.5
    apart = sum(float((found[key] - expected[key]).square().sum()) for key in expected) ** 0.5
    # Kernels of another machine round otherwise; a term left out moves the weights by far more.
    assert apart < 0.01 * moved


def test_the_terms_of_heads_keep_their_usual_weight_where_none_was_written() -> None:
    old = {"objective": {"auxiliary": 1.0, "codes": 0.1, "top_k": 1.0, "path_length": 0.0}}
    assert read_config(old, 1).objective.terms == ()
    off = read_config({"objective": {"codes": 0.0, "loss": "hinge"}}, 1).objective
    assert off.terms == (TermConfig("codes", 0.0),)
    assert off.loss == "hinge"


def test_a_config_of_today_is_read_as_it_is() -> None:
    with pytest.raises(ganvas.GanvasError, match=r"Unknown setting config.objective.top_k"):
        read_config({"objective": {"top_k": 0.5}}, io.FORMAT_VERSION)


def test_the_packaged_model_draws_what_it_drew() -> None:
    """Its files are of format 1, too."""
    model = ganvas.load("fashion", device="cpu")
    images = model.sample(2, seed=0).float()
    assert images.shape == (2, 1, 28, 28)
    assert torch.std(images) > 20
