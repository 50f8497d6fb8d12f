"""Every step as a tree, and bookmarks."""

import asyncio

from nicegui import ui

from ganvas.web.page import Page, image_url

SHOWN = 60
"""Newest steps that are listed; undo and redo reach all."""


def build(page: Page) -> None:
    """Lay it out."""
    session = page.session

    async def mark() -> None:
        words = session.history.steps[session.history.current].what
        session.bookmarks.append((name.value.strip() or words, session.state))
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

    async def go(number: int) -> None:
        session.go(number)
        await page.changed()

    async def show() -> None:
        history = session.history
        wanted = history.steps[-SHOWN:]
        missing = [step for step in wanted if step.number not in page.thumbs]
        images = await asyncio.to_thread(session.renderer.together, [step.state for step in missing])
        page.thumbs |= {step.number: image_url(image) for step, image in zip(missing, images, strict=True)}
        marked = await asyncio.to_thread(session.renderer.together, [state for _, state in session.bookmarks])
        kept.clear()
        with kept:
            for place, ((words, state), image) in enumerate(zip(session.bookmarks, marked, strict=True)):
                with ui.element("div").classes("g-line"):
                    with (
                        ui.element("button").classes("step").props("type=button").style("width: auto") as row
                    ):
                        ui.element("img").props(f'src="{image_url(image)}" alt=""')
                        ui.label(words)
                    row.on("click", lambda _, s=state, w=words: page.step(f"bookmark {w}", s))

                    async def drop(place: int = place) -> None:
                        del session.bookmarks[place]
                        await page.refresh()

                    ui.button(icon="close", on_click=drop).props(
                        f'dense flat round size=xs aria-label="remove bookmark {words}"'
                    )
        tree.clear()
        with tree:
            for step in reversed(wanted):
                here = " here" if step.number == history.current else ""
                with ui.element("button").classes("step" + here).props("type=button") as row:
                    row.style(f"padding-left: {4 + 16 * min(6, history.depth(step.number))}px")
                    ui.element("img").props(f'src="{page.thumbs[step.number]}" alt=""')
                    ui.label(f"{step.number}. {step.what}")
                row.on("click", lambda _, n=step.number: go(n))

    page.settled.append(show)
