"""Stall detection where the system does not report acknowledged bytes: a Unix socket, another system, a sandbox."""

import asyncio
import time
from typing import Any

import pytest

from gateway.core.origin import OriginPolicy
from gateway.transports.uvicorn.endpoint import Endpoint
from gateway.transports.uvicorn.writer import SocketWriter
from tests.transport.slow import connection_of, events, fall_behind, slow, unlimited


@pytest.fixture(autouse=True)
def dumb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transports.uvicorn.writer.acked_bytes", lambda transport: 0)


async def test_a_slow_reader_stays() -> None:
    """The kernel's buffer shrinks, though the process's own does not for long."""
    async with unlimited(stall_seconds=1.0) as gate, slow(gate) as client:
        ids = await fall_behind(gate)
        connection = connection_of(gate)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < 4.0:
            if client.received < 10_000 * passed:
                client.sip(500)
            await asyncio.sleep(0.01)
        assert connection_of(gate) is connection
        assert await events(client, len(ids)) == ids


class Socket:
    """A transport of which so much is still to be written."""

    def __init__(self) -> None:
        self.waiting = 5_000
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.aborted

    def get_extra_info(self, name: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("drains", [True, False])
async def test_an_equal_count_after_a_drain_is_another_state(drains: bool) -> None:
    """Direct writes meanwhile are not counted here, so the count may be the same by chance."""
    host: Any = None
    endpoint = Endpoint(("/ws",), host, OriginPolicy(()), (), 1_000, 20.0, 10.0)
    writer, socket = SocketWriter(), Socket()
    transport: Any = socket
    writer._transport = transport
    for second in range(15):
        writer.check_liveness(float(second), endpoint)
        if drains and second % 5 == 4:
            socket.waiting = 0
            writer._drain()
            socket.waiting = 5_000
    assert socket.aborted is not drains
