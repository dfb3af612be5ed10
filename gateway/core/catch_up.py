"""Catch-up from the log: one mechanism for resume, history and slow consumers. The state transitions are in
`connection`."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from gateway.core.connection import Connection, Replay
from gateway.core.frame import Batch, Frame
from gateway.core.room_index import Spans
from gateway.core.window import Window
from schemas.rooms import TENANT_ROOM

BATCH_BYTES: Final = 64 * 1024
"""Bytes of one batch, give or take a frame; also the size at which coalesced events are delivered early."""

SCAN: Final = 2_000
"""Entries looked at in one step, about half a millisecond: a deep replay must not hold up the loop."""


class Progress(Enum):
    LIVE = "at the log's head"
    MORE = "call again, in a later turn if others wait"
    FULL = "the transport is full: call again when it is writable"
    THROTTLED = "the connection has had its share of events: call again a little later"
    GAP = "an entry that is owed is gone from the log: skip_gap, say where the connection goes on, and call again"


def start_replay(connection: Connection, window: Window, rooms: list[str], since: int) -> tuple[int, int]:
    """Start the replay of entries in `rooms`, new to the connection, after the offset `since`. Returns the number of
    events owed, and of entries examined.

    `send_next_batch` then writes them and the entries after them. Call it before the rooms are joined, and not during
    an earlier replay. An event that another room of the connection brought, or will bring, does not count and is not
    written twice. O(rooms log window + entries owed + entries skipped only because of another room).
    """
    until = window.head if connection.offset is None else connection.offset
    wanted = Replay(dict.fromkeys(rooms, since), since, until, dict(connection.rooms))
    owed = examined = first = last = within = 0
    for offset in window.candidates(_spans(wanted.rooms, wanted.seen, since, window.head)):
        examined += 1
        if wanted.wants(window[offset]):
            owed += 1
            if offset <= until:
                first, last = first or offset, offset
                within += 1
    if last:
        # Only from the first of them to the last: nothing else need be looked at.
        connection.start_replay(Replay(wanted.rooms, first - 1, last, wanted.seen, within), until)
    return owed, examined


def history_start(connection: Connection, window: Window, rooms: list[str], count: int) -> tuple[int, int]:
    """The offset after which there are at most `count` events to replay, and the number of entries examined. O(rooms
    log window + entries found), as `start_replay`."""
    oldest = window.first - 1
    found = examined = 0
    replay = Replay(dict.fromkeys(rooms, oldest), oldest, window.head, connection.rooms)
    for offset in window.candidates(_spans(replay.rooms, replay.seen, oldest, window.head), newest_first=True):
        examined += 1
        if replay.wants(window[offset]):
            found += 1
            if found == count:
                return offset - 1, examined
    return oldest, examined


def _spans(rooms: Mapping[str, int], seen: Mapping[str, int], after: int, until: int) -> Spans:
    """By room, the part of the log with entries of `rooms` (each from its offset on) that `seen` rooms did not bring.
    It may include entries of a room in `seen` that is not in `rooms`."""
    until = min(until, seen.get(TENANT_ROOM, until))  # which brings everything
    return {
        room: (start, end)
        for room, joined in rooms.items()
        if (start := max(joined, after)) < (end := min(until, seen.get(room, until)))
    }


def drop_room(connection: Connection, room: str) -> None:
    """Drop `room`, which the connection has left, from its replay."""
    if connection.replay is not None:
        connection.replay.rooms.pop(room, None)


def skip_gap(connection: Connection, window: Window) -> None:
    """Skip entries that are trimmed: the rest of a replay, or everything up to the head."""
    if connection.replay is None or connection.offset is None or window.misses(connection.rooms, connection.offset):
        connection.jump_to_head(window.head)
    else:
        connection.abandon_replay()


def send_next_batch(connection: Connection, window: Window, now: float) -> Progress:
    """Write one batch of the entries owed, and advance the connection; `now` is for its rate limit."""
    if connection.offset is None:
        return Progress.LIVE
    allowance = connection.allowance(now)
    replay = connection.replay
    source, reached, until = (
        (connection, connection.offset, window.head) if replay is None else (replay, replay.offset, replay.until)
    )
    kept = max(reached, min(window.first - 1, until))
    if kept > reached and window.misses(source.rooms, reached) and not _has_all(window, source, kept):
        return Progress.GAP
    reached = kept
    frames: list[Frame] = []
    size = 0
    for examined, offset in enumerate(_candidates(window, source, reached, until)):
        if size >= BATCH_BYTES or len(frames) >= allowance or examined >= SCAN:
            break
        reached = offset
        entry = window[offset]
        if source.wants(entry):
            frames.append(entry.frame)
            size += len(entry.frame)
    else:
        reached = until
    connection.advance(reached, len(frames))
    if frames and not connection.transport.write(Batch(frames)):
        return Progress.FULL
    if connection.replay is not None or connection.offset < window.head:
        return Progress.THROTTLED if len(frames) >= allowance else Progress.MORE
    connection.reach_head()
    return Progress.LIVE


def _has_all(window: Window, source: Connection | Replay, after: int) -> bool:
    """Whether all owed entries are in the window although its rooms have lost some: other rooms have brought those
    already."""
    if not isinstance(source, Replay):
        return False
    offsets = _candidates(window, source, after, source.until)
    return sum(source.wants(window[offset]) for offset in offsets) == source.owed


def _candidates(window: Window, source: Connection | Replay, after: int, until: int) -> Iterable[int]:
    """Offsets above `after` that include all entries that `source` wants. A few are examined one by one; many are
    looked up by room, so that a quiet room is not charged for a busy tenant."""
    if until - after <= len(source.rooms):
        return range(after + 1, until + 1)
    return window.candidates(_spans(source.rooms, source.seen if isinstance(source, Replay) else {}, after, until))
