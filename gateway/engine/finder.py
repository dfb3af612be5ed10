"""The finder: what is known of a tenant under one name, of a user, room, connection, event or token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from gateway.core.cluster import Cluster
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

_KIND: Final = "token"


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
    similar: list[str] = field(default_factory=list)


class _TokenUse(NamedTuple):
    """The number of a node's connections with a token, and the ids of as many as are shown."""

    connections: int
    ids: list[str]


class Finder:
    """Finds what a name stands for. The caller checks the rights. O(connections of the tenant)."""

    def __init__(
        self, connections: Connections, administration: Administration, tail: EventTail, cluster: Cluster
    ) -> None:
        self._connections = connections
        self._administration = administration
        self._tail = tail
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def find(self, tenant: str, name: str) -> Findings:
        """Find what `name` stands for. Raises `GatewayError`."""
        found = Findings(tenant)
        if name.startswith("evt_"):
            await self._find_event(found, name)
            return found
        with_token = await self._find_token(found, name)
        directory = await self._administration.directory(tenant)  # the last to wait for: connections come and go
        found.partial = found.partial or directory.partial
        ids: Sequence[str] = (name,) if name in directory else ()
        if self._connections.kinds.is_room(name):
            found.room = directory.room(name)
            ids = directory.ids_in(name)
        elif is_subject(name):
            ids = ids or directory.ids_of(name)
            self._find_user(found, name, directory)
        shown = sorted({*ids, *(id for id in with_token if id in directory)})
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

    async def _find_token(self, found: Findings, token_id: str) -> list[str]:
        """The ids of connections that were opened with the token. Only their own nodes know its id."""
        question = {"tenant": found.tenant, "jti": token_id}
        here = await self._answer(question)
        asked = await self._cluster.queries.ask(_KIND, found.tenant, question)
        others = asked.unpacked(lambda packed: _TokenUse(*packed))
        found.silent, found.partial = others.silent, others.partial
        answers: list[_TokenUse] = [here, *others.answers.values()]
        connections = sum(answer.connections for answer in answers)
        revoked = self._connections.revocations.is_token_revoked(found.tenant, token_id)
        if connections or revoked:
            found.token = FoundToken(jti=token_id, revoked=revoked, connections=connections)
        return [id for answer in answers for id in answer.ids]

    async def _answer(self, question: Any) -> _TokenUse:
        here = self._connections.manager.of(question["tenant"]).connections.values()
        ids = [connection.id for connection in here if connection.identity.token_id == question["jti"]]
        return _TokenUse(len(ids), sorted(ids)[: MAX_CONNECTIONS + 1])

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
