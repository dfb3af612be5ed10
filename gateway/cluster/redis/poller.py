"""The poller of members: reads the other nodes' connections from Redis."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from gateway.cluster.redis.codec import AFTER, VERSION, unpack_all
from gateway.cluster.redis.context import Failures, MembersContext
from gateway.cluster.redis.publisher import MembersPublisher
from gateway.cluster.redis.totals import TotalsExchange
from gateway.core.members import Member, OnChanges, PresenceChange, RemoteMembers, TenantTotals
from gateway.redis.batch_limit import BatchLimit
from gateway.redis.client import COMMAND_SECONDS, SLOW_LINK_SECONDS, TimeoutErrors
from gateway.redis.deadlines import Deadline
from gateway.redis.tasks import WakeUp

POLL: Final = 0.5
"""Seconds between two reads of watched tenants."""

CACHE_TTL: Final = 0.1
"""Seconds for which a read is current: a thousand requests at once cost one read."""

IDLE_TTL: Final = 30.0
"""Seconds after which a tenant that is neither watched nor requested is dropped."""

READ_DEADLINE: Final = 1.6
_RENEWAL_SECONDS: Final = 5.0
_ANSWERED_LATELY: Final = 2.5
_TENANTS_AT_ONCE: Final = 100
# Unless the node has renewed its lease in between.
_FORGET: Final = "if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end"

logger = logging.getLogger("gateway.nodes")


@dataclass(slots=True)
class _View:
    """The known members of a tenant: each remote node's connections as of its version."""

    remote: RemoteMembers = field(default_factory=RemoteMembers)
    versions: dict[str, int] = field(default_factory=dict)
    watched: bool = False
    loaded: bool = False
    read_at: float = float("-inf")
    used_at: float = 0.0


@dataclass(slots=True)
class _Read:
    """One read of a tenant: its nodes, the changes of those with a new version (`after` is set) or all their members,
    and totals if requested."""

    nodes: set[str]
    changes: list[tuple[str, dict[bytes, bytes]]] = field(default_factory=list)
    totals: dict[str, TenantTotals] | None = None


class MembersPoller:
    """Costs Redis one command for each watched tenant and poll, and one for each change. The members of a node whose
    lease has expired are dropped."""

    def __init__(
        self, context: MembersContext, publisher: MembersPublisher, totals: TotalsExchange, on_changes: OnChanges
    ) -> None:
        self._redis = context.redis
        self._keys = context.keys
        self._node = context.node
        self._lease = context.lease
        self._timer = context.timer
        self._incidents = context.incidents
        self._publisher = publisher
        self._totals = totals
        self._on_changes = on_changes
        self._views: dict[str, _View] = {}
        self._requests: dict[str, asyncio.Future[None]] = {}
        self._requested = WakeUp()
        self._checked_at = self._timer()
        self._limit = BatchLimit(1, _TENANTS_AT_ONCE, COMMAND_SECONDS, SLOW_LINK_SECONDS)
        self._failed_at = float("-inf")

    @property
    def failing(self) -> bool:
        """Whether the last read failed."""
        return self._incidents.is_ongoing("read")

    @property
    def _are_leases_valid(self) -> bool:
        """Whether an expired lease means that its node is dead. Not while Redis fails, since the other nodes cannot
        renew their leases then; nor for a while afterwards, in which they do."""
        failed_at = max(self._failed_at, self._publisher.failed_at)
        return self._timer() - failed_at >= max(self._lease / 3, _RENEWAL_SECONDS)

    # ---- requests

    def stop(self) -> None:
        """Resolve all pending requests."""
        requests, self._requests = self._requests, {}
        _resolve(requests)

    def watch(self, tenant: str) -> None:
        self._view(tenant).watched = True
        self._requests.setdefault(tenant, asyncio.get_running_loop().create_future())
        self._requested.set()

    def unwatch(self, tenant: str) -> None:
        self._view(tenant).watched = False

    def refresh(self, tenant: str) -> Awaitable[None] | None:
        view = self._view(tenant)
        if self.failing or self._timer() - view.read_at < CACHE_TTL:
            return None
        request = self._requests.setdefault(tenant, asyncio.get_running_loop().create_future())
        self._requested.set()
        return _wait_for_read(request)

    def remote(self, tenant: str) -> RemoteMembers:
        return view.remote if (view := self._views.get(tenant)) is not None else RemoteMembers()

    def _view(self, tenant: str) -> _View:
        view = self._views.get(tenant)
        if view is None:
            view = self._views[tenant] = _View()
        view.used_at = self._timer()
        return view

    # ---- reading

    async def run(self) -> None:
        next_poll = self._timer()
        while True:
            try:
                async with asyncio.timeout(max(0.0, next_poll - self._timer())):
                    await self._requested.wait()
            except TimeoutError:
                pass
            self._requested.clear()
            requests, self._requests = self._requests, {}
            try:
                await self._read_all(list(requests), check=True)
            finally:
                _resolve(requests)
            if (now := self._timer()) >= next_poll:
                next_poll = now + min(POLL, self._lease / 9)
                check = now - self._checked_at >= self._lease / 9
                self._checked_at = now if check else self._checked_at
                await self._read_all(self._watched_tenants(), check)

    def _watched_tenants(self) -> list[str]:
        """The watched tenants; idle views are dropped."""
        now = self._timer()
        for tenant in [t for t, view in self._views.items() if not view.watched and now - view.used_at > IDLE_TTL]:
            del self._views[tenant]
        return [tenant for tenant, view in self._views.items() if view.watched]

    async def _read_all(self, tenants: list[str], check: bool) -> None:
        """Read these tenants; with `check` also leases and totals."""
        try:
            if not tenants and self.failing:
                async with Deadline(COMMAND_SECONDS):
                    await self._redis.ping()
            waiting = iter(tenants)
            while some := list(islice(waiting, self._limit.size)):
                begun = self._timer()
                try:
                    async with Deadline(self._limit.seconds):
                        reads = await self._read(some, check)
                except TimeoutErrors:
                    self._limit.timed_out(self._timer() - self._publisher.answered_at < _ANSWERED_LATELY)
                    raise
                if any(read.changes for read in reads.values()):
                    self._limit.succeeded(len(some), self._timer() - begun)
                for tenant, read in reads.items():
                    self._apply(tenant, read)
        except Failures as error:
            self._incidents.failed("read", error)
            self._failed_at = self._timer()
        except Exception:
            logger.exception("other nodes' connections could not be read")
        else:
            self._incidents.recovered("read")

    async def _read(self, tenants: list[str], check: bool) -> dict[str, _Read]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.hgetall(self._keys.nodes(tenant))
            versions = await pipeline.execute()
        reads: dict[str, _Read] = {}
        moved: list[tuple[str, str, int | None]] = []
        for tenant, answer in zip(tenants, versions, strict=True):
            known = self._views[tenant].versions if tenant in self._views else {}
            theirs = {node.decode(): int(version) for node, version in answer.items() if node.decode() != self._node}
            reads[tenant] = _Read(set(theirs))
            moved += [(tenant, node, known.get(node)) for node in theirs if known.get(node) != theirs[node]]
            if check and self._are_leases_valid:
                await self._drop_expired(tenant, reads[tenant], [node for node in theirs if node in known])
        unread = await self._read_changes(reads, [(t, node, v) for t, node, v in moved if v is not None])
        await self._read_whole(reads, [(t, node) for t, node, v in moved if v is None] + unread)
        if check:
            for tenant, totals in (await self._totals.read(tenants, self._are_leases_valid)).items():
                reads[tenant].totals = totals
        return reads

    async def _drop_expired(self, tenant: str, read: _Read, nodes: list[str]) -> None:
        """Drop the nodes whose lease has expired."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for node in nodes:
                pipeline.exists(self._keys.members(tenant, node))
            found = await pipeline.execute() if nodes else []
        for node, exists in zip(nodes, found, strict=True):
            if not exists:
                await self._forget(tenant, read, node)

    async def _forget(self, tenant: str, read: _Read, node: str) -> None:
        read.nodes.discard(node)
        nodes, members = self._keys.nodes(tenant), self._keys.members(tenant, node)
        await self._redis.eval(_FORGET, 2, nodes, members, node)

    async def _read_changes(self, reads: dict[str, _Read], moved: list[tuple[str, str, int]]) -> list[tuple[str, str]]:
        """Read the changes of nodes since a version; returns the nodes whose changes are no longer kept."""
        if not moved:
            return []
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant, node, version in moved:
                pipeline.xrange(self._keys.changes(tenant, node), min=f"({version}-0")
            answers = await pipeline.execute()
        unread = []
        for (tenant, node, version), entries in zip(moved, answers, strict=True):
            chained = bool(entries)
            for id, fields in entries:
                chained = chained and int(fields[AFTER]) == version
                version = int(id.partition(b"-")[0])
                fields[VERSION] = b"%d" % version
            if chained:
                reads[tenant].changes += [(node, fields) for _, fields in entries]
            else:
                unread.append((tenant, node))
        return unread

    async def _read_whole(self, reads: dict[str, _Read], nodes: list[tuple[str, str]]) -> None:
        if not nodes:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant, node in nodes:
                pipeline.hgetall(self._keys.members(tenant, node))
            answers = await pipeline.execute()
        for (tenant, node), fields in zip(nodes, answers, strict=True):
            if VERSION in fields:
                reads[tenant].changes.append((node, fields))
            elif self._are_leases_valid:
                await self._forget(tenant, reads[tenant], node)

    # ---- changes

    def _apply(self, tenant: str, read: _Read) -> None:
        view = self._views.get(tenant)
        if view is None:
            return
        if read.totals is not None:
            view.remote.totals = read.totals
        changes: list[PresenceChange] = []
        for node, fields in read.changes:
            changes += self._apply_changes(view, node, fields)
        # After the changes of other nodes: a user who moved from a stopped node to another has not left.
        if self._are_leases_valid:
            for node in view.versions.keys() - read.nodes:
                del view.versions[node]
                changes += view.remote.drop(node)
        news = view.loaded and view.watched
        view.loaded, view.read_at = True, self._timer()
        if news and changes:
            self._on_changes(tenant, changes)

    def _apply_changes(self, view: _View, node: str, fields: dict[bytes, bytes]) -> list[PresenceChange]:
        view.versions[node] = int(fields[VERSION])
        members: dict[str, Member | None] = {}
        try:
            members.update(unpack_all(fields))
        except ValueError:
            logger.warning("invalid connections of another node were skipped")
        if AFTER in fields:
            return view.remote.update(node, members)
        return view.remote.replace(node, [member for member in members.values() if member is not None])


def _resolve(requests: dict[str, asyncio.Future[None]]) -> None:
    for request in requests.values():
        if not request.done():
            request.set_result(None)


async def _wait_for_read(request: asyncio.Future[None]) -> None:
    try:
        async with Deadline(READ_DEADLINE):
            await asyncio.shield(request)
    except TimeoutError:
        pass
