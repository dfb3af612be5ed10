"""The servers that are measured, each found or said to be missing."""

from benchmarks.peers.base import Peer
from benchmarks.peers.floor import Floor
from benchmarks.peers.gateway import GatewayEmbedded, GatewayOnBus, GatewayOnRedis, GatewayOverHttp
from benchmarks.peers.gather import Gather
from benchmarks.peers.nats import Nats
from benchmarks.peers.nchan import Nchan
from benchmarks.peers.node import SocketIO, Ws
from benchmarks.peers.pysocketio import PythonSocketIO
from benchmarks.peers.uws import UWebSockets

__all__ = ["Peer", "all_peers"]


def all_peers() -> list[Peer]:
    """Every peer, this build first."""
    ours: list[Peer] = [GatewayEmbedded(), GatewayOverHttp(), GatewayOnBus(), GatewayOnRedis()]
    return [*ours, Gather(), Ws(), SocketIO(), UWebSockets(), Nchan(), Nats(), PythonSocketIO(), Floor()]
