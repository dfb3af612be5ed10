"""Removals: events that take a room from a user, and are policy as well as news."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.log import Removal
from gateway.core.window import Entry
from schemas.events import EventType, decode_event
from schemas.rooms import is_subject

_KINDS: Final = {EventType.CIRCLE_MEMBER_REMOVED: "circle", EventType.PROJECT_MEMBER_REMOVED: "project"}
_MARK: Final = b'.member.removed"'
_HEAD: Final = 48
"""An event's type is the first member of its object: that far into the frame at most."""


def removal_of(
    type: str, data: Mapping[str, Any], circle_id: int | str | None, project_id: int | str | None
) -> Removal | None:
    """Whom an event removes from where; None for every other event, and for one that does not say it."""
    kind = _KINDS.get(type)  # type: ignore[call-overload]  # an EventType is its text
    id, user_id = circle_id if kind == "circle" else project_id, data.get("user_id")
    if kind is None or id is None or isinstance(user_id, bool) or not isinstance(user_id, int | str):
        return None
    return (str(user_id), f"{kind}:{id}") if is_subject(str(user_id)) else None


def removal_in(entry: Entry) -> Removal | None:
    """The same of an entry, which a log may have brought from another node. Cheap for one that is no removal."""
    if entry.frame.wire.find(_MARK, 0, _HEAD) < 0:
        return None
    event = decode_event(entry.frame.payload)
    return removal_of(event["type"], event["data"], event.get("circle_id"), event.get("project_id"))
