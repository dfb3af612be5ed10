"""The in-process broadcast manager: any object with `accept`, `send_json` and `close` is a websocket to it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from gateway import (
    DEFAULT_BROADCAST_EVENTS,
    ConnectionManager,
    Event,
    EventType,
    event_bus,
    get_connection_manager,
    setup_websocket_broadcasting,
)
from gateway.embedding.broadcast_manager import WebSocketLike
from gateway.embedding.event_bus import EventBus
from tests.support.clients import fence
from tests.support.inprocess import RunningGateway, running
from tests.support.lab import GatewayLab
from tests.support.settings import settings_for


def websocket(error: Exception | None = None) -> AsyncMock:
    """A websocket whose sends fail with `error`, where one is given."""
    made = AsyncMock(spec_set=WebSocketLike)
    made.send_json.side_effect = error
    return made


async def connected(manager: ConnectionManager, count: int) -> list[AsyncMock]:
    made = [websocket() for _ in range(count)]
    for number, one in enumerate(made):
        await manager.connect(one, client_id=f"client-{number}")
    return made


async def test_a_new_manager_counts_nothing() -> None:
    """Zeros, and no clients."""
    manager = ConnectionManager()
    assert manager.active_connections == {}
    assert (manager.total_connections, manager.total_messages_sent, manager.total_broadcasts) == (0, 0, 0)
    assert manager.get_client_count() == 0
    assert manager.get_stats() == {
        "active_connections": 0,
        "total_connections": 0,
        "total_messages_sent": 0,
        "total_broadcasts": 0,
        "clients": [],
    }


async def test_connecting_accepts_and_says_nothing() -> None:
    """Accepted once, listed with its label, and the first message is the application's own."""
    manager, one = ConnectionManager(), websocket()
    await manager.connect(one, client_id="desk")
    one.accept.assert_awaited_once_with()
    one.send_json.assert_not_called()
    info = manager.active_connections[one]
    assert info["client_id"] == "desk"
    assert (info["messages_sent"], manager.total_connections, manager.get_client_count()) == (0, 1, 1)
    assert info["connected_at"].tzinfo is not None


async def test_a_client_without_a_label_gets_one() -> None:
    """Another for each."""
    manager = ConnectionManager()
    for _ in range(3):
        await manager.connect(websocket())
    assert len({info["client_id"] for info in manager.active_connections.values()}) == 3


async def test_a_websocket_that_fails_to_accept_is_not_listed() -> None:
    """The fault is the caller's to see."""
    manager, one = ConnectionManager(), websocket()
    one.accept.side_effect = RuntimeError("gone")
    with pytest.raises(RuntimeError):
        await manager.connect(one)
    assert (manager.get_client_count(), manager.total_connections) == (0, 0)


async def test_disconnecting_forgets_the_client_and_keeps_the_totals() -> None:
    """Twice is as good as once, and an unknown one is no error."""
    manager, one = ConnectionManager(), websocket()
    await manager.connect(one)
    await manager.send_personal({"type": "x"}, one)
    for _ in range(2):
        await manager.disconnect(one)
    await manager.disconnect(websocket())
    assert one not in manager.active_connections
    assert (manager.get_client_count(), manager.total_connections, manager.total_messages_sent) == (0, 1, 1)


async def test_send_personal_sends_the_message_as_it_is() -> None:
    """To this client alone, and counts it."""
    manager = ConnectionManager()
    one, other = await connected(manager, 2)
    message = {"type": "test", "data": "hello"}
    assert await manager.send_personal(message, one) is True
    one.send_json.assert_called_once_with(message)
    other.send_json.assert_not_called()
    assert manager.active_connections[one]["messages_sent"] == 1
    assert (manager.total_messages_sent, manager.total_broadcasts) == (1, 0)


async def test_send_personal_drops_a_client_that_fails() -> None:
    """The result is False, and the client is removed and closed, without other notices; a close that fails too raises
    nothing."""
    manager = ConnectionManager()
    (spared,) = await connected(manager, 1)
    broken = websocket(RuntimeError("gone"))
    broken.close.side_effect = RuntimeError("gone")
    await manager.connect(broken)
    assert await manager.send_personal({"type": "test"}, broken) is False
    assert list(manager.active_connections) == [spared]
    assert manager.total_messages_sent == 0
    broken.close.assert_awaited_once()


async def test_broadcast_reaches_all_and_adds_a_timestamp() -> None:
    """The count of those it reached; the caller's message is left as it was."""
    manager = ConnectionManager()
    clients = await connected(manager, 3)
    message = {"type": "broadcast", "data": "hello all"}
    assert await manager.broadcast(message) == 3
    assert "timestamp" not in message
    for client in clients:
        (sent,) = client.send_json.call_args.args
        assert {name: sent[name] for name in message} == message
        assert sent["timestamp"].endswith("Z")
    assert (manager.total_messages_sent, manager.total_broadcasts) == (3, 1)


async def test_broadcast_keeps_a_timestamp_that_is_there() -> None:
    """The timestamp may be the event's own."""
    manager = ConnectionManager()
    (one,) = await connected(manager, 1)
    await manager.broadcast({"type": "x", "timestamp": "2026-01-15T10:30:00Z"})
    assert one.send_json.call_args.args[0]["timestamp"] == "2026-01-15T10:30:00Z"


async def test_broadcast_without_clients_returns_zero() -> None:
    """The broadcast is not counted."""
    manager = ConnectionManager()
    assert await manager.broadcast({"type": "test"}) == 0
    assert manager.total_broadcasts == 0


async def test_a_client_that_fails_costs_the_others_nothing() -> None:
    """The failed client is not counted, still listed when `broadcast` returns, and removed soon after."""
    manager = ConnectionManager()
    first, last = await connected(manager, 2)
    broken = websocket(RuntimeError("gone"))
    await manager.connect(broken, client_id="broken")
    assert await manager.broadcast({"type": "test"}) == 2
    assert set(manager.active_connections) == {first, last, broken}
    for _ in range(5):
        await asyncio.sleep(0)
    assert set(manager.active_connections) == {first, last}
    broken.close.assert_awaited_once()
    assert await manager.broadcast({"type": "test"}) == 2
    broken.send_json.assert_called_once()


async def test_broadcast_waits_for_no_client_before_another() -> None:
    """One that is slow delays the answer, and no other client's message."""
    manager = ConnectionManager()
    release = asyncio.Event()
    slow = websocket()

    async def wait(message: Any) -> None:
        await release.wait()

    slow.send_json.side_effect = wait
    await manager.connect(slow)
    (quick,) = await connected(manager, 1)
    task = asyncio.create_task(manager.broadcast({"type": "test"}))
    for _ in range(5):
        await asyncio.sleep(0)
    quick.send_json.assert_called_once()
    release.set()
    assert await task == 2


async def test_a_client_that_leaves_during_a_broadcast_is_no_error() -> None:
    """Nor one that joins."""
    manager = ConnectionManager()
    joining = websocket()
    leaving = websocket()

    async def leave(message: Any) -> None:
        await manager.disconnect(leaving)
        await manager.connect(joining)

    leaving.send_json.side_effect = leave
    await manager.connect(leaving)
    await connected(manager, 3)
    assert await manager.broadcast({"type": "test"}) >= 3
    assert leaving not in manager.active_connections
    assert joining in manager.active_connections


async def test_broadcast_event_makes_a_frame() -> None:
    """`type`, `data`, `timestamp`; an `EventType` serves as the type."""
    manager = ConnectionManager()
    (one,) = await connected(manager, 1)
    assert await manager.broadcast_event("task.completed", {"task_id": 123}) == 1
    (sent,) = one.send_json.call_args.args
    assert sent.keys() == {"type", "data", "timestamp"}
    assert (sent["type"], sent["data"]) == ("task.completed", {"task_id": 123})
    await manager.broadcast_event(EventType.TASK_FAILED, {})
    assert json.loads(json.dumps(one.send_json.call_args.args[0]))["type"] == "task.failed"


async def test_ping_all_sends_a_ping() -> None:
    """To everybody, with a timestamp."""
    manager = ConnectionManager()
    clients = await connected(manager, 2)
    assert await manager.ping_all() == 2
    for client in clients:
        client.send_json.assert_called_once()
        assert client.send_json.call_args.args[0]["type"] == "ping"
        assert "timestamp" in client.send_json.call_args.args[0]


async def test_stats_tell_of_each_client() -> None:
    """The statistics can be written as JSON."""
    manager = ConnectionManager()
    one, _ = await connected(manager, 2)
    await manager.send_personal({"type": "x"}, one)
    await manager.broadcast({"type": "x"})
    stats = json.loads(json.dumps(manager.get_stats()))
    assert (stats["active_connections"], stats["total_connections"]) == (2, 2)
    assert (stats["total_messages_sent"], stats["total_broadcasts"]) == (3, 1)
    assert [(client["client_id"], client["messages_sent"]) for client in stats["clients"]] == [
        ("client-0", 2),
        ("client-1", 1),
    ]
    assert all("connected_at" in client for client in stats["clients"])


async def test_a_hundred_clients_at_once() -> None:
    """Connecting, hearing and leaving, all of them concurrently."""
    manager = ConnectionManager()
    clients = [websocket() for _ in range(100)]
    await asyncio.gather(*(manager.connect(client, f"client-{n}") for n, client in enumerate(clients)))
    assert manager.get_client_count() == 100
    assert await manager.broadcast({"type": "test"}) == 100
    for client in clients:
        client.send_json.assert_called_once()
    await asyncio.gather(*(manager.disconnect(client) for client in clients))
    assert (manager.get_client_count(), manager.total_connections) == (0, 100)


def test_the_process_has_one_manager() -> None:
    """The manager has the exported class."""
    assert get_connection_manager() is get_connection_manager()
    assert isinstance(get_connection_manager(), ConnectionManager)


def test_broadcasting_can_be_set_up_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event loop, no gateway; the events are subscribed to, once each."""
    bus = EventBus()
    monkeypatch.setattr("gateway.embedding.bridge.event_bus", bus)
    setup_websocket_broadcasting()
    assert isinstance(DEFAULT_BROADCAST_EVENTS, list)
    asyncio.run(bus.publish(Event(EventType.TASK_COMPLETED, {}, tenant="acme")))
    assert event_bus is not bus


def test_the_default_events_are_those_of_the_protocol() -> None:
    """Thirteen of them."""
    assert [str(kind) for kind in DEFAULT_BROADCAST_EVENTS] == [
        "agent.started",
        "agent.task.completed",
        "agent.tool.executed",
        "memory.created",
        "memory.shared",
        "circle.created",
        "circle.member.added",
        "task.created",
        "task.started",
        "task.completed",
        "task.failed",
        "task.conflict.detected",
        "conversation.message",
    ]


# ---- beside a gateway


async def test_a_connection_without_an_identity_gets_broadcasts_and_never_a_tenants_events(
    gate: RunningGateway,
) -> None:
    """Broadcasts reach the clients of the gateway too, of every tenant, and personal messages one of them."""
    manager = gate.service.manager
    (local,) = await connected(manager, 1)
    async with gate.client(query="&rooms=tenant") as ada, gate.client(gate.token("eve", "globex")) as eve:
        await ada.next("subscribed")
        await gate.publish(circle_id=1)
        await ada.next("task.completed")
        local.send_json.assert_not_called()
        await fence(eve)
        assert await manager.broadcast_event("system.warning", {"text": "back in a minute"}) == 3
        for client in (ada, eve):
            frame = await client.next("system.warning")
            assert frame["data"] == {"text": "back in a minute"}
            assert frame["timestamp"].endswith("Z")
        local.send_json.assert_called_once()
        assert manager.get_client_count() == 3
        assert manager.get_stats()["total_broadcasts"] == 1
        connection = next(c for c in manager.connections() if c.identity.user_id == "eve")
        assert await manager.send_personal({"type": "note", "data": {}}, connection) is True
        await eve.next("note")
        await fence(ada)
        await manager.disconnect(connection)
        assert (await eve.closed())[0] == 4403
        assert await manager.send_personal({"type": "note", "data": {}}, connection) is False
        await fence(ada)


async def test_a_client_that_the_manager_disconnects_makes_room_for_another() -> None:
    """Its address is free again, nothing is scheduled for it any more, and its tenant's log may be released."""
    settings = settings_for(max_connections_per_address=3)
    async with running(settings) as gate:
        manager = gate.service.manager
        for _ in range(3):
            async with gate.client() as client:
                (connection,) = manager.connections()
                await manager.disconnect(connection)
                assert (await client.closed())[0] == 4403
        async with gate.client() as client:
            await fence(client)


async def test_broadcasts_do_not_pile_up_for_a_client_that_reads_nothing() -> None:
    """The one that fills its transport is the last that it gets until it has caught up; it loses no event by that."""
    lab = GatewayLab()
    connection, tape = lab.join(rooms="circle:7", capacity=4)
    for _ in range(5):
        await lab.service.manager.broadcast_event("system.warning", {})
    assert tape.kinds[2:] == ["system.warning"] * 2
    await lab.happen(3)
    await lab.settle()
    assert len(tape.frames) == 4
    tape.capacity = None
    lab.gateway.on_writable(connection)
    await lab.settle()
    assert [event["data"]["n"] for event in tape.events] == [0, 1, 2]
    assert await lab.service.manager.broadcast_event("system.warning", {}) == 1


async def test_the_totals_count_the_gateways_clients_too(gate: RunningGateway) -> None:
    """Also those that have gone."""
    manager = gate.service.manager
    async with gate.client() as client:
        await fence(client)
        assert manager.get_client_count() == 1
        (info,) = manager.active_connections.values()
        assert (info["user_id"], info["tenant"], info["messages_sent"]) == ("ada", "acme", 2)
        connection_info = manager.get_stats()["clients"]
        assert connection_info[0]["client_id"] == client.established["data"]["connection_id"]
    async with gate.client(gate.token("bob")) as client:
        await fence(client)
    async with gate.client() as client:  # by now the first two were seen to leave
        assert (manager.total_connections, manager.total_messages_sent) == (3, 5)


def test_the_processs_manager_is_the_first_gateways() -> None:
    """`get_connection_manager()` from anywhere in the process reaches the clients of `gateway serve`; a second
    gateway has a manager of its own."""
    code = """
from pydantic import SecretStr
from gateway import Settings, create_service, get_connection_manager
settings = Settings(_env_file=None, jwt_secret=SecretStr("a-secret-of-tests-0123456789-abcdefghijklmnopqrstuvwxyz"))
first, second = create_service(settings), create_service(settings)
assert get_connection_manager() is first.manager
assert second.manager is not first.manager
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
