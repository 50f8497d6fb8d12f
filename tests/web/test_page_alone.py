"""A page without a browser: when it goes on to a newer snapshot, and what its address holds."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nicegui import Client, core, ui

from ganvas.latent.likeness import Likeness
from ganvas.web import page as page_module
from ganvas.web.landscape import Landscape
from ganvas.web.page import Page
from ganvas.web.panels import history, stage
from ganvas.web.panels import map as map_panel
from ganvas.web.quality import Gauge
from ganvas.web.renderer import Renderer
from ganvas.web.serving import LONGEST_HEAD
from ganvas.web.session import Session
from ganvas.web.source import Source, Written
from ganvas.web.state import LONGEST_ADDRESS, State, pack

NEWEST: Written = (Path("000002"), ())
PATIENCE = 20.0
MOST_OF_HEADERS = 2**16
"""Beside an address: browsers send some hundred bytes, and cookies of other servers of this machine."""


@pytest.fixture
def called() -> list[str]:
    """What a page has asked its browser to do."""
    return []


@pytest.fixture
def opened(small: Renderer, called: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Page]:
    client = SimpleNamespace(is_deleted=False, run_javascript=called.append)
    monkeypatch.setattr(page_module, "ui", SimpleNamespace(context=SimpleNamespace(client=client)))
    monkeypatch.setattr(Page, "look", lambda page: None)
    return lambda source: Page(source, Session(small))


def test_what_is_worked_out_is_waited_for(
    small: Renderer, fashion: Renderer, opened: Callable[[Source], Page]
) -> None:
    """Another page had opened it: a picture that this one searched for in the old space was drawn by the new generator."""

    async def scene() -> None:
        page, done = opened(Source(fashion, opened=NEWEST)), threading.Event()
        search = asyncio.create_task(page.work("looking for it", done.wait, PATIENCE))
        await asyncio.sleep(0)
        assert not await page.follow(NEWEST)
        assert page.session.renderer is small
        done.set()
        assert await search
        assert await page.follow(NEWEST)
        assert page.session.renderer is fashion

    asyncio.run(scene())


def test_what_is_begun_while_it_is_opened_is_waited_for(
    small: Renderer, fashion: Renderer, opened: Callable[[Source], Page]
) -> None:
    async def scene() -> None:
        ready, done = threading.Event(), threading.Event()

        def opener(path: Path) -> Renderer:
            ready.wait(PATIENCE)
            return fashion

        source = Source(small, opener=opener)
        page = opened(source)
        following = asyncio.create_task(page.follow(NEWEST))
        await asyncio.sleep(0.1)
        search = asyncio.create_task(page.work("looking for it", done.wait, PATIENCE))
        await asyncio.sleep(0)
        ready.set()
        assert not await following
        assert source.renderer is fashion
        assert page.session.renderer is small
        done.set()
        assert await search
        assert await page.follow(NEWEST)
        assert page.session.renderer is fashion

    asyncio.run(scene())


def test_what_is_kept_while_it_is_opened_stays(
    small: Renderer, fashion: Renderer, opened: Callable[[Source], Page]
) -> None:
    """A bookmark that was made while the map was drawn, or the snapshot opened, was gone without a word."""

    async def scene() -> None:
        source = Source(small, opener=lambda path: fashion)
        page = opened(source)
        page.session.choose("random", small.directions("random"))
        page.session.commit("slider", page.session.dragged("random-0", 1.0))
        await source.drawing.acquire()  # another page draws its map
        following = asyncio.create_task(page.follow(NEWEST, lambda: not page.session.bound))
        await asyncio.sleep(0)
        page.session.bookmark("mine")
        source.drawing.release()
        assert not await following
        assert page.session.renderer is small
        assert [name for name, _ in page.session.bookmarks] == ["mine"]
        page.session.bookmarks.clear()
        assert await page.follow(NEWEST, lambda: not page.session.bound)

    asyncio.run(scene())


def test_what_cannot_be_drawn_is_shown_without_a_picture(
    small: Renderer, opened: Callable[[Source], Page]
) -> None:
    """One bookmark of a recipe from anybody kept the whole list, and the steps, from being shown, for good."""

    async def scene() -> None:
        found = await opened(Source(small)).thumbs_of([State(), State(label=999), State(3)])
        assert [bool(each) for each in found] == [True, False, True]

    asyncio.run(scene())


def test_what_cannot_be_drawn_is_refused_in_words(
    small: Renderer, opened: Callable[[Source], Page], called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click on such a bookmark did nothing, and so did every one that came after it."""

    async def scene() -> None:
        page, told = opened(Source(small)), list[str]()
        monkeypatch.setattr(page, "tell", lambda words, kind="info": told.append(words))
        await page.step("bookmark theirs", State(label=99))
        assert told == ["Not opened: Classes go from 0 to 2, got 99."]
        assert page.session.state == page.session.history.state == State()
        assert called == []

    asyncio.run(scene())


def test_steps_are_shown_beside_one_that_cannot_be_drawn(
    small: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither steps nor bookmarks came any more, and each step brought two messages: of the history and of the map."""
    beyond = State(base=pack(torch.full(small.space.shape, 3e38)), space=small.space.name)
    features = small.view.gauge.features(small.thumbs([State(seed) for seed in range(8)]))
    known = Landscape(torch.rand(8, 2), {"density": torch.rand(8)}, None, features)

    async def scene() -> None:
        monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
        source = Source(small, landscape=known, landscape_of=small.hash)
        with Client(ui.page("")):
            page, told = Page(source, Session(small)), list[str]()
            monkeypatch.setattr(page, "tell", lambda words, kind="info": told.append(words))
            history.build(page)
            map_panel.build(page)
            sent = list[list[dict[str, Any]]]()
            monkeypatch.setattr(
                ui.echart, "run_chart_method", lambda chart, name, options: sent.append(options["series"])
            )
            for what, state in (("beyond", beyond), ("again", State(3))):
                page.session.commit(what, state)
                page.session.bookmark(what)
                await page.settle()
            for _ in range(200):
                if sent:
                    break
                await asyncio.sleep(0.05)
            await page.settle()
            shown = [each.text for each in page.client.elements.values() if isinstance(each, ui.label)]
            assert {"2. again", "1. beyond", "0. start", "beyond", "again"} <= {*shown}
            assert [bool(page.thumbs[number]) for number in range(3)] == [True, False, True]
            way, here = sent[-1]
            assert [each[0] is None for each in way["data"]] == [False, True, False]
            assert here["data"][0]["value"] == way["data"][-1]
            assert told == []

    asyncio.run(scene())


def test_what_still_goes_on_is_said(
    small: Renderer, opened: Callable[[Source], Page], called: list[str]
) -> None:
    """When a whole picture was drawn nothing said any more that a film of a minute was."""

    async def scene() -> None:
        page, done = opened(Source(small)), threading.Event()
        film = asyncio.create_task(page.work("drawing a film", done.wait, PATIENCE))
        await asyncio.sleep(0.05)
        with page._busy("drawing the whole picture"):
            assert "whole picture" in called[-1]
        assert "drawing a film" in called[-1]
        done.set()
        await film
        assert called[-1] == 'ganvas.busy("")'

    asyncio.run(scene())


def test_nothing_of_the_old_one_can_be_clicked(fashion: Renderer, opened: Callable[[Source], Page]) -> None:
    async def scene() -> None:
        page = opened(Source(fashion, opened=NEWEST))
        around = [State(3)]
        page.left.append(around.clear)
        assert await page.follow(NEWEST)
        assert not around

    asyncio.run(scene())


def test_what_belongs_to_a_snapshot_is_counted(small: Renderer, fashion: Renderer) -> None:
    """Bookmarks and key frames of every page went with the next snapshot, without a word."""
    session = Session(small)
    session.choose("random", small.directions("random"))
    session.bookmark("plain")
    session.add_key()
    assert session.bound == []
    session.commit("slider", session.dragged("random-0", 1.0))
    session.bookmark("edited")
    session.add_key()
    session.mark(0, 1)
    session.load([replace(small.directions("random")[1], name="mine")])
    assert session.bound == ["1 bookmark", "1 key frame", "1 mark", "1 direction"]
    session.timeline = replace(session.timeline, fps=12.0)
    session.adopt(fashion)
    assert session.bound == []
    assert [name for name, _ in session.bookmarks] == ["plain"]
    assert session.timeline.keys == (State(),)
    assert session.timeline.fps == 12.0


def test_an_address_that_is_too_long_is_said(
    small: Renderer, opened: Callable[[Source], Page], called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood in the browser, whose server refused it when the page was loaded again: what was kept was gone."""

    async def scene() -> None:
        page, told = opened(Source(small)), list[str]()
        monkeypatch.setattr(page, "tell", lambda words, kind="info": told.append(words))
        await page.refresh()
        assert len(called) == 1
        monkeypatch.setattr(page_module, "LONGEST_ADDRESS", len(called[0]) + 100)
        torch.manual_seed(0)
        for seed in range(5):
            page.session.show(State(seed, base=pack(torch.randn(small.space.shape)), space=small.space.name))
            page.session.bookmark(str(seed))
            await page.refresh()
        assert len(told) == 1
        assert "save recipe.json" in told[0]
        assert not page.holds
        assert max(map(len, called)) < len(called[0]) + 200
        page.session.bookmarks.clear()
        await page.refresh()
        assert page.holds
        assert len(called) > 1

    asyncio.run(scene())


def test_the_likeness_that_stands_there_is_of_the_shown_model(
    small: Renderer, fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of an old snapshot, found after the page had followed to the next one, stood beside the new one's picture."""
    go, begun = threading.Event(), threading.Event()

    def likeness(gauge: Gauge, most: int) -> Likeness:
        if gauge is small.gauge:
            begun.set()
            go.wait(PATIENCE)
            return Likeness(0.0, 0.0, 0.0, 100)
        return Likeness(1.0, 1.0, 0.0, 100)

    async def scene() -> None:
        monkeypatch.setattr(Gauge, "likeness", likeness)
        monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
        with Client(ui.page("")):
            page = Page(Source(fashion), Session(small))
            stage.build(page)
            (words,) = (
                each for each in page.client.elements.values() if each.props.get("data-id") == "likeness"
            )
            assert isinstance(words, ui.label)
            look = page.viewed[-1]
            await look()
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            page.session.adopt(fashion)
            await look()
            for _ in range(200):
                await asyncio.sleep(0.05)
                if "100%" in words.text:
                    break
            told = words.text
            assert "100%" in told
            go.set()
            await asyncio.sleep(0.3)
            assert words.text == told
            page.session.adopt(small)
            await look()
            assert words.text != told

    asyncio.run(scene())


def test_the_server_reads_the_longest_address() -> None:
    assert LONGEST_ADDRESS + MOST_OF_HEADERS < LONGEST_HEAD
