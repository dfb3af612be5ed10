"""The take-over of event streams from uvicorn's HTTP protocol: what an application offers to the server's socket."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from gateway.transports.hand_over import HAND_OVER
from gateway.transports.uvicorn.event_stream import EventStreamTransport

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
TakeOver = Callable[[Message], EventStreamTransport | None]

_field_name = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
"""RFC 9110 section 5.1."""

_field_value = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch

_FRAMING: Final = (b"connection", b"content-length", b"transfer-encoding")


class StreamSender:
    """An ASGI `send` that calls `take_over` with the start of a response that offers an event stream; from then on all
    messages go to the transport, past ASGI."""

    __slots__ = ("_send", "_take_over", "_taken")

    def __init__(self, send: Send, take_over: TakeOver) -> None:
        self._send = send
        self._take_over = take_over
        self._taken: EventStreamTransport | None = None

    async def __call__(self, message: Message) -> None:
        if self._taken is not None:
            self._taken.write_body(message.get("body", b""))
            return
        if message["type"] == "http.response.start" and HAND_OVER in message:
            self._taken = self._take_over(message)
        if self._taken is None:
            await self._send(message)


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a response whose end is that of the connection. Raises `ValueError` for an invalid header."""
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    for name, value in headers:
        if not _field_name(name) or not _field_value(value):
            raise ValueError(f"{name!r} is not a valid header")
        if name.lower() not in _FRAMING:
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"connection: close", b"", b""])
