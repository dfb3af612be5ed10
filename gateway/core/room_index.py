"""The room index of a window: the offsets of each room's entries, so that a replay costs what it returns."""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping
from heapq import merge
from typing import Final, NamedTuple

from schemas.rooms import TENANT_ROOM

Spans = Mapping[str, tuple[int, int]]
"""By room, a range of the log: the offsets above the first number, up to the second."""

_COMPACT: Final = 64


class Extent(NamedTuple):
    """The number of some entries, and the offsets of the first and the last."""

    entries: int
    first: int
    last: int


class _Offsets:
    """Ascending offsets: a queue with binary search, which a `deque` does not have (its middle is O(n)). `gone` of
    those from `start` on are removed and not yet deleted."""

    __slots__ = ("gone", "items", "start")

    def __init__(self) -> None:
        self.items: list[int] = []
        self.start = 0
        self.gone = 0

    def remove(self, offset: int, kept: Container[int]) -> bool:
        """Remove an offset, which is in `kept` no more; whether it was the last."""
        items, start = self.items, self.start
        if items[start] == offset:
            start += 1
            while self.gone and items[start] not in kept:
                start += 1
                self.gone -= 1
            self.start = start
        else:
            self.gone += 1
        useless = start + self.gone
        if useless == len(items):
            return True
        if useless >= _COMPACT and useless * 2 > len(items):
            self.items = [one for one in items[start:] if one in kept] if self.gone else items[start:]
            self.start = self.gone = 0
        return False

    def between(self, after: int, until: int) -> range:
        """The indexes in `items` of the offsets above `after`, up to `until`."""
        low = bisect_right(self.items, after, self.start)
        return range(low, bisect_right(self.items, until, low))


class RoomIndex:
    """The offsets of a window's entries by room.

    Memory is O(entries times rooms of each). `add` and `remove` are O(rooms of the entry), amortised. `candidates`
    is O(rooms times log entries), plus O(log rooms) for each offset taken.
    """

    __slots__ = ("rooms",)

    def __init__(self) -> None:
        self.rooms: dict[str, _Offsets] = {}

    def add(self, rooms: Iterable[str], offset: int) -> None:
        """Add an entry at the end of the window."""
        for room in rooms:
            offsets = self.rooms.get(room)
            if offsets is None:
                offsets = self.rooms[room] = _Offsets()
            offsets.items.append(offset)

    def remove(self, rooms: Iterable[str], offset: int, kept: Container[int]) -> None:
        """Remove an entry of the window; `kept` are the offsets of the others."""
        for room in rooms:
            if self.rooms[room].remove(offset, kept):
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
        chains = [_kept(offsets, found[::step], kept) for offsets, found in runs]
        return chains[0] if len(chains) == 1 else _each_once(merge(*chains, reverse=newest_first))

    def extent(self, spans: Spans) -> Extent | None:
        """The number of entries in `spans`, the first and the last of them; None where that takes a look at each.
        O(rooms log entries)."""
        found = Extent(0, 0, 0)
        for room, (after, until) in spans.items():
            offsets = self.rooms.get(room)
            if offsets is not None and (indexes := offsets.between(after, until)):
                if found.entries or offsets.gone:
                    return None
                items = offsets.items
                found = Extent(len(indexes), items[indexes[0]], items[indexes[-1]])
        return found


def _kept(offsets: _Offsets, indexes: range, kept: Container[int]) -> Iterable[int]:
    found = map(offsets.items.__getitem__, indexes)
    return filter(kept.__contains__, found) if offsets.gone else found


def _each_once(offsets: Iterable[int]) -> Iterator[int]:
    last = None
    for offset in offsets:
        if offset != last:
            last = offset
            yield offset
