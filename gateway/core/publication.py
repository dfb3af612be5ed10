"""From an event that somebody publishes to the draft that a log takes."""

from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.log import Draft
from schemas.codes import ErrorCode
from schemas.events import PublishedEvent, encode_event
from schemas.rooms import rooms_of

_OPTIONAL = ("source_agent_id", "circle_id", "project_id", "user_id")


def draft_of(event: PublishedEvent, timestamp: str, max_bytes: int) -> Draft:
    """The event routed and encoded once for all. Raises `GatewayError` over `max_bytes`, `ValueError` for no JSON."""
    fields: dict[str, Any] = {"type": event.type, "data": event.data}
    for name in _OPTIONAL:
        if (value := getattr(event, name)) is not None:
            fields[name] = value
    body = encode_event(fields)
    if len(body) > max_bytes:
        message = f"an event has at most {max_bytes} bytes"
        raise GatewayError(ErrorCode.MESSAGE_TOO_LARGE, message, limit=max_bytes)
    return Draft(rooms_of(event.circle_id, event.project_id, event.user_id), body, timestamp, event.idempotency_key)
