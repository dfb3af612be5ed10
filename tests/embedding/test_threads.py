"""Code of the process that calls the gateway from a thread, or from another event loop."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI

from gateway import Event, EventBus, NotRunning, WrongEventLoop, setup_websocket_broadcasting
from gateway.api import create_router, create_service
from gateway.service.factory import Service
from tests.support.clients import Client, http_client
from tests.support.inprocess import RunningGateway, served
from tests.support.settings import settings_for


def in_a_thread(call: Callable[[], Any]) -> Awaitable[Any]:
    return asyncio.to_thread(call)


async def alive(gate: RunningGateway, client: Client, n: int) -> None:
    """All is well: what is published comes at once, and nothing came in between."""
    await gate.service.gateway.publish("acme", "order.done", {"n": n}, circle_id=1)
    assert (await client.next("order.done"))["data"] == {"n": n}


async def test_every_call_on_another_event_loop_raises_and_changes_nothing(gate: RunningGateway) -> None:
    """Publishing, broadcasting, sending away, stopping: clients get what is published after it, and nothing else."""
    gateway, manager = gate.service.gateway, gate.service.manager
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        (connection,) = manager.connections()
        calls: list[Callable[[], Any]] = [
            lambda: gateway.publish("acme", "order.done", {"n": 0}, circle_id=1),
            lambda: manager.broadcast({"type": "news", "data": {}}),
            lambda: manager.broadcast_event("news", {}),
            lambda: manager.ping_all(),
            lambda: manager.send_personal({"type": "news", "data": {}}, connection),
            lambda: manager.disconnect(connection),
            lambda: gateway.start(),
            lambda: gateway.stop(),
            lambda: gate.service.running().__aenter__(),
        ]
        for call in calls:

            async def attempt(call: Callable[[], Any] = call) -> None:
                with pytest.raises(WrongEventLoop, match="publish_threadsafe"):
                    await call()

            await asyncio.to_thread(asyncio.run, attempt())
        head = gateway.log.window("acme").head
        await alive(gate, client, 1)
        assert gateway.log.window("acme").head == head + 1
        assert gateway.ready


async def test_reads_are_thread_safe(gate: RunningGateway) -> None:
    async with gate.client():
        assert (await in_a_thread(gate.service.manager.get_stats))["active_connections"] >= 1
        assert await in_a_thread(lambda: gate.service.gateway.ready)


async def test_a_thread_publishes_and_has_the_receipt(gate: RunningGateway) -> None:
    """`publish_threadsafe` takes what `publish` takes, and raises what it raises."""
    gateway = gate.service.gateway

    def publish(type: str = "order.done") -> str:
        return gateway.publish_threadsafe("acme", type, {"n": 1}, circle_id=1, key="k").result(5).event_id

    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        assert await in_a_thread(publish) == (await client.next("order.done"))["event_id"]
        with pytest.raises(ValueError, match="type"):
            await in_a_thread(lambda: publish("no type"))
        await alive(gate, client, 2)


async def test_on_its_own_event_loop_it_says_to_await(gate: RunningGateway) -> None:
    """Waiting there for the result would be a deadlock."""
    with pytest.raises(WrongEventLoop, match="await"):
        gate.service.gateway.publish_threadsafe("acme", "order.done", {})
    with pytest.raises(WrongEventLoop, match="await"):
        EventBus().publish_threadsafe(Event("order.done"))


def test_without_a_running_gateway_it_says_so() -> None:
    service = create_service(settings_for())
    with pytest.raises(NotRunning, match="not running"):
        service.gateway.publish_threadsafe("acme", "order.done", {})
    with pytest.raises(NotRunning, match="not running"):
        EventBus().publish_threadsafe(Event("order.done"))


async def test_a_bus_publishes_from_a_thread(gate: RunningGateway) -> None:
    """Its handlers are called on the gateway's event loop, where those of the application are at home."""
    bus, loops = EventBus(), []

    async def note(event: Event) -> None:
        loops.append(asyncio.get_running_loop())

    bus.subscribe("order.done", note)
    setup_websocket_broadcasting(["order.done"], bus=bus, tenant="acme")
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        await in_a_thread(lambda: bus.publish_threadsafe(Event("order.done", {"n": 1}, circle_id=1)).result(5))
        assert (await client.next("order.done"))["data"] == {"n": 1}
        assert loops == [asyncio.get_running_loop()]
        await alive(gate, client, 2)


async def test_a_bus_of_another_event_loop_is_forwarded(gate: RunningGateway) -> None:
    """Any bus will do, also one that calls its handlers in a thread of its own."""
    bus = EventBus()
    bridge = setup_websocket_broadcasting(["order.done"], bus=bus, tenant="acme", gateway=gate.service.gateway)
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        event = Event("order.done", {"n": 1}, circle_id=1)
        await in_a_thread(lambda: asyncio.run(bus.publish(event)))
        assert (await client.next("order.done"))["data"] == {"n": 1}
        assert (bridge.forwarded, bridge.dropped.total()) == (1, 0)
        await alive(gate, client, 2)


# ---- an application with plain `def` routes


def shop(service: Service) -> FastAPI:
    app = FastAPI()
    app.include_router(create_router(service))

    @app.post("/wrong")
    def wrong() -> str:
        return asyncio.run(service.gateway.publish("acme", "order.done", {"n": 0}, circle_id=1)).event_id

    @app.post("/right")
    def right() -> str:
        return service.gateway.publish_threadsafe("acme", "order.done", {"n": 1}, circle_id=1).result(5).event_id

    return app


async def test_a_plain_route_publishes() -> None:
    """FastAPI runs a plain route in a thread: the wrong call fails at once and blocks nothing, the right one
    delivers."""
    service = create_service(settings_for())
    async with served(shop(service)) as port, http_client() as api:
        gate = RunningGateway(service, port)
        async with gate.client(query="&rooms=circle:1") as client:
            await client.next("subscribed")
            assert (await api.post(f"{gate.url}/wrong")).status_code == 500
            answer = await api.post(f"{gate.url}/right")
            assert json.loads(answer.text) == (await client.next("order.done"))["event_id"]
            await alive(gate, client, 2)
