"""The log lines of the HTTP API: a line for each refused request, and the audit trail of administrators."""

import logging
from typing import Any

import pytest

from tests.support.clients import http
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import settings_for

ADMIN = "subscribe publish admin"


@pytest.fixture(autouse=True)
def _from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a log event."""
    plain = logging.makeLogRecord({})
    return {name: value for name, value in vars(record).items() if name not in vars(plain) and name != "message"}


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, Any]]:
    return [fields(record) for record in caplog.records if record.name == logger]


async def test_a_refused_token_is_logged_with_the_reason(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The line is the same for any route, with the user where the token was valid once."""
    good, event = gate.token(), {"type": "a", "data": {}, "circle_id": 1}
    async with http(gate) as client:
        assert (await client.post("/events", json=event)).status_code == 401
        forged = {"Authorization": f"Bearer {good[:-4]}AAAA"}
        assert (await client.post("/events/batch", json={"events": []}, headers=forged)).status_code == 401
        assert (await client.get("/rooms/circle:1/presence", headers=forged)).status_code == 401
        await gate.service.gateway.administration.revoke_user("acme", "ada")
        revoked = {"Authorization": f"Bearer {good}"}
        assert (await client.delete("/admin/connections/con_x", headers=revoked)).status_code == 401
    found = lines(caplog, "gateway.request")
    common = {"event": "request.refused", "address": "127.0.0.1", "code": 401}
    invalid = {**common, "reason": "token_invalid", "detail": "signature"}
    assert [{**line, "detail": line["detail"]} for line in found] == [
        {**common, "reason": "token_missing", "detail": found[0]["detail"], "method": "POST", "path": "/events"},
        {**invalid, "method": "POST", "path": "/events/batch"},
        {**invalid, "method": "GET", "path": "/rooms/{room}/presence"},
        {
            **common,
            **{"tenant": "acme", "user_id": "ada", "reason": "token_revoked", "detail": "the token has been revoked"},
            **{"method": "DELETE", "path": "/admin/connections/{id}"},
        },
    ]
    assert good[-40:-4] not in caplog.text


async def test_a_request_beyond_the_grants_or_the_rate_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the holder of the token; and what is wrong with an event."""
    async with running(settings_for(tokens_per_minute=1, trusted_proxies=("127.0.0.1",))) as gate:
        async with http(gate, gate.token()) as client:
            client.headers["X-Forwarded-For"] = "192.0.2.7"
            assert (await client.post("/events", json={"type": "a", "data": {}, "user_id": "bob"})).status_code == 403
            assert (await client.get("/admin/stats")).status_code == 403
            assert (await client.post("/events", json={"type": "A", "data": {}})).status_code == 422
            assert (await client.post("/events", json={"type": "a", "data": {}, "circle_id": 1})).status_code == 202
        async with http(gate, gate.token("root", scope=ADMIN)) as client:
            body = {"user_id": "bob", "rooms": []}
            assert (await client.post("/admin/tokens", json=body)).status_code == 201
            assert (await client.post("/admin/tokens", json=body)).status_code == 429
    room, scope, event, rate = lines(caplog, "gateway.request")
    assert (event["reason"], event["code"], event["path"]) == ("bad_message", 422, "/events")
    assert (room["reason"], room["code"], room["path"]) == ("room_forbidden", 403, "/events")
    assert (scope["reason"], scope["code"], scope["path"]) == ("scope_missing", 403, "/admin/stats")
    assert room["address"] == scope["address"] == "192.0.2.7"
    assert {line["user_id"] for line in (room, scope)} == {"ada"}
    expected = {"reason": "rate_limited", "code": 429, "user_id": "root", "tenant": "acme", "path": "/admin/tokens"}
    assert {name: rate[name] for name in expected} == expected
    assert rate["detail"] == "at most 1 per 1 minute"


async def test_a_refused_event_of_a_batch_is_logged(gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """The line is that of a single event: the answer to the batch is 202."""
    events = [{"type": "a", "data": {}, "circle_id": 1}, {"type": "a", "data": {}, "user_id": "bob"}, {"type": "A"}]
    async with http(gate, gate.token()) as client:
        assert (await client.post("/events/batch", json={"events": events})).status_code == 202
    found, mistake = lines(caplog, "gateway.request")
    assert (mistake["reason"], mistake["code"], mistake["path"]) == ("bad_message", 422, "/events/batch")
    expected = {"reason": "room_forbidden", "code": 403, "user_id": "ada", "path": "/events/batch", "method": "POST"}
    assert {name: found[name] for name in expected} == expected


# ---- the audit trail


async def test_acts_of_administrators_are_audited(gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the user, the token's id, the action and its target, and never a token."""
    token = gate.token("root", scope=ADMIN, rooms=["circle:*"])
    root = gate.service.gateway.connections.verify(token)
    async with gate.client(gate.token("eve")) as eve, http(gate, token) as client:
        body = {"user_id": "bob", "rooms": ["circle:7"], "scope": "subscribe", "expires_in": 60}
        issued = (await client.post("/admin/tokens", json=body)).json()
        for target in ({"jti": issued["jti"]}, {"user_id": "bob"}):
            assert (await client.post("/admin/tokens/revoke", json=target)).status_code == 200
        id = eve.established["data"]["connection_id"]
        assert (await client.delete(f"/admin/connections/{id}")).status_code == 204
        assert (await client.post("/admin/tokens/revoke", json={"tenant": "acme"})).status_code == 200
    found = lines(caplog, "gateway.audit")
    by = {"by_user_id": "root", "by_tenant": "acme", "by_jti": root.token_id, "address": "127.0.0.1", "tenant": "acme"}
    issue = {"jti": issued["jti"], "user_id": "bob", "rooms": "circle:7", "scope": "subscribe", "expires_in": 60}
    assert found == [
        {**by, "event": "token.issued", **issue},
        {**by, "event": "token.revoked", "jti": issued["jti"], "disconnected": 0},
        {**by, "event": "user.revoked", "user_id": "bob", "disconnected": 0},
        {**by, "event": "connection.closed_by_hand", "connection_id": id},
        {**by, "event": "tenant.revoked", "disconnected": 0},
    ]
    assert issued["access_token"] not in caplog.text


async def test_refused_acts_are_not_audited(gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """Refused for the scope, or without anything to close."""
    async with http(gate, gate.token()) as client:
        assert (await client.post("/admin/tokens", json={"user_id": "bob", "rooms": []})).status_code == 403
        assert (await client.post("/admin/tokens/revoke", json={"user_id": "bob"})).status_code == 403
    async with http(gate, gate.token("root", scope=ADMIN)) as client:
        assert (await client.delete("/admin/connections/con_x")).status_code == 404
        assert (await client.post("/admin/tokens", json={"user_id": "bob", "rooms": ["user:eve"]})).status_code == 403
    assert lines(caplog, "gateway.audit") == []


async def test_many_tokens_are_audited_each(gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """No limit of lines holds for them."""
    async with http(gate, gate.token("root", scope=ADMIN)) as client:
        for number in range(40):
            body = {"user_id": f"user{number}", "rooms": []}
            assert (await client.post("/admin/tokens", json=body)).status_code == 201
    assert [line["user_id"] for line in lines(caplog, "gateway.audit")] == [f"user{number}" for number in range(40)]
