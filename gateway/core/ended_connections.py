"""The recently ended connections of each tenant."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from gateway.core.connection_record import ConnectionRecord

KEPT_SECONDS: Final = 600.0
"""Seconds for which an ended connection is kept."""

MAX_ENDED: Final = 5_000
"""Ended connections of one tenant."""

MAX_ROWS: Final = 50_000
"""Rooms and changes of rooms of one tenant's ended connections: about 10 MiB."""


class _Ended:
    """The ended connections of one tenant, oldest first, each with the time of its end."""

    __slots__ = ("lost_at", "records", "rows")

    def __init__(self) -> None:
        self.records: deque[tuple[float, ConnectionRecord]] = deque()
        self.rows = 0
        self.lost_at: float | None = None


class EndedConnections:
    """The records of ended connections by tenant, for `KEPT_SECONDS`, within bounds: the oldest go first. A tenant's
    records displace no other tenant's.

    `now` is seconds of a monotonic clock. Adding is O(1), amortised; finding is O(ended connections of the tenant);
    a sweep is O(tenants with ended connections). A tenant without any takes no memory.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, _Ended] = {}

    def add(self, tenant: str, record: ConnectionRecord, now: float) -> None:
        ended = self._tenants.get(tenant)
        if ended is None:
            ended = self._tenants[tenant] = _Ended()
        ended.records.append((now, record))
        ended.rows += _rows(record)
        while len(ended.records) > MAX_ENDED or ended.rows > MAX_ROWS:
            ended.lost_at = _drop(ended)[0]

    def of(self, tenant: str, now: float) -> Iterator[ConnectionRecord]:
        """The ended connections of a tenant, newest first."""
        ended = self._tenants.get(tenant)
        for at, record in reversed(ended.records) if ended is not None else ():
            if at <= now - KEPT_SECONDS:
                return
            yield record

    def known_for(self, tenant: str, now: float) -> float:
        """Seconds back from `now` for which all ended connections of the tenant are kept."""
        ended = self._tenants.get(tenant)
        lost_at = None if ended is None else ended.lost_at
        return KEPT_SECONDS if lost_at is None else min(KEPT_SECONDS, now - lost_at)

    def sweep(self, now: float) -> None:
        """Drop records older than `KEPT_SECONDS`."""
        for tenant, ended in list(self._tenants.items()):
            while ended.records and ended.records[0][0] <= now - KEPT_SECONDS:
                _drop(ended)
            if not ended.records:
                del self._tenants[tenant]


def _drop(ended: _Ended) -> tuple[float, ConnectionRecord]:
    oldest = ended.records.popleft()
    ended.rows -= _rows(oldest[1])
    return oldest


def _rows(record: ConnectionRecord) -> int:
    return len(record.spans) + len(record.changes)
