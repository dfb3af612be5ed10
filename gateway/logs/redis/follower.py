"""The follower: keeps the windows of followed tenants current, from pub/sub and from the stream."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, Final, Literal

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.errors import CursorInvalid
from gateway.core.frame import Frame
from gateway.core.log import LogListener, payload_of
from gateway.core.trimmed_rooms import TrimmedRooms
from gateway.core.window import Bounds, Entry, Window
from gateway.logs.redis.codec import StoredEvent, decode_entry, decode_message
from gateway.logs.redis.context import RedisContext
from gateway.logs.redis.followed_tenant import FollowedTenant, reject, resolve
from gateway.logs.redis.page_reader import LinkTooSlow, Page, PageReader
from gateway.logs.redis.pubsub import PubSubListener
from gateway.logs.redis.writer import ANSWER_SECONDS
from gateway.redis.deadlines import PauseTolerantTimer
from gateway.redis.tasks import WakeUp
from schemas.events import decode_event

NO_EPOCH: Final = bytes(EPOCH_BYTES)
_GAP_TIMEOUT: Final = 0.05

logger = logging.getLogger("gateway.log")

Value = dict[str, Any] | None


class Follower:
    """Applies pub/sub messages at exactly the next offset; for any other offset or epoch it reads the stream from its
    own head.

    `new_window` makes the window of a tenant from an epoch, a head and the trimmed entries up to it; entries older than
    the bounds' `max_seconds` are not read. `dropped` counts messages without an entry.
    """

    def __init__(
        self,
        context: RedisContext,
        new_window: Callable[[str, bytes, int, TrimmedRooms, TrimmedRooms, int], Window],
        bounds: Bounds,
    ) -> None:
        self.listener: LogListener | None = None
        self.followed: dict[str, FollowedTenant] = {}
        self.dropped = 0
        self.channels = PubSubListener(context, self._on_message, self._on_listening)
        self._context = context
        self._keys = context.keys
        self._new_window = new_window
        self._bounds = bounds
        self.pages = PageReader(context, bounds)
        self._tenants: dict[str, str] = {}
        self._unread: dict[str, bool] = {}
        """The tenants to read, and whether their windows count as current only then."""
        self._unread_changed = WakeUp()

    def follow(self, tenant: str, since: str | None = None) -> Awaitable[None] | None:
        followed = self.followed.get(tenant)
        if followed is None:
            followed = self.followed[tenant] = FollowedTenant(
                self._new_window(tenant, NO_EPOCH, 0, TrimmedRooms(0), TrimmedRooms(0), 0)
            )
            self._tenants[self._keys.channel(tenant)] = tenant
            self.channels.add(self._keys.channel(tenant))
            self.mark_stale(tenant, followed)
        elif followed.stale or (since is not None and self._is_ahead(since, followed.window)):
            self.mark_stale(tenant, followed)
        if not followed.stale:
            return None
        caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        followed.waiting.append(caught_up)
        timer = PauseTolerantTimer(ANSWER_SECONDS, reject, [caught_up])
        caught_up.add_done_callback(lambda _: timer.cancel())
        return caught_up

    def release(self, tenant: str) -> None:
        followed = self.followed.pop(tenant, None)
        if followed is not None:
            channel = self._keys.channel(tenant)
            del self._tenants[channel]
            self.channels.remove(channel)
            self._unread.pop(tenant, None)
            reject(followed.waiting)
            if followed.gap_timer is not None:
                followed.gap_timer.cancel()

    # ---- messages

    def apply_own(self, tenant: str, epoch: bytes, offset: int, oldest: int, content: StoredEvent) -> None:
        """Apply an entry that this node appended, unless an earlier one is still on its way."""
        followed = self.followed.get(tenant)
        if followed is None:
            return
        if epoch == followed.window.epoch and offset > followed.window.head + 1:
            # Pub/sub is in order and delivers both soon; a read would cost Redis more.
            if followed.gap_timer is None:
                loop = asyncio.get_running_loop()
                followed.gap_timer = loop.call_later(_GAP_TIMEOUT, self._gap_timeout, tenant, followed, offset)
        else:
            self._apply_if_next(tenant, followed, epoch, offset, oldest, content)

    def _gap_timeout(self, tenant: str, followed: FollowedTenant, offset: int) -> None:
        followed.gap_timer = None
        if followed.window.head < offset:
            self.mark_stale(tenant, followed)

    def _apply_if_next(
        self, tenant: str, followed: FollowedTenant, epoch: bytes, offset: int, oldest: int, content: StoredEvent
    ) -> None:
        """Append the entry if it is the next one; for a later offset or another epoch, schedule a read of the
        stream. Where there are holes the next one may be an `append` to a value that this node has not read."""
        window = followed.window
        if epoch == window.epoch and offset <= window.head:
            return
        if epoch != window.epoch or offset > window.head + 1 or followed.holes:
            self.mark_stale(tenant, followed)
        else:
            self._append(tenant, followed, offset, content)
            if oldest:
                window.evict_before(oldest)

    def _append(
        self, tenant: str, followed: FollowedTenant, offset: int, content: StoredEvent, value: Value = None
    ) -> None:
        window = followed.window
        event_id = window.cursors.encode(window.epoch, offset)
        frame = Frame(payload_of(content.body, event_id, content.timestamp, content.traceparent), event_id)
        entry = Entry(offset, event_id, content.rooms, frame, content.at, content.removal, content.change)
        window.append(entry, value)
        self._notify(followed, "on_entry", tenant, entry)

    def _on_message(self, channel: str, data: bytes) -> None:
        tenant = self._tenants.get(channel)
        if tenant is None:
            return
        try:
            epoch, offset, oldest, content = decode_message(data)
        except ValueError as error:
            self.dropped += 1
            self._context.incidents.failed("decoded from pub/sub", error)
        else:
            self._apply_if_next(tenant, self.followed[tenant], epoch, offset, oldest, content)

    def _on_listening(self, channel: str) -> None:
        if (tenant := self._tenants.get(channel)) is None:
            return
        followed = self.followed[tenant]
        if followed.listened:
            self.mark_stale(tenant, followed)
        else:
            # Read once more, for what came before the subscription. The first page was the log as of when it was asked
            # for, and its clients have been answered.
            followed.listened = True
            self._read_soon(tenant, followed, stale=False)

    def _is_ahead(self, since: str, window: Window) -> bool:
        """Whether a cursor, maybe from another node, is ahead of this window."""
        try:
            return not window.reaches(window.cursors.decode(since))
        except CursorInvalid:
            return False

    # ---- reading

    def mark_stale(self, tenant: str, followed: FollowedTenant) -> None:
        self._read_soon(tenant, followed, stale=True)

    def _read_soon(self, tenant: str, followed: FollowedTenant, *, stale: bool) -> None:
        if not followed.stale:
            followed.stale, followed.ended = stale, followed.window.head
        self._unread[tenant] = stale or self._unread.get(tenant, False)
        self._unread_changed.set()

    async def run(self) -> None:
        while True:
            await self._unread_changed.wait()
            batch = [(tenant, self.followed[tenant]) for tenant in islice(self._unread, self.pages.tenants_at_once)]
            waiting = []
            for tenant, followed in batch:
                del self._unread[tenant]
                # Callers of `follow` from here on wait for the next page: this one may not reach their cursor.
                waiting.append(followed.waiting)
                followed.waiting = []
            if not self._unread:
                self._unread_changed.clear()
            asked_at = self._context.timer()
            try:
                pages = await self.pages.read(batch)
                for (tenant, followed), those, page in zip(batch, waiting, pages, strict=True):
                    self._apply_page(tenant, followed, page, those, asked_at)
                    await asyncio.sleep(0)  # yield to the event loop: a page may be a thousand entries
            except BaseException:  # no other code resolves these futures
                for those in waiting:
                    reject(those)
                raise

    def _apply_page(
        self,
        tenant: str,
        followed: FollowedTenant,
        page: Page | Exception,
        waiting: list[asyncio.Future[None]],
        asked_at: float,
    ) -> None:
        """Apply a page; resolves `waiting` once the window has reached the page's head."""
        if self.followed.get(tenant) is not followed:
            reject(waiting)
        elif isinstance(page, LinkTooSlow):
            self._read_next_page(tenant, followed, waiting)
        elif isinstance(page, Exception):
            reject(waiting)  # the next health check, within a second or two, reads it again
        else:
            self._apply_entries(tenant, followed, page)
            # Before the window counts as current: expired entries must not be replayed.
            followed.window.sweep(self._context.clock.now())
            if followed.window.head < page.head:
                self._read_next_page(tenant, followed, waiting)
            else:
                followed.caught_up_once = True
                followed.holes = False
                followed.head_known_at = asked_at
                followed.stale = self._unread.get(tenant, False)  # marked again while the page was read
                resolve(waiting)

    def _read_next_page(self, tenant: str, followed: FollowedTenant, waiting: list[asyncio.Future[None]]) -> None:
        followed.waiting += [caught_up for caught_up in waiting if not caught_up.done()]
        self.mark_stale(tenant, followed)

    def _apply_entries(self, tenant: str, followed: FollowedTenant, page: Page) -> None:
        limit = self._bounds.max_trimmed_rooms
        if page.epoch != followed.window.epoch:
            followed.ended = page.ended
            lost = page.trimmed(limit), page.evicted(limit)
            followed.window = self._new_window(tenant, page.epoch, 0, *lost, page.first)
            self._notify(followed, "on_reset", tenant)
        else:
            followed.window.trimmed.merge(page.trimmed(limit))
            followed.window.evicted.merge(page.evicted(limit))
        window, skipped = followed.window, False
        for id, fields, value in page.entries:
            offset = _offset(id)
            if offset <= window.head:
                continue  # already applied from pub/sub
            before = window.head
            hole = offset > before + 1
            if offset > window.head + 1:
                self._skip(followed, page, window, offset)
            try:
                content = decode_entry(dict(zip(*[iter(fields)] * 2, strict=True))[b"e"])
                whole = decode_event(value) if value else None
            except (ValueError, KeyError) as error:
                self._context.incidents.failed("decoded from its stream", error)
                window.lose(TrimmedRooms(limit, offset))
                window.skip(offset + 1)
                hole, content = True, None
            grown = content is not None and content.change is not None and content.change.op == "append"
            # A piece is of no use to a client that has missed those before it.
            if (hole or (followed.holes and grown)) and not skipped:
                skipped = True
                self._notify(followed, "on_skip", tenant, before)
            if content is not None:
                self._append(tenant, followed, offset, content, whole)
        if window.head >= page.head or not page.entries:
            before = window.head
            if page.head > window.head:
                self._skip(followed, page, window, page.head + 1)
            if not page.entries and window.head > before:
                self._notify(followed, "on_skip", tenant, before)
            if (items := page.items()) is not None:
                window.retain_items(page.after, items)
            window.evict_before(page.oldest)
            followed.ended = window.head

    def _skip(self, followed: FollowedTenant, page: Page, window: Window, offset: int) -> None:
        """Pass over entries that the stream no longer has, up to `offset`: superseded ones, unless some are lost."""
        followed.holes = True
        if page.has_lost_after(window.head):
            window.lose(TrimmedRooms(self._bounds.max_trimmed_rooms))  # which ones was merged with the page
        window.skip(offset)

    def _notify(self, followed: FollowedTenant, call: Literal["on_entry", "on_reset", "on_skip"], *about: Any) -> None:
        if followed.caught_up_once and self.listener is not None:
            try:
                getattr(self.listener, call)(*about)
            except Exception:
                logger.exception("%s failed", call)


def _offset(id: bytes) -> int:
    return int(id.split(b"-")[0])
