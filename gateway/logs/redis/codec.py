"""The codec of events in the stream and in pub/sub messages."""

from dataclasses import dataclass

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.items import Change
from gateway.core.log import Draft
from gateway.core.window import Removal
from schemas.events import op_of


@dataclass(slots=True, eq=False)
class StoredEvent:
    """An event without its position. `at` is seconds since the epoch, by the clock of Redis."""

    at: float
    timestamp: str
    rooms: tuple[str, ...]
    body: bytes
    removal: Removal | None = None
    change: Change | None = None
    traceparent: str | None = None


def stored_event(at: float, draft: Draft) -> StoredEvent:
    """The event of a draft, appended `at`."""
    return StoredEvent(at, draft.timestamp, draft.rooms, draft.body, draft.removal, draft.change, draft.traceparent)


def encode_entry(draft: Draft) -> bytes:
    """The argument of the append script for a draft; the script prepends a line with the time."""
    stamp = draft.timestamp if draft.traceparent is None else f"{draft.timestamp} {draft.traceparent}"
    more = " ".join(draft.removal or ())  # a user's id and a room, which have no spaces
    if draft.change is not None:
        more += f"\t{draft.change.op} {draft.change.key}"
    return b"\n".join((stamp.encode(), ",".join(draft.rooms).encode(), more.encode(), draft.body))


def decode_entry(entry: bytes) -> StoredEvent:
    """The event in an entry of the stream. Raises `ValueError` for invalid data."""
    at, stamp, rooms, more, body = entry.split(b"\n", 4)
    timestamp, _, traceparent = stamp.decode("ascii").partition(" ")
    if not (timestamp and rooms and body[:1] == b"{" and body[-1:] == b"}"):
        raise ValueError("not an entry of this log")
    removal, _, keyed = more.decode().partition("\t")
    taken: Removal | None = None
    if removal:
        user_id, room = removal.split(" ")
        taken = (user_id, room)
    change: Change | None = None
    if keyed:
        op, key = keyed.split(" ")
        change = Change(key, op_of(op))
    named = tuple(rooms.decode().split(","))
    return StoredEvent(float(at), timestamp, named, body, taken, change, traceparent or None)


def decode_message(message: bytes) -> tuple[bytes, int, int, StoredEvent]:
    """The epoch, the offset, the oldest change of an item (0 where it is as before) and the event in a pub/sub message.
    Raises `ValueError` for invalid data."""
    epoch, place, entry = message.split(b"\n", 2)
    offset, _, oldest = place.partition(b":")
    return epoch_of(epoch), int(offset), int(oldest or 0), decode_entry(entry)


def epoch_of(text: bytes) -> bytes:
    """The epoch in hexadecimal digits. Raises `ValueError`."""
    epoch = bytes.fromhex(text.decode("ascii"))
    if len(epoch) != EPOCH_BYTES:
        raise ValueError("no epoch")
    return epoch
