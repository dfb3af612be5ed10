"""How a connection that is behind is caught up from the log: resume, history and slow clients, one mechanism."""

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
    GAP = "the log no longer reaches back to the place; the connection has to be told, and goes on at the head"


def plan(connection: Connection, window: Window, rooms: list[str], since: int) -> int:
    """Owe the connection what came in `rooms`, new to it, after the offset `since`; returns how many events.

    It is then behind: `advance` writes them and what came later. To be called before the rooms are joined, and not
    while an earlier replay is under way. An event that another of its rooms brought, or will bring, does not count
    and is not written again.
    """
    until = window.head if connection.place is None else connection.place
    replay = Replay(dict.fromkeys(rooms, since), since, until, seen=dict(connection.rooms))
    if since < until:
        connection.replay = replay
    connection.place = until
    return sum(replay.wants(window[offset]) for offset in range(since + 1, window.head + 1))


def latest(connection: Connection, window: Window, rooms: list[str], count: int) -> int:
    """The offset after which there are at most `count` events that `plan` would replay."""
    wanted = dict.fromkeys(rooms, 0)
    offset = window.head
    while offset >= window.first and count > 0:
        entry = window[offset]
        count -= follows(wanted, entry) and not connection.wants(entry)
        offset -= 1
    return offset


def forget(connection: Connection, room: str) -> None:
    """Owe nothing more of `room`, which the connection has left."""
    if connection.replay is not None:
        connection.replay.rooms.pop(room, None)


def skip(connection: Connection) -> None:
    """Give up what is owed: the connection goes on at the head."""
    connection.replay = None
    connection.place = None


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
