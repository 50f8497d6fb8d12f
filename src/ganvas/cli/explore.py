"""`ganvas explore`"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from ganvas.cli import _page, _shared


def run(
    model: Annotated[Path, tyro.conf.Positional] = Path("fashion"),
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    no_browser: bool = False,
    directions: tuple[Path, ...] = (),
    data: str | None = None,
    export: Path | None = None,
    static: Path | None = None,
    share_data: bool = False,
    webgpu: _page.Webgpu = "auto",
    device: str = "auto",
    json: bool = False,
) -> None:
    """Open a page to move through a model's latent space, with the quality shown while you move.

    Args:
        model: A run folder (its newest snapshots are followed), a snapshot folder, a .safetensors file, a file of another
            toolkit, or a name from `ganvas list models`.
        host: Address to listen on. Anything but loopback needs the token that is printed with the address.
        port: Port to listen on; 0 is a free one.
        no_browser: Only print the address; do not open it in a browser.
        directions: Files of `ganvas directions`, put first among the sliders.
        data: Real images to compare with. Default: what the model was trained on, where it is at hand.
        export: Write one .html in which the generator itself runs, for somebody without Python, and stop.
        static: Write one .html with pictures drawn beforehand instead, and stop.
        share_data: With --export: put small copies of the real images into the file, as `ganvas export --to page` does.
        webgpu: With --export: put in what draws on graphics cards too. auto: for pictures of 128 px and more.
        device: auto, cpu, cuda or mps.
        json: With --export or --static: print what was written as JSON.
    """
    if export is None and static is None:
        # Read when torch is loaded, by what follows. Threads of a picture that wait for one another in a loop take the cores from
        # the browser, and from the next picture's.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ganvas.errors import GanvasError
    from ganvas.runs import is_run, open_run
    from ganvas.web.opening import open_renderer

    if not 0 <= port < 65536:
        raise GanvasError(f"A port is a number from 0 to 65535, got {port}.")
    if export is not None and static is not None:
        raise GanvasError("--export and --static write a page each: give one of them.")
    if static is not None and directions:
        raise GanvasError(
            "--static draws the directions that it finds itself. Omit --directions, or use --export."
        )
    if export is None and (share_data or webgpu != "auto"):
        raise GanvasError("--share-data and --webgpu are for the file of --export. Leave them out.")
    out = export or static
    if json and out is None:
        raise GanvasError(
            "--json says what --export or --static wrote; a page that is served has nothing to say."
        )
    if out is not None:
        said: dict[str, object] = {}
        if export is not None:
            found = _page.write(
                out, model, data, device, directions, share_data=share_data, webgpu=webgpu, quiet=json
            )
            said = _page.answer(out, found)
        else:
            _static(out, model, data, device, quiet=json)
        if json:
            _shared.answer({"model": str(model), "out": str(out), "bytes": out.stat().st_size, **said})
        return
    training = open_run(model) if is_run(model) else None
    from ganvas.web.app import serve
    from ganvas.web.source import newest, source_of

    opened = None if training is None else newest(training)

    if training is not None:
        import torch

        torch.set_num_threads(1)  # two jobs that both want every core wait for each other most of the time
    with _shared.progress() as tell:
        tell("opening the model and its data", 0, 1)
        opener = partial(open_renderer, data=data, device=device)
        renderer = opener(model if opened is None else opened[0])
        renderer.warm()
    serve(source_of(renderer, training, directions, opened, opener), host, port, not no_browser)
    leave()


def _static(out: Path, model: Path, data: str | None, device: str, quiet: bool) -> None:
    from ganvas import io
    from ganvas.web.export import page
    from ganvas.web.opening import open_renderer

    _shared.outputs(out, ".html")
    _shared.without_cache()
    with _shared.progress() as tell:
        tell("opening the model and its data", 0, 1)
        renderer = open_renderer(model, data, device)
        content = page(renderer, progress=tell)
    io.write_bytes(out, content)
    if not quiet:
        _shared.say(f"{renderer.name} -> {out} ({len(content) / 2**20:.1f} MiB): open it in any browser")


def leave() -> None:
    """End the process: being stopped is the usual end of a server. Python would wait for what a page had begun, a map or a long
    film; files appear whole or not at all."""
    sys.stdout.flush()
    os._exit(0)
