"""Spans of OpenTelemetry for received events, linked to the spans that published them. Needs opentelemetry-api, which
the package does not depend on."""

from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, TraceFlags, Tracer, get_tracer

from gathering_client.events import Event
from gathering_client.version import VERSION


def links_of(event: Event[Any]) -> list[Link]:
    """The link to the span that published the event; empty for an event without a trace context."""
    if event.traceparent is None:
        return []
    _, trace_id, span_id, flags = event.traceparent.split("-")
    return [Link(SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16))))]


def processing(event: Event[Any], tracer: Tracer | None = None) -> AbstractContextManager[Span]:
    """A span of the kind CONSUMER around the processing of an event, as the current one, with a link to the span that
    published it."""
    tracer = tracer or get_tracer("gathering-gateway-client", VERSION)
    return tracer.start_as_current_span(
        "process gathering_gateway",
        kind=SpanKind.CONSUMER,
        links=links_of(event),
        attributes={
            "messaging.system": "gathering_gateway",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.message.id": event.id,
        },
    )
