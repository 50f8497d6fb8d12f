"""Mark some samples good or bad, and get the direction that tells them apart."""

from typing import Any

from nicegui import ui

from ganvas.errors import counted
from ganvas.web.pace import SHEET as SAMPLES
from ganvas.web.page import Page, image_url, picture
from ganvas.web.session import MARKS_WANTED, SHEET
from ganvas.web.state import State

CHANCE = 0.5
"""Of two kinds, each counted alike, a guess gets so many right."""
GUESS = "That is no better than a guess: mark more, or by something that can be seen."
FIRST_SEED = 100
"""Of the sheet: other samples than those that are looked at first."""


def build(page: Page) -> None:
    """Lay it out; the sheet is drawn when the tab is opened first."""
    session = page.session
    at = {"seed": FIRST_SEED}
    tiles: list[Any] = []
    shown = {"of": ""}
    """Whose samples the tiles are."""
    ui.label(
        f"Click once for good (or A), twice for bad (or B). About {MARKS_WANTED} marks make a direction: what the good ones have "
        "and the bad ones lack."
    ).classes("small soft")
    with ui.element("div").classes("g-line"):
        name = ui.input("name", value="marked").props("dense outlined").style("width: 140px")
        count = ui.label("no marks").props("data-id=marks")

        async def learn() -> None:
            marks = dict(session.marks)  # clicks meanwhile are for the next one
            found = await page.work("learning from the marks", session.learn, name.value, marks)
            if found is not None:
                page.tray_changed()
                better = found.score > CHANCE
                words = (
                    f"{found.name}: {found.score:.0%} of held-out marks right. It is the first slider now."
                )
                page.tell(words if better else f"{words} {GUESS}", "positive" if better else "warning")
                result.set_text(
                    f"{found.name}: accuracy {found.score:.0%} on held-out marks, effect {found.effect:.2f}, "
                    f"from {counted(len(marks), 'mark')}" + ("" if better else f". {GUESS}")
                )
                result.classes(replace="fine" if better else "warning")
                await page.refresh()

        async def more() -> None:
            at["seed"] += 1
            await sheet()

        def clear() -> None:
            session.marks.clear()
            for tile in tiles:
                tile.classes(remove="good bad")
            tell()

        ui.button("Learn", icon="school", on_click=learn).props("dense unelevated no-caps data-id=do-learn")
        ui.button("More samples", on_click=more).props("dense flat no-caps data-id=do-more")
        ui.button("Clear", on_click=clear).props("dense flat no-caps")
    result = ui.label("").props("data-id=learned").classes("fine")
    fewer = ui.label("").classes("small soft")
    place = ui.element("div").classes("sheet many").props("data-id=marking")

    def tell() -> None:
        good = sum(session.marks.values())
        count.set_text(f"{good} good, {len(session.marks) - good} bad")

    def click(tile: Any, of: str, seed: int, number: int) -> None:
        if of != session.renderer.hash:
            page.tell("These samples are of an older snapshot: click More samples.", "warning")
            return
        mark = session.mark(seed, number)
        tile.classes(remove="good bad")
        if mark is not None:
            tile.classes("good" if mark else "bad")
        tell()

    async def sheet() -> None:
        renderer, seed = session.renderer, at["seed"]
        count = SAMPLES.affords(SHEET, renderer.view.seconds)
        states = [State(seed, number) for number in range(count)]
        fewer.set_text(
            f"{count} samples at a time: each takes {renderer.view.seconds:.1f} s." if count < SHEET else ""
        )
        images = await page.work("drawing samples", renderer.thumbs, states)
        if images is None:
            return
        place.clear()
        tiles.clear()
        shown["of"] = renderer.hash
        tell()
        with place:
            for number, image in enumerate(images):
                with ui.element("button").classes("tile").props("type=button") as tile:
                    tile.props["aria-label"] = f"sample {number}"
                    picture(image_url(image))
                mark = session.marks.get((seed, number))
                if mark is not None:
                    tile.classes("good" if mark else "bad")
                # Its own seed: another sheet may be asked for, and take long, while this one is marked.
                marked = (tile, renderer.hash, seed, number)
                tile.on("click", lambda _, marked=marked: click(*marked))
                tiles.append(tile)

    async def once() -> None:
        if shown["of"] != session.renderer.hash:
            await sheet()

    if page.session.renderer.slow:
        page.opened["Label"] = once
    else:
        page.settled.append(once)
