"""The finder: the users, rooms, connections, events and tokens of a tenant by name."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from gateway.core.errors import CursorInvalid
from gateway.core.event_summary import summary_of
from gateway.engine.administration import Administration
from gateway.engine.connection_search import MAX_CONNECTIONS, ConnectionSearch
from gateway.engine.connections import Connections
from gateway.engine.directory import TenantDirectory
from gateway.engine.ended_search import EndedSearch
from gateway.engine.event_tail import EventTail
from schemas.admin import ConnectionInfo, RoomInfo
from schemas.events import rfc3339
from schemas.operations import EndedConnection, EventSummary, FoundToken, FoundUser
from schemas.rooms import is_subject

MAX_SIMILAR: Final = 20


@dataclass(slots=True)
class Findings:
    """The findings under a name; `more` where there are more connections than are shown. `silent` nodes did not answer,
    and with `partial` others may be out of reach."""

    tenant: str
    partial: bool = False
    silent: tuple[str, ...] = ()
    user: FoundUser | None = None
    room: RoomInfo | None = None
    event: EventSummary | None = None
    forgotten: str | None = None
    token: FoundToken | None = None
    connections: list[ConnectionInfo] = field(default_factory=list)
    more: bool = False
    ended: list[EndedConnection] = field(default_factory=list)
    similar: list[str] = field(default_factory=list)


class Finder:
    """Finds the objects with a name. The caller checks the rights. O(connections of the tenant)."""

    def __init__(
        self,
        connections: Connections,
        administration: Administration,
        tail: EventTail,
        search: ConnectionSearch,
        ended: EndedSearch,
    ) -> None:
        self._connections = connections
        self._administration = administration
        self._tail = tail
        self._search = search
        self._ended = ended

    async def find(self, tenant: str, name: str) -> Findings:
        """Find the objects named `name`. Raises `GatewayError`."""
        found = Findings(tenant)
        if name.startswith("evt_"):
            await self._find_event(found, name)
            return found
        named = await self._find_connections(found, name)
        directory = await self._administration.directory(tenant)  # the last to wait for: connections come and go
        found.partial = found.partial or directory.partial
        ids: Sequence[str] = (name,) if name in directory else ()  # a node that is silent may have it
        if self._connections.kinds.is_room(name):
            found.room = directory.room(name)
            ids = directory.ids_in(name)
        elif is_subject(name):
            ids = ids or directory.ids_of(name)
            self._find_user(found, name, directory)
        shown = sorted({*ids, *named})
        found.connections = [named.get(id) or directory.connection(id) for id in shown[:MAX_CONNECTIONS]]
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

    async def _find_connections(self, found: Findings, name: str) -> dict[str, ConnectionInfo]:
        """The open connections by id that have this id, or were opened with the token of this id; ended ones go to
        `found`."""
        answer, ended = await asyncio.gather(
            self._search.find(found.tenant, name), self._ended.find(found.tenant, name)
        )
        found.ended = ended.connections
        found.silent = tuple(sorted({*answer.silent, *ended.silent}))
        found.partial = answer.partial or ended.partial
        revoked = self._connections.revocations.is_token_revoked(found.tenant, name)
        if answer.with_token or revoked:
            found.token = FoundToken(jti=name, revoked=revoked, connections=answer.with_token)
        return {each.connection_id: each for each in answer.connections}

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
