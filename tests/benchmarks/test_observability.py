"""The workload of observability, with a real process for a moment."""

import pytest

from benchmarks import targets
from benchmarks.load.receiver import Receivers
from benchmarks.machine import Cores
from benchmarks.measure import Bench, Figure
from benchmarks.peers.gateway import GatewayEmbedded
from benchmarks.report import Results
from benchmarks.workloads import observability


class Brief(Bench):
    """Moments where a benchmark takes seconds."""

    def seconds(self, full: float) -> float:
        return full / 20

    def count(self, full: int) -> int:
        return 1


def test_each_observer_is_measured_beside_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases are measured on one server. The figures themselves are for a quiet machine."""
    monkeypatch.setattr(observability, "SUBSCRIBERS", 20)
    with Receivers() as receivers:
        figures = list(observability.run(Brief(Cores.choose(), receivers), GatewayEmbedded()))
    metrics = {"microseconds", observability.AGAIN, *observability.OBSERVERS}
    assert {(figure.case, figure.metric) for figure in figures} == {
        (case, metric) for case in observability.CASES for metric in metrics
    }
    assert all(figure.value > 0 for figure in figures)


def test_the_target_is_of_the_case_that_costs_most() -> None:
    """The greatest ratio is taken in each round."""
    made = Results()
    for round, costs in enumerate(((1.01, 1.02, 1.0), (1.04, 1.0, 1.0), (1.0, 1.01, 1.03))):
        for case, cost in zip(observability.CASES, costs, strict=True):
            made.add("observability", "gateway", round, Figure(case, "traces", cost))
    rows = {row[0]: row[1:] for row in targets.rows(made)}
    assert rows["CPU of a delivery with traces, 1 % sampled, times that without"] == [
        *("at most 1.03", "1.03 (1.02 to 1.04)", "met")
    ]
