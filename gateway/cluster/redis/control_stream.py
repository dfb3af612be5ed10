"""Control messages on Redis: one stream that all nodes append to and read."""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Iterator
from importlib.resources import files
from math import isfinite
from typing import Final, get_args

from redis.asyncio import Redis

from gateway.cluster.redis.context import Failures
from gateway.cluster.redis.outbox import Outbox, Pending
from gateway.core.cluster import OnControl
from gateway.core.control import ControlKind, ControlMessage
from gateway.core.revocations import Revocations
from gateway.core.tenant_revocations import RevocationEntry
from gateway.redis.client import COMMAND_SECONDS
from gateway.redis.deadlines import Deadline
from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace

BLOCK_SECONDS: Final = 1.0
"""The timeout of a blocking read, after which the node checks that the stream is still the same."""

BATCH: Final = 256
"""Messages that are stored together."""

_PAGE: Final = 500
_SPARE: Final = 1_000
_COMPACTION_SECONDS: Final = 60
_RETRY_SECONDS: Final = 0.2
_BEGINNING: Final = "0-0"
_KINDS: Final = frozenset(get_args(ControlKind))

logger = logging.getLogger("gateway.nodes")


class ControlStream:
    """Stores this node's messages and puts those of the other nodes into force.

    Appending and reading a message are O(1) in the messages in the stream. A message stays until it has expired by the
    clock of Redis, or until the stream has more than twice as many as are in force: replaced messages are then deleted
    (compaction), which costs as much as was appended since the last time. `redis` returns bytes and does not retry.
    `timer` is seconds of a monotonic clock.
    """

    def __init__(
        self,
        redis: "Redis",
        revocations: Revocations,
        *,
        keys: KeySpace,
        retention: int,
        timer: Callable[[], float],
    ) -> None:
        self.on_control: OnControl = lambda messages: None
        self._redis = redis
        self._revocations = revocations
        self._retention = retention
        self._timer = timer
        self._stream, identity, self._compaction = keys.control()
        self._keys = [self._stream, identity]
        self._incidents = IncidentLog("control messages", logger)
        self._publish = redis.register_script(_script("publish"))
        self._read = redis.register_script(_script("read"))
        self._drop = redis.register_script(_script("drop"))
        self._outbox = Outbox()
        self._place = _BEGINNING
        self._identity = ""
        self._incomplete = False
        self._overgrown = asyncio.Event()

    async def open(self) -> None:
        """Start on the running event loop: read the messages in force. Raises `Failures`."""
        self._outbox.open()
        self._overgrown = asyncio.Event()
        await self.catch_up()

    def put(self, message: ControlMessage) -> Pending:
        """Queue a message for storing, after the queued ones of its tenant."""
        return self._outbox.put(message)

    # ---- publishing

    async def send(self) -> None:
        while True:
            await self._outbox.filled.wait()
            batch = self._outbox.take(BATCH)
            try:
                ids = await self._store([pending.message for pending in batch])
            except BaseException as error:
                for pending in batch:
                    pending.fail()
                self._outbox.put_back(batch)
                if not isinstance(error, Failures):
                    raise
                self._incidents.failed("stored", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._incidents.recovered("stored")
                now = self._timer()
                for pending, id in zip(batch, ids, strict=True):
                    self._revocations.add(pending.message, now, id.decode())
                    pending.succeed()

    async def _store(self, messages: list[ControlMessage]) -> list[bytes]:
        async with Deadline(COMMAND_SECONDS):
            arguments = [str(self._retention), secrets.token_hex(8), *map(encode, messages)]
            ids: list[bytes] = await self._publish(keys=self._keys, args=arguments)
        return ids

    # ---- reading

    async def listen(self) -> None:
        while True:
            try:
                async with Deadline(BLOCK_SECONDS + COMMAND_SECONDS):
                    await self._redis.xread({self._stream: self._place}, count=1, block=int(BLOCK_SECONDS * 1000))
                await self.catch_up()
                self._incidents.recovered("read")
            except Failures as error:
                self._incidents.failed("read", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def catch_up(self) -> None:
        """Read to the end of the stream; where it is a new stream, from its beginning, and append the messages that it
        lacks."""
        last = False
        while not last:
            async with Deadline(COMMAND_SECONDS):
                answer = await self._read(keys=self._keys, args=[self._place, self._identity, _PAGE])
            identity, milliseconds, length, last, place, page = answer
            if identity.decode() != self._identity:
                self._identity, self._incomplete = identity.decode(), True
                self._place = _BEGINNING
                self._revocations.forget_refs()
                last = last and self._identity != ""  # the rest is read again, as another stream
            if page:
                self._place = place.decode()
                self._apply_page(page.decode(), int(milliseconds))
        if self._incomplete:
            self._incomplete = False
            await self._resend_missing()
        if length > 2 * len(self._revocations) + _SPARE:
            self._overgrown.set()

    def _apply_page(self, page: str, milliseconds: int) -> None:
        now = self._timer()
        news: list[ControlMessage] = []
        for id, text in _lines(page):
            try:
                # Both times are by the clock of Redis.
                age = max(0, milliseconds - int(id.partition("-")[0])) / 1000
                message = decode(text, age)
            except ValueError as error:
                self._incidents.failed("understood", error)
                continue
            if message.seconds > 0:
                in_force, new = self._revocations.add(message, now, id)
                if new:
                    news.append(in_force)
                    if in_force.kind == message.kind and in_force.through > message.through:
                        # Only this node has seen such tokens.
                        self.put(in_force)
        if news:
            try:
                self.on_control(news)
            except Exception:
                logger.exception("control messages could not be acted on")

    async def _resend_missing(self) -> None:
        missing: list[RevocationEntry] = [entry for entry in self._revocations if entry.ref is None]
        for start in range(0, len(missing), _PAGE):
            now = self._timer()
            for entry in missing[start : start + _PAGE]:
                self.put(entry.message(now))
            await asyncio.sleep(0)  # 100,000 at once would block the event loop

    # ---- compaction

    async def compact(self) -> None:
        while True:
            await self._overgrown.wait()
            self._overgrown.clear()
            try:
                async with Deadline(_COMPACTION_SECONDS):
                    await self._compact()
                self._incidents.recovered("compacted")
            except Failures as error:
                self._incidents.failed("compacted", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _compact(self) -> None:
        """Delete messages that are no longer in force; one node does it for all, under a lock."""
        if not await self._redis.set(self._compaction, "1", nx=True, ex=_COMPACTION_SECONDS):
            return
        identity, end = self._identity, self._place
        needed = {entry.ref for entry in self._revocations}
        start = "-"
        while page := await self._redis.xrange(self._stream, start, end, count=_PAGE):
            ids = [id.decode() for id, _ in page]  # type: ignore[union-attr]  # in bytes, as this client answers
            if unneeded := [id for id in ids if id not in needed]:
                await self._drop(keys=self._keys, args=[identity, *unneeded])
            start = f"({ids[-1]}"
        await self._redis.delete(self._compaction)


def encode(message: ControlMessage) -> str:
    it = message
    return json.dumps([it.kind, it.tenant, it.name, it.room, it.at, it.through, it.seconds], separators=(",", ":"))


def decode(text: str, age: float) -> ControlMessage:
    """A message stored `age` seconds ago. Raises `ValueError` for invalid text."""
    try:
        kind, tenant, name, room, at, through, seconds = json.loads(text)
        known = kind in _KINDS and isinstance(name, str) and isinstance(room, str)
        if known and (tenant is None or isinstance(tenant, str)) and isfinite(at + through + seconds):
            return ControlMessage(kind, tenant, name, at, seconds - age, room, through)
    except (TypeError, OverflowError):
        pass
    raise ValueError("not a control message")


def _lines(page: str) -> Iterator[tuple[str, str]]:
    for line in page.split("\n"):
        id, _, text = line.partition(" ")
        yield id, text


def _script(name: str) -> str:
    return (files("gateway.cluster.redis") / f"{name}.lua").read_text()
