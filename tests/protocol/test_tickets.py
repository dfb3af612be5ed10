"""`POST /tickets` and `?ticket=`, over real sockets: once, within 30 s, and judged again when it is used."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.cluster.local import LocalCluster
from gateway.core.errors import LogUnavailable
from gateway.service.factory import create_service
from gateway.testing import Clock
from tests.support.clients import Client, assert_problem, fence, http
from tests.support.inprocess import RunningGateway, embedded, running
from tests.support.pauses import until
from tests.support.redis import RedisServer
from tests.support.settings import SECRET, settings_for

INVALID = (4401, "token_invalid")


async def ticket_of(gate: RunningGateway, token: str | None = None) -> str:
    async with http(gate, token or gate.token()) as api:
        answer = await api.post("/tickets")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


async def outcome(gate: RunningGateway, query: str, **options: Any) -> str | tuple[int, str]:
    """The user who is let in, or with what the connection is closed."""
    async with connect(f"{gate.ws_url}?{query}", compression=None, **options) as websocket:
        client = Client(websocket)
        try:
            frame = await client.next()
            if frame["type"] == "connection.established":
                return str(frame["data"]["user_id"])
            await client.next()
        except ConnectionClosed:
            pass
        return await client.closed()


@asynccontextmanager
async def gate_with(
    nodes: LocalCluster | None = None, clock: Clock | None = None, **values: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway with its own way of keeping tickets, and its own time."""
    settings = settings_for(**values)
    service = create_service(settings, cluster=nodes, clock=clock or time.time)
    async with running(settings, service) as gate:
        yield gate


async def test_a_ticket_connects_as_who_asked_for_it(gate: RunningGateway) -> None:
    """With the token's grants and expiry, and everything else of the query."""
    token = gate.token("bob", rooms=["circle:1"], expires_in=300)
    async with http(gate, token) as api:
        answer = await api.post("/tickets")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"ticket", "expires_in"}
    assert answer.json()["expires_in"] == 30
    ticket = answer.json()["ticket"]
    async with (
        gate.client(token) as by_token,
        connect(f"{gate.ws_url}?ticket={ticket}&client_id=me&rooms=circle:1", compression=None) as websocket,
    ):
        client = Client(websocket)
        data = (await client.next("connection.established"))["data"]
        for name in ("user_id", "tenant", "rooms", "expires_at"):
            assert data[name] == by_token.established["data"][name]
        assert data["client_id"] == "me"
        assert (await client.next("subscribed"))["data"]["rooms"] == ["circle:1"]
        event_id = await gate.publish(circle_id=1)
        assert (await client.next("task.completed"))["event_id"] == event_id
        assert (await client.ask(type="subscribe", rooms=["circle:2"]))["data"]["code"] == "room_forbidden"


async def test_any_good_token_may_ask_and_no_other(gate: RunningGateway) -> None:
    """Without a scope, without rooms."""
    assert await outcome(gate, f"ticket={await ticket_of(gate, gate.token(scope='', rooms=[]))}") == "ada"
    async with http(gate) as api:
        assert_problem(await api.post("/tickets"), 401, "token_missing")
    async with http(gate, gate.token()[:-4] + "AAAA") as api:
        assert_problem(await api.post("/tickets"), 401, "token_invalid")


async def test_a_ticket_is_good_once(gate: RunningGateway) -> None:
    """Also where the first connection has gone, and where it was refused for another reason."""
    ticket = await ticket_of(gate)
    assert await outcome(gate, f"ticket={ticket}") == "ada"
    assert await outcome(gate, f"ticket={ticket}") == INVALID
    ticket = await ticket_of(gate)
    assert (await outcome(gate, f"ticket={ticket}&client_id={'x' * 65}"))[0] == 4400
    assert await outcome(gate, f"ticket={ticket}") == INVALID


@pytest.mark.parametrize("change", [lambda sealed: sealed[:-8], lambda sealed: "AAAA" + sealed[4:], lambda _: "?"])
async def test_a_stored_token_that_was_changed_is_refused(change: Callable[[str], str]) -> None:
    class Changing(LocalCluster):
        async def pop(self, key: str) -> str | None:
            sealed = await super().pop(key)
            return None if sealed is None else change(sealed)

    async with gate_with(Changing()) as gate:
        assert await outcome(gate, f"ticket={await ticket_of(gate)}") == INVALID


@pytest.mark.parametrize("attempts", [2, 20])
async def test_of_two_at_once_exactly_one_wins(gate: RunningGateway, attempts: int) -> None:
    for _ in range(5):
        ticket = await ticket_of(gate)
        outcomes = Counter(await asyncio.gather(*(outcome(gate, f"ticket={ticket}") for _ in range(attempts))))
        assert outcomes == {"ada": 1, INVALID: attempts - 1}


async def test_an_unknown_ticket_is_refused(gate: RunningGateway) -> None:
    """The error is `token_invalid` for any text; an empty ticket counts as absent."""
    for unknown in ("A" * 32, "A" * 5000, "x", "%00", "%ff%fe", "a.b.c", gate.token()):
        assert await outcome(gate, f"ticket={unknown}") == INVALID, unknown
    assert await outcome(gate, "ticket=") == (4401, "token_missing")


async def test_a_ticket_is_good_for_30_seconds() -> None:
    """By a clock that never goes back."""
    timer = Clock(1_000.0)
    async with gate_with(LocalCluster(timer)) as gate:
        early, late = await ticket_of(gate), await ticket_of(gate)
        await timer.advance(29.9)
        assert await outcome(gate, f"ticket={early}") == "ada"
        await timer.advance(0.1)
        assert await outcome(gate, f"ticket={late}") == INVALID


async def test_a_ticket_of_a_token_revoked_meanwhile_is_refused(gate: RunningGateway) -> None:
    """Its token's revocation is judged when it is used."""
    ticket = await ticket_of(gate, gate.token("bob"))
    async with http(gate, gate.token("root", scope="admin")) as api:
        assert (await api.post("/admin/tokens/revoke", json={"user_id": "bob"})).status_code == 200
    assert await outcome(gate, f"ticket={ticket}") == (4401, "token_revoked")
    async with http(gate, gate.token("bob", now=gate.service.gateway.clock() - 5)) as api:
        assert_problem(await api.post("/tickets"), 401, "token_revoked")


async def test_a_ticket_of_a_token_expired_meanwhile_is_refused() -> None:
    """A connection by ticket ends when the token does."""
    clock = Clock(time.time())
    async with gate_with(clock=clock) as gate:
        token = gate.token(now=clock(), expires_in=20)
        first, second = await ticket_of(gate, token), await ticket_of(gate, token)
        async with connect(f"{gate.ws_url}?ticket={first}", compression=None) as websocket:
            client = Client(websocket)
            await client.next("connection.established")
            await clock.advance(21)
            assert await outcome(gate, f"ticket={second}") == (4401, "token_expired")
            assert await client.closed() == (4401, "token_expired")


async def test_a_ticket_of_a_key_that_was_rotated_out_is_refused(gate: RunningGateway) -> None:
    """A verifier that no longer knows the key does not know the ticket either."""
    rotated = settings_for().model_copy(update={"jwt_secret": SecretStr("another-" + SECRET)})
    cluster = gate.service.gateway.cluster
    async with running(rotated, create_service(rotated, cluster=cluster)) as other:
        assert await outcome(other, f"ticket={await ticket_of(gate)}") == INVALID


async def test_a_ticket_beside_a_token_has_to_agree_with_it(gate: RunningGateway) -> None:
    """The same token is; another, though of the same user, is not. Nor are two tickets."""
    token, other = gate.token(), gate.token()
    assert await outcome(gate, f"token={token}&ticket={await ticket_of(gate, token)}") == "ada"
    assert await outcome(gate, f"token={token}&ticket={await ticket_of(gate, other)}") == INVALID
    assert await outcome(gate, f"token={token}&ticket={'A' * 32}") == INVALID
    header = {"Authorization": f"Bearer {token}"}
    assert await outcome(gate, f"ticket={await ticket_of(gate, other)}", additional_headers=header) == INVALID
    bearer = [Subprotocol("gateway.v1"), Subprotocol(f"gateway.bearer.{token}")]
    assert await outcome(gate, f"ticket={await ticket_of(gate, other)}", subprotocols=bearer) == INVALID
    one, two = await ticket_of(gate, token), await ticket_of(gate, token)
    assert await outcome(gate, f"ticket={one}&ticket={two}") == INVALID
    assert await outcome(gate, f"ticket={one}&ticket={one}") == "ada"


async def test_a_ticket_is_no_credential_over_http(gate: RunningGateway) -> None:
    """A ticket is for a connection, not for another ticket."""
    ticket = await ticket_of(gate)
    async with http(gate) as api:
        assert_problem(await api.post("/tickets", params={"ticket": ticket}), 401, "token_missing")
        headers = {"Authorization": f"Bearer {ticket}"}
        assert_problem(await api.post("/tickets", headers=headers), 401, "token_invalid")
    assert await outcome(gate, f"ticket={ticket}") == "ada"


async def test_asking_and_trying_are_limited() -> None:
    """Asking by principal; trying by address, before anything is looked up, and once for each handshake."""
    async with gate_with(tickets_per_minute=2, handshakes_per_minute=4) as gate:
        ticket = ""
        for _ in range(2):
            ticket = await ticket_of(gate)
        async with http(gate, gate.token()) as api:
            assert_problem(await api.post("/tickets"), 429, "rate_limited")
        await ticket_of(gate, gate.token("bob"))
        for _ in range(3):
            assert await outcome(gate, f"ticket={'A' * 32}") == INVALID
        assert await outcome(gate, f"ticket={ticket}") == "ada"
        assert (await outcome(gate, f"ticket={'A' * 32}"))[0] == 4429


class SlowNode(LocalCluster):
    """A node whose answers come when the test releases them."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.fails = False
        self.stored: dict[str, str] = {}

    async def put_once(self, key: str, value: str, seconds: int) -> None:
        if self.fails:
            raise LogUnavailable
        self.stored[key] = value
        await super().put_once(key, value, seconds)

    async def pop(self, key: str) -> str | None:
        self.asked.set()
        await self.answer.wait()
        if self.fails:
            raise LogUnavailable
        return await super().pop(key)


async def test_a_slow_ticket_delays_no_other_client() -> None:
    """While one is looked up, connections by token are made; and what its client has sent is not lost."""
    nodes = SlowNode()
    async with gate_with(nodes) as gate:
        ticket = await ticket_of(gate)
        trying = asyncio.create_task(outcome(gate, f"ticket={ticket}"))
        await nodes.asked.wait()
        async with gate.client() as client:
            await fence(client)
        assert not trying.done()
        nodes.answer.set()
        assert await trying == "ada"


async def test_a_client_that_goes_during_the_lookup_of_its_ticket_leaves_nothing() -> None:
    """Reset in the middle of it; and a server that ends then ends."""
    nodes = SlowNode()
    async with gate_with(nodes) as gate:
        for _ in range(2):
            nodes.asked.clear()
            trying = asyncio.create_task(outcome(gate, f"ticket={await ticket_of(gate)}"))
            await nodes.asked.wait()
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
            nodes.answer.set()
        async with gate.client() as client:
            await fence(client)
        assert len(list(gate.service.manager.connections())) <= 1
        nodes.answer.clear()
        nodes.asked.clear()
        ticket = await ticket_of(gate)
        trying = asyncio.create_task(outcome(gate, f"ticket={ticket}"))
        await nodes.asked.wait()
    assert await trying == (1012, "restart")


async def test_without_the_store_it_is_said() -> None:
    """503 to who asks, 1013 to who tries: come back."""
    nodes = SlowNode()
    nodes.answer.set()
    async with gate_with(nodes) as gate:
        ticket = await ticket_of(gate)
        nodes.fails = True
        async with http(gate, gate.token()) as api:
            assert_problem(await api.post("/tickets"), 503, "broker_unavailable")
        async with connect(f"{gate.ws_url}?ticket={ticket}", compression=None) as websocket:
            client = Client(websocket)
            frame = await client.next("error")
            assert frame["data"]["code"] == "broker_unavailable"
            assert await client.closed() == (1013, "broker_unavailable")


async def test_nothing_shows_a_ticket_or_keeps_one(caplog: pytest.LogCaptureFixture) -> None:
    """Not the logs, not the pages of administrators, not what is stored, nor an error."""
    caplog.set_level(logging.DEBUG)
    nodes = SlowNode()
    nodes.answer.set()
    async with gate_with(nodes) as gate:
        token = gate.token()
        ticket = await ticket_of(gate, token)
        assert await outcome(gate, f"ticket={ticket}") == "ada"
        assert await outcome(gate, f"ticket={ticket}") == INVALID
        async with http(gate, gate.token("root", scope="admin")) as api:
            pages = [(await api.get(path)).text for path in ("/admin/connections", "/admin/stats", "/admin/rooms")]
        server_logs = "\n".join(
            record.getMessage() for record in caplog.records if record.name.startswith(("uvicorn", "gateway"))
        )
        everything = server_logs + "".join(pages) + repr(nodes.stored)
        assert nodes.stored
        for secret in (ticket, token, token.split(".")[2]):
            assert secret not in everything


async def test_it_works_under_any_asgi_server() -> None:
    """Through the application's own route, whose scope no longer shows the ticket to what comes after."""
    async with embedded() as gate:
        ticket = await ticket_of(gate)
        assert await outcome(gate, f"ticket={ticket}") == "ada"
        assert await outcome(gate, f"ticket={ticket}") == INVALID
        assert await outcome(gate, f"token={gate.token()}&ticket={await ticket_of(gate)}") == INVALID


# ---- two nodes


async def test_of_two_nodes_exactly_one_takes_a_ticket(server: RedisServer) -> None:
    """Asked for at one, used at the other; at both at once, once. And Redis holds neither ticket nor token."""
    settings = settings_for(log_url=server.url)
    async with running(settings) as one, running(settings) as other:
        assert await outcome(other, f"ticket={await ticket_of(one)}") == "ada"
        for _ in range(10):
            token = one.token()
            ticket = await ticket_of(one, token)
            (key,) = await server.ask("KEYS", "*ticket*")
            kept = await server.ask("GET", key)
            assert 0 < await server.ask("TTL", key) <= 30
            for secret in (ticket, token, token.split(".")[2]):
                assert secret.encode() not in key + kept
            outcomes = Counter(
                await asyncio.gather(*(outcome(gate, f"ticket={ticket}") for gate in (one, other, one, other)))
            )
            assert outcomes == {"ada": 1, INVALID: 3}
            assert await server.ask("KEYS", "*ticket*") == []


async def test_a_token_revoked_at_one_node_has_no_ticket_at_the_other(server: RedisServer) -> None:
    settings = settings_for(log_url=server.url)
    async with running(settings) as one, running(settings) as other:
        ticket = await ticket_of(one, one.token("bob"))
        async with http(one, one.token("root", scope="admin")) as api:
            assert (await api.post("/admin/tokens/revoke", json={"user_id": "bob"})).status_code == 200
        await until(lambda: list(other.service.gateway.cluster.revocations))
        assert await outcome(other, f"ticket={ticket}") == (4401, "token_revoked")
