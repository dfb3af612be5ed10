"""The seam between nodes: what all of them have to know, beside the log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.core.roster import ClusterMembers

ControlKind = Literal["token_revoked", "user_revoked", "tenant_revoked", "room_barred", "connection_closed"]


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """Something that every node acts on. `at` and `until` are seconds since the epoch: from when, and how long it
    concerns anybody. `name` is a token's id, a user's or a connection's; `tenant` is None for a token of any tenant."""

    kind: ControlKind
    tenant: str | None
    name: str
    at: float
    until: float
    room: str = ""


OnControl = Callable[[ControlMessage], object]


class Cluster(Protocol):
    """The nodes that share a log. An implementation guarantees, and `gateway.testing` checks:

    - Every other node is called with a notice once, within 2 seconds; one that starts later, or was out of touch, with
      all whose `until` has not passed. The node that tells has acted on it by itself.
    - Where a notice could not be stored, `tell` raises `LogUnavailable`, and the others hear of it as soon as this node
      can reach them, while it runs. Should the store lose notices, the nodes tell them anew.
    - What `keep` was given, exactly one `take` on whatever node gets, and none after its seconds.

    `members` are their connections; it starts and stops with this.
    """

    @property
    def members(self) -> ClusterMembers: ...

    def attach(self, on_notice: OnControl) -> None:
        """Say who acts on notices. Before `start`."""

    async def start(self) -> None:
        """Begin to listen; what is in force is known when it returns, if it can be."""

    async def stop(self) -> None:
        """Let go of everything."""

    async def tell(self, notice: ControlMessage) -> None:
        """Have every other node act on it. Raises `LogUnavailable`."""

    async def keep(self, key: str, value: str, seconds: int) -> None:
        """Keep something for the one who has the key. Raises `LogUnavailable`."""

    async def take(self, key: str) -> str | None:
        """What was kept, once. Raises `LogUnavailable`."""
