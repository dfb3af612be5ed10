"""The exchange of tenants' totals between nodes, through Redis."""

import asyncio
import json
from collections.abc import Iterable
from itertools import islice
from typing import Final

from gateway.cluster.redis.context import MembersContext
from gateway.core.members import MemberSource, TenantTotals
from gateway.redis.client import COMMAND_SECONDS
from gateway.redis.deadlines import Deadline

_KEPT_SECONDS: Final = 7 * 86_400
_TENANTS_AT_ONCE: Final = 500
_NONE: Final = TenantTotals(0, 0, 0)


class TotalsExchange:
    """Each node has a field in the hash of a tenant, as long as it runs, with or without connections there.

    A write costs Redis one command for each tenant whose totals have changed, and this node O(tenants).
    """

    def __init__(self, context: MembersContext, source: MemberSource) -> None:
        self._redis = context.redis
        self._keys = context.keys
        self._node = context.node
        self._source = source
        self._written: dict[str, TenantTotals] = {}

    def reset(self) -> None:
        """Write all totals again: Redis has lost its data."""
        self._written.clear()

    async def write(self) -> None:
        """Write the totals that have changed since the last time. Raises the exceptions of redis-py."""
        tenants = iter(set(self._source.tenants()))
        while some := list(islice(tenants, _TENANTS_AT_ONCE)):
            now = {tenant: self._source.totals(tenant) for tenant in some}
            changed = {tenant: totals for tenant, totals in now.items() if self._written.get(tenant, _NONE) != totals}
            if changed:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for tenant, totals in changed.items():
                        pipeline.hset(self._keys.totals(tenant), self._node, json.dumps(totals, separators=(",", ":")))
                        pipeline.expire(self._keys.totals(tenant), _KEPT_SECONDS)
                    async with Deadline(COMMAND_SECONDS):
                        await pipeline.execute()
                self._written.update(changed)
            await asyncio.sleep(0)

    async def read(self, tenants: Iterable[str], forget_ended: bool) -> dict[str, dict[str, TenantTotals]]:
        """The totals of the other running nodes, by tenant. With `forget_ended` those of stopped nodes are deleted.
        Raises the exceptions of redis-py."""
        names = list(tenants)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tenant in names:
                pipeline.hgetall(self._keys.totals(tenant))
            found = {
                tenant: {node.decode(): _unpack(text) for node, text in fields.items() if node.decode() != self._node}
                for tenant, fields in zip(names, await pipeline.execute(), strict=True)
            }
        nodes = sorted({node for totals in found.values() for node in totals})
        async with self._redis.pipeline(transaction=False) as pipeline:
            for node in nodes:
                pipeline.exists(self._keys.alive(node))
            running = {node for node, runs in zip(nodes, await pipeline.execute(), strict=True) if runs}
            for tenant, totals in found.items():
                if forget_ended and (ended := totals.keys() - running):
                    pipeline.hdel(self._keys.totals(tenant), *ended)
            await pipeline.execute()
        return {tenant: {n: t for n, t in totals.items() if n in running} for tenant, totals in found.items()}


def _unpack(text: bytes) -> TenantTotals:
    """The totals in a field; zeros for invalid text."""
    try:
        connections, messages, broadcasts = (int(number) for number in json.loads(text))
    except (ValueError, TypeError):
        return _NONE
    return TenantTotals(connections, messages, broadcasts)
