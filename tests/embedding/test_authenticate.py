"""`create_service(authenticate=…)`: clients that the application knows by its own sessions."""

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from auth.errors import TokenExpired
from gateway import ClientRequest, ConfigError, SessionIdentity, create_service
from gateway.core.client_request import client_request, read_cookies
from gateway.core.connect_request import ConnectRequest, read_connect_request
from gateway.core.credentials import NO_SECRETS
from gateway.engine import access
from gateway.telemetry import log_events
from gateway.telemetry.line_rate import LineLimiter
from gateway.testing import Clock, until
from tests.embedding.application import ADA, TRANSPORTS, Sessions, application, client, established
from tests.support.clients import assert_problem, fence, http, http_client
from tests.support.clocks import AdjustableClock
from tests.support.inprocess import RunningGateway
from tests.support.raw_client import command, handshake, raw
from tests.support.settings import settings_for
from tests.support.transports import FakeTransport

both_transports = pytest.mark.parametrize("transport", TRANSPORTS)


def api(gate: RunningGateway, session: str | None = "a", **headers: str) -> httpx.AsyncClient:
    cookies = {} if session is None else {"session": session}
    return http_client(gate.url, headers=headers, cookies=cookies)


# ---- connecting


@both_transports
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_a_session_connects(transport: str, kind: str) -> None:
    """The session gets its user and grants; events arrive, and the `rooms` of the URL are joined."""
    async with application(transport, getattr(Sessions(), kind)) as gate:
        async with established(gate, query="?rooms=circle:1&client_id=desk") as ada:
            data = ada.established["data"]
            assert (data["user_id"], data["tenant"], data["client_id"]) == ("ada", "acme", "desk")
            assert (data["rooms"], data["subscribed"]) == (["circle:*", "tenant"], ["user:ada", "circle:1"])
            await ada.next("subscribed")
            answer = await ada.ask(type="publish", event={"type": "task.created", "data": {}, "circle_id": 1})
            assert answer["type"] == "published" or answer["type"] == "task.created"
            refused = await ada.ask(type="subscribe", rooms=["project:1"])
            assert refused["data"]["code"] == "room_forbidden"


@both_transports
async def test_a_client_that_is_not_known_has_a_token_a_ticket_or_nothing(transport: str) -> None:
    """Tokens are looked at when the application knows none, in all the places where they may be."""
    async with application(transport, Sessions().coroutine) as gate:
        async with established(gate, None, f"?token={gate.token('bob')}") as bob:
            assert bob.established["data"]["user_id"] == "bob"
        async with http(gate, gate.token("bob")) as tokens:
            ticket = (await tokens.post("/tickets")).json()["ticket"]
        async with established(gate, "unknown", f"?ticket={ticket}") as bob:
            assert bob.established["data"]["user_id"] == "bob"
        for query, reason in (("", "token_missing"), ("?token=x", "token_invalid"), ("?ticket=x", "token_invalid")):
            async with client(gate, "unknown", query) as stranger:
                assert await stranger.closed() == (4401, reason)


async def test_the_application_comes_before_tokens() -> None:
    """A session counts, whatever token or ticket is beside it; neither is used up."""
    async with application(authenticate=Sessions().plain) as gate:
        async with http(gate, gate.token("bob")) as tokens:
            ticket = (await tokens.post("/tickets")).json()["ticket"]
        for query in (f"?token={gate.token('bob')}", "?token=nonsense", f"?ticket={ticket}"):
            async with established(gate, "a", query) as ada:
                assert ada.established["data"]["user_id"] == "ada"
        async with established(gate, None, f"?ticket={ticket}") as bob:
            assert bob.established["data"]["user_id"] == "bob"


@both_transports
async def test_the_application_is_shown_the_request(transport: str) -> None:
    """Headers in any case, cookies, the query and the address, the same on both transports; nothing in a `repr`."""
    sessions = Sessions()
    async with application(transport, sessions.plain, trusted_proxies=("127.0.0.1",)) as gate:
        query = f"?rooms=circle:1&token={gate.token()}&ticket=t&x=%C3%A9&x=second"
        async with client(gate, "a", query, X_Api_Key="k", X_Forwarded_For="203.0.113.7") as ada:
            await ada.next("connection.established")
        async with api(gate, "a", **{"X-Api-Key": "k", "X-Forwarded-For": "203.0.113.7"}) as requests:
            await requests.get(f"/rooms/circle:1/presence{query}")
        assert len(sessions.asked) == 2
        for request in sessions.asked:
            assert request.headers["X-Api-Key"] == request.headers["x-api-key"] == "k"
            assert request.cookies["session"] == "a"
            assert dict(request.query).keys() == {"rooms", "token", "ticket", "x"}
            assert (request.query["rooms"], request.query["x"]) == ("circle:1", "é")
            assert request.address == "203.0.113.7"
            for secret in ("session=a", request.query["token"], "k'"):
                assert secret not in f"{request} {request!r} {request.headers!r}"


def test_cookies_are_read_as_frameworks_write_them() -> None:
    """With quotes and escapes as `http.cookies` has them; the last of two of one name counts, as in Starlette."""
    assert read_cookies('a=1; b = 2;c="x y";d="\\054\\"\\\\"; e=a=b==; f; =g; h=; a=3; "') == {
        "a": "3",
        "b": "2",
        "c": "x y",
        "d": ',"\\',
        "e": "a=b==",
        "h": "",
    }
    two = client_request({b"cookie": [b"a=1", b"b=2"], b"accept": [b"x", b"y"]}, [], "")
    assert (dict(two.cookies), two.headers["accept"], len(two.headers)) == ({"a": "1", "b": "2"}, "x, y", 2)
    assert two.headers.get("authorization") is None


# ---- what goes wrong


@both_transports
async def test_its_exceptions_refuse_and_leak_nothing(
    transport: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1011, which clients come back after; 500 over HTTP. The log has the error, once for a flood."""
    monkeypatch.setattr(log_events, "limiter", LineLimiter(timer=lambda: 0.0))  # however long it takes
    sessions = Sessions()
    async with application(transport, sessions.plain) as gate:
        sessions.error = RuntimeError("password of the database: hunter2")
        for _ in range(60):
            async with client(gate) as ada:
                error = await ada.next("error")
                assert (error["data"]["code"], await ada.closed()) == ("internal_error", (1011, "internal_error"))
                assert "hunter2" not in str(error)
        async with api(gate) as requests:
            problem = await requests.get("/rooms/circle:1/presence")
            assert "hunter2" not in str(assert_problem(problem, 500, "internal_error"))
        lines = [record for record in caplog.records if record.name == "gateway.application"]
        assert 1 <= len(lines) <= 25
        assert "hunter2" in caplog.text
        assert list(gate.service.manager.connections()) == []
        sessions.error = None
        async with established(gate) as ada:
            await fence(ada)


@both_transports
async def test_it_may_raise_the_refusals_of_tokens(transport: str) -> None:
    """They are answered as such."""
    sessions = Sessions()
    sessions.error = TokenExpired(1)
    async with application(transport, sessions.coroutine) as gate:
        async with client(gate) as ada:
            assert await ada.closed() == (4401, "token_expired")
        async with api(gate) as requests:
            assert_problem(await requests.get("/rooms/circle:1/presence"), 401, "token_expired")


WRONG: list[Any] = [
    {"user_id": "ada"},
    True,
    SessionIdentity("a b", "acme"),
    SessionIdentity(None, "acme"),  # type: ignore[arg-type]
    SessionIdentity("ada", "a.b"),
    SessionIdentity("ada", "acme", ["circle"]),
    SessionIdentity("ada", "acme", ["circle:1"] * 3 + [f"circle:{n}" for n in range(200)]),
    SessionIdentity("ada", "acme", scope="root"),
    SessionIdentity("ada", "acme", rate=0),
    SessionIdentity("ada", "acme", expires_at=datetime.now()),
    SessionIdentity("ada", "acme", expires_at="tomorrow"),  # type: ignore[arg-type]
    SessionIdentity("ada", "acme", expires_at=float("inf")),
    SessionIdentity("ada", "acme", scope=["subscribe"]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("answer", WRONG, ids=range(len(WRONG)))
async def test_other_answers_than_an_identity_are_refused(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The log explains it to the developer."""
    async with application(authenticate=Sessions(a=answer).plain) as gate:
        async with client(gate) as ada:
            assert await ada.closed() == (1011, "internal_error")
        assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == ["gateway.application"]


async def test_ids_of_databases_are_taken() -> None:
    """Integers and UUIDs."""
    async with application(authenticate=Sessions(a=SessionIdentity(42, 7)).plain) as gate:
        async with established(gate) as ada:
            assert (ada.established["data"]["user_id"], ada.established["data"]["tenant"]) == ("42", "7")


# ---- time


@both_transports
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_a_slow_answer_delays_no_other_client(transport: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected clients and new ones are served meanwhile."""
    monkeypatch.setattr(access, "ANSWER_SECONDS", 60.0)
    released, thread_released = asyncio.Event(), threading.Event()

    def plain(request: ClientRequest) -> SessionIdentity:
        if request.cookies["session"] == "slow":
            thread_released.wait(60)
        return ADA

    async def coroutine(request: ClientRequest) -> SessionIdentity:
        if request.cookies["session"] == "slow":
            await released.wait()
        return ADA

    async def comes(gate: RunningGateway) -> None:
        async with established(gate, "slow"):
            pass

    async with application(transport, plain if kind == "plain" else coroutine) as gate, established(gate) as ada:
        late = asyncio.create_task(comes(gate))
        for _ in range(5):
            async with established(gate) as other:
                await fence(other)
            await fence(ada)
        assert not late.done()
        thread_released.set()
        released.set()
        await late


@both_transports
async def test_an_answer_that_does_not_come_refuses(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In time; nothing is left of it."""

    async def never(request: ClientRequest) -> SessionIdentity:
        await asyncio.sleep(600)
        return ADA

    monkeypatch.setattr(access, "ANSWER_SECONDS", 0.2)
    async with application(transport, never) as gate:
        async with client(gate) as ada:
            assert await ada.closed() == (1011, "internal_error")
        await until(lambda: len(gate.service.gateway.tasks) == 0)


async def test_frames_that_come_meanwhile_wait() -> None:
    """They are read once it is known whose they are."""
    async with application(authenticate=Sessions().coroutine) as gate, raw(gate.port) as ada:
        await ada.send(handshake("/ws/dashboard", "Cookie: session=a") + command(type="ping", id="early"))
        assert (await ada.head()).startswith("HTTP/1.1 101 ")
        assert (await ada.message())["type"] == "connection.established"
        assert (await ada.message())["id"] == "early"


@both_transports
async def test_a_client_that_goes_meanwhile_leaves_nothing(transport: str) -> None:
    entered, gate_opens = asyncio.Event(), asyncio.Event()

    async def waits(request: ClientRequest) -> SessionIdentity:
        entered.set()
        await gate_opens.wait()
        return ADA

    async with application(transport, waits) as gate:
        async with raw(gate.port) as ada:
            await ada.send(handshake("/ws/dashboard", "Cookie: session=a"))
            await entered.wait()
        gate_opens.set()
        await until(lambda: len(gate.service.gateway.tasks) == 0)
        await until(lambda: list(gate.service.manager.connections()) == [])


@both_transports
async def test_an_address_over_its_limit_is_refused_before_the_application_is_asked(transport: str) -> None:
    """The application is not called."""
    sessions = Sessions()
    async with application(transport, sessions.coroutine, handshakes_per_minute=2) as gate:
        for _ in range(2):
            async with established(gate):
                pass
        async with client(gate) as ada:
            assert (await ada.closed())[0] == 4429
        assert len(sessions.asked) == 2


# ---- expiry, revocation, refresh


async def test_a_session_ends_its_connections() -> None:
    """With the warning and the close of a token's end; the next connection may have a fresh session."""
    end = datetime.now(UTC) + timedelta(seconds=600)
    sessions = Sessions(a=SessionIdentity("ada", "acme", expires_at=end))
    async with application(authenticate=sessions.plain, clock=AdjustableClock()) as gate:
        async with established(gate) as ada:
            gate.later(570)
            await ada.next("token.expiring")
            gate.later(30)
            assert await ada.closed() == (4401, "token_expired")
        async with client(gate) as ada:
            assert await ada.closed() == (4401, "token_expired")
        sessions.known["a"] = SessionIdentity("ada", "acme", expires_at=gate.service.gateway.clock() + 60)
        async with established(gate):
            pass


@pytest.mark.parametrize(("scope", "longest"), [("subscribe", 3_600), ("admin", 86_400)])
async def test_a_session_lives_no_longer_than_a_token(scope: str, longest: int) -> None:
    """So that a revocation, which is remembered for that long, reaches it."""
    clock = Clock()
    for expires_at in (None, clock.now + 10**7):
        session = SessionIdentity("ada", "acme", scope=scope, expires_at=expires_at)
        async with application(authenticate=Sessions(a=session).plain, clock=clock) as gate:
            async with established(gate) as ada:
                end = datetime.fromisoformat(ada.established["data"]["expires_at"]).timestamp()
                assert end == int(clock.now) + longest


@both_transports
@pytest.mark.parametrize("what", ["user", "tenant"])
async def test_a_revocation_ends_sessions(transport: str, what: str) -> None:
    """Their connections at once. Whether the user may come back is for the application to say, unless it says when the
    session began: one from before the revocation is refused then, one from after it is not."""
    sessions = Sessions()
    async with application(transport, sessions.coroutine) as gate:
        administration = gate.service.gateway.administration
        async with established(gate) as ada:
            if what == "user":
                assert await administration.revoke_user("acme", "ada") == 1
            else:
                assert await administration.revoke_tenant("acme") == 1
            assert await ada.closed() == (4401, "token_revoked")
        async with established(gate) as ada:
            await fence(ada)
        now = time.time()
        sessions.known["a"] = SessionIdentity("ada", "acme", issued_at=now - 100)
        async with client(gate) as ada:
            assert await ada.closed() == (4401, "token_revoked")
        async with api(gate) as requests:
            assert_problem(await requests.get("/rooms/user:ada/presence"), 401, "token_revoked")
        sessions.known["a"] = SessionIdentity("ada", "acme", issued_at=datetime.now(UTC))
        async with established(gate) as ada:
            await fence(ada)


async def test_a_revocation_between_the_answer_and_the_connection_counts() -> None:
    """The identity is judged once more when the connection opens."""
    async with application(authenticate=Sessions().plain) as gate:
        gateway, transport = gate.service.gateway, FakeTransport()
        resolved: asyncio.Future[ConnectRequest] = asyncio.get_running_loop().create_future()
        request = read_connect_request([], {b"cookie": [b"session=a"]}, NO_SECRETS, "127.0.0.1")
        assert gateway.resolve(request, resolved.set_result)
        known = await resolved
        await gateway.administration.revoke_user("acme", "ada")
        assert gateway.connect(known, transport) is None
        assert transport.ended == (4401, "token_revoked")


@pytest.mark.parametrize("what", ["user", "tenant", "room"])
async def test_a_revocation_while_the_application_looks_counts(what: str) -> None:
    """The application has read the session before it, and answers after it."""
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def authenticate(request: ClientRequest) -> SessionIdentity:
        looked.set()
        await go_on.wait()
        return SessionIdentity("ada", "acme", ["circle:*"])

    async with application(authenticate=authenticate) as gate:
        gateway = gate.service.gateway

        async def outcome() -> object:
            async with client(gate, query="?rooms=circle:1") as ada:
                if what != "room":
                    return await ada.closed()
                await ada.next("connection.established")
                return (await ada.next("error"))["data"]["code"]

        connecting = asyncio.create_task(outcome())
        await looked.wait()
        if what == "room":
            await gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=1)
        elif what == "user":
            await gateway.administration.revoke_user("acme", "ada")
        else:
            await gateway.administration.revoke_tenant("acme")
        go_on.set()
        assert await connecting == ("room_forbidden" if what == "room" else (4401, "token_revoked"))


async def test_a_drain_that_starts_while_the_application_looks_counts() -> None:
    """The client would get no slot of its own."""
    async with application(authenticate=Sessions().plain) as gate:
        gateway, transport = gate.service.gateway, FakeTransport()
        resolved: asyncio.Future[ConnectRequest] = asyncio.get_running_loop().create_future()
        request = read_connect_request([], {b"cookie": [b"session=a"]}, NO_SECRETS, "127.0.0.1")
        assert gateway.resolve(request, resolved.set_result)
        known = await resolved
        await gateway.drain.run(0.0)
        assert gateway.connect(known, transport) is None
        assert transport.ended == (1012, "draining")


async def test_a_removal_takes_a_room_from_the_session_until_the_application_is_asked_again() -> None:
    async with application(authenticate=Sessions().plain) as gate:
        async with established(gate, query="?rooms=circle:1") as ada:
            await ada.next("subscribed")
            await gate.service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=1)
            await ada.next("circle.member.removed")
            assert (await ada.next("subscription.revoked"))["data"]["rooms"] == ["circle:1"]
            assert (await ada.ask(type="subscribe", rooms=["circle:1"]))["data"]["code"] == "room_forbidden"
        async with established(gate, query="?rooms=circle:1") as ada:
            await ada.next("subscribed")


@both_transports
async def test_a_session_is_refreshed_by_a_token_or_a_new_connection(transport: str) -> None:
    """`auth` takes a token of the same user and tenant; a new connection resumes with what the application says now."""
    sessions = Sessions()
    async with application(transport, sessions.plain) as gate:
        async with established(gate, query="?rooms=circle:1") as ada:
            cursor = (await ada.next("subscribed"))["data"]["cursor"]
            answer = await ada.ask(type="auth", token=gate.token("ada", rooms=["circle:1"]))
            assert (answer["type"], answer["data"]["rooms"]) == ("authenticated", ["circle:1"])
            answer = await ada.ask(type="auth", token=gate.token("bob"))
            assert answer["data"]["code"] == "token_mismatch"
        await gate.service.gateway.publish("acme", "task.created", {"n": 1}, circle_id=1)
        sessions.known["b"] = SessionIdentity("ada", "acme", ["circle:1"])
        async with established(gate, "b", f"?rooms=circle:1&since={cursor}") as ada:
            assert (await ada.next("subscribed"))["data"]["recovered"] is True
            assert (await ada.next("task.created"))["data"] == {"n": 1}


# ---- HTTP, and pages of other origins


async def test_a_session_counts_over_http() -> None:
    """For each route, by its grants and scopes; a ticket stands for a token, of which there is none."""
    sessions = Sessions(a=ADA, root=SessionIdentity("root", "acme", ["circle:*"], "admin subscribe"))
    async with application(authenticate=sessions.coroutine) as gate:
        async with api(gate) as requests:
            event = {"type": "task.created", "data": {}, "circle_id": 1}
            assert (await requests.post("/events", json=event)).status_code == 202
            assert (await requests.post("/events/batch", json={"events": [event]})).status_code == 202
            assert (await requests.get("/rooms/circle:1/presence")).status_code == 200
            assert_problem(await requests.post("/events", json={**event, "project_id": 1}), 403, "room_forbidden")
            assert_problem(await requests.get("/admin/stats"), 403, "scope_missing")
            assert_problem(await requests.post("/tickets"), 401, "token_missing")
        async with api(gate, "root") as requests:
            assert (await requests.get("/admin/stats")).status_code == 200
            issued = await requests.post("/admin/tokens", json={"user_id": "bob", "rooms": ["circle:1"]})
            assert (issued.status_code, issued.json()["rooms"]) == (201, ["circle:1"])
        async with api(gate, None) as requests:
            assert_problem(await requests.get("/rooms/circle:1/presence"), 401, "token_missing")


async def test_a_page_of_another_origin_cannot_use_the_session() -> None:
    """Browsers send cookies with requests of any page: a WebSocket is refused (403), a request needs a token."""
    sessions = Sessions()
    mine, theirs = "https://app.example.com", "https://evil.example"
    async with application(authenticate=sessions.plain, allowed_origins=(mine,)) as gate:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(gate.ws_url, origin=theirs, additional_headers={"Cookie": "session=a"}):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code == 403
        event = {"type": "task.created", "data": {}, "circle_id": 1}
        async with api(gate, Origin=theirs) as requests:
            assert_problem(await requests.post("/events", json=event), 401, "token_missing")
            requests.headers["Authorization"] = f"Bearer {gate.token()}"
            assert (await requests.post("/events", json=event)).status_code == 202
        assert sessions.asked == []
        async with api(gate, Origin=mine) as requests:
            assert (await requests.post("/events", json=event)).status_code == 202


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_the_own_origin_uses_the_session(transport: str) -> None:
    async with application(transport, Sessions().plain) as gate, api(gate, Origin=gate.url) as requests:
        event = {"type": "task.created", "data": {}, "circle_id": 1}
        assert (await requests.post("/events", json=event)).status_code == 202


def test_every_origin_is_too_many_where_cookies_count() -> None:
    with pytest.raises(ConfigError, match="GATEWAY_ALLOWED_ORIGINS: name the origins"):
        create_service(settings_for(allowed_origins=("*",)), authenticate=Sessions().plain)
    create_service(settings_for(allowed_origins=("*",)))


# ---- without it


async def test_without_it_nothing_waits(gate: RunningGateway) -> None:
    """No task for a connection with a token."""
    spawned = 0
    spawn = gate.service.gateway.tasks.spawn

    def counting(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        nonlocal spawned
        spawned += 1
        return spawn(coroutine)

    gate.service.gateway.tasks.spawn = counting  # type: ignore[method-assign]
    async with gate.client(query="&rooms=circle:1") as ada:
        await ada.next("subscribed")
        await ada.ask(type="subscribe", rooms=["circle:2"])
        await ada.ask(type="presence", room="circle:2")
    assert spawned == 0
