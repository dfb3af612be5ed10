"""The last acts of administrators, in bounded memory."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final

MAX_ACTS: Final = 1_000
"""Acts that are kept of all tenants together."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act of an administrator: `event` names it, `tenant` is the one it is about, by default the administrator's
    own. `at` is seconds since the epoch; `number` counts all acts of the node since its start."""

    number: int
    at: float
    event: str
    by_user_id: str
    by_tenant: str
    by_token_id: str
    address: str
    tenant: str
    target: Mapping[str, str | int]


class AuditActs:
    """The last acts, at most `limit`. Beyond that the oldest of the tenant with most acts goes: an administrator of one
    tenant cannot push out the acts of another. Adding is O(tenants kept), reading O(limit)."""

    def __init__(self, limit: int = MAX_ACTS) -> None:
        self._limit = limit
        self._by_tenant: dict[str, deque[Act]] = {}
        self._kept = 0
        self.added = 0
        """The number of acts since the start."""

    def add(self, act: Act) -> None:
        """Add an act, whose number must be the highest."""
        self._by_tenant.setdefault(act.tenant, deque()).append(act)
        self.added += 1
        self._kept += 1
        if self._kept > self._limit:
            largest = max(self._by_tenant, key=lambda tenant: len(self._by_tenant[tenant]))
            self._by_tenant[largest].popleft()
            self._kept -= 1
            if not self._by_tenant[largest]:
                del self._by_tenant[largest]

    @property
    def tenants(self) -> Collection[str]:
        """The tenants with acts that are kept."""
        return self._by_tenant.keys()

    def of(self, tenant: str | None, before: int | None, limit: int) -> list[Act]:
        """The acts about a tenant and by its administrators, by default of all, newest first; `before` is the number
        after which to go on."""
        return list(islice(self._of(tenant, before), limit))

    def _of(self, tenant: str | None, before: int | None) -> Iterator[Act]:
        newest_first = (reversed(acts) for acts in self._by_tenant.values())
        for act in merge(*newest_first, key=attrgetter("number"), reverse=True):
            concerned = tenant is None or tenant in (act.tenant, act.by_tenant)
            if concerned and (before is None or act.number < before):
                yield act
