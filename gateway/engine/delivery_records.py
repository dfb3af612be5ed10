"""The records of deliveries on this node: open connections as they are, and those that have ended lately."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from gateway.core.connection import Connection
from gateway.core.connection_record import ConnectionRecord, record_of
from gateway.core.delivery_judgement import Question
from gateway.core.ended_connections import EndedConnections
from gateway.core.explanation import explained
from gateway.core.log import Log
from gateway.core.members import ClusterMembers
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.disconnects import Disconnects
from schemas.events import rfc3339
from schemas.explain import ExplainedConnection, NodeExplanation
from schemas.operations import EndedConnection

ACKNOWLEDGE_SECONDS: Final = 0.3
"""The wait for acknowledgements of what was just written: a client's system delays them by 40 ms, some by 200."""

_POLL_INTERVAL: Final = 0.05

MAX_CONNECTIONS: Final = 200
"""Connections in the answer of one node: the open ones, then those that ended last."""


class DeliveryRecords:
    """Answers questions about this node's connections by their places and the changes of their rooms. It observes the
    removal of connections; delivering keeps nothing for it."""

    def __init__(
        self,
        connections: Connections,
        delivery: Delivery,
        disconnects: Disconnects,
        log: Log,
        members: ClusterMembers,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._disconnects = disconnects
        self._log = log
        self._members = members
        self._started_at = connections.clock()
        self._ended = EndedConnections()
        connections.manager.removals = self

    def on_removed(self, connection: Connection, rooms: dict[str, int]) -> None:
        """Keep the record of a connection that has ended."""
        tenant, now = connection.identity.tenant, self._connections.clock()
        self._delivery.abandon(connection, rooms)
        epoch, head = self._log.window(tenant).epoch, self._delivery.delivered(tenant)
        self._ended.add(tenant, record_of(connection, epoch, head, rooms, now), self._connections.timer())

    def sweep(self) -> None:
        """Drop what was kept long enough."""
        self._ended.sweep(self._connections.timer())

    def ended(self, tenant: str, name: str, most: int) -> list[EndedConnection]:
        """The last connections of a user, with a token, or of an id, that have ended. O(ended connections)."""
        records = self._ended.of(tenant, self._connections.timer())
        named = (
            each for each in records if name in (each.identity.user_id, each.connection_id, each.identity.token_id)
        )
        return [_ended(record, self._members.node) for record in islice(named, most)]

    async def answer(self, packed: Any) -> dict[str, Any]:
        """The answer to a question, both as JSON values."""
        return (await self.explain(Question.unpack(packed))).model_dump(mode="json")

    async def explain(self, question: Question) -> NodeExplanation:
        """The connections in question, judged. Waits a little for the acknowledgement of what was just written."""
        timer = self._connections.timer
        ends = timer() + ACKNOWLEDGE_SECONDS
        await self._disconnects.settle(question.tenant, ends)
        while True:
            self._delivery.flush(question.tenant)
            found = list(self._judged(question))
            if not any(map(_awaits_acknowledgement, found)) or timer() >= ends:
                break
            await asyncio.sleep(_POLL_INTERVAL)
        known_for = self._ended.known_for(question.tenant, timer())
        return NodeExplanation(
            connections=tuple(found[:MAX_CONNECTIONS]),
            complete=len(found) <= MAX_CONNECTIONS,
            known_since=max(self._started_at, self._connections.clock() - known_for),
        )

    def _judged(self, question: Question) -> Iterator[ExplainedConnection]:
        window = self._log.window(question.tenant)
        for number, record in enumerate(self._records(question)):
            yield explained(record, self._members.node, question.judge(record, window), question.rooms)
            if number == MAX_CONNECTIONS:
                break

    def _records(self, question: Question) -> Iterator[ConnectionRecord]:
        """The connections in question, the open ones first."""
        window, index = self._log.window(question.tenant), self._connections.manager.of(question.tenant)
        found: Iterable[Connection] = index.users.get(question.user_id or "", ())
        if (id := question.connection_id) is not None:
            found = (index.connections[id],) if id in index.connections else ()
        for connection in found:
            yield record_of(connection, window.epoch, window.head)
        for record in self._ended.of(question.tenant, self._connections.timer()):
            if (record.identity.user_id == question.user_id) if id is None else (record.connection_id == id):
                yield record


def _ended(record: ConnectionRecord, node: str) -> EndedConnection:
    return EndedConnection(
        connection_id=record.connection_id,
        user_id=record.identity.user_id,
        client_id=record.client_id,
        node=node,
        transport=record.transport,
        connected_at=rfc3339(record.connected_at),
        ended_at=rfc3339(record.ended_at or 0.0),
        code=record.code,
        reason=record.why,
    )


def _awaits_acknowledgement(connection: ExplainedConnection) -> bool:
    written = any(rule.rule == "reached" and rule.holds for rule in connection.rules)
    return written and connection.verdict == "pending"
