"""The routes of operators on several nodes of one Redis: each answers for all, and names those that do not answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from gateway.core.errors import LogUnavailable
from gateway.core.version import VERSION
from gateway.service.factory import create_service
from tests.support.clients import assert_problem, fence, http
from tests.support.inprocess import RunningGateway, running
from tests.support.operators import Operator
from tests.support.pauses import PATIENCE, until
from tests.support.process import GatewayProcess
from tests.support.proxy import proxied
from tests.support.redis import RedisServer
from tests.support.settings import SECRET, settings_for
from tests.support.tokens import issue

PLATFORM = "subscribe publish admin platform"


async def get(gate: RunningGateway, path: str, scope: str = PLATFORM, **query: Any) -> dict[str, Any]:
    async with http(gate, gate.token("root", scope=scope)) as api:
        answer = await api.get(path, params=query or None)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def post(gate: RunningGateway, path: str, **body: Any) -> dict[str, Any]:
    async with http(gate, gate.token("root", scope=PLATFORM)) as api:
        answer = await api.post(path, json=body)
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def answer_of_all(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer when no node was silent, as one may be on a busy machine."""
    while True:
        answer = await ask()
        if answer.status_code != 503 and not (answer.content and answer.json().get("silent")):
            return answer


@asynccontextmanager
async def two_nodes(
    server: RedisServer, prefix: str, **of_the_second: Any
) -> AsyncIterator[tuple[list[RunningGateway], list[str]]]:
    """Two nodes that have answers of one another, and their names; the second one has further settings."""
    shared = {"log_url": server.url, "redis_prefix": prefix}
    async with running(settings_for(**shared)) as one, running(settings_for(**shared, **of_the_second)) as other:
        gates = [one, other]

        async def complete() -> bool:
            return all([len((await get(gate, "/admin/nodes"))["nodes"]) == len(gates) for gate in gates])

        await until(complete)
        yield gates, [gate.service.gateway.cluster.members.node for gate in gates]


async def test_each_node_answers_for_all(server: RedisServer, prefix: str) -> None:
    """The state and numbers of each node, the acts of all by their times, and a token where it is in use."""
    async with two_nodes(server, prefix) as (gates, names):
        one, other = gates
        issued = issue("bob", issuer=one.service.issuer)
        async with other.client(issued.access_token):
            for gate, first in zip(gates, names, strict=True):
                answer = await get(gate, "/admin/nodes")
                assert (answer["nodes"][0]["node"], answer["silent"]) == (first, [])
                by_name = {node["node"]: node for node in answer["nodes"]}
                assert by_name[names[0]]["connections"] == {}
                assert by_name[names[1]]["connections"] == {"websocket": 1}
                assert "partial" not in answer
                narrow = await get(gate, "/admin/nodes", "admin")
                assert ["connections" in node for node in narrow["nodes"]] == [False, False]

            async with http(one, one.token("root", scope=PLATFORM)) as api:
                answer = (await answer_of_all(partial(api.get, f"/admin/find?q={issued.token_id}"))).json()
            assert [each["node"] for each in answer["connections"]] == [names[1]]
            assert answer["token"] == {"jti": issued.token_id, "revoked": False, "connections": 1}
            assert answer["ended"] == []

        async def ended() -> bool:
            found = (await get(one, "/admin/find", q="bob"))["ended"]
            return [(each["node"], each["code"], each["reason"]) for each in found] == [(names[1], None, "")]

        await until(ended)

        for number in range(6):
            await post(gates[number % 2], "/admin/tokens/revoke", user_id=f"u{number}")
        seen: list[Any] = []
        page: dict[str, Any] = {}
        while not page or page["next"]:
            page = await get(one, "/admin/audit", limit=4, **({"before": page["next"]} if page else {}))
            assert (page["nodes"], page["silent"]) == (sorted(names), [])
            seen += [(act["target"]["user_id"], act["node"]) for act in page["acts"]]
        assert seen == [(f"u{number}", names[number % 2]) for number in reversed(range(6))]
        (act,) = (await get(one, "/admin/find", q="u5"))["acts"]
        assert act["node"] == names[1]
        async with http(one, one.token("root", scope=PLATFORM)) as api:
            assert_problem(await api.get("/admin/audit?before=7"), 422, "bad_message")


async def test_a_new_connection_of_another_node_is_found_and_closed_at_once(server: RedisServer, prefix: str) -> None:
    """Before the directories have it, which takes half a second; and none of another tenant."""
    async with two_nodes(server, prefix) as (gates, names):
        one, other = gates
        async with http(one, one.token("root", scope=PLATFORM)) as api:
            for path in ("/admin/find?q=", "/admin/explain?room=circle:1&connection_id="):
                async with other.client() as client:
                    ask = partial(api.get, path + client.established["data"]["connection_id"])
                    found = (await answer_of_all(ask)).json()
                    assert [each["node"] for each in found["connections"]] == [names[1]], found
            async with other.client() as client:
                id = client.established["data"]["connection_id"]
                foreign = await answer_of_all(partial(api.delete, f"/admin/connections/{id}?tenant=globex"))
                assert_problem(foreign, 404, "not_found")
                assert (await answer_of_all(partial(api.delete, f"/admin/connections/{id}"))).status_code == 204
                assert await client.closed() == (4403, "closed by an administrator")
            missing = await answer_of_all(partial(api.delete, "/admin/connections/con_nothing"))
            assert_problem(missing, 404, "not_found")


async def test_tenants_of_any_node_are_listed(server: RedisServer, prefix: str) -> None:
    """By every node, in pages of the sorted names; each with its counts on all nodes."""
    async with two_nodes(server, prefix) as (gates, _):
        one, other = gates
        for number, tenant in enumerate(("eve", "bolt", "dart", "acme", "coil")):
            await gates[number % 2].publish(tenant, circle_id=1)
        await one.publish("bolt", circle_id=1)
        names = ["acme", "bolt", "coil", "dart", "eve"]
        for gate in gates:
            found: list[str] = []
            page: dict[str, Any] = {}
            while not page or page["next"]:
                page = await get(gate, "/admin/tenants", limit=2, **({"after": page["next"]} if page else {}))
                assert (len(page["tenants"]), page["silent"], "partial" in page) == (min(2, 5 - len(found)), [], False)
                found += [each["tenant"] for each in page["tenants"]]
            assert found == names

            async def counted(gate: RunningGateway = gate) -> bool:
                listed = (await get(gate, "/admin/tenants"))["tenants"]
                return [each["total_broadcasts"] for each in listed] == [1, 2, 1, 1, 1]

            await until(counted)  # totals come a second or two late
        narrow = await get(other, "/admin/tenants", "admin")
        assert [each["tenant"] for each in narrow["tenants"]] == ["acme"]


async def test_the_busiest_tenants_are_those_of_all_nodes(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    """`gateway top` shows the sums, and the rates of nodes that it has read twice."""
    async with two_nodes(server, prefix) as (gates, names):
        one, other = gates
        for gate, tenant, count in ((one, "acme", 3), (other, "acme", 4), (other, "bolt", 9)):
            for _ in range(count):
                await gate.publish(tenant, circle_id=1)
        by_name = {node["node"]: node["tenants"] for node in (await get(one, "/admin/nodes"))["nodes"]}
        assert by_name[names[0]]["acme"] == {"events": 3, "deliveries": 0, "connections": 0, "waiting": 0.0}
        assert by_name[names[1]]["bolt"] == {"events": 9, "deliveries": 0, "connections": 0, "waiting": 0.0}
        for gate in gates:
            (found,) = await Operator(gate, tmp_path, "platform", "ops").lines("top", "--once", "--interval", "0.5")
            assert [(each["tenant"], each["events"]) for each in found["tenants"][:2]] == [("bolt", 9), ("acme", 7)]
            assert found["tenants"][0]["per_second"] == {"events": 0.0, "deliveries": 0.0}
            assert found["shown"]["tenant"] == "bolt"
            assert len(found["nodes"]) == len(names)


async def test_usage_is_the_sum_of_what_each_node_has_counted(server: RedisServer, prefix: str) -> None:
    """Events at the node that appended them, deliveries at those that made them; a page has whole sums."""
    async with two_nodes(server, prefix) as (gates, names):
        one, other = gates
        async with one.client(query="&rooms=circle:1") as here, other.client(query="&rooms=circle:1") as there:
            for client in (here, there):
                await client.next("subscribed")
            for gate in (one, other, other):
                await gate.publish(circle_id=1)
            for client in (here, there):
                for _ in range(3):
                    await client.next("task.completed")
        for tenant in ("bolt", "coil"):
            await other.publish(tenant, circle_id=1)
        await one.publish("coil", circle_id=1)
        for gate in gates:
            rows: list[dict[str, Any]] = []
            page: dict[str, Any] = {}
            while not page or page["next"]:
                page = await get(gate, "/admin/usage", limit=1, **({"after": page["next"]} if page else {}))
                assert (page["nodes"], page["silent"], "partial" in page) == (sorted(names), [], False)
                rows += page["hours"]
            keys = [(row["hour"], row["tenant"]) for row in rows]
            assert keys == sorted(set(keys))
            counts = {tenant: [0, 0] for tenant in ("acme", "bolt", "coil")}
            for row in rows:  # of two hours, where one has ended meanwhile
                counts[row["tenant"]][0] += row["events"]
                counts[row["tenant"]][1] += row["deliveries"]
            assert counts == {"acme": [3, 6], "bolt": [1, 0], "coil": [2, 0]}
        assert {row["tenant"] for row in (await get(one, "/admin/usage", "admin"))["hours"]} == {"acme"}


async def test_usage_outlives_its_node(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    """A node that is killed has recorded its counts seconds before, one that is stopped all of them; a node that is
    started again counts on. Without Redis there are those of the node that answers."""
    shared: dict[str, Any] = {"log_url": server.url, "redis_prefix": prefix}
    async with proxied(server.port) as network:
        async with running(settings_for(**{**shared, "log_url": network.url})) as one:

            async def summed(events: int) -> bool:
                page = await get(one, "/admin/usage")
                assert page["durable"]
                return sum(row["events"] for row in page["hours"]) == events and len(page["nodes"]) == 1

            async def recorded(events: int) -> bool:
                rows = await one.service.gateway.cluster.usage.read(None, (0, ""), 10)
                return sum(used.events for nodes in rows.values() for used in nodes.values()) == events

            async with GatewayProcess(tmp_path / "node", **shared) as other:
                await other.publish([{}, {}], circle_id=1)
                await one.publish(circle_id=1)
                await until(lambda: recorded(3))
                other.kill()
                await until(lambda: summed(3))
                await other.start()
                await other.publish([{}], circle_id=1)
            await until(lambda: summed(4))
            network.partition()
            page = await get(one, "/admin/usage")
            assert (sum(row["events"] for row in page["hours"]), page["partial"]) == (1, True)
            network.reset()
            network.heal()
            await server.ask("FLUSHALL")
            await until(lambda: recorded(1))  # by the node that still runs


async def test_settings_that_differ_between_nodes_are_shown(server: RedisServer, prefix: str) -> None:
    """With the values of the other nodes, and without a secret, also in what the nodes say to one another."""
    secret = "another-token-of-a-scraper"
    differing = {"metrics_token": secret, "max_connections_per_user": 7, "allowed_origins": ("https://a.example",)}
    async with (
        two_nodes(server, prefix, **differing) as (gates, names),
        Redis.from_url(server.url) as redis,
        redis.pubsub() as said,
    ):
        for gate in gates:

            async def complete(gate: RunningGateway = gate) -> bool:
                return not (await get(gate, "/admin/configuration"))["silent"]

            await until(complete)  # the first answer of a node takes longer
        await said.psubscribe(f"{prefix}:queries:*")
        for here, there, values in ((0, 1, (7, ["https://a.example"])), (1, 0, (0, []))):
            found = await get(gates[here], "/admin/configuration")
            elsewhere = {each["name"]: each["elsewhere"] for each in found["settings"] if each["elsewhere"]}
            assert elsewhere == {
                "GATEWAY_MAX_CONNECTIONS_PER_USER": {names[there]: values[0]},
                "GATEWAY_ALLOWED_ORIGINS": {names[there]: values[1]},
                "GATEWAY_METRICS_TOKEN": {names[there]: None},
            }
            warnings = {each["message"].split()[0]: sorted(each["nodes"]) for each in found["warnings"]}
            assert warnings["GATEWAY_MAX_CONNECTIONS_PER_USER"] == names[:1]
            assert warnings["GATEWAY_MAX_CONNECTIONS_PER_ADDRESS"] == sorted(names)
            assert (found["node"], found["versions"]) == (names[here], dict.fromkeys(names, VERSION))
            assert (found["silent"], "partial" in found) == ([], False)
        texts = [await said.get_message(ignore_subscribe_messages=True, timeout=PATIENCE) for _ in range(5)]
    assert sum("GATEWAY_JWT_SECRET" in str(text) for text in texts) == 2
    assert not any(text in str(texts) for text in (SECRET, secret))


async def test_silent_nodes_are_named(server: RedisServer, prefix: str) -> None:
    """Also those whose answers cannot be read, as during a rolling upgrade."""
    async with two_nodes(server, prefix) as (gates, names):
        one, other = gates

        async def fail(question: Any) -> Any:
            raise TimeoutError

        for kind in ("status", "acts", "connections", "drain", "tenants", "usage", "settings"):
            other.service.gateway.cluster.queries.attach(kind, fail)
        paths = (
            *("/admin/nodes", "/admin/audit", "/admin/find?q=ada"),
            *("/admin/tenants", "/admin/usage", "/admin/configuration"),
        )
        for path in paths:
            assert (await get(one, path))["silent"] == [names[1]], path
        async with http(one, one.token("root", scope=PLATFORM)) as api:
            assert_problem(await api.post("/admin/drain", json={"node": names[1]}), 503, "broker_unavailable")
            # It may have the connection.
            assert_problem(await api.delete("/admin/connections/con_nothing"), 503, "broker_unavailable")

        async def of_another_version(question: Any) -> Any:
            return {"no": "such answer"}

        for kind in ("status", "acts", "connections", "explain", "tenants", "usage", "settings"):
            other.service.gateway.cluster.queries.attach(kind, of_another_version)
        for path in (*paths, "/admin/explain?user_id=ada&room=circle:7"):
            assert (await get(one, path))["silent"] == [names[1]], path


async def test_any_node_is_drained_through_any_other(server: RedisServer, prefix: str) -> None:
    """By its own settings. It refuses new clients and closes its own; clients of the other node stay. The drain is
    audited."""
    async with two_nodes(server, prefix, shutdown_delay_seconds=0.25, drain_seconds=2) as (gates, names):
        one, other = gates

        async with one.client() as stays, other.client() as leaves:
            async with http(one, one.token("root", scope="subscribe publish admin")) as api:
                assert_problem(await api.post("/admin/drain", json={"node": names[1]}), 403, "scope_missing")
            answer = await post(one, "/admin/drain", node=names[1])
            assert answer == {"node": names[1], "connections": 1, "seconds": 2.25}
            await leaves.next("server.draining")
            again = await post(one, "/admin/drain", node=names[1])  # as often as one likes
            assert again["seconds"] <= 2.0
            assert (await leaves.closed())[0] == 1012
            async with http(other) as api:
                assert (await api.get("/readyz")).status_code == 503
            draining = {node["node"]: node["draining"] for node in (await get(one, "/admin/nodes"))["nodes"]}
            assert draining == {names[0]: False, names[1]: True}
            await fence(stays)
        act = (await get(other, "/admin/audit"))["acts"][0]
        assert (act["event"], act["target"], act["node"]) == ("node.drained", {"node": names[1]}, names[0])
        async with http(one, one.token("root", scope=PLATFORM)) as api:
            assert_problem(await api.post("/admin/drain", json={"node": "node_0"}), 404, "not_found")


async def test_only_the_node_that_is_meant_is_asked_to_drain(server: RedisServer, prefix: str) -> None:
    asked: list[str] = []
    async with two_nodes(server, prefix) as (gates, names):
        async with running(settings_for(log_url=server.url, redis_prefix=prefix)) as third:
            for gate in (gates[1], third):
                node = gate.service.gateway.cluster.members.node

                async def answer(question: Any, node: str = node) -> Any:
                    asked.append(node)
                    return [0, 1.0]

                gate.service.gateway.cluster.queries.attach("drain", answer)
            assert (await post(gates[0], "/admin/drain", node=names[1]))["seconds"] == 1.0
            assert asked == names[1:]


async def test_a_gateway_that_has_stopped_does_not_drain_at_its_next_start() -> None:
    """A question of another node may come while it stops."""
    service = create_service(settings_for())
    drain, node = service.gateway.drain, service.gateway.cluster.members.node
    async with service.running():
        assert service.gateway.ready
    with pytest.raises(LogUnavailable):
        await service.operations.drain.begin(node)
    async with service.running():
        await asyncio.sleep(0)
        assert (drain.announced, drain.started, len(service.gateway.tasks)) == (False, False, 0)
