"""Drafts: a published event, routed and encoded for the log."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.contract import Contract
from gateway.core.cursor import CURSOR_LENGTH
from gateway.core.errors import GatewayError
from gateway.core.items import Change
from gateway.core.log import Draft, payload_of
from gateway.core.window import Removal
from schemas.codes import ErrorCode
from schemas.events import Op, encode_event
from schemas.rooms import Route, is_subject
from schemas.trace_context import traceparent_of

_PLAIN: Final = frozenset({str, int, bool, type(None)})
_ADDED: Final = len(payload_of(b"{}", CURSOR_LENGTH * "x", "")) - len(b"{}")
"""Bytes that the log adds to an event's frame, without the timestamp's digits."""

_TRACE_ADDED: Final = len(payload_of(b"{}", "", "", 55 * "x")) - len(payload_of(b"{}", "", ""))
"""Bytes that a trace context adds."""


def draft_of(
    type: str,
    data: Mapping[str, Any],
    *,
    route: Route,
    source_agent_id: int | str | None,
    timestamp: str,
    key: str | None,
    max_bytes: int,
    item_key: str | None = None,
    op: Op | None = None,
    contract: Contract | None = None,
    version: int | None = None,
    traceparent: str | None = None,
) -> Draft:
    """The draft of an event, routed, encoded once and checked against the `contract`; `key` is a `scoped_key`,
    `item_key` and `op` those of a keyed event, `version` that of its type, by default the newest. A `traceparent` that
    is not valid is ignored. The only way to a draft, for all publishers. Raises `GatewayError` where its frame would be
    over `max_bytes`, `ContractViolation`, `ValueError` for data that JSON cannot hold, `NotFinite` among it."""
    # A plain str is encoded three times faster than a str enum, whose own `__str__` may differ.
    fields: dict[str, Any] = {"type": str.__str__(type), "data": data}
    if source_agent_id is not None:
        fields["source_agent_id"] = source_agent_id
    fields.update(route.fields)
    if contract is not None and (version := contract.version_of(type, version)) is not None:
        fields["version"] = version
    change = None
    if item_key is not None:
        fields["key"] = item_key
        if op is not None:
            fields["op"] = op
        # A copy: the caller may change its own before the log has applied it.
        change = Change(item_key, op or "set", dict(data) if op == "append" and _is_plain(data) else None)
    body = encode_event(fields)
    trace = None if traceparent is None else traceparent_of(traceparent)
    if len(body) + _ADDED + len(timestamp) + (0 if trace is None else _TRACE_ADDED) > max_bytes:
        message = f"an event has at most {max_bytes} bytes, its event_id and timestamp included"
        raise GatewayError(ErrorCode.MESSAGE_TOO_LARGE, message, limit=max_bytes)
    if contract is not None:
        contract.check(type, version, op, body)
    room = route.removal_room(type)
    removal = None if room is None else _removal(data, room)
    return Draft(route.rooms, body, timestamp, key, removal, change, trace)


def _is_plain(data: Mapping[str, Any]) -> bool:
    """Whether names and values are as a parser of JSON would return them."""
    for name, value in data.items():  # noqa: SIM110 - half the time of `all`, for the few members of a piece
        if name.__class__ is not str or value.__class__ not in _PLAIN:
            return False
    return True


def _removal(data: Mapping[str, Any], room: str) -> Removal | None:
    """The removal of a user from `room`; None where the event names no user."""
    user_id = data.get("user_id")
    if isinstance(user_id, bool) or not isinstance(user_id, int | str):
        return None
    return (str(user_id), room) if is_subject(str(user_id)) else None
