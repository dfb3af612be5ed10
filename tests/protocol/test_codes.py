"""Every error code and every close code can be met, and each by what it is meant for."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from gateway.engine.gateway import Gateway
from schemas.codes import CloseCode, ErrorCode
from tests.support.clients import Client, fence, http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.logs import FailingLog
from tests.support.pauses import PATIENCE
from tests.support.settings import settings_for

EVENT: dict[str, Any] = {"type": "task.created", "data": {}, "circle_id": 1}


def asking(**command: Any) -> Callable[[RunningGateway], Awaitable[str]]:
    """Ask this of the gateway over a WebSocket; the code of its error."""

    async def ask(gate: RunningGateway) -> str:
        async with gate.client() as client:
            return str((await client.ask(**command))["data"]["code"])

    return ask


async def too_many_rooms(gate: RunningGateway) -> str:
    return await asking(type="subscribe", rooms=[f"circle:{n}" for n in range(101)])(gate)


async def message_too_large(gate: RunningGateway) -> str:
    async with http(gate, gate.token()) as api:
        return str((await api.post("/events", json={**EVENT, "data": {"x": "y" * 70_000}})).json()["code"])


async def rate_limited(gate: RunningGateway) -> str:
    async with gate.client() as client:
        for _ in range(41):
            await client.send(type="ping")
        return str([(await client.next())["data"].get("code") for _ in range(41)][-1])


def closing(query: Callable[[RunningGateway], str]) -> Callable[[RunningGateway], Awaitable[str]]:
    """Connect with this query; the reason with which the server closes."""

    async def code(gate: RunningGateway) -> str:
        async with connect(f"{gate.ws_url}{query(gate)}") as websocket:
            return (await Client(websocket).closed())[1]

    return code


async def token_revoked(gate: RunningGateway) -> str:
    token = gate.token()
    await gate.service.gateway.administration.revoke_user("acme", "ada")
    return await closing(lambda gate: f"?token={token}")(gate)


async def token_mismatch(gate: RunningGateway) -> str:
    return await asking(type="auth", token=gate.token("bob"))(gate)


async def idempotency_conflict(gate: RunningGateway) -> str:
    first = {**EVENT, "data": {"other": 1}, "idempotency_key": "k"}
    async with gate.client() as client:
        assert (await client.ask(type="publish", event=first))["type"] == "published"
    return await asking(type="publish", event={**EVENT, "idempotency_key": "k"})(gate)


async def broker_unavailable(gate: RunningGateway) -> str:
    async with running(service=service_with(log=FailingLog())) as broken:
        return await asking(type="publish", event=EVENT)(broken)


async def not_found(gate: RunningGateway) -> str:
    async with http(gate, gate.token(scope="admin")) as api:
        return str((await api.delete("/admin/connections/x")).json()["code"])


async def internal_error(gate: RunningGateway) -> str:
    async with (
        running(service=service_with(log=FailingLog(RuntimeError("a fault")))) as faulty,
        gate.client() as client,
    ):
        async with http(faulty, faulty.token()) as api:
            over_http = (await api.post("/events", json=EVENT)).json()["code"]
        async with faulty.client() as client:
            assert (await client.ask(type="publish", event=EVENT))["data"]["code"] == over_http
            await fence(client)
    return str(over_http)


async def contract_violation(gate: RunningGateway) -> str:
    async with running(settings_for(contract="tests.support.contracts:MODELS")) as strict:
        return await asking(type="publish", event={**EVENT, "type": "task.completed"})(strict)


ERRORS: dict[ErrorCode, Callable[[RunningGateway], Awaitable[str]]] = {
    ErrorCode.BAD_MESSAGE: asking(type="unsubscribe", rooms=["circle:1"], unknown=1),
    ErrorCode.UNKNOWN_TYPE: asking(type="nonsense"),
    ErrorCode.MESSAGE_TOO_LARGE: message_too_large,
    ErrorCode.ROOM_INVALID: asking(type="subscribe", rooms=["nothing"]),
    ErrorCode.ROOM_FORBIDDEN: asking(type="subscribe", rooms=["user:bob"]),
    ErrorCode.SCOPE_MISSING: asking(type="publish", event={**EVENT, "tenant": "globex"}),
    ErrorCode.NOT_SUBSCRIBED: asking(type="unsubscribe", rooms=["circle:1"]),
    ErrorCode.TOO_MANY_ROOMS: too_many_rooms,
    ErrorCode.RATE_LIMITED: rate_limited,
    ErrorCode.TOKEN_MISSING: closing(lambda gate: ""),
    ErrorCode.TOKEN_INVALID: closing(lambda gate: "?token=nonsense"),
    ErrorCode.TOKEN_EXPIRED: closing(lambda gate: f"?token={gate.token(now=gate.service.gateway.clock() - 700)}"),
    ErrorCode.TOKEN_REVOKED: token_revoked,
    ErrorCode.TOKEN_MISMATCH: token_mismatch,
    ErrorCode.CURSOR_INVALID: asking(type="subscribe", rooms=["circle:1"], since="evt_nonsense"),
    ErrorCode.IDEMPOTENCY_CONFLICT: idempotency_conflict,
    ErrorCode.BROKER_UNAVAILABLE: broker_unavailable,
    ErrorCode.NOT_FOUND: not_found,
    ErrorCode.INTERNAL_ERROR: internal_error,
    ErrorCode.CONTRACT_VIOLATION: contract_violation,
}
WIRE_CODES = [
    *("bad_message", "unknown_type", "message_too_large", "room_invalid", "room_forbidden", "scope_missing"),
    *("not_subscribed", "too_many_rooms", "rate_limited", "token_missing", "token_invalid", "token_expired"),
    *("token_revoked", "token_mismatch", "cursor_invalid", "idempotency_conflict", "broker_unavailable", "not_found"),
    *("internal_error", "contract_violation"),
]


def test_the_codes_are_those_of_the_protocol() -> None:
    """No word more, none less, and the table below meets each of them."""
    assert sorted(ErrorCode) == sorted(WIRE_CODES)
    assert set(ERRORS) == set(ErrorCode)
    assert sorted(CloseCode) == [1009, 1011, 1012, 1013, 4400, 4401, 4403, 4408, 4409, 4429]


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_each_error_code_can_be_met(gate: RunningGateway, code: ErrorCode) -> None:
    """Over a real socket."""
    assert await ERRORS[code](gate) == code


# ---- close codes that no other test of the wire meets


async def test_an_internal_error_closes_one_connection_with_1011(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on, and the close has no details of the fault."""
    receive = Gateway.receive

    def fail(self: Gateway, connection: Any, text: str) -> None:
        if "poison" in text:
            raise RuntimeError("the canary of the fault")
        receive(self, connection, text)

    monkeypatch.setattr(Gateway, "receive", fail)
    async with gate.client() as client, gate.client() as spared:
        await client.websocket.send(json.dumps({"type": "poison"}))
        assert await client.closed() == (1011, "internal_error")
        await fence(spared)
        assert len(list(gate.service.manager.connections())) == 1


async def test_a_restart_closes_with_1012() -> None:
    """Every client gets the code for reconnecting."""
    async with running() as gate, gate.client() as client:
        await gate.service.gateway.stop()
        assert (await client.closed())[0] == 1012
    async with running() as gate:
        async with connect(f"{gate.ws_url}?token={gate.token()}") as websocket:
            await websocket.recv()
            stopping = Client(websocket)
            # Leaving the block stops the server.
            gate.service.gateway.connections.close(
                next(iter(gate.service.manager.connections())), CloseCode.SERVICE_RESTART, "restart"
            )
            assert (await stopping.closed())[0] == 1012


async def test_a_slow_consumer_is_aborted_and_delays_no_other_client() -> None:
    """Its place is free after the configured time, whether the close code (4408) still gets through to it or not; the
    others hear everything meanwhile."""
    async with running(settings_for(stall_seconds=0.2)) as gate, gate.client(query="&rooms=circle:1") as reader:
        await reader.next("subscribed")
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        small.connect(("127.0.0.1", gate.port))
        url = f"{gate.ws_url}?token={gate.token('bob')}&rooms=circle:1"
        async with connect(url, sock=small, max_queue=1, compression=None, ping_interval=None) as stuck:
            await stuck.recv()
            stuck.transport.pause_reading()
            # More than the kernel holds for it (4 MiB to send) and the gateway's buffer.
            sent = [await gate.publish(circle_id=1, data={"x": "y" * 60_000}) for _ in range(100)]
            assert [(await reader.next("task.completed"))["event_id"] for _ in sent] == sent
            async with asyncio.timeout(PATIENCE):
                while gate.service.manager.get_client_count() > 1:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.02)
            stuck.transport.abort()
        await gate.publish(circle_id=1)
        await reader.next("task.completed")
