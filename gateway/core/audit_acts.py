"""The last acts of administrators, in bounded memory."""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from heapq import nlargest
from math import inf
from typing import Final, NamedTuple

MAX_ACTS: Final = 1_000
"""Acts that are kept of all tenants together."""

SORT_KEY_PATTERN: Final = r"^\d{1,12}(\.\d{1,9})?-\d{1,12}-[A-Za-z0-9_]{1,64}$"
"""The text of an `ActSortKey`."""


class ActSortKey(NamedTuple):
    """The sort key of an act among those of all nodes: its time, node and number."""

    at: float
    node: str
    number: int

    @staticmethod
    def parse(text: str) -> "ActSortKey":
        """The sort key in a text that matches `SORT_KEY_PATTERN`."""
        at, number, node = text.split("-")
        return ActSortKey(float(at), node, int(number))

    def __str__(self) -> str:
        return f"{self.at:.6f}-{self.number}-{self.node}"

    def on(self, node: str) -> tuple[float, float]:
        """The time and number before which acts of `node` precede this sort key."""
        return self.at, self.number if node == self.node else inf if node < self.node else 0


@dataclass(frozen=True, slots=True)
class Act:
    """One act of an administrator: `event` names it, `tenant` is the one it is about, by default the administrator's
    own. `at` is seconds since the epoch, in microseconds; `number` counts all acts of the node since its start."""

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
    """The last acts, at most `limit`. Beyond that the oldest act of the tenant with most acts is evicted, so that an
    administrator cannot evict the acts of another tenant. Adding is O(tenants kept), reading O(acts kept)."""

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

    def of(self, tenant: str | None, before: tuple[float, float] | None, limit: int) -> list[Act]:
        """The acts about a tenant and by its administrators, by default of all, in the order of their times and
        numbers, newest first; `before` is the time and number after which to go on."""
        concerned = (
            act
            for acts in self._by_tenant.values()
            for act in acts
            if (tenant is None or tenant in (act.tenant, act.by_tenant)) and (before is None or _sort_key(act) < before)
        )
        return nlargest(limit, concerned, key=_sort_key)


def _sort_key(act: Act) -> tuple[float, float]:
    return act.at, act.number
