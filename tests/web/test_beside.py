"""Explorers in the background, and in the cells of notebooks."""

import html
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from ganvas.web.beside import Explorer
from ganvas.web.serving import server_of
from tests.forked import Process
from tools.browser import Browser, chromium

SCRIPT = """
import gc
import sys
import torch
import ganvas
from ganvas.web.source import Source

torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 8, 8)))
mine = ganvas.wrap(module, latent_dim=8)
images = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
first = ganvas.explore(mine, wait=False)
second = ganvas.explore(mine, real=images, wait=False)
source = next(each for each in gc.get_objects() if isinstance(each, Source) and each.renderer.real is not None)
for each in (first, second):
    print(repr(each), each._repr_html_().replace("\\n", " "), sep="\\n", flush=True)
print(source.key, flush=True)
sys.stdin.readline()
with second:
    pass
first.close()
first.close()
print(first, second, flush=True)
sys.stdin.readline()
third = ganvas.explore(mine, wait=False)
print(third, third.url, flush=True)
"""

AT_WORK = """
import gc
import sys
import threading
import time
import torch
import ganvas
from ganvas.web.beside import Hub
from ganvas.web.landscape import landscape
from ganvas.web.pace import Superseded
from ganvas.web.source import Source

class Slow(torch.nn.Module):
    seconds = 0

    def forward(self, z):
        if self.seconds:
            drawing.set()
            time.sleep(self.seconds)
        return torch.tanh(z).unflatten(1, (1, 8, 8))

drawing = threading.Event()
slow = Slow()
mine = ganvas.wrap(slow, latent_dim=64)
shown = ganvas.explore(mine, wait=False)
source = next(each for each in gc.get_objects() if type(each) is Source)
hub = next(each for each in gc.get_objects() if type(each) is Hub)
mine.at_once, slow.seconds = 10, 1  # five hundred batches for a map: eight minutes
ended = []

def draw_map():
    try:
        landscape(source.renderer, 5000)
    except Superseded:
        ended.append(True)
        print("over", flush=True)

hub.loop.call_soon_threadsafe(hub.loop.run_in_executor, None, source.lasting(draw_map))
drawing.wait()
if sys.argv[1] == "close":
    shown.close()
    while not ended:
        time.sleep(0.1)
    slow.seconds = 0
    mine.sample(20)  # what was closed stands in nobody else's way
"""


def explorer(name: str, colab: bool) -> Explorer:
    """One that nobody serves."""
    return Explorer(name, 8051, "token", server_of(None, lambda: None), Future(), colab, threading.Event())


def test_a_name_stays_a_name() -> None:
    shown = explorer('"><script>', False)._repr_html_()
    assert "<script>" not in shown
    assert 'src="http://127.0.0.1:8051/?token=token"' in shown


def test_colab_is_asked_for_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, dict[str, str]]] = []
    colab, output = ModuleType("google.colab"), ModuleType("google.colab.output")
    colab.output = output
    output.serve_kernel_port_as_iframe = lambda port, **given: asked.append((port, given))
    for module in (colab, output):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    shown = explorer("fashion", True)
    shown._ipython_display_()
    assert asked == [(8051, {"path": "/?token=token", "height": "820"})]
    assert not hasattr(explorer("fashion", False), "_ipython_display_")


class Served(NamedTuple):
    """A process with explorers."""

    process: Process
    urls: list[str]
    cells: list[str]
    keys: list[str]
    """In the addresses of the pictures of the second."""

    def line(self) -> str:
        return self.process.stdout.readline()

    def next(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    process = Process("-c", 'import warnings; warnings.simplefilter("error")' + SCRIPT)
    found = Served(process, [], [], [])
    try:
        for _ in range(2):
            said = re.fullmatch(
                r"Explorer\(your model, (http://127\.0\.0\.1:\d+/\?token=\S+)\)\n", found.line()
            )
            assert said
            found.urls.append(said[1])
            found.cells.append(found.line())
        found.keys.append(found.line().strip())
        yield found
    finally:
        process.kill()
        process.communicate()


def status(url: str, **headers: str) -> int:
    """What is answered to a request with these headers."""
    try:
        with urlopen(Request(url, headers={k.replace("_", "-"): v for k, v in headers.items()})) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium(1280, 1000) as browser:
        yield browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        """Nothing."""


@pytest.fixture
def notebooks(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder and the port at which its pages are served, as a notebook's are."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.slow
def test_a_notebook_shows_them_and_no_other_site_does(
    served: Served, window: Browser, notebooks: tuple[Path, int]
) -> None:
    folder, port = notebooks
    (folder / "cells.html").write_text(f"<!doctype html>{''.join(served.cells)}")
    bare = served.urls[0].split("?")[0]
    (folder / "bare.html").write_text(f'<!doctype html><iframe src="{html.escape(bare)}"></iframe>')
    driver = window.driver

    def inside(host: str, page: str, number: int) -> None:
        driver.switch_to.default_content()
        driver.get(f"http://{host}:{port}/{page}")
        driver.switch_to.frame(number)

    def ready() -> None:
        window.wait(
            lambda: window.script("return document.body.dataset.ready === 'yes' && ganvas.painted > 0")
        )
        window.settled()

    # The frames are at 127.0.0.1: of another site than localhost, where they are sent no cookies.
    for host, number in (("localhost", 0), ("localhost", 1), ("127.0.0.1", 1)):
        inside(host, "cells.html", number)
        ready()
        before = window.pixels()
        if number:
            window.script("location.reload()")  # what the page itself does after a long sleep
            ready()
            assert window.pixels() == before
        window.click("do-new")
        window.differs(before)
    # A page that knows the token, of this machine under another name, and one of a notebook that does not know it.
    for host, page in (("elsewhere.localhost", "cells.html"), ("localhost", "bare.html")):
        inside(host, page, 0)
        assert window.script("return location.href") == "chrome-error://chromewebdata/"
    driver.switch_to.default_content()


def test_several_are_served_beside_each_other_until_they_are_closed(served: Served) -> None:
    (first, second), base = served.urls, served.urls[1].split("?")[0]
    for url in (first, second):
        with urlopen(url) as answer:
            assert "<title>ganvas: your model" in answer.read().decode()
    assert status(f"{base}real/{served.keys[0]}/49.png") == 200
    for path in (
        "real/49.png",
        f"real/{'A' * 22}/49.png",
        "real/%C3%A9/49.png",
        f"thumb/{'A' * 22}/0.png",
        "thumb/0.png",
    ):
        assert status(base + path) == 404, "others of this machine have no page that tells the key"
    assert status(f"{first.split('?')[0]}real/{served.keys[0]}/49.png") == 404, (
        "the other was given no images"
    )
    assert status(base) == 403, "the page wants its token"
    served.next()
    assert served.line() == "Explorer(your model, closed) Explorer(your model, closed)\n"
    with pytest.raises(URLError):
        status(first)
    served.next()
    assert "Explorer(your model, http://" in served.line()
    served.process.wait(30)  # the end of the program is that of the third
    assert served.process.returncode == 0


@pytest.mark.parametrize("how", ["close", "end"])
def test_what_a_page_had_begun_ends_with_it(how: str) -> None:
    process = Process("-c", AT_WORK, how)
    try:
        said, complaints = process.communicate(timeout=120)  # the map alone takes eight minutes
    finally:
        process.kill()
    assert (process.returncode, said, complaints) == (0, "over\n", "")
