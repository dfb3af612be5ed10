"""Traffic of plain and keyed events in turn, and the items that it makes."""

from collections.abc import Iterable
from typing import Any, Final

from schemas.events import Op

_ITEMS: Final = 5
_OPS: Final[tuple[Op, ...]] = ("set", *(8 * ("append",)), "delete", *(2 * ("append",)))


def change_of(n: int) -> tuple[str, Op] | None:
    """The key and the operation of the event numbered `n`; None for every second one, which is plain."""
    turn, item = divmod(n // 2, _ITEMS)
    # Whenever a fault ends, some item has a text that began before it.
    return None if n % 2 else (f"item:{item}", _OPS[(turn + 5 * item) % len(_OPS)])


def data_of(n: int) -> dict[str, Any]:
    """The `data` of the event numbered `n`; that of a keyed one has a text."""
    return {"n": n} if n % 2 else {"n": n, "text": f"{n},"}


def same_item(n: int, other: int) -> bool:
    """Whether two events change one item."""
    one, another = change_of(n), change_of(other)
    return one is not None and another is not None and one[0] == another[0]


def superseded(numbers: Iterable[int], by: Iterable[int]) -> set[int]:
    """The events, of `numbers`, whose item has a later change among the events `by`."""
    newest = {change[0]: n for n in sorted(by) if (change := change_of(n))}
    return {n for n in numbers if (change := change_of(n)) and n < newest.get(change[0], 0)}


class Items:
    """The values of items after some events: number of the newest one, and text."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[int, str]] = {}

    def apply(self, key: str, op: Op, data: dict[str, Any]) -> None:
        if op == "delete":
            self.values.pop(key, None)
        else:
            before = self.values[key][1] if op == "append" and key in self.values else ""
            self.values[key] = data["n"], before + data["text"]


def items_of(numbers: Iterable[int]) -> dict[str, tuple[int, str]]:
    """The items after the events of these numbers."""
    items = Items()
    for n in sorted(numbers):
        if change := change_of(n):
            items.apply(*change, data_of(n))
    return items.values


def shown_items(frames: Iterable[dict[str, Any]], gaps: Iterable[str]) -> dict[str, tuple[int, str]]:
    """The items that a client shows after these frames; a frame of one of the types `gaps` makes it forget them."""
    items = Items()
    for frame in frames:
        if frame["type"] in gaps:
            items.values.clear()
        elif "key" in frame:
            items.apply(frame["key"], frame.get("op", "set"), frame["data"])
    return items.values
