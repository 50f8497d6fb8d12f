"""The whole page as a file, as an address, and as Python."""

import json

from nicegui import ui

from ganvas import pictures
from ganvas.errors import GanvasError
from ganvas.web.page import TOO_LONG, Page
from ganvas.web.session import as_python
from ganvas.web.state import LONGEST, check_length, from_bytes, to_json, to_text


def build(page: Page) -> None:
    """Lay it out."""
    session = page.session
    ui.label(
        "The address of this page holds everything, up to 900,000 letters. So does the file: ganvas render recipe.json draws the "
        "same pixels."
    ).classes("small soft")

    def save() -> None:
        try:
            check_length(session.recipe)
        except GanvasError as error:
            page.tell(f"Not saved: {error}", "negative")
            return
        ui.download.content(json.dumps(to_json(session.recipe), indent=2), "recipe.json")

    def address() -> None:
        if page.holds:
            page.call("copy", to_text(session.recipe), "address")
        else:
            page.tell(TOO_LONG, "warning")

    async def image() -> None:
        drawn = await page.work("drawing", session.renderer.draw, [session.state])
        if drawn is not None:
            ui.download.content(pictures.png(pictures.to_image(drawn[0])), "picture.png")

    async def opened(content: bytes) -> None:
        try:
            found = await page.aside(from_bytes, content)
            session.open(found)
        except GanvasError as error:
            page.tell(f"Not opened: {error}", "negative")
            return
        await page.step("opened a recipe", found.state)

    with ui.element("div").classes("g-line"):
        ui.button("Save recipe.json", icon="download", on_click=save).props(
            "dense unelevated no-caps data-id=do-recipe"
        )
        ui.button("Save the picture", icon="image", on_click=image).props(
            "dense flat no-caps data-id=do-picture"
        )
        ui.button("Copy the address", icon="link", on_click=address).props("dense flat no-caps")
        ui.button(
            "Copy as Python",
            icon="code",
            on_click=lambda: page.call("copy", as_python(session.recipe)),
        ).props("dense flat no-caps")

    def rejected() -> None:
        page.tell(f"Recipes of up to {LONGEST:,} bytes are taken.", "negative")

    page.source.intake.field("Open a recipe.json", opened, LONGEST, ".json", rejected).props(
        "data-id=open-recipe"
    )
    code = ui.element("pre").classes("code").props("data-id=python")
    with code:
        python = ui.label("")
    with ui.element("pre").classes("code"):
        text = ui.label("").props("data-id=json")

    async def show() -> None:
        python.set_text(as_python(session.recipe))
        plain = to_json(session.recipe)["state"]
        short = {**plain, "moves": [{"name": m["name"], "strength": m["strength"]} for m in plain["moves"]]}
        if short["base"]:
            short["base"] = f"{len(short['base'])} characters"
        text.set_text(json.dumps(short, indent=1))

    page.settled.append(show)
