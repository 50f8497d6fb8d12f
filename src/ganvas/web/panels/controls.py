"""Where a picture starts: seed, sampler, class, truncation, noise, and layers in another style."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from nicegui import ui

from ganvas.errors import GanvasError
from ganvas.model_data import class_names
from ganvas.networks.stylegan3 import StyleGAN3Generator
from ganvas.sampling import samplers
from ganvas.web.page import Page, slider
from ganvas.web.renderer import LAST
from ganvas.web.state import State

MOST_LISTED = 1024
"""Classes that are listed by name: each page is sent the list, which of 65,536 takes seconds in which all others wait."""
PLACES = {
    "to the right": ("in sides of the picture", 0.5, 0.01),
    "down": ("in sides of the picture", 0.5, 0.01),
    "turn": ("anticlockwise, in degrees", 180.0, 1.0),
}
"""Sliders of StyleGAN3: what a number means, how far it goes either way, and in what steps."""


def build(page: Page) -> None:
    """Lay them out."""
    session, renderer = page.session, page.session.renderer
    fields: dict[str, Any] = {}

    def number(name: str, words: str, now: Callable[[], int | None], change: Callable[[int], State]) -> None:
        async def changed() -> None:
            value = fields[name].value
            # What the page itself put there comes back as an event too.
            if value is None and name == "noise" and now() is not None:
                await page.step("fixed noise", replace(session.state, noise=None))
            if value is None or not 0 <= value <= LAST or int(value) == now():
                return
            await page.step(f"{name} {int(value)}", change(int(value)))

        field = ui.number(name, value=now(), min=0, max=LAST, step=1, format="%d")
        field.props("dense outlined debounce=300").classes("num")
        fields[name] = field.tooltip(words)
        field.on_value_change(changed)

    def restart(**changes: Any) -> State:
        """From a sample again: what a jump had put there goes."""
        return replace(session.state, base=None, space="", **changes)

    with ui.element("section").classes("g-card"):
        ui.element("h2").add_slot("default", "Start")
        with ui.element("div").classes("g-line"):
            number(
                "seed",
                "of the latents, as in ganvas sample --seed",
                lambda: session.state.seed,
                lambda v: restart(seed=v, number=0),
            )
            number(
                "sample",
                "its number among the samples of the seed",
                lambda: session.state.number,
                lambda v: restart(number=v),
            )
            # For one sample a bank is too slow: `ganvas sample` is the place for those.
            usable = [
                name
                for name in samplers
                if not samplers.get(name).bank and (renderer.ratio is not None or samplers.get(name).blind)
            ]
            chosen = ui.select(usable, value="prior", label="sampler").props("dense outlined").classes("sel")
            chosen.tooltip("what new samples are drawn with, at about ten runs of the network")

            async def new() -> None:
                wanted = chosen.value

                def draw() -> State:
                    # Asked when its turn comes: before it another new sample may be drawn. No recipe holds a seed beyond LAST.
                    now = session.state
                    return session.renderer.drawn_by(wanted, now.seed % LAST + 1, now.label)

                while True:
                    label = session.state.label
                    found = await page.work(f"drawing by {wanted}", draw)
                    if found is None:
                        return
                    if session.state.label == label:  # else another class was chosen meanwhile
                        break
                kept = replace(
                    found, moves=session.state.moves, locks=session.state.locks, noise=session.state.noise,
                    truncation=session.state.truncation,
                )  # fmt: skip
                await page.step(f"new sample by {wanted}", kept)

            ui.button("New", icon="casino", on_click=new).props(
                "dense no-caps unelevated data-id=do-new"
            ).tooltip("another sample (N)")
            page.keys["n"] = new
        if renderer.classes:
            names = class_names(renderer.model)

            async def relabel() -> None:
                value, known = _class_of(page, fields["class"].value), session.renderer.label(session.state)
                if value is not None and known is not None and value != int(known[0]):
                    await page.step(f"class {_name(names, value)}", replace(session.state, label=value))

            fields["class"] = _class_field(page, "class", names, relabel)
        if renderer.classes > 1 and renderer.model.generator.embed is not None:
            _other_class(page, fields, names)
        jump = ui.label("").classes("small soft")
        about = "psi: nearer the mean is safer and more alike"
        if renderer.has_levels(renderer.model.generator):
            about += "; the norms of its level come with it, up to 1"
        _slide(
            page, "truncation", about, (0, 1.5, 0.05), lambda state: state.truncation,
            lambda v: replace(session.state, truncation=round(v, 3)),
        )  # fmt: skip
        if isinstance(renderer.model.generator, StyleGAN3Generator):
            for which in range(len(PLACES)):
                _place(page, which)
        if renderer.layers:
            _styles(page, fields, number)

    async def show() -> None:
        state = session.state
        jump.set_text(
            "" if state.base is None else "at a point of its own: a jump led here, not the seed alone"
        )
        for name, value in (("seed", state.seed), ("sample", state.number)):
            fields[name].set_value(value)
        if "class" in fields:
            label = session.renderer.label(state)
            fields["class"].set_value(None if label is None else int(label[0]))
        if "noise" in fields:
            fields["noise"].set_value(state.noise)
        if "other" in fields:
            fields["other"].set_value(state.other)

    page.settled.insert(0, show)


def _name(names: Sequence[str], label: int) -> str:
    """Of a class."""
    return names[label] if label < len(names) else str(label)


def _class_of(page: Page, value: float | None) -> int | None:
    """What a field of classes holds; None for no class."""
    return int(value) if value is not None and 0 <= value < page.session.renderer.classes else None


def _class_field(
    page: Page, label: str, names: Sequence[str], changed: Callable[[], Awaitable[None]]
) -> ui.select | ui.number:
    """Where a class is chosen: by name, among very many by number."""
    count = page.session.renderer.classes
    if count <= MOST_LISTED:
        options = {i: _name(names, i) for i in range(count)}
        return ui.select(options, label=label, on_change=changed).props("dense outlined").classes("sel")
    field = ui.number(label, min=0, max=count - 1, step=1, format="%d", on_change=changed)
    field.tooltip("its number: too many for a list")
    return field.props("dense outlined debounce=300").classes("num")


def _place(page: Page, which: int) -> None:
    """One of the sliders of `PLACES`."""
    name, (words, reach, step) = list(PLACES.items())[which]

    def placed(value: float) -> State:
        state = page.session.state
        right, down, turn = (round(value, 3) if i == which else each for i, each in enumerate(state.place))
        return replace(state, place=(right, down, turn))

    _slide(page, name, words, (-reach, reach, step), lambda state: state.place[which], placed)


def _slide(
    page: Page, name: str, words: str, reach: tuple[float, float, float], now: Callable[[State], float],
    change: Callable[[float], State],
) -> None:  # fmt: skip
    """A slider from, to, in steps, with its name and value above."""
    with ui.element("div").classes("slide").props("data-row"):
        with ui.element("div").classes("head"):
            ui.label(name).classes("name").tooltip(words)
            ui.element("span").props("data-value")
        bar = slider(page, name, *reach, now(page.session.state), change, lambda v: f"{name} {v:g}")

    async def show() -> None:
        page.call("set", bar.html_id, now(page.session.state))

    page.settled.insert(0, show)


def _other_class(page: Page, fields: dict[str, Any], names: Sequence[str]) -> None:
    """Another class, and how much of it."""
    session = page.session

    async def choose() -> None:
        value = _class_of(page, fields["other"].value)
        if value != session.state.other:
            share = session.state.share or (0.5 if value is not None else 0.0)
            words = "one class" if value is None else f"mixed with class {_name(names, value)}"
            await page.step(words, replace(session.state, other=value, share=share))

    fields["other"] = _class_field(page, "mixed with", names, choose)
    fields["other"].props("clearable data-id=other-class").tooltip("another class, by the vectors of both")
    _slide(
        page, "share", "of the other class", (0, 1, 0.05), lambda state: state.share,
        lambda v: replace(session.state, share=round(v, 3)),
    )  # fmt: skip


def _styles(page: Page, fields: dict[str, Any], number: Callable[..., None]) -> None:
    session, layers = page.session, page.session.renderer.layers
    with ui.element("div").classes("g-line"):
        number(
            "noise",
            "seed of the noise maps; empty: the fixed ones",
            lambda: session.state.noise,
            lambda v: replace(session.state, noise=v),
        )
        other = ui.number("style of", min=0, max=LAST, step=1, format="%d")
        other.props("dense outlined").classes("num")
        other.tooltip("seed of the sample whose style some layers take")
        span = ui.range(min=0, max=layers - 1, step=1, value={"min": layers // 2, "max": layers - 1}).props(
            'label dense aria-label="layers"'
        )
        span.style("width: 130px").tooltip("layers that take it, coarse to fine")

        async def mix() -> None:
            seed = None if other.value is None else int(other.value)
            try:
                state = session.mixed(seed, int(span.value["min"]), int(span.value["max"]))
            except GanvasError as error:
                page.tell(str(error), "negative")
                return
            words = (
                "own style"
                if seed is None
                else f"layers {span.value['min']}-{span.value['max']} of seed {seed}"
            )
            await page.step(words, state)

        async def plain() -> None:
            other.set_value(None)
            fields["noise"].set_value(None)
            await page.step("own style and noise", replace(session.state, mix=None, noise=None))

        ui.button("Mix", on_click=mix).props("dense flat no-caps data-id=do-mix")
        ui.button("Own style", on_click=plain).props("dense flat no-caps")
