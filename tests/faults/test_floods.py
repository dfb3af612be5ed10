"""A tenant that floods (F28): the others get their share, and nothing of theirs is refused or lost."""

from collections.abc import Iterator
from typing import Final

import pytest

from benchmarks.load.receiver import Receivers
from benchmarks.machine import Cores, raise_file_limit
from benchmarks.measure import Bench
from benchmarks.peers.gateway import GatewayOverHttp
from benchmarks.workloads import fairness

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

SLACK: Final = 50.0
"""Milliseconds beyond twice the time without a flood: the clients and other work are on the same cores."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    raise_file_limit()
    with Receivers() as receivers:
        yield Bench(Cores.choose(), receivers, quick=True)


@pytest.mark.parametrize("flood", fairness.FLOODS)
def test_a_quiet_tenant_beside_a_flood(bench: Bench, flood: str) -> None:
    """By HTTP, by 1,000 resumes, by 1,000 connects, by a room of 5,000: events and connections of another tenant come
    through, all of them and in time."""
    found = {figure.metric: figure.value for figure in fairness.beside_flood(bench, GatewayOverHttp(), flood)}
    print({metric: round(value, 2) for metric, value in found.items()})
    assert found["admission"] == 1.0
    assert found["event_flood"] <= 2 * found["event_quiet"] + SLACK
    assert found["connect_flood"] < 2_000


def test_tenants_that_flood_get_equal_shares(bench: Bench) -> None:
    """However many connections each has."""
    found = {figure.metric: figure.value for figure in fairness.among_equals(bench, GatewayOverHttp())}
    print(found)
    assert found["share"] >= 0.8
    assert found["jain"] >= 0.95
