"""The status of this node for operators, from its metrics."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.core.log import Log
from gateway.core.members import ClusterMembers
from gateway.core.metric import Histogram, Metric, Reading
from gateway.core.version import VERSION
from gateway.engine.drain import Drain
from gateway.engine.metrics import Metrics
from gateway.engine.readiness import Readiness
from schemas.events import rfc3339
from schemas.operations import NodeStatus

_BY_LABEL: Final = {
    "connections": "connections",
    "connects": "connects_total",
    "refusals": "refusals_total",
    "closes": "closes_total",
    "gaps": "gaps_total",
}
_NUMBERS: Final = {
    "behind": "behind_connections",
    "deliveries": "deliveries_total",
    "delivered_bytes": "delivery_bytes_total",
    "log_lag": "log_lag_seconds",
    "log_events": "log_events",
    "log_bytes": "log_bytes",
    "memory_bytes": "process_resident_memory_bytes",
    "cpu_seconds": "process_cpu_seconds_total",
}
"""Names of metrics by field."""

_WHOLE: Final = _NUMBERS.keys() - {"log_lag", "cpu_seconds"}


class NodeStatusReader:
    """Reads the status of this node."""

    def __init__(self, members: ClusterMembers, log: Log, drain: Drain, metrics: Metrics, readiness: Readiness) -> None:
        self._members = members
        self._log = log
        self._drain = drain
        self._metrics = metrics
        self._readiness = readiness

    async def read(self, platform: bool) -> NodeStatus:
        """The status as of now; with `platform` the numbers of all tenants too, which take O(connections + tenants)."""
        problem = self._readiness.problem
        return NodeStatus(
            node=self._members.node,
            version=VERSION,
            ready=problem is None,
            problem=problem,
            draining=self._drain.announced,
            log_ready=self._log.ready,
            started_at=rfc3339(self._metrics.started_at),
            **(await self._numbers() if platform else {}),
        )

    async def _numbers(self) -> dict[str, Any]:
        return {**_numbers(await self._metrics.collect()), "tenants": await self._metrics.recent.collect()}


def _numbers(collected: Iterable[tuple[Metric, Reading]]) -> dict[str, Any]:
    readings = {metric.name: reading for metric, reading in collected}
    found: dict[str, Any] = {}
    for name, metric in _BY_LABEL.items():
        reading = readings[metric]
        if isinstance(reading, Mapping):
            found[name] = {labels[0]: int(value) for labels, value in reading.items() if value}
    for name, metric in _NUMBERS.items():
        if metric in readings and (value := _number(readings[metric])) is not None:
            found[name] = int(value) if name in _WHOLE else value
    events = readings["events_total"]
    if isinstance(events, Mapping):
        found["events"] = int(sum(value for labels, value in events.items() if labels[1] == "accepted"))
    lag = readings["event_loop_lag_seconds"]
    if isinstance(lag, Histogram):
        found["loop_lag"] = dict(zip([*map(str, lag.bounds), "+Inf"], lag.counts, strict=True))
    return found


def _number(reading: Reading) -> float | None:
    """The number, None for an infinite one."""
    return float(reading) if isinstance(reading, int | float) and math.isfinite(reading) else None
