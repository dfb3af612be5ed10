"""The drain of any node of the cluster by an operator."""

from typing import Any, Final

from gateway.core.cluster import Cluster
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.engine.drain import Drain
from schemas.codes import ErrorCode

_KIND: Final = "drain"


class NodeDrain:
    """Begins the drain of this node or another one. The caller checks the rights."""

    def __init__(self, drain: Drain, cluster: Cluster) -> None:
        self._drain = drain
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def begin(self, node: str, delay: float, seconds: float) -> int:
        """Begin the drain as `Drain.begin`; returns the number of connections there. Raises `GatewayError` where no
        such node runs, `LogUnavailable` where it does not answer."""
        question = {"node": node, "delay": delay, "seconds": seconds}
        connections = await self._answer(question)
        if connections is not None:
            return connections
        found = await self._cluster.queries.ask(_KIND, None, question)
        for answer in found.answers.values():
            if answer is not None:
                return int(answer)
        if node in found.silent or found.partial:
            raise LogUnavailable("the node does not answer; try again, or stop it where it runs")
        raise GatewayError(ErrorCode.NOT_FOUND, "no such node runs; GET /admin/nodes lists them")

    async def _answer(self, question: Any) -> int | None:
        if question["node"] != self._cluster.members.node:
            return None
        self._drain.begin(question["delay"], question["seconds"])
        return sum(1 for _ in self._drain.clients())
