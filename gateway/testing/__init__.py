"""Suites that every log engine, every transport and every way between nodes must pass: the sentences of their
docstrings, a test each.

Subclass one, say how the thing under test is made, and let pytest (with pytest-asyncio in auto mode) collect it:

    class TestMyLog(LogContract):
        @asynccontextmanager
        async def open(self, bounds, keys):
            clock = Clock()
            yield LogUnderTest(MyLog(keys, bounds, clock, clock), clock.advance)

An engine that many nodes share subclasses `SharedLogContract` instead. `TransportContract` drives a transport over a
real socket with a real client. `NodesContract` is for one node, `SharedNodesContract` for several. Nothing here needs
pytest itself.
"""

from gateway.testing.helpers import CURSOR_KEY, Clock, draft, until
from gateway.testing.logs import KEY_SECONDS, LogContract, LogUnderTest
from gateway.testing.nodes import LEASE, Connections, NodesContract, NodeUnderTest
from gateway.testing.peers import Peer, RecordingHost
from gateway.testing.shared_logs import SharedLogContract
from gateway.testing.shared_nodes import SharedNodesContract
from gateway.testing.transports import TransportContract

__all__ = [
    "CURSOR_KEY",
    "KEY_SECONDS",
    "LEASE",
    "Clock",
    "Connections",
    "LogContract",
    "LogUnderTest",
    "NodeUnderTest",
    "NodesContract",
    "Peer",
    "RecordingHost",
    "SharedLogContract",
    "SharedNodesContract",
    "TransportContract",
    "draft",
    "until",
]
