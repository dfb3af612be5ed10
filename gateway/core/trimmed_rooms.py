"""The last lost entry of each room: the basis of exact recovery by room."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from schemas.rooms import TENANT_ROOM


class TrimmedRooms:
    """The offset of the last lost entry of each room, for at most `limit` rooms besides the tenant room.

    Beyond the limit the room whose loss was recorded first is forgotten. `floor` is the highest forgotten offset: a
    room that is not remembered counts as having lost an entry there, so that it is never reported complete when it is
    not. `newest` is the highest offset of all. `record` is O(rooms of the entry), the rest O(1); memory is O(limit).
    """

    __slots__ = ("_last", "_limit", "floor", "newest")

    def __init__(self, limit: int, floor: int = 0, last: Mapping[str, int] | None = None) -> None:
        """`last` is in ascending order of the offsets."""
        self.floor = self.newest = floor
        self._limit = limit
        # Ordered by offset. A plain dict scans its deleted slots before the first key.
        self._last: OrderedDict[str, int] = OrderedDict()
        for room, offset in (last or {}).items():
            self.record((room,), offset)

    def __len__(self) -> int:
        return len(self._last)

    def record(self, rooms: Iterable[str], offset: int) -> None:
        """Record that an entry of `rooms` was lost. It is usually later than all recorded ones; an item evicted from
        the state may be earlier."""
        self.newest = max(self.newest, offset)
        last = self._last
        for room in rooms:
            if room != TENANT_ROOM and offset > last.get(room, 0):
                last[room] = offset
                last.move_to_end(room)
        while len(last) > self._limit:
            self.floor = max(self.floor, last.popitem(last=False)[1])

    def merge(self, other: "TrimmedRooms") -> None:
        """Add the losses that another one remembers. O(rooms of the other)."""
        for room, offset in other._last.items():
            self.record((room,), offset)
        self.floor = max(self.floor, other.floor)
        self.newest = max(self.newest, other.newest)

    def of(self, room: str) -> int:
        """The offset of the room's last lost entry, 0 where there is none; a higher one where it is forgotten."""
        return self.newest if room == TENANT_ROOM else max(self._last.get(room, 0), self.floor)
