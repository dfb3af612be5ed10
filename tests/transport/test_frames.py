"""RFC 6455 frames and closing, against the running server."""

import socket
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.process import GatewayProcess
from tests.support.raw_client import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawClient, close_frame, frame, opened
from tests.support.tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path_factory.mktemp("frames")) as served:
        yield served


PING_TEXT = b'{"type": "ping"}'
ASKED = frame(TEXT, PING_TEXT)


@dataclass(frozen=True)
class Case:
    """The bytes sent, and the close code in return; None where a ping after them is answered."""

    name: str
    sent: bytes
    code: int | None


def closes(payload: bytes, code: int, name: str) -> Case:
    return Case(f"close {name}", frame(CLOSE, payload), code)


LONG = b'{"type": "ping"' + b" " * 300 + b"}"
FULL = b'{"type": "ping"' + b" " * (65_536 - 16) + b"}"
assert len(FULL) == 65_536

CASES = [
    # Masks, reserved bits and opcodes (sections 5.1 and 5.2).
    Case("unmasked text", frame(TEXT, PING_TEXT, mask=None), 1002),
    Case("unmasked ping", frame(PING, mask=None), 1002),
    Case("unmasked close", frame(CLOSE, b"\x03\xe8", mask=None), 1002),
    Case("mask of zeros", frame(TEXT, PING_TEXT, mask=b"\0\0\0\0"), None),
    *[Case(f"RSV{n}", frame(TEXT, PING_TEXT, rsv=bits), 1002) for n, bits in ((1, 4), (2, 2), (3, 1), (123, 7))],
    Case("RSV1 on a ping", frame(PING, rsv=4), 1002),
    *[Case(f"opcode {opcode:#x}", frame(opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    # Lengths.
    Case("no payload at all", frame(PONG), None),
    Case("payload of 125", frame(PING, b"x" * 125), None),
    Case("16-bit length", frame(TEXT, LONG), None),
    Case("a message as large as may be", frame(TEXT, FULL), None),
    Case("a message a byte larger", frame(TEXT, FULL + b" "), 1009),
    Case("64-bit length of 2^63", b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"\0\0\0\0", 1009),
    Case("64-bit length of 2^64-1", b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0", 1009),
    Case("64-bit length of 1 GB", b"\x82\xff" + struct.pack("!Q", 1 << 30) + b"\0\0\0\0", 1009),
    Case("fragments over the limit", frame(TEXT, FULL, fin=False) + frame(CONT, b"x"), 1009),
    # Control frames (section 5.5).
    Case("fragmented ping", frame(PING, fin=False), 1002),
    Case("fragmented pong", frame(PONG, fin=False), 1002),
    Case("fragmented close", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    *[Case(f"{name} of 126", frame(op, b"\x03\xe8" + b"x" * 124), 1002) for name, op in (("ping", 9), ("pong", 10))],
    Case("close of 126", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    Case("pong that nobody asked for", frame(PONG, b"hello"), None),
    Case("ten pings in one piece", frame(PING, b"x") * 10, None),
    # Fragments (section 5.4).
    Case("continuation of nothing", frame(CONT, b"x"), 1002),
    Case("last continuation of nothing", frame(CONT, b"x", fin=False), 1002),
    Case("text within a text", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    Case("binary within a text", frame(TEXT, b"{", fin=False) + frame(BINARY, b"}"), 1002),
    Case(
        "text in three",
        frame(TEXT, PING_TEXT[:3], fin=False) + frame(CONT, PING_TEXT[3:9], fin=False) + frame(CONT, PING_TEXT[9:]),
        None,
    ),
    Case("empty fragments around", frame(TEXT, b"", fin=False) + frame(CONT, PING_TEXT, fin=False) + frame(CONT), None),
    Case(
        "ping between fragments", frame(TEXT, PING_TEXT[:3], fin=False) + frame(PING) + frame(CONT, PING_TEXT[3:]), None
    ),
    Case("close between fragments", frame(TEXT, PING_TEXT[:3], fin=False) + close_frame(1000), 1002),
    Case("64 fragments without an end", frame(TEXT, b" ", fin=False) + frame(CONT, b" ", fin=False) * 63, 1009),
    # UTF-8 (section 8.1).
    Case("text that is no UTF-8", frame(TEXT, b"\xff"), 1007),
    Case("a surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
    Case("an overlong slash", frame(TEXT, b"\xc0\xaf"), 1007),
    Case("above U+10FFFF", frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    Case("half a character", frame(TEXT, b'{"\xc3'), 1007),
    Case(
        "a character in two fragments",
        frame(TEXT, b'{"type": "ping", "id": "\xc3', fin=False) + frame(CONT, b'\xbc"}'),
        None,
    ),
    Case("no UTF-8 in a binary frame", frame(BINARY, b"\xff"), None),
    # Compression that was not agreed on.
    Case("compressed text", frame(TEXT, zlib.compress(PING_TEXT, wbits=-15), rsv=4), 1002),
    # Close frames (sections 5.5.1 and 7.4).
    *[
        closes(struct.pack("!H", code), code, str(code))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)
    ],
    *[
        closes(struct.pack("!H", code), 1002, f"{code}, which may not be sent")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535)
    ],
    closes(b"", 1005, "without a code"),
    closes(b"\x03", 1002, "of one byte"),
    closes(b"\x03\xe8" + b"x" * 123, 1000, "with the longest reason"),
    closes(b"\x03\xe8" + "tschüss".encode(), 1000, "with a reason in UTF-8"),
    closes(b"\x03\xe8\xff", 1007, "with a reason that is none"),
    Case("close twice", close_frame(1000) + close_frame(1001), 1000),
    Case("a command after close", close_frame(1000) + ASKED, 1000),
    Case("rubbish after close", close_frame(1000) + b"\xff" * 100, 1000),
    Case("HTTP instead of frames", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002),
    Case("TLS instead of frames", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1002),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_answers_to_frames(served: GatewayProcess, case: Case) -> None:
    """The close code, once, with nothing after it and the connection ended; or else life goes on."""
    await holds(served, case)


async def test_frames_get_the_same_without_uvloop_and_httptools(tmp_path: Path) -> None:
    """On asyncio's own event loop, where transports behave a little differently."""
    async with GatewayProcess(tmp_path, bare=True) as served:
        for case in CASES:
            try:
                await holds(served, case)
            except Exception as error:
                error.add_note(case.name)
                raise


async def holds(served: GatewayProcess, case: Case) -> None:
    async with opened(served.port, token()) as client:
        await client.send(case.sent)
        if case.code is None:
            await still_there(client)
            return
        assert await client.close_code() == case.code
        await client.send_if_it_can(close_frame(1000))
        assert await client.rest() == b""


async def still_there(client: RawClient) -> None:
    """A ping is answered; pongs and replies to what was sent before come first, and an error is no end."""
    await client.send(frame(TEXT, b'{"type": "ping", "id": "after"}'))
    while (message := await client.message()).get("id") != "after":
        assert message["type"] in ("pong", "error"), message
    assert message["type"] == "pong"


async def test_each_ping_is_answered_with_its_own_payload_in_order(served: GatewayProcess) -> None:
    """Section 5.5.3, all in one piece."""
    async with opened(served.port, token()) as client:
        await client.send(b"".join(frame(PING, b"%d" % i) for i in range(20)))
        assert [await client.frame() for _ in range(20)] == [(PONG, b"%d" % i) for i in range(20)]


async def test_frames_that_come_in_any_pieces_are_the_same(served: GatewayProcess) -> None:
    """Cut at every byte: the parser keeps what it has."""
    sent = frame(PING, b"a") + ASKED + frame(TEXT, LONG) + frame(PING, b"b")
    async with opened(served.port, token()) as client:
        for cut in range(1, len(sent), 11):
            await client.send(sent[:cut])
            await client.send(sent[cut:])
            kinds = [(await client.frame())[0] for _ in range(4)]
            assert sorted(kinds) == [TEXT, TEXT, PONG, PONG], cut


async def test_a_client_that_half_closes_is_let_go(served: GatewayProcess) -> None:
    """After FIN without a close frame no command can come any more, so the connection ends."""
    async with opened(served.port, token()) as client:
        client.sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            assert await client.rest() == b""


async def test_a_client_that_answers_no_ping_is_gone_after_two_intervals(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A client that answers, by a pong or any frame, stays."""
    async with GatewayProcess(tmp_path_factory.mktemp("pings"), ping_interval=0.5) as served:
        async with opened(served.port, token()) as mute, opened(served.port, token()) as talker:
            for _ in range(3):
                assert (await talker.frame())[0] == PING
                await talker.send(frame(PONG))
            await mute.gone()
            assert (await mute.frame())[0] == PING
            await talker.send(ASKED)
            assert (await talker.message())["type"] == "pong"
