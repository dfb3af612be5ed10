"""One suite for every ASGI server that the documents name: what holds on all of them, and where they differ what the
table of docs/asgi-servers.md says."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.deployment.servers import COLUMNS, PER_USER, PING_SECONDS, ROWS, Server, serving
from tests.support.clients import Client
from tests.support.event_streams import streaming
from tests.support.raw_client import handshake, raw

CLOSES, SENDS_ON, NOT_UTF8, PINGS, SILENT, UNREAD, SHUTDOWN = COLUMNS

PATIENCE: Final = 60.0


async def end(websocket: ClientConnection) -> tuple[int, str]:
    """The code and reason with which the server closes; 1005 and 1006 where it tells none."""
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


# ---- what holds on all of them


async def lets_in_by_every_credential(server: Server) -> None:
    """Header, subprotocol, query, ticket; the subprotocol that is answered is never the token."""
    async with server.api() as api:
        ticket = (await api.post("/tickets")).json()["ticket"]
    token = server.token()
    offered = [Subprotocol("gateway.v1"), Subprotocol(f"gateway.bearer.{token}")]
    ways: list[tuple[str, dict[str, Any]]] = [
        ("", {"additional_headers": {"Authorization": f"Bearer {token}"}}),
        ("", {"subprotocols": offered}),
        (f"?token={token}", {}),
        (f"?ticket={ticket}", {}),
    ]
    for query, options in ways:
        async with connect(server.ws_url + query, **options) as websocket:
            await Client(websocket).next("connection.established")
            assert websocket.subprotocol == ("gateway.v1" if "subprotocols" in options else None)


async def refuses_a_foreign_origin(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{server.ws_url}?token={server.token()}", origin="http://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403


async def keeps_order_and_resumes(server: Server) -> None:
    """500 events, each once; from a cursor the rest."""
    events = [{"type": "a.b", "data": {"n": n}, "circle_id": 1} for n in range(500)]
    async with server.client(query="&rooms=circle:1") as client, server.api() as api:
        await client.next("subscribed")
        results = (await api.post("/events/batch", json={"events": events})).json()["results"]
        ids = [result["event_id"] for result in results]
        assert [(await client.next("a.b"))["event_id"] for _ in ids] == ids
    async with server.client(query=f"&rooms=circle:1&since={ids[99]}") as client:
        assert (await client.next("subscribed"))["data"]["replayed"] == 400
        assert [(await client.next("a.b"))["event_id"] for _ in ids[100:]] == ids[100:]


async def follows_an_event_stream(server: Server) -> None:
    """Events each at once, from a cursor the rest; refusals are answers of their own; HEAD ends."""
    async with server.api() as api:

        async def publish(n: int) -> str:
            answer = await api.post("/events", json={"type": "a.b", "data": {"n": n}, "circle_id": 5})
            event_id: str = answer.json()["event_id"]
            return event_id

        first = await publish(0)
        async with streaming(server, "?rooms=circle:5", server.token("reader")) as stream:
            assert stream.client.headers["content-type"] == "text/event-stream; charset=utf-8"
            await stream.next("subscribed")
            ids = []
            for n in range(5):
                ids.append(await publish(n))
                assert (await stream.next())["event_id"] == ids[-1]
        async with streaming(server, "?rooms=circle:5", server.token("reader"), Last_Event_ID=first) as stream:
            assert (await stream.next("subscribed"))["data"]["replayed"] == 5
            assert [(await stream.next())["event_id"] for _ in ids] == ids
        assert (await api.head("/events/stream?rooms=circle:5")).status_code == 200
        refused = await api.get("/events/stream?rooms=nonsense")
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


async def answers_http(server: Server) -> None:
    async with server.api() as api:
        assert (await api.get("/readyz")).json() == {"status": "ready"}
        assert (await api.post("/events", json={"type": "a.b", "data": {}, "circle_id": 2})).status_code == 202
        refused = await api.post("/events", json={"type": "no type"})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


HOLDS: Final[list[Callable[[Server], Coroutine[Any, Any, None]]]] = [
    lets_in_by_every_credential,
    refuses_a_foreign_origin,
    keeps_order_and_resumes,
    follows_an_event_stream,
    answers_http,
]


# ---- where they differ


Closes = tuple[tuple[int, str], tuple[int, str]]
"""The code and reason that the gateway means, and those that the client hears."""


async def refused(server: Server, query: str, code: int, reason: str) -> Closes:
    async with connect(server.ws_url + query) as websocket:
        return (code, reason), await end(websocket)


async def over_its_users_limit(server: Server) -> Closes:
    async with AsyncExitStack() as stack:
        for _ in range(PER_USER):
            await stack.enter_async_context(server.client(server.token("crowd")))
        message = f"at most {PER_USER} connections of one user"
        return await refused(server, f"?token={server.token('crowd')}", 4409, message)


async def too_large(server: Server) -> Closes:
    async with server.client() as client:
        await client.websocket.send("x" * 70_000)
        code, _ = await end(client.websocket)  # the reason is each transport's own
        return (1009, ""), (code, "")


async def sent_away(server: Server, message: str | bytes, code: int, reason: str) -> Closes:
    """For what it sends, one message after the answer to the last: what is unread when a server closes resets the
    connection, and takes the close frame with it."""
    async with server.client() as client:
        with suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await client.websocket.send(message)
                    await client.websocket.recv()
        return (code, reason), await end(client.websocket)


async def client_that_sends_on(server: Server) -> str:
    """The code that a client hears which is over its rate and sends on while it is closed."""
    async with server.client(max_queue=None) as client:
        with suppress(ConnectionClosed):
            for _ in range(3_000):
                await client.websocket.send('{"type": "ping"}')
        return str((await end(client.websocket))[0])


async def expired(server: Server) -> Closes:
    # Where connecting takes the machine all of these seconds, it is closed like this at once.
    return await refused(server, f"?token={server.token('short', expires_in=6)}", 4401, "token_expired")


async def revoked(server: Server) -> Closes:
    async with server.api("admin") as api, server.client(server.token("bob")) as client:
        await api.post("/admin/tokens/revoke", json={"user_id": "bob"})
        return (4401, "token_revoked"), await end(client.websocket)


async def closed_by_hand(server: Server) -> Closes:
    async with server.api("admin") as api, server.client(server.token("eve")) as client:
        await api.delete(f"/admin/connections/{client.established['data']['connection_id']}")
        return (4403, "closed by an administrator"), await end(client.websocket)


async def close_codes(server: Server) -> str:
    """Every way in which the gateway sends a client away."""
    closes = await asyncio.gather(
        refused(server, "", 4401, "token_missing"),
        refused(server, "?token=bad", 4401, "token_invalid"),
        refused(server, f"?token={server.token(now=1e9)}", 4401, "token_expired"),
        refused(server, f"?token={server.token()}&client_id=%00", 4400, "bad_message"),
        over_its_users_limit(server),
        too_large(server),
        sent_away(server, b"binary", 4400, "bad_message"),
        sent_away(server, '{"type": "ping"}', 4429, "rate_limited"),
        expired(server),
        revoked(server),
        closed_by_hand(server),
    )
    if all(meant == received for meant, received in closes):
        return "all"
    if all(received == (meant[0] if meant[0] >= 4_000 else 1011, "") for meant, received in closes):
        return "4400 and above; below it 1011; no reasons"
    raise AssertionError(closes)


async def text_that_is_no_utf8(server: Server) -> str:
    async with server.client() as client:
        await client.websocket.send(b"\xff", text=True)
        return str((await end(client.websocket))[0])


async def pings(server: Server, seconds: float) -> tuple[bool, float | None, str]:
    """Keepalive of a client that answers no ping: whether pings arrive, what the first frame says of them, and the
    state of the connection after the timeout."""
    received, ended = b"", False
    async with raw(server.port) as client:
        await client.send(handshake(f"/ws/dashboard?token={server.token('silent')}"))
        ends = time.monotonic() + seconds
        loop = asyncio.get_running_loop()
        while not ended and time.monotonic() < ends:
            try:
                async with asyncio.timeout_at(loop.time() + ends - time.monotonic()):
                    part = await loop.sock_recv(client.sock, 65_536)
                received, ended = received + part, not part
            except TimeoutError:
                break
            except ConnectionError:
                ended = True
    start = received.index(b'{"type":"connection.established"')
    (length,) = struct.unpack("!H", received[start - 2 : start])
    established = json.loads(received[start : start + length])
    return b"\x89" in received[start + length :], established["data"]["ping_interval"], "closed" if ended else "kept"


async def client_that_reads_nothing(server: Server) -> str:
    """24 MB for it: either it falls behind, or it has been written all of them and they wait somewhere."""
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stuck.connect(("127.0.0.1", server.port))
        stuck.sendall(handshake(f"/ws/dashboard?token={server.token('stuck')}&rooms=circle:9"))
        async with server.api("admin publish") as api:

            async def state() -> str | None:
                page = (await api.get("/admin/connections")).json()["connections"]
                return next((info["state"] for info in page if info["user_id"] == "stuck"), None)

            async with asyncio.timeout(PATIENCE):
                while await state() is None:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.02)
            states = set()
            events = [{"type": "a.b", "data": {"x": "y" * 60_000}, "circle_id": 9}] * 10
            for _ in range(40):
                assert (await api.post("/events/batch", json={"events": events})).status_code == 202
                states.add(await state())
            async with asyncio.timeout(PATIENCE):
                while await state() is not None:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.05)
    return "held back, closed" if "behind" in states else "buffered"


async def shutdown(server: Server) -> str:
    async with connect(f"{server.ws_url}?token={server.token('last')}") as websocket:
        await websocket.recv()
        code, _ = (await asyncio.gather(end(websocket), server.stop()))[0]
    return str(code)


@pytest.mark.parametrize("name", ROWS)
async def test_server(name: str, tmp_path: Path) -> None:
    """Started once; what needs time is waited for together."""
    row = ROWS[name]
    async with serving(name, tmp_path) as server:
        token = server.token()
        try:
            async with asyncio.TaskGroup() as group:
                for check in HOLDS:
                    group.create_task(check(server))
                codes = group.create_task(close_codes(server))
                sends_on = group.create_task(client_that_sends_on(server))
                not_utf8 = group.create_task(text_that_is_no_utf8(server))
                pinging = group.create_task(pings(server, PATIENCE if row[SILENT] == "closed" else 2.4 * PING_SECONDS))
            unread = await client_that_reads_nothing(server)
            at_shutdown = await shutdown(server)
        except BaseException as error:
            error.add_note(server.written())
            raise
        pinged, announced, silent = pinging.result()
        assert row == {
            CLOSES: codes.result(),
            SENDS_ON: row[SENDS_ON],
            NOT_UTF8: not_utf8.result(),
            PINGS: row[PINGS],
            SILENT: silent,
            UNREAD: unread,
            SHUTDOWN: at_shutdown,
        }
        assert sends_on.result() in row[SENDS_ON].split(" or ")
        assert pinged == (row[PINGS] != "none")
        assert announced == (PING_SECONDS if "GATEWAY_PING_INTERVAL" in row[PINGS] else None)
        assert token.partition(".")[0] not in server.written()
