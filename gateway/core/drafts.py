"""Drafts: a published event, routed and encoded for the log."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.cursor import CURSOR_LENGTH
from gateway.core.errors import GatewayError
from gateway.core.log import Draft, payload_of
from gateway.core.window import Removal
from schemas.codes import ErrorCode
from schemas.events import EventType, encode_event
from schemas.rooms import is_subject, rooms_of

_ADDED: Final = len(payload_of(b"{}", CURSOR_LENGTH * "x", "")) - len(b"{}")
"""What the log puts into an event's frame beside the timestamp's digits."""

_REMOVALS: Final = {EventType.CIRCLE_MEMBER_REMOVED: "circle", EventType.PROJECT_MEMBER_REMOVED: "project"}


def draft_of(
    type: str,
    data: Mapping[str, Any],
    *,
    circle_id: int | str | None,
    project_id: int | str | None,
    user_id: str | None,
    source_agent_id: int | str | None,
    timestamp: str,
    key: str | None,
    max_bytes: int,
) -> Draft:
    """The event routed and encoded once for all; `key` is a `scoped_key`. Raises `GatewayError` where its frame
    would be over `max_bytes`, `ValueError` for what JSON cannot hold, `NotFinite` among it."""
    # Plain text is encoded in a third of the time that a member of an enum takes; whose own `str` may be another text.
    fields: dict[str, Any] = {"type": str.__str__(type), "data": data}
    if source_agent_id is not None:
        fields["source_agent_id"] = source_agent_id
    if circle_id is not None:
        fields["circle_id"] = circle_id
    if project_id is not None:
        fields["project_id"] = project_id
    if user_id is not None:
        fields["user_id"] = user_id
    body = encode_event(fields)
    if len(body) + _ADDED + len(timestamp) > max_bytes:
        message = f"an event has at most {max_bytes} bytes, its event_id and timestamp included"
        raise GatewayError(ErrorCode.MESSAGE_TOO_LARGE, message, limit=max_bytes)
    removal = removal_of(type, data, circle_id, project_id)
    return Draft(rooms_of(circle_id, project_id, user_id), body, timestamp, key, removal)


def removal_of(
    type: str, data: Mapping[str, Any], circle_id: int | str | None, project_id: int | str | None
) -> Removal | None:
    """The user and the room that an event takes from it; None for every other event, and for one that does not say
    it."""
    kind = _REMOVALS.get(type)  # type: ignore[call-overload]  # an EventType is its text
    id, user_id = circle_id if kind == "circle" else project_id, data.get("user_id")
    if kind is None or id is None or isinstance(user_id, bool) or not isinstance(user_id, int | str):
        return None
    return (str(user_id), f"{kind}:{id}") if is_subject(str(user_id)) else None
