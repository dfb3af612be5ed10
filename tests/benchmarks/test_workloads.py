"""The membership of rooms in each workload, and the deliveries that a benchmark expects from it."""

from collections import Counter

import pytest

from benchmarks.workloads import all_workloads, dashboards, growth


def test_dashboards_have_five_rooms_each_evenly_spread() -> None:
    rooms = [dashboards.rooms_of(number) for number in range(5_000)]
    assert {len(set(mine)) for mine in rooms} == {5}
    members = Counter(room for mine in rooms for room in mine)
    assert len(members) == 1_000
    assert {count for room, count in members.items() if room.startswith("circle:")} == {30}
    assert {count for room, count in members.items() if room.startswith("project:")} == {20}


def test_no_dashboard_is_in_both_rooms_of_an_event() -> None:
    audiences = dashboards.audiences(5_000)
    assert len({circle for circle, _ in audiences}) == 500
    for audience in audiences[::50]:
        assert dashboards.listeners(5_000, audience) == 50


@pytest.mark.parametrize("rooms", [10, 1_000, 50_000])
def test_rooms_have_ten_members_and_connections_at_most_a_hundred_rooms(rooms: int) -> None:
    mine = [growth.rooms_of(number, 5_000, rooms) for number in range(5_000)]
    assert max(map(len, mine)) <= 100
    members = Counter(room for names in mine for room in set(names) if room.startswith("circle:"))
    assert len(members) == rooms
    assert set(members.values()) == {10}


def test_every_workload_tells_its_method() -> None:
    for workload in all_workloads():
        assert len(workload.method) > 100, workload.name
