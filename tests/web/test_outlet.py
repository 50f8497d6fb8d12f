"""What waits for a page has an end, and so has what a page has begun."""

import asyncio
import re
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ganvas.web import outlet
from ganvas.web.outlet import Queue, Sent, Waiting, weight
from ganvas.web.page import MOST_JOBS, Page
from ganvas.web.renderer import Renderer
from ganvas.web.source import JOBS, Source


def message(size: int) -> tuple[str, str, dict[str, bytes]]:
    return "", "download", {"src": b"x" * size}


def test_what_a_message_weighs() -> None:
    assert weight(message(1000)) == 8 + 1000 + 16 + 3 * 8
    assert weight([1, 2.5, None, "four"]) == 32 + 24 + 4


def test_a_page_that_takes_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "MOST", 1000)
    closed: list[int] = []
    waiting = Waiting(lambda: closed.append(len(waiting)))
    waiting.append(message(10_000))  # one large file is none too many
    assert closed == []
    waiting.append(message(1))
    assert closed == [1]
    waiting.clear()
    for _ in range(100):
        waiting.append(message(1))
    assert len(waiting) < 30
    assert len(closed) == 1 + 100 - len(waiting)


def test_of_what_was_sent_the_newest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "MOST", 1000)
    sent = Sent()
    for i in range(50):
        sent.append((i, message(200)))
        assert sent.size == sum(map(weight, sent)) <= 1000
    assert [i for i, _ in sent] == [47, 48, 49]
    assert sent.pop()[0] == 49
    sent.appendleft((46, message(200)))
    assert sent.popleft()[0] == 46
    assert sent.size == sum(map(weight, sent))


def test_whoever_has_more_for_a_connection_waits_and_its_end_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outlet, "MOST", 1000)

    async def fill() -> None:
        queue = Queue()
        pieces = [SimpleNamespace(data="x" * 600) for _ in range(3)]
        for piece in pieces[:2]:
            await queue.put(piece)
        last = asyncio.create_task(queue.put(pieces[2]))
        await asyncio.sleep(0.1)
        assert not last.done()
        assert await queue.get() is pieces[0]
        await last
        blocked = asyncio.create_task(queue.put(pieces[0]))
        await asyncio.sleep(0.1)
        assert not blocked.done()
        await queue.put(None)
        await blocked
        assert queue.qsize() == 4

    asyncio.run(fill())


def test_connections_of_many_pages_have_an_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each had 32 MiB to itself, 6.4 GB for as many pages as may be open."""
    monkeypatch.setattr(outlet.Client, "instances", dict.fromkeys(map(str, range(200))))

    async def fill() -> None:
        queue = Queue()
        await queue.put(SimpleNamespace(data="x" * 2**21))
        more = asyncio.create_task(queue.put(SimpleNamespace(data="x")))
        await asyncio.sleep(0.1)
        assert not more.done()
        await queue.get()
        await more

    asyncio.run(fill())


def test_a_page_begins_one_thing_at_a_time_and_a_few_after_it(small: Renderer) -> None:
    """A hundred clicks on GIF kept all other pages without a picture for minutes, and took gigabytes."""
    now, most, done, lock = {"all": 0}, {"all": 0}, [], threading.Lock()

    def job(name: str) -> str:
        with lock:
            for each in ("all", name):
                now[each] = now.get(each, 0) + 1
                most[each] = max(most.get(each, 0), now[each])
        time.sleep(0.02)
        with lock:
            for each in ("all", name):
                now[each] -= 1
            done.append(name)
        return name

    async def click() -> list[Any]:
        source, said = Source(small), []
        pages = []
        for _ in range(4):
            page = object.__new__(Page)
            page.source, page.client = source, SimpleNamespace(is_deleted=False)  # type: ignore[assignment]
            page._one, page._jobs, page._doing = asyncio.Lock(), 0, []
            page.call = lambda name, *given: None  # type: ignore[method-assign]
            page.tell = lambda words, kind="info": said.append(words)  # type: ignore[method-assign]
            pages.append(page)
        found = await asyncio.gather(
            *(page.work("a film", job, str(i)) for i, page in enumerate(pages) for _ in range(25))
        )
        assert len([each for each in found if each is not None]) == len(done) == 4 * MOST_JOBS
        assert {most[str(i)] for i in range(4)} == {1}
        assert most["all"] == JOBS
        pages[0].client.is_deleted = True  # type: ignore[misc]
        assert await pages[0].work("a film", job, "gone") is None
        return said

    said = asyncio.run(click())
    assert len(said) == 4 * (25 - MOST_JOBS)
    assert all(re.match("Not begun: a film", each) for each in said)
    assert "gone" not in done


def test_messages_that_no_page_sends_are_refused() -> None:
    """Of one that said it has a thousand millions of them 2.8 MB were unpacked to 3 GB, which waited for the last; thirty of a
    million brackets were 2.6 GB in the fields of a page."""
    outlet.bound_connections()
    packet = outlet.core.sio.packet_class
    assert packet(encoded_packet='2["event",{"a":1}]').data == ["event", {"a": 1}]
    for message in ('5999999999-["event",{"_placeholder":true,"num":0}]', '61-["a"]', "5[]", "21-[]"):
        with pytest.raises(ValueError, match="no attachments"):
            packet(encoded_packet=message)
    greeting = '2["handshake",{"document_id":"%s"}]'
    assert packet(encoded_packet=greeting % ("a" * 36)).data[0] == "handshake"
    with pytest.raises(ValueError, match="a long greeting"):
        packet(encoded_packet=greeting % ("a" * 60_000))
    for message, why in (("[{}" + ",{}" * 80 + "]", "more values"), ("[1" + ",1" * 1001 + "]", "more values"),
                         (f'["{"a" * 2**16}"]', "a long one")):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            packet(encoded_packet=f"2{message}")
