"""From what somebody typed to a renderer, and from a recipe to the same pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas import model_data
from ganvas.cli import main, render
from ganvas.errors import GanvasError
from ganvas.training import Result
from ganvas.web.opening import open_renderer, replay, replay_film
from ganvas.web.renderer import Renderer
from ganvas.web.session import Session
from ganvas.web.source import Source, source_of
from ganvas.web.state import Recipe, State, Timeline, move_of, to_json


def recipe_of(renderer: Renderer) -> Recipe:
    state = State(3, 4, truncation=0.9, noise=2).to(move_of(renderer.directions("random")[0], 1.5))
    return Recipe("fashion", renderer.hash, state, Timeline((State(1), state), frames=5))


def write(path: Path, recipe: Recipe) -> Path:
    path.write_text(json.dumps(to_json(recipe)))
    return path


def test_the_packaged_model_brings_all_that_a_page_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*given: object) -> None:
        raise GanvasError("not on this machine")

    monkeypatch.setattr(model_data, "load_dataset", nothing)
    renderer = open_renderer(device="cpu")
    assert renderer.ratio is not None
    assert renderer.ratio.report.auc > 0.6
    assert renderer.real is not None
    assert renderer.real.images.shape == (1000, 1, 28, 28)
    with pytest.raises(GanvasError, match="not on this machine"):
        open_renderer(data="fashion-mnist", device="cpu")


def test_a_run_of_ones_own(trained: Result) -> None:
    renderer = open_renderer(trained.run.path, device="cpu")
    assert renderer.ratio is None
    assert renderer.real is not None
    assert "digits" in renderer.real.source
    assert renderer.quality(State()).log_ratio is None
    with pytest.raises(GanvasError, match="No data at 'nowhere'"):
        open_renderer(trained.run.path, data="nowhere", device="cpu")


def test_a_recipe_gives_the_same_pixels_again(
    fashion: Renderer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(fashion)
    path = write(tmp_path / "recipe.json", recipe)
    wanted = fashion.draw([recipe.state])[0]
    assert torch.equal(ganvas.replay(path, device="cpu"), wanted)
    assert torch.equal(replay(to_json(recipe), fashion.model), wanted)
    assert torch.equal(replay(recipe, fashion), wanted)
    out = tmp_path / "picture.png"
    assert main(["render", str(path), "--out", str(out), "--scale", "2", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 1
    with Image.open(out) as image:
        assert image.size == (56, 56)
        assert np.array_equal(np.asarray(image)[::2, ::2], wanted[0].numpy())
    film = tmp_path / "film.webp"
    assert main(["render", str(path), "--out", str(film), "--device", "cpu"]) == 0
    assert "5 frames" in capsys.readouterr().out
    with Image.open(film) as image:
        assert getattr(image, "n_frames", 1) == 5
    assert len(replay_film(recipe, fashion)) == 5


def test_mistakes_are_said(
    fashion: Renderer, trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(render, "LARGEST", 2**20)
    path = write(tmp_path / "recipe.json", recipe_of(fashion))
    for arguments, words in (
        ([str(path), "--model", str(trained.run.path)], "weights"),
        ([str(path), "--out", "a.bmp"], ".gif"),
        ([str(path), "--scale", "0"], "1 to 64"),
        ([str(path), "--scale", "2", "--out", "a.gif"], "--scale would do nothing"),
        ([str(path), "--scale", "64"], "a picture of 1,792 x 1,792 px, 3 megapixels; 1 are written at most"),
        ([str(tmp_path / "none.json")], "Cannot read"),
        ([str(Path(__file__))], "not valid JSON"),
    ):
        assert main(["render", *arguments]) == 2
        assert words in capsys.readouterr().err
    for arguments, words in (
        (["--port", "99999"], "65535"), (["no-such-model"], "No such model"), (["--export", "a.pdf"], ".html"),
        (["--data", "no-such-data"], "no-such-data"),
    ):  # fmt: skip
        assert main(["explore", "--no-browser", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_only_directions_of_this_model_and_space_are_loaded(
    fashion: Renderer, small: Renderer, tmp_path: Path
) -> None:
    from ganvas.latent import open_space
    from ganvas.latent.directions import find, save

    mine, other, z = (tmp_path / f"{name}.safetensors" for name in ("mine", "other", "z"))
    save(mine, fashion.directions("random")[:2])
    save(other, small.directions("random")[:1])
    save(z, find(open_space(fashion.model, "z"), "random", 1))
    assert len(source_of(fashion, None, [mine]).loaded) == 2
    with pytest.raises(GanvasError, match="another model"):
        source_of(fashion, None, [other])
    with pytest.raises(GanvasError, match="one of z"):
        source_of(fashion, None, [z])


def test_directions_of_several_files_all_have_sliders(fashion: Renderer, tmp_path: Path) -> None:
    """Of two files with the same names those of the first were left out without a word; a name that no recipe holds made every
    page an error of the server."""
    from ganvas.latent.directions import save

    mine, yours, long = (tmp_path / f"{name}.safetensors" for name in ("mine", "yours", "long"))
    first, second = fashion.directions("random")[:2]
    save(mine, [first])
    save(yours, [replace(second, name=first.name)])
    source = source_of(fashion, None, [mine, yours, yours])
    name = first.name
    assert [each.name for each in source.loaded] == [name, f"{name} (yours)", f"{name} (yours 3)"]
    session = Session(fashion)
    session.load(source.loaded)
    assert list(session.tray) == [each.name for each in source.loaded]
    assert torch.equal(source.loaded[1].vector, second.vector)
    save(long, [replace(first, name="x" * 1001)])
    with pytest.raises(GanvasError, match=r"name has at most 1,000 characters, one has 1,001"):
        source_of(fashion, None, [long])


def test_a_recipe_from_outside_chooses_no_path(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One's own names its model's file; anybody else's has to be given the model, and the path is not looked at."""
    renderer = open_renderer(trained.run.path, device="cpu")
    recipe = Recipe(str(trained.run.path), renderer.hash, State(number=3))
    wanted = renderer.draw([recipe.state])[0]
    own = json.loads(json.dumps(to_json(recipe)))
    assert torch.equal(ganvas.replay(own, device="cpu"), wanted)
    opened: list[object] = []
    monkeypatch.setattr("ganvas.web.opening.load", lambda *given, **more: opened.append(given))
    elsewhere = {**own, "model": str(trained.run.snapshots[-1])}
    for stranger in ({**own, "made": {}}, {**own, "made": {"mark": "0" * 64}}, elsewhere):
        with pytest.raises(GanvasError, match=r"not saved by you on this machine.*--model"):
            ganvas.replay(stranger, device="cpu")
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "another user"))
    with pytest.raises(GanvasError, match="not saved by you"):
        ganvas.replay(own, device="cpu")
    assert not opened
    assert torch.equal(ganvas.replay(own, renderer.model), wanted)


def test_a_newer_snapshot_is_opened_as_the_first_was(
    trained: Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was compared with what the run was trained on, whatever --data had said, and on whatever device."""
    for i in range(8):
        Image.fromarray(np.full((16, 16), 20 * i, np.uint8)).save(tmp_path / f"{i}.png")
    served: list[Source] = []
    monkeypatch.setattr("ganvas.web.app.serve", lambda source, *given: served.append(source))
    monkeypatch.setattr("ganvas.cli.explore.leave", lambda: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    main(["explore", str(trained.run.path), "--data", str(tmp_path), "--device", "cpu"])
    newer = served[0].opener(trained.run.snapshots[-1])
    assert newer.real is not None
    assert served[0].renderer.real is not None
    assert newer.real.source == served[0].renderer.real.source
