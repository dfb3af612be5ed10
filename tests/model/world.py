"""The model of the gateway's guarantees, as dictionaries of lists, and clients that compare every frame with it. It
knows nothing of the implementation: events are counted in the order of the log's notifications, and each client has a
list of the events that it is still owed. A frame is judged when it is written."""

import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings

from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenIssuer, TokenVerifier, TrustedIssuer
from gateway.core.admission import ConnectionLimits, Limits
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.credentials import Secrets
from gateway.core.errors import IdempotencyConflict
from gateway.core.frame import Batch
from gateway.core.log import Draft, LogListener, Receipt
from gateway.core.tenant_quotas import TenantQuota, TenantQuotas
from gateway.core.transport import Kind
from gateway.core.window import Bounds, Entry
from gateway.engine.gateway import Gateway
from gateway.logs.memory import MemoryLog
from gateway.testing import CURSOR_KEY, Clock, draft
from schemas.codes import CloseCode
from schemas.events import rfc3339

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

EVERYTHING = ("circle:*", "project:*", "user:*", "tenant")

MAX_EVENTS = 12
MAX_SECONDS = 150.0
KEY_SECONDS = 120.0
KEY_FORGOTTEN = 160.0
NEVER = ("evt_" + "A" * 28, "nonsense")
"""Texts that no gateway gave out as a cursor."""


def bounded(examples: int, steps: int) -> settings:
    """Settings of a state machine: examples of at most `steps` rules."""
    return settings(
        max_examples=examples * 30 if LONG else examples,
        stateful_step_count=steps,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
        phases=[phase for phase in Phase if LONG or phase is not Phase.shrink],  # which takes minutes
        print_blob=True,
    )


class Loop(asyncio.SelectorEventLoop):
    """An event loop that runs one iteration per call, at the time of a clock that stands still."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock
        super().__init__()

    def time(self) -> float:
        return self._now()

    def turn(self) -> None:
        self.call_soon(self.stop)
        self.run_forever()

    @contextmanager
    def running(self) -> Iterator[None]:
        """For calling what asks for the running loop, between two turns."""
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)


@dataclass(slots=True, eq=False)
class Event:
    """An accepted event: the `index`-th of its tenant."""

    index: int
    id: str
    rooms: frozenset[str]
    frame: dict[str, Any]
    at: float


@dataclass(slots=True, eq=False)
class Token:
    text: str
    tenant: str
    user: str
    rooms: tuple[str, ...]
    scope: tuple[str, ...]
    jti: str
    expires_at: int
    rate: int | None
    revoked: bool = False

    def may_follow(self, room: str) -> bool:
        return room == f"user:{self.user}" or ("subscribe" in self.scope and self.grants(room))

    def grants(self, room: str) -> bool:
        return room in self.rooms or f"{room.partition(':')[0]}:*" in self.rooms or room == f"user:{self.user}"

    def refusal(self, rooms: Iterable[str]) -> str | None:
        """The code with which following `rooms` is refused."""
        others = [room for room in rooms if room != f"user:{self.user}"]
        if others and "subscribe" not in self.scope:
            return "scope_missing"
        return "room_forbidden" if not all(map(self.grants, others)) else None


@dataclass(slots=True)
class Subscription:
    """A command that joins rooms, as it was sent."""

    rooms: list[str]
    since: str | None = None
    history: int = 0


@dataclass(slots=True)
class Refusal:
    code: str


@dataclass(slots=True)
class Publication:
    """An event that a client publishes, and whether it might when it said so."""

    event: dict[str, Any]
    allowed: bool


class Tap:
    """Tells the world of each entry, and then the gateway."""

    def __init__(self, world: "World", listener: LogListener) -> None:
        self._world = world
        self._listener = listener

    def on_entry(self, tenant: str, entry: Entry) -> None:
        with self._world.judging():
            self._world.accepted(tenant, json.loads(entry.frame.payload))
        self._listener.on_entry(tenant, entry)

    def on_reset(self, tenant: str) -> None:
        self._listener.on_reset(tenant)

    def on_skip(self, tenant: str, after: int) -> None:
        self._listener.on_skip(tenant, after)

    def on_degraded(self, degraded: bool) -> None:
        self._listener.on_degraded(degraded)


class TappedLog(MemoryLog):
    """A log that also reports to the world: each entry before other listeners get it, and the results of appends."""

    def __init__(self, world: "World", max_items: int) -> None:
        bounds = Bounds(MAX_EVENTS, 1 << 30, MAX_SECONDS, max_items=max_items)
        super().__init__((CURSOR_KEY,), bounds, world.clock, world.clock)
        self._world = world

    def attach(self, listener: LogListener) -> None:
        super().attach(Tap(self._world, listener))

    async def append(self, tenant: str, draft: Draft) -> Receipt:
        count = len(self._world.events.get(tenant, ()))
        try:
            receipt = await super().append(tenant, draft)
        except IdempotencyConflict:
            self._world.appended(tenant, draft, None, count)
            raise
        self._world.appended(tenant, draft, receipt, count)
        return receipt

    def sweep(self) -> None:
        super().sweep()
        self._world.swept()


class World:
    """A gateway and all that is outside of it; its log keeps the state of `max_items` items."""

    def __init__(self, max_items: int = 10_000) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.failures: list[BaseException] = []
        self.events: dict[str, list[Event]] = {}
        self.trimmed: dict[str, int] = {}
        self.cursors: dict[str, dict[str, int]] = {}
        self.keys: dict[tuple[str, str], tuple[bytes, str, float]] = {}
        self.receipts: list[tuple[str, bool]] = []
        self.clients: list[Client] = []
        self.tokens: list[Token] = []
        keyring = KeyRing([hmac_key(b"a secret of the model, 0123456789")])
        self.issuer = TokenIssuer(keyring, "model", "model")
        self.log = TappedLog(self, max_items)
        limits = Limits(
            commands_per_second=0,
            events_per_second=0,
            connections=ConnectionLimits(0, 0, 0),
            tenants=TenantQuotas(TenantQuota(0, 0)),
        )
        self.gateway = Gateway(
            self.log,
            TokenVerifier([TrustedIssuer("model", keyring)], "model", 3600, 3600),
            limits=limits,
            clock=self.clock,
            timer=self.clock,
        )
        self.old_cursors = {tenant: self._old_cursor(tenant) for tenant in ("acme", "bolt")}
        self.loop.run_until_complete(self.gateway.start())

    def _old_cursor(self, tenant: str) -> str:
        """A cursor of an earlier life of the log."""
        return self.run(MemoryLog((CURSOR_KEY,)).append(tenant, draft(1))).event_id  # type: ignore[no-any-return]

    # ---- time

    def run(self, coroutine: Any) -> Any:
        """Run what does not wait for anything, without a turn of the loop."""
        with self.loop.running():
            try:
                coroutine.send(None)
            except StopIteration as done:
                return done.value
        raise AssertionError("it waits")

    def call(self, function: Callable[[], Any]) -> Any:
        with self.judging(), self.loop.running():
            result = function()
        self.check()
        return result

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.turn()
            self.check()

    def advance(self, seconds: float) -> None:
        """Let time pass, a second at a time: nothing is judged late because the clock jumped."""
        while seconds > 0:
            self.clock.now += min(seconds, 1.0)
            seconds -= 1.0
            self.turn(4)

    def settle(self) -> None:
        """Let every client read all there is; then none may be owed anything."""
        for _ in range(400):
            for client in self.open_clients():
                self.call(client.transport.drain)
            self.turn()
            if not any(client.owed or client.waits or client.transport.full for client in self.open_clients()):
                break
            self.clock.now += 0.06  # for those that have had their share of events
        for _ in range(6):  # a replay may have events left to look at of which none is for the client
            self.clock.now += 0.06
            self.turn(2)
        for client in self.open_clients():
            client.assert_settled()

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Failed assertions inside are raised by `check`: the gateway would catch them."""
        try:
            yield
        except Exception as error:
            self.failures.append(error)

    def check(self) -> None:
        if self.failures:
            raise self.failures[0]

    def open_clients(self) -> list["Client"]:
        return [client for client in self.clients if client.established and client.closed is None]

    # ---- the log

    def head(self, tenant: str) -> int:
        return len(self.events.get(tenant, ()))

    def event(self, tenant: str, index: int) -> Event:
        return self.events[tenant][index - 1]

    def accepted(self, tenant: str, frame: dict[str, Any]) -> None:
        events = self.events.setdefault(tenant, [])
        rooms = {"tenant"}
        for name in ("circle", "project", "user"):
            if f"{name}_id" in frame:
                rooms.add(f"{name}:{frame[f'{name}_id']}")
        event = Event(len(events) + 1, frame["event_id"], frozenset(rooms), frame, self.clock())
        events.append(event)
        cursors = self.cursors.setdefault(tenant, {})
        assert event.id not in cursors, "an event_id was given out twice"
        cursors[event.id] = event.index
        self.trimmed[tenant] = max(self.trimmed.get(tenant, 0), len(events) - MAX_EVENTS)
        for client in self.open_clients():
            if client.token.tenant == tenant:
                client.owe(event)

    def swept(self) -> None:
        for tenant, events in self.events.items():
            while (n := self.trimmed[tenant]) < len(events) and events[n].at < self.clock() - MAX_SECONDS:
                self.trimmed[tenant] = n + 1

    def appended(self, tenant: str, draft: Draft, receipt: Receipt | None, count: int) -> None:
        """Record the result of an append, None for a conflict; there were `count` events before it."""
        with self.judging():
            new = self.head(tenant) - count
            if receipt is not None:
                self.receipts.append((receipt.event_id, receipt.duplicate))
                assert new == (not receipt.duplicate), "a receipt and the log disagree"
                if new:
                    assert receipt.event_id == self.events[tenant][-1].id
            else:
                assert not new
            if draft.key is None:
                assert receipt is not None
                assert not receipt.duplicate
                return
            known = self.keys.get((tenant, draft.key))
            age = self.clock() - known[2] if known else KEY_FORGOTTEN
            if known is not None and age < KEY_SECONDS:
                if known[0] == draft.body:
                    assert receipt is not None
                    assert (receipt.event_id, receipt.duplicate) == (known[1], True), "a key was forgotten too early"
                else:
                    assert receipt is None, "a key was good for two events"
            elif known is None or age >= KEY_FORGOTTEN:
                assert receipt is not None, "a key was remembered too long, or never used"
                assert not receipt.duplicate
            if receipt is not None and not receipt.duplicate:
                self.keys[tenant, draft.key] = (draft.body, receipt.event_id, self.clock())

    def position(self, tenant: str, cursor: str) -> int | str | None:
        """The count of events up to a cursor, "old" for one of another life of the log, None for no cursor."""
        if cursor == self.old_cursors[tenant]:
            return "old"
        return self.cursors.get(tenant, {}).get(cursor)

    # ---- tokens

    def token(
        self,
        tenant: str,
        user: str,
        rooms: Sequence[str],
        scope: Sequence[str],
        expires_in: int,
        rate: int | None = None,
    ) -> Token:
        issued = self.issuer.issue(
            user_id=user,
            tenant=tenant,
            rooms=rooms,
            scope=scope,
            expires_in=expires_in,
            now=self.clock(),
            rate=rate,
            cutoff=self.gateway.administration.newest_cutoff(tenant, user),
        )
        token = Token(
            issued.access_token, tenant, user, tuple(rooms), tuple(scope), issued.token_id, issued.expires_at, rate
        )
        self.tokens.append(token)
        return token

    def token_error(self, token: Token) -> str | None:
        if token.expires_at <= self.clock():
            return "token_expired"
        return "token_revoked" if token.revoked else None

    def revoke(self, kind: str, token: Token) -> None:
        """Revoke one token, a user's or a tenant's; those connections end, and no others."""
        for other in self.tokens:
            if other.tenant == token.tenant and (
                kind == "tenant"
                or (kind == "user" and other.user == token.user)
                or (kind == "token" and other is token)
            ):
                other.revoked = True
        before = self.open_clients()
        revocation = self.gateway.revocation
        cutoffs = {
            "token": revocation.cutoff("token_revoked", token.tenant, token.jti),
            "user": revocation.cutoff("user_revoked", token.tenant, token.user),
            "tenant": revocation.cutoff("tenant_revoked", token.tenant, ""),
        }
        count = self.call(lambda: revocation.apply(cutoffs[kind]))
        ended = [client for client in before if client.token.revoked]
        assert count == len(ended)
        for client in before:
            expected = (CloseCode.UNAUTHENTICATED, "token_revoked") if client.token.revoked else None
            assert client.closed == expected

    # ---- the end

    def end(self) -> None:
        """Disconnect every client; then the gateway holds nothing of them."""
        self.settle()
        for client in self.open_clients():
            self.call(client.vanish)
        self.advance(1.0)
        for tenant in self.gateway.manager.tenants():
            index = self.gateway.manager.of(tenant)
            assert (index.connections, index.rooms, index.users) == ({}, {}, {}), "an index holds who has gone"

    def close(self) -> None:
        stopping = self.loop.create_task(self.gateway.stop())
        while not stopping.done():
            self.loop.turn()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.turn()
        self.loop.close()


class FakeTransport:
    """A `Transport` that is full beyond `capacity` bytes until it is drained; what is written is received at once.
    An eager one drains by itself in the next turn."""

    def __init__(self, client: "Client", capacity: int, eager: bool) -> None:
        self._client = client
        self._capacity = capacity
        self._eager = eager
        self.fd = None
        self.kind: Kind = "websocket"
        self.pings = True
        self.unacknowledged: int | None = 0
        self.size = 0
        self.full = False
        self.written_while_full = 0
        self.connection: Connection | None = None

    def write(self, batch: Batch) -> bool:
        client = self._client
        if client.closed is not None:
            return True
        with client.world.judging():
            frames = [json.loads(frame.payload) for frame in batch.frames]
            if self.full and any("event_id" in frame for frame in frames):
                self.written_while_full += 1
                assert self.written_while_full <= 1, "events are written to a transport that is full"
            for frame in frames:
                client.on_frame(frame)
        self.size += sum(len(frame.wire) for frame in batch.frames)
        if self.size > self._capacity and not self.full:
            self.full = client.lagging = True
            if self._eager:
                client.world.loop.call_soon(self.drain)
        return not self.full

    def close(self, code: int, reason: str) -> None:
        if self._client.closed is None:
            self._client.closed = (code, reason)

    def abort(self) -> None:
        self.close(0, "aborted")

    def drain(self, count: int = 1 << 60) -> None:
        self.size = max(0, self.size - count)
        if self.full and self.size <= self._capacity // 4:
            self.full, self.written_while_full = False, 0
            if self._client.closed is None and self.connection is not None:
                self._client.world.gateway.on_writable(self.connection)


@dataclass(slots=True, eq=False)
class Client:
    """One connection as its client and the promise see it."""

    world: World
    token: Token
    transport: FakeTransport = field(init=False)
    established: bool = False
    closed: tuple[int, str] | None = None
    rooms: dict[str, set[int]] = field(default_factory=dict)
    """Each room that it is in, and the events that this room has brought it or will bring it."""
    owed: dict[int, set[str]] = field(default_factory=dict)
    """The events that it is owed, and the rooms by which it is to get each."""
    sent: dict[int, Any] = field(default_factory=dict)
    unasked: deque[Subscription | Refusal] = field(default_factory=deque)
    """The answers to connecting, beside `connection.established`."""
    lagging: bool = False
    """Whether its transport or its rate, or a replay, is a reason for it to be behind."""
    mark_owed: bool = False
    """Whether a replay is open: until the next mark."""
    left_amid_replay: bool = False
    """Whether it has lost a room, by a token or a removal, during a replay: events owed by that room alone may then be
    reported as lost."""
    replay: tuple[int, dict[str, set[int]]] = (0, {})
    """The last event of the newest replay, and what its rooms had brought before it."""
    last_seen: str | None = None
    received: list[str] = field(default_factory=list)
    been_in: set[str] = field(default_factory=set)
    """Every room that it is or was in."""
    connection_id: str = ""
    lost: set[int] = field(default_factory=set)
    """The events that it was owed and of a gap that was reported to it."""
    left_owed: set[int] = field(default_factory=set)
    """The events that it was owed when it left their rooms."""
    not_recovered: bool = False
    next_id: int = 0

    @property
    def waits(self) -> bool:
        return bool(self.sent or self.unasked)

    @property
    def own(self) -> str:
        return f"user:{self.token.user}"

    # ---- what it does

    def connect(self, rooms: list[str], since: str | None) -> None:
        world, token = self.world, self.token
        error = world.token_error(token)
        position = world.position(token.tenant, since) if since is not None else 0
        refused = token.refusal(rooms)
        if refused is not None:
            self.unasked.append(Refusal(refused))
            if since is not None and position is not None:
                self.unasked.append(Subscription([self.own], since))
        elif position is None:
            self.unasked.append(Refusal("cursor_invalid"))
        elif rooms or since is not None:
            own = [self.own] if since is not None else []
            self.unasked.append(Subscription(list(dict.fromkeys([*own, *rooms])), since))
        handshake = ConnectRequest(Secrets([token.text]), None, tuple(dict.fromkeys(rooms)), since, None, "10.0.0.1")
        connection = world.call(lambda: world.gateway.connect(handshake, self.transport))
        if error is not None:
            assert connection is None
            assert self.closed == (CloseCode.UNAUTHENTICATED, error)
            assert not self.established
        else:
            assert connection is not None
            assert self.established
            assert not self.unasked, "connecting was not answered"
        self.transport.connection = connection

    def send(self, expected: Any, **command: Any) -> None:
        self.next_id += 1
        connection = self.transport.connection
        assert connection is not None
        if self.closed is None:
            self.sent[self.next_id] = expected
        text = json.dumps({"id": self.next_id, **command})
        self.world.call(lambda: self.world.gateway.receive(connection, text))

    def vanish(self) -> None:
        """The client has gone without a word."""
        connection, self.transport.connection = self.transport.connection, None
        self.closed = (1006, "")
        assert connection is not None
        self.world.gateway.on_transport_closed(connection)

    # ---- what it is owed

    def owe(self, event: Event) -> None:
        via = event.rooms & self.rooms.keys()
        if via:
            self.owed[event.index] = set(via)
            for room in via:
                self.rooms[room].add(event.index)
        if self.token.rate is not None:
            self.lagging = True

    def covered(self, event: Event) -> bool:
        return any(event.index in self.rooms[room] for room in event.rooms & self.rooms.keys())

    def join(self, subscription: Subscription) -> tuple[bool | None, int]:
        """Apply a subscription; returns `recovered` and the number of events that are replayed for it."""
        tenant, rooms = self.token.tenant, set(subscription.rooms)
        head, trimmed = self.world.head(tenant), self.world.trimmed.get(tenant, 0)
        log = [self.world.event(tenant, index) for index in range(trimmed + 1, head + 1)]
        recovered, start = None, head
        if subscription.since is not None:
            position = self.world.position(tenant, subscription.since)
            start = position if isinstance(position, int) else 0
            lost = (self.world.event(tenant, index) for index in range(start + 1, trimmed + 1))
            recovered = isinstance(position, int) and not any(event.rooms & rooms for event in lost)
        elif subscription.history:
            unseen = [e.index for e in log if e.rooms & rooms and not self.covered(e)]
            start = unseen[-subscription.history] - 1 if len(unseen) >= subscription.history else trimmed
        since = [event for event in log if event.index > start and event.rooms & rooms]
        replayed = [event for event in since if not self.covered(event)]
        for event in since:
            if event in replayed or event.index in self.owed:
                self.owed.setdefault(event.index, set()).update(event.rooms & rooms)
        if replayed:
            self.left_amid_replay = False
            self.replay = (max(event.index for event in replayed), {r: set(self.rooms.get(r, ())) for r in rooms})
        for room in rooms:
            self.rooms.setdefault(room, set()).update(event.index for event in since if room in event.rooms)
        self.been_in.update(rooms)
        if start < head:
            self.lagging = True
        return recovered, len(replayed)

    def leave(self, rooms: Iterable[str]) -> None:
        self.left_amid_replay |= any(index <= self.replay[0] for index in self.owed)
        for room in rooms:
            del self.rooms[room]
            for via in self.owed.values():
                via.discard(room)
        lost = [index for index, via in self.owed.items() if not via]
        assert not lost or self.lagging, "events from before it left were not delivered"
        self.left_owed.update(lost)
        for index in lost:
            del self.owed[index]

    # ---- what it gets

    def on_frame(self, frame: dict[str, Any]) -> None:
        assert self.world.clock() < self.token.expires_at + 2, "an expired token gets frames"
        assert not self.token.revoked, "a revoked token gets frames"
        if "event_id" in frame:
            self.on_event(frame)
            return
        data = frame["data"]
        handler = getattr(self, "on_" + frame["type"].replace(".", "_"))
        if frame["type"] in ("connection.established", "stream.gap", "stream.mark", "token.expiring"):
            assert "id" not in frame
            handler(data)
        elif "id" in frame:
            handler(data, self.sent.pop(frame["id"]))
        else:
            handler(data, self.unasked.popleft())

    def on_event(self, frame: dict[str, Any]) -> None:
        index = self.world.cursors[self.token.tenant].get(frame["event_id"])
        assert index is not None, "an event of another tenant, or of none"
        assert frame == self.world.event(self.token.tenant, index).frame
        assert index in self.owed, f"event {index} came twice, or is not for it"
        assert index == min(self.owed), f"event {index} came, and {min(self.owed)} was to come"
        assert any(map(self.token.may_follow, self.owed[index])), "an event of a room that is not granted"
        del self.owed[index]
        self.last_seen = frame["event_id"]
        self.received.append(frame["event_id"])

    def on_connection_established(self, data: dict[str, Any]) -> None:
        assert not self.established
        tenant = self.token.tenant
        head = self.world.head(tenant)
        cursors = self.world.cursors.setdefault(tenant, {})
        if head == 0:
            cursors.setdefault(data["cursor"], 0)
        assert cursors[data["cursor"]] == head
        assert (data["user_id"], data["tenant"]) == (self.token.user, tenant)
        assert data["rooms"] == list(self.token.rooms)
        joined = next((answer.rooms for answer in self.unasked if isinstance(answer, Subscription)), [])
        assert data["subscribed"] == list(dict.fromkeys([self.own, *joined]))
        self.established = True
        self.lagging = self.token.rate is not None
        self.rooms[self.own] = set()
        self.been_in.add(self.own)
        self.connection_id = data["connection_id"]

    def on_subscribed(self, data: dict[str, Any], asked: Subscription) -> None:
        assert isinstance(asked, Subscription)
        assert self.refusal_of(asked) is None, "it was let in though it may not"
        recovered, replayed = self.join(asked)
        self.not_recovered |= recovered is False
        self.mark_owed |= asked.since is not None or bool(asked.history)
        assert data["rooms"] == list(dict.fromkeys(asked.rooms))
        assert data["recovered"] == recovered
        assert data["replayed"] == replayed
        cursor = self.world.cursors[self.token.tenant][data["cursor"]]
        assert cursor == self.world.head(self.token.tenant)

    def refusal_of(self, asked: Subscription) -> str | None:
        if (code := self.token.refusal(asked.rooms)) is not None:
            return code
        if asked.since is not None and self.world.position(self.token.tenant, asked.since) is None:
            return "cursor_invalid"
        return None

    def on_unsubscribed(self, data: dict[str, Any], asked: list[str]) -> None:
        assert data["rooms"] == list(dict.fromkeys(asked))
        assert set(asked) <= self.rooms.keys()
        self.leave(dict.fromkeys(asked))

    def on_authenticated(self, data: dict[str, Any], fresh: Token) -> None:
        assert isinstance(fresh, Token)
        assert self.world.token_error(fresh) is None
        assert (fresh.tenant, fresh.user) == (self.token.tenant, self.token.user)
        dropped = [room for room in self.rooms if not fresh.may_follow(room)]
        assert sorted(data["dropped"]) == sorted(dropped)
        self.token = fresh
        if fresh.rate is not None:
            self.lagging = True
        self.leave(dropped)

    def publish(self, event: dict[str, Any]) -> None:
        self.send(Publication(event, self.may_publish(event)), type="publish", event=event)

    def on_published(self, data: dict[str, Any], asked: Publication) -> None:
        assert asked.allowed
        event = asked.event
        assert (data["event_id"], data["duplicate"]) in self.world.receipts
        if not data["duplicate"]:
            index = self.world.cursors[self.token.tenant][data["event_id"]]
            frame = self.world.event(self.token.tenant, index).frame
            assert {name: frame[name] for name in event if name != "idempotency_key"} == {
                name: value for name, value in event.items() if name != "idempotency_key"
            }

    def may_publish(self, event: dict[str, Any]) -> bool:
        named = [f"{name}:{event[f'{name}_id']}" for name in ("circle", "project", "user") if f"{name}_id" in event]
        return "publish" in self.token.scope and all(map(self.token.grants, named or ["tenant"]))

    def on_error(self, data: dict[str, Any], asked: Any) -> None:
        code = data["code"]
        if isinstance(asked, Refusal):
            assert code == asked.code
        elif isinstance(asked, Subscription):
            assert code == self.refusal_of(asked)
        elif isinstance(asked, list):
            assert code == "not_subscribed"
            assert data["rooms"] == [room for room in dict.fromkeys(asked) if room not in self.rooms]
        elif isinstance(asked, Token):
            mismatch = (asked.tenant, asked.user) != (self.token.tenant, self.token.user)
            assert code == (self.world.token_error(asked) or ("token_mismatch" if mismatch else None))
        elif code == "idempotency_conflict":
            assert "idempotency_key" in asked.event
        else:
            assert code in ("scope_missing", "room_forbidden")
            assert not asked.allowed

    def on_pong(self, data: dict[str, Any], asked: None) -> None:
        assert data["as_of"] == rfc3339(self.world.clock())
        if "cursor" in data:
            self._at_head(data["cursor"])

    def on_stream_mark(self, data: dict[str, Any]) -> None:
        assert data["as_of"] == rfc3339(self.world.clock())
        self._at_head(data["cursor"])
        assert not any(isinstance(asked, Subscription | list) for asked in self.sent.values()), "commands are pending"
        self.last_seen = data["cursor"]
        self.mark_owed = False

    def _at_head(self, cursor: str) -> None:
        tenant = self.token.tenant
        assert not self.owed, "a place ahead of what was given"
        assert self.world.cursors[tenant][cursor] == self.world.head(tenant)

    def on_token_expiring(self, data: dict[str, Any]) -> None:
        assert self.token.expires_at - self.world.clock() <= 61

    def on_stream_gap(self, data: dict[str, Any]) -> None:
        tenant = self.token.tenant
        position = self.world.cursors[tenant][data["cursor"]]
        assert self.lagging, "a gap is told to who is not behind"
        lost = min(self.owed, default=position) <= self.world.trimmed[tenant]
        assert lost or self.left_amid_replay, "a gap where none is"
        assert position <= self.world.head(tenant)
        assert data["reason"] == "history_trimmed"
        given_up = any(index <= self.replay[0] for index in self.owed)
        self.lost.update(index for index in self.owed if index <= position)
        for index in [index for index in self.owed if index <= position]:
            # It has not been brought by any room: it may be asked for again, as far as it is still there.
            del self.owed[index]
            for brought in self.rooms.values():
                brought.discard(index)
        if given_up:  # nor do its rooms count as having brought what others brought meanwhile
            last, before = self.replay
            for room in before.keys() & self.rooms.keys():
                self.rooms[room] = before[room] | {index for index in self.rooms[room] if index > last}

    def assert_settled(self) -> None:
        assert not self.owed, f"events {sorted(self.owed)} never came"
        assert not self.waits, f"commands {self.sent} were never answered"
        assert not self.mark_owed, "the end of a replay was not told"
        self.lagging = self.token.rate is not None
