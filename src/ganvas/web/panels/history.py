"""Every step as a tree, and bookmarks."""

from nicegui import ui

from ganvas.errors import GanvasError
from ganvas.web.pace import AROUND
from ganvas.web.page import Page, picture
from ganvas.web.state import State

SHOWN = 60
"""Newest steps that are listed; undo and redo reach all that are kept."""


def build(page: Page) -> None:
    """Lay it out."""
    session = page.session

    async def mark() -> None:
        words = session.history.steps[session.history.current].what
        try:
            session.bookmark(name.value.strip() or words)
        except GanvasError as error:
            page.tell(str(error), "warning")
            return
        name.set_value("")
        await page.refresh()

    page.keys["b"] = mark
    with ui.element("div").classes("g-line"):
        name = ui.input("name of a bookmark").props("dense outlined").style("width: 170px")
        ui.button("Bookmark", icon="bookmark_add", on_click=mark).props(
            "dense unelevated no-caps data-id=do-bookmark"
        ).tooltip("(B)")
    kept = ui.element("div").props("data-id=bookmarks")
    ui.element("h2").add_slot("default", "Steps: going back and doing something else loses nothing")
    tree = ui.element("div").classes("g-list").props("data-id=steps")

    shown_bookmarks: list[tuple[str, State]] = []

    async def go(number: int) -> None:
        session.go(number)
        await page.changed()

    async def show_bookmarks(bookmarks: list[tuple[str, State]]) -> None:
        renderer = session.renderer
        images = await page.thumbs_of([state for _, state in bookmarks])
        if session.renderer is not renderer:
            return
        shown_bookmarks[:] = bookmarks
        kept.clear()
        with kept:
            for place, ((words, state), image) in enumerate(zip(bookmarks, images, strict=True)):
                with ui.element("div").classes("g-line"):
                    with (
                        ui.element("button").classes("step").props("type=button").style("width: auto") as row
                    ):
                        picture(image)
                        ui.label(words)
                    row.on("click", lambda _, s=state, w=words: page.step(f"bookmark {w}", s))

                    async def drop(place: int = place) -> None:
                        # The second half of a double click would take the one that has moved up.
                        if session.bookmarks == shown_bookmarks:
                            del session.bookmarks[place]
                            await page.refresh()

                    close = ui.button(icon="close", on_click=drop).props("dense flat round size=xs")
                    close.props["aria-label"] = f"remove bookmark {words}"

    async def show() -> None:
        history = session.history
        wanted = list(history.steps.values())[-SHOWN:]
        missing = [step for step in wanted if step.number not in page.thumbs]
        images = await page.thumbs_of([step.state for step in missing], AROUND)
        if session.history is not history:  # of a newer snapshot, whose steps have the same numbers
            return
        shown = {step.number for step in wanted}
        page.thumbs = {number: image for number, image in page.thumbs.items() if number in shown}
        page.thumbs |= {step.number: image for step, image in zip(missing, images, strict=True)}
        if shown_bookmarks != session.bookmarks:
            await show_bookmarks(list(session.bookmarks))
            if session.history is not history:
                return
        tree.clear()
        with tree:
            for step in reversed(wanted):
                if step.number not in history.steps:  # let go meanwhile
                    continue
                with ui.element("button").classes("step").props("type=button") as row:
                    if step.number == history.current:
                        row.classes("here")
                    row.style["padding-left"] = f"{4 + 16 * min(6, history.depth(step.number))}px"
                    picture(page.thumbs[step.number])
                    ui.label(f"{step.number}. {step.what}")
                row.on("click", lambda _, n=step.number: go(n))

    async def shown_later() -> None:
        await page.behind(show)

    def leave() -> None:
        shown_bookmarks.clear()
        kept.clear()
        tree.clear()

    page.left.append(leave)

    page.settled.append(shown_later)
