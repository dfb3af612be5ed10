"""Clients that go at once, while other work waits: they count as closed at once, and are forgotten in turns."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from gateway.core.connection import Connection
from gateway.engine.disconnects import AT_ONCE, DISCONNECT_COST
from gateway.engine.explain import Target
from gateway.engine.fair_share import ALONE_BUDGET
from schemas.codes import CloseCode
from tests.support.lab import GatewayLab
from tests.support.transports import FakeTransport

CLIENTS = 150
IN_TURN = ALONE_BUDGET // DISCONNECT_COST + AT_ONCE
"""Connections that are forgotten in one iteration, at most."""


@pytest.fixture
def lab() -> Iterator[GatewayLab]:
    """A gateway whose time stands, so that only known costs count."""
    lab = GatewayLab(lambda: 100.0)
    yield lab
    lab.nothing_left()


def joined(lab: GatewayLab, count: int = CLIENTS, tenant: str = "acme") -> list[tuple[Connection, FakeTransport]]:
    return [lab.join(lab.token(f"u{n}", tenant), rooms="circle:7") for n in range(count)]


def leave(lab: GatewayLab, clients: list[tuple[Connection, FakeTransport]]) -> None:
    """All clients go, in an iteration whose budget is spent."""
    lab.gateway.connections.shares.charge(ALONE_BUDGET)
    for connection, _ in clients:
        lab.gateway.on_transport_closed(connection)


def in_room(lab: GatewayLab, tenant: str = "acme") -> int:
    return len(lab.gateway.manager.of(tenant).rooms.get("circle:7", ()))


async def test_one_that_goes_alone_is_forgotten_at_once(lab: GatewayLab) -> None:
    (client,) = joined(lab, 1)
    lab.gateway.on_transport_closed(client[0])
    assert in_room(lab) == 0


async def test_many_that_go_at_once_are_forgotten_in_turns(lab: GatewayLab) -> None:
    """A few in each iteration of the event loop; a client of another tenant meanwhile."""
    leave(lab, joined(lab))
    assert in_room(lab) == CLIENTS
    left = [CLIENTS]
    while left[-1]:
        await asyncio.sleep(0)
        left.append(in_room(lab))
        if len(left) == 2:
            (other,) = joined(lab, 1, "bolt")
            lab.gateway.on_transport_closed(other[0])
            assert in_room(lab, "bolt") <= 1
    assert max(before - after for before, after in pairwise(left)) <= IN_TURN
    await lab.settle()
    assert in_room(lab, "bolt") == 0


async def test_they_count_as_closed_at_once(lab: GatewayLab) -> None:
    clients = joined(lab)
    leave(lab, clients)
    assert not lab.gateway.manager.of("acme").connections
    assert len(lab.gateway.connections.admission.addresses) == 0
    assert not any(lab.gateway.connections.is_open(connection) for connection, _ in clients)
    await lab.settle()


async def test_nothing_more_is_written_to_them(lab: GatewayLab) -> None:
    """An event in between reaches those that stay; for those that have gone it came after their end."""
    clients = joined(lab)
    stays, goes = clients[0], clients[1:]
    await lab.happen()
    await lab.settle()
    before = [len(tape.frames) for _, tape in goes]
    leave(lab, goes)
    event = await lab.gateway.publish("acme", "task.created", {"n": 1}, circle_id=7)
    lab.gateway.delivery.flush()
    assert [len(tape.frames) for _, tape in goes] == before
    assert stays[1].frames[-1]["event_id"] == event.event_id
    lab.gateway.delivery.catch_up_now(goes[-1][0])
    await lab.settle()
    assert [len(tape.frames) for _, tape in goes] == before


async def test_one_that_waits_is_not_closed_again(lab: GatewayLab) -> None:
    """By a revocation, for example: its client got no close code."""
    clients = joined(lab, 2)
    leave(lab, clients)
    lab.gateway.connections.close(clients[0][0], CloseCode.UNAUTHENTICATED, "token_revoked")
    assert clients[0][1].ended is None
    assert lab.gateway.connections.detach(clients[0][0]) is False
    lab.revoke(user="u1")
    assert clients[1][1].ended is None
    await lab.settle()


async def test_a_user_that_returns_finds_its_place_free() -> None:
    """Work of the same tenant comes after the ends before it."""
    lab = GatewayLab(lambda: 100.0, max_connections_per_user=1)
    (client,) = joined(lab, 1)
    leave(lab, [client])
    again: list[bool] = []
    lab.gateway.connections.shares.submit("acme", lambda: again.append(in_room(lab) == 0))
    await lab.settle()
    assert again == [True]
    assert lab.connect(lab.token("u0"))[0] is not None
    lab.nothing_left()


async def test_their_deliveries_are_explained(lab: GatewayLab) -> None:
    """By what their transports said at their end; and an event that came later was not delivered."""
    await lab.gateway.start()
    (client,) = joined(lab, 1)
    connection, tape = client
    before = await lab.gateway.publish("acme", "task.created", {}, circle_id=7)
    lab.gateway.delivery.flush()
    leave(lab, [client])
    tape.unacknowledged = None
    after = await lab.gateway.publish("acme", "task.created", {}, circle_id=7)
    target = Target("acme", None, connection.id)
    verdicts = []
    for event in (before, after):
        explained = await lab.gateway.explain.event(target, event.event_id, False)
        verdicts += [(one.verdict, one.reason) for one in explained.connections]
    assert verdicts == [("delivered", "delivered"), ("not_delivered", "closed")]
    await lab.gateway.stop()


async def test_the_gateway_stops_meanwhile(lab: GatewayLab) -> None:
    await lab.gateway.start()
    leave(lab, joined(lab))
    await lab.gateway.stop()
    assert in_room(lab) == 0
