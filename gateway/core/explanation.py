"""The explanation of a judgement in words: its rules, up to the first that does not hold, and a sentence."""

from typing import Final

from gateway.core.connection_record import ConnectionRecord
from gateway.core.delivery_judgement import Judgement, grants, joined_at
from gateway.core.room_history import ChangeKind
from schemas.events import rfc3339
from schemas.explain import ExplainedConnection, ExplainedRule, Reason

MESSAGES: Final[dict[Reason, str]] = {
    "delivered": "The event was written to the connection, and the client's system has acknowledged it.",
    "superseded": "A newer value of the event's item took its place for clients that were not live.",
    "behind": "The client has not taken everything yet; the event comes when it does.",
    "not_granted": "The token does not grant a room of the event.",
    "not_subscribed": "The connection was not in a room of the event.",
    "joined_later": "The connection joined a room of the event only after the event.",
    "left_before": "The connection left the room before it was given the event.",
    "gap": "The event was skipped in a gap, which the client was notified of with stream.gap.",
    "closed": "The connection ended before the client had acknowledged the event.",
    "never_connected": "No connection of this user is open on a node that answered, and none has ended lately.",
    "other_tenant": "The event is of another tenant.",
    "never_published": "No such event was ever published.",
    "event_forgotten": "The event is no longer in the log, so its rooms are not known any more.",
    "unknown": "It cannot be known whether the client was given the event.",
}

_LEFT: Final[dict[ChangeKind, str]] = {
    "unsubscribed": "left by the client",
    "member_removed": "revoked, since the user was removed from it,",
    "token_renewed": "left, since a fresh token did not grant it,",
    "authorization": "revoked by the application",
}


def explained(record: ConnectionRecord, node: str, judgement: Judgement, rooms: tuple[str, ...]) -> ExplainedConnection:
    """The answer about one connection; `rooms` are those of the event."""
    ended_at = None if record.ended_at is None else rfc3339(record.ended_at)
    return ExplainedConnection(
        connection_id=record.connection_id,
        node=node,
        user_id=record.identity.user_id,
        client_id=record.client_id,
        transport=record.transport,
        connected_at=rfc3339(record.connected_at),
        ended_at=ended_at,
        verdict=judgement.verdict,
        reason=judgement.reason,
        message=_message(record, judgement),
        rules=tuple(_rules(record, judgement, rooms)),
    )


def _message(record: ConnectionRecord, judgement: Judgement) -> str:
    outcome = judgement.outcome.outcome
    if judgement.reason == "unknown" and outcome == "written" and record.unacknowledged is None:
        return "The event was written, but it is not known whether the client's system has acknowledged it."
    if judgement.reason == "unknown":
        return "The connection has changed its rooms too often since the event for this to be known."
    return MESSAGES[judgement.reason]


def _rules(record: ConnectionRecord, judgement: Judgement, rooms: tuple[str, ...]) -> list[ExplainedRule]:
    outcome, room, change = judgement.outcome
    in_time = outcome in ("written", "owed", "gap", "closed", "unknown")
    allowed = grants(record, rooms)
    patterns = ", ".join(record.identity.grants.patterns) or "no room"
    if outcome == "revoked" and change is not None:
        return [_rule("granted", False, f"{room} was {_LEFT[change.kind]} at {rfc3339(change.at)}")]
    if not rooms:
        return [_rule("current", False, "a newer value of its item is in the log; its rooms are not known any more")]
    if not (allowed or in_time or outcome in ("left", "later")):
        scope = "" if record.identity.has_scope("subscribe") else ", without the scope subscribe"
        return [_rule("granted", False, f"the token grants {patterns}{scope}")]
    found = [_rule("granted", True, room if in_time or not allowed else ", ".join(allowed))]
    since = joined_at(record, room)
    joined = f"{room} since {rfc3339(since)}" if since is not None else f"{room} since an unknown time"
    if outcome == "outside":
        return [*found, _rule("subscribed", False, f"not in {' or '.join(allowed)}")]
    if outcome == "later":
        return [*found, _rule("subscribed", False, f"{joined}, after the event")]
    if outcome == "left" and change is not None:
        return [*found, _rule("subscribed", False, f"{room} was {_LEFT[change.kind]} at {rfc3339(change.at)}")]
    if outcome == "unknown":
        return [*found, _rule("subscribed", False, f"{room}: its changes at that time are no longer kept")]
    found.append(_rule("subscribed", True, joined))
    if outcome == "gap":
        at = f" at {rfc3339(change.at)}" if change is not None else ""
        return [*found, _rule("kept", False, f"lost from the log before the client read it; stream.gap was sent{at}")]
    if outcome == "closed":
        return [*found, _rule("open", False, _ended(record))]
    if judgement.reason == "superseded":
        return [*found, _rule("current", False, "a newer value of its item is in the log")]
    rate = f"; at most {record.rate} events a second" if record.rate else ""
    if outcome == "owed":
        return [*found, _rule("reached", False, f"the connection is behind, at a place before the event{rate}")]
    found.append(_rule("reached", True, "written to the connection"))
    held = record.unacknowledged
    if judgement.verdict == "delivered":
        return [*found, _rule("acknowledged", True, "by the client's system")]
    if held is None:
        return [*found, _rule("acknowledged", False, "the server that owns the socket does not report it")]
    ended = f" when the connection was {_ended(record)}" if record.ended_at is not None else ""
    return [*found, _rule("acknowledged", False, f"{held} bytes were not acknowledged{ended}")]


def _ended(record: ConnectionRecord) -> str:
    at = rfc3339(record.ended_at or 0.0)
    if not record.why:
        return f"closed by the client at {at}"
    return f"closed at {at} ({f'{record.code} ' if record.code else ''}{record.why})"


def _rule(rule: str, holds: bool, detail: str) -> ExplainedRule:
    return ExplainedRule(rule=rule, holds=holds, detail=detail)
