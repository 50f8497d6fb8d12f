"""Pictures of the explorer for the docs: python tools/screenshots.py [--out docs/images/explorer] [--sizes 1280x1000 1920x1080]

Every panel of the packaged model's page in headless Chromium, after some steps, light and dark.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.model import PACKAGED

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.browser import Browser, chromium, server

TABS = ("Map", "Label", "Timeline", "Image", "History", "Recipe")


def key(page: Browser, name: str) -> None:
    """A key of the keyboard, with nothing focused."""
    page.script("document.activeElement.blur()")
    page.all("body")[0].send_keys(name)
    page.settled()


def prepare(page: Browser, name: str, picture: Path) -> None:
    """Something to see in a panel."""
    if name == "Map":
        page.drag("pca-0", [5] * 12)
        page.settled()
        page.drag("pca-3", [-5] * 12)
        page.settled()
        for number in (2000, 700, 40):
            page.click_map(number)
            page.settled()
    if name == "Label":
        for i, tile in enumerate(page.wait(lambda: page.all('[data-id="marking"] .tile'))[:21]):
            for _ in range(2 if i % 3 == 0 else 1):
                page.script("arguments[0].click()", tile)
    if name == "Timeline":
        for _ in range(3):
            page.click("do-key")
            page.settled()
            key(page, "n")
        page.click("do-preview")
        page.wait(lambda: page.script("return document.querySelector('[data-id=film]').naturalWidth") > 0)
    if name == "Image":
        page.all('[data-id="upload"] input[type="file"]')[0].send_keys(str(picture))
        page.wait(lambda: "residual" in page.text("inverted"))
        page.settled()
    if name == "History":
        page.click("do-bookmark")
        page.settled()
        for each in "zznr":
            key(page, each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/explorer"))
    parser.add_argument("--sizes", nargs="+", default=["1280x1000", "1920x1080"])
    parser.add_argument("--modes", nargs="+", default=["light", "dark"])
    parser.add_argument("--tabs", nargs="+", default=list(TABS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, server(cache=Path(folder)) as (url, _):
        picture = Path(folder) / "upload.png"
        with np.load(PACKAGED / "fashion" / "real.npz") as arrays:
            Image.fromarray(arrays["images"][7, 0]).resize((280, 280)).save(picture)
        for size in options.sizes:
            for mode in options.modes:
                width, height = (int(side) for side in size.split("x"))
                with chromium(width, height) as page:
                    feature = [{"name": "prefers-color-scheme", "value": mode}]
                    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
                    page.open(url)
                    page.wait(lambda page=page: "click to go" in page.text("map-words"))
                    for name in options.tabs:
                        page.tab(name)
                        prepare(page, name, picture)
                        # On a phone the panels lie below the picture, which stays at the top.
                        page.script(
                            "scrollTo(0, 0); if (innerWidth < 720)"
                            " scrollBy(0, document.querySelector('.tabs').getBoundingClientRect().top - 0.4 * innerHeight)"
                        )
                        time.sleep(0.6)
                        path = options.out / f"{name.lower()}-{width}-{mode}.png"
                        page.driver.save_screenshot(str(path))
                        with Image.open(path) as image:  # a palette: half the size
                            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
                                path, optimize=True
                            )
                    for each in page.errors():
                        print(f"{size} {mode}: {each[:200]}", file=sys.stderr)
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}")


if __name__ == "__main__":
    main()
