"""The tenants that the nodes know, as one list."""

import asyncio
from heapq import nsmallest
from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.engine.administration import Administration
from gateway.engine.directory import TenantDirectory

_KIND: Final = "tenants"


class FoundTenants(NamedTuple):
    """The directories of tenants, sorted; `more` where others follow. `silent` nodes did not answer, and with `partial`
    others may be out of reach."""

    tenants: list[TenantDirectory]
    more: bool
    silent: tuple[str, ...]
    partial: bool


class ClusterTenants:
    """Lists the tenants that any node knows. The caller checks the rights."""

    def __init__(self, administration: Administration, cluster: Cluster) -> None:
        self._administration = administration
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def page(self, after: str | None, limit: int) -> FoundTenants:
        """The first `limit` tenants whose names follow `after`. O(tenants) at each node."""
        question = {"after": after, "limit": limit + 1}
        own = await self._answer(question)
        others = (await self._cluster.queries.ask(_KIND, None, question)).unpacked(_unpacked)
        names = nsmallest(limit + 1, {*own, *(name for names in others.answers.values() for name in names)})
        tenants = await asyncio.gather(*map(self._administration.directory, names[:limit]))
        return FoundTenants(tenants, len(names) > limit, others.silent, others.partial)

    async def _answer(self, question: Any) -> list[str]:
        return self._administration.tenants(question["after"], question["limit"])


def _unpacked(packed: Any) -> list[str]:
    if not isinstance(packed, list):
        raise TypeError("not a list of names")
    return [str(name) for name in packed]
