"""Trace context: the `traceparent` of W3C Trace Context (level 1), which links an event to what published it."""

import re
from typing import Final

TRACEPARENT_PATTERN: Final = r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"

_current = re.compile(TRACEPARENT_PATTERN).fullmatch
_later = re.compile(
    r"(?!00|ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
).fullmatch


def traceparent_of(text: str) -> str | None:
    """The trace context in a `traceparent`, of version 00 also where the text is of a later one; None where it is not
    valid (sections 3.2.2 and 4.3: it is then to be ignored)."""
    if _current(text):
        return text
    later = _later(text)
    return None if later is None else f"00-{later[1]}-{later[2]}-{later[3]}"
