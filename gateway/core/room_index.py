"""The room index of a window: the offsets of each room's entries, so that a replay costs what it returns."""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping
from heapq import merge
from typing import Final, NamedTuple

from schemas.rooms import TENANT_ROOM

Spans = Mapping[str, tuple[int, int]]
"""Ranges of the log by room: the offsets above the first number, up to the second."""

_COMPACT: Final = 64


class Extent(NamedTuple):
    """The number of some entries, and the offsets of the first and the last."""

    entries: int
    first: int
    last: int


class _Offsets:
    """Ascending offsets: a queue with binary search, which a `deque` does not have (its middle is O(n)). Those before
    `start` are removed; others are compacted once there are `limit`."""

    __slots__ = ("items", "limit", "start")

    def __init__(self) -> None:
        self.items: list[int] = []
        self.start = 0
        self.limit = _COMPACT

    def remove_first(self, kept: Container[int]) -> bool:
        """Remove the first ones that are not in `kept`; whether these were all."""
        items, start = self.items, self.start
        while start < len(items) and items[start] not in kept:
            start += 1
        if start == len(items):
            return True
        if start >= _COMPACT and start * 2 > len(items):
            del items[:start]
            start = 0
        self.start = start
        return False

    def compact(self, kept: Container[int]) -> None:
        """Remove all that are not in `kept`."""
        self.items = list(filter(kept.__contains__, self.items))
        self.start = 0
        self.limit = max(_COMPACT, 2 * len(self.items))

    def between(self, after: int, until: int) -> range:
        """The indexes in `items` of the offsets above `after`, up to `until`."""
        low = bisect_right(self.items, after, self.start)
        return range(low, bisect_right(self.items, until, low))


class RoomIndex:
    """The offsets of a window's entries by room, of which the first ones are removed first.

    Memory is O(entries times rooms of each). `add` and `remove` are O(rooms of the entry), amortised. `candidates`
    is O(rooms times log entries), plus O(log rooms) for each offset taken.
    """

    __slots__ = ("rooms",)

    def __init__(self) -> None:
        self.rooms: dict[str, _Offsets] = {}

    def add(self, rooms: Iterable[str], offset: int, kept: Container[int]) -> None:
        """Add an entry at the end of the window; `kept` are the offsets of all that it has."""
        for room in rooms:
            offsets = self.rooms.get(room)
            if offsets is None:
                offsets = self.rooms[room] = _Offsets()
            offsets.items.append(offset)

    def remove(self, rooms: Iterable[str], kept: Container[int]) -> None:
        """Remove an entry of these rooms; `kept` are the offsets of the others."""
        for room in rooms:
            if self.rooms[room].remove_first(kept):
                del self.rooms[room]

    def candidates(self, spans: Spans, kept: Container[int], newest_first: bool = False) -> Iterable[int]:
        """Offsets, ascending or newest first, that include each entry in `spans` once, and few others. `kept` are the
        offsets of the whole window, which must not change while the result is consumed."""
        tenant = self.rooms.get(TENANT_ROOM)
        if not spans or tenant is None:
            return ()
        step = -1 if newest_first else 1
        low, high = min(after for after, _ in spans.values()), max(until for _, until in spans.values())
        every = tenant.between(low, high)
        runs: list[tuple[_Offsets, range]] = []
        count = 0
        # Entries of the tenant room are not looked up in other rooms again.
        whole, end = spans.get(TENANT_ROOM, (high, high))
        if end > whole and (tail := tenant.between(whole, high)):
            runs.append((tenant, tail))
            count = len(tail)
        for room, (after, until) in spans.items():
            offsets = None if room == TENANT_ROOM else self.rooms.get(room)
            if offsets is not None and (found := offsets.between(after, min(until, whole))):
                runs.append((offsets, found))
                count += len(found)
        # Merging costs three times as much per offset as examining every entry.
        if not runs:
            return ()
        if len(runs) > 1 and count * 3 > len(every):
            runs = [(tenant, every)]
        chains = [self._taken(offsets, found[::step], kept) for offsets, found in runs]
        return chains[0] if len(chains) == 1 else _each_once(merge(*chains, reverse=newest_first))

    def _taken(self, offsets: _Offsets, indexes: range, kept: Container[int]) -> Iterable[int]:
        return map(offsets.items.__getitem__, indexes)

    def extent(self, spans: Spans) -> Extent | None:
        """The number of entries in `spans`, the first and the last of them; None where that takes a look at each.
        O(rooms log entries)."""
        found = Extent(0, 0, 0)
        for room, (after, until) in spans.items():
            offsets = self.rooms.get(room)
            if offsets is not None and (indexes := offsets.between(after, until)):
                if found.entries:
                    return None
                items = offsets.items
                found = Extent(len(indexes), items[indexes[0]], items[indexes[-1]])
        return found


class SparseRoomIndex(RoomIndex):
    """The offsets of entries that may be superseded, by later ones of the same rooms: these are not removed one by one
    but skipped, until they are as many as the others of their room. So an entry that is superseded costs nothing.
    `extent` is not known."""

    __slots__ = ()

    def add(self, rooms: Iterable[str], offset: int, kept: Container[int]) -> None:
        for room in rooms:
            offsets = self.rooms.get(room)
            if offsets is None:
                offsets = self.rooms[room] = _Offsets()
            elif len(offsets.items) >= offsets.limit:
                offsets.compact(kept)
            offsets.items.append(offset)

    def _taken(self, offsets: _Offsets, indexes: range, kept: Container[int]) -> Iterable[int]:
        return filter(kept.__contains__, super()._taken(offsets, indexes, kept))

    def extent(self, spans: Spans) -> None:
        return None


def _each_once(offsets: Iterable[int]) -> Iterator[int]:
    last = None
    for offset in offsets:
        if offset != last:
            last = offset
            yield offset
