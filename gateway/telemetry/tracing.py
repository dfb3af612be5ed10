"""Spans of publishing by OpenTelemetry, the extra `otel`: only this module imports it.

The names are those of OpenTelemetry's semantic conventions for messaging.
"""

import asyncio
from collections.abc import Awaitable
from copy import copy
from functools import cache
from random import random
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, get_current
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
from gateway.telemetry.trace_sampling import SampledIds, head_sampling
from schemas.rooms import TENANT_ROOM

SYSTEM: Final = "gathering_gateway"


class PublishTracer:
    """Starts a span of the kind PRODUCER for each published event that is sampled, and makes it the event's trace
    context, to which the spans of its readers link. The parent is the current span, or the event's context where that
    is of another trace. An event that is not sampled has the context of its parent, if there is one."""

    def __init__(self, provider: TracerProvider) -> None:
        sdk: Any = provider
        self._tracer = self._root_tracer = provider.get_tracer("gathering-gateway", VERSION)
        self._sampling = sampling = head_sampling(getattr(sdk, "sampler", None))
        if sampling is not None and 0 < sampling.ratio < 1:
            # A copy, since the provider gives the same tracer to all that ask for it.
            sampled: Any = copy(self._tracer)
            sampled.id_generator = SampledIds(sdk.id_generator, sampling.ratio)
            self._root_tracer = sampled

    def start(self, tenant: str, draft: Draft) -> Span | None:
        """The span of a draft that is about to be appended, whose context replaces the draft's; None where it is not
        sampled. Nothing is computed for a span before that is known."""
        parent = _parent(draft.traceparent)
        tracer, sampling = self._tracer, self._sampling
        if sampling is not None:
            if parent is None:
                if random() >= sampling.ratio:  # noqa: S311 - no secret
                    return None
                tracer = self._root_tracer
            elif sampling.parent_based and not parent.trace_flags.sampled:
                draft.traceparent = _written(parent)
                return None
        room = draft.rooms[0]
        name, attributes = _described(room.partition(":")[0])
        attributes = {
            **attributes,
            "messaging.destination.name": room,
            "messaging.message.body.size": len(draft.body),
            "gateway.tenant": tenant,
        }
        span = tracer.start_span(name, _within(parent), SpanKind.PRODUCER, attributes)
        context = span.get_span_context()
        if context.is_valid:
            draft.traceparent = _written(context)
        return span if span.is_recording() else None

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
def _described(kind: str) -> tuple[str, dict[str, str | int]]:
    """The name and the attributes of a span by the kind of its event's first room."""
    template = kind if kind == TENANT_ROOM else f"{kind}:{{id}}"
    return f"publish {template}", {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.template": template,
    }


def _parent(traceparent: str | None) -> SpanContext | None:
    """The parent of a span: the context of a valid `traceparent`, or the current one where there is none or it is of
    the same trace. None where a trace begins."""
    within = get_current()
    if traceparent is None and not within:  # for speed: `get_current_span` takes 1 us
        return None
    current = trace.get_current_span(within).get_span_context()
    if traceparent is not None:
        _, trace_id, span_id, flags = traceparent.split("-")
        if current.trace_id != int(trace_id, 16):
            return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    return current if current.is_valid else None


def _within(parent: SpanContext | None) -> Context | None:
    """The context to start a span in; None is the current one."""
    if parent is None or parent == trace.get_current_span().get_span_context():
        return None
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _written(context: SpanContext) -> str:
    """The `traceparent` of a context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


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
