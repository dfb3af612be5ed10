"""Metrics over HTTP, in the formats of Prometheus and OpenMetrics."""

from collections.abc import Iterable
from hmac import compare_digest
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from auth.errors import ScopeMissing
from gateway.api.authentication import extract_tokens, identify
from gateway.api.problems import PROBLEMS
from gateway.api.routes import ProblemRoute
from gateway.core.addresses import is_loopback
from gateway.core.metric import Histogram, Metric, Reading
from gateway.engine.busiest_tenants import TenantCounts
from gateway.service.factory import Service

PREFIX: Final = "gateway_"

_FORWARDED: Final = frozenset((b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"))
"""Headers of requests that a proxy forwards: where it runs on this machine, their peer is loopback too."""

_FORMATS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Metrics in the text format of Prometheus, or in OpenMetrics if `Accept` names it",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}

_TENANT_METRICS: Final = {
    "connects": ("tenant_connects", "Opened connections."),
    "events": ("tenant_events", "Events appended to the log by this node."),
    "deliveries": ("tenant_deliveries", "Events written to clients."),
    "delivery_bytes": ("tenant_delivery_bytes", "Bytes of these events' frames, before compression."),
}
"""By field of `TenantCounts`."""


class _Scrape(Collector):
    """The metrics of one scrape, as the library's encoders take them. Its own counters and its registry are not used:
    an increment of theirs takes ten times as long as one of an int."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def metrics_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["operation"], route_class=_metrics_route(service), responses=PROBLEMS)
    gateway = service.gateway
    measured = gateway.metrics
    by_tenant = measured.tenants

    @router.get("/metrics", response_class=Response, responses=_FORMATS)
    async def metrics(request: Request) -> Response:
        """Metrics of this node, without names of tenants. For callers on this machine, the static token of the
        settings, and tokens of the scope `platform`."""
        return _answer(request, [_family(metric, reading) for metric, reading in await measured.collect()])

    @router.get("/metrics/tenants", response_class=Response, responses=_FORMATS)
    async def tenants(request: Request) -> Response:
        """Counters of the busiest tenants of this node, and of all others together."""
        return _answer(request, _tenant_families(await by_tenant.collect()))

    return router


def _metrics_route(service: Service) -> type[ProblemRoute]:
    """A route class with the access rule of metrics."""
    secret = service.settings.metrics_token
    static = b"" if secret is None else secret.get_secret_value().encode()

    async def guard(request: Request) -> None:
        if _is_local(request):
            return
        tokens = extract_tokens(request.scope)
        if static and any(compare_digest(token.encode(), static) for token in tokens):
            return
        if not (await identify(service, request)).has_scope("platform"):
            raise ScopeMissing("platform")

    return type("MetricsRoute", (ProblemRoute.of(service),), {"guard": staticmethod(guard)})


def _is_local(request: Request) -> bool:
    """Whether the request comes from this machine, and not through a proxy on it."""
    client = request.client
    names = (name for name, _ in request.scope["headers"])
    return client is not None and is_loopback(client.host) and _FORWARDED.isdisjoint(names)


def _answer(request: Request, families: Iterable[Family]) -> Response:
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(_Scrape(families)), media_type=media_type, headers={"Cache-Control": "no-store"})


def _family(metric: Metric, reading: Reading) -> Family:
    name = PREFIX + metric.name
    if isinstance(reading, Histogram):
        bounds = [*map(floatToGoString, reading.bounds), "+Inf"]
        return HistogramMetricFamily(
            name, metric.help, list(zip(bounds, reading.cumulative, strict=True)), reading.total
        )
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.help, labels=metric.labels)
    for labels, value in reading.items() if not isinstance(reading, int | float) else [((), reading)]:
        family.add_metric(labels, value)
    return family


def _tenant_families(counted: dict[str, TenantCounts]) -> Iterable[Family]:
    for field, (name, help) in _TENANT_METRICS.items():
        family = CounterMetricFamily(PREFIX + name, help, labels=["tenant"])
        for tenant, counts in counted.items():
            family.add_metric([tenant], getattr(counts, field))
        yield family
