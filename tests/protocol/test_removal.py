"""Members who are removed: `circle.member.removed` and `project.member.removed` are policy as well as news."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gateway.cluster.local import LocalCluster
from gateway.core.connection import Connection
from gateway.core.control import ControlMessage
from gateway.core.frame import Batch
from gateway.core.log import Draft, Receipt
from gateway.core.revocations import MAX_REVOKED_ROOMS
from gateway.logs.memory import MemoryLog
from gateway.service.factory import create_service
from gateway.testing import CURSOR_KEY, Clock
from gateway.transports.uvicorn.sockets import write_batch_to_fds
from tests.support.clients import assert_problem, http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.settings import settings_for

REMOVAL: dict[str, Any] = {"type": "circle.member.removed", "data": {"user_id": "ada"}, "circle_id": 7}


@pytest.mark.parametrize("kind", ["circle", "project"])
async def test_a_removed_member_gets_the_removal_and_nothing_after_it(gate: RunningGateway, kind: str) -> None:
    """In one turn: an event, the removal, another event. The removed user sees the first two, others all."""
    room = f"{kind}:7"
    publish, ids = gate.service.gateway.publish, {f"{kind}_id": 7}
    async with (
        gate.client(gate.token("ada"), f"&rooms={room}") as ada,
        gate.client(gate.token("bob"), f"&rooms={room}") as bob,
    ):
        await ada.next("subscribed")
        await bob.next("subscribed")
        await publish("acme", "task.created", {"n": 1}, **ids)  # type: ignore[arg-type]
        await publish("acme", f"{kind}.member.removed", {"user_id": "ada"}, **ids)  # type: ignore[arg-type]
        await publish("acme", "task.created", {"n": 2}, **ids)  # type: ignore[arg-type]
        assert [(await ada.next())["type"] for _ in range(3)] == [
            "task.created",
            f"{kind}.member.removed",
            "subscription.revoked",
        ]
        assert [(await bob.next())["data"].get("n") for _ in range(3)] == [1, None, 2]
        await ada.quiet()


async def test_the_room_is_barred_to_tokens_from_before(gate: RunningGateway) -> None:
    """The token grants circle:* and yet not circle:7 any more, on whatever connection; a later one does."""
    token = gate.token("ada")
    async with gate.client(token, "&rooms=circle:7") as ada:
        await ada.next("subscribed")
        await gate.service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
        await ada.next("circle.member.removed")
        revoked = await ada.next("subscription.revoked")
        assert revoked["data"] == {"rooms": ["circle:7"], "reason": "circle.member.removed"}
        refused = await ada.ask(type="subscribe", rooms=["circle:7"])
        assert refused["data"]["code"] == "room_forbidden"
        event = {"type": "task.created", "data": {}, "circle_id": 7}
        assert (await ada.ask(type="publish", event=event))["data"]["code"] == "room_forbidden"
        assert (await ada.ask(type="subscribe", rooms=["circle:8"]))["type"] == "subscribed"
    async with gate.client(token) as again:
        assert (await again.ask(type="subscribe", rooms=["circle:7"]))["data"]["code"] == "room_forbidden"
    later = gate.token("ada", cutoff=gate.service.gateway.administration.newest_cutoff("acme", "ada"))
    async with gate.client(later) as again:
        assert (await again.ask(type="subscribe", rooms=["circle:7"]))["type"] == "subscribed"


async def test_a_removal_concerns_its_user_room_and_tenant_only(gate: RunningGateway) -> None:
    """The same user id in another tenant, and other users of the room, notice nothing."""
    async with gate.client(gate.token("ada", tenant="globex"), "&rooms=circle:7") as foreign:
        await foreign.next("subscribed")
        async with gate.client(gate.token("ada"), "&rooms=circle:7,circle:8") as ada:
            await ada.next("subscribed")
            await gate.service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
            await gate.service.gateway.publish("acme", "task.created", {}, circle_id=8)
            assert [(await ada.next())["type"] for _ in range(3)][-1] == "task.created"
        await gate.service.gateway.publish("globex", "task.created", {}, circle_id=7)
        assert (await foreign.next())["type"] == "task.created"


async def test_a_removal_without_a_user_is_an_event_like_any_other(gate: RunningGateway) -> None:
    """Data without a user, or in no form that a user has, removes no member and raises no error."""
    async with gate.client(query="&rooms=circle:7") as ada:
        await ada.next("subscribed")
        for data in ({}, {"user_id": None}, {"user_id": ["ada"]}, {"user_id": "no one"}, {"user_id": True}):
            await gate.service.gateway.publish("acme", "circle.member.removed", data, circle_id=7)
            await ada.next("circle.member.removed")
        await ada.quiet()


@pytest.mark.parametrize("kind", ["circle.member.removed", "project.member.removed", "team.member.removed"])
async def test_a_removal_from_outside_takes_admin(gate: RunningGateway, kind: str) -> None:
    """A removal is policy: with `publish` alone it is refused over HTTP, in a batch and over the socket."""
    event = {**REMOVAL, "type": kind, "project_id": 7}
    async with (
        gate.client(gate.token("ada"), "&rooms=circle:7,project:7") as ada,
        http(gate, gate.token("eve")) as eve,
        http(gate, gate.token("root", scope="admin")) as root,
    ):
        await ada.next("subscribed")
        assert_problem(await eve.post("/events", json=event), 403, "scope_missing")
        batch = (await eve.post("/events/batch", json={"events": [event]})).json()
        assert batch["results"][0]["error"]["code"] == "scope_missing"
        assert (await ada.ask(type="publish", event=event))["data"]["code"] == "scope_missing"
        assert gate.service.gateway.log.window("acme").head == 0
        assert (await root.post("/events", json=event)).status_code == 202
        await ada.next(kind)


async def test_a_removal_published_again_under_its_key_has_no_second_effect() -> None:
    """A member who was let in again meanwhile, with a token of after the removal, stays."""
    clock = Clock(time.time())
    async with running(settings_for(), service_with(clock=clock, timer=clock)) as gate:
        async with http(gate, gate.token("root", scope="admin")) as root:
            removal = {**REMOVAL, "idempotency_key": "k"}
            first = (await root.post("/events", json=removal)).json()
            await clock.advance(10)
            async with gate.client(gate.token("ada", now=clock()), "&rooms=circle:7") as ada:
                await ada.next("subscribed")
                await clock.advance(10)
                assert (await root.post("/events", json=removal)).json() == {**first, "duplicate": True}
                assert (await ada.ask(type="subscribe", rooms=["circle:7"]))["type"] == "subscribed"
                event = {"type": "task.created", "data": {}, "circle_id": 7}
                assert (await root.post("/events", json=event)).status_code == 202
                await ada.next("task.created")


async def test_one_time_counts_for_a_removal() -> None:
    """The time of its place in the log, here and in the control message to other nodes: both end the same tokens."""
    sent: list[ControlMessage] = []

    class Cluster(LocalCluster):
        async def publish_control(self, notice: ControlMessage) -> None:
            sent.append(notice)

    service = create_service(settings_for(), cluster=Cluster())
    async with service.running():
        receipt = await service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
        assert [message.at for message in sent] == [receipt.at]


class SlowCluster(LocalCluster):
    """A cluster that takes a control message once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[ControlMessage] = []
        self.asked, self.free = asyncio.Event(), asyncio.Event()

    async def publish_control(self, notice: ControlMessage) -> None:
        self.asked.set()
        await self.free.wait()
        self.sent.append(notice)


class QueueingLog(MemoryLog):
    """A log that appends in a task, as one with a queue does."""

    def append(self, tenant: str, draft: Draft) -> asyncio.Future[Receipt]:  # type: ignore[override]
        return asyncio.ensure_future(super().append(tenant, draft))


@pytest.mark.parametrize("engine", [MemoryLog, QueueingLog])
async def test_a_caller_who_is_cancelled_takes_no_removal_along(engine: type[MemoryLog]) -> None:
    """The event is in the log, so the removal is in force on every node: also where the gateway stops meanwhile."""
    cluster = SlowCluster()
    service = create_service(settings_for(), log=engine((CURSOR_KEY,)), cluster=cluster)
    async with service.running():
        publishing = asyncio.create_task(
            service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
        )
        await cluster.asked.wait()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert not cluster.sent
        asyncio.get_running_loop().call_later(0.1, cluster.free.set)
    assert [message.name for message in cluster.sent] == ["ada"]


async def test_a_removal_in_the_queue_of_a_log_needs_no_caller() -> None:
    """A batch may be cancelled before it waits for this event."""
    cluster = SlowCluster()
    cluster.free.set()
    service = create_service(settings_for(), log=QueueingLog((CURSOR_KEY,)), cluster=cluster)
    async with service.running():
        draft = Draft(("circle:7", "tenant"), b'{"type":"x"}', "2026-01-15T10:30:00Z", removal=("ada", "circle:7"))
        service.gateway.publishing.append("acme", draft)
    assert [message.name for message in cluster.sent] == ["ada"]


async def test_a_user_who_is_removed_from_many_rooms_signs_in_again(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the bound the user's tokens end instead, so that no removal is forgotten and none costs more than the one
    before; a fresh token has what it grants."""
    publish, revocations = gate.service.gateway.publish, gate.service.gateway.cluster.revocations
    token = gate.token("ada")
    async with gate.client(token, "&rooms=circle:1") as ada:
        await ada.next("subscribed")
        for n in range(MAX_REVOKED_ROOMS):
            await publish("acme", "project.member.removed", {"user_id": "ada"}, project_id=n)
        assert (await ada.ask(type="ping"))["type"] == "pong"
        assert revocations.count("acme") == MAX_REVOKED_ROOMS
        await publish("acme", "project.member.removed", {"user_id": "ada"}, project_id=MAX_REVOKED_ROOMS)
        assert await ada.closed() == (4401, "token_revoked")
    assert revocations.count("acme") == 1
    (widened,) = (record for record in caplog.records if getattr(record, "event", "") == "revocation.widened")
    assert (widened.name, widened.levelname) == ("gateway.audit", "WARNING")
    assert "tenant=acme user_id=ada" in widened.getMessage()
    fresh = gate.token("ada", cutoff=revocations.newest_cutoff("acme", "ada"))
    async with gate.client(fresh, "&rooms=project:1,circle:1") as ada:
        await ada.next("subscribed")


async def test_removals_of_users_who_are_not_here_leave_as_other_events_do() -> None:
    """Several in one write: pending events are written ahead of a removal only where a user leaves the room."""
    batches: list[int] = []

    def count(batch: Batch, connections: Mapping[int, Connection]) -> None:
        batches.append(batch.last)
        write_batch_to_fds(batch, connections)

    service = create_service(settings_for(), batch_writer=count)
    async with running(service=service) as gate, gate.client(query="&rooms=circle:7") as ada:
        await ada.next("subscribed")
        for n in range(200):
            await service.gateway.publish("acme", "circle.member.removed", {"user_id": f"user{n}"}, circle_id=7)
        for n in range(200):
            assert (await ada.next("circle.member.removed"))["data"] == {"user_id": f"user{n}"}
        assert len(batches) < 10


async def test_a_removal_in_force_is_acted_on_once() -> None:
    """A removal that a coarser cutoff covers, or that the log and a message bring, looks at no connection again."""
    service = create_service(settings_for())
    async with running(service=service) as gate, gate.client(query="&rooms=circle:7") as ada:
        await ada.next("subscribed")
        revocation, looks = service.gateway.revocation, 0
        act = revocation.on_control

        def count(news: Sequence[ControlMessage]) -> int:
            nonlocal looks
            looks += 1
            return act(news)

        revocation.on_control = count  # type: ignore[method-assign]
        await service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
        assert looks == 1
        await service.gateway.administration.revoke_user("acme", "ada")
        assert looks == 2
        revocation.apply(revocation.cutoff("room_revoked", "acme", "ada", "circle:8"))
        assert looks == 3
