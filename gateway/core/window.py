"""The window: the recent part of one tenant's log, without holes, bounded by count, bytes and age."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.core.cursor import Cursors, Position
from gateway.core.frame import Frame
from gateway.core.room_index import RoomIndex, Spans
from gateway.core.trimmed_rooms import TrimmedRooms
from schemas.rooms import TENANT_ROOM

Gap = Literal["history_trimmed", "log_reset"]

Removal = tuple[str, str]
"""The id of a user, and the room that is revoked from the user."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a window: entries, bytes of their frames, seconds; and the number of rooms whose last trimmed entry
    is remembered."""

    max_events: int = 10_000
    max_bytes: int = 16 * 1024 * 1024
    max_seconds: float = 3_600.0
    max_trimmed_rooms: int = 4_096


@dataclass(slots=True, eq=False)
class Entry:
    """One event of the log; only its window changes it. `rooms` are those it is routed to, `at` is seconds since the
    epoch; `removal` is the user and the room that the event revokes.

    Not frozen, as values are elsewhere: a frozen dataclass takes a microsecond longer to make, for every event.
    """

    offset: int
    event_id: str
    rooms: tuple[str, ...]
    frame: Frame
    at: float
    removal: Removal | None = None


class Window:
    """The newest entries of one tenant's log, at consecutive offsets `first` to `head`, and the last trimmed entry of
    each room."""

    __slots__ = ("_entries", "_rooms", "_trimmed", "bounds", "bytes", "cursors", "epoch", "first", "head")

    def __init__(
        self,
        epoch: bytes,
        cursors: Cursors,
        bounds: Bounds,
        head: int = 0,
        trimmed: TrimmedRooms | None = None,
    ) -> None:
        """An empty window after `head`; `trimmed` has the trimmed entries up to there, by default all of them
        unknown."""
        self.epoch = epoch
        self.cursors = cursors
        self.head = head
        self.first = head + 1
        self.bytes = 0
        self.bounds = bounds
        self._entries: dict[int, Entry] = {}
        self._rooms = RoomIndex()
        self._trimmed = TrimmedRooms(bounds.max_trimmed_rooms, head) if trimmed is None else trimmed

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """Append `entry` at the head, and trim from the other end. Its offset must be `head + 1`."""
        if entry.offset != self.head + 1:
            raise ValueError(f"offset {entry.offset} does not follow {self.head}")
        self._entries[entry.offset] = entry
        self.head = entry.offset
        self.bytes += len(entry.frame.wire)
        self._rooms.add(entry.rooms, entry.offset)
        bounds = self.bounds
        # A single event over the bytes stays until the next one: an accepted event can be delivered.
        while len(self._entries) > bounds.max_events or (self.bytes > bounds.max_bytes and self.first < self.head):
            self._drop_first()

    def sweep(self, now: float) -> None:
        """Drop entries older than `max_seconds`."""
        oldest = now - self.bounds.max_seconds
        while self.first <= self.head and self._entries[self.first].at < oldest:
            self._drop_first()

    def redate(self, seconds: float) -> None:
        """Shift the times of all entries by `seconds`: their clock was set."""
        for entry in self._entries.values():
            entry.at += seconds

    def _drop_first(self) -> None:
        entry = self._entries.pop(self.first)
        self.bytes -= len(entry.frame.wire)
        self.first += 1
        self._rooms.drop_first(entry.rooms)
        self._trimmed.record(entry.rooms, entry.offset)

    def __getitem__(self, offset: int) -> Entry:
        """The entry at `offset`, which must be from `first` to `head`."""
        return self._entries[offset]

    def candidates(self, spans: Spans, newest_first: bool = False) -> Iterable[int]:
        """Offsets, ascending or newest first, that include each entry in `spans` once; the window must not change while
        they are consumed. Costs a search by room, plus what is taken."""
        return self._rooms.candidates(spans, range(self.first, self.head + 1), newest_first)

    @property
    def cursor(self) -> str:
        """The cursor of the head: the id of the newest event."""
        return self.cursors.encode(self.epoch, self.head)

    def reaches(self, position: Position) -> bool:
        """Whether `position` is of this epoch and not ahead of the head."""
        return position.epoch == self.epoch and position.offset <= self.head

    def gap(self, position: Position, rooms: Iterable[str]) -> Gap | None:
        """The reason why entries of `rooms` after `position` are missing; None where none are."""
        if not self.reaches(position):
            return "log_reset"
        missing = self.misses(dict.fromkeys(rooms, position.offset), position.offset)
        return "history_trimmed" if missing else None

    def misses(self, rooms: Mapping[str, int], after: int) -> bool:
        """Whether an entry after the offset `after` was trimmed from one of `rooms`, each from its offset on. O(rooms),
        or O(1) where nothing after it was trimmed."""
        gone = self.first - 1
        return after < gone and any(
            (gone if room == TENANT_ROOM else min(self._trimmed.of(room), gone)) > max(joined, after)
            for room, joined in rooms.items()
        )
