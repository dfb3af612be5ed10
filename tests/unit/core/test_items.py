"""Items: what set, append and delete make of them, how large they may be, and which are forgotten first."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.drafts import draft_of
from gateway.core.frame import Frame
from gateway.core.items import MAX_ITEM_BYTES, Change, ItemStore, ItemTooLarge
from schemas.events import Op, encode_event
from schemas.rooms import DEFAULT_KINDS

ROOMS = ("circle:1", "tenant")


def body(key: str, op: Op | None, data: dict[str, Any], **fields: Any) -> bytes:
    """A keyed event as a publisher gives it."""
    return encode_event({"type": "t", "data": data, **fields, "key": key, **({} if op is None else {"op": op})})


class Story:
    """Changes of items one after the other, and what they make of them by the rule, in plain dictionaries."""

    def __init__(self, max_items: int = 100, max_bytes: int = 1 << 30) -> None:
        self.store = ItemStore(max_items, max_bytes)
        self.values: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        self.count = 0

    def change(self, key: str, op: Op, data: dict[str, Any], rooms: tuple[str, ...] = ROOMS) -> int:
        self.count += 1
        frame = Frame(body(key, op, data, event_id=f"evt_{self.count}"))
        _, before = self.store.change(self.count, rooms, frame, Change(key, op), None)
        if op == "delete":
            self.values.pop((key, rooms), None)
        elif op == "set" or (key, rooms) not in self.values:
            self.values[key, rooms] = dict(data)
        else:
            value = self.values[key, rooms]
            for name, new in data.items():
                old = value.get(name)
                value[name] = old + new if isinstance(old, str) and isinstance(new, str) else new
        return before

    def shown(self, key: str, rooms: tuple[str, ...] = ROOMS) -> Any:
        item = self.store.get(key, rooms)
        return None if item is None else json.loads(item.frame_at(item.newest, "evt_x").payload)


texts = st.text(max_size=4)
values = st.dictionaries(
    st.sampled_from(("a", "b", "c")), texts | st.integers() | st.none() | st.lists(texts), max_size=3
)
changes = st.tuples(st.sampled_from(("k", "l")), st.sampled_from(("set", "append", "append", "delete")), values)


@given(st.lists(changes, max_size=30))
def test_item_is_what_its_changes_make_of_it(steps: list[tuple[str, Op, dict[str, Any]]]) -> None:
    """A set is the whole value; an append puts text behind text and replaces everything else; a delete ends it. An item
    is shown as a set with the whole of it. Its size is that of its data as JSON, and what all take is known."""
    story = Story()
    for key, op, data in steps:
        story.change(key, op, data)
        for name in ("k", "l"):
            event = story.shown(name)
            if (name, ROOMS) not in story.values:
                assert event is None
            else:
                assert event["data"] == story.values[name, ROOMS]
                assert event.get("op") in (None, "set")
                item = story.store.get(name, ROOMS)
                assert item is not None
                assert item.size >= len(encode_event(story.values[name, ROOMS]))
                story.store.measure()
                if item.value is not None:
                    assert item.size == len(encode_event(item.value.whole()))
        assert story.store.bytes == sum(item.size for item in story.store)
        assert len(story.store) == len(story.values)


def test_item_is_named_by_its_key_and_its_rooms() -> None:
    """The same key of two circles is two items; a change tells where its item was changed before."""
    story = Story()
    other = ("circle:2", "tenant")
    assert [story.change("k", "set", {"n": 1}), story.change("k", "set", {"n": 2}, other)] == [0, 0]
    assert [story.change("k", "append", {"n": 3}), story.change("k", "delete", {}, other)] == [1, 2]
    assert story.change("k", "set", {"n": 4}, other) == 4
    assert story.shown("k")["data"] == {"n": 3}
    assert story.shown("k", other)["data"] == {"n": 4}


def test_value_of_an_older_place_has_its_id() -> None:
    """A round of catch-up that ends before the newest version gets that one's value, under the id of its own."""
    story = Story()
    story.change("k", "set", {"text": "a"})
    story.change("k", "append", {"text": "b"})
    item = story.store.get("k", ROOMS)
    assert item is not None
    frame = item.frame_at(1, "evt_1")
    assert json.loads(frame.payload) == {
        "type": "t",
        "data": {"text": "ab"},
        "key": "k",
        "op": "set",
        "event_id": "evt_1",
    }
    assert item.frame_at(1, "evt_1") is frame
    story.change("k", "append", {"text": "c"})
    assert json.loads(item.frame_at(1, "evt_1").payload)["data"] == {"text": "abc"}


def test_newest_set_is_its_own_frame() -> None:
    """The frame is encoded once, when the event is published."""
    story = Story()
    story.change("k", "set", {"text": "a"})
    item = story.store.get("k", ROOMS)
    assert item is not None
    assert item.frame_at(1, "evt_1") is item.frame


def test_append_that_makes_an_item_too_large_is_refused() -> None:
    """At 64 KiB of data, however it came about: escapes count as they are written, and what was replaced does not."""
    story = Story()
    story.change("k", "set", {"text": "é" * 10_000, "old": "x" * 30_000})
    change = Change("k", "append")
    room = MAX_ITEM_BYTES - len(encode_event({"text": "é" * 10_000, "old": "x" * 30_000}))
    story.store.require_room(ROOMS, change, body("k", "append", {"text": "y" * room}))
    with pytest.raises(ItemTooLarge):
        story.store.require_room(ROOMS, change, body("k", "append", {"text": "y" * (room + 1)}))
    with pytest.raises(ItemTooLarge):
        story.store.require_room(ROOMS, change, body("k", "append", {"text": "\n" * (room // 2 + 1)}))
    story.store.require_room(ROOMS, change, body("k", "append", {"text": "y" * (room + 20_000), "old": 0}))
    story.store.require_room(ROOMS, Change("l", "append"), body("l", "append", {"text": "y" * 60_000}))
    for _ in range(20):
        story.change("k", "append", {"text": "y" * (room // 20)})
    assert story.shown("k")["data"]["text"] == "é" * 10_000 + "y" * (room // 20 * 20)
    with pytest.raises(ItemTooLarge):
        story.store.require_room(ROOMS, change, body("k", "append", {"text": "y" * 100}))


def test_item_whose_change_is_the_oldest_goes_first() -> None:
    """By count and by bytes; those that have ended take no place."""
    story = Story(max_items=3)
    for key in "abc":
        story.change(key, "set", {})
    story.change("a", "append", {"t": "x"})
    story.change("d", "set", {})
    gone = story.store.evict_excess()
    assert gone is not None
    assert gone.key == "b"
    assert story.store.evict_excess() is None
    story.change("c", "delete", {})
    story.change("e", "set", {})
    assert story.store.evict_excess() is None
    assert [item.key for item in story.store] == ["a", "d", "e"]
    small = Story(max_bytes=2_000)
    for key in "abcdefghij":
        small.change(key, "set", {"t": "x" * 300})
        while small.store.evict_excess():
            pass
    assert [item.key for item in small.store] == ["f", "g", "h", "i", "j"]
    assert small.store.bytes <= 2_000


def test_nothing_is_evicted_for_sizes_that_are_not_exact() -> None:
    """A piece counts with its whole event until the sizes matter; then each item has that of its data."""
    limit = 10 * len(encode_event({"t": 99 * "ab", "n": 99})) + 20
    story = Story(max_bytes=limit)
    for n in range(100):
        for key in "0123456789":
            story.change(key, "append", {"t": "ab" if n else "", "n": n})
            assert story.store.evict_excess() is None
            assert story.store.bytes <= limit
    story.store.measure()
    assert story.store.bytes == limit - 20
    story.change("0", "append", {"t": 21 * "x"})
    gone = story.store.evict_excess()
    assert gone is not None
    assert gone.key == "1"
    story.change("0", "delete", {})
    story.store.measure()
    assert story.store.bytes == sum(item.size for item in story.store) == 8 * (limit - 20) // 10


def test_item_starts_over_after_its_end() -> None:
    """An append after a delete begins as a set does; what an end took is free once nothing says it any more."""
    story = Story()
    story.change("k", "set", {"t": "a"})
    story.change("k", "delete", {"why": "done"})
    assert story.store.get("k", ROOMS) is None
    assert story.change("k", "append", {"t": "b"}) == 2
    assert story.shown("k")["data"] == {"t": "b"}
    story.change("k", "delete", {})
    item = story.store.change(9, ROOMS, Frame(body("l", "delete", {})), Change("l", "delete"), None)[0]
    story.store.forget_former(item)
    assert story.change("l", "set", {}) == 0


def test_change_is_not_the_callers() -> None:
    """The data of an `append` is a copy: what its caller does to it later is not in the log."""
    data = {"t": "a"}
    fields: dict[str, Any] = {"source_agent_id": None, "timestamp": "", "key": None, "max_bytes": 1_000}
    draft = draft_of("a.b", data, route=DEFAULT_KINDS.route(None, 1, None), item_key="k", op="append", **fields)
    data["t"] = "b"
    assert draft.change == Change("k", "append", {"t": "a"})
