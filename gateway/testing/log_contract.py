"""The contract suite of `gateway.core.log.Log`, for a single node."""

import asyncio
import json
from itertools import pairwise
from typing import Final

from gateway.core.cursor import Position
from gateway.core.errors import CursorInvalid, IdempotencyConflict
from gateway.core.log import Draft
from gateway.core.window import Bounds, Entry, Removal
from gateway.testing.helpers import DRAFT_AT, draft, is_duplicate, number_of, until
from gateway.testing.log_items_contract import LogItemsContract
from gateway.testing.log_rooms_contract import LogRoomsContract
from gateway.testing.log_under_test import RecordingListener
from gateway.testing.log_window_contract import LogWindowContract
from schemas.events import encode_event
from schemas.rooms import TENANT_ROOM

KEY_SECONDS: Final = 120.0
"""The minimum time for which an idempotency key is remembered, in seconds."""

_FORGOTTEN_AFTER: Final = 2 * KEY_SECONDS


class LogContract(LogWindowContract, LogRoomsContract, LogItemsContract):
    """The guarantees of `gateway.core.log.Log` on a single node."""

    # -- order

    async def test_offsets_count_from_one_without_a_hole(self) -> None:
        """Appends of one tenant get offsets 1, 2, 3 and on, in the order in which they were accepted."""
        async with self.opened() as subject:
            receipts = await subject.append("acme", 20)
            window = subject.log.window("acme")
            assert (window.first, window.head, len(window)) == (1, 20, 20)
            assert [window[offset].event_id for offset in range(1, 21)] == [r.event_id for r in receipts]
            assert [window[offset].offset for offset in range(1, 21)] == list(range(1, 21))

    async def test_tenants_are_isolated(self) -> None:
        """Each tenant has its own offsets, and its window has its own entries only."""
        async with self.opened() as subject:
            for n in range(5):
                await subject.log.append("acme", draft(n))
                await subject.log.append("bolt", draft(100 + n))
            for tenant, base in (("acme", 0), ("bolt", 100)):
                window = subject.log.window(tenant)
                assert window.head == 5
                assert [number_of(window[offset].frame) for offset in range(1, 6)] == [base + n for n in range(5)]
            assert subject.log.window("nobody").head == 0

    async def test_tenants_of_similar_names_are_isolated(self) -> None:
        """Tenants with similar names, or names with an engine's separators, are isolated."""
        names = ["a", "A", "a_b", "a-b", "a_", "ab", "a_b-c", "0", "00", "tenant", "x" * 64]
        async with self.opened() as subject:
            await subject.follow(*names)
            for n, name in enumerate(names):
                await subject.log.append(name, draft(n, key="one key"))
            for n, name in enumerate(names):
                window = subject.log.window(name)
                assert [number_of(window[o].frame) for o in range(window.first, window.head + 1)] == [n]

    async def test_concurrent_appends_get_distinct_offsets(self) -> None:
        """Concurrent appends get distinct offsets, and the window has each event once."""
        async with self.opened() as subject:
            receipts = await asyncio.gather(*(subject.log.append("acme", draft(n)) for n in range(200)))
            window = subject.log.window("acme")
            assert window.head == 200
            assert len({receipt.event_id for receipt in receipts}) == 200
            by_id = {window[o].event_id: number_of(window[o].frame) for o in range(1, 201)}
            assert [by_id[receipt.event_id] for receipt in receipts] == list(range(200))
            assert [entry.offset for entry in subject.delivered_to("acme")] == list(range(1, 201))

    # -- the listener

    async def test_listener_is_called_once_in_order_before_append_returns(self) -> None:
        """On the appending node the listener is called before `append` returns, with the entry in the window; once for
        each entry, in order."""
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
        """An entry's frame is the draft's object with `event_id` and `timestamp`; its rooms are the draft's, `at` is
        now."""
        async with self.opened() as subject:
            receipt = await subject.log.append("acme", draft(7, circle=3))
            ((tenant, entry),) = subject.delivered
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
        """An entry has the removal of its draft; other entries have none."""
        async with self.opened() as subject:
            removals: list[Removal | None] = [None, ("ada", "circle:7"), ("a.b_@+|-c", "project:" + "x" * 64), None]
            for n, removal in enumerate(removals):
                made = draft(n)
                await subject.log.append("acme", Draft(made.rooms, made.body, made.timestamp, removal=removal))
            assert [entry.removal for entry in subject.delivered_to("acme")] == removals

    async def test_any_event_fits(self) -> None:
        """Large events and characters of every plane come back unchanged."""
        texts = ["", "\x00\x1f\x7f", "\u2028\u2029", "\U0001f600é\u05d0", '"\\/', "x" * 60_000]
        async with self.opened() as subject:
            for text in texts:
                body = encode_event({"type": "task.created", "data": {"text": text}})
                await subject.log.append("acme", Draft((TENANT_ROOM,), body, DRAFT_AT))
            assert [json.loads(entry.frame.payload)["data"]["text"] for entry in subject.delivered_to("acme")] == texts

    async def test_own_appends_are_counted(self) -> None:
        """Each event is counted once, a duplicate not at all, for followed and other tenants; `size` is that of the
        log."""
        async with self.opened(Bounds(max_events=4)) as subject:
            log = subject.log
            assert (log.appended("acme"), await log.size("acme")) == (0, (0, 0))
            for tenant in ("acme", "carol"):  # not followed
                await subject.append(tenant, 5)
                for _ in range(2):
                    await log.append(tenant, draft(5, key="k"))
                assert log.appended(tenant) == 6
                events, size = await log.size(tenant)
                assert events == 4
                assert 4 * 40 < size < 4 * 400
            assert set(log.tenants()) == {"acme", "carol"}
            assert (log.appended("dora"), await log.size("dora")) == (0, (0, 0))

    async def test_windows_are_those_of_the_followed_tenants(self) -> None:
        """The windows that the node keeps are those of the tenants that it follows, with all of their events."""
        async with self.opened() as subject:
            await subject.follow("acme", "bolt")
            await subject.append("acme", 3)
            await subject.append("bolt", 2)
            assert sorted(map(len, subject.log.windows())) == [2, 3]

    async def test_the_trace_context_is_in_the_frame(self) -> None:
        """The frame has the trace context of its draft; one of a retry is another, and the same key still matches."""
        context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        async with self.opened() as subject:
            for trace in (context, None, context.replace("b7", "b8")):
                sent = draft(1, key="k")
                sent.traceparent = trace
                receipt = await subject.log.append("acme", sent)
                assert receipt.duplicate == (trace != context)
            (entry,) = subject.delivered_to("acme")
            assert json.loads(entry.frame.payload)["traceparent"] == context

    # -- idempotency

    async def test_same_key_and_body_is_appended_once(self) -> None:
        """The same key and body return the first receipt's id, marked duplicate; nothing is appended or delivered. The
        timestamp is not part of the body: it differs between retries."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            await subject.log.append("acme", draft(2))
            again = await subject.log.append("acme", draft(1, key="k", at="2026-01-15T10:31:00.000Z"))
            assert is_duplicate(again, first)
            assert subject.log.window("acme").head == 2
            assert len(subject.delivered) == 2

    async def test_same_key_at_once_is_appended_once(self) -> None:
        """One of many concurrent appends with one key is appended, and the others are its duplicates."""
        async with self.opened() as subject:
            receipts = await asyncio.gather(*(subject.log.append("acme", draft(1, key="k")) for _ in range(20)))
            assert len({receipt.event_id for receipt in receipts}) == 1
            assert sum(not receipt.duplicate for receipt in receipts) == 1
            assert subject.log.window("acme").head == 1

    async def test_same_key_and_another_body_conflicts(self) -> None:
        """A key used for another event raises `IdempotencyConflict`; nothing is appended, and the key stays valid."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            try:
                await subject.log.append("acme", draft(2, key="k"))
            except IdempotencyConflict:
                pass
            else:
                raise AssertionError("no conflict")
            assert subject.log.window("acme").head == 1
            assert len(subject.delivered) == 1
            assert is_duplicate(await subject.log.append("acme", draft(1, key="k")), first)

    async def test_idempotency_keys_are_distinct(self) -> None:
        """Similar keys are different keys; events without a key are never duplicates."""
        keys = ["k", "K", "k ", " k", "k\x00", "é", "e\u0301", "0", "x" * 128, None, None]
        async with self.opened() as subject:
            receipts = [await subject.log.append("acme", draft(1, key=key)) for key in keys]
            assert not any(receipt.duplicate for receipt in receipts)

    async def test_key_of_another_tenant_is_another_key(self) -> None:
        """Keys of different tenants are independent."""
        async with self.opened() as subject:
            await subject.log.append("acme", draft(1, key="k"))
            assert not (await subject.log.append("bolt", draft(2, key="k"))).duplicate

    async def test_key_expires_after_its_time(self) -> None:
        """A key holds for 120 seconds from its first use, however often it is retried, and then expires."""
        async with self.opened() as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            for _ in range(4):
                await subject.pass_time(KEY_SECONDS / 4 - 0.5)
                assert (await subject.log.append("acme", draft(1, key="k"))).event_id == first.event_id
            await subject.pass_time(_FORGOTTEN_AFTER)
            later = await subject.log.append("acme", draft(2, key="k"))
            assert not later.duplicate

    async def test_key_outlives_its_event(self) -> None:
        """A key holds after the window has trimmed its event."""
        async with self.opened(Bounds(max_events=2)) as subject:
            first = await subject.log.append("acme", draft(1, key="k"))
            await subject.append("acme", 5)
            assert is_duplicate(await subject.log.append("acme", draft(1, key="k")), first)

    # -- the head

    async def test_staleness_is_known_of_what_is_followed(self) -> None:
        """The staleness of a followed window is known and at most a few seconds, with or without appends."""
        async with self.opened() as subject:
            for _ in range(3):
                await until(lambda: subject.log.staleness("acme") is not None)
                assert 0.0 <= (subject.log.staleness("acme") or 0.0) < 3.0
                await subject.append("acme", 3)
                await asyncio.sleep(0.7)

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

    async def test_cursor_of_another_tenant_is_invalid(self) -> None:
        """Another tenant's id is invalid as a cursor, like any text that is not a cursor."""
        async with self.opened() as subject:
            receipt = await subject.log.append("acme", draft(1))
            for forged in (receipt.event_id, "evt_", "", receipt.event_id[:-1] + "!"):
                try:
                    subject.log.window("bolt").cursors.decode(forged)
                except CursorInvalid:
                    continue
                raise AssertionError(f"{forged!r} was taken")

    async def test_event_ids_do_not_reveal_counts(self) -> None:
        """Ids have one length, no order, and share no more characters than by chance, between neighbours and between
        tenants."""
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
