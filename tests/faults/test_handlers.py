"""A fault in whatever handles a command ends that connection, with 1011 and no word of it (F23)."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.faults.promise import TENANT
from tests.support.clients import Client, http
from tests.support.inprocess import RunningGateway
from tests.support.pauses import PATIENCE, until

CANARY = "canary-of-the-fault"


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError(CANARY)


async def broken_later(*_: Any, **__: Any) -> Any:
    raise RuntimeError(CANARY)


def subscribe(gate: RunningGateway) -> tuple[Any, str]:
    return gate.service.gateway.subscriptions, "change_rooms"


def auth(gate: RunningGateway) -> tuple[Any, str]:
    return gate.service.gateway.subscriptions, "renew"


def publish(gate: RunningGateway) -> tuple[Any, str]:
    return gate.service.gateway.publishing, "draft"


def ping(gate: RunningGateway) -> tuple[Any, str]:
    return gate.service.gateway.connections, "reply"


def presence(gate: RunningGateway) -> tuple[Any, str]:
    return gate.service.gateway.presence, "answer"


def everything(gate: RunningGateway) -> tuple[Any, str]:
    return gate.service.gateway, "receive"


FAULTS: dict[str, tuple[Callable[[RunningGateway], tuple[Any, str]], dict[str, Any]]] = {
    "ping": (ping, {"type": "ping"}),
    "subscribe": (subscribe, {"type": "subscribe", "rooms": ["circle:2"]}),
    "unsubscribe": (subscribe, {"type": "unsubscribe", "rooms": ["circle:1"]}),
    "auth": (auth, {"type": "auth", "token": "x"}),
    "publish": (publish, {"type": "publish", "event": {"type": "task.created", "data": {}}}),
    "presence": (presence, {"type": "presence", "room": "circle:1"}),
    "any": (everything, {"type": "ping"}),
}


async def gone_with_1011(client: Client) -> None:
    """The connection is closed with 1011, without details of the fault."""
    received = ""
    with suppress(ConnectionClosed):
        while True:
            received += str(await asyncio.wait_for(client.websocket.recv(), PATIENCE))
    assert (client.websocket.close_code, client.websocket.close_reason) == (1011, "internal_error")
    assert CANARY not in received


@pytest.mark.parametrize("name", FAULTS)
async def test_fault_of_a_handler_ends_that_connection_only(
    name: str, gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other one, in the same rooms, goes on; it is logged once."""
    where, command = FAULTS[name]
    async with gate.client(query="&rooms=circle:1") as other, gate.client(query="&rooms=circle:1") as client:
        for each in (other, client):
            await each.next("subscribed")
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            target, attribute = where(gate)
            patch.setattr(target, attribute, broken)
            await client.send(**command)
            await gone_with_1011(client)
        assert len([record for record in caplog.records if record.exc_info]) == 1
        await _goes_on(gate, other)


async def _goes_on(gate: RunningGateway, other: Client) -> None:
    index = gate.service.gateway.manager.of(TENANT)
    await until(lambda: len(index.connections) == 1)
    assert [len(members) for members in index.rooms.values()] == [1] * len(index.rooms)
    assert (await other.ask(type="ping"))["type"] == "pong"
    receipt = await gate.service.gateway.publish(TENANT, "task.created", {"n": 1}, circle_id=1)
    assert (await other.next("task.created"))["event_id"] == receipt.event_id


async def test_fault_of_an_append_is_answered(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher gets an error, and its connection stays open."""
    async with gate.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(gate.service.gateway.log, "append", broken_later)
            answer = await client.ask(type="publish", event={"type": "task.created", "data": {}})
        assert (answer["type"], answer["data"]["code"]) == ("error", "internal_error")
        assert CANARY not in json.dumps(answer)
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_fault_at_the_beginning_leaves_nothing_behind(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that fails while it is let in is closed, and in no index."""
    async with gate.client(query="&rooms=circle:1") as other:
        await other.next("subscribed")
        with monkeypatch.context() as patch:
            patch.setattr(gate.service.gateway.log, "window", broken)
            async with connect(f"{gate.ws_url}?token={gate.token()}", compression=None) as websocket:
                await gone_with_1011(Client(websocket))
        await _goes_on(gate, other)


async def test_fault_of_a_deferred_command_ends_that_connection(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was deferred to the end of a replay fails outside its handler, and is still handled."""
    gateway = gate.service.gateway
    first = await gateway.publish(TENANT, "task.created", {"n": 0}, circle_id=1)
    for n in range(700):  # more than leaves at once, at 500 a second
        await gateway.publish(TENANT, "task.created", {"n": n}, circle_id=2)
    async with gate.client(query="&rooms=circle:1") as other:
        await other.next("subscribed")
        async with gate.client(query=f"&rooms=circle:2&since={first.event_id}") as client:
            await client.next("subscribed")
            with monkeypatch.context() as patch:
                await client.send(type="unsubscribe", rooms=["circle:2"])
                patch.setattr(gateway.subscriptions, "change_rooms", broken)
                await gone_with_1011(client)
        await _goes_on(gate, other)


async def test_fault_while_catching_up_ends_that_connection(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is behind would otherwise wait without end, with an unreported gap."""
    gateway = gate.service.gateway
    first = await gateway.publish(TENANT, "task.created", {"n": 0}, circle_id=2)
    for n in range(700):
        await gateway.publish(TENANT, "task.created", {"n": n}, circle_id=2)
    async with gate.client(query="&rooms=circle:1") as other:
        await other.next("subscribed")
        async with gate.client(query=f"&rooms=circle:2&since={first.event_id}") as client:
            await client.next("subscribed")
            with monkeypatch.context() as patch:
                patch.setattr("gateway.engine.delivery.send_next_batch", broken)
                await gone_with_1011(client)
        await _goes_on(gate, other)


async def test_fault_of_a_route_is_opaque(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over HTTP: 500, a problem, and not a word of the fault."""
    monkeypatch.setattr(gate.service.gateway.publishing, "draft", broken)
    async with http(gate, gate.token()) as api:
        answer = await api.post("/events", json={"type": "task.created", "data": {}})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert CANARY not in answer.text
