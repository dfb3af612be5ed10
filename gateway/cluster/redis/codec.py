"""The codec of members in Redis."""

import json
from collections.abc import Iterator, Mapping

from gateway.core.members import Member

VERSION = b"version"
AFTER = b"after"


def pack(member: Member | None) -> str:
    """The hash field of a connection; empty for a closed one."""
    if member is None:
        return ""
    return json.dumps(
        [member.client_id, member.user_id, member.connected_at, member.expires_at, member.rooms], separators=(",", ":")
    )


def unpack_all(fields: Mapping[bytes, bytes]) -> Iterator[tuple[str, Member | None]]:
    """The connections in a hash, or in a change of it. Raises `ValueError` for invalid fields."""
    for id, text in fields.items():
        if id in (VERSION, AFTER):
            continue
        if not text:
            yield id.decode(), None
            continue
        try:
            client_id, user_id, connected_at, expires_at, rooms = json.loads(text)
            yield id.decode(), Member(id.decode(), client_id, user_id, connected_at, expires_at, tuple(rooms))
        except TypeError as error:
            raise ValueError("not a connection") from error
