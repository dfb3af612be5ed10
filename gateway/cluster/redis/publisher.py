"""The publisher of members: writes this node's connections to Redis, under a lease."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from gateway.cluster.redis.codec import AFTER, VERSION, pack
from gateway.cluster.redis.context import Failures, MembersContext
from gateway.cluster.redis.totals import TotalsExchange
from gateway.core.members import MemberSource
from gateway.redis.batch_limit import BatchLimit
from gateway.redis.client import COMMAND_SECONDS, SLOW_LINK_SECONDS, TimeoutErrors
from gateway.redis.deadlines import Deadline
from gateway.redis.tasks import WakeUp

DEBOUNCE: Final = 0.25
"""Seconds for which changes are coalesced before a write."""

_CHECK_INTERVAL: Final = 1.0
_TENANTS_AT_ONCE: Final = 100
_FIELDS_AT_ONCE: Final = 500
_MAX_CHANGES: Final = 2_000
"""The maximum size of a change in the stream of changes; after a larger one readers read the whole hash."""
_CHANGES_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class _Written:
    """A version of a tenant's members, written as a change of the version `before`, or as a whole. `answer` is the
    index of the reply with the previous version in Redis."""

    tenant: str
    version: int
    before: int | None
    answer: int


class MembersPublisher:
    """Writes changes, and renews the lease every third of `lease` seconds: the members of a killed node expire. Detects
    within a second that Redis was unreachable or has lost members, and writes them again."""

    def __init__(self, context: MembersContext, source: MemberSource, totals: TotalsExchange) -> None:
        self._redis = context.redis
        self._keys = context.keys
        self._node = context.node
        self._lease = context.lease
        self._timer = context.timer
        self._incidents = context.incidents
        self._source = source
        self._totals = totals
        self._alive = context.keys.alive(context.node)
        # One counter for all tenants, so that no version is used twice.
        self._version = 0
        self._published: dict[str, int] = {}
        self._resync: set[str] = set()
        self._changed: dict[str, dict[str, None]] = {}
        self._wake = WakeUp()
        self._refresh_at = 0.0
        self._limit = BatchLimit(1, _TENANTS_AT_ONCE, COMMAND_SECONDS, SLOW_LINK_SECONDS)
        self.answered_at = float("-inf")
        """The time of the last answer to a small command: after a recent one, a late large one is too large."""
        self.failed_at = float("-inf")
        """The time of the last failed write, or loss of what was written."""

    @property
    def failing(self) -> bool:
        """Whether the last write failed: the other nodes may not know this node's connections."""
        return self._incidents.is_ongoing("written")

    def changed(self, tenant: str, connection_id: str) -> None:
        self._changed.setdefault(tenant, {})[connection_id] = None
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(min(_CHECK_INTERVAL, self._lease / 9)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(DEBOUNCE)
            self._wake.clear()
            try:
                await self._check_lease()
                await self._flush()
                await self._totals.write()
            except Failures as error:
                self._incidents.failed("written", error)
                self.failed_at = self._timer()
                self._refresh_at = 0.0
                await asyncio.sleep(DEBOUNCE)
            else:
                self._incidents.recovered("written")

    async def withdraw(self) -> None:
        """Delete this node's members. Raises the exceptions of redis-py."""
        self._changed.clear()
        for some in _chunks(list(self._published), _TENANTS_AT_ONCE):
            async with Deadline(COMMAND_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                for tenant in some:
                    self._delete_members(pipeline, tenant)
                await pipeline.execute()
        async with Deadline(COMMAND_SECONDS):
            await self._redis.delete(self._alive)
        self._published.clear()

    async def _check_lease(self) -> None:
        """Renew the node's own lease; where it had expired, or every third of it, schedule a write of all tenants."""
        async with Deadline(COMMAND_SECONDS):
            known = await self._redis.set(self._alive, "1", px=int(self._lease * 1000), get=True)
        self.answered_at = self._timer()
        if known is None:
            self._totals.reset()
            if self._published:
                self.failed_at = self._timer()
        if known is None or self._timer() >= self._refresh_at:
            self._refresh_at = self._timer() + self._lease / 3
            for tenant in self._published:
                self._changed.setdefault(tenant, {})

    async def _flush(self) -> None:
        waiting, self._changed = self._changed, {}
        while waiting:
            some = {tenant: waiting[tenant] for tenant in islice(waiting, self._limit.size)}
            try:
                await self._write(some)
            except BaseException:
                # Part of the pipeline may have been executed.
                self._resync |= some.keys()
                for tenant, ids in waiting.items():
                    self._changed.setdefault(tenant, {}).update(ids)
                raise
            for tenant in some:
                del waiting[tenant]

    async def _write(self, changed: dict[str, dict[str, None]]) -> None:
        """Write the changes of each tenant, or all of its members where readers do not have the version before."""
        written: list[_Written] = []
        members = 0
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant, ids in changed.items():
                here = self._source.ids(tenant)
                if not here:
                    if tenant in self._published:
                        self._delete_members(pipeline, tenant)
                    continue
                before = None if tenant in self._resync else self._published.get(tenant)
                self._version += 1
                written.append(_Written(tenant, self._version, before, len(pipeline)))
                members += len(here) if before is None else len(ids)
                if before is None:
                    await self._write_all(pipeline, tenant, self._version, list(here))
                else:
                    await self._write_some(pipeline, tenant, self._version, before, list(ids))
            begun = self._timer()
            try:
                async with Deadline(self._limit.seconds):
                    answers = await pipeline.execute(raise_on_error=False)
            except TimeoutErrors:
                self._limit.timed_out(answers=True)  # it has just answered a small command
                raise
            if members >= _FIELDS_AT_ONCE:  # a few do not measure the link
                self._limit.succeeded(len(changed), self._timer() - begun)
        if failed := next((answer for answer in answers if isinstance(answer, Exception)), None):
            raise failed
        for tenant in changed:
            self._published.pop(tenant, None)
            self._resync.discard(tenant)
        for wrote in written:
            self._published[wrote.tenant] = wrote.version
            if wrote.before is not None and answers[wrote.answer] != b"%d" % wrote.before:
                # The version before is gone: Redis lost it, or its lease expired.
                self._resync.add(wrote.tenant)
                self._changed.setdefault(wrote.tenant, {})
                self._wake.set()

    async def _write_all(self, pipeline: Any, tenant: str, version: int, ids: list[str]) -> None:
        members, new = self._keys.members(tenant, self._node), self._keys.members(tenant, f"{self._node}:new")
        pipeline.delete(new, self._keys.changes(tenant, self._node))
        for some in _chunks(ids, _FIELDS_AT_ONCE):
            if fields := {id: text for id in some if (text := self._packed(tenant, id))}:
                pipeline.hset(new, mapping=fields)
            await asyncio.sleep(0)  # 10,000 at once would block the event loop
        pipeline.hset(new, VERSION, version)
        pipeline.rename(new, members)
        self._renew_lease(pipeline, tenant, version)

    async def _write_some(self, pipeline: Any, tenant: str, version: int, before: int, ids: list[str]) -> None:
        members, changes = self._keys_of(tenant)
        fields: dict[Any, Any] = {}
        for some in _chunks(ids, _FIELDS_AT_ONCE):
            fields.update((id, self._packed(tenant, id)) for id in some)
            await asyncio.sleep(0)
        pipeline.hget(members, VERSION)
        # The change before the version: a reader of the version finds the change.
        if len(fields) <= _MAX_CHANGES:
            change = {AFTER: before, **fields}
            pipeline.xadd(changes, change, id=f"{version}-0", maxlen=_CHANGES_KEPT, approximate=False)
        if gone := [id for id, text in fields.items() if not text]:
            pipeline.hdel(members, *gone)
        pipeline.hset(members, mapping={**{id: text for id, text in fields.items() if text}, VERSION: version})
        self._renew_lease(pipeline, tenant, version)

    def _packed(self, tenant: str, id: str) -> str:
        return pack(self._source.member(tenant, id))

    def _renew_lease(self, pipeline: Any, tenant: str, version: int) -> None:
        milliseconds = int(self._lease * 1000)
        nodes, members, changes = self._keys.nodes(tenant), *self._keys_of(tenant)
        pipeline.hset(nodes, self._node, version)
        for key in (nodes, members, changes):
            pipeline.pexpire(key, milliseconds)

    def _delete_members(self, pipeline: Any, tenant: str) -> None:
        pipeline.delete(*self._keys_of(tenant))
        pipeline.hdel(self._keys.nodes(tenant), self._node)

    def _keys_of(self, tenant: str) -> tuple[str, str]:
        """The keys of this node's members and of their changes."""
        return self._keys.members(tenant, self._node), self._keys.changes(tenant, self._node)


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
