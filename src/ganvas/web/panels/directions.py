"""At most ten sliders, each with what it does; locks that keep an attribute where it is."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from nicegui import ui
from PIL import Image
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.latent.attributes import attributes_of
from ganvas.latent.directions import Direction, save
from ganvas.latent.finders import finders, usual
from ganvas.model_data import class_names, classifier_of
from ganvas.pictures import data_url, png
from ganvas.web.page import Page, slider
from ganvas.web.renderer import MEASURED
from ganvas.web.session import check_directions
from ganvas.web.state import State
from ganvas.web.upload import LARGEST

REACH = 3.5
"""Of the sliders: the thumbnails stand above their places."""


def build(page: Page) -> None:
    """Lay them out; the directions themselves come when they are found."""
    session, renderer = page.session, page.session.renderer
    strips: dict[str, Any] = {}
    bars: dict[str, ui.element] = {}
    heads: dict[str, ui.label] = {}
    shown: dict[str, Direction | None] = {}
    """The tray as it is laid out."""
    with ui.element("section").classes("g-card"):
        with ui.element("h2").classes("g-line"):
            ui.label("Directions")
            ui.element("div").classes("g-grow")

            async def zero() -> None:
                await page.step("all sliders at 0", replace(session.state, moves=()))
                rows()

            ui.button("All to 0", on_click=zero).props("dense flat no-caps data-id=do-zero")
        with ui.element("div").classes("g-line"):
            usable = {name: finders.get(name) for name in finders}
            methods = [
                name for name, each in usable.items() if not each.of_a_sample and each.knows(renderer.space)
            ]
            method = (
                ui.select(methods, value=usual(renderer.space), label="method")
                .props("dense outlined")
                .classes("sel")
            )
            method.tooltip("how they are found; random is the control")
            lockable = [*attributes_of(renderer.drawn)]
            if classifier_of(renderer.model) is not None:
                lockable += [f"class:{name}" for name in class_names(renderer.model)]
            locks = ui.select(lockable, multiple=True, label="locked", value=list(session.state.locks))
            locks.props("dense outlined use-chips").classes("sel").style("min-width: 128px")
            locks.tooltip("attributes that the sliders leave alone")
            _load(page, lambda: rows())
        if renderer.layers:
            _layers(page)
        note = ui.label("").classes("small soft").props("data-id=directions-note")
        with ui.element("div").classes("g-line") as few:
            few_words = ui.label("").classes("small soft").props("data-id=directions-few")

            async def all_strips() -> None:
                asked["all"] = True
                await page.behind(thumbnails)

            ui.button("Draw the others", on_click=all_strips).props("dense flat no-caps data-id=do-strips")
        few.set_visibility(False)
        asked = {"all": False}

        tray = ui.element("div").props("data-id=tray")

        def rows() -> None:
            strips.clear()
            bars.clear()
            tray.clear()
            with tray:
                shown.clear()
                shown.update(session.tray)
                for name, known in shown.items():
                    heads[name], strips[name], bars[name] = _row(page, name, known)

        rows()
    page.tray_changed = rows

    async def choose() -> None:
        looked, wanted = session.renderer, method.value
        found = await page.work(f"finding directions by {wanted}", looked.first_directions, wanted)
        # Another snapshot or method may have come meanwhile, and brings its own.
        if found is None or session.renderer is not looked or method.value != wanted:
            return
        session.choose(wanted, found)
        rows()
        if looked.slow:
            await page.behind(measure)
        await page.behind(thumbnails)

    async def measure() -> None:
        """What they do, which sliders do not wait for."""
        looked, wanted = session.renderer, method.value
        note.set_text("What they do is being measured; they can be moved meanwhile.")
        found = await page.aside(looked.directions, wanted)
        note.set_text(keeps())
        if session.renderer is not looked or session.method != wanted:
            return
        for each in found:
            known = session.tray.get(each.name)
            # One of that name may be another's: of a recipe, or of a file.
            if known is not None and torch.equal(known.vector.cpu(), each.vector.cpu()):
                session.tray[each.name] = shown[each.name] = each
                heads[each.name].set_text(_about(each))

    async def lock() -> None:
        wanted = tuple(locks.value)
        if wanted == session.state.locks:  # `kept` has put it there
            return
        state = await locked(page, wanted)
        if state is not None:
            await page.step("locked " + (", ".join(wanted) or "nothing"), state)
        kept()

    def kept() -> None:
        """Show what is locked: a step back, a recipe, or locking that failed leave something else there."""
        locks.set_value([*session.state.locks])
        note.set_text(keeps())

    def keeps() -> str:
        now = session.state.locks
        return f"Sliders keep {', '.join(now)} (conditional projection)." if now else ""

    method.on_value_change(choose)
    locks.on_value_change(lock)

    async def show() -> None:
        if not session.method:
            await choose()
        if [*shown] != [*session.tray] or any(session.tray[name] is not each for name, each in shown.items()):
            rows()
        if tuple(locks.value) != session.state.locks:
            kept()
        for name, bar in bars.items():
            page.call("set", bar.html_id, session.state.moved(name))
        await page.behind(thumbnails)

    async def thumbnails() -> None:
        looked, stays = session.renderer, page.stays()
        await page.aside(session.prepare)
        moves = [move for name in session.tray if (move := _move(page, name)) is not None]
        most = looked.strips_at_once if looked.slow and not asked["all"] else len(moves)
        few.set_visibility(most < len(moves))
        few_words.set_text(
            f"Pictures of {most} sliders, no more because each takes {looked.view.seconds:.1f} s."
        )
        # Where pictures take long one slider after the other has its own.
        for some in [[move] for move in moves[:most]] if looked.slow else [moves]:
            drawn = await page.aside(looked.strips, session.state, some, stays)
            if not stays():  # the next ones may be there already
                return
            for move, images in zip(some, drawn, strict=True):
                if move.name in strips:
                    strips[move.name].props["src"] = _strip(images)
                    strips[move.name].update()

    page.settled.append(show)


async def locked(page: Page, names: tuple[str, ...]) -> State | None:
    """The page's state with these locks, as it is when all is measured: sliders may be moved meanwhile.

    None where it could not be measured.
    """
    while True:
        began = page.session.state
        state: State | None = await page.work("locking", page.session.lock, names, began)
        if state is None or page.session.state is began:
            return state


def _strip(images: Tensor) -> str:
    """Thumbnails (5, C, H, W) side by side, each above its place on the slider, nothing between them."""
    count, channels, height, width = images.shape
    tiles = torch.zeros(4, height, count, 2 * width, dtype=torch.uint8)
    tiles[3, :, :, :width] = 255
    tiles[: max(3, channels), :, :, :width] = images.permute(1, 2, 0, 3)  # grey fills all three
    flat = tiles.reshape(4, height, -1)[:, :, : (2 * count - 1) * width]
    return data_url(png(Image.fromarray(flat.permute(1, 2, 0).contiguous().numpy())), "image/png")


def _move(page: Page, name: str) -> Any:
    if not page.session.is_prepared(name):
        return None
    try:
        return page.session.move(name, 0.0)
    except GanvasError:
        return None


def _row(page: Page, name: str, known: Direction | None) -> tuple[ui.label, ui.element, ui.element]:
    """What is known of a direction, its pictures and its slider."""
    session = page.session
    value = session.state.moved(name)
    with ui.element("div").classes("slide").props("data-row"):
        with ui.element("div").classes("head"):
            ui.label(name).classes("name")
            words = ui.label("" if known is None else _about(known)).classes("soft")
            words.tooltip(
                "what the method ranks by; feature distance of one sigma; strongest attribute change; how far two sigmas "
                "lower the critic's logit"
            )
            ui.element("span").props("data-value")
        strip = ui.element("img").classes("strip").props('alt=""')
        bar = slider(
            page,
            name,
            -REACH,
            REACH,
            0.1,
            value,
            lambda v: session.dragged(name, v),
            lambda v: f"{name} at {v:+.1f}",
        )
    return words, strip, bar


def _about(known: Direction) -> str:
    """What is known of a direction, in numbers."""
    score = "accuracy" if known.method == "attribute" else "share" if known.method == "pca" else "score"
    words = [f"{score} {known.score:.0%}" if known.score <= 1 else f"{score} {known.score:.2g}"]
    if not known.effects and not known.effect:  # nobody has measured it yet
        return words[0]
    words.append(f"effect {known.effect:.2f}")
    if strongest := max(known.effects, key=lambda each: abs(known.effects[each]), default=""):
        words.append(f"{strongest} {known.effects[strongest]:+.1f}")
    if known.cost is not None:
        words.append(f"cost {known.cost:+.2f}")
    if "measured" in known.made and known.made["measured"] < MEASURED:
        words.append(f"from {known.made['measured']} samples")
    return " · ".join(words)


def _layers(page: Page) -> None:
    """Which layers the sliders move: coarse ones change the shape, fine ones the texture."""
    session, top = page.session, page.session.renderer.layers - 1

    def place() -> dict[str, float]:
        return {"min": min(session.layers, default=0), "max": max(session.layers, default=top)}

    with ui.element("div").classes("g-line"):
        ui.label("layers they move, coarse to fine").classes("small soft")
        span = ui.range(min=0, max=top, step=1, value=place()).props(
            'label dense snap aria-label="layers that move"'
        )
        span.props("data-id=move-layers").style("width: 130px; margin: 0 10px")  # handles reach over the ends

    async def limited() -> None:
        first, last = int(span.value["min"]), int(span.value["max"])
        await page.step(f"sliders move layers {first} to {last}", session.limit(first, last))

    span.on("change", limited)

    async def show() -> None:
        span.set_value(place())

    page.settled.append(show)


def _load(page: Page, changed: Any) -> None:
    """Directions from a file of `ganvas directions`."""

    async def loaded(content: bytes) -> None:
        def read() -> list[Direction]:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "uploaded.safetensors"
                path.write_bytes(content)
                given = page.session.renderer.load(path)
                check_directions(given)
                return given

        found = await page.work("reading directions", read)
        if found is not None:
            page.session.add(found)
            changed()
            await page.refresh()

    def download() -> None:
        known = [each for each in page.session.tray.values() if each is not None]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "directions.safetensors"
            save(path, known)
            ui.download.content(path.read_bytes(), "directions.safetensors")

    def rejected() -> None:
        page.tell(f"Directions of up to {LARGEST >> 20} MiB are taken.", "negative")

    upload = page.source.intake.field("", loaded, LARGEST, ".safetensors", rejected).style("display: none")
    ui.button("Load", icon="upload_file", on_click=lambda: upload.run_method("pickFiles")).props(
        "dense flat no-caps"
    ).tooltip("directions from a file of ganvas directions")
    ui.button("Save", icon="download", on_click=download).props("dense flat no-caps").tooltip(
        "these directions as a file for ganvas edit, and for here"
    )
