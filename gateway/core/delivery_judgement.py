"""The judgement of one delivery: whether a connection was given an event, and by which rule it was not.

It follows from offsets alone: the event's, and the spans and changes of the connection's rooms. A written event counts
as delivered once the client's system has acknowledged the bytes.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, Final, Literal, NamedTuple

from gateway.core.connection_record import ConnectionRecord, Span
from gateway.core.room_history import RoomChange
from gateway.core.window import Window
from schemas.explain import Reason, Verdict
from schemas.rooms import user_room


@dataclass(frozen=True, slots=True)
class JudgedEvent:
    """The event, at `offset` of the epoch. `item` says whether it is the newest version of an item that is kept as
    state, None where it only may have been; `superseded_by` is as in `Entry`."""

    epoch: bytes
    offset: int
    rooms: tuple[str, ...]
    item: bool | None = False
    superseded_by: int = 0


Outcome = Literal["written", "owed", "unknown", "gap", "closed", "left", "revoked", "later", "outside"]

_ORDER: Final[tuple[Outcome, ...]] = (
    "written",
    "owed",
    "unknown",
    "gap",
    "closed",
    "revoked",
    "left",
    "later",
    "outside",
)


class RoomOutcome(NamedTuple):
    """The outcome by one of the event's rooms, and the change of the room or its span that decided it."""

    outcome: Outcome
    room: str
    change: RoomChange | None = None


class Judgement(NamedTuple):
    """The verdict on one connection, by the `outcome` of the best of the event's rooms."""

    verdict: Verdict
    reason: Reason
    outcome: RoomOutcome


_PACKED: Final = ("tenant", "user_id", "connection_id", "room", "gone")


@dataclass(frozen=True, slots=True)
class Question:
    """The question of one user or one connection about an event or about a room. `gone` is the place of an event that
    has been superseded and is no longer known."""

    tenant: str
    user_id: str | None = None
    connection_id: str | None = None
    room: str | None = None
    event: JudgedEvent | None = None
    gone: int = 0

    def pack(self) -> dict[str, Any]:
        """The question as JSON values."""
        event = None if self.event is None else [self.event.epoch.hex(), *astuple(self.event)[1:]]
        return {**{name: getattr(self, name) for name in _PACKED}, "event": event}

    @staticmethod
    def unpack(packed: dict[str, Any]) -> "Question":
        event = packed["event"]
        judged = None if event is None else JudgedEvent(bytes.fromhex(event[0]), event[1], tuple(event[2]), *event[3:])
        return Question(**{name: packed[name] for name in _PACKED}, event=judged)

    def judge(self, record: ConnectionRecord, window: Window) -> Judgement:
        """The judgement of one connection. `window` is that of its tenant on this node."""
        if self.event is not None:
            return judge(record, self.event, window)
        return judge_gone(record, self.gone) if self.room is None else judge_room(record, self.room)

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms in question, as far as they are known."""
        if self.event is not None:
            return self.event.rooms
        return () if self.room is None else (self.room,)


def judge(record: ConnectionRecord, event: JudgedEvent, window: Window) -> Judgement:
    """Judge the delivery of `event` to the connection. `window` is of its tenant, on its node."""
    if record.epoch != event.epoch:  # it has ended before the log began again
        return Judgement("not_delivered", "closed", RoomOutcome("closed", event.rooms[0]))
    best = min((_outcome(record, event, room) for room in event.rooms), key=lambda it: _ORDER.index(it.outcome))
    outcome = best.outcome
    if event.superseded_by and outcome in ("written", "owed", "unknown"):
        # Live it was written as it was published; a catch-up brought a newer version.
        certain = outcome == "owed" and event.superseded_by <= record.horizon and event.offset > record.forgotten
        return Judgement(
            "not_delivered" if certain else "pending" if outcome == "owed" else "unknown", "superseded", best
        )
    if outcome == "written":
        return _acknowledged(record, event, window, best)
    if outcome == "unknown" or event.offset <= record.forgotten:
        return Judgement("unknown", "unknown", best._replace(outcome="unknown"))
    if outcome == "owed":
        return Judgement("pending", "behind", best)
    if outcome == "outside":
        return Judgement("not_delivered", "not_subscribed" if grants(record, event.rooms) else "not_granted", best)
    return Judgement("not_delivered", _REASONS[outcome], best)


_REASONS: Final[dict[Outcome, Reason]] = {
    "gap": "gap",
    "closed": "closed",
    "left": "left_before",
    "revoked": "not_granted",
    "later": "joined_later",
}


def judge_room(record: ConnectionRecord, room: str) -> Judgement:
    """Judge whether the connection is in the room and has been given everything in it."""
    span = next((span for span in record.spans if span.room == room and not span.end), None)
    if span is None:
        event = JudgedEvent(record.epoch, record.head + 1, (room,))
        found = _outcome(record, event, room)
        if found.outcome == "outside":
            return Judgement("not_delivered", "not_subscribed" if grants(record, (room,)) else "not_granted", found)
        return Judgement("not_delivered", _REASONS[found.outcome], found)
    if record.ended_at is not None:
        return Judgement("not_delivered", "closed", RoomOutcome("closed", room))
    if not record.live:
        return Judgement("pending", "behind", RoomOutcome("owed", room))
    if record.unacknowledged is None:
        return Judgement("unknown", "unknown", RoomOutcome("written", room))
    verdict: Verdict = "pending" if record.unacknowledged else "delivered"
    return Judgement(verdict, "behind" if record.unacknowledged else "delivered", RoomOutcome("written", room))


def judge_gone(record: ConnectionRecord, offset: int) -> Judgement:
    """Judge an event of any room at `offset` that was superseded and is gone: nothing brings it any more."""
    brought: tuple[Span | RoomChange, ...] = (*record.spans, *record.changes)
    possible = any(each.after < offset <= each.until or each.items for each in brought)
    replayed = any(change.kind == "state" and offset <= change.head for change in record.changes)
    unknown = possible or replayed or offset <= record.forgotten
    return Judgement("unknown" if unknown else "not_delivered", "superseded", RoomOutcome("outside", ""))


def grants(record: ConnectionRecord, rooms: tuple[str, ...]) -> tuple[str, ...]:
    """The rooms among `rooms` that the connection may subscribe to."""
    identity = record.identity
    may = identity.has_scope("subscribe")
    own = user_room(identity.user_id)
    return tuple(room for room in rooms if room == own or (may and identity.allows(room)))


def joined_at(record: ConnectionRecord, room: str) -> float | None:
    """The time since which the connection is in the room, or was last; None where it is not known any more."""
    times = [change.at for change in record.changes if change.room == room and change.kind in ("joined", "state")]
    if times:
        return times[-1]
    return None if record.forgotten else record.connected_at


def _outcome(record: ConnectionRecord, event: JudgedEvent, room: str) -> RoomOutcome:
    """The outcome by one room of the event."""
    found = [outcome for span in record.spans if span.room == room for outcome in _by_span(record, event, span)]
    found += _by_changes(record, event, room)
    if found:
        return min(found, key=lambda it: _ORDER.index(it.outcome))
    rooms = {span.room for span in record.spans} | {change.room for change in record.changes}
    return RoomOutcome("later" if room in rooms else "outside", room)


def _by_span(record: ConnectionRecord, event: JudgedEvent, span: Span) -> Iterator[RoomOutcome]:
    offset = event.offset
    after = 0 if span.items and event.item is not False else span.after
    if span.items and event.item is None:
        yield RoomOutcome("unknown", span.room)
    elif after < offset <= span.until:
        yield RoomOutcome("written", span.room)
    elif after < offset and (offset <= span.end or not span.end):
        yield RoomOutcome("owed" if record.ended_at is None else "closed", span.room)


def _by_changes(record: ConnectionRecord, event: JudgedEvent, room: str) -> Iterator[RoomOutcome]:
    """The outcomes by the room's changes, the newest first."""
    offset = event.offset
    # A replay of state that was cut off has brought items up to there only.
    cut = min((span.until for span in record.spans if span.room == room and span.items), default=None)
    for change in reversed(record.changes):
        if change.room != room:
            continue
        kind = change.kind
        if kind == "state":
            if event.item is not False and offset <= (change.head if cut is None else cut):
                yield RoomOutcome("written" if event.item else "unknown", room, change)
            cut = None
        elif kind == "unknown":
            if change.after < offset <= change.until:
                yield RoomOutcome("unknown", room, change)
        elif kind != "joined":
            if change.items:
                cut = change.until
            if change.items and not event.item:
                if event.item is None:
                    yield RoomOutcome("unknown", room, change)
                continue
            if change.after < offset <= change.until:
                yield RoomOutcome("written", room, change)
            elif change.after < offset <= change.head and kind == "gap":
                yield RoomOutcome("gap", room, change)
            elif change.after < offset and kind != "gap":
                yield RoomOutcome("left" if kind == "unsubscribed" else "revoked", room, change)


# ---- acknowledgement


def _acknowledged(record: ConnectionRecord, event: JudgedEvent, window: Window, best: RoomOutcome) -> Judgement:
    if record.unacknowledged == 0:
        return Judgement("delivered", "delivered", best)
    if record.unacknowledged is None:
        return Judgement("unknown", "unknown", best)
    if event.offset <= acknowledged_up_to(record, record.unacknowledged, window):
        return Judgement("delivered", "delivered", best)
    if record.ended_at is not None:
        return Judgement("unknown", "closed", best)
    return Judgement("pending", "behind", best)


def acknowledged_up_to(record: ConnectionRecord, unacknowledged: int, window: Window) -> int:
    """The offset up to which everything written is acknowledged: before the last events that have so many bytes
    together. Events that are certain to have been written count, with less than they took on the line."""
    if record.epoch != window.epoch or any(span.end for span in record.spans):
        return 0
    # Since the last room was joined events were written in the order of the log, after those of any replay.
    since = max((change.head for change in record.changes), default=0)
    spans = {span.room: (max(span.after, since), span.until) for span in record.spans}
    wanted = {room: span for room, span in spans.items() if span[0] < span[1]}
    left = unacknowledged
    for offset in window.candidates(wanted, newest_first=True, keyed={}):
        entry = window[offset]
        if any(room in wanted and wanted[room][0] < offset <= wanted[room][1] for room in entry.rooms):
            left -= len(entry.frame.payload)
            if left <= 0:
                return offset - 1
    return 0
