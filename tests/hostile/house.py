"""What the hostile tests share: everything logged, HTTP by hand, and one gateway for many cases."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.core.connection import Connection
from gateway.testing import until
from tests.support import Client, Gate, running, settings_for

MARK = "hOsTiLe"
"""In hostile input wherever there is room for it: no message may repeat it."""

CLIENT_LOGGERS = ("websockets.client",)
"""Of this process's clients, not of the gateway."""


class Watch:
    """Every record of every logger, as it reaches the handlers: after the filters."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []

    def text(self) -> str:
        formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
        return "\n".join(formatter.format(record) for record in self.records)

    def faults(self) -> list[str]:
        """What no input may bring about: an error, or a traceback at any level."""
        return [
            logging.Formatter().format(record)
            for record in self.records
            if record.levelno >= logging.ERROR or record.exc_info
        ]


@contextmanager
def everything_logged(level: int = logging.INFO) -> Iterator[Watch]:
    """Records of all loggers from `level` on, those that do not propagate included."""
    watch = Watch()
    original = logging.Logger.callHandlers
    names = ("", "gateway", "asyncio", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets")
    before = {name: logging.getLogger(name).level for name in names}

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if not record.name.startswith(CLIENT_LOGGERS):
            watch.records.append(record)
        original(self, record)

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
    for name in names:
        logging.getLogger(name).setLevel(level)
    try:
        yield watch
    finally:
        logging.Logger.callHandlers = original  # type: ignore[method-assign]
        for name, was in before.items():
            logging.getLogger(name).setLevel(was)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    kept: bool = field(default=False)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def raw(self) -> str:
        return "\n".join(f"{key}: {value}" for key, value in self.headers) + "\n\n" + self.body.decode()


class Wire:
    """HTTP/1.1 on one connection, every byte of it chosen by the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, head_only: bool = False) -> Answer:
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.rstrip().split("\r\n")
            headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            known = {name.lower(): value for name, value in headers}
            if head_only or status.split()[1] in ("204", "304"):
                body = b""
            elif "content-length" in known:
                body = await self._reader.readexactly(int(known["content-length"]))
            else:
                body = await self._chunks() if known.get("transfer-encoding") == "chunked" else b""
        return Answer(int(status.split()[1]), headers, body, known.get("connection") != "close")

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body

    async def rest(self) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(5):
            return await self._reader.read()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def request(
    method: str, target: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """One request's bytes; its length is said unless `headers` say how it comes."""
    listed = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in listed}
    if "host" not in names:
        listed.insert(0, ("Host", "localhost"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        listed.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in listed), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


class House:
    """A gateway under attack."""

    def __init__(self, gate: Gate, watch: Watch) -> None:
        self.gate = gate
        self.watch = watch

    def connection(self, client: Client) -> Connection:
        """The server's side of a client."""
        data = client.established["data"]
        return self.gate.service.gateway.manager.of(data["tenant"]).connections[data["connection_id"]]

    async def http(
        self,
        method: str,
        target: str,
        body: Any = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own, on which the server must then answer another one or close it."""
        given = dict(headers or {})
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        async with wire(self.gate.port) as connection:
            await connection.send(request(method, target, given, body))
            answer = await connection.answer(head_only=method == "HEAD")
            if answer.kept:
                await connection.send(request("GET", "/healthz"))
                assert (await connection.answer()).json == {"status": "ok"}
        return answer

    async def works(self) -> None:
        """A good client is served as ever."""
        async with self.gate.client() as client:
            assert (await client.ask(type="ping"))["type"] == "pong"


@asynccontextmanager
async def haunted(**settings: Any) -> AsyncIterator[House]:
    async with running(settings_for(**{"commands_per_second": 0, **settings})) as gate:
        with everything_logged() as watch:
            yield House(gate, watch)


def clear(message: str, *hostile: str) -> None:
    """A message for people: one line, short, and nothing in it that the attacker chose."""
    assert message
    assert message.isprintable()
    assert len(message) < 500
    for text in (MARK, *hostile):
        assert text not in message


def problem(answer: Answer, status: int, code: str) -> None:
    """A problem document as RFC 9457 has it, with a code of the protocol."""
    assert (answer.status, answer.header("content-type")) == (status, "application/problem+json"), answer
    body = answer.json
    assert (body["status"], body["code"]) == (status, code), body
    assert body["type"] == f"urn:gathering-gateway:problem:{code}"
    clear(body["detail"])
    if status in (429, 503):
        assert answer.header("retry-after")


def refused(frame: dict[str, Any], code: str) -> None:
    """An `error` frame of this code."""
    assert frame["type"] == "error", frame
    assert frame["data"]["code"] == code, frame
    clear(frame["data"]["message"])


async def fence(client: Client) -> list[dict[str, Any]]:
    """All frames that came before the answer to a `ping` sent now: what has not come by then was not sent."""
    await client.send(type="ping", id="fence")
    frames = []
    while (frame := await client.next()).get("id") != "fence":
        frames.append(frame)
    return frames


def empty(gate: Gate, but: int = 0) -> None:
    """Nothing is left of clients that have gone; `but` connections are still there."""
    gateway = gate.service.gateway
    for index in gateway.manager.indexes():
        known = set(index.connections.values())
        for members in (*index.rooms.values(), *index.users.values()):
            assert known.issuperset(members)
            assert members
        rooms = {(room, connection) for room, members in index.rooms.items() for connection in members}
        assert rooms == {(room, connection) for connection in known for room in connection.rooms}
    alive: list[Connection] = list(gateway.manager.connections())
    assert len(alive) == but
    assert len(gateway.connections.expirations) == but
    assert sum(gateway.connections.admission.addresses._counts.values()) == but
    assert not gateway.tasks


async def gone(gate: Gate) -> None:
    """Wait until every client has gone, and see that nothing of them is left."""
    await until(lambda: not list(gate.service.gateway.manager.connections()) and not gate.service.gateway.tasks)
    empty(gate)
