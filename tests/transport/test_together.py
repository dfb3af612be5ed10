"""Written together: what gathers for a client within a turn of the loop is one write; and nothing waits for company."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.frame import Batch
from gateway.core.transport import Kind
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.inprocess import RunningGateway
from tests.support.raw_client import TEXT, command, frame, opened
from tests.transport.slow import connection_of, publish, unlimited


class Recording:
    """A transport in front of another one, that keeps each write, also those that go past it."""

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))
        self._inner.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def count(self) -> int:
        """Writes since the last time this was asked."""
        count, self.writes = len(self.writes), []
        return count


Record = Callable[..., Recording]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Records what is written to a user's client from now on."""
    recordings: dict[int, Recording] = {}
    write = os.write

    def recorded_write(descriptor: int, data: bytes) -> int:
        if descriptor in recordings:
            recordings[descriptor].writes.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr("gateway.transports.uvicorn.sockets.os.write", recorded_write)

    def record(gate: RunningGateway, user_id: str = "ada") -> Recording:
        transport = connection_of(gate, user_id).transport
        assert isinstance(transport, WebSocketTransport)
        transport._transport = recording = Recording(transport._transport)  # type: ignore[assignment]
        assert transport.fd is not None
        recordings[transport.fd] = recording
        return recording

    return record


async def events(gate: RunningGateway, count: int, **data: Any) -> None:
    """So many events in one turn of the loop."""
    for _ in range(count):
        await gate.service.gateway.publish("acme", "task.completed", data, circle_id=1)


async def test_the_events_of_a_turn_are_one_write(record: Record) -> None:
    """50 events, one write with all of them in order, the same bytes for each of those who get them."""
    async with unlimited() as gate, opened(gate.port, gate.token(), "&rooms=circle:1") as client:
        async with opened(gate.port, gate.token("bob"), "&rooms=circle:1"):
            ada, bob = record(gate), record(gate, "bob")
            await events(gate, 50)
            assert (ada.count(), bob.count()) == (0, 0), "nothing before the turn's end"
            await asyncio.sleep(0)
            assert len(ada.writes) == len(bob.writes) == 1
            assert ada.writes == bob.writes
            await client.message()
            numbers = [(await client.message())["event_id"] for _ in range(50)]
            assert numbers == [entry.event_id for entry in entries(gate, 50)]


def entries(gate: RunningGateway, count: int) -> list[Any]:
    window = gate.service.gateway.log.window("acme")
    return [window[offset] for offset in range(window.head - count + 1, window.head + 1)]


async def test_one_event_does_not_wait_for_another(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is written at the end of its iteration of the event loop, without a timer."""
    monkeypatch.setattr("gateway.engine.pending_entries.SLOW_FAN_OUT", 60.0)  # a pause of the machine would gather
    async with unlimited() as gate, opened(gate.port, gate.token(), "&rooms=circle:1"):
        ada = record(gate)
        for _ in range(5):
            await events(gate, 1)
            await asyncio.sleep(0)
            assert ada.count() == 1


async def test_many_large_events_are_not_kept_for_the_turns_end(record: Record) -> None:
    """Each 64 KiB are written at once: an iteration that publishes much holds little. The client's system takes all of
    it, once its window has opened."""
    wide = 4 * 1024 * 1024
    async with unlimited() as gate, opened(gate.port, gate.token(), "&rooms=circle:1", receive_buffer=wide) as client:
        await client.message()
        for _ in range(8):
            await events(gate, 4, x="y" * 15_000)
            for _ in range(4):
                await client.message()
        ada = record(gate)
        await events(gate, 10, x="y" * 15_000)
        assert ada.count() == 2  # of five events each
        assert gate.service.gateway.delivery.pending.bytes == 0


async def test_the_answers_to_what_came_together_are_one_write(record: Record) -> None:
    """Ten pings in a segment, ten pongs in one; and so are a subscription's reply and what it replays."""
    async with unlimited() as gate, opened(gate.port, gate.token()) as client:
        ada = record(gate)
        await client.send(command(type="ping") * 10)
        assert [(await client.message())["type"] for _ in range(10)] == ["pong"] * 10
        assert ada.count() == 1
        await publish(gate, 20, {})
        await client.send(command(type="subscribe", rooms=["circle:1"], history=20))
        assert (await client.message())["data"]["replayed"] == 20
        for _ in range(20):
            await client.message()
        assert ada.count() == 1


async def test_events_and_a_reply_of_the_same_turn_are_one_write(record: Record) -> None:
    """A command comes in while events are pending: they are written before its answer, with it."""
    async with unlimited() as gate, opened(gate.port, gate.token(), "&rooms=circle:1,circle:2") as client:
        await client.message()
        ada = record(gate)
        connection = connection_of(gate)
        await events(gate, 3)
        # As the event loop would within the same turn.
        connection.transport.data_received(  # type: ignore[attr-defined]
            command(type="unsubscribe", rooms=["circle:2"], id="now")
        )
        assert ada.count() == 1
        await asyncio.sleep(0)
        assert ada.count() == 0
        assert [(await client.message())["type"] for _ in range(4)] == ["task.completed"] * 3 + ["unsubscribed"]


async def test_the_handshake_and_what_follows_is_one_write() -> None:
    """The answer, `connection.established`, `subscribed` and the replay: one segment for a client that resumes."""
    async with unlimited() as gate:
        (start,) = await publish(gate, 1, {})
        await publish(gate, 30, {})
        async with opened(gate.port, gate.token(), f"&rooms=circle:1&since={start}") as client:
            # All of it was in the first read, so that it is there without another one.
            before = client.received
            kinds = [(await client.message())["type"] for _ in range(31)]
            assert kinds == ["subscribed"] + ["task.completed"] * 30
            assert client.received == before


class Noting:
    """A transport that keeps the batches."""

    fd = None
    kind: Kind = "websocket"
    pings = True
    unacknowledged = 0

    def __init__(self, seen: list[Batch]) -> None:
        self._seen = seen

    def write(self, batch: Batch) -> bool:
        self._seen.append(batch)
        return True

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...


async def test_a_batch_is_framed_once_for_all() -> None:
    """Two clients in the same rooms are written the very same object; one in fewer rooms another one."""
    async with unlimited() as gate:
        async with opened(gate.port, gate.token(), "&rooms=circle:1,circle:2"):
            async with opened(gate.port, gate.token("bob"), "&rooms=circle:1,circle:2"):
                async with opened(gate.port, gate.token("eve"), "&rooms=circle:1"):
                    seen: list[Batch] = []
                    for name in ("ada", "bob", "eve"):
                        connection_of(gate, name).transport = Noting(seen)
                    await gate.service.gateway.publish("acme", "a.b", {}, circle_id=1)
                    await gate.service.gateway.publish("acme", "a.b", {}, circle_id=2)
                    await asyncio.sleep(0)
                    assert seen[0] is seen[1]
                    assert seen[2] is not seen[0]
                    assert [batch.count for batch in seen] == [2, 2, 1]
                    assert frame(TEXT, seen[2].frames[0].payload, mask=None) == seen[2].wire
                    assert json.loads(seen[2].frames[0].payload)["type"] == "a.b"
