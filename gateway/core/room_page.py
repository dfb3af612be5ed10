"""Pages of one room's items and events in a log."""

from dataclasses import dataclass
from typing import Final

from gateway.core.frame import Frame
from gateway.core.window import Window

MAX_LIMIT: Final = 1_000
"""Events of one page."""

PAGE_BYTES: Final = 1024 * 1024
"""Bytes after which a page ends, give or take a frame."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a room up to the offset `reached`, and whether there is more after it."""

    frames: list[Frame]
    reached: int
    more: bool


def state_page(window: Window, room: str, after: int, limit: int) -> LogPage:
    """The items of a room that changed last after the offset `after`, in log order. O(items examined)."""
    return _page(window, room, after, limit, state=True)


def events_page(window: Window, room: str, after: int, limit: int) -> LogPage:
    """The events of a room after the offset `after`; of an item the newest version alone. O(entries examined)."""
    return _page(window, room, after, limit, state=False)


def _page(window: Window, room: str, after: int, limit: int, state: bool) -> LogPage:
    frames: list[Frame] = []
    reached = after
    size = 0
    span = {room: (after, window.head)}
    for offset in window.candidates({} if state else span, keyed=span):
        entry = window[offset]
        item = entry.item
        if entry.superseded_by or room not in entry.rooms or (state and (item is None or entry.former)):
            continue
        if len(frames) >= limit or size >= PAGE_BYTES:
            return LogPage(frames, reached, True)
        frame = entry.frame if item is None else item.frame_at(offset, entry.event_id)
        frames.append(frame)
        size += len(frame)
        reached = offset
    return LogPage(frames, window.head, False)
