"""The search for connections by their own id or that of their token, on all nodes: the directories of nodes know of a
new connection on another one half a second late, and of no token."""

from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.core.members import member_of
from gateway.engine.connections import Connections
from gateway.engine.directory import connection_info
from schemas.admin import ConnectionInfo

MAX_CONNECTIONS: Final = 100

_KIND: Final = "connections"


class FoundConnections(NamedTuple):
    """The connections that are found, and the number of those with the token: of more than `MAX_CONNECTIONS` there are
    as many and one more of each node. `silent` nodes did not answer, and with `partial` others may be out of reach."""

    connections: list[ConnectionInfo]
    with_token: int = 0
    silent: tuple[str, ...] = ()
    partial: bool = False

    def has(self, connection_id: str) -> bool:
        """Whether the connection itself is among them."""
        return any(each.connection_id == connection_id for each in self.connections)


class ConnectionSearch:
    """Asks the nodes for connections by a name. O(connections of the tenant) on each."""

    def __init__(self, connections: Connections, cluster: Cluster) -> None:
        self._connections = connections
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def find(self, tenant: str, name: str) -> FoundConnections:
        """The connections of the tenant with this id, or opened with the token of this id, on all nodes."""
        question = {"tenant": tenant, "name": name}
        asked = await self._cluster.queries.ask(_KIND, tenant, question)
        others = asked.unpacked(_unpacked)
        answers: list[FoundConnections] = [self._here(tenant, name), *others.answers.values()]
        return FoundConnections(
            [each for answer in answers for each in answer.connections],
            sum(answer.with_token for answer in answers),
            others.silent,
            others.partial,
        )

    def _here(self, tenant: str, name: str) -> FoundConnections:
        here = self._connections.manager.of(tenant).connections
        found = [each for each in here.values() if each.identity.token_id == name]
        with_token = len(found)
        if (own := here.get(name)) is not None and own not in found:
            found.append(own)
        found.sort(key=lambda each: each.id)
        node = self._cluster.members.node
        shown = [connection_info(tenant, node, member_of(each), each) for each in found[: MAX_CONNECTIONS + 1]]
        return FoundConnections(shown, with_token)

    async def _answer(self, question: Any) -> dict[str, Any]:
        found = self._here(question["tenant"], question["name"])
        shown = [each.model_dump(mode="json") for each in found.connections]
        return {"connections": shown, "with_token": found.with_token}


def _unpacked(packed: Any) -> FoundConnections:
    shown = [ConnectionInfo.model_validate(each) for each in packed["connections"]]
    return FoundConnections(shown, int(packed["with_token"]))
