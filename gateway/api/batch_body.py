"""The body of a batch: its JSON, parsed in pieces, each in a turn of its tenant.

A parser holds the event loop, in a thread too (GIL): 16 MiB take 30 ms. So the array of events is divided where an
event may begin: best like the first one, else like any object. Where a piece up to there is an array by itself, so it
is in the whole, since JSON is read from left to right; where it is not, that was within an event. Then the end of the
whole events in as many bytes as one may have is looked for, and of a longer one the end alone: it is refused unparsed,
and by itself.
"""

import json
import re
from typing import Any, Final

from pydantic_core import from_json

from gateway.api.body import Body
from gateway.api.json_values import end_of_value
from gateway.api.problems import RequestMistake
from gateway.core.errors import GatewayError
from gateway.engine.fair_share import ALONE_BUDGET
from gateway.engine.ingest import ESCAPED, EVENT_COST, PARSED_BYTES, IngestBatch
from schemas.admin import MAX_EVENTS
from schemas.codes import ErrorCode

PIECE: Final = ALONE_BUDGET // EVENT_COST * PARSED_BYTES
"""Bytes that are parsed at once, and a part of an event more: half a millisecond."""

_begin: Final = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"events"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*').match
_between: Final = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)\{").search
_comma: Final = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*").match
_comma_between: Final = re.compile(r"[ \t\n\r]*,[ \t\n\r]*").match
_first_key: Final = re.compile(rb'\{[ \t\n\r]*"[^"\\]{0,64}"').match
_end: Final = re.compile(rb"\][ \t\n\r]*\}[ \t\n\r]*\Z").search

_SPACES: Final = b" \t\n\r"

_LONGEST_END: Final = 16

_end_of_value: Final = json.JSONDecoder().raw_decode

_ALIKE: Final = 128 * 1024
"""Bytes in which the first event is looked for, and one that begins like it."""


async def parse_batch(batch: IngestBatch, tenant: str, body: bytes | Body) -> Any:
    """Begin the batch, and parse its body: an event that is too long to be parsed is the `GatewayError` for it. Raises
    `ValueError` or `RequestMistake` for invalid JSON and for a large body that is no batch, `GatewayError` where it
    would have to wait for too long. O(bytes)."""
    if len(body) <= PIECE:
        await batch.begin(tenant, len(body))
    else:
        await batch.begin(tenant, 0)
        parted = _parted(body)
        events = await _parse_pieces(batch, parted)
        if events is not None:
            return {"events": events}
        if len(body) > 2 * batch.event_bytes:
            raise await _refusal(batch, parted)
        await batch.go_on(len(body))
    return from_json(bytes(body), allow_inf_nan=False)


def _parted(body: bytes | Body) -> Body:
    if isinstance(body, Body):
        return body
    parted = Body()
    parted.append(body)
    return parted


async def _parse_pieces(batch: IngestBatch, body: Body) -> list[Any] | None:
    """The events of a body that has nothing else; None where it does or is invalid, and where a short one has an event
    that is too long."""
    head, tail = body.read(0, _ALIKE), body.read(max(0, len(body) - _LONGEST_END), len(body))
    begin, end = _begin(head), _end(tail)
    if begin is None or end is None:
        return None
    longest = batch.event_bytes
    first = _first_key(head, begin.end())
    like_first = rb"\{" if first is None else re.escape(first.group())
    alike = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)%b" % like_first).search
    events: list[Any] = []
    start, stop = begin.end(), len(body) - len(tail) + end.start()
    while start < stop and len(events) <= MAX_EVENTS:  # the check of the batch refuses more of them
        most = min(start + PIECE + longest, stop)
        text = body.read(start, min(start + PIECE + _ALIKE, most))
        cut = alike(text, PIECE)
        if cut is None and start + len(text) < most:
            text = body.read(start, most)
            cut = _between(text, PIECE)
        found = None
        if cut is not None or most == stop:
            until, after = (len(text), len(text)) if cut is None else cut.span(1)
            await batch.go_on(until)
            found = _parse(text, until)
        if found is None:  # within an event
            await batch.go_on(4 * longest)
            text = body.read(start, min(start + longest, stop))
            until = _end_of_events(text, start + len(text) == stop)
            found = _parse(text, until) if until else None
            if found is None:
                value_end = await end_of_value(body, start, batch.scan) if len(body) > 2 * longest else None
                if value_end is None or not start + longest < value_end <= stop:
                    return None
                until, found = value_end - start, [_too_long(longest)]
            behind = body.read(start + until, min(start + until + _ALIKE, stop))
            comma = _comma(behind)
            after = until + (len(behind) - len(behind.lstrip(_SPACES)) if comma is None else comma.end())
            if (comma is None) != (start + after == stop):
                return None
        events += found
        start += after
    return events


def _too_long(longest: int) -> GatewayError:
    limit = longest // ESCAPED
    message = f"an event has at most {limit} bytes, and its JSON at most {longest}"
    return GatewayError(ErrorCode.MESSAGE_TOO_LARGE, message, limit=limit)


async def _refusal(batch: IngestBatch, body: Body) -> RequestMistake:
    """The refusal of a large body that is not only events: for its members where it may be valid JSON."""
    invalid = RequestMistake(400, ErrorCode.BAD_MESSAGE, "the body is not valid JSON (RFC 8259)")
    members = RequestMistake(422, ErrorCode.BAD_MESSAGE, 'send {"events": [...]}, without other members')
    head = body.read(0, _ALIKE)
    begin = _begin(head)
    if begin is None:
        return members if head.lstrip(_SPACES)[:1] in (b"{", b"[", b'"') else invalid
    end = await end_of_value(body, head.index(b"["), batch.scan)
    return members if end is not None and _comma(body.read(end, end + _ALIKE)) else invalid


def _parse(text: bytes, stop: int) -> list[Any] | None:
    """The values of a part of an array before `stop`; None where it ends within one, or is invalid."""
    try:
        with memoryview(text)[:stop] as piece:  # to copy it once
            values: list[Any] = from_json(b"".join((b"[", piece, b"]")), allow_inf_nan=False)
    except ValueError:
        return None
    return values


def _end_of_events(body: bytes, last: bool) -> int:
    """Where the last event ends that is whole at the beginning of `body`; 0 where the first is longer or invalid.
    Unless it is the `last` part, the body may end within a number. The parser of the standard library reports where a
    value ends, and takes three times as long as pydantic's."""
    text = body.decode(errors="ignore")
    end = next_at = 0
    while True:
        try:
            _, stop = _end_of_value(text, next_at)
        except (ValueError, RecursionError):
            break
        comma = _comma_between(text, stop)
        if comma is not None or last or text[stop - 1] in '}]"':
            end = stop
        if comma is None:
            break
        next_at = comma.end()
    return len(text[:end].encode())
