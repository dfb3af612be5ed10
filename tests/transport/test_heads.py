"""Requests that never come, never end or are too long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.server.run import GRACEFUL_SHUTDOWN_SECONDS
from gateway.transports.uvicorn.guard import HEAD_BYTES, HEAD_SECONDS
from gateway.transports.uvicorn.handshake import MAX_HEADERS, MAX_TARGET
from tests.support.inprocess import running
from tests.support.pauses import Duration, now
from tests.support.process import MIB, GatewayProcess
from tests.support.pulse import healthy
from tests.support.raw_client import frame, handshake, raw
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATE = HEAD_SECONDS + 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("heads"), keep_alive_seconds=5) as served:
        yield served


@pytest.mark.timing
async def test_an_incomplete_head_is_closed_after_5_s(served: GatewayProcess) -> None:
    """No byte, half a line, half a head, a byte each 0.2 s, half of a second request: none holds its place."""
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    async def silent(start: bytes, answers: int, drip: bytes = b"") -> Duration:
        async with raw(served.port) as client:
            began = now()
            await client.send(start)
            for _ in range(answers):
                await client.head()
            if drip:

                async def drop() -> None:
                    while True:
                        await client.send(drip)
                        await asyncio.sleep(0.2)

                dropping = asyncio.create_task(drop())
            rest = await client.rest()
            if drip:
                dropping.cancel()
                await asyncio.gather(dropping, return_exceptions=True)
            # A keep-alive connection that asks nothing more just ends.
            assert (b"HTTP/1.1 408 " in rest) is (start != whole), rest
            return now() - began

    async with healthy(served):
        took = await asyncio.gather(
            silent(b"", 0),
            silent(b"GET /ws/dash", 0),
            silent(whole[:-2], 0),
            silent(handshake("/ws/dashboard")[:-2], 0),
            silent(b"GET / HTTP/1.1\r\nX: ", 0, drip=b"x"),
            silent(whole, 1),
            silent(whole + whole[:-2], 1),
        )
    assert all(each > HEAD_SECONDS - 0.5 for each in took), took
    assert all(each < LATE for each in took), took


TOO_LONG = [
    ("a request line over 8 KB", handshake("/ws/dashboard?token=" + "x" * MAX_TARGET)),
    ("of 60 KB", handshake("/ws/dashboard?token=" + "x" * 60_000)),
    ("on another path", handshake("/somewhere?" + "x" * 60_000)),
    ("101 headers", handshake("/ws/dashboard", *[f"X-{i}: y" for i in range(MAX_HEADERS - 4)])),
    ("129 headers", handshake("/ws/dashboard", *[f"X-{i}: y" for i in range(124)])),
    ("1,000 headers on another path", handshake("/somewhere", *[f"X-{i}: y" for i in range(1_000)])),
    ("a header of 63 KB", handshake("/ws/dashboard", "X: " + "y" * 63_000)),
    ("of 9 KB on another path", handshake("/somewhere", "X: " + "y" * 9_000)),
    ("a request line just over what websockets takes on another path", handshake("/somewhere?".ljust(MAX_TARGET, "x"))),
    ("a body on another path", handshake("/somewhere", "Content-Length: 5")),
]


@pytest.mark.timing
@pytest.mark.parametrize("request_", [r for _, r in TOO_LONG], ids=[name for name, _ in TOO_LONG])
async def test_a_head_that_is_too_long_is_answered_and_ended_at_once(served: GatewayProcess, request_: bytes) -> None:
    """431 or, for what is large and yet in order, whatever its token deserves; within a second, never silence."""
    async with raw(served.port) as client:
        began = now()
        await client.send(request_)
        head = await client.head()
        assert head.split()[1] in ("400", "404", "414", "431", "101"), head
        if " 101 " not in head:
            await client.rest()
        else:
            assert await client.close_code() == 4401
        assert now() - began < 1.0


@pytest.mark.timing
@pytest.mark.parametrize("piece", [b"x" * 1_000, b"X: y\r\n" * 100], ids=["one header", "many headers"])
async def test_a_head_without_an_end_is_cut(served: GatewayProcess, piece: bytes) -> None:
    """After 64 KiB: 431, and 16 MB of it cost under 5 MB."""
    before = served.rss
    async with healthy(served), raw(served.port) as client:
        growing = asyncio.create_task(served.growth(1.0, before))
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + piece)
        reading = asyncio.create_task(client.rest())
        sent = await client.flood(piece * (100_000 // len(piece)), 16 * MIB, 2.0)
        rest = await reading
        assert b" 431 " in rest or rest == b""  # "": the reset, for what it still sent, overtook the answer
        assert sent < 16 * MIB
        assert await growing < 5 * MIB
    assert HEAD_BYTES == 64 * 1024


async def test_the_longest_line_and_the_most_headers_are_fine(served: GatewayProcess) -> None:
    """A token of 4,096 characters leaves room, and so do the headers that proxies add."""
    target = f"/ws/dashboard?token={token()}&client_id=me&x="
    target += "x" * (MAX_TARGET - len(target))
    async with raw(served.port) as client:
        await client.send(handshake(target, *[f"X-{i}: y" for i in range(MAX_HEADERS - 5)]))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.message())["type"] == "connection.established"


async def test_a_handshake_that_drips_in_is_answered(served: GatewayProcess) -> None:
    """A byte at a time, within the deadline; frames after it as well."""
    async with raw(served.port) as client:
        for byte in handshake(f"/ws/dashboard?token={token()}"):
            await client.send(bytes((byte,)))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.message())["type"] == "connection.established"
        for byte in frame(1, b'{"type": "ping"}'):
            await client.send(bytes((byte,)))
        assert (await client.message())["type"] == "pong"


@pytest.mark.timing
async def test_two_hundred_connections_that_ask_nothing_cost_little(served: GatewayProcess) -> None:
    """Under 5 MB, and the healthy notice nothing."""
    before = served.rss

    async def hold() -> None:
        async with raw(served.port) as client:
            await client.send(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(1.0)
            client.reset()

    async with healthy(served):
        growing = asyncio.create_task(served.growth(1.2, before))
        await asyncio.gather(*(hold() for _ in range(200)))
        growth = await growing
    assert growth < 5 * MIB, f"{growth / MIB:.1f} MiB"


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """408 where nothing was answered yet, and no second answer where it was; the deadline is for the whole body."""
    monkeypatch.setattr("gateway.transports.uvicorn.guard.BODY_SECONDS", 1.0)
    async with running() as gate:
        for sent in (b"", b'{"type":'):
            async with raw(gate.port) as client:
                head = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.token()}\r\n"
                await client.send(
                    head.encode() + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n" + sent
                )
                assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        async with raw(gate.port) as client:
            # 413 at once, for what it says that it will send.
            await client.send(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            await client.send(b"Content-Length: 99999999\r\n\r\n" + b"x" * 2_000_000)
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1 ") <= 1, answers
        monkeypatch.setattr("gateway.transports.uvicorn.guard.BODY_SECONDS", 10.0)
        async with raw(gate.port) as client:
            whole = b'{"type": "task.completed", "data": {}}'
            for _ in range(2):  # each of two requests has a deadline of its own
                await client.send(head.encode() + b"Content-Type: application/json\r\n")
                await client.send(b"Content-Length: %d\r\n\r\n" % len(whole))
                await asyncio.sleep(5.2)
                await client.send(whole)
                answer = await client.head()
                assert answer.startswith("HTTP/1.1 202 "), answer
                await client.exactly(int(answer.lower().partition("content-length: ")[2].split()[0]))


async def test_a_refused_request_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    """Nor make it a failure: those whose heads no parser took, on another path, may still be there."""
    async with GatewayProcess(tmp_path) as served:
        heads = [request for name, request in TOO_LONG if "another path" in name]
        async with AsyncExitStack() as stack:
            for request in heads:
                client = await stack.enter_async_context(raw(served.port))
                await client.send(request)
            await asyncio.sleep(0.3)
            served.send_signal()
            assert (await served.ended())[0] == 0


@pytest.mark.timing
async def test_an_idle_connection_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    """Neither clients that vanished nor those still connected delay the server's end."""
    async with GatewayProcess(tmp_path) as served:
        async with raw(served.port):
            pass
        async with raw(served.port) as silent:
            await asyncio.sleep(0.2)
            began = served.send_signal()
            assert await silent.rest() == b""
            _, ended = await served.ended()
            assert ended - began < GRACEFUL_SHUTDOWN_SECONDS - 1
