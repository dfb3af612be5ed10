"""permessage-deflate where it is switched on: an event is compressed once for all who negotiated it."""

import json
import zlib
from typing import Any

import pytest

from tests.support.inprocess import RunningGateway
from tests.support.raw_client import TEXT, RawClient, opened
from tests.transport.slow import connection_of, publish, unlimited

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
LONG = {"x": "abc " * 500}


async def wire(client: RawClient) -> tuple[bool, bytes]:
    """The next frame: whether it is compressed, and its payload as it came."""
    first, size = await client.exactly(2)
    if size == 126:
        size = int.from_bytes(await client.exactly(2))
    assert first & 0xBF == 0x80 | TEXT
    return bool(first & 0x40), await client.exactly(size)


def inflated(payload: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff"))
    return event


async def test_long_events_are_compressed_once_for_those_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two get the very same bytes, live and replayed; who did not ask gets the plain ones; a short event pays for
    nothing and is sent plain to all."""
    made: list[object] = []
    compressobj = zlib.compressobj

    def counted(*options: Any) -> Any:
        made.append(options)
        return compressobj(*options)

    monkeypatch.setattr("gateway.core.frame.zlib.compressobj", counted)
    async with unlimited(compression=True) as gate:
        async with (
            opened(gate.port, gate.token("ada"), "&rooms=circle:1", DEFLATE) as ada,
            opened(gate.port, gate.token("bob"), "&rooms=circle:1", DEFLATE) as bob,
            opened(gate.port, gate.token("eve"), "&rooms=circle:1") as eve,
        ):
            for client in (ada, bob, eve):
                await wire(client)  # `subscribed`
            before = len(made)
            (id,) = await publish(gate, 1, LONG)
            compressed, payload = await wire(ada)
            assert compressed
            assert len(payload) < 300
            assert inflated(payload)["event_id"] == id
            assert await wire(bob) == (True, payload)
            plain, text = await wire(eve)
            assert (plain, json.loads(text)) == (False, inflated(payload))
            since = f"&rooms=circle:1&since={beginning(gate)}"
            async with opened(gate.port, gate.token("kim"), since, DEFLATE) as kim:
                await wire(kim)
                assert await wire(kim) == (True, payload)
            assert len(made) == before + 2  # the event, and kim's own first frame
            await publish(gate, 1, {"x": 1})
            for client in (ada, bob, eve):
                compressed, text = await wire(client)
                assert not compressed
                assert json.loads(text)["data"] == {"x": 1}


def beginning(gate: RunningGateway) -> str:
    """The cursor before the first event."""
    window = gate.service.gateway.log.window("acme")
    return window.cursors.encode(window.epoch, 0)


async def test_a_slow_reader_gets_it_compressed_too() -> None:
    """Events from the log are compressed like live ones, in order."""
    async with unlimited(compression=True) as gate:
        async with opened(gate.port, gate.token(), "&rooms=circle:1", DEFLATE, receive_buffer=4_096) as client:
            await wire(client)
            numbers = [{"n": n, "x": [(n * k * 7919) % 65_521 for k in range(3_000)]} for n in range(150)]
            ids = [(await publish(gate, 1, data))[0] for data in numbers]
            assert not connection_of(gate).live
            got = [await wire(client) for _ in ids]
            assert all(compressed for compressed, _ in got)
            read = [inflated(payload) for _, payload in got]
            assert [event["event_id"] for event in read] == ids
            assert [event["data"] for event in read] == numbers


async def test_no_compression_where_it_is_off() -> None:
    """Compression is off by default."""
    async with unlimited() as gate, opened(gate.port, gate.token(), "&rooms=circle:1", DEFLATE) as client:
        await wire(client)
        await publish(gate, 1, LONG)
        compressed, _ = await wire(client)
        assert not compressed
