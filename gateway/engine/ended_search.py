"""The search for connections that have ended lately, on all nodes."""

from heapq import nlargest
from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.engine.delivery_records import DeliveryRecords
from schemas.operations import EndedConnection

MAX_ENDED: Final = 20

_KIND: Final = "ended"


class FoundEnded(NamedTuple):
    """The ended connections that are found, newest first. `silent` nodes did not answer, and with `partial` others may
    be out of reach."""

    connections: list[EndedConnection]
    silent: tuple[str, ...]
    partial: bool


class EndedSearch:
    """Asks the nodes for the connections of a user, with a token, or of an id, that have ended. O(ended connections of
    the tenant) on each."""

    def __init__(self, records: DeliveryRecords, cluster: Cluster) -> None:
        self._records = records
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def find(self, tenant: str, name: str) -> FoundEnded:
        """The last `MAX_ENDED` ones under the name."""
        asked = await self._cluster.queries.ask(_KIND, tenant, {"tenant": tenant, "name": name})
        others = asked.unpacked(_unpacked)
        found = self._records.ended(tenant, name, MAX_ENDED)
        for answer in others.answers.values():
            found += answer
        newest = nlargest(MAX_ENDED, found, key=lambda each: each.ended_at)
        return FoundEnded(newest, others.silent, others.partial)

    async def _answer(self, question: Any) -> list[Any]:
        found = self._records.ended(question["tenant"], question["name"], MAX_ENDED)
        return [each.model_dump(mode="json") for each in found]


def _unpacked(packed: Any) -> list[EndedConnection]:
    return [EndedConnection.model_validate(each) for each in packed]
