"""A client that shows the newest value of each item of its rooms, by the client's rules of the protocol."""

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.core.connect_request import ConnectRequest
from gateway.core.credentials import Secrets
from tests.model.world import FakeTransport, World

Item = tuple[str, frozenset[str]]
Values = dict[Item, dict[str, Any]]


def item_of(frame: dict[str, Any]) -> Item:
    """The item that a keyed event is about."""
    return frame["key"], frozenset(rooms_of(frame))


def rooms_of(frame: dict[str, Any]) -> set[str]:
    """The rooms that an event's ids name, and the tenant's."""
    named = {f"{name}:{frame[f'{name}_id']}" for name in ("circle", "project", "user") if f"{name}_id" in frame}
    return {*named, "tenant"}


def apply(values: Values, frame: dict[str, Any]) -> None:
    """Apply a keyed event to the values that are shown."""
    item, op, data = item_of(frame), frame.get("op", "set"), frame["data"]
    if op == "delete":
        values.pop(item, None)
    elif op == "set" or item not in values:
        values[item] = dict(data)
    else:
        value = values[item]
        for name, new in data.items():
            both = isinstance(new, str) and isinstance(value.get(name), str)
            value[name] = value[name] + new if both else new


@dataclass(slots=True)
class Asked:
    """A command that joins rooms, as it was sent; by its reply, the place after which its events come, None where that
    may be any."""

    rooms: list[str]
    since: str | None
    state: bool
    history: int = 0
    begin: str | None = None


@dataclass(slots=True, eq=False)
class Viewer:
    """`whole` are the rooms all of whose items it should show; it is `lost` from a gap until it has requested the state
    of its rooms. `open` are the replays up to whose end no mark has come."""

    world: World
    token: Any
    transport: FakeTransport = field(init=False)
    closed: tuple[int, str] | None = None
    lagging: bool = False
    rooms: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    incomplete: set[str] = field(default_factory=set)
    shown: Values = field(default_factory=dict)
    versions: dict[Item, int] = field(default_factory=dict)
    cursor: str | None = None
    lost: bool = False
    open: list[Asked] = field(default_factory=list)
    sent: dict[int, Asked] = field(default_factory=dict)
    in_url: Asked | None = None
    next_id: int = 0
    plain: list[int] = field(default_factory=list)
    received: set[str] = field(default_factory=set)
    by_connection: dict[str, set[str]] = field(default_factory=dict)
    """The events that each of its connections received."""

    @property
    def settled(self) -> bool:
        """Whether it waits for nothing, and knows of no gap."""
        at_head = self.world.position("acme", self.cursor or "") == self.world.head("acme")
        return not (self.sent or self.open or self.lost or self.transport.full or self.in_url) and at_head

    # ---- what it does

    def connect(self, capacity: int, eager: bool) -> None:
        """Connect or reconnect: from its cursor, from where an open replay began, or from the beginning."""
        self.received = set()
        world, self.closed, self.transport = self.world, None, FakeTransport(self, capacity, eager)  # type: ignore[arg-type]
        opened, self.open, self.sent = [*self.open, *self.sent.values()], [], {}
        self.rooms |= {room for asked in opened for room in asked.rooms}
        rooms = sorted(self.rooms)
        restarts = self.lost or self.cursor is None or any(asked.since is None for asked in opened)
        since = None if restarts else min([self.cursor, *(asked.since for asked in opened)], key=self._place)
        state = bool(rooms) and (restarts or bool(world.head("acme") % 2))
        own = [] if since is None else [f"user:{self.token.user}"]
        self.in_url = Asked([*own, *rooms], since, state) if own or rooms else None
        handshake = ConnectRequest(Secrets([self.token.text]), None, tuple(rooms), since, None, "10.0.0.1", state=state)
        self.transport.connection = world.call(lambda: world.gateway.connect(handshake, self.transport))
        assert self.closed is None

    def _place(self, cursor: str | None) -> int:
        position = self.world.position("acme", cursor or "")
        assert isinstance(position, int)
        return position

    def send(self, asked: Asked) -> None:
        self.next_id += 1
        self.sent[self.next_id] = asked
        command = {"type": "subscribe", "id": self.next_id, "rooms": asked.rooms, "state": asked.state}
        if asked.since is not None:
            command["since"] = asked.since
        if asked.history:
            command["history"] = asked.history
        connection = self.transport.connection
        assert connection is not None
        self.world.call(lambda: self.world.gateway.receive(connection, json.dumps(command)))

    def repair(self) -> None:
        """After a gap, request the state of all its rooms."""
        self.lost = False
        self.send(Asked(sorted(self.rooms), None, True))

    def vanish(self) -> None:
        connection, self.transport.connection = self.transport.connection, None
        self.closed = (1006, "")
        assert connection is not None
        self.world.gateway.on_transport_closed(connection)

    # ---- what it gets

    def on_frame(self, frame: dict[str, Any]) -> None:
        if "event_id" in frame:
            self._event(frame)
            return
        handler = getattr(self, "_" + frame["type"].replace(".", "_"))
        handler(frame["data"], frame.get("id"))

    def _event(self, frame: dict[str, Any]) -> None:
        index = self._place(frame["event_id"])
        assert rooms_of(frame) & {*self.rooms, f"user:{self.token.user}"}, "an event of another room"
        self.cursor = frame["event_id"]
        self.received.add(frame["event_id"])
        if "key" not in frame:
            self.plain.append(index)
            assert frame == self.world.event("acme", index).frame
            return
        item = item_of(frame)
        before = self.versions.get(item, 0)
        assert index >= before, "an older value after a newer one"
        if frame.get("op") == "append":
            assert index > before, "a piece came twice"
            assert frame == self.world.event("acme", index).frame, "a piece is not as it was published"
        self.versions[item] = index
        apply(self.shown, frame)

    def _subscribed(self, data: dict[str, Any], id: int | None) -> None:
        asked = self.in_url if id is None else self.sent.pop(id)
        assert asked is not None
        assert ("items" in data) == ("complete" in data) == asked.state
        rooms = set(asked.rooms)
        self.in_url = None if id is None else self.in_url
        self.rooms |= rooms
        if asked.since is not None or asked.state or asked.history:
            asked.begin = None if asked.history else asked.since or data["cursor"]
            self.open.append(asked)
        if data["recovered"] is False:
            self.lost = True
        if asked.state and not data["complete"]:
            self.incomplete |= rooms
        elif asked.state and asked.since is None:
            # It starts over with these rooms: an item that it does not get is gone.
            for item in [item for item in self.shown if item[1] & rooms]:
                del self.shown[item]
            self.incomplete -= rooms
        if asked.state and asked.since is None:
            self.whole |= rooms

    def _stream_mark(self, data: dict[str, Any], id: None) -> None:
        if not self.sent:
            self.open.clear()
        self.cursor = data["cursor"]

    def _stream_gap(self, data: dict[str, Any], id: None) -> None:
        window = self.world.log.window("acme")
        rooms = {*self.rooms, f"user:{self.token.user}", *(room for asked in self.open for room in asked.rooms)}
        after = min(
            self._place(place) if place else 0 for place in (self.cursor, *(asked.begin for asked in self.open))
        )
        evicted = any(asked.state for asked in self.open) and any(map(window.evicted.of, rooms))
        assert evicted or any(window.trimmed.of(room) > after for room in rooms), "a gap where nothing is missing"
        self.cursor = data["cursor"]
        self.lost = True

    def _connection_established(self, data: dict[str, Any], id: None) -> None:
        self.by_connection[data["connection_id"]] = self.received
        if self.cursor is None:
            self.world.cursors.setdefault("acme", {}).setdefault(data["cursor"], self.world.head("acme"))
            self.cursor = data["cursor"]

    def _token_expiring(self, data: dict[str, Any], id: None) -> None:
        """Expiry does not matter here."""

    # ---- judged at the end

    def assert_shows(self, values: Values, cut: set[Item]) -> None:
        """Every item of the rooms that it follows as a whole, and none that has ended. Not where the bounds of state
        had cost some of it before, and the client knows."""
        whole = self.whole - self.incomplete
        expected = {item: value for item, value in values.items() if item[1] & whole and item not in cut}
        shown = {item: value for item, value in self.shown.items() if item[1] & whole and item not in cut}
        assert shown == expected
