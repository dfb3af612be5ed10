"""The status of all nodes for operators."""

import asyncio
from typing import Any, Final

from gateway.core.cluster import Cluster
from gateway.engine.node_status import NodeStatusReader
from schemas.cluster import partial_field
from schemas.operations import NodesResponse, NodeStatus

_KIND: Final = "status"


class ClusterStatus:
    """Reads the status of each node that answers."""

    def __init__(self, reader: NodeStatusReader, cluster: Cluster) -> None:
        self._reader = reader
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def read(self, platform: bool) -> NodesResponse:
        """The nodes by name, this one first; with `platform` the numbers of all tenants too."""
        own, answers = await asyncio.gather(
            self._reader.read(platform), self._cluster.queries.ask(_KIND, None, {"platform": platform})
        )
        others = answers.unpacked(NodeStatus.model_validate)
        nodes = [own, *(status for _, status in sorted(others.answers.items()))]
        return NodesResponse(nodes=nodes, silent=others.silent, **partial_field(others.partial))

    async def _answer(self, question: Any) -> dict[str, Any]:
        return (await self._reader.read(question["platform"])).model_dump(mode="json", exclude_unset=True)
