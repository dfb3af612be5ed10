"""Catch-up from the log: one mechanism for resume, history, state and slow consumers. The state transitions are in
`connection`.

Catch-up runs in rounds, each up to its horizon, the head as it was when the round began. Of an item that changed more
than once by then a round brings only the newest version at or below the horizon (conflation), at that version's place
and as a whole value. So each round brings every changed item once, however fast others change, and ids stay in log
order.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from gateway.core.connection import MIN_BATCH_BYTES, Connection, Replay
from gateway.core.connection_record import record_abandoned, record_end
from gateway.core.frame import Batch, DeliveryCount, Frame
from gateway.core.room_index import Extent, Spans
from gateway.core.window import Window
from schemas.rooms import TENANT_ROOM

BATCH_BYTES: Final = 64 * 1024
"""Bytes of one batch, give or take a frame; also the size at which coalesced events are delivered early."""

SCAN: Final = 2_000
"""Entries examined in one step, about half a millisecond: a deep replay must not block the loop."""


class Progress(Enum):
    LIVE = "at the log's head"
    MORE = "call again, in a later turn if others wait"
    FULL = "the transport is full: call again when it is writable"
    THROTTLED = "the connection has had its share of events: call again a little later"
    GAP = "an entry that is owed is gone from the log: skip_gap, say where the connection goes on, and call again"


class Owed(NamedTuple):
    """The size of a replay: its events, those of them that are items, and the number of entries examined."""

    events: int
    items: int
    examined: int


def start_replay(
    connection: Connection, window: Window, rooms: list[str], since: int, state: bool = False, reported: int = 0
) -> Owed:
    """Start the replay of entries in `rooms`, new to the connection, after the offset `since`; with `state` also of the
    items of these rooms that changed last before. Of what comes after the replay only entries after `reported` count.

    `send_next_batch` then writes them and the entries after them. Call it before the rooms are joined, and not during
    an earlier replay. An event that another room of the connection brought, or will bring, does not count and is not
    written twice. O(rooms log window + entries owed + entries skipped only because of another room);
    O(rooms log window) where all is of one room, and nothing is keyed.
    """
    head = window.head
    until = head if connection.offset is None else connection.offset
    seen = dict(connection.rooms)
    wanted = Replay(dict.fromkeys(rooms, since), 0 if state else since, until, seen, state=state)
    events = items = examined = first = last = within = 0
    whole = _extent(window, wanted) if connection.offset is None else None
    if whole is not None:
        events, first, last = whole
        within = events
    for offset in _candidates(window, wanted, wanted.offset, head) if whole is None else ():
        examined += 1
        entry = window[offset]
        if wanted.wants(entry) and not 0 < entry.superseded_by <= head and not until < offset <= reported:
            events += 1
            items += entry.item is not None
            if offset <= until:
                first, last = first or offset, offset
                within += 1
    if events:
        _end_round(connection, window)
        connection.begin_round(window.horizons.hold(head))
    if last:
        # Only from the first of them to the last: nothing else need be looked at.
        replay = Replay(wanted.rooms, first - 1, last, seen, within, state, window.losses)
        connection.start_replay(replay, until)
    return Owed(events, items, examined)


def history_start(connection: Connection, window: Window, rooms: list[str], count: int) -> tuple[int, int]:
    """The offset after which there are at most `count` events to replay, none of them lost, and the number of entries
    examined. O(rooms log window + entries found), as `start_replay`."""
    found = examined = 0
    start = max(map(window.trimmed.of, rooms))
    replay = Replay(dict.fromkeys(rooms, 0), 0, window.head, connection.rooms)
    for offset in _candidates(window, replay, 0, window.head, newest_first=True):
        examined += 1
        entry = window[offset]
        if replay.wants(entry) and not entry.superseded_by:
            found += 1
            if found == count:
                return offset - 1, examined
            start = min(start, offset - 1)  # state, older than lost entries
    return start, examined


def _spans(rooms: Mapping[str, int], seen: Mapping[str, int], after: int, until: int) -> Spans:
    """The parts of the log, by room, with entries of `rooms` (each from its offset on) that `seen` rooms did not bring.
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


def skip_gap(connection: Connection, window: Window, now: float) -> None:
    """Skip entries that are trimmed: the rest of a replay, or everything up to the head. `now` is seconds since the
    epoch."""
    if connection.replay is None or connection.offset is None or window.has_lost(connection.rooms, connection.offset):
        record_end(connection, "gap", connection.rooms, window.head, now)
        _end_round(connection, window)
        connection.jump_to_head(window.head)
    else:
        record_abandoned(connection, window.head, now)
        connection.abandon_replay()


def send_next_batch(connection: Connection, window: Window, now: float, delivered: DeliveryCount) -> Progress:
    """Write one batch of the entries owed, advance the connection and count the batch; `now` is for its rate limit."""
    if connection.offset is None:
        return Progress.LIVE
    replay = connection.replay
    if replay is None and connection.offset >= window.head:
        return _reach_head(connection, window)
    allowance = connection.allowance(now)
    horizon = _go_on(connection, window)
    source, reached, until = (
        (connection, connection.offset, horizon) if replay is None else (replay, replay.offset, replay.until)
    )
    if window.has_lost(source.rooms, reached) if replay is None else _has_lost(window, replay, horizon):
        return Progress.GAP
    frames: list[Frame] = []
    size, limit = 0, min(connection.batch_bytes, BATCH_BYTES)
    for examined, offset in enumerate(_candidates(window, source, reached, until)):
        if size >= limit or len(frames) >= allowance or examined >= SCAN:
            break
        reached = offset
        entry = window[offset]
        if source.wants(entry) and not 0 < entry.superseded_by <= horizon:
            frame = entry.frame if entry.item is None else entry.item.frame_at(offset, entry.event_id)
            frames.append(frame)
            size += len(frame)
    else:
        reached = until
    connection.advance(reached, len(frames))
    if connection.replay is None and connection.offset >= horizon:
        _end_round(connection, window)
    if frames:
        batch = Batch(frames)
        delivered.add(batch, 1)
        if not connection.transport.write(batch):
            connection.batch_bytes = MIN_BATCH_BYTES
            return Progress.FULL
        connection.batch_bytes = 2 * limit
    if connection.replay is not None or connection.offset < window.head:
        return Progress.THROTTLED if len(frames) >= allowance else Progress.MORE
    return _reach_head(connection, window)


def _reach_head(connection: Connection, window: Window) -> Progress:
    _end_round(connection, window)
    connection.reach_head()
    return Progress.LIVE


def _go_on(connection: Connection, window: Window) -> int:
    """The horizon of the connection's round; of a new one where it has none."""
    horizons, before, replay = window.horizons, connection.horizon, connection.replay
    if before is None:
        horizon = horizons.take(connection.offset or 0, window.head)
    else:
        horizon = horizons.renew(before, window.head)
    if horizon is not before:
        connection.begin_round(horizon)
        if replay is not None:
            # Some of it comes later in the round: at the place of a newer version. Where some may be lost, too, no
            # number says which.
            replay.owed = -1 if _may_lack(window, replay) else _count(window, replay, horizon.end)
    return horizon.end


def _end_round(connection: Connection, window: Window) -> None:
    connection.end_round()
    window.drop_superseded()


def _has_lost(window: Window, replay: Replay, horizon: int) -> bool:
    """Whether some of what the replay owes is gone. That its rooms have lost entries does not say so: other rooms may
    have brought those already."""
    lost = _may_lack(window, replay)
    replay.losses = window.losses
    return lost and _count(window, replay, horizon) != replay.owed


def _may_lack(window: Window, replay: Replay) -> bool:
    """Whether entries of the replay's rooms were lost, or items of its state, since it was last looked at."""
    if window.losses == replay.losses:
        return False
    lacks_items = replay.state and any(window.evicted.of(room) > replay.offset for room in replay.rooms)
    return lacks_items or window.has_lost(replay.rooms, replay.offset)


def _count(window: Window, replay: Replay, horizon: int) -> int:
    """The number of events left of a replay."""
    entries = map(window.__getitem__, _candidates(window, replay, replay.offset, replay.until))
    return sum(replay.wants(entry) and not 0 < entry.superseded_by <= horizon for entry in entries)


def _extent(window: Window, replay: Replay) -> Extent | None:
    """The extent of what a replay owes up to the head, where no other room brought any of it; None where it takes a
    look at each entry."""
    if min(replay.seen.values(), default=window.head) < window.head:
        return None
    return window.extent(_spans(replay.rooms, {}, replay.offset, window.head))


def _candidates(
    window: Window, source: Connection | Replay, after: int, until: int, newest_first: bool = False
) -> Iterable[int]:
    """Offsets above `after` that include all entries that `source` wants. A few are examined one by one; many are
    looked up by room, so that a quiet room is not charged for a busy tenant."""
    rooms = source.rooms
    if until - after <= len(rooms) and not newest_first:
        return window.kept(after, until)
    if not isinstance(source, Replay):
        return window.candidates(_spans(rooms, {}, after, until))
    plain = _spans(rooms, source.seen, after, until)
    if not window.has_keyed:
        return window.candidates(plain, newest_first)
    # The pieces of an item that were delivered need not be the whole of it.
    items = _spans(dict.fromkeys(rooms, 0) if source.state else rooms, {}, after, until)
    return window.candidates(plain, newest_first, items)
