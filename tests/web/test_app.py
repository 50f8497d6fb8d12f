"""The explorer from Python: `ganvas.explore`."""

import asyncio
import re
import signal
import threading
import time
import webbrowser
from contextlib import closing
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import torch

import ganvas
from ganvas.errors import GanvasError
from ganvas.web.app import _greet, _listen, serve
from ganvas.web.renderer import Renderer
from ganvas.web.source import Source
from tests.forked import Process

SCRIPT = """
import torch
from torch import nn
import ganvas

torch.manual_seed(0)
module = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
images = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
model = ganvas.wrap(module, latent_dim=8)
ganvas.explore(model, real=images, browser=False)
try:
    ganvas.explore(model, browser=False)
except ganvas.GanvasError as error:
    print("again:", error)
"""


def test_a_module_of_ones_own_is_served_until_ctrl_c() -> None:
    process = Process("-c", SCRIPT, together=True)
    try:
        found = re.search(r"http://\S+", first := process.stdout.readline())
        assert found, first
        with urlopen(found[0]) as answer:
            assert "your model" in answer.read().decode()
        with pytest.raises(HTTPError, match="404") as refused:  # only its page knows where its images are
            urlopen(found[0] + "real/49.png")
        refused.value.close()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.stdout.close()
    assert process.returncode == 0, said
    assert "again: This Python process has served an explorer before" in said


def test_a_browser_in_the_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python waits until it is left, and it waited for a page from a server that had not begun."""
    left, opened = threading.Event(), threading.Event()

    def waits(url: str) -> bool:
        opened.set()
        return left.wait(20)

    monkeypatch.setattr(webbrowser, "open", waits)
    began = time.monotonic()
    _greet("a model", "http://127.0.0.1:1/", True, lambda words: None)
    assert opened.wait(10)
    left.set()
    assert time.monotonic() - began < 15


def test_a_port_is_ours_before_the_model_is_warmed() -> None:
    """Of two notebooks that began together the later one ended in a bare OSError, seconds after both had the port."""
    with closing(_listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            GanvasError, match=rf"Cannot listen on 127.0.0.1:{port}: .* Choose another --port"
        ):
            _listen("127.0.0.1", port)


def test_mistakes_are_said_before_anything_is_served(small: Renderer, fashion: Renderer) -> None:
    real = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(
        GanvasError, match=r"real must be uint8 \(n, 3, 16, 16\), got torch.uint8 \(5, 1, 8, 8\)"
    ):
        ganvas.explore(small.model, real=real)
    with pytest.raises(GanvasError, match="real has 5 images, and more than 5 are needed"):
        ganvas.explore(small.model, real=torch.zeros(5, 3, 16, 16, dtype=torch.uint8), wait=False)
    with pytest.raises(GanvasError, match="The ratio is of a model with weights"):
        ganvas.explore(small.model, ratio=fashion.ratio, wait=False)
    with pytest.raises(GanvasError, match="go with a Model"):
        ganvas.explore("fashion", real=real)
    with pytest.raises(GanvasError, match="give a Model its images by real="):
        ganvas.explore(small.model, data="digits")

    with pytest.raises(GanvasError, match=r"Type: ganvas explore MODEL --host 0\.0\.0\.0"):
        ganvas.explore(small.model, host="0.0.0.0", wait=False)

    for host, port in (("127.0.0.1", 70_000), ("a" * 64, 0)):
        with pytest.raises(
            GanvasError, match=rf"Cannot listen on {host}:{port}: .*[^.]\. Choose another --port or --host"
        ):
            _listen(host, port)

    async def in_a_loop() -> None:
        serve(Source(small))

    with pytest.raises(GanvasError, match=r"ganvas\.explore\(model, wait=False\)"):
        asyncio.run(in_a_loop())
