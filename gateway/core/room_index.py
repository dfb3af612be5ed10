"""The room index of a window: the offsets of each room's entries, so that a replay costs what it returns."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from typing import Final

from schemas.rooms import TENANT_ROOM

Spans = Mapping[str, tuple[int, int]]
"""By room, a range of the log: the offsets above the first number, up to the second."""

_COMPACT: Final = 64


class _Offsets:
    """Ascending offsets: a queue with binary search, which a `deque` does not have (its middle is O(n))."""

    __slots__ = ("items", "start")

    def __init__(self) -> None:
        self.items: list[int] = []
        self.start = 0

    def between(self, after: int, until: int) -> range:
        """The indexes in `items` of the offsets above `after`, up to `until`."""
        low = bisect_right(self.items, after, self.start)
        return range(low, bisect_right(self.items, until, low))


class RoomIndex:
    """The offsets of a window's entries by room, except for the tenant room, which has all of them.

    Memory is O(entries times rooms of each). `add` and `drop_first` are O(rooms of the entry), amortised. `candidates`
    is O(rooms times log entries), plus O(log rooms) for each offset taken.
    """

    __slots__ = ("rooms",)

    def __init__(self) -> None:
        self.rooms: dict[str, _Offsets] = {}

    def add(self, rooms: Iterable[str], offset: int) -> None:
        """Add an entry at the end of the window."""
        for room in rooms:
            if room != TENANT_ROOM:
                offsets = self.rooms.get(room)
                if offsets is None:
                    offsets = self.rooms[room] = _Offsets()
                offsets.items.append(offset)

    def drop_first(self, rooms: Iterable[str]) -> None:
        """Remove the first entry of the window."""
        for room in rooms:
            if room != TENANT_ROOM:
                offsets = self.rooms[room]
                offsets.start = start = offsets.start + 1
                if start == len(offsets.items):
                    del self.rooms[room]
                elif start >= _COMPACT and start * 2 > len(offsets.items):
                    del offsets.items[:start]
                    offsets.start = 0

    def candidates(self, spans: Spans, kept: range, newest_first: bool = False) -> Iterable[int]:
        """Offsets, ascending or newest first, that include each entry in `spans` once, and few others. `kept` are the
        offsets of the whole window, which must not change while the result is consumed."""
        if not spans:
            return ()
        step = -1 if newest_first else 1
        low, high = min(after for after, _ in spans.values()), max(until for _, until in spans.values())
        every = range(max(low + 1, kept.start), min(high + 1, kept.stop))
        runs: list[Iterable[int]] = []
        count = 0
        # Entries of the tenant room are not looked up in other rooms again.
        whole, end = spans.get(TENANT_ROOM, (high, high))
        if end > whole:
            tail = every[max(whole + 1 - every.start, 0) :]
            runs.append(tail[::step])
            count = len(tail)
        for room, (after, until) in spans.items():
            offsets = self.rooms.get(room)
            if offsets is not None and (found := offsets.between(after, min(until, whole))):
                runs.append(map(offsets.items.__getitem__, found[::step]))
                count += len(found)
        if len(runs) == 1:
            return runs[0]
        # Merging costs three times as much per offset as examining every entry.
        return every[::step] if count * 3 > len(every) else _each_once(merge(*runs, reverse=newest_first))


def _each_once(offsets: Iterable[int]) -> Iterator[int]:
    last = None
    for offset in offsets:
        if offset != last:
            last = offset
            yield offset
