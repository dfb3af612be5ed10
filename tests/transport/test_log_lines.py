"""One log line for each refusal, forced close and gap, with who and why; none for an ordinary life. Both transports."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support import forge
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.raw_client import handshake
from tests.support.settings import settings_for


@pytest.fixture(params=[False, True], ids=["uvicorn", "ASGI"])
def stock(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(autouse=True)
def _from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")


FIELDS = ("event", "connection_id", "tenant", "user_id", "address", "reason", "detail", "code", "origin", "room")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each log event so far."""
    events = [record for record in caplog.records if hasattr(record, "event")]
    return [{name: getattr(record, name) for name in FIELDS if hasattr(record, name)} for record in events]


async def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The only log event, once it is there."""
    await until(lambda: lines(caplog))
    (found,) = lines(caplog)
    return found


def of(client: Client, **more: Any) -> dict[str, Any]:
    """The fields of a connection in a log line."""
    data = client.established["data"]
    who = {"connection_id": data["connection_id"], "tenant": data["tenant"], "user_id": data["user_id"]}
    return {**who, "address": "127.0.0.1", **more}


async def refused(gate: RunningGateway, query: str, **options: Any) -> None:
    async with connect(f"{gate.ws_url}{query}", compression=None, **options) as websocket:
        await websocket.wait_closed()


# ---- refusals

REVOKED = {"tenant": "acme", "user_id": "ada"}
TOKENS = {
    "none": ("", {"reason": "token_missing", "code": 4401}),
    "no token": ("?token=nonsense", {"reason": "token_invalid", "detail": "shape", "code": 4401}),
    "forged": ("?token={forged}", {"reason": "token_invalid", "detail": "signature", "code": 4401}),
    "expired": ("?token={expired}", {"reason": "token_expired", "code": 4401}),
    "revoked": ("?token={revoked}", {"reason": "token_revoked", "code": 4401, **REVOKED}),
    "ticket": (f"?ticket={'A' * 32}", {"reason": "token_invalid", "detail": "ticket", "code": 4401}),
    "two": ("?token={good}&token={other}", {"reason": "token_invalid", "code": 4401}),
    "label": ("?token={good}&client_id=%00", {"reason": "bad_message", "code": 4400}),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_refused_client_is_logged_with_the_reason(
    name: str, stock: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is in the log only: the close has only the code."""
    query, expected = TOKENS[name]
    async with running(settings_for(), stock=stock) as gate:
        good = gate.token()
        tokens = {
            "good": good,
            "other": gate.token("bob"),
            "forged": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
            "expired": gate.token(now=1_000_000_000),
            "revoked": gate.token(),
        }
        if name == "revoked":
            await gate.service.gateway.administration.revoke_user("acme", "ada")
        await refused(gate, query.format(**tokens))
        found = await line(caplog)
    assert {key: found.get(key) for key in expected} == expected
    assert (found["event"], found["address"]) == ("connection.refused", "127.0.0.1")
    assert not any(token in caplog.text for token in tokens.values())


async def test_a_limit_of_connections_is_logged_with_the_one_who_met_it(
    stock: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Tenant and user where they are known by then."""
    async with running(settings_for(max_connections_per_user=1, max_connections_per_address=2), stock=stock) as gate:
        async with gate.client():
            await refused(gate, f"?token={gate.token()}")
            async with gate.client(gate.token("bob")):
                await refused(gate, f"?token={gate.token('eve')}")
        user, address = lines(caplog)
    assert (user["reason"], user["code"], user["user_id"], user["tenant"]) == ("rate_limited", 4409, "ada", "acme")
    assert user["detail"] == "at most 1 connections of one user"
    assert (address["code"], address["detail"]) == (1013, "at most 2 connections from one address")
    assert "user_id" not in address


async def test_a_refused_origin_is_logged(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """With the origin, which is what the operator has to compare."""
    async with running(settings_for(allowed_origins=("https://app.example.com",)), stock=stock) as gate:
        with pytest.raises(InvalidStatus):
            await refused(gate, f"?token={gate.token()}", origin="https://other.example.com")
        found = await line(caplog)
    assert found == {
        "event": "connection.refused",
        "address": "127.0.0.1",
        "reason": "origin",
        "origin": "https://other.example.com",
        "code": 403,
    }


async def test_an_invalid_handshake_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Where the gateway's own transport judges it."""
    async with running(settings_for()) as gate:
        for request in (handshake("/ws/dashboard", without=["sec-websocket-version"]), handshake(f"/{'x' * 9_000}")):
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(request)
            await reader.read()
            writer.close()
        malformed, long = lines(caplog)
    assert (malformed["reason"], malformed["code"]) == ("malformed_handshake", 400)
    assert malformed["detail"] == "Sec-WebSocket-Version: 13 is needed"
    assert (long["reason"], long["code"]) == ("malformed_handshake", 431)


async def test_an_http_connection_that_is_ended_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A malformed request, and a handshake to nowhere."""
    async with running(settings_for()) as gate:
        for request in (
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n",
            handshake("/nowhere?token=secret"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(request)
            await reader.read()
            writer.close()
    nowhere, malformed, elsewhere = lines(caplog)
    assert (nowhere["event"], nowhere["reason"], nowhere["code"]) == ("request.refused", "not_found", 404)
    assert (malformed["event"], malformed["reason"], malformed["code"]) == ("http.ended", "malformed_request", 400)
    assert (elsewhere["event"], elsewhere["reason"], elsewhere["code"]) == ("connection.refused", "unknown_path", 404)


# ---- closes


async def test_a_client_that_misbehaves_is_logged(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Malformed commands, and too large ones."""
    async with running(settings_for(max_message_bytes=1_024), stock=stock) as gate:
        async with gate.client() as client:
            for _ in range(10):
                await client.websocket.send("{")
            assert (await client.closed())[0] == 4400
        async with gate.client() as large:
            await large.send(type="ping", id="x" * 1_100)
            assert (await large.closed())[0] == 1009
        await until(lambda: len(lines(caplog)) >= 12 - stock)
        *commands, malformed = lines(caplog)[:11]
        rest = lines(caplog)[11:]
    refused = of(client, event="command.refused", reason="bad_message", detail=commands[0]["detail"])
    assert commands == 10 * [refused]
    assert malformed == of(client, event="connection.closed", reason="bad_message", code=4400)
    if not stock:  # there uvicorn closes it before anything reaches the gateway
        assert [(found["event"], found["code"]) for found in rest] == [("connection.closed", 1009)]


async def test_a_client_that_sends_too_fast_is_logged_when_refused_and_when_closed(
    stock: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for the limit, and one for the end."""
    async with (
        running(settings_for(commands_per_second=0.01, command_burst=1), stock=stock) as gate,
        gate.client() as client,
    ):
        await client.ask(type="ping")
        assert (await client.ask(type="ping"))["data"]["code"] == "rate_limited"
        assert await line(caplog) == of(
            client, event="command.refused", reason="rate_limited", detail="at most 0.01 commands a second"
        )
        for _ in range(3):
            await client.send(type="ping")
        assert (await client.closed())[0] == 4429
        assert of(client, event="connection.closed", reason="rate_limited", code=4429) in lines(caplog)


async def test_a_token_that_ends_is_logged(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Expired, revoked, and by an administrator's hand."""
    async with running(settings_for(), stock=stock) as gate:
        async with gate.client() as expiring:
            gate.later(600)
            assert await expiring.closed() == (4401, "token_expired")
        async with gate.client(gate.token("bob")) as revoked:
            await gate.service.gateway.administration.revoke_user("acme", "bob")
            assert await revoked.closed() == (4401, "token_revoked")
        async with gate.client(gate.token("eve")) as closed:
            data = closed.established["data"]
            await gate.service.gateway.administration.close_connection("acme", data["connection_id"])
            assert (await closed.closed())[0] == 4403
        found = lines(caplog)
    assert found == [
        of(expiring, event="connection.closed", reason="token_expired", code=4401),
        of(revoked, event="connection.closed", reason="token_revoked", code=4401),
        of(closed, event="connection.closed", reason="closed by an administrator", code=4403),
    ]


async def test_a_room_that_is_taken_away_is_logged(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """With the room and what took it."""
    async with running(settings_for(), stock=stock) as gate, gate.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        await gate.service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
        assert await line(caplog) == of(
            client, event="subscription.revoked", reason="circle.member.removed", room="circle:7"
        )


@asynccontextmanager
async def stuck(gate: RunningGateway) -> AsyncIterator[socket.socket]:
    """A client that reads nothing."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    small.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(small, ("127.0.0.1", gate.port))
    await loop.sock_sendall(small, handshake(f"/ws/dashboard?token={gate.token()}&rooms=circle:1"))
    await until(lambda: gate.service.gateway.manager.of("acme").rooms.get("circle:1"))
    yield small
    small.close()


async def test_a_slow_consumer_is_logged(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A slow consumer reads nothing while data waits for it."""
    async with running(settings_for(stall_seconds=0.3), stock=stock) as gate, stuck(gate):
        (connection,) = gate.service.gateway.manager.connections()
        for _ in range(150):
            await gate.service.gateway.publish("acme", "task.created", {"x": "y" * 60_000}, circle_id=1)
        await until(lambda: not list(gate.service.gateway.manager.connections()))
        found = await line(caplog)
    assert found == {
        "event": "connection.closed",
        "connection_id": connection.id,
        "tenant": "acme",
        "user_id": "ada",
        "address": "127.0.0.1",
        "reason": "slow_consumer",
        "code": 4408,
    }


async def test_a_client_that_answers_no_ping_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Where the gateway's own transport sends them."""
    async with running(settings_for(ping_interval=0.5)) as gate, stuck(gate):
        (connection,) = gate.service.gateway.manager.connections()
        found = await line(caplog)
    assert (found["connection_id"], found["reason"]) == (connection.id, "keepalive_timeout")
    assert "code" not in found


async def test_a_connection_that_fails_is_logged_with_its_traceback(
    stock: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error, and the connection that it ended."""
    async with running(settings_for(), stock=stock) as gate, gate.client() as client:
        connections = gate.service.gateway.connections
        (connection,) = gate.service.gateway.manager.connections()
        connections.fail(connection, RuntimeError("a fault"))
        assert await client.closed() == (1011, "internal_error")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert lines(caplog) == [of(client, event="connection.failed", reason="internal_error", code=1011)]


# ---- gaps


async def test_a_gap_is_logged(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A resume without recovery, and a new epoch of the log."""
    async with running(settings_for(log_max_events=5), stock=stock) as gate:
        publish = gate.service.gateway.publish
        first = (await publish("acme", "task.created", {}, circle_id=1)).event_id
        for _ in range(10):
            await publish("acme", "task.created", {}, circle_id=1)
        async with gate.client(query=f"&rooms=circle:1&since={first}") as client:
            assert (await client.next("subscribed"))["data"]["recovered"] is False
            assert await line(caplog) == of(client, event="stream.gap", reason="not_recovered")
            caplog.clear()
            gate.service.gateway.log_status.on_reset("acme")
            assert await line(caplog) == of(client, event="stream.gap", reason="log_reset")
    assert {record.levelname for record in caplog.records if hasattr(record, "event")} == {"WARNING"}


# ---- commands

COMMANDS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"type": "subscribe", "rooms": ["user:bob"]}, {"reason": "room_forbidden"}),
    ({"type": "publish", "event": {"type": "a", "data": {}, "user_id": "bob"}}, {"reason": "room_forbidden"}),
    ({"type": "auth", "token": forge.forge()}, {"reason": "token_invalid", "detail": "key_unknown"}),
]


@pytest.mark.parametrize(("command", "expected"), COMMANDS, ids=[command["type"] for command, _ in COMMANDS])
async def test_a_command_that_the_token_does_not_allow_is_logged(
    command: dict[str, Any], expected: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """With the same words as for a client that is not let in."""
    async with running(settings_for()) as gate, gate.client() as client:
        assert (await client.ask(**command))["type"] == "error"
        found = await line(caplog)
    assert found["event"] == "command.refused"
    assert {key: found[key] for key in expected} == expected


async def test_an_ordinary_life_is_silent(stock: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Connecting, subscribing, events, leaving; and being sent away by the server's end."""
    async with running(settings_for(), stock=stock) as gate, gate.client(gate.token("bob")) as staying:
        async with gate.client(query="&rooms=circle:1") as client:
            await client.next("subscribed")
            await gate.service.gateway.publish("acme", "task.created", {}, circle_id=1)
            await client.next("task.created")
        await until(lambda: len(list(gate.service.gateway.manager.connections())) == 1)
        await gate.service.gateway.drain.run(0.1)
        assert (await staying.closed())[0] == 1012
    assert lines(caplog) == []
