"""The picture, how good it is while it moves, and its neighbours."""

import math

from nicegui import background_tasks, ui

from ganvas.errors import GanvasError
from ganvas.latent.likeness import LEAST, Likeness
from ganvas.web.pace import AROUND
from ganvas.web.page import Page, image_url
from ganvas.web.quality import FEW, RARE
from ganvas.web.renderer import AXES, Renderer
from ganvas.web.state import State

HERE = 4
"""The middle of three by three."""


def build(page: Page) -> None:
    """Lay them out."""
    with ui.element("section").classes("g-card"), ui.element("div").classes("stage"):
        with ui.element("figure") as other:
            pinned = ui.element("img").props('alt="A: the pinned picture"')
            with ui.element("figcaption"):
                about = ui.label("").props("data-id=pinned-words")
        with ui.element("figure"):
            ui.element("img").props('data-id=canvas alt="the current picture"')
        ui.element("div").props("data-id=failure role=alert hidden")
    other.set_visibility(False)
    shown: tuple[str, State, int] | None = None
    """Model and state of what stands there, and how many it was compared with: it stays while the other one moves."""

    async def compare() -> None:
        nonlocal shown
        renderer, a = page.session.renderer, page.session.pinned
        other.set_visibility(a is not None)
        if a is not None and shown != (renderer.hash, a, renderer.gauge.known):
            known = renderer.gauge.known
            image = await page.aside(renderer.draw, [a])
            found = await page.aside(renderer.quality, a)
            if page.session.renderer is not renderer or page.session.pinned != a:
                return  # another one is on its way
            pinned.props["src"] = image_url(image[0])
            pinned.update()
            realism = "" if math.isnan(found.realism) else f"realism {found.realism:.0%}, "
            about.set_text(f"A: {realism}manifold {found.manifold:.0%}")
            shown = (renderer.hash, a, known)

    async def compared() -> None:
        await page.behind(compare)

    page.settled.append(compared)
    _quality(page)
    _neighbours(page)


def _quality(page: Page) -> None:
    meters = {
        "realism": "share of the generator's own samples that look less real",
        "typicality": "share of its space's own points whose length is as unusual",
        "manifold": f"share of own samples that are as strange in all: below {RARE:.0%} is off the manifold",
    }
    shown = {}
    with ui.element("section").classes("g-card").props('data-id=quality aria-label="quality"'):
        with ui.element("h2").classes("g-line"):
            ui.label("Quality")
            ui.element("div").classes("g-grow")

            async def repair() -> None:
                began = page.session.state
                state = await page.work("repairing", page.session.renderer.repaired, began)
                if state is None:
                    return
                if page.session.state is not began:
                    page.tell(
                        "Not repaired: the page went on meanwhile. Click Repair where it is now.", "warning"
                    )
                    return
                await page.step("repaired", state)

            ui.button("Repair", icon="auto_fix_high", on_click=repair).props(
                "dense flat no-caps data-id=do-repair"
            ).tooltip("a few steps back to where samples look real (R)")
            page.keys["r"] = repair
        for name, words in meters.items():
            with ui.element("div").classes("meter"):
                ui.label(name).tooltip(words)
                bar = ui.element("progress").props("max=1 value=0")
                bar.props["aria-label"] = name
                value = ui.label("").classes("value")
                value.props["data-id"] = f"q-{name}"
                shown[name] = (bar, value)
        verdict = ui.label("").props("data-id=verdict role=status")
        with ui.element("div").classes("g-line") as few:
            few_words = ui.label("").classes("small soft").props("data-id=few")

            async def more() -> None:
                renderer = page.session.renderer
                await page.work(f"looking at {FEW} of its own samples", renderer.compare_with, FEW)
                page.look()

            ui.button(f"Compare with {FEW}", on_click=more).props("dense flat no-caps data-id=do-compare")
        few.set_visibility(False)
        ui.label("Shares of the generator's own samples, good or bad. How good those are:").classes(
            "small soft"
        )
        absolute = ui.label("").classes("small").props("data-id=likeness")
        with ui.element("div").classes("g-line"):
            nearest = ui.element("img").classes("pixel").props('width=56 alt="the nearest real image"')
            nearest_words = ui.label("").classes("small soft").props("data-id=nearest")
        nearest.set_visibility(False)
        how = "run ganvas calibrate on this model"
        if page.session.renderer.model.path is None:
            how = "ganvas.explore(model, ratio=ganvas.fit_ratio(space, real))"
        uncalibrated = ui.label(
            f"Realism is the critic's word where there is one, not calibrated: {how} for log p_data / p_G."
        ).classes("small soft")

    told: dict[str, Likeness | None] = {}
    """By the hash of the model: the page may continue with a newer snapshot."""
    asked: set[str] = set()
    """Hashes of those that were begun to be judged."""
    shown_words = {"off": False}

    def colour(model: str) -> None:
        # Among samples that look like no data at all, or that nothing is known about, to be a usual one is no praise.
        known = told.get(model)
        good = known is not None and not known.strange
        verdict.classes(replace="warning" if shown_words["off"] else "fine" if good else "small")

    async def judge(renderer: Renderer) -> None:
        told[renderer.hash] = await page.source.aside(lambda: renderer.likeness)
        if not page.client.is_deleted:
            tell(renderer)

    def tell(renderer: Renderer) -> None:
        # Of the shown model alone: the page may have followed to another one while this one was judged.
        if page.session.renderer.hash != renderer.hash:
            return
        found = told[renderer.hash]
        few = "without real images" if renderer.real is None else f"of fewer than {LEAST} real images"
        absolute.set_text(f"Likeness is not known {few}." if found is None else found.words)
        absolute.classes(replace="warning" if found is not None and found.strange else "small")
        colour(renderer.hash)

    async def look() -> None:
        renderer = page.session.renderer
        if renderer.slow and not renderer.gauge.is_ready:
            verdict.set_text(
                f"Looking at {renderer.gauge.known} of its own samples first, to compare with ..."
            )
            verdict.classes(replace="small")
        try:
            found = await page.aside(renderer.quality, page.session.state)
        except GanvasError as error:
            if page.session.renderer is renderer:
                verdict.set_text(str(error))
                verdict.classes(replace="warning")
            return
        if page.session.renderer is not renderer:
            return
        values = {"realism": found.realism, "typicality": found.typicality, "manifold": found.manifold}
        for name, value in values.items():
            bar, label = shown[name]
            bar.props["value"] = 0 if math.isnan(value) else round(value, 3)
            bar.update()
            extra = f" ({found.log_ratio:+.2f})" if name == "realism" and found.log_ratio is not None else ""
            unknown = "it judges series, not their curves" if renderer.plots else "no critic"
            label.set_text(unknown if math.isnan(value) else f"{value:.0%}{extra}")
        verdict.set_text(found.words if found.warnings or renderer.gauge.tells else "among the usual ones")
        uncalibrated.set_visibility(renderer.ratio is None)
        few.set_visibility(renderer.slow and renderer.gauge.known < FEW)
        few_words.set_text(_few(renderer))
        shown_words["off"] = bool(found.warnings)
        colour(renderer.hash)
        if renderer.hash in told:
            tell(renderer)
        else:
            absolute.set_text("...")
            absolute.classes(replace="small")
            if renderer.hash not in asked:
                asked.add(renderer.hash)
                background_tasks.create(judge(renderer), name="likeness")
        nearest.set_visibility(found.nearest is not None)
        if found.nearest is not None and renderer.real is not None:
            nearest.props["src"] = image_url(renderer.real.images[found.nearest])
            nearest.update()
            nearest_words.set_text(
                f"nearest real image, {found.distance:.2f} x as far as usual; of {renderer.real.source}"
            )
        else:
            nearest_words.set_text(renderer.unreal)

    page.viewed.append(look)


def _few(renderer: Renderer) -> str:
    """What fewer own samples than usual mean."""
    gauge = renderer.gauge
    words = (
        f"From {gauge.known} own samples, because pictures take long: shares are right to {gauge.error:.0%}"
    )
    return f"{words}." if gauge.tells else f"{words}, and nothing is called off the manifold."


def _neighbours(page: Page) -> None:
    with ui.element("section").classes("g-card"):
        ui.element("h2").add_slot("default", "Neighbours: the four strongest local directions")
        with ui.element("div").classes("sheet three").props("data-id=neighbours"):
            tiles = []
            for i in range(9):
                with ui.element("button").classes("tile").props("type=button") as tile:
                    image = ui.element("img").props('alt=""')
                if i == HERE:
                    tile.classes("here")
                tile.props["aria-label"] = "here" if i == HERE else f"neighbour {i}"
                tiles.append((tile, image))
        note = ui.label("").classes("small soft")
    around: list[State] = []

    async def go(i: int) -> None:
        if around and i != HERE:
            await page.step("went to a neighbour", around[i])

    for i, (tile, _) in enumerate(tiles):
        tile.on("click", lambda _, i=i: go(i))

    async def show() -> None:
        session = page.session
        renderer, state, stays, rests = session.renderer, session.state, page.stays(), page.rests()
        if renderer.slow:
            note.set_text(
                "Those of before: the new ones are being looked for ..." if around else "Being looked for ..."
            )
        try:
            found = await page.aside(renderer.neighbours, state, stays)
        except GanvasError as error:
            if rests():
                note.set_text(str(error))
            return
        states = [*found[:HERE], state, *found[HERE:]]
        images = await page.aside(renderer.thumbs, states, AROUND, stays)
        if not rests():  # those of where the page is now may be there already
            return
        around[:] = states
        for (_, image), drawn in zip(tiles, images, strict=True):
            image.props["src"] = image_url(drawn)
            image.update()
        fewer = renderer.slow and renderer.axes < AXES
        note.set_text(
            f"Among the first {renderer.axes} principal axes, no more because pictures take long."
            if fewer
            else ""
        )

    async def later() -> None:
        await page.behind(show)

    page.settled.append(later)
    page.left.append(around.clear)
