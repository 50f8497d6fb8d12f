"""The live page, as `ganvas export --to page` and `ganvas explore --export` write it."""

from functools import partial
from pathlib import Path
from typing import Literal

from ganvas.cli import _shared

Webgpu = Literal["auto", "yes", "no"]


def write(
    out: Path, model: Path, data: str | None, device: str, directions: tuple[Path, ...], *, half: bool = False,
    share_data: bool = False, webgpu: Webgpu = "auto", quiet: bool = False,
) -> str:  # fmt: skip
    """Write the page of a model to `out`; its hash. `quiet`: what was written is not said on stdout."""
    from ganvas import io
    from ganvas.export.page import check, page, weight_bytes
    from ganvas.web.opening import open_renderer
    from ganvas.web.renderer import LARGE

    _shared.outputs(out, ".html")
    _shared.without_cache()
    with _shared.progress() as tell:
        tell("opening the model and its data", 0, 1)
        renderer = open_renderer(model, data, device, check=partial(check, half=half))
        weights = weight_bytes(renderer.model, half)
        on_cards = {"yes": True, "no": False, "auto": max(renderer.model.shape[1:]) >= LARGE}[webgpu]
        _shared.say(
            f"{renderer.name}: {weights / 2**20:.1f} MiB of weights, which take up to "
            f"{weights / 2**20 * 4 / 3:.1f} MiB of a page, beside {15 if on_cards else 6} MiB for what runs them "
            "and is known of them", beside=True,
        )  # fmt: skip
        found = [each for path in directions for each in renderer.load(path)]
        content = page(
            renderer, half=half, directions=found, share_data=share_data, webgpu=on_cards, progress=tell
        )
    io.write_bytes(out, content)
    if not quiet:
        _shared.say(f"{renderer.name} -> {out} ({len(content) / 2**20:.1f} MiB): open it in any browser")
    return renderer.hash


def answer(out: Path, found: str) -> dict[str, object]:
    """What `--json` says of a page that was written, whichever command wrote it."""
    return {"to": "page", "hash": found, "files": {str(out): out.stat().st_size}}
