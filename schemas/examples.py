"""An example of each command, frame and event, for the descriptions of the protocol."""

import re
from collections.abc import Mapping
from typing import Any, Final

from schemas.rooms import RoomKinds

_AT: Final = "2026-01-15T10:30:00.123Z"
_CURSOR: Final = "evt_z2FUGfW8I_L5ujUmmXSpbg"

EVENT: Final[Mapping[str, Any]] = {
    "type": "task.completed",
    "data": {"title": "hello"},
    "circle_id": 7,
    "event_id": "evt_EVqQ0EqhE_oTkCVN2EtrTQ",
    "timestamp": _AT,
}
"""An event as clients get it."""

PUBLISHED: Final[Mapping[str, Any]] = {
    "type": "task.completed",
    "data": {"title": "hello"},
    "circle_id": 7,
    "idempotency_key": "task-82-done",
}
"""An event as it is published."""

COMMANDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ping": {"type": "ping", "id": 1},
    "subscribe": {"type": "subscribe", "id": 2, "rooms": ["circle:7"], "since": _CURSOR},
    "unsubscribe": {"type": "unsubscribe", "id": 3, "rooms": ["circle:7"]},
    "auth": {"type": "auth", "id": 4, "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.…"},
    "publish": {"type": "publish", "id": 5, "event": PUBLISHED},
    "presence": {"type": "presence", "id": 6, "room": "circle:7"},
}
"""By type."""

FRAMES: Final[Mapping[str, Mapping[str, Any]]] = {
    "connection.established": {
        "connection_id": "con_SpV10en3HfPGg0Ng",
        "client_id": "wall 3",
        "user_id": "ada",
        "tenant": "acme",
        "rooms": ["circle:7", "project:*"],
        "subscribed": ["user:ada", "circle:7"],
        "expires_at": _AT,
        "cursor": _CURSOR,
        "limits": {
            "rooms": 100,
            "message_bytes": 65_536,
            "commands_per_second": 20.0,
            "command_burst": 40,
            "events_per_second": 500,
        },
        "ping_interval": 20.0,
    },
    "subscribed": {"rooms": ["circle:7"], "cursor": _CURSOR, "recovered": True, "replayed": 3},
    "unsubscribed": {"rooms": ["circle:7"]},
    "authenticated": {"expires_at": _AT, "rooms": ["project:*"], "dropped": ["circle:7"]},
    "published": {"event_id": "evt_EVqQ0EqhE_oTkCVN2EtrTQ", "duplicate": False},
    "presence": {"room": "circle:7", "users": [{"user_id": "ada", "connections": 2}], "connections": 2},
    "presence.joined": {"room": "circle:7", "user_id": "bob"},
    "presence.left": {"room": "circle:7", "user_id": "bob"},
    "subscription.revoked": {"rooms": ["circle:7"], "reason": "circle.member.removed"},
    "token.expiring": {"expires_at": _AT},
    "stream.gap": {"reason": "history_trimmed", "cursor": _CURSOR},
    "stream.mark": {"cursor": _CURSOR, "as_of": _AT},
    "stream.degraded": {"since": _AT},
    "stream.restored": {"since": _AT},
    "server.draining": {"reconnect_after_ms": 1_200, "cursor": _CURSOR},
    "contract.changed": {"contract": "4f1f9c0e6c7d2b8a95d3f0a1b2c4d5e6"},
    "pong": {"as_of": _AT, "cursor": _CURSOR},
    "error": {
        "code": "room_forbidden",
        "message": "the token grants circle:7, project:*; asked circle:9",
        "rooms": ["circle:9"],
    },
}
"""The `data` by type."""


def with_kinds(example: Any, kinds: RoomKinds) -> Any:
    """The example for a gateway with these kinds of room."""
    if "circle" in kinds.names:
        return example
    kind = kinds.names[0]
    if isinstance(example, str):
        return re.sub(r"\bcircle([:.])", rf"{kind}\1", example)
    if isinstance(example, Mapping):
        return {
            f"{kind}_id" if name == "circle_id" else name: with_kinds(value, kinds) for name, value in example.items()
        }
    return [with_kinds(part, kinds) for part in example] if isinstance(example, list) else example


def frame(type: str, id: str | int | None = None) -> dict[str, Any]:
    """The whole example frame of this type; `id` is the command's that it answers."""
    answered = {} if id is None else {"id": id}
    return {"type": type, **answered, "data": FRAMES[type], "timestamp": _AT}
