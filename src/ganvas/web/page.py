"""One open page: its session, what is drawn on it, and who is told when it changes."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from nicegui import background_tasks, events, ui
from torch import Tensor

from ganvas import pictures
from ganvas.errors import GanvasError
from ganvas.web.pace import SHEET, Purpose, Superseded
from ganvas.web.session import Session
from ganvas.web.source import Source, Written
from ganvas.web.state import LONGEST_ADDRESS, State, to_text

REST = 0.25
"""Seconds without a move of a slider, after which the whole picture is drawn where that takes long."""
MOST_JOBS = 4
"""Of a page, that go on or wait: whoever clicks a hundred times would keep all other pages waiting."""
TOO_LONG = (
    "The address does not hold everything any more, so a page that is loaded again lacks what comes now: save recipe.json, or "
    "remove bookmarks, key frames or sliders."
)
LOG = logging.getLogger("ganvas")
Listener = Callable[[], Awaitable[None]]
Found = TypeVar("Found")


def image_url(image: Tensor) -> str:
    """A uint8 image (C, H, W) as the address of itself."""
    return pictures.data_url(pictures.png(pictures.to_image(image)))


class Gone(asyncio.CancelledError):
    """The page was closed while something was worked out for it: nobody waits, and nothing is to be said."""


class Round:
    """Tells listeners, one after another. A call in between starts one more round when this one is done: the newest, no queue."""

    def __init__(self, listeners: list[Listener], tell: Callable[[Listener], Awaitable[None]]) -> None:
        self.listeners, self.tell = listeners, tell
        self.running = self.again = False

    async def __call__(self) -> None:
        self.again = True
        if self.running:
            return
        self.running = True
        try:
            while self.again:
                self.again = False
                for each in self.listeners:
                    if not self.again:  # what the rest would show is old already
                        await self.tell(each)
        finally:
            self.running = False


class Page:
    """What the panels share. Panels add themselves to `settled` and `viewed`."""

    def __init__(self, source: Source, session: Session) -> None:
        self.source, self.session, self.client = source, session, ui.context.client
        self.settled: list[Listener] = []
        """Called after every step, one after another; a newer step cuts it short."""
        self.viewed: list[Listener] = []
        """Called after every picture, while a slider is dragged too; a newer picture cuts it short."""
        self.thumbs: dict[int, str] = {}
        """Pictures of the steps, by number."""
        self.keys: dict[str, Listener] = {}
        """What a key of the keyboard does."""
        self.opened: dict[str, Listener] = {}
        """Called when a tab is shown, by its name."""
        self.left: list[Callable[[], object]] = []
        """Called when the page has gone on to a newer snapshot: states of the old one are not to be clicked any more."""
        self.tray_changed: Callable[[], object] = lambda: None
        """Called when sliders came or went."""
        self.holds = True
        """Whether the address holds the recipe."""
        self._drawing = asyncio.Lock()
        self._one, self._jobs = asyncio.Lock(), 0
        self._doing: list[str] = []
        """What takes a while now, in words."""
        self._turn = 0
        """Counts the pictures that were asked for: what is drawn for an older one is not wanted any more."""
        self._look, self.settle = Round(self.viewed, self._safely), Round(self.settled, self._safely)

    # --- pictures --------------------------------------------------------------------------------------------------

    async def paint(self, *, dragged: bool = False) -> None:
        """Draw the newest state. An error is shown where the picture would be, and the page lives on.

        Where that takes long: the coarse picture at once, and the whole one behind it, while a slider is `dragged` when it rests.
        """
        self._turn += 1
        turn = self._turn
        async with self._drawing:  # in turn, or an older picture could come after a newer one
            renderer, state = self.session.renderer, self.session.state
            image = await self._drawn(renderer.coarse, state)
            if image is None:
                return
            self.call("show", image_url(image), renderer.small is not None)
        if renderer.small is None:
            self.look()
        elif dragged:
            background_tasks.create(self._rest(turn), name="rest")
        else:
            await self._whole(turn)

    async def _rest(self, turn: int) -> None:
        await asyncio.sleep(REST)
        if turn == self._turn:
            await self._whole(turn)

    async def _whole(self, turn: int) -> None:
        """Draw the whole picture, unless a newer one is asked for meanwhile."""
        if turn != self._turn:
            return
        renderer, state = self.session.renderer, self.session.state
        with self._busy("drawing the whole picture"):
            image = await self._drawn(renderer.draw_while, state, lambda: turn == self._turn)
        if image is not None and turn == self._turn:
            self.call("show", image_url(image), False)
            self.look()

    async def _drawn(self, job: Callable[..., Tensor], *given: object) -> Tensor | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self.source.hands, self.source.lasting(job), *given
            )
        except Superseded:
            return None
        except Exception as error:
            self.call("fail", _words(error))
            return None

    def look(self) -> None:
        """Tell those who look at every picture."""
        background_tasks.create(self._look(), name="look")

    async def drag(self, value: float, change: Callable[[float], State]) -> None:
        """A slider is moved: draw, but make no step of it."""
        if self._shown(value, change):
            await self.paint(dragged=True)

    async def release(self, value: float, change: Callable[[float], State], what: str) -> None:
        """A slider is let go: make a step of it."""
        if self._shown(value, change):
            await self.step(what)

    def _shown(self, value: float, change: Callable[[float], State]) -> bool:
        try:
            self.session.show(change(value))
        except GanvasError as error:
            self.call("fail", str(error))
            return False
        return True

    async def step(self, what: str, state: State | None = None) -> None:
        """Make a step: remember it, draw it, tell everybody; of a state that this model cannot draw it says why not."""
        try:
            self.session.commit(what, state)
        except GanvasError as error:
            self.tell(f"Not opened: {error}", "negative")
            return
        await self.changed()

    async def changed(self) -> None:
        """The state is another one: draw it, tell everybody."""
        await self.paint()
        await self.refresh()

    async def refresh(self) -> None:
        """After anything that changed the state: address, thumbnails, panels."""
        text, before = to_text(self.session.recipe), self.holds
        self.holds = len(text) <= LONGEST_ADDRESS
        if self.holds:
            self.call("address", text)
        elif before:
            self.tell(TOO_LONG, "warning")
        await self.settle()

    async def _safely(self, listener: Listener) -> None:
        if self.client.is_deleted:
            return
        try:
            with self.client:
                await listener()
        except (Gone, Superseded):
            return
        except Exception as error:
            if self.client.is_deleted:  # what it wrote to is no more
                return
            self.tell(_words(error), "negative")

    async def behind(self, listener: Listener) -> None:
        """Tell a listener; where pictures take long nobody waits for it, and it looks itself whether it is wanted still."""
        if self.session.renderer.slow:
            background_tasks.create(self._safely(listener), name="behind")
        else:
            await listener()

    async def open_tab(self, name: str) -> None:
        """A tab is shown."""
        if name in self.opened:
            await self._safely(self.opened[name])

    def stays(self) -> Callable[[], bool]:
        """Whether the page is still where it is now, to be asked later and by other threads."""
        renderer, state = self.session.renderer, self.session.state
        return lambda: (
            not self.client.is_deleted and self.session.state == state and self.session.renderer is renderer
        )

    async def thumbs_of(self, states: Sequence[State], purpose: Purpose = SHEET) -> list[str]:
        """Small pictures of states as addresses, empty for one that this model cannot draw: it is to be seen and removed."""
        drawn = await self.aside(self.session.renderer.thumbs_or_none, states, purpose)
        return ["" if each is None else image_url(each) for each in drawn]

    def rests(self) -> Callable[[], bool]:
        """Whether the step that the page is at now is the last one still: a slider that is dragged meanwhile may come back."""
        renderer, state = self.session.renderer, self.session.history.state
        return lambda: self.session.history.state == state and self.session.renderer is renderer

    # --- work ------------------------------------------------------------------------------------------------------

    async def aside(self, job: Callable[..., Found], *given: Any) -> Found:
        """What a job finds, without blocking the page. Ends whoever waits, quietly, where the page was closed meanwhile."""
        found = await self.source.aside(job, *given)
        if self.client.is_deleted:
            raise Gone
        return found

    async def work(self, what: str, job: Callable[..., Any], *given: Any) -> Any:
        """Do something that takes a while without blocking the page; None, and its words on the page, when it fails.

        One thing at a time, the rest waits; where as many as `MOST_JOBS` do, it is not begun.
        """
        if self._jobs >= MOST_JOBS:
            self.tell(
                f"Not begun: {what}. {MOST_JOBS} other things of this page are to be done first.", "warning"
            )
            return None
        self._jobs += 1
        try:
            async with self._one, self.source.jobs:
                if self.client.is_deleted:  # nobody waits for it any more
                    return None
                with self._busy(what):
                    return await self.aside(job, *given)
        except Exception as error:
            self.tell(_words(error), "negative")
            return None
        finally:
            self._jobs -= 1

    @contextmanager
    def _busy(self, what: str) -> Iterator[None]:
        """Say what is being done; when it is done, what else is."""
        self._doing.append(what)
        self.call("busy", what)
        try:
            yield
        finally:
            self._doing.remove(what)
            self.call("busy", self._doing[-1] if self._doing else "")

    async def follow(self, newest: Written, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Continue with a newer snapshot of the run, which is opened once for all pages.

        False where the page works something out, whose result would be a point of the old one, or what is kept on it meanwhile
        makes it no longer `wanted`: ask again then.
        """
        snapshot, _ = newest
        if self._jobs or not wanted():
            return False
        async with self.source.drawing:
            opened = self.source.opened
            older = opened is not None and int(snapshot.name) < int(opened[0].name) and opened[0].exists()
            # Another page has opened one since, or nothing more is begun.
            if older or self._jobs >= MOST_JOBS:
                return False
            if opened != newest:
                found = await self.work(f"opening snapshot {snapshot.name}", self.source.opener, snapshot)
                if found is None:
                    return True
                await self.source.aside(found.warm)
                self.source.renderer, self.source.opened = found, newest
        if self._jobs or not wanted():  # begun or kept meanwhile
            return False
        self.session.adopt(self.source.renderer)
        self.source.show(self.source.renderer)
        self.thumbs.clear()
        self.tray_changed()
        for leave in self.left:
            leave()
        await self.changed()
        return True

    def tell(self, words: str, kind: str = "info") -> None:
        """A short message on the page."""
        if not self.client.is_deleted:
            with self.client:
                ui.notify(words, type=kind, position="bottom", multi_line=True, close_button="close")  # type: ignore[arg-type]

    def call(self, name: str, *given: object) -> None:
        """Call a function of page.js. What is given goes over as JSON, so that no name or text becomes code."""
        if not self.client.is_deleted:
            self.client.run_javascript(f"ganvas.{name}({', '.join(json.dumps(each) for each in given)})")


def _words(error: Exception) -> str:
    if isinstance(error, GanvasError):
        return str(error)
    LOG.error("the explorer met an error", exc_info=error)
    return f"{type(error).__name__}: {error}"


def picture(address: str) -> ui.element:
    """A picture beside words that say what it is."""
    shown = ui.element("img").props('alt=""')
    shown.props["src"] = address
    return shown


def slider(
    page: Page, name: str, low: float, high: float, step: float, value: float, change: Callable[[float], State],
    what: Callable[[float], str],
) -> ui.element:  # fmt: skip
    """A slider that draws while it is dragged, only the newest place, and makes a step when it is let go.

    `what` puts a place into the words of the history.
    """
    bar = ui.element("input").props("type=range").classes("bar")
    bar.props.update({"min": low, "max": high, "step": step, "aria-label": name, "data-name": name})

    def place(event: events.GenericEventArguments) -> float:
        """Of the slider; anybody with a page may send any number."""
        return min(max(low, float(event.args)), high)

    # Not a property of the element: the page would put it back while it is dragged.
    page.call("set", bar.html_id, value)
    bar.on(
        "input", lambda event: page.drag(place(event), change),
        js_handler="(e) => { ganvas.label(e.target); ganvas.drag(emit, e.target.value) }",
    )  # fmt: skip

    async def released(event: events.GenericEventArguments) -> None:
        await page.release(place(event), change, what(place(event)))
        page.call("done")

    bar.on("change", released, js_handler="(e) => ganvas.release(emit, e.target.value)")
    return bar
