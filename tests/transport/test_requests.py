"""Where one request ends and the next begins, with either HTTP parser (RFC 9112)."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.transports.uvicorn.guard import HEAD_BYTES
from tests.support.process import GatewayProcess
from tests.support.raw_client import RawClient, command, frame, handshake, raw
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
EVENT = b'{"type":"task.completed","data":{},"circle_id":"offers"}'
OFFERS = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "h2c, in capitals": "connection: UPGRADE\r\nUPGRADE: H2C",
    "TLS": "Connection: upgrade\r\nUpgrade: TLS/1.0",
    "something unknown": "Connection: keep-alive, upgrade\r\nUpgrade: foo/2, bar",
    "a WebSocket or HTTP/2": "Connection: upgrade\r\nUpgrade: websocket, h2c",
    "a WebSocket, by POST": "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[False, True], ids=["httptools", "h11"])
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("requests"), bare=request.param) as served:
        yield served


async def answer(client: RawClient) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = (await client.head()).lower()
    length = head.partition("content-length: ")[2].split()
    return int(head.split()[1]), await client.exactly(int(length[0])) if length else b""


async def statuses(client: RawClient) -> list[bytes]:
    """The status of each answer until the server ends the connection."""
    return [part[:3] for part in (await client.rest()).split(b"HTTP/1.1 ")[1:]]


def publish(offer: str, framing: str, target: str = "/events") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: x", offer, "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Authorization: Bearer {token()}", framing, "", ""]).encode()


BODIES = {
    "with a length": (f"Content-Length: {len(EVENT)}", EVENT),
    "chunked": ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)),
}


@pytest.mark.parametrize("cut", ["one segment", "behind the head", "within the body", "each byte"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("offer", OFFERS)
async def test_another_protocol_on_offer_leaves_the_request_as_it_is(
    served: GatewayProcess, offer: str, body: str, cut: str
) -> None:
    """RFC 9110 section 7.8: a server may ignore the offer. The event is published once, whatever is behind it too."""
    framing, sent = BODIES[body]
    head = publish(OFFERS[offer], framing)
    whole = head + sent + HEALTH
    at = {"one segment": len(whole), "behind the head": len(head), "within the body": len(head) + 9}
    pieces = [bytes((byte,)) for byte in whole] if cut == "each byte" else [whole[: at[cut]], whole[at[cut] :]]
    async with raw(served.port) as client:
        for piece in filter(None, pieces):
            await client.send(piece)
            await asyncio.sleep(0.05 if cut != "each byte" else 0)
        status, receipt = await answer(client)
        assert (status, json.loads(receipt)["duplicate"]) == (202, False)
        assert await answer(client) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
async def test_a_large_body_behind_an_offer_arrives_whole(served: GatewayProcess, chunked: bool) -> None:
    """600 kB, over many reads; its last event is there."""
    events = [{"type": "a.b", "data": {"x": "y" * 20_000}, "circle_id": number} for number in range(30)]
    body = json.dumps({"events": events}).encode()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    pieces = [body[start : start + 70_000] for start in range(0, len(body), 70_000)]
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n" if chunked else body
    async with raw(served.port) as client:
        await client.send(publish(OFFERS["h2c"], framing, "/events/batch") + sent + HEALTH)
        status, results = await answer(client)
        assert (status, len(json.loads(results)["results"])) == (202, 30)
        assert json.loads(results)["results"][-1]["rooms"] == ["circle:29", "tenant"]
        assert (await answer(client))[0] == 200


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_body_is_never_a_request(served: GatewayProcess, offer: str) -> None:
    """One that looks like a request is what it is: no JSON."""
    async with raw(served.port) as client:
        await client.send(publish(OFFERS[offer], f"Content-Length: {len(HEALTH)}") + HEALTH)
        assert (await answer(client))[0] == 400
        await client.send(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert await statuses(client) == [b"200"]


@pytest.mark.parametrize("path", ["/healthz", "/events", "/ws/dashboard", "/", "/nowhere"])
@pytest.mark.parametrize(
    "head",
    [
        "GET {} HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET {} HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET {} HTTP/1.0\r\nHost: a\r\nHost: a\r\n",
        "GET {} HTTP/1.1\r\n",
        "GET {} HTTP/1.1\r\nHost: a b\r\n",
        "GET {} HTTP/1.1\r\nHost: user@a\r\n",
        "GET {} HTTP/1.1\r\nHost: a/b\r\n",
        "GET {} HTTP/1.1\r\nHost: a:b\r\n",
        "GET {}\r\n",
        "GET {}\r\nHost: a\r\n",
        "GET {} HTTP/0.9\r\nHost: a\r\n",
        "GET {} HTTP/2.0\r\nHost: a\r\n",
        "GET {} HTTP/1.2\r\nHost: a\r\n",
    ],
)
async def test_a_head_that_is_not_of_http_1_1_is_400(served: GatewayProcess, head: str, path: str) -> None:
    """RFC 9112 sections 2.3 and 3.2, on every route; with an offer of a WebSocket as well."""
    offers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + "A" * 22
    for more in ("", f"{offers}==\r\n"):
        async with raw(served.port) as client:
            await client.send((head.format(path) + more + "\r\n").encode())
            assert (await client.head()).startswith("HTTP/1.1 400 "), more
            await client.rest()


@pytest.mark.parametrize("host", ["x", "x:80", "x_y.example:", "[::1]:8000", "127.0.0.1", ""])
async def test_a_host_is_a_name_or_an_address(served: GatewayProcess, host: str) -> None:
    """RFC 3986 section 3.2.2."""
    async with raw(served.port) as client:
        await client.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert (await answer(client))[0] == 200


async def test_errors_are_answered_in_order(served: GatewayProcess) -> None:
    """A fault behind a good request neither takes that one's answer nor stands before it."""
    good = publish("X: y", f"Content-Length: {len(EVENT)}") + EVENT
    faults = [
        b"\x00\x00",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ]
    for fault in faults:
        async with raw(served.port) as client:
            await client.send(HEALTH + good + fault)
            assert await statuses(client) == [b"200", b"202", b"400"], fault


async def test_many_requests_in_one_piece_are_answered_in_order(served: GatewayProcess) -> None:
    """200, over several reads, each once; the last of them a handshake."""
    async with raw(served.port) as client:
        bodies = [b'{"type":"a.b","data":{},"circle_id":%d}' % number for number in range(100)]
        requests = [publish("X: y", f"Content-Length: {len(body)}") + body + HEALTH for body in bodies]
        await client.send(b"".join(requests))
        for number in range(100):
            status, receipt = await answer(client)
            assert (status, json.loads(receipt)["rooms"]) == (202, [f"circle:{number}", "tenant"])
            assert (await answer(client))[0] == 200
        await client.send(handshake(f"/ws/dashboard?token={token()}"))
        assert (await client.head()).startswith("HTTP/1.1 101 ")


EARLY = command(type="ping", id="early")


@pytest.mark.parametrize("behind", [0, 7, len(EARLY), len(EARLY) + 5])
@pytest.mark.parametrize("first", [b"", HEALTH], ids=["at once", "behind a request"])
async def test_frames_in_one_segment_with_the_handshake_are_answered(
    served: GatewayProcess, first: bytes, behind: int
) -> None:
    """Whole ones and parts of them: nothing that a client sends is dropped."""
    frames = EARLY + command(type="ping", id="next")
    async with raw(served.port) as client:
        if first:
            await client.send(first)
            await answer(client)
        await client.send(handshake(f"/ws/dashboard?token={token()}") + frames[:behind])
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        await client.send(frames[behind:])
        assert (await client.message())["type"] == "connection.established"
        assert [(await client.message())["id"] for _ in range(2)] == ["early", "next"]


async def test_frames_that_come_before_a_ticket_is_redeemed_are_answered(served: GatewayProcess) -> None:
    """The look-up takes a while; what was sent meanwhile waits."""
    async with raw(served.port) as client:
        await client.send(publish("X: y", "Content-Length: 0", "/tickets"))
        ticket = json.loads((await answer(client))[1])["ticket"]
    async with raw(served.port) as client:
        await client.send(handshake(f"/ws/dashboard?ticket={ticket}") + EARLY)
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.message())["type"] == "connection.established"
        assert (await client.message())["id"] == "early"


async def test_early_frames_of_a_refused_client_are_dropped(served: GatewayProcess) -> None:
    """The close code comes as ever."""
    for target, code in ((f"/ws/dashboard?token={token()}x", 4401), ("/ws/dashboard?ticket=none", 4401)):
        async with raw(served.port) as client:
            await client.send(handshake(target) + EARLY + frame(8))
            assert (await client.head()).startswith("HTTP/1.1 101 ")
            assert await client.close_code() == code


async def test_no_flood_of_malformed_requests_fills_a_log(served: GatewayProcess) -> None:
    """A line for each of the first, with the address and the reason, and then one a second."""
    before = len(served.log.splitlines())
    for _ in range(100):
        async with raw(served.port) as client:
            await client.send(b"no HTTP at all\r\n\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
    lines = served.log.splitlines()[before:]
    assert len(lines) < 40
    assert not [line for line in lines if "WARNING" in line and "suppressed" not in line]


REFUSED = {
    "no HTTP": (b"no HTTP at all\r\n\r\n", 400, "bad_message"),
    "no Host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "bad_message"),
    "two lengths": (publish("X: y", "Content-Length: 1\r\nContent-Length: 2"), 400, "bad_message"),
    "a WebSocket over HTTP/1.0": (handshake("/ws/dashboard").replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "bad_message"),
    "no key of a WebSocket": (handshake("/ws/dashboard", without=["sec-websocket-key"]), 400, "bad_message"),
    "a WebSocket elsewhere": (handshake("/elsewhere"), 404, "not_found"),
    "a page of another origin": (handshake("/ws/dashboard", "Origin: https://evil.example"), 403, "bad_message"),
    "too many headers": (handshake("/ws/dashboard", *("X: y" for _ in range(101))), 431, "message_too_large"),
    # One byte over: with more, a reset for what was not read could overtake the answer.
    "a head without an end": (b"GET / HTTP/1.1\r\nX: ".ljust(HEAD_BYTES + 1, b"y"), 431, "message_too_large"),
    "a head that does not go on": (b"GET / HTTP/1.1\r\n", 408, "bad_message"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_before_the_application_is_a_problem_document(served: GatewayProcess, case: str) -> None:
    """RFC 9457, as from the application: a client has one way to read errors."""
    sent, status, code = REFUSED[case]
    async with raw(served.port) as client:
        await client.send(sent)
        answer = await client.answer()
        assert (answer.status, answer.header("content-type")) == (status, "application/problem+json"), answer.raw
        assert answer.json["type"] == f"urn:gathering-gateway:problem:{code}"
        assert {key: answer.json[key] for key in ("code", "status")} == {"code": code, "status": status}
        assert answer.json["title"]
        assert answer.json["detail"]
        assert answer.header("cache-control") == "no-store"
        assert answer.header("date")  # RFC 9110 section 6.6.1
        assert not answer.kept
        assert await client.rest() == b""


@pytest.mark.parametrize("expects", [False, True], ids=["as it is", "with Expect"])
@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("/events", 2**20 + 1),
        ("/events", 10**40),
        ("/events/batch", 2**24 + 1),
        ("/admin/tokens", 2**20 + 1),
        ("/tickets", 2**20 + 1),
    ],
)
async def test_a_body_that_is_announced_as_too_long_is_not_awaited(
    served: GatewayProcess, path: str, length: int, expects: bool
) -> None:
    """RFC 9110 section 10.1.1: it is not asked for with 100 either. The connection goes on for a client that sends it,
    where that is what the parser takes for a length."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}"]
    lines += [f"Authorization: Bearer {token(scope='publish admin')}", *["Expect: 100-continue"][: int(expects)]]
    async with raw(served.port) as client:
        await client.send("\r\n".join([*lines, "", ""]).encode())
        refusal = await client.answer()
        if length == 10**40 and refusal.status == 400:  # httptools counts with 64 bits
            return
        assert (refusal.status, refusal.json["code"]) == (413, "message_too_large")
        assert refusal.header("content-type") == "application/problem+json"
        if refusal.kept:
            await client.send(b" " * length + HEALTH)
            assert await answer(client) == (200, b'{"status":"ok"}')
        else:
            await client.rest()
