"""Samples on disk: a PNG grid, a folder of PNGs, an .npy or .npz; and a scatter plot for 2-D points."""

import base64
import csv
import io as memory
import os
import warnings
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from itertools import chain, pairwise
from math import ceil, isqrt, prod, sqrt
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from unicodedata import category

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganvas import arrays, io
from ganvas.errors import GanvasError, counted, install, printable
from ganvas.series import Schema, Series, plain, table, until_ends

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation


def to_image(pixels: Tensor) -> Image.Image:
    """One uint8 image (C, H, W) with 1, 3 or 4 channels (the last how solid it is) as a PIL image."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def opaque(picture: Image.Image) -> Image.Image:
    """A picture without transparent parts: they are white."""
    if picture.mode != "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


GAP = 2
"""Grey pixels between the tiles of a grid: without them, small dark images run into one another."""


TEXT = 14
"""Height of the letters of labels in pixels."""
MOST_LETTERS = 1000
"""Of a label; what is longer is cut before it is measured."""
MOST_PIXELS = 64_000_000
"""Of a grid of samples."""
WIDEST = 4096
"""A picture is not enlarged beyond so many pixels for the sake of its labels."""


def grid(
    images: Tensor, columns: int | None = None, min_width: int = 512, gap: int = GAP, *, heads: Sequence[str] = (),
    names: Sequence[str] = (), captions: Sequence[str] = (), title: str = "",
) -> Image.Image:  # fmt: skip
    """Tile uint8 images (N, C, H, W) row by row, small ones enlarged by a whole factor so that a person sees them.

    `heads` stand over the columns, `names` left of the rows, `captions` under the images, the title above all. Where they need
    room the images are enlarged further; what still does not fit is cut with an ellipsis.
    """
    heads, names, captions = ([in_a_line(text) for text in each] for each in (heads, names, captions))
    title = in_a_line(title)
    n, channels, height, width = images.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    scale = max(1, min(round(min_width / (columns * width)), round(2 * min_width / (rows * height))))
    if texts := [text for text in (*heads, *captions) if text]:
        room = max(font().getlength(text) for text in texts) + 6
        most = isqrt(MOST_PIXELS // (rows * columns * height * width))  # of narrow ones that are high
        scale = max(scale, min(int(np.ceil(room / width)), WIDEST // (columns * width), most))
    height, width = height * scale + gap, width * scale + gap
    # Laid out as the picture will be: of a large one every copy counts.
    pixels = torch.full((rows * height + gap, columns * width + gap, channels), 128, dtype=torch.uint8)
    pixels[..., 3:] = 255  # the lines between transparent pictures are solid
    tiles = pixels[: rows * height, : columns * width]
    tiles = tiles.unflatten(1, (columns, width)).unflatten(0, (rows, height))
    for row, some in enumerate(images.split(columns)):
        large = some.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        tiles[row, gap:, : len(some), gap:] = large.permute(2, 0, 3, 1)
    picture = to_image(pixels.permute(2, 0, 1))
    if not (texts or any(names) or title):
        return picture
    under = [list(captions[row * columns : (row + 1) * columns]) for row in range(rows)]
    return _lettered(picture, (width, height), gap, heads, names, under, title)


def sheet(
    rows: Sequence[Tensor], names: Sequence[str] = (), *, heads: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (), title: str = "", plain: bool = False,
) -> Image.Image:  # fmt: skip
    """Rows of uint8 images (n, C, H, W), each with a name and captions of its own; shorter rows end in grey.

    `plain` leaves all text out.
    """
    columns = max(len(row) for row in rows)
    filled = torch.cat(
        [torch.cat([row, row.new_full((columns - len(row), *row.shape[1:]), 128)]) for row in rows]
    )
    if plain:
        return grid(filled, columns)
    under = [text for row in captions for text in (*row, *[""] * (columns - len(row)))]
    return grid(filled, columns, heads=heads, names=names, captions=under, title=title)


def in_a_line(text: str) -> str:
    """A name as it can be drawn: the letters are not laid out where a line ends between them."""
    shown = (each if each.isprintable() or category(each) == "Cf" else " " for each in text[:MOST_LETTERS])
    return " ".join("".join(shown).split())


@cache
def font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows Latin, Greek, Cyrillic and arrows."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), TEXT)


def _lettered(
    picture: Image.Image, tile: tuple[int, int], gap: int, heads: Sequence[str], names: Sequence[str],
    captions: Sequence[Sequence[str]], title: str,
) -> Image.Image:  # fmt: skip
    """A grid of tiles with its labels on white around it; rows with captions are moved apart to make room."""
    line, (width, height) = TEXT + 8, tile
    margin = min(max((ceil(font().getlength(name)) + 12 for name in names if name), default=0), 400)
    top = line * (bool(title) + any(bool(head) for head in heads))
    below = [line if any(row) else 0 for row in captions]
    wide = max(margin + picture.width, min(ceil(font().getlength(title)) + 12 if title else 0, WIDEST))
    whole = Image.new("RGB", (wide, top + picture.height + sum(below)), "white")
    picture = opaque(picture)
    pen = ImageDraw.Draw(whole)

    def write(text: str, x: float, y: float, anchor: str = "mm", room: float = width - gap) -> None:
        pen.text((x, y), _shortened(text, room), "black", font(), anchor)

    write(title, 6, line / 2, "lm", wide - 12)
    middles = [margin + gap + i * width + (width - gap) / 2 for i in range(picture.width // width)]
    for head, x in zip(heads, middles, strict=False):
        write(head, x, top - line / 2)
    y = top
    for i, row in enumerate(captions):
        strip = picture.crop((0, i * height, picture.width, (i + 1) * height + gap))
        whole.paste(strip, (margin, y))
        if i < len(names):
            write(names[i], margin - 6, y + (height + gap) / 2, "rm", margin)
        y += height
        for caption, x in zip(row, middles, strict=False):
            write(caption, x, y + gap + line / 2)
        y += below[i]
    return whole


def _shortened(text: str, room: float) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if font().getlength(text) <= room:
        return text
    # The number of letters that fit: measuring takes time.
    fits = bisect_right(range(1, len(text) + 1), room, key=lambda count: font().getlength(text[:count] + "…"))
    return text[:fits] + "…"


def atlas(images: Tensor, places: np.ndarray, cells: int = 28, title: str = "") -> Image.Image:
    """uint8 images (N, C, H, W) on a raster: in each of `cells` x `cells` the one whose place (N, 2) is nearest its middle.

    Large ones are shown smaller, so that all together have `MOST_PIXELS` at most.
    """
    low, high = np.quantile(places, 0.005, axis=0), np.quantile(places, 0.995, axis=0)
    at = (places - low) / np.maximum(high - low, 1e-12) * cells
    column, row = (np.clip(np.floor(at[:, i]).astype(int), 0, cells - 1) for i in (0, 1))
    away = np.linalg.norm(at - np.stack([column, row], 1) - 0.5, axis=1)
    tile = (cells - 1 - row) * cells + column
    nearest = {tile[i]: i for i in away.argsort()[::-1]}  # the nearest comes last and stays
    factor = ceil(sqrt(cells**2 * prod(images.shape[2:]) / MOST_PIXELS))
    tiles = torch.full((cells**2, *smaller(images[:1], factor).shape[1:]), 128, dtype=torch.uint8)
    for place, i in nearest.items():
        tiles[place] = smaller(images[i : i + 1], factor)[0]
    return grid(tiles, columns=cells, title=title)


def smaller(images: Tensor, factor: int) -> Tensor:
    """uint8 images (n, C, H, W) at a whole fraction of their size."""
    if factor == 1:
        return images
    sides = tuple(min(factor, side) for side in images.shape[2:])
    return F.avg_pool2d(images.float(), sides).round().to(torch.uint8)


def scatter(points: Tensor, size: int = 512, title: str = "") -> Image.Image:
    """Points (N, D) as a plot of their first two coordinates, as wide as they spread; of one coordinate how many lie where."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    axes = figure.add_subplot()
    shown = points[:, :2].numpy()
    reach = max(1.0, float(np.quantile(np.abs(shown), 0.999)) * 1.1)
    if points.shape[1] == 1:
        axes.hist(shown[:, 0], bins=64, range=(-reach, reach))
        axes.set(xlim=(-reach, reach), title=literal(title))
        return _plotted(figure)
    axes.scatter(shown[:, 0], shown[:, 1], s=3, alpha=0.5, linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=literal(title))
    return _plotted(figure)


def _plotted(figure: "Figure", title: str = "") -> Image.Image:
    """A figure of matplotlib as a picture, with a title over all of its panels."""
    if title:
        figure.suptitle(literal(title), fontsize=10)
    return Image.open(memory.BytesIO(plot_png(figure))).convert("RGB")


MOST_PANELS = 4
"""Panels of one series in a picture: columns of one range share one."""
PANEL = (2.3, 1.3)
"""Inches."""
ACROSS = 6
"""Series side by side."""
MOST_LETTERS_OF_A_NAME = 24
"""Of what stands beside or above a panel, or in a map."""
MOST_TICKS, MOST_LETTERS_OF_A_LINE = 8, 12
"""Categories that are named beside a panel, and letters of a name there and in a legend."""


def curves(series: Series, title: str = "", names: Sequence[str] = ()) -> Image.Image:
    """Series in their own units: each a little stack of panels, `ACROSS` side by side; `names` stand above them."""
    from matplotlib.figure import Figure

    groups = panels(series.schema)
    count = len(series.values)
    across = min(ACROSS, count)
    rows = -(-count // across)
    height = PANEL[1] * rows * len(groups) + 0.35 * rows + (0.3 if title else 0)
    figure = Figure(figsize=(PANEL[0] * across, height), dpi=90)
    axes = figure.subplots(rows * len(groups), across, squeeze=False)
    for i in range(rows * across):
        for k, group in enumerate(groups):
            panel = axes[i // across * len(groups) + k, i % across]
            if i >= count:
                panel.axis("off")
                continue
            _plot(panel, series, i, group)
            if k == 0 and i < len(names):
                panel.set_title(brief(names[i]), fontsize=8)
            if i % across == 0:
                panel.set_ylabel(_called(series, group), fontsize=7)
            if i == 0 and len(group) > 1:
                panel.legend(
                    [literal(series.names[each][:MOST_LETTERS_OF_A_LINE]) for each in group[:MOST_LINES]],
                    fontsize=5, loc="best", ncols=2, framealpha=0.6, handlelength=1, borderpad=0.2, columnspacing=0.8,
                )  # fmt: skip
    return _plotted(figure, title)


ROOM = (96, 144)
"""Height and width in pixels of a series that is drawn without axes."""
INKS = (
    (0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74), (0.55, 0.34, 0.29),
    (0.89, 0.47, 0.76), (0.5, 0.5, 0.5), (0.74, 0.74, 0.13), (0.09, 0.75, 0.81),
)  # fmt: skip
"""Red, green and blue of the lines, in turn."""


def lines(samples: Tensor, schema: Schema | None = None, size: tuple[int, int] = ROOM) -> Tensor:
    """Series (n, C, T) -> small pictures without axes (n, 3, H, W), -1 to 1, that gradients go through.

    Each panel of `panels` is a strip; lines go from the least that its channels may be to the most, in windows of their own frame
    from the least to the most of the window.
    """
    schema = schema or plain(samples.shape[1], samples.shape[2])
    groups, (height, width) = panels(schema), size
    starts = dict(zip((c.name for c in schema.columns), schema.places, strict=True))
    ends = sum(column.channels for column in schema.columns) if schema.ends else None
    across = torch.linspace(0, samples.shape[2] - 1, width, device=samples.device)
    found = []
    for k, group in enumerate(groups):
        rows = height * (k + 1) // len(groups) - height * k // len(groups)
        # Not len(), which would fix the batch of an exported graph.
        strip = samples.new_ones(samples.shape[0], 3, rows, width)
        places = torch.arange(rows, device=samples.device)[:, None]
        for i, number in enumerate(group[:MOST_LINES]):
            column = schema.columns[number]
            if column.same_as in [schema.columns[other].name for other in group]:
                continue
            own = schema.own(column)
            first = starts[own.name]
            if own.categories:
                levels = torch.linspace(-1, 1, len(own.categories), device=samples.device)
                value = (samples[:, first : first + own.channels] * levels[:, None]).sum(1)
            else:
                value = samples[:, first + own.gaps]
            y = (1 - _at(value, across)) / 2 * (rows - 5) + 2
            slope = _slope(y.detach())
            ink = (1.5 - (places - y[:, None]).abs() / (1 + slope.square()).sqrt()[:, None]).clamp(0, 1)
            if own.gaps and not own.categories:
                ink = ink * (_at(samples[:, first], across) > 0.5)[:, None]
            if ends is not None:
                ink = ink * (_at(samples[:, ends], across) > 0.5)[:, None]
            colour = samples.new_tensor(INKS[i % len(INKS)])[:, None, None] * 2 - 1
            strip = strip + (colour - strip) * ink[:, None]
        if k:
            strip = torch.cat([strip.new_full((strip.shape[0], 3, 1, width), 0.6), strip[:, :, 1:]], 2)
        found.append(strip)
    return torch.cat(found, 2)


def _slope(y: Tensor) -> Tensor:
    """Of (n, W) at each place, by its neighbours. `torch.gradient` is the same, and fixes the batch of an exported graph."""
    return torch.cat([y[:, 1:2] - y[:, :1], (y[:, 2:] - y[:, :-2]) / 2, y[:, -1:] - y[:, -2:-1]], 1)


def _at(values: Tensor, places: Tensor) -> Tensor:
    """Values (n, T) between their steps at places (W,) -> (n, W)."""
    before = places.floor().long().clamp(max=values.shape[1] - 1)
    after = (before + 1).clamp(max=values.shape[1] - 1)
    return torch.lerp(values[:, before], values[:, after], (places - before).expand(values.shape[0], -1))


def shown(samples: Tensor, schema: Schema | None = None, size: tuple[int, int] = ROOM) -> Tensor:
    """What stands in a sheet for samples: images as they are, series as `lines` draws them, uint8 (n, 3, H, W)."""
    if samples.dim() != 3:
        return samples
    parts = (lines(part.float(), schema, size) for part in samples.split(256))
    return torch.cat([((part + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu() for part in parts])


def beside(sets: Sequence[tuple[str, Series]], count: int) -> Image.Image:
    """The first `count` series of sets that differ in some steps, by name: a picture of each set below the other."""
    found = [
        curves(each._replace(values=each.values[:count], lengths=each.lengths[:count]), name)
        for name, each in sets
    ]
    sheet = Image.new("RGB", (max(each.width for each in found), sum(each.height for each in found)), "white")
    for i, each in enumerate(found):
        sheet.paste(each, (0, sum(other.height for other in found[:i])))
    return sheet


def fans(series: Sequence[tuple[str, Series]], title: str = "") -> Image.Image:
    """Sets of series in their own units, by name: of each the 5, 25, 50, 75 and 95 % quantiles at every step, panel by panel."""
    from matplotlib.figure import Figure

    groups = [group[:1] for group in panels(series[0][1].schema)]
    figure = Figure(figsize=(4 * len(series), 2.2 * len(groups)), dpi=90)
    axes = figure.subplots(len(groups), len(series), squeeze=False, sharey="row")
    for column, (name, each) in enumerate(series):
        for panel, group in zip(axes[:, column], groups, strict=True):
            values = each.values[:, :, group[0]].copy()
            values[np.arange(values.shape[1])[None] >= each.lengths[:, None]] = np.nan
            there = ~np.isnan(values).all(0)
            if not there.any():
                continue
            levels = np.nanquantile(values[:, there], (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
            steps = np.arange(values.shape[1])[there]
            for outer in (0, 1):
                panel.fill_between(
                    steps, levels[outer], levels[4 - outer], color="C0", alpha=0.25, linewidth=0
                )
            panel.plot(steps, levels[2], color="C0", linewidth=1)
            panel.set_title(literal(name), fontsize=8)
            panel.tick_params(labelsize=6)
            if column == 0:
                panel.set_ylabel(_called(each, group), fontsize=7)
    return _plotted(figure, title)


def spectra(series: Sequence[tuple[str, Series]], title: str = "") -> Image.Image:
    """The mean power at each frequency of sets of series, by name: how much they move slowly, and how much from step to step."""
    from matplotlib.figure import Figure

    groups = [group[:1] for group in panels(series[0][1].schema)]
    figure = Figure(figsize=(4 * len(groups), 2.6), dpi=90)
    for k, panel in enumerate(figure.subplots(1, len(groups), squeeze=False)[0]):
        for name, each in series:
            values = until_ends(each).values[:, :, groups[k][0]]
            # What is not there stands at the mean of its series: at 0 it would be the largest move of all.
            there = ~np.isnan(values)
            means = np.where(there, values, 0.0).sum(1) / np.maximum(1, there.sum(1))
            moved = np.where(there, values - means[:, None], 0.0)
            power = np.abs(np.fft.rfft(moved, axis=1))[:, 1:] ** 2
            across = np.arange(1, power.shape[1] + 1) / values.shape[1]
            panel.plot(across, np.maximum(power.mean(0), 1e-30), label=literal(name), linewidth=1.2)
        panel.set(yscale="log", xlabel="cycles a step", title=_called(series[0][1], groups[k]))
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=7)
    return _plotted(figure, title)


def panels(schema: Schema) -> list[list[int]]:
    """Numbers of the columns that are drawn together, at most `MOST_PANELS` panels of them."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, column in enumerate(schema.columns):
        own = schema.own(column)
        size = max(abs(own.low), abs(own.high), 1e-30)
        scale = 0 if own.frame >= 0 or own.categories else round(np.log10(size))
        key = (own.kind, own.frame, own.log, scale, own.name if own.categories else "")
        groups.setdefault(key, []).append(i)
    return list(groups.values())[:MOST_PANELS]


def _plot(panel: Any, series: Series, i: int, group: Sequence[int]) -> None:
    length = int(series.lengths[i])
    for column in group[:MOST_LINES]:
        kind = "steps-mid" if series.schema.columns[column].categories else "default"
        panel.plot(series.values[i, :length, column], linewidth=0.9, drawstyle=kind)
    named = series.schema.columns[group[0]].categories
    if named and len(named) <= MOST_TICKS:
        panel.set_yticks(range(len(named)), [literal(each[:MOST_LETTERS_OF_A_LINE]) for each in named])
        panel.set_ylim(-0.3, len(named) - 0.7)
    panel.set_xlim(0, max(1, series.values.shape[1] - 1))
    panel.tick_params(labelsize=6, pad=1)
    panel.grid(alpha=0.3)


def _called(series: Series, group: Sequence[int]) -> str:
    return brief(", ".join(series.names[i] for i in group))


def brief(name: str) -> str:
    """A name from a file as a plot has room for it: matplotlib lays all letters out, which of a thousand names takes minutes."""
    return literal(name if len(name) <= MOST_LETTERS_OF_A_NAME else f"{name[: MOST_LETTERS_OF_A_NAME - 1]}…")


def literal(text: str) -> str:
    """A name as matplotlib shows it letter by letter: what stands between two dollars is mathematics to it."""
    return printable(text).replace("$", r"\$")


@contextmanager
def _without_tex(figure: "Figure") -> Iterator[None]:
    """Lay out and draw without LaTeX: somebody's matplotlibrc may ask for it by `text.usetex`.

    It is a program that may not be there, reads files, and takes names of classes for its own language.
    """
    import matplotlib
    from matplotlib.text import Text

    with matplotlib.rc_context({"text.usetex": False}):
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_usetex(False)
        yield


def plot_png(figure: "Figure") -> bytes:
    """A matplotlib figure, laid out, as PNG bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = memory.BytesIO()
    with warnings.catch_warnings(), _without_tex(figure):
        # Names in other scripts become boxes, of which there is nothing to say line by line on the terminal.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.tight_layout()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


LEADER = {"arrowstyle": "-", "color": "grey", "lw": 0.6}
"""The line from a label that had to move to what it names (`arrowprops`)."""


def move_apart(figure: "Figure", labels: "Sequence[Annotation]", clear: float = 0.0) -> None:
    """Move labels, placed in offset points, so that each lies within its axes and none over another.

    Sideways into the axes, then up or down by the least way that is free. `clear` is how far, in pixels, they keep
    from the points that they name; at 0 they may lie on them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    with _without_tex(figure):
        figure.tight_layout()
    renderer = FigureCanvasAgg(figure).get_renderer()
    taken: dict[int, list[Any]] = {}
    for label in labels if clear else []:
        assert label.axes is not None
        x, y = label.axes.transData.transform(label.xy)
        point = Bbox.from_bounds(x - clear, y - clear, 2 * clear, 2 * clear)
        taken.setdefault(id(label.axes), []).append(point)
    for label in labels:
        assert label.axes is not None
        label.update_positions(renderer)
        frame, others = label.axes.get_window_extent(renderer), taken.setdefault(id(label.axes), [])
        box = Text.get_window_extent(label, renderer).padded(2)
        aside = max(0.0, frame.x0 - box.x0) + min(0.0, frame.x1 - box.x1)
        here, up = box.translated(aside, 0), 0.0
        for k in sorted(range(-200, 201), key=abs):
            up = k * box.height / 4
            here = box.translated(aside, up)
            if frame.y0 < here.y0 and here.y1 < frame.y1 and not any(map(here.overlaps, others)):
                break
        x, y = label.xyann
        label.xyann = (x + aside * 72 / figure.dpi, y + up * 72 / figure.dpi)
        others.append(here)


def draw(samples: Tensor, title: str = "", schema: Schema | None = None) -> Image.Image:
    """A grid of images, curves of series (in their own units with `schema`) or a scatter of points: whatever fits the samples."""
    if samples.dim() == 3:
        return curves((schema or plain(samples.shape[1], samples.shape[2])).decode(samples), title)
    return grid(samples, title=title) if samples.dim() == 4 else scatter(samples, title=title)


def png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes."""
    buffer = memory.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(content: bytes, media: str = "image/png") -> str:
    """Bytes as an address that a page can show without a server."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


MOST_LINES = 20
"""Of a panel."""
MOST_SERIES = 96
"""Of a picture."""
FILMS = (".gif", ".webp", ".mp4")
SIDES = {".gif": 65_535, ".webp": 16_383, ".mp4": 16_384}
"""Pixels of a side that the formats hold (of .mp4 libx264)."""
DELAYS = {".gif": 10, ".webp": 1}
"""Milliseconds that delays between pictures are counted in."""
FASTEST_GIF = 50.0
"""Pictures a second: a viewer plays what is faster, a delay of 10 ms or none, at ten a second."""
LARGEST_GIF = 2**31
"""Bytes of the pictures of a .gif, one for each pixel: Pillow holds all of them until it has the last."""
LARGEST_WALK = 2**31
"""Bytes of the pictures of a walk, which are held until it is written."""


def check_film(out: Path, fps: float = 24.0, frames: int = 0, shape: Sequence[int] = ()) -> None:
    """Raise `GanvasError` when `save_animation` could not write there, so fast or so many, before any work is done."""
    if out.suffix not in FILMS:
        raise GanvasError(f"Cannot write {out.suffix or 'a folder'} as a film; use {', '.join(FILMS)}.")
    if out.suffix == ".mp4" and find_spec("av") is None:
        raise GanvasError(f"An .mp4 needs PyAV: {install('video')}. Or write a .webp or .gif.")
    _check_fps(out.suffix, fps)
    shape = _as_shown(shape)
    _check_sides(out.suffix, shape)
    size = frames * prod(shape[1:]) * enlarged(shape) ** 2 if shape and out.suffix == ".gif" else 0
    if size > LARGEST_GIF:
        raise GanvasError(
            f"A .gif of {frames:,} pictures of {shape[2]} x {shape[1]} px takes {size / 2**30:.1f} GiB while it is written, and "
            f"{LARGEST_GIF >> 30} are taken at most. Use --out {out.with_suffix('.webp')}, an .mp4, or fewer frames."
        )


def _as_shown(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape (C, H, W) of the pictures of samples: those of series (C, T) are `shown` as curves. () of points."""
    return tuple(shape) if len(shape) == 3 else (3, *ROOM) if len(shape) == 2 else ()


def _check_fps(suffix: str, fps: float) -> None:
    if not 0.01 <= fps <= 240:
        raise GanvasError(f"{fps:g} pictures a second: give 0.01 to 240.")
    if suffix == ".gif" and fps > FASTEST_GIF:
        raise GanvasError(
            f"A .gif holds at most {FASTEST_GIF:g} pictures a second, got {fps:g}. Use --fps {FASTEST_GIF:g}, a .webp or an .mp4."
        )


def _check_sides(suffix: str, shape: Sequence[int]) -> None:
    side = max(shape[1:]) * enlarged(shape) if shape else 0
    if side > SIDES[suffix]:
        fits = [each for each in FILMS if side <= SIDES[each]]
        raise GanvasError(
            f"A {suffix} holds pictures of up to {SIDES[suffix]:,} px a side, and these have {side:,}. Use "
            f"{' or '.join(fits) or '.png, as a strip'}."
        )


def save_animation(frames: Tensor, out: Path, fps: float = 24.0) -> None:
    """Write uint8 frames (T, C, H, W) as an endless .gif or .webp or an .mp4 (H.264).

    Small ones are enlarged by a whole factor; what is transparent becomes white.
    """
    check_film(out, fps, len(frames), frames.shape[1:])
    io.write_bytes(out, animation(frames, out.suffix, fps))


def delays(count: int, fps: float, unit: int) -> list[int]:
    """How long each of `count` pictures stays, in ms that are whole multiples of `unit`: as long in all as at `fps` exactly."""
    ends = [round(i * 1000 / fps / unit) * unit for i in range(count + 1)]
    return [stop - start for start, stop in pairwise(ends)]


def enlarged(shape: Sequence[int]) -> int:
    """The whole factor by which frames (..., H, W) are enlarged in a film: the longer side to about 256 px."""
    return max(1, round(256 / max(shape[-2:])))


def animation(frames: Tensor, suffix: str, fps: float = 24.0) -> bytes:
    """The bytes of such a file."""
    _check_fps(suffix, fps)
    _check_sides(suffix, frames.shape[1:])
    scale, count = enlarged(frames.shape), len(frames)

    def picture(i: int) -> Image.Image:
        return opaque(to_image(frames[i].repeat_interleave(scale, 1).repeat_interleave(scale, 2)))

    buffer = memory.BytesIO()
    if suffix == ".mp4":
        _encode(picture, count, buffer, fps)
        return buffer.getvalue()
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    picture(0).save(
        buffer,
        suffix[1:].upper(),
        save_all=True,
        append_images=[_Following(picture, count)] if count > 1 else [],
        duration=delays(count, fps, DELAYS[suffix]),
        loop=0,
        **options,
    )
    return buffer.getvalue()


class _Following:
    """The pictures of a film after the first, as Pillow takes an image of several: each is made when its turn has come.

    Enlarged ones are up to a hundred times as large as their frames.
    """

    def __init__(self, picture: Callable[[int], Image.Image], count: int) -> None:
        self.picture, self.n_frames = picture, count - 1
        self.seek(0)

    def seek(self, place: int) -> None:
        """Turn to a picture. Raises `EOFError` behind the last one, as Pillow's images do."""
        if place >= self.n_frames:
            raise EOFError
        self.now = self.picture(place + 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


def _encode(picture: Callable[[int], Image.Image], count: int, buffer: memory.BytesIO, fps: float) -> None:
    import av

    images = map(picture, range(count))
    first = next(images)
    with av.open(buffer, "w", format="mp4") as container:
        film = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "14"}
        )
        # Players want even sides and colour at half the resolution.
        film.width, film.height = (max(2, side // 2 * 2) for side in first.size)
        film.pix_fmt = "yuv420p"
        for image in chain([first], images):
            cropped = image.convert("RGB").crop((0, 0, film.width, film.height))
            container.mux(film.encode(av.VideoFrame.from_ndarray(np.asarray(cropped), format="rgb24")))
        container.mux(film.encode(None))


def check_out(out: Path, n: int = 0, shape: Sequence[int] = ()) -> None:
    """Raise `GanvasError` when `write_samples` could not write there, before any work is done."""
    if out.suffix not in (".png", ".npy", ".npz", ".csv", ""):
        raise GanvasError(
            f"Cannot write {out.suffix} files; use a .png grid, an .npy or .npz array, a folder name, or .csv for series."
        )
    if out.suffix == ".csv" and shape and len(shape) != 2:
        raise GanvasError("A .csv is for series, and the samples are none. Use a .npy or .npz array.")
    if len(shape) == 2 and (out.suffix == "" or (out.suffix == ".png" and n > MOST_SERIES)):
        what = "a folder of images" if out.suffix == "" else f"a picture, which has room for {MOST_SERIES}"
        raise GanvasError(
            f"{n:,} series do not go into {what}. Use --out {out.with_suffix('.csv')}, an .npz or .npy."
        )
    if out.suffix == ".png":
        check_series(n, shape, f"Take a smaller --n, or --out {out.with_suffix('.npz')}, .npy or .csv.")
    if out.suffix == "" and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GanvasError(f"{out} is there already and not empty; choose another --out.")
    if out.suffix == "" and (out.is_symlink() or os.path.ismount(out) or out.resolve() == Path.cwd()):
        raise GanvasError(
            f"{out} is the current folder, a link or a mount point, and a new folder takes its place. Name one within it: "
            f"{out / 'samples'}"
        )
    if out.suffix == "" and len(shape) == 1:
        raise GanvasError("Points do not go into a folder of images; use --out points.npz or points.png.")
    pixels = n * shape[1] * shape[2] if len(shape) == 3 else 0
    if out.suffix == ".png" and pixels > MOST_PIXELS:
        raise GanvasError(
            f"A grid of {n:,} images of {shape[2]} x {shape[1]} px has {pixels / 1e6:,.0f} megapixels; "
            f"{MOST_PIXELS // 10**6} are drawn at most. Use --out {out.with_suffix('.npy')}, an .npz or a "
            "folder name."
        )


def check_series(n: int, shape: Sequence[int], ask: str) -> None:
    """Raise `GanvasError` for more series (C, T) than are held together, before any work is done; `ask` is what to do then."""
    if len(shape) == 2 and n > (most := affordable(shape, n)):
        raise GanvasError(
            f"{n:,} series of {shape[0]:,} x {shape[1]:,} numbers have {n * prod(shape):,}, and {arrays.TOGETHER // 2:,} are "
            f"held together: {counted(most, 'series', 'series')} at most. {ask}"
        )


def affordable(shape: Sequence[int], n: int) -> int:
    """How many of n samples are held together to be shown: all, but of large ones.

    Pictures (C, H, W) count by their pixels, and of series (C, T) each number twice: in their own units they are in float64.
    """
    return arrays.fitting(prod(shape[1:]) if len(shape) == 3 else 2 * prod(shape), arrays.TOGETHER, n)


def check_walk(n: int, shape: Sequence[int]) -> None:
    """Raise `GanvasError` for a walk of more or larger samples than are held together, before any work is done."""
    check_series(n, shape, "Take fewer --frames.")
    if len(shape) == 3 and n * prod(shape) > LARGEST_WALK:
        raise GanvasError(
            f"A walk of {n:,} pictures of {shape[2]} x {shape[1]} px takes {n * prod(shape) / 2**30:.1f} GiB, and "
            f"{LARGEST_WALK >> 30} are taken at most: --frames {LARGEST_WALK // prod(shape)}."
        )


def check_table(rows: int, columns: int, shape: Sequence[int]) -> None:
    """Raise `GanvasError` for a table of more pictures than are drawn in one, before any work is done."""
    shape = _as_shown(shape)
    pixels = rows * columns * prod(shape[1:]) if shape else 0
    if pixels > MOST_PIXELS:
        raise GanvasError(
            f"A table of {rows:,} x {columns:,} pictures of {shape[2]} x {shape[1]} px has {pixels / 1e6:,.0f} megapixels; "
            f"{MOST_PIXELS // 10**6} are drawn at most."
        )


def save_samples(samples: Tensor, out: Path) -> None:
    """Write samples (N, ...) as `write_samples` does."""
    write_samples([samples], len(samples), out)


def write_samples(
    batches: Iterable[Tensor], n: int, out: Path, schema: Schema | None = None, classes: Sequence[str] = ()
) -> None:
    """Write n samples as they come: a batch is in memory at a time.

    `.npy` and `.npz` are arrays, a name without suffix is a new folder of PNGs, and `.png` is a grid, which
    is drawn of all of them at once. Series are written in the own units of their `schema`, the names of their `classes`
    beside them; a `.csv` has a row for each step. Nothing is there before it is whole.
    """
    some = iter(batches)
    first = next(some)
    check_out(out, n, first.shape[1:])
    parts = chain([first.cpu()], (batch.cpu() for batch in some))
    if first.dim() == 3:
        _write_series(parts, n, out, schema or plain(first.shape[1], first.shape[2]), classes)
        return
    if out.suffix == ".png":
        io.write_bytes(out, png(draw(torch.cat(list(parts)))))
    elif out.suffix == ".npy":
        with io.atomic(out) as temporary, temporary.open("wb") as file:
            _write_array(file, parts, n)
    elif out.suffix == ".npz":
        # As numpy.savez_compressed does it, which wants the whole array.
        name = "images.npy" if first.dim() == 4 else "points.npy"
        with (
            io.atomic(out) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(name, "w", force_zip64=True) as file,
        ):
            _write_array(file, parts, n)
    else:
        with suppress(FileNotFoundError):  # another command may be as far
            out.rmdir()  # empty: see check_out
        with io.atomic(out) as temporary:
            temporary.mkdir()
            digits = len(str(n - 1))
            for i, image in enumerate(chain.from_iterable(parts)):
                (temporary / f"{i:0{digits}d}.png").write_bytes(png(to_image(image)))


MOST_LETTERS_OF_NAMES, SHORT = 2**32, 32
"""Of names in a table, which each of its rows repeats, beyond so many letters of each: numbers have fewer."""


def write_table(parts: Iterable[Series], out: Path, classes: Sequence[str] = ()) -> None:
    """Series as they come as a .csv, a row for each step; what is NaN stays empty.

    Raises `GanvasError` where long names alone make it larger than anybody wants: a model may come from somebody else.
    """
    with io.atomic(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        done = letters = 0
        plain, quoted = csv.writer(file), csv.writer(file, quoting=csv.QUOTE_ALL)
        for part in parts:
            names = classes[done : done + len(part.values)]
            for row in table(part, done, names):
                letters += sum(len(text) - SHORT for text in row if len(text) > SHORT)
                if letters > MOST_LETTERS_OF_NAMES:
                    raise GanvasError(
                        f"The long names of categories alone have more than {MOST_LETTERS_OF_NAMES:,} letters in this "
                        "table. Write an .npz, or fewer samples: --n."
                    )
                # One cell, too, where a program parts fields by any of them.
                (quoted if any(";" in text or "\t" in text for text in row) else plain).writerow(row)
            done += len(part.values)


def _write_series(parts: Iterable[Tensor], n: int, out: Path, schema: Schema, classes: Sequence[str]) -> None:
    """n series (..., C, T) as curves, arrays or a table."""
    if out.suffix == ".png":
        found = schema.decode(torch.cat(list(parts)))
        io.write_bytes(out, png(curves(found, names=classes or [str(i) for i in range(len(found.values))])))
        return
    decoded = map(schema.decode, parts)
    if out.suffix == ".csv":
        write_table(decoded, out, classes)
    elif out.suffix == ".npy":
        with io.atomic(out) as temporary, temporary.open("wb") as file:
            # Nothing else in it says how long each is, and whoever reads zeros has them as data.
            _write_array(file, (torch.from_numpy(until_ends(part).values) for part in decoded), n)
    else:
        with io.atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            _archive_series(decoded, n, archive, schema, classes)


TEXTS = 512
"""Names of classes that are written at a time."""


def _archive_series(
    parts: Iterable[Series], n: int, archive: zipfile.ZipFile, schema: Schema, classes: Sequence[str]
) -> None:
    """n series, a part at a time, and what is said beside them."""
    lengths, static, steps = list[np.ndarray](), list[np.ndarray](), 0

    def values() -> Iterator[Tensor]:
        nonlocal steps
        for part in parts:
            lengths.append(part.lengths)
            static.append(part.static)
            steps = part.values.shape[1]
            yield torch.from_numpy(part.values)

    with archive.open("series.npy", "w", force_zip64=True) as file:
        _write_array(file, values(), n)
    if classes:
        # A part at a time: every name takes as much as the longest.
        kind, parted = f"<U{max(map(len, classes))}", range(0, n, TEXTS)
        with archive.open("labels.npy", "w", force_zip64=True) as file:
            _write_array(file, (np.asarray(classes[i : i + TEXTS], kind) for i in parted), n)
    beside: dict[str, Any] = {}
    if schema.static:
        beside |= {"static": np.concatenate(static), "static_columns": [c.name for c in schema.static]}
    names = [column.name for column in schema.columns]
    beside |= {"lengths": np.concatenate(lengths), "columns": names, "time": schema.times(steps)}
    for name, each in beside.items():
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.asarray(each), allow_pickle=False)


def _write_array(file: IO[bytes], parts: Iterable[Tensor | np.ndarray], n: int) -> None:
    """The array (n, ...) in numpy's format, part after part."""
    done = 0
    for part in parts:
        rows = np.ascontiguousarray(part.numpy() if isinstance(part, Tensor) else part)
        if not done:
            kind = np.lib.format.dtype_to_descr(rows.dtype)
            header = {"descr": kind, "fortran_order": False, "shape": (n, *rows.shape[1:])}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(rows.data)
        done += len(rows)
    if done != n:
        raise ValueError(f"{done} samples came, and {n} were announced")
