"""What a page worked out when something else was chosen, undone or opened meanwhile: each case here was told or drawn wrongly."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nicegui import Client, core, ui

from ganvas.web import renderer as renderer_module
from ganvas.web.page import MOST_JOBS, Page
from ganvas.web.panels import controls, map, stage
from ganvas.web.renderer import Renderer
from ganvas.web.session import Session
from ganvas.web.source import Source, Written
from ganvas.web.state import State
from tests.web.test_large import model_of

PATIENCE = 20.0
Scene = Callable[[], Awaitable[None]]


class Gate:
    """In the place of a function: says when somebody is inside, and keeps them there."""

    def __init__(
        self, function: Callable[..., object], holds: Callable[..., bool] = lambda *given: True
    ) -> None:
        self.function, self.holds = function, holds
        self.inside, self.open = threading.Event(), threading.Event()

    def __call__(self, *given: object) -> object:
        found = self.function(*given)
        if self.holds(*given) and not self.open.is_set():
            self.inside.set()
            self.open.wait(PATIENCE)
        return found

    def bind(self) -> Callable[..., object]:
        """As a method."""
        return lambda *given: self(*given)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self.inside.wait, PATIENCE)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Run a scene on a page without a browser."""

    def run(scene: Scene) -> None:
        async def within() -> None:
            monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
            # Not left again: NiceGUI itself lets go of what a task has open, and may have done so.
            Client(ui.page("")).__enter__()
            await scene()

        asyncio.run(within())

    return run


@pytest.fixture(scope="module")
def slow() -> Renderer:
    """One whose pictures take long, as pages are told."""
    model = model_of("stylegan2", 128, channel_base=512, channel_max=8, w_dim=16, mapping_layers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer_module, "PROMPT", 0.0)
        return Renderer(model, "slow")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pages have said."""
    found = list[str]()
    monkeypatch.setattr(Page, "tell", lambda page, words, kind="info": found.append(words))
    return found


async def until(holds: Callable[[], object]) -> None:
    for _ in range(400):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came")


def test_neighbours_are_those_of_where_the_page_is(
    slow: Renderer, play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(Renderer.together, lambda renderer, states: len(states) == 1)  # the ninth tile
    gate.open.set()
    monkeypatch.setattr(Renderer, "together", gate.bind())

    async def scene() -> None:
        page = Page(Source(slow), Session(slow))
        stage._neighbours(page)
        tiles = [each for each in page.client.elements.values() if each.tag == "img"]
        show = page.settled[-1]
        await show()
        await until(lambda: tiles[8].props.get("src"))
        wanted = [each.props["src"] for each in tiles]
        page.session.commit("another seed", State(5))
        gate.open.clear()
        await show()
        await gate.entered()
        page.session.undo()
        await show()
        gate.open.set()
        await asyncio.sleep(0.5)
        assert [each.props["src"] for each in tiles] == wanted

    play(scene)


def test_the_way_on_the_map_ends_where_the_page_is(
    slow: Renderer, play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvas.web.landscape import landscape

    gate = Gate(Renderer.together, lambda renderer, states: State(6) in states)
    monkeypatch.setattr(Renderer, "together", gate.bind())

    async def scene() -> None:
        source = Source(slow)
        source.landscape, source.landscape_of = landscape(slow, 60), slow.hash
        page = Page(source, Session(slow))
        map.build(page)
        show = page.settled[0]
        closed = dict(zip(show.__code__.co_freevars, show.__closure__, strict=True))  # type: ignore[attr-defined]
        shown = closed["shown"].cell_contents
        await show()
        await until(lambda: "map" in shown)
        await show()
        await until(lambda: len(shown.get("way", ())) == 1)
        page.session.commit("another seed", State(6))
        await show()
        await gate.entered()
        page.session.undo()
        await show()
        gate.open.set()
        await asyncio.sleep(0.5)
        assert len(shown["way"]) == 1

    play(scene)


def test_new_samples_are_those_of_their_turn(
    small: Renderer, play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sampler of the click, the seed after the one before, and the class that was chosen meanwhile."""
    gate = Gate(Renderer.drawn_by)
    monkeypatch.setattr(Renderer, "drawn_by", gate.bind())

    async def scene() -> None:
        page = Page(Source(small), Session(small))
        controls.build(page)
        (sampler,) = (
            each
            for each in page.client.elements.values()
            if isinstance(each, ui.select) and each.value == "prior"
        )
        first = asyncio.create_task(page.keys["n"]())  # type: ignore[arg-type]
        await gate.entered()
        second = asyncio.create_task(page.keys["n"]())  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        sampler.set_value("truncate")
        await page.step("class 2", replace(page.session.state, label=2))
        gate.open.set()
        await first
        await second
        steps = [
            (each.what, each.state.seed, each.state.label) for each in page.session.history.steps.values()
        ]
        assert steps[1:] == [("class 2", 0, 2), ("new sample by prior", 1, 2), ("new sample by prior", 2, 2)]

    play(scene)


def test_what_was_repaired_is_not_put_over_what_was_done_since(
    small: Renderer, play: Callable[[Scene], None], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(lambda renderer, state: replace(state, truncation=0.9))
    monkeypatch.setattr(Renderer, "repaired", gate.bind())

    async def scene() -> None:
        page = Page(Source(small), Session(small))
        stage._quality(page)
        repairing = asyncio.create_task(page.keys["r"]())  # type: ignore[arg-type]
        await gate.entered()
        await page.step("another seed, locked", State(7, locks=("brightness",)))
        gate.open.set()
        await repairing
        assert page.session.state == State(7, locks=("brightness",))
        assert ["Not repaired" in words for words in told] == [True]
        await page.keys["r"]()
        assert page.session.state == State(7, locks=("brightness",), truncation=0.9)

    play(scene)


def test_no_page_goes_back_to_an_older_snapshot(
    small: Renderer, fashion: Renderer, play: Callable[[Scene], None], tmp_path: Path
) -> None:
    """Two waited for the map to be drawn, the newer one first."""
    older: Written
    newer: Written
    older, newer = (tmp_path / "000002", ()), (tmp_path / "000003", ())
    for folder, _ in (older, newer):
        folder.mkdir()
    opened = list[str]()

    def opener(path: Path) -> Renderer:
        opened.append(path.name)
        return fashion if path == newer[0] else small

    async def scene() -> None:
        source = Source(small, opener=opener)
        one, two = Page(source, Session(small)), Page(source, Session(small))
        async with source.drawing:
            first = asyncio.create_task(one.follow(newer))
            await asyncio.sleep(0)
            second = asyncio.create_task(two.follow(older))
            await asyncio.sleep(0)
        assert (await first, await second) == (True, False)
        assert opened == ["000003"]
        assert source.opened == newer
        newer[0].rmdir()  # a training that went back
        assert await two.follow(older)
        assert source.opened == older

    play(scene)


def test_a_snapshot_that_could_not_be_begun_is_asked_for_again(
    small: Renderer, fashion: Renderer, play: Callable[[Scene], None], told: list[str], tmp_path: Path
) -> None:
    async def scene() -> None:
        page, go = Page(Source(small, opener=lambda path: fashion), Session(small)), threading.Event()
        newest: Written = (tmp_path, ())
        async with page.source.drawing:
            following = asyncio.create_task(page.follow(newest))
            await asyncio.sleep(0)
            jobs = [asyncio.create_task(page.work(f"{i}", go.wait, PATIENCE)) for i in range(MOST_JOBS)]
            await asyncio.sleep(0.1)
        assert not await following
        assert not told
        go.set()
        await asyncio.gather(*jobs)
        assert await page.follow(newest)
        assert page.session.renderer is fashion

    play(scene)
