"""Items: the newest value of each key, from the gateway's state and the keyed events after it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from gathering_client.events import Cursor, Event, Gap, Mark, Snapshot


@dataclass(frozen=True, slots=True)
class Item:
    """An item: a key together with the rooms of its events, so `status` of circle 1 and `status` of circle 2 are two.
    `data` is the whole value; `id` and `timestamp` are those of its newest event."""

    key: str
    rooms: frozenset[str]
    data: dict[str, Any]
    id: Cursor
    timestamp: str


class Items(Collection[Item]):
    """The items of a subscription, in the order of their last change: one view that is updated; copy it with
    `list(items)`.

    `complete` is False until all items were received, and again after a gap; an incomplete view is not yielded.
    `missing` is True if the gateway's bounds have trimmed items. The size is that of the gateway's state, which is
    bounded in items and in bytes.
    """

    def __init__(self) -> None:
        self.complete = False
        self.missing = False
        self.as_of: str | None = None
        self._items: dict[tuple[str, frozenset[str]], Item] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __contains__(self, item: object) -> bool:
        return item in self._items.values()

    def get(self, key: str) -> Item | None:
        """The item with this key, or None; of several, the one that changed last."""
        return next((item for item in reversed(self._items.values()) if item.key == key), None)

    def __getitem__(self, key: str) -> Item:
        """The item with this key, as by `get`. Raises `KeyError`."""
        if (item := self.get(key)) is None:
            raise KeyError(key)
        return item

    def take(self, item: Event[Any] | Gap | Mark | Snapshot[Any]) -> bool:
        """Apply an item of the stream; returns whether the view is complete and has changed."""
        if isinstance(item, Gap):
            self._items.clear()
            self.complete = False
            self.missing = item.reason == "state_incomplete"
            return False
        if isinstance(item, Mark):
            changed, self.complete = not self.complete, True
            self.as_of = item.as_of
            return changed
        return isinstance(item, Event) and self._apply(item) and self.complete

    def _apply(self, event: Event[Any]) -> bool:
        if event.key is None:
            return False
        id = (event.key, event.rooms)
        before = self._items.pop(id, None)  # so that it comes to the end
        if event.op != "delete":
            data = dict(event.data)
            if event.op == "append" and before is not None:
                data = {
                    **before.data,
                    **{name: _appended(before.data.get(name), value) for name, value in data.items()},
                }
            self._items[id] = Item(event.key, event.rooms, data, event.id, event.timestamp)
        return True


def _appended(before: Any, value: Any) -> Any:
    return before + value if isinstance(before, str) and isinstance(value, str) else value
