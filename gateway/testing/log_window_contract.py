"""The contract suite of a log's window: its bounds, and the gaps that it reports."""

from gateway.core.cursor import Position
from gateway.core.window import Bounds
from gateway.testing.helpers import CURSOR_KEY, draft, number_of, until
from gateway.testing.log_under_test import LogSuite
from schemas.rooms import TENANT_ROOM


class LogWindowContract(LogSuite):
    """The guarantees of `gateway.core.log.Log` about windows."""

    async def test_window_is_within_its_count_after_every_append(self) -> None:
        """The window has at most `max_events` entries: the newest, without a hole."""
        async with self.opened(Bounds(max_events=5)) as subject:
            window = subject.log.window("acme")
            for n in range(1, 13):
                await subject.log.append("acme", draft(n))
                assert (window.head, len(window)) == (n, min(n, 5))
                assert window.first == n - len(window) + 1
                assert [window[o].offset for o in range(window.first, n + 1)] == list(range(window.first, n + 1))

    async def test_window_is_within_its_bytes_after_every_append(self) -> None:
        """The window has at most `max_bytes` of frames; a single event over them stays until the next one, since an
        accepted event must be delivered."""
        async with self.opened(Bounds(max_bytes=2_000)) as subject:
            window = subject.log.window("acme")
            for size in (300, 500, 100, 900, 0, 1_500, 1_900, 0, 5_000, 10, 10):
                await subject.log.append("acme", draft(size, size=size))
                held = [len(window[o].frame) for o in range(window.first, window.head + 1)]
                assert window.bytes == sum(held)
                assert window.bytes <= 2_000 or len(held) == 1
                assert number_of(window[window.head].frame) == size

    async def test_window_drops_expired_entries(self) -> None:
        """Entries older than `max_seconds` are dropped, and no others; offsets continue."""
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

    async def test_gap_is_reported_exactly(self) -> None:
        """The entries after a position are complete, or trimmed up to the exact offset, or of another epoch."""
        async with self.opened(Bounds(max_events=4)) as subject:
            window = subject.log.window("acme")
            assert window.gap(Position(window.epoch, 0), [TENANT_ROOM]) is None
            assert window.gap(Position(window.epoch, 1), [TENANT_ROOM]) == "log_reset"
            await subject.append("acme", 10)  # 7 to 10 are there
            judged = {
                offset: window.gap(Position(window.epoch, offset), [TENANT_ROOM])
                for offset in (0, 1, 5, 6, 7, 9, 10, 11)
            }
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
            assert {window.gap(Position(other, offset), [TENANT_ROOM]) for offset in (0, 6, 10, 11)} == {"log_reset"}

    async def test_empty_window_reports_a_gap(self) -> None:
        """With all entries dropped, only the head's own position has no gap."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            window = subject.log.window("acme")
            await subject.append("acme", 3)
            await subject.pass_time(120.0)
            subject.log.sweep()
            assert window.gap(Position(window.epoch, 2), [TENANT_ROOM]) == "history_trimmed"
            assert window.gap(Position(window.epoch, 3), [TENANT_ROOM]) is None

    async def test_new_follower_gets_no_expired_entry(self) -> None:
        """A window followed for the first time has no expired entries, and reports them as a gap, with or without
        appends and sweeps in between."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            for n in range(6):
                await subject.log.append("carol", draft(n))
                await subject.log.append("dora", draft(n))
                await subject.pass_time(20.0 if n < 5 else 30.5)
            await subject.follow("carol")
            window = subject.log.window("carol")
            assert (window.first, window.head) == (5, 6)
            assert window.gap(Position(window.epoch, 3), [TENANT_ROOM]) == "history_trimmed"
            assert window.gap(Position(window.epoch, 4), [TENANT_ROOM]) is None
            await subject.pass_time(300.0)
            await subject.follow("dora")
            window = subject.log.window("dora")
            assert (window.first, window.head, len(window)) == (7, 6, 0)
            assert window.gap(Position(window.epoch, 5), [TENANT_ROOM]) == "history_trimmed"
            await subject.log.append("dora", draft(6))
            await until(lambda: window.head == 7)
            assert [entry.offset for entry in subject.delivered_to("dora")][-1:] == [7]

    async def test_new_log_has_a_new_epoch(self) -> None:
        """Cursors of a log that has lost its entries still decode, and give `log_reset`."""
        async with self.opened() as subject:
            receipt = (await subject.append("acme", 3))[1]
        async with self.opened() as subject:
            await subject.append("acme", 5)
            window = subject.log.window("acme")
            assert window.gap(window.cursors.decode(receipt.event_id), [TENANT_ROOM]) == "log_reset"

    async def test_cursors_of_an_earlier_key_are_still_good(self) -> None:
        """The newest key encodes cursors, and every known key decodes them."""
        newer = b"another cursor key, made later on"
        async with self.open(Bounds(), (CURSOR_KEY,)) as subject:
            await subject.follow("acme")
            old = (await subject.append("acme", 1))[0].event_id
        async with self.open(Bounds(), (newer, CURSOR_KEY)) as subject:
            await subject.follow("acme")
            window = subject.log.window("acme")
            assert window.gap(window.cursors.decode(old), [TENANT_ROOM]) == "log_reset"
            position = window.cursors.decode((await subject.append("acme", 1))[0].event_id)
            assert position == Position(window.epoch, 1)
