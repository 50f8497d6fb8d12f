"""A real Chromium on a real server: what the end-to-end tests and the latency benchmark share."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--hide-scrollbars",
)
PATIENCE = 60.0
NARROWEST = 500
"""Pixels that a window has at least, whatever is asked for."""
CHART = "getElement(Number(document.querySelector('.g-map').id.slice(1))).chart"


def python(*words: str, env: Mapping[str, str]) -> "subprocess.Popen[str]":
    """`python words...`, whose errors are among what it says."""
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )


@contextmanager
def server(*arguments: str, cache: Path, start: Callable[..., Any] = python) -> Iterator[tuple[str, Any]]:
    """`ganvas explore` in a process of its own: its address and the process."""
    environment = {**os.environ, "GANVAS_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    process = start("-m", "ganvas", "explore", *arguments, "--no-browser", env=environment)
    try:
        assert process.stdout is not None
        said = ""
        while not (found := re.search(r"http://\S+", said)):
            line = process.stdout.readline()
            assert line, f"the server stopped: {said}"
            said += line
        yield found[0], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def chromium(
    width: int = 1280, height: int = 1000, downloads: Path | None = None, flags: tuple[str, ...] = ()
) -> Iterator["Browser"]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, *flags, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    if width < NARROWEST:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """What a person does on the page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page and wait until it has drawn its first picture and found its sliders."""
        self.leave()
        self.driver.get(url)
        self.wait(lambda: self.script("return document.body.dataset.ready === 'yes' && ganvas.painted > 0"))
        self.wait(lambda: self.all('[data-id="tray"] input'))
        self.settled()

    def leave(self) -> None:
        """Off any page, its complaints forgotten: one whose server has stopped would go on to say that it cannot reach it."""
        self.driver.get("about:blank")
        self.errors()

    def settled(self) -> None:
        """Wait until nothing has been painted or asked for a while."""
        last, since = None, time.monotonic()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            now = self.script(
                "return [ganvas.painted, ganvas.inFlight, document.body.className, location.href, ganvas.pending]"
            )
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > 0.7 and "is-busy" not in now[2] and now[4] == 0:
                return
            time.sleep(0.05)
        raise AssertionError("the page does not come to rest")

    def script(self, code: str, *given: Any) -> Any:
        """Run JavaScript."""
        return self.driver.execute_script(code, *given)

    def wait(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Until it holds."""
        deadline = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)
        return found

    def one(self, name: str) -> WebElement:
        """The element called `name`."""
        found: WebElement = self.driver.find_element(By.CSS_SELECTOR, f'[data-id="{name}"]')
        return found

    def all(self, selector: str) -> list[WebElement]:
        """Elements by a CSS selector."""
        found: list[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def text(self, name: str) -> str:
        """What the element called `name` says, seen or not."""
        return str(
            self.script(
                "return document.querySelector(`[data-id=\"${arguments[0]}\"]`)?.textContent ?? ''", name
            )
        )

    def told(self, words: str) -> None:
        """Wait until a notification says them: while it fades in, nothing of it counts as seen."""
        everything = (
            "return [...document.querySelectorAll('.q-notification')].map((each) => each.textContent)"
        )
        self.wait(lambda: any(words in each for each in self.script(everything)))

    def click(self, name: str) -> None:
        """Click the element called `name`."""
        self.show(self.one(name))
        self.one(name).click()

    def show(self, element: WebElement) -> None:
        """Scroll to an element: on a narrow window it may lie below."""
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)

    def pixels(self) -> str:
        """The picture, as its address."""
        return str(self.script("return document.querySelector('[data-id=canvas]').src"))

    def differs(self, other: str) -> str:
        """Wait until the picture is another one and rests; the picture."""
        self.wait(lambda: self.pixels() != other)
        self.settled()
        assert self.pixels() != other
        return self.pixels()

    def equals(self, other: str) -> None:
        """Wait until the picture is this one and rests."""
        self.wait(lambda: self.pixels() == other)
        self.settled()
        assert self.pixels() == other

    def tab(self, name: str) -> None:
        """Open a tab."""
        tab = next(each for each in self.all(".q-tab") if each.text == name)
        self.show(tab)
        tab.click()
        time.sleep(0.3)

    def slider(self, name: str) -> WebElement:
        """The slider called `name`."""
        found: WebElement = self.wait(lambda: self.all(f'input[data-name="{name}"]'))[0]
        return found

    def drag(self, name: str, steps: list[int]) -> None:
        """Drag a slider by pixels, one step after another, and let go."""
        self.show(self.slider(name))
        actions = ActionChains(self.driver, duration=16)
        actions.click_and_hold(self.slider(name))
        for step in steps:
            actions.move_by_offset(step, 0)
        actions.release().perform()

    def errors(self) -> list[str]:
        """What the browser complained about."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def cut(self) -> list[str]:
        """What reaches beyond the right edge; what lies in a box that scrolls by itself may be wider than the box."""
        found: list[str] = self.script(
            "const boxed = (e) => e !== document.body && (getComputedStyle(e).overflowX !== 'visible' "
            "  || boxed(e.parentElement));"
            "return [...document.querySelectorAll('body *')].filter((e) => !boxed(e.parentElement))"
            ".map((e) => [e.getBoundingClientRect(), e])"
            ".filter(([box]) => box.width && box.right > innerWidth + 0.5)"
            ".map(([box, e]) => `${e.tagName}.${e.className} to ${box.right}`)"
        )
        return found

    def click_map(self, number: int) -> None:
        """Click on the first series' dot of this position."""
        self.wait(lambda: self.script(f"return Boolean(document.querySelector('.g-map canvas') && {CHART})"))
        # Its lower end at that of the window: on a phone the picture covers the top.
        self.script("arguments[0].scrollIntoView({block: 'nearest'})", self.all(".g-map")[0])
        x, y = self.script(
            f"const c = {CHART}, row = c.getOption().series[0].data[arguments[0]];"
            "const at = c.convertToPixel({seriesIndex: 0}, row.slice(0, 2)), box = c.getDom().getBoundingClientRect();"
            "return [box.left + at[0], box.top + at[1]]", number,
        )  # fmt: skip
        actions = ActionChains(self.driver)
        actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
        actions.perform()
        time.sleep(0.3)
        ActionChains(self.driver).click().perform()
