"""Generators of other toolkits in the explorer: coarse pictures where the whole ones take long, and sliders of their own."""

import copy
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import ganvas
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.latent.paths import pyramid, steps_between
from ganvas.model import Model, ModelInfo
from ganvas.model import known as in_use
from ganvas.networks import build_generator
from ganvas.networks.stylegan3 import placement
from ganvas.web import export
from ganvas.web import renderer as module
from ganvas.web.film import film
from ganvas.web.landscape import landscape, samples_of
from ganvas.web.pace import Superseded
from ganvas.web.quality import FEW
from ganvas.web.renderer import Renderer
from ganvas.web.state import Mix, Move, State, Timeline, from_text, pack
from tests.forked import Process, server
from tools import browser
from tools.browser import chromium

FILES = Path(__file__).parents[1] / "importers" / "files"


def model_of(name: str, side: int, **options: object) -> Model:
    """An untrained model with little to compute."""
    config = NetworkConfig(name, latent_dim=16, generator=options)
    generator = build_generator(config, (3, side, side), 0).eval().requires_grad_(False)
    return Model(generator, None, ModelInfo.of(generator, name, architecture=config))


def test_the_unit_of_neighbours_is_of_classes_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pictures take long it was that of the first ones, other than where they do not."""
    monkeypatch.setattr(module, "PROMPT", 0.0)
    options = {"channel_base": 512, "channel_max": 8, "w_dim": 16, "mapping_layers": 2}
    config = NetworkConfig("stylegan2", latent_dim=16, conditional=True, generator=options)
    generator = build_generator(config, (3, 128, 128), 1000).eval().requires_grad_(False)
    renderer = Renderer(Model(generator, None, ModelInfo.of(generator, "many", architecture=config)), "many")
    space, asked = renderer.view.space, list[int]()
    decode = space.decode

    def noted(points: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        assert labels is not None
        asked.extend(labels.tolist())
        return decode(points, labels)

    monkeypatch.setattr(space, "decode", noted)
    assert renderer.slow
    assert renderer._scale > 0
    assert max(asked) > 500


def test_a_module_that_was_explored_is_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What watches its layers stayed in it, so that it could not be saved any more."""
    monkeypatch.setattr(module, "PROMPT", 0.0)
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 1, 1)), torch.nn.Upsample(scale_factor=128)
    )  # fmt: skip
    model = ganvas.wrap(network, latent_dim=4)
    renderer = Renderer(model)
    assert renderer.slow
    torch.save(network, tmp_path / "network.pt")
    with torch.no_grad():
        before = renderer.draw([State()])
        network[0].bias += 0.5
        assert not torch.equal(renderer.draw([State()]), before), "the weights are shared"


@pytest.fixture(scope="module")
def slow() -> Renderer:
    """128 px, as if a picture took long."""
    model = model_of("stylegan2", 128, channel_base=512, channel_max=8, w_dim=16, mapping_layers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PROMPT", 0.0)
        return Renderer(model, "slow")


@pytest.fixture
def costly(slow: Renderer, monkeypatch: pytest.MonkeyPatch) -> Renderer:
    """The same as if even its coarsest pictures took two seconds."""
    monkeypatch.setattr(module, "_seconds", lambda model: 2.0)
    return Renderer(slow.model, "costly")


@pytest.fixture(scope="module")
def biggan() -> Renderer:
    return Renderer(ganvas.load(FILES / "biggan_deep", device="cpu"), "biggan")


@pytest.fixture(scope="module")
def stylegan3() -> Renderer:
    return Renderer(ganvas.load(FILES / "stylegan3_t.pkl", device="cpu"), "stylegan3")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("style", {"channels": 4, "max_channels": 8}),
        ("stylegan2", {"channel_base": 64, "channel_max": 8}),
        ("lucidrains", {"channels": 4, "max_channels": 8}),
    ],
)
def test_a_coarse_picture_is_the_sum_of_the_images_so_far(name: str, options: dict[str, object]) -> None:
    model = model_of(name, 32, output="linear", **options)
    generator = model.generator
    assert generator.coarse_sides == (4, 8, 16)
    z = model.latents(2)
    whole, seen = generator(z), []
    last = list(generator.to_image)[-1]  # type: ignore[arg-type]
    handle = last.register_forward_hook(lambda _, given, found: seen.append(found))
    generator(z)
    handle.remove()
    # What the last image adds to the doubled coarse one is the whole picture: nothing else is in between.
    coarse = generator.at(16)(z)
    assert coarse.shape == (2, 3, 16, 16)
    if name == "stylegan2":
        doubled = generator.low_pass.up(coarse)
    elif name == "style":
        doubled = F.interpolate(coarse, size=32, mode="bilinear", align_corners=False)
    else:
        from ganvas.networks.layers import bilinear_up
        from ganvas.networks.lucidrains import blurred

        doubled = blurred(bilinear_up(coarse))
    assert torch.allclose(doubled + seen[0], whole, atol=1e-5)
    assert generator.at(8)(z).shape == (2, 3, 8, 8)
    assert generator(z).equal(whole)
    with pytest.raises(GanvasError, match="no picture of 12 px"):
        generator.at(12)


def test_networks_without_images_on_their_way_say_so() -> None:
    generator = model_of("dcgan", 16, channels=4).generator
    assert generator.coarse_sides == ()
    with pytest.raises(GanvasError, match="but of none"):
        generator.at(8)


def test_while_a_slider_is_dragged_a_coarse_picture_of_the_same_point_comes(slow: Renderer) -> None:
    assert slow.slow
    assert slow.small is not None
    state = State(3, 5)
    side = slow.small.model.shape[1]
    assert slow.coarse(state).shape == (3, side, side)
    with torch.no_grad():
        z = slow.model.latents_at([5], 3)
        assert slow.coarse(state).equal(slow.model.to_data(slow.model.generator.at(side)(z))[0])
    assert slow.draw([state]).shape == (1, 3, 128, 128)
    # With the noise of the whole picture, not another one.
    noisy = replace(state, noise=7)
    assert slow.coarse(noisy).shape == (3, side, side)
    assert slow.hash == slow.small.hash
    assert in_use(slow.hash) is slow.model, "what a notebook shows a ratio or a direction by"


def test_what_only_has_to_be_recognised_is_small(slow: Renderer) -> None:
    side = slow.view.model.shape[1]
    assert side < 128
    assert slow.thumbs([State(number=i) for i in range(5)]).shape == (5, 3, side, side)
    assert len(slow.directions("pca")) > 0
    around = slow.neighbours(State())
    assert len(around) == 8
    looks = slow.thumbs(around).float()
    changed = (looks - slow.thumbs([State()]).float()).abs().mean((1, 2, 3))
    assert (changed > 0).all()
    found = landscape(slow, 60)
    assert found.places.shape == (60, 2)


def test_quality_without_real_images_and_without_a_critic(slow: Renderer) -> None:
    assert not slow.gauge.is_ready
    found = slow.quality(State(number=2))
    assert slow.gauge.is_ready
    assert slow.gauge.known == FEW
    assert found.realism != found.realism  # nothing judges
    assert 0 <= found.typicality <= 1
    assert 0 <= found.manifold <= 1
    assert found.nearest is None


def test_a_critic_judges_the_whole_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROMPT", 0.0)
    monkeypatch.setattr(module, "LARGE", 16)
    loaded = ganvas.load(FILES / "stylegan2_of_3.pkl", device="cpu")
    assert loaded.critic is not None
    renderer = Renderer(loaded, "critic")
    assert renderer.small is not None
    space = renderer.space
    labels = loaded.labels(FEW)
    wanted = renderer.gauge.scores(loaded.sample(FEW, seed=1, labels=labels), labels)
    found = renderer.quality(State())
    assert wanted is not None
    own = renderer.gauge._own.scores
    assert own is not None
    # The files draw four at a time, which may round a pixel otherwise.
    assert torch.allclose(own, wanted, atol=0.05 * float(wanted.std()))
    assert 0 <= found.realism <= 1
    assert space.model is renderer.model


def test_what_is_not_wanted_any_more_is_not_drawn_to_its_end(slow: Renderer) -> None:
    state = State(1, 1)
    assert slow.draw_while(state, lambda: True).equal(slow.draw([state])[0])
    with pytest.raises(Superseded):
        slow.draw_while(state, lambda: False)
    assert slow.draw([state]).shape == (1, 3, 128, 128)  # others are not disturbed
    copy.deepcopy(slow.model.generator)  # as tuning by PTI does


class Clock:
    """Stands in for the time module: it goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_what_can_wait_rests_while_somebody_drags(slow: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    slow.coarse(State())
    asked = clock.now
    slow.rest()
    assert asked + module.REST <= clock.now < asked + 2 * module.REST
    rested = clock.now
    slow.rest()
    assert clock.now == rested, "nobody drags any more"


def test_what_is_drawn_behind_follows_from_what_a_picture_costs(costly: Renderer) -> None:
    assert costly.small is not None
    assert costly.view is costly.small
    assert costly.gauge.known == 15  # in 30 s
    assert costly.strips_at_once == 3
    assert costly.axes == 12  # of no use below
    assert samples_of(costly) == 45  # in 90 s
    # By so few nothing can be called rarer than one in a hundred.
    assert not costly.gauge.tells
    found = costly.quality(State(number=2))
    assert 0 <= found.manifold <= 1
    assert found.warnings == ()
    assert costly.gauge.error == pytest.approx(0.129, abs=0.001)  # of a share of one half: sqrt(1 / (4 n))
    costly.compare_with(128)
    assert costly.gauge.known == 128
    assert costly.gauge.is_ready
    assert costly.gauge.tells


def test_sliders_move_before_it_is_known_what_they_do(costly: Renderer) -> None:
    first = costly.first_directions("pca")
    assert all(each.effect == 0 and not each.effects for each in first)
    then = costly.directions("pca")
    assert all(each.effect > 0 and each.effects for each in then)
    assert [each.made["measured"] for each in then] == [4] * len(then)
    for bare, known in zip(first, then, strict=True):
        assert bare.vector.equal(known.vector)
        assert bare.sigma == pytest.approx(known.sigma)
    assert costly.first_directions("pca") == then  # once that is known


def test_thumbnails_are_drawn_once_and_only_while_they_are_wanted(
    costly: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, together = [], costly.view.together
    monkeypatch.setattr(costly.view, "together", lambda states: (drawn.extend(states), together(states))[1])
    states = [State(number=i) for i in (0, 1, 2, 1, 3, 4)]
    seen = costly.thumbs(states)
    assert len(drawn) == 5
    assert seen[1].equal(seen[3])
    assert costly.thumbs(states[1:]).equal(seen[1:])
    assert len(drawn) == 5
    left = iter([True, False])
    with pytest.raises(Superseded):
        costly.thumbs([State(number=i) for i in range(10, 30)], wanted=lambda: next(left))
    assert len(drawn) == 9
    with pytest.raises(Superseded):
        costly.neighbours(State(number=5), wanted=lambda: False)


def test_other_threads_stop_while_the_picture_is_drawn_that_is_looked_at(slow: Renderer) -> None:
    done = threading.Event()

    def behind() -> None:
        slow.together([State(number=9)])
        done.set()

    with slow._ahead():
        thread = threading.Thread(target=behind)
        thread.start()
        assert not done.wait(0.3)
        assert slow.coarse(State()).dim() == 3  # what is ahead goes on
    assert done.wait(30)
    thread.join()


def test_large_pictures_that_are_quick_are_drawn_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROMPT", 1e9)
    found = Renderer(model_of("stylegan2", 128, channel_base=512, channel_max=4), "quick")
    assert not found.slow
    assert found.view is found
    assert found.coarse(State()).shape == (3, 128, 128)


# --- sliders ---------------------------------------------------------------------------------------------------------


def test_stylegan3_draws_elsewhere(stylegan3: Renderer) -> None:
    generator = stylegan3.model.generator
    z = stylegan3.model.latents_at([4], 0)
    label = stylegan3.label(State(number=4))
    with torch.no_grad():
        styles = generator.styles(generator.broadcast(generator.mapping(z, label)))
        wanted = generator.synthesis(styles, transform=placement(30.0, 0.25, -0.125))
    moved = stylegan3.draw([State(number=4, place=(0.25, -0.125, 30.0))])
    assert moved.equal(stylegan3.model.to_data(wanted))
    assert not moved.equal(stylegan3.draw([State(number=4)]))
    assert torch.equal(generator.transform, torch.eye(3))  # the model itself is as it was


def test_others_cannot_be_moved(biggan: Renderer) -> None:
    with pytest.raises(GanvasError, match="cannot be moved"):
        biggan.draw([State(place=(0.1, 0.0, 0.0))])


def test_what_others_cannot_draw_is_found_without_drawing(biggan: Renderer) -> None:
    move = Move("theirs", pack(torch.ones(biggan.space.shape)), 1.0, 1.0)
    biggan.check(State(other=1, share=0.5, truncation=0.5, moves=(move,)))
    for state, words in (
        (State(place=(0.1, 0.0, 0.0)), "cannot be moved"),
        (State(noise=1), "no noise maps"),
        (State(mix=Mix(1)), r"w\+ only"),
        (State(moves=(replace(move, layers=(0,)),)), r"w\+ only"),
    ):
        with pytest.raises(GanvasError, match=words):
            biggan.check(state)


def test_truncation_of_biggan_is_a_level_too(biggan: Renderer) -> None:
    model = biggan.model
    assert Renderer.has_levels(model.generator)
    z, label = model.latents_at([3], 0), biggan.label(State(number=3))
    drawn = biggan.draw([State(number=3, truncation=0.5)])
    other = ganvas.load(FILES / "biggan_deep", device="cpu")
    other.generator.truncation = 0.5 * model.generator.truncation
    with torch.no_grad():
        assert drawn.equal(model.to_data(other.generator(0.5 * z, label)))
        assert not drawn.equal(model.to_data(model.generator(0.5 * z, label)))
    # A jump keeps the level, and lands on its picture.
    space, points = biggan.point(State(number=3, truncation=0.5))
    settled = biggan.settle(State(number=3, truncation=0.5), space, points)
    assert settled.truncation == 0.5
    assert (biggan.draw([settled]).int() - drawn.int()).abs().max() <= 1
    biggan.draw([State(truncation=0.0)])
    biggan.draw([State(truncation=1.5)])


def test_classes_are_mixed_by_their_vectors(biggan: Renderer) -> None:
    generator = biggan.model.generator
    z = biggan.model.latents_at([1], 0)
    state = State(number=1, label=1)
    assert biggan.draw([replace(state, other=2, share=0.0)]).equal(biggan.draw([state]))
    assert biggan.draw([replace(state, other=2, share=1.0)]).equal(biggan.draw([replace(state, label=2)]))
    mixed = copy.deepcopy(generator)
    assert mixed.embed is not None
    with torch.no_grad():
        vectors = mixed.embed.weight
        vectors[1] = 0.7 * vectors[1] + 0.3 * vectors[2]
        wanted = biggan.model.to_data(mixed(z, torch.tensor([1])))
    assert (biggan.draw([replace(state, other=2, share=0.3)]).int() - wanted.int()).abs().max() <= 1
    with pytest.raises(GanvasError, match="a class from 0 to"):
        biggan.draw([replace(state, other=10**6, share=0.5)])


def test_classes_of_a_style_based_generator_are_mixed_in_front_of_its_mapping(stylegan3: Renderer) -> None:
    if not stylegan3.classes:
        pytest.fail("the file has classes")
    for psi in (1.0, 0.5):  # truncation pulls to where the mixed class is
        stylegan3.draw([State(label=0, truncation=psi)])
        whole = stylegan3.draw([State(label=0, other=1, share=1.0, truncation=psi)])
        assert whole.equal(stylegan3.draw([State(label=1, truncation=psi)]))


def test_a_film_goes_from_place_to_place(stylegan3: Renderer) -> None:
    keys = (State(), State(place=(0.0, 0.0, 90.0)))
    frames, _ = film(stylegan3, Timeline(keys, equal=False, frames=3))
    for frame, turn in zip(frames, (0.0, 45.0, 90.0), strict=True):
        wanted = stylegan3.draw([State(place=(0.0, 0.0, turn))])[0]
        assert (frame.int() - wanted.int()).abs().max() <= 1


def test_equal_steps_are_those_of_the_pictures_that_are_drawn(stylegan3: Renderer) -> None:
    """Measured by the point alone, nothing changed between places and truncations: their steps were as they came."""
    here = State()
    keys = (here, replace(here, place=(0.02, 0.0, 0.0)), replace(here, place=(0.4, 0.0, 0.0)))

    def spread(equal: bool) -> tuple[float, float]:
        frames, said = film(stylegan3, Timeline(keys, equal=equal, frames=12))
        steps = steps_between([pyramid(frames.float() / 127.5 - 1)])
        return float(steps.std(correction=0) / steps.mean()), said

    uneven, _ = spread(equal=False)
    even, said = spread(equal=True)
    assert even < uneven / 2
    assert said == pytest.approx(even, abs=0.1)  # of pictures that were rounded


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_of_another_toolkits_file(tmp_path: Path) -> None:
    with server(str(FILES / "stylegan3_t.pkl"), cache=tmp_path) as (url, _), chromium() as page:
        page.open(url)
        before = page.pixels()
        page.drag("turn", [4] * 12)
        page.differs(before)
        page.settled()
        turned = from_text(page.driver.current_url.partition("r=")[2]).state.place
        assert turned[:2] == (0.0, 0.0)
        assert turned[2] > 0
        page.click("do-undo")
        page.equals(before)
        assert page.slider("share").is_displayed()
        # What there is, is shown; what there is not, is said, and no box is empty.
        page.wait(lambda: "manifold" in page.text("verdict"))
        assert page.text("q-realism").endswith("%")  # its critic came along
        assert page.text("q-typicality").endswith("%")
        assert "ganvas explore MODEL --data FOLDER" in page.text("nearest")
        assert not page.driver.find_element("css selector", "[alt='the nearest real image']").is_displayed()
        assert page.errors() == []


SLOWLY = """
import sys
import ganvas.web.renderer as module
from ganvas.cli import main
module.PROMPT, module._seconds = 0.0, lambda model: 2.0
sys.argv = {words}
main()
"""
"""`ganvas explore` as if every picture took two seconds."""


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_of_costly_pictures_says_what_it_leaves_out(slow: Renderer, tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    slow.model.save(path)

    def started(_: str, module: str, *words: str, env: dict[str, str]) -> Process:
        return Process("-c", SLOWLY.format(words=[module, *words]), env=env, together=True)

    where = browser.server(str(path), cache=tmp_path / "cache", start=started)
    with where as (url, _), chromium() as page:
        page.open(url)
        page.wait(lambda: page.text("directions-few").startswith("Pictures of 3 sliders, no more because"))
        strips = (
            "return [...document.querySelectorAll('[data-id=tray] img.strip')].filter((e) => e.src).length"
        )
        page.wait(lambda: page.script(strips) == 3)
        page.click("do-strips")
        page.wait(lambda: page.script(strips) == 10, 60)
        page.wait(lambda: "From 15 own samples" in page.text("few"))
        page.click("do-compare")
        page.wait(lambda: not page.driver.find_element("css selector", "[data-id=few]").is_displayed(), 60)
        page.wait(lambda: "45 samples of seed 0, no more because each takes 2.0 s" in page.text("map-words"))
        page.click("do-more-map")
        page.wait(lambda: page.text("map-words").startswith("1,000 samples"), 60)
        assert page.errors() == []


def test_what_is_mixed_in_first_changes_no_other_quality(
    small: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual points were those of the first state that was looked at, with a class mixed into all of them."""
    monkeypatch.setattr(module, "PROMPT", 0.0)
    monkeypatch.setattr(module, "LARGE", 16)
    plain, after = (Renderer(small.model, "slow") for _ in range(2))
    assert plain.slow
    after.quality(State(5, 3, other=2, share=1.0))
    for number in range(6):
        found, wanted = (each.quality(State(9, number)) for each in (after, plain))
        assert (found.manifold, found.typicality) == (wanted.manifold, wanted.typicality)


def test_the_static_page_keeps_no_whole_pictures(slow: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them, joined and made small at the end, took 2 GB at 256 px and sixteen times as much at 1,024."""
    monkeypatch.setattr(export, "WIDEST", 1000)
    monkeypatch.setattr(export, "NUMBERS", 3 * 128 * 128 * 4)
    drawn, states = list[int](), [State(number=i) for i in range(10)]
    whole = slow.together(states)

    def together(some: list[State]) -> torch.Tensor:
        drawn.append(len(some))
        return whole[[each.number for each in some]]

    monkeypatch.setattr(slow, "together", together)
    assert torch.equal(export._drawn(slow, states, 30), export._smaller(whole, 30))
    assert drawn == [4, 4, 2]
