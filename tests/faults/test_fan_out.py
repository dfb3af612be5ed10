"""Exceptions in the middle of a fan-out lose nothing, and commands that wait for the log are answered once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.errors import LogUnavailable
from tests.support.lab import GatewayLab


@pytest.fixture
async def lab() -> Any:
    made = GatewayLab(events_per_second=0)
    yield made
    await made.settle()
    made.nothing_left()


def elsewhere(lab: GatewayLab) -> str:
    """A cursor of an epoch that this node has not read yet."""
    return lab.gateway.log.window("acme").cursors.encode(b"e" * EPOCH_BYTES, 5)


@pytest.fixture
async def following(lab: GatewayLab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Future[None]]:
    """The future that commands with a cursor wait for."""
    made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(lab.gateway.log, "follow", lambda _, since: None if since is None else asyncio.shield(made))
    yield made
    if not made.done():
        made.cancel()


async def test_fan_out_that_fails_costs_no_other_tenant_its_events(lab: GatewayLab) -> None:
    """Its recipients are closed (1011), since it is unknown which got what, and resume; the others, whose events were
    pending with it, get them."""

    class Rooms(dict[str, Any]):
        broken = True

        def __contains__(self, room: object) -> bool:
            if self.broken:
                raise RuntimeError("a fault of the fan-out itself")
            return super().__contains__(room)

    _, lost = lab.join(rooms="circle:7")
    _, beside = lab.join(rooms="circle:8")
    _, spared = lab.join(lab.token("eve", "bolt"), rooms="circle:7")
    index = lab.gateway.manager.of("acme")
    index.rooms = rooms = Rooms(index.rooms)
    await lab.happen()
    await lab.happen(tenant="bolt")
    await lab.settle()
    rooms.broken = False
    assert [event["data"]["n"] for event in spared.events] == [0]
    assert lost.ended == (1011, "internal_error")
    assert beside.ended is None
    await lab.happen(circle=8)
    await lab.settle()
    assert len(beside.events) == 1


async def test_connection_that_fails_twice_costs_no_other_its_events(
    lab: GatewayLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transport raises, and closing it as well: the others of the same room, and of other rooms, get theirs."""
    _, broken = lab.join(rooms="circle:7")
    others = [lab.join(lab.token(f"user-{n}"), rooms=f"circle:{7 + n % 2}")[1] for n in range(4)]

    def fail(*_: Any) -> Any:
        raise RuntimeError("this transport is broken")

    monkeypatch.setattr(broken, "write", fail)
    monkeypatch.setattr(broken, "close", fail)
    await lab.happen(circle=7)
    await lab.happen(circle=8)
    await lab.settle()
    assert [len(other.events) for other in others] == [1, 1, 1, 1]


async def test_equal_commands_are_answered_once_each(lab: GatewayLab, following: asyncio.Future[None]) -> None:
    """Two commands that are equal in everything, of which the first waits for a log that then does not answer."""
    await lab.happen(200, filler="x" * 2_000)
    connection, tape = lab.join()
    for _ in range(2):
        lab.say(connection, type="subscribe", rooms=["circle:7"], since=elsewhere(lab), history=100, id="twin")
    tape.capacity = len(tape.frames) + 2
    lab.gateway.log_status.on_reset("acme")
    await lab.settle()
    following.set_exception(LogUnavailable())
    await lab.settle()
    tape.capacity = None
    lab.gateway.on_writable(connection)
    await lab.settle()
    answers = [frame["type"] for frame in tape.frames if frame.get("id") == "twin"]
    assert len(answers) == 2, answers


async def test_command_waits_for_the_log_though_the_connection_is_caught_up(
    lab: GatewayLab, following: asyncio.Future[None]
) -> None:
    """A slow consumer's catch-up does not run what waits for something else: its cursor would be taken for a gap."""
    connection, tape = lab.join(rooms="circle:7", capacity=3)
    await lab.happen(3)
    await lab.settle()
    assert connection.offset is not None
    lab.say(connection, type="subscribe", rooms=["circle:8"], since=elsewhere(lab), id="waits")
    tape.capacity = None
    lab.gateway.on_writable(connection)
    await lab.settle()
    assert connection.live
    assert not [frame for frame in tape.frames if frame.get("id") == "waits"]
    following.set_result(None)
    await lab.settle()
    assert len([frame for frame in tape.frames if frame.get("id") == "waits"]) == 1


async def test_command_that_was_pending_waits_for_the_log_too(lab: GatewayLab, following: asyncio.Future[None]) -> None:
    """One that came during a replay, with a cursor that another node gave out."""
    await lab.happen(200, filler="x" * 2_000)
    connection, tape = lab.join()
    tape.capacity = len(tape.frames) + 2
    lab.say(connection, type="subscribe", rooms=["circle:7"], history=100)
    lab.say(connection, type="subscribe", rooms=["circle:8"], since=elsewhere(lab), id="waits")
    lab.say(connection, type="unsubscribe", rooms=["circle:7"], id="behind it")
    tape.capacity = None
    lab.gateway.on_writable(connection)
    await lab.settle()
    assert len(tape.events) == 100
    assert tape.frames[-1]["type"] == "task.created"
    following.set_result(None)
    await lab.settle()
    assert [frame.get("id") for frame in tape.frames[-2:]] == ["waits", "behind it"]
