"""The usage of tenants by hour, as the sum over all nodes."""

from collections.abc import Iterable
from heapq import nsmallest
from itertools import islice
from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.engine.usage import Usage, UsageMeter, UsageRow

_KIND: Final = "usage"


class UsageSums(NamedTuple):
    """The sums over the `nodes` that answered; `more` where there are further rows. `silent` nodes did not answer, and
    with `partial` others may be out of reach."""

    rows: list[UsageRow]
    more: bool
    nodes: tuple[str, ...]
    silent: tuple[str, ...]
    partial: bool


class ClusterUsage:
    """Adds up what each node has counted: an event at the node that appended it, a delivery and a connection's seconds
    at the node that has the connection. So a sum counts nothing twice. Each node takes the hours by its own clock."""

    def __init__(self, meter: UsageMeter, cluster: Cluster) -> None:
        self._meter = meter
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def rows(self, tenant: str | None, after: tuple[int, str], limit: int) -> UsageSums:
        """The first `limit` rows after an hour and a tenant, in this order, of one tenant or of all."""
        # A row within the limit here is within the limit at each node that has it, so that its sum is whole.
        question = {"tenant": tenant, "after": after, "limit": limit + 1}
        own = self._here(question)
        others = (await self._cluster.queries.ask(_KIND, tenant, question)).unpacked(_unpacked)
        answers: dict[str, list[UsageRow]] = {self._cluster.members.node: own, **others.answers}
        sums: dict[tuple[int, str], Usage] = {}
        for rows in answers.values():
            for hour, name, used in rows:
                sums[hour, name] = sums.get((hour, name), Usage()).plus(used)
        found = [UsageRow(hour, name, sums[hour, name]) for hour, name in nsmallest(limit + 1, sums)]
        return UsageSums(found[:limit], len(found) > limit, tuple(sorted(answers)), others.silent, others.partial)

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
