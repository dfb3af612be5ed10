"""`gateway stats`, `connections`, `rooms`, `tenants`, `usage`, `revoke`, `disconnect` and `drain`, against a real
gateway."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.core.cluster import NodeAnswers
from tests.support.clients import http
from tests.support.inprocess import RunningGateway
from tests.support.operators import Operator


@pytest.fixture
def admin(gate: RunningGateway, tmp_path: Path) -> Operator:
    return Operator(gate, tmp_path)


@pytest.fixture
def platform(gate: RunningGateway, tmp_path: Path) -> Operator:
    return Operator(gate, tmp_path, "platform", "ops")


async def test_stats_are_those_of_the_tenant(gate: RunningGateway, admin: Operator, platform: Operator) -> None:
    """Printed as a table, and as JSON; of another tenant with the scope platform only."""
    await gate.publish(circle_id=1)
    async with gate.client(query="&rooms=circle:1"), gate.client(gate.token("eve", tenant="globex")):
        (found,) = await admin.lines("stats")
        assert (found["tenant"], found["active_connections"], found["total_broadcasts"]) == ("acme", 1, 1)
        assert "clients" not in found
        assert "active_connections   1\n" in await admin.text("stats")
        (other,) = await platform.lines("stats", "--tenant", "globex")
        assert (other["tenant"], other["total_broadcasts"]) == ("globex", 0)
        assert "scope_missing" in await admin.refusal("stats", "--tenant", "globex")


async def test_connections_are_listed_and_selected(gate: RunningGateway, admin: Operator) -> None:
    """All pages of them; by user and by room."""
    async with gate.client(query="&rooms=circle:1&client_id=desk") as ada, gate.client(gate.token("bob")) as bob:
        ids = {client.established["data"]["connection_id"]: client for client in (ada, bob)}
        assert {each["connection_id"] for each in await admin.lines("connections")} == ids.keys()
        for selected in (("--user", "ada"), ("--room", "circle:1")):
            (found,) = await admin.lines("connections", *selected)
            assert (found["user_id"], found["client_id"], found["state"]) == ("ada", "desk", "live")
        table = (await admin.text("connections", "--user", "ada")).splitlines()
        assert table[0].split()[:3] == ["connection_id", "user_id", "client_id"]
        assert len(table) == 2
        assert await admin.lines("connections", "--user", "nobody") == []


async def test_more_connections_than_a_page_has(
    gate: RunningGateway, admin: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command asks for one page after the other."""
    monkeypatch.setattr("gateway.cli.admin_api.PAGE", 2)
    async with gate.client(), gate.client(), gate.client(), gate.client(), gate.client():
        assert len(await admin.lines("connections")) == 5


async def test_rooms_are_listed(gate: RunningGateway, admin: Operator) -> None:
    """With their numbers of connections and users."""
    async with gate.client(query="&rooms=circle:1"), gate.client(query="&rooms=circle:1"):
        found = await admin.lines("rooms")
    assert {"room": "circle:1", "connections": 2, "users": 1} in found


async def test_an_administrator_sees_its_tenant_and_the_platform_sees_all(
    gate: RunningGateway, admin: Operator, platform: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tenants that have had a connection or an event are listed; names that were only asked about are not."""
    await gate.publish("initech", circle_id=1)
    await platform.lines("stats", "--tenant", "never-seen")
    async with gate.client(), gate.client(gate.token("eve", tenant="globex")):
        found = {each["tenant"]: each for each in await platform.lines("tenants")}
        assert found.keys() == {"acme", "globex", "initech"}
        assert (found["acme"]["connections"], found["initech"]["total_broadcasts"]) == (1, 1)
        assert [each["tenant"] for each in await admin.lines("tenants")] == ["acme"]
        monkeypatch.setattr("gateway.cli.admin_api.PAGE", 1)
        assert [each["tenant"] for each in await platform.lines("tenants")] == ["acme", "globex", "initech"]
    async with http(gate, gate.token()) as api:
        assert (await api.get("/admin/tenants")).status_code == 403


async def test_a_connection_is_closed(gate: RunningGateway, admin: Operator) -> None:
    """With 4403; a connection that is unknown is an error."""
    async with gate.client() as client:
        id = client.established["data"]["connection_id"]
        assert await admin.lines("disconnect", id) == [{"connection_id": id, "closed": True}]
        assert (await client.closed())[0] == 4403
    assert "not_found" in await admin.refusal("disconnect", id)
    assert "not_found" in await admin.refusal("disconnect", "a/../b?c")


async def test_tokens_are_revoked(gate: RunningGateway, admin: Operator, platform: Operator) -> None:
    """By id, by user, and all of a tenant."""
    token = gate.token("bob")
    jti = gate.service.gateway.connections.verify(token).token_id
    async with gate.client(token) as bob, gate.client() as ada, gate.client(gate.token("eve", tenant="globex")) as eve:
        assert await admin.lines("revoke", "--jti", str(jti)) == [{"revoked": True, "disconnected": 1}]
        assert await bob.closed() == (4401, "token_revoked")
        assert "closed 1 connections" in await admin.text("revoke", "--user", "ada")
        assert await ada.closed() == (4401, "token_revoked")
        assert "scope_missing" in await admin.refusal("revoke", "--everyone", "--tenant", "globex")
        await platform.text("revoke", "--everyone", "--tenant", "globex")
        assert await eve.closed() == (4401, "token_revoked")


@pytest.mark.parametrize("chosen", [(), ("--user", "a", "--jti", "b"), ("--everyone", "--user", "a"), ("--everyone",)])
async def test_one_target_is_named(admin: Operator, chosen: tuple[str, ...]) -> None:
    """A whole tenant is revoked only where it is named."""
    assert "--everyone" in await admin.refusal("revoke", *chosen)


async def test_usage_is_listed(gate: RunningGateway, admin: Operator, platform: Operator) -> None:
    """By hour and tenant: of the own tenant, or of all, or of one."""
    for tenant in ("acme", "globex", "globex"):
        await gate.publish(tenant, circle_id=1)
    events: Counter[str] = Counter()
    for row in await platform.lines("usage"):
        events[row["tenant"]] += row["events"]
    assert events == {"acme": 1, "globex": 2}
    assert {row["tenant"] for row in await admin.lines("usage")} == {"acme"}
    assert {row["tenant"] for row in await platform.lines("usage", "--tenant", "globex")} == {"globex"}
    table = (await admin.text("usage")).splitlines()
    assert table[0].split() == ["hour", "tenant", "connection_seconds", "events", "deliveries", "bytes"]
    assert table[1].split()[1] == "acme"


async def test_missing_answers_of_other_nodes_are_a_warning(
    gate: RunningGateway, platform: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, whichever form the answer is printed in."""
    queries = gate.service.gateway.cluster.queries
    found = [NodeAnswers({}, ("node_b", "node_a"), True)] * 2 + [NodeAnswers({}, (), True)]

    async def ask(kind: str, tenant: str | None, question: Any) -> NodeAnswers:
        return found.pop(0)

    monkeypatch.setattr(queries, "ask", ask)
    for options in ((), ("--json",)):
        done = await platform.run("usage", *options)
        assert "no answer from node_a, node_b: what these nodes know is missing" in done.stderr
    done = await platform.run("tenants")
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert "what they know may be missing" in done.stderr


async def test_a_node_is_drained(gate: RunningGateway, admin: Operator, platform: Operator) -> None:
    """By its name, by default the one that answers; its clients leave."""
    node = gate.service.gateway.administration.node
    assert "scope_missing" in await admin.refusal("drain")
    assert "not_found" in await platform.refusal("drain", "--node", "node_0")
    async with gate.client() as client:
        assert f"draining {node}: 1 connections over 10 s" in await platform.text("drain")
        await client.next("server.draining")
        (again,) = await platform.lines("drain", "--node", node)
        assert (again["node"], again["seconds"] <= 10) == (node, True)


async def test_errors_are_one_line(gate: RunningGateway, admin: Operator) -> None:
    """Without a token, with a wrong one, and without a gateway."""
    for env, reason in (
        ({"GATEWAY_TOKEN": ""}, "--token: is missing"),
        ({"GATEWAY_TOKEN": "wrong"}, "token_invalid"),
        ({"GATEWAY_TOKEN": gate.token()}, "scope_missing"),
        ({"GATEWAY_URL": "http://127.0.0.1:9"}, "unreachable"),
        ({"GATEWAY_URL": "ftp://x"}, "--url: "),
    ):
        done = await admin.run("stats", env=env)
        assert (done.exit_code, done.stdout) == (2, "")
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
