"""The state machine of a gateway with several clients of two tenants, one turn of the event loop at a time."""

from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.core.errors import IdempotencyConflict
from tests.model.world import (
    EVERYTHING,
    MAX_EVENTS,
    NEVER,
    Client,
    FakeTransport,
    Subscription,
    Token,
    World,
)

OLD, UNUSED, FOREIGN = 100, 101, 102
"""Cursors of an earlier epoch of the log, invalid ones and those of another tenant; other numbers are events before the
head."""

TENANTS = ("acme", "bolt")
USERS = ("ada", "bob")
PATTERNS = (*[EVERYTHING] * 4, ("circle:1", "project:1"), ("circle:1", "circle:2"), ("tenant",), ())
ROOMS = ("circle:1", "circle:1", "project:1", "project:1", "circle:2", "tenant", "user:ada", "user:bob")
MAX_OPEN = 5

# Most of what happens is to happen to the same few clients, or hardly anything would come of it.
tenants = st.sampled_from(("acme",) * 5 + ("bolt",))
users = st.sampled_from(USERS)
patterns = st.sampled_from(PATTERNS)
scopes = st.sampled_from([("subscribe", "publish")] * 6 + [("subscribe",), ("publish",)])
some_rooms = st.lists(st.sampled_from(ROOMS), min_size=1, max_size=3)
which = st.integers(0, MAX_OPEN - 1)
lifetimes = st.sampled_from((3600, 3600, 600, 60))
shapes = st.integers(0, 63)
backs = st.sampled_from((*range(MAX_EVENTS + 2), *range(6), OLD, UNUSED, FOREIGN))
ids = st.sampled_from(
    [
        *[{"circle_id": 1, "project_id": 1}] * 3,
        *[{"circle_id": 1}, {"project_id": 1}] * 2,
        {"circle_id": 2, "project_id": 1},
        {"circle_id": 1, "user_id": "ada"},
        {"user_id": "ada"},
        {"user_id": "bob", "project_id": 1},
        {},
    ]
)
events = st.builds(
    lambda ids, key: ids if key is None else {**ids, "idempotency_key": key},
    ids,
    st.sampled_from([None] * 4 + ["k1", "k2"]),
)


class GatewayMachine(RuleBasedStateMachine):
    """`capacities` are bytes that a client's transport takes before it is full, `rates` its token's events a second."""

    capacities: tuple[int, ...] = (1 << 40,)
    rates: tuple[int | None, ...] = (None,)

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.count = 0

    # ---- clients

    @initialize(shapes=st.lists(shapes, min_size=3, max_size=3))
    def begin(self, shapes: list[int]) -> None:
        """A few clients that are there from the start."""
        for user, rooms, shape in zip(("ada", "bob", "ada"), (["circle:1"], ["tenant"], []), shapes, strict=True):
            token = self.world.token("acme", user, EVERYTHING, ("subscribe", "publish"), 3600, self._rate(shape))
            self._connect(token, list(rooms), None, shape)
        self._connect(self.world.token("bolt", "ada", EVERYTHING, ("subscribe",), 3600), ["circle:1"], None, 0)

    @precondition(lambda self: len(self.world.open_clients()) < MAX_OPEN)
    @rule(
        tenant=tenants,
        user=users,
        patterns=patterns,
        scope=scopes,
        lifetime=lifetimes,
        rooms=st.lists(st.sampled_from(ROOMS), max_size=3),
        since=st.none() | backs,
        shape=shapes,
    )
    def connect(
        self,
        tenant: str,
        user: str,
        patterns: tuple[str, ...],
        scope: tuple[str, ...],
        lifetime: int,
        rooms: list[str],
        since: int | None,
        shape: int,
    ) -> None:
        token = self.world.token(tenant, user, patterns, scope, lifetime, self._rate(shape))
        self._connect(token, rooms, None if since is None else self._cursor(tenant, since), shape)

    @precondition(lambda self: any(client.closed for client in self.world.clients))
    @rule(which=which, shape=shapes)
    def come_back(self, which: int, shape: int) -> None:
        """A client that is gone resumes where it was: at the last event that it saw."""
        gone = [client for client in self.world.clients if client.closed]
        before = gone[-1 - which % len(gone)]
        old = before.token
        token = self.world.token(old.tenant, old.user, old.rooms, old.scope, 600, old.rate)
        self._connect(token, [room for room in before.rooms if token.may_follow(room)], before.last_seen, shape)

    def _rate(self, shape: int) -> int | None:
        return self.rates[shape % len(self.rates)]

    def _connect(self, token: Token, rooms: list[str], since: str | None, shape: int) -> None:
        client = Client(self.world, token)
        client.transport = FakeTransport(client, self.capacities[shape // 2 % len(self.capacities)], bool(shape % 2))
        self.world.clients.append(client)
        client.connect(rooms, since)

    # ---- commands

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, rooms=some_rooms, new=st.booleans(), history=st.sampled_from((0, 0, 1, 2, 6, 20)))
    def subscribe(self, which: int, rooms: list[str], new: bool, history: int) -> None:
        client = self._open(which)
        rooms = self._others(client, rooms) if new else rooms
        client.send(Subscription(rooms, None, history), type="subscribe", rooms=rooms, history=history)

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, rooms=some_rooms, new=st.booleans(), back=backs, history=st.sampled_from((0, 0, 3)))
    def subscribe_since(self, which: int, rooms: list[str], new: bool, back: int, history: int) -> None:
        client = self._open(which)
        rooms = self._others(client, rooms) if new else rooms
        since = self._cursor(client.token.tenant, back)
        asked = Subscription(rooms, since, history)
        client.send(asked, type="subscribe", rooms=rooms, since=since, history=history)

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, rooms=some_rooms, joined=st.sampled_from((True, True, True, False)))
    def unsubscribe(self, which: int, rooms: list[str], joined: bool) -> None:
        client = self._open(which)
        if joined:
            rooms = [room for room in client.rooms if room != client.own][: len(rooms)] or rooms
        client.send(rooms, type="unsubscribe", rooms=rooms)

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, commands=st.lists(st.tuples(some_rooms, backs, st.booleans()), min_size=2, max_size=4))
    def burst(self, which: int, commands: list[tuple[list[str], int, bool]]) -> None:
        """Commands one right after the other: those that come during a replay wait for its end, and in line."""
        client = self._open(which)
        client.send([client.own], type="unsubscribe", rooms=[client.own])
        client.send(Subscription([client.own], None, 20), type="subscribe", rooms=[client.own], history=20)
        for rooms, back, leave in commands:
            if leave:
                client.send(rooms, type="unsubscribe", rooms=rooms)
            else:
                since = self._cursor(client.token.tenant, back)
                client.send(Subscription(rooms, since), type="subscribe", rooms=rooms, since=since)

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, patterns=patterns, scope=scopes, lifetime=lifetimes)
    def refresh(self, which: int, patterns: tuple[str, ...], scope: tuple[str, ...], lifetime: int) -> None:
        client = self._open(which)
        token = client.token
        fresh = self.world.token(token.tenant, token.user, patterns, scope, lifetime, token.rate)
        client.send(fresh, type="auth", token=fresh.text)

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, event=events)
    def publish_by_client(self, which: int, event: dict[str, object]) -> None:
        event = {"type": "task.created", "data": self._data(event), **event}
        self._open(which).publish(event)

    # ---- what is seldom

    @precondition(lambda self: self.world.open_clients())
    @rule(
        what=st.sampled_from(("vanish", "ping", "known token", "refresh", "speak", "speak", "token", "user", "tenant")),
        which=which,
        rooms=some_rooms,
        shape=shapes,
    )
    def seldom(self, what: str, which: int, rooms: list[str], shape: int) -> None:
        client = self._open(which)
        known = self.world.tokens[shape % len(self.world.tokens)]
        if what == "vanish":
            self.world.call(client.vanish)
        elif what == "ping":
            client.send(None, type="ping")
        elif what == "known token":  # which may have expired or been revoked
            self._connect(known, ["tenant"], None, shape)
        elif what == "refresh":
            client.send(known, type="auth", token=known.text)
        elif what != "speak":
            self.world.revoke(what, client.token)
        elif gone := [client for client in self.world.clients if client.closed and client.transport.connection]:
            self._speak_after_the_end(gone[-1 - which % len(gone)], rooms)

    def _speak_after_the_end(self, client: Client, rooms: list[str]) -> None:
        """Commands sent by a client before it learned of its close have no effect."""
        self.world.turn(2)  # what others publish is in the log
        heads = {tenant: self.world.head(tenant) for tenant in TENANTS}
        client.send(None, type="subscribe", rooms=rooms)
        client.send(None, type="publish", event={"type": "task.created", "data": {}})
        self.world.turn(3)
        assert heads == {tenant: self.world.head(tenant) for tenant in TENANTS}

    # ---- events

    @rule(tenant=tenants, several=st.lists(events, min_size=1, max_size=4))
    def publish(self, tenant: str, several: list[dict[str, object]]) -> None:
        for event in several:
            self._publish(tenant, event)

    @rule(tenant=tenants, several=st.lists(events, min_size=8, max_size=16))
    def publish_many(self, tenant: str, several: list[dict[str, object]]) -> None:
        """More than the window holds, a few in each turn."""
        for n, event in enumerate(several):
            self._publish(tenant, event)
            if n % 4 == 3:
                self.world.turn()

    def _publish(self, tenant: str, event: dict[str, object]) -> None:
        ids = {name: value for name, value in event.items() if name != "idempotency_key"}
        data = self._data(event)
        head = self.world.head(tenant)
        publishing = self.world.gateway.publish(tenant, "task.created", data, key=event.get("idempotency_key"), **ids)  # type: ignore[arg-type]
        with suppress(IdempotencyConflict):  # which the world has judged
            self.world.run(publishing)
        self.world.check()
        if self.world.head(tenant) > head:
            frame = self.world.events[tenant][-1].frame
            assert {name: frame[name] for name in ids} == ids
            assert frame["data"] == data

    def _data(self, event: dict[str, object]) -> dict[str, object]:
        """A body of its own, or, with a key, one of two."""
        self.count += 1
        return {"n": self.count % 2 if "idempotency_key" in event else self.count}

    # ---- time, and what the operator does

    @rule(count=st.integers(1, 3))
    def turn(self, count: int) -> None:
        self.world.turn(count)

    @rule(seconds=st.sampled_from((0.1, 0.1, 1.0, 1.0, 20.0, 100.0)))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.world.open_clients())
    @rule(which=which, count=st.sampled_from((200, 1000, 1 << 40, 1 << 40)))
    def drain(self, which: int, count: int) -> None:
        client = self._open(which)
        self.world.call(lambda: client.transport.drain(count))

    @rule()
    def settle(self) -> None:
        self.world.settle()

    def teardown(self) -> None:
        try:
            if not self.world.failures:
                self.world.end()
        finally:
            self.world.close()

    # ---- choosing

    def _open(self, which: int) -> Client:
        clients = self.world.open_clients()
        return clients[which % len(clients)]

    def _others(self, client: Client, rooms: list[str]) -> list[str]:
        """Random rooms that the client is not in, as many as `rooms`."""
        new = [room for room in dict.fromkeys(ROOMS) if room not in client.rooms and client.token.may_follow(room)]
        return new[: len(rooms)] or rooms

    def _cursor(self, tenant: str, back: int) -> str:
        cursors = list(self.world.cursors.get(tenant, {}))
        if back < OLD and cursors:
            return cursors[max(0, len(cursors) - 1 - back)]
        if back == FOREIGN:
            other = list(self.world.cursors.get(TENANTS[tenant == TENANTS[0]], {}))
            return other[-1] if other else NEVER[0]
        return self.world.old_cursors[tenant] if back == OLD else NEVER[back % len(NEVER)]


class SlowMachine(GatewayMachine):
    """Clients whose transports are full after an event or a few: BEHIND, and caught up from the log."""

    capacities = (300, 900, 3_000)


class ThrottledMachine(GatewayMachine):
    """Clients that may get a few events a second, and some whose transports are slow besides."""

    capacities = (900, 1 << 40)
    rates = (3, 10, None)
