"""The contract suite of a log's items: which keyed events it keeps, and for how long."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.core.cursor import Position
from gateway.core.errors import IdempotencyConflict
from gateway.core.items import Change, ItemTooLarge
from gateway.core.log import Draft
from gateway.core.window import Bounds, Window
from gateway.testing.helpers import DRAFT_AT, draft, is_duplicate
from gateway.testing.log_under_test import LogSuite, LogUnderTest
from schemas.events import Op, encode_event
from schemas.rooms import DEFAULT_KINDS, TENANT_ROOM

_ROOMS = ("circle:1", "circle:2", "circle:3", TENANT_ROOM)


def keyed_draft(
    item: str, op: Op, data: dict[str, Any] | None = None, *, circle: int = 1, key: str | None = None
) -> Draft:
    """A keyed event of a circle; `key` is its idempotency key."""
    fields = {"type": "run.output", "data": data or {}, "circle_id": circle, "key": item, "op": op}
    rooms = DEFAULT_KINDS.route(None, circle, None).rooms
    return Draft(rooms, encode_event(fields), DRAFT_AT, key, change=Change(item, op))


def kept_of(window: Window) -> dict[int, tuple[str, str | None, dict[str, Any]]]:
    """The events that a client catches up with, by offset: operation, key and data."""
    kept = {}
    for offset in window.kept(0, window.head):
        entry = window[offset]
        frame = entry.frame if entry.item is None else entry.item.frame_at(offset, entry.event_id)
        event = json.loads(frame.payload)
        assert event["event_id"] == entry.event_id == window.cursors.encode(window.epoch, offset)
        kept[offset] = event.get("op", "set"), event.get("key"), event["data"]
    return kept


@dataclass(slots=True)
class _Kept:
    """An event that the model keeps; `state` unless its item was evicted."""

    rooms: tuple[str, ...]
    item: str | None
    op: Op
    data: dict[str, Any]
    state: bool = True


class ItemStory:
    """Plain and keyed events at random in the log of `acme`, and what is kept of them, by a model: a dictionary."""

    def __init__(self, subject: LogUnderTest, number: int, bounds: Bounds) -> None:
        self.random = Random(number)  # noqa: S311 - the same each time
        self._subject = subject
        self._bounds = bounds
        self._count = 0
        self._first = 1
        self._kept: dict[int, _Kept] = {}
        self._lost = dict.fromkeys(_ROOMS, 0)
        self._evicted = dict.fromkeys(_ROOMS, 0)

    async def go_on(self) -> None:
        for _ in range(self.random.randrange(1, 6)):
            circle = self.random.choice((1, 1, 1, 2, 3))
            data: dict[str, Any] = {"text": f"<{self._count}>"}
            if self.random.random() < 0.2:
                data = self.random.choice(({"text": 1}, {"more": "é\n"}, {"text": "a", "more": None}, {}, {"n": 1.5}))
            if self.random.random() < 0.3:
                await self._subject.log.append("acme", draft(self._count, circle=circle))
                self._append(_Kept((f"circle:{circle}", TENANT_ROOM), None, "set", {"n": self._count, "filler": ""}))
            else:
                item = self.random.choice("aaabbcdefgh")
                op: Op = self.random.choice(("set", "append", "append", "append", "delete"))
                await self._subject.log.append("acme", keyed_draft(item, op, data, circle=circle))
                self._append(_Kept((f"circle:{circle}", TENANT_ROOM), item, op, data))

    def _append(self, made: _Kept) -> None:
        self._count += 1
        before = [o for o, e in self._kept.items() if made.item and (e.item, e.rooms) == (made.item, made.rooms)]
        for offset in before:
            old = self._kept.pop(offset)
            if made.op == "append" and old.op != "delete" and old.state:
                value = dict(old.data)
                for name, new in made.data.items():
                    text = isinstance(new, str) and isinstance(value.get(name), str)
                    value[name] = value[name] + new if text else new
                made.data = value
        if made.op == "append":
            made.op = "set"
        self._kept[self._count] = made
        while len(items := self._items()) > self._bounds.max_items:
            oldest = self._kept[min(items)]
            for room in oldest.rooms:
                self._evicted[room] = max(min(items), self._evicted[room])
            if min(items) < self._first:
                self._lose(min(items))
            else:
                oldest.state = False
        while len(window := [o for o in self._kept if o >= self._first]) > self._bounds.max_events:
            self._first = min(window) + 1
            if min(window) not in self._items():
                self._lose(min(window))

    def _items(self) -> list[int]:
        """The places of the items that are state."""
        return [o for o, e in self._kept.items() if e.item and e.op != "delete" and e.state]

    def _lose(self, offset: int) -> None:
        for room in self._kept.pop(offset).rooms:
            self._lost[room] = max(offset, self._lost[room])

    def judge(self, window: Window) -> None:
        """Compare what the window has, and what it reports as lost, with the model."""
        assert window.head == self._count
        kept = kept_of(window)
        assert {offset: (op, data) for offset, (op, _, data) in kept.items()} == {
            offset: (event.op, event.data) for offset, event in self._kept.items()
        }
        state = {offset for offset in kept if (item := window[offset].item) is not None and item.kept}
        assert state == set(self._items())
        for room in _ROOMS:
            reported = [window.gap(Position(window.epoch, o), [room]) for o in range(window.head + 1)]
            lost = self._lost[room]
            assert reported == ["history_trimmed"] * lost + [None] * (self._count + 1 - lost), room
            assert window.evicted.of(room) == self._evicted[room], room


ITEM_BOUNDS = Bounds(max_events=12, max_items=6)


class LogItemsContract(LogSuite):
    """Keyed events: the part of `LogContract` that is about items."""

    async def test_newest_version_of_each_item_is_kept(self) -> None:
        """Beyond the window too, with its whole value; superseded versions take no place, and no room lacks them."""
        for number in range(6):
            async with self.opened(ITEM_BOUNDS) as subject:
                story = ItemStory(subject, number, ITEM_BOUNDS)
                for _ in range(60):
                    await story.go_on()
                    story.judge(subject.log.window("acme"))

    async def test_entry_is_the_keyed_event_as_published(self) -> None:
        """Listeners get each keyed event as it was published, an `append` as its piece."""
        async with self.opened() as subject:
            for op, text in (("set", "a"), ("append", "b"), ("delete", "c"), ("append", "d")):
                await subject.log.append("acme", keyed_draft("run", op, {"text": text}))  # type: ignore[arg-type]
            events = [json.loads(entry.frame.payload) for _, entry in subject.delivered]
            assert [(event["op"], event["data"]["text"], event["key"]) for event in events] == [
                ("set", "a", "run"),
                ("append", "b", "run"),
                ("delete", "c", "run"),
                ("append", "d", "run"),
            ]
            assert [entry.change and entry.change.op for _, entry in subject.delivered] == [
                "set",
                "append",
                "delete",
                "append",
            ]

    async def test_text_grows_piece_by_piece(self) -> None:
        """The whole text of many appends is kept, whatever characters it has; other members replace."""
        pieces = ["é", '"', "\\", "\n", "\u2028", "\U0001f600", "plain ", "{", "]", "x" * 50]
        async with self.opened(Bounds(max_events=3)) as subject:
            await subject.log.append("acme", keyed_draft("run", "set", {"text": "", "n": 0, "deep": {"a": [1]}}))
            whole = ""
            for n in range(400):
                piece = pieces[n % len(pieces)]
                whole += piece
                data: dict[str, Any] = {"text": piece, "n": n}
                if n == 200:
                    data["late"] = "x"
                if n > 200:
                    data["late"] = "y"
                await subject.log.append("acme", keyed_draft("run", "append", data))
            for n in range(5):
                await subject.log.append("acme", draft(n, circle=1))
            window = subject.log.window("acme")
            kept = kept_of(window)
            assert len(kept) == 4
            value = {"text": whole, "n": 399, "deep": {"a": [1]}, "late": "x" + "y" * 199}
            assert kept[401] == ("set", "run", value)
            assert window.gap(Position(window.epoch, 0), ["circle:1"]) == "history_trimmed"
            assert window.gap(Position(window.epoch, 403), ["circle:1"]) is None

    async def test_quiet_room_outlasts_a_busy_item(self) -> None:
        """However often an item changes, it takes one place: the rest of the window stays."""
        async with self.opened(Bounds(max_events=20)) as subject:
            for n in range(10):
                await subject.log.append("acme", draft(n, circle=2))
            for n in range(100):
                await subject.log.append("acme", keyed_draft("run", "append", {"text": f"{n},"}))
            window = subject.log.window("acme")
            assert len(window) == 11
            assert window.gap(Position(window.epoch, 0), ["circle:1", "circle:2", TENANT_ROOM]) is None

    async def test_append_that_makes_an_item_too_large_is_refused(self) -> None:
        """An append beyond the limit raises `ItemTooLarge`; its idempotency key stays free. A set begins at zero."""
        async with self.opened() as subject:
            await subject.log.append("acme", keyed_draft("run", "set", {"text": "", "old": "x" * 20_000}))
            for _ in range(9):
                await subject.log.append("acme", keyed_draft("run", "append", {"text": "y" * 5_000}))
            too_much = keyed_draft("run", "append", {"text": "z" * 1_000}, key="k")
            for _ in range(2):
                try:
                    await subject.log.append("acme", too_much)
                except ItemTooLarge:
                    pass
                else:
                    raise AssertionError("an item was made too large")
            assert subject.log.window("acme").head == 10
            # What is replaced makes room.
            await subject.log.append("acme", keyed_draft("run", "append", {"text": "z" * 19_000, "old": 1}, key="k"))
            await subject.log.append("acme", keyed_draft("run", "set", {"text": "new"}))
            await subject.log.append("acme", keyed_draft("run", "append", {"text": "er"}))
            assert kept_of(subject.log.window("acme")) == {13: ("set", "run", {"text": "newer"})}

    async def test_duplicate_of_a_change_changes_nothing(self) -> None:
        """A piece that is sent again is appended once, also when its item has no room for it any more."""
        async with self.opened() as subject:
            await subject.log.append("acme", keyed_draft("run", "set", {"text": "x" * 40_000}))
            piece = keyed_draft("run", "append", {"text": "y" * 20_000}, key="k")
            first = await subject.log.append("acme", piece)
            assert is_duplicate(await subject.log.append("acme", piece), first)
            try:
                await subject.log.append("acme", keyed_draft("run", "append", {"text": "y"}, key="k"))
            except IdempotencyConflict:
                pass
            else:
                raise AssertionError("no conflict")
            text = kept_of(subject.log.window("acme"))[2][2]["text"]
            assert text == "x" * 40_000 + "y" * 20_000

    async def test_state_is_bounded_by_bytes(self) -> None:
        """The item whose change is the oldest goes first; its room then lacks it, and reports that."""
        async with self.opened(Bounds(max_events=2, max_item_bytes=20_000)) as subject:
            for n in range(1, 9):
                await subject.log.append("acme", keyed_draft(f"run:{n}", "set", {"text": "x" * 4_000}, circle=n))
            for n in range(2):
                await subject.log.append("acme", draft(n))
            window = subject.log.window("acme")
            kept = [key for _, key, _ in kept_of(window).values() if key]
            assert kept == [f"run:{n}" for n in range(9 - len(kept), 9)]
            assert 3 <= len(kept) <= 5
            for n in range(1, 9):
                gone = f"run:{n}" not in kept
                assert (window.gap(Position(window.epoch, 0), [f"circle:{n}"]) is not None) == gone
                assert (window.evicted.of(f"circle:{n}") > 0) == gone

    async def test_item_outlasts_the_age_of_its_entry(self) -> None:
        """Old entries are dropped, but not the newest version of an item; the end of an item is no value."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            await subject.log.append("acme", keyed_draft("run", "set", {"text": "a"}))
            await subject.log.append("acme", keyed_draft("run", "append", {"text": "b"}))
            await subject.log.append("acme", keyed_draft("other", "delete", circle=2))
            await subject.pass_time(120.0)
            subject.log.sweep()
            window = subject.log.window("acme")
            assert kept_of(window) == {2: ("set", "run", {"text": "ab"})}
            assert len(window) == 0
            assert window.gap(Position(window.epoch, 0), ["circle:1"]) is None
            assert window.gap(Position(window.epoch, 2), ["circle:2"]) == "history_trimmed"
            await subject.log.append("acme", keyed_draft("run", "append", {"text": "c"}))
            assert kept_of(window) == {4: ("set", "run", {"text": "abc"})}
