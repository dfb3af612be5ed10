"""BEHIND over real sockets: who cannot take more keeps its place, and is caught up from the log.

The window that the kernels keep for a client is made small (SO_RCVBUF here, unsent bytes there), so that a few hundred
events are enough to fall behind.
"""

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.window import Bounds
from tests.support.clients import http
from tests.support.inprocess import RunningGateway, running
from tests.support.lab import GatewayLab
from tests.support.pauses import PATIENCE, Instant, now, until
from tests.support.process import GatewayProcess
from tests.support.pulse import healthy
from tests.support.raw_client import PING, PONG, TEXT, command, frame, opened, several
from tests.support.tokens import token
from tests.transport.slow import BIG, connection_of, events, fall_behind, publish, slow, unlimited, unsent, until_reply

# ---- slow readers


async def test_a_slow_reader_gets_every_event_in_order_and_is_live_again() -> None:
    """The unread events, ten times what its transport holds, wait in the log and not in memory of the connection."""
    async with unlimited() as gate, slow(gate) as client:
        ids = await fall_behind(gate) + await publish(gate, 1_500)
        connection = connection_of(gate)
        assert not connection.live
        assert unsent(connection) < 512 * 1024
        assert await events(client, len(ids)) == ids
        await until(lambda: connection.live)
        (last,) = await publish(gate, 1)
        assert await events(client, 1) == [last]
        await client.send(command(type="ping", id="end"))
        assert (await until_reply(client, "end"))[0] == []


@pytest.mark.timing
async def test_a_reader_of_1_kb_a_second_is_not_taken_for_one_that_stopped(tmp_path: Path) -> None:
    """The connection stays, behind for three times the stall timeout; then it gets the rest, in order."""
    async with GatewayProcess(tmp_path, stall_seconds=3.0, ping_interval=1.0) as served:
        async with opened(served.port, token(), "&rooms=circle:load", receive_buffer=2_048) as client:
            await served.publish([{"number": number, **BIG} for number in range(400)], circle_id="load")
            began = time.monotonic()
            async with healthy(served):
                while (passed := time.monotonic() - began) < 9.0:
                    if client.received < 1_000 * passed:
                        client.sip(100)
                    await asyncio.sleep(0.02)
            numbers: list[int] = []
            while len(numbers) < 400:
                message = await client.message()
                if message["type"] == "task.completed":
                    numbers.append(message["data"]["number"])
            assert numbers == list(range(400))


async def test_little_waits_in_the_process_for_a_slow_reader() -> None:
    """Bytes that wait are older than the log by the time they leave: little more is written than the kernel takes."""
    async with unlimited() as gate, slow(gate) as client:
        connection = connection_of(gate)
        async with asyncio.timeout(PATIENCE):
            while connection.live:
                await publish(gate, 10)
                await asyncio.sleep(0.02)
        held = []
        for _ in range(50):
            client.sip(4_000)
            await publish(gate, 10)
            await asyncio.sleep(0.01)
            held.append(unsent(connection))
        assert not connection.live
        assert max(held) < 160_000


@pytest.mark.parametrize("kernel", ["tells", "tells nothing"])
async def test_one_that_drains_again_and_again_is_not_given_up(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that it is looked after something waits for it, and each time it is something else: also where no
    system tells what the client has taken."""
    if kernel == "tells nothing":
        monkeypatch.setattr("gateway.transports.uvicorn.writer.acked_bytes", lambda transport: 0)
    async with unlimited(stall_seconds=1.0) as gate, slow(gate) as client:
        connection = connection_of(gate)
        ids: list[str] = []
        received = 0
        began = time.monotonic()
        while time.monotonic() - began < 4.0:
            while not unsent(connection):
                ids += await publish(gate, 20)
            await asyncio.sleep(0.01)
            received += len(await events(client, 10))
        assert connection_of(gate) is connection
        assert await events(client, len(ids) - received) == ids[received:]


@pytest.mark.timing
async def test_one_that_takes_and_answers_nothing_is_gone_though_events_come() -> None:
    """Its kernel takes all that comes, and so seems to read; no ping is answered, and that is what counts."""
    async with unlimited(ping_interval=0.5, stall_seconds=60.0) as gate:
        async with opened(gate.port, gate.token(), "&rooms=circle:1"):
            began = now()
            while list(gate.service.gateway.manager.connections()):
                await publish(gate, 1, {})
                # Longer than a kernel waits with its acknowledgment (40 ms): most looks find all taken.
                await asyncio.sleep(0.3)
                assert now() - began < 6.0


async def test_a_full_one_is_not_read_from() -> None:
    """Backpressure: commands of a client that does not read its replies wait in its own kernel until it reads."""
    async with unlimited() as gate, slow(gate) as client:
        ids = await fall_behind(gate)
        connection = connection_of(gate)
        before = connection.received
        for number in range(50):
            await client.send(command(type="ping", id=number))
        await asyncio.sleep(0.3)
        assert connection.received == before
        assert await events(client, len(ids)) == ids
        await until(lambda: connection.received == before + 50)


async def test_the_rest_of_a_large_event_fills_a_transport() -> None:
    """The rest after a short write may be more than a transport holds: the next event waits in the log."""
    async with unlimited(max_message_bytes=4 * 1024 * 1024) as gate, slow(gate) as client:
        ids = []
        for _ in range(5):
            ids += await publish(gate, 1, {"x": "y" * 3_000_000})
            await asyncio.sleep(0)
        connection = connection_of(gate)
        assert not connection.live
        assert unsent(connection) < 3_100_000
        assert await events(client, 5) == ids


async def test_one_that_stops_is_gone_and_comes_back_to_what_it_missed() -> None:
    """Given up within `stall_seconds` + 2 s, nothing of it left; with its cursor it goes on where it was."""
    async with unlimited(stall_seconds=0.5) as gate:
        async with slow(gate) as client:
            ids = await fall_behind(gate)
            seen = await events(client, 3)
            assert await client.gone() < 2.5
            await until(lambda: not list(gate.service.gateway.manager.connections()))
        assert seen == ids[:3]
        async with slow(gate, f"&rooms=circle:1&since={seen[-1]}") as client:
            assert (await client.message())["data"]["recovered"] is True
            assert await events(client, len(ids) - 3) == ids[3:]


async def test_a_gap_is_reported_before_anything_later() -> None:
    """Earlier events come first, in order; then `stream.gap` with a cursor; then everything after that."""
    async with unlimited(log_max_events=100) as gate, slow(gate) as client:
        ids = await fall_behind(gate) + await publish(gate, 300)
        before: list[str] = []
        while (message := await client.message())["type"] != "stream.gap":
            if message["type"] == "task.completed":
                before.append(message["event_id"])
        assert before == ids[: len(before)]
        assert message["data"] == {"reason": "history_trimmed", "cursor": ids[-1]}
        later = await publish(gate, 30)
        assert await events(client, 30) == later
        assert connection_of(gate).live


async def test_losses_of_other_rooms_are_no_gap_for_a_slow_consumer() -> None:
    """All trimmed entries after its offset were of another room: it is caught up, without a gap."""
    async with unlimited(log_max_events=100) as gate, slow(gate) as client:
        connection, ids = connection_of(gate), []
        while connection.live:
            ids += await publish(gate, 1)
        await publish(gate, 300, {}, circle_id=2)
        assert connection.offset is not None
        assert gate.service.gateway.log.window("acme").first > connection.offset + 1
        ids += await publish(gate, 5)
        got: list[str] = []
        while len(got) < len(ids):
            message = await client.message()
            assert message["type"] != "stream.gap"
            got += [message["event_id"]] if message["type"] == "task.completed" else []
        assert got == ids
        await until(lambda: connection.live)


async def test_a_place_that_is_just_still_there_is_no_gap() -> None:
    """The window ends at exactly the event after its place: nothing is missed."""
    async with unlimited() as gate, slow(gate) as client:
        ids = await fall_behind(gate)
        connection, window = connection_of(gate), gate.service.gateway.log.window("acme")
        assert connection.offset is not None
        window.bounds = Bounds(max_events=window.head - connection.offset + 1)
        ids += await publish(gate, 1)
        assert window.first == connection.offset + 1
        assert await events(client, len(ids)) == ids


@pytest.mark.timing
async def test_many_are_behind_at_once_and_a_healthy_one_is_not_delayed() -> None:
    """40 slow readers: each gets everything, in order; meanwhile a healthy client is never behind."""
    async with unlimited() as gate, gate.client(gate.token("bob"), "&rooms=circle:1") as healthy_one:
        readers = [slow(gate, **{"user_id": f"slow{i}"}) for i in range(40)]
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(reader) for reader in readers]
            ids, received = [], []
            await healthy_one.next("subscribed")
            connection = connection_of(gate, "bob")
            for _ in range(40):
                ids += await publish(gate, 10)
                received += [(await healthy_one.next("task.completed", timeout=1.0))["event_id"] for _ in range(10)]
                assert connection.live
            assert received == ids
            assert not any(connection_of(gate, f"slow{i}").live for i in range(40))
            for got in await asyncio.gather(*(events(client, len(ids)) for client in clients)):
                assert got == ids


@pytest.mark.timing
async def test_a_slow_consumer_delays_no_other_client(tmp_path: Path) -> None:
    """30 of them beside a healthy client, at a `gateway serve`: it gets each event, 99 of 100 within 250 ms."""
    async with GatewayProcess(tmp_path) as served, several(30, served.port, token(), "&rooms=circle:pulse,circle:load"):
        async with healthy(served):
            for _ in range(20):
                await served.publish([BIG] * 30, circle_id="load")
                await asyncio.sleep(0.05)


async def test_all_who_are_behind_share_half_a_millisecond_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart that is everybody: each gets its batch in its turn, and between the turns the loop is free."""
    monkeypatch.setattr("gateway.engine.fair_share.ALONE_SECONDS", 3_600.0)  # tenants compete
    async with running() as gate:
        delivery, shares = gate.service.gateway.delivery, gate.service.gateway.connections.shares
        served: list[Any] = []

        def catch_up(connection: Any) -> None:
            served.append(connection)
            shares.charge(200)

        monkeypatch.setattr(delivery, "catch_up", catch_up)
        identity = SimpleNamespace(tenant="acme")
        waiting: list[Any] = [SimpleNamespace(catch_up_scheduled=False, identity=identity) for _ in range(12)]
        for connection in waiting:
            delivery.catch_up_soon(connection)
            delivery.catch_up_soon(connection)
        turns = []
        while len(served) < 12:
            before = len(served)
            await asyncio.sleep(0)
            turns.append(len(served) - before)
        assert turns == [3, 3, 3, 3]
        await asyncio.sleep(0)
        assert served == waiting


async def test_a_closed_client_has_no_descriptor() -> None:
    """Nor gets one back where it was sent away over something that it said."""
    async with unlimited() as gate, opened(gate.port, gate.token(), "&rooms=circle:1") as client:
        transport = connection_of(gate).transport
        assert transport.fd is not None
        await client.send(frame(TEXT, b"\xff"))
        assert await client.close_code() == 1007
        assert transport.fd is None


# ---- over their rate


@pytest.mark.timing
@pytest.mark.parametrize(("configured", "claimed"), [(100, None), (500, 100), (100, 500), (0, 100)])
async def test_over_its_rate_a_client_gets_everything_a_little_later(configured: int, claimed: int | None) -> None:
    """The lower of the setting and the token's `rate`: 100 at once, then 100 a second; then it is live again."""
    async with unlimited(events_per_second=configured) as gate:
        async with gate.client(gate.token(rate=claimed), "&rooms=circle:1") as client:
            assert client.established["data"]["limits"]["events_per_second"] == 100
            await client.next("subscribed")
            began = now()
            ids = await publish(gate, 250, {})
            got = [(await client.next("task.completed"))["event_id"] for _ in range(250)]
            took = now() - began
            assert got == ids
            assert 1.4 < took < 2.5, took
            await until(lambda: connection_of(gate).live)
            (last,) = await publish(gate, 1)
            assert (await client.next())["event_id"] == last


@pytest.mark.timing
async def test_a_rate_that_a_turn_does_not_divide_is_kept() -> None:
    """30 a second, caught up every 50 ms: 30 a second it is, and not 20."""
    async with unlimited(events_per_second=30) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        began = now()
        ids = await publish(gate, 90, {})
        assert [(await client.next("task.completed"))["event_id"] for _ in range(90)] == ids
        assert 1.9 < now() - began < 2.8


@pytest.mark.timing
async def test_replies_and_pings_are_answered_while_behind() -> None:
    """At once, between the events that wait for their time."""
    async with unlimited(events_per_second=20) as gate:
        async with opened(gate.port, gate.token(), "&rooms=circle:1") as client:
            ids = await publish(gate, 60, {})
            began = now()
            await client.send(frame(PING, b"?"))
            await client.send(command(type="ping", id="now"))
            await client.send(command(type="publish", event={"type": "a.b", "data": {}, "project_id": 1}, id="too"))
            seen = 0
            answers: list[str] = []
            while len(answers) < 3:
                opcode, payload = await client.frame()
                if opcode == PONG:
                    answers.append(payload.decode())
                    continue
                message = json.loads(payload)
                seen += "event_id" in message
                if "id" in message:
                    answers.append(message["id"])
            assert sorted(answers) == ["?", "now", "too"]
            assert now() - began < 1.0
            assert not connection_of(gate).live
            assert await events(client, 60 - seen) == ids[seen:]


@pytest.mark.timing
async def test_showing_the_token_again_earns_no_more_events() -> None:
    """A fresh token of the same rate is no new allowance."""
    async with unlimited(events_per_second=20) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        began = now()
        ids = await publish(gate, 60, {})
        got: list[str] = []
        while len(got) < 60:
            frame = await client.next()
            if frame["type"] == "task.completed":
                got.append(frame["event_id"])
                await client.send(type="auth", token=gate.token())
        assert got == ids
        assert 1.5 < now() - began < 3.0


# ---- rooms that change meanwhile


async def test_events_of_a_left_room_do_not_come_after_the_reply() -> None:
    """`unsubscribe`: the other room goes on, without a hole."""
    async with unlimited() as gate, slow(gate, "&rooms=circle:1,circle:2") as client:
        await fall_behind(gate, circle_id=1)
        kept = await publish(gate, 5, circle_id=2) + await publish(gate, 5, circle_id=1, project_id=9)
        await client.send(command(type="unsubscribe", rooms=["circle:1"], id="out"))
        connection = connection_of(gate)
        reading = asyncio.create_task(until_reply(client, "out"))
        await until(lambda: "circle:1" not in connection.rooms or reading.done())
        await reading
        (last,) = await publish(gate, 1, circle_id=2)
        rest = await events(client, 1)
        while rest[-1] != last:
            rest += await events(client, 1)
        # Of circle:2 everything is still owed, or was brought before the reply.
        assert set(rest) <= {*kept[:5], last}
        assert rest == sorted(rest, key=[*kept, last].index)


async def test_rooms_that_are_joined_while_behind_are_brought_from_there_on() -> None:
    """Over its rate, so that its commands are heard: with `since`, with `history` and with neither."""
    async with unlimited(events_per_second=40) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        (start,) = await publish(gate, 1, {}, circle_id=2)
        missed = await publish(gate, 3, {}, circle_id=2)
        old = await publish(gate, 4, {}, circle_id=3)
        await publish(gate, 2, {}, circle_id=4)
        ones = await publish(gate, 60, {})
        connection = connection_of(gate)
        await until(lambda: not connection.live)
        both = await publish(gate, 1, {}, circle_id=1, project_id=2)
        await client.send(type="subscribe", rooms=["circle:2"], since=start, id="since")
        await client.send(type="subscribe", rooms=["circle:3"], history=2, id="history")
        await client.send(type="subscribe", rooms=["circle:4", "project:2"], id="now")
        frames = [await client.next() for _ in range(60)]
        later = await publish(gate, 1, {}, circle_id=4)
        while (frame := await client.next()).get("event_id") != later[0]:
            frames.append(frame)
        ids = [frame["event_id"] for frame in frames if "event_id" in frame]
        assert len(ids) == len(set(ids)), "nothing twice"
        assert sorted(ids) == sorted([*ones, *missed, *old[2:], *both])
        assert [i for i in ids if i in {*ones, *both}] == [*ones, *both], "the log's order"
        assert [i for i in ids if i in missed] == missed
        replies = {frame["id"]: position for position, frame in enumerate(frames) if "id" in frame}
        assert list(replies) == ["since", "history", "now"]
        places = {event_id: i for i, event_id in enumerate(frame.get("event_id") for frame in frames)}
        assert places[missed[0]] > replies["since"]
        assert places[old[2]] > replies["history"]


async def test_rooms_that_a_fresh_token_no_longer_grants_are_dropped_while_behind() -> None:
    """`auth` with fewer rooms: what waited in them is not brought any more, what waited in the others is."""
    async with unlimited(events_per_second=5) as gate, gate.client(query="&rooms=circle:1,circle:2") as client:
        await client.next("subscribed")
        await publish(gate, 40, {}, circle_id=1)
        twos = await publish(gate, 10, {}, circle_id=2)
        await client.send(type="auth", token=gate.token(rooms=["circle:2"]), id="auth")
        before = []
        while (frame := await client.next()).get("id") != "auth":
            before.append(frame)
        assert frame["data"]["dropped"] == ["circle:1"]
        assert not connection_of(gate).live
        assert len(before) < 40
        assert [(await client.next("task.completed"))["event_id"] for _ in range(10)] == twos
        await until(lambda: connection_of(gate).live)
        await client.quiet(0.1)


async def test_a_replay_brings_nothing_of_rooms_that_are_dropped_meanwhile() -> None:
    """Owed from before and no longer granted: not brought, and the rest of the replay is."""
    async with unlimited(events_per_second=5) as gate:
        (start,) = await publish(gate, 1, {}, circle_id=9)
        for _ in range(20):
            await publish(gate, 2, {}, circle_id=1)
            await publish(gate, 1, {}, circle_id=2)
        async with gate.client(query=f"&rooms=circle:1,circle:2&since={start}") as client:
            assert (await client.next("subscribed"))["data"]["replayed"] == 60
            await client.send(type="auth", token=gate.token(rooms=["circle:2"]), id="auth")
            circles = []
            while (frame := await client.next()).get("id") != "auth":
                circles.append(frame["circle_id"])
            assert connection_of(gate).replay is not None
            assert 1 in circles
            later = [(await client.next("task.completed"))["circle_id"] for _ in range(20 - circles.count(2))]
            assert set(later) == {2}
            await until(lambda: connection_of(gate).live)
            await client.quiet(0.1)


# ---- resume and history are the same


@pytest.mark.parametrize("how", ["since", "history"])
async def test_a_replay_of_many_batches_goes_over_into_what_is_new(how: str) -> None:
    """2 MB to a reader of its own speed, events coming all the while: each once, in order, none between."""
    count = 1_000 if how == "since" else 100
    data = BIG if how == "since" else {"x": "y" * 20_000}
    async with unlimited() as gate:
        (start,) = await publish(gate, 1)
        ids = await publish(gate, count, data)
        async with slow(gate, "") as client:
            asked = {"since": start} if how == "since" else {"history": 100}
            await client.send(command(type="subscribe", rooms=["circle:1"], id="all", **asked))
            reply = await client.message()
            assert (reply["id"], reply["data"]["replayed"]) == ("all", count)
            reading = asyncio.create_task(events(client, count + 200))
            for _ in range(20):
                ids += await publish(gate, 10)
                await asyncio.sleep(0.001)
            assert await reading == ids
            await until(lambda: connection_of(gate).live)


async def test_a_replay_that_falls_out_of_the_window_is_a_gap() -> None:
    """A replay that was promised by `recovered: true` and then trimmed from the log: the gap comes before any later
    event."""
    async with unlimited(log_max_events=500) as gate:
        (start,) = await publish(gate, 1)
        ids = await publish(gate, 400)
        async with slow(gate, f"&rooms=circle:1&since={start}") as client:
            assert (await client.message())["data"]["recovered"] is True
            await until(lambda: unsent(connection_of(gate)) > 0)
            ids += await publish(gate, 600)
            before: list[str] = []
            while (message := await client.message())["type"] == "task.completed":
                before.append(message["event_id"])
            assert message["type"] == "stream.gap"
            assert before == ids[: len(before)]
            later = await publish(gate, 10)
            assert await events(client, 10) == later


@pytest.mark.timing
@pytest.mark.parametrize("end", ["expired", "revoked"])
async def test_nothing_that_waited_comes_long_after_the_tokens_end(end: str) -> None:
    """To one that reads 200 kB/s and is behind: in 2 s everything is over, whatever waited for it."""
    async with unlimited() as gate, slow(gate) as client:
        await fall_behind(gate)
        publishing = asyncio.create_task(publish_forever(gate))
        ended: Instant | None = None
        last, received, begun = now(), client.received, now()
        while ended is None or now() - ended < 4.0:
            if ended is None and now() - begun > 1.0:
                assert not connection_of(gate).live
                assert client.received > received
                ended = now()
                if end == "expired":
                    gate.later(600)
                else:
                    await revoke(gate)
            before = client.received
            with suppress(ConnectionResetError):
                client.sip(8_192)
            last = now() if client.received > before else last
            await asyncio.sleep(0.04)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        assert last - ended < 2.0


async def publish_forever(gate: RunningGateway) -> None:
    while True:
        await publish(gate, 20)
        await asyncio.sleep(0.05)


async def revoke(gate: RunningGateway) -> None:
    async with http(gate, gate.token("root", scope="admin")) as admin:
        answer = await admin.post("/admin/tokens/revoke", json={"user_id": "ada"})
    assert answer.json()["disconnected"] == 1


async def test_loss_that_the_reply_has_reported_is_not_reported_again() -> None:
    """The connection is behind and joins a room whose events are gone since its cursor: `recovered: false`, and then
    all that the reply has counted."""
    lab = GatewayLab(log_max_events=10)
    await lab.gateway.start()
    try:
        await lab.happen(2, circle=7)
        since = lab.gateway.log.window("acme").cursor
        connection, transport = lab.join(rooms="circle:8")
        transport.full = True
        await lab.happen(1, circle=8)
        await lab.settle()
        assert not connection.live
        await lab.happen(15, circle=7)
        lab.say(connection, type="subscribe", rooms=["circle:7"], since=since)
        transport.full = False
        lab.gateway.on_writable(connection)
        await lab.settle()
        answer = transport.last("subscribed")["data"]
        assert (answer["recovered"], answer["replayed"]) == (False, 10)
        assert "stream.gap" not in transport.kinds
        assert [event["data"]["n"] for event in transport.events] == [0, *range(5, 15)]
    finally:
        await lab.gateway.stop()
