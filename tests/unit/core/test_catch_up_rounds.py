"""Rounds of catch-up: what a client that is slower than its items change gets of them."""

import json
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.catch_up import Progress, send_next_batch, start_replay
from gateway.core.cursor import Cursors
from gateway.core.frame import DeliveryCount, Frame
from gateway.core.items import Change
from gateway.core.manager import ConnectionManager
from gateway.core.window import Bounds, Entry, Window
from schemas.events import Op, encode_event
from tests.support.entries import EPOCH, connection
from tests.support.transports import FakeTransport

ROOMS = ("circle:1", "tenant")


class Keyed:
    """A window of keyed and plain events; each event's id is its offset."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.window = Window(EPOCH, Cursors((b"k" * 32,), "acme"), bounds or Bounds())
        self.values: dict[str, str] = {}
        self.versions: dict[str, list[int]] = {}
        self.plain: list[int] = []

    def publish(self, key: str | None, op: Op = "set", rooms: tuple[str, ...] = ROOMS) -> int:
        """An event whose text is its offset in brackets."""
        offset = self.window.head + 1
        text = f"[{offset}]"
        fields = {"type": "t", "data": {"text": text}, "event_id": str(offset)}
        if key is None:
            self.plain.append(offset)
        else:
            self.versions.setdefault(key, []).append(offset)
            fields |= {"key": key, "op": op}
            self.values[key] = self.values.get(key, "") + text if op == "append" else text
            if op == "delete":
                del self.values[key]
        change = None if key is None else Change(key, op)
        self.window.append(Entry(offset, str(offset), rooms, Frame(encode_event(fields)), 0.0, None, change))
        return offset

    def places(self, after: int, horizon: int) -> list[int]:
        """The events of a round by the rule, each at its place."""
        newest = [max((o for o in offsets if o <= horizon), default=0) for offsets in self.versions.values()]
        return sorted(o for o in [*newest, *self.plain] if after < o <= horizon)


class Follower:
    """A client that shows the newest of each item, by what it gets."""

    def __init__(self, keyed: Keyed, *rooms: str) -> None:
        self.keyed = keyed
        self.manager = ConnectionManager()
        self.connection, self.sheet = connection(self.manager, dict.fromkeys(rooms, 0))
        self.shown: dict[str, str] = {}
        self.seen: list[tuple[int, str | None]] = []
        self._read = 0

    def step(self, count: int) -> Progress:
        """At most so many events, all of them small."""
        with patch("gateway.core.catch_up.BATCH_BYTES", count * 60):
            progress = send_next_batch(self.connection, self.keyed.window, 0.0, DeliveryCount())
        self.read()
        return progress

    def read(self) -> None:
        for payload in self.sheet.payloads[self._read :]:
            event = json.loads(payload)
            key = event.get("key")
            self.seen.append((int(event["event_id"]), key))
            assert event.get("op") != "append", "catch-up brings whole values"
            if event.get("op") == "delete":
                self.shown.pop(key, None)
            elif key is not None:
                self.shown[key] = event["data"]["text"]
        self._read = len(self.sheet.payloads)

    def end(self) -> None:
        """The end of its connection, wherever it is."""
        self.manager.remove(self.connection)

    def finish(self) -> None:
        for _ in range(10_000):
            if self.step(10) is Progress.LIVE:
                return
        raise AssertionError("it never comes to an end")


keys = st.sampled_from((None, "a", "b", "c", "d"))
ops: st.SearchStrategy[Op] = st.sampled_from(("set", "append", "append", "delete"))
Step = tuple[str | None, Op] | int | bool
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(keys, ops) | st.tuples(keys, ops) | st.integers(1, 4) | st.booleans(), max_size=80
)


def _crowd(keyed: Keyed, others: list[Follower], ends: bool) -> None:
    """Forty clients that request the state one after the other, and begin to read it, or are gone at once."""
    for n in range(40):
        keyed.publish("abcd"[n % 4])
        other = Follower(keyed)
        start_replay(other.connection, keyed.window, ["circle:1"], keyed.window.head, state=True)
        other.step(1)
        if ends:
            other.end()
        elif not other.connection.live:
            others.append(other)


@given(steps.filter(lambda script: sum(isinstance(step, bool) for step in script) <= 2), st.integers(1, 3))
def test_rounds_bring_what_the_rule_says(script: list[Step], slow: int) -> None:
    """Each round ends at its horizon, however many other clients come and go, and brings every item once, at the place
    of its newest version by then, and every plain event; in the end the newest of each is shown, and nothing else is
    kept."""
    keyed = Keyed()
    client = Follower(keyed, "circle:1")
    client.connection.fall_behind(0)
    others: list[Follower] = []
    began = end = 0
    for step in script:
        if isinstance(step, bool):
            _crowd(keyed, others, ends=step)
        elif isinstance(step, int):
            for _ in range(step):
                if not client.connection.horizon and client.connection.offset != keyed.window.head:
                    began, newest = client.connection.offset or 0, keyed.window.horizons.newest
                    end = newest if newest > began else keyed.window.head
                client.step(slow)
                if client.connection.live:
                    client.connection.fall_behind(keyed.window.head)
                if not client.connection.horizon and end:
                    got = [offset for offset, _ in client.seen if began < offset <= end]
                    assert got == keyed.places(began, end)
        else:
            keyed.publish(*step)
    client.finish()
    assert [offset for offset, _ in client.seen if began < offset <= end] == keyed.places(began, end)
    for other in others:
        other.end()
    keyed.window.sweep(0.0)
    assert client.shown == keyed.values
    assert all(a < b for (a, _), (b, _) in pairwise(client.seen))
    kept = {offset for offset in range(1, keyed.window.head + 1) if list(keyed.window.kept(offset - 1, offset))}
    assert kept == {*keyed.plain, *(offsets[-1] for offsets in keyed.versions.values())}


def test_no_item_starves() -> None:
    """100 items that change 10 times a second each, to a client of 20 events a second: it gets them evenly, each within
    two passes of the others, though nearly all versions are gone when it comes to them."""
    keyed = Keyed(Bounds(max_events=150))
    client = Follower(keyed, "circle:1")
    names = [f"gauge:{n}" for n in range(100)]
    client.connection.fall_behind(0)
    for second in range(60):
        for n in range(1_000):
            # Some always right before the others: those come last in each round.
            keyed.publish(names[n * 7 % 100 if second % 2 else n % 100])
            if n % 50 == 49:
                client.step(1)
    counts = [sum(key == name for _, key in client.seen) for name in names]
    assert sum(counts) >= 60 * 20
    assert max(counts) - min(counts) <= 2
    assert min(counts) >= 60 * 20 // 100 - 2
    assert len(keyed.window) <= 150


def test_places_that_rounds_need_are_few() -> None:
    """Clients that never go on cost no more than twice as much as the entries; those whose places had to go get every
    item all the same, and the slowest has the round that it began."""
    keyed = Keyed(Bounds(max_events=200))
    clients = []
    for n in range(3_000):
        keyed.publish(f"gauge:{n % 100}")
        if n > 100 and n % 20 == 0:
            client = Follower(keyed)
            start_replay(client.connection, keyed.window, ["circle:1"], 0)
            client.manager.join(client.connection, "circle:1", keyed.window.head)
            client.step(1)
            clients.append(client)
    slowest, end = clients[0], 121
    kept = sum(1 for _ in keyed.window.kept(0, keyed.window.head))
    assert kept <= 100 + 2 * 200
    while slowest.connection.horizon:
        slowest.step(1)
    assert [offset for offset, _ in slowest.seen] == keyed.places(0, end)
    for client in clients:
        client.finish()
        assert client.shown == keyed.values
    keyed.publish("gauge:1")
    assert sum(1 for _ in keyed.window.kept(0, keyed.window.head)) == 100


def test_round_ends_with_its_connection() -> None:
    """Clients that are gone leave nothing behind: no horizon, and no place."""
    keyed = Keyed()
    for n in range(1_000):
        keyed.publish(f"gauge:{n % 10}")
        client = Follower(keyed, "circle:1")
        client.connection.fall_behind(0)
        client.step(1)
        client.end()
        assert len(keyed.window.horizons) == 0
    keyed.publish("gauge:0")
    keyed.window.sweep(0.0)
    assert sum(1 for _ in keyed.window.kept(0, keyed.window.head)) == 10


def test_state_is_each_item_once_at_the_place_of_its_last_change() -> None:
    """The events of `since` or `history` come between them; an item that has ended is left out."""
    keyed = Keyed(Bounds(max_events=3))
    script: list[tuple[str | None, Op]] = [("a", "set"), ("b", "set"), (None, "set"), ("a", "append")]
    for key, op in (*script, ("c", "set"), ("c", "delete")):
        keyed.publish(key, op)
    client = Follower(keyed)
    assert start_replay(client.connection, keyed.window, ["circle:1"], 6, state=True)[:2] == (2, 2)
    client.finish()
    assert client.seen == [(2, "b"), (4, "a")]
    assert client.shown == {"a": "[1][4]", "b": "[2]"}
    other = Follower(keyed)
    assert start_replay(other.connection, keyed.window, ["circle:1"], 3)[:2] == (2, 2)
    other.finish()
    assert other.seen == [(4, "a"), (6, "c")]


changes = st.lists(st.tuples(keys, ops, st.sampled_from(("circle:1", "circle:1", "circle:2"))), max_size=8)


@settings(max_examples=300)
@given(changes, st.lists(changes | st.integers(1, 3), max_size=6))
def test_state_comes_as_announced_unless_items_are_evicted(
    before: list[tuple[str | None, Op, str]], script: list[list[tuple[str | None, Op, str]] | int]
) -> None:
    """The reply's number of items comes, also where they change or end meanwhile; else a gap is reported. None is
    reported unless one of them was evicted before it came."""
    keyed = Keyed(Bounds(max_events=8, max_items=3))
    state: dict[tuple[str, str], int] = {}
    evicted: set[int] = set()

    def publish(key: str | None, op: Op, room: str) -> None:
        offset = keyed.publish(key if key is None else f"{key}{room}", op, (room, "tenant"))
        if key is None:
            return
        state.pop((key, room), None)
        if op != "delete":
            state[key, room] = offset
        if len(state) > 3:
            oldest = next(iter(state))
            evicted.add(state.pop(oldest))

    for change in before:
        publish(*change)
    client = Follower(keyed)
    head = keyed.window.head
    announced = start_replay(client.connection, keyed.window, ["circle:1"], head, state=True)
    assert announced.items == sum(room == "circle:1" for _, room in state)
    for step in [*script, 10]:
        progress = Progress.MORE
        for change in step if isinstance(step, list) else ():
            publish(*change)
        if isinstance(step, int):
            progress = client.step(step)
        if progress is Progress.GAP:
            assert any(announced.items and offset > (client.seen or [(0, None)])[-1][0] for offset in evicted)
            return
    assert len([offset for offset, _ in client.seen if offset <= head]) == announced.items


def test_text_that_was_seen_in_part_comes_as_a_whole() -> None:
    """A client that has got the last pieces by another room gets all of the text with this one."""
    keyed = Keyed()
    both = ("circle:1", "project:1", "tenant")
    keyed.publish("a", "set", both)
    keyed.publish("a", "append", both)
    keyed.publish("b", "append", both)
    manager = ConnectionManager()
    one, sheet = connection(manager, {"project:1": 1})
    assert start_replay(one, keyed.window, ["circle:1"], 0)[0] == 1
    while send_next_batch(one, keyed.window, 0.0, DeliveryCount()) is not Progress.LIVE:
        pass
    assert [(event["event_id"], event["data"]["text"]) for event in _events(sheet)] == [("2", "[1][2]")]


def _events(sheet: FakeTransport) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in sheet.payloads]


def _state_replay(keyed: Keyed, *rooms: str) -> Follower:
    """A client to which the state of `rooms` is owed, and of it one item was written."""
    client = Follower(keyed)
    owed = start_replay(client.connection, keyed.window, list(rooms), keyed.window.head, state=True)
    assert owed.items > 1
    client.step(1)
    return client


def test_item_evicted_during_a_state_replay_is_a_gap() -> None:
    """The reply announced it: a client that gets fewer items gets a gap, though the last version is in the window."""
    keyed = Keyed(Bounds(max_items=4))
    for key in "abcd":
        keyed.publish(key)
    client = _state_replay(keyed, "circle:1")
    for key in ("a", "b", "e", "f"):
        keyed.publish(key, rooms=("circle:1", "tenant") if key in "ab" else ("circle:2", "tenant"))
    assert client.step(10) is Progress.GAP


def test_item_deleted_during_a_state_replay_is_no_gap() -> None:
    """The rest of the state comes, and then the end of the item; trimmed meanwhile is only another room."""
    keyed = Keyed(Bounds(max_events=8))
    for _ in range(4):
        keyed.publish(None, rooms=("circle:9", "tenant"))
    for key in "abcd":
        keyed.publish(key)
    client = _state_replay(keyed, "circle:1")
    keyed.publish("c", "delete")
    for _ in range(3):
        keyed.publish(None, rooms=("circle:9", "tenant"))
    client.finish()
    assert client.shown == keyed.values
    assert [key for _, key in client.seen][:4] == ["a", "b", "c", "d"]


def test_item_evicted_in_the_window_is_superseded_by_its_next_version() -> None:
    """A client that has the new value gets no older one after it."""
    keyed = Keyed(Bounds(max_items=2))
    old = keyed.publish("x")
    for key in "ab":
        keyed.publish(key)
    assert list(keyed.window.kept(old - 1, old)), "it is in the window"
    client = Follower(keyed, "tenant")
    client.connection.rooms["tenant"] = keyed.window.head
    keyed.publish("x")
    start_replay(client.connection, keyed.window, ["circle:1"], 0)
    client.finish()
    assert old not in [offset for offset, _ in client.seen]
    assert len(keyed.window) == 3


def test_text_evicted_in_the_window_comes_as_a_whole() -> None:
    """To a client that another room has brought the later pieces of."""
    keyed = Keyed(Bounds(max_items=2))
    keyed.publish("x")
    client = Follower(keyed, "tenant")
    client.connection.rooms["tenant"] = keyed.window.head
    piece = keyed.publish("x", "append")
    for key in "ab":
        keyed.publish(key)
    start_replay(client.connection, keyed.window, ["circle:1"], 0)
    client.finish()
    assert client.shown["x"] == "[1][2]"
    assert (piece, "x") in client.seen


def test_item_evicted_in_the_window_is_no_state() -> None:
    """An event of the window until it is trimmed; a piece of text that follows begins a new value."""
    keyed = Keyed(Bounds(max_events=4, max_items=2))
    keyed.publish("x")
    for key in "ab":
        keyed.publish(key)
    assert start_replay(Follower(keyed).connection, keyed.window, ["circle:1"], 3, state=True).items == 2
    assert start_replay(Follower(keyed).connection, keyed.window, ["circle:1"], 0).items == 3
    piece = keyed.publish("x", "append")
    client = Follower(keyed)
    start_replay(client.connection, keyed.window, ["circle:1"], 0)
    client.finish()
    assert client.shown["x"] == f"[{piece}]"
    keyed.publish("b")
    keyed.publish("a")
    for _ in range(4):
        keyed.publish(None)
    assert keyed.window.trimmed.of("circle:1") == piece
    assert len(keyed.window) == 4
