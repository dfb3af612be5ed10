"""How a connection that is behind is caught up from the log: resume, history and slow clients, one mechanism."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from gateway.core.connection import Connection, Replay
from gateway.core.frame import Batch, Frame
from gateway.core.room_index import Spans
from gateway.core.window import Window
from schemas.rooms import TENANT_ROOM

BATCH_BYTES: Final = 64 * 1024
"""What is written at once, one frame more or less; also what gathers in a turn before it is delivered early."""

_SCAN: Final = 2_000
"""Entries looked at in one step, about half a millisecond: a deep replay must not hold up the loop."""


class Progress(Enum):
    LIVE = "at the log's head"
    MORE = "call again, in a later turn if others wait"
    FULL = "the transport is full: call again when it has drained"
    THROTTLED = "the connection has had its share of events: call again a little later"
    GAP = "the log no longer reaches back to the place: skip, tell the connection where it goes on, and call again"


def plan(connection: Connection, window: Window, rooms: list[str], since: int) -> tuple[int, int]:
    """Owe the connection what came in `rooms`, new to it, after the offset `since`; returns how many events, and how
    many entries were examined for it.

    It is then behind: `advance` writes them and what came later. To be called before the rooms are joined, and not
    while an earlier replay is under way. An event that another of its rooms brought, or will bring, does not count
    and is not written again. Costs O(rooms log window), and as many entries as are owed, with those that are not only
    because of another room that the connection is in.
    """
    until = window.head if connection.place is None else connection.place
    replay = Replay(dict.fromkeys(rooms, since), since, until, dict(connection.rooms))
    owed = examined = last = 0
    for offset in window.candidates(_spans(replay.rooms, replay.seen, since, window.head)):
        examined += 1
        if replay.wants(window[offset]):
            owed += 1
            if offset <= until:
                # Only from the first of them to the last: nothing else need be looked at.
                if not last:
                    replay.place = offset - 1
                replay.until = last = offset
    if last:
        connection.replay = replay
        connection.place = until
    return owed, examined


def latest(connection: Connection, window: Window, rooms: list[str], count: int) -> tuple[int, int]:
    """The offset after which there are at most `count` events that `plan` would replay, and how many entries were
    examined to find it. Costs O(rooms log window) and, as `plan`, as many entries as are found."""
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
    """Where entries can be that `rooms`, each from an offset on, bring and `seen` do not. Some there may not count: of
    a room in `seen` that is not in `rooms`."""
    until = min(until, seen.get(TENANT_ROOM, until))  # which brings everything
    return {
        room: (start, end)
        for room, joined in rooms.items()
        if (start := max(joined, after)) < (end := min(until, seen.get(room, until)))
    }


def forget(connection: Connection, room: str) -> None:
    """Owe nothing more of `room`, which the connection has left."""
    if connection.replay is not None:
        connection.replay.rooms.pop(room, None)


def skip(connection: Connection, window: Window) -> None:
    """Give up what can no longer be had: what is left of a replay, or else everything up to the head.

    No room has brought what is given up: whoever asks for it again, as far as it is still there, must get it.
    """
    replay = connection.replay
    if replay is None or connection.place is None or window.misses(connection.place):
        go_to_head(connection, window)
        return
    connection.replay = None
    for room in replay.rooms:
        connection.rooms[room] = min(replay.seen.get(room, replay.until), replay.until)


def go_to_head(connection: Connection, window: Window) -> None:
    """Owe nothing of what there is: the connection goes on with what comes."""
    connection.replay = None
    connection.place = None
    for room in connection.rooms:
        connection.rooms[room] = window.head


def advance(connection: Connection, window: Window, now: float) -> Progress:
    """Write one batch of what the connection is owed, and move its place; `now` is for its rate."""
    if connection.place is None:
        return Progress.LIVE
    allowance = connection.allowance(now)
    replay = connection.replay
    source, place, until = (
        (connection, connection.place, window.head) if replay is None else (replay, replay.place, replay.until)
    )
    if place < until and window.misses(place):
        return Progress.GAP
    frames: list[Frame] = []
    size = 0
    for examined, offset in enumerate(_candidates(window, source, place, until)):
        if size >= BATCH_BYTES or len(frames) >= allowance or examined >= _SCAN:
            break
        place = offset
        entry = window[offset]
        if source.wants(entry):
            frames.append(entry.frame)
            size += len(entry.frame)
    else:
        place = until
    if replay is None:
        connection.place = place
    elif place < until:
        replay.place = place
    else:
        connection.replay = None
    connection.sent += len(frames)
    if frames and not connection.transport.write(Batch(frames)):
        return Progress.FULL
    if connection.replay is not None or connection.place < window.head:
        return Progress.THROTTLED if len(frames) >= allowance else Progress.MORE
    connection.place = None
    return Progress.LIVE


def _candidates(window: Window, source: Connection | Replay, place: int, until: int) -> Iterable[int]:
    """The offsets above `place` among which are those that `source` wants. A few are quicker looked at one by one than
    looked up by room; of many, a quiet room must not cost all."""
    if until - place <= len(source.rooms):
        return range(place + 1, until + 1)
    return window.candidates(_spans(source.rooms, source.seen if isinstance(source, Replay) else {}, place, until))
