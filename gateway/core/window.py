"""The kept part of one tenant's log: its window, bounded by count, bytes and age, and its state."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from heapq import merge
from typing import Any, Final, Literal

from gateway.core.cursor import Cursors, Position
from gateway.core.frame import Frame
from gateway.core.horizons import Horizons
from gateway.core.items import Change, Item, ItemStore
from gateway.core.room_index import Extent, RoomIndex, Spans, SparseRoomIndex
from gateway.core.trimmed_rooms import TrimmedRooms

Gap = Literal["history_trimmed", "log_reset"]

Removal = tuple[str, str]
"""The id of a user, and the room that is revoked from the user."""


PURGE_SUPERSEDED: Final = 64
"""Superseded entries at which unneeded ones are purged; twice as many as were left, where that is more."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a log: entries of its window, bytes of their frames, seconds; the number of rooms whose last lost
    entry is remembered; items of its state, and bytes of their values."""

    max_events: int = 10_000
    max_bytes: int = 16 * 1024 * 1024
    max_seconds: float = 3_600.0
    max_trimmed_rooms: int = 4_096
    max_items: int = 10_000
    max_item_bytes: int = 16 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Entry:
    """One event of the log; only its window changes it. `rooms` are those it is routed to, `at` is seconds since the
    epoch; `removal` is the user and the room that the event revokes; `change` is what a keyed event does to `item`;
    `superseded_by` is the offset of the item's next version; `former` where this one ends the item, or was evicted.

    Not frozen, as values are elsewhere: a frozen dataclass takes a microsecond longer to make, for every event.
    """

    offset: int
    event_id: str
    rooms: tuple[str, ...]
    frame: Frame
    at: float
    removal: Removal | None = None
    change: Change | None = None
    item: Item | None = None
    superseded_by: int = 0
    former: bool = False


class Window:
    """The kept part of one tenant's log up to `head`, and the last lost entry of each room.

    From `first` on that is every entry but the superseded ones: those of an item that has a newer version go at once.
    Of what is before, only the newest version of each item is kept, as state. Superseded entries that a round of
    catch-up still needs are kept besides, without their frames; at most twice as many as entries.
    """

    def __init__(
        self,
        epoch: bytes,
        cursors: Cursors,
        bounds: Bounds,
        head: int = 0,
        trimmed: TrimmedRooms | None = None,
        evicted: TrimmedRooms | None = None,
        first: int = 0,
    ) -> None:
        """An empty window after `head`; `trimmed` has the lost entries up to there, by default all of them unknown;
        `evicted` the items lost to the bounds of state.
        Entries before `first`, by default the next one, are state."""
        self.epoch = epoch
        self.cursors = cursors
        self.head = head
        self._first = first or head + 1
        self.bytes = 0
        self.bounds = bounds
        self.items = ItemStore(bounds.max_items, bounds.max_item_bytes)
        self.horizons = Horizons()
        self.losses = 0
        self.trimmed = TrimmedRooms(bounds.max_trimmed_rooms, head) if trimmed is None else trimmed
        self.evicted = TrimmedRooms(bounds.max_trimmed_rooms) if evicted is None else evicted
        self._count = 0
        self._entries: dict[int, Entry] = {}
        self._rooms = RoomIndex()
        self._keyed = SparseRoomIndex()
        self._superseded: list[int] = []
        self._purge_at = PURGE_SUPERSEDED

    def __len__(self) -> int:
        """The number of entries from `first` on that are not superseded."""
        return self._count

    @property
    def first(self) -> int:
        """The offset of the first entry that is not superseded or state; that after the head without one. O(1) for
        each offset there ever was."""
        entries, first = self._entries, self._first
        while first <= self.head and ((entry := entries.get(first)) is None or entry.superseded_by):
            first += 1
        self._first = first
        return first

    def append(self, entry: Entry, value: dict[str, Any] | None = None) -> None:
        """Append `entry` at the head, and trim from the other end. Its offset must be `head + 1`. `value` is its item's
        whole value, where it is known."""
        if entry.offset != self.head + 1:
            raise ValueError(f"offset {entry.offset} does not follow {self.head}")
        self._entries[entry.offset] = entry
        self.head = entry.offset
        if entry.offset >= self._first:
            self.bytes += len(entry.frame.wire)
            self._count += 1
        if entry.change is None:
            self._rooms.add(entry.rooms, entry.offset, self._entries)
        else:
            self._keyed.add(entry.rooms, entry.offset, self._entries)
            self._change(entry, entry.change, value)
        bounds = self.bounds
        # A single event over the bytes stays until the next one: an accepted event can be delivered.
        while self._count > bounds.max_events or (self.bytes > bounds.max_bytes and self._count > 1):
            self._drop_first()

    def _change(self, entry: Entry, change: Change, value: dict[str, Any] | None) -> None:
        items = self.items
        entry.item, before = items.change(entry.offset, entry.rooms, entry.frame, change, value)
        if change.op == "delete":
            entry.former = True
        old = self._entries.get(before)
        if old is not None:
            old.superseded_by = entry.offset
            if before >= self._first:
                self._count -= 1
                self.bytes -= len(old.frame.wire)
            if self.horizons.newest >= before:
                old.frame = entry.frame  # its own is of no use
                self._superseded.append(before)
                if len(self._superseded) >= self._purge_at:
                    self._purge()
            else:
                del self._entries[before]
        if old is None or old.former or items.bytes > items.max_bytes:
            while (item := items.evict_excess()) is not None:
                self._evict(item)

    def _evict(self, item: Item) -> None:
        """Drop an item from the state, for its bounds. In the window its newest version stays until it is trimmed."""
        entry = self._entries[item.newest]
        self.evicted.record(item.rooms, item.newest)
        frame = item.evict(entry.event_id)
        if item.newest >= self._first:
            self.items.keep_former(item)
            self.bytes += len(frame.wire) - len(entry.frame.wire)
            entry.frame, entry.former = frame, True
            self.losses += 1  # a replay may have announced it
        else:
            self._lose(entry)

    def evict_before(self, offset: int) -> None:
        """Drop the items whose newest change is before `offset` from the state."""
        while (item := self.items.evict_before(offset)) is not None:
            self._evict(item)

    def retain_items(self, until: int, offsets: Container[int]) -> None:
        """Drop the items whose newest change is at `until` or before, and none of `offsets`: they have ended."""
        for item in self.items.remove_except(until, offsets):
            entry = self._entries[item.newest]
            if item.newest >= self._first:
                self._count -= 1
                self.bytes -= len(entry.frame.wire)
            self._remove(entry)
            self.losses += 1  # a replay may have announced it

    def skip(self, offset: int) -> None:
        """Advance the head to before `offset`: all entries up to there are superseded, or known to be lost."""
        self.head = offset - 1

    def lose(self, trimmed: TrimmedRooms) -> None:
        """Entries after the head are lost as well, as `trimmed` has it: no earlier event is kept any more."""
        self.shrink(-1)
        self.trimmed.merge(trimmed)
        self.losses += 1

    def shrink(self, max_bytes: int) -> None:
        """Drop the oldest entries until the others have at most `max_bytes`."""
        while self.bytes > max_bytes and self.first <= self.head:
            self._drop_first()

    def sweep(self, now: float) -> None:
        """Drop entries older than `max_seconds`, and superseded ones of rounds that were given up."""
        oldest = now - self.bounds.max_seconds
        while self.first <= self.head and self._entries[self.first].at < oldest:
            self._drop_first()
        self.drop_superseded()  # of clients that are gone

    def shift_times(self, seconds: float) -> None:
        """Shift the times of all entries by `seconds`, since the clock was set."""
        for entry in self._entries.values():
            entry.at += seconds

    def _drop_first(self) -> None:
        """Trim the first entry of the window, which must not be empty; the newest version of an item becomes state."""
        entry = self._entries[self.first]
        self.bytes -= len(entry.frame.wire)
        self._count -= 1
        self._first += 1
        item = entry.item
        if item is None:
            self._lose(entry)
        elif entry.former:
            self.items.forget_former(item)
            self._lose(entry)

    def _lose(self, entry: Entry) -> None:
        self._remove(entry)
        self.trimmed.record(entry.rooms, entry.offset)
        self.losses += 1

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.offset]
        index = self._rooms if entry.change is None else self._keyed
        index.remove(entry.rooms, self._entries)

    # ---- rounds of catch-up

    def drop_superseded(self) -> None:
        """Drop superseded entries, unless a round is under way that may need them."""
        if self._superseded and not self.horizons.newest:
            self._purge()

    def _purge(self) -> None:
        """Drop superseded entries that no round needs. O(superseded log horizons), amortised over those that were
        added."""
        superseded_by = {offset: self._entries[offset].superseded_by for offset in self._superseded}
        self._superseded = self.horizons.needed(superseded_by, self.bounds.max_events)
        for offset in superseded_by.keys() - self._superseded:
            self._remove(self._entries[offset])
        self._purge_at = max(PURGE_SUPERSEDED, 2 * len(self._superseded))

    # ---- reading

    def __getitem__(self, offset: int) -> Entry:
        """The entry at `offset`, which must be kept, as those from `candidates` are."""
        return self._entries[offset]

    @property
    def has_keyed(self) -> bool:
        """Whether there are entries of keyed events."""
        return bool(self._keyed.rooms)

    def candidates(self, spans: Spans, newest_first: bool = False, keyed: Spans | None = None) -> Iterable[int]:
        """Offsets, ascending or newest first, that include each entry in `spans` once, and each keyed one in `keyed`,
        by default `spans`; the window must not change while they are consumed. Costs a search by room, plus what is
        taken."""
        plain = self._rooms.candidates(spans, self._entries, newest_first)
        if not self._keyed.rooms:
            return plain
        items = self._keyed.candidates(spans if keyed is None else keyed, self._entries, newest_first)
        return items if plain == () else merge(plain, items, reverse=newest_first)

    def extent(self, spans: Spans) -> Extent | None:
        """The number of entries in `spans`, the first and the last of them; None where that takes a look at each."""
        return None if self._keyed.rooms else self._rooms.extent(spans)

    def kept(self, after: int, until: int) -> Iterable[int]:
        """The offsets of all entries above `after`, up to `until`. O(until - after)."""
        entries = self._entries
        return [offset for offset in range(after + 1, until + 1) if offset in entries]

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
        missing = self.has_lost(dict.fromkeys(rooms, position.offset), position.offset)
        return "history_trimmed" if missing else None

    def has_lost(self, rooms: Mapping[str, int], after: int) -> bool:
        """Whether an entry after the offset `after` was lost from one of `rooms`, each from its offset on. O(rooms), or
        O(1) where nothing after it was lost."""
        trimmed = self.trimmed
        return after < trimmed.newest and any(trimmed.of(room) > max(joined, after) for room, joined in rooms.items())
