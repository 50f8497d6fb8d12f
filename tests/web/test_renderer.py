"""A state in, the right pixels out: judged by the model's own samples and by the formulas of the edits."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganvas
from ganvas import io
from ganvas.errors import GanvasError
from ganvas.latent.directions import load_directions, save
from ganvas.latent.jacobian import columns
from ganvas.latent.paths import pyramid
from ganvas.model import PACKAGED
from ganvas.web.landscape import landscape
from ganvas.web.renderer import SLIDERS, STRENGTHS, Renderer
from ganvas.web.state import Mix, Move, State, move_of, pack


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (3, 17), (7, 40)])
def test_a_seed_draws_the_sample_of_the_model(fashion: Renderer, seed: int, number: int) -> None:
    wanted = fashion.model.sample(number + 1, seed=seed, batch=1)[number]
    assert torch.equal(fashion.draw([State(seed, number)])[0], wanted)


def test_a_conditional_sample_and_another_class(small: Renderer) -> None:
    wanted = small.model.sample(5, seed=2, batch=1)[4]
    assert torch.equal(small.draw([State(2, 4)])[0], wanted)
    other = small.model.sample(5, seed=2, labels=[0], batch=1)[4]
    assert torch.equal(small.draw([State(2, 4, label=0)])[0], other)
    with pytest.raises(GanvasError, match="Classes go from 0 to 2"):
        small.draw([State(label=3)])


def test_what_cannot_be_drawn_is_found_without_drawing(small: Renderer, fashion: Renderer) -> None:
    for renderer in (small, fashion):
        ones = pack(torch.ones(renderer.space.shape))
        move = Move("theirs", ones, 1.0, 1.0)
        rows = pack(torch.ones(renderer.spaces["w+"].shape))
        drawn = [
            State(), State(noise=1), State(mix=Mix(1)), State(moves=(move,)), State(base=rows, space="w+", moves=(move,)),
            State(base=ones, space="w", moves=(replace(move, layers=(0, 1)),)),
        ]  # fmt: skip
        refused = [
            State(base=pack(torch.ones(3)), space="w"), State(base=ones, space="w+"), State(base=ones, space="nope"),
            State(moves=(replace(move, vector=pack(torch.ones(3))),)), State(moves=(replace(move, layers=(99,)),)),
            State(base=ones, space="z", mix=Mix(1)), State(place=(0.1, 0.0, 0.0)), State(other=99, share=0.5),
        ]  # fmt: skip
        (refused if renderer.classes else drawn).append(State(label=99))
        for state in drawn:
            renderer.check(state)
            renderer.draw([state])
        for state in refused:
            with pytest.raises(GanvasError) as drawing:
                renderer.draw([state])
            with pytest.raises(GanvasError) as checking:
                renderer.check(state)
            assert str(checking.value) == str(drawing.value)


def test_truncation_is_a_line_to_the_mean(fashion: Renderer) -> None:
    space, full = fashion.point(State(1))
    _, half = fashion.point(State(1, truncation=0.5))
    _, none = fashion.point(State(9, truncation=0.0))
    assert torch.allclose(half - space.mean, (full - space.mean) / 2, atol=1e-5)
    assert torch.allclose(none, space.mean[None])


def test_sliders_add_up_and_come_back(fashion: Renderer) -> None:
    first, second = fashion.directions("random")[:2]
    space, start = fashion.point(State(1))
    state = State(1).to(move_of(first, 2.0)).to(move_of(second, -1.0))
    _, moved = fashion.point(state)
    wanted = start + 2 * first.sigma * first.vector - second.sigma * second.vector
    assert torch.allclose(moved, wanted, atol=1e-5)
    # A jump keeps the sliders where they are and lands on its point.
    target = space.sample(1, torch.Generator().manual_seed(5))
    settled = fashion.settle(state, space, target)
    assert settled.moves == state.moves
    assert torch.allclose(fashion.point(settled)[1], target, atol=1e-4)


def test_layers_of_another_sample(fashion: Renderer) -> None:
    last = fashion.layers - 1
    assert torch.equal(fashion.draw([State(1, mix=Mix(5, 0, 0, last))]), fashion.draw([State(5)]))
    some = fashion.draw([State(1, mix=Mix(5, 0, 2, last))])
    assert not torch.equal(some, fashion.draw([State(1)]))
    assert not torch.equal(some, fashion.draw([State(5)]))
    direction = fashion.directions("random")[0]
    one_layer = State(1).to(replace(move_of(direction, 2.0), layers=(1,)))
    space, points = fashion.point(one_layer)
    assert space.name == "w+"
    changed = (points - fashion.point(State(1))[1][:, None]).abs().amax((0, 2))
    assert changed.argmax() == 1
    assert changed.sum() == changed[1]
    with pytest.raises(GanvasError, match="Layers go from"):
        fashion.draw([State(1).to(replace(move_of(direction, 2.0), layers=(99,)))])
    with pytest.raises(GanvasError, match="Layers go from"):
        fashion.other_style(State(), Mix(1, 0, 3, 99))


def test_noise_has_a_seed(small: Renderer) -> None:
    fixed, first, again, other = small.draw([State(), State(noise=1), State(noise=1), State(noise=2)])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, fixed)


def test_many_pictures_with_noise_are_drawn_some_at_a_time(
    small: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.model.AT_ONCE", 1)
    renderer, seen = Renderer(replace(small.model), "again"), list[int]()
    last = list(renderer.model.generator.modules())[-1]
    handle = last.register_forward_hook(lambda _, given, made: seen.append(len(made)))
    assert len(renderer.together([State(1, i, noise=3) for i in range(40)])) == 40
    handle.remove()
    assert max(seen) == 16


def test_many_thumbnails_are_the_pictures(fashion: Renderer) -> None:
    states = [State(1, i) for i in range(20)]
    apart = fashion.together(states).int() - fashion.draw(states).int()
    assert apart.abs().max() <= 1, "a batch may round otherwise"
    assert len(fashion.together([])) == 0
    assert len(fashion.together([State(), State(noise=2), State(mix=Mix(3, 0, 0, 1))])) == 3


def test_thumbnails_of_several_classes_are_drawn_in_one_batch(
    small: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own class; one by one they took a conditional model as many calls as there are pictures."""
    states = [State(1, 0, label=0), State(1, 0, label=1), State(1, 4), State(2, 5, label=1)]
    apart = small.draw(states)
    assert not torch.equal(apart[0], apart[1])
    drawn: list[int] = []
    draw = Renderer.pictures

    def counted(self: Renderer, space: Any, points: torch.Tensor, *more: Any) -> torch.Tensor:
        drawn.append(len(points))
        return draw(self, space, points, *more)

    monkeypatch.setattr(Renderer, "pictures", counted)
    assert (small.together(states).int() - apart.int()).abs().max() <= 1
    assert drawn == [4]


def test_of_a_file_of_many_directions_the_first_have_sliders(
    fashion: Renderer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """8,000 in a file of 5 MB made a page of 10 MB for everybody who opened one."""
    first = fashion.directions("random")[0]
    save(
        tmp_path / "many.safetensors",
        [replace(first, name=f"{i:03}", vector=first.vector.clone()) for i in range(60)],
    )
    found = fashion.load(tmp_path / "many.safetensors")
    assert [each.name for each in found] == [f"{i:03}" for i in range(50)]
    assert "60 directions in many.safetensors: the first 50 have sliders" in caplog.text


def test_at_most_ten_directions_found_once_and_kept(fashion: Renderer) -> None:
    found = fashion.directions("random")
    assert len(found) == SLIDERS
    assert fashion.directions("random") is found
    strips = fashion.strips(State(3), [move_of(each, 0.0) for each in found[:2]])
    assert [len(strip) for strip in strips] == [len(STRENGTHS)] * 2
    assert (strips[0][2].int() - fashion.draw([State(3)])[0].int()).abs().max() <= 1
    path = fashion.kept("here")
    assert path is not None
    save(path, found)
    assert [each.name for each in load_directions(path, fashion.model)] == [each.name for each in found]


def test_a_locked_attribute_has_no_part_in_a_direction(fashion: Renderer) -> None:
    direction, lock = fashion.directions("random")[0], fashion.named("brightness")
    kept = fashion.locked(direction, ("brightness",))
    a, b = (fashion.space.whiten(each.vector.flatten()[None])[0] for each in (kept, lock))
    assert abs(float(a @ b / (a.norm() * b.norm()))) < 1e-4
    assert kept.sigma > 0
    assert fashion.locked(direction, ()) is direction


def test_fifty_clicks_make_a_direction(fashion: Renderer) -> None:
    images = fashion.draw([State(100, i) for i in range(50)])
    bright = images.float().mean((1, 2, 3))
    marks = [(100, i, bool(bright[i] > bright.median())) for i in range(50)]
    found = fashion.clicked(marks, "light")
    assert found.name == "light"
    assert found.score >= 0.8
    assert found.made["p"] < 0.01, "beside the same with the marks shuffled"
    fresh = [State(5, i) for i in range(20)]
    before, after = (
        fashion.draw(states).float().mean() for states in (fresh, [s.to(move_of(found, 1.5)) for s in fresh])
    )
    assert after > before + 10


def test_neighbours_look_equally_different(fashion: Renderer) -> None:
    state = fashion.start.to(move_of(fashion.directions("random")[0], 1.0))
    around = fashion.neighbours(state)
    assert len(around) == 8
    assert all(each.moves == state.moves for each in around)
    images = fashion.draw([state, *around]).float() / 127.5 - 1
    features = pyramid(images)
    away = (features[1:] - features[0]).norm(dim=1)
    assert away.max() < 2.5 * away.min()
    # Opposite cells are steps to either side: their middle is the state.
    middle = (fashion.point(around[0])[1] + fashion.point(around[7])[1]) / 2
    assert torch.allclose(middle, fashion.point(state)[1], atol=1e-3)


def test_a_picture_beyond_all_numbers_has_no_neighbours(small: Renderer) -> None:
    far = State(base=pack(torch.full(small.space.shape, 3e38)), space=small.space.name)
    with pytest.raises(GanvasError, match="beyond all numbers"):
        small.neighbours(far)


@pytest.mark.parametrize("numbers", [1, 2, 3, 5])
def test_a_space_of_few_numbers_has_eight_neighbours_too(numbers: int) -> None:
    """They were looked for along four directions, which ended in an `IndexError`."""
    renderer = Renderer(ganvas.wrap(_Spot(0, numbers), latent_dim=numbers))
    here = renderer.point(State())[1]
    moved = torch.cat([renderer.point(each)[1] - here for each in renderer.neighbours(State())])
    assert len(moved) == 8
    assert torch.pdist(moved).min() > 1e-3, "all elsewhere"
    assert torch.allclose(moved, -moved.flip(0), atol=1e-5), "opposite cells are opposite steps"


def test_what_is_found_of_a_module_is_not_shown_of_another_with_its_weights() -> None:
    """Directions and map were those in the cache: of all modules without weights, say, those of the first."""
    found = []
    for place in (0, 2):
        renderer = Renderer(ganvas.wrap(_Spot(place, 4), latent_dim=4))
        first = renderer.directions("jacobian")[0].vector.flatten().abs()
        assert first[place : place + 2].norm() > 0.99, "it reads no others"
        found.append(landscape(renderer, 60).features)
    assert not torch.equal(*found)


def test_what_is_found_of_a_model_is_not_shown_of_another_with_its_weights(tmp_path: Path) -> None:
    """The sliders of one's own model were those of a stranger's, once that was explored."""
    tensors, header = io.load_tensors(PACKAGED / "fashion" / "generator.safetensors")
    header["config"]["network"]["generator"]["mapping_rate"] = 1.0
    io.save_tensors(tmp_path / "other.safetensors", tensors, header)
    other = Renderer(ganvas.load(tmp_path / "other.safetensors", device="cpu"))
    own = Renderer(ganvas.load("fashion", device="cpu"))
    assert other.hash == own.hash
    assert other.directions("random")[0].effect != own.directions("random")[0].effect


def test_a_copy_without_critic_does_not_take_the_costs_away() -> None:
    model = ganvas.load("fashion", device="cpu")
    bare, own = Renderer(replace(model, critic=None)), Renderer(model)
    assert bare.directions("random")[0].cost is None
    assert own.directions("random")[0].cost is not None
    again = Renderer(model)
    path = again.kept(f"directions-{again.space.name}-random")
    assert path is not None
    assert path.is_file()


class _Spot(nn.Module):
    """A spot whose place two of the latents are; no weights."""

    def __init__(self, first: int, numbers: int) -> None:
        super().__init__()
        self.first, self.last = first, min(first + 1, numbers - 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = torch.linspace(-1, 1, 16)
        across, down = (z[:, each, None].tanh() * 0.7 - x for each in (self.first, self.last))
        drawn: torch.Tensor = 2 * torch.exp(-8 * (across[:, None] ** 2 + down[:, :, None] ** 2)) - 1
        return drawn[:, None]


def test_inversion_finds_a_sample_again(fashion: Renderer) -> None:
    target = fashion.draw([State(4, 2)])[0]
    state, residual = fashion.inverted(target)
    assert residual < 0.1
    assert (fashion.draw([state])[0].float() - target.float()).abs().mean() < 10
    # Half of it hidden: what was seen is matched.
    half, on_seen = fashion.inverted(target, "inpaint", "bottom")
    assert on_seen < 0.3
    seen = (fashion.draw([half])[0].float() - target.float()).abs()[:, :14].mean()
    assert seen < 30


def test_samplers_draw_states(fashion: Renderer) -> None:
    drawn = fashion.drawn_by("budget", 3)
    assert drawn.base is not None
    assert drawn == fashion.drawn_by("budget", 3)
    assert fashion.drawn_by("prior", 3) == State(3)
    better = [fashion.quality(fashion.drawn_by("budget", seed)).log_ratio for seed in range(12)]
    plain = [fashion.quality(State(seed)).log_ratio for seed in range(12)]
    assert sum(x for x in better if x is not None) > sum(x for x in plain if x is not None)


def test_what_a_model_lacks_is_said(small: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GanvasError, match=r"ratio=ganvas\.fit_ratio"):
        small.drawn_by("budget", 1)
    monkeypatch.setattr(small.model, "path", Path("runs/00000-mine"))
    with pytest.raises(GanvasError, match=r"Repair follows .* Run: ganvas calibrate runs.00000-mine$"):
        small.repaired(State())
    with pytest.raises(GanvasError, match="this model has w, z"):
        small.draw([State(base=pack(torch.ones(8)), space="layers:3")])
    with pytest.raises(GanvasError, match="8 are expected"):
        small.draw([State(base=pack(torch.ones(5)), space="w")])
    with pytest.raises(GanvasError, match="NaN or infinity"):
        small.draw([State(base=pack(torch.full((8,), 3e38)), space="w")])
    with pytest.raises(GanvasError, match="up to 2,147,483,647"):
        small.draw([State(number=2**31)])


def test_a_generator_that_is_not_ours() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    renderer = Renderer(ganvas.wrap(net, latent_dim=6))
    state = State(1).to(move_of(renderer.directions("pca")[0], 1.0))
    assert renderer.draw([state]).shape == (1, 1, 8, 8)
    assert len(renderer.neighbours(state)) == 8
    assert renderer.layers == 0
    found = renderer.quality(state)
    assert found.log_ratio is None
    assert found.realism != found.realism
    assert found.nearest is None
    with pytest.raises(GanvasError, match="models with"):
        renderer.draw([State(mix=Mix(1))])
    with pytest.raises(GanvasError, match="noise maps"):
        renderer.draw([State(noise=1)])


def test_points_are_no_pictures(tmp_path: object) -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(GanvasError, match="shows pictures"):
        Renderer(ganvas.wrap(net, latent_dim=2))


THREADS = """
import sys
from ganvas.latent.finders import finders
from ganvas.web.film import film
from ganvas.web.landscape import landscape
from ganvas.web.opening import open_renderer
from ganvas.web.state import State, Timeline

renderer = open_renderer("fashion", device="cpu")
renderer.warm()
before = set(sys.modules)
renderer.quality(State())
for method in ("pca", "ica", "jacobian"):
    finders.get(method)(renderer.space, 2, 0)
landscape(renderer, 60)
renderer.clicked([(1, i, i % 2 == 0) for i in range(20)], "marked")
film(renderer, Timeline((State(), State(1)), "spline", 3))
from matplotlib.figure import Figure
imported = set(sys.modules) - before
new = {name for name in imported if name.partition(".")[0] in ("sklearn", "scipy", "matplotlib")}
print(sorted(new | imported & {"torch._decomp.decompositions_for_jvp"}))
"""


def test_threads_of_pages_import_nothing_at_the_same_moment(tmp_path: Path) -> None:
    """Two that began with different modules of a circle left a page without its map: partially initialized, said Python."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True,
        env={**os.environ, "GANVAS_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_an_attribute_may_have_a_name_that_no_file_can(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percent by percent, forty letters of Cyrillic are 240: a lock on such a class was an error of the system."""
    asked: list[str] = []
    direction = fashion.directions("random")[0]
    monkeypatch.setattr(
        "ganvas.web.renderer.from_attribute", lambda space, name: asked.append(name) or direction
    )
    for name in ("class:" + 40 * "\u0416", "class:" + 41 * "\u0416"):
        fashion.named(name)
    assert [len(name) for name in asked] == [46, 47]


def test_a_second_page_is_warmed_beside_the_directions_of_the_first(fashion: Renderer) -> None:
    """Levels of forward mode are of the process: a second `ganvas.explore` of a notebook ended in a RuntimeError."""
    over = threading.Event()

    def directions() -> None:
        while not over.is_set():
            columns(fashion.space, fashion.space.few(1)[0][0])

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(directions)
        try:
            for _ in range(10):
                fashion.warm()
        finally:
            over.set()
        busy.result()
