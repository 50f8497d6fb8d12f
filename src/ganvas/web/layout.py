"""A page as it is opened: its session from the address, the panels laid out, the first picture."""

import asyncio

from nicegui import ui

from ganvas.errors import GanvasError
from ganvas.web import STATIC
from ganvas.web.page import Page
from ganvas.web.panels import lay_out
from ganvas.web.session import Session
from ganvas.web.source import Source
from ganvas.web.state import from_text

SCRIPT = f"<script>{(STATIC / 'page.js').read_text(encoding='utf-8')}</script>"


async def build(source: Source, text: str) -> None:
    """Lay out a page, at the place that its address tells."""
    words, session = "", None
    if text:
        try:
            recipe = await asyncio.to_thread(from_text, text)
            session = Session(source.renderer_of(recipe.hash), recipe)
        except GanvasError as error:
            words = f"Not opened: {error}"
    page = Page(source, session or Session(source.renderer, start=source.renderer.start))
    source.show(page.session.renderer)
    given = source.loaded_for(page.session.renderer)
    if given:
        page.session.load(given)
    ui.colors(primary="#4f46e5")
    ui.add_css(STATIC / "page.css")
    height, width = source.renderer.model.shape[1:] or (1, 1)
    ui.add_css(f":root {{ --shape: {width} / {height}; }}")
    ui.add_body_html(SCRIPT)
    lay_out(page)
    await page.client.connected()
    if words:
        page.tell(words, "warning")
    if len(given) < len(source.loaded):
        page.tell("The directions that were given at the start are of an older snapshot: they are left out.")
    await page.paint()
    page.call("ready")
    if words:
        # The address stays until something is done: it may hold bookmarks of another snapshot.
        await page.settle()
    else:
        await page.refresh()
