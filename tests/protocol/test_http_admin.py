"""Tokens, statistics and operation over HTTP."""

import time
from typing import Any

import pytest

from gateway.engine.housekeeping import Housekeeping
from gateway.testing import Clock
from tests.support.clients import assert_problem, fence, http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.settings import settings_for

ADMIN = "subscribe publish admin"


async def test_an_issued_token_is_good_for_what_was_asked(gate: RunningGateway) -> None:
    """201 with the members of the protocol, never to be stored by anything between, and it connects."""
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        body = {"user_id": "bob", "rooms": ["circle:1", "project:*"], "scope": "subscribe publish", "expires_in": 60}
        response = await api.post("/admin/tokens", json=body)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    token = answer.pop("access_token")
    assert answer == {
        "token_type": "Bearer",
        "expires_in": 60,
        "jti": answer["jti"],
        "tenant": "acme",
        "rooms": ["circle:1", "project:*"],
        "scope": "subscribe publish",
    }
    async with gate.client(token) as client:
        assert client.established["data"]["user_id"] == "bob"
        assert client.established["data"]["rooms"] == ["circle:1", "project:*"]
        assert (await client.ask(type="subscribe", rooms=["project:7"]))["type"] == "subscribed"


async def test_a_token_is_issued_for_subscribing_unless_said_otherwise(gate: RunningGateway) -> None:
    """The lifetime is the longest of a user's token, or the issuer's remaining one."""
    async with http(gate, gate.token("root", scope=ADMIN, expires_in=86_000)) as api:
        answer = (await api.post("/admin/tokens", json={"user_id": "bob", "rooms": []})).json()
        assert (answer["scope"], answer["expires_in"]) == ("subscribe", 3_600)


async def test_an_issued_token_has_its_issuers_rate(gate: RunningGateway) -> None:
    """The limit of a holder also limits the tokens that it has issued, and those that these have issued."""
    token = gate.token("root", scope=ADMIN, rate=3)
    for _ in range(2):
        async with http(gate, token) as api:
            body = {"user_id": "root", "rooms": [], "scope": ADMIN}
            token = (await api.post("/admin/tokens", json=body)).json()["access_token"]
        assert gate.service.gateway.connections.verify(token).rate == 3


async def test_a_removed_administrator_issues_no_token_for_the_room(gate: RunningGateway) -> None:
    """Neither for itself nor for others, nor for all rooms of the kind; for other rooms it does."""
    await gate.publish(type="circle.member.removed", data={"user_id": "root"}, circle_id=7)
    token = gate.token("root", scope=ADMIN, now=gate.service.gateway.clock() - 60)
    async with http(gate, token) as api:
        for user_id in ("root", "bob"):
            for pattern in ("circle:7", "circle:*"):
                body = {"user_id": user_id, "rooms": [pattern]}
                problem = assert_problem(await api.post("/admin/tokens", json=body), 403, "room_forbidden")
                assert problem["rooms"] == [pattern]
        body = {"user_id": "root", "rooms": ["circle:8", "project:7"]}
        assert (await api.post("/admin/tokens", json=body)).status_code == 201


ISSUING: list[tuple[str, dict[str, Any], int, str]] = [
    ("subscribe publish", {}, 403, "scope_missing"),
    ("admin", {"scope": "subscribe"}, 403, "scope_missing"),
    (ADMIN, {"scope": "platform"}, 403, "scope_missing"),
    (ADMIN, {"tenant": "globex"}, 403, "scope_missing"),
    (ADMIN, {"rooms": ["circle:1", "project:1"]}, 403, "room_forbidden"),
    (ADMIN, {"rooms": ["circle:*"]}, 403, "room_forbidden"),
    (ADMIN, {"rooms": ["user:root2"]}, 403, "room_forbidden"),
    (ADMIN, {"rooms": ["nothing"]}, 422, "room_invalid"),
    (ADMIN, {"rooms": ["circle:1"] * 129}, 422, "bad_message"),
    (ADMIN, {"rooms": "circle:1"}, 422, "bad_message"),
    (ADMIN, {"rooms": None}, 422, "bad_message"),
    (ADMIN, {"expires_in": 3_601}, 422, "bad_message"),
    (ADMIN, {"scope": "admin", "expires_in": 86_401}, 422, "bad_message"),
    (ADMIN, {"expires_in": 0}, 422, "bad_message"),
    (ADMIN, {"expires_in": "60"}, 422, "bad_message"),
    (ADMIN, {"user_id": "a b"}, 422, "bad_message"),
    (ADMIN, {"user_id": ""}, 422, "bad_message"),
    (ADMIN, {"user_id": 7}, 422, "bad_message"),
    (ADMIN, {"scope": "root"}, 422, "bad_message"),
    (ADMIN, {"unknown": 1}, 422, "bad_message"),
    ("subscribe platform", {"tenant": "a b"}, 422, "bad_message"),
]


async def test_no_token_is_issued_beyond_the_issuers_grants(gate: RunningGateway) -> None:
    """Nor tokens that would not be accepted: 403 for grants beyond the issuer's own, 422 for invalid ones."""
    for scope, change, status, code in ISSUING:
        async with http(gate, gate.token("root", scope=scope, rooms=["circle:1"], expires_in=3_600)) as api:
            body = {"user_id": "bob", "rooms": ["circle:1"], **change}
            problem = assert_problem(await api.post("/admin/tokens", json=body), status, code)
            if code == "room_forbidden":
                assert problem["rooms"] == [room for room in change["rooms"] if room != "circle:1"]
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        assert_problem(await api.post("/admin/tokens", json={"rooms": []}), 422, "bad_message")
        assert_problem(await api.post("/admin/tokens", json={"user_id": "bob"}), 422, "bad_message")


async def test_a_lifetime_beyond_the_issuers_own_is_cut_to_it(gate: RunningGateway) -> None:
    """`expires_in` says so."""
    clock = Clock(time.time())
    async with running(service=service_with(clock=clock)) as timed:
        issuer = timed.token("root", scope=ADMIN, expires_in=600, now=clock())
        await clock.advance(500)
        async with http(timed, issuer) as api:
            body = {"user_id": "bob", "rooms": [], "expires_in": 3_600}
            assert 99 <= (await api.post("/admin/tokens", json=body)).json()["expires_in"] <= 100


async def test_platform_issues_for_every_tenant(gate: RunningGateway) -> None:
    """The rule of its own grants holds too."""
    async with http(gate, gate.token("root", tenant="ops", scope="subscribe platform")) as api:
        answer = await api.post("/admin/tokens", json={"user_id": "bob", "tenant": "globex", "rooms": ["circle:1"]})
    assert answer.status_code == 201
    async with gate.client(answer.json()["access_token"]) as client:
        assert client.established["data"]["tenant"] == "globex"


# ---- revoke, introspect


async def test_revoking_needs_admin_and_names_what_it_revokes(gate: RunningGateway) -> None:
    """One of a token, a user or a tenant; of another tenant only for the platform."""
    async with http(gate, gate.token("bob", scope="subscribe publish")) as api:
        assert_problem(await api.post("/admin/tokens/revoke", json={"jti": "x"}), 403, "scope_missing")
    async with http(gate, gate.token("root", scope="admin")) as api:
        for body in ({}, {"jti": "x", "user_id": "y"}, {"jti": ""}, {"user_id": "a b"}, {"other": 1}, {"jti": 5}):
            assert_problem(await api.post("/admin/tokens/revoke", json=body), 422, "bad_message")
        for body in ({"tenant": "globex"}, {"jti": "x", "tenant": "globex"}, {"user_id": "x", "tenant": "globex"}):
            assert_problem(await api.post("/admin/tokens/revoke", json=body), 403, "scope_missing")
        answer = await api.post("/admin/tokens/revoke", json={"jti": "unknown"})
        assert answer.json() == {"revoked": True, "disconnected": 0}


async def test_an_administrator_revokes_no_token_of_another_tenant_by_its_id(gate: RunningGateway) -> None:
    """A `jti` is of one tenant; guessing one reaches no further."""
    foreign = gate.token(tenant="globex")
    token_id = gate.service.gateway.connections.verify(foreign).token_id
    async with gate.client(foreign) as client:
        async with http(gate, gate.token("root", scope="admin")) as api:
            assert (await api.post("/admin/tokens/revoke", json={"jti": token_id})).json()["disconnected"] == 0
        await fence(client)
        async with http(gate, gate.token("root", tenant="ops", scope="platform")) as api:
            assert (await api.post("/admin/tokens/revoke", json={"jti": token_id})).json()["disconnected"] == 1
        assert await client.closed() == (4401, "token_revoked")


async def test_introspection_tells_of_the_own_tenants_good_tokens_only(gate: RunningGateway) -> None:
    """RFC 7662; `{"active": false}` and nothing more for anything invalid, expired, revoked or foreign."""
    good, revoked = gate.token("bob", rooms=["circle:1"], scope="publish subscribe"), gate.token("bob")
    claims = gate.service.gateway.connections.verify(good)
    token_id = gate.service.gateway.connections.verify(revoked).token_id
    await gate.service.gateway.administration.revoke_token("acme", token_id)
    async with http(gate, gate.token("root", scope="admin")) as api:
        answer = (await api.post("/admin/tokens/introspect", json={"token": good})).json()
        assert set(answer.pop("scope").split()) == {"subscribe", "publish"}
        assert answer == {
            "active": True,
            "sub": "bob",
            "aud": "gathering-gateway",
            "exp": claims.expires_at,
            "iat": claims.issued_at,
            "jti": claims.token_id,
            "token_type": "Bearer",
            "tenant": "acme",
            "rooms": ["circle:1"],
        } | ({"iss": answer["iss"]} if "iss" in answer else {})
        expired = gate.token(now=gate.service.gateway.clock() - 700)
        others = ["", "x", good + "x", revoked, gate.token(tenant="globex"), expired, "x" * 5_000]
        for token in others:
            response = await api.post("/admin/tokens/introspect", json={"token": token})
            assert (response.status_code, response.json()) == (200, {"active": False})
    async with http(gate, gate.token("bob")) as api:
        assert_problem(await api.post("/admin/tokens/introspect", json={"token": good}), 403, "scope_missing")
    async with http(gate, gate.token("root", tenant="ops", scope="platform")) as api:
        assert (await api.post("/admin/tokens/introspect", json={"token": good})).json()["active"] is True


# ---- what administrators see


async def test_stats_tell_of_one_tenant(gate: RunningGateway) -> None:
    """Counts since the start, and each client; the other tenant's are not in them."""
    async with (
        gate.client(query="&client_id=desk&rooms=circle:1") as client,
        gate.client(gate.token("bob")) as bob,
        gate.client(gate.token("eve", tenant="globex"), "&client_id=secret"),
        http(gate, gate.token("root", scope="admin")) as api,
    ):
        await client.next("subscribed")
        await gate.publish(circle_id=1)
        await client.next("task.completed")
        await fence(bob)
        stats = (await api.get("/admin/stats")).json()
        assert stats["tenant"] == "acme"
        assert (stats["active_connections"], stats["active_users"]) == (2, 2)
        assert (stats["total_connections"], stats["total_broadcasts"]) == (2, 1)
        assert stats["log_events"] == 1
        assert stats["log_bytes"] > 0
        clients = {info["client_id"]: info for info in stats["clients"]}
        # connection.established, subscribed, the event; bob: connection.established and a pong.
        assert clients["desk"]["messages_sent"] == 3
        assert clients["desk"]["messages_received"] == 0
        assert stats["total_messages_sent"] == 5
        assert clients["desk"]["connected_at"].endswith("Z")
        assert "secret" not in str(stats)


async def test_connections_and_rooms_are_listed(gate: RunningGateway) -> None:
    """Connections with their start and rooms; rooms with their counts of connections and users."""
    async with (
        gate.client(query="&client_id=desk&rooms=circle:1") as client,
        gate.client() as other,
        http(gate, gate.token("root", scope="admin")) as api,
    ):
        await other.ask(type="subscribe", rooms=["circle:1"])
        listed = (await api.get("/admin/connections")).json()
        assert listed["next"] is None
        by_id = {item["connection_id"]: item for item in listed["connections"]}
        item = by_id[client.established["data"]["connection_id"]]
        assert (item["client_id"], item["user_id"], item["tenant"]) == ("desk", "ada", "acme")
        assert (item["rooms"], item["state"]) == (["circle:1", "user:ada"], "live")
        assert item["expires_at"] == client.established["data"]["expires_at"]
        rooms = (await api.get("/admin/rooms")).json()["rooms"]
        assert rooms == [
            {"room": "circle:1", "connections": 2, "users": 1},
            {"room": "user:ada", "connections": 2, "users": 1},
        ]
    async with http(gate, gate.token("root", scope="admin")) as api:
        assert (await api.get("/admin/rooms")).json() == {"rooms": [], "next": None}


async def test_lists_are_paged(gate: RunningGateway) -> None:
    """`next` goes into `after`; together the pages are the whole, each item once."""
    async with (
        gate.client(query=f"&rooms={','.join(f'circle:{n}' for n in range(9))}") as client,
        http(gate, gate.token("root", scope="admin")) as api,
    ):
        await client.next("subscribed")
        found: list[str] = []
        after: str | None = None
        for _ in range(5):
            parameters: dict[str, str | int] = {"limit": 4} | ({"after": after} if after else {})
            page = (await api.get("/admin/rooms", params=parameters)).json()
            found += [item["room"] for item in page["rooms"]]
            assert len(page["rooms"]) <= 4
            after = page["next"]
            if after is None:
                break
        assert found == sorted([*(f"circle:{n}" for n in range(9)), "user:ada"])
        for limit in ("0", "1001", "x"):
            assert_problem(await api.get("/admin/rooms", params={"limit": limit}), 422, "bad_message")


@pytest.mark.parametrize("path", ["/admin/stats", "/admin/connections", "/admin/rooms"])
async def test_admin_routes_are_for_administrators(gate: RunningGateway, path: str) -> None:
    """Administrators see their own tenant; others only with the scope of the platform."""
    async with gate.client(), http(gate, gate.token(scope="subscribe publish")) as api:
        assert_problem(await api.get(path), 403, "scope_missing")
    async with gate.client(), http(gate, gate.token(tenant="globex", scope="admin")) as api:
        assert "ada" not in (await api.get(path)).text
        assert_problem(await api.get(path, params={"tenant": "acme"}), 403, "scope_missing")
    async with gate.client(query="&client_id=ada-desk"), http(gate, gate.token(tenant="ops", scope="platform")) as api:
        assert "ada" in (await api.get(path, params={"tenant": "acme"})).text


async def test_an_administrator_closes_one_connection(gate: RunningGateway) -> None:
    """The answer is 204, and the client is closed with 4403; for a connection of another tenant, the answer does not
    say that it exists."""
    async with gate.client() as client, gate.client() as spared:
        path = f"/admin/connections/{client.established['data']['connection_id']}"
        async with http(gate, gate.token("bob")) as api:
            assert_problem(await api.delete(path), 403, "scope_missing")
        async with http(gate, gate.token("root", tenant="globex", scope="admin")) as api:
            assert_problem(await api.delete(path), 404, "not_found")
        await fence(client)
        async with http(gate, gate.token("root", scope="admin")) as api:
            assert (await api.delete(path)).status_code == 204
            assert (await client.closed())[0] == 4403
            assert_problem(await api.delete(path), 404, "not_found")
            assert_problem(await api.delete("/admin/connections/con_unknown"), 404, "not_found")
        await fence(spared)


# ---- operation


async def test_health_and_readiness(gate: RunningGateway) -> None:
    """The process answers; the gateway takes connections and events."""
    async with http(gate) as api:
        for path in ("/healthz", "/readyz"):
            assert (await api.get(path)).status_code == 200


async def test_a_gateway_that_looks_after_nothing_is_not_ready(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with `Retry-After`, as every 503; the process still answers."""
    monkeypatch.setattr(Housekeeping, "running", property(lambda self: False))
    async with http(gate) as api:
        assert_problem(await api.get("/readyz"), 503, "broker_unavailable")
        assert (await api.get("/healthz")).status_code == 200


async def test_unknown_paths_and_methods_are_problems_too(gate: RunningGateway) -> None:
    """404 and 405, the latter with what is allowed (RFC 9110 section 15.5.6)."""
    async with http(gate) as api:
        assert_problem(await api.get("/nothing"), 404, "not_found")
        assert_problem(await api.get("/admin/nothing"), 404, "not_found")
        response = await api.get("/events")
        assert_problem(response, 405, "not_found")
        assert response.headers["allow"] == "POST"


async def test_the_key_set_of_a_shared_secret_is_empty(gate: RunningGateway) -> None:
    """A secret is nothing to publish."""
    async with http(gate) as api:
        response = await api.get("/.well-known/jwks.json")
    assert (response.status_code, response.json()) == (200, {"keys": []})


async def test_the_interface_describes_itself(gate: RunningGateway) -> None:
    """`/docs` without anything from elsewhere, and `/openapi.json` with every route of the protocol in scope."""
    async with http(gate) as api:
        docs = await api.get("/docs")
        assert docs.status_code == 200
        assert "cdn" not in docs.text
        assert "https://" not in docs.text
        paths = (await api.get("/openapi.json")).json()["paths"]
    routes = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert routes >= {
        ("POST", "/admin/tokens"),
        ("POST", "/admin/tokens/revoke"),
        ("POST", "/admin/tokens/introspect"),
        ("POST", "/events"),
        ("POST", "/events/batch"),
        ("GET", "/admin/stats"),
        ("GET", "/admin/connections"),
        ("GET", "/admin/rooms"),
        ("GET", "/admin/explain"),
        ("DELETE", "/admin/connections/{id}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/.well-known/jwks.json"),
    }


async def test_no_answer_of_a_token_route_is_stored_between(gate: RunningGateway) -> None:
    """Answers that hold tokens, or say what one may do, are for the asker alone."""
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        for path, body in (
            ("/admin/tokens", {"user_id": "bob", "rooms": []}),
            ("/admin/tokens/introspect", {"token": "x"}),
            ("/admin/tokens/revoke", {"jti": "x"}),
        ):
            response = await api.post(path, json=body)
            assert response.headers.get("cache-control") == "no-store", path


async def test_settings_for_the_admin_lifetime_hold(gate: RunningGateway) -> None:
    """Longer for administrators than for users, each as configured."""
    settings = settings_for(max_token_lifetime=100, max_admin_token_lifetime=200)
    async with running(settings) as short, http(short, short.token("root", scope=ADMIN, expires_in=200)) as api:
        cases = [("subscribe", 100, 201), ("subscribe", 101, 422), ("subscribe admin", 199, 201), ("admin", 201, 422)]
        for scope, seconds, status in cases:
            body = {"user_id": "bob", "rooms": [], "scope": scope, "expires_in": seconds}
            assert (await api.post("/admin/tokens", json=body)).status_code == status, (scope, seconds)
