"""Requests to publish, right and wrong in every way, and what an application answers to them, to the byte."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st
from starlette.types import ASGIApp, Message

from gateway.logs.memory import MemoryLog
from gateway.service.factory import Service
from gateway.testing import CURSOR_KEY, Clock
from tests.support import tokens
from tests.support.inprocess import service_with

NOW: Final = 1_768_000_000.0

EVENT: Final = {"type": "task.completed", "data": {"n": 1}, "circle_id": 1}


def _token(*whose: str, **more: Any) -> bytes:
    return tokens.token(*whose, **{"now": NOW, **more}).encode()


GOOD: Final = {
    "publisher": _token("ada"),
    "administrator": _token("root", scope="admin", rooms=[]),
    "platform": _token("boss", scope="platform publish"),
}
TOKENS: Final = {
    **GOOD,
    "of one room": _token("bob", rooms=["circle:1"]),
    "of another tenant": _token("ada", "globex"),
    "subscriber": _token("eve", scope="subscribe"),
    "without scope": _token("mallory", scope=""),
    "short": _token("ann", expires_in=30),
    "long ago": _token("ann", now=NOW - 5_000),
    "early": _token("ann", now=NOW + 60),
    "forged": _token("ada")[:-6] + b"AAAAAA",
    "no token": b"nonsense",
    "empty": b"",
    "long": b"x" * 5_000,
    "not ASCII": b"\xff\xfe.\xe9.x",
}


@dataclass(frozen=True)
class PublishRequest:
    """A request; `chunks` is its body as it comes, None in it that the client is gone."""

    path: str = "/events"
    method: str = "POST"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    chunks: tuple[bytes | None, ...] = ()
    root_path: str = ""


@dataclass(frozen=True)
class Advance:
    """Time passes: seconds."""

    seconds: float


@dataclass(frozen=True)
class Revoke:
    """An administrator revokes a user of the tenant acme, or removes the user from circle 1."""

    user_id: str
    removed: bool


def request_of(content: bytes, token: bytes = GOOD["publisher"], path: str = "/events") -> PublishRequest:
    """A request as publishers send it."""
    return PublishRequest(
        path,
        headers=(
            (b"host", b"gateway.example"),
            (b"authorization", b"Bearer " + token),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ),
        chunks=(content,),
    )


# ---- bodies

ids: st.SearchStrategy[Any] = st.sampled_from(
    [1, 2, "1", "x-7", True, 1.0, None, "", "a b", "\u0661", "é", -1, 10**70, "x" * 65, [1], {}]
)
subjects = st.sampled_from(["ada", "bob", "auth0|x@y", 7, "", "a b", None])
data = st.one_of(
    st.sampled_from([{}, {"n": 1}, {"n": 2}, {"text": "Infinity NaN"}, {"user_id": "bob"}, {"x": "y" * 66_000}]),
    st.sampled_from([None, [], "text", 1, {"": {"a": [1.5, None, True, "é\u2028"]}}]),
    st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(max_size=9), st.none()), max_size=3),
)
types = st.sampled_from(
    [
        *["task.completed"] * 4,
        *["agent.started", "own.type", "circle.member.removed", "project.member.removed"],
        *["pong", "Not a type", "", "x" * 65, 7, None],
    ]
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "type": types,
        "data": data,
        "circle_id": ids,
        "project_id": ids,
        "user_id": subjects,
        "source_agent_id": st.sampled_from([7, "x", "", "x" * 129, None, 1.5]),
        "tenant": st.sampled_from(["acme", "globex", "a b", "", None, 7]),
        "idempotency_key": st.sampled_from(["k", "l", "", "x" * 129, 5, None]),
        "key": st.sampled_from(["status", "run/1", "", "a b", 5, None]),
        "op": st.sampled_from(["set", "append", "delete", "other", None]),
        "unknown\n": st.none(),
        "event_id": st.just("evt_1"),
    },
)
ops = st.sampled_from(["set", "append", "append", "delete"])
repeated = st.sampled_from([{"n": 1}, {"n": 2}])
events: st.SearchStrategy[Any] = st.one_of(
    st.just(EVENT),
    st.builds(
        lambda key, n: {**EVENT, "idempotency_key": key, "data": {"n": n}}, st.sampled_from("kl"), st.integers(1, 2)
    ),
    st.builds(lambda op, data: {**EVENT, "key": "text", "op": op, "data": data}, ops, data),
    st.builds(lambda changed: {**EVENT, **changed}, changes),
    changes,
    st.sampled_from(["text", None, [], 1]),
)
raw = st.sampled_from(
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b"NaN",
        b'{"type": "a.b", "data": {"x": NaN}, "circle_id": 1}',
        b'{"type": "a.b", "data": {"x": 1e400}, "circle_id": 1}',
        b'{"type": "a.b", "data": {"x": ' + b"9" * 400 + b'}, "circle_id": 1}',
        b'{"type": "a.b", "type": "c.d", "data": {"x": 1, "x": 2}, "circle_id": 9, "circle_id": 1}',
        b'{"type": "a.b", "data": {"x": "\\ud800"}, "circle_id": 1}',
        b'{"type": "a.b", "data": {"x": "\xff"}, "circle_id": 1}',
        b'{"type": "a.b", "data": {"x": "\\u0000"}, "circle_id": 1} ',
        b'{"type": "a.b", "data": ' + b'{"x":' * 300 + b"1" + b"}" * 300 + b', "circle_id": 1}',
        b"\xef\xbb\xbf{}",
        b'{"type": "a.b"}{}',
        b" " * (1024 * 1024) + b"{}",
        b" " * (1024 * 1024 - 2) + b"{}",
    ]
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


one_event = st.one_of(events.map(encoded), events.map(encoded), raw)
batches = st.one_of(
    st.lists(events, min_size=1, max_size=6).map(lambda some: encoded({"events": some})),
    st.sampled_from([0, 1, 100, 120]).map(lambda count: [EVENT] * count).map(lambda some: encoded({"events": some})),
    st.sampled_from([{"events": [EVENT] * 1_001}, {"events": EVENT}, {"events": [], "x": 1}, [EVENT]]).map(encoded),
    raw,
)

# ---- heads


def _placed(name: str, way: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and query of a token that a client puts where it likes."""
    token = TOKENS[name]
    if way == "query":
        return [], b"token=" + token
    if way == "both":
        return [(b"authorization", b"Bearer " + token)], b"x=1&%74oken=" + token
    if way == "subprotocol":
        return [(b"sec-websocket-protocol", b"gateway.v1, gateway.bearer." + token)], b""
    if way == "disagreeing":
        return [(b"authorization", b"Bearer " + token), (b"authorization", b"Bearer " + TOKENS["publisher"])], b""
    if way == "disagreeing query":
        return [(b"authorization", b"Bearer " + token)], b"token=" + TOKENS["publisher"]
    return ([] if way == "none" else [(b"authorization", way.encode() + token)]), b""


placed = st.builds(
    _placed,
    st.one_of(st.sampled_from(sorted(GOOD)), st.sampled_from(sorted(TOKENS))),
    st.sampled_from(
        [
            *["Bearer "] * 8,
            *["bearer ", "BEARER   ", "Bearer", "Bearer\t", "Basic ", "none"],
            *["query", "both", "subprotocol", "disagreeing", "disagreeing query"],
        ]
    ),
)
kinds = st.sampled_from(
    [
        *[[b"application/json"]] * 8,
        *[[b"application/json; charset=utf-8"], [b"APPLICATION/JSON"], [b"application/vnd.x+json"]],
        *[[b"application/json;"], [b"text/plain"], [b""], [], [b"application/json", b"text/plain"]],
        *[[b"text/plain", b"application/json"], [b"application/xml"], [b"json"]],
    ]
)
origins = st.sampled_from(
    [*[b""] * 8, b"http://gateway.example", b"https://shop.example", b"https://evil.example", b"null"]
)
others = st.lists(
    st.sampled_from(
        [(b"x-forwarded-for", b"1.2.3.4"), (b"accept", b"*/*"), (b"cookie", b"a=b"), (b"traceparent", b"00-x")]
    ),
    max_size=2,
)


@st.composite
def requests(draw: st.DrawFn) -> PublishRequest:
    path = draw(st.sampled_from(["/events", "/events", "/events/batch"]))
    content = draw(batches if path.endswith("batch") else one_event)
    headers, query = draw(placed)
    headers = [(b"host", b"gateway.example"), *draw(others), *headers]
    headers += [(b"content-type", kind) for kind in draw(kinds)]
    length = draw(st.sampled_from(["right"] * 6 + ["chunked", "none"]))
    if length == "right":
        headers.append((b"content-length", b"%d" % len(content)))
    elif length == "chunked":
        headers.append((b"transfer-encoding", b"chunked"))
    if origin := draw(origins):
        headers.append((b"origin", origin))
    chunks: list[bytes | None] = [content]
    cut = draw(st.sampled_from(["whole"] * 6 + ["pieces", "end", "gone", "gone at once"]))
    if cut == "pieces":
        chunks = [content[:5], b"", content[5:]]
    elif cut == "end":
        chunks.append(b"")
    elif cut.startswith("gone"):
        chunks = [None] if cut == "gone at once" else [content[:5], None]
    return PublishRequest(
        path,
        draw(st.sampled_from(["POST"] * 12 + ["GET", "PUT", "HEAD", "OPTIONS", "DELETE"])),
        query,
        tuple(headers),
        tuple(chunks),
    )


@st.composite
def in_order(draw: st.DrawFn) -> PublishRequest:
    """A request of which only the body may be wrong, or what its token grants."""
    path = draw(st.sampled_from(["/events", "/events", "/events/batch"]))
    token = TOKENS[draw(st.sampled_from([*GOOD, "publisher", "of one room", "short"]))]
    return request_of(draw(batches if path.endswith("batch") else one_event), token, path)


@st.composite
def with_one_twist(draw: st.DrawFn) -> PublishRequest:
    """A request as publishers send it, but for one thing in its head."""
    request = draw(in_order())
    added = draw(
        st.sampled_from(
            [
                (b"origin", b"https://shop.example"),
                (b"origin", b"https://evil.example"),
                (b"sec-websocket-protocol", b"gateway.v1, gateway.bearer." + GOOD["platform"]),
                (b"authorization", b"Bearer " + GOOD["platform"]),
                (b"authorization", b"Basic eDp5"),
                (b"content-type", b"text/plain"),
                (b"transfer-encoding", b"chunked"),
            ]
        )
    )
    where, headers = draw(st.integers(0, 4)), request.headers
    query = draw(st.sampled_from([b"", b"x=1", b"token=" + GOOD["platform"]])) if where == 4 else b""
    headers = headers if query else (*headers[:where], added, *headers[where:])
    return replace(request, query=query, headers=headers)


steps: st.SearchStrategy[Any] = st.one_of(
    in_order(),
    in_order(),
    with_one_twist(),
    requests(),
    st.builds(Advance, st.sampled_from([0.001, 0.5, 2.0, 40.0])),
    st.builds(Revoke, st.sampled_from(["ada", "bob"]), st.booleans()),
)


# ---- answers


class Subject:
    """An application under test: its gateway goes by a clock of its own, and allows little."""

    def __init__(self, make: Callable[[Service], ASGIApp]) -> None:
        self.clock = Clock(NOW)
        self.service: Service = service_with(
            self.clock,
            self.clock,
            MemoryLog((CURSOR_KEY,), clock=self.clock, timer=self.clock),
            publish_per_second=20,
            publish_burst=150,
            allowed_origins=("https://shop.example",),
        )
        self.app = make(self.service)
        self.by_fastapi = False
        """Whether FastAPI handled the last request."""
        self._names: dict[str, str] = {}

    async def take(self, step: PublishRequest | Advance | Revoke) -> Any:
        """Do it: the answer, without what is random."""
        if isinstance(step, Advance):
            await self.clock.advance(step.seconds)
            return None
        if isinstance(step, Revoke):
            gateway = self.service.gateway
            if step.removed:
                data = {"user_id": step.user_id}
                await gateway.publish("acme", "circle.member.removed", data, circle_id=1)
                return None
            return await gateway.administration.revoke_user("acme", step.user_id)
        return self._named(await self._answer(step))

    async def _answer(self, request: PublishRequest) -> str:
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("192.0.2.7", 5000),
            "scheme": "http",
            "root_path": request.root_path,
            "method": request.method,
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": request.query,
            "headers": list(request.headers),
            "state": {},
        }
        pending = list(request.chunks)
        sent: list[Message] = []

        async def receive() -> Message:
            if not pending or (chunk := pending.pop(0)) is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": bool(pending)}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        self.by_fastapi = "fastapi_inner_astack" in scope
        return repr(sent)

    def kept(self) -> str:
        """The events in the tenants' logs."""
        kept: list[Any] = []
        for tenant in ("acme", "globex"):
            window = self.service.gateway.log.window(tenant)
            entries = [window[offset] for offset in window.kept(0, window.head)]
            kept += [tenant, *((entry.rooms, entry.frame.payload) for entry in entries)]
        return self._named(repr(kept))

    def _named(self, text: str) -> str:
        """Without event ids, which each life of a log has its own of: numbered as they come."""
        names = self._names
        return re.sub(r"evt_[\w-]{20,}", lambda found: names.setdefault(found[0], f"evt_{len(names)}"), text)
