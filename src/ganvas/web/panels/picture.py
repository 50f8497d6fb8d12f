"""A picture of one's own: find it in the latent space, or repair it, and continue from there."""

from typing import Any

from nicegui import ui
from torch import Tensor

from ganvas.latent.restore import tasks
from ganvas.web.page import Page, image_url
from ganvas.web.renderer import Renderer
from ganvas.web.state import State
from ganvas.web.upload import LARGEST, read_image

HALVES = ("left", "right", "top", "bottom", "middle")


def build(page: Page) -> None:
    """Lay it out."""
    session, model = page.session, page.session.renderer.model
    given: dict[str, Any] = {}
    ui.label(
        f"The middle of the picture is brought to {model.shape[2]} x {model.shape[1]} px and looked for in "
        f"{session.renderer.space.name}; then it is edited like any other point."
    ).classes("small soft")
    with ui.element("div").classes("g-line"):
        task = ui.select(
            {"none": "find it (invert)", **{name: f"repair: {name}" for name in tasks}},
            value="none",
            label="what to do",
        )
        task.props("dense outlined").classes("sel")
        hidden = (
            ui.select(list(HALVES), value="bottom", label="hidden part")
            .props("dense outlined")
            .classes("sel")
        )
        hidden.bind_visibility_from(task, "value", value="inpaint")
        negative = ui.switch("negative").tooltip(
            "for dark drawings on light paper, where the data are light on dark"
        )
    words = ui.label("").props("data-id=inverted").classes("small")
    with ui.element("div").classes("g-line pixel"):
        before = ui.element("img").props('width=140 alt="" data-id=uploaded')
        after = ui.element("img").props('width=140 alt="" data-id=found')

    def search(
        renderer: Renderer, content: bytes, light: bool, *asked: Any
    ) -> tuple[Tensor, State, float, Tensor]:
        image = read_image(content, model.shape, light, model.info.white)
        state, residual = renderer.inverted(image, *asked)
        return image, state, residual, renderer.draw([state])[0]

    async def look() -> None:
        if "content" not in given:
            page.tell("Choose a picture first.", "warning")
            return
        # As they are at the click: other ones may be chosen, or another picture given, before its turn comes.
        wanted, asked = task.value, (given["content"], negative.value)
        found = await page.work("looking for it", search, session.renderer, *asked, wanted, hidden.value)
        if found is None:
            return
        image, state, residual, drawn = found
        for shown, content in ((before, image), (after, drawn)):
            shown.props["src"] = image_url(content)
            shown.update()
        unit = "of what was seen, " if wanted != "none" else ""
        words.set_text(
            f"{unit}residual {residual:.0%} of the distance of two samples (0 %: exact; 100 %: as unlike as another sample)"
        )
        await page.step("an uploaded picture" if wanted == "none" else f"a picture repaired: {wanted}", state)

    async def uploaded(content: bytes) -> None:
        given["content"] = content
        await look()

    def rejected() -> None:
        page.tell(f"Pictures of up to {LARGEST >> 20} MiB are taken.", "negative")

    page.source.intake.field("Drop a picture here", uploaded, LARGEST, "image/*", rejected).props(
        "data-id=upload"
    )
    ui.button("Again with these settings", on_click=look).props("dense flat no-caps")
