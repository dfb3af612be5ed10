"""Items: sets, appends, deletes, and the beginning again after a gap."""

from typing import Any

import pytest

from gathering_client.events import Event, Gap, Mark
from gathering_client.items import Items
from tests.unit.clients.python.gathering_client.driver import event_frame


def keyed(n: int, key: str, data: dict[str, Any], op: str | None = None, circle: int | str = 1) -> Event[Any]:
    return Event.of(event_frame(n, key=key, data=data, circle_id=circle, **({} if op is None else {"op": op})))


@pytest.fixture
def items() -> Items:
    """A view whose state has been received, with nothing in it."""
    made = Items()
    assert made.take(Mark("2026-01-15T10:30:00Z"))
    return made


def test_it_is_shown_once_it_is_complete() -> None:
    """The view is shown again after each change of an item; an event without a key is not a change."""
    items = Items()
    assert not items.take(keyed(1, "k", {"v": 1}))
    assert not items.complete
    assert items.take(Mark("2026-01-15T10:30:00Z"))
    assert (items.complete, items.as_of, len(items)) == (True, "2026-01-15T10:30:00Z", 1)
    assert not items.take(Mark("2026-01-15T10:31:00Z"))
    assert items.take(keyed(2, "k", {"v": 2}))
    assert items["k"].data == {"v": 2}
    assert not items.take(Event.of(event_frame(3)))


def test_an_append_extends_the_strings_and_replaces_the_rest(items: Items) -> None:
    """The rule of the gateway; without an item an append is a set."""
    items.take(keyed(1, "k", {"text": "Hel", "n": 1}, "append"))
    items.take(keyed(2, "k", {"text": "lo", "n": 2, "new": "x"}, "append"))
    assert items["k"].data == {"text": "Hello", "n": 2, "new": "x"}
    items.take(keyed(3, "k", {"text": "Hello!"}, "set"))
    assert items["k"].data == {"text": "Hello!"}
    items.take(keyed(4, "k", {"reason": "done"}, "delete"))
    assert items.get("k") is None
    items.take(keyed(5, "k", {"text": "a"}, "append"))
    assert items["k"].data == {"text": "a"}


def test_an_item_is_a_key_in_its_rooms(items: Items) -> None:
    """1 and "1" are one id; of several items with one key, the index gives the one that changed last."""
    items.take(keyed(1, "k", {"v": "one"}, circle=1))
    items.take(keyed(2, "k", {"v": "two"}, circle=2))
    assert [item.data["v"] for item in items] == ["one", "two"]
    items.take(keyed(3, "k", {"v": "three"}, circle="1"))
    assert [item.data["v"] for item in items] == ["two", "three"]
    assert items["k"].data["v"] == "three"
    with pytest.raises(KeyError):
        items["other"]


def test_a_gap_begins_the_view_again(items: Items) -> None:
    """The view is not shown until the state was received again; trimmed items are reported."""
    items.take(keyed(1, "k", {"v": 1}))
    assert not items.take(Gap("log_reset", None))
    assert (len(items), items.complete, items.missing) == (0, False, False)
    assert not items.take(Gap("state_incomplete", None))
    assert items.missing
    assert not items.take(keyed(2, "l", {"v": 1}))
    assert items.take(Mark(None))
    assert [item.key for item in items] == ["l"]


def test_the_values_are_not_shared_with_the_events(items: Items) -> None:
    event = keyed(1, "k", {"text": "a"})
    items.take(event)
    items.take(keyed(2, "k", {"text": "b"}, "append"))
    assert event.data == {"text": "a"}
