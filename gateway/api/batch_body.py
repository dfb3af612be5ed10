"""The body of a batch: its JSON, parsed in pieces, each in a turn of its tenant.

A parser holds the event loop, in a thread too (GIL): 16 MiB take 30 ms. So the array of events is divided where an
event may begin: best like the first one, else like any object. Where a piece up to there is an array by itself, so it
is in the whole, since JSON is read from left to right; where it is not, that was within an event. An event that is one
array of objects, or a body that is not only events, is parsed in one piece, at the cost of its tenant.
"""

import re
from typing import Any, Final

from pydantic_core import from_json

from gateway.engine.ingest import PARSED_BYTES, SLICE, IngestBatch
from schemas.admin import MAX_EVENTS

PIECE: Final = SLICE * PARSED_BYTES
"""Bytes that are parsed at once, and a part of an event more: half a millisecond."""

_begin: Final = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"events"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*').match
_between: Final = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)\{").search
_first_key: Final = re.compile(rb'\{[ \t\n\r]*"[^"\\]{0,64}"').match
_end: Final = re.compile(rb"\][ \t\n\r]*\}[ \t\n\r]*\Z").search

_LONGEST_END: Final = 16

_ALIKE: Final = 128 * 1024
"""Bytes in which an event that begins like the first one is looked for."""


async def parse_batch(batch: IngestBatch, tenant: str, body: bytes | bytearray) -> Any:
    """Begin the batch, and parse its body. Raises `ValueError` for invalid JSON, `GatewayError` where it would have to
    wait for too long. O(bytes)."""
    if len(body) <= PIECE:
        await batch.begin(tenant, len(body))
    else:
        await batch.begin(tenant, 0)
        events = await _parse_pieces(batch, body)
        if events is not None:
            return {"events": events}
        await batch.go_on(len(body))
    return from_json(body, allow_inf_nan=False)


async def _parse_pieces(batch: IngestBatch, body: bytes | bytearray) -> list[Any] | None:
    """The events of a body that has nothing else; None where it does, or is invalid."""
    begin, end = _begin(body), _end(body, len(body) - _LONGEST_END)
    first = begin and _first_key(body, begin.end())
    if begin is None or end is None or first is None:
        return None
    alike = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)%b" % re.escape(first.group())).search
    events: list[Any] = []
    start, size, stop = begin.end(), PIECE, end.start()
    while start < stop and len(events) <= MAX_EVENTS:  # the check of the batch refuses more of them
        least = start + size
        cut = alike(body, least, min(least + _ALIKE, stop))
        if cut is None and least + _ALIKE < stop:
            cut = _between(body, least, stop)
        until, after = (stop, stop) if cut is None else (cut.start(1), cut.end(1))
        await batch.go_on(until - start)
        try:
            with memoryview(body)[start:until] as piece:  # to copy it once
                events += from_json(b"".join((b"[", piece, b"]")), allow_inf_nan=False)
        except ValueError:
            if cut is None:
                return None
            size *= 2  # within an event; so what is parsed again is less than the piece in the end
        else:
            start, size = after, PIECE
    return events
