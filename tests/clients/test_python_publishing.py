"""Publishing with the Python client at a real gateway, over HTTP and over a WebSocket, with faults of the network."""

import asyncio
import gc
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

import gathering_client.sync
from gathering_client import Draft, EventType, Receipt, Refused, TokenRefused, Unreachable, connect
from tests.support.inprocess import RunningGateway, embedded, running
from tests.support.pauses import PATIENCE
from tests.support.proxy import Proxy, proxied
from tests.support.settings import environment, settings_for

OVER: tuple[Literal["http", "websocket"], ...] = ("http", "websocket")


@pytest.fixture
async def network(gate: RunningGateway) -> AsyncIterator[Proxy]:
    async with proxied(gate.port) as proxy:
        yield proxy


def url_of(network: Proxy) -> str:
    return f"http://127.0.0.1:{network.port}"


@pytest.mark.parametrize("over", OVER)
async def test_an_event_is_published(gate: RunningGateway, over: Literal["http", "websocket"]) -> None:
    """By a name, a type or a draft; a draft that is sent again is a duplicate."""
    async with (
        connect(gate.url, token=gate.token(), publish_over=over) as client,
        gate.client(query="&rooms=circle:7") as reader,
    ):
        await reader.next("subscribed")
        first = await client.publish("task.completed", {"n": 1}, circle_id=7)
        assert (await reader.next("task.completed"))["event_id"] == first.event_id
        await client.publish(EventType("task.started", dict[str, Any]), {"n": 2}, circle_id=7)
        assert (await reader.next("task.started"))["data"] == {"n": 2}
        draft = Draft("task.failed", {"n": 3}, circle_id=7)
        receipts = [await client.publish(draft), await client.publish(draft)]
        assert [receipt.duplicate for receipt in receipts] == [False, True]
        assert receipts[0].event_id == receipts[1].event_id


@pytest.mark.parametrize("over", OVER)
async def test_a_refusal_is_raised(gate: RunningGateway, over: Literal["http", "websocket"]) -> None:
    async with connect(gate.url, token=gate.token(rooms=["circle:7"]), publish_over=over) as client:
        with pytest.raises(Refused, match="room_forbidden"):
            await client.publish("a.b", circle_id=8)
    async with connect(gate.url, token="nonsense", publish_over=over) as client:
        with pytest.raises(TokenRefused, match="token_invalid"):
            await client.publish("a.b", circle_id=7)


@pytest.mark.parametrize("over", OVER)
async def test_many_tasks_publish_over_a_network_that_breaks(
    gate: RunningGateway, network: Proxy, over: Literal["http", "websocket"]
) -> None:
    """Each event is in the log once, though its request may have been sent twice."""
    stop = asyncio.Event()

    async def break_it() -> None:
        pause = 0.05
        while not stop.is_set():
            await asyncio.sleep(pause)
            network.reset()
            pause *= 1.2  # so that a slow machine, too, gets something done in between

    async with (
        connect(url_of(network), token=gate.token(), publish_over=over) as client,
        gate.client(query="&rooms=circle:7") as reader,
    ):
        await reader.next("subscribed")
        breaking = asyncio.create_task(break_it())
        receipts = await asyncio.gather(*(client.publish("a.b", {"n": n}, circle_id=7) for n in range(40)))
        stop.set()
        await breaking
        came = [await reader.next("a.b") for _ in receipts]
        await reader.quiet()
        assert sorted(frame["data"]["n"] for frame in came) == list(range(40))
        assert {frame["event_id"] for frame in came} == {receipt.event_id for receipt in receipts}


async def test_the_rate_of_commands_is_waited_out() -> None:
    """Over a WebSocket it is lower than that of HTTP."""
    async with running(settings_for(commands_per_second=20, command_burst=2)) as gate:
        async with connect(gate.url, token=gate.token(), publish_over="websocket") as client:
            await asyncio.gather(*(client.publish("a.b", circle_id=7) for _ in range(8)))


async def test_a_batch_larger_than_a_request() -> None:
    """In parts; each event has its own result, and what is over the rate is sent again."""
    async with running(settings_for(publish_per_second=2_000, publish_burst=1_000)) as gate:
        async with connect(gate.url, token=gate.token()) as client:
            drafts = [Draft("a.b", {"n": n}, circle_id=7) for n in range(1_200)]
            drafts[3] = Draft("Bad Type", circle_id=7)
            results = await client.publish_batch(drafts)
        assert [type(result) for result in results] == [Refused if n == 3 else Receipt for n in range(1_200)]
        assert len({result.event_id for result in results if isinstance(result, Receipt)}) == 1_199


@pytest.mark.parametrize("over", OVER)
async def test_a_token_that_has_expired_is_renewed(gate: RunningGateway, over: Literal["http", "websocket"]) -> None:
    tokens = [gate.token(now=gate.service.gateway.clock() - 700), gate.token()]
    async with connect(gate.url, token=lambda: tokens.pop(0), publish_over=over) as client:
        await client.publish("a.b", circle_id=7)
    assert tokens == []


@pytest.mark.parametrize("over", OVER)
async def test_an_address_without_a_gateway(over: Literal["http", "websocket"]) -> None:
    async with connect("http://127.0.0.1:1", token="token", publish_over=over) as client:
        with pytest.raises(Unreachable):
            await client.publish("a.b", circle_id=7, patience=0.3)


async def test_errors_say_whether_to_try_again() -> None:
    """For a worker that runs its task again later: after a rate and without an answer, and not after a refusal."""
    async with running(settings_for(publish_per_second=1, publish_burst=1)) as gate:
        async with connect(gate.url, token=gate.token()) as client:
            await client.publish("a.b", circle_id=7)
            with pytest.raises(Refused) as rate:
                await client.publish("a.b", circle_id=7, patience=0)
        async with connect(gate.url, token=gate.token("bob", rooms=["circle:7"])) as client:
            with pytest.raises(Refused) as room:
                await client.publish("a.b", circle_id=8, patience=0)
    async with connect(gate.url, token="jwt") as client:
        with pytest.raises(Unreachable) as nothing:
            await client.publish("a.b", circle_id=7, patience=0)
    assert [error.value.code for error in (rate, room, nothing)] == ["rate_limited", "room_forbidden", "unreachable"]
    assert [error.value.temporary for error in (rate, room, nothing)] == [True, False, True]


async def test_presence(gate: RunningGateway) -> None:
    async with connect(gate.url, token=gate.token()) as client, gate.client(gate.token("bob"), "&rooms=circle:7"):
        assert await client.presence("circle:7") == {"bob": 1}


async def test_no_token_in_a_log(gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """At the level DEBUG, where websockets logs handshakes."""
    caplog.set_level(logging.DEBUG)
    token = gate.token()
    async with connect(gate.url, token=token, publish_over="websocket") as client:
        await client.publish("a.b", circle_id=7)
        async with client.subscribe("circle:7", history=1) as subscription:
            await anext(subscription)
    await asyncio.to_thread(_publish_without_asyncio, gate.url, token)
    assert token not in caplog.text


def _publish_without_asyncio(url: str, token: str) -> None:
    with gathering_client.sync.connect(url, token=token) as client:
        client.publish("a.b", circle_id=7)
        with client.subscribe("circle:7", history=1) as subscription:
            next(subscription)


async def test_a_frame_that_cannot_be_read_is_a_lost_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The command is sent again over another one, and no task leaves an exception behind."""
    answers = iter(["nonsense", ""])

    async def answer(websocket: ServerConnection) -> None:
        await websocket.send(json.dumps({"type": "connection.established", "data": {}}))
        async for text in websocket:
            data = {"event_id": "evt_1", "duplicate": False}
            right = json.dumps({"type": "published", "id": json.loads(text)["id"], "data": data})
            await websocket.send(next(answers) or right)

    async with serve(answer, "127.0.0.1", 0, subprotocols=[Subprotocol("gateway.v1")]) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", token="token", publish_over="websocket") as client:
            assert (await client.publish("a.b", circle_id=7, patience=5.0)).event_id == "evt_1"
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_gateway_under_a_prefix() -> None:
    """WebSocket and HTTP, both below the prefix of another application."""
    async with embedded() as gate, connect(gate.url, token=gate.token()) as client:
        receipt = await client.publish("a.b", circle_id=7)
        async with client.subscribe("circle:7", history=1) as subscription:
            assert getattr(await anext(subscription), "id", None) == receipt.event_id


@pytest.mark.parametrize("over", OVER)
async def test_an_event_over_the_limit_is_refused_at_once(over: Literal["http", "websocket"]) -> None:
    """`message_too_large` without a retry; the connection for commands stays."""
    async with (
        running(settings_for(max_message_bytes=1_024)) as gate,
        proxied(gate.port) as network,
        connect(url_of(network), token=gate.token(), publish_over=over) as client,
    ):
        await client.publish("a.b", circle_id=7)
        with pytest.raises(Refused, match="message_too_large"):
            await client.publish("a.b", {"text": "x" * 2_000}, circle_id=7)
        await client.publish("a.b", circle_id=7)
        assert network.opened == 1


async def test_a_command_that_ended_the_connection_is_not_sent_again() -> None:
    """After 1009 the largest command without a reply is refused; the others are sent again."""
    texts: list[str] = []

    async def answer(websocket: ServerConnection) -> None:
        await websocket.send(json.dumps({"type": "connection.established", "data": {}}))
        async for text in websocket:
            command = json.loads(text)
            texts.append(command["event"]["data"].get("text", ""))
            if len(texts) == 2:
                return await websocket.close(1009)
            if len(texts) > 2:
                data = {"event_id": "evt_1", "duplicate": False}
                await websocket.send(json.dumps({"type": "published", "id": command["id"], "data": data}))

    async with serve(answer, "127.0.0.1", 0, subprotocols=[Subprotocol("gateway.v1")]) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", token="token", publish_over="websocket") as client:
            small = asyncio.create_task(client.publish("a.b", circle_id=7, patience=5.0))
            with pytest.raises(Refused, match="message_too_large"):
                await client.publish("a.b", {"text": "large"}, circle_id=7, patience=5.0)
            assert (await small).event_id == "evt_1"
    assert sorted(texts) == ["", "", "large"]


# ---- without asyncio


@pytest.fixture
def client(gate: RunningGateway) -> Iterator[gathering_client.sync.Client]:
    with gathering_client.sync.connect(gate.url, token=gate.token()) as made:
        yield made


async def test_threads_share_a_client(gate: RunningGateway, client: gathering_client.sync.Client) -> None:
    """Over a few connections, which are kept."""

    def publish_all() -> list[Receipt]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda n: client.publish("a.b", {"n": n}, circle_id=7), range(40)))

    receipts = await asyncio.to_thread(publish_all)
    assert len({receipt.event_id for receipt in receipts}) == 40


FORKING = """
import os
import sys

from gathering_client.sync import connect

with connect(sys.argv[1], token=sys.argv[2]) as client:
    print(client.publish("a.b", circle_id=7).event_id, flush=True)
    child = os.fork()
    print(client.publish("a.b", circle_id=7).event_id, flush=True)
    if child:
        os.waitpid(child, 0)
"""


async def test_a_forked_process_has_connections_of_its_own(gate: RunningGateway, network: Proxy) -> None:
    """A worker of Celery or gunicorn inherits the client that was made at import; no warning is caused."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-X", "dev", "-c", FORKING, url_of(network), gate.token()]
    process = await asyncio.create_subprocess_exec(*command, env=environment(), stdout=pipe, stderr=pipe)
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert len(set(output.split())) == 3
    assert network.opened == 2


async def test_a_subscription_is_closed_by_another_thread(
    gate: RunningGateway, client: gathering_client.sync.Client
) -> None:
    """While it waits for the next event."""
    subscription = client.subscribe("circle:7")
    live = threading.Event()
    subscription_2 = client.subscribe(
        "circle:7", on_state=lambda change: live.set() if change.state == "live" else None
    )

    def read() -> list[object]:
        return list(subscription_2)

    reading = asyncio.create_task(asyncio.to_thread(read))
    await asyncio.to_thread(live.wait, PATIENCE)
    await asyncio.to_thread(subscription_2.close)
    async with asyncio.timeout(PATIENCE):
        assert await reading == []
    subscription.close()
    assert list(subscription) == []


async def test_a_batch_without_asyncio(client: gathering_client.sync.Client) -> None:
    receipt, refused = await asyncio.to_thread(client.publish_batch, [Draft("a.b", circle_id=7), Draft("Bad")])
    assert isinstance(receipt, Receipt)
    assert isinstance(refused, Refused)
