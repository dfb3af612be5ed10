"""The workload of several nodes, with real processes for a moment: figures come out, and nothing stays behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from benchmarks.load.receiver import Receivers
from benchmarks.machine import Cores
from benchmarks.measure import Bench
from benchmarks.peers import Peer
from benchmarks.peers.cluster import OnRedis
from benchmarks.peers.gateway import GatewayOnRedis, GatewayOverHttp
from benchmarks.peers.pysocketio import PythonSocketIO
from benchmarks.process import Server, ServerFailed, free_port
from benchmarks.workloads import nodes
from tests.support.redis import executable


class Brief(Bench):
    """Moments where a benchmark takes seconds."""

    def seconds(self, full: float) -> float:
        return full / 40


class FailsAtLast(OnRedis):
    """Its first node listens, its second one ends at once."""

    def __init__(self) -> None:
        self.started: list[Server] = []

    def node(self, core: int, redis: str) -> Server:
        listening = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]
        port = free_port()
        self.started.append(Server([*listening, str(port)] if not self.started else ["false"], port, core))
        return self.started[-1]


@contextmanager
def leaving_nothing_behind() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("peer", [GatewayOverHttp(), GatewayOnRedis(), PythonSocketIO()], ids=lambda peer: peer.name)
def test_events_published_at_one_node_are_measured_at_all(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workload itself raises where a subscriber gets less or more than was published."""
    on_redis = isinstance(peer, OnRedis)
    if on_redis:
        executable()
    if hint := peer.missing():
        pytest.skip(f"needs {hint}")
    monkeypatch.setattr(nodes, "TENANTS", (3,))
    with Receivers() as receivers, leaving_nothing_behind():
        figures = list(nodes.run(Brief(Cores.choose(), receivers), peer))
    measured: dict[str, set[str]] = {}
    for figure in figures:
        assert figure.value > 0 or figure.metric in ("server_idle", "load_share"), figure
        measured.setdefault(figure.case, set()).add(figure.metric)
    wanted = {"event", "delivery", *(["redis"] if on_redis else [])}
    assert {"events", *wanted} <= measured["saturated, 1 a request"]
    assert {"events", *wanted} <= measured["saturated, 16 a request"]
    assert {"p50", "p99", *wanted} <= measured["200 events/s, 1 a request"]
    tenants = {case for case in measured if case.startswith("tenants: ")}
    if isinstance(peer, GatewayOnRedis):
        assert tenants == {"tenants: 3, saturated, 100 a request", "tenants: 3, idle"}
        assert measured["tenants: 3, idle"] == {"redis_idle", "node_idle"}
    else:
        assert not tenants


def test_a_node_that_does_not_start_takes_the_others_and_redis_with_it() -> None:
    executable()
    peer = FailsAtLast()
    with leaving_nothing_behind(), pytest.raises(ServerFailed, match="ended with status 1"):
        with peer.cluster(Cores.choose().server):
            pytest.fail("a cluster of one node and a half")
    assert len(peer.started) == 2
