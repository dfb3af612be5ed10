"""Explanations over HTTP: each reason with a real client, WebSocket and event stream, on a node of its own."""

from typing import Any

from gateway.core.connection import Connection
from tests.support.clients import assert_problem, http
from tests.support.event_streams import streaming
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.raw_client import opened
from tests.support.settings import settings_for

ADMIN = "subscribe publish admin"


async def explain(gate: RunningGateway, status: int = 200, scope: str = ADMIN, **query: str) -> dict[str, Any]:
    async with http(gate, gate.token("root", scope=scope)) as api:
        response = await api.get("/admin/explain", params=query)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def rules(connection: dict[str, Any]) -> dict[str, bool]:
    return {rule["rule"]: rule["holds"] for rule in connection["rules"]}


def is_behind(connection: Connection) -> bool:
    return not connection.live


async def test_delivered_over_a_websocket(gate: RunningGateway) -> None:
    """The whole answer, for a client that has it."""
    async with gate.client(query="&rooms=circle:7&client_id=wall") as client:
        await client.next("subscribed")
        event_id = await gate.publish(circle_id=7)
        frame = await client.next("task.completed")
        answer = await explain(gate, user_id="ada", event_id=event_id)
        (connection,) = answer.pop("connections")
        assert answer.pop("known_since") <= frame["timestamp"]
        node = connection["node"]
        assert answer == {
            "user_id": "ada",
            "event": {
                "event_id": event_id,
                "type": "task.completed",
                "rooms": ["circle:7", "tenant"],
                "timestamp": frame["timestamp"],
                "kept": True,
            },
            "verdict": "delivered",
            "reason": "delivered",
            "message": connection["message"],
            "nodes": [node],
            "silent": [],
        }
        assert rules(connection) == {"granted": True, "subscribed": True, "reached": True, "acknowledged": True}
        shown = {name: connection[name] for name in ("connection_id", "client_id", "transport", "ended_at", "verdict")}
        assert shown == {
            "connection_id": client.established["data"]["connection_id"],
            "client_id": "wall",
            "transport": "websocket",
            "ended_at": None,
            "verdict": "delivered",
        }
        by_id = await explain(gate, connection_id=connection["connection_id"], event_id=event_id)
        assert (by_id["user_id"], by_id["verdict"]) == ("ada", "delivered")


async def test_delivered_over_an_event_stream_that_has_ended(gate: RunningGateway) -> None:
    async with streaming(gate, "?rooms=circle:7") as stream:
        await stream.next("subscribed")
        event_id = await gate.publish(circle_id=7)
        await stream.next("task.completed")
        assert (await explain(gate, user_id="ada", event_id=event_id))["verdict"] == "delivered"
    await until(lambda: not gate.service.gateway.manager.of("acme").connections)
    later = await gate.publish(circle_id=7)
    answer = await explain(gate, user_id="ada", event_id=event_id)
    assert (answer["verdict"], answer["connections"][0]["transport"]) == ("delivered", "sse")
    assert answer["connections"][0]["ended_at"] is not None
    answer = await explain(gate, user_id="ada", event_id=later)
    assert (answer["verdict"], answer["reason"]) == ("not_delivered", "closed")
    assert rules(answer["connections"][0])["open"] is False


async def test_joined_later_and_left_before(gate: RunningGateway) -> None:
    first = await gate.publish(circle_id=7)
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:7"])
        second = await gate.publish(circle_id=7)
        await client.ask(type="unsubscribe", rooms=["circle:7"])
        third = await gate.publish(circle_id=7)
        reasons = [(await explain(gate, user_id="ada", event_id=id))["reason"] for id in (first, second, third)]
        assert reasons == ["joined_later", "delivered", "left_before"]
        left = (await explain(gate, user_id="ada", event_id=third))["connections"][0]["rules"][-1]
        assert (left["rule"], left["holds"]) == ("subscribed", False)
        assert left["detail"].startswith("circle:7 was left by the client at 20")


async def test_not_granted_and_not_subscribed(gate: RunningGateway) -> None:
    async with gate.client(gate.token(rooms=["circle:7"])):
        event_id = await gate.publish(circle_id=8)
        answer = await explain(gate, user_id="ada", event_id=event_id)
        assert (answer["verdict"], answer["reason"]) == ("not_delivered", "not_granted")
        assert answer["connections"][0]["rules"] == [
            {"rule": "granted", "holds": False, "detail": "the token grants circle:7"}
        ]
        event_id = await gate.publish(circle_id=7)
        assert (await explain(gate, user_id="ada", event_id=event_id))["reason"] == "not_subscribed"


async def test_revoked_room_and_revoked_token(gate: RunningGateway) -> None:
    """A member who was removed is no longer granted the room; a revoked token has ended its connection."""
    async with gate.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        removal = await gate.publish(type="circle.member.removed", data={"user_id": "ada"}, circle_id=7)
        after = await gate.publish(circle_id=7)
        await client.next("circle.member.removed")
        await client.next("subscription.revoked")
        assert (await explain(gate, user_id="ada", event_id=removal))["reason"] == "delivered"
        answer = await explain(gate, user_id="ada", event_id=after)
        assert (answer["verdict"], answer["reason"]) == ("not_delivered", "not_granted")
        assert "removed" in answer["connections"][0]["rules"][0]["detail"]
    async with gate.client(query="&rooms=circle:8") as client:
        await gate.service.gateway.administration.revoke_user("acme", "ada")
        assert (await client.closed())[0] == 4401
    answer = await explain(gate, user_id="ada", event_id=await gate.publish(circle_id=8))
    assert (answer["verdict"], answer["reason"]) == ("not_delivered", "closed")
    assert "(4401 token_revoked)" in answer["connections"][0]["rules"][-1]["detail"]


async def test_client_that_reads_nothing_is_behind(gate: RunningGateway) -> None:
    """Neither events that wait in the log nor those that wait for the client's system count as delivered, also once
    the connection has ended."""
    async with opened(gate.port, gate.token(), "&rooms=circle:7", receive_buffer=16_384) as client:
        await until(lambda: "circle:7" in gate.service.gateway.manager.of("acme").rooms)
        first = await gate.publish(circle_id=7)
        connection = next(iter(gate.service.gateway.manager.of("acme").connections.values()))
        ids = []
        while not is_behind(connection):
            ids.append(await gate.publish(circle_id=7, data={"text": "x" * 50_000}))
            assert len(ids) < 500
        behind = await gate.publish(circle_id=7)
        for event_id in (ids[-1], behind):
            answer = await explain(gate, user_id="ada", event_id=event_id)
            assert (answer["verdict"], answer["reason"]) == ("pending", "behind")
        assert rules(answer["connections"][0])["reached"] is False
        assert (await explain(gate, user_id="ada", event_id=first))["verdict"] == "delivered"
        client.reset()
    await until(lambda: not gate.service.gateway.manager.of("acme").connections)
    answer = await explain(gate, user_id="ada", event_id=behind)
    assert (answer["verdict"], answer["reason"]) == ("not_delivered", "closed")
    answer = await explain(gate, user_id="ada", event_id=ids[-1])
    assert answer["verdict"] != "delivered"


async def test_gap() -> None:
    """Events that a slow client skipped, since earlier ones were trimmed before it read them."""
    async with running(settings_for(log_max_events=20, events_per_second=0)) as gate:
        connections = gate.service.gateway.manager.of("acme").connections
        async with opened(gate.port, gate.token(), "&rooms=circle:7", receive_buffer=16_384) as client:
            await until(lambda: "circle:7" in gate.service.gateway.manager.of("acme").rooms)
            connection = next(iter(connections.values()))
            while not is_behind(connection):
                await gate.publish(circle_id=7, data={"text": "x" * 50_000})
            skipped = [await gate.publish(circle_id=7, data={"n": n}) for n in range(30)][-1]
            assert (await explain(gate, user_id="ada", event_id=skipped))["reason"] == "behind"
            while is_behind(connection):
                await client.some()
            answer = await explain(gate, user_id="ada", event_id=skipped)
            assert (answer["verdict"], answer["reason"]) == ("not_delivered", "gap")
            assert rules(answer["connections"][0]) == {"granted": True, "subscribed": True, "kept": False}


async def test_room_in_general(gate: RunningGateway) -> None:
    async with gate.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        for room, found in (("circle:7", "delivered"), ("circle:8", "not_subscribed"), ("user:bob", "not_granted")):
            answer = await explain(gate, user_id="ada", room=room)
            assert (answer["room"], answer["reason"]) == (room, found)
        await client.ask(type="unsubscribe", rooms=["circle:7"])
        assert (await explain(gate, user_id="ada", room="circle:7"))["reason"] == "left_before"
    assert (await explain(gate, user_id="bob", room="circle:7"))["reason"] == "never_connected"


async def test_events_that_are_not_there(gate: RunningGateway) -> None:
    """Ids of a place that the log has not reached, of an earlier epoch, and without the form of one."""
    window = gate.service.gateway.log.window("acme")
    cases = {
        window.cursors.encode(window.epoch, window.head + 1): ("not_delivered", "never_published"),
        window.cursors.encode(window.epoch, 0): ("not_delivered", "never_published"),
        window.cursors.encode(b"another", 5): ("unknown", "event_forgotten"),
        "evt_nothing": ("not_delivered", "never_published"),
    }
    for event_id, expected in cases.items():
        answer = await explain(gate, user_id="ada", event_id=event_id)
        assert (answer["verdict"], answer["reason"]) == expected
        assert answer["event"] == {"event_id": event_id, "type": None, "rooms": None, "timestamp": None, "kept": False}


async def test_rights(gate: RunningGateway) -> None:
    """An administrator learns of its own tenant only; the platform of all."""
    foreign = await gate.publish("globex", circle_id=7)
    own = await gate.publish(circle_id=7)
    assert (await explain(gate, 404, user_id="ada", event_id=foreign))["code"] == "not_found"
    answer = await explain(gate, scope="platform", user_id="ada", event_id=foreign)
    assert (answer["verdict"], answer["reason"]) == ("not_delivered", "other_tenant")
    answer = await explain(gate, scope="platform", tenant="globex", user_id="ada", event_id=foreign)
    assert answer["reason"] == "never_connected"
    assert (await explain(gate, 403, tenant="globex", user_id="ada", event_id=foreign))["code"] == "scope_missing"
    assert (await explain(gate, 403, scope="subscribe", user_id="ada", event_id=own))["code"] == "scope_missing"
    async with gate.client(gate.token(tenant="globex")) as client:
        connection_id = client.established["data"]["connection_id"]
        assert (await explain(gate, 404, connection_id=connection_id, event_id=own))["code"] == "not_found"
    for query in ({"user_id": "ada"}, {"event_id": own}, {"user_id": "ada", "event_id": own, "room": "circle:7"}):
        assert (await explain(gate, 422, **query))["code"] == "bad_message"
    async with http(gate) as api:
        assert_problem(await api.get("/admin/explain"), 401, "token_missing")
