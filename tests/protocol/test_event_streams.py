"""Server-Sent Events, straight to the socket and through ASGI: each sentence of the protocol."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.testing import Block, EventStreamClient
from gateway.transports.asgi_event_stream import WATCH_SECONDS, AsgiEventStream
from gateway.transports.uvicorn.event_stream import SILENCE_SECONDS, EventStreamTransport
from tests.support.clients import http
from tests.support.event_streams import asking, streaming
from tests.support.inprocess import RunningGateway, embedded, running
from tests.support.pauses import PATIENCE, until
from tests.support.settings import settings_for

WAYS = ["socket", "h11", "asgi", "embedded"]


@asynccontextmanager
async def serving(way: str, **settings: Any) -> AsyncIterator[RunningGateway]:
    """Serve as `gateway serve` with each HTTP parser, under plain uvicorn, and within another application."""
    values = settings_for(**settings)
    if way == "embedded":
        async with embedded(values, log_level="warning") as gate:
            yield gate
    else:
        options: dict[str, Any] = {"http": "gateway.transports.uvicorn.http_h11:GuardedH11"} if way == "h11" else {}
        async with running(values, stock=way == "asgi", **options) as gate:
            yield gate


@pytest.fixture(params=WAYS)
async def gate(request: pytest.FixtureRequest) -> AsyncIterator[RunningGateway]:
    async with serving(request.param) as gate:
        yield gate


def problem_of(client: EventStreamClient, body: bytes) -> dict[str, Any]:
    assert client.headers["content-type"] == "application/problem+json"
    assert client.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = json.loads(body)
    return problem


async def refused(gate: RunningGateway, query: str = "", **more: Any) -> tuple[int, str, dict[str, str]]:
    """Status, code and headers of a refusal, which is a whole answer."""
    async with asking(gate, query, **more) as client:
        length = int(client.headers["content-length"])
        body = await client.exactly(length)
        return client.status, problem_of(client, body)["code"], client.headers


# ---- the head


async def test_the_head_says_what_proxies_and_browsers_need(gate: RunningGateway) -> None:
    """Its media type, no caching or buffering, and no encoding."""
    async with asking(gate, "?rooms=circle:1", Accept_Encoding="gzip, br") as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert client.headers["cache-control"] == "no-store"
        assert client.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in client.headers
        assert "content-length" not in client.headers


async def test_the_transport_is_the_servers_own_where_there_is_one() -> None:
    """Under `gateway serve` with either parser; under others it goes through ASGI."""
    for way, kind in zip(
        WAYS, [EventStreamTransport, EventStreamTransport, AsgiEventStream, AsgiEventStream], strict=True
    ):
        async with serving(way) as gate, streaming(gate):
            (connection,) = gate.service.gateway.manager.connections()
            assert type(connection.transport) is kind
            assert connection.transport.kind == "sse"


async def test_first_bytes_come_at_once(gate: RunningGateway) -> None:
    """`retry:`, another number for each client, then `connection.established` with the head as its id."""
    published = await gate.publish(circle_id=1)
    retries = set()
    for _ in range(4):
        async with streaming(gate, "?rooms=circle:1") as stream:
            retries.add(stream.retry)
            frame = json.loads(stream.established.data or "")
            assert stream.established.id == published == frame["data"]["cursor"]
            assert frame["data"]["subscribed"] == ["user:ada", "circle:1"]
            assert frame["data"]["ping_interval"] is None
            subscribed = await stream.block()
            assert (subscribed.event, subscribed.id) == ("subscribed", None)
    assert len(retries) > 1
    assert all(1_000 <= retry <= 10_000 for retry in retries)


async def test_an_event_has_its_id_and_no_name(gate: RunningGateway) -> None:
    """`data` is the frame of the WebSocket."""
    async with streaming(gate, "?rooms=circle:1") as stream, gate.client(query="&rooms=circle:1") as client:
        await stream.next("subscribed")
        await client.next("subscribed")
        published = await gate.publish(circle_id=1, data={"text": "line\nline\r\u2028 ä"})
        block = await stream.block()
        assert (block.id, block.event) == (published, None)
        assert block.raw.count("\n") == 1
        assert json.loads(block.data or "") == await client.next("task.completed")


async def test_without_rooms_it_is_the_users_own(gate: RunningGateway) -> None:
    async with streaming(gate) as stream:
        published = await gate.publish(user_id="ada")
        assert (await stream.next())["event_id"] == published


async def test_rooms_may_be_those_of_the_token(gate: RunningGateway) -> None:
    token = gate.token(rooms=["circle:1", "project:*"])
    async with streaming(gate, "?rooms=*&client_id=pane", token) as stream:
        data = json.loads(stream.established.data or "")["data"]
        assert (data["subscribed"], data["client_id"]) == (["user:ada", "circle:1"], "pane")


# ---- where to resume


async def test_the_header_goes_before_the_parameters_in_their_order(gate: RunningGateway) -> None:
    """`Last-Event-ID`, `last_event_id`, `lastEventId`, `since`; an empty one is ignored."""
    ids = [await gate.publish(circle_id=1) for _ in range(6)]
    places = [("last_event_id", ids[1]), ("lastEventId", ids[2]), ("since", ids[3])]
    for begin in range(3):
        query = "?rooms=circle:1" + "".join(f"&{name}={place}" for name, place in reversed(places[begin:]))
        async with streaming(gate, query + "&last_event_id=&lastEventId=", Last_Event_ID="") as stream:
            assert stream.established.id == places[begin][1]
            assert (await stream.next("subscribed"))["data"]["replayed"] == 4 - begin
    async with streaming(gate, "?rooms=circle:1&last_event_id=" + ids[1], Last_Event_ID=ids[4]) as stream:
        assert stream.established.id == ids[4]
        answer = (await stream.next("subscribed"))["data"]
        assert (answer["replayed"], answer["recovered"]) == (1, True)
        assert (await stream.next())["event_id"] == ids[5]


async def test_the_first_id_is_the_head_where_nothing_is_owed(gate: RunningGateway) -> None:
    """Events of other rooms came since."""
    start = await gate.publish(circle_id=1)
    head = await gate.publish(circle_id=2)
    async with streaming(gate, "?rooms=circle:1", Last_Event_ID=start) as stream:
        assert stream.established.id == head


async def test_the_users_own_room_is_resumed_too(gate: RunningGateway) -> None:
    start = await gate.publish(circle_id=1)
    missed = await gate.publish(user_id="ada")
    async with streaming(gate, "?rooms=circle:1", Last_Event_ID=start) as stream:
        assert (await stream.next("subscribed"))["data"]["rooms"] == ["user:ada", "circle:1"]
        assert (await stream.next())["event_id"] == missed


async def test_a_cursor_that_cannot_be_read_begins_with_a_gap(gate: RunningGateway) -> None:
    """Not with a refusal, which would end an `EventSource` for good. The gap's id is where the stream goes on."""
    head = await gate.publish(circle_id=1)
    for place in ("rubbish", "evt_" + "A" * 22, "x" * 4_000):
        async with streaming(gate, "?rooms=circle:1", Last_Event_ID=place) as stream:
            assert stream.established.id == head
            gap = await stream.block()
            assert (gap.event, gap.id) == ("stream.gap", head)
            assert json.loads(gap.data or "")["data"] == {"reason": "log_reset", "cursor": head}
            answer = (await stream.next("subscribed"))["data"]
            assert (answer["recovered"], answer["replayed"]) == (False, 0)
            published = await gate.publish(circle_id=1)
            assert (await stream.next())["event_id"] == published
            head = published


async def test_a_trimmed_position_is_reported_as_a_gap() -> None:
    """`recovered` is false; what is kept is replayed all the same."""
    for way in ("socket", "asgi"):
        async with serving(way, log_max_events=5) as gate:
            ids = [await gate.publish(circle_id=1) for _ in range(10)]
            async with streaming(gate, "?rooms=circle:1", Last_Event_ID=ids[0]) as stream:
                assert stream.established.id == ids[0]
                answer = (await stream.next("subscribed"))["data"]
                assert (answer["recovered"], answer["replayed"]) == (False, 5)
                assert [(await stream.next())["event_id"] for _ in range(5)] == ids[5:]


async def test_history_without_a_place_has_no_first_id(gate: RunningGateway) -> None:
    """The id would be ahead of what is owed, and lose that at the next drop; with nothing owed it is the head."""
    ids = [await gate.publish(circle_id=1) for _ in range(6)]
    async with streaming(gate, "?rooms=circle:1&history=3") as stream:
        assert stream.established.id is None
        assert (await stream.next("subscribed"))["data"]["replayed"] == 3
        assert [(await stream.next())["event_id"] for _ in range(3)] == ids[3:]
    async with streaming(gate, "?rooms=circle:2&history=3") as stream:
        assert stream.established.id == ids[-1]
    async with streaming(gate, "?rooms=circle:1&history=3", Last_Event_ID=ids[4]) as stream:
        assert stream.established.id == ids[4]
        assert (await stream.next("subscribed"))["data"]["replayed"] == 1


@pytest.mark.parametrize("way", ["socket", "asgi"])
async def test_state_comes_before_what_is_live(way: str) -> None:
    """Each item once, without a first id; a client that drops in between resumes from the id of the last item that it
    got. The mark at the end gives the place of the head."""
    async with serving(way, mark_interval=15) as gate:
        for n in range(3):
            for key in ("a", "b"):
                await gate.publish(circle_id=1, data={"n": n}, item_key=key)
        head = await gate.publish(circle_id=2)
        async with streaming(gate, "?rooms=circle:1&state=1") as stream:
            assert stream.established.id is None
            answer = (await stream.next("subscribed"))["data"]
            assert (answer["items"], answer["complete"], answer["recovered"]) == (2, True, None)
            items = [await stream.block() for _ in range(2)]
            assert [json.loads(item.data or "")["key"] for item in items] == ["a", "b"]
            assert all(json.loads(item.data or "")["data"] == {"n": 2} for item in items)
            assert (await stream.block()).raw == f"id: {head}"
        async with streaming(gate, "?rooms=circle:1&state=1", Last_Event_ID=items[0].id or "") as stream:
            assert stream.established.id == items[0].id
            await stream.next("subscribed")
            assert (await stream.block()).id == items[1].id
        async with streaming(gate, "?rooms=circle:1&state=1", Last_Event_ID="rubbish") as stream:
            gap = await stream.block()
            assert (stream.established.id, gap.event, gap.id) == (None, "stream.gap", None)
            assert (await stream.next("subscribed"))["data"]["items"] == 2
        async with streaming(gate, "?rooms=circle:3&state=1") as stream:
            assert stream.established.id == head


# ---- refusals


async def test_credentials_are_those_of_the_socket(gate: RunningGateway) -> None:
    """Header, parameter, ticket; a ticket once."""
    async with streaming(gate, f"?token={gate.token()}", ""):
        pass
    async with http(gate, gate.token()) as api:
        ticket = (await api.post("/tickets")).json()["ticket"]
    async with streaming(gate, f"?ticket={ticket}", ""):
        pass
    assert (await refused(gate, f"?ticket={ticket}", token=""))[:2] == (401, "token_invalid")
    assert (await refused(gate, token=""))[:2] == (401, "token_missing")
    assert (await refused(gate, "?token=x", token=gate.token()))[:2] == (401, "token_invalid")


async def test_a_refusal_is_an_answer_before_any_stream(gate: RunningGateway) -> None:
    """All or nothing: one refused room refuses the request. Nothing stays behind."""
    token = gate.token(rooms=["circle:1"])
    status, code, _ = await refused(gate, "?rooms=circle:1,circle:2", token=token)
    assert (status, code) == (403, "room_forbidden")
    assert (await refused(gate, "?rooms=nonsense"))[:2] == (422, "room_invalid")
    assert (await refused(gate, "?rooms=circle:1&history=101"))[:2] == (422, "bad_message")
    assert (await refused(gate, "?rooms=circle:1&history=-1"))[:2] == (422, "bad_message")
    assert (await refused(gate, "?client_id=" + "x" * 65))[:2] == (422, "bad_message")
    assert (await refused(gate, "?rooms=circle:1&state=yes"))[:2] == (422, "bad_message")
    assert (await refused(gate, token=gate.token(scope="publish")))[:2] == (403, "scope_missing")
    assert list(gate.service.gateway.manager.connections()) == []


async def test_limits_of_connections() -> None:
    """The limit of a user or an address is 429, of a tenant 503, with `Retry-After`; WebSockets count too."""
    for way in ("socket", "asgi"):
        async with serving(way, max_connections_per_user=2, max_connections_per_tenant=3) as gate:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(streaming(gate))
                await stack.enter_async_context(gate.client())
                status, code, headers = await refused(gate)
                assert (status, code) == (429, "rate_limited")
                assert int(headers["retry-after"]) >= 1
                await stack.enter_async_context(streaming(gate, token=gate.token("bob")))
                status, code, headers = await refused(gate, token=gate.token("eve"))
                assert (status, code) == (503, "rate_limited")
                assert int(headers["retry-after"]) >= 1
            await until(lambda: not list(gate.service.gateway.manager.connections()))
        async with serving(way, max_connections_per_address=1) as gate, streaming(gate):
            assert (await refused(gate))[:2] == (429, "rate_limited")
        async with serving(way, handshakes_per_minute=1) as gate, streaming(gate):
            assert (await refused(gate))[:2] == (429, "rate_limited")


async def test_a_draining_node_refuses() -> None:
    for way in ("socket", "asgi"):
        async with serving(way) as gate:
            gateway = gate.service.gateway
            async with streaming(gate):
                draining = asyncio.create_task(gateway.drain.run(2.0))
                await asyncio.sleep(0.05)
                status, code, headers = await refused(gate)
                assert (status, code) == (503, "broker_unavailable")
                assert int(headers["retry-after"]) >= 1
            await draining


async def test_a_revoked_client_must_not_come_back(gate: RunningGateway) -> None:
    """204, without a body; the stream that it had ends."""
    token = gate.token()
    async with streaming(gate, token=token) as stream, http(gate, gate.token("root", scope="admin")) as api:
        assert (await api.post("/admin/tokens/revoke", json={"user_id": "ada"})).json()["disconnected"] == 1
        await stream.ended()
    async with asking(gate, token=token) as client:
        assert client.status == 204
        assert client.headers["cache-control"] == "no-store"
        assert "content-type" not in client.headers


async def test_pages_of_other_origins(gate: RunningGateway) -> None:
    """The rule of the WebSocket: a page of another origin may not connect; one of the gateway's own may."""
    assert (await refused(gate, Origin="https://evil.example"))[0] == 403
    async with streaming(gate, Origin=gate.url.removesuffix("/rt")) as stream:
        assert stream.client.headers["access-control-allow-origin"] == gate.url.removesuffix("/rt")


# ---- the same objects as behind a WebSocket


async def test_the_stream_ends_with_its_token() -> None:
    for way in ("socket", "asgi"):
        async with serving(way) as gate:
            async with streaming(gate) as stream:
                gate.later(570)
                assert (await stream.next())["type"] == "token.expiring"
                gate.later(30)
                await stream.ended()


async def test_an_administrator_ends_it_and_presence_counts_it(gate: RunningGateway) -> None:
    async with (
        streaming(gate, "?rooms=circle:1") as stream,
        http(gate, gate.token("root", scope="admin subscribe")) as api,
    ):
        room = (await api.get("/rooms/circle:1/presence")).json()
        assert room["users"] == [{"user_id": "ada", "connections": 1}]
        (seen,) = (await api.get("/admin/connections")).json()["connections"]
        assert (await api.delete(f"/admin/connections/{seen['connection_id']}")).status_code == 204
        await stream.ended()
        await until(lambda: not list(gate.service.gateway.manager.connections()))


async def test_a_room_is_taken_from_its_user(gate: RunningGateway) -> None:
    async with streaming(gate, "?rooms=circle:1") as stream:
        await stream.next("subscribed")
        await gate.publish(type="circle.member.removed", circle_id=1, data={"user_id": "ada"})
        assert (await stream.next())["type"] == "circle.member.removed"
        assert (await stream.next())["type"] == "subscription.revoked"


async def test_a_client_that_goes_is_forgotten(gate: RunningGateway) -> None:
    """However it goes, while events come."""
    manager = gate.service.gateway.manager
    async with streaming(gate, "?rooms=circle:1"), streaming(gate, "?rooms=circle:1") as rude:
        rude.client.abort()
        await gate.publish(circle_id=1)
        await until(lambda: len(list(manager.connections())) == 1)
    await gate.publish(circle_id=1)
    await until(lambda: not list(manager.connections()))
    assert manager.of("acme").streams == {}


async def test_a_slow_client_is_caught_up_and_others_are_not_held_up(gate: RunningGateway) -> None:
    """The slow consumer falls behind, and gets everything in order once it reads."""
    async with streaming(gate, "?rooms=circle:1") as slow, streaming(gate, "?rooms=circle:1") as other:
        await slow.next("subscribed")
        await other.next("subscribed")
        (connection, _) = gate.service.gateway.manager.connections()
        ids = []
        while connection.live:
            ids.append(await gate.publish(circle_id=1, data={"filler": "x" * 20_000}))
            assert (await other.next())["event_id"] == ids[-1]
            assert len(ids) < 2_000
        ids += [await gate.publish(circle_id=1) for _ in range(20)]
        assert [(await slow.next())["event_id"] for _ in ids] == ids
        assert [(await other.next())["event_id"] for _ in range(20)] == ids[-20:]


async def test_one_who_reads_nothing_is_given_up() -> None:
    for way in ("socket", "asgi"):
        async with serving(way, stall_seconds=1.0) as gate, streaming(gate, "?rooms=circle:1"):
            manager = gate.service.gateway.manager
            async with asyncio.timeout(PATIENCE):
                while list(manager.connections()):
                    await gate.publish(circle_id=1, data={"filler": "x" * 60_000})
                    await asyncio.sleep(0.005)


async def test_each_connection_gets_an_event_once(gate: RunningGateway) -> None:
    """Streams and sockets side by side, in several rooms of one event, a batch of several events included."""
    query = "rooms=circle:1,project:2"
    async with streaming(gate, f"?{query}") as stream, gate.client(query=f"&{query}") as client:
        await stream.next("subscribed")
        await client.next("subscribed")
        ids = await asyncio.gather(*(gate.publish(circle_id=1, project_id=2 + n % 2) for n in range(20)))
        assert [(await stream.next())["event_id"] for _ in ids] == list(ids)
        assert [(await client.next())["event_id"] for _ in ids] == list(ids)


# ---- keepalive


async def test_something_is_written_within_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment, where there is no mark to give; the limits here are shorter."""
    assert SILENCE_SECONDS + 1.5 <= 15.0
    assert 2 * WATCH_SECONDS < 15.0
    monkeypatch.setattr("gateway.transports.uvicorn.event_stream.SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("gateway.transports.asgi_event_stream.WATCH_SECONDS", 0.4)
    for way in ("socket", "asgi"):
        async with serving(way, mark_interval=0) as gate, streaming(gate, "?rooms=circle:1") as stream:
            await stream.next("subscribed")
            for _ in range(2):
                assert (await stream.block()).raw == ":"
            published = await gate.publish(circle_id=1)
            while (block := await stream.block()).raw == ":":
                pass
            assert block.id == published


@pytest.mark.parametrize("way", WAYS)
async def test_a_mark_is_an_id_alone(way: str) -> None:
    """The mark comes at the end of a replay, advances the position to resume from, and dispatches nothing."""
    async with serving(way, mark_interval=15) as gate:
        ids = [await gate.publish(circle_id=1) for _ in range(3)]
        head = await gate.publish(circle_id=2)
        async with streaming(gate, "?rooms=circle:1", Last_Event_ID=ids[0]) as stream:
            await stream.next("subscribed")
            assert [(await stream.next())["event_id"] for _ in range(2)] == ids[1:]
            assert (await stream.block()).raw == f"id: {head}"


async def test_a_quiet_stream_gets_marks() -> None:
    """The rule of a WebSocket; beside one, each gets marks in its own form."""
    for way in ("socket", "asgi"):
        async with serving(way, mark_interval=1) as gate, gate.client(query="&rooms=circle:1") as client:
            async with streaming(gate, "?rooms=circle:1") as stream:
                await stream.next("subscribed")
                await client.next("subscribed")
                head = await gate.publish(circle_id=2)
                while (await client.next("stream.mark"))["data"]["cursor"] != head:
                    pass
                while (block := await stream.block()).raw != f"id: {head}":
                    assert block.raw.startswith("id: ")


# ---- the promise


@pytest.mark.parametrize("way", ["socket", "asgi"])
@pytest.mark.parametrize("seed", range(3))
async def test_after_any_break_each_event_comes_once_and_in_order(way: str, seed: int) -> None:
    """A client that is cut off at any time, by either end, and resumes from the last id of its stream, as browsers do:
    whether that was an event's, a mark's or that of the first block. Events of other rooms come in between."""
    rng = random.Random(seed)
    async with serving(way, mark_interval=1, log_max_bytes=64 * 1024 * 1024) as gate:
        manager = gate.service.gateway.manager
        place = await gate.publish(circle_id=9)
        published: list[str] = []

        async def publish() -> None:
            for n in range(400):
                room = rng.choice([1, 1, 2, 3])
                event_id = await gate.publish(circle_id=room, data={"filler": "x" * rng.choice([10, 10, 3_000])})
                if room != 3:
                    published.append(event_id)
                if n % 40 == 39:
                    await asyncio.sleep(rng.choice([0, 0.05, 0.2]))

        publishing = asyncio.create_task(publish())
        got: list[str] = []
        async with asyncio.timeout(40.0):
            while not publishing.done() or len(got) < len(published):
                async with asking(gate, f"?rooms=circle:1,circle:2&since={place}", Last_Event_ID=place) as client:
                    assert client.status == 200
                    left = rng.choice([2, 3, 5, 20, 100, 400])  # blocks
                    with contextlib.suppress(EOFError, TimeoutError, ConnectionError):
                        while left and not (publishing.done() and len(got) == len(published)):
                            block = await client.next_block(1.0)
                            place = block.id or place
                            left -= 1
                            if block.data is not None and block.event is None:
                                got.append(json.loads(block.data)["event_id"])
                            if left == 1 and rng.random() < 0.5:
                                for connection in list(manager.connections()):
                                    connection.transport.abort()
                    if rng.random() < 0.5:
                        client.abort()
        await publishing
        assert got == published


# ---- drain


async def test_a_drain_tells_each_stream_its_slot_and_ends_it() -> None:
    """The slot is the `retry:` of its last block: a browser reconnects at it, after this node has ended."""
    for way in ("socket", "asgi"):
        async with serving(way) as gate, AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(streaming(gate, "?rooms=circle:1")) for _ in range(4)]
            for stream in streams:
                await stream.next("subscribed")
            draining = asyncio.create_task(gate.service.gateway.drain.run(1.0))
            slots = []
            for stream in streams:
                block = await stream.block()
                assert block.event == "server.draining"
                assert block.retry == json.loads(block.data or "")["data"]["reconnect_after_ms"]
                slots.append(block.retry or 0)
            assert len(set(slots)) == 4
            assert all(1_000 <= slot <= 2_000 for slot in slots)
            late = await gate.publish(circle_id=1)
            for stream in streams:
                assert (await stream.next())["event_id"] == late
                await stream.ended()
            await draining


# ---- HTTP


async def test_head_answers_the_headers_and_ends(gate: RunningGateway) -> None:
    """No stream is opened; the connection goes on. Refusals are those of GET."""
    sent = {"Authorization": f"Bearer {gate.token()}"}
    client = await EventStreamClient.open(f"{gate.url}/events/stream?rooms=circle:1", sent, method="HEAD")
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in client.headers
    assert list(gate.service.gateway.manager.connections()) == []
    path = f"/{gate.url.partition('://')[2].partition('/')[2]}/healthz".replace("//", "/")
    await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 200 ")
    await client.close()
    refused = await EventStreamClient.open(f"{gate.url}/events/stream", method="HEAD")
    assert refused.status == 401
    await refused.close()


@pytest.mark.parametrize("way", ["socket", "h11"])
async def test_http_1_0_has_no_chunks(way: str) -> None:
    """Nor has 1.1: the end of the stream is the end of the connection."""
    async with serving(way) as gate:
        for version in ("1.0", "1.1"):
            sent = {"Authorization": f"Bearer {gate.token()}"}
            client = await EventStreamClient.open(f"{gate.url}/events/stream?rooms=circle:1", sent, version=version)
            assert "transfer-encoding" not in client.headers
            assert client.headers["connection"] == "close"
            blocks: list[Block] = [await client.next_block() for _ in range(3)]
            assert [block.event for block in blocks] == [None, "connection.established", "subscribed"]
            published = await gate.publish(circle_id=1)
            assert (await client.next_block()).id == published
            await client.close()
