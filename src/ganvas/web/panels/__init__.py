"""The panels of the page, one file each. A new one: a module with `build(page)`, and a line in `lay_out`."""

from nicegui import ui

from ganvas.web.page import Page
from ganvas.web.panels import (
    controls,
    directions,
    history,
    label,
    map,
    picture,
    recipe,
    stage,
    timeline,
    top,
    training,
)
from ganvas.web.renderer import LARGE


def lay_out(page: Page) -> None:
    """Everything on the page."""
    top.build(page)
    large = max(page.session.renderer.model.shape[1:]) >= LARGE
    with ui.element("main").classes("layout large" if large else "layout"):
        with ui.element("div").classes("g-column"):
            stage.build(page)
        with ui.element("div").classes("g-column"):
            controls.build(page)
            directions.build(page)
        with ui.element("div").classes("g-column g-wide"), ui.element("section").classes("g-card"):
            tabs = {
                "Map": map.build, "Label": label.build, "Timeline": timeline.build, "Image": picture.build,
                "History": history.build, "Recipe": recipe.build,
            }  # fmt: skip
            if page.source.run is not None:
                tabs["Training"] = training.build
            with ui.tabs().classes("tabs").props("dense align=left no-caps") as bar:
                for name in tabs:
                    ui.tab(name)
            bar.on_value_change(lambda event: page.open_tab(str(event.value)))
            with ui.tab_panels(bar, value="Map", keep_alive=True, animated=False).classes("w-full"):
                for name, build in tabs.items():
                    with ui.tab_panel(name):
                        build(page)
