"""The audit trail of all nodes, merged by time."""

from collections.abc import Iterable
from dataclasses import astuple
from heapq import nlargest
from operator import attrgetter
from typing import Any, Final, NamedTuple

from gateway.core.audit_acts import Act, ActSortKey
from gateway.core.cluster import Cluster
from gateway.engine.audit import AuditTrail

_KIND: Final = "acts"


class FoundAct(NamedTuple):
    """An act, and the node that did it. Acts of all nodes are in the order of their times, by each node's clock."""

    sort_key: ActSortKey
    act: Act


class FoundActs(NamedTuple):
    """The acts of the nodes that answered, newest first; `more` where there are others. `silent` nodes did not answer,
    and with `partial` others may be out of reach."""

    acts: list[FoundAct]
    more: bool
    nodes: tuple[str, ...]
    silent: tuple[str, ...]
    partial: bool


class ClusterAudit:
    """Reads the audit trail of each node that answers. The caller checks the rights."""

    def __init__(self, trail: AuditTrail, cluster: Cluster) -> None:
        self._trail = trail
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def acts(
        self, tenant: str | None, limit: int, before: ActSortKey | None = None, name: str | None = None
    ) -> FoundActs:
        """The last acts about a tenant and by its administrators, by default of all tenants; those before a sort key,
        or about a `name`, as `AuditTrail.about`."""
        question = {"tenant": tenant, "limit": limit + 1, "before": before, "name": name}
        own = self._here(question)
        others = (await self._cluster.queries.ask(_KIND, tenant, question)).unpacked(_unpacked)
        answers = {self._cluster.members.node: own, **others.answers}
        every = (FoundAct(ActSortKey(act.at, node, act.number), act) for node, acts in answers.items() for act in acts)
        found = nlargest(limit + 1, every, key=attrgetter("sort_key"))
        return FoundActs(found[:limit], len(found) > limit, tuple(sorted(answers)), others.silent, others.partial)

    async def _answer(self, question: Any) -> list[Any]:
        return [astuple(act) for act in self._here(question)]

    def _here(self, question: Any) -> list[Act]:
        tenant, limit, name = question["tenant"], question["limit"], question["name"]
        if name is not None:
            return self._trail.about(tenant, name, limit)
        before = question["before"] and ActSortKey(*question["before"]).on(self._cluster.members.node)
        return self._trail.of(tenant, before, limit)


def _unpacked(packed: Iterable[Any]) -> list[Act]:
    return [Act(*values) for values in packed]
