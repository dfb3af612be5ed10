"""Mistakes of callers: the answer says what is wrong and what to do, and the operator's log has the same line."""

import asyncio
import json
import logging
from typing import Any, Final

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.transports.uvicorn.http_h11 import GuardedH11
from gateway.transports.uvicorn.http_httptools import GuardedHttpTools
from tests.support.clients import http
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.settings import settings_for

GOOD: Final = {"type": "task.completed", "data": {}, "circle_id": 7}

EVENTS: Final[list[tuple[dict[str, Any], int, str]]] = [
    ({"circle_id": [7]}, 422, "circle_id: must be an integer or a string"),
    ({"circle_id": 7.5}, 422, "circle_id: must be an integer or a string"),
    ({"source_agent_id": ""}, 422, "source_agent_id: must be an integer or a string of 1 to 128 characters"),
    ({"circle_id": "circle:7"}, 422, "circle_id: not valid in a room name; a room is circle:<id>, "),
    ({"room": "circle:7"}, 422, "room: unknown field; correct its name, or leave it out"),
    ({"type": "TaskDone"}, 422, "type: an event type is lower-case words joined by dots, at most 64 characters"),
    ({"data": [1]}, 422, "data: must be a JSON object"),
    ({"data": None}, 422, "data: must be a JSON object"),
    ({"version": 0}, 422, "version: must be greater than or equal to 1"),
    ({"data": {"text": "x" * 70_000}}, 413, "an event has at most 65536 bytes, its event_id and timestamp included"),
    ({"tenant": "globex"}, 403, "an event for another tenant than the token's needs a token with the scope platform"),
    (
        {"type": "circle.member.removed", "data": {"user_id": "bob"}},
        403,
        "an event that removes a member needs a token with the scope admin",
    ),
    ({"circle_id": 8}, 403, "the token grants circle:7; asked circle:8"),
    (
        {"circle_id": None},
        403,
        "the token grants circle:7; asked tenant, where an event goes that has no id of a room: give it one",
    ),
]
"""Changes of a good event, with the answer."""

REQUESTS: Final[list[tuple[str, str, dict[str, Any], int, str]]] = [
    ("POST", "/events", {"content": b""}, 422, "body: is missing"),
    ("POST", "/events", {"content": b"{'a'}"}, 400, "the body is not valid JSON (RFC 8259)"),
    ("POST", "/events", {"json": [GOOD]}, 422, "body: must be a JSON object"),
    ("POST", "/events", {"json": {"type": "a"}}, 422, "data: is missing"),
    (
        "POST",
        "/events",
        {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
        415,
        "Content-Type: send the body as application/json",
    ),
    ("POST", "/events", {"json": GOOD, "headers": {"Authorization": "Token x"}}, 401, "a token is needed, as Auth"),
    ("GET", "/events", {}, 405, "this path takes POST"),
    (
        "POST",
        "/publish",
        {"json": GOOD},
        404,
        "nothing is here; publish to /events, connect a WebSocket to /ws/dashboard, see /docs",
    ),
]


@pytest.fixture(autouse=True)
def _from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines of refusals so far."""
    kinds = ("request.refused", "command.refused", "connection.refused", "http.ended")
    return [record.getMessage() for record in caplog.records if getattr(record, "event", None) in kinds]


def shown(text: str) -> str:
    """A part of a field of a log line as it is written there."""
    return json.dumps(text)[1:-1]


async def test_a_mistake_in_an_event_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Published by itself, in a batch, and by a command."""
    async with running(settings_for(command_burst=100)) as gate, http(gate, token_of(gate)) as api:
        for change, status, message in EVENTS:
            event = {**GOOD, **change}
            caplog.clear()
            alone = await api.post("/events", json=event)
            assert (alone.status_code, alone.json()["detail"][: len(message)]) == (status, message)
            batch = await api.post("/events/batch", json={"events": [event]})
            assert batch.json()["results"][0]["error"]["message"].startswith(message)
            assert [line.partition(" path=")[2] for line in lines(caplog)] == ["/events", "/events/batch"]
            assert all(shown(message) in line for line in lines(caplog)), lines(caplog)
        caplog.clear()
        async with gate.client(token_of(gate)) as client:
            for change, status, message in EVENTS:
                if status == 413:
                    continue  # a frame of that size closes the connection
                reply = await client.ask(type="publish", event={**GOOD, **change})
                assert message in reply["data"]["message"]
                assert shown(message) in lines(caplog)[-1]


async def test_a_mistake_in_a_request_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with running(settings_for()) as gate, http(gate, token_of(gate)) as api:
        for method, path, options, status, message in REQUESTS:
            caplog.clear()
            headers = {"Content-Type": "application/json", **options.get("headers", {})}
            answer = await api.request(method, path, **{**options, "headers": headers})
            detail = answer.json()["detail"]
            assert (answer.status_code, message in detail) == (status, True), detail
            (line,) = lines(caplog)
            assert f" code={status} method={method} path={path}" in line
            assert shown(message.partition(", as Auth")[0]) in line


async def test_a_wrong_token_says_where_the_reason_is(caplog: pytest.LogCaptureFixture) -> None:
    async with running(settings_for()) as gate, http(gate, "nonsense") as api:
        detail = (await api.post("/events", json=GOOD)).json()["detail"]
    assert detail == "the token is not valid here; the gateway's log says why, and `gateway token inspect`"
    assert " reason=token_invalid detail=shape code=401 " in lines(caplog)[0]


async def test_a_wrong_name_of_a_room_is_quoted(gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    async with gate.client() as client:
        for room, message in (
            ("circle 7\n", "'circle 7\\n' is not a room: a room is circle:<id>, "),
            (
                "circle:*",
                "circle:* is a pattern, as only tokens have; name single rooms, or * for ",
            ),
        ):
            reply = await client.ask(type="subscribe", rooms=[room])
            assert reply["data"]["message"].startswith(message)
            assert shown(message) in lines(caplog)[-1]


async def test_a_wrong_path_of_a_websocket_is_in_the_log(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """With what would be right in the answer, and without the query."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{gate.port}/ws?token=secret"):
            pass
    assert b"no WebSocket is served at this path; connect to /ws/dashboard" in refused.value.response.body
    (line,) = lines(caplog)
    assert "reason=unknown_path path=/ws code=404" in line


@pytest.mark.parametrize("protocol", [GuardedHttpTools, GuardedH11])
async def test_tls_on_a_plain_port_is_named(protocol: type[Any], caplog: pytest.LogCaptureFixture) -> None:
    """`https://` or `wss://` in place of `http://` or `ws://`."""
    async with running(settings_for(), http=protocol) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + bytes(200))
        answer = await reader.read()
        writer.close()
        await until(lambda: lines(caplog))
    message = "a TLS handshake on a port of plain HTTP: use http:// or ws://, or the proxy that ends TLS"
    assert message.encode() in answer
    assert message in lines(caplog)[0]


def token_of(gate: RunningGateway) -> str:
    return gate.token(rooms=["circle:7"], scope="subscribe publish")
