"""In a notebook: whether this is one, pieces of its cells that are drawn anew, and the HTML that objects are shown by."""

import base64
import html
import io as memory
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

P = ParamSpec("P")
R = TypeVar("R")

EVERY = 0.5
"""Seconds between two drawings of the same piece of a cell."""
FIRST = 1.0
"""Seconds before a job is shown at all: quick ones leave no trace."""
WIDEST = 800
"""Pixels of a picture in a cell."""
HIGHEST = 16_000
"""The same upwards: a .webp has 16,383 at most."""
LARGEST = 30_000
"""Bytes of one; a third more in the notebook's file."""
MOST_PIXELS = 10_000_000
"""Of one that is read."""
COLORS = ("#4f46e5", "#d97706", "#059669", "#db2777", "#0891b2")
FONT = "font:13px/1.5 system-ui,sans-serif"
_beneath: Callable[[], str] = str
"""What stands beneath the bar of the job that a cell shows."""
_busy = False
"""Whether a cell shows already what is being done: what that calls shows nothing of its own."""


def is_notebook() -> bool:
    """Whether Python runs behind a notebook's cells (Jupyter, VS Code, Colab), which show HTML and no terminal codes."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return getattr(shell, "kernel", None) is not None


def is_colab() -> bool:
    """Whether it is a notebook of Google Colab, whose browser does not reach this machine's ports."""
    return is_notebook() and "google.colab" in sys.modules


class Piece:
    """A piece of a cell's output that is drawn anew, at most every `EVERY` seconds."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = -math.inf

    def due(self) -> bool:
        """Whether it may be drawn again."""
        return time.monotonic() - self._last >= EVERY

    def show(self, content: str) -> None:
        """Draw HTML."""
        from IPython.display import display

        self._last = time.monotonic()
        data = {"text/html": content, "text/plain": "shown in a notebook"}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


@contextmanager
def alone() -> Iterator[None]:
    """What is called inside shows nothing of its own."""
    global _busy
    before, _busy = _busy, True
    try:
        yield
    finally:
        _busy = before


def shown(function: Callable[P, R]) -> Callable[P, R]:
    """A function with `progress` shows a bar in a notebook where nobody else hears it."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        here = threading.current_thread() is threading.main_thread()
        if _busy or not here or "progress" in kwargs or not is_notebook():
            return function(*args, **kwargs)
        with alone(), _bar(function.__name__) as tell:
            kwargs["progress"] = tell
            return function(*args, **kwargs)

    return run


def beneath(content: Callable[[], str]) -> None:
    """Show HTML beneath the bar of what is being done, from its next drawing to its end; nothing where there is no bar."""
    global _beneath
    _beneath = content


@contextmanager
def _bar(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for what is being done; in the end how long it took."""
    global _beneath
    began, piece, drawn, _beneath = time.monotonic(), Piece(), False, str

    def tell(what: str, done: int, total: int) -> None:
        nonlocal drawn
        gone = time.monotonic() - began
        if gone >= FIRST and piece.due():
            drawn = True
            share = f": {done:,} of {total:,}" if total > 1 else ""
            words = f"{html.escape(what)}{share} {seconds(gone)}"
            piece.show(bar(done / total if total > 1 else None, words) + _beneath())

    try:
        yield tell
    finally:
        _beneath = str
    if drawn:
        words = html.escape(name.replace("_", " "))
        piece.show(bar(1.0, f"{words} {seconds(time.monotonic() - began)}"))


def seconds(count: float) -> str:
    """Seconds as HTML that says that it is a time: no two runs take the same."""
    text = f"{count:.0f} s" if count < 60 else f"{count // 60:.0f} min {count % 60:.0f} s"
    return f'<span class="ganvas-time" style="opacity:.6">{text}</span>'


def bar(share: float | None, words: str) -> str:
    """A bar, filled to a share (None: nobody knows), with HTML beside it."""
    width = "100%;opacity:.3" if share is None else f"{100 * min(max(share, 0), 1):.1f}%"
    return (
        f'<div class="ganvas-bar" style="{FONT};display:flex;align-items:center;gap:10px">'
        '<span style="flex:0 0 200px;height:8px;border-radius:4px;background:#8884;overflow:hidden">'
        f'<span style="display:block;height:8px;width:{width};background:{COLORS[0]}"></span></span>'
        f"<span>{words}</span></div>"
    )


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Numbers by name as bars from 0, each with its text beside it."""
    most = max((value for _, value, _ in rows if math.isfinite(value)), default=0.0) or 1.0

    def row(name: str, value: float, words: str) -> str:
        width = 100 * min(max(value / most, 0), 1) if math.isfinite(value) else 0
        return (
            f'<tr><td style="padding:0 10px 0 0">{html.escape(name)}</td><td style="width:200px">'
            f'<span style="display:block;height:8px;border-radius:4px;width:{width:.1f}%;background:{COLORS[0]}">'
            f'</span></td><td style="padding:0 0 0 10px">{html.escape(words)}</td></tr>'
        )

    body = "".join(row(*each) for each in rows)
    return f'<div style="{FONT}">{html.escape(title)}<table style="border-collapse:collapse">{body}</table></div>'


def picture(image: "Image | bytes", words: str = "", widest: int = WIDEST) -> str:
    """A picture, or the bytes of one, as HTML that holds it: as it is where that is small, else smaller or with a little loss."""
    if isinstance(image, bytes):
        from PIL import Image

        try:
            image = Image.open(memory.BytesIO(image), formats=("PNG",))
            if image.width * image.height > MOST_PIXELS:
                return line(f"a picture of {image.width} x {image.height} pixels is not shown")
            image.load()
        except Exception as error:  # Pillow raises many kinds
            return line(f"a picture that cannot be shown: {error}")
    scale = min(1.0, widest / image.width, HIGHEST / image.height)
    if scale < 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size])
    buffer = memory.BytesIO()
    image.save(buffer, "WEBP", lossless=True)
    for quality in (80, 60, 40, 20):
        if buffer.tell() > LARGEST:
            buffer = memory.BytesIO()
            image.save(buffer, "WEBP", quality=quality)
    address = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return (
        f'<img alt="{html.escape(words)}" src="{address}" style="max-width:100%;display:block;margin:4px 0">'
    )


def card(title: str, *parts: str) -> str:
    """What a notebook shows of an object: its title, which is text, and HTML."""
    return f'<div style="{FONT};max-width:{WIDEST}px"><b>{html.escape(title)}</b>{"".join(parts)}</div>'


def line(text: str) -> str:
    """A line of text as HTML."""
    return f'<div style="opacity:.75;overflow-wrap:anywhere">{html.escape(text)}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts as HTML, all columns but the first to the right."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align:{"right" if i else "left"};padding:1px 14px 1px 0">{html.escape(text)}</{tag}>'
            for i, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<table style="{FONT};border-collapse:collapse;margin:4px 0"><tr>{cells("th", heads)}</tr>{body}</table>'


def curves(title: str, series: Mapping[str, Sequence[tuple[float, float]]], unit: str = "kimg") -> str:
    """Lines of points (x, y) by name as an SVG of two dozen lines: cheap enough to be drawn while a training runs."""
    lines = {
        name: [(x, y) for x, y in _thinned(points) if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    points = [point for each in lines.values() for point in each]
    if len(points) < 2:
        return ""
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    wide, tall = right - left or 1.0, high - low or 1.0

    def place(x: float, y: float) -> str:
        return f"{54 + 190 * (x - left) / wide:.1f},{134 - 108 * (y - low) / tall:.1f}"

    parts, begin = [], 54.0
    for i, (name, each) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        way = " ".join(place(x, y) for x, y in each)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(f'<text x="{begin:.0f}" y="22" fill="{color}">{html.escape(name)}</text>')
        begin += 7 * len(name) + 14
    marks = (
        ("", 54, 10, title), ("end", 50, 32, f"{high:.3g}"), ("end", 50, 136, f"{low:.3g}"),
        ("", 54, 148, f"{left:.3g}"), ("end", 244, 148, f"{right:.3g} {unit}"),
    )  # fmt: skip
    parts += [
        f'<text x="{x}" y="{y}" fill="currentColor" text-anchor="{anchor or "start"}">{html.escape(text)}</text>'
        for anchor, x, y, text in marks
    ]
    return (
        '<svg viewBox="0 0 252 152" width="252" height="152" style="max-width:100%;font:11px system-ui,sans-serif">'
        '<path d="M54 26V134H244" fill="none" stroke="currentColor" opacity=".4"/>'
        + "".join(parts)
        + "</svg>"
    )


def _thinned(points: Sequence[tuple[float, float]], most: int = 300) -> Sequence[tuple[float, float]]:
    """At most so many points, the last among them: an output is kept in the notebook's file."""
    step = max(1, math.ceil(len(points) / most))
    return points[::-1][::step][::-1]
