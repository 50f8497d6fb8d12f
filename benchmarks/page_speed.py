"""Size of a live page, time to its first picture, and time a picture while sliders move, in headless Chromium from a file.

    python benchmarks/page_speed.py [--models fashion RUN FILE] [--pictures 500] [--half] [--side 128]

A picture's time is from the change of the state to the second frame after it was put in, by which it is on the screen. Each page
is opened twice: as it is, and where no worker can be started, so that the page draws by itself. The longest freeze is the longest
time between two frames meanwhile. `--side` adds an untrained StyleGAN2 of that size.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from ganvas.config import NetworkConfig
from ganvas.export.page import page
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator
from ganvas.web.opening import open_renderer
from ganvas.web.renderer import Renderer
from tools.browser import chromium

ALONE = "delete globalThis.Worker"

DRAG = """
const [count, done] = arguments;
const frame = () => new Promise(requestAnimationFrame);
(async () => {
  ganvas.times.length = 0;
  let freeze = 0, last = performance.now(), going = true;
  const watch = (now) => {
    freeze = Math.max(freeze, now - last);
    last = now;
    if (going) requestAnimationFrame(watch);
  };
  await frame();
  requestAnimationFrame((now) => { last = now; requestAnimationFrame(watch); });
  const shown = [], moves = ganvas.state.moves.map(() => 0);
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    moves[i % moves.length] = 2 * Math.sin(i / 10);
    await ganvas.change({ moves: [...moves], number: Math.floor(i / 25) % ganvas.facts.samples });
    await frame();
    shown.push(performance.now() - begin);
  }
  going = false;
  done([[...ganvas.times], shown, freeze]);
})();
"""


def untrained(side: int) -> Renderer:
    """A StyleGAN2 with 128 channels at most."""
    config = NetworkConfig("stylegan2", latent_dim=128, generator={"channel_base": 8192, "channel_max": 128})
    generator = build_generator(config, (3, side, side), 0).eval().requires_grad_(False)
    info = ModelInfo.of(generator, "stylegan2", architecture=config)
    return Renderer(Model(generator, None, info), f"stylegan2, {side} px")


def visited(file: Path, visits: int, pictures: int, before: str) -> tuple[list[float], list[Any]]:
    """Times of the first pictures, and what `DRAG` measured at the last visit."""
    firsts = []
    for _ in range(visits):
        with chromium() as browser:
            browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": before})
            browser.driver.get(file.as_uri())
            browser.wait(lambda: browser.script("return document.body.dataset.complete"), 600)
            firsts.append(browser.script("return ganvas.first"))
            browser.driver.set_script_timeout(600)
            found = browser.driver.execute_async_script(DRAG, pictures)
    return firsts, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="*", default=["fashion"])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--side", type=int, default=0)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} before\n")
    print(
        "| model | page | first picture | drawn, p50 | drawn, p95 | on the screen, p50 | on the screen, p95 | longest freeze |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    renderers = [open_renderer(name, device="cpu") for name in options.models]
    if options.side:
        renderers.append(untrained(options.side))
    for renderer in renderers:
        content = page(renderer, half=options.half)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_bytes(content)
            for where, before in (("", ""), (", no worker", ALONE)):
                firsts, (drawn, shown, freeze) = visited(file, options.visits, options.pictures, before)
                times = [statistics.quantiles(each, n=20) for each in (drawn, shown)]
                cells = " | ".join(f"{each[i]:.0f} ms" for each in times for i in (9, 18))
                print(
                    f"| {Path(renderer.name).name}{where} | {len(content) / 2**20:.1f} MiB | {max(firsts) / 1000:.2f} s "
                    f"| {cells} | {freeze:.0f} ms |"
                )


if __name__ == "__main__":
    main()
