"""The codec of events in the stream and in pub/sub messages."""

from dataclasses import dataclass

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.log import Draft
from gateway.core.window import Removal


@dataclass(slots=True, eq=False)
class StoredEvent:
    """An event without its position. `at` is seconds since the epoch, by the clock of Redis."""

    at: float
    timestamp: str
    rooms: tuple[str, ...]
    body: bytes
    removal: Removal | None = None


def encode_entry(draft: Draft) -> bytes:
    """The argument of the append script for a draft; the script prepends a line with the time."""
    removal = " ".join(draft.removal or ())  # a user's id and a room, which have no spaces
    return b"\n".join((draft.timestamp.encode(), ",".join(draft.rooms).encode(), removal.encode(), draft.body))


def decode_entry(entry: bytes) -> StoredEvent:
    """The event in an entry of the stream. Raises `ValueError` for invalid data."""
    at, timestamp, rooms, removal, body = entry.split(b"\n", 4)
    if not (timestamp and rooms and body[:1] == b"{" and body[-1:] == b"}"):
        raise ValueError("no entry of this log")
    taken: Removal | None = None
    if removal:
        user_id, room = removal.decode().split(" ")
        taken = (user_id, room)
    return StoredEvent(float(at), timestamp.decode("ascii"), tuple(rooms.decode().split(",")), body, taken)


def decode_message(message: bytes) -> tuple[bytes, int, StoredEvent]:
    """The epoch, the offset and the event in a pub/sub message. Raises `ValueError` for invalid data."""
    epoch, offset, entry = message.split(b"\n", 2)
    return epoch_of(epoch), int(offset), decode_entry(entry)


def epoch_of(text: bytes) -> bytes:
    """The epoch in hexadecimal digits. Raises `ValueError`."""
    epoch = bytes.fromhex(text.decode("ascii"))
    if len(epoch) != EPOCH_BYTES:
        raise ValueError("no epoch")
    return epoch
