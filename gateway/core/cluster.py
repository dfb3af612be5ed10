"""The seam between nodes: what all of them have to know, beside the log."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.core.control import ControlMessage
from gateway.core.revocations import Revocations
from gateway.core.roster import ClusterMembers

OnControl = Callable[[Sequence[ControlMessage]], object]


class Cluster(Protocol):
    """The nodes that share a log. An implementation guarantees, and `gateway.testing` checks:

    - Every other node is called with a control message once, within 2 seconds, after it is in that node's
      `revocations`; one that starts later, or was out of touch, with all whose `seconds` have not passed. The node that
      tells has acted on it by itself.
    - Where a message could not be stored, `publish_control` raises `LogUnavailable`, and the others hear of it as soon as this
      node can reach them, while it runs. Should the store lose messages, the nodes send them again.
    - Seconds are counted by one clock for all nodes and by timers that never go back: no node's wall clock, right or
      wrong, forgets a message.
    - Telling and hearing cost the same however many messages are in force, and the store keeps at most twice as many as
      that and 1,000 more. With 100,000 in force a node starts within 5 seconds.
    - Tenants tell in turn: however many messages one of them has, another's next one is in the next batch.
    - What `put_once` was given, exactly one `pop` on whatever node gets, and none after its seconds.

    `members` are their connections; it starts and stops with this.
    """

    @property
    def members(self) -> ClusterMembers: ...

    @property
    def revocations(self) -> Revocations:
        """The control messages in force, of this node and of the others."""

    def attach(self, on_control: OnControl) -> None:
        """Say who acts on the other nodes' messages. Before `start`."""

    async def start(self) -> None:
        """Begin to listen; what is in force is known when it returns, if it can be."""

    async def stop(self) -> None:
        """Let go of everything."""

    def apply(self, message: ControlMessage) -> tuple[ControlMessage, bool]:
        """Put a message into force on this node alone, as `Revocations.add` does."""

    async def publish_control(self, message: ControlMessage) -> None:
        """Put a message into force on all nodes. Raises `LogUnavailable`."""

    def sweep(self) -> None:
        """Forget what has expired; called about twice a second."""

    async def put_once(self, key: str, value: str, seconds: int) -> None:
        """Keep something for the one who has the key. Raises `LogUnavailable`."""

    async def pop(self, key: str) -> str | None:
        """The value of a key, once in the whole cluster; None after that or its TTL. Raises `LogUnavailable`."""
