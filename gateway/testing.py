"""Suites that every log engine and every transport must pass: the sentences of their docstrings, a test each.

Subclass one, say how the thing under test is made, and let pytest (with pytest-asyncio in auto mode) collect it:

    class TestMyLog(LogContract):
        @asynccontextmanager
        async def open(self, bounds, keys):
            clock = Clock()
            yield LogUnderTest(MyLog(keys, bounds, clock, clock), clock.advance)

An engine that many nodes share also subclasses `SharedLogContract`. `TransportContract` drives a transport over a real
socket with a real client. Nothing here needs pytest itself.
"""

import asyncio
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from auth.grants import Grants
from auth.identity import Identity
from gateway.core.connection import Connection, Transport
from gateway.core.errors import CursorInvalid, IdempotencyConflict, LogUnavailable
from gateway.core.frame import Batch, Frame
from gateway.core.handshake import Handshake
from gateway.core.log import Draft, Log, Receipt
from gateway.core.position import Position
from gateway.core.window import Bounds, Entry
from schemas.events import encode_event
from schemas.rooms import TENANT_ROOM, rooms_of

CURSOR_KEY: Final = b"a cursor key of the contract suite"
KEY_SECONDS: Final = 120.0
"""How long an idempotency key is remembered at least (PROTOCOL section 7)."""

_FORGOTTEN_AFTER: Final = 2 * KEY_SECONDS
_AT: Final = "2026-01-15T10:30:00.000Z"


class Clock:
    """Seconds that pass only when they are told to; begins at a plausible time since the epoch."""

    def __init__(self, now: float = 1_768_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds


def draft(n: int = 0, *, circle: int | None = None, key: str | None = None, at: str = _AT, size: int = 0) -> Draft:
    """An event that is told from others by `n`, of a circle or of nothing but its tenant, `size` bytes longer."""
    fields: dict[str, object] = {"type": "task.created", "data": {"n": n, "filler": "x" * size}}
    if circle is not None:
        fields["circle_id"] = circle
    return Draft(rooms_of(circle, None, None), encode_event(fields), at, key)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `condition` holds. Raises `TimeoutError` where it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for in what is under test
            await asyncio.sleep(0.005)


# ---- logs


@dataclass(slots=True)
class LogUnderTest:
    """A log, how to let time pass for it, and what its sink was told."""

    log: Log
    pass_time: Callable[[float], Awaitable[None]]
    told: list[tuple[str, Entry]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log.attach(lambda tenant, entry: self.told.append((tenant, entry)))

    async def follow(self, *tenants: str) -> None:
        """What a gateway does for a tenant's first connection; a window is kept up to date from then on."""
        for tenant in tenants:
            if (following := self.log.follow(tenant)) is not None:
                await following

    async def append(self, tenant: str, count: int) -> list[Receipt]:
        return [await self.log.append(tenant, draft(n)) for n in range(count)]

    def told_of(self, tenant: str) -> list[Entry]:
        return [entry for name, entry in self.told if name == tenant]


class LogContract(ABC):
    """What `gateway.core.log.Log` promises, for an engine seen from one node."""

    @abstractmethod
    def open(self, bounds: Bounds, keys: tuple[bytes, ...]) -> AbstractAsyncContextManager[LogUnderTest]:
        """A new, empty log, running; `keys` are for cursors. Its `pass_time` moves the time by which the engine
        forgets keys and entries, the sweeps included that would have come."""

    @asynccontextmanager
    async def opened(self, bounds: Bounds | None = None) -> AsyncIterator[LogUnderTest]:
        async with self.open(bounds or Bounds(), (CURSOR_KEY,)) as subject:
            await subject.follow("acme", "bolt")
            yield subject

    # -- order

    async def test_offsets_count_from_one_without_a_hole(self) -> None:
        """Appends of one tenant get offsets 1, 2, 3 and on, in the order in which they were accepted."""
        async with self.opened() as subject:
            receipts = await subject.append("acme", 20)
            window = subject.log.window("acme")
            assert (window.first, window.head, len(window)) == (1, 20, 20)
            assert [window[offset].event_id for offset in range(1, 21)] == [r.event_id for r in receipts]
            assert [window[offset].offset for offset in range(1, 21)] == list(range(1, 21))

    async def test_tenants_know_nothing_of_each_other(self) -> None:
        """Each tenant counts for itself, and its window holds its own entries alone."""
        async with self.opened() as subject:
            for n in range(5):
                await subject.log.append("acme", draft(n))
                await subject.log.append("bolt", draft(100 + n))
            for tenant, base in (("acme", 0), ("bolt", 100)):
                window = subject.log.window(tenant)
                assert window.head == 5
                assert [_number(window[offset].frame) for offset in range(1, 6)] == [base + n for n in range(5)]
            assert subject.log.window("nobody").head == 0

    async def test_names_of_tenants_are_not_joined(self) -> None:
        """Tenants whose names look alike, or contain what an engine may separate names by, stay apart."""
        names = ["a", "A", "a_b", "a-b", "a_", "ab", "a_b-c", "0", "00", "tenant", "x" * 64]
        async with self.opened() as subject:
            await subject.follow(*names)
            for n, name in enumerate(names):
                await subject.log.append(name, draft(n, key="one key"))
            for n, name in enumerate(names):
                window = subject.log.window(name)
                assert [_number(window[o].frame) for o in range(window.first, window.head + 1)] == [n]

    async def test_concurrent_appends_get_one_place_each(self) -> None:
        """Appends that run at once get a place each, and the window has each event once."""
        async with self.opened() as subject:
            receipts = await asyncio.gather(*(subject.log.append("acme", draft(n)) for n in range(200)))
            window = subject.log.window("acme")
            assert window.head == 200
            assert len({receipt.event_id for receipt in receipts}) == 200
            by_id = {window[o].event_id: _number(window[o].frame) for o in range(1, 201)}
            assert [by_id[receipt.event_id] for receipt in receipts] == list(range(200))
            assert [entry.offset for entry in subject.told_of("acme")] == list(range(1, 201))

    # -- the sink

    async def test_sink_is_told_once_in_order_before_append_returns(self) -> None:
        """By the time `append` returns, the node that appended has told its sink, which then finds the entry in the
        window; each entry once, in order."""
        async with self.opened() as subject:
            heads: list[int] = []
            seen: list[int] = []

            def sink(tenant: str, entry: Entry) -> None:
                window = subject.log.window(tenant)
                heads.append(window.head)
                seen.append(entry.offset)
                assert window[entry.offset] is entry

            subject.log.attach(sink)
            for n in range(10):
                await subject.log.append("acme", draft(n))
                assert seen == list(range(1, n + 2))
            assert heads == seen

    async def test_entry_is_the_event_as_clients_get_it(self) -> None:
        """An entry's frame is the draft's object with `event_id` and `timestamp`, its rooms the draft's, `at` now."""
        async with self.opened() as subject:
            receipt = await subject.log.append("acme", draft(7, circle=3))
            ((tenant, entry),) = subject.told
            event = json.loads(entry.frame.payload)
            assert tenant == "acme"
            assert event == {
                "type": "task.created",
                "data": {"n": 7, "filler": ""},
                "circle_id": 3,
                "event_id": receipt.event_id,
                "timestamp": _AT,
            }
            assert entry.event_id == receipt.event_id
            assert entry.rooms == ("circle:3", TENANT_ROOM)
            assert not receipt.duplicate

    async def test_any_event_fits(self) -> None:
        """Large events and characters of every plane come back as they went in."""
        texts = ["", "\x00\x1f\x7f", "\u2028\u2029", "\U0001f600é\u05d0", '"\\/', "x" * 60_000]
        async with self.opened() as subject:
            for text in texts:
                body = encode_event({"type": "task.created", "data": {"text": text}})
                await subject.log.append("acme", Draft((TENANT_ROOM,), body, _AT))
            assert [json.loads(entry.frame.payload)["data"]["text"] for entry in subject.told_of("acme")] == texts

    # -- idempotency

    async def test_same_key_and_body_is_appended_once(self) -> None:
        """The same key and body return the first receipt's id, marked duplicate; nothing is appended or told. The
        timestamp is not part of the body: it differs from try to try."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            await subject.log.append("acme", draft(2))
            again = await subject.log.append("acme", draft(1, key="k", at="2026-01-15T10:31:00.000Z"))
            assert again == Receipt(first.event_id, duplicate=True)
            assert subject.log.window("acme").head == 2
            assert len(subject.told) == 2

    async def test_same_key_at_once_is_appended_once(self) -> None:
        """Of many tries of one key that run at once, one is appended and the others are its duplicates."""
        async with self.opened() as subject:
            receipts = await asyncio.gather(*(subject.log.append("acme", draft(1, key="k")) for _ in range(20)))
            assert len({receipt.event_id for receipt in receipts}) == 1
            assert sum(not receipt.duplicate for receipt in receipts) == 1
            assert subject.log.window("acme").head == 1

    async def test_same_key_and_another_body_conflicts(self) -> None:
        """A key used for another event raises `IdempotencyConflict`; nothing is appended, and the key stays good."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            try:
                await subject.log.append("acme", draft(2, key="k"))
            except IdempotencyConflict:
                pass
            else:
                raise AssertionError("no conflict")
            assert subject.log.window("acme").head == 1
            assert len(subject.told) == 1
            assert await subject.log.append("acme", draft(1, key="k")) == Receipt(first.event_id, duplicate=True)

    async def test_keys_are_told_apart(self) -> None:
        """Keys that look alike are different keys; events without one are never duplicates."""
        keys = ["k", "K", "k ", " k", "k\x00", "é", "e\u0301", "0", "x" * 128, None, None]
        async with self.opened() as subject:
            receipts = [await subject.log.append("acme", draft(1, key=key)) for key in keys]
            assert not any(receipt.duplicate for receipt in receipts)

    async def test_key_of_another_tenant_is_another_key(self) -> None:
        """A tenant's key says nothing about another tenant's use of it."""
        async with self.opened() as subject:
            await subject.log.append("acme", draft(1, key="k"))
            assert not (await subject.log.append("bolt", draft(2, key="k"))).duplicate

    async def test_key_is_remembered_for_its_time_and_forgotten_after(self) -> None:
        """A key holds for 120 seconds from its first use, however often it is tried, and is free again in the end."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            for _ in range(4):
                await subject.pass_time(KEY_SECONDS / 4 - 0.5)
                assert (await subject.log.append("acme", draft(1, key="k"))).event_id == first.event_id
            await subject.pass_time(_FORGOTTEN_AFTER)
            later = await subject.log.append("acme", draft(2, key="k"))
            assert not later.duplicate

    async def test_key_outlives_its_event(self) -> None:
        """A key holds though the window has let go of its event."""
        async with self.opened(Bounds(max_events=2)) as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            await subject.append("acme", 5)
            assert await subject.log.append("acme", draft(1, key="k")) == Receipt(first.event_id, duplicate=True)

    # -- cursors

    async def test_event_id_is_the_cursor_of_its_own_position(self) -> None:
        """An event's id decodes to its epoch and offset, and the window's cursor is the newest event's id."""
        async with self.opened() as subject:
            window = subject.log.window("acme")
            assert window.cursors.decode(window.cursor) == Position(window.epoch, 0)
            for n in range(1, 10):
                receipt = await subject.log.append("acme", draft(n))
                assert window.cursors.decode(receipt.event_id) == Position(window.epoch, n)
                assert window.cursor == receipt.event_id

    async def test_cursor_of_another_tenant_is_none(self) -> None:
        """Another tenant's id is refused as a cursor, like one that nobody gave out."""
        async with self.opened() as subject:
            receipt = await subject.log.append("acme", draft(1))
            for forged in (receipt.event_id, "evt_", "", receipt.event_id[:-1] + "!"):
                try:
                    subject.log.window("bolt").cursors.decode(forged)
                except CursorInvalid:
                    continue
                raise AssertionError(f"{forged!r} was taken")

    async def test_ids_say_nothing_about_counts(self) -> None:
        """Ids are equally long, of no order, and share no more than chance would have it, neighbours or tenants."""
        async with self.opened() as subject:
            ids = [receipt.event_id for receipt in await subject.append("acme", 300)]
            others = [receipt.event_id for receipt in await subject.append("bolt", 300)]
            assert len({len(event_id) for event_id in ids + others}) == 1
            assert not set(ids) & set(others)
            rises = sum(a < b for a, b in pairwise(ids))
            assert 90 < rises < 210, "the order of the ids follows the order of the events"
            for one, other in [*pairwise(ids), *zip(ids, others, strict=True)]:
                # 28 characters of 64: by chance one pair in some 10^11 shares 11 of them.
                assert sum(a == b for a, b in zip(one[4:], other[4:], strict=True)) < 11, (one, other)

    # -- the window

    async def test_window_is_within_its_count_after_every_append(self) -> None:
        """At most `max_events` are kept: the newest, without a hole."""
        async with self.opened(Bounds(max_events=5)) as subject:
            window = subject.log.window("acme")
            for n in range(1, 13):
                await subject.log.append("acme", draft(n))
                assert (window.head, len(window)) == (n, min(n, 5))
                assert window.first == n - len(window) + 1
                assert [window[o].offset for o in range(window.first, n + 1)] == list(range(window.first, n + 1))

    async def test_window_is_within_its_bytes_after_every_append(self) -> None:
        """At most `max_bytes` of frames are kept; an event that alone is over them stays until the next one, since an
        accepted event must reach those who are there."""
        async with self.opened(Bounds(max_bytes=2_000)) as subject:
            window = subject.log.window("acme")
            for size in (300, 500, 100, 900, 0, 1_500, 1_900, 0, 5_000, 10, 10):
                await subject.log.append("acme", draft(size, size=size))
                held = [len(window[o].frame) for o in range(window.first, window.head + 1)]
                assert window.bytes == sum(held)
                assert window.bytes <= 2_000 or len(held) == 1
                assert _number(window[window.head].frame) == size

    async def test_window_lets_go_of_what_is_too_old(self) -> None:
        """What is older than `max_seconds` goes, and nothing younger; offsets go on where they were."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            window = subject.log.window("acme")
            await subject.append("acme", 3)
            await subject.pass_time(40.0)
            await subject.append("acme", 2)
            assert (window.first, window.head) == (1, 5)
            await subject.pass_time(30.0)
            subject.log.sweep()
            assert (window.first, window.head) == (4, 5)
            await subject.pass_time(61.0)
            subject.log.sweep()
            assert (window.first, window.head, len(window), window.bytes) == (6, 5, 0, 0)
            await subject.append("acme", 1)
            assert (window.first, window.head) == (6, 6)

    async def test_gap_is_told_at_the_exact_place(self) -> None:
        """What follows a position is all there, or was trimmed from the first lost entry on, or is of another life of
        the log."""
        async with self.opened(Bounds(max_events=4)) as subject:
            window = subject.log.window("acme")
            assert window.gap(Position(window.epoch, 0)) is None
            assert window.gap(Position(window.epoch, 1)) == "log_reset"
            await subject.append("acme", 10)  # 7 to 10 are there
            judged = {offset: window.gap(Position(window.epoch, offset)) for offset in (0, 1, 5, 6, 7, 9, 10, 11)}
            assert judged == {
                0: "history_trimmed",
                1: "history_trimmed",
                5: "history_trimmed",
                6: None,
                7: None,
                9: None,
                10: None,
                11: "log_reset",
            }
            other = bytes(byte ^ 1 for byte in window.epoch)
            assert {window.gap(Position(other, offset)) for offset in (0, 6, 10, 11)} == {"log_reset"}

    async def test_gap_is_told_of_an_empty_window(self) -> None:
        """Where all has been let go of, only the head's own position misses nothing."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            window = subject.log.window("acme")
            await subject.append("acme", 3)
            await subject.pass_time(120.0)
            subject.log.sweep()
            assert window.gap(Position(window.epoch, 2)) == "history_trimmed"
            assert window.gap(Position(window.epoch, 3)) is None

    async def test_another_life_of_the_log_is_another_epoch(self) -> None:
        """Of a log that has lost its entries the old cursors still decode, and are told as `log_reset`."""
        async with self.opened() as subject:
            receipt = (await subject.append("acme", 3))[1]
        async with self.opened() as subject:
            await subject.append("acme", 5)
            window = subject.log.window("acme")
            assert window.gap(window.cursors.decode(receipt.event_id)) == "log_reset"

    async def test_cursors_of_an_earlier_key_are_still_good(self) -> None:
        """The newest key makes the ids, and every key that is still known is understood."""
        newer = b"another cursor key, made later on"
        async with self.open(Bounds(), (CURSOR_KEY,)) as subject:
            await subject.follow("acme")
            old = (await subject.append("acme", 1))[0].event_id
        async with self.open(Bounds(), (newer, CURSOR_KEY)) as subject:
            await subject.follow("acme")
            window = subject.log.window("acme")
            assert window.gap(window.cursors.decode(old)) == "log_reset"
            position = window.cursors.decode((await subject.append("acme", 1))[0].event_id)
            assert position == Position(window.epoch, 1)


class SharedLogContract(LogContract):
    """What `Log` promises beyond one node, for engines whose storage is elsewhere."""

    @abstractmethod
    def join(self, subject: LogUnderTest) -> AbstractAsyncContextManager[LogUnderTest]:
        """One more node on the storage of `subject`."""

    @abstractmethod
    def unreachable(self, subject: LogUnderTest) -> AbstractAsyncContextManager[None]:
        """Within it the storage answers nobody; afterwards it does again, with nothing lost."""

    @abstractmethod
    async def lose(self, subject: LogUnderTest) -> None:
        """Empty the storage under a running node."""

    async def test_every_node_is_told_of_every_entry(self) -> None:
        """Whoever appended it, each node's sink is told once, in one order, and each event has one id."""
        async with self.opened() as one, self.join(one) as other:
            await other.follow("acme")
            for n in range(20):
                await (one, other)[n % 2].log.append("acme", draft(n))
            await until(lambda: min(len(one.told), len(other.told)) >= 20)
            assert [e.event_id for e in one.told_of("acme")] == [e.event_id for e in other.told_of("acme")]
            assert [e.offset for e in other.told_of("acme")] == list(range(1, 21))
            assert [e.frame.wire for e in one.told_of("acme")] == [e.frame.wire for e in other.told_of("acme")]

    async def test_key_used_at_another_node_is_a_duplicate(self) -> None:
        """A key is good at every node."""
        async with self.opened() as one, self.join(one) as other:
            first = await one.log.append("acme", draft(1, key="k"))
            assert await other.log.append("acme", draft(1, key="k")) == Receipt(first.event_id, duplicate=True)

    async def test_node_that_comes_late_has_the_window(self) -> None:
        """A new node finds what was appended before it came, and is told of what comes after."""
        async with self.opened() as one:
            await one.append("acme", 5)
            async with self.join(one) as other:
                await other.follow("acme")
                assert other.told == [], "what was there before is history, not news"
                await other.log.append("acme", draft(6))
                window = other.log.window("acme")
                await until(lambda: window.head == 6)
                assert window.gap(Position(window.epoch, 0)) is None
                assert [_number(window[o].frame) for o in range(1, 6)] == list(range(5))

    async def test_append_fails_in_time_where_the_storage_does_not_answer(self) -> None:
        """Within 2 seconds there is an error; afterwards appends work again, and no sink was told twice."""
        async with self.opened() as subject:
            await subject.append("acme", 2)
            async with self.unreachable(subject):
                try:
                    async with asyncio.timeout(2.2):
                        await subject.log.append("acme", draft(3, key="k"))
                except LogUnavailable:
                    pass
                else:
                    raise AssertionError("an append without storage returned a receipt")
            await self._until_appended(subject, draft(3, key="k"))
            await until(lambda: subject.log.window("acme").head == 3)
            assert [entry.offset for entry in subject.told_of("acme")] == [1, 2, 3]

    async def test_loss_of_entries_is_another_epoch(self) -> None:
        """After a loss of entries the epoch is another one, and old cursors are told as `log_reset`."""
        async with self.opened() as subject:
            old = (await subject.append("acme", 3))[0].event_id
            await self.lose(subject)
            await self._until_appended(subject, draft(4))
            window = subject.log.window("acme")
            await until(lambda: subject.log.window("acme").gap(window.cursors.decode(old)) == "log_reset")

    async def _until_appended(self, subject: LogUnderTest, event: Draft) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    await subject.log.append("acme", event)
                except LogUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    return


def _number(frame: Frame) -> int:
    number: int = json.loads(frame.payload)["data"]["n"]
    return number


# ---- transports


_PIECE: Final = 16_384
"""Bytes of what fills a transport; one is well within any limit."""


class RecordingHost:
    """A `Host` that lets everybody in and remembers what it was told; `on_drained` may be set to do more."""

    def __init__(self) -> None:
        self.joined: asyncio.Queue[Connection] = asyncio.Queue()
        self.texts: list[str] = []
        self.binaries = 0
        self.drains: list[Connection] = []
        self.gone: list[Connection] = []
        self.on_drained: Callable[[Connection], None] = lambda connection: None
        self.writing = False

    def connect(self, handshake: Handshake, transport: Transport) -> Connection:
        identity = Identity("ada", "acme", Grants.parse(["tenant"]), frozenset({"subscribe"}), "jti", 0, 1 << 40)
        connection = Connection("con_1", identity, transport, 0.0, handshake.address)
        self.joined.put_nowait(connection)
        return connection

    def redeem(self, handshake: Handshake, then: Callable[[Handshake], object]) -> None:
        then(handshake)

    def receive(self, connection: Connection, text: str) -> None:
        self.texts.append(text)

    def receive_binary(self, connection: Connection) -> None:
        self.binaries += 1

    def drained(self, connection: Connection) -> None:
        assert not self.writing, "drained was told from within a write"
        self.drains.append(connection)
        self.on_drained(connection)

    def disconnect(self, connection: Connection) -> None:
        self.gone.append(connection)


class Peer:
    """One client and the transport that writes to it."""

    def __init__(self, host: RecordingHost, connection: Connection, client: ClientConnection) -> None:
        self.host = host
        self.connection = connection
        self.transport = connection.transport
        self.client = client

    def write(self, *texts: str) -> bool:
        return self.write_batch(Batch([Frame(text.encode()) for text in texts]))

    def write_batch(self, batch: Batch) -> bool:
        self.host.writing = True
        try:
            return self.transport.write(batch)
        finally:
            self.host.writing = False

    def fill(self, limit: int) -> list[str]:
        """Write until the answer is False and return what was written, that one included; at most `limit` bytes."""
        for n in range(limit // _PIECE):
            if not self.write(_piece(n)):
                return [_piece(i) for i in range(n + 1)]
        raise AssertionError(f"took {limit} bytes and was not full")

    async def stuff(self, limit: int) -> list[str]:
        """The same, until the kernel's buffers are full too and nothing moves any more."""
        count, full, drains = 0, False, len(self.host.drains)
        while count < limit // _PIECE:
            while not full and count < limit // _PIECE:
                full = not self.write(_piece(count))
                count += 1
            await asyncio.sleep(0.15)
            if full and len(self.host.drains) == drains:
                return [_piece(i) for i in range(count)]
            full, drains = False, len(self.host.drains)
        raise AssertionError(f"took {limit} bytes and was not full")

    async def read(self, count: int, seconds: float = 10.0) -> list[str]:
        async with asyncio.timeout(seconds):
            return [str(await self.client.recv()) for _ in range(count)]

    async def read_to_end(self, seconds: float = 10.0) -> tuple[list[str], int | None, str | None]:
        """All that is still to come, and the close code and reason."""
        texts = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    texts.append(str(await self.client.recv()))
        except ConnectionClosed:
            return texts, self.client.close_code, self.client.close_reason


class TransportContract(ABC):
    """What `gateway.core.connection.Transport` promises, over a real socket."""

    capacity: int = 16 * 1024 * 1024
    """Bytes that a client which reads nothing may be sent before the answer is False; the kernel's buffers count."""

    @abstractmethod
    def serving(self, host: RecordingHost, stall: float) -> AbstractAsyncContextManager[str]:
        """A server whose transports call `host`, as the WebSocket address of its clients. A client that reads nothing
        for `stall` seconds while data waits is given up."""

    @asynccontextmanager
    async def peers(self, count: int = 1, stall: float = 30.0) -> AsyncIterator[list[Peer]]:
        host = RecordingHost()
        clients: list[ClientConnection] = []
        async with self.serving(host, stall) as url:
            try:
                peers = []
                for _ in range(count):
                    clients.append(await _dial(url))
                    peers.append(Peer(host, await host.joined.get(), clients[-1]))
                yield peers
            finally:
                for client in clients:
                    client.transport.abort()
                    await client.wait_closed()
                await until(lambda: len(set(host.gone)) == len(clients))

    @asynccontextmanager
    async def peer(self, stall: float = 30.0) -> AsyncIterator[Peer]:
        async with self.peers(1, stall) as (peer,):
            yield peer

    # -- writing

    async def test_frames_arrive_as_they_are(self) -> None:
        """A frame of any size, and of any text, is one text message."""
        texts = ["", "x", "é" * 63, *("y" * n for n in (125, 126, 127, 65_535, 65_536, 200_000)), "\U0001f600"]
        async with self.peer() as peer:
            for text in texts:
                assert peer.write(text)
                assert await peer.read(1) == [text]

    async def test_order_of_the_calls_is_kept(self) -> None:
        """What is written, in batches of one or many, at once or in turns of the loop, arrives in that order."""
        async with self.peer() as peer:
            numbers = iter(range(1_000))
            expected = []
            for size in [1, 2, 7, 1, 50, 1, 1, 100] * 3:
                batch = [str(next(numbers)) for _ in range(size)]
                expected += batch
                assert peer.write(*batch)
                if size == 7:
                    await asyncio.sleep(0)
            assert await peer.read(len(expected)) == expected

    async def test_one_batch_serves_many(self) -> None:
        """A batch is shared by every connection that it is for."""
        async with self.peers(5) as peers:
            batch = Batch([Frame(b"one"), Frame(b"two")])
            for peer in peers:
                assert peer.write_batch(batch)
            for peer in peers:
                assert await peer.read(2) == ["one", "two"]

    async def test_client_is_heard(self) -> None:
        """Text frames are handed on in order, whole; of binary ones only that they came."""
        async with self.peer() as peer:
            for text in ("one", "é" * 5_000, ""):
                await peer.client.send(text)
            await peer.client.send(["in", " ", "parts"])
            await peer.client.send(b"binary")
            await until(lambda: peer.host.binaries == 1)
            assert peer.host.texts == ["one", "é" * 5_000, "", "in parts"]

    # -- full and drained

    async def test_fills_and_says_so(self) -> None:
        """A client that reads nothing fills its transport within bounds; from that batch on the answer is False."""
        async with self.peer() as peer:
            peer.fill(self.capacity)
            assert [peer.write("more") for _ in range(3)] == [False] * 3
            assert peer.host.drains == []

    async def test_fills_within_bounds_though_the_loop_turns(self) -> None:
        """So it does where the server can write as much as the kernel takes, in between."""
        async with self.peer() as peer:
            taken, full = 0, False
            while not full and taken < self.capacity:
                full = not peer.write("x" * 16_384)
                taken += 16_384
                await asyncio.sleep(0)
            assert full

    async def test_one_batch_over_the_limit_is_taken_whole(self) -> None:
        """A batch that alone is over the limit is taken, all of it, and answered False."""
        async with self.peer() as peer:
            texts = [f"{n}:".ljust(65_536, ".") for n in range(self.capacity // 65_536)]
            assert not peer.write(*texts)
            assert await peer.read(len(texts)) == texts
            await until(lambda: len(peer.host.drains) == 1)

    async def test_drained_is_told_once(self) -> None:
        """Once there is room again the host is told, once, and not from within a `write`; then writing goes on, and
        nothing was lost of what was written while it was full."""
        async with self.peer() as peer:
            written = peer.fill(self.capacity)
            assert not peer.write("late")
            assert await peer.read(len(written) + 1) == [*written, "late"]
            await until(lambda: len(peer.host.drains) > 0)
            assert peer.write("again")
            assert await peer.read(1) == ["again"]
            await asyncio.sleep(0.1)
            assert peer.host.drains == [peer.connection]

    async def test_drained_is_not_told_to_who_was_not_full(self) -> None:
        """Nobody is told of a drain who was never answered False."""
        async with self.peer() as peer:
            for n in range(50):
                assert peer.write(str(n))
                await asyncio.sleep(0)
            await peer.read(50)
            assert peer.host.drains == []

    async def test_writing_on_from_drained_loses_nothing(self) -> None:
        """A host that writes on whenever it is told, until it is full again, is told each time: it brings 24 MiB
        through in order, and no wake-up is lost."""
        async with self.peer() as peer:
            source = iter([f"{n}:".ljust(32_768, ".") for n in range(768)])

            def pump(connection: Connection) -> None:
                for text in source:
                    if not connection.transport.write(Batch([Frame(text.encode())])):
                        refusals.append(text)
                        return

            refusals: list[str] = []
            peer.host.on_drained = pump
            pump(peer.connection)
            received = await peer.read(768, 30.0)
            assert [text.partition(":")[0] for text in received] == [str(n) for n in range(768)]
            await until(lambda: len(peer.host.drains) == len(refusals))

    async def test_memory_is_bounded_while_stuck(self) -> None:
        """One who stops at the first False holds what fills it and one batch more, however long the client is stuck:
        nobody is told of room that is not there."""
        async with self.peer() as peer:
            await peer.stuff(self.capacity)
            drains = len(peer.host.drains)
            await asyncio.sleep(0.3)
            assert len(peer.host.drains) == drains
            assert not peer.write("x")

    async def test_stuck_client_delays_nobody(self) -> None:
        """Others are written to as if the stuck one were not there."""
        async with self.peers(3) as (stuck, *others):
            await stuck.stuff(self.capacity)
            for n in range(50):
                for peer in others:
                    assert peer.write(str(n))
                for peer in others:
                    assert await peer.read(1, 1.0) == [str(n)]

    async def test_stuck_client_is_given_up(self) -> None:
        """One that reads nothing while data waits is given up after its time, and the host is told."""
        async with self.peer(stall=0.5) as peer:
            await peer.stuff(self.capacity)
            await until(lambda: peer.connection in peer.host.gone, 5.0)

    async def test_idle_client_is_not_given_up(self) -> None:
        """One for which nothing waits keeps its connection, however long it has nothing to read."""
        async with self.peer(stall=0.3) as peer:
            await asyncio.sleep(1.5)
            assert peer.write("still here")
            assert await peer.read(1) == ["still here"]

    async def test_slow_client_is_not_given_up(self) -> None:
        """One that reads, however slowly, keeps its connection, and gets everything in order."""
        async with self.peer(stall=0.5) as peer:
            written = await peer.stuff(self.capacity)
            received = []
            for n in range(0, len(written), 8):
                received += await peer.read(min(8, len(written) - n))
                await asyncio.sleep(1.5 / (len(written) / 8))
            assert received == written
            assert peer.host.gone == []

    # -- the end

    async def test_close_comes_after_what_was_written(self) -> None:
        """The client gets what was written before, then the code and the reason."""
        async with self.peer() as peer:
            texts = [str(n) for n in range(200)]
            peer.write(*texts)
            peer.transport.close(4401, "token_expired")
            assert await peer.read_to_end() == (texts, 4401, "token_expired")
            await until(lambda: peer.connection in peer.host.gone)

    async def test_close_of_a_full_one_comes_after_what_was_written(self) -> None:
        """So it does where the client has yet to read most of it."""
        async with self.peer() as peer:
            texts = await peer.stuff(self.capacity)
            peer.transport.close(1012, "restart")
            assert await peer.read_to_end() == (texts, 1012, "restart")

    async def test_close_twice_is_close_once(self) -> None:
        """The first code counts."""
        async with self.peer() as peer:
            peer.transport.close(4401, "token_expired")
            peer.transport.close(1011, "internal_error")
            assert await peer.read_to_end() == ([], 4401, "token_expired")
            peer.transport.close(1011, "internal_error")
            peer.transport.abort()

    async def test_write_after_close_does_nothing(self) -> None:
        """It raises nothing, and the client gets nothing of it, at once or once the client has gone."""
        async with self.peer() as peer:
            peer.write("before")
            peer.transport.close(4401, "token_revoked")
            peer.write("after")
            assert await peer.read_to_end() == (["before"], 4401, "token_revoked")
            await until(lambda: peer.connection in peer.host.gone)
            peer.write("long after")

    async def test_abort_ends_it_at_once(self) -> None:
        """However full it is; and it may be called twice, and before or after `close`."""
        async with self.peers(3) as (one, two, three):
            await one.stuff(self.capacity)
            one.transport.abort()
            one.transport.abort()
            one.transport.close(1011, "internal_error")
            two.transport.close(1011, "internal_error")
            two.transport.abort()
            three.transport.abort()
            await until(lambda: {one.connection, two.connection, three.connection} <= set(one.host.gone), 5.0)
            for peer in (one, two, three):
                peer.write("after")

    async def test_host_is_told_that_the_client_has_gone(self) -> None:
        """Whether it said goodbye or not; writing to it afterwards raises nothing."""
        async with self.peers(3) as (polite, rude, stuck):
            await stuck.stuff(self.capacity)
            await polite.client.close()
            rude.client.transport.abort()
            stuck.client.transport.abort()
            for n in range(20):
                for peer in (polite, rude, stuck):
                    peer.write(str(n).ljust(16_384))
                await asyncio.sleep(0)
            everyone = {peer.connection for peer in (polite, rude, stuck)}
            await until(lambda: everyone <= set(polite.host.gone))
            for peer in (polite, rude, stuck):
                peer.write("long after")
                peer.transport.close(1012, "restart")
                peer.transport.abort()


def _piece(n: int) -> str:
    return f"{n}:".ljust(_PIECE, ".")


async def _dial(url: str) -> ClientConnection:
    """A client that holds little itself, so that what it does not `recv` is left to the server."""
    host, _, port = url.split("/")[2].rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    return await connect(url, sock=sock, max_size=None, max_queue=1, compression=None, ping_interval=None)
