"""The event stream format of Server-Sent Events (WHATWG HTML, section 9.2), as bytes."""

from typing import Final

PATH: Final = "/events/stream"
"""Where event streams are, under whatever prefix."""

MEDIA_TYPE: Final = "text/event-stream; charset=utf-8"

COMMENT: Final = b":\n\n"
"""What a client ignores, and what keeps it and the proxies on the way from taking the stream for dead."""

MAX_SILENCE: Final = 15.0
"""Seconds within which something is written: proxies cut off what is silent for 30 or 60 of them."""


def block(payload: bytes | None, *, id: str | None = None, event: str | None = None, retry: int | None = None) -> bytes:
    """One block. `payload` is in one line, as JSON is; without it the block dispatches nothing and only sets the id
    that the client resumes from, or the milliseconds after which it reconnects."""
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
