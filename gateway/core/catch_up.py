"""How a connection that is behind is caught up from the log: resume, history and slow clients, one mechanism."""

from bisect import bisect_right
from enum import Enum
from typing import Final

from gateway.core.connection import Connection, Replay, follows
from gateway.core.frame import Batch, Frame
from gateway.core.window import Window

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


def plan(connection: Connection, window: Window, rooms: list[str], since: int) -> int:
    """Owe the connection what came in `rooms`, new to it, after the offset `since`; returns how many events.

    It is then behind: `advance` writes them and what came later. To be called before the rooms are joined, and not
    while an earlier replay is under way. An event that another of its rooms brought, or will bring, does not count
    and is not written again.
    """
    until = window.head if connection.place is None else connection.place
    seen = dict(connection.rooms)
    missed = [offset for offset in window.offsets(rooms, since) if not follows(seen, window[offset])]
    owed = missed[: bisect_right(missed, until)]
    if owed:
        # Only from the first of them to the last: nothing else need be looked at.
        connection.replay = Replay(dict.fromkeys(rooms, since), owed[0] - 1, owed[-1], seen)
        connection.place = until
    return len(missed)


def latest(connection: Connection, window: Window, rooms: list[str], count: int) -> int:
    """The offset after which there are at most `count` events that `plan` would replay."""
    found = 0
    for offset in reversed(window.offsets(rooms, window.first - 1)):
        if not connection.wants(window[offset]):
            found += 1
            if found == count:
                return offset - 1
    return window.first - 1


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
    size, stop = 0, min(until, place + _SCAN)
    while place < stop and size < BATCH_BYTES and len(frames) < allowance:
        place += 1
        entry = window[place]
        if source.wants(entry):
            frames.append(entry.frame)
            size += len(entry.frame)
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
