"""Helpers of the hostile tests: complete logs, HTTP by hand, and one gateway for many cases."""

import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from gateway.core.connection import Connection
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.raw_client import Answer, raw, request
from tests.support.settings import settings_for

MARK = "hOsTiLe"
"""A marker in hostile input, wherever there is room for it: no message may repeat it."""

CLIENT_LOGGERS = ("websockets.client",)
"""Loggers of this process's clients, not of the gateway."""


class Watch:
    """Every record of every logger, as it reaches the handlers: after the filters."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []

    def text(self) -> str:
        formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
        return "\n".join(formatter.format(record) for record in self.records)

    def faults(self) -> list[str]:
        """Faults in the log: errors, or tracebacks at any level. No input may cause one."""
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


class AttackedGateway:
    """A gateway under attack."""

    def __init__(self, gate: RunningGateway, watch: Watch) -> None:
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
        async with raw(self.gate.port) as connection:
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
async def attacked_gateway(**settings: Any) -> AsyncIterator[AttackedGateway]:
    async with running(settings_for(**{"commands_per_second": 0, **settings})) as gate:
        with everything_logged() as watch:
            yield AttackedGateway(gate, watch)


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


def empty(gate: RunningGateway, but: int = 0) -> None:
    """No state of closed clients is left; `but` connections are still open."""
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
    assert gateway.connections.admission.addresses.total() == but
    assert not gateway.tasks


async def gone(gate: RunningGateway) -> None:
    """Wait until every client has gone, and see that nothing of them is left."""
    await until(lambda: not list(gate.service.gateway.manager.connections()) and not gate.service.gateway.tasks)
    empty(gate)
