"""Event streams of clients and to rooms that the application decides on."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from auth.errors import TokenRevoked
from auth.identity import Identity
from gateway.core.connect_request import read_stream_request
from gateway.core.credentials import Secrets
from gateway.engine import event_streams
from gateway.engine.event_streams import AdmittedStream
from tests.embedding.application import TRANSPORTS, Sessions, application
from tests.support.event_streams import asking, streaming
from tests.support.inprocess import RunningGateway
from tests.support.pauses import until
from tests.support.transports import FakeTransport

both_transports = pytest.mark.parametrize("transport", TRANSPORTS)


@both_transports
async def test_a_session_follows_by_its_cookie(transport: str) -> None:
    """Also when it comes back, with the id of its last block; without one it is unknown."""
    async with application(transport, Sessions().coroutine) as gate:
        async with streaming(gate, "?rooms=circle:1", "", Cookie="theme=dark; session=a") as stream:
            await stream.next("subscribed")
            seen = await gate.publish(circle_id=1)
            assert (await stream.next())["event_id"] == seen
        missed = await gate.publish(circle_id=1)
        async with streaming(gate, "?rooms=circle:1", "", Cookie="session=a", Last_Event_ID=seen) as stream:
            await stream.next("subscribed")
            assert (await stream.next())["event_id"] == missed
        async with asking(gate, "?rooms=circle:1", "", Cookie="session=x") as client:
            assert client.status == 401


@both_transports
async def test_a_page_of_another_origin_does_not_follow_with_the_cookie(transport: str) -> None:
    """The browser sends it along; the application is not asked."""
    sessions = Sessions()
    async with application(transport, sessions.coroutine) as gate:
        async with asking(gate, "?rooms=circle:1", "", Cookie="session=a", Origin="https://evil.example") as client:
            assert client.status == 403
        assert sessions.asked == []
        async with streaming(gate, "?rooms=circle:1", "", Cookie="session=a", Origin=gate.url):
            pass


@both_transports
async def test_an_exception_of_the_application_refuses(transport: str) -> None:
    """A revoked session with 204, a fault with 500."""
    sessions = Sessions()
    async with application(transport, sessions.plain) as gate:
        for error, status in ((TokenRevoked(), 204), (RuntimeError("no database"), 500)):
            sessions.error = error
            async with asking(gate, "", "", Cookie="session=a") as client:
                assert client.status == status
        assert list(gate.service.gateway.manager.connections()) == []


@both_transports
async def test_rooms_are_those_that_the_application_allows(transport: str) -> None:
    """All or nothing; of all rooms that the token names, those that it allows. It is asked before the stream begins."""
    allowed = {"circle:1"}

    async def authorize(identity: Identity, rooms: Sequence[str]) -> Collection[str]:
        await asyncio.sleep(0)
        return allowed.intersection(rooms)

    async with application(transport, None, authorize) as gate:
        token = gate.token(rooms=["circle:1", "circle:2"])
        async with asking(gate, "?rooms=circle:1,circle:2", token) as client:
            assert client.status == 403
        async with streaming(gate, "?rooms=*", token) as stream:
            assert (await stream.next("subscribed"))["data"]["rooms"] == ["circle:1"]


@both_transports
async def test_a_revocation_counts_while_the_application_thinks(transport: str) -> None:
    """No stream is started for a client whose token ends meanwhile, and no state of it stays."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def authorize(identity: Identity, rooms: Sequence[str]) -> Collection[str]:
        asked.set()
        await go_on.wait()
        return rooms

    async with application(transport, None, authorize) as gate:

        async def ask() -> int:
            async with asking(gate, "?rooms=circle:1") as client:
                return client.status

        asking_now = asyncio.create_task(ask())
        await asked.wait()
        gateway = gate.service.gateway
        await gateway.revocation.revoke("user_revoked", "acme", "ada")
        go_on.set()
        assert await asking_now == 204
        await until(lambda: not list(gateway.manager.connections()))


async def test_a_client_that_leaves_while_the_application_thinks_leaves_nothing() -> None:
    """Its connection is forgotten once there is an answer, at the latest."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def authorize(identity: Identity, rooms: Sequence[str]) -> Collection[str]:
        asked.set()
        await go_on.wait()
        return rooms

    for transport in TRANSPORTS:
        asked.clear()
        go_on.clear()
        async with application(transport, None, authorize) as gate:

            async def ask() -> None:
                async with asking(gate, "?rooms=circle:1"):
                    pass

            client = asyncio.create_task(ask())
            await asked.wait()
            client.cancel()
            await asyncio.wait([client])
            assert client.cancelled()
            go_on.set()
            await until(lambda: not list(gate.service.gateway.manager.connections()))


async def _admitted(gate: RunningGateway) -> AdmittedStream:
    """A stream of circle 1 before its response starts."""
    request = read_stream_request([("rooms", "circle:1")], {}, Secrets((gate.token(),)), "127.0.0.1")
    return await gate.service.gateway.event_streams.admit(request)


async def test_a_removal_before_the_response_starts_counts(gate: RunningGateway) -> None:
    """While middleware or a dependency of the application works: the client reconnects, and is refused."""
    gateway = gate.service.gateway
    stream, transport = await _admitted(gate), FakeTransport()
    await gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=1)
    stream.connection.transport = transport
    gateway.event_streams.begin(stream)
    assert transport.ended == (1013, "room_forbidden")
    assert list(gateway.manager.connections()) == []


async def test_a_response_that_never_starts_leaves_nothing(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is dropped after a time: a dependency of the application may fail after the route."""
    monkeypatch.setattr(event_streams, "BEGIN_SECONDS", 0.05)
    gateway = gate.service.gateway
    await _admitted(gate)
    begun, transport = await _admitted(gate), FakeTransport()
    begun.connection.transport = transport
    gateway.event_streams.begin(begun)
    await until(lambda: list(gateway.manager.connections()) == [begun.connection])
    await asyncio.sleep(0.1)
    assert transport.ended is None
