"""HTTP clients that are slow or silent, with either parser: they end as those of a WebSocket do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from gateway.transports.uvicorn.guard import HEAD_SECONDS
from tests.support.pauses import now, until
from tests.support.process import MIB, GatewayProcess
from tests.support.raw_client import RawClient, raw
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="module")

STALL = 2.0
KEEP_ALIVE = 8
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LARGE = b"GET /web/style.css HTTP/1.1\r\nHost: x\r\n\r\n"
"""Its answer is over 10 kB."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[False, True], ids=["httptools", "h11"])
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GatewayProcess]:
    settings: dict[str, Any] = {"stall_seconds": STALL, "keep_alive_seconds": KEEP_ALIVE}
    async with GatewayProcess(tmp_path_factory.mktemp("slow"), bare=request.param, **settings) as served:
        async with raw(served.port) as client:  # what is made once is made
            await client.send(LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert len(await client.rest()) > 10_000
        yield served


async def answer(client: RawClient) -> bytes:
    head = (await client.head()).lower()
    return await client.exactly(int(head.partition("content-length: ")[2].split()[0]))


@pytest.mark.timing
async def test_300_that_pipeline_and_never_read_are_given_up(
    served: GatewayProcess, request: pytest.FixtureRequest
) -> None:
    """All of them, with under 512 KiB each; with the slower parser a third. The stall deadline begins once the kernel
    takes no more answers for a client, and until then a busy machine needs a while."""
    count = 100 if "h11" in request.node.name else 300
    before = served.rss
    growing = asyncio.create_task(served.growth(STALL + 2.0, before))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(served.port, receive_buffer=4_096)) for _ in range(count)]
        await asyncio.gather(*(client.flood(LARGE * 100, MIB // 4, 1.0) for client in clients))
        # For a while the kernel takes answers for them.
        await asyncio.gather(*(client.gone(40.0) for client in clients))
    assert await growing < count * MIB / 2
    await until_alone(served)


async def until_alone(served: GatewayProcess) -> None:
    await until(lambda: not served.sockets)


async def test_pipelined_requests_are_not_read_ahead(served: GatewayProcess) -> None:
    """100 clients that send requests without an end, and read nothing: under 1 MiB each, and they cannot send on."""
    before = served.rss
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(served.port, receive_buffer=4_096)) for _ in range(100)]
        growing = asyncio.create_task(served.growth(2.0, before))
        sent = await asyncio.gather(*(client.flood(HEALTH * 1_000, 64 * MIB, 1.0) for client in clients))
        assert max(sent) < 16 * MIB  # what is sent and not read is in the kernel
        assert await growing < 100 * MIB
    await until_alone(served)


async def test_the_last_answer_waits_no_longer_than_others(served: GatewayProcess) -> None:
    """`Connection: close` does not hold what is closed: neither behind other answers nor by itself."""
    last = LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with raw(served.port, receive_buffer=4_096) as client:
        await client.send(LARGE * 500 + last)
        await client.gone(STALL + 3.0)
    await until_alone(served)


async def test_a_slow_reader_gets_all_its_answers(served: GatewayProcess) -> None:
    """At 400 kB/s they take several times the stall deadline."""
    async with raw(served.port, receive_buffer=4_096) as client:
        sending = asyncio.create_task(client.send(LARGE * 200 + LAST))
        received, began = bytearray(), now()
        while data := await client.some(20_000):
            received += data
            await asyncio.sleep(max(0.0, len(received) / 400_000 - (now() - began).whole))
        await sending
        assert received.count(b"HTTP/1.1 200 ") == 201
        assert received.endswith(b'{"status":"ok"}')
        assert now() - began > 2 * STALL


async def test_an_idle_connection_ends_after_the_keep_alive(served: GatewayProcess) -> None:
    """The connection does not end before; a silent one ends without a response."""
    async with raw(served.port) as client:
        for _ in range(2):
            await client.send(HEALTH)
            await answer(client)
            await asyncio.sleep(KEEP_ALIVE / 2)
        began = now()
        assert await client.rest(KEEP_ALIVE + 1.0) == b""
        assert now() - began > KEEP_ALIVE / 2 - 0.5


async def test_an_idle_connection_that_reads_nothing_ends_too(served: GatewayProcess) -> None:
    """The kernel has taken everything that was sent to it."""
    async with raw(served.port, receive_buffer=4_096) as client:
        await client.send(LARGE)
        await client.gone(KEEP_ALIVE + 2.0)
    await until_alone(served)


@pytest.mark.parametrize("rest", [b"GET / HTTP/1.1\r\nHost:", b"G"])
async def test_part_of_a_further_request_is_no_way_to_stay(served: GatewayProcess, rest: bytes) -> None:
    """5 s from its first byte on: 408."""
    async with raw(served.port) as client:
        await client.send(HEALTH + rest)
        await answer(client)
        began = now()
        assert (await client.rest(HEAD_SECONDS + 2.0)).startswith(b"HTTP/1.1 408 ")
        assert now() - began > HEAD_SECONDS - 0.5


async def test_an_empty_line_is_no_way_to_stay(served: GatewayProcess) -> None:
    """The line is ignored, or refused; either way the connection ends with the keep-alive."""
    async with raw(served.port) as client:
        await client.send(HEALTH + b"\r\n")
        await answer(client)
        assert (await client.rest(KEEP_ALIVE + 2.0))[:13] in (b"", b"HTTP/1.1 400 ")


async def test_a_body_behind_its_refusal_does_not_end_the_connection(served: GatewayProcess) -> None:
    """The body is discarded, and the next request has its keep-alive."""
    async with raw(served.port) as client:
        await client.send(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert b"token_missing" in await answer(client)
        await asyncio.sleep(KEEP_ALIVE / 2)
        await client.send(b"{}       ")
        await asyncio.sleep(KEEP_ALIVE / 2)
        await client.send(HEALTH)
        assert await answer(client) == b'{"status":"ok"}'


async def test_a_reset_amid_requests_leaves_no_error(served: GatewayProcess) -> None:
    """The responses are dropped."""
    publish = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    publish += f"Authorization: Bearer {token()}\r\n\r\n".encode() + b"{}"
    for requests in (LARGE * 50, publish * 50, (publish + LARGE) * 20):
        for pause in (0.0, 0.001, 0.01):
            async with raw(served.port, receive_buffer=4_096) as client:
                await client.send(requests)
                await asyncio.sleep(pause)
                client.reset()
    assert "ERROR" not in served.log
