"""What is on its way to a page has an end: a page that does not take it must not fill the memory of all.

The framework keeps what it has to say in three places without an end: a list of what is to be sent, one of what was sent in the
last minutes in case that it was lost, and the queue of the connection.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from nicegui import Client, background_tasks, core
from socketio.packet import BINARY_ACK, BINARY_EVENT, Packet

from ganvas.web.guard import GREETING

MOST = 2**25
"""Bytes in each of the three for a page; a message that is larger alone goes through."""
ALL = 2**29
"""Bytes of the first two for all pages together, each having an equal part of it, and half as many of the third."""

LONGEST, NESTED, VALUES = 2**16, 64, 1000
"""Of a message from a page: letters, brackets that open, and commas. A click has some ten brackets and fifty commas."""


def weight(value: Any) -> int:
    """About as many bytes as a message takes."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, dict):
        return sum(map(weight, value.values())) + 16 * len(value)
    if isinstance(value, list | tuple):
        return sum(map(weight, value)) + 8 * len(value)
    return 8


def most() -> int:
    """Bytes that may wait for one page now."""
    return min(MOST, ALL // (2 * max(1, len(Client.instances))))


class Weighed(deque[Any]):
    """A list that knows how much it holds."""

    size = 0

    def append(self, item: Any) -> None:
        self.size += weight(item)
        super().append(item)

    def appendleft(self, item: Any) -> None:
        self.size += weight(item)
        super().appendleft(item)

    def pop(self) -> Any:  # type: ignore[override]
        item = super().pop()
        self.size -= weight(item)
        return item

    def popleft(self) -> Any:
        item = super().popleft()
        self.size -= weight(item)
        return item

    def clear(self) -> None:
        self.size = 0
        super().clear()


class Waiting(Weighed):
    """What is to be sent. Where more waits already than may, `over` is called and nothing is added."""

    def __init__(self, over: Callable[[], object]) -> None:
        super().__init__()
        self.over = over

    def append(self, item: Any) -> None:
        if self.size > most():
            self.over()
        else:
            super().append(item)


class Sent(Weighed):
    """What was sent and may be sent again: the newest of it. A page that was gone for longer opens anew from its address."""

    def append(self, item: Any) -> None:
        super().append(item)
        while self and self.size > most():
            self.popleft()


class Queue(asyncio.Queue[Any]):
    """Of one connection: whoever has more for it waits."""

    size, over = 0, False

    async def put(self, item: Any) -> None:
        """None is the connection's end, for which nobody waits."""
        self.over = self.over or item is None
        while self.size > most() and not self.over:
            await asyncio.sleep(0.05)
        self.put_nowait(item)

    def _put(self, item: Any) -> None:
        self.size += weight(getattr(item, "data", None))
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.size -= weight(getattr(item, "data", None))
        return item


def bound(client: Client) -> None:
    """Give an end to what waits for a page; one that lets it grow beyond is closed, and opens anew from its address."""
    gone = False

    def close() -> None:
        nonlocal gone
        if not gone:
            gone = True
            background_tasks.create(_closed(client), name="close a page that takes nothing")

    client.outbox.messages = Waiting(close)
    client.outbox.message_history = Sent()


async def _closed(client: Client) -> None:
    sockets = [sid for sid, _ in core.sio.manager.get_participants("/", client.id)]
    if not client.is_deleted:
        client.delete()
    for each in sockets:
        await core.sio.disconnect(each)


class Text(Packet):  # type: ignore[misc]
    """A message as pages send them: few values, and no attachments.

    Fields keep whatever comes, each {} as an object of 600 bytes, and of a message that says it has many attachments all are kept
    until the last one comes.
    """

    def decode(self, encoded_packet: str | bytes) -> int:
        """Raises `ValueError` for others."""
        if not isinstance(encoded_packet, str) or len(encoded_packet) > LONGEST:
            raise ValueError("no text, or a long one")
        if (
            encoded_packet.count("{") + encoded_packet.count("[") > NESTED
            or encoded_packet.count(",") > VALUES
        ):
            raise ValueError("more values than a page sends")
        attachments: int = super().decode(encoded_packet)
        if attachments or self.packet_type in (BINARY_EVENT, BINARY_ACK):
            raise ValueError("no attachments are taken")
        if isinstance(self.data, list) and self.data[:1] == ["handshake"] and len(encoded_packet) > GREETING:
            raise ValueError("a long greeting")
        return attachments


def bound_connections() -> None:
    """The same for the queues of all connections that are made from now on, and for what comes by them."""
    core.sio.eio.create_queue = Queue
    core.sio.packet_class = Text
