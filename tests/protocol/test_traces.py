"""Trace context: from the request, the event or the current span, through the log, into the event's frame."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from gathering_client import Event, connect
from gathering_client.tracing import processing
from schemas.trace_context import traceparent_of
from tests.support.clients import Client, assert_problem, http
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.redis import RedisServer
from tests.support.settings import settings_for

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

EVENT = {"type": "task.completed", "data": {}, "circle_id": 1}

INVALID = [
    "",
    "00-x",
    ONE.upper(),
    ONE + "-00",
    ONE.replace("00-", "ff-", 1),
    "00-" + 32 * "0" + ONE[35:],
    ONE[:36] + 16 * "0" + "-01",
    ONE + "\n",
    f'{ONE}","data":{{}}',
]


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_context_is_ignored(text: str) -> None:
    """W3C Trace Context, sections 3.2.2 and 4.3."""
    assert traceparent_of(text) is None


def test_a_context_of_a_later_version_is_read_as_the_current_one() -> None:
    """Its first members are the same."""
    assert traceparent_of(ONE) == ONE
    assert traceparent_of(ONE.replace("00-", "cc-", 1) + "-what-the-future-will-be-like") == ONE


@pytest.fixture
async def client(gate: RunningGateway) -> AsyncIterator[Client]:
    token = gate.token(rooms=["circle:*"], scope="publish subscribe")
    async with gate.client(token) as client:
        await client.ask(type="subscribe", rooms=["circle:1"])
        yield client


async def next_context(client: Client) -> str | None:
    while (frame := await client.next())["type"] != "task.completed":
        pass
    assert set(frame) - {"traceparent"} == {"type", "data", "circle_id", "event_id", "timestamp"}
    context: str | None = frame.get("traceparent")
    return context


@pytest.mark.parametrize("fast", [True, False])
async def test_an_event_has_the_context_of_its_request(gate: RunningGateway, client: Client, fast: bool) -> None:
    """By the header; a context of the event goes before it; an invalid header, or two, are ignored. Requests with an
    `Origin` bypass the fast path."""
    origin = {} if fast else {"Origin": gate.url}
    async with http(gate, gate.token(rooms=["circle:*"], scope="publish")) as api:
        for headers, event, expected in (
            ([("traceparent", ONE)], EVENT, ONE),
            ([("traceparent", ONE)], {**EVENT, "traceparent": OTHER}, OTHER),
            ([], {**EVENT, "traceparent": OTHER}, OTHER),
            ([], EVENT, None),
            ([("traceparent", "nonsense")], EVENT, None),
            ([("traceparent", ONE), ("traceparent", OTHER)], EVENT, None),
        ):
            answer = await api.post("/events", json=event, headers=[*headers, *origin.items()])
            assert answer.status_code == 202, answer.text
            assert await next_context(client) == expected
        batch = {"events": [EVENT, {**EVENT, "traceparent": OTHER}]}
        await api.post("/events/batch", json=batch, headers=[("traceparent", ONE), *origin.items()])
        assert [await next_context(client) for _ in range(2)] == [ONE, OTHER]


async def test_an_invalid_context_of_an_event_is_refused(gate: RunningGateway, client: Client) -> None:
    """The error is that of other members, by each way to publish."""
    event = {**EVENT, "traceparent": "nonsense"}
    async with http(gate, gate.token(rooms=["circle:*"], scope="publish")) as api:
        problem = assert_problem(await api.post("/events", json=event), 422, "bad_message")
        assert "traceparent" in problem["detail"]
    assert (await client.ask(type="publish", event=event))["data"]["code"] == "bad_message"


async def test_an_event_has_the_context_of_its_command(gate: RunningGateway, client: Client) -> None:
    """The same holds for a call in the process."""
    await client.send(type="publish", event={**EVENT, "traceparent": ONE})
    assert await next_context(client) == ONE
    await gate.publish(circle_id=1, traceparent=OTHER)
    assert await next_context(client) == OTHER
    await gate.publish(circle_id=1, traceparent="nonsense")
    assert await next_context(client) is None


async def test_a_retry_with_another_context_is_a_duplicate(gate: RunningGateway, client: Client) -> None:
    """Each attempt has a span of its own; the event keeps the first."""
    event = {**EVENT, "idempotency_key": "k"}
    async with http(gate, gate.token(rooms=["circle:*"], scope="publish")) as api:
        first = await api.post("/events", json=event, headers={"traceparent": ONE})
        again = await api.post("/events", json=event, headers={"traceparent": OTHER})
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    assert await next_context(client) == ONE


async def test_the_context_is_kept_with_the_event(server: RedisServer, prefix: str) -> None:
    """Over Redis, live on another node, and for a client that comes back; with the newest value of an item too."""
    settings = settings_for(log_url=server.url, redis_prefix=prefix)
    async with running(settings) as one, running(settings) as two, two.client(query="&rooms=circle:1") as client:
        cursor = client.established["data"]["cursor"]
        await client.next("subscribed")
        await one.publish(circle_id=1, traceparent=ONE)
        await one.publish(circle_id=1, item_key="gauge", traceparent=OTHER)
        assert [(await client.next("task.completed"))["traceparent"] for _ in range(2)] == [ONE, OTHER]
        for gate in (one, two):
            async with gate.client(query=f"&rooms=circle:1&since={cursor}") as late:
                await late.next("subscribed")
                assert [(await late.next("task.completed"))["traceparent"] for _ in range(2)] == [ONE, OTHER]


# ---- with OpenTelemetry


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """A configured SDK, as far as `opentelemetry.trace` knows: the real one can be set once a process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield provider
    provider.shutdown()


def written(span: ReadableSpan) -> str:
    context = span.context
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


async def test_publishing_is_a_producer_span_that_readers_link_to(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """From the current span of a handler through the log to the Python client."""
    tracer = provider.get_tracer("application")
    async with running() as gate:
        url, token = gate.url, gate.token(rooms=["circle:*"])
        async with connect(url, token=token) as client, client.subscribe("circle:1") as subscription:
            coming = asyncio.ensure_future(anext(aiter(subscription)))
            await until(lambda: gate.service.gateway.manager.of("acme").rooms.get("circle:1"))
            with tracer.start_as_current_span("POST /orders") as handler:
                receipt = await gate.service.gateway.publish("acme", "task.completed", {"n": 1}, circle_id=1)
            event = await coming
            assert isinstance(event, Event)
            with processing(event, tracer):
                pass
    published, served, processed = exporter.get_finished_spans()
    assert event.traceparent == written(published)
    assert published.kind is trace.SpanKind.PRODUCER
    assert published.parent == handler.get_span_context()
    assert published.name == "publish circle:{id}"
    assert dict(published.attributes or {}) == {
        "messaging.system": "gathering_gateway",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.template": "circle:{id}",
        "messaging.destination.name": "circle:1",
        "messaging.message.body.size": len(b'{"type":"task.completed","data":{"n":1},"circle_id":1}'),
        "messaging.message.id": receipt.event_id,
        "gateway.tenant": "acme",
    }
    assert served.name == "POST /orders"
    assert processed.kind is trace.SpanKind.CONSUMER
    (link,) = processed.links
    assert published.context is not None
    assert (link.context.trace_id, link.context.span_id) == (published.context.trace_id, published.context.span_id)


async def test_the_span_is_a_child_of_the_publishers(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """By the header of a request, and with a duplicate and a refusal by the log."""
    async with running() as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        async with http(gate, gate.token(rooms=["circle:*"], scope="publish")) as api:
            event = {**EVENT, "idempotency_key": "k"}
            for changed in (event, event, {**event, "data": {"n": 2}}):
                await api.post("/events", json=changed, headers={"traceparent": ONE})
        context = await next_context(client)
    # FastAPI has spans of its own between the publisher's and these.
    spans = exporter.get_finished_spans()
    first, duplicate, conflict = (span for span in spans if span.name == "publish circle:{id}")
    assert context == written(first)
    trace_id, span_id = (int(part, 16) for part in ONE.split("-")[1:3])
    known = {span_id, *(span.context.span_id for span in spans if span.context is not None)}
    for span in (first, duplicate, conflict):
        assert span.parent is not None
        assert span.parent.trace_id == trace_id
        assert span.parent.span_id in known
    assert (duplicate.attributes or {})["gateway.duplicate"] is True
    assert (conflict.attributes or {})["error.type"] == "IdempotencyConflict"
    assert conflict.status.status_code is trace.StatusCode.ERROR


async def test_over_redis_the_span_ends_with_the_answer(
    provider: TracerProvider, exporter: InMemorySpanExporter, server: RedisServer, prefix: str
) -> None:
    """The event has it on each node."""
    async with running(settings_for(log_url=server.url, redis_prefix=prefix)) as gate:
        async with gate.client(query="&rooms=circle:1") as client:
            await client.next("subscribed")
            await gate.publish(circle_id=1)
            context = await next_context(client)
    (span,) = exporter.get_finished_spans()
    assert context == written(span)
    assert "messaging.message.id" in (span.attributes or {})


async def test_a_span_that_is_not_sampled_passes_its_context_on(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the flag that says so; nothing is exported."""
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    async with running() as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        await gate.publish(circle_id=1, traceparent=ONE)
        context = await next_context(client)
    assert context is not None
    assert (context[:35], context[-3:]) == (ONE[:35], "-00")
    assert exporter.get_finished_spans() == ()


class CountedIds(IdGenerator):
    """Ids in sequence: of traces in the 64 high-order bits."""

    def __init__(self) -> None:
        self.traces = self.spans = 0

    def generate_trace_id(self) -> int:
        self.traces += 1
        return self.traces << 64

    def generate_span_id(self) -> int:
        self.spans += 1
        return self.spans


def configured(
    monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter, sampler: Sampler, ids: IdGenerator | None = None
) -> TracerProvider:
    provider = TracerProvider(sampler=sampler, id_generator=ids)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return provider


RATIO = 0.25
EVENTS = 300


@pytest.mark.parametrize(
    "sampler", [ParentBasedTraceIdRatio(RATIO), TraceIdRatioBased(RATIO)], ids=Sampler.get_description
)
async def test_of_traces_that_begin_here_no_span_is_started_but_of_those_that_are_sampled(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, sampler: Sampler
) -> None:
    """Their ids are of the provider's generator. The frame of an event without a span has no context: nothing is at its
    end."""
    ids = CountedIds()
    configured(monkeypatch, exporter, sampler, ids)
    async with running() as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for _ in range(EVENTS):
            await gate.publish(circle_id=1)
        contexts = [await next_context(client) for _ in range(EVENTS)]
    spans = exporter.get_finished_spans()
    assert EVENTS * RATIO / 4 < len(spans) < EVENTS * RATIO * 2  # more than seven standard deviations
    assert [context for context in contexts if context] == [written(span) for span in spans]
    found = [span.context.trace_id for span in spans if span.context is not None]
    assert [trace_id >> 64 for trace_id in found] == list(range(1, len(spans) + 1))
    assert {sampler.should_sample(None, trace_id, "publish").decision for trace_id in found} == {
        Decision.RECORD_AND_SAMPLE
    }
    assert len(set(found)) == len(spans) == ids.spans
    assert all(span.parent is None for span in spans)


@pytest.mark.parametrize("sampler", [ParentBasedTraceIdRatio(1.0), ParentBased(ALWAYS_ON)], ids=Sampler.get_description)
async def test_a_trace_that_is_not_sampled_is_carried_on_without_a_span(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, sampler: Sampler
) -> None:
    """Its context is the publisher's as it is, or the current span's. A span is sampled where its parent is."""
    ids = CountedIds()
    provider = configured(monkeypatch, exporter, sampler, ids)
    dropped = trace.NonRecordingSpan(trace.SpanContext(5 << 64, 6, False, trace.TraceFlags(0)))
    async with running() as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        await gate.publish(circle_id=1, traceparent=OTHER)
        assert await next_context(client) == OTHER
        with trace.use_span(dropped):
            await gate.publish(circle_id=1)
            assert await next_context(client) == f"00-{5 << 64:032x}-{6:016x}-00"
            await gate.publish(circle_id=1, traceparent=f"00-{5 << 64:032x}-{9:016x}-01")
            assert await next_context(client) == f"00-{5 << 64:032x}-{6:016x}-00"
        assert ids.spans == 0
        await gate.publish(circle_id=1, traceparent=ONE)
        sampled = await next_context(client)
        with provider.get_tracer("application").start_as_current_span("handler"):
            await gate.publish(circle_id=1)
            inside = await next_context(client)
    published, child, _ = exporter.get_finished_spans()
    assert (sampled, inside) == (written(published), written(child))


class EverySecond(Sampler):
    """A sampler of the application's own, which counts."""

    def __init__(self) -> None:
        self.asked = 0

    def should_sample(self, *args: object, **options: object) -> SamplingResult:
        self.asked += 1
        return SamplingResult(Decision.DROP if self.asked % 2 else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "EverySecond"


class KeepsMore(TraceIdRatioBased):
    """One that inherits the description of the SDK's."""

    def should_sample(self, *args: object, **options: object) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE)


async def test_another_sampler_is_asked_once_for_each_event(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a sampler may bound a rate, or decide by the attributes."""
    sampler = EverySecond()
    configured(monkeypatch, exporter, sampler)
    async with running() as gate:
        for _ in range(4):
            await gate.publish(circle_id=1)
    assert (sampler.asked, len(exporter.get_finished_spans())) == (4, 2)
    configured(monkeypatch, exporter, KeepsMore(0.0))
    async with running() as gate:
        await gate.publish(circle_id=1)
    assert len(exporter.get_finished_spans()) == 3


async def test_a_disabled_sdk_passes_contexts_on(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tracers have no ids."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    configured(monkeypatch, exporter, ParentBasedTraceIdRatio(0.999))
    async with running() as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for context in (ONE, None, OTHER):
            await gate.publish(circle_id=1, traceparent=context)
            assert await next_context(client) == context


async def test_without_a_configured_sdk_there_are_no_spans(gate: RunningGateway) -> None:
    """The API alone costs nothing."""
    assert gate.service.gateway.publishing.tracer is None
