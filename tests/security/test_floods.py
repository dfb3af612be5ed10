"""Clients that mean harm, against a running `gateway serve`: what each may cost, in memory and time.

While each flood lasts, a healthy client gets every event in good time. Memory is the server's resident set, sampled
while the flood lasts.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.pauses import now
from tests.support.process import MIB, GatewayProcess
from tests.support.pulse import healthy
from tests.support.raw_client import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawClient,
    close_frame,
    command,
    frame,
    handshake,
    raw,
    several,
)
from tests.support.raw_client import opened as open_raw
from tests.support.tokens import token

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timing]

STALL = 1.5
FLOOD = 8 * MIB
"""Bytes that a flood sends at most: at six bytes a frame more than a million frames."""

MASK = b"\0\0\0\0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    """One server for all floods: what one leaves behind the next one would find."""
    home = tmp_path_factory.mktemp("floods")
    async with GatewayProcess(home, stall_seconds=STALL, compression=True, log_max_bytes=8 * MIB) as served:
        async with healthy(served, within=1.0):
            await asyncio.sleep(0.3)
        yield served


async def flood(served: GatewayProcess, client: RawClient, chunk: bytes) -> tuple[int, int]:
    """Send `chunk` until the server takes no more; returns the bytes taken and the growth of its memory."""
    return await served.growth_during(client.flood(chunk, FLOOD, 2.0))


async def test_pings_that_are_never_read_end_after_a_burst(served: GatewayProcess) -> None:
    """A million pings, no pong read: under 5 MB, and the client is gone 2 s after its burst (item 2)."""
    async with healthy(served), open_raw(served.port, token()) as client:
        began = now()
        sent, growth = await flood(served, client, frame(PING, mask=MASK) * 10_000)
        await client.gone(5)
        assert now() - began < 6
    assert growth < 5 * MIB, f"{growth / MIB:.1f} MiB for {sent} bytes"
    assert sent < FLOOD, "the server took them all"


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_control_frames_is_closed_with_4429(served: GatewayProcess, opcode: int) -> None:
    """10,000 a second, its answers read: `rate_limited`, well before a second has passed."""
    async with healthy(served), open_raw(served.port, token()) as client:
        code = asyncio.create_task(client.close_code())
        began = now()
        await client.flood(frame(opcode, b"x" * 100, mask=MASK) * 100, FLOOD, 1.0)
        assert await code == 4429
        assert now() - began < 3.0
        await client.gone(3)


async def test_ten_pings_a_second_are_answered(served: GatewayProcess) -> None:
    """A nervous client is no flood; each pong repeats its ping."""
    async with open_raw(served.port, token()) as client:
        for number in range(60):
            await client.send(frame(PING, b"%d" % number))
            assert await client.frame() == (PONG, b"%d" % number)


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["0-byte", "1-byte"])
async def test_a_message_in_tiny_fragments_ends_at_the_64th(served: GatewayProcess, payload: bytes) -> None:
    """1009, at once, for a message without an end; under 5 MB (item 3)."""
    async with healthy(served), open_raw(served.port, token()) as client:
        code = asyncio.create_task(client.close_code(5))
        await client.send(frame(TEXT, payload, fin=False))
        _, growth = await flood(served, client, frame(CONT, payload, fin=False, mask=MASK) * 10_000)
        assert await code == 1009
    assert growth < 5 * MIB, f"{growth / MIB:.1f} MiB"


async def test_64_fragments_are_too_many_and_63_are_not(served: GatewayProcess) -> None:
    """A message of 63 fragments is received."""
    ping = b'{"type": "ping"}'
    for count, good in ((63, True), (64, True), (65, False)):
        async with open_raw(served.port, token()) as client:
            pieces = [ping, *[b" "] * (count - 1)]
            frames = [frame(CONT if i else TEXT, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
            await client.send(b"".join(frames))
            if good:
                assert (await client.message())["type"] == "pong", count
            else:
                assert await client.close_code() == 1009, count


async def test_messages_that_never_end_keep_no_more_than_their_limit(served: GatewayProcess) -> None:
    """20 clients, each with one unfinished message as large as may be: 64 KiB each, and no more."""
    async with several(20, served.port, token()) as clients:
        before = served.rss
        for client in clients:
            await client.send(frame(TEXT, b"x" * 65_000, fin=False, mask=MASK))
        assert await served.growth(0.5, before) < 5 * MIB
        for client in clients:
            await client.send(frame(CONT, b"x" * 1_000, fin=False, mask=MASK))
            assert await client.close_code() == 1009


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_tiny_messages_at_wire_speed_are_closed_with_the_reason(served: GatewayProcess, opcode: int) -> None:
    """Empty text and empty binary frames are malformed: 4400 after ten of them; under 5 MB."""
    async with healthy(served), open_raw(served.port, token()) as client:
        code = asyncio.create_task(client.close_code(5))
        _, growth = await flood(served, client, frame(opcode, mask=MASK) * 10_000)
        assert await code == 4400
    assert growth < 5 * MIB, f"{growth / MIB:.1f} MiB"


async def test_a_client_that_stops_reading_is_aborted_and_costs_little(served: GatewayProcess) -> None:
    """Ten of them, with events waiting: gone within `stall_seconds` + 2 s, less than 1 MiB each (item 1).

    The close code 4408 would only wait behind the events: they are reset.
    """
    async with several(10, served.port, token(), "&rooms=circle:load", receive_buffer=4_096) as clients:
        async with healthy(served):
            before = served.rss
            growing = asyncio.create_task(served.growth(STALL + 2.5, before))
            began = now()
            await served.publish([{"x": "y" * 30_000}] * 60, circle_id="load")
            await asyncio.gather(*(client.gone(STALL + 4) for client in clients))
            took = now() - began
            growth = await growing
    assert took < STALL + 2.0, f"{took:.1f} s"
    assert growth < 10 * MIB, f"{growth / MIB:.1f} MiB for ten"


async def test_a_client_that_never_answers_the_close_frame_is_gone_in_2_s(served: GatewayProcess) -> None:
    """The client gets the close code for its messages, and stays; the server does not wait for it."""
    async with open_raw(served.port, token()) as client:
        await client.send(frame(BINARY) * 12)
        assert await client.close_code() == 4400
        assert 1.0 < await client.gone(4) < 3.0


async def test_a_refused_client_that_stays_is_aborted_in_2_s(served: GatewayProcess) -> None:
    """An invalid token is closed with 4401; a connection that then floods costs nothing more."""
    async with healthy(served), raw(served.port) as client:
        await client.send(handshake("/ws/dashboard?token=bad"))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert await client.close_code() == 4401
        began = now()
        _, growth = await flood(served, client, frame(TEXT, b"x" * 100, mask=MASK) * 1_000)
        await client.gone(4)
        assert now() - began < 4.5
    assert growth < 5 * MIB


async def test_data_after_the_close_frame_is_dropped(served: GatewayProcess) -> None:
    """A close frame, and 8 MB behind it: answered once, and nothing of it is kept or run."""
    async with healthy(served), open_raw(served.port, token()) as client:
        before = served.rss
        code = asyncio.create_task(client.close_code(5))
        growing = asyncio.create_task(served.growth(1.0, before))
        await client.send(close_frame(1000) + command(type="ping", id="late"))
        await client.flood(command(type="ping", id="late") * 1_000, FLOOD, 1.0)
        assert await code in (1000, None)  # None: the reset, for what it sent, overtook it
        assert await growing < 5 * MIB
        await client.gone(3)


async def test_a_storm_of_close_frames_is_answered_once(served: GatewayProcess) -> None:
    """Thousands in one piece: one answer, and the end."""
    async with healthy(served), open_raw(served.port, token()) as client:
        await client.send(close_frame(1000, b"bye") * 5_000)
        assert await client.frame() == (CLOSE, b"\x03\xe8bye")
        assert await client.rest() == b""


async def test_a_hundred_clients_that_open_and_close_at_once(served: GatewayProcess) -> None:
    """Each says goodbye in the piece that its first command is in; each is answered."""

    shared = token()

    async def visit() -> None:
        async with open_raw(served.port, shared) as client:
            await client.send(command(type="ping") + close_frame(1001))
            assert (await client.message())["type"] == "pong"
            assert await client.close_code() == 1001

    async with healthy(served, within=0.5):  # the clients' own work is on this loop
        await asyncio.gather(*(visit() for _ in range(100)))


async def test_a_compressed_bomb_is_closed_with_1009(served: GatewayProcess) -> None:
    """With compression on: 1,000 times its size, 20 times; each 1009 with under 5 MB for all (item 6)."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (deflate.compress(b"\0" * 64 * MIB) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(bomb) < 70_000

    async def send() -> None:
        for _ in range(20):
            extension = "Sec-WebSocket-Extensions: permessage-deflate"
            async with open_raw(served.port, token(), "", extension) as client:
                await client.send(frame(TEXT, bomb[:60_000], rsv=4, mask=MASK))
                assert await client.close_code() == 1009

    async with healthy(served):
        _, growth = await served.growth_during(send())
    assert growth < 5 * MIB, f"{growth / MIB:.1f} MiB"


async def test_invalid_utf_8_is_1007_without_a_traceback(served: GatewayProcess) -> None:
    """50 times; the server's output grows by nothing (item 7)."""
    known = len(served.log)
    for _ in range(50):
        async with open_raw(served.port, token()) as client:
            await client.send(frame(TEXT, b'{"type": "\xff"}'))
            assert await client.close_code() == 1007
    assert "Traceback" not in served.log
    assert len(served.log) - known < 500


async def test_a_drip_of_bytes_is_understood(served: GatewayProcess) -> None:
    """A frame that comes byte by byte is a frame, and delays only its sender."""
    async with healthy(served), open_raw(served.port, token()) as client:
        for byte in command(type="ping", id="drip"):
            await client.send(bytes((byte,)))
            await asyncio.sleep(0.002)
        assert (await client.message())["id"] == "drip"
