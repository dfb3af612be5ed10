"""Items: the newest value of each key, kept from the state that the gateway gives and the keyed events that follow."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from gathering_client.events import Cursor, Event, Gap, Mark, Snapshot


@dataclass(frozen=True, slots=True)
class Item:
    """What a key names in the rooms of its events: `status` of circle 1 and `status` of circle 2 are two items. `data`
    is the whole value; `id` and `timestamp` are of its newest event."""

    key: str
    rooms: frozenset[str]
    data: dict[str, Any]
    id: Cursor
    timestamp: str


class Items(Collection[Item]):
    """The items of a subscription, in the order of their last change. One view that is brought up to date: copy what
    has to stay (`list(items)`).

    `complete` once all of them have come, and again after a loss, which begins anew; until then nobody is shown it.
    `missing` where the gateway's bounds have pushed some out of its state. Its size is that of the state, which the
    gateway bounds; the value of an item is bounded there as well.
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

    def __contains__(self, key: object) -> bool:
        return any(item.key == key or item == key for item in self)

    def __getitem__(self, key: str) -> Item:
        """The item of this key, the one that changed last if there are several. Raises `KeyError`."""
        for item in reversed(self._items.values()):
            if item.key == key:
                return item
        raise KeyError(key)

    def take(self, item: Event[Any] | Gap | Mark | Snapshot[Any]) -> bool:
        """Bring it up to date with what the stream yields; whether there is something new to show."""
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
