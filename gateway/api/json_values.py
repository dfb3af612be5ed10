"""The end of a JSON value in a large body, by its strings and brackets: without parsing it, and in short steps."""

import re
from array import array
from collections.abc import Awaitable, Callable
from itertools import accumulate, islice
from typing import Final

from gateway.api.body import Body

CHUNK: Final = 8 * 1024
"""Bytes of a step: less than a millisecond where all of them are brackets."""

STRING_CHUNK: Final = 64 * 1024

_strings: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_whole_strings: Final = re.compile(rb'(?:[^"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL).match
_rest_of_string: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL).match
_to_bracket: Final = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[\[\]{}]', re.DOTALL).finditer
_scalar: Final = re.compile(rb"[^,\[\]{}\" \t\n\r]*").match

_DEPTHS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


async def end_of_value(body: Body, start: int, step: Callable[[int], Awaitable[None]]) -> int | None:
    """The offset behind the value at `start`; None where the body ends before it. `step` is awaited before so many
    bytes are looked at. Neither the kinds of brackets nor what is between them is checked. O(bytes)."""
    first = body.read(start, start + 1)
    if first == b'"':
        return await _end_of_string(body, start + 1, step)
    if first not in (b"[", b"{"):
        await step(CHUNK)
        found = _scalar(body.read(start, start + CHUNK))
        return start + found.end() if found is not None and found.end() else None
    depth, at = 1, start + 1
    while at < len(body):
        await step(CHUNK)
        chunk = body.read(at, at + CHUNK)
        whole = _whole_strings(chunk)
        text = chunk if whole is None else chunk[: whole.end()]
        brackets = _strings.sub(b"", text).translate(_DEPTHS, _NO_BRACKETS)
        depths = list(accumulate(array("b", brackets), initial=depth))
        if min(depths) <= 0:
            closing = next(islice(_to_bracket(text), depths.index(0) - 1, None))
            return at + closing.end()
        depth, at = depths[-1], at + len(text)
        if len(text) < len(chunk):
            after = await _end_of_string(body, at + 1, step)
            if after is None:
                return None
            at = after
    return None


async def _end_of_string(body: Body, start: int, step: Callable[[int], Awaitable[None]]) -> int | None:
    """The offset behind the quotation mark that ends the string whose text is at `start`."""
    at = start
    while at < len(body):
        await step(STRING_CHUNK)
        text = body.read(at, at + STRING_CHUNK)
        rest = _rest_of_string(text)
        stop = len(text) if rest is None else rest.end()
        if text[stop : stop + 1] == b'"':
            return at + stop + 1
        if stop == 0:  # the body ends with a backslash
            return None
        at += stop
    return None
