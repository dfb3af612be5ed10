"""A fan-out to a large room, in slices: other tenants are served between them, and each client gets each event once."""

import asyncio

import pytest

from gateway.core import slices
from gateway.core.connection import Connection
from gateway.core.manager import Recipients
from gateway.core.mark_schedule import MarkSchedule
from gateway.core.slices import RECIPIENT_COST
from gateway.engine.fair_share import ALONE_SECONDS
from gateway.testing import Clock
from tests.support.lab import GatewayLab
from tests.support.transports import FakeTransport

CLIENTS = 30


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> GatewayLab:
    """A gateway whose slices are of four recipients, and whose time stands."""
    monkeypatch.setattr(slices, "SLICE_COST", 4 * RECIPIENT_COST)
    return GatewayLab(lambda: 100.0, events_per_second=0)


def joined(lab: GatewayLab, count: int = CLIENTS, tenant: str = "acme") -> list[tuple[Connection, FakeTransport]]:
    return [lab.join(lab.token(f"u{n}", tenant), rooms="circle:7") for n in range(count)]


def numbers(tape: FakeTransport) -> list[int]:
    return [frame["data"]["n"] for frame in tape.frames if "event_id" in frame]


async def publish(lab: GatewayLab, number: int, tenant: str = "acme") -> None:
    await lab.gateway.publish(tenant, "a.b", {"n": number}, circle_id=7)


async def publish_alone(lab: GatewayLab, clock: Clock) -> None:
    """Publish the events 1 and, once the tenant is alone, 2, of which one slice is delivered."""
    await publish(lab, 1)
    await lab.settle()
    await clock.advance(2 * ALONE_SECONDS)
    await publish(lab, 2)
    await asyncio.sleep(0)


def served(clients: list[tuple[Connection, FakeTransport]], number: int) -> int:
    return sum(number in numbers(tape) for _, tape in clients)


async def test_other_tenants_are_served_between_the_slices(lab: GatewayLab) -> None:
    large, (quiet,) = joined(lab), joined(lab, 1, "bolt")
    await publish(lab, 1)
    await asyncio.sleep(0)
    assert 0 < served(large, 1) < CLIENTS
    await publish(lab, 2, "bolt")
    await asyncio.sleep(0)
    assert numbers(quiet[1]) == [2]
    await lab.settle()
    assert [numbers(tape) for _, tape in large] == [[1]] * CLIENTS


async def test_events_that_come_meanwhile_follow_in_order(lab: GatewayLab) -> None:
    clients = joined(lab)
    for number in range(1, 8):
        await publish(lab, number)
        await asyncio.sleep(0)
    await lab.settle()
    assert [numbers(tape) for _, tape in clients] == [list(range(1, 8))] * CLIENTS


async def test_a_client_that_subscribes_or_leaves_between_two_slices_gets_what_it_is_owed(lab: GatewayLab) -> None:
    """All who were in the room when the event was appended, and no other."""
    clients = joined(lab)
    late, tape = lab.join(lab.token("late"))
    await publish(lab, 1)
    await asyncio.sleep(0)
    assert served(clients, 1) < CLIENTS
    lab.say(clients[-1][0], type="unsubscribe", rooms=["circle:7"])
    assert served(clients, 1) == CLIENTS
    await publish(lab, 2)
    await asyncio.sleep(0)
    lab.say(late, type="subscribe", rooms=["circle:7"])
    await publish(lab, 3)
    await lab.settle()
    assert numbers(tape) == [3]
    assert numbers(clients[-1][1]) == [1]
    assert [numbers(tape) for _, tape in clients[:-1]] == [[1, 2, 3]] * (CLIENTS - 1)


async def test_a_client_that_is_gone_between_two_slices_gets_nothing(lab: GatewayLab) -> None:
    clients = joined(lab)
    await publish(lab, 1)
    await asyncio.sleep(0)
    lab.gateway.on_transport_closed(clients[-1][0])
    await lab.settle()
    assert served(clients[:-1], 1) == CLIENTS - 1


async def test_a_slow_client_in_a_later_slice_gets_each_event_once(lab: GatewayLab) -> None:
    clients = joined(lab, CLIENTS - 1)
    slow, tape = lab.join(lab.token("slow"), capacity=3, rooms="circle:7")
    for number in range(1, 6):
        await publish(lab, number)
        await asyncio.sleep(0)
    await lab.settle()
    assert not slow.live
    tape.capacity = None
    lab.gateway.on_writable(slow)
    await lab.settle()
    assert numbers(tape) == [1, 2, 3, 4, 5]
    assert served(clients, 5) == CLIENTS - 1


async def test_a_tenant_that_is_alone_gets_its_events_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until another one publishes."""
    monkeypatch.setattr(slices, "SLICE_COST", 4 * RECIPIENT_COST)
    clock = Clock()
    lab = GatewayLab(clock, events_per_second=0)
    clients = joined(lab)
    joined(lab, 1, "bolt")
    await publish_alone(lab, clock)
    assert served(clients, 2) == CLIENTS
    await publish(lab, 3, "bolt")
    await lab.settle()
    await publish(lab, 4)
    await asyncio.sleep(0)
    assert 0 < served(clients, 4) < CLIENTS


async def test_the_slices_of_a_tenant_that_is_alone_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tenant's first event after a pause waits for one of them, and not for a fan-out to a large room."""
    monkeypatch.setattr(slices, "ALONE_SLICE_COST", 10 * RECIPIENT_COST)
    clock = Clock()
    lab = GatewayLab(clock, events_per_second=0)
    large = joined(lab)
    await publish_alone(lab, clock)
    assert served(large, 2) == 10
    await lab.settle()
    assert [numbers(tape) for _, tape in large] == [[1, 2]] * CLIENTS


async def test_a_fan_out_is_divided_from_the_moment_at_which_another_tenant_has_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "ALONE_SLICE_COST", 10 * RECIPIENT_COST)
    monkeypatch.setattr(slices, "SLICE_COST", 2 * RECIPIENT_COST)
    clock = Clock()
    lab = GatewayLab(clock, events_per_second=0)
    large = joined(lab)
    joined(lab, 1, "bolt")
    await publish_alone(lab, clock)
    assert served(large, 2) == 10
    sizes: list[int] = []
    take = slices.Slices.take

    def count(self: slices.Slices, alone: bool) -> list[Recipients]:
        part = take(self, alone)
        sizes.append(sum(len(some) for _, some in part))
        return part

    monkeypatch.setattr(slices.Slices, "take", count)
    await publish(lab, 3, "bolt")
    await lab.settle()
    assert sizes == [1, *[2] * 10]
    assert [numbers(tape) for _, tape in large] == [[1, 2]] * CLIENTS


async def test_a_tick_of_marks_does_not_end_a_fan_out_in_slices(lab: GatewayLab) -> None:
    """A busy tenant's clients are due no mark; one that is due gets its events first, and then the mark."""
    clients = joined(lab)
    ((idle, tape),) = joined(lab, 1)[:1]
    marks, schedule = lab.gateway.marks, MarkSchedule(15.0)
    for connection, _ in clients:
        connection.quiet_since, connection.sent_at_tick = 100.0, connection.sent
    await publish(lab, 1)
    await asyncio.sleep(0)
    before = served(clients, 1)
    assert 0 < before < CLIENTS
    idle.quiet_since = 100.0
    await marks.tick(schedule)
    assert served(clients, 1) == before
    idle.quiet_since, idle.sent_at_tick = 0.0, idle.sent
    await marks.tick(schedule)
    assert served(clients, 1) == CLIENTS
    assert [frame["type"] for frame in tape.frames][-2:] == ["a.b", "stream.mark"]
