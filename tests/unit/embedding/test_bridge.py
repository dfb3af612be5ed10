"""The bridge from the buses and events that applications have."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import Event, EventBridge, EventBus, setup_custom_broadcasting, setup_websocket_broadcasting
from gateway.embedding.bridge import Route
from gateway.engine.gateway import Gateway
from gateway.service.factory import create_service
from tests.support.bus import received
from tests.support.inprocess import RunningGateway
from tests.support.logs import FailingLog
from tests.support.settings import settings_for


class PlainBus:
    """A bus whose `subscribe` takes a type and a handler, and whose events are whatever is published."""

    def __init__(self) -> None:
        self.handlers: dict[str, list[Callable[[Any], Any]]] = {}

    def subscribe(self, event_type: str, handler: Callable[[Any], Any]) -> None:
        self.handlers.setdefault(event_type, []).append(handler)

    async def publish(self, event: Any) -> None:
        name = event["type"] if isinstance(event, dict) else event.type
        for handler in self.handlers.get(name, ()):
            await handler(event)


class SynchronousBus(PlainBus):
    """One that calls its handlers and awaits nothing."""

    async def publish(self, event: Any) -> None:
        for handler in self.handlers.get(event.type, ()):
            assert handler(event) is None


# ---- buses


async def test_a_bus_with_two_arguments_is_bridged(gate: RunningGateway) -> None:
    """`subscribe(event_type, handler)`, with a filter or without: the bridge filters for itself."""
    gateway, bus = gate.service.gateway, PlainBus()
    setup_websocket_broadcasting(bus=bus, gateway=gateway, tenant="acme")
    setup_custom_broadcasting("order.paid", lambda event: event.circle_id == 1, bus=bus, gateway=gateway, tenant="acme")
    events = [Event("task.completed"), Event("order.paid", circle_id=1), Event("order.paid", circle_id=2)]
    assert [frame["type"] for frame in await received(gate, bus, events)] == ["task.completed", "order.paid"]


async def test_a_bus_without_await_is_bridged(gate: RunningGateway) -> None:
    """`submit` in place of `forward`: the events come in order, whichever thread calls."""
    gateway, bus = gate.service.gateway, SynchronousBus()
    bridge = EventBridge(gateway, "acme")
    bus.subscribe("order.paid", bridge.submit)
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for n in range(3):
            await bus.publish(Event("order.paid", {"n": n}, circle_id=1))
        event = Event("order.paid", {"n": 3}, circle_id=1)
        await asyncio.to_thread(lambda: asyncio.run(bus.publish(event)))
        assert [(await client.next("order.paid"))["data"]["n"] for _ in range(4)] == [0, 1, 2, 3]
    assert (bridge.forwarded, bridge.dropped) == (4, {})


def test_a_bus_without_await_and_without_a_running_gateway() -> None:
    """Counted, and nothing is raised into the bus."""
    bridge = EventBridge(lambda: None, "acme")
    bridge.submit(Event("order.paid"))
    bridge = EventBridge(create_service(settings_for()).gateway, "acme")
    bridge.submit(Event("order.paid"))
    assert bridge.dropped == {"no_gateway": 1}


# ---- events


@dataclass
class OrderPaid:
    """An application's event: of what the gateway knows it has a type alone."""

    customer: str
    order: int
    type: str = "order.paid"


async def test_events_that_lack_attributes_are_forwarded(gate: RunningGateway) -> None:
    """Missing attributes are left out, the time is now, and `data` is an empty object."""
    bus = PlainBus()
    bridge = setup_websocket_broadcasting(["order.paid"], bus=bus, gateway=gate.service.gateway, tenant="acme")
    events = [
        OrderPaid("acme", 1),
        SimpleNamespace(type="order.paid", data={"n": 2}),
        SimpleNamespace(type="order.paid", circle_id=7, timestamp=None, id=None, data=None),
    ]
    frames = await received(gate, bus, events)
    assert [frame["data"] for frame in frames] == [{}, {"n": 2}, {}]
    assert [frame.keys() - {"type", "data", "event_id", "timestamp"} for frame in frames] == [
        set(),
        set(),
        {"circle_id"},
    ]
    age = datetime.now(UTC) - datetime.fromisoformat(frames[0]["timestamp"])
    assert abs(age.total_seconds()) < 60
    assert (bridge.forwarded, bridge.dropped) == (3, {})


async def test_events_may_be_mappings(gate: RunningGateway) -> None:
    """Mappings as decoded from JSON."""
    bus = PlainBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    event = {"type": "task.completed", "tenant": "acme", "data": {"n": 1}, "project_id": 3, "id": "e-1"}
    (frame,) = await received(gate, bus, [event, event])
    assert (frame["data"], frame["project_id"]) == ({"n": 1}, 3)


async def test_events_with_an_item_key_are_keyed(gate: RunningGateway) -> None:
    """Attributes named `key`, or `op` without `item_key`, are of the application and mean nothing here."""
    bus = PlainBus()
    setup_websocket_broadcasting(bus=bus, gateway=gate.service.gateway)
    event = {"type": "task.completed", "tenant": "acme", "data": {"n": 1}, "project_id": 3}
    frames = await received(
        gate,
        bus,
        [
            {**event, "item_key": "task/1"},
            {**event, "item_key": "task/1", "op": "delete", "data": {}},
            {**event, "key": "5", "op": "replace"},
        ],
    )
    assert [(frame.get("key"), frame.get("op")) for frame in frames] == [
        ("task/1", None),
        ("task/1", "delete"),
        (None, None),
    ]


# ---- routes


async def test_a_route_says_tenant_and_rooms(gate: RunningGateway) -> None:
    """From what the application has, in place of the event's own attributes; a coroutine function may ask for it."""

    async def asks(event: Any) -> tuple[str, dict[str, Any]]:
        await asyncio.sleep(0)
        return event.customer, {"project_id": event.order, "user_id": 12}

    routes: list[Route] = [lambda event: (event.customer, {"project_id": event.order, "user_id": 12}), asks]
    for route in routes:
        bus = PlainBus()
        bridge = setup_websocket_broadcasting(["order.paid"], bus=bus, gateway=gate.service.gateway, route=route)
        event = SimpleNamespace(type="order.paid", customer="acme", order=5, tenant="globex", circle_id=9)
        (frame,) = await received(gate, bus, [event], "project:5")
        assert {name: frame.get(name) for name in ("circle_id", "project_id", "user_id")} == {
            "circle_id": None,
            "project_id": 5,
            "user_id": "12",
        }
        assert bridge.forwarded == 1


async def test_a_route_without_a_tenant_drops_the_event(gate: RunningGateway) -> None:
    """None, or no tenant; and a route that fails or names what there is not."""

    def fails(event: Any) -> None:
        raise LookupError("no such order")

    routes: dict[str, list[Route]] = {
        "no_tenant": [lambda event: None, lambda event: ("", {"circle_id": 1})],
        "invalid": [lambda event: ("acme", {"cirle_id": 1}), lambda event: ("a b", {})],
        "failed": [fails],
    }
    for reason, some in routes.items():
        for route in some:
            bridge = EventBridge(gate.service.gateway, route=route)
            await bridge.forward(Event("order.paid", tenant="acme"))
            assert (bridge.forwarded, bridge.dropped) == (0, {reason: 1})


def test_a_tenant_beside_a_route_is_a_mistake() -> None:
    """Which of them would count?"""
    with pytest.raises(ValueError, match="either"):
        EventBridge(lambda: None, "acme", route=lambda event: ("acme", {}))


# ---- what is not forwarded


async def test_each_reason_is_counted_by_itself(gate: RunningGateway) -> None:
    """`dropped` by reason, none of which comes from the event."""
    gateway = gate.service.gateway
    bridge = EventBridge(gateway)
    for event in (SimpleNamespace(tenant="acme"), {"tenant": "acme", "data": {}}):
        await bridge.forward(event)
    await bridge.forward(Event("order.paid"))
    for bad in (Event("Order Paid", tenant="acme"), Event("order.paid", {"x": object()}, tenant="acme")):
        await bridge.forward(bad)
    await bridge.forward(Event("order.paid", {"x": "y" * 100_000}, tenant="acme"))
    assert bridge.dropped == {"no_type": 2, "no_tenant": 1, "invalid": 2, "message_too_large": 1}
    assert bridge.forwarded == 0

    bridge = EventBridge(lambda: None, "acme")
    await bridge.forward(Event("order.paid"))
    assert bridge.dropped == {"no_gateway": 1}

    log = FailingLog()
    bridge = EventBridge(Gateway(log, gateway.connections.verifier), "acme")
    await bridge.forward(Event("order.paid"))
    log.error = RuntimeError("a fault")
    await bridge.forward(Event("order.paid"))
    assert bridge.dropped == {"broker_unavailable": 1, "failed": 1}


async def test_a_filter_that_fails_drops_the_event(gate: RunningGateway) -> None:
    """The bus itself gets no exception."""

    def fails(event: Any) -> bool:
        raise LookupError("no such circle")

    bus = PlainBus()
    bridge = setup_custom_broadcasting("order.paid", fails, bus=bus, gateway=gate.service.gateway, tenant="acme")
    assert await received(gate, bus, [Event("order.paid")]) == []
    assert bridge.dropped == {"failed": 1}


async def test_the_log_has_a_line_for_each_reason_and_not_for_each_event(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Which says what to do; the count says how many there were."""
    caplog.set_level(logging.WARNING, "gateway.bus")
    bridge = EventBridge(gate.service.gateway)
    bus = EventBus()
    bridge.attach(bus, ["order.paid"])
    for _ in range(50):
        await bus.publish(Event("order.paid"))
        await bus.publish(Event("order.paid", tenant="acme", circle_id="a b"))
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway.bus"]
    assert len(lines) == 2
    assert "pass `tenant` or `route`" in lines[0]
    assert "'order.paid'" in lines[0]
    assert "circle_id" in lines[1]
    assert bridge.dropped == {"no_tenant": 50, "invalid": 50}
