"""The metrics of a gateway: its counts, read at a scrape."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from gateway.core.cluster import Cluster
from gateway.core.log import Log
from gateway.core.metric import Metric, Reading
from gateway.engine.busiest_tenants import BusiestTenants
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.loop_lag import LoopLag
from gateway.engine.metric_totals import Totals, sum_up
from gateway.engine.process_metrics import process_metrics
from gateway.engine.publishing import SAMPLE_EVERY, Publishing
from gateway.engine.recent_tenants import RecentTenants
from gateway.engine.subscriptions import Subscriptions
from gateway.engine.usage import UsageMeter
from gateway.engine.usage_recorder import UsageRecorder
from gateway.telemetry import counts
from schemas.codes import CloseCode, ErrorCode

Labelled = Mapping[tuple[str, ...], float]

_REFUSED_CONNECTS: Final = (
    ErrorCode.TOKEN_MISSING,
    ErrorCode.TOKEN_INVALID,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.TOKEN_REVOKED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BROKER_UNAVAILABLE,
    "origin",
    "malformed_handshake",
    "unknown_path",
)

_GAPS: Final = ("history_trimmed", "log_reset", "not_recovered")


class Metrics:
    """The metrics of one gateway and, for refusals, closes and gaps, of its process; other parts `add` theirs.
    `tenants` are counters by tenant, `usage` by hour as well, `recent` the tenants at work. A scrape costs
    O(connections + tenants)."""

    def __init__(
        self,
        connections: Connections,
        delivery: Delivery,
        subscriptions: Subscriptions,
        publishing: Publishing,
        log: Log,
        cluster: Cluster,
    ) -> None:
        self.tenants = BusiestTenants(connections.manager, log)
        self.usage = UsageMeter(connections, log)
        self._recorder = UsageRecorder(self.usage, cluster.usage)
        self.recent = RecentTenants(connections.manager, self.usage, connections.shares)
        self.started_at = time.time()
        """Seconds since the epoch."""
        self._loop_lag = LoopLag()
        self._manager = connections.manager
        self._subscriptions = subscriptions
        self._publishing = publishing
        self._log = log
        self._totals = Totals()
        self._closed_by_client = 0
        self._metrics: dict[str, Metric] = {}
        self._add_connections()
        self._add_events(delivery)
        self._add_log()
        for metric in process_metrics(self.started_at):
            self.add(metric)
        self._histogram(
            "tenant_wait_seconds",
            "Time that work of a tenant waited for its turn, where it could not be done at once.",
            lambda: connections.shares.waits,
        )
        self._histogram(
            "event_loop_lag_seconds", "How late a timer of the event loop runs.", lambda: self._loop_lag.samples
        )

    async def start(self) -> None:
        """Sample the lag of this event loop, and record the usage."""
        self._loop_lag.start()
        await self._recorder.start()

    async def stop(self) -> None:
        self._loop_lag.stop()
        await self._recorder.stop()

    def add(self, metric: Metric) -> None:
        """Add a metric. Raises `ValueError` where its name is taken."""
        if metric.name in self._metrics:
            raise ValueError(f"there is a metric {metric.name} already")
        self._metrics[metric.name] = metric

    async def collect(self) -> list[tuple[Metric, Reading]]:
        """All metrics with their values as of now."""
        self._totals = await sum_up(self._manager, self._log)
        return [(metric, metric.read()) for metric in self._metrics.values()]

    # ---- the metrics

    def _add_connections(self) -> None:
        self._labelled("gauge", "connections", "transport", "Open connections.", self._open)
        self._labelled(
            "counter",
            "connects_total",
            "result",
            "Attempts to connect: accepted, or the error code or reason of the refusal.",
            lambda: {("accepted",): self._totals.opened, **_by_label(counts.refused_connects, _REFUSED_CONNECTS)},
        )
        self._labelled(
            "counter",
            "closes_total",
            "code",
            "Ended connections, by the close code of the gateway (1006: aborted without one); or client.",
            self._closes,
        )
        self._labelled(
            "counter",
            "refusals_total",
            "code",
            "Refused connections, commands and requests, by error code.",
            lambda: _by_label(counts.refusals, ErrorCode),
        )
        self._total("gauge", "behind_connections", "Connections that are behind, or being caught up.", "behind")
        self._labelled(
            "counter",
            "recoveries_total",
            "result",
            "Clients that came back with a cursor: recovered, or not_recovered where events were lost.",
            self._recoveries,
        )
        self._labelled(
            "counter",
            "gaps_total",
            "reason",
            "Notifications of a client that events are missing.",
            lambda: _by_label(counts.gaps, _GAPS),
        )

    def _add_events(self, delivery: Delivery) -> None:
        self._labelled("counter", "events_total", ("source", "result"), "Published events.", self._published)
        contract = self._publishing.contract
        self.add(
            Metric(
                "contract_violations_total",
                "counter",
                "Events that violate the event contract, refused or not.",
                lambda: 0 if contract is None else contract.violations,
            )
        )
        self._histogram(
            "publish_seconds",
            f"Time from handing an event to the log to its answer; of one event in {SAMPLE_EVERY}.",
            lambda: self._publishing.latencies,
        )
        self._total("counter", "deliveries_total", "Events written to clients.", "deliveries")
        self._total(
            "counter", "delivery_bytes_total", "Bytes of these events' frames, before compression.", "delivered_bytes"
        )
        self._histogram(
            "delivery_seconds",
            "Time from an event's arrival in the log here until it was written to all live connections; of the oldest"
            " event of each fan-out.",
            lambda: delivery.latencies,
        )

    def _add_log(self) -> None:
        self._total("gauge", "log_events", "Events in the windows that this node keeps.", "log_events")
        self._total("gauge", "log_bytes", "Bytes of these events.", "log_bytes")
        self._total("gauge", "state_items", "Items whose newest value this node keeps.", "items")
        self._total("gauge", "state_bytes", "Bytes of these values.", "item_bytes")
        self.add(
            Metric("log_ready", "gauge", "1 while the log takes and delivers events.", lambda: int(self._log.ready))
        )
        self._total(
            "gauge",
            "log_lag_seconds",
            "Longest time since this node knew the head of a tenant's log; infinite while it does not know it.",
            "lag",
        )

    def _total(self, kind: Literal["counter", "gauge"], name: str, help: str, field: str) -> None:
        self.add(Metric(name, kind, help, lambda: float(getattr(self._totals, field))))

    def _labelled(
        self,
        kind: Literal["counter", "gauge"],
        name: str,
        labels: str | tuple[str, ...],
        help: str,
        read: Callable[[], Labelled],
    ) -> None:
        self.add(Metric(name, kind, help, read, (labels,) if isinstance(labels, str) else labels))

    def _histogram(self, name: str, help: str, read: Callable[[], Reading]) -> None:
        self.add(Metric(name, "histogram", help, read))

    # ---- values by label

    def _open(self) -> Labelled:
        return {("websocket",): self._totals.websockets, ("sse",): self._totals.streams}

    def _closes(self) -> Labelled:
        by_gateway = _by_label(counts.closes, (str(int(code)) for code in (*CloseCode, counts.ABORTED)))
        # A maximum, since a counter must not decrease: a close may be counted twice, by the transport and the engine.
        self._closed_by_client = max(self._closed_by_client, self._totals.ended - sum(counts.closes.values()))
        return {**by_gateway, ("client",): self._closed_by_client}

    def _recoveries(self) -> Labelled:
        recoveries = self._subscriptions.recoveries
        return {("recovered",): recoveries[True], ("not_recovered",): recoveries[False]}

    def _published(self) -> Labelled:
        results = ("accepted", "duplicate", "refused")
        counted = self._publishing.counts.items()
        return {(source, result): getattr(count, result) for source, count in counted for result in results}


def _by_label(counted: Mapping[str, int], usual: Iterable[str]) -> Labelled:
    """The counts by label, those of `usual` values from 0 on: `increase()` misses the first of a new series."""
    return {(str(label),): counted.get(label, 0) for label in dict.fromkeys((*usual, *counted))}
