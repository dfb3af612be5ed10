"""Batches of events: one tenant's do not hold up another's, and each is answered truly and in time."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from gateway.api import batch_body, fast_path, routes
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.core.log import Draft, Receipt
from gateway.engine import ingest
from gateway.engine.fair_share import BUDGET, FairShare
from gateway.engine.ingest import AT_ONCE, PARSED_BYTES, SLICE, IngestScheduler
from gateway.logs.memory import MemoryLog
from gateway.testing import CURSOR_KEY
from tests.support.clients import http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.pauses import now, until

EVENT = {"type": "task.created", "data": {}, "circle_id": 1}


def standing() -> float:
    """A timer by which tenants compete, however long the machine takes."""
    return 100.0


async def _take(scheduler: IngestScheduler, tenant: str, count: int, taken: list[str], size: int = 0) -> None:
    with scheduler.batch() as batch:
        await batch.begin(tenant, size)
        async for some in batch.slices(range(count)):
            assert len(some) <= SLICE
            taken.append(tenant)


async def test_slices_go_round_robin_over_tenants_and_each_in_a_turn_of_its_own() -> None:
    """However many batches a tenant has, another one's is through after as many slices of it as it has itself; and what
    else the loop has to do comes between any two."""
    scheduler, taken = IngestScheduler(FairShare(standing)), list[str]()
    evil = [asyncio.create_task(_take(scheduler, "evil", 10 * SLICE, taken)) for _ in range(20)]
    for _ in range(10):  # iterations, and no time, in which all of it could be done
        await asyncio.sleep(0)
    before = len(taken)
    assert 3 <= before < 100
    good = asyncio.create_task(_take(scheduler, "good", 4 * SLICE, taken))
    turns = 0
    while not good.done():
        slices = len(taken)
        await asyncio.sleep(0)
        turns += 1
        assert len(taken) - slices <= 1
    assert taken.count("good") == 4
    assert len(taken) - before <= 4 * 2 + 2
    await asyncio.gather(*evil)
    assert taken.count("evil") == 200
    assert scheduler.idle


async def test_small_batches_share_an_iteration() -> None:
    """So that their events are delivered in one write to each client; together they are no larger than one slice."""
    scheduler, taken = IngestScheduler(FairShare(standing)), list[str]()
    batches = [asyncio.create_task(_take(scheduler, "acme", SLICE // 5, taken)) for _ in range(30)]
    most = 0
    while not scheduler.idle or not taken:
        before = len(taken)
        await asyncio.sleep(0)
        most = max(most, len(taken) - before)
    await asyncio.gather(*batches)
    assert most == 2 * 5  # nothing was before the first of them


async def test_batches_of_a_tenant_wait_in_order_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond those under way they are refused as a whole after a time limit; a cancelled one delays no other."""
    monkeypatch.setattr(ingest, "MAX_WAIT", 0.1)
    scheduler, free = IngestScheduler(FairShare(standing)), asyncio.Event()

    async def hold() -> None:
        with scheduler.batch() as batch:
            await batch.begin("acme", 0)
            await free.wait()

    holding = [asyncio.create_task(hold()) for _ in range(AT_ONCE)]
    await asyncio.sleep(0)
    cancelled = asyncio.create_task(_take(scheduler, "acme", 1, []))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(GatewayError, match="nothing of this one was accepted") as refused:
        await _take(scheduler, "acme", 1, [])
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after == 1.0
    await _take(scheduler, "bolt", 2 * SLICE, [])
    taken: list[str] = []
    waiting = asyncio.create_task(_take(scheduler, "acme", 2 * SLICE, taken))
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(waiting, *holding)
    assert taken == ["acme", "acme"]
    assert scheduler.idle


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits that a slow machine does not meet."""
    monkeypatch.setattr(ingest, "MAX_WAIT", 60.0)
    monkeypatch.setattr(ingest, "MAX_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
async def test_a_batch_lets_the_loop_do_something_else(gate: RunningGateway) -> None:
    """A thousand events are not one piece of work: others have their turns all the while."""
    handled = 0

    async def count() -> None:
        nonlocal handled
        while True:
            before = gate.service.gateway.log.window("acme").head
            await asyncio.sleep(0)
            after = gate.service.gateway.log.window("acme").head
            handled += after > before
            # What is on its way is settled in one go at the end: a list of futures that are done.
            assert after - before <= 250

    counting = asyncio.create_task(count())
    async with http(gate, gate.token(scope="publish")) as api:
        response = await api.post("/events/batch", json={"events": [EVENT] * 1_000})
    counting.cancel()
    assert [result["duplicate"] for result in response.json()["results"]] == [False] * 1_000
    assert handled >= 400 // SLICE


async def test_large_batches_are_served_by_their_cost() -> None:
    """A tenant whose bodies take fifty times as long as a slice has a turn in fifty, however many it posts."""
    scheduler, taken, size = IngestScheduler(FairShare(standing)), list[str](), 50 * SLICE * PARSED_BYTES

    async def parse() -> None:
        with scheduler.batch() as batch:
            await batch.begin("evil", size)
            taken.append("evil")

    evil = [asyncio.create_task(parse()) for _ in range(AT_ONCE)]
    await asyncio.sleep(0)
    await _take(scheduler, "good", 40 * SLICE, taken)
    assert taken.count("good") == 40
    assert taken.count("evil") <= 2
    await asyncio.gather(*evil)
    assert taken.count("evil") == AT_ONCE
    assert scheduler.idle


async def test_turns_of_cancelled_batches_cost_nothing() -> None:
    """A large one that is given up before its turn does not delay the tenant's others."""
    scheduler, taken = IngestScheduler(FairShare(standing)), list[str]()
    good = asyncio.create_task(_take(scheduler, "good", 60 * SLICE, taken))
    await asyncio.sleep(0)
    cancelled = asyncio.create_task(_take(scheduler, "acme", 1, taken, 50 * SLICE * PARSED_BYTES))
    await asyncio.sleep(0)
    small = asyncio.create_task(_take(scheduler, "acme", 1, taken))
    await asyncio.sleep(0)
    cancelled.cancel()
    await small
    assert taken.count("good") <= 10
    await good
    assert scheduler.idle


async def test_a_batch_that_cannot_be_parsed_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its tenant has a slot for it."""
    monkeypatch.setattr(ingest, "MAX_WAIT", 0.1)
    scheduler, refusals = IngestScheduler(FairShare(time.monotonic)), list[GatewayError]()

    async def parse() -> None:
        with scheduler.batch() as batch:
            try:
                await batch.begin("acme", batch_body.PIECE)
            except GatewayError as error:
                refusals.append(error)
            else:
                time.sleep(0.04)  # noqa: ASYNC251

    await asyncio.gather(*(parse() for _ in range(AT_ONCE)))
    assert {(error.code, error.retry_after) for error in refusals} == {("rate_limited", 1.0)}
    assert 3 <= len(refusals) <= AT_ONCE - 2
    assert scheduler.idle


async def test_slices_of_large_events_are_smaller() -> None:
    """A hundred events of 42 kB take as long as fourteen hundred small ones."""
    scheduler, count, size = IngestScheduler(FairShare(standing)), 100, 42_000
    with scheduler.batch() as batch:
        await batch.begin("acme", count * size)
        lengths = [len(some) async for some in batch.slices(range(count))]
    assert sum(lengths) == count
    assert max(lengths) * size <= SLICE * PARSED_BYTES


async def test_bodies_that_arrive_take_turns_with_other_tenants() -> None:
    """However many connections a tenant sends them on: for each of their pieces another tenant has a slice."""
    scheduler, taken = IngestScheduler(FairShare(standing)), list[str]()

    async def receive() -> None:
        for _ in range(4):
            await scheduler.piece("evil", SLICE * PARSED_BYTES)
            taken.append("evil")

    evil = [asyncio.create_task(receive()) for _ in range(40)]
    await asyncio.sleep(0)
    await _take(scheduler, "good", 20 * SLICE, taken)
    assert taken.count("good") == 20
    assert taken.count("evil") <= 25
    await asyncio.gather(*evil)
    assert scheduler.idle


async def test_a_slice_is_appended_in_its_turn(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a log in this process: the events of many slices are not left to one iteration at the end, which has those of
    the budget and of one slice beyond it."""
    turn, appended, size = 0, Counter[int](), 40_000
    log, loop = gate.service.gateway.log, asyncio.get_running_loop()
    append = log.append

    def count() -> None:
        nonlocal turn
        turn += 1
        if appended.total() < 100:
            loop.call_soon(count)

    async def counted(tenant: str, draft: Draft) -> Receipt:
        appended[turn] += 1
        return await append(tenant, draft)

    monkeypatch.setattr(log, "append", counted)
    loop.call_soon(count)
    async with http(gate, gate.token(scope="publish")) as api:
        body = {"events": [EVENT | {"data": {"text": "x" * size}}] * 100}
        answer = await api.post("/events/batch", json=body)
    assert sum("event_id" in result for result in answer.json()["results"]) == appended.total() == 100
    assert max(appended.values()) <= 2 * (SLICE * PARSED_BYTES // size)


LARGE = {"events": [EVENT | {"data": {"text": "x" * (batch_body.PIECE // 5)}}] * 10}


LARGE_EVENT = EVENT | {"data": {"text": "x" * batch_body.PIECE}}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("path", "body", "parses"),
    [
        ("/events/batch", LARGE, 40),
        ("/events/batch", {"events": [], "padding": "x" * batch_body.PIECE}, 40),
        ("/events", LARGE_EVENT, 20),
        ("/events?n=1", LARGE_EVENT, 20),
        ("/admin/events", LARGE_EVENT, 20),
        ("/admin/tokens", {"user_id": "x" * batch_body.PIECE}, 20),
    ],
)
async def test_large_bodies_are_parsed_one_in_an_iteration(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], parses: int
) -> None:
    """However many have come at once, and of large batches one piece. An invalid batch is parsed again, for its
    error."""
    turn, parsed = 0, list[int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        if len(parsed) < parses:
            loop.call_soon(count)

    def parse(body: bytes, **options: Any) -> Any:
        parsed.append(turn)
        return from_json(body, **options)

    for module in (fast_path, routes, batch_body):
        monkeypatch.setattr(module, "from_json", parse)
    loop = asyncio.get_running_loop()
    loop.call_soon(count)
    async with http(gate, gate.token(scope="publish admin")) as api:
        await asyncio.gather(*(api.post(path, json=body) for _ in range(20)))
    assert len(parsed) == len(set(parsed)) == parses


async def test_commands_count_for_the_share_of_their_tenant(gate: RunningGateway) -> None:
    """The frames of a client are parsed at once; the other work of its tenant waits longer for it."""
    gateway, done = gate.service.gateway, list[str]()
    async with gate.client():
        (connection,) = gateway.manager.of("acme").connections.values()
        for tenant in ("acme", "bolt"):
            for _ in range(20):
                gateway.connections.shares.submit(tenant, partial(done.append, tenant), BUDGET)
        for _ in range(20):
            gateway.commands.receive(connection, to_json({"type": "ping", "padding": "x" * 20 * PARSED_BYTES}).decode())
        await until(lambda: len(done) == 40)
        served = done[: len(done) - done[::-1].index("bolt")]  # until all of the other tenant was done
        assert served.count("acme") <= 16


class StalledLog(MemoryLog):
    """A log that takes so many events and then does not answer for a while, as one that is elsewhere may."""

    def __init__(self, takes: int) -> None:
        super().__init__((CURSOR_KEY,))
        self.left: Iterator[int] = iter(range(takes))

    def append(self, tenant: str, draft: Draft) -> asyncio.Future[Receipt]:  # type: ignore[override]
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if next(self.left, None) is None:
            loop.call_later(1.6, answer.set_exception, LogUnavailable("it may have been accepted"))
        else:
            answer.set_result(Receipt("evt_x", duplicate=False, at=0.0))
        return answer


@pytest.mark.timing
async def test_a_batch_is_answered_in_time_where_the_log_stalls() -> None:
    """Events that were sent have the log's answer; the others are reported as not accepted, and not tried any more."""
    log = StalledLog(300)
    async with running(service=service_with(log=log)) as gate, http(gate, gate.token(scope="publish")) as api:
        begun = now()
        results = (await api.post("/events/batch", json={"events": [EVENT] * 1_000})).json()["results"]
        assert now() - begun < 2.5
        assert len(results) == 1_000
        assert ["event_id" in result for result in results] == [True] * 300 + [False] * 700
        errors = [result["error"] for result in results[300:]]
        assert {error["code"] for error in errors} == {"broker_unavailable"}
        said = ["not accepted" in error["message"] for error in errors]
        assert said == sorted(said), "what was not sent comes last"
        assert 150 <= said.count(False) <= 300


@pytest.mark.parametrize("path", ["/events", "/events?n=1"], ids=["fast path", "FastAPI"])
async def test_a_token_that_is_revoked_while_its_event_waits_publishes_nothing(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The token is verified again after the turn, which may take a second."""
    gateway = gate.service.gateway
    waiting, turn = asyncio.Event(), asyncio.Event()

    async def request(tenant: str, size: int, *, urgent: bool = False) -> None:
        if not waiting.is_set():  # the event, and not the revocation
            waiting.set()
            await turn.wait()

    monkeypatch.setattr(gateway.publishing.ingest, "request", request)
    async with http(gate, gate.token("bob")) as api, http(gate, gate.token("root", scope="admin")) as admin:
        publishing = asyncio.create_task(api.post(path, json=EVENT))
        await waiting.wait()
        assert (await admin.post("/admin/tokens/revoke", json={"user_id": "bob"})).status_code == 200
        turn.set()
        assert (await publishing).json()["code"] == "token_revoked"
    assert gateway.log.window("acme").head == 0


async def test_an_administrator_does_not_wait_behind_the_flood_of_the_same_tenant(gate: RunningGateway) -> None:
    """Or the tokens that flood could not be revoked."""
    connections = gate.service.gateway.connections
    async with http(gate, gate.token("root", scope="admin")) as admin:
        await admin.get("/healthz")
        for _ in range(20_000):
            connections.shares.submit("acme", lambda: None, BUDGET)
        assert (await admin.post("/admin/tokens/revoke", json={"user_id": "bob"})).status_code == 200
        assert not connections.shares.idle
