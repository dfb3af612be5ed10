"""The isolation canary: two reserved tenants that publish and follow on each node, and must not receive each other's
events."""

import asyncio
import logging
import secrets
from typing import Final

from gateway.core.canary import RESULTS, Verdict
from gateway.core.metric import Histogram, Metric
from gateway.core.reserved_tenants import CANARY_TENANTS
from gateway.engine.canary_client import CanaryClient
from gateway.engine.gateway import Gateway
from gateway.engine.tasks import TaskSet
from gateway.telemetry import log_events

INTERVAL: Final = 5.0
"""Seconds between the beginnings of two checks."""

BOUND: Final = 2.0
"""The longest time in seconds from handing an event to the log until it was written to its connection."""

CLEAN_CHECKS: Final = 2
"""Checks without a finding after which the node is ready again."""

logger = logging.getLogger("gateway.canary")


class Canary:
    """Checks at each interval that each tenant gets its own event once, in order and in time, and none of the other's.

    A check is two events: nothing is added to the delivery of other tenants' events. The `readiness` of the gateway is
    given what it finds; `results` counts checks of a tenant, `latencies` are seconds until an event has arrived. The
    events of this node name it as their `source`. `interval` and `bound` may be set.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.interval, self.bound = INTERVAL, BOUND
        self.source = ""
        self.results = dict.fromkeys(RESULTS, 0)
        self.latencies = Histogram()
        self._gateway = gateway
        self._readiness = gateway.readiness
        self._drain = gateway.drain
        self._clients: list[CanaryClient] = []
        self._clean = 0
        self._tasks = TaskSet()

    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                "canary_checks_total",
                "counter",
                "Checks of the isolation canary, one of each of its two tenants, by the worst that it found.",
                lambda: {(result,): count for result, count in self.results.items()},
                ("result",),
            ),
            Metric(
                "canary_seconds",
                "histogram",
                "Time from handing an event of the isolation canary to the log until it was written to its connection.",
                lambda: self.latencies,
            ),
        )

    async def start(self) -> None:
        """Begin to check on this event loop."""
        self.source = secrets.token_hex(6)
        self._readiness.finding, self._clean = None, 0
        self._clients = [CanaryClient(tenant, self.source, self._gateway) for tenant in CANARY_TENANTS]
        self._tasks.spawn(self._run())

    async def stop(self) -> None:
        await self._tasks.cancel()
        for client in self._clients:
            client.leave()

    async def check(self) -> None:
        """Make one check of both tenants. Without a verdict where the node drains: it closes all connections."""
        publishing = [self._tasks.spawn(client.publish()) for client in self._clients]
        _, late = await asyncio.wait(publishing, timeout=self.bound)
        for task in late:
            task.cancel()
        for outcome in await asyncio.gather(*publishing, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        # Both, before the first verdict: this delivers what is pending, in whichever tenant it would arrive.
        complete = [client.is_complete() for client in self._clients]
        if self._drain.started:
            return
        now = self._gateway.connections.timer()
        verdicts = [
            client.judge.conclude(now, self.bound, each) for client, each in zip(self._clients, complete, strict=True)
        ]
        for client, verdict in zip(self._clients, verdicts, strict=True):
            self._record(client, verdict)
        self._decide(max(verdicts, key=lambda verdict: RESULTS.index(verdict.result)))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._drain.started:
            began = loop.time()
            try:
                if self._gateway.log.ready:  # else readiness and the metrics of the log say so
                    await self.check()
            except Exception:
                self.results["unavailable"] += 1
                logger.exception("a check of the isolation canary could not be made; the next one follows")
            await asyncio.sleep(max(0.0, began + self.interval - loop.time()))
        for client in self._clients:
            client.leave()

    def _record(self, client: CanaryClient, verdict: Verdict) -> None:
        self.results[verdict.result] += 1
        if client.judge.seconds is not None:
            self.latencies.observe(client.judge.seconds)
        if verdict.result != "ok":
            log_events.canary_found(client.tenant, verdict.result, verdict.detail, verdict.failed)

    def _decide(self, worst: Verdict) -> None:
        """Set the readiness by the worst verdict of a check; one that could not be made changes nothing."""
        if worst.failed:
            self._readiness.finding, self._clean = worst.result, 0
        elif worst.result == "ok":
            self._clean += 1
            if self._readiness.finding is not None and self._clean >= CLEAN_CHECKS:
                self._readiness.finding = None
                log_events.canary_recovered()
