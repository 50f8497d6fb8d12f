"""A run that is still training: its newest snapshot, curves and verdicts."""

from pathlib import Path
from typing import Any

from nicegui import ui

from ganvas import pictures
from ganvas.errors import counted
from ganvas.report import curves, verdicts
from ganvas.report.artifacts import picture
from ganvas.web.page import Page
from ganvas.web.source import newest

EVERY = 3.0
"""Seconds between two looks at the folder."""
FOLLOW = "follow the newest snapshot"


def build(page: Page) -> None:
    """Lay it out."""
    source = page.source
    assert source.run is not None
    folder = source.run
    newest_shown = page.session.renderer is source.renderer
    seen: dict[str, Any] = {
        "snapshot": source.opened if newest_shown else None, "file": -1, "lines": -1, "asked": False, "agreed": None,
    }  # fmt: skip
    with ui.element("div").classes("g-line"):
        follow = ui.switch(FOLLOW, value=True)
        words = ui.label("").props("data-id=training-words").classes("soft")
    plot = (
        ui.element("img")
        .style("width: 100%; background: #fff; border-radius: 6px")
        .props('alt="losses and logits" data-id=curves')
    )
    said = ui.element("div").props("data-id=verdicts")
    samples = (
        ui.element("img")
        .classes("pixel")
        .style("width: 100%; max-width: 560px")
        .props('alt="samples of the run"')
    )

    async def look() -> None:
        try:
            await show()
        except Exception as error:  # its files are being written, or are not what they should be
            words.set_text(f"This run cannot be read: {type(error).__name__}: {error}")

    async def show() -> None:
        if why := await page.aside(source.astray):
            words.set_text(f"{why} This page stays with what it was opened for.")
            seen.update(file=-1, lines=-1)
            return
        # Read when it has changed alone: every page looks, and a run from anybody may have 64 MiB of them.
        file = _written(folder.path / "stats.jsonl")
        stats = [] if file == seen["file"] else await page.aside(folder.stats)
        if file != seen["file"] and len(stats) != seen["lines"]:
            seen["lines"] = len(stats)
            row = stats[-1] if stats else {}
            words.set_text(
                f"{row.get('kimg', 0):g} kimg after {row.get('seconds', 0) / 60:.1f} minutes; "
                f"{counted(len(folder.snapshots), 'snapshot')}"
            )
            plotted = await page.aside(curves, folder)
            if plotted is not None:
                plot.props["src"] = pictures.data_url(plotted, "image/png")
                plot.update()
            found = await page.aside(verdicts.of, stats)
            said.clear()
            with said:
                for each in found:
                    ui.label(str(each)).classes("warning" if each.kind == "problem" else "small")
                if not found:
                    ui.label(verdicts.nothing(stats)).classes("small")
            drawn = sorted(folder.samples_path.glob("[0-9]*.png"))[-1:]
            for content in [await page.aside(picture, folder, path) for path in drawn]:
                if content is not None:
                    samples.props["src"] = pictures.data_url(content, "image/png")
                    samples.update()
        seen["file"] = file
        last = newest(folder)
        if not follow.value or last is None or last == seen["snapshot"]:
            return
        if not free():
            seen["asked"] = True
            follow.set_value(False)
            page.tell(
                f"Snapshot {last[0].name} is there. This page stays with its own: {', '.join(page.session.bound)} would be lost. "
                f"Save them (Recipe, or Save of the directions); then turn on {FOLLOW!r} under Training again.",
                "warning",
            )
        elif await page.follow(last, lambda: follow.value and free()):
            seen.update(snapshot=last, asked=False, agreed=None)

    def free() -> bool:
        """Whether nothing would be lost, or no more than somebody agreed to."""
        return not page.session.bound or page.session.kept == seen["agreed"]

    def agree() -> None:
        """To turn it on again is to say so."""
        seen["agreed"] = page.session.kept if follow.value and seen["asked"] else None

    follow.on_value_change(agree)
    ui.timer(EVERY, look)


def _written(path: Path) -> tuple[int, int] | None:
    """What another writing of a file changes."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
