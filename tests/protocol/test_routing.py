"""Routing: which rooms an event goes to, and that everybody in them gets it once."""

from typing import Any

import pytest

from schemas.events import RESERVED_TYPES, EventType
from tests.support.clients import assert_problem, fence, http
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import settings_for

DEFAULT_TYPES = [
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
KNOWN_TYPES = [
    "agent.stopped",
    "agent.task.assigned",
    "agent.task.failed",
    "memory.recalled",
    "circle.started",
    "circle.stopped",
    "circle.member.removed",
    "task.assigned",
    "conversation.turn.complete",
    "system.error",
    "system.warning",
]
FIELDS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["tenant"]),
    ({"circle_id": 7}, ["circle:7", "tenant"]),
    ({"circle_id": "seven"}, ["circle:seven", "tenant"]),
    ({"project_id": 3}, ["project:3", "tenant"]),
    ({"user_id": "ada"}, ["user:ada", "tenant"]),
    ({"circle_id": 7, "project_id": 3, "user_id": "ada"}, ["circle:7", "project:3", "user:ada", "tenant"]),
]


async def test_an_event_goes_to_the_rooms_that_its_fields_name(gate: RunningGateway) -> None:
    """Circle, project and user by their ids, and the tenant's room always; a client in each of them gets it."""
    async with http(gate, gate.token(scope="admin")) as api:
        for fields, rooms in FIELDS:
            for room in rooms:
                async with gate.client(gate.token(rooms=[room])) as client:
                    await client.ask(type="subscribe", rooms=[room])
                    answer = await api.post("/events", json={"type": "task.completed", "data": {}, **fields})
                    assert answer.status_code == 202
                    assert answer.json()["rooms"] == rooms
                    assert (await client.next())["event_id"] == answer.json()["event_id"]


async def test_a_connection_in_several_of_an_events_rooms_receives_it_once(gate: RunningGateway) -> None:
    """Four of its rooms, one copy; and the next event comes right after it."""
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:7", "project:3", "tenant"])
        first = await gate.publish(circle_id=7, project_id=3, user_id="ada")
        second = await gate.publish(circle_id=7)
        assert [(await client.next())["event_id"] for _ in range(2)] == [first, second]
        await fence(client)


async def test_every_connection_is_in_its_own_users_room_from_the_start(gate: RunningGateway) -> None:
    """Also with a token that grants nothing; of another user's events it hears nothing."""
    async with gate.client(gate.token(rooms=(), scope="")) as client:
        await gate.publish(user_id="grace", circle_id=1)
        await gate.publish(user_id="ada", circle_id=1)
        assert (await client.next("task.completed"))["user_id"] == "ada"
        await fence(client)


async def test_nothing_is_received_of_rooms_that_were_not_subscribed_to(gate: RunningGateway) -> None:
    """Being granted a room is not being in it."""
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:1"])
        for circle, project in ((2, None), (11, None), (None, 1), (None, None)):
            await gate.publish(circle_id=circle, project_id=project)
        await fence(client)
        await gate.publish(circle_id=1)
        await client.next("task.completed")


async def test_rooms_of_one_name_in_two_tenants_are_two_rooms(gate: RunningGateway) -> None:
    """The same user id and the same rooms, in two tenants: neither hears the other's events."""
    async with gate.client(gate.token(tenant="acme")) as ours, gate.client(gate.token(tenant="globex")) as theirs:
        for client in (ours, theirs):
            await client.ask(type="subscribe", rooms=["circle:7", "project:3", "tenant"])
        await gate.publish("acme", circle_id=7, project_id=3, user_id="ada", data={"of": "acme"})
        await gate.publish("globex", circle_id=7, project_id=3, user_id="ada", data={"of": "globex"})
        for client, tenant in ((ours, "acme"), (theirs, "globex")):
            assert (await client.next("task.completed"))["data"] == {"of": tenant}
            await fence(client)


async def test_an_event_is_a_frame(gate: RunningGateway) -> None:
    """The fields are at the top level, numbers as numbers, absent ones left out, without the tenant."""
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=["tenant"])
        whole = {"type": "task.completed", "data": {"ü": [1, None]}, "source_agent_id": 123, "circle_id": 1}
        whole |= {"project_id": "p-5", "user_id": "bob"}
        async with http(gate, gate.token(scope="admin")) as api:
            receipt = (await api.post("/events", json={**whole, "idempotency_key": "k"})).json()
            await api.post("/events", json={"type": "task.failed", "data": {}, "circle_id": None})
        event = await client.next()
        timestamp = event.pop("timestamp")
        assert event == {**whole, "event_id": receipt["event_id"]}
        assert timestamp.endswith("Z")
        assert (await client.next()).keys() == {"type", "data", "event_id", "timestamp"}


async def test_known_and_custom_types_reach_their_rooms(gate: RunningGateway) -> None:
    """The types that are known by name, and any lower-case words joined by dots, up to 64 characters."""
    kinds = [*DEFAULT_TYPES, *KNOWN_TYPES, "x", "deploy.finished", "a.b.c.d", "snake_case.type2", "x" * 64]
    async with gate.client(query="&rooms=circle:1") as client, http(gate, gate.token(scope="admin")) as api:
        await client.next("subscribed")
        for kind in kinds:
            answer = await api.post("/events", json={"type": kind, "data": {}, "circle_id": 1})
            assert answer.status_code == 202, kind
            await client.next(kind)
    assert {*DEFAULT_TYPES, *KNOWN_TYPES} <= set(EventType)


BAD_TYPES = [
    "",
    "Task.completed",
    "task..completed",
    ".task",
    "task.",
    "task completed",
    "tâche",
    "x" * 65,
    "task\n",
    "7",
]


async def test_the_gateways_own_types_and_malformed_ones_cannot_be_published() -> None:
    """Neither over HTTP nor over the WebSocket: a client can trust that `token.expiring` came from the gateway."""
    settings = settings_for(commands_per_second=0)
    async with (
        running(settings) as gate,
        gate.client(query="&rooms=circle:1") as client,
        http(gate, gate.token()) as api,
    ):
        await client.next("subscribed")
        for kind in (*sorted(RESERVED_TYPES), *BAD_TYPES):
            event = {"type": kind, "data": {}, "circle_id": 1}
            assert_problem(await api.post("/events", json=event), 422, "bad_message")
            assert (await client.ask(type="publish", event=event))["data"]["code"] == "bad_message", kind
            await fence(client)  # and this keeps the malformed ones from adding up
            with pytest.raises(ValueError, match="type"):
                await gate.publish(type=kind)


OWN_TYPES = [
    "connection.established",
    "subscribed",
    "unsubscribed",
    "authenticated",
    "published",
    "presence",
    "presence.joined",
    "presence.left",
    "subscription.revoked",
    "token.expiring",
    "stream.gap",
    "stream.degraded",
    "stream.restored",
    "server.draining",
    "error",
    "pong",
]


async def test_reserved_are_all_types_of_the_gateways_own_frames() -> None:
    """Every frame of the gateway's own, later ones included."""
    assert set(OWN_TYPES) <= RESERVED_TYPES


BAD_IDS: list[dict[str, Any]] = [
    {"circle_id": ""},
    {"circle_id": "-1"},
    {"circle_id": -1},
    {"circle_id": "a b"},
    {"circle_id": "*"},
    {"circle_id": "7\n"},
    {"circle_id": "x" * 65},
    {"circle_id": 10**64},
    {"project_id": "a:b"},
    {"project_id": "\u0667"},
    {"user_id": ""},
    {"user_id": "a b"},
    {"user_id": "x" * 129},
]


async def test_an_id_that_cannot_stand_in_a_room_name_is_refused(gate: RunningGateway) -> None:
    """The id would make a room that no client can subscribe to, or one that means another."""
    async with http(gate, gate.token(scope="admin")) as api:
        for fields in BAD_IDS:
            event = {"type": "task.completed", "data": {}, **fields}
            assert_problem(await api.post("/events", json=event), 422, "room_invalid")
            with pytest.raises(ValueError, match="room name"):
                await gate.publish(**fields)


ROOMS = ["circle:1", "circle:A_b-9", f"circle:{'x' * 64}", "project:0", "user:ada", "tenant"]
NO_ROOMS = [
    "",
    "circle",
    "circle:",
    "circle:*",
    "circle:_x",
    "circle:-x",
    "circle:a.b",
    "circle:1 ",
    " circle:1",
    "circle:1\n",
    "circle:\u0661",
    f"circle:{'x' * 65}",
    "Circle:1",
    "tenant:acme",
    "acme/circle:1",
    "globex:circle:1",
    "user:",
    f"user:{'x' * 129}",
    "team:1",
    "*",
]


async def test_rooms_of_the_grammar_can_be_subscribed_to(gate: RunningGateway) -> None:
    """The shortest, the longest, and every kind."""
    async with gate.client() as client:
        for room in ROOMS:
            assert (await client.ask(type="subscribe", rooms=[room]))["data"].get("rooms") == [room]


async def test_ids_of_common_identity_providers_are_users(gate: RunningGateway) -> None:
    """Their own room is there from the start and gets their events."""
    for sub in ("ada@example.com", "auth0|5f7c", "a", "A.b_c+d-e", "x" * 128):
        async with gate.client(gate.token(user_id=sub)) as client:
            assert client.established["data"]["subscribed"] == [f"user:{sub}"]
            await gate.publish(user_id=sub)
            await client.next("task.completed")


async def test_invalid_rooms_are_refused_by_name(gate: RunningGateway) -> None:
    """With `room_invalid`, before any question of rights."""
    async with gate.client() as client:
        for room in NO_ROOMS:
            error = await client.ask(type="subscribe", rooms=[room])
            assert (error["data"].get("code"), error["data"]["rooms"]) == ("room_invalid", [room[:140]])
