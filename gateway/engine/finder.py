"""The finder: what is known of a tenant under one name, of a user, room, connection, event or token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from gateway.core.errors import CursorInvalid
from gateway.core.event_summary import summary_of
from gateway.engine.administration import Administration
from gateway.engine.connections import Connections
from gateway.engine.directory import TenantDirectory
from gateway.engine.event_tail import EventTail
from schemas.admin import ConnectionInfo, RoomInfo
from schemas.events import rfc3339
from schemas.operations import EventSummary, FoundToken, FoundUser
from schemas.rooms import is_subject

MAX_CONNECTIONS: Final = 100
MAX_SIMILAR: Final = 20


@dataclass(slots=True)
class Findings:
    """The findings under a name; `more` where there are more connections than are shown."""

    tenant: str
    partial: bool
    user: FoundUser | None = None
    room: RoomInfo | None = None
    event: EventSummary | None = None
    forgotten: str | None = None
    token: FoundToken | None = None
    connections: list[ConnectionInfo] = field(default_factory=list)
    more: bool = False
    similar: list[str] = field(default_factory=list)


class Finder:
    """Finds what a name stands for. The caller checks the rights. O(connections of the tenant)."""

    def __init__(self, connections: Connections, administration: Administration, tail: EventTail) -> None:
        self._connections = connections
        self._administration = administration
        self._tail = tail

    async def find(self, tenant: str, name: str, known_token: Callable[[str], bool]) -> Findings:
        """Find what `name` stands for. `known_token` says whether it is the id of a token of which there are acts.
        Raises `GatewayError`."""
        directory = await self._administration.directory(tenant)
        found = Findings(tenant, directory.partial)
        if name.startswith("evt_"):
            await self._find_event(found, name)
            return found
        ids: Sequence[str] = (name,) if name in directory else ()
        if self._connections.kinds.is_room(name):
            found.room = directory.room(name)
            ids = directory.ids_in(name)
        elif is_subject(name):
            ids = ids or directory.ids_of(name)
            self._find_user(found, name, directory)
        self._find_token(found, name, known_token)
        with_token = self._ids_with_token(tenant, name) if found.token is not None else []
        shown = sorted({*ids, *with_token})
        found.connections = [directory.connection(id) for id in shown[:MAX_CONNECTIONS]]
        found.more = len(shown) > MAX_CONNECTIONS
        names = (each for each in chain(directory.user_ids(), directory.rooms()) if name in each and name != each)
        found.similar = list(islice(names, MAX_SIMILAR))
        return found

    def _find_user(self, found: Findings, user_id: str, directory: TenantDirectory) -> None:
        connections = len(directory.ids_of(user_id))
        through, removed_from = self._connections.revocations.of_user(found.tenant, user_id)
        if connections or through or removed_from:
            revoked_before = rfc3339(through) if through else None
            found.user = FoundUser(
                user_id=user_id, connections=connections, revoked_before=revoked_before, removed_from=removed_from
            )

    def _find_token(self, found: Findings, token_id: str, known: Callable[[str], bool]) -> None:
        connections = len(self._ids_with_token(found.tenant, token_id))
        revoked = self._connections.revocations.is_token_revoked(found.tenant, token_id)
        if connections or revoked or known(token_id):
            found.token = FoundToken(jti=token_id, revoked=revoked, connections=connections)

    def _ids_with_token(self, tenant: str, token_id: str) -> list[str]:
        """The connections of this node that were opened with the token; other nodes do not publish its id."""
        here = self._connections.manager.of(tenant).connections.values()
        return [connection.id for connection in here if connection.identity.token_id == token_id]

    async def _find_event(self, found: Findings, event_id: str) -> None:
        try:
            window = await self._tail.window(found.tenant, event_id)
            position = window.cursors.decode(event_id)
        except CursorInvalid:
            return
        if position.epoch != window.epoch:
            found.forgotten = "reset"
        elif position.offset == 0 or position.offset > window.head:
            found.forgotten = "never_published"
        elif not window.kept(position.offset - 1, position.offset) or window[position.offset].superseded_by:
            found.forgotten = "trimmed"
        else:
            found.event = summary_of(window[position.offset])
