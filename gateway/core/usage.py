"""Usage: the counts of a tenant in an hour, and the seam of the store that keeps them."""

from collections.abc import Mapping, Sequence
from operator import add, sub
from typing import Final, NamedTuple, Protocol

KEPT_HOURS: Final = 168
ROWS_AT_ONCE: Final = 200
"""The number of rows that are recorded together: a millisecond or two of the event loop."""


class Usage(NamedTuple):
    """The usage of a tenant: connections times their seconds, events appended to the log by a node, events written to
    its clients, and the bytes of their frames."""

    connection_seconds: float = 0.0
    events: int = 0
    deliveries: int = 0
    bytes: int = 0

    def plus(self, other: "Usage") -> "Usage":
        return Usage(*map(add, self, other))

    def minus(self, other: "Usage") -> "Usage":
        return Usage(*map(sub, self, other))


class UsageRow(NamedTuple):
    """The usage of a tenant in the hour that starts at `hour`, seconds since the epoch."""

    hour: int
    tenant: str
    usage: Usage


Place = tuple[int, str]
"""The place of a row: its hour and its tenant. Rows are in this order."""

Recorded = Mapping[Place, Mapping[str, Usage]]
"""The usage of each node by the place of the row."""


class UsageStore(Protocol):
    """The usage that the nodes of a cluster have recorded. An implementation guarantees, and `gateway.testing` checks:

    - A recorded value replaces the one before of the same node, hour and tenant. Recorded again, as after an answer
      that was lost, it counts once.
    - What is recorded is read at each node, also once the node that recorded it has ended.
    - At most `KEPT_HOURS` hours are kept; the oldest go first.
    """

    @property
    def durable(self) -> bool:
        """Whether what is recorded outlives its node. Where not, nothing is recorded, and there is nothing to read."""

    async def record(self, rows: Sequence[UsageRow]) -> bool:
        """Set this node's usage in up to `ROWS_AT_ONCE` rows, or in none. Returns whether the store still has what this
        node recorded before: otherwise record it again. Raises `LogUnavailable`."""

    async def read(self, tenant: str | None, after: Place, limit: int) -> Recorded:
        """The first `limit` rows after a place, of one tenant or of all. Raises `LogUnavailable`."""
