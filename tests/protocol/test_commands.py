"""Every command with its reply and its refusals."""

import json
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from tests.support.clients import assert_problem, fence, http, until_fence
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.logs import FailingLog
from tests.support.settings import settings_for


def error_of(frame: dict[str, Any]) -> str:
    """The code of a frame that must be an error."""
    assert frame["type"] == "error", frame
    assert frame["data"]["message"]
    return str(frame["data"]["code"])


@pytest.mark.parametrize("id", ["a", "", "x" * 64, "ü", 0, -5, 2**63, 10**64 - 1, 1 - 10**63])
async def test_replies_and_errors_echo_the_commands_id(gate: RunningGateway, id: str | int) -> None:
    """The id may be a string or an integer, in any reply; a command without one gets a reply without one."""
    async with gate.client() as client:
        for command in (
            {"type": "ping"},
            {"type": "subscribe", "rooms": ["circle:1"]},
            {"type": "subscribe", "rooms": ["nothing"]},
            {"type": "unsubscribe", "rooms": ["circle:1"]},
            {"type": "unsubscribe", "rooms": ["circle:1"]},
            {"type": "auth", "token": gate.token()},
            {"type": "auth", "token": "x"},
            {"type": "publish", "event": {"type": "task.created", "data": {}}},
            {"type": "publish", "event": {}},
            {"type": "nonsense"},
            {"type": 5},
            {"type": "unsubscribe", "rooms": ["circle:1"], "unknown": 1},
        ):
            await client.send(**command, id=id)
            assert (await client.next())["id"] == id, command
        await client.send(type="ping")
        assert "id" not in await client.next("pong")
        await client.send(type="subscribe", rooms=["nothing"])
        assert "id" not in await client.next("error")


async def test_an_invalid_id_is_refused(gate: RunningGateway) -> None:
    """The id is not echoed: it may be anything, and long."""
    async with gate.client() as client:
        ids: list[Any] = ["x" * 65, 10**64, -(10**63), 1.5, True, [], {}]
        for id in ids:
            await client.send(type="ping", id=id)
            frame = await client.next()
            assert error_of(frame) == "bad_message", id
            assert frame["data"]["message"] == "id: a string or an integer, at most 64 characters"
            assert "id" not in frame
            await fence(client)


MALFORMED = [
    "",
    " ",
    "ping",
    "null",
    "5",
    "[]",
    '["ping"]',
    '"ping"',
    "{}",
    '{"type": null}',
    '{"type": ["ping"]}',
    '{"type": "ping"',
    '{"type": "ping"} {"type": "ping"}',
    '{"type": "ping", "id": {}}',
    '{"type": "subscribe"}',
    '{"type": "subscribe", "rooms": []}',
    '{"type": "subscribe", "rooms": "circle:1"}',
    '{"type": "subscribe", "rooms": [7]}',
    '{"type": "subscribe", "rooms": ["circle:1"], "history": 101}',
    '{"type": "subscribe", "rooms": ["circle:1"], "history": -1}',
    '{"type": "subscribe", "rooms": ["circle:1"], "history": "5"}',
    '{"type": "subscribe", "rooms": ["circle:1"], "history": 1.0}',
    '{"type": "subscribe", "rooms": ["circle:1"], "since": 5}',
    '{"type": "unsubscribe", "rooms": ["circle:1"], "since": "x"}',
    '{"type": "unsubscribe"}',
    '{"type": "auth"}',
    '{"type": "auth", "token": 5}',
    '{"type": "publish"}',
    '{"type": "publish", "event": []}',
    '{"type": "publish", "event": {"type": "task.created"}}',
    '{"type": "publish", "event": {"type": "task.created", "data": []}}',
    '{"type": "publish", "event": {"type": "task.created", "data": {}, "room": "circle:1"}}',
    '{"type": "publish", "event": {"type": "task.created", "data": {}, "circle_id": 1.5}}',
    '{"type": "publish", "event": {"type": "task.created", "data": {}, "event_id": "evt_x"}}',
    '{"type": "publish", "event": {"type": "task.created", "data": {"x": NaN}}}',
    '{"type": "publish", "event": {"type": "task.created", "data": {"x": [1e400]}}}',
    '{"type": "publish", "event": {"type": "task.created", "data": {"x": [-1' + "0" * 309 + "]}}}",
]


async def test_malformed_commands_are_bad_message_and_the_next_command_works() -> None:
    """Not one of them closes the connection by itself."""
    async with running(settings_for(commands_per_second=0)) as gate, gate.client() as client:
        for text in MALFORMED:
            await client.websocket.send(text)
            assert error_of(await client.next()) == "bad_message", text
            await fence(client)


async def test_further_fields_of_a_ping_are_ignored(gate: RunningGateway) -> None:
    """Heartbeats of general WebSocket clients carry a time, a counter or `data`; the answer echoes the id alone."""
    async with gate.client() as client:
        pong = await client.ask(type="ping", data={"sent": 1.5}, timestamp="now", event=None)
        assert pong["type"] == "pong"
        assert pong["data"].keys() == {"as_of", "cursor"}


async def test_unknown_commands_are_distinguished_from_malformed_ones(gate: RunningGateway) -> None:
    """`unknown_type`, for a server's frame or an event sent as a command too."""
    async with gate.client() as client:
        for kind in ("subscribed", "pong", "task.completed", "PING", "", "x" * 10_000):
            await client.send(type=kind)
            frame = await client.next()
            assert error_of(frame) == "unknown_type", kind
            assert len(json.dumps(frame)) < 500
            await fence(client)


async def test_a_binary_frame_is_bad_message(gate: RunningGateway) -> None:
    """Also one that holds a good command."""
    async with gate.client() as client:
        await client.websocket.send(b'{"type": "ping"}')
        assert error_of(await client.next()) == "bad_message"
        await fence(client)


async def test_subscribe_answers_with_the_rooms_and_the_cursor(gate: RunningGateway) -> None:
    """The reply's cursor is the log's head: the newest event's id."""
    newest = await gate.publish(circle_id=1)
    async with gate.client() as client:
        assert client.established["data"]["cursor"] == newest
        answer = (await client.ask(type="subscribe", rooms=["circle:2", "circle:1", "circle:2"]))["data"]
        assert answer == {"rooms": ["circle:2", "circle:1"], "cursor": newest, "recovered": None, "replayed": 0}


async def test_subscribe_is_all_or_nothing_and_names_the_refused_rooms(gate: RunningGateway) -> None:
    """One refused room refuses the command; what was subscribed before stays."""
    async with gate.client(gate.token(rooms=["circle:*"])) as client:
        await client.ask(type="subscribe", rooms=["circle:9"])
        cases = [
            (["circle:1", "project:1", "circle:2", "tenant"], "room_forbidden", ["project:1", "tenant"]),
            (["circle:1", "nothing", "circle:", "project:1"], "room_invalid", ["nothing", "circle:"]),
            (["circle:1", "user:bob"], "room_forbidden", ["user:bob"]),
        ]
        for rooms, code, refused in cases:
            error = await client.ask(type="subscribe", rooms=rooms)
            assert (error_of(error), error["data"]["rooms"]) == (code, refused)
        await gate.publish(circle_id=1)
        await gate.publish(circle_id=2)
        await fence(client)
        await gate.publish(circle_id=9)
        await client.next("task.completed")


async def test_unsubscribe_is_all_or_nothing_and_names_the_rooms_not_joined(gate: RunningGateway) -> None:
    """Afterwards nothing more comes of the rooms that were left."""
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:1", "circle:2"])
        error = await client.ask(type="unsubscribe", rooms=["circle:1", "circle:3", "tenant"])
        assert (error_of(error), error["data"]["rooms"]) == ("not_subscribed", ["circle:3", "tenant"])
        error = await client.ask(type="unsubscribe", rooms=["circle:1", "circle:*"])
        assert (error_of(error), error["data"]["rooms"]) == ("room_invalid", ["circle:*"])
        await gate.publish(circle_id=1)
        await client.next("task.completed")
        answer = await client.ask(type="unsubscribe", rooms=["circle:1", "circle:1"])
        assert answer["data"] == {"rooms": ["circle:1"]}
        await gate.publish(circle_id=1)
        await fence(client)
        await gate.publish(circle_id=1, project_id=1)
        await gate.publish(circle_id=2)
        assert (await client.next("task.completed"))["circle_id"] == 2
        assert error_of(await client.ask(type="unsubscribe", rooms=["circle:1"])) == "not_subscribed"


async def test_rooms_change_between_events_and_never_within_a_turn_of_the_loop(gate: RunningGateway) -> None:
    """An event reaches the members of its room at the time when it was accepted, each once, also where the command
    comes before the event has left: the same iteration of the event loop, which a socket meets once in a thousand
    times."""
    gateway = gate.service.gateway
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        (connection,) = gate.service.manager.connections()
        first = await gate.publish(circle_id=1)
        gateway.receive(connection, '{"type":"unsubscribe","rooms":["circle:1"]}')
        assert (await client.next())["event_id"] == first
        await client.next("unsubscribed")
        second = await gate.publish(circle_id=1)
        gateway.receive(connection, '{"type":"subscribe","rooms":["circle:1"],"history":1}')
        assert (await client.next("subscribed"))["data"]["cursor"] == second
        assert (await client.next())["event_id"] == second
        await gate.publish(circle_id=2)
        gateway.receive(connection, '{"type":"subscribe","rooms":["circle:2"]}')
        await client.next("subscribed")
        await fence(client)


async def test_rooms_of_one_connection_are_limited_beside_its_own(gate: RunningGateway) -> None:
    """`too_many_rooms` with the limit; a room that is joined already takes no second place."""
    async with running(settings_for(max_rooms_per_connection=3)) as small, small.client() as client:
        assert client.established["data"]["limits"]["rooms"] == 3
        await client.ask(type="subscribe", rooms=["user:ada", "circle:1", "circle:2"])
        error = await client.ask(type="subscribe", rooms=["circle:3", "circle:4"])
        assert (error_of(error), error["data"]["limit"]) == ("too_many_rooms", 3)
        assert (await client.ask(type="subscribe", rooms=["circle:3", "circle:1"]))["type"] == "subscribed"
        assert error_of(await client.ask(type="subscribe", rooms=["circle:4"])) == "too_many_rooms"
        await client.ask(type="unsubscribe", rooms=["circle:2"])
        assert (await client.ask(type="subscribe", rooms=["circle:4"]))["type"] == "subscribed"


# ---- publish

EVENT = {"type": "task.created", "data": {"n": 1}, "circle_id": 1}


async def test_published_means_that_the_event_is_in_the_log(gate: RunningGateway) -> None:
    """Its reply names the event that subscribers get, the publisher among them."""
    async with gate.client(query="&rooms=circle:1") as publisher, gate.client(query="&rooms=circle:1") as other:
        for client in (publisher, other):
            await client.next("subscribed")
        await publisher.send(type="publish", event=EVENT, id=1)
        frames = {frame["type"]: frame for frame in (await publisher.next(), await publisher.next())}
        receipt = frames["published"]["data"]
        assert receipt.keys() == {"event_id", "duplicate"}
        assert receipt["duplicate"] is False
        assert frames["task.created"]["event_id"] == receipt["event_id"]
        assert (await other.next("task.created"))["event_id"] == receipt["event_id"]
        entries = gate.service.gateway.log.window("acme")
        assert entries[entries.head].event_id == receipt["event_id"]


async def test_the_same_idempotency_key_gives_the_same_event_and_delivers_once(gate: RunningGateway) -> None:
    """Over the WebSocket and over HTTP it is one space of keys; another body is `idempotency_conflict`."""
    async with gate.client(query="&rooms=circle:1") as listener, gate.client() as client:
        await listener.next("subscribed")
        event = {**EVENT, "idempotency_key": "k1"}
        first = (await client.ask(type="publish", event=event))["data"]
        again = (await client.ask(type="publish", event=event))["data"]
        assert again == {"event_id": first["event_id"], "duplicate": True}
        assert error_of(await client.ask(type="publish", event={**event, "data": {}})) == "idempotency_conflict"
        assert (await listener.next("task.created"))["event_id"] == first["event_id"]
        await fence(listener)


async def test_idempotency_keys_of_two_tenants_do_not_meet(gate: RunningGateway) -> None:
    """The same key and the same event in two tenants are two events."""
    event = {**EVENT, "idempotency_key": "k1"}
    receipts = []
    for tenant in ("acme", "globex"):
        async with gate.client(gate.token(tenant=tenant)) as client:
            receipts.append((await client.ask(type="publish", event=event))["data"])
    assert [receipt["duplicate"] for receipt in receipts] == [False, False]
    assert receipts[0]["event_id"] != receipts[1]["event_id"]


async def test_an_event_over_the_limit_is_message_too_large() -> None:
    """However it comes: over HTTP its own spaces do not count, and what is published in the process is judged too. The
    limit is that of the frame as clients get it."""
    async with (
        running(settings_for(max_message_bytes=1_024)) as gate,
        http(gate, gate.token()) as api,
        gate.client(query="&rooms=circle:1") as client,
    ):
        assert client.established["data"]["limits"]["message_bytes"] == 1_024
        await client.next("subscribed")
        frame = {"type": "task.created", "data": {"x": ""}, "circle_id": 1}
        frame |= {"event_id": "evt_" + 22 * "x", "timestamp": "2026-11-23T16:46:51.405Z"}
        room = 1_024 - len(json.dumps(frame, separators=(",", ":")))
        for size, status in ((room, 202), (room + 1, 413)):
            event = {"type": "task.created", "data": {"x": "y" * size}, "circle_id": 1}
            response = await api.post("/events", content=json.dumps(event, indent=9))
            assert response.status_code == 415, "without its content type it is not read as JSON"
            headers = {"Content-Type": "application/json"}
            response = await api.post("/events", content=json.dumps(event, indent=9), headers=headers)
            assert response.status_code == status
        assert assert_problem(response, 413, "message_too_large")["limit"] == 1_024
        assert len(await client.websocket.recv()) == 1_024
        with pytest.raises(GatewayError, match="at most 1024 bytes"):
            await gate.publish(data={"x": "y" * 1_024})


async def test_a_command_whose_event_grows_over_the_limit_is_message_too_large() -> None:
    """A command just within the limit can hold an event that is over it as it is delivered; the connection stays."""
    async with running(settings_for(max_message_bytes=1_024)) as gate, gate.client() as client:
        numbers = ",".join(["1e15"] * 100)  # written out with all their digits
        await client.websocket.send(
            '{"type":"publish","event":{"type":"task.created","circle_id":1,"data":{"x":[' + numbers + "]}}}"
        )
        error = await client.next()
        assert (error_of(error), error["data"]["limit"]) == ("message_too_large", 1_024)
        await fence(client)


async def test_an_event_the_log_refuses_is_broker_unavailable() -> None:
    """Never `published`: with when to try again, and the connection stays."""
    async with running(service=service_with(log=FailingLog())) as gate, gate.client() as client:
        error = await client.ask(type="publish", event=EVENT)
        assert error_of(error) == "broker_unavailable"
        assert error["data"]["retry_after"] > 0
        await fence(client)


async def test_commands_are_answered_in_order(gate: RunningGateway) -> None:
    """Thirty at once, thirty answers, none out of place."""
    async with gate.client() as client:
        for number in range(30):
            await client.send(type="subscribe", rooms=[f"circle:{number}"], id=number)
        frames = await until_fence(client)
        assert [frame["id"] for frame in frames] == list(range(30))


async def test_commands_after_the_close_was_decided_change_nothing(gate: RunningGateway) -> None:
    """Commands that were already on their way do not join rooms, and do not publish."""
    manager = gate.service.gateway.manager
    async with gate.client() as client, gate.client(query="&rooms=circle:1") as listener:
        await listener.next("subscribed")
        for _ in range(gate.service.gateway.limits.malformed):
            await client.websocket.send("nonsense")
        await client.send(type="subscribe", rooms=["circle:1", "circle:2"])
        await client.send(type="publish", event=EVENT)
        assert (await client.closed())[0] == 4400
        await fence(listener)
        rooms = manager.of("acme").rooms
        assert {room: len(members) for room, members in rooms.items()} == {"circle:1": 1, "user:ada": 1}
    assert gate.service.gateway.log.window("acme").head == 0
