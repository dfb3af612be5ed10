"""The usage of tenants by hour, as the sum over all nodes."""

from collections.abc import Iterable, Mapping
from functools import reduce
from heapq import nsmallest
from itertools import islice
from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.core.errors import LogUnavailable
from gateway.core.usage import Place, Recorded, Usage, UsageRow
from gateway.engine.usage import UsageMeter

_KIND: Final = "usage"


class UsageSums(NamedTuple):
    """The sums over all nodes, `durable` where those that have ended are among them; `more` where there are further
    rows. `nodes` answered; `silent` ones did not, and of them the last seconds are missing, or all that is not durable.
    With `partial` others may be out of reach, or what was recorded is."""

    rows: list[UsageRow]
    more: bool
    durable: bool
    nodes: tuple[str, ...]
    silent: tuple[str, ...]
    partial: bool


class ClusterUsage:
    """Adds up what each node has counted: an event at the node that appended it, a delivery and a connection's seconds
    at the node that has the connection. So a sum counts nothing twice. Each node takes the hours by its own clock.

    The usage of a node is its answer, and where it does not answer, or has ended, what it has recorded."""

    def __init__(self, meter: UsageMeter, cluster: Cluster) -> None:
        self._meter = meter
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def rows(self, tenant: str | None, after: Place, limit: int) -> UsageSums:
        """The first `limit` rows after a place, of one tenant or of all."""
        # A row within the limit here is within the limit at each node that has it, so that its sum is whole.
        question = {"tenant": tenant, "after": after, "limit": limit + 1}
        store, queries = self._cluster.usage, self._cluster.queries
        # Asked before what is recorded is read: a node that ends meanwhile has recorded its usage by then.
        asked = (await queries.ask(_KIND, tenant, question)).unpacked(_unpacked)
        recorded, unread = await self._recorded(tenant, after, limit + 1)
        answers: dict[str, list[UsageRow]] = {self._cluster.members.node: self._here(question), **asked.answers}
        used: dict[Place, dict[str, Usage]] = {place: dict(nodes) for place, nodes in recorded.items()}
        for node, rows in answers.items():
            for hour, name, usage in rows:
                used.setdefault((hour, name), {})[node] = usage
        found = [UsageRow(*place, _sum(used[place])) for place in nsmallest(limit + 1, used)]
        return UsageSums(
            found[:limit],
            len(found) > limit,
            store.durable,
            tuple(sorted(answers)),
            asked.silent,
            asked.partial or unread,
        )

    async def _recorded(self, tenant: str | None, after: Place, limit: int) -> tuple[Recorded, bool]:
        """The recorded usage, and whether it could not be read."""
        try:
            return await self._cluster.usage.read(tenant, after, limit), False
        except LogUnavailable:
            return {}, True

    async def _answer(self, question: Any) -> list[Any]:
        return [(hour, tenant, *used) for hour, tenant, used in self._here(question)]

    def _here(self, question: Any) -> list[UsageRow]:
        hour, tenant = question["after"]
        return list(islice(self._meter.rows(question["tenant"], (hour, tenant)), question["limit"]))


def _unpacked(packed: Iterable[Any]) -> list[UsageRow]:
    return [
        UsageRow(int(hour), str(tenant), Usage(float(seconds), int(events), int(deliveries), int(size)))
        for hour, tenant, seconds, events, deliveries, size in packed
    ]


def _sum(nodes: Mapping[str, Usage]) -> Usage:
    return reduce(Usage.plus, nodes.values(), Usage())
