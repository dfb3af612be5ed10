"""The drain of any node of the cluster by an operator."""

from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.engine.drain import Drain
from gateway.engine.lifecycle import Lifecycle
from schemas.codes import ErrorCode

MIN_DRAIN_SECONDS: Final = 1.0
"""The duration of a drain in seconds where the setting is 0. A shutdown then closes all clients at its end, but no
shutdown follows here."""

_KIND: Final = "drain"


class BegunDrain(NamedTuple):
    """A drain that has begun: the connections of the node, and the seconds until the last of them is closed."""

    connections: int
    seconds: float


class NodeDrain:
    """Begins the drain of this node or another one, each by its own settings: after `delay` seconds, and over
    `seconds`. The caller checks the rights."""

    def __init__(self, drain: Drain, lifecycle: Lifecycle, cluster: Cluster, delay: float, seconds: float) -> None:
        self._drain = drain
        self._lifecycle = lifecycle
        self._cluster = cluster
        self._delay, self._seconds = delay, max(seconds, MIN_DRAIN_SECONDS)
        cluster.queries.attach(_KIND, self._answer)

    async def begin(self, node: str) -> BegunDrain:
        """Begin the drain, unless it has begun. Raises `GatewayError` where no such node runs, `LogUnavailable` where
        it does not answer."""
        if node == self._cluster.members.node:
            begun = await self._answer(None)
        else:
            found = (await self._cluster.queries.ask_node(_KIND, node, None)).unpacked(_unpacked)
            if not (found.answers or found.silent or found.partial):
                raise GatewayError(ErrorCode.NOT_FOUND, "no such node runs; GET /admin/nodes lists them")
            begun = found.answers.get(node)
        if begun is None:
            raise LogUnavailable("the node does not answer; try again, or stop it where it runs")
        return begun

    async def _answer(self, question: Any) -> BegunDrain | None:
        """None while the gateway starts or stops: a drain that begins then would be that of its next start."""
        if self._lifecycle.loop is None:
            return None
        seconds = self._drain.begin(self._delay, self._seconds)
        return BegunDrain(sum(1 for _ in self._drain.clients()), seconds)


def _unpacked(packed: Any) -> BegunDrain:
    return BegunDrain(int(packed[0]), float(packed[1]))
