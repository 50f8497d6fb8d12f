"""Files that a page is given: one route for all pages, so that the server's table of routes keeps none of them."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import Client, background_tasks, ui
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

Take = Callable[[bytes], Awaitable[None]]


@dataclass
class _Place:
    client: Client
    take: Take
    most: int
    busy: bool = False


class Intake:
    """Where files go to, by a key that only the page knows which asked for it. A page's keys go when it goes."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def field(
        self, words: str, take: Take, most: int, kinds: str, rejected: Callable[[], None]
    ) -> ui.element:
        """A place to drop a file of up to `most` bytes: `take` gets its content, `rejected` is told of larger ones."""
        client, key = ui.context.client, secrets.token_urlsafe(16)
        self._places[key] = _Place(client, take, most)
        client.on_delete(lambda: self._forget(key))
        field = ui.element("q-uploader").props("auto-upload send-raw flat bordered")
        field.props.update({"url": f"/upload/{key}", "label": words, "accept": kinds, "max-file-size": most})
        field.on("uploaded", lambda: field.run_method("reset"), args=[])
        field.on("rejected", rejected, args=[])
        return field

    def _forget(self, key: str) -> None:
        self._places.pop(key, None)

    async def receive(self, key: str, request: Request) -> Response:
        """The file as the whole body of a request. One at a time a place, and no byte more than it takes is kept."""
        place = self._places.get(key)
        if place is None:
            return Response("There is no such page any more.", 404)
        if place.busy:
            return Response("One file at a time.", 429)
        place.busy = True
        try:
            content = bytearray()
            async for piece in request.stream():
                content += piece
                if len(content) > place.most:
                    return Response(f"At most {place.most:,} bytes.", 413)
        except ClientDisconnect:
            return Response("Nothing came.", 400)
        finally:
            place.busy = False
        with place.client:
            background_tasks.create(place.take(bytes(content)), name="take a file")
        return Response(status_code=204)
