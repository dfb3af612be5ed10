"""`GET /admin/audit`, `GET /admin/configuration`, `POST /admin/tokens/inspect`: answers, rights, and what they keep to
themselves."""

import json
from typing import Any

import jwt
import pytest

from auth import base64url
from tests.support.clients import assert_problem, http
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import SECRET, settings_for

ADMIN = "subscribe publish admin"
PLATFORM = "subscribe publish admin platform"


# ---- the audit trail


async def test_the_audit_trail_says_who_revoked_what(gate: RunningGateway) -> None:
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        issued = (await api.post("/admin/tokens", json={"user_id": "bob", "rooms": []})).json()
        await api.post("/admin/tokens/revoke", json={"user_id": "bob"})
        async with gate.client() as client:
            closed = client.established["data"]["connection_id"]
            assert (await api.delete(f"/admin/connections/{closed}")).status_code == 204
        page = (await api.get("/admin/audit")).json()
    assert [act["event"] for act in page["acts"]] == ["connection.closed_by_hand", "user.revoked", "token.issued"]
    close, revoked, issue = page["acts"]
    assert close["target"] == {"connection_id": closed}
    assert revoked["target"] == {"user_id": "bob", "disconnected": 0}
    assert issue["target"]["jti"] == issued["jti"]
    assert {(act["by_user_id"], act["by_tenant"], act["tenant"], act["address"]) for act in page["acts"]} == {
        ("root", "acme", "acme", "127.0.0.1")
    }
    assert page["next"] is None
    assert issued["access_token"] not in json.dumps(page)


async def test_the_audit_trail_is_paged(gate: RunningGateway) -> None:
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        for number in range(5):
            await api.post("/admin/tokens/revoke", json={"user_id": f"u{number}"})
        first = (await api.get("/admin/audit?limit=3")).json()
        second = (await api.get(f"/admin/audit?limit=3&before={first['next']}")).json()
    users = [act["target"]["user_id"] for page in (first, second) for act in page["acts"]]
    assert users == ["u4", "u3", "u2", "u1", "u0"]
    assert second["next"] is None


async def test_a_tenant_sees_its_own_acts_only(gate: RunningGateway) -> None:
    """Acts of a platform operator on it too, without the operator's address and token."""
    async with http(gate, gate.token("op", tenant="ops", scope=PLATFORM)) as api:
        await api.post("/admin/tokens/revoke", json={"user_id": "ada", "tenant": "acme"})
        await api.post("/admin/tokens/revoke", json={"user_id": "eve", "tenant": "globex"})
        everything = (await api.get("/admin/audit")).json()["acts"]
        of_globex = (await api.get("/admin/audit?tenant=globex")).json()["acts"]
    assert [act["tenant"] for act in everything] == ["globex", "acme"]
    assert [act["target"]["user_id"] for act in of_globex] == ["eve"]
    async with http(gate, gate.token("root", scope=ADMIN, tenant="globex")) as api:
        (act,) = (await api.get("/admin/audit")).json()["acts"]
        assert (act["by_user_id"], act["by_tenant"], act["by_jti"], act["address"]) == ("op", "ops", None, None)
        assert_problem(await api.get("/admin/audit?tenant=acme"), 403, "scope_missing")
    async with http(gate, gate.token("root", scope=ADMIN, tenant="ops")) as api:
        acts = (await api.get("/admin/audit")).json()["acts"]
        assert [(act["by_user_id"], act["tenant"], act["target"]) for act in acts] == [
            ("op", "globex", {}),
            ("op", "acme", {}),
        ]
        assert (await api.get("/admin/find?q=eve")).json()["acts"] == []


# ---- the configuration


async def test_the_configuration_has_no_secret() -> None:
    """Neither a key nor the password of an address."""
    settings = settings_for(
        jwt_previous_secrets=("p" * 20 + "Q1w2E3r4T5y6U7i8O9",),
        external_issuer="https://id.example.com",
        external_secret=("a-secret-of-a-provider-0123456789-abcdefghijklmnop",),
        external_jwks_url=None,
        max_connections_per_user=7,
    )
    async with running(settings) as gate, http(gate, gate.token("op", scope=PLATFORM)) as api:
        answer = await api.get("/admin/configuration")
    assert answer.headers["cache-control"] == "no-store"
    for secret in (SECRET, "Q1w2E3r4T5y6U7i8O9", "a-secret-of-a-provider"):
        assert secret not in answer.text
    found = {setting["name"]: setting for setting in answer.json()["settings"]}
    assert found["GATEWAY_JWT_SECRET"] | {"description": ""} == {
        **{"name": "GATEWAY_JWT_SECRET", "description": "", "secret": True, "set": True, "value": None},
        **{"default": None, "changed": True, "elsewhere": {}},
    }
    limit = found["GATEWAY_MAX_CONNECTIONS_PER_USER"]
    assert (limit["value"], limit["default"], limit["changed"]) == (7, 30, True)
    assert found["GATEWAY_PORT"]["secret"] is False


async def test_the_configuration_comes_with_the_advice_of_gateway_check(gate: RunningGateway) -> None:
    async with http(gate, gate.token("op", scope=PLATFORM)) as api:
        warnings = (await api.get("/admin/configuration")).json()["warnings"]
    node = gate.service.gateway.cluster.members.node
    message = "GATEWAY_MAX_CONNECTIONS_PER_USER is 0: there is no limit"
    assert {"message": message, "nodes": [node]} in warnings


async def test_the_configuration_is_for_operators_of_all_tenants(gate: RunningGateway) -> None:
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        assert_problem(await api.get("/admin/configuration"), 403, "scope_missing")


# ---- tokens


async def inspected(gate: RunningGateway, token: str, holder: str | None = None) -> dict[str, Any]:
    async with http(gate, holder or gate.token("root", scope=ADMIN)) as api:
        answer = await api.post("/admin/tokens/inspect", json={"token": token})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_good_token_is_explained(gate: RunningGateway) -> None:
    text = gate.token("ada", rooms=("circle:7",), scope="subscribe")
    found = await inspected(gate, f" Bearer {text}\n")
    assert (found["accepted"], found["reason"]) == (True, None)
    assert found["claims"]["sub"] == '"ada"'
    rights = found["rights"]
    assert (rights["user_id"], rights["follows"]) == ("ada", "user:ada, circle:7")
    assert rights["publishes"] == "nothing, without the scope publish"
    assert text.rpartition(".")[2] not in json.dumps(found)


async def test_a_refused_token_is_explained(gate: RunningGateway) -> None:
    claims = {
        "iss": "gathering-gateway",
        "aud": "other",
        "sub": "ada",
        "tenant": "acme",
        "jti": "x",
        "iat": 1,
        "exp": 2,
    }
    found = await inspected(gate, jwt.encode(claims, SECRET, "HS256", {"typ": "at+jwt"}))
    assert (found["accepted"], found["reason"], found["rights"]) == (False, "audience", None)
    assert "GATEWAY_JWT_AUDIENCE" in found["explanation"]


async def test_a_revoked_token_is_said_to_be_revoked(gate: RunningGateway) -> None:
    text = gate.token("ada")
    await gate.service.gateway.administration.revoke_user("acme", "ada")
    found = await inspected(gate, text)
    assert (found["accepted"], found["reason"]) == (False, "token_revoked")


async def test_a_token_of_another_tenant_is_for_its_administrator(gate: RunningGateway) -> None:
    text = gate.token("eve", tenant="globex")
    found = await inspected(gate, text)
    assert (found["accepted"], found["reason"], found["rights"]) == (False, "other_tenant", None)
    found = await inspected(gate, text, gate.token("op", tenant="ops", scope=PLATFORM))
    assert (found["accepted"], found["rights"]["tenant"]) == (True, "globex")


@pytest.mark.parametrize(
    "claims",
    [
        '{"sub": "\\ud800"}',
        '{"\\ud800": 1}',
        f'{{"a": {"[" * 400}{"]" * 400}}}',
        f'{{"a": 1{"0" * 900}}}',
        '{"a": 1e999}',
    ],
    ids=["surrogate", "surrogate name", "nested", "number", "infinity"],
)
async def test_hostile_claims_are_answered(gate: RunningGateway, claims: str) -> None:
    parts = [base64url.encode(part.encode()) for part in ('{"alg": "HS256", "typ": "at+jwt"}', claims)]
    found = await inspected(gate, ".".join([*parts, "AAAA"]))
    assert found["accepted"] is False


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/admin/audit"), ("GET", "/admin/configuration"), ("POST", "/admin/tokens/inspect")]
)
async def test_others_are_refused(gate: RunningGateway, method: str, path: str) -> None:
    async with http(gate, gate.token()) as api:
        assert_problem(await api.request(method, path, json={"token": "x"}), 403, "scope_missing")
    async with http(gate) as api:
        assert_problem(await api.request(method, path, json={"token": "x"}), 401, "token_missing")
