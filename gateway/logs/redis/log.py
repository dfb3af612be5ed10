"""The log on Redis, for many nodes: one stream a tenant, which every node that has clients of the tenant follows."""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from gateway.core.errors import IdempotencyConflict, LogUnavailable
from gateway.core.frame import Frame
from gateway.core.log import Draft, Receipt, Sink, Watcher, payload_of
from gateway.core.position import EPOCH_BYTES, Cursors
from gateway.core.window import Bounds, Entry, Window

KEY_SECONDS: Final = 121
IDLE_SECONDS: Final = 7 * 86_400
COMMAND_SECONDS: Final = 1.0
"""How long Redis may take to answer: a publisher is told within 2 s, connecting anew included."""

LOOK_SECONDS: Final = 1.0
"""Between two comparisons of heads, which find what the fast way has lost, and a fast way that is open but deaf."""

DEGRADED_SECONDS: Final = 3.0
_PAGE: Final = 1_000
_PIPELINE: Final = 256

logger = logging.getLogger("gateway.log")

Failures = (RedisError, OSError, TimeoutError)


@dataclass(slots=True, eq=False)
class _Followed:
    """A tenant that this node follows. `behind` where the stream has more than the window."""

    window: Window
    behind: bool = True
    reading: asyncio.Task[None] | None = None


class RedisLog:
    """A `Log` for any number of nodes.

    The append script publishes each event with its offset. A node takes from there what is exactly next, and for
    anything else reads the stream from its own place: the channel is the fast way, never the truth.
    `url` is `redis://` or `rediss://`; `prefix` begins every key. `trust_restarts` keeps the epoch over a restart of
    the server: only for one that writes every command to disk before it answers (appendfsync always).
    """

    def __init__(
        self,
        url: str,
        cursor_keys: tuple[bytes, ...],
        bounds: Bounds | None = None,
        *,
        prefix: str = "gathering",
        trust_restarts: bool = False,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cursor_keys = cursor_keys
        self._bounds = bounds or Bounds()
        self._prefix = prefix
        self._trust = "1" if trust_restarts else "0"
        self._clock = clock
        self._timer = timer
        # No retries: a command that timed out may have been carried out, and would be twice.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": COMMAND_SECONDS,
            "socket_connect_timeout": COMMAND_SECONDS,
        }
        self._redis = Redis.from_url(url, **options)
        self._channel_redis = Redis.from_url(url, **{**options, "socket_timeout": None})
        self._append_script = _Script("append")
        self._read_script = _Script("read")
        self._followed: dict[str, _Followed] = {}
        self._codecs: dict[str, Cursors] = {}
        self._sink: Sink = lambda tenant, entry: None
        self._watcher: Watcher | None = None
        self._queue: deque[tuple[str, Draft, asyncio.Future[Receipt]]] = deque()
        self._queued = asyncio.Event()
        self._channels_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._answered_at = timer()
        self._degraded = False

    # ---- the seam

    def attach(self, sink: Sink) -> None:
        self._sink = sink

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def start(self) -> None:
        self._answered_at = self._timer()
        for work in (self._write_forever, self._listen_forever, self._look_forever):
            self._tasks.append(asyncio.create_task(work()))

    async def stop(self) -> None:
        reading = [followed.reading for followed in self._followed.values() if followed.reading is not None]
        for task in (*self._tasks, *reading):
            task.cancel()
        await asyncio.gather(*self._tasks, *reading, return_exceptions=True)
        for *_, receipt in self._queue:
            receipt.cancel()
        await self._redis.aclose()
        await self._channel_redis.aclose()

    @property
    def ready(self) -> bool:
        return not self._degraded

    def append(self, tenant: str, draft: Draft) -> Awaitable[Receipt]:
        """Queued at the call, not at the `await`: so a caller's events keep its order while several are under way."""
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._queue.append((tenant, draft, receipt))
        self._queued.set()
        return receipt

    def window(self, tenant: str) -> Window:
        followed = self._followed.get(tenant)
        # Of a tenant that nobody here follows nothing is known, and nothing is kept.
        return followed.window if followed else self._new_window(tenant, bytes(EPOCH_BYTES))

    def follow(self, tenant: str) -> Awaitable[None] | None:
        followed = self._followed.get(tenant)
        if followed is None:
            followed = self._followed[tenant] = _Followed(self._new_window(tenant, bytes(EPOCH_BYTES)))
            self._channels_changed.set()
        if not followed.behind:
            return None
        return self._first_read(tenant, followed)

    def release(self, tenant: str) -> None:
        followed = self._followed.pop(tenant, None)
        if followed is not None:
            self._channels_changed.set()
            if followed.reading is not None:
                followed.reading.cancel()

    def sweep(self) -> None:
        now = self._clock()
        for followed in self._followed.values():
            followed.window.sweep(now)

    # ---- writing

    async def _write_forever(self) -> None:
        while True:
            await self._queued.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _PIPELINE))]
            if not self._queue:
                self._queued.clear()
            try:
                answers = await self._append_all([(tenant, draft) for tenant, draft, _ in batch])
            except Failures as error:
                logger.warning("the log cannot be written: %s", type(error).__name__)
                answers = [LogUnavailable() for _ in batch]
            for (tenant, draft, receipt), answer in zip(batch, answers, strict=True):
                if not receipt.done():
                    self._settle(tenant, draft, receipt, answer)

    async def _append_all(self, batch: list[tuple[str, Draft]]) -> list[Any]:
        calls = [(self._keys(tenant, draft.key), self._append_arguments(tenant, draft)) for tenant, draft in batch]
        async with asyncio.timeout(COMMAND_SECONDS + 0.5):
            answers = await self._append_script.run_all(self._redis, calls)
        self._answered()
        return answers

    def _append_arguments(self, tenant: str, draft: Draft) -> list[Any]:
        bounds = self._bounds
        fingerprint = "" if draft.key is None else blake2b(draft.body, digest_size=12).hexdigest()
        event = b"\n".join((draft.timestamp.encode(), ",".join(draft.rooms).encode(), draft.body))
        return [
            secrets.token_hex(EPOCH_BYTES),
            event,
            fingerprint,
            KEY_SECONDS,
            bounds.max_events,
            bounds.max_bytes,
            int(bounds.max_seconds),
            self._channel(tenant),
            self._trust,
            IDLE_SECONDS,
        ]

    def _settle(self, tenant: str, draft: Draft, receipt: asyncio.Future[Receipt], answer: Any) -> None:
        if isinstance(answer, LogUnavailable):
            receipt.set_exception(answer)
        elif isinstance(answer, Exception):
            logger.warning("the log refused an event: %s", answer)
            receipt.set_exception(LogUnavailable())
        elif answer[0] == b"conflict":
            receipt.set_exception(IdempotencyConflict())
        else:
            status, epoch, offset, at = answer
            if status == b"appended":
                # Ahead of the channel, so that a publisher's own node has told its sink when it has the receipt.
                self._take(tenant, epoch, offset, float(at), draft.timestamp, draft.rooms, draft.body)
            event_id = self._cursors(tenant).encode(bytes.fromhex(epoch.decode()), offset)
            receipt.set_result(Receipt(event_id, duplicate=status == b"duplicate"))

    # ---- following

    def _take(
        self, tenant: str, epoch: bytes, offset: int, at: float, timestamp: str, rooms: tuple[str, ...], body: bytes
    ) -> None:
        """Append to the window what is exactly next; for a jump or another epoch, have the stream read."""
        followed = self._followed.get(tenant)
        if followed is None:
            return
        window = followed.window
        if bytes.fromhex(epoch.decode()) != window.epoch or offset > window.head + 1:
            self._read(tenant, followed)
        elif offset == window.head + 1:
            event_id = window.cursors.encode(window.epoch, offset)
            entry = Entry(offset, event_id, rooms, Frame(payload_of(body, event_id, timestamp)), at)
            window.append(entry)
            self._sink(tenant, entry)

    def _take_entry(self, tenant: str, epoch: bytes, offset: int, entry: bytes) -> None:
        at, timestamp, rooms, body = entry.split(b"\n", 3)
        self._take(tenant, epoch, offset, float(at), timestamp.decode(), tuple(rooms.decode().split(",")), body)

    def _read(self, tenant: str, followed: _Followed) -> asyncio.Task[None]:
        followed.behind = True
        if followed.reading is None or followed.reading.done():
            followed.reading = asyncio.create_task(self._read_to_head(tenant, followed))
        return followed.reading

    async def _first_read(self, tenant: str, followed: _Followed) -> None:
        reading = self._read(tenant, followed)
        await asyncio.wait((reading,))
        if followed.behind:
            raise LogUnavailable("the event log does not answer")

    async def _read_to_head(self, tenant: str, followed: _Followed) -> None:
        """Read the stream from the window's head on until there is no more."""
        try:
            while self._followed.get(tenant) is followed:
                window = followed.window
                place = [
                    secrets.token_hex(EPOCH_BYTES),
                    window.epoch.hex(),
                    window.head,
                    _PAGE,
                    self._trust,
                    IDLE_SECONDS,
                ]
                call = (self._keys(tenant, None)[:2], place)
                async with asyncio.timeout(COMMAND_SECONDS + 0.5):
                    (answer,) = await self._read_script.run_all(self._redis, [call])
                if isinstance(answer, Exception):
                    raise answer
                epoch, head, entries = answer
                self._answered()
                self._apply(tenant, followed, epoch, head, entries)
                if followed.window.head >= head:
                    followed.behind = False
                    return
        except Failures as error:
            # The next look, a second later, tries again.
            logger.warning("the log cannot be read: %s", type(error).__name__)

    def _apply(self, tenant: str, followed: _Followed, epoch: bytes, head: int, entries: list[Any]) -> None:
        window, first = followed.window, int(entries[0][0].split(b"-")[0]) if entries else head + 1
        known = bytes.fromhex(epoch.decode())
        if known != window.epoch or first > window.head + 1:
            # Another epoch, or the stream no longer reaches back to here: the window begins anew.
            fresh = self._new_window(tenant, known, head=first - 1)
            was_empty = window.epoch == bytes(EPOCH_BYTES)
            followed.window = fresh
            if not was_empty and self._watcher is not None:
                self._watcher.on_reset(tenant, "log_reset" if known != window.epoch else "history_trimmed")
        for id, fields in entries:
            self._take_entry(tenant, epoch, int(id.split(b"-")[0]), fields[1])

    async def _listen_forever(self) -> None:
        while True:
            try:
                async with self._channel_redis.pubsub() as channels:
                    await self._listen(channels)
            except Failures as error:
                logger.warning("the log's channel broke: %s", type(error).__name__)
            await asyncio.sleep(0.2)

    async def _listen(self, channels: PubSub) -> None:
        subscribed: dict[bytes, str] = {}
        self._channels_changed.set()
        while True:
            if self._channels_changed.is_set():
                self._channels_changed.clear()
                wanted = {self._channel(tenant).encode(): tenant for tenant in self._followed}
                if new := wanted.keys() - subscribed.keys():
                    await channels.subscribe(*new)
                if old := subscribed.keys() - wanted.keys():
                    await channels.unsubscribe(*old)
                subscribed = wanted
            if not subscribed:
                await self._channels_changed.wait()
                continue
            message = await channels.get_message(timeout=0.25)
            if message is None:
                continue
            tenant = subscribed.get(message["channel"])
            if tenant is None:
                continue
            if message["type"] == "message":
                epoch, offset, entry = message["data"].split(b"\n", 2)
                self._take_entry(tenant, epoch, int(offset), entry)
            elif message["type"] == "subscribe" and (followed := self._followed.get(tenant)) is not None:
                # What came before this confirmation was not heard.
                self._read(tenant, followed)

    # ---- looking after it

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._compare_heads()
            except Failures as error:
                logger.info("a look at the log failed: %s", type(error).__name__)
            self._judge()

    async def _compare_heads(self) -> None:
        tenants = list(self._followed.items())
        async with asyncio.timeout(COMMAND_SECONDS + 0.5):
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.info("server")
                for tenant, _ in tenants:
                    pipeline.hmget(self._keys(tenant, None)[1], ["epoch", "offset", "run"])
                server, *heads = await pipeline.execute()
        self._answered()
        run = server["run_id"].encode()
        for (tenant, followed), (epoch, offset, owner) in zip(tenants, heads, strict=True):
            here = (followed.window.epoch.hex().encode(), followed.window.head)
            stale = owner != run and self._trust == "0"
            if followed.behind or stale or (epoch, int(offset or 0)) != here:
                self._read(tenant, followed)

    def _answered(self) -> None:
        self._answered_at = self._timer()

    def _judge(self) -> None:
        degraded = self._timer() - self._answered_at >= DEGRADED_SECONDS
        if degraded != self._degraded:
            self._degraded = degraded
            logger.warning("the log does not answer" if degraded else "the log answers again")
            if self._watcher is not None:
                self._watcher.on_degraded(degraded)

    # ---- names

    def _keys(self, tenant: str, key: str | None) -> list[str]:
        # The braces make a cluster keep a tenant's keys together; a tenant's name has none.
        base = f"{self._prefix}:{{{tenant}}}"
        digest = "" if key is None else blake2b(key.encode(), digest_size=16).hexdigest()
        return [f"{base}:log", f"{base}:meta", f"{base}:key:{digest}"]

    def _channel(self, tenant: str) -> str:
        return f"{self._prefix}:{{{tenant}}}:live"

    def _cursors(self, tenant: str) -> Cursors:
        followed = self._followed.get(tenant)
        return followed.window.cursors if followed else Cursors(self._cursor_keys, tenant)

    def _new_window(self, tenant: str, epoch: bytes, head: int = 0) -> Window:
        return Window(epoch, Cursors(self._cursor_keys, tenant), self._bounds, head)


class _Script:
    """A script of this package, run by its hash, many calls in one round trip."""

    def __init__(self, name: str) -> None:
        folder = files("gateway.logs")
        # The server loads one text: what both scripts share goes in front.
        self._text = (folder / "fence.lua").read_text() + (folder / f"{name}.lua").read_text()
        self._sha = ""

    async def run_all(self, redis: "Redis", calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        """The answers in order, exceptions among them. Raises where the connection fails."""
        if not self._sha:
            self._sha = str(await redis.script_load(self._text))
        async with redis.pipeline(transaction=False) as pipeline:
            for keys, arguments in calls:
                pipeline.evalsha(self._sha, len(keys), *keys, *arguments)
            answers = await pipeline.execute(raise_on_error=False)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            # A server that was restarted knows no scripts; it has carried out none of these.
            self._sha = ""
            for i, answer in zip(missing, await self.run_all(redis, [calls[i] for i in missing]), strict=True):
                answers[i] = answer
        return list(answers)
