"""Key frames, and the film between them."""

from dataclasses import replace
from importlib.util import find_spec

from nicegui import ui

from ganvas import pictures
from ganvas.errors import GanvasError, install
from ganvas.web.film import film
from ganvas.web.page import Page, picture
from ganvas.web.renderer import Renderer
from ganvas.web.state import LONGEST_FILM, State, Timeline

PREVIEW = 24
KINDS = {
    "auto": "auto (straight in w, a great circle in z)",
    "linear": "linear",
    "spherical": "spherical",
    "spline": "spline",
}


def build(page: Page) -> None:
    """Lay it out."""
    session = page.session

    async def add() -> None:
        try:
            session.add_key()
        except GanvasError as error:
            page.tell(str(error), "warning")
            return
        await page.refresh()

    page.keys["k"] = add
    with ui.element("div").classes("g-line"):
        ui.button("Add key frame", icon="add", on_click=add).props(
            "dense unelevated no-caps data-id=do-key"
        ).tooltip("(K)")
        kind = (
            ui.select(KINDS, value=session.timeline.kind, label="way").props("dense outlined").classes("sel")
        )
        frames = (
            ui.number("frames", value=session.timeline.frames, min=2, max=LONGEST_FILM, format="%d")
            .props("dense outlined")
            .classes("num")
        )
        fps = (
            ui.number("a second", value=session.timeline.fps, min=1, max=60, format="%g")
            .props("dense outlined")
            .classes("num")
        )
        equal = ui.switch("equal pace", value=session.timeline.equal).tooltip(
            "the same change from picture to picture"
        )
        loop = ui.switch("loop", value=session.timeline.loop)
    keys = ui.element("div").classes("sheet many").props("data-id=keys")
    note = ui.label("").classes("small soft").props("data-id=film-words")
    preview = (
        ui.element("img")
        .classes("pixel")
        .style("width: 224px")
        .props('data-id=film alt="preview of the film"')
    )

    def timeline(most: int | None = None) -> Timeline:
        count = min(max(2, int(frames.value or 48)), most or LONGEST_FILM)
        return replace(
            session.timeline, kind=kind.value, frames=count, fps=min(max(1.0, float(fps.value or 24)), 60.0),
            equal=bool(equal.value), loop=bool(loop.value),
        )  # fmt: skip

    async def changed() -> None:
        if (now := timeline()) != session.timeline:  # and not what `fill` has put there
            session.timeline = known["settings"] = now
            await page.refresh()

    known = {"settings": session.timeline}
    """As they stand in the fields."""

    def fill() -> None:
        """The settings of a recipe that was opened, say: films are drawn by what stands in the fields."""
        now = session.timeline
        if replace(known["settings"], keys=now.keys) == now:
            return
        known["settings"] = now
        kind.set_value(now.kind)
        frames.set_value(now.frames)
        fps.set_value(now.fps)
        equal.set_value(now.equal)
        loop.set_value(now.loop)

    for field in (kind, frames, fps, equal, loop):
        field.on_value_change(changed)

    async def look() -> None:
        whole, renderer = timeline(), session.renderer  # they may be others when it is drawn
        found = await page.work("drawing the preview", film, renderer.view, timeline(PREVIEW))
        if found is not None:
            drawn, variation = found
            pace = max(4.0, whole.fps * len(drawn) / whole.frames)
            content = await page.aside(pictures.animation, drawn, ".webp", pace)
            preview.props["src"] = pictures.data_url(content, "image/webp")
            preview.update()
            coarse = "" if renderer.view is renderer else "; coarse pictures, the film has whole ones"
            note.set_text(f"steps vary by {variation:.1%} of their mean{coarse}")

    async def export(suffix: str) -> None:
        wanted = timeline()
        content = await page.work(
            f"drawing {wanted.frames} frames", _content, session.renderer, wanted, suffix
        )
        if content is not None:
            ui.download.content(content, f"walk{suffix}")

    with ui.element("div").classes("g-line"):
        ui.button("Preview", icon="play_arrow", on_click=look).props("dense flat no-caps data-id=do-preview")
        for suffix in (".mp4", ".gif", ".webp", ".png"):
            button = ui.button(
                suffix[1:].upper() if suffix != ".png" else "PNG sheet",
                on_click=lambda _, s=suffix: export(s),
            )
            button.props("dense flat no-caps")
            button.props["data-id"] = f"export-{suffix[1:]}"
            if suffix == ".mp4" and find_spec("av") is None:
                button.disable()
                button.tooltip(f"needs PyAV: {install('video')}")

    shown_keys: list[State] = []

    async def show() -> None:
        fill()
        if len(session.timeline.keys) < 2:
            note.set_text("A film needs two key frames: go somewhere, add one, go elsewhere, add another.")
        wanted = list(session.timeline.keys)
        if shown_keys == wanted:
            return
        renderer = session.renderer
        images = await page.thumbs_of(wanted)
        if session.renderer is not renderer:
            return
        shown_keys[:] = wanted
        keys.clear()
        with keys:
            for place, image in enumerate(images):
                with ui.element("div"):
                    with ui.element("button").classes("tile").props("type=button") as tile:
                        tile.props["aria-label"] = f"go to key frame {place + 1}"
                        picture(image)
                    words = f"key frame {place + 1}"
                    tile.on("click", lambda _, s=wanted[place], w=words: page.step(w, s))

                    async def drop(p: int = place) -> None:
                        # The second half of a double click would take the one that has moved up.
                        if [*session.timeline.keys] == shown_keys:
                            session.drop_key(p)
                            await page.refresh()

                    close = ui.button(icon="close", on_click=drop).props("dense flat round size=xs")
                    close.props["aria-label"] = f"remove key frame {place + 1}"

    def leave() -> None:
        shown_keys.clear()
        keys.clear()

    page.settled.append(show)
    page.left.append(leave)


def _content(renderer: Renderer, wanted: Timeline, suffix: str) -> bytes:
    """The file of a film; its frames are not kept while something else has its turn."""
    columns = min(12, wanted.frames)
    if suffix == ".png":
        pictures.check_table(-(-wanted.frames // columns), columns, renderer.model.shape)
    frames = film(renderer, wanted)[0]
    if suffix == ".png":
        return pictures.png(pictures.grid(frames, columns=columns))
    return pictures.animation(frames, suffix, wanted.fps)
