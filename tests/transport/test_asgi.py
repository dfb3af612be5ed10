"""The messages on ASGI's `send`, and the end of a connection by cancellation."""

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.api import create_app, create_service
from gateway.core.connect_request import ConnectRequest
from gateway.core.credentials import Secrets
from gateway.testing import RecordingHost
from gateway.transports.asgi import AsgiTransport, SendRefused, serve
from schemas.codes import CloseCode, ErrorCode
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until
from tests.support.settings import settings_for


class Sent(list[dict[str, Any]]):
    """An ASGI `send` that keeps the messages."""

    async def __call__(self, message: Any) -> None:
        self.append(message)


@pytest.mark.parametrize("code", list(CloseCode))
async def test_a_close_is_a_plain_int_and_a_plain_str(code: CloseCode) -> None:
    """The ASGI specification names the types; autobahn, which Daphne stands on, refuses an enum's."""
    for reason in ErrorCode:
        sent = Sent()
        AsgiTransport(sent, 5.0).close(code, reason)
        await asyncio.sleep(0)
        assert sent == [{"type": "websocket.close", "code": int(code), "reason": reason.value}]
        assert [type(sent[0][name]) for name in ("code", "reason")] == [int, str]


async def test_a_reason_fits_into_a_control_frame() -> None:
    """At most 123 bytes of UTF-8 (RFC 6455 section 5.5), no character cut in half."""
    sent = Sent()
    AsgiTransport(sent, 5.0).close(1013, "ü" * 100)
    await asyncio.sleep(0)
    assert sent[0]["reason"] == "ü" * 61


def test_a_session_of_the_test_client_ends_without_an_exception() -> None:
    """Starlette's TestClient cancels the application as soon as it has sent `websocket.disconnect`: whichever comes
    first, leaving the block raises nothing and nothing stays behind."""
    service = create_service(settings_for())
    token = RunningGateway(service, 0).token()
    with TestClient(create_app(service)) as client:
        for _ in range(50):
            with client.websocket_connect(f"/ws/dashboard?token={token}") as session:
                assert session.receive_json()["type"] == "connection.established"
                session.send_json({"type": "ping"})
                assert session.receive_json()["type"] == "pong"
        for _ in range(20):
            with client.websocket_connect("/ws/dashboard?token=bad") as session:
                assert session.receive() == {"type": "websocket.close", "code": 4401, "reason": "token_invalid"}
        assert list(service.manager.connections()) == []


class Fussy(Sent):
    """An ASGI `send` of a server that does not close with codes below 3000, as autobahn does not."""

    async def __call__(self, message: Any) -> None:
        if message.get("code", 3_000) < 3_000:
            raise ValueError("invalid close code")
        self.append(message)


async def test_a_close_that_the_server_refuses_does_not_leave_the_connection_open() -> None:
    """The application raises, for which every server ends a connection; the host is called at once."""
    host = RecordingHost()
    transport = AsgiTransport(Fussy(), 5.0)
    connection = host.connect(ConnectRequest(Secrets(), None, (), None, None, "1.2.3.4"), transport)
    serving = asyncio.create_task(serve(host, connection, transport, asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    transport.close(1013, "full")
    await until(lambda: host.gone == [connection])
    with pytest.raises(SendRefused) as failure:
        await serving
    assert str(failure.value.__cause__) == "invalid close code"


async def test_a_client_that_has_gone_is_no_failure() -> None:
    """A server may say so by an exception of `send` before `receive` does."""
    host = RecordingHost()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    transport = AsgiTransport(Fussy(), 5.0)
    connection = host.connect(ConnectRequest(Secrets(), None, (), None, None, "1.2.3.4"), transport)
    serving = asyncio.create_task(serve(host, connection, transport, receive))
    transport.close(1013, "full")
    await until(lambda: host.gone == [connection])
    left.set()
    await serving
