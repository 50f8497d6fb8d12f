"""The commands of the latent space as functions: the same as the command, on models and on spaces."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ganvas
import ganvas.arrays
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent.directions import Direction
from ganvas.latent.edits import draw_edit
from ganvas.training import Result
from tests.conftest import series_model

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_every_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From top to bottom in one interpreter, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 6
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), names)
    assert names["images"].shape == (64, 1, 28, 28)
    assert names["table"].shape == (3, 3, 1, 28, 28)
    assert torch.equal(names["table"][:2, 1], names["images"][[0, 7]]), "strength 0 is the sample itself"
    assert torch.equal(names["drawn"][:1], names["images"][5:6])
    assert names["mine"].sample(2).shape == (2, 1, 28, 28)
    assert (tmp_path / "walk.png").is_file()
    assert len(names["walk"].samples) == 24
    assert "Model(style: z 64 -> (1, 28, 28)" in capsys.readouterr().out


@pytest.fixture(scope="module")
def model(trained: Result) -> ganvas.Model:
    return ganvas.load(trained.run.path, device="cpu")


@pytest.mark.parametrize("more", [["--equal"], ["--kind", "geodesic"], ["--space", "z", "--loop"]])
def test_a_walk_is_the_command_s(
    model: ganvas.Model, trained: Result, tmp_path: Path, more: list[str]
) -> None:
    out = tmp_path / "walk.gif"
    assert (
        main(["walk", str(trained.run.path), "--frames", "6", "--seed", "2", *more, "--out", str(out)]) == 0
    )
    given: dict[str, Any] = {word.strip("-"): True for word in more if word in ("--equal", "--loop")}
    given |= {"kind": "geodesic"} if "geodesic" in more else {}
    given |= {"space": "z"} if "z" in more else {}
    found = ganvas.walk(model, frames=6, seed=2, **given)
    found.save(tmp_path / "mine.gif")
    assert out.read_bytes() == (tmp_path / "mine.gif").read_bytes()
    assert found.points.shape == (6, model.latent_dim)
    assert torch.equal(found.samples[0], model.sample(1, seed=2)[0]), (
        "it starts at the first sample of its seed"
    )
    assert len(repr(found)) < 120
    found.save(tmp_path / "mine.png")
    with Image.open(tmp_path / "mine.png") as strip:
        assert strip.width > 6 * 8, "six pictures side by side"


def test_what_is_no_model_is_said(model: ganvas.Model) -> None:
    wrong: Any
    for wrong in ("fashion", None, model.generator):
        with pytest.raises(
            GanvasError, match=r"Expected a Model or one of its spaces, got a \w+. Open one: ganvas.load"
        ):
            ganvas.walk(wrong)
    with pytest.raises(GanvasError, match="keys is 1; it must be at least 2"):
        ganvas.walk(model, keys=1)
    with pytest.raises(GanvasError, match=r"frames is 1000000; it must be at most 100,000\."):
        ganvas.walk(model, frames=1_000_000)
    with pytest.raises(GanvasError, match=r"keys is 1000000; it must be at most 1,000\."):
        ganvas.walk(model, keys=1_000_000, frames=2)
    space = ganvas.open_space(model, "z")
    with pytest.raises(GanvasError, match="This is the space 'z'"):
        ganvas.find_directions(space, "random", space="w")
    assert ganvas.find_directions(space, "random", 1)[0].space == "z"


def test_reprs_are_short_and_pictures_are_shown(model: ganvas.Model) -> None:
    """No networks, no tensors: what a person wants to know, and in a notebook what they want to see."""
    (direction,) = ganvas.find_directions(model, "random", 1)
    inverted = ganvas.invert(model, model.sample(1)[0].numpy(), steps=3, restarts=1)
    data = ganvas.load_dataset("digits")
    for each in (model, ganvas.open_space(model), direction, inverted, data):
        assert "tensor(" not in repr(each)
        assert len(repr(each)) < 700
    assert isinstance(direction, Direction)
    assert repr(inverted) == f"Inversion(1 target, residual {float(inverted.residual):.3g})"
    assert "\n" not in repr(model)
    shown = model._repr_html_()
    assert "data:image/webp;base64," in shown
    assert shown in ganvas.open_space(model)._repr_html_()
    points = ganvas.wrap(torch.nn.Linear(4, 2), latent_dim=4)
    assert "data:image" not in points._repr_html_()


def test_a_walk_through_large_series_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 of 128 x 65,536 took 4 GB; a table of them by mixing is counted, too."""
    made = series_model()
    monkeypatch.setattr(ganvas.arrays, "TOGETHER", 2 * 10 * 48)
    assert len(ganvas.walk(made, frames=10).samples) == 10
    with pytest.raises(
        GanvasError, match=r"11 series of 2 x 24 numbers have 528, .* 10 series at most. Take fewer --frames"
    ):
        ganvas.walk(made, frames=11)


def test_large_frames_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 of 1,024 px took 3 GB."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh())
    made, rows = ganvas.wrap(module, latent_dim=4, shape=(1, 8, 8)), list[int]()
    whole = ganvas.walk(made, frames=10).samples
    monkeypatch.setitem(vars(made), "at_once", 4)
    to_data = made.to_data
    monkeypatch.setattr(made, "to_data", lambda drawn: rows.append(len(drawn)) or to_data(drawn))
    assert torch.equal(ganvas.walk(made, frames=10).samples, whole)
    assert rows == [4, 4, 2]


def test_a_direction_of_another_model_is_refused() -> None:
    """Where both had as many latents it moved samples along numbers that mean nothing there."""
    one, other = (
        ganvas.wrap(torch.nn.Linear(4, 3), latent_dim=4), ganvas.wrap(torch.nn.Linear(4, 3), latent_dim=4),
    )  # fmt: skip
    (found,) = ganvas.find_directions(one, "random", count=1)
    assert ganvas.edit(one, [0], found, [0, 2]).shape == (1, 2, 3)
    with pytest.raises(GanvasError, match=r"is of another model .* both share their latents"):
        ganvas.edit(other, [0], found, [0, 2])
    with pytest.raises(GanvasError, match="is of another model"):
        draw_edit(other, found)
    ours = replace(found, model=other.hash)
    assert ganvas.edit(other, [0], ours, [0, 2]).shape == (1, 2, 3)
