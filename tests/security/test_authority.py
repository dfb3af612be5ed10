"""Authority (A1): a token of one tenant gives no access to another, and no token more than its grants."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from auth import base64url
from tests.security.attacked import AttackedGateway, problem, refused
from tests.support.clients import Client, until_fence

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = ("circle:*", "project:*", "user:*", "tenant")
EVENT: dict[str, Any] = {"type": "task.created", "data": {"of": "acme"}, "circle_id": 7}


def holder(attacked: AttackedGateway, scope: str, tenant: str = "globex", user: str = "mallory", **more: Any) -> str:
    cutoff = attacked.gate.service.gateway.administration.newest_cutoff(tenant, user)  # as `POST /admin/tokens` does
    return attacked.gate.token(user, tenant, **{"rooms": EVERYTHING, "scope": scope, "cutoff": cutoff, **more})


def jti(token: str) -> str:
    return str(json.loads(base64url.decode(token.split(".")[1]))["jti"])


def requests() -> Iterator[tuple[str, str, str, Any, str]]:
    """Requests of mallory of globex to acme: scope held, method, target, body, code of the refusal."""
    for target in ("stats", "connections", "rooms"):
        yield "subscribe publish admin", "GET", f"/admin/{target}?tenant=acme", None, "scope_missing"
        yield "subscribe publish", "GET", f"/admin/{target}", None, "scope_missing"
        yield "", "GET", f"/admin/{target}", None, "scope_missing"
    yield "admin", "POST", "/admin/tokens", {"user_id": "ada", "tenant": "acme", "rooms": []}, "scope_missing"
    for body in ({"user_id": "ada", "tenant": "acme"}, {"tenant": "acme"}, {"jti": "x", "tenant": "acme"}):
        yield "subscribe publish admin", "POST", "/admin/tokens/revoke", body, "scope_missing"
    for body in ({"user_id": "mallory"}, {"tenant": "globex"}, {"jti": "x"}):
        yield "subscribe publish", "POST", "/admin/tokens/revoke", body, "scope_missing"
    yield "subscribe publish", "POST", "/admin/tokens/introspect", {"token": "x"}, "scope_missing"
    yield "subscribe publish", "POST", "/admin/tokens", {"user_id": "mallory", "rooms": []}, "scope_missing"
    for scope in ("publish", "publish admin"):
        yield scope, "POST", "/events", {**EVENT, "tenant": "acme"}, "scope_missing"
    yield "subscribe", "POST", "/events", EVENT, "scope_missing"
    for word in ("platform", "subscribe platform"):
        yield "admin subscribe", "POST", "/admin/tokens", {"user_id": "a", "rooms": [], "scope": word}, "scope_missing"
    yield "admin", "POST", "/admin/tokens", {"user_id": "a", "rooms": [], "scope": "publish"}, "scope_missing"
    yield "subscribe", "DELETE", "/admin/connections/x", None, "scope_missing"
    yield "admin", "DELETE", "/admin/connections/x?tenant=acme", None, "scope_missing"


@pytest.mark.parametrize(
    ("scope", "method", "target", "body", "code"),
    [pytest.param(*case, id=f"{case[0] or 'none'}: {case[1]} {case[2]} {str(case[3])[:40]}") for case in requests()],
)
async def test_refused(attacked: AttackedGateway, scope: str, method: str, target: str, body: Any, code: str) -> None:
    """403, and acme's people notice nothing."""
    async with attacked.gate.client(query="&rooms=circle:7,tenant") as ada:
        await ada.next("subscribed")
        head = attacked.gate.service.gateway.log.window("acme").head
        answer = await attacked.http(method, target, body, token=holder(attacked, scope))
        problem(answer, 403, code)
        assert b"ada" not in answer.body
        assert await until_fence(ada) == []
        assert attacked.gate.service.gateway.log.window("acme").head == head


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (["circle:1"], ["circle:2"]),
        (["circle:1"], ["circle:*"]),
        (["circle:1"], ["circle:1", "circle:10"]),
        (["circle:*"], ["project:1"]),
        (["circle:*"], ["tenant"]),
        (["tenant"], ["circle:1"]),
        ([], ["user:ada"]),
        ([], ["user:*"]),
        (["user:a"], ["user:ab"]),
        (["circle:a_b"], ["circle:a", "circle:b"]),
    ],
)
async def test_no_token_is_issued_beyond_the_issuers_grants(
    attacked: AttackedGateway, held: list[str], asked: list[str]
) -> None:
    """403 that names the rooms beyond one's own."""
    admin = holder(attacked, "subscribe admin", rooms=held)
    answer = await attacked.http("POST", "/admin/tokens", {"user_id": "eve", "rooms": asked}, token=admin)
    problem(answer, 403, "room_forbidden")
    assert set(answer.json["rooms"]) <= set(asked)


async def test_lifetime(attacked: AttackedGateway) -> None:
    """An issued token ends no later than its issuer's, and none is longer than configured."""
    admin = holder(attacked, "subscribe admin", expires_in=100)
    body = {"user_id": "eve", "rooms": [], "expires_in": 3600}
    answer = await attacked.http("POST", "/admin/tokens", body, token=admin)
    assert answer.status == 201
    assert answer.json["expires_in"] <= 100
    assert answer.header("cache-control") == "no-store"
    problem(await attacked.http("POST", "/admin/tokens", {**body, "expires_in": 3601}, token=admin), 422, "bad_message")
    body = {"user_id": "eve", "rooms": [], "scope": "admin", "expires_in": 86_401}
    problem(await attacked.http("POST", "/admin/tokens", body, token=admin), 422, "bad_message")


async def test_the_same_names_in_two_tenants(attacked: AttackedGateway) -> None:
    """`circle:7` and `ada` of two tenants never meet: live, in history, by cursor, in answers."""
    globex = holder(attacked, "subscribe publish admin", user="ada")
    async with (
        attacked.gate.client(query="&rooms=circle:7,tenant") as ours,
        attacked.gate.client(globex, "&rooms=circle:7,tenant") as theirs,
    ):
        await ours.next("subscribed")
        await theirs.next("subscribed")
        published = await ours.ask(type="publish", event={**EVENT, "data": {"secret": "of acme"}, "user_id": None})
        cursor = published["data"]["event_id"]
        assert await until_fence(theirs) == []
        refused(await theirs.ask(type="subscribe", rooms=["circle:7"], since=cursor), "cursor_invalid")
        frame = await theirs.ask(type="subscribe", rooms=["circle:7"], history=100)
        assert frame["data"]["replayed"] == 0
        assert "of acme" not in json.dumps(await until_fence(theirs))
        stats = (await attacked.http("GET", "/admin/stats", token=globex)).json
        connections = (await attacked.http("GET", "/admin/connections", token=globex)).json["connections"]
        assert stats["tenant"] == "globex"
        assert stats["log_events"] == 0
        assert {c["connection_id"] for c in connections} == {theirs.established["data"]["connection_id"]}
        id = ours.established["data"]["connection_id"]
        problem(await attacked.http("DELETE", f"/admin/connections/{id}", token=globex), 404, "not_found")
        assert (await ours.ask(type="ping"))["type"] == "pong"


async def test_introspecting_and_revoking_a_foreign_token(attacked: AttackedGateway) -> None:
    """Another tenant's token is not active, and its `jti` revokes nothing."""
    good = attacked.gate.token()
    admin = holder(attacked, "admin")
    async with attacked.gate.client(good) as ada:
        answer = await attacked.http("POST", "/admin/tokens/introspect", {"token": good}, token=admin)
        assert answer.json == {"active": False}
        answer = await attacked.http("POST", "/admin/tokens/revoke", {"jti": jti(good)}, token=admin)
        assert answer.json["disconnected"] == 0
        answer = await attacked.http("POST", "/admin/tokens/revoke", {"user_id": "ada"}, token=admin)
        assert answer.json["disconnected"] == 0
        assert (await ada.ask(type="auth", token=good))["type"] == "authenticated"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("a_b", "c"), ("a", "b_c")),
        (("a-b", "c"), ("a", "b-c")),
        (("a", "b|c"), ("a-b", "c")),
        (("a", "b@c"), ("b", "a@c")),
        (("a", "a"), ("A", "a")),
        (("a", "x"), ("aa", "x")),
        (("a", "a"), ("a", "aa")),
        (("user", "a"), ("a", "user")),
        (("tenant", "x"), ("x", "tenant")),
        (("None", "x"), ("null", "x")),
        (("0", "1"), ("01", "1")),
    ],
)
async def test_keys_that_could_collide(
    attacked: AttackedGateway, ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    """Revoking (tenant, user) and publishing to it reach no other user, however the two names could be joined."""
    mine = holder(attacked, "subscribe publish admin", *ours)
    async with (
        attacked.gate.client(mine) as near,
        attacked.gate.client(holder(attacked, "subscribe publish", *theirs)) as far,
    ):
        event = {"type": "task.created", "data": {}, "user_id": ours[1], "idempotency_key": "-".join(ours)}
        assert (await near.ask(type="publish", event=event))["type"] == "published"
        assert await until_fence(far) == []
        admin = holder(attacked, "admin", ours[0], "root")
        answer = await attacked.http("POST", "/admin/tokens/revoke", {"user_id": ours[1]}, token=admin)
        assert answer.json["disconnected"] == 1
        assert await near.closed() == (4401, "token_revoked")
        assert (await far.ask(type="ping"))["type"] == "pong"
    async with attacked.gate.client(holder(attacked, "subscribe", *theirs)):
        pass


async def test_revoked_issuer(attacked: AttackedGateway) -> None:
    """A holder of a revoked token issues, revokes, inspects and publishes no more, and is closed at once."""
    admin = holder(attacked, "subscribe publish admin", "initech", "root")
    async with attacked.gate.client(admin) as root:
        answer = await attacked.http("POST", "/admin/tokens/revoke", {"jti": jti(admin)}, token=admin)
        assert answer.json["disconnected"] == 1
        assert await root.closed() == (4401, "token_revoked")
    for target, body in (
        ("/admin/tokens", {"user_id": "eve", "rooms": []}),
        ("/admin/tokens/revoke", {"tenant": "initech"}),
        ("/admin/tokens/introspect", {"token": admin}),
        ("/events", EVENT),
    ):
        problem(await attacked.http("POST", target, body, token=admin), 401, "token_revoked")
    async with connect(f"{attacked.gate.ws_url}?token={admin}") as websocket:
        assert await Client(websocket).closed() == (4401, "token_revoked")
    other = holder(attacked, "admin", "initech", "root")
    answer = await attacked.http("POST", "/admin/tokens/introspect", {"token": admin}, token=other)
    assert answer.json == {"active": False}


async def test_revoked_tenant_and_what_is_issued_after(attacked: AttackedGateway) -> None:
    """A tenant's revocation ends what was issued before it, of all its users, and nothing issued later."""
    users = [holder(attacked, "subscribe", "hooli", name) for name in ("a", "b")]
    platform = attacked.gate.token("root", "ops", scope="platform", rooms=EVERYTHING)
    gate = attacked.gate
    async with gate.client(users[0]) as one, gate.client(users[1]) as two, gate.client() as other:
        answer = await attacked.http("POST", "/admin/tokens/revoke", {"tenant": "hooli"}, token=platform)
        assert answer.json["disconnected"] == 2
        assert await one.closed() == await two.closed() == (4401, "token_revoked")
        assert (await other.ask(type="ping"))["type"] == "pong"
    body = {"user_id": "a", "tenant": "hooli", "rooms": ["circle:1"], "scope": ""}
    answer = await attacked.http("POST", "/admin/tokens", body, token=platform)
    async with attacked.gate.client(answer.json["access_token"]) as again:
        assert (await again.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    ("scope", "rooms", "asked", "code"),
    [
        ("", EVERYTHING, ["circle:7"], "scope_missing"),
        ("publish", EVERYTHING, ["circle:7"], "scope_missing"),
        ("admin", EVERYTHING, ["circle:7"], "scope_missing"),
        ("platform", EVERYTHING, ["tenant"], "scope_missing"),
        ("subscribe", [], ["circle:7"], "room_forbidden"),
        ("subscribe", ["circle:7"], ["circle:77"], "room_forbidden"),
        ("subscribe", ["circle:77"], ["circle:7"], "room_forbidden"),
        ("subscribe", ["circle:*"], ["project:7"], "room_forbidden"),
        ("subscribe", ["circle:*", "project:*"], ["tenant"], "room_forbidden"),
        ("subscribe", ["tenant"], ["circle:7"], "room_forbidden"),
        ("subscribe", ["circle:*"], ["user:ada"], "room_forbidden"),
        ("subscribe", ["user:ada"], ["user:adam"], "room_forbidden"),
        ("subscribe admin", ["circle:1"], ["circle:7"], "room_forbidden"),
        ("subscribe platform", ["circle:1"], ["circle:7"], "room_forbidden"),
    ],
)
async def test_subscribing_beyond_ones_grants(
    attacked: AttackedGateway, scope: str, rooms: list[str], asked: list[str], code: str
) -> None:
    """Refused as a whole, with history and without, at connect too; the own room stays."""
    token = holder(attacked, scope, rooms=rooms)
    async with attacked.gate.client(token) as client:
        for more in ({}, {"history": 100}, {"since": client.established["data"]["cursor"]}):
            refused(await client.ask(type="subscribe", rooms=[*asked, "user:mallory"], **more), code)
        assert attacked.connection(client).rooms.keys() == {"user:mallory"}
    async with attacked.gate.client(token, f"&rooms={','.join(asked)}") as client:
        refused(await client.next(), code)
        assert attacked.connection(client).rooms.keys() == {"user:mallory"}


@pytest.mark.parametrize(
    ("scope", "rooms", "changed", "code"),
    [
        ("subscribe", EVERYTHING, {}, "scope_missing"),
        ("", EVERYTHING, {"circle_id": None, "user_id": "mallory"}, "scope_missing"),
        ("publish", ["circle:8"], {}, "room_forbidden"),
        ("publish", ["circle:7"], {"project_id": 1}, "room_forbidden"),
        ("publish", ["circle:7"], {"user_id": "ada"}, "room_forbidden"),
        ("publish", ["circle:*", "project:*"], {"circle_id": None}, "room_forbidden"),
        ("publish", EVERYTHING, {"tenant": "acme"}, "scope_missing"),
        ("publish admin", EVERYTHING, {"tenant": "acme"}, "scope_missing"),
        ("publish", EVERYTHING, {"tenant": "Globex"}, "scope_missing"),
    ],
)
async def test_publishing_beyond_ones_grants(
    attacked: AttackedGateway, scope: str, rooms: list[str], changed: dict[str, Any], code: str
) -> None:
    """Refused over the socket and over HTTP, alone and in a batch; nothing is appended to any log."""
    token, event = holder(attacked, scope, rooms=rooms), {**EVENT, **changed}
    log = attacked.gate.service.gateway.log
    before = [log.window(tenant).head for tenant in ("acme", "globex")]
    async with attacked.gate.client(token) as client:
        refused(await client.ask(type="publish", event=event), code)
    problem(await attacked.http("POST", "/events", event, token=token), 403, code)
    answer = await attacked.http("POST", "/events/batch", {"events": [event]}, token=token)
    if "publish" in scope:
        assert answer.json["results"][0]["error"]["code"] == code
    else:
        problem(answer, 403, code)  # as a whole, before the body is read
    assert [log.window(tenant).head for tenant in ("acme", "globex")] == before


async def test_narrower_refresh_takes_rooms_away(attacked: AttackedGateway) -> None:
    """A refresh with fewer grants or without `subscribe` leaves the rooms it no longer grants, at once."""
    async with attacked.gate.client(query="&rooms=circle:7,project:1") as client:
        await client.next("subscribed")
        frame = await client.ask(type="auth", token=attacked.gate.token(rooms=["circle:7"]))
        assert frame["data"]["dropped"] == ["project:1"]
        refused(await client.ask(type="subscribe", rooms=["project:1"]), "room_forbidden")
        frame = await client.ask(type="auth", token=attacked.gate.token(rooms=["circle:7"], scope="publish"))
        assert frame["data"]["dropped"] == ["circle:7"]
        answer = await attacked.http("POST", "/events", EVENT, token=attacked.gate.token())
        assert answer.status == 202
        assert await until_fence(client) == []


async def test_a_token_signed_for_another_gateway(attacked: AttackedGateway) -> None:
    """The same key with another `iss` or `aud` is not trusted."""
    service = attacked.gate.service
    for issuer, audience in (("other", "gathering-gateway"), ("gathering-gateway", "other")):
        foreign = type(service.issuer)(service.keyring, issuer, audience).issue(
            user_id="ada", tenant="acme", rooms=[], scope=["admin"], expires_in=60, now=time.time()
        )
        problem(await attacked.http("GET", "/admin/stats", token=foreign.access_token), 401, "token_invalid")
