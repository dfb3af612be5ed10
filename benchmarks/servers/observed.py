"""The gateway of `embedded`, with what observes it switched on and off: an order of no events names it.

Spans go to a batch processor, as in a deployment, whose exporter drops them; the canary checks each second.
"""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from benchmarks.load.publisher import Order
from benchmarks.servers.embedded import directly, serve
from benchmarks.servers.orders import Publish
from gateway.service.factory import Service
from gateway.telemetry.tracing import PublishTracer

SAMPLED = 0.01
CANARY_SECONDS = 1.0


class _Dropped(SpanExporter):
    """An exporter without a collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def observed(service: Service) -> Publish:
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(SAMPLED))
    provider.add_span_processor(BatchSpanProcessor(_Dropped()))
    tracer = PublishTracer(provider)
    publish_events = directly(service)
    canary = service.canary
    canary.interval = CANARY_SECONDS

    async def publish(order: Order) -> None:
        if order.count:
            await publish_events(order)
            return
        service.gateway.publishing.tracer = tracer if "traces" in order.rooms else None
        await canary.stop()
        if "canary" in order.rooms:
            await canary.start()

    return publish


if __name__ == "__main__":
    serve(observed)
