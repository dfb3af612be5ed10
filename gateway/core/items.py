"""Items: the state that keyed events set, append to and delete; the newest value of each (log compaction)."""

from collections import OrderedDict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from gateway.core.errors import GatewayError
from gateway.core.frame import Frame
from gateway.core.item_value import ItemValue
from schemas.codes import ErrorCode
from schemas.events import Op, decode_event, encode_event

MAX_ITEM_BYTES: Final = 64 * 1024
"""The limit of an item's `data` as JSON."""


@dataclass(slots=True)
class Change:
    """The change of the item `key` in an event's rooms. `data` is that of an `append`, where it is already decoded and
    JSON has the same values. Not frozen, since that takes twice as long to make, for every keyed event."""

    key: str
    op: Op
    data: Mapping[str, Any] | None = None


class ItemTooLarge(GatewayError):
    """An `append` would exceed the size limit of its item."""

    def __init__(self) -> None:
        message = f"an item has at most {MAX_ITEM_BYTES} bytes of data: set it again, or append to another key"
        super().__init__(ErrorCode.MESSAGE_TOO_LARGE, message, limit=MAX_ITEM_BYTES)


class Item:
    """The newest value of a key in `rooms`: the event at the offset `newest`, whose data is replaced by `value` where
    texts were appended. It is complete from the offset `base` on, that of the last `set`. It is `kept` as state,
    unless it has ended or was evicted. `size` is an upper bound of the bytes of its data; 0 where it is not kept."""

    __slots__ = ("_framed", "base", "frame", "kept", "key", "newest", "op", "rooms", "size", "value")

    def __init__(self, key: str, rooms: tuple[str, ...]) -> None:
        self.key = key
        self.rooms = rooms
        self.newest = self.base = self.size = 0
        self.op: Op = "set"
        self.kept = False
        self.frame: Frame
        self.value: ItemValue | None = None
        self._framed: tuple[int, Frame] | None = None

    def change(self, offset: int, frame: Frame, change: Change, value: dict[str, Any] | None) -> None:
        """Apply the event at `offset`; `value` is the item's resulting value, where that is known."""
        op = change.op
        if op == "append" and self.kept and value is None:
            data = change.data
            if self.value is None:
                self.value = ItemValue(self._data())
            self.value.append(decode_event(frame.payload)["data"] if data is None else data)
            self.size += len(frame.wire)
        else:
            if op != "append" or not self.kept:
                self.base = offset
            self.kept = op != "delete"
            self.value = None if value is None else ItemValue(value)
            self.size = 0 if not self.kept else len(frame.wire) if self.value is None else self.value.size()
        self.newest, self.op, self.frame, self._framed = offset, op, frame, None

    def evict(self, event_id: str) -> Frame:
        """Drop it from the state; returns its newest value as a whole `set`, as the event `event_id`."""
        self.frame = self.frame_at(self.newest, event_id)
        self.op, self.value, self._framed = "set", None, None
        self.kept, self.size = False, 0
        return self.frame

    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = decode_event(self.frame.payload)["data"]
        return data

    def require_room(self, body: bytes) -> None:
        """Raise `ItemTooLarge` where an `append`, the event `body`, would make it too large."""
        value = ItemValue(self._data()) if self.value is None else self.value
        if value.size() + len(body) > MAX_ITEM_BYTES and value.size_with(decode_event(body)["data"]) > MAX_ITEM_BYTES:
            raise ItemTooLarge

    def frame_at(self, offset: int, event_id: str) -> Frame:
        """The newest value as one whole `set`, or the `delete`, for the place and with the id of one of its versions.
        Made once for all who get it there, until the item changes."""
        if self.op != "append" and offset == self.newest:
            return self.frame
        if self._framed is None or self._framed[0] != offset:
            event = decode_event(self.frame.payload)
            event["event_id"] = event_id
            if self.op == "append":
                event["op"] = "set"
                if self.value is not None:
                    event["data"] = self.value.whole()
            self._framed = (offset, Frame(encode_event(event), event_id))
        return self._framed[1]


class ItemStore:
    """The items of one tenant. At most `max_items` have a value, of `max_bytes` in all: `evict_excess` drops the least
    recently changed one. Of former items, those that have ended or were evicted, there are as many as their newest
    versions in the window.

    `bytes` are their sizes, which are exact before an item is taken for them. All is O(1), besides what an `ItemValue`
    takes.
    """

    __slots__ = ("_former", "_inexact", "_items", "bytes", "max_bytes", "max_items")

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.bytes = 0
        self._items: OrderedDict[tuple[str, tuple[str, ...]], Item] = OrderedDict()
        self._former: dict[tuple[str, tuple[str, ...]], Item] = {}
        self._inexact: set[Item] = set()

    def __len__(self) -> int:
        """The number of items with a value."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """The items with a value, in the order of their newest changes."""
        return iter(self._items.values())

    def get(self, key: str, rooms: tuple[str, ...]) -> Item | None:
        """The item, if it has a value."""
        return self._items.get((key, rooms))

    def require_room(self, rooms: tuple[str, ...], change: Change, body: bytes) -> None:
        """Raise `ItemTooLarge` where the `change`, an `append` of the event `body`, would make the item too large."""
        item = self._items.get((change.key, rooms))
        if item is not None and item.size + len(body) > MAX_ITEM_BYTES:
            item.require_room(body)
            self._measure(item)

    def change(
        self, offset: int, rooms: tuple[str, ...], frame: Frame, change: Change, value: dict[str, Any] | None
    ) -> tuple[Item, int]:
        """Apply the event at `offset`, the newest; returns its item, and where that was changed before, or 0. `value`
        is the item's value with this change, where it is known."""
        id = (change.key, rooms)
        known = item = self._items.get(id)
        if item is None:
            item = self._former.pop(id, None) or Item(change.key, rooms)
        before, size = item.newest, item.size
        item.change(offset, frame, change, value)
        self.bytes += item.size - size
        if change.op == "append":
            self._inexact.add(item)
        elif self._inexact:
            self._inexact.discard(item)
        if change.op == "delete":
            self._items.pop(id, None)
            self._former[id] = item
        elif known is None:
            self._items[id] = item
        else:
            self._items.move_to_end(id)
        return item, before

    def measure(self) -> None:
        """Make all sizes exact. O(data of the items that are appended to)."""
        while self._inexact:
            self._measure(next(iter(self._inexact)))

    def _measure(self, item: Item) -> None:
        self._inexact.discard(item)
        if item.value is not None:
            size = item.value.size()
            self.bytes += size - item.size
            item.size = size

    def evict_excess(self) -> Item | None:
        """Evict the least recently changed item and return it; None where all are within the bounds."""
        while self.bytes > self.max_bytes and self._inexact:
            self._measure(next(iter(self._inexact)))
        if len(self._items) <= self.max_items and self.bytes <= self.max_bytes:
            return None
        item = next(iter(self._items.values()))
        self._forget(item)
        return item

    def _forget(self, item: Item) -> None:
        del self._items[item.key, item.rooms]
        self._inexact.discard(item)
        self.bytes -= item.size

    def evict_before(self, offset: int) -> Item | None:
        """Evict the least recently changed item, if that was before `offset`, and return it; else None."""
        item = next(iter(self._items.values()), None)
        if item is None or item.newest >= offset:
            return None
        self._forget(item)
        return item

    def remove_except(self, until: int, offsets: Container[int]) -> list[Item]:
        """Remove the items whose newest change is at `until` or before, and not one of `offsets`; returns them.
        O(items up to there)."""
        early = takewhile(lambda item: item.newest <= until, self._items.values())
        others = [item for item in early if item.newest not in offsets]
        for item in others:
            self._forget(item)
        return others

    def keep_former(self, item: Item) -> None:
        """Remember an item that was evicted, whose newest version is in the window: the next one supersedes it."""
        self._former[item.key, item.rooms] = item

    def forget_former(self, item: Item) -> None:
        """Forget a former item, whose newest version is trimmed."""
        if self._former.get((item.key, item.rooms)) is item:
            del self._former[item.key, item.rooms]
