"""An event as the stream and the channel carry it."""

from dataclasses import dataclass

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.log import Draft
from gateway.core.window import Removal


@dataclass(slots=True, eq=False)
class StoredEvent:
    """An entry without its position. `at` is seconds since the epoch, by the clock of Redis."""

    at: float
    timestamp: str
    rooms: tuple[str, ...]
    body: bytes
    removal: Removal | None = None


def encode_entry(draft: Draft) -> bytes:
    """A draft as the append script takes it; the script puts the time and a line's end in front."""
    removal = " ".join(draft.removal or ())  # of a user's id and a room, neither of which has a space
    return b"\n".join((draft.timestamp.encode(), ",".join(draft.rooms).encode(), removal.encode(), draft.body))


def decode_entry(entry: bytes) -> StoredEvent:
    """An entry of the stream. Raises `ValueError` for what no gateway has written."""
    at, timestamp, rooms, removal, body = entry.split(b"\n", 4)
    if not (timestamp and rooms and body[:1] == b"{" and body[-1:] == b"}"):
        raise ValueError("no entry of this log")
    taken: Removal | None = None
    if removal:
        user_id, room = removal.decode().split(" ")
        taken = (user_id, room)
    return StoredEvent(float(at), timestamp.decode("ascii"), tuple(rooms.decode().split(",")), body, taken)


def decode_message(message: bytes) -> tuple[bytes, int, StoredEvent]:
    """The epoch, the offset and the entry that a message on a channel is about. Raises `ValueError` likewise."""
    epoch, offset, entry = message.split(b"\n", 2)
    return epoch_of(epoch), int(offset), decode_entry(entry)


def epoch_of(text: bytes) -> bytes:
    """An epoch from its hexadecimal digits. Raises `ValueError`."""
    epoch = bytes.fromhex(text.decode("ascii"))
    if len(epoch) != EPOCH_BYTES:
        raise ValueError("no epoch")
    return epoch
