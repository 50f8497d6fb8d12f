"""The bar above: undo, redo, A/B, theme, and the keys of the keyboard."""

from nicegui import events, ui

from ganvas.web.page import Page

KEYS = "Z undo · Y redo · N new sample · R repair · B bookmark · K key frame · A pin"


def build(page: Page) -> None:
    """Lay it out."""
    session = page.session
    dark = ui.dark_mode(value=None)

    async def undo() -> None:
        if session.undo():
            await page.changed()

    async def redo() -> None:
        if session.redo():
            await page.changed()

    async def pin() -> None:
        session.pinned = None if session.pinned is not None else session.state
        await page.refresh()

    async def swap() -> None:
        if session.pinned is not None:
            old, session.pinned = session.pinned, session.state
            await page.step("swapped with A", old)

    with ui.element("header").classes("bar-top"):
        ui.label("ganvas").classes("title")
        shown = ui.label(page.session.renderer.title).classes("soft").props("data-id=model")
        ui.label().props("data-id=busy role=status aria-live=polite")
        ui.element("div").classes("g-grow")
        for name, icon, words, action in (
            ("undo", "undo", "back (Z)", undo), ("redo", "redo", "on again (Y)", redo),
            ("pin", "push_pin", "compare: keep this as A (A)", pin),
            ("swap", "swap_horiz", "swap A and B", swap),
        ):  # fmt: skip
            button = ui.button(icon=icon, on_click=action).props("flat dense round").tooltip(words)
            button.props["data-id"], button.props["aria-label"] = f"do-{name}", words

        def theme() -> None:
            dark.value = not dark.value

        ui.button(icon="contrast", on_click=theme).props(
            'flat dense round aria-label="light or dark"'
        ).tooltip("light or dark")
        ui.icon("keyboard").classes("soft").tooltip(KEYS)

    async def name_it() -> None:  # a newer snapshot is another model
        shown.set_text(session.renderer.title)

    page.settled.append(name_it)

    actions = {"z": undo, "y": redo, "a": pin}

    async def key(event: events.KeyEventArguments) -> None:
        if not event.action.keydown or event.action.repeat:
            return
        name = str(event.key.name).lower()
        if name == "z" and event.modifiers.shift:
            name = "y"
        if name in actions and not event.modifiers.alt:
            await actions[name]()
        elif name in page.keys and not event.modifiers.ctrl:
            await page.keys[name]()

    ui.keyboard(on_key=key)  # not while something is typed
