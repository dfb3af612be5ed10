"""The last trimmed entry of each room: the basis of exact recovery by room."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from schemas.rooms import TENANT_ROOM


class TrimmedRooms:
    """The offset of the last trimmed entry of each room, for at most `limit` rooms, without the tenant room.

    Beyond the limit the room with the oldest offset is forgotten. `floor` is the highest forgotten offset: a room that
    is not remembered counts as trimmed there, so that it is never reported complete when it is not. `record` is O(rooms
    of the entry), the rest O(1); memory is O(limit).
    """

    __slots__ = ("_last", "_limit", "floor")

    def __init__(self, limit: int, floor: int = 0, last: Mapping[str, int] | None = None) -> None:
        """`last` is in ascending order of the offsets."""
        self.floor = floor
        self._limit = limit
        # Ordered by offset. A plain dict scans its deleted slots before the first key.
        self._last: OrderedDict[str, int] = OrderedDict()
        for room, offset in (last or {}).items():
            self.record((room,), offset)

    def __len__(self) -> int:
        return len(self._last)

    def record(self, rooms: Iterable[str], offset: int) -> None:
        """Record that an entry of `rooms` was trimmed, later in the log than all before it."""
        last = self._last
        for room in rooms:
            if room != TENANT_ROOM:
                last[room] = offset
                last.move_to_end(room)
        while len(last) > self._limit:
            self.floor = max(self.floor, last.popitem(last=False)[1])

    def of(self, room: str) -> int:
        """The offset of the room's last trimmed entry, 0 where there is none; a higher one where it is forgotten. Not
        for the tenant room, which loses every entry that is trimmed."""
        return max(self._last.get(room, 0), self.floor)
