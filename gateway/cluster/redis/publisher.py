"""The publisher of this node's membership: writes its connections to Redis for the other nodes, under a lease."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from gateway.cluster.redis.codec import AFTER, VERSION, pack
from gateway.cluster.redis.context import Failures, MembersContext
from gateway.cluster.redis.totals import TotalsExchange
from gateway.core.roster import Source
from gateway.redis.batch_limit import BatchLimit
from gateway.redis.client import COMMAND_SECONDS, PATIENCE_SECONDS, TimeoutErrors
from gateway.redis.tasks import WakeUp

DEBOUNCE: Final = 0.25
"""Seconds for which changes are gathered before they are written."""

CHECK_INTERVAL: Final = 1.0
_TENANTS_AT_ONCE: Final = 100
_FIELDS_AT_ONCE: Final = 500
_MAX_CHANGES: Final = 2_000
"""Changes at once beyond which a tenant is published as a whole, not as a change."""
_CHANGES_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class _Written:
    """A version of a tenant, written as a change of the one `before` or as a whole; `answer` is where Redis says which
    one it had."""

    tenant: str
    version: int
    before: int | None
    answer: int


class MembersPublisher:
    """Writes what changed, and every third of `lease` seconds that this node is alive: what it wrote is gone `lease`
    seconds after it was killed. Finds within a second that Redis was away, or has lost what it was told, and tells it
    anew."""

    def __init__(self, context: MembersContext, source: Source, totals: TotalsExchange) -> None:
        self._redis = context.redis
        self._bulk = context.bulk
        self._keys = context.keys
        self._node = context.node
        self._lease = context.lease
        self._timer = context.timer
        self._incidents = context.incidents
        self._source = source
        self._totals = totals
        self._alive = context.keys.alive(context.node)
        # One count for all tenants, so that a version is never used twice.
        self._version = 0
        self._told: dict[str, int] = {}
        self._to_resync: set[str] = set()
        self._changed: dict[str, dict[str, None]] = {}
        self._wake = WakeUp()
        self._refresh_at = 0.0
        self._limit = BatchLimit(1, _TENANTS_AT_ONCE, COMMAND_SECONDS, PATIENCE_SECONDS)
        self.answered_at = float("-inf")
        """When Redis answered a small command the last time: what is late after that is large, or its line slow."""
        self.failed_at = float("-inf")
        """When it was found the last time that Redis takes no writes, or has lost what it had."""

    @property
    def failing(self) -> bool:
        """Whether the last write was refused or not answered: the other nodes do not know what is here."""
        return self._incidents.lasts("written")

    def changed(self, tenant: str, connection_id: str) -> None:
        self._changed.setdefault(tenant, {})[connection_id] = None
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(min(CHECK_INTERVAL, self._lease / 9)):
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

    async def rejection(self) -> None:
        """Withdraw this node's connections. Raises what Redis raises."""
        self._changed.clear()
        for some in _chunks(list(self._told), _TENANTS_AT_ONCE):
            async with asyncio.timeout(COMMAND_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                for tenant in some:
                    self._erase(pipeline, tenant)
                pipeline.delete(self._alive)
                await pipeline.execute()
        self._told.clear()

    async def _check_lease(self) -> None:
        """Check that Redis has kept this node's connections; where not, or where the lease is due, write them all."""
        async with asyncio.timeout(COMMAND_SECONDS):
            known = await self._redis.set(self._alive, "1", px=int(self._lease * 1000), get=True)
        self.answered_at = self._timer()
        if known is None:
            self._totals.lost()
            if self._told:
                self.failed_at = self._timer()
        if known is None or self._timer() >= self._refresh_at:
            self._refresh_at = self._timer() + self._lease / 3
            for tenant in self._told:
                self._changed.setdefault(tenant, {})

    async def _flush(self) -> None:
        waiting, self._changed = self._changed, {}
        while waiting:
            some = {tenant: waiting[tenant] for tenant in islice(waiting, self._limit.size)}
            try:
                await self._write(some)
            except BaseException:
                # It is unknown which commands were carried out.
                self._to_resync |= some.keys()
                for tenant, ids in waiting.items():
                    self._changed.setdefault(tenant, {}).update(ids)
                raise
            for tenant in some:
                del waiting[tenant]

    async def _write(self, changed: dict[str, dict[str, None]]) -> None:
        """Write of each tenant what changed, or everything where the others do not have the rest."""
        written: list[_Written] = []
        async with self._bulk.pipeline(transaction=False) as pipeline:
            for tenant, ids in changed.items():
                here = self._source.ids(tenant)
                if not here:
                    if tenant in self._told:
                        self._erase(pipeline, tenant)
                    continue
                before = None if tenant in self._to_resync else self._told.get(tenant)
                self._version += 1
                written.append(_Written(tenant, self._version, before, len(pipeline)))
                if before is None:
                    await self._write_all(pipeline, tenant, self._version, list(here))
                else:
                    await self._write_some(pipeline, tenant, self._version, before, list(ids))
            begun = self._timer()
            try:
                async with asyncio.timeout(self._limit.seconds):
                    answers = await pipeline.execute(raise_on_error=False)
            except TimeoutErrors:
                # A moment ago it did answer.
                self._limit.missed()
                raise
            self._limit.carried(len(changed), self._timer() - begun)
        if failed := next((answer for answer in answers if isinstance(answer, Exception)), None):
            raise failed
        for tenant in changed:
            self._told.pop(tenant, None)
            self._to_resync.discard(tenant)
        for wrote in written:
            self._told[wrote.tenant] = wrote.version
            if wrote.before is not None and answers[wrote.answer] != b"%d" % wrote.before:
                # What it was to stand on is not there: Redis lost it, or its lease ran out.
                self._to_resync.add(wrote.tenant)
                self._changed.setdefault(wrote.tenant, {})
                self._wake.set()

    async def _write_all(self, pipeline: Any, tenant: str, version: int, ids: list[str]) -> None:
        members, new = self._keys.members(tenant, self._node), self._keys.members(tenant, f"{self._node}:new")
        pipeline.delete(new, self._keys.changes(tenant, self._node))
        for some in _chunks(ids, _FIELDS_AT_ONCE):
            if fields := {id: text for id in some if (text := self._packed(tenant, id))}:
                pipeline.hset(new, mapping=fields)
            await asyncio.sleep(0)  # ten thousand at once would hold up the loop
        pipeline.hset(new, VERSION, version)
        pipeline.rename(new, members)
        self._renew_lease(pipeline, tenant, version)

    async def _write_some(self, pipeline: Any, tenant: str, version: int, before: int, ids: list[str]) -> None:
        members, changes = self._own(tenant)
        fields: dict[Any, Any] = {}
        for some in _chunks(ids, _FIELDS_AT_ONCE):
            fields.update((id, self._packed(tenant, id)) for id in some)
            await asyncio.sleep(0)
        pipeline.hget(members, VERSION)
        # The change first and the version last: a reader of the version finds the change.
        if len(fields) <= _MAX_CHANGES:
            told = {AFTER: before, **fields}
            pipeline.xadd(changes, told, id=f"{version}-0", maxlen=_CHANGES_KEPT, approximate=False)
        if gone := [id for id, text in fields.items() if not text]:
            pipeline.hdel(members, *gone)
        pipeline.hset(members, mapping={**{id: text for id, text in fields.items() if text}, VERSION: version})
        self._renew_lease(pipeline, tenant, version)

    def _packed(self, tenant: str, id: str) -> str:
        return pack(self._source.member(tenant, id))

    def _renew_lease(self, pipeline: Any, tenant: str, version: int) -> None:
        milliseconds = int(self._lease * 1000)
        nodes, members, changes = self._keys.nodes(tenant), *self._own(tenant)
        pipeline.hset(nodes, self._node, version)
        for key in (nodes, members, changes):
            pipeline.pexpire(key, milliseconds)

    def _erase(self, pipeline: Any, tenant: str) -> None:
        pipeline.delete(*self._own(tenant))
        pipeline.hdel(self._keys.nodes(tenant), self._node)

    def _own(self, tenant: str) -> tuple[str, str]:
        """This node's members and changes of them."""
        return self._keys.members(tenant, self._node), self._keys.changes(tenant, self._node)


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
