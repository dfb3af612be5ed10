"""Both transports behave alike: that of `gateway serve`, and that for any server, here uvicorn's own WebSockets."""

import asyncio
import json
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.server.run import listen
from gateway.service.config import ConfigError
from gateway.transports.asgi import AsgiTransport
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.certificates import certificate
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import PATIENCE
from tests.support.raw_client import handshake, raw
from tests.support.settings import settings_for


@pytest.fixture(params=[False, True], ids=["SocketTransport", "AsgiTransport"])
def stock(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def transports(gate: RunningGateway) -> set[type]:
    return {type(connection.transport) for connection in gate.service.gateway.manager.connections()}


async def refusal(gate: RunningGateway, query: str, **options: Any) -> tuple[list[str], int, str]:
    """The codes of the errors that come, and the close code and reason."""
    async with connect(f"{gate.ws_url}{query}", compression=None, **options) as websocket:
        codes = []
        with suppress(ConnectionClosed):
            while True:
                codes.append(json.loads(await websocket.recv())["data"]["code"])
    assert websocket.close_code is not None
    return codes, websocket.close_code, websocket.close_reason or ""


async def test_each_is_what_it_says(stock: bool) -> None:
    """The fixture does serve with two transports."""
    async with running(settings_for(), stock=stock) as gate, gate.client():
        assert transports(gate) == {AsgiTransport if stock else WebSocketTransport}


async def test_the_first_frame_tells_the_pings_that_come(stock: bool) -> None:
    """The interval of the gateway's own pings; null where the server sends them, since ASGI does not report them."""
    async with running(settings_for(ping_interval=7), stock=stock) as gate, gate.client() as client:
        assert client.established["data"]["ping_interval"] == (None if stock else 7)


async def test_refusals_are_accepted_and_then_closed_with_their_reason(stock: bool) -> None:
    """So that a browser can read it."""
    async with running(settings_for(), stock=stock) as gate:
        good = gate.token()
        assert await refusal(gate, "") == ([], 4401, "token_missing")
        assert await refusal(gate, "?token=bad") == ([], 4401, "token_invalid")
        assert await refusal(gate, f"?token={gate.token(now=1e9)}") == ([], 4401, "token_expired")
        assert await refusal(gate, f"?token={good}&token=other") == ([], 4401, "token_invalid")
        assert await refusal(gate, f"?token={good}&client_id=%00") == (["bad_message"], 4400, "bad_message")


async def test_limits_refuse_with_their_codes(stock: bool) -> None:
    """4409 for the user's, 1013 for the address's and the tenant's, 4429 for too many attempts."""
    for limit, code in (("user", 4409), ("address", 1013), ("tenant", 1013)):
        async with running(settings_for(**{f"max_connections_per_{limit}": 1}), stock=stock) as gate, gate.client():
            codes, closed, _ = await refusal(gate, f"?token={gate.token()}")
            assert (codes, closed) == (["rate_limited"], code), limit
    async with running(settings_for(handshakes_per_minute=2), stock=stock) as gate:
        async with gate.client(), gate.client():
            assert (await refusal(gate, f"?token={gate.token()}"))[1] == 4429


async def test_a_wrong_origin_is_403_before_anything_is_accepted(stock: bool) -> None:
    """The right origin is admitted, as is a client without one."""
    async with running(settings_for(allowed_origins="https://good.example"), stock=stock) as gate:
        async with gate.client(origin="https://good.example"), gate.client():
            pass
        with pytest.raises(InvalidStatus) as refused:
            async with gate.client(origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403


async def test_every_place_of_a_token_lets_in(stock: bool) -> None:
    """Header, subprotocol, query; the subprotocol that is answered is `gateway.v1` and never the token."""
    async with running(settings_for(), stock=stock) as gate:
        token = gate.token()
        bearer = {"additional_headers": {"Authorization": f"Bearer {token}"}}
        for url, options in (
            (gate.ws_url, bearer),
            (f"{gate.ws_url}?token={token}", bearer),
            (f"{gate.ws_url}?token={token}", {}),
            (gate.ws_url, {"subprotocols": ["gateway.v1", f"gateway.bearer.{token}"]}),
        ):
            async with connect(url, compression=None, **options) as websocket:
                await Client(websocket).next("connection.established")
                assert websocket.subprotocol == ("gateway.v1" if "subprotocols" in options else None)


async def test_a_star_joins_the_rooms_that_the_token_names(stock: bool) -> None:
    """Patterns are left out, other rooms may be asked for beside it, and `subscribed` lists what was joined."""
    async with running(settings_for(), stock=stock) as gate:
        token = gate.token(rooms=["circle:1", "project:*", "tenant"])
        for query, joined in (
            ("&rooms=*", ["circle:1", "tenant"]),
            ("&rooms=%2A,circle:1", ["circle:1", "tenant"]),
            ("&rooms=project:3&rooms=*", ["project:3", "circle:1", "tenant"]),
        ):
            async with gate.client(token, query) as client:
                assert client.established["data"]["subscribed"] == ["user:ada", *joined]
                assert (await client.next("subscribed"))["data"]["rooms"] == joined
                await gate.service.gateway.publish("acme", "a.b", {}, circle_id=1)
                await client.next("a.b")


async def test_only_trusted_proxies_tell_a_clients_address(stock: bool) -> None:
    """`X-Forwarded-For` of other clients is ignored; of a trusted proxy the last address counts that is not a
    proxy's."""
    headers = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9"}
    for proxies, address in (("", "127.0.0.1"), ("127.0.0.0/8", "9.9.9.9")):
        async with running(settings_for(trusted_proxies=proxies), stock=stock) as gate:
            async with gate.client(additional_headers=headers):
                (connection,) = gate.service.gateway.manager.connections()
                assert connection.address == address


async def test_messages_that_break_the_rules_are_closed_with_the_same_codes(stock: bool) -> None:
    """Too large 1009, malformed again and again 4400, over the rate again and again 4429, no UTF-8 1007."""
    async with running(settings_for(), stock=stock) as gate:
        async with gate.client() as client:
            await client.websocket.send("x" * 70_000)
            assert (await client.closed())[0] == 1009
        async with gate.client() as client:
            for _ in range(10):
                await client.websocket.send(b"binary")
            assert await client.closed() == (4400, "bad_message")
        async with gate.client(max_queue=None) as client:
            for _ in range(150):
                await client.send(type="ping")
            assert await client.closed() == (4429, "rate_limited")
        async with gate.client() as client:
            await client.websocket.send(b"\xff", text=True)
            assert (await client.closed())[0] == 1007


async def test_the_gateway_closes_with_the_code_that_it_means(stock: bool) -> None:
    """Behind the frames that were written before it."""
    async with running(settings_for(), stock=stock) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        (connection,) = gate.service.gateway.manager.connections()
        await gate.service.gateway.publish("acme", "a.b", {}, circle_id=1)
        await asyncio.sleep(0)
        gate.service.gateway.connections.close(connection, 4401, "token_revoked")  # type: ignore[arg-type]
        await gate.service.gateway.publish("acme", "a.b", {}, circle_id=1)
        await client.next("a.b")
        assert await client.closed() == (4401, "token_revoked")
        assert transports(gate) == set()


async def test_order_and_replies(stock: bool) -> None:
    """500 events in one turn, with commands between: all in order, each once."""
    async with running(settings_for(events_per_second=0, commands_per_second=0), stock=stock) as gate:
        async with gate.client(query="&rooms=circle:1") as client:
            await client.next("subscribed")
            ids = []
            for number in range(500):
                receipt = await gate.service.gateway.publish("acme", "a.b", {"n": number}, circle_id=1)
                ids.append(receipt.event_id)
                if number % 50 == 0:
                    await client.send(type="ping", id=number)
            frames = [await client.next() for _ in range(510)]
            assert [frame["event_id"] for frame in frames if frame["type"] == "a.b"] == ids
            assert [frame["id"] for frame in frames if frame["type"] == "pong"] == list(range(0, 500, 50))


async def test_a_shutdown_says_1012(stock: bool) -> None:
    """To every client that is there."""
    async with running(settings_for(), stock=stock) as gate:
        websocket = await connect(f"{gate.ws_url}?token={gate.token()}", compression=None)
        await Client(websocket).next("connection.established")
    assert websocket.close_code == 1012
    await websocket.close()


async def test_no_spelling_of_the_path_leads_around_the_guarded_transport() -> None:
    """`%64` is a `d`: what the application would route to the gateway is served by the transport that bounds floods."""
    async with running(settings_for()) as gate, raw(gate.port) as client:
        await client.send(handshake(f"/%77s/dashboar%64?token={gate.token()}"))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.message())["type"] == "connection.established"
        assert transports(gate) == {WebSocketTransport}


# ---- where the socket is of another kind


async def test_behind_a_proxy_on_a_unix_socket_the_address_is_the_clients(stock: bool, tmp_path: Path) -> None:
    """Where `unix:` is a trusted proxy: each client counts for itself. Else all of them are one."""
    path = str(tmp_path / "socket")
    for proxies, addresses in ((("unix:",), {"203.0.113.1", "203.0.113.2"}), (("127.0.0.0/8",), {"unix:"})):
        settings = settings_for(trusted_proxies=proxies, max_connections_per_address=1)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        async with running(settings, stock=stock, listener=listener) as gate, AsyncExitStack() as clients:
            for number in (1, 2):
                headers = {"X-Forwarded-For": f"203.0.113.{number}"}
                url = f"ws://gateway/ws/dashboard?token={gate.token()}"
                connection = unix_connect(path, url, additional_headers=headers, compression=None)
                await Client(await clients.enter_async_context(connection)).next()
            assert {connection.address for connection in gate.service.manager.connections()} == addresses
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)) as client:
                assert (await client.get("http://gateway/healthz")).status_code == 200
        (tmp_path / "socket").unlink()


async def test_over_ipv6_the_address_is_the_clients(stock: bool) -> None:
    """A peer's name has four parts there."""
    try:
        listener = listen(settings_for(host="::1"))
    except ConfigError:
        pytest.skip("no IPv6 here")
    async with running(settings_for(), stock=stock, listener=listener) as gate:
        url = f"ws://[::1]:{gate.port}/ws/dashboard?token={gate.token()}"
        async with connect(url, compression=None) as websocket:
            await Client(websocket).next("connection.established")
            (connection,) = gate.service.gateway.manager.connections()
            assert connection.address == "::1"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_over_tls_everything_holds(tmp_path: Path, loop: str) -> None:
    """Events in order, refusals with their codes, and a client that stops reading is gone in time."""
    key, cert = certificate(tmp_path)

    async def main() -> None:
        settings = settings_for(stall_seconds=0.5, events_per_second=0)
        options: dict[str, Any] = {"ssl_keyfile": str(key), "ssl_certfile": str(cert)}
        async with running(settings, **options) as gate:
            trust = ssl.create_default_context(cafile=str(cert))
            url = f"wss://localhost:{gate.port}/ws/dashboard"
            more: dict[str, Any] = {"ssl": trust, "compression": None, "host": "127.0.0.1"}
            async with connect(f"{url}?token=bad", **more) as websocket:
                assert (await Client(websocket).closed())[0] == 4401
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"{url}?token=bad", origin="https://evil.example", **more):  # type: ignore[arg-type]
                    pass
            assert refused.value.response.status_code == 403
            token = gate.token()
            async with connect(f"{url}?token={token}&rooms=circle:1", **more) as websocket:
                client = Client(websocket)
                await client.next("connection.established")
                await client.next("subscribed")
                (connection,) = gate.service.gateway.manager.connections()
                assert connection.transport.fd is None, "what is written there is not encrypted"
                ids = [
                    (await gate.service.gateway.publish("acme", "a.b", {"x": "y" * 2_000}, circle_id=1)).event_id
                    for _ in range(300)
                ]
                assert [(await client.next("a.b"))["event_id"] for _ in range(300)] == ids
            stuck = socket.create_connection(("127.0.0.1", gate.port))
            _, writer = await asyncio.open_connection(sock=stuck, ssl=trust, server_hostname="localhost", limit=1)
            writer.write(handshake(f"/ws/dashboard?token={token}&rooms=circle:1"))
            gateway = gate.service.gateway
            async with asyncio.timeout(PATIENCE):
                while not list(gateway.manager.connections()):  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.01)
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                while list(gateway.manager.connections()):
                    for _ in range(20):
                        await gateway.publish("acme", "a.b", {"x": "y" * 20_000}, circle_id=1)
                    await asyncio.sleep(0.01)
            writer.transport.abort()

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
