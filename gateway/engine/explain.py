"""Explanations: why a user did or did not get an event, by the answers of all nodes."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
from gateway.core.cursor import is_cursor
from gateway.core.delivery_judgement import JudgedEvent, Question
from gateway.core.errors import CursorInvalid, GatewayError
from gateway.core.explanation import MESSAGES
from gateway.core.log import Log
from gateway.core.reserved_tenants import without_reserved
from gateway.core.subscription import require_rooms
from gateway.core.window import Entry
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.delivery_records import DeliveryRecords
from gateway.engine.disconnects import Disconnects
from schemas.cluster import partial_field
from schemas.codes import ErrorCode
from schemas.events import decode_event, rfc3339
from schemas.explain import ExplainedConnection, ExplainedEvent, Explanation, NodeExplanation, Reason, Verdict
from schemas.rooms import TENANT_ROOM

_BEST: Final[tuple[Verdict, ...]] = ("delivered", "pending", "unknown", "not_delivered")

_NEAREST: Final[tuple[Reason, ...]] = (
    *("delivered", "behind", "superseded", "gap", "closed", "left_before"),
    *("joined_later", "not_subscribed", "not_granted", "unknown"),
)
"""Reasons of several connections of one user, the most telling first."""


@dataclass(frozen=True, slots=True)
class Target:
    """The tenant, and the user or the connection that is asked about."""

    tenant: str
    user_id: str | None
    connection_id: str | None


class _Found(NamedTuple):
    """The event that is asked about; published at `at` or later. `reason` is given where it alone is the answer."""

    event: ExplainedEvent
    judged: JudgedEvent | None = None
    gone: int = 0
    at: float = 0.0
    reason: Reason | None = None


class Explain:
    """Explains deliveries. The caller checks the rights."""

    def __init__(
        self, connections: Connections, delivery: Delivery, disconnects: Disconnects, log: Log, cluster: Cluster
    ) -> None:
        self._connections = connections
        self.records = DeliveryRecords(connections, delivery, disconnects, log, cluster.members)
        self._log = log
        self._cluster = cluster
        cluster.queries.attach("explain", self.records.answer)
        self.sweep = self.records.sweep
        """Drop connections that ended long ago."""

    async def event(self, target: Target, event_id: str, platform: bool) -> Explanation:
        """Explain an event. With `platform` it may be of another tenant. Raises `GatewayError`."""
        self._connections.keep_followed(target.tenant)
        try:
            following = self._log.follow(target.tenant, event_id)
            if following is not None:
                await following
            found = self._find(target.tenant, event_id)
        except CursorInvalid:
            found = _Found(_lost(event_id), reason=self._foreign(target.tenant, event_id, platform))
        if found.reason is not None:
            verdict: Verdict = "not_delivered" if found.reason in ("never_published", "other_tenant") else "unknown"
            return self._explanation(target, verdict, found.reason, event=found.event)
        question = Question(target.tenant, target.user_id, target.connection_id, event=found.judged, gone=found.gone)
        return await self._ask(target, question, found.at, event=found.event)

    async def room(self, target: Target, room: str) -> Explanation:
        """Explain a room in general: whether everything in it is delivered. Raises `GatewayError`."""
        require_rooms(self._connections.kinds, [room])
        question = Question(target.tenant, target.user_id, target.connection_id, room)
        return await self._ask(target, question, self._connections.clock(), room=room)

    # ---- the event

    def _find(self, tenant: str, event_id: str) -> _Found:
        """The event in this node's window. Raises `CursorInvalid`."""
        window = self._log.window(tenant)
        position = window.cursors.decode(event_id)
        lost, offset = _lost(event_id), position.offset
        if position.epoch != window.epoch:
            return _Found(lost, reason="never_published" if offset == 0 else "event_forgotten")
        if offset > window.head:
            return _Found(lost, reason="unknown" if self._log.staleness(tenant) is None else "never_published")
        if offset == 0:
            return _Found(lost, reason="never_published")
        if window.kept(offset - 1, offset):
            return _kept(event_id, window[offset], position.epoch)
        if offset < window.first:
            return _Found(lost, reason="event_forgotten")
        # From the first one on only superseded entries are missing.
        before = next(iter(window.candidates({TENANT_ROOM: (0, offset)}, newest_first=True)), None)
        return _Found(lost, gone=offset, at=0.0 if before is None else window[before].at)

    def _foreign(self, tenant: str, event_id: str, platform: bool) -> Reason:
        """The reason for an id that is not of the tenant. Raises `GatewayError` where the caller may not know more."""
        if not is_cursor(event_id):
            return "never_published"
        if not platform:
            raise GatewayError(ErrorCode.NOT_FOUND, "this tenant has no such event")
        known = without_reserved({*self._log.tenants(), *self._connections.manager.tenants()} - {tenant})
        for other in known:
            try:
                self._log.window(other).cursors.decode(event_id)
            except CursorInvalid:
                continue
            return "other_tenant"
        return "unknown"

    # ---- the answers

    async def _ask(self, target: Target, question: Question, at: float, **about: Any) -> Explanation:
        """Ask all nodes; the event was published at `at` or later."""
        answers = {self._cluster.members.node: await self.records.explain(question)}
        found = await self._cluster.queries.ask("explain", target.tenant, question.pack())
        others = found.unpacked(NodeExplanation.model_validate)
        answers.update(others.answers)
        connections = tuple(each for answer in answers.values() for each in answer.connections)
        complete = not (others.silent or others.partial) and all(answer.complete for answer in answers.values())
        if not connections and complete and target.connection_id is not None:
            raise GatewayError(ErrorCode.NOT_FOUND, "this tenant has no such connection, nor one that has ended lately")
        known_since = max(answer.known_since for answer in answers.values())
        verdict, reason = _summary(connections)
        doubts = "" if complete else " Not all nodes have answered."
        if target.connection_id is None and at < known_since:
            doubts += f" Connections that ended before {rfc3339(known_since)} are not known."
        if doubts and verdict == "not_delivered":
            verdict = "unknown"
        more: dict[str, Any] = {
            "known_since": rfc3339(known_since),
            "nodes": tuple(sorted(answers)),
            "silent": others.silent,
            **partial_field(not complete),
        }
        explanation = self._explanation(target, verdict, reason, connections, **about)
        doubts = doubts if verdict == "unknown" else ""
        return explanation.model_copy(update={**more, "message": explanation.message + doubts})

    def _explanation(
        self,
        target: Target,
        verdict: Verdict,
        reason: Reason,
        connections: tuple[ExplainedConnection, ...] = (),
        **about: Any,
    ) -> Explanation:
        user_id = connections[0].user_id if connections else target.user_id
        named = {"user_id": user_id, "connection_id": target.connection_id, **about}
        return Explanation(
            verdict=verdict,
            reason=reason,
            message=next((each.message for each in connections if each.reason == reason), MESSAGES[reason]),
            connections=connections,
            known_since=rfc3339(self._connections.clock()),
            nodes=(self._cluster.members.node,),
            silent=(),
            **{name: value for name, value in named.items() if value is not None},
        )


def _summary(connections: tuple[ExplainedConnection, ...]) -> tuple[Verdict, Reason]:
    """The verdict on all connections of a user, by the best of them."""
    if not connections:
        return "not_delivered", "never_connected"
    best = min(connections, key=lambda each: (_BEST.index(each.verdict), _NEAREST.index(each.reason)))
    return best.verdict, best.reason


def _lost(event_id: str) -> ExplainedEvent:
    return ExplainedEvent(event_id=event_id, type=None, rooms=None, timestamp=None, kept=False)


def _kept(event_id: str, entry: Entry, epoch: bytes) -> _Found:
    item, change = entry.item, entry.change
    in_state: bool | None = False
    if item is not None and change is not None and change.op != "delete":
        in_state = True if item.kept and not entry.superseded_by else None
    judged = JudgedEvent(epoch, entry.offset, entry.rooms, in_state, entry.superseded_by)
    if entry.superseded_by:  # its frame is gone
        return _Found(_lost(event_id).model_copy(update={"rooms": entry.rooms}), judged, at=entry.at)
    shown = decode_event(entry.frame.payload)
    event = ExplainedEvent(
        event_id=event_id, type=shown["type"], rooms=entry.rooms, timestamp=shown["timestamp"], kept=True
    )
    return _Found(event, judged, at=entry.at)
