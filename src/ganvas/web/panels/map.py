"""Thousands of samples on a plane: hover to see, click to go."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from nicegui import background_tasks, events, ui

from ganvas.web.landscape import REALS, SEED, SLOW, Landscape, colour_names, landscape, samples_of
from ganvas.web.pace import AROUND
from ganvas.web.page import Page
from ganvas.web.state import State

MOST_CLASSES = 100
"""With a name and a colour each; more are shown by number."""
RED = "#dc2626"
PALETTE = (
    "#4e79a7",
    "#f28e2b",
    "#e15759",
    "#76b7b2",
    "#59a14f",
    "#edc948",
    "#b07aa1",
    "#ff9da7",
    "#9c755f",
    "#bab0ac",
    "#1f3b57",
    "#8f4a00",
)
RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
NOWHERE = (None, None)
"""Place of a step that cannot be drawn: the way has a gap there."""
WAY, SAMPLE, REAL = -1, 0, 1
"""What a dot is, the last of its numbers: names belong to the data."""
TIP = """p => p.value[4] < 0 ? '' :
`<img style="width:84px;image-rendering:pixelated" src="/${p.value[4] ? 'real' : 'thumb'}/KEY/${p.value[3]}.png?HASH">`"""
"""KEY is that of the source, HASH the model's: a browser keeps what it has shown, and the page may have another snapshot now."""


def build(page: Page) -> None:
    """Lay it out; the map itself comes when it is drawn."""
    session, source = page.session, page.source
    with ui.element("div").classes("g-line"):
        colour = (
            ui.select(["density"], value="density", label="colour").props("dense outlined").classes("sel")
        )
        reals = ui.switch("real images", value=False)
        reals.set_visibility(session.renderer.real is not None)
        words = ui.label("").classes("small soft").props("data-id=map-words")

        async def again() -> None:
            source.landscape = None
            await open_map()

        async def draw_more() -> None:
            source.landscape, more.visible = None, False
            await open_map(SLOW)

        redraw = ui.button("Redraw", icon="refresh", on_click=again).props("dense flat no-caps")
        redraw.set_visibility(False)
        more = ui.button(f"Draw {SLOW:,}", on_click=draw_more).props("dense flat no-caps data-id=do-more-map")
        more.set_visibility(False)
    place = ui.element("div").props("data-id=map")
    shown: dict[str, Any] = {}

    async def open_map(count: int | None = None) -> None:
        """The first page draws the map, the others wait for it; meanwhile everything else goes on."""
        words.set_text(f"drawing {count or samples_of(session.renderer):,} samples ...")
        async with source.drawing:
            if source.landscape is None:
                drawn = session.renderer
                source.landscape = await source.aside(landscape, drawn, count)
                source.landscape_of = drawn.hash
            # Another page may show another snapshot, and draw a map of that.
            found = source.landscape
            shown["map"], shown["of"] = found, source.landscape_of
        if page.client.is_deleted:  # nobody waited for it
            return
        redraw.set_visibility(False)
        names = list(found.values)
        old = colour.value
        colour.set_options(names, value="realism" if "realism" in names else "density")
        if colour.value == old:
            draw()
        await show()

    def draw() -> None:
        found: Landscape | None = shown.get("map")
        if found is None:
            return
        place.clear()
        shown["tip"] = session.renderer.hash
        with place:
            options = _options(found, str(colour.value), reals.value, colour_names(session.renderer))
            options["tooltip"][":formatter"] = TIP.replace("KEY", source.key).replace(
                "HASH", session.renderer.hash
            )
            for series, data in zip(options["series"][-2:], way(), strict=True):
                series |= data
            chart = ui.echart(options, on_point_click=go)
            chart.classes("g-map")
        shown["chart"] = chart
        marks = "; triangles are real images" if reals.value and found.real_places is not None else ""
        renderer, count = session.renderer, len(found.places)
        fewer = renderer.slow and count < SLOW
        more.set_visibility(fewer)
        few = f", no more because each takes {renderer.view.seconds:.1f} s" if fewer else ""
        red = "" if shown.get("lost") else "; the red line is your way"
        words.set_text(f"{count:,} samples of seed {SEED}{few}{marks}{red}; click to go")

    async def go(event: events.EChartPointClickEventArguments) -> None:
        assert isinstance(event.value, list)
        if event.value[4] == REAL:
            image = session.renderer.real.images[int(event.value[3])] if session.renderer.real else None
            if image is not None:
                found = await page.work("inverting a real image", session.renderer.inverted, image)
                if found is not None:
                    await page.step("the real image, inverted", found[0])
            return
        if event.value[4] == WAY:
            return
        number = int(event.value[3])
        start = State(SEED, number)
        kept = replace(start, truncation=session.state.truncation, locks=session.state.locks)
        await page.step(f"sample {number} of the map", kept)

    def way() -> list[dict[str, Any]]:
        """Where one is, and where one came from."""
        points = [[*each, 0, -1, WAY] for each in shown.get("way", ())]
        look = {"color": RED, "borderColor": "#fff", "borderWidth": 2}
        marks = [{"value": points[-1], "symbolSize": 17, "itemStyle": look}] if points else []
        return [{"id": "way", "data": points}, {"id": "here", "data": marks}]

    def where() -> None:
        shown["chart"].run_chart_method("setOption", {"series": way()})

    async def show() -> None:
        found: Landscape | None = shown.get("map")
        if "of" not in shown:
            if "opening" not in shown:
                shown["opening"] = background_tasks.create(opening(), name="map")
            return
        if found is None:
            return
        if shown.get("tip") != session.renderer.hash:
            draw()
        if shown["of"] != session.renderer.hash:
            words.set_text("the map is of an older snapshot")
            redraw.set_visibility(True)
        trail, stays, rests = session.history.trail()[-12:], page.stays(), page.rests()

        def places() -> Sequence[Sequence[float | None]]:
            drawn = session.renderer.thumbs_or_none(trail, AROUND, stays)
            seen = {i: image for i, image in enumerate(drawn) if image is not None}
            if not seen:
                return [NOWHERE]
            features = session.renderer.view.gauge.features(torch.stack([*seen.values()]))
            at = dict(zip(seen, found.at(features).tolist(), strict=False))  # none, where sizes differ
            return [at.get(i, NOWHERE) for i in range(len(drawn))] if at else []

        async def trace() -> None:
            way = await page.aside(places)
            if rests() and shown["map"] is found:  # else the next way, or map, may be there already
                shown["way"] = way
                shown["lost"] = not way
                if not way:
                    words.set_text("the map is of pictures of another size: without your way")
                    redraw.set_visibility(True)
                if "chart" in shown:
                    where()

        await page.behind(trace)

    async def opening() -> None:
        with page.client:
            try:
                await open_map()
            except Exception as error:
                words.set_text(f"No map: {error}")

    colour.on_value_change(draw)
    reals.on_value_change(draw)
    page.settled.insert(0, show)  # it only starts the drawing, beside everything else


def hue(i: int) -> str:
    """The colour of class i: the first twelve are told apart best, the others go round by the golden angle."""
    return PALETTE[i] if i < len(PALETTE) else f"hsl({i * 137.5 % 360:.0f}, 65%, {40 + 8 * (i % 4)}%)"


def _options(found: Landscape, colour: str, reals: bool, names: tuple[str, ...]) -> dict[str, Any]:
    values = found.values[colour]
    rows = [
        [round(x, 4), round(y, 4), round(v, 3), i, SAMPLE]
        for i, ((x, y), v) in enumerate(zip(found.places.tolist(), values.tolist(), strict=True))
    ]
    axis = {"show": False, "min": -1.05, "max": 1.05}
    options: dict[str, Any] = {
        "animation": False, "grid": {"left": 0, "right": 0, "top": 30, "bottom": 0}, "xAxis": axis, "yAxis": axis,
        "tooltip": {"padding": 3, "confine": True},
        "dataZoom": [{"type": "inside", "xAxisIndex": 0}, {"type": "inside", "yAxisIndex": 0}],
    }  # fmt: skip
    dots = {"type": "scatter", "symbolSize": 4, "itemStyle": {"opacity": 0.8}}
    kinds = sorted({int(v) for v in values.tolist()}) if colour == "class" else []
    if kinds and len(kinds) <= MOST_CLASSES:
        series: list[dict[str, Any]] = [
            {
                **dots, "name": names[k] if k < len(names) else str(k), "color": hue(i),
                "data": [row for row in rows if int(row[2]) == k],
            }
            for i, k in enumerate(kinds)
        ]  # fmt: skip
        options["legend"] = {
            "top": 0,
            "type": "scroll",
            "textStyle": {"color": "#888"},
            "itemHeight": 8,
            "itemWidth": 8,
        }
    else:
        series = [{**dots, "name": "samples", "data": rows}]
        low, high = torch.quantile(values, torch.tensor([0.02, 0.98])).tolist()
        options["visualMap"] = {
            "min": round(low, 3), "max": round(max(high, low + 1e-3), 3), "dimension": 2, "seriesIndex": 0, "precision": 2,
            "orient": "horizontal", "top": 0, "right": 0, "calculable": True, "itemHeight": 90, "itemWidth": 10,
            "inRange": {"color": list(RAMP)}, "textStyle": {"color": "#888"},
        }  # fmt: skip
    if reals and found.real_places is not None:
        data = [
            [round(x, 4), round(y, 4), 0, i, REAL]
            for i, (x, y) in enumerate(found.real_places[:REALS].tolist())
        ]
        series.append(
            {
                **dots,
                "name": "real",
                "symbol": "triangle",
                "color": RED,
                "itemStyle": {"opacity": 0.55},
                "data": data,
            }
        )
    series.append(
        {
            "id": "way",
            "name": "way",
            "type": "line",
            "data": [],
            "symbolSize": 6,
            "silent": True,
            "color": RED,
            "lineStyle": {"width": 1.5},
        }
    )
    series.append({"id": "here", "name": "way", "type": "scatter", "data": [], "silent": True, "z": 9})
    return {**options, "series": series}
