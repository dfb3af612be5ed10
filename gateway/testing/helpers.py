"""Helpers of the suites and of drivers' own tests: a manual clock, drafts, waiting."""

import asyncio
import json
from collections.abc import Callable
from typing import Final

from gateway.core.frame import Frame
from gateway.core.log import Draft, Receipt
from schemas.events import encode_event
from schemas.rooms import DEFAULT_KINDS

PATIENCE: Final = 20.0
"""Seconds after which a suite gives up waiting; far more than anything here takes."""

CURSOR_KEY: Final = b"a cursor key of the contract suite"
DRAFT_AT: Final = "2026-01-15T10:30:00.000Z"


class Clock:
    """A clock that is advanced manually; begins at a plausible time since the epoch."""

    def __init__(self, now: float = 1_768_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds


def draft(n: int = 0, *, circle: int | None = None, key: str | None = None, at: str = DRAFT_AT, size: int = 0) -> Draft:
    """A draft with the number `n`, for a circle or for its tenant only, `size` bytes longer."""
    fields: dict[str, object] = {"type": "task.created", "data": {"n": n, "filler": "x" * size}}
    if circle is not None:
        fields["circle_id"] = circle
    return Draft(DEFAULT_KINDS.route(None, circle, None).rooms, encode_event(fields), at, key)


def is_duplicate(again: Receipt, first: Receipt) -> bool:
    """Whether `again` is the receipt of a retry of the event with the receipt `first`."""
    same = again.event_id == first.event_id and abs(again.at - first.at) < 0.001
    return again.duplicate and not first.duplicate and same


def number_of(frame: Frame) -> int:
    """The `n` of the draft in this frame."""
    number: int = json.loads(frame.payload)["data"]["n"]
    return number


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until `condition` is true. Raises `TimeoutError` after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for in what is under test
            await asyncio.sleep(0.005)
