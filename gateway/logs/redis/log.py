"""The log on Redis, for many nodes: one stream for each tenant, followed by every node that has clients of the
tenant."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from redis.exceptions import ResponseError

from gateway.core.cursor import EPOCH_BYTES, Cursors
from gateway.core.errors import IdempotencyConflict, LogUnavailable
from gateway.core.items import MAX_ITEM_BYTES, ItemTooLarge
from gateway.core.log import Draft, LogListener, LogSize, Receipt
from gateway.core.trimmed_rooms import TrimmedRooms
from gateway.core.window import Bounds, Window
from gateway.logs.redis.codec import encode_entry, epoch_of, stored_event
from gateway.logs.redis.context import IDLE_SECONDS, KEY_SECONDS, RedisContext
from gateway.logs.redis.follower import NO_EPOCH, Follower
from gateway.logs.redis.monitor import HealthMonitor
from gateway.logs.redis.script import Script
from gateway.logs.redis.server_clock import ServerClock
from gateway.logs.redis.writer import UNKNOWN, Append, Writer
from gateway.redis.client import COMMAND_SECONDS, client_of, close, pool_of
from gateway.redis.deadlines import Deadline
from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace
from gateway.redis.tasks import cancel_and_wait, supervise

_CODECS: Final = 1_024
_UNLIMITED: Final = 1 << 62

logger = logging.getLogger("gateway.log")


class RedisLog:
    """A `Log` for any number of nodes.

    The append script publishes each event with its offset. A node applies the exactly next one, and for anything else
    reads the stream from its own head: pub/sub is the fast path, the stream the truth. `url` is `redis://` or
    `rediss://`; `prefix` begins every key. `trust_restarts` keeps the epoch over a restart of the server: only for one
    that writes every command to disk before it answers (appendfsync always). `tenant_bounds` are overrides by
    tenant, in place of `bounds`. All nodes must have the same: each append trims by those of its node.
    """

    def __init__(
        self,
        url: str,
        cursor_keys: tuple[bytes, ...],
        bounds: Bounds | None = None,
        *,
        prefix: str = "gathering",
        trust_restarts: bool = False,
        timer: Callable[[], float] = time.monotonic,
        tenant_bounds: Mapping[str, Bounds] | None = None,
    ) -> None:
        self._cursor_keys = cursor_keys
        self._bounds = bounds or Bounds()
        self._tenant_bounds = tenant_bounds or {}
        self._url = url
        keys = KeySpace(prefix)
        self.context = context = RedisContext(
            client_of(url),
            keys,
            keys.heartbeat(secrets.token_hex(8)),
            "1" if trust_restarts else "0",
            timer,
            ServerClock(timer),
            IncidentLog("the log", logger),
        )
        self.script = Script("append")
        self.codecs: dict[str, Cursors] = {}
        self._appended: dict[str, int] = {}
        self.writer = Writer(context, self._write, self._settle)
        self.follower = Follower(context, self._new_window, self._bounds)
        self.monitor = HealthMonitor(context, self.follower)
        self._tasks: list[asyncio.Task[None]] = []

    # ---- the seam

    def attach(self, listener: LogListener) -> None:
        self.follower.listener = listener

    async def start(self) -> None:
        # The connection pool of an earlier start belongs to its event loop.
        self.context.redis.connection_pool = pool_of(self._url)
        self.writer.start()
        for work in (self.writer.run, self.follower.channels.run, self.follower.run, self.monitor.run):
            self._tasks.append(asyncio.create_task(supervise(work, logger)))

    async def stop(self) -> None:
        await cancel_and_wait(self._tasks)
        self.writer.stop()
        self.follower.channels.stop()
        for tenant in list(self.follower.followed):
            self.release(tenant)
        await close(self.context.redis)

    @property
    def ready(self) -> bool:
        """Whether Redis answers, takes writes, and this node's heartbeat comes back over pub/sub."""
        return not self.monitor.degraded and self.follower.channels.alive

    @property
    def dropped(self) -> int:
        """The number of pub/sub messages that were no entry."""
        return self.follower.dropped

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Queue the event at the call, not at the `await`: a caller's concurrent appends keep their order."""
        return self.writer.append(tenant, draft)

    def appended(self, tenant: str) -> int:
        return self._appended.get(tenant, 0)

    def tenants(self) -> Iterable[str]:
        return self._appended

    async def size(self, tenant: str) -> LogSize:
        stream, meta, *_ = self.context.keys.log(tenant)
        try:
            async with Deadline(COMMAND_SECONDS), self.context.redis.pipeline(transaction=False) as pipeline:
                pipeline.xlen(stream)
                pipeline.hmget(meta, "count", "bytes")
                length, (count, size) = await pipeline.execute()
        except Exception as error:
            self.context.incidents.failed("measured", error)
            window = self.window(tenant)
            return LogSize(len(window), window.bytes)
        self.context.incidents.recovered("measured")
        return LogSize(length if count is None else int(count), int(size or 0))

    def window(self, tenant: str) -> Window:
        followed = self.follower.followed.get(tenant)
        # A tenant that this node does not follow has an empty window.
        return followed.window if followed else self._new_window(tenant, NO_EPOCH, 0)

    def windows(self) -> Iterable[Window]:
        return [followed.window for followed in self.follower.followed.values()]

    def follow(self, tenant: str, since: str | None = None) -> Awaitable[None] | None:
        return self.follower.follow(tenant, since)

    def release(self, tenant: str) -> None:
        self.follower.release(tenant)

    def staleness(self, tenant: str) -> float | None:
        followed = self.follower.followed.get(tenant)
        if followed is None or followed.stale or not self.ready:
            return None
        return self.context.timer() - followed.head_known_at

    def sweep(self) -> None:
        now = self.context.clock.now()
        for followed in self.follower.followed.values():
            followed.window.sweep(now)

    # ---- writing

    async def _write(self, batch: list[Append]) -> list[Any]:
        calls = [(self._keys(a), self._arguments(a)) for a in batch]
        return await self.script.run_all(self.context.redis, calls)

    def _arguments(self, append: Append) -> list[Any]:
        draft, bounds = append.draft, self._bounds_of(append.tenant)
        return [
            secrets.token_hex(EPOCH_BYTES),
            encode_entry(draft),
            "" if draft.key is None else blake2b(draft.body, digest_size=12).hexdigest(),
            KEY_SECONDS,
            bounds.max_events,
            bounds.max_bytes,
            int(bounds.max_seconds),
            self.context.keys.channel(append.tenant),
            self.context.trust,
            IDLE_SECONDS,
            bounds.max_trimmed_rooms,
            bounds.max_items,
            bounds.max_item_bytes,
            MAX_ITEM_BYTES,
        ]

    def _settle(self, append: Append, answer: Any) -> Receipt:
        if isinstance(answer, Exception):
            self.context.incidents.failed("written", answer)
            refused = isinstance(answer, ResponseError)  # by Redis itself, before anything was appended
            raise LogUnavailable("the event log refused the event: send it again later" if refused else UNKNOWN)
        self.context.incidents.recovered("written")
        if answer[0] == b"conflict":
            raise IdempotencyConflict
        if answer[0] == b"too large":
            raise ItemTooLarge
        status, epoch, offset, at, oldest = answer
        epoch = epoch_of(epoch)
        tenant, draft = append.tenant, append.draft
        if status == b"appended":
            self._appended[tenant] = self._appended.get(tenant, 0) + 1
            self.monitor.mark_alive()
            # Ahead of pub/sub, so that the listener of the publisher's node was called before the receipt is returned.
            content = stored_event(float(at), draft)
            self.follower.apply_own(tenant, epoch, offset, oldest, content)
        return Receipt(self._cursors(tenant).encode(epoch, offset), duplicate=status == b"duplicate", at=float(at))

    def _keys(self, append: Append) -> list[str]:
        names = self.context.keys
        return [*names.log(append.tenant), names.idempotency(append.tenant, append.draft.key)]

    def _cursors(self, tenant: str) -> Cursors:
        if followed := self.follower.followed.get(tenant):
            return followed.window.cursors
        if tenant not in self.codecs:
            while len(self.codecs) >= _CODECS:
                del self.codecs[next(iter(self.codecs))]
            self.codecs[tenant] = Cursors(self._cursor_keys, tenant)
        return self.codecs[tenant]

    def _new_window(
        self,
        tenant: str,
        epoch: bytes,
        head: int,
        trimmed: TrimmedRooms | None = None,
        evicted: TrimmedRooms | None = None,
        first: int = 0,
    ) -> Window:
        # The append script bounds the state for all nodes, and its notifications name the items that it dropped.
        bounds = replace(self._bounds_of(tenant), max_items=_UNLIMITED, max_item_bytes=_UNLIMITED)
        return Window(epoch, self._cursors(tenant), bounds, head, trimmed, evicted, first)

    def _bounds_of(self, tenant: str) -> Bounds:
        return self._tenant_bounds.get(tenant, self._bounds)
