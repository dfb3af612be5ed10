"""The windows of the tenants that this node follows, kept up to date from the channel and from the stream."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.errors import CursorInvalid, LogUnavailable
from gateway.core.frame import Frame
from gateway.core.log import LogListener, payload_of
from gateway.core.window import Entry, Gap, Window
from gateway.logs.redis.codec import StoredEvent, decode_entry, decode_message
from gateway.logs.redis.context import RedisContext
from gateway.logs.redis.page_reader import LineTooSlow, Page, PageReader
from gateway.logs.redis.pubsub import PubSubListener
from gateway.logs.redis.writer import ANSWER_SECONDS
from gateway.redis.tasks import WakeUp

NO_EPOCH: Final = bytes(EPOCH_BYTES)
_OVERTAKEN_SECONDS: Final = 0.05

logger = logging.getLogger("gateway.log")


@dataclass(slots=True, eq=False)
class Followed:
    """A tenant that this node follows. `behind` where the stream has, or may have, more than the window; `begun` once
    it was at the head: from then on entries are told of."""

    window: Window
    behind: bool = True
    begun: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    overtaken: asyncio.TimerHandle | None = None


class Follower:
    """Takes from the channel what is exactly next, and for anything else reads the stream from its own place.

    `new_window` makes one of a tenant, an epoch and a head; what is older than `max_seconds` is not read. `dropped`
    counts messages that held no entry.
    """

    def __init__(
        self, context: RedisContext, new_window: Callable[[str, bytes, int], Window], max_seconds: float
    ) -> None:
        self.listener: LogListener | None = None
        self.followed: dict[str, Followed] = {}
        self.dropped = 0
        self.channels = PubSubListener(context, self._on_message, self._on_listening)
        self._context = context
        self._keys = context.keys
        self._new_window = new_window
        self._pages = PageReader(context, max_seconds)
        self._tenants: dict[str, str] = {}
        self._unread: dict[str, None] = {}
        self._unread_changed = WakeUp()

    def follow(self, tenant: str, since: str | None = None) -> Awaitable[None] | None:
        followed = self.followed.get(tenant)
        if followed is None:
            followed = self.followed[tenant] = Followed(self._new_window(tenant, NO_EPOCH, 0))
            self._tenants[self._keys.channel(tenant)] = tenant
            self.channels.add(self._keys.channel(tenant))
            self.fall_behind(tenant, followed)
        elif followed.behind or (since is not None and self._is_ahead(since, followed.window)):
            self.fall_behind(tenant, followed)
        if not followed.behind:
            return None
        loop = asyncio.get_running_loop()
        caught_up: asyncio.Future[None] = loop.create_future()
        followed.waiting.append(caught_up)
        alarm = loop.call_later(ANSWER_SECONDS, _refuse, [caught_up])
        caught_up.add_done_callback(lambda _: alarm.cancel())
        return caught_up

    def release(self, tenant: str) -> None:
        followed = self.followed.pop(tenant, None)
        if followed is not None:
            channel = self._keys.channel(tenant)
            del self._tenants[channel]
            self.channels.remove(channel)
            self._unread.pop(tenant, None)
            _refuse(followed.waiting)
            if followed.overtaken is not None:
                followed.overtaken.cancel()

    # ---- what comes

    def apply_own(self, tenant: str, epoch: bytes, offset: int, content: StoredEvent) -> None:
        """Take what was appended from here, unless another node's entry is still on its way ahead of it."""
        followed = self.followed.get(tenant)
        if followed is None:
            return
        if epoch == followed.window.epoch and offset > followed.window.head + 1:
            # The channel, which is in order, brings both in a moment; reading would cost Redis more.
            if followed.overtaken is None:
                loop = asyncio.get_running_loop()
                followed.overtaken = loop.call_later(_OVERTAKEN_SECONDS, self._gap_timeout, tenant, followed, offset)
        else:
            self._take(tenant, followed, epoch, offset, content)

    def _gap_timeout(self, tenant: str, followed: Followed, offset: int) -> None:
        followed.overtaken = None
        if followed.window.head < offset:
            self.fall_behind(tenant, followed)

    def _take(self, tenant: str, followed: Followed, epoch: bytes, offset: int, content: StoredEvent) -> None:
        """Append to the window what is exactly next; for a jump or another epoch, have the stream read."""
        window = followed.window
        if epoch != window.epoch or offset > window.head + 1:
            self.fall_behind(tenant, followed)
        elif offset == window.head + 1:
            self._append(tenant, followed, offset, content)

    def _append(self, tenant: str, followed: Followed, offset: int, content: StoredEvent) -> None:
        window = followed.window
        event_id = window.cursors.encode(window.epoch, offset)
        frame = Frame(payload_of(content.body, event_id, content.timestamp))
        entry = Entry(offset, event_id, content.rooms, frame, content.at, content.removal)
        window.append(entry)
        if followed.begun and self.listener is not None:
            try:
                self.listener.on_entry(tenant, entry)
            except Exception:
                logger.exception("an entry could not be delivered")

    def _on_message(self, channel: str, data: bytes) -> None:
        tenant = self._tenants.get(channel)
        if tenant is None:
            return
        try:
            epoch, offset, content = decode_message(data)
        except ValueError as error:
            self.dropped += 1
            self._context.incidents.failed("understood on its channels", error)
        else:
            self._take(tenant, self.followed[tenant], epoch, offset, content)

    def _on_listening(self, channel: str) -> None:
        if tenant := self._tenants.get(channel):
            self.fall_behind(tenant, self.followed[tenant])

    def _is_ahead(self, since: str, window: Window) -> bool:
        """Whether a cursor is of a place that this node has not heard of yet, as another node may have."""
        try:
            return window.gap(window.cursors.decode(since)) == "log_reset"
        except CursorInvalid:
            return False

    # ---- reading

    def fall_behind(self, tenant: str, followed: Followed) -> None:
        followed.behind = True
        self._unread[tenant] = None
        self._unread_changed.set()

    async def run(self) -> None:
        while True:
            await self._unread_changed.wait()
            batch = [(tenant, self.followed[tenant]) for tenant in islice(self._unread, self._pages.tenants_at_once)]
            waiting = []
            for tenant, followed in batch:
                del self._unread[tenant]
                # Who comes from here on waits for the next page: this one may not have what they ask for.
                waiting.append(followed.waiting)
                followed.waiting = []
            if not self._unread:
                self._unread_changed.clear()
            try:
                pages = await self._pages.read([(tenant, followed.window) for tenant, followed in batch])
                for (tenant, followed), those, page in zip(batch, waiting, pages, strict=True):
                    self._take_page(tenant, followed, page, those)
                    await asyncio.sleep(0)  # a page may be a thousand entries
            except BaseException:  # cancelled, or a fault: no other reference to them exists
                for those in waiting:
                    _refuse(those)
                raise

    def _take_page(
        self, tenant: str, followed: Followed, page: Page | Exception, waiting: list[asyncio.Future[None]]
    ) -> None:
        """Take in what was read of a tenant; `waiting` are told where its window is then as far as the stream was."""
        if self.followed.get(tenant) is not followed:
            _refuse(waiting)
        elif isinstance(page, LineTooSlow):
            self._read_on(tenant, followed, waiting)
        elif isinstance(page, Exception):
            _refuse(waiting)  # it is tried again at the next look, a second later
        else:
            self._apply(tenant, followed, page)
            # Before anybody is told: what was too old by the time that it came is no history.
            followed.window.sweep(self._context.clock.now())
            if followed.window.head < page.head:
                self._read_on(tenant, followed, waiting)
            else:
                followed.begun = True
                followed.behind = tenant in self._unread  # where something came up since that was not in this page
                _resolve_all(waiting)

    def _read_on(self, tenant: str, followed: Followed, waiting: list[asyncio.Future[None]]) -> None:
        followed.waiting += [caught_up for caught_up in waiting if not caught_up.done()]
        self.fall_behind(tenant, followed)

    def _apply(self, tenant: str, followed: Followed, page: Page) -> None:
        epoch, head, entries = page.epoch, page.head, page.entries
        if epoch != followed.window.epoch:
            first = _offset(entries[0]) if entries else head + 1
            self._begin_anew(tenant, followed, epoch, first - 1)
        for entry in entries:
            offset = _offset(entry)
            if offset <= followed.window.head:
                continue  # which the channel brought meanwhile
            if offset > followed.window.head + 1:
                self._begin_anew(tenant, followed, epoch, offset - 1)
            try:
                content = decode_entry(dict(zip(*[iter(entry[1])] * 2, strict=True))[b"e"])
            except (ValueError, KeyError) as error:
                self._context.incidents.failed("understood in its stream", error)
                self._begin_anew(tenant, followed, epoch, offset)
            else:
                self._append(tenant, followed, offset, content)
        if not entries and head > followed.window.head:
            self._begin_anew(tenant, followed, epoch, head)

    def _begin_anew(self, tenant: str, followed: Followed, epoch: bytes, head: int) -> None:
        """Another epoch, or the stream no longer reaches back to here: something is missing before what comes next."""
        reason: Gap = "log_reset" if epoch != followed.window.epoch else "history_trimmed"
        followed.window = self._new_window(tenant, epoch, head)
        if followed.begun and self.listener is not None:
            try:
                self.listener.on_reset(tenant, reason)
            except Exception:
                logger.exception("clients could not be notified of a gap")


def _offset(entry: Any) -> int:
    return int(entry[0].split(b"-")[0])


def _resolve_all(waiting: list[asyncio.Future[None]]) -> None:
    for caught_up in waiting:
        if not caught_up.done():
            caught_up.set_result(None)


def _refuse(waiting: list[asyncio.Future[None]]) -> None:
    for caught_up in waiting:
        if not caught_up.done():
            caught_up.set_exception(LogUnavailable("the event log does not answer"))
    waiting.clear()
