"""Size of a live page, time to its first picture, and time a picture while sliders move, in headless Chromium from a file.

    python benchmarks/page_speed.py [--models fashion RUN FILE] [--pictures 500] [--half]

A picture's time is from the change of the state to the second frame after it was put in, by which it is on the screen.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ganvas.export.page import page
from ganvas.web.opening import open_renderer
from tools.browser import chromium

DRAG = """
const [count, done] = arguments;
const frame = () => new Promise(requestAnimationFrame);
(async () => {
  ganvas.times.length = 0;
  const shown = [], moves = ganvas.state.moves.map(() => 0);
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    moves[i % moves.length] = 2 * Math.sin(i / 10);
    await ganvas.change({ moves: [...moves], number: Math.floor(i / 25) % ganvas.facts.samples });
    await frame();
    shown.push(performance.now() - begin);
  }
  done([[...ganvas.times], shown]);
})();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["fashion"])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--half", action="store_true")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} before\n")
    print(
        "| model | page | first picture | drawn, p50 | drawn, p95 | on the screen, p50 | on the screen, p95 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.models:
        content = page(open_renderer(name, device="cpu"), half=options.half)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_bytes(content)
            firsts = []
            for _ in range(options.visits):
                with chromium() as browser:
                    browser.driver.get(file.as_uri())
                    browser.wait(lambda: browser.script("return document.body.dataset.complete"))
                    firsts.append(browser.script("return ganvas.first"))
                    browser.driver.set_script_timeout(600)
                    drawn, shown = browser.driver.execute_async_script(DRAG, options.pictures)
        times = [statistics.quantiles(each, n=20) for each in (drawn, shown)]
        cells = " | ".join(f"{each[i]:.0f} ms" for each in times for i in (9, 18))
        print(
            f"| {Path(name).name} | {len(content) / 2**20:.1f} MiB | {max(firsts) / 1000:.2f} s | {cells} |"
        )


if __name__ == "__main__":
    main()
