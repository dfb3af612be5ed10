"""The contract suite of `gateway.core.log.Log`, for several nodes."""

import asyncio
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager

from gateway.core.cursor import Position
from gateway.core.errors import LogUnavailable
from gateway.core.log import Draft
from gateway.core.window import Bounds
from gateway.testing.helpers import PATIENCE, draft, is_duplicate, number_of, until
from gateway.testing.log_contract import LogContract
from gateway.testing.log_items_contract import ITEM_BOUNDS, ItemStory, kept_of, keyed_draft
from gateway.testing.log_rooms_contract import Story
from gateway.testing.log_under_test import LogUnderTest
from schemas.rooms import TENANT_ROOM


class SharedLogContract(LogContract):
    """The guarantees of `Log` between nodes with shared storage."""

    @abstractmethod
    def join(self, subject: LogUnderTest) -> AbstractAsyncContextManager[LogUnderTest]:
        """One more node on the storage of `subject`."""

    @abstractmethod
    def unreachable(self, subject: LogUnderTest) -> AbstractAsyncContextManager[None]:
        """A context in which the storage answers no node; nothing is lost."""

    @abstractmethod
    def without_notifications(self, subject: LogUnderTest) -> AbstractAsyncContextManager[None]:
        """A context in which this node is not notified of other nodes' appends."""

    @abstractmethod
    async def wipe(self, subject: LogUnderTest) -> None:
        """Empty the storage under a running node."""

    async def test_every_node_is_called_with_every_entry(self) -> None:
        """Each node's listener is called with every entry once, in one order, whichever node appended it; ids and
        removals are equal."""
        async with self.opened() as one, self.join(one) as other:
            await other.follow("acme")
            for n in range(20):
                made = draft(n)
                made.removal = ("ada", "circle:7") if n % 3 == 0 else None
                await (one, other)[n % 2].log.append("acme", made)
            await until(lambda: min(len(one.delivered), len(other.delivered)) >= 20)
            assert [e.event_id for e in one.delivered_to("acme")] == [e.event_id for e in other.delivered_to("acme")]
            assert [e.offset for e in other.delivered_to("acme")] == list(range(1, 21))
            for node in (one, other):
                assert [e.removal is not None for e in node.delivered_to("acme")] == [n % 3 == 0 for n in range(20)]
            assert [e.frame.wire for e in one.delivered_to("acme")] == [
                e.frame.wire for e in other.delivered_to("acme")
            ]

    async def test_event_is_counted_where_it_was_appended(self) -> None:
        """An event is counted on the node that appended it only."""
        async with self.opened() as one, self.join(one) as other:
            await other.follow("acme")
            await one.append("acme", 3)
            await other.append("acme", 2)
            await until(lambda: min(len(one.delivered), len(other.delivered)) >= 5)
            assert (one.log.appended("acme"), other.log.appended("acme")) == (3, 2)
            assert await one.log.size("acme") == await other.log.size("acme")

    async def test_key_used_at_another_node_is_a_duplicate(self) -> None:
        """An idempotency key is valid on every node."""
        async with self.opened() as one, self.join(one) as other:
            first = await one.log.append("acme", draft(1, key="k"))
            assert is_duplicate(await other.log.append("acme", draft(1, key="k")), first)

    async def test_new_node_has_the_window(self) -> None:
        """A new node has the earlier entries in its window, and is called with later ones only."""
        async with self.opened() as one:
            await one.append("acme", 5)
            async with self.join(one) as other:
                await other.follow("acme")
                assert other.delivered == [], "what was there before is history, not news"
                await other.log.append("acme", draft(6))
                window = other.log.window("acme")
                await until(lambda: window.head == 6)
                assert window.gap(Position(window.epoch, 0), [TENANT_ROOM]) is None
                assert [number_of(window[o].frame) for o in range(1, 6)] == list(range(5))

    async def test_new_node_skips_expired_entries(self) -> None:
        """A new node has exactly the entries that have not expired, wherever they begin in the log."""
        async with self.opened(Bounds(max_seconds=3_600.0)) as one:
            for n in range(12):
                await one.log.append("acme", draft(n))
                await one.pass_time(600.0)
            for old in range(7, 14):  # the newest has 600 s behind it already
                async with self.join(one) as other:
                    await other.follow("acme")
                    window = other.log.window("acme")
                    kept = range(min(old, 13), 13)
                    assert [window[o].offset for o in range(window.first, window.head + 1)] == list(kept)
                await one.pass_time(600.0)

    async def test_new_node_knows_the_losses_of_each_room(self) -> None:
        """A new node reports the same losses of each room as a model, whatever was trimmed before it started."""
        for number in range(4):
            async with self.opened(Bounds(max_events=12, max_bytes=4_000, max_seconds=60.0)) as one:
                story = Story(one, number)
                for _ in range(30):
                    await story.go_on()
                    if story.random.random() < 0.2:
                        async with self.join(one) as other:
                            await other.follow("acme")
                            story.judge(other.log.window("acme"))

    async def test_node_reports_entries_trimmed_unread(self) -> None:
        """The listener is called once for entries that were trimmed before the node read them, and with each later one;
        the losses of each room are known."""
        async with self.opened(Bounds(max_events=4)) as one, self.join(one) as other:
            await other.follow("acme")
            await one.log.append("acme", draft(0, circle=1))
            await until(lambda: len(other.delivered) == 1)
            async with self.without_notifications(other):
                for n in range(1, 9):
                    await one.log.append("acme", draft(n, circle=2))
            await until(lambda: len(other.delivered) == 5)
            window = other.log.window("acme")
            assert (other.resets, other.skips, window.first) == ([], [("acme", 1)], 6)
            assert [entry.offset for entry in other.delivered_to("acme")] == [1, 6, 7, 8, 9]
            assert window.gap(Position(window.epoch, 1), ["circle:1", "circle:3"]) is None
            assert window.gap(Position(window.epoch, 1), ["circle:2"]) == "history_trimmed"
            assert window.gap(Position(window.epoch, 5), ["circle:2", TENANT_ROOM]) is None

    async def test_staleness_is_not_known_without_the_storage(self) -> None:
        """Without the storage the staleness grows, then is None; it is None for a tenant that is not followed."""
        async with self.opened() as subject:
            await subject.append("acme", 1)
            await until(lambda: subject.log.staleness("acme") is not None)
            assert subject.log.staleness("carol") is None
            async with self.unreachable(subject):
                before = subject.log.staleness("acme")
                await asyncio.sleep(0.5)
                assert before is not None
                assert (subject.log.staleness("acme") or 0.0) >= before + 0.4
                await until(lambda: subject.log.staleness("acme") is None)
            await until(lambda: subject.log.staleness("acme") is not None)

    async def test_late_node_has_the_items(self) -> None:
        """A new node has the newest version of each item with its whole value, whatever was trimmed, superseded and
        evicted before it came, and goes on from there as the others do."""
        for number in range(6):
            async with self.opened(ITEM_BOUNDS) as one:
                story = ItemStory(one, number, ITEM_BOUNDS)
                for _ in range(30):
                    await story.go_on()
                    if story.random.random() < 0.2:
                        async with self.join(one) as other:
                            await other.follow("acme")
                            story.judge(other.log.window("acme"))
                            await story.go_on()
                            window = other.log.window("acme")
                            await until(lambda window=window: window.head == one.log.window("acme").head)  # type: ignore[misc]
                            kept = kept_of(window)  # of which it may trim less
                            for offset, event in kept_of(one.log.window("acme")).items():
                                assert kept[offset] == event

    async def test_node_that_missed_versions_has_the_whole_values(self) -> None:
        """Superseded versions that a node did not hear of are no loss; its listener is called once with the place where
        live connections have to begin their catch-up, so that none gets a piece without those before it."""
        async with self.opened() as one, self.join(one) as other:
            await other.follow("acme")
            await one.log.append("acme", keyed_draft("run", "set", {"text": "0"}))
            await until(lambda: len(other.delivered) == 1)
            async with self.without_notifications(other):
                for n in range(1, 200):
                    await one.log.append("acme", keyed_draft("run", "append", {"text": f",{n}"}))
                    if n % 50 == 0:
                        await one.log.append("acme", draft(n, circle=1))
            window = other.log.window("acme")
            await until(lambda: window.head == 203)
            await one.log.append("acme", keyed_draft("run", "append", {"text": "!"}))
            await until(lambda: window.head == 204)
            text = ",".join(map(str, range(200))) + "!"
            assert kept_of(window) == kept_of(one.log.window("acme"))
            assert kept_of(window)[204] == ("set", "run", {"text": text})
            assert window.gap(Position(window.epoch, 0), ["circle:1", TENANT_ROOM]) is None
            assert other.skips
            assert other.skips[0] == ("acme", 1)
            assert other.resets == []

    async def test_nodes_append_to_one_item(self) -> None:
        """Pieces from several nodes are put together in log order; an item's bound holds for all of them."""
        async with self.opened() as one, self.join(one) as other:
            await other.follow("acme")
            for n in range(40):
                await (one, other)[n % 2].log.append("acme", keyed_draft("run", "append", {"text": f"{n};"}))
            for node in (one, other):
                window = node.log.window("acme")
                await until(lambda window=window: window.head == 40)  # type: ignore[misc]
                assert kept_of(window) == {40: ("set", "run", {"text": "".join(f"{n};" for n in range(40))})}

    async def test_append_fails_in_time_where_the_storage_does_not_answer(self) -> None:
        """Without the storage `append` raises within 2 seconds; afterwards it works again, and no entry is delivered
        twice."""
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
            assert [entry.offset for entry in subject.delivered_to("acme")] == [1, 2, 3]

    async def test_loss_of_entries_is_another_epoch(self) -> None:
        """After a loss of entries the epoch is another one, and old cursors give `log_reset`."""
        async with self.opened() as subject:
            old = (await subject.append("acme", 3))[0].event_id
            await self.wipe(subject)
            await self._until_appended(subject, draft(4))
            window = subject.log.window("acme")
            position = window.cursors.decode(old)
            await until(lambda: subject.log.window("acme").gap(position, [TENANT_ROOM]) == "log_reset")

    async def _until_appended(self, subject: LogUnderTest, event: Draft) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await subject.log.append("acme", event)
                except LogUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    return
