"""Spans of publishing by OpenTelemetry, the extra `otel`: only this module imports it.

The names are those of OpenTelemetry's semantic conventions for messaging.
"""

import asyncio
from collections.abc import Awaitable
from functools import cache
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
)

from gateway.core.log import Draft, Receipt
from gateway.core.version import VERSION
from schemas.rooms import TENANT_ROOM

SYSTEM: Final = "gathering_gateway"


class PublishTracer:
    """Starts a span of the kind PRODUCER for each published event, and makes it the event's trace context, to which the
    spans of its readers link. The parent is the current span, or the event's context where that is of another trace."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("gathering-gateway", VERSION)

    def start(self, tenant: str, draft: Draft) -> Span:
        """The span of a draft that is about to be appended; its context replaces the draft's, unless tracing is off."""
        name, attributes = _described(draft.rooms[0].partition(":")[0])
        span = self._tracer.start_span(name, _parent(draft.traceparent), SpanKind.PRODUCER, attributes)
        context = span.get_span_context()
        if context.is_valid:
            draft.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        if span.is_recording():
            span.set_attribute("messaging.destination.name", draft.rooms[0])
            span.set_attribute("messaging.message.body.size", len(draft.body))
            span.set_attribute("gateway.tenant", tenant)
        return span

    def follow(self, span: Span, appended: Awaitable[Receipt]) -> Awaitable[Receipt]:
        """The awaitable, which ends the span with its result."""
        if asyncio.isfuture(appended):
            appended.add_done_callback(lambda done: _end_with(span, done))
            return appended
        return self._follow(span, appended)

    async def _follow(self, span: Span, appended: Awaitable[Receipt]) -> Receipt:
        try:
            receipt = await appended
        except BaseException as error:
            _fail(span, error)
            raise
        _end(span, receipt)
        return receipt


def publish_tracer() -> PublishTracer | None:
    """A tracer; None where the application has not configured OpenTelemetry, so that nothing is started for nothing."""
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, ProxyTracerProvider) else PublishTracer(provider)


@cache  # the kinds are configured: a few
def _described(kind: str) -> tuple[str, dict[str, str]]:
    """The name and the attributes of a span by the kind of its event's first room."""
    template = kind if kind == TENANT_ROOM else f"{kind}:{{id}}"
    return f"publish {template}", {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.template": template,
    }


def _parent(traceparent: str | None) -> Context | None:
    """The context of a valid `traceparent`; None, the current one, where there is none or it is of the same trace."""
    if traceparent is None:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    if trace.get_current_span().get_span_context().trace_id == context.trace_id:
        return None
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def _end_with(span: Span, done: "asyncio.Future[Receipt]") -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    if error is None:
        _end(span, done.result())
    else:
        _fail(span, error)


def _end(span: Span, receipt: Receipt) -> None:
    span.set_attribute("messaging.message.id", receipt.event_id)
    if receipt.duplicate:
        span.set_attribute("gateway.duplicate", True)
    span.end()


def _fail(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    span.end()
