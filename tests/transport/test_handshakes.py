"""Opening handshakes against the running server, byte by byte (RFC 6455 section 4.2)."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.process import GatewayProcess
from tests.support.raw_client import frame, handshake, raw
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = token(expires_in=3_600)  # made before the first test, which may be minutes later
TARGET = f"/ws/dashboard?token={GOOD}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("handshakes")) as served:
        yield served


@dataclass(frozen=True)
class Case:
    """A request, and the status of its answer; with 101, the close code, or None where the client is let in."""

    name: str
    request: bytes
    status: int
    code: int | None = None


def asks(name: str, status: int, *headers: str, without: tuple[str, ...] = (), target: str = TARGET) -> Case:
    return Case(name, handshake(target, *headers, without=without), status)


def origin(origin: str, status: int, host: str = "localhost", name: str = "") -> Case:
    request = handshake(TARGET, f"Host: {host}", f"Origin: {origin}", without=("host",))
    return Case(name or f"Origin {origin!r} at {host}", request, status)


KEY = "sec-websocket-key"
VERSION = "sec-websocket-version"
CASES = [
    asks("plain", 101),
    # Key, version, method, upgrade.
    asks("no key", 400, without=(KEY,)),
    asks("empty key", 400, "Sec-WebSocket-Key: ", without=(KEY,)),
    asks("key of 15 bytes", 400, f"Sec-WebSocket-Key: {b64encode(b'x' * 15).decode()}", without=(KEY,)),
    asks("key of 17 bytes", 400, f"Sec-WebSocket-Key: {b64encode(b'x' * 17).decode()}", without=(KEY,)),
    asks("key that is no base64", 400, "Sec-WebSocket-Key: " + "!" * 24, without=(KEY,)),
    asks("key twice", 400, f"Sec-WebSocket-Key: {b64encode(b'x' * 16).decode()}"),
    asks("no version", 400, without=(VERSION,)),
    asks("version 8", 400, "Sec-WebSocket-Version: 8", without=(VERSION,)),
    asks("version 8 and 13", 400, "Sec-WebSocket-Version: 8"),
    asks("version 13.0", 400, "Sec-WebSocket-Version: 13.0", without=(VERSION,)),
    Case("POST", handshake(TARGET).replace(b"GET ", b"POST ", 1), 400),
    Case("PUT", handshake(TARGET).replace(b"GET ", b"PUT ", 1), 400),
    Case("no such method", handshake(TARGET).replace(b"GET ", b"GETS ", 1), 400),
    Case("HTTP/1.0", handshake(TARGET).replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
    asks("no Upgrade", 426, without=("upgrade",)),
    asks("Upgrade h2c", 426, "Upgrade: h2c", without=("upgrade",)),
    asks("Upgrade in capitals", 101, "Upgrade: WEBSOCKET", without=("upgrade",)),
    asks("no Connection", 426, without=("connection",)),
    asks("Connection close", 426, "Connection: close", without=("connection",)),
    asks("Connection with more in it", 101, "Connection: keep-alive, uPGRADE", without=("connection",)),
    asks("Connection with tabs", 101, "Connection: keep-alive,\tUpgrade\t", without=("connection",)),
    asks("Connection twice", 101, "Connection: keep-alive"),
    # Host.
    asks("no Host", 400, without=("host",)),
    asks("Host twice", 400, "Host: evil.example"),
    asks("Host of another", 101, "Host: evil.example", without=("host",)),
    # Framing tricks.
    asks("Content-Length and chunked", 400, "Content-Length: 5", "Transfer-Encoding: chunked"),
    asks("Content-Length", 400, "Content-Length: 5"),
    asks("Content-Length of nothing", 101, "Content-Length: 0"),
    asks("chunked", 400, "Transfer-Encoding: chunked"),
    asks("Content-Length twice", 400, "Content-Length: 0", "Content-Length: 5"),
    Case("bare line feeds", handshake(TARGET).replace(b"\r\n", b"\n"), 400),
    asks("space before the colon", 400, "X-Odd : y"),
    asks("a folded header", 400, "X-Odd: a\r\n b"),
    asks("NUL in a header", 400, "X-Odd: a\0b"),
    asks("ESC in the path", 400, target="/ws/\x1bdashboard"),
    asks("a byte over 0x7f in the path", 400, target="/ws/d\x80shboard"),
    asks("a space in the path", 400, target="/ws/dash board"),
    # Paths.
    asks("another path", 404, target=f"/ws/other?token={GOOD}"),
    asks("a longer path", 404, target=f"/ws/dashboard/x?token={GOOD}"),
    asks("two slashes", 404, target=f"//ws/dashboard?token={GOOD}"),
    asks("dots", 404, target=f"/ws/x/../dashboard?token={GOOD}"),
    asks("@ before the path", 400, target=f"@localhost/ws/dashboard?token={GOOD}"),
    asks("an absolute URI", 404, target=f"http://localhost/ws/dashboard?token={GOOD}"),
    asks("a percent sign in the path", 101, target=f"/ws/%64ashboard?token={GOOD}"),
    # Origin (section 10.2).
    origin("http://localhost", 101),
    origin("http://localhost:8000", 101, "localhost:8000"),
    origin("HTTP://LOCALHOST", 101, name="Origin in capitals"),
    origin("null", 403),
    origin("", 403, name="an empty Origin"),
    origin("http://evil.example", 403),
    origin("http://localhost.evil.example", 403),
    origin("http://evil-localhost", 403),
    origin("http://localhost:9999", 403, "localhost:8000"),
    origin("http://localhost@evil.example", 403),
    origin("http://evil.example@localhost", 403),
    origin("http://l\u00f6calhost", 403, name="Origin outside ASCII"),
    origin("file://", 403),
    origin("http://localhost/path", 403),
    asks("Origin twice", 403, "Origin: http://localhost", "Origin: http://localhost"),
    # Subprotocols and extensions.
    asks("a subprotocol that is not ours", 101, "Sec-WebSocket-Protocol: chat"),
    asks("a subprotocol outside ASCII", 101, "Sec-WebSocket-Protocol: caf\u00e9"),
    asks("600 subprotocols", 101, "Sec-WebSocket-Protocol: " + ", ".join(f"p{i}" for i in range(600))),
    asks("an extension that is none", 101, "Sec-WebSocket-Extensions: ;;;,,="),
    asks("deflate, which is off", 101, "Sec-WebSocket-Extensions: permessage-deflate"),
    # Tokens.
    Case("no token", handshake("/ws/dashboard"), 101, 4401),
    Case("a token of 5,000 characters", handshake("/ws/dashboard?token=" + "x" * 5_000), 101, 4401),
    Case("two tokens that disagree", handshake(TARGET + "&token=x"), 101, 4401),
]

BARE = {"bare line feeds": 101, "a folded header": 101, "@ before the path": 404}
"""Requests that are answered differently without httptools: h11 is lax."""


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_answers_to_handshakes(served: GatewayProcess, case: Case, pieces: int) -> None:
    """An answer at once, and the end of the connection after a refusal; nothing of the request is in it. One that comes
    in pieces gets the same."""
    await holds(served, case, pieces=pieces)


async def test_handshakes_get_the_same_without_uvloop_and_httptools(tmp_path: Path) -> None:
    """On asyncio's own event loop, with the parser that is written in Python."""
    async with GatewayProcess(tmp_path, bare=True) as served:
        for case in CASES:
            try:
                await holds(served, case, {BARE.get(case.name, case.status)})
            except Exception as error:
                error.add_note(case.name)
                raise


async def holds(served: GatewayProcess, case: Case, statuses: Collection[int] = (), pieces: int = 1) -> None:
    async with raw(served.port) as client:
        if pieces > 1:
            await client.send(case.request[:10])
            await asyncio.sleep(0.02)
        await client.send(case.request[10 * (pieces - 1) :])
        head = await client.head()
        assert int(head.split()[1]) in (statuses or (case.status,)), head
        assert GOOD not in head
        if head.split()[1] == "101":
            assert "sec-websocket-extensions" not in head.lower()
            assert "sec-websocket-protocol" not in head.lower()
            if case.code is None:
                assert (await client.message())["type"] == "connection.established"
            else:
                assert await client.close_code() == case.code
        elif "connection: close" in head.lower():
            assert GOOD.encode() not in await client.rest()


async def test_the_answer_is_the_one_of_the_standard(served: GatewayProcess) -> None:
    """Section 4.2.2: the hash of the key, the upgrade, and the one subprotocol that is spoken."""
    key = b64encode(os.urandom(16)).decode()
    async with raw(served.port) as client:
        headers = (f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Protocol: chat, gateway.v1, gateway.bearer.{GOOD}")
        await client.send(handshake("/ws/dashboard", *headers, without=(KEY,)))
        status, *lines = (await client.head()).split("\r\n")
        assert status == "HTTP/1.1 101 Switching Protocols"
        answer = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        digest = sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
        assert answer == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": b64encode(digest).decode(),
            "sec-websocket-protocol": "gateway.v1",
        }


async def test_another_version_gets_the_supported_one(served: GatewayProcess) -> None:
    """Section 4.4."""
    async with raw(served.port) as client:
        await client.send(handshake(TARGET, "Sec-WebSocket-Version: 8", without=(VERSION,)))
        assert "\r\nsec-websocket-version: 13" in (await client.head()).lower()


async def test_frames_before_the_answer_do_no_harm(served: GatewayProcess) -> None:
    """A client has to wait for the answer (section 4.1); one that does not is not left waiting."""
    async with raw(served.port) as client:
        await client.send(handshake(TARGET) + frame(1, b'{"type": "ping", "id": "early"}'))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.message())["type"] == "connection.established"
        await client.send(frame(1, b'{"type": "ping", "id": "late"}'))
        while (message := await client.message()).get("id") != "late":
            assert message["id"] == "early"


async def test_two_requests_in_one_piece_are_not_one(served: GatewayProcess) -> None:
    """A handshake behind a request without an answer yet is refused: neither gets anything of the other. Behind an
    answered one it is accepted."""
    plain = f"GET {TARGET} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for second in (handshake(TARGET), handshake("/admin/stats"), handshake("/", without=("host",))):
        async with raw(served.port) as client:
            await client.send(plain + second)
            answers = (await client.rest()).split(b"HTTP/1.1 ")[1:]
            assert [answer[:3] for answer in answers] == [b"426", b"400"]
    async with raw(served.port) as client:
        await client.send(plain)
        head = await client.head()
        assert head.startswith("HTTP/1.1 426 "), head
        await client.exactly(int(head.lower().partition("content-length: ")[2].split()[0]))
        await client.send(handshake(TARGET))
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        assert (await client.message())["type"] == "connection.established"


@pytest.mark.parametrize("behind", [frame(9, b"hi"), frame(8), b"\x81\x00", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 50])
async def test_bytes_behind_a_handshake_elsewhere_are_refused_with_it(served: GatewayProcess, behind: bytes) -> None:
    """The bytes behind the handshake are refused as they would be alone."""
    async with raw(served.port) as client:
        await client.send(handshake(f"/ws/dashboards?token={GOOD}") + behind)
        assert (await client.head()).startswith("HTTP/1.1 404 ")
    assert "Traceback" not in served.log


async def test_no_handshake_has_left_a_trace_in_the_servers_output(served: GatewayProcess) -> None:
    """No traceback, no error, no token in the output."""
    for case in CASES:
        async with raw(served.port) as client:
            await client.send(case.request)
            await client.head()
    assert "Traceback" not in served.log
    assert "ERROR" not in served.log
    assert GOOD not in served.log
    assert GOOD.split(".")[1] not in served.log
