"""`GET /admin/nodes`, `/admin/find`, `/admin/tail`, `POST /admin/events`: what an operator sees, and what not."""

import json
from typing import Any

import httpx
import pytest

from gateway.cluster.local import LocalCluster
from gateway.core.control import ControlMessage
from gateway.core.errors import LogUnavailable
from gateway.core.log import Draft, Receipt
from gateway.engine.event_tail import MAX_EVENTS, MAX_EXAMINED
from gateway.engine.metrics import Metrics
from gateway.logs.memory import MemoryLog
from gateway.testing import CURSOR_KEY
from tests.support.clients import assert_problem, http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.tokens import issue

ADMIN = "subscribe publish admin"
PLATFORM = "subscribe publish admin platform"
SECRET = "a payload of a tenant"


async def get(api: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await api.get(path, params=query)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    found: dict[str, Any] = answer.json()
    return found


# ---- nodes


async def test_an_operator_sees_the_numbers_of_the_node(gate: RunningGateway) -> None:
    async with gate.client(query="&rooms=circle:1"), http(gate, gate.token("op", scope=PLATFORM)) as api:
        await gate.publish(circle_id=1)
        (node,) = (await get(api, "/admin/nodes"))["nodes"]
    assert (node["ready"], node["draining"], node["log_ready"]) == (True, False, True)
    assert node["connections"] == {"websocket": 1}
    assert (node["events"], node["deliveries"]) == (1, 1)
    assert set(node["loop_lag"]) > {"0.01", "+Inf"}
    assert node["log_lag"] >= 0


async def test_an_administrator_of_one_tenant_does_not_see_the_numbers_of_all(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not collected for it either, which takes a look at each connection."""
    collected: list[object] = []
    monkeypatch.setattr(Metrics, "collect", collected.append)
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        (node,) = (await get(api, "/admin/nodes"))["nodes"]
    assert set(node) == {"node", "version", "ready", "problem", "draining", "log_ready", "started_at"}
    assert collected == []


# ---- find


async def test_a_user_is_found_with_connections_and_revocations(gate: RunningGateway) -> None:
    async with gate.client() as client, http(gate, gate.token("root", scope=ADMIN)) as api:
        id = client.established["data"]["connection_id"]
        found = await get(api, "/admin/find", q="ada")
        assert found["user"] == {"user_id": "ada", "connections": 1, "revoked_before": None, "removed_from": []}
        assert [each["connection_id"] for each in found["connections"]] == [id]
        await gate.publish(type="circle.member.removed", circle_id=7, data={"user_id": "ada"})
        await api.post("/admin/tokens/revoke", json={"user_id": "ada"})
        found = await get(api, "/admin/find", q="ada")
        assert (found["connections"], found["user"]["connections"]) == ([], 0)
        assert found["user"]["revoked_before"] is not None
        for name in ("ada", id):
            (ended,) = (await get(api, "/admin/find", q=name))["ended"]
            assert (ended["connection_id"], ended["user_id"], ended["transport"]) == (id, "ada", "websocket")
            assert (ended["code"], ended["reason"]) == (4401, "token_revoked")
            assert ended["connected_at"] <= ended["ended_at"]
            assert ended["node"] == gate.service.gateway.cluster.members.node
        assert [act["event"] for act in found["acts"]] == ["user.revoked"]


async def test_a_removal_is_shown_with_its_room(gate: RunningGateway) -> None:
    async with gate.client(query="&rooms=circle:7"), http(gate, gate.token("root", scope=ADMIN)) as api:
        event = {"type": "circle.member.removed", "circle_id": 7, "data": {"user_id": "ada"}}
        assert (await api.post("/admin/events", json=event)).status_code == 202
        found = await get(api, "/admin/find", q="ada")
        assert found["user"]["removed_from"] == ["circle:7"]
        (act,) = found["acts"]
        assert (act["event"], act["target"]["user_id"], act["target"]["type"]) == (
            *("event.published", "ada"),
            "circle.member.removed",
        )


async def test_a_room_and_a_connection_are_found(gate: RunningGateway) -> None:
    async with gate.client(query="&rooms=circle:77") as client, http(gate, gate.token("root", scope=ADMIN)) as api:
        id = client.established["data"]["connection_id"]
        found = await get(api, "/admin/find", q="circle:77")
        assert found["room"] == {"room": "circle:77", "connections": 1, "users": 1}
        assert [each["user_id"] for each in found["connections"]] == ["ada"]
        found = await get(api, "/admin/find", q=id)
        assert [each["rooms"] for each in found["connections"]] == [["circle:77", "user:ada"]]
        assert (await get(api, "/admin/find", q="77"))["similar"] == ["circle:77"]


async def test_a_token_is_found_by_its_id(gate: RunningGateway) -> None:
    issued = issue("bob", issuer=gate.service.issuer)
    async with gate.client(issued.access_token), http(gate, gate.token("root", scope=ADMIN)) as api:
        found = await get(api, "/admin/find", q=issued.token_id)
        assert found["token"] == {"jti": issued.token_id, "revoked": False, "connections": 1}
        assert [each["user_id"] for each in found["connections"]] == ["bob"]
        await api.post("/admin/tokens/revoke", json={"jti": issued.token_id})
        found = await get(api, "/admin/find", q=issued.token_id)
        assert found["token"] == {"jti": issued.token_id, "revoked": True, "connections": 0}
        assert "token" not in await get(api, "/admin/find", q="no-such-token")


async def test_an_event_is_found_without_its_data(gate: RunningGateway) -> None:
    id = await gate.publish(circle_id=1, data={"title": SECRET, "n": 1})
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        found = await get(api, "/admin/find", q=id)
        event = found["event"]
        assert (event["type"], event["rooms"], event["members"]) == ("task.completed", ["circle:1", "tenant"], 2)
        assert SECRET not in json.dumps(found)
    async with http(gate, gate.token("root", scope=ADMIN, tenant="globex")) as api:
        assert "event" not in await get(api, "/admin/find", q=id)


async def test_nothing_of_another_tenant_is_found(gate: RunningGateway) -> None:
    issued = issue("eve", tenant="globex", issuer=gate.service.issuer)
    async with gate.client(issued.access_token, "&rooms=circle:9") as client:
        id = client.established["data"]["connection_id"]
        async with http(gate, gate.token("root", scope=ADMIN)) as api:
            for name in ("eve", "circle:9", id, issued.token_id):
                found = await get(api, "/admin/find", q=name)
                assert (found["connections"], found["acts"]) == ([], []), name
                assert not {"user", "token", "event"} & found.keys(), name
            assert_problem(await api.get("/admin/find?q=eve&tenant=globex"), 403, "scope_missing")
        async with http(gate, gate.token("op", tenant="ops", scope=PLATFORM)) as api:
            assert (await get(api, "/admin/find", q="eve", tenant="globex"))["user"]["connections"] == 1


# ---- the tail


def types(page: dict[str, Any]) -> list[str]:
    return [event["type"] for event in page["events"]]


async def test_the_tail_goes_on_where_it_was(gate: RunningGateway) -> None:
    await gate.publish(type="task.created", circle_id=1, data={"title": SECRET})
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        page = await get(api, "/admin/tail")
        assert types(page) == ["task.created"]
        await gate.publish(type="task.started", circle_id=1)
        await gate.publish(type="task.completed", circle_id=1)
        page = await get(api, "/admin/tail", after=page["cursor"])
        assert (types(page), page["passed_over"], page["gap"]) == (["task.started", "task.completed"], 0, False)
        page = await get(api, "/admin/tail", after=page["cursor"])
        assert page["events"] == []


async def test_the_tail_is_filtered(gate: RunningGateway) -> None:
    await gate.publish(type="task.created", circle_id=1)
    await gate.publish(type="memory.created", circle_id=2)
    await gate.publish(type="task.failed", user_id="ada")
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        assert types(await get(api, "/admin/tail", room="circle:2")) == ["memory.created"]
        assert types(await get(api, "/admin/tail", type="task.created")) == ["task.created"]
        assert types(await get(api, "/admin/tail", type="task.*")) == ["task.created", "task.failed"]
        assert types(await get(api, "/admin/tail", user_id="ada")) == ["task.failed"]
        assert_problem(await api.get("/admin/tail?room=nonsense"), 422, "room_invalid")


async def test_under_load_the_tail_is_a_sample_of_the_newest(gate: RunningGateway) -> None:
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        cursor = (await get(api, "/admin/tail"))["cursor"]
        for number in range(300):
            await gate.publish(circle_id=1, data={"number": number})
        page = await get(api, "/admin/tail", after=cursor, payload="1")
    numbers = [event["data"]["number"] for event in page["events"]]
    assert numbers == list(range(300 - MAX_EVENTS, 300))
    assert page["passed_over"] == 300 - MAX_EVENTS


async def test_a_page_of_large_events_is_bounded(gate: RunningGateway) -> None:
    """A filter that nothing passes examines no more than that either."""
    for _ in range(40):
        await gate.publish(circle_id=1, data={"text": "x" * 60_000})
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        page = await get(api, "/admin/tail")
        assert 5 <= len(page["events"]) <= 10
        for _ in range(MAX_EXAMINED + 100):
            await gate.publish(circle_id=1)
        assert types(await get(api, "/admin/tail", type="no.such")) == []


async def test_payloads_are_shown_where_asked_for_which_is_audited_once_a_minute(gate: RunningGateway) -> None:
    await gate.publish(circle_id=1, data={"title": SECRET})
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        page = await get(api, "/admin/tail")
        assert SECRET not in json.dumps(page)
        assert (await get(api, "/admin/audit"))["acts"] == []
        for _ in range(3):
            page = await get(api, "/admin/tail", payload="1", room="circle:1", after="evt_" + "A" * 22)
            assert page["events"][0]["data"] == {"title": SECRET}
        (act,) = (await get(api, "/admin/audit"))["acts"]
        assert (act["event"], act["target"]) == ("events.unmasked", {"room": "circle:1"})
        await get(api, "/admin/tail", payload="1")
        assert len((await get(api, "/admin/audit"))["acts"]) == 2


async def test_a_cursor_of_no_use_is_a_gap(gate: RunningGateway) -> None:
    await gate.publish(circle_id=1)
    async with http(gate, gate.token("root", scope=ADMIN)) as api:
        for cursor in ("nonsense", "evt_" + "A" * 22):
            page = await get(api, "/admin/tail", after=cursor)
            assert (page["gap"], len(page["events"])) == (True, 1)


# ---- test events


async def test_an_event_published_by_hand_is_audited(gate: RunningGateway) -> None:
    async with gate.client(query="&rooms=circle:1") as client, http(gate, gate.token("root", scope=ADMIN)) as api:
        answer = await api.post("/admin/events", json={"type": "task.created", "circle_id": 1, "data": {"t": SECRET}})
        assert answer.status_code == 202
        await client.next("subscribed")
        assert (await client.next("task.created"))["event_id"] == answer.json()["event_id"]
        (act,) = (await get(api, "/admin/audit"))["acts"]
        target = {"type": "task.created", "event_id": answer.json()["event_id"], "rooms": "circle:1,tenant"}
        assert (act["event"], act["target"]) == ("event.published", target)
        refused = await api.post("/admin/events", json={"type": "task.created", "data": {}, "tenant": "globex"})
        assert_problem(refused, 403, "scope_missing")


class SilentLog(MemoryLog):
    """A log that may have an event, and does not answer."""

    async def append(self, tenant: str, draft: Draft) -> Receipt:
        raise LogUnavailable("the log did not answer; the event may be in it")


async def test_acts_of_unknown_end_are_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the log or the other nodes do not answer. Refused ones are not."""

    async def unreachable(self: LocalCluster, message: ControlMessage) -> None:
        self.apply(message)
        raise LogUnavailable("the other nodes could not be notified in time")

    monkeypatch.setattr(LocalCluster, "publish_control", unreachable)
    service = service_with(log=SilentLog((CURSOR_KEY,)))
    async with running(service=service) as gate, http(gate, gate.token("root", scope=ADMIN)) as api:
        for path, body in (
            ("/admin/events", {"type": "task.created", "circle_id": 1, "data": {}}),
            ("/admin/tokens/revoke", {"user_id": "bob"}),
        ):
            assert_problem(await api.post(path, json=body), 503, "broker_unavailable")
        refused = await api.post("/admin/events", json={"type": "task.created", "circle_id": "a b", "data": {}})
        assert_problem(refused, 422, "room_invalid")
        acts = (await get(api, "/admin/audit"))["acts"]
        assert [(act["event"], act["target"]) for act in acts] == [
            ("user.revoked", {"user_id": "bob", "outcome": "unconfirmed"}),
            ("event.published", {"type": "task.created", "outcome": "unconfirmed"}),
        ]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/admin/nodes"), ("GET", "/admin/find?q=ada"), ("GET", "/admin/tail"), ("POST", "/admin/events")],
)
async def test_others_are_refused(gate: RunningGateway, method: str, path: str) -> None:
    body = {"type": "task.created", "circle_id": 1, "data": {}}
    async with http(gate, gate.token(scope="subscribe publish")) as api, http(gate) as anyone:
        assert_problem(await api.request(method, path, json=body), 403, "scope_missing")
        assert_problem(await anyone.request(method, path, json=body), 401, "token_missing")
    assert gate.service.gateway.log.window("acme").head == 0
