"""Explanations of several nodes on one Redis: each answers for its own connections, and those that do not answer are
named."""

from typing import Any

import pytest

from tests.support.clients import http
from tests.support.event_streams import streaming
from tests.support.inprocess import RunningGateway
from tests.support.oracle import TENANT, stage
from tests.support.pauses import now, until
from tests.support.redis import RedisServer


async def explain(gate: RunningGateway, status: int = 200, **query: str) -> dict[str, Any]:
    async with http(gate, gate.token("root", scope="admin")) as api:
        response = await api.get("/admin/explain", params=query)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_connections_of_both_nodes(server: RedisServer, prefix: str) -> None:
    """A WebSocket at one node and an event stream at the other, open and ended, explained by either node."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        one, other = nodes.gates
        names = sorted(gate.service.gateway.cluster.members.node for gate in nodes.gates)
        async with one.client(one.token("eve"), "&rooms=circle:7") as client:
            await client.next("subscribed")
            async with streaming(other, "?rooms=circle:8", other.token("eve")) as stream:
                await stream.next("subscribed")
                seven = await one.publish(circle_id=7)
                eight = await one.publish(circle_id=8)
                await client.next("task.completed")
                await stream.next("task.completed")
                for gate in nodes.gates:
                    answer = await explain(gate, user_id="eve", event_id=seven)
                    assert (answer["verdict"], answer["nodes"], answer["silent"]) == ("delivered", names, [])
                    found = {each["transport"]: each["reason"] for each in answer["connections"]}
                    assert found == {"websocket": "delivered", "sse": "not_subscribed"}
                    assert len({each["node"] for each in answer["connections"]}) == 2
            await until(lambda: "eve" not in other.service.gateway.manager.of(TENANT).users)
            for gate in nodes.gates:
                answer = await explain(gate, user_id="eve", event_id=eight)
                assert answer["verdict"] == "delivered"
                (ended,) = (each for each in answer["connections"] if each["transport"] == "sse")
                assert (ended["verdict"], ended["ended_at"] is None) == ("delivered", False)
                answer = await explain(gate, connection_id=ended["connection_id"], event_id=seven)
                assert (answer["user_id"], answer["reason"]) == ("eve", "not_subscribed")
        for gate in nodes.gates:
            answer = await explain(gate, user_id="eve", event_id=await other.publish(circle_id=8))
            assert (answer["verdict"], answer["reason"]) == ("not_delivered", "closed")
            assert (await explain(gate, user_id="zoe", event_id=eight))["reason"] == "never_connected"
            await explain(gate, 404, connection_id="con_1", event_id=eight)


async def test_node_without_clients_of_the_tenant_explains(server: RedisServer, prefix: str) -> None:
    """The node reads the log first."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        one, other = nodes.gates
        async with one.client(one.token(tenant="brief"), "&rooms=circle:7") as client:
            await client.next("subscribed")
            event_id = await one.publish("brief", circle_id=7)
            await client.next("task.completed")
            async with http(other, other.token("root", "brief", scope="admin")) as api:
                answer = (await api.get("/admin/explain", params={"user_id": "ada", "event_id": event_id})).json()
            assert (answer["verdict"], answer["event"]["rooms"]) == ("delivered", ["circle:7", "tenant"])


@pytest.mark.timing
async def test_silent_node_is_named(server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """Within two seconds; that its clients were not given the event is then not known."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        one, other = nodes.gates
        event_id = await one.publish(circle_id=7)
        name = other.service.gateway.cluster.members.node

        async def fail(question: Any) -> Any:
            raise RuntimeError("no answer")

        other.service.gateway.cluster.queries.attach("explain", fail)
        began = now()
        answer = await explain(one, user_id="eve", event_id=event_id)
        assert now() - began < 2.0
        assert (answer["verdict"], answer["reason"]) == ("unknown", "never_connected")
        assert (answer["silent"], answer["partial"]) == ([name], True)
        assert "Not all nodes have answered" in answer["message"]
    assert "could not be answered" in caplog.text


@pytest.mark.timing
async def test_without_redis_the_node_explains_what_it_knows(server: RedisServer, prefix: str) -> None:
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        one, _ = nodes.gates
        async with one.client(one.token("eve"), "&rooms=circle:7") as client:
            await client.next("subscribed")
            event_id = await one.publish(circle_id=7)
            await client.next("task.completed")
            server.stall()
            try:
                began = now()
                answer = await explain(one, user_id="eve", event_id=event_id)
                assert now() - began < 2.5
                assert (answer["verdict"], answer["partial"]) == ("delivered", True)
                answer = await explain(one, user_id="zoe", event_id=event_id)
                assert (answer["verdict"], answer["reason"]) == ("unknown", "never_connected")
            finally:
                server.go_on()
