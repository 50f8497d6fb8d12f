"""A page of the explorer without a browser: what the tests of many pages and of rude clients share.

Speaks as much of the page's own protocol (Engine.IO 4 with Socket.IO over a websocket) as opening, listening and leaving take.
"""

import asyncio
import html
import json
import re
import time
import uuid
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from websockets.asyncio.client import ClientConnection, connect


def get(url: str, **headers: str) -> str:
    """The text at an address."""
    with urlopen(
        Request(url, headers={k.replace("_", "-"): v for k, v in headers.items()}), timeout=60
    ) as answer:
        return str(answer.read().decode())


class Visitor:
    """One open page."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[tuple[str, Any]] = []
        """What the server said: (kind, data)."""
        self.client = self.plain = ""
        self._socket: ClientConnection | None = None

    async def open(self) -> "Visitor":
        """Fetch the page and connect."""
        plain = await asyncio.to_thread(get, self.url)
        found = re.search(r"client_id['\"]: ['\"]([0-9a-f-]{36})", plain)
        assert found, plain[:500]
        self.client, self.plain = found[1], plain
        place = urlsplit(self.url).netloc
        query = (
            f"client_id={self.client}&next_message_id=0&implicit_handshake=true&document_id={uuid.uuid4()}"
            f"&tab_id={uuid.uuid4()}&EIO=4&transport=websocket"
        )
        self._socket = await connect(
            f"ws://{place}/_nicegui_ws/socket.io/?{query}", origin=f"http://{place}", max_size=None, open_timeout=60,
            ping_interval=None,
        )  # type: ignore[arg-type]  # fmt: skip
        await self._socket.send("40")
        return self

    def listens(self, name: str) -> dict[str, Any]:
        """Which element of the page is called `name`, and by what its clicks are known."""
        found = re.search(r"parseElements\(String\.raw`(.*?)`\)", self.plain, re.DOTALL)
        assert found
        for number, each in json.loads(html.unescape(found[1])).items():
            if each.get("props", {}).get("data-id") == name:
                click = next(event for event in each["events"] if event["type"] == "click")
                return {"id": int(number), "listener_id": click["listener_id"]}
        raise AssertionError(f"no {name} on the page")

    async def until(self, word: str, patience: float = 60) -> float:
        """Listen until the server has sent something with this word; seconds that it took from now."""
        start = time.monotonic()
        while not any(word in json.dumps(each) for each in self.messages):
            await asyncio.wait_for(self.next(), patience - (time.monotonic() - start))
        return time.monotonic() - start

    async def next(self) -> tuple[str, Any]:
        """The next message."""
        assert self._socket is not None
        while True:
            text = str(await self._socket.recv())
            if text == "2":
                await self._socket.send("3")
            elif text.startswith("42"):
                kind, data = json.loads(text[2:])
                self.messages.append((kind, data))
                return kind, data

    async def send(self, text: str) -> None:
        """Send what may be no message at all."""
        assert self._socket is not None
        await self._socket.send(text)

    async def say(self, kind: str, data: Any) -> None:
        """Send a message."""
        assert self._socket is not None
        await self._socket.send("42" + json.dumps([kind, data]))

    async def leave(self) -> None:
        """Close it."""
        if self._socket is not None:
            await self._socket.close()
