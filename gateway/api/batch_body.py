"""The body of a batch: its JSON, parsed in pieces, each in a turn of its tenant.

A parser holds the event loop, in a thread too (GIL): 16 MiB take 30 ms. So the array of events is divided where an
event may begin: best like the first one, else like any object. Where a piece up to there is an array by itself, so it
is in the whole, since JSON is read from left to right; where it is not, that was within an event. Then the end of the
whole events in as many bytes as one may have is looked for. A large body that is not only such events is refused
unparsed.
"""

import json
import re
from typing import Any, Final

from pydantic_core import from_json

from gateway.api.body import Body
from gateway.api.problems import BodyError
from gateway.engine.fair_share import ALONE_BUDGET
from gateway.engine.ingest import EVENT_COST, PARSED_BYTES, IngestBatch
from schemas.admin import MAX_EVENTS
from schemas.codes import ErrorCode

PIECE: Final = ALONE_BUDGET // EVENT_COST * PARSED_BYTES
"""Bytes that are parsed at once, and a part of an event more: half a millisecond."""

_begin: Final = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"events"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*').match
_between: Final = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)\{").search
_spaces: Final = re.compile(rb"[ \t\n\r]*").match
_comma: Final = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*").match
_comma_between: Final = re.compile(r"[ \t\n\r]*,[ \t\n\r]*").match
_first_key: Final = re.compile(rb'\{[ \t\n\r]*"[^"\\]{0,64}"').match
_end: Final = re.compile(rb"\][ \t\n\r]*\}[ \t\n\r]*\Z").search

_LONGEST_END: Final = 16

_end_of_value: Final = json.JSONDecoder().raw_decode

_ALIKE: Final = 128 * 1024
"""Bytes in which the first event is looked for, and one that begins like it."""


async def parse_batch(batch: IngestBatch, tenant: str, body: bytes | Body) -> Any:
    """Begin the batch, and parse its body. Raises `ValueError` for invalid JSON, `BodyError` where it cannot be parsed
    in short steps, `GatewayError` where it would have to wait for too long. O(bytes)."""
    if len(body) <= PIECE:
        await batch.begin(tenant, len(body))
    else:
        await batch.begin(tenant, 0)
        events = await _parse_pieces(batch, _parted(body))
        if events is not None:
            return {"events": events}
        if len(body) > (most := 2 * batch.event_bytes):
            message = f'the body is not valid JSON, or has more than {{"events": [...]}} in more than {most} bytes'
            raise BodyError(400, ErrorCode.BAD_MESSAGE, message)
        await batch.go_on(len(body))
    return from_json(bytes(body), allow_inf_nan=False)


def _parted(body: bytes | Body) -> Body:
    if isinstance(body, Body):
        return body
    parted = Body()
    parted.append(body)
    return parted


async def _parse_pieces(batch: IngestBatch, body: Body) -> list[Any] | None:
    """The events of a body that has nothing else; None where it does, or where a short one is invalid."""
    head, tail = body.read(0, _ALIKE), body.read(max(0, len(body) - _LONGEST_END), len(body))
    begin, end = _begin(head), _end(tail)
    first = begin and _first_key(head, begin.end())
    if begin is None or end is None or first is None:
        return None
    longest = batch.event_bytes
    alike = re.compile(rb"\}([ \t\n\r]*,[ \t\n\r]*)%b" % re.escape(first.group())).search
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
            until = after = _end_of_events(text)
            comma = _comma(body.read(start + until, min(start + until + _ALIKE, stop)))
            if comma is not None:
                after += comma.end()
            found = _parse(text, until) if until else None
            if found is None or (after == until) != (start + until == stop) or (start + after >= stop > start + until):
                if len(body) > 2 * longest:
                    message = f"event {len(events) + 1} is no JSON object of at most {longest} bytes"
                    raise BodyError(413, ErrorCode.MESSAGE_TOO_LARGE, message, longest)
                return None
        events += found
        start += after
    return events


def _parse(text: bytes, stop: int) -> list[Any] | None:
    """The values of a part of an array before `stop`; None where it ends within one, or is invalid."""
    try:
        with memoryview(text)[:stop] as piece:  # to copy it once
            values: list[Any] = from_json(b"".join((b"[", piece, b"]")), allow_inf_nan=False)
    except ValueError:
        return None
    return values


def _end_of_events(body: bytes) -> int:
    """Where the last event ends that is whole at the beginning of `body`, with the white space behind it; 0 where the
    first is longer, invalid or no object. The parser of the standard library reports where a value ends, and takes
    three times as long as pydantic's."""
    text = body.decode(errors="ignore")
    end = next_at = 0
    while text.startswith("{", next_at):
        try:
            _, end = _end_of_value(text, next_at)
        except (ValueError, RecursionError):
            break
        if (comma := _comma_between(text, end)) is None:
            break
        next_at = comma.end()
    spaces = _spaces(body, len(text[:end].encode()))
    return 0 if spaces is None or not end else spaces.end()
