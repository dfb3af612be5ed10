"""Contract suites of log engines, transports and cluster drivers: a test for each guarantee in their docstrings.

Subclass one, implement its hooks, and let pytest with pytest-asyncio collect it:

    pytestmark = pytest.mark.asyncio

    class TestMyLog(LogContract):
        @asynccontextmanager
        async def open(self, bounds, keys):
            clock = Clock()
            yield LogUnderTest(MyLog(keys, bounds, clock, clock), clock.advance)

An engine shared by many nodes subclasses `SharedLogContract` instead. `TransportContract` drives a transport over a
real socket with a real client, `EventStreamContract` one for event streams. `ClusterContract` is for one node,
`SharedClusterContract` for several. The suites do not import pytest.
"""

from gateway.testing.cluster_contract import LEASE, ClusterContract, MemberTable, NodeUnderTest
from gateway.testing.event_stream_client import Block, EventStreamClient
from gateway.testing.event_stream_contract import EventStreamContract
from gateway.testing.helpers import CURSOR_KEY, Clock, draft, until
from gateway.testing.log_contract import KEY_SECONDS, LogContract
from gateway.testing.log_under_test import LogUnderTest, RecordingListener
from gateway.testing.peers import Peer, RecordingHost
from gateway.testing.shared_cluster_contract import SharedClusterContract
from gateway.testing.shared_log_contract import SharedLogContract
from gateway.testing.transport_contract import TransportContract

__all__ = [
    "CURSOR_KEY",
    "KEY_SECONDS",
    "LEASE",
    "Block",
    "Clock",
    "ClusterContract",
    "EventStreamClient",
    "EventStreamContract",
    "LogContract",
    "LogUnderTest",
    "MemberTable",
    "NodeUnderTest",
    "Peer",
    "RecordingHost",
    "RecordingListener",
    "SharedClusterContract",
    "SharedLogContract",
    "TransportContract",
    "draft",
    "until",
]
