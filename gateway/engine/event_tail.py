"""The tail of a tenant's log for operators: a sample of the newest events, read from the window when it is asked for.

Nothing is registered and nothing is queued: an event costs no more while it is watched, and a page is bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.core.errors import CursorInvalid
from gateway.core.event_summary import summary_of
from gateway.core.log import Log
from gateway.core.window import Entry, Window
from gateway.engine.connections import Connections
from gateway.engine.marks import Marks
from schemas.operations import EventSummary, TailPage
from schemas.rooms import TENANT_ROOM

MAX_EVENTS: Final = 50
"""Events of a page."""

MAX_EXAMINED: Final = 500
MAX_BYTES: Final = 512 * 1024
"""Entries and bytes that are decoded for a page: some 2 ms."""

MAX_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class TailFilter:
    """The events to show: of a room, of a type or of those that begin as `task.*`, of a user."""

    room: str | None = None
    type: str | None = None
    user_id: str | None = None

    def matches(self, event: EventSummary) -> bool:
        if self.user_id is not None and event.user_id != self.user_id:
            return False
        if self.type is None:
            return True
        if self.type.endswith("*"):
            return event.type.startswith(self.type[:-1])
        return event.type == self.type


class EventTail:
    """Reads the newest events of tenants. The caller checks the rights."""

    def __init__(self, connections: Connections, log: Log, marks: Marks) -> None:
        self._connections = connections
        self._log = log
        self._marks = marks

    async def page(self, tenant: str, after: str | None, chosen: TailFilter, payload: bool) -> TailPage:
        """The newest events after the cursor `after`, by default the newest of all. Raises `GatewayError`."""
        window = await self.window(tenant, None)
        place, gap = self._place(window, after)
        spans = {chosen.room or TENANT_ROOM: (place, window.head)}
        candidates = iter(window.candidates(spans, newest_first=True))
        found = list(_newest(window, candidates, chosen, payload))
        passed_over = 0 if after is None or gap else sum(1 for _ in islice(candidates, MAX_COUNTED))
        return TailPage(
            cursor=window.cursor,
            as_of=self._marks.as_of(tenant),
            events=found[::-1],
            passed_over=passed_over,
            gap=gap,
        )

    async def window(self, tenant: str, since: str | None) -> Window:
        """The up-to-date window of the tenant, which is followed for a while from now on. Raises `GatewayError`."""
        self._connections.keep_followed(tenant)
        following = self._log.follow(tenant, since)
        if following is not None:
            await following
        return self._log.window(tenant)

    def _place(self, window: Window, after: str | None) -> tuple[int, bool]:
        """The offset to go on from, and whether the cursor was of no use."""
        if after is None:
            return 0, False
        try:
            position = window.cursors.decode(after)
        except CursorInvalid:
            return 0, True
        return (position.offset, False) if window.reaches(position) else (0, True)


def _newest(window: Window, candidates: Iterator[int], chosen: TailFilter, payload: bool) -> Iterator[EventSummary]:
    """The events that match `chosen`, newest first, within the bounds of a page."""
    shown = size = 0
    for offset in islice(candidates, MAX_EXAMINED):
        entry: Entry = window[offset]
        if entry.superseded_by or (chosen.room is not None and chosen.room not in entry.rooms):
            continue
        size += len(entry.frame)
        event = summary_of(entry, payload)
        if chosen.matches(event):
            yield event
            shown += 1
        if shown == MAX_EVENTS or size >= MAX_BYTES:
            return
