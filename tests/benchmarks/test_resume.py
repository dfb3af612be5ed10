"""The workload of clients that resume beside busy runs, with a real process for a moment."""

from benchmarks.load.receiver import Receivers
from benchmarks.machine import Cores
from benchmarks.measure import Bench
from benchmarks.peers.gateway import GatewayOverHttp
from benchmarks.workloads import resume


class Brief(Bench):
    """Moments where a benchmark takes minutes."""

    def seconds(self, full: float) -> float:
        return full / 100


def test_clients_that_were_away_have_everything() -> None:
    """The events of the quiet room, and the whole text of the run, in a replay that is recovered."""
    with Receivers() as receivers:
        figures = list(resume.run(Brief(Cores.choose(), receivers), GatewayOverHttp()))
    found = {figure.metric: figure.value for figure in figures}
    assert found["quiet"] == found["run"] == 1.0
    assert found["rate"] > 0
