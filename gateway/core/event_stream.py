"""The event stream format of Server-Sent Events (WHATWG HTML, section 9.2), as bytes."""

from typing import Final

PATH: Final = "/events/stream"
"""The path of event streams, after the prefix of the router."""

MEDIA_TYPE: Final = "text/event-stream; charset=utf-8"

COMMENT: Final = b":\n\n"
"""A comment: clients ignore it, and proxies see that the stream is alive."""

MAX_SILENCE: Final = 15.0
"""Seconds without a write, at most: proxies cut off responses that are silent for 30 or 60."""


def block(payload: bytes | None, *, id: str | None = None, event: str | None = None, retry: int | None = None) -> bytes:
    """One block. `payload` has no line break, as compact JSON. A block without it dispatches no event: it sets the id
    to resume from, or the milliseconds after which to reconnect."""
    if event is None and retry is None and payload is not None:  # as each event is
        return b"data: %b\n\n" % payload if id is None else b"id: %b\ndata: %b\n\n" % (id.encode(), payload)
    lines = [] if retry is None else [b"retry: %d\n" % retry]
    if id is not None:
        lines.append(b"id: %b\n" % id.encode())
    if event is not None:
        lines.append(b"event: %b\n" % event.encode())
    if payload is not None:
        lines.append(b"data: %b\n" % payload)
    return b"".join([*lines, b"\n"])
