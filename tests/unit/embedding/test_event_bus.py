"""The event bus, and the bridge from any bus to a gateway."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from gateway import Event, EventBridge, EventBus, EventType, setup_custom_broadcasting, setup_websocket_broadcasting
from gateway.core.errors import LogUnavailable
from gateway.core.log import Draft, Receipt
from gateway.embedding.event_bus import current_gateway, forget_gateway, use_gateway
from gateway.engine.gateway import Gateway
from gateway.logs.memory import MemoryLog
from gateway.service.factory import create_service
from tests.support.bus import received
from tests.support.clients import fence
from tests.support.inprocess import RunningGateway
from tests.support.settings import settings_for

DONE = EventType.TASK_COMPLETED

# ---- the bus


async def test_an_event_goes_to_the_handlers_of_its_type_once_each() -> None:
    """In the order in which they subscribed, plain functions and coroutine functions alike."""
    bus, received = EventBus(), list[str]()

    async def waits(event: Event) -> None:
        received.append("waits")

    bus.subscribe(DONE, lambda event: received.append("plain"))
    bus.subscribe(DONE, waits)
    bus.subscribe(EventType.TASK_FAILED, lambda event: received.append("other"))
    await bus.publish(Event(DONE, {}))
    assert received == ["plain", "waits"]
    await bus.publish(Event(EventType.TASK_STARTED, {}))
    assert len(received) == 2


async def test_a_type_is_the_same_as_text_and_as_an_enum() -> None:
    """Our own enum, the text, or another system's enum of the same words; custom types too."""

    class Theirs(str, Enum):  # noqa: UP042 - as the parent system has it
        TASK_COMPLETED = "task.completed"

    class Plain(Enum):
        TASK_COMPLETED = "task.completed"

    spellings: list[Any] = [DONE, "task.completed", Theirs.TASK_COMPLETED, Plain.TASK_COMPLETED]
    for subscribed in spellings:
        bus, received = EventBus(), list[Any]()
        bus.subscribe(subscribed, received.append)
        for published in spellings:
            await bus.publish(Event(published, {}))
        assert len(received) == 4, subscribed
    bus = EventBus()
    bus.subscribe("deploy.finished", received.append)
    await bus.publish(Event("deploy.finished"))
    assert len(received) == 5


async def test_publish_returns_when_the_handlers_are_done_and_they_run_together() -> None:
    """One that waits holds up no other."""
    bus, order = EventBus(), list[str]()
    gate = asyncio.Event()

    async def waits(event: Event) -> None:
        await gate.wait()
        order.append("first")

    async def opens(event: Event) -> None:
        gate.set()
        order.append("second")

    bus.subscribe(DONE, waits)
    bus.subscribe(DONE, opens)
    await bus.publish(Event(DONE))
    assert sorted(order) == ["first", "second"]


async def test_a_handler_that_raises_affects_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the others, nor the publisher, nor the next event; the log names it."""
    bus, received = EventBus(), list[Event]()

    def fails(event: Event) -> None:
        raise RuntimeError("at once")

    async def fails_later(event: Event) -> None:
        raise RuntimeError("later")

    def fails_to_judge(event: Event) -> bool:
        raise RuntimeError("a filter")

    bus.subscribe(DONE, fails, name="the failing one")
    bus.subscribe(DONE, fails_later)
    bus.subscribe(DONE, received.append, filter_fn=fails_to_judge, name="never reached")
    bus.subscribe(DONE, received.append)
    for _ in range(2):
        await bus.publish(Event(DONE))
    assert len(received) == 2
    assert "the failing one" in caplog.text
    assert "fails_later" in caplog.text


async def test_a_filter_decides_for_its_own_handler() -> None:
    """A filter has no effect on other handlers."""
    bus, ones, everything = EventBus(), list[Event](), list[Event]()
    bus.subscribe(DONE, ones.append, filter_fn=lambda event: event.circle_id == 1)
    bus.subscribe(DONE, everything.append)
    for circle in (1, 2, 1):
        await bus.publish(Event(DONE, circle_id=circle))
    assert (len(ones), len(everything)) == (2, 3)


async def test_unsubscribing_ends_one_subscription() -> None:
    """True for one that was there; the same handler's other subscription stays."""
    bus, received = EventBus(), list[Event]()
    one, other = bus.subscribe(DONE, received.append), bus.subscribe(DONE, received.append)
    assert one != other
    assert bus.unsubscribe(one) is True
    await bus.publish(Event(DONE))
    assert len(received) == 1
    assert bus.unsubscribe(one) is False
    assert bus.unsubscribe("unknown") is False
    assert bus.unsubscribe(other) is True
    await bus.publish(Event(DONE))
    assert len(received) == 1


async def test_an_event_under_way_goes_to_those_that_were_there() -> None:
    """Subscribing and unsubscribing while it is handed out change what comes next."""
    bus, received = EventBus(), list[str]()

    def joins(event: Event) -> None:
        received.append("joins")
        bus.subscribe(DONE, lambda event: received.append("late"))
        bus.unsubscribe(second)

    bus.subscribe(DONE, joins)
    second = bus.subscribe(DONE, lambda event: received.append("second"))
    await bus.publish(Event(DONE))
    assert received == ["joins", "second"]
    await bus.publish(Event(DONE))
    assert received == ["joins", "second", "joins", "late"]


def test_events_have_ids_of_their_own_and_the_time_in_utc() -> None:
    """The defaults of one are not those of the next."""
    one, other = Event(DONE), Event(DONE)
    assert one.id != other.id
    assert one.timestamp.tzinfo is UTC
    one.data["x"] = 1
    assert other.data == {}


# ---- the bridge


async def test_events_of_the_own_bus_reach_their_rooms(gate: RunningGateway) -> None:
    """With all of their fields, and at their own time."""
    bus = EventBus()
    bridge = setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    event = Event(DONE, {"n": 1}, 123, 7, "p", datetime(2026, 1, 15, 10, 30, tzinfo=UTC), "id-1", "acme", "bob")
    frames = await received(gate, bus, [event, Event("unknown.type", tenant="acme")])
    (frame,) = frames
    assert frame.pop("event_id").startswith("evt_")
    assert frame == {
        "type": "task.completed",
        "data": {"n": 1},
        "source_agent_id": 123,
        "circle_id": 7,
        "project_id": "p",
        "user_id": "bob",
        "timestamp": "2026-01-15T10:30:00.000Z",
    }
    assert (bridge.forwarded, bridge.dropped.total()) == (1, 0)


async def test_events_reach_only_the_tenant_they_name(gate: RunningGateway) -> None:
    """By their own attribute, where nothing else was said."""
    bus = EventBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    events = [Event(DONE, {"of": tenant}, circle_id=1, tenant=tenant) for tenant in ("globex", "acme", "initech")]
    assert [frame["data"] for frame in await received(gate, bus, events, "circle:1")] == [{"of": "acme"}]


async def test_events_without_a_tenant_are_dropped_counted_and_logged(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Guessing a tenant would be telling one tenant's event to another."""
    bus = EventBus()
    bridge = setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    assert await received(gate, bus, [Event(DONE), Event(DONE, tenant=""), Event(DONE, tenant="a b")]) == []
    assert (bridge.forwarded, bridge.dropped.total()) == (0, 3)
    assert "has no tenant" in caplog.text


async def test_the_tenant_may_be_a_constant_or_a_function_of_the_event(gate: RunningGateway) -> None:
    """A constant for a system that has one tenant, and knows no such word."""
    gateway = gate.service.gateway
    for tenant in ("acme", lambda event: {1: "acme", 2: "globex"}.get(event.circle_id)):
        bus = EventBus()
        bridge = setup_websocket_broadcasting(bus=bus, gateway=gateway, tenant=tenant)
        frames = await received(gate, bus, [Event(DONE, circle_id=1), Event(DONE, circle_id=2), Event(DONE)])
        assert len(frames) == (3 if tenant == "acme" else 1)
        assert bridge.dropped.total() == (0 if tenant == "acme" else 1)


async def test_a_bridge_never_raises_whatever_comes(gate: RunningGateway) -> None:
    """The bus's other handlers still run."""

    def fails(event: Any) -> str:
        raise KeyError(event)

    gateway = gate.service.gateway
    bridge = EventBridge(gateway, fails)
    await bridge.forward(Event(DONE))
    assert bridge.dropped.total() == 1
    bridge = EventBridge(gateway, "acme")
    bad: list[Any] = [
        None,
        object(),
        Event("Not A Type"),
        Event("token.expiring"),
        Event(DONE, circle_id="a b"),
        Event(DONE, user_id="a b"),
        Event(DONE, data=[1, 2]),  # type: ignore[arg-type]
        Event(DONE, data={"x": object()}),
        Event(DONE, data={"x": b"\\ud800".decode("unicode_escape")}),
        Event(DONE, data={"x": "y" * 100_000}),
        Event(DONE, timestamp="yesterday"),  # type: ignore[arg-type]
    ]
    for event in bad:
        await bridge.forward(event)
    assert (bridge.forwarded, bridge.dropped.total()) == (0, len(bad))
    await bridge.forward(Event(DONE))
    assert bridge.forwarded == 1


async def test_the_data_of_an_event_is_an_object_also_in_the_process(gate: RunningGateway) -> None:
    """Clients count on it; an empty one is one."""
    bad: list[Any] = [[1, 2], "text", None, 7, [("a", 1)]]
    for data in bad:
        with pytest.raises(ValueError, match="object"):
            await gate.service.gateway.publish("acme", "task.completed", data)
    await gate.service.gateway.publish("acme", "task.completed", {})


async def test_a_type_may_be_of_the_applications_own_enum(gate: RunningGateway) -> None:
    """Such a member's `str` is its name within its class, and no type."""

    class Kind(str, Enum):  # noqa: UP042 - older than StrEnum, and still how most are written
        RETRIED = "task.retried"

    async with gate.client(gate.token(), "&rooms=circle:1") as client:
        await client.next("subscribed")
        await gate.service.gateway.publish("acme", Kind.RETRIED, {}, circle_id=1)
        await client.next("task.retried")


async def test_a_log_that_fails_drops_the_event_and_says_so() -> None:
    """Counted; the bus goes on."""

    class Broken(MemoryLog):
        error: Exception = LogUnavailable()

        async def append(self, tenant: str, draft: Draft) -> Receipt:
            raise self.error

    log = Broken((b"k" * 32,))
    bridge = EventBridge(Gateway(log, create_service(settings_for()).gateway.connections.verifier), "acme")
    await bridge.forward(Event(DONE))
    log.error = RuntimeError("a fault")
    await bridge.forward(Event(DONE))
    assert (bridge.forwarded, bridge.dropped.total()) == (0, 2)


async def test_an_id_is_an_idempotency_key(gate: RunningGateway) -> None:
    """The same event twice, as from a handler that tries again or from two nodes, is delivered once."""
    bus = EventBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)  # and set up twice, too
    event = Event(DONE, {"n": 1}, tenant="acme")
    again = Event(DONE, {"n": 1}, tenant="acme", id=event.id, timestamp=event.timestamp + timedelta(seconds=1))
    assert len(await received(gate, bus, [event, event, again])) == 1


async def test_ids_that_collide_lose_no_event(gate: RunningGateway) -> None:
    """Ids made of a clock meet: two bodies under one id are two events, and both come."""
    bus = EventBus()
    bridge = setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    events = [Event(DONE, {"n": n}, tenant="acme", id="task.completed:1700000000000000") for n in range(5)]
    frames = await received(gate, bus, events)
    assert [frame["data"]["n"] for frame in frames] == [0, 1, 2, 3, 4]
    assert len({frame["event_id"] for frame in frames}) == 5
    assert bridge.forwarded == 5


async def test_events_without_an_id_are_all_events(gate: RunningGateway) -> None:
    """None or an empty one is no key that they could share."""
    bus = EventBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    for id in (None, ""):
        events = [Event(DONE, {"n": 1}, tenant="acme", id=id) for _ in range(3)]  # type: ignore[arg-type]
        assert len(await received(gate, bus, events)) == 3


async def test_data_of_python_is_written_as_json(gate: RunningGateway) -> None:
    """Dates, ids, enums and sets, as bus events carry them."""

    class Colour(Enum):
        RED = "red"

    @dataclass
    class Point:
        x: int

    bus = EventBus()
    bridge = setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    data = {
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "day": date(2026, 1, 1),
        "id": UUID(int=7),
        "colour": Colour.RED,
        "tags": {"a"},
        "point": Point(1),
        "price": Decimal("1.5"),
        "bytes": b"abc",
        7: "a number for a name",
    }
    (frame,) = await received(gate, bus, [Event(DONE, data, tenant="acme")])  # type: ignore[arg-type]
    assert frame["data"] == {
        "at": "2026-01-01T00:00:00Z",
        "day": "2026-01-01",
        "id": "00000000-0000-0000-0000-000000000007",
        "colour": "red",
        "tags": ["a"],
        "point": {"x": 1},
        "price": "1.5",
        "bytes": "abc",
        "7": "a number for a name",
    }
    assert bridge.dropped.total() == 0


async def test_an_event_that_changes_after_it_was_published_is_delivered_as_it_was(gate: RunningGateway) -> None:
    """The event is serialised at publish."""
    bus = EventBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    event = Event(DONE, {"n": 1}, tenant="acme")
    bus.subscribe(DONE, lambda event: event.data.update(n=2))
    (frame,) = await received(gate, bus, [event])
    assert frame["data"]["n"] in (1, 2)
    entries = gate.service.gateway.log.window("acme")
    before = entries[entries.head].frame.payload
    event.data["n"] = 3
    assert entries[entries.head].frame.payload == before


async def test_custom_broadcasting_forwards_what_its_filter_lets_through(gate: RunningGateway) -> None:
    """One type, known or not."""
    bus = EventBus()
    gateway = gate.service.gateway
    setup_custom_broadcasting("deploy.finished", lambda event: event.circle_id == 1, bus=bus, gateway=gateway)
    events = [Event("deploy.finished", circle_id=circle, tenant="acme") for circle in (1, 2)]
    assert [frame["circle_id"] for frame in await received(gate, bus, [*events, Event(DONE, tenant="acme")])] == [1]


async def test_only_the_named_types_are_forwarded(gate: RunningGateway) -> None:
    """The given types replace the default ones."""
    bus = EventBus()
    setup_websocket_broadcasting([EventType.SYSTEM_ERROR], bus=bus, gateway=gate.service.gateway)
    events = [Event(EventType.SYSTEM_ERROR, tenant="acme"), Event(DONE, tenant="acme")]
    assert [frame["type"] for frame in await received(gate, bus, events)] == ["system.error"]


async def test_without_a_gateway_named_the_running_one_is_meant(
    monkeypatch: pytest.MonkeyPatch, gate: RunningGateway
) -> None:
    """Set up before it runs; the newest one that runs counts, and after it none."""
    bus = EventBus()
    monkeypatch.setattr("gateway.embedding.bridge.event_bus", bus)
    bridge = setup_websocket_broadcasting()
    assert current_gateway() is gate.service.gateway
    assert len(await received(gate, bus, [Event(DONE, tenant="acme")])) == 1
    await forget_gateway(gate.service.gateway)
    try:
        await bus.publish(Event(DONE, tenant="acme"))
        assert (bridge.forwarded, bridge.dropped.total()) == (1, 1)
    finally:
        await use_gateway(gate.service.gateway)


# ---- a bus of another system, such as the parent's


class TheirType(str, Enum):  # noqa: UP042 - as the parent system has it
    TASK_COMPLETED = "task.completed"
    AGENT_STARTED = "agent.started"


@dataclass
class TheirEvent:
    """With integer ids, an id made of a clock, and no tenant."""

    type: TheirType
    data: dict[str, Any]
    source_agent_id: int | None = None
    circle_id: int | None = None
    project_id: int | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = ""

    def __post_init__(self) -> None:
        self.id = self.id or f"{self.type.value}:{int(self.timestamp.timestamp() * 1_000_000)}"


class TheirBus:
    """Reads `event_type.value` and stops at the first handler that raises."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[tuple[Callable[[Any], Any], Any]]] = defaultdict(list)

    def subscribe(self, event_type: Any, handler: Any, filter_fn: Any = None, name: str | None = None) -> int:
        self._handlers[event_type.value].append((handler, filter_fn))
        return sum(map(len, self._handlers.values()))

    async def publish(self, event: TheirEvent) -> None:
        for handler, filter_fn in self._handlers[event.type.value]:
            if filter_fn is None or filter_fn(event):
                await handler(event)


async def test_another_systems_bus_is_bridged_with_the_default_events(gate: RunningGateway) -> None:
    """Its `subscribe` gets types that have a `value`, its events need no tenant of their own."""
    bus = TheirBus()
    bridge = setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway, tenant="acme")
    events = [
        TheirEvent(TheirType.TASK_COMPLETED, {"n": 1}, 5, 7, 3),
        TheirEvent(TheirType.AGENT_STARTED, {"n": 2}, circle_id=8),
    ]
    frames = await received(gate, bus, events)
    assert [(frame["type"], frame["data"]["n"]) for frame in frames] == [("task.completed", 1), ("agent.started", 2)]
    assert (frames[0]["circle_id"], frames[0]["project_id"], frames[0]["source_agent_id"]) == (7, 3, 5)
    assert frames[0]["event_id"].startswith("evt_")
    assert bridge.forwarded == 2


async def test_another_systems_filter_and_tenant_by_function(gate: RunningGateway) -> None:
    """The examples of its own documentation: only circle 1, each circle of its tenant."""
    bus = TheirBus()
    setup_custom_broadcasting(
        TheirType.TASK_COMPLETED,
        lambda event: event.circle_id == 1,
        bus=bus,
        gateway=gate.service.gateway,
        tenant=lambda event: "acme" if event.circle_id == 1 else "globex",
    )
    events = [TheirEvent(TheirType.TASK_COMPLETED, {}, circle_id=circle) for circle in (1, 2)]
    assert [frame["circle_id"] for frame in await received(gate, bus, events)] == [1]


async def test_another_systems_ids_of_a_clock_collide_and_lose_nothing(gate: RunningGateway) -> None:
    """Ten events in one microsecond have one id there; each of them arrives."""
    bus = TheirBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway, tenant="acme")
    now = datetime.now(UTC)
    events = [TheirEvent(TheirType.TASK_COMPLETED, {"n": n}, circle_id=1, timestamp=now) for n in range(10)]
    assert len({event.id for event in events}) == 1
    assert [frame["data"]["n"] for frame in await received(gate, bus, events)] == list(range(10))


MOMENTS = [
    (datetime(2026, 1, 15, 10, 30), "2026-01-15T10:30:00.000Z"),
    (datetime(2026, 1, 15, 10, 30, tzinfo=UTC), "2026-01-15T10:30:00.000Z"),
    (datetime(2026, 1, 15, 12, 30, tzinfo=timezone(timedelta(hours=2))), "2026-01-15T10:30:00.000Z"),
    (datetime(2026, 1, 15, 10, 30, 0, 999_999, tzinfo=UTC), "2026-01-15T10:30:00.999Z"),
    (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), "1969-12-31T23:59:59.500Z"),
]


async def test_times_are_written_in_utc_a_naive_one_being_so(gate: RunningGateway) -> None:
    """The result is the same in any time zone of the machine."""
    bus = TheirBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway, tenant="acme")
    events = [
        TheirEvent(TheirType.TASK_COMPLETED, {}, timestamp=moment, id=str(n)) for n, (moment, _) in enumerate(MOMENTS)
    ]
    assert [frame["timestamp"] for frame in await received(gate, bus, events)] == [text for _, text in MOMENTS]


async def test_another_systems_handlers_after_ours_still_run(gate: RunningGateway) -> None:
    """Its bus stops at a handler that raises, and ours does not, even for events that cannot be forwarded."""
    bus = TheirBus()
    received: list[Any] = []

    async def theirs(event: Any) -> None:
        received.append(event)

    def no_tenant(event: Any) -> str:
        raise LookupError("no such circle")

    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway, tenant=no_tenant)
    bus.subscribe(TheirType.TASK_COMPLETED, theirs)
    await bus.publish(TheirEvent(TheirType.TASK_COMPLETED, {"x": object()}))
    assert len(received) == 1
    async with gate.client() as client:
        await fence(client)
