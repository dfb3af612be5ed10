"""The suite of `gateway.core.log.Log`, as one node sees it."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from typing import Final

from gateway.core.cursor import Position
from gateway.core.errors import CursorInvalid, IdempotencyConflict
from gateway.core.log import Draft, Log, Receipt
from gateway.core.window import Bounds, Entry, Gap, Removal
from gateway.testing.helpers import CURSOR_KEY, DRAFT_AT, draft, is_duplicate, number_of, until
from schemas.events import encode_event
from schemas.rooms import TENANT_ROOM

KEY_SECONDS: Final = 120.0
"""How long an idempotency key is remembered at least (PROTOCOL section 7)."""

_FORGOTTEN_AFTER: Final = 2 * KEY_SECONDS


class RecordingListener:
    """A `LogListener` that remembers what it was called with."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Entry]] = []
        self.resets: list[tuple[str, Gap]] = []
        self.degraded: list[bool] = []

    def on_entry(self, tenant: str, entry: Entry) -> None:
        self.told.append((tenant, entry))

    def on_reset(self, tenant: str, reason: Gap) -> None:
        self.resets.append((tenant, reason))

    def on_degraded(self, degraded: bool) -> None:
        self.degraded.append(degraded)


class LogUnderTest(RecordingListener):
    """A log, how to let time pass for it, and what its listener was called with."""

    def __init__(self, log: Log, pass_time: Callable[[float], Awaitable[None]]) -> None:
        super().__init__()
        self.log = log
        self.pass_time = pass_time
        log.attach(self)

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
                assert [number_of(window[offset].frame) for offset in range(1, 6)] == [base + n for n in range(5)]
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
                assert [number_of(window[o].frame) for o in range(window.first, window.head + 1)] == [n]

    async def test_concurrent_appends_get_one_place_each(self) -> None:
        """Appends that run at once get a place each, and the window has each event once."""
        async with self.opened() as subject:
            receipts = await asyncio.gather(*(subject.log.append("acme", draft(n)) for n in range(200)))
            window = subject.log.window("acme")
            assert window.head == 200
            assert len({receipt.event_id for receipt in receipts}) == 200
            by_id = {window[o].event_id: number_of(window[o].frame) for o in range(1, 201)}
            assert [by_id[receipt.event_id] for receipt in receipts] == list(range(200))
            assert [entry.offset for entry in subject.told_of("acme")] == list(range(1, 201))

    # -- the listener

    async def test_listener_is_called_once_in_order_before_append_returns(self) -> None:
        """By the time `append` returns, the node that appended has called its listener, which then finds the entry in
        the window; each entry once, in order."""
        async with self.opened() as subject:
            heads: list[int] = []
            seen: list[int] = []

            class Listener(RecordingListener):
                def on_entry(self, tenant: str, entry: Entry) -> None:
                    window = subject.log.window(tenant)
                    heads.append(window.head)
                    seen.append(entry.offset)
                    assert window[entry.offset] is entry

            subject.log.attach(Listener())
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
                "timestamp": DRAFT_AT,
            }
            assert entry.event_id == receipt.event_id
            assert entry.rooms == ("circle:3", TENANT_ROOM)
            assert not receipt.duplicate
            assert receipt.at == entry.at

    async def test_entry_has_the_removal_of_its_draft(self) -> None:
        """What an event takes from a user comes with its entry; other entries have none."""
        async with self.opened() as subject:
            removals: list[Removal | None] = [None, ("ada", "circle:7"), ("a.b_@+|-c", "project:" + "x" * 64), None]
            for n, removal in enumerate(removals):
                made = draft(n)
                await subject.log.append("acme", Draft(made.rooms, made.body, made.timestamp, removal=removal))
            assert [entry.removal for entry in subject.told_of("acme")] == removals

    async def test_any_event_fits(self) -> None:
        """Large events and characters of every plane come back as they went in."""
        texts = ["", "\x00\x1f\x7f", "\u2028\u2029", "\U0001f600é\u05d0", '"\\/', "x" * 60_000]
        async with self.opened() as subject:
            for text in texts:
                body = encode_event({"type": "task.created", "data": {"text": text}})
                await subject.log.append("acme", Draft((TENANT_ROOM,), body, DRAFT_AT))
            assert [json.loads(entry.frame.payload)["data"]["text"] for entry in subject.told_of("acme")] == texts

    # -- idempotency

    async def test_same_key_and_body_is_appended_once(self) -> None:
        """The same key and body return the first receipt's id, marked duplicate; nothing is appended or told. The
        timestamp is not part of the body: it differs from try to try."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            await subject.log.append("acme", draft(2))
            again = await subject.log.append("acme", draft(1, key="k", at="2026-01-15T10:31:00.000Z"))
            assert is_duplicate(again, first)
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
            assert is_duplicate(await subject.log.append("acme", draft(1, key="k")), first)

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
            assert is_duplicate(await subject.log.append("acme", draft(1, key="k")), first)

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
                assert number_of(window[window.head].frame) == size

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

    async def test_what_is_too_old_is_not_there_for_who_begins_to_follow(self) -> None:
        """A window that is looked at for the first time, long after, has what is young enough, and says what it lacks:
        whether or not anything was appended, or swept, in between."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            for n in range(6):
                await subject.log.append("carol", draft(n))
                await subject.log.append("dora", draft(n))
                await subject.pass_time(20.0 if n < 5 else 30.5)
            await subject.follow("carol")
            window = subject.log.window("carol")
            assert (window.first, window.head) == (5, 6)
            assert window.gap(Position(window.epoch, 3)) == "history_trimmed"
            assert window.gap(Position(window.epoch, 4)) is None
            await subject.pass_time(300.0)
            await subject.follow("dora")
            window = subject.log.window("dora")
            assert (window.first, window.head, len(window)) == (7, 6, 0)
            assert window.gap(Position(window.epoch, 5)) == "history_trimmed"
            await subject.log.append("dora", draft(6))
            await until(lambda: window.head == 7)
            assert [entry.offset for entry in subject.told_of("dora")][-1:] == [7]

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
