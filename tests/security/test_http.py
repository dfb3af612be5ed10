"""Hostile HTTP: bodies, methods, paths, pages. A problem document each, and the next request works."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect

from gateway.server.run import listen
from tests.security.attacked import MARK, AttackedGateway, clear, problem
from tests.support.clients import Client
from tests.support.raw_client import raw, request
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT = b'{"type": "task.created", "data": {}, "circle_id": 7}'
MEBIBYTE = 1024 * 1024


def admin(attacked: AttackedGateway) -> str:
    return attacked.gate.token("root", rooms=["circle:*", "user:*"], scope="subscribe publish admin")


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain", "text/plain;charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data",
        "", "application", "text/json", "application/jsonp", "application/octet-stream", "*/*", "application/xml",
        "text/plain, application/json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/events", "/admin/tokens", "/admin/tokens/revoke", "/events/batch"])
async def test_json_under_another_name(attacked: AttackedGateway, kind: str, path: str) -> None:
    """JSON that a foreign page could send without asking first (CVE-2021-32677) is no JSON."""
    bodies = {
        "/events": EVENT,
        "/events/batch": b'{"events": [%b]}' % EVENT,
        "/admin/tokens": b'{"user_id": "eve", "rooms": []}',
        "/admin/tokens/revoke": b'{"user_id": "eve"}',
    }
    answer = await attacked.http("POST", path, bodies[path], token=admin(attacked), headers={"Content-Type": kind})
    problem(answer, 415, "bad_message")
    assert "application/json" in answer.json["detail"]


def bodies() -> Iterator[tuple[str, bytes]]:
    """Bodies that are not JSON."""
    yield "empty braces cut off", b"{"
    yield "a word", MARK.encode()
    yield "form", f"type=task.created&data={MARK}".encode()
    yield "NaN", b'{"type": "a", "data": {"x": NaN}}'
    yield "Infinity", b'{"type": "a", "data": {"x": -Infinity}}'
    yield "bad UTF-8", b'{"type": "a", "data": {"x": "\xff"}}'
    yield "overlong UTF-8", b'{"type": "a", "data": {"x": "\xc0\xaf"}}'
    yield "surrogate in UTF-8", b'{"type": "a", "data": {"x": "\xed\xa0\x80"}}'
    yield "UTF-16", EVENT.decode().encode("utf-16")
    yield "byte order mark", b"\xef\xbb\xbf" + EVENT
    yield "trailing data", EVENT + b"{}"
    yield "trailing comma", EVENT[:-1] + b",}"
    yield "trailing NUL", EVENT + b"\x00"
    yield "lone surrogate", b'{"type": "a", "data": {"x": "\\udc00"}}'
    yield "arrays 300 deep", b'{"type": "a", "data": {"x": ' + b"[" * 300 + b"]" * 300 + b"}}"
    yield "arrays 500,000 deep", b"[" * 500_000
    yield "objects 100,000 deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    yield "5,000 digits", b'{"type": "a", "data": {"x": ' + b"9" * 5000 + b"}}"
    yield "gzip", b"\x1f\x8b\x08\x00" + bytes(100)
    yield "multipart", b'--x\r\nContent-Disposition: form-data; name="type"\r\n\r\na\r\n--x--'
    yield "pickle", b"\x80\x04K\x01."


@pytest.mark.parametrize("body", [pytest.param(body, id=what) for what, body in bodies()])
@pytest.mark.parametrize("path", ["/events", "/events/batch", "/admin/tokens"])
async def test_no_json(attacked: AttackedGateway, path: str, body: bytes) -> None:
    """400."""
    problem(await attacked.http("POST", path, body, token=admin(attacked)), 400, "bad_message")


def shapes() -> Iterator[tuple[str, str, Any]]:
    """JSON that is not what the route takes."""
    bodies: tuple[Any, ...] = ({}, [], None, "x", 7, True, [{}], {MARK: 1})
    for path in ("/events", "/events/batch", "/admin/tokens", "/admin/tokens/revoke", "/admin/tokens/introspect"):
        for body in bodies:
            yield f"{path} {body!r}", path, body
    good: dict[str, Any] = {"user_id": "eve", "rooms": ["circle:7"]}
    changes: dict[str, tuple[Any, ...]] = {
        "user_id": (None, 7, "", "x" * 129, ["a"], "a:b", "a b", "-a", "a\n", "\u0430", "a/../b", "*"),
        "rooms": (None, "circle:7", 7, [7], [None], {"circle:7": 1}, [["circle:7"]], ["x" * 257], ["circle:1"] * 129),
        "scope": (7, ["admin"], "x" * 65, MARK, "root", "Admin", "subscribe\x00", "subscribe,publish", "\u202epublish"),
        "expires_in": (0, -1, 1.5, "600", True, 3601, 10**30, [600]),
        "tenant": (7, "", "x" * 65, ["acme"]),
        "rate": (1,),
        "sub": ("root",),
        "iss": ("x",),
        "jti": ("x",),
    }
    for name, wrongs in changes.items():
        for wrong in wrongs:
            yield f"token, {name} {str(wrong)[:12]!r}", "/admin/tokens", {**good, name: wrong}
    bodies = (
        {"jti": ""}, {"jti": 7}, {"jti": "x" * 129}, {"user_id": "a b"}, {"user_id": ""},
        {"jti": "x", "user_id": "eve"}, {"tenant": ""}, {"tenant": 7}, {"jti": None},
        {"user_id": None, "tenant": None}, {"jti": "x", MARK: 1},
    )  # fmt: skip
    for body in bodies:
        yield f"revoke {body!r}"[:40], "/admin/tokens/revoke", body
    for token in (None, 7, ["x"], "x" * 65_537, {"a": 1}):
        yield f"introspect {str(token)[:12]!r}", "/admin/tokens/introspect", {"token": token}
    batches: tuple[Any, ...] = ([], None, {}, "x", [{}] * 1001)
    for events in batches:
        yield f"batch {str(events)[:12]!r}", "/events/batch", {"events": events}


@pytest.mark.parametrize(("path", "body"), [pytest.param(path, body, id=what) for what, path, body in shapes()])
async def test_wrong_shape(attacked: AttackedGateway, path: str, body: Any) -> None:
    """422 that names the field; unknown members' names are all that is repeated."""
    answer = await attacked.http("POST", path, body, token=admin(attacked))
    assert (answer.status, answer.header("content-type")) == (422, "application/problem+json"), answer
    assert answer.json["code"] in ("bad_message", "room_invalid", "too_many_rooms")
    clear(answer.json["detail"].replace(f"{MARK}: unknown field", "unknown field"), "\u202e")


async def test_event_ids_and_types(attacked: AttackedGateway) -> None:
    """An event is judged over HTTP as over the socket."""
    changes: tuple[dict[str, Any], ...] = (
        {"type": MARK}, {"type": "error"}, {"data": []}, {"circle_id": True}, {"idempotency_key": ""}
    )  # fmt: skip
    for changed in changes:
        body = {**json.loads(EVENT), **changed}
        problem(await attacked.http("POST", "/events", body, token=admin(attacked)), 422, "bad_message")
    body = {**json.loads(EVENT), "circle_id": 10**65}
    problem(await attacked.http("POST", "/events", body, token=admin(attacked)), 422, "room_invalid")


async def test_batch_judges_each_by_itself(attacked: AttackedGateway) -> None:
    """Bad ones among good ones cost these nothing, and the answers are in order."""
    good = json.loads(EVENT)
    events = [good, None, {**good, "circle_id": "a:b"}, {**good, "type": MARK}, [], {**good, "tenant": "globex"}, good]
    answer = await attacked.http("POST", "/events/batch", {"events": events}, token=admin(attacked))
    assert answer.status == 202
    codes = [result.get("error", {}).get("code") for result in answer.json["results"]]
    assert codes == [None, "bad_message", "room_invalid", "bad_message", "bad_message", "scope_missing", None]
    for result in answer.json["results"]:
        clear(result["error"]["message"] if "error" in result else "-")


@pytest.mark.parametrize("size", [MEBIBYTE + 1, 2 * MEBIBYTE])
@pytest.mark.parametrize("path", ["/events", "/admin/tokens", "/admin/tokens/introspect"])
async def test_too_large_body(attacked: AttackedGateway, path: str, size: int) -> None:
    """413 with the limit."""
    answer = await attacked.http("POST", path, b'"' + b"a" * (size - 2) + b'"', token=admin(attacked))
    problem(answer, 413, "message_too_large")
    assert answer.json["limit"] == MEBIBYTE


async def test_too_large_event(attacked: AttackedGateway) -> None:
    """413 for one event of over 64 KiB, alone and in a batch."""
    big = {**json.loads(EVENT), "data": {"x": "a" * 65_536}}
    problem(await attacked.http("POST", "/events", big, token=admin(attacked)), 413, "message_too_large")
    answer = await attacked.http("POST", "/events/batch", {"events": [big]}, token=admin(attacked))
    assert answer.json["results"][0]["error"]["code"] == "message_too_large"


async def test_chunked_without_length(attacked: AttackedGateway) -> None:
    """A body in chunks is read as far as the limit, and no farther."""
    headers = {
        "Authorization": f"Bearer {admin(attacked)}",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    async with raw(attacked.gate.port) as connection:
        chunks = b"".join(b"%x\r\n%b\r\n" % (1, EVENT[i : i + 1]) for i in range(len(EVENT)))
        await connection.send(request("POST", "/events", headers, chunks + b"0\r\n\r\n"))
        assert (await connection.answer()).status == 202
    async with raw(attacked.gate.port) as connection:
        await connection.send(request("POST", "/events", headers, b"10000\r\n" + b"a" * 65_536 + b"\r\n"))
        for _ in range(17):
            await connection.send(b"10000\r\n" + b"a" * 65_536 + b"\r\n")
        problem(await connection.answer(), 413, "message_too_large")
    await attacked.works()


async def test_duplicate_members(attacked: AttackedGateway) -> None:
    """The last one counts, for what is judged and for what is done."""
    token = attacked.gate.token(rooms=["circle:7"])
    body = EVENT[:-1] + b', "circle_id": 8}'
    problem(await attacked.http("POST", "/events", body, token=token), 403, "room_forbidden")
    body = b'{"user_id": "eve", "rooms": [], "scope": "subscribe", "scope": "platform"}'
    problem(await attacked.http("POST", "/admin/tokens", body, token=admin(attacked)), 403, "scope_missing")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECTX", "post"])
@pytest.mark.parametrize("path", ["/events", "/admin/tokens", "/admin/tokens/revoke"])
async def test_wrong_method(attacked: AttackedGateway, method: str, path: str) -> None:
    """405 or, for what is no method, 400; an override header is not listened to."""
    async with raw(attacked.gate.port) as connection:
        headers = {"Authorization": f"Bearer {admin(attacked)}", "X-HTTP-Method-Override": "POST"}
        await connection.send(request(method, path, headers))
        answer = await connection.answer(head_only=method == "HEAD")
    assert answer.status in (400, 405)
    if answer.status == 405 and method != "HEAD":
        problem(answer, 405, "not_found")
    if answer.status == 405:
        assert answer.header("allow") == "POST"
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]


PATHS = [
    "/nowhere", "//", "//events", "/events/", "/events//batch", "/EVENTS", "/admin", "/admin/", "/admin/../events/x",
    "/web/", "/web/../cli.py", "/web/..%2fcli.py", "/web/%2e%2e/cli.py", "/web/%2e%2e%2fcli.py", "/web//etc/passwd",
    "/web/....//cli.py", "/web/..\\cli.py", "/web/index.html%00.js", "/web/./index.html", "/web/%00", "/web/%ff",
    "/static/x", "/.env", "/.git/config", "/%2e%2e/%2e%2e/etc/passwd", "/admin/connections%2fx",
    "/admin/stats/", "/ws/dashboard", "/ws/dashboard/x", "/metrics/..", "/docs/..;/admin/stats", "/%", "/%zz",
    f"/{MARK}", "/" + "a" * 5000, "/redoc", "/dev/session",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_path_tricks(attacked: AttackedGateway, path: str) -> None:
    """The answer is 404, and no file is read."""
    for token in (None, admin(attacked)):
        answer = await attacked.http("GET", path, token=token)
        assert answer.status in (404, 405, 426 if "dashboard" in path else 404), answer
        assert b"root:" not in answer.body
        assert b"import" not in answer.body
        problem(answer, answer.status, "bad_message" if path == "/ws/dashboard" else "not_found")


@pytest.mark.parametrize("path", ["/admin/stats", "/admin/connections", "/admin/rooms"])
@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=1001", "limit=1.5", "limit=x", "limit=", "limit=1e2", "limit=0x10", "limit=NaN",
        "limit=" + "9" * 400, "limit=%D9%A1", "limit=1&limit=0", "after=" + "a" * 257, "tenant=" + "a" * 65,
    ],
)  # fmt: skip
async def test_page_beyond_bounds(attacked: AttackedGateway, path: str, query: str) -> None:
    """422 that says the bounds."""
    problem(await attacked.http("GET", f"{path}?{query}", token=admin(attacked)), 422, "bad_message")


@pytest.mark.parametrize("path", ["/admin/stats", "/admin/connections", "/admin/rooms"])
@pytest.mark.parametrize(
    "query",
    ["after=", "after=%00", "after=%ff", "after=%F0%9F%98%80", "after=z&limit=1", "after=..%2f", "tenant="],
)
async def test_parameter_that_nothing_can_have(attacked: AttackedGateway, path: str, query: str) -> None:
    """422 that names the parameter."""
    answer = await attacked.http("GET", f"{path}?{query}", token=admin(attacked))
    problem(answer, 422, "bad_message")
    assert answer.json["detail"].startswith(query.partition("=")[0])


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/admin/stats", "after=con_zzz&limit=1"),
        ("/admin/connections", "after=con_zzz&limit=1"),
        ("/admin/rooms", "after=circle:zzz&limit=1"),
        ("/admin/rooms", "x=1"),
    ],
)
async def test_odd_but_good_page(attacked: AttackedGateway, path: str, query: str) -> None:
    """A page that starts anywhere is a page of one's own tenant."""
    answer = await attacked.http("GET", f"{path}?{query}", token=admin(attacked))
    assert answer.status == 200
    assert answer.json.get("tenant", "acme") == "acme"


@pytest.mark.parametrize("id", ["x", "con_", "..", "%2e%2e", "%00", "con_%0d%0aX: 1", "*", "con_" + "a" * 4000, MARK])
async def test_unknown_connection(attacked: AttackedGateway, id: str) -> None:
    """404, whatever it is called."""
    answer = await attacked.http("DELETE", f"/admin/connections/{id.replace(' ', '%20')}", token=admin(attacked))
    problem(answer, 405 if answer.status == 405 else 404, "not_found")


@pytest.mark.parametrize("tenant", ["a%20b", "..", "a:b", "%00", "*", "a%0a", "%D0%B0cme", "acme%20", "-"])
async def test_platform_asks_for_a_tenant_that_cannot_be(attacked: AttackedGateway, tenant: str) -> None:
    """An administrator of every tenant gets `tenant_invalid`, and no state is created."""
    platform = attacked.gate.token("root", scope="platform")
    before = set(attacked.gate.service.gateway.manager.tenants())
    for path in ("/admin/stats", "/admin/connections", "/admin/rooms"):
        problem(await attacked.http("GET", f"{path}?tenant={tenant}", token=platform), 422, "bad_message")
    assert set(attacked.gate.service.gateway.manager.tenants()) == before


@pytest.mark.parametrize(
    "label", ["a" * 65, "%0d%0aX: 1", "%00", "%1b[31m", "%E2%80%AE", "%E2%80%A8", "%ff", "%F0%9F%98%80" * 65]
)
async def test_label_that_people_could_not_read(attacked: AttackedGateway, label: str) -> None:
    """A `client_id` of control characters, or too long, is 4400 before anything is shown of it."""
    query = label.replace(" ", "%20").replace("[", "%5B")
    if label == "%ff":
        async with attacked.gate.client(query=f"&client_id={query}") as client:
            assert client.established["data"]["client_id"] == "\ufffd"
        return
    async with connect(f"{attacked.gate.ws_url}?token={attacked.gate.token()}&client_id={query}") as websocket:
        client = Client(websocket)
        frame = await client.next("error")
        assert frame["data"]["code"] == "bad_message"
        clear(frame["data"]["message"])
        assert await client.closed() == (4400, "bad_message")
    await attacked.works()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET http://evil.example/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz?\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
    ],
)
async def test_raw_requests(attacked: AttackedGateway, sent: bytes) -> None:
    """Any bytes get an answer below 500 or a close, and the next client is served."""
    async with raw(attacked.gate.port) as connection:
        await connection.send(sent + request("GET", "/healthz", {"Connection": "close"}))
        said = await connection.rest()
    assert b" 500 " not in said
    assert b"Traceback" not in said
    await attacked.works()


async def test_nothing_in_headers_from_a_query(attacked: AttackedGateway) -> None:
    """A redirect cannot be made to carry a header of the attacker's."""
    answer = await attacked.http("GET", "/events/%0d%0aX-Evil:%201?a=%0d%0aX-Evil: 1".replace(": 1", ":1"))
    assert answer.header("x-evil") is None


async def test_echo(attacked: AttackedGateway) -> None:
    """An error about a token request does not repeat what it asked for."""
    for scope in (MARK, f"<script>{MARK}</script>", f"subscribe {MARK}"):
        body = {"user_id": "eve", "rooms": [], "scope": scope}
        answer = await attacked.http("POST", "/admin/tokens", body, token=admin(attacked))
        assert MARK not in answer.body.decode()
    answer = await attacked.http("GET", f"/admin/stats?tenant={quote(MARK)}", token=admin(attacked))
    problem(answer, 403, "scope_missing")


async def test_nothing_waits_for_an_acknowledgement() -> None:
    """Accepted sockets are TCP by name, which is what makes asyncio switch Nagle's algorithm off on them."""
    with listen(settings_for()) as listener:
        assert listener.proto == socket.IPPROTO_TCP
