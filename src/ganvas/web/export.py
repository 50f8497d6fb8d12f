"""A page for somebody without Python: pictures drawn beforehand, in one file that loads nothing."""

import html
import io as memory
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from torch import Tensor

from ganvas.latent.finders import usual
from ganvas.latent.paths import NUMBERS
from ganvas.pictures import data_url, grid, opaque, smaller
from ganvas.types import Progress, silent
from ganvas.web import STATIC
from ganvas.web.landscape import SEED, landscape
from ganvas.web.renderer import FIRST, Renderer
from ganvas.web.state import State, move_of

STARTS = 12
DIRECTIONS = 6
STRENGTHS = tuple(s / 2 for s in range(-6, 7))
"""Of every direction: a slider of 13 places."""
DOTS = 900
"""Samples on the map."""
ACROSS = 30
"""Of them side by side."""
LOSSLESS = 32
"""Side up to which pictures are kept to the pixel."""
WIDEST = 16_383
"""Pixels of a side of a .webp."""


def page(renderer: Renderer, method: str | None = None, progress: Progress = silent) -> bytes:
    """The page as UTF-8: `STARTS` samples with `DIRECTIONS` sliders each, a map of `DOTS` samples, and the quality of all."""
    progress("the most real samples", 0, 1)
    starts = _starts(renderer)
    directions = renderer.directions(method or usual(renderer.space))[:DIRECTIONS]
    drawn = renderer.view if renderer.plots else renderer  # hundreds of whole curves are made small again
    columns = len(directions) * len(STRENGTHS)
    widest = max(columns, ACROSS)
    images, numbers = [], []
    for i, start in enumerate(starts):
        states = [start.to(move_of(d, s)) for d in directions for s in STRENGTHS]
        images.append(_drawn(drawn, states, widest))
        numbers += [_numbers(renderer, state) for state in states]
        progress("pictures", i + 1, len(starts))
    progress("map", 0, 1)
    found = landscape(renderer)
    rows = torch.linspace(0, len(found.places) - 1, min(DOTS, len(found.places))).long()
    thumbs = _drawn(drawn, [State(SEED, int(i)) for i in rows], widest)
    progress("map", 1, 1)
    name, values = next((n, found.values[n]) for n in ("realism", "density") if n in found.values)
    data = {
        "side": list(thumbs.shape[2:]),
        "directions": [{"name": d.name, "effect": round(d.effect, 3)} for d in directions],
        "strengths": STRENGTHS,
        "starts": len(starts),
        "likeness": "" if renderer.likeness is None else renderer.likeness.words,
        "numbers": numbers,
        "sprite": {"url": _sprite(torch.cat(images), columns), "columns": columns},
        "map": {
            "url": _sprite(thumbs, ACROSS), "columns": ACROSS, "by": name,
            "dots": [
                [round(x, 3), round(y, 3), colour]
                for (x, y), colour in zip(found.places[rows].tolist(), _colours(values[rows]), strict=True)
            ],
        },
    }  # fmt: skip
    text = (STATIC / "export.html").read_text(encoding="utf-8")
    title = html.escape(
        f"{Path(renderer.name).name}: latent space"
    )  # a page to give away: no folder of this machine
    # Without a "<" nothing in it can end the script, nor begin a comment that would swallow its end.
    plain = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return text.replace("@TITLE@", title).replace('"@DATA@"', plain).encode()


def _starts(renderer: Renderer) -> list[State]:
    """The most real of the first samples that look different from each other."""
    order = renderer.ranked(4 * FIRST)
    features = renderer.gauge.features(renderer.gauge.model.sample(len(order)))
    good = order[: len(order) // 2]
    usual = [i for i in good if not renderer.quality(State(number=i)).warnings]
    good = usual if len(usual) >= STARTS else good
    chosen = [good[0]]
    while len(chosen) < STARTS:  # the one that is furthest from those that are there
        away = torch.cdist(features[good], features[chosen]).min(1).values
        chosen.append(good[int(away.argmax())])
    return [State(number=i) for i in chosen]


def _numbers(renderer: Renderer, state: State) -> list[float | str | None]:
    found = renderer.quality(state)
    values = (found.realism, found.typicality, found.manifold)
    return [*(None if value != value else round(value, 3) for value in values), found.words]


def _colours(values: Tensor) -> list[str]:
    low, high = torch.quantile(values, torch.tensor([0.02, 0.98])).tolist()
    share = ((values - low) / max(high - low, 1e-9)).clamp(0, 1)
    return [to_hex(colormaps["viridis"](float(each))) for each in share]


def _drawn(drawn: Renderer, states: Sequence[State], columns: int) -> Tensor:
    """Pictures of states, `_smaller` as soon as some are there: a thousand whole ones of 512 px take gigabytes."""
    at_once = max(1, NUMBERS // math.prod(drawn.model.shape))
    parts = (states[first : first + at_once] for first in range(0, len(states), at_once))
    return torch.cat([_smaller(drawn.together(some), columns) for some in parts])


def _smaller(images: Tensor, columns: int) -> Tensor:
    """Pictures (n, C, H, W), so many side by side and below each other, at a size that a .webp of them may have."""
    return smaller(images, -(-columns * max(images.shape[2:]) // WIDEST))


def _sprite(images: Tensor, columns: int) -> str:
    """Pictures (n, C, H, W) side by side and below each other as one."""
    buffer = memory.BytesIO()
    options = {"lossless": True} if max(images.shape[2:]) <= LOSSLESS else {"quality": 90}
    opaque(grid(images, columns, min_width=1, gap=0)).convert("RGB").save(buffer, "WEBP", **options)
    return data_url(buffer.getvalue(), "image/webp")
