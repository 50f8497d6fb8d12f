"""What a notebook shows, and when."""

import base64
import io as memory
import re
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas import notebook, pictures
from ganvas.latent.directions import STRENGTHS, STRIP, Directions
from ganvas.metrics.rows import Row
from ganvas.networks import from_uint8
from ganvas.runs import Run
from ganvas.sampling.base import BATCH
from ganvas.training import Result
from ganvas.training.display import NotebookDisplay, open_display
from ganvas.types import Progress, silent

NASTY = "<script>alert('&')</script>"


def shown_pictures(content: str) -> list[Image.Image]:
    """The pictures in HTML."""
    return [
        Image.open(memory.BytesIO(base64.b64decode(each)))
        for each in re.findall(r'src="data:image/webp;base64,([\w+/=]+)"', content)
    ]


def same(first: Image.Image, second: Image.Image) -> bool:
    return bool(np.array_equal(np.asarray(first.convert("RGB")), np.asarray(second.convert("RGB"))))


class Cells:
    """Stands in for a notebook: keeps what was shown, and the time."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Cells:
    found = Cells()

    def show(piece: notebook.Piece, content: str) -> None:
        piece._last = found.now
        found.shown.append(content)

    monkeypatch.setattr(notebook, "is_notebook", lambda: True)
    monkeypatch.setattr(notebook.Piece, "show", show)
    monkeypatch.setattr(notebook, "time", found)
    monkeypatch.setattr("ganvas.training.display.time", found)
    return found


@pytest.fixture(scope="module")
def model() -> ganvas.Model:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(12, 64), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 8, 8)))
    return ganvas.wrap(module, latent_dim=12)


def test_plain_python_is_no_notebook_and_opens_nothing_to_know_it() -> None:
    code = "import sys, ganvas.notebook as n; print(n.is_notebook(), n.is_colab(), *{'IPython', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_whatever_tells_its_progress_shows_it() -> None:
    """Of the functions that `ganvas` itself offers, and those that the others are made of."""
    from ganvas.latent import dissect, edits, map
    from ganvas.sampling import held_out, improve

    functions = [getattr(ganvas, name) for name in ganvas.__all__]
    functions += [
        dissect.switch,
        edits.draw_edit,
        map.draw_map,
        held_out.calibrate_model,
        improve.improve,
        improve.improve_model,
    ]
    telling = [
        each
        for each in functions
        if "progress" in getattr(getattr(each, "__wrapped__", each), "__annotations__", {})
    ]
    assert len(telling) >= 11
    assert all(hasattr(each, "__wrapped__") for each in telling)


@notebook.shown
def job(cells: Cells, steps: int, seconds: float, progress: Progress = silent) -> None:
    """Takes so long a step."""
    for step in range(steps):
        progress("<work>", step, steps)
        cells.now += seconds


def test_a_bar_is_drawn_twice_a_second_and_ends_with_the_time_that_it_took(cells: Cells) -> None:
    job(cells, 640, 1 / 64)
    assert 17 <= len(cells.shown) <= 20, "ten seconds, the first of which nothing is shown in"
    assert "width:10.0%" in cells.shown[0]
    assert "&lt;work&gt;: 64 of 640" in cells.shown[0]
    assert "width:100.0%" in cells.shown[-1]
    assert "10 s" in cells.shown[-1]
    cells.shown.clear()
    job(cells, 10, 0.05)
    assert not cells.shown, "over before anybody waits"


def test_what_is_measured_stands_beneath_the_bar_while_it_comes(cells: Cells) -> None:
    rows = [("<plain>", 8.0, "8.00 ± .1"), ("better", 4.0, "4.00"), ("broken", float("nan"), "failed")]
    known: list[tuple[str, float, str]] = []

    @notebook.shown
    def measuring(progress: Progress = silent) -> None:
        notebook.beneath(lambda: notebook.bars("distance", known))
        for row in rows:
            known.append(row)
            cells.now += 2
            progress("drawing", 0, 1)

    measuring()
    assert len(cells.shown) == 4
    assert "&lt;plain&gt;" in cells.shown[0]
    assert "better" not in cells.shown[0]
    assert ["width:100.0%" in cells.shown[2], "width:50.0%" in cells.shown[2]] == [True, True]
    assert "nan" not in cells.shown[2]
    assert "distance" not in cells.shown[3], "what it was for is over"
    job(cells, 5, 1.0)
    assert "distance" not in cells.shown[-2], "nor beneath the next one"


def test_nothing_is_shown_to_who_hears_it_from_threads_and_inside_of_what_shows_itself(cells: Cells) -> None:
    heard: list[int] = []
    job(cells, 5, 1.0, progress=lambda what, done, total: heard.append(done))
    assert heard == [0, 1, 2, 3, 4]
    thread = threading.Thread(target=job, args=(cells, 5, 1.0))
    thread.start()
    thread.join()
    with notebook.alone():
        job(cells, 5, 1.0)
    assert not cells.shown
    with pytest.raises(ZeroDivisionError), notebook.alone():
        raise ZeroDivisionError
    job(cells, 5, 1.0)
    assert cells.shown, "an error does not silence what comes after"


def record(kimg: float, **more: float) -> dict[str, object]:
    return {"kimg": kimg, "images_per_second": 100.0, "loss_generator": kimg, "loss_critic": 2 * kimg, **more}


def test_a_training_shows_curves_words_and_samples_at_most_twice_a_second(
    cells: Cells, model: ganvas.Model
) -> None:
    content = pictures.png(pictures.grid(model.sample(4)))
    with open_display() as display:
        assert isinstance(display, NotebookDisplay)
        display.say(NASTY)
        for i in range(100):
            cells.now += 0.1
            display.show(record(float(i), energy=1.0 / (i + 1)), i / 100, [])
            display.picture(content)
        display.say("over")
    tops = [each for each in cells.shown if "ganvas-bar" in each]
    assert len(tops) <= 23
    assert len(cells.shown) - len(tops) <= 22
    last = tops[-1]
    assert last.count("<svg") == 2, "losses, and the distance to the data"
    assert "99.0 kimg" in last
    assert "over" in last
    assert NASTY not in last
    assert "&lt;script&gt;" in last
    assert same(shown_pictures(cells.shown[-1])[0], Image.open(memory.BytesIO(content)))
    assert not isinstance(open_display(quiet=True), NotebookDisplay)


def test_curves_lie_where_their_points_are() -> None:
    found = notebook.curves(
        "title & more", {NASTY: [(0, 0), (1, float("nan")), (2, 4), (4, 8)], "b": [(0, 8)]}
    )
    ways = re.findall(r'points="([^"]*)"', found)
    assert ways == ["54.0,134.0 149.0,80.0 244.0,26.0", "54.0,26.0"]
    assert NASTY not in found
    assert "title &amp; more" in found
    assert notebook.curves("one", {"a": [(1.0, 2.0)]}) == ""
    many = [(float(i), 0.0) for i in range(100_000)]
    assert len(notebook.curves("many", {"a": many})) < 10_000
    assert "99999" in notebook.curves("many", {"a": many}).replace("1e+05", "99999")


def test_pictures_are_kept_as_they_are_or_made_small() -> None:
    small = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert same(shown_pictures(notebook.picture(small, NASTY))[0], small)
    assert NASTY not in notebook.picture(small, NASTY)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1600, 3), dtype=np.uint8))
    found = notebook.picture(noise)
    assert shown_pictures(found)[0].size == (800, 450)
    assert len(found) < 150_000, "noise is the worst there is"
    tall = Image.new("L", (100, 20_000))
    assert shown_pictures(notebook.picture(pictures.png(tall)))[0].size == (80, 16_000), "more no .webp holds"
    for content in (b"", b"\x89PNG\r\n\x1a\n damaged", pictures.png(small)[:45]):
        assert "cannot be shown" in notebook.picture(content)
    bomb = pictures.png(Image.new("1", (20_000, 600)))
    assert "20000 x 600 pixels is not shown" in notebook.picture(bomb)
    # Pillow itself refuses from twice its own limit on.
    largest = bytearray(bomb)
    largest[16:24] = (30_000).to_bytes(4, "big") * 2
    largest[29:33] = zlib.crc32(largest[12:29]).to_bytes(4, "big")
    assert "cannot be shown" in notebook.picture(bytes(largest))


def test_a_direction_moves_the_first_sample_where_its_model_is_in_use(model: ganvas.Model) -> None:
    found = ganvas.find_directions(model, "random", 9)
    assert isinstance(found, Directions)
    drawn = ganvas.edit(model, [0], found[1], STRENGTHS)[0]
    wanted = pictures.grid(drawn, columns=5, min_width=STRIP)
    assert same(shown_pictures(found[1]._repr_html_())[0], wanted)
    everything = found._repr_html_()
    assert same(shown_pictures(everything)[1], wanted)
    assert len(shown_pictures(everything)) == 8
    assert "and 1 more" in everything
    elsewhere = replace(found[0], model="00000000", name=NASTY)._repr_html_()
    assert not shown_pictures(elsewhere)
    assert NASTY not in elsewhere
    assert "00000000" in elsewhere


def test_a_model_shows_fewer_of_large_samples(model: ganvas.Model) -> None:
    assert same(shown_pictures(model._repr_html_())[0], pictures.grid(model.sample(16), columns=8))
    module = torch.nn.Sequential(
        torch.nn.Linear(2, 3 * 128 * 128), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 128, 128))
    )
    large = ganvas.wrap(module, latent_dim=2)
    assert shown_pictures(large._repr_html_())[0].size == pictures.grid(large.sample(4), columns=4).size
    large.info = replace(large.info, name=NASTY)
    assert NASTY not in large._repr_html_()


def test_a_ratio_shows_what_looks_least_and_most_real(model: ganvas.Model) -> None:
    def brightness(samples: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return samples.mean((1, 2, 3))

    real = model.sample(2000, seed=1)
    bright = real[real.float().mean((1, 2, 3)) > real.float().mean()]
    ratio = ganvas.fit_ratio(ganvas.open_space(model, "z"), bright, critic=brightness)
    found = ratio._repr_html_()
    assert f"AUC {ratio.report.auc:.3f}" in found
    assert "AUC" in repr(ratio)
    assert "\n" not in repr(ratio)
    samples = model.sample(BATCH)
    logs = ratio(from_uint8(samples, (-1.0, 1.0)))
    order = logs.argsort(stable=True)
    most, least = (pictures.grid(samples[rows], columns=8) for rows in (order[-8:].flip(0), order[:8]))
    shown = shown_pictures(found)
    assert [each.size for each in shown] == [most.size, least.size]
    assert same(shown[0], most)
    assert same(shown[1], least)


def test_figures_are_a_table_with_samples(trained: Result) -> None:
    found = ganvas.evaluate(trained.run.path, metrics="frechet,points", n=200)
    content = found._repr_html_()
    (row,) = found.rows
    assert f'<td style="text-align:right;padding:1px 14px 1px 0">{row.value:.4g}</td>' in content
    assert "points left out" in content
    assert found.samples is not None
    assert same(shown_pictures(content)[0], pictures.grid(found.samples[:16], columns=8))
    assert len(repr(found)) < 100
    assert f"{row.value:.4g}" in row._repr_html_()
    strange = Row.from_json({**row.to_json(), "metric": NASTY, "source": NASTY})
    assert NASTY not in strange._repr_html_()
    found.rows = [strange]
    assert NASTY not in found._repr_html_()


def test_a_run_shows_its_curves_and_newest_samples(trained: Result, tmp_path: Path) -> None:
    content = trained.run._repr_html_()
    assert "0.512 kimg" in content
    assert "<svg" in content
    (shown,) = shown_pictures(content)
    assert shown.width == 360
    folder = tmp_path / "<b>run"
    folder.mkdir()
    for damaged in (None, "{}", '{"format_version": 2, "config": {}, "data": 5}'):
        if damaged is not None:
            (folder / "config.json").write_text(damaged)
        assert "&lt;b&gt;run" in Run(folder)._repr_html_()
