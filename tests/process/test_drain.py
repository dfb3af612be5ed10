"""Ending `gateway serve`: notices to clients, what still works, the duration and the exit status."""

import asyncio
import signal
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support.clients import Client
from tests.support.pauses import now, until
from tests.support.process import GatewayProcess
from tests.support.raw_client import handshake
from tests.support.recording_client import all_closed, publish, recording_clients
from tests.support.tokens import token

SLACK = 3.0
"""Seconds that a busy machine may be late."""


async def newcomer(node: GatewayProcess) -> Client:
    """One that connects with a good token, closed by the node."""
    async with connect(f"ws://127.0.0.1:{node.port}/ws/dashboard?token={token()}", compression=None) as websocket:
        client = Client(websocket)
        client.established = await client.next()
        await client.closed()
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_each_client_gets_a_slot_of_its_own_and_is_closed_in_it(tmp_path: Path, number: signal.Signals) -> None:
    """Slots are spread over the time, notified at once, closed with 1012; and the process ends with 0 when the last
    client has gone."""
    async with GatewayProcess(tmp_path, drain_seconds=2) as node, recording_clients(node, 20) as clients:
        signalled = node.send_signal(number)
        await all_closed(clients)
        status, ended = await node.ended()
    assert status == 0
    assert 1.8 < ended - signalled < 2 + SLACK
    clients.sort(key=lambda client: client.slot)
    to_come = [client.slot for client in clients if client.slot > 1]
    assert len(set(to_come)) == len(to_come)
    for place, client in enumerate(clients):
        # # One in each tenth of a second. It was notified after the drain began, and its slot is less by that time.
        assert client.draining_at is not None
        assert client.closed_at is not None
        passed = (client.draining_at - signalled).whole * 1_000
        assert place * 100 - passed - 1 <= client.slot <= place * 100 + 51
        assert client.draining_at - signalled < SLACK
        assert (client.code, client.reason) == (1012, "draining")
        late = client.closed_at - (client.draining_at + client.slot / 1000)
        assert -0.1 < late < SLACK
        assert client.frames[-1]["type"] == "server.draining"


async def test_a_signal_during_a_drain_by_hand_waits_for_it(tmp_path: Path) -> None:
    """Each client keeps its slot, and is notified once."""
    platform = token("root", scope="admin platform")
    async with GatewayProcess(tmp_path, drain_seconds=2) as node, recording_clients(node, 5) as clients:
        async with node.api(platform) as api:
            name = (await api.get("/admin/nodes")).json()["nodes"][0]["node"]
            answer = await api.post("/admin/drain", json={"node": name})
            assert (answer.status_code, answer.json()) == (202, {"node": name, "connections": 5, "seconds": 2.0})
            assert (await node.get("/readyz")).status_code == 503
        await asyncio.gather(*(client.draining.wait() for client in clients))
        node.send_signal()
        await all_closed(clients)
        status, _ = await node.ended()
    assert status == 0
    for client in clients:
        assert (len(client.of("server.draining")), client.code, client.reason) == (1, 1012, "draining")


async def test_readiness_goes_first_and_no_new_client_is_admitted(tmp_path: Path) -> None:
    """By the time that a client is notified, `/readyz` says 503; the process still answers, and refuses new clients."""
    async with GatewayProcess(tmp_path, drain_seconds=20) as node, recording_clients(node, 2) as clients:
        assert (await node.get("/readyz")).status_code == 200
        node.send_signal()
        await asyncio.wait({asyncio.create_task(client.draining.wait()) for client in clients})
        answer = await node.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["code"] == "broker_unavailable"
        assert "shutting down" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert (await node.get("/healthz")).status_code == 200
        slots = set()
        for _ in range(5):
            refused = await newcomer(node)
            assert refused.established["type"] == "server.draining"
            assert refused.websocket.close_code == 1012
            slots.add(refused.established["data"]["reconnect_after_ms"])
        assert all(1_000 <= slot <= 21_000 for slot in slots)
        assert len(slots) > 1, "all newcomers come back together"


async def test_publishing_goes_on_and_is_delivered(tmp_path: Path) -> None:
    """Connected clients get events published during the drain: a 202 is in the log."""
    async with GatewayProcess(tmp_path, drain_seconds=60) as node, recording_clients(node, 3) as clients:
        assert (await publish(node, 0)).status_code == 202
        node.send_signal()
        await asyncio.wait({asyncio.create_task(client.draining.wait()) for client in clients})
        last = max(clients, key=lambda client: client.slot)
        published = 0
        while not last.closed_at and published < 30:
            assert (await publish(node, published + 1)).status_code == 202
            published += 1
        assert published == 30, "there was no time to publish"
        await until(lambda: last.numbers[-1:] == [30])
        node.send_signal()  # this ends the wait for the slots
        await all_closed(clients)
        assert last.numbers == list(range(31))
        for client in clients:
            assert client.numbers == list(range(len(client.numbers)))
        assert (await node.ended())[0] == 0


async def test_a_slow_consumer_gets_the_appended_events_before_its_close(tmp_path: Path) -> None:
    """Its slot comes in the first half of the time; its events, at its rate, take longer, and the close waits."""
    async with (
        GatewayProcess(tmp_path, drain_seconds=20) as node,
        recording_clients(node, 1, bearer=token("slow", rate=20)) as (slow,),
    ):
        await node.publish([{"n": number} for number in range(260)], circle_id="x")
        assert len(slow.numbers) < 40, "there was no time left in which it is behind"
        signalled = node.send_signal()
        await all_closed([slow])
        assert slow.numbers == list(range(260))
        assert (slow.code, slow.slot <= 10_000) == (1012, True)
        assert slow.closed_at is not None
        assert slow.closed_at - signalled < 20
        assert (await node.ended())[0] == 0


async def test_a_client_that_never_reads_delays_no_drain(tmp_path: Path) -> None:
    """A client that is always behind, with all buffers full; and one that is owed nothing but does not answer the
    close."""
    async with GatewayProcess(tmp_path, drain_seconds=1, stall_seconds=60, events_per_second=0) as node:
        loop = asyncio.get_running_loop()
        stuck = []
        for room in ("load", "quiet"):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", node.port))
            await loop.sock_sendall(sock, handshake(f"/ws/dashboard?token={token()}&rooms=circle:{room}"))
            stuck.append(sock)
        async with recording_clients(node, 1, query="&rooms=circle:load") as (reader,):
            # More than the kernel, the transport and what may wait beyond it take.
            filler = "x" * 50_000
            async with connect(
                f"ws://127.0.0.1:{node.port}/ws/dashboard?token={token()}", compression=None, max_size=None
            ) as publisher:
                client = Client(publisher)
                await client.next("connection.established")
                for _ in range(120):
                    event = {"type": "task.completed", "data": {"n": 0, "f": filler}, "circle_id": "load"}
                    assert (await client.ask(type="publish", event=event))["type"] == "published"
            await until(lambda: len(reader.numbers) == 120)
            signalled = node.send_signal()
            status, ended = await node.ended()
        assert status == 0
        assert ended - signalled < 1 + 5
        for sock in stuck:
            sock.close()


async def test_a_request_that_never_ends_delays_no_drain(tmp_path: Path) -> None:
    """The rest of its body never comes."""
    async with GatewayProcess(tmp_path, drain_seconds=0) as node:
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
        head = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token()}\r\nContent-Length: 999\r\n\r\n{{"
        writer.write(head.encode())
        await asyncio.sleep(0.3)
        signalled = node.send_signal()
        status, ended = await node.ended()
        assert (status, ended - signalled < 5) == (0, True)
        writer.close()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, second: signal.Signals) -> None:
    """With all that are left closed by 1012, and with 0."""
    async with GatewayProcess(tmp_path, drain_seconds=60) as node, recording_clients(node, 5) as clients:
        node.send_signal(signal.SIGINT)
        await asyncio.wait({asyncio.create_task(client.draining.wait()) for client in clients})
        signalled = node.send_signal(second)
        status, ended = await node.ended()
        assert status == 0
        assert ended - signalled < SLACK
        await all_closed(clients)
        assert {client.code for client in clients} == {1012}
        assert all(client.closed_at and client.closed_at - signalled < SLACK for client in clients)


async def test_with_0_seconds_all_are_closed_at_once(tmp_path: Path) -> None:
    """Clients get no slot: each reconnects by its own backoff."""
    async with GatewayProcess(tmp_path, drain_seconds=0) as node, recording_clients(node, 3) as clients:
        signalled = node.send_signal()
        await all_closed(clients)
        status, ended = await node.ended()
        assert status == 0
        assert ended - signalled < SLACK
        assert {client.code for client in clients} == {1012}
        assert [client.of("server.draining") for client in clients] == [[], [], []]


async def test_without_clients_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    """Nor once the last of them has gone by itself."""
    async with GatewayProcess(tmp_path, drain_seconds=30) as node:
        async with recording_clients(node, 2) as clients:
            node.send_signal()
            await asyncio.wait({asyncio.create_task(client.draining.wait()) for client in clients})
        left = now()
        status, ended = await node.ended()
        assert status == 0
        assert ended - left < SLACK


async def test_before_the_drain_only_readiness_ends(tmp_path: Path) -> None:
    """For the delay `/readyz` is 503, so that a balancer looks elsewhere; everybody is served, newcomers included."""
    async with (
        GatewayProcess(tmp_path, shutdown_delay_seconds=8, drain_seconds=1) as node,
        recording_clients(node, 2) as clients,
    ):
        signalled = node.send_signal()
        await until(lambda: "Not ready from now on" in node.log)
        answer = await node.get("/readyz")
        assert answer.status_code == 503
        assert "shutting down" in answer.json()["detail"]
        assert (await node.get("/healthz")).status_code == 200
        async with recording_clients(node, 1) as (newcomer,):
            assert (await publish(node, 1)).status_code == 202
            await until(lambda: newcomer.numbers == [1] and all(client.numbers == [1] for client in clients))
            assert not any(client.draining_at for client in (*clients, newcomer))
            await all_closed([*clients, newcomer])
        status, ended = await node.ended()
    assert status == 0
    for client in (*clients, newcomer):
        assert client.draining_at is not None
        assert client.draining_at - signalled >= 8
        assert (client.code, client.reason) == (1012, "draining")
    assert 8 <= ended - signalled < 9 + SLACK


async def test_a_second_signal_ends_the_delay_too(tmp_path: Path) -> None:
    """With 1012 for everybody."""
    async with (
        GatewayProcess(tmp_path, shutdown_delay_seconds=60, drain_seconds=60) as node,
        recording_clients(node, 3) as clients,
    ):
        node.send_signal()
        await until(lambda: "Not ready from now on" in node.log)
        signalled = node.send_signal()
        status, ended = await node.ended()
        await all_closed(clients)
    assert status == 0
    assert ended - signalled < SLACK
    assert {client.code for client in clients} == {1012}
