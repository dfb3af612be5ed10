"""From an event that somebody publishes to the draft that a log takes."""

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.log import Draft
from gateway.core.removal import removal_of
from schemas.codes import ErrorCode
from schemas.events import NumberTooLarge, encode_event
from schemas.rooms import rooms_of


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
    finite: bool = False,
) -> Draft:
    """The event routed and encoded once for all; `finite` as for `encode_event`. Raises `GatewayError` over `max_bytes`
    and for a number that is too large, `ValueError` for no JSON."""
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
    try:
        body = encode_event(fields, finite=finite)
    except NumberTooLarge as error:
        raise GatewayError(ErrorCode.BAD_MESSAGE, f"data: {error}") from None
    if len(body) > max_bytes:
        message = f"an event has at most {max_bytes} bytes"
        raise GatewayError(ErrorCode.MESSAGE_TOO_LARGE, message, limit=max_bytes)
    removal = removal_of(type, data, circle_id, project_id)
    return Draft(rooms_of(circle_id, project_id, user_id), body, timestamp, key, removal)
