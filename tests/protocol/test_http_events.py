"""Publishing over HTTP: `POST /events` and `/events/batch`."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from gateway.core.log import Draft, Receipt
from gateway.engine import ingest
from gateway.logs.memory import MemoryLog
from tests.support.clients import assert_problem, fence, http
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.logs import FailingLog
from tests.support.pauses import PATIENCE
from tests.support.settings import settings_for

EVENT: dict[str, Any] = {"type": "task.completed", "data": {"n": 1}, "circle_id": 1}


async def test_202_means_that_the_event_is_in_the_log(gate: RunningGateway) -> None:
    """With its id, whether it was there before, and the rooms that it was routed to."""
    async with gate.client(query="&rooms=circle:1") as client, http(gate, gate.token()) as api:
        await client.next("subscribed")
        response = await api.post("/events", json={**EVENT, "project_id": "x"})
        assert response.status_code == 202
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert answer.keys() == {"event_id", "duplicate", "rooms"}
        assert (answer["duplicate"], answer["rooms"]) == (False, ["circle:1", "project:x", "tenant"])
        window = gate.service.gateway.log.window("acme")
        assert window[window.head].event_id == answer["event_id"]
        assert (await client.next("task.completed"))["event_id"] == answer["event_id"]


async def test_the_same_idempotency_key_publishes_once(gate: RunningGateway) -> None:
    """The same id and `duplicate: true`; with any other body 409, and nothing is delivered."""
    async with gate.client(query="&rooms=tenant") as client, http(gate, gate.token(scope="admin")) as api:
        await client.next("subscribed")
        event = {**EVENT, "idempotency_key": "key-1"}
        first = (await api.post("/events", json=event)).json()
        for _ in range(2):
            again = await api.post("/events", json=event)
            assert again.status_code == 202
            assert again.json() == {**first, "duplicate": True}
        # The order of members is no difference.
        assert (await api.post("/events", json=dict(reversed(event.items())))).json()["duplicate"] is True
        for change in ({"data": {"n": 2}}, {"type": "task.failed"}, {"circle_id": 2}, {"source_agent_id": 1}):
            assert_problem(await api.post("/events", json={**event, **change}), 409, "idempotency_conflict")
        assert (await client.next("task.completed"))["event_id"] == first["event_id"]
        await fence(client)
        other = (await api.post("/events", json={**event, "idempotency_key": "key-2"})).json()
        assert (other["duplicate"], other["event_id"] == first["event_id"]) == (False, False)


async def test_without_a_key_the_same_event_is_published_as_often_as_it_is_sent(gate: RunningGateway) -> None:
    """Twice the same is two events."""
    async with http(gate, gate.token()) as api:
        answers = [(await api.post("/events", json=EVENT)).json() for _ in range(2)]
    assert answers[0]["event_id"] != answers[1]["event_id"]
    assert not any(answer["duplicate"] for answer in answers)


BAD_BODIES: list[Any] = [
    [],
    "text",
    None,
    {},
    {"type": "task.completed"},
    {"data": {}},
    {**EVENT, "data": "text"},
    {**EVENT, "data": None},
    {**EVENT, "unknown": 1},
    {**EVENT, "event_id": "evt_1"},
    {**EVENT, "timestamp": "2026-01-01T00:00:00Z"},
    {**EVENT, "circle_id": True},
    {**EVENT, "circle_id": 1.0},
    {**EVENT, "circle_id": [1]},
    {**EVENT, "user_id": 7},
    {**EVENT, "source_agent_id": ""},
    {**EVENT, "source_agent_id": "x" * 129},
    {**EVENT, "idempotency_key": ""},
    {**EVENT, "idempotency_key": "x" * 129},
    {**EVENT, "idempotency_key": 5},
    {**EVENT, "type": 7},
]


async def test_a_body_that_is_no_event_is_a_problem_that_names_the_field(gate: RunningGateway) -> None:
    """422 `bad_message` for the wrong shape, and the next good event is taken."""
    async with http(gate, gate.token(scope="admin")) as api:
        for body in BAD_BODIES:
            assert_problem(await api.post("/events", json=body), 422, "bad_message")
        problem = assert_problem(await api.post("/events", json={**EVENT, "unknown": 1}), 422, "bad_message")
        assert "unknown" in problem["detail"]
        assert (await api.post("/events", json=EVENT)).status_code == 202


async def test_a_body_that_is_no_json_is_a_400(gate: RunningGateway) -> None:
    """Also what Python's own reader would take: NaN, a lone surrogate, bytes that are no UTF-8."""
    async with http(gate, gate.token()) as api:
        for content in (b"", b"{", b"{'type': 1}", b'{"data": NaN}', b'"\\ud800"', b'{"type": "\xff"}', b"[" * 100_000):
            headers = {"Content-Type": "application/json"}
            response = await api.post("/events", content=content, headers=headers)
            problem = assert_problem(response, 422 if content == b"" else 400, "bad_message")
            assert "ud800" not in json.dumps(problem)


@pytest.mark.parametrize("number", ["1e400", "-1e309", "9" * 310 + ".5", "9" * 309, "-" + "9" * 4_000, "2" + "0" * 308])
async def test_a_number_beyond_a_double_is_refused_and_not_made_null(gate: RunningGateway, number: str) -> None:
    """422, in a batch for that event alone; the word by which other writers name it is a word like any other."""
    event = f'{{"type": "task.created", "circle_id": 7, "data": {{"x": {{"y": [{number}]}}, "text": "Infinity"}}}}'
    good = event.replace(number, "1e308")
    async with http(gate, gate.token()) as api:
        api.headers["Content-Type"] = "application/json"
        assert_problem(await api.post("/events", content=event), 422, "bad_message")
        assert (await api.post("/events", content=good)).status_code == 202
        batch = await api.post("/events/batch", content=f'{{"events": [{good}, {event}]}}')
        assert ["event_id" in result for result in batch.json()["results"]] == [True, False]
        assert batch.json()["results"][1]["error"]["code"] == "bad_message"


async def test_a_body_over_the_limit_is_a_413_with_and_without_content_length(gate: RunningGateway) -> None:
    """1 MiB for an event's body; it is not read to its end."""

    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"Content-Type": "application/json"}
    for content in (b" " * 1_100_000, chunks()):
        async with http(gate, gate.token()) as api:
            try:
                response = await api.post("/events", content=content, headers=headers)
            except (httpx.WriteError, httpx.ReadError):
                continue  # the answer came and the connection went while this client was still sending
            assert_problem(response, 413, "message_too_large")
    async with http(gate, gate.token()) as api:
        assert (await api.post("/events", json=EVENT)).status_code == 202


async def test_routes_answer_401_with_a_challenge(gate: RunningGateway) -> None:
    """Without a token, and with a bad one."""
    for token, code in ((None, "token_missing"), ("nonsense", "token_invalid")):
        async with http(gate, token) as api:
            for method, path in (
                ("POST", "/events"),
                ("POST", "/events/batch"),
                ("POST", "/admin/tokens"),
                ("POST", "/admin/tokens/revoke"),
                ("POST", "/admin/tokens/introspect"),
                ("GET", "/admin/stats"),
                ("GET", "/admin/connections"),
                ("GET", "/admin/rooms"),
                ("DELETE", "/admin/connections/con_x"),
            ):
                bodies: dict[str, Any] = {
                    "/events": EVENT,
                    "/events/batch": {"events": [EVENT]},
                    "/admin/tokens": {"user_id": "bob", "rooms": []},
                    "/admin/tokens/revoke": {"jti": "x"},
                    "/admin/tokens/introspect": {"token": "x"},
                }
                response = await api.request(method, path, json=bodies.get(path))
                assert_problem(response, 401, code)
                assert response.headers["www-authenticate"].startswith("Bearer")


# ---- batches


async def test_a_batch_is_judged_event_by_event(gate: RunningGateway) -> None:
    """202 with one result for each, in order: what the single route would have answered, or its code and message."""
    token = gate.token(rooms=["circle:1"])
    events: list[Any] = [
        EVENT,
        {**EVENT, "circle_id": 2},
        {**EVENT, "type": "pong"},
        "text",
        {**EVENT, "circle_id": "a b"},
        {**EVENT, "idempotency_key": "k"},
        {**EVENT, "idempotency_key": "k"},
        {**EVENT, "idempotency_key": "k", "data": {}},
        {**EVENT, "tenant": "globex"},
        {**EVENT, "data": {"x": "y" * 70_000}},
        {**EVENT, "data": {"last": True}},
    ]
    async with gate.client(token, "&rooms=circle:1") as client, http(gate, token) as api:
        await client.next("subscribed")
        response = await api.post("/events/batch", json={"events": events})
        assert response.status_code == 202
        results = response.json()["results"]
        assert [result.get("error", {}).get("code") for result in results] == [
            None,
            "room_forbidden",
            "bad_message",
            "bad_message",
            "room_invalid",
            None,
            None,
            "idempotency_conflict",
            "scope_missing",
            "message_too_large",
            None,
        ]
        for result in results:
            if "error" in result:
                assert result.keys() == {"error"}
                assert result["error"].keys() == {"code", "message"}
                assert result["error"]["message"]
            else:
                assert result.keys() == {"event_id", "duplicate", "rooms"}
        assert [results[i]["duplicate"] for i in (0, 5, 6, 10)] == [False, False, True, False]
        assert results[5]["event_id"] == results[6]["event_id"]
        delivered = [(await client.next("task.completed"))["event_id"] for _ in range(3)]
        assert delivered == [results[i]["event_id"] for i in (0, 5, 10)]
        await fence(client)


async def test_a_fault_of_a_batched_event_names_the_field(gate: RunningGateway) -> None:
    """Also one that has the name of a command."""
    events = [EVENT | {"presence": 1}, {}, EVENT | {"data": 1, "a": 1, "b": 1, "c": 1}]
    async with http(gate, gate.token(scope="publish")) as api:
        results = (await api.post("/events/batch", json={"events": events})).json()["results"]
        single = (await api.post("/events", json=events[2])).json()["detail"]
    assert results[0]["error"]["message"] == "presence: unknown field; correct its name, or leave it out"
    assert results[1]["error"]["message"].startswith("type: is missing")
    assert results[2]["error"]["message"].endswith("; and 1 more")
    assert single == results[2]["error"]["message"]


async def test_a_batch_holds_from_1_to_1000_events(gate: RunningGateway) -> None:
    """Others are refused as a whole, and nothing of them is published."""
    async with http(gate, gate.token()) as api:
        response = await api.post("/events/batch", json={"events": [EVENT] * 1_000})
        assert response.status_code == 202
        assert len({result["event_id"] for result in response.json()["results"]}) == 1_000
        head = gate.service.gateway.log.window("acme").head
        bodies: list[Any] = [{"events": [EVENT] * 1_001}, {"events": []}, {"events": EVENT}, {}, [EVENT], {"x": 1}]
        for body in bodies:
            assert_problem(await api.post("/events/batch", json=body), 422, "bad_message")
        assert gate.service.gateway.log.window("acme").head == head


@pytest.mark.parametrize("path", ["/events", "/events/batch", "/admin/tokens", "/admin/tokens/revoke"])
@pytest.mark.parametrize("scope", [None, "", "subscribe"])
async def test_a_body_is_not_read_of_a_caller_without_the_scope(
    gate: RunningGateway, path: str, scope: str | None
) -> None:
    """The refusal comes while the body, of up to 16 MiB, is still to be sent: it takes no memory and is not parsed."""
    token = [] if scope is None else [f"Authorization: Bearer {gate.token(scope=scope)}"]
    head = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 1000000", *token]
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    try:
        writer.write("\r\n".join([*head, "", '{"events": [']).encode())
        async with asyncio.timeout(PATIENCE):
            answer = await reader.readuntil(b"\r\n")
    finally:
        writer.close()
    assert answer.split()[1] == (b"401" if scope is None else b"403")


async def test_a_batch_may_be_larger_than_an_event() -> None:
    """Up to 16 MiB of body."""
    async with running(settings_for()) as gate, http(gate, gate.token()) as api:
        event = {**EVENT, "data": {"x": "y" * 60_000}}
        response = await api.post("/events/batch", json={"events": [event] * 40})
        assert response.status_code == 202
        assert not any("error" in result for result in response.json()["results"])
        response = await api.post("/events/batch", json={"events": [event] * 300})
        assert_problem(response, 413, "message_too_large")


@pytest.mark.parametrize("fast", [True, False])
async def test_each_event_of_a_large_batch_is_judged_by_itself(
    gate: RunningGateway, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 600 kB among others, and one that is no object; and what is no batch is 422 as a small one is."""
    for limit in ("MAX_WAIT", "MAX_SECONDS"):
        monkeypatch.setattr(ingest, limit, PATIENCE)
    good, long = {**EVENT, "data": {"x": "y" * 30_000}}, {**EVENT, "data": {"x": "},{" * 200_000}}
    async with http(gate, gate.token()) as api:
        if not fast:
            api.headers["Origin"] = gate.url
        response = await api.post("/events/batch", json={"events": [good, long, 7, *[good] * 30]})
        assert response.status_code == 202, response.text
        results = response.json()["results"]
        assert [each.get("error", {}).get("code") for each in results[:4]] == [
            None,
            "message_too_large",
            "bad_message",
            None,
        ]
        assert all("event_id" in each for each in results[3:])
        head = gate.service.gateway.log.window("acme").head
        body: dict[str, Any] = {"events": [good] * 40, "more": 1}
        for some in (body, {**body, "events": [good]}):
            assert_problem(await api.post("/events/batch", json=some), 422, "bad_message")
        text = json.dumps({"events": [good] * 40})
        for cut in (text[:-1], text[:-2] + ",]}", text.replace('"y', '"\x01y')):
            headers = {"Content-Type": "application/json"}
            assert_problem(await api.post("/events/batch", content=cut, headers=headers), 400, "bad_message")
        assert gate.service.gateway.log.window("acme").head == head


# ---- when the log fails


async def test_an_event_the_log_refuses_is_a_503(gate: RunningGateway) -> None:
    """`broker_unavailable`, with `Retry-After`; in a batch for each event."""
    log = FailingLog()
    async with running(service=service_with(log=log)) as broken, http(broken, broken.token()) as api:
        assert_problem(await api.post("/events", json=EVENT), 503, "broker_unavailable")
        response = await api.post("/events/batch", json={"events": [EVENT] * 2})
        assert [result["error"]["code"] for result in response.json()["results"]] == ["broker_unavailable"] * 2


async def test_a_fault_is_a_500_that_tells_nothing(gate: RunningGateway) -> None:
    """`internal_error` as a problem document; the reason is in the log alone."""
    log = FailingLog(RuntimeError("the canary of the fault"))
    async with running(service=service_with(log=log)) as broken, http(broken, broken.token()) as api:
        response = await api.post("/events", json=EVENT)
        assert_problem(response, 500, "internal_error")
        assert "canary" not in response.text
        assert (await api.get("/healthz")).status_code == 200


async def test_a_batch_survives_a_fault_in_one_of_its_events(gate: RunningGateway) -> None:
    """Each judged by itself holds for faults of ours too: those before it were published and must be answered."""

    class Faulty(MemoryLog):
        async def append(self, tenant: str, draft: Draft) -> Receipt:
            if b"poison" in draft.body:
                raise RuntimeError("a fault")
            return await super().append(tenant, draft)

    log = Faulty((b"k" * 32,))
    async with running(service=service_with(log=log)) as broken, http(broken, broken.token()) as api:
        poison = {**EVENT, "data": {"poison": 1}}
        response = await api.post("/events/batch", json={"events": [EVENT, poison, EVENT]})
        assert response.status_code == 202
        codes = [result.get("error", {}).get("code") for result in response.json()["results"]]
        assert codes == [None, "internal_error", None]


async def test_no_body_is_read_without_a_token(gate: RunningGateway) -> None:
    """The answer comes before the body does: what a stranger announces takes no memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    head = (
        "POST /events/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n"
    )
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def head_judged(
    gate: RunningGateway, path: str, length: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request of which the gateway has judged the head, and waits for the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.token()}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    # It asks for the body once the head has been judged.
    assert (await reader.readline()).startswith(b"HTTP/1.1 100")
    return reader, writer


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
@pytest.mark.parametrize("death", ["revoked", "expired"])
async def test_a_token_that_dies_while_the_body_comes_publishes_nothing(path: str, death: str) -> None:
    """The token was valid when the head came, and is verified again when the body has come."""
    ahead = 0.0
    async with running(service=service_with(lambda: time.time() + ahead)) as gate:
        body = json.dumps({"events": [EVENT]} if path.endswith("batch") else EVENT).encode()
        gateway = gate.service.gateway
        async with asyncio.timeout(PATIENCE):
            reader, writer = await head_judged(gate, path, len(body))
            if death == "revoked":
                await gateway.administration.revoke_user("acme", "ada")
            else:
                ahead = 3_600.0
            writer.write(body)
            answer = await reader.read()
        writer.close()
        assert b"HTTP/1.1 401" in answer, answer
        assert f"token_{death}".encode() in answer
        assert gateway.log.window("acme").head == 0
