"""The connections of each tenant that have ended lately: 10 minutes, within bounds."""

from gateway.core.connection_record import ConnectionRecord, record_of
from gateway.core.ended_connections import KEPT_SECONDS, MAX_ENDED, MAX_ROWS, EndedConnections
from gateway.core.manager import ConnectionManager
from tests.support.entries import EPOCH, connection


def ended(id: str, rooms: int = 1) -> ConnectionRecord:
    manager = ConnectionManager()
    one, _ = connection(manager, {f"circle:{n}": 0 for n in range(rooms)}, id=id)
    return record_of(one, EPOCH, 0, ended_at=0.0)


def ids(kept: EndedConnections, tenant: str = "acme", now: float = 0.0) -> list[str]:
    return [record.connection_id for record in kept.of(tenant, now)]


def test_ended_connections_are_kept_for_ten_minutes_newest_first() -> None:
    kept = EndedConnections()
    for n in range(4):
        kept.add("acme", ended(str(n)), 100.0 * n)
    assert ids(kept, now=300.0) == ["3", "2", "1", "0"]
    assert kept.known_for("acme", 300.0) == KEPT_SECONDS
    assert ids(kept, now=KEPT_SECONDS + 150.0) == ["3", "2"]
    kept.sweep(KEPT_SECONDS + 150.0)
    assert ids(kept, now=300.0) == ["3", "2"]
    assert ids(kept, "bolt") == []
    kept.sweep(2 * KEPT_SECONDS)
    assert ids(kept, now=2 * KEPT_SECONDS) == []


def test_number_is_bounded_for_each_tenant() -> None:
    """The oldest go first, and how far back all are known says so; another tenant's stay."""
    kept = EndedConnections()
    kept.add("bolt", ended("quiet"), 0.0)
    record = ended("one")
    for n in range(3 * MAX_ENDED):
        kept.add("acme", record, n / MAX_ENDED)
    assert len(ids(kept, now=3.0)) == MAX_ENDED
    assert abs(kept.known_for("acme", 3.0) - 1.0) < 0.01
    assert (ids(kept, "bolt", 3.0), kept.known_for("bolt", 3.0)) == (["quiet"], KEPT_SECONDS)


def test_rows_are_bounded() -> None:
    """Connections of a hundred rooms count as so many."""
    kept = EndedConnections()
    record = ended("wide", 100)
    for n in range(2 * MAX_ROWS // 100):
        kept.add("acme", record, float(n) / 1_000)
    assert len(ids(kept, now=1.0)) == MAX_ROWS // 100
    assert kept.known_for("acme", 1.0) < KEPT_SECONDS
