"""The seam of the cluster: control messages, one-time values and membership, shared by all nodes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from gateway.core.control import ControlMessage
from gateway.core.members import ClusterMembers
from gateway.core.revocations import Revocations
from gateway.core.usage import UsageStore

Answer = Callable[[Any], Awaitable[Any]]
"""A function from a question to its answer, both JSON values."""


class NodeAnswers(NamedTuple):
    """The answers by node, the nodes that did not answer, and whether there may be others out of reach."""

    answers: dict[str, Any]
    silent: tuple[str, ...] = ()
    partial: bool = False

    def unpacked(self, unpack: Callable[[Any], Any]) -> "NodeAnswers":
        """The answers as values. A node whose answer cannot be read, since its version is another, is silent."""
        answers, silent = {}, {*self.silent}
        for node, packed in self.answers.items():
            try:
                answers[node] = unpack(packed)
            except (ValueError, TypeError, KeyError):
                silent.add(node)
        return NodeAnswers(answers, tuple(sorted(silent)), self.partial)


class NodeQueries(Protocol):
    """Questions to the other nodes. An implementation guarantees, and `gateway.testing` checks:

    - `ask` returns within 2 seconds and never raises, with an answer of each other node that runs and can be reached.
    - A node that is known to run, or to have connections of the tenant, and does not answer in time is `silent`; one
      that has stopped is not, soon after.
    - `ask_node` likewise, of one node: no other one gets the question.
    - Questions and answers are JSON values. A question whose answer raises, or of a kind that the other node does not
      know, is not answered.
    """

    def attach(self, kind: str, answer: Answer) -> None:
        """Set the function that answers the other nodes' questions of this kind. Before the start of the cluster."""

    async def ask(self, kind: str, tenant: str | None, question: Any) -> NodeAnswers:
        """Ask all other nodes about the tenant, None for no tenant in particular."""

    async def ask_node(self, kind: str, node: str, question: Any) -> NodeAnswers:
        """Ask one other node. There is neither an answer nor a silent node where no node of this name runs."""


OnControl = Callable[[Sequence[ControlMessage]], object]


class Cluster(Protocol):
    """The nodes that share a log. An implementation guarantees, and `gateway.testing` checks:

    - A control message reaches the callback of every other node once, within 2 seconds and after it is in that node's
      `revocations`; a node that starts later, or was out of touch, gets all whose `seconds` have not passed. The
      publishing node is not called: its caller acts on the message.
    - Where a message could not be stored, `publish_control` raises `LogUnavailable`; it is delivered as soon as
      this node can reach the others, while it runs. Should the store lose messages, the nodes send them again.
    - Seconds are counted by one clock for all nodes and by monotonic timers: no node's wall clock, right or wrong,
      drops a message.
    - Publishing and receiving are O(1) in the messages in force, and the store keeps at most twice as many as that and
      1,000 more. With 100,000 in force a node starts within 5 seconds.
    - Tenants publish round robin: however many messages one of them has, another's next one is in the next batch.
    - A value of `put_once` is returned by exactly one `pop` in the whole cluster, and by none after its TTL.

    `members` are their connections, `queries` what nodes ask one another; both start and stop with this. `usage` are
    the counts that outlive a node.
    """

    @property
    def members(self) -> ClusterMembers: ...

    @property
    def queries(self) -> NodeQueries: ...

    @property
    def usage(self) -> UsageStore: ...

    @property
    def revocations(self) -> Revocations:
        """The control messages in force, of this node and of the others."""

    def attach(self, on_control: OnControl) -> None:
        """Set the callback for the other nodes' messages. Before `start`."""

    async def start(self) -> None:
        """Start to listen; the messages in force are known when it returns, unless the store is out of reach."""

    async def stop(self) -> None:
        """Stop to listen, and release all resources."""

    def apply(self, message: ControlMessage) -> tuple[ControlMessage, bool]:
        """Put a message into force on this node only, as `Revocations.add` does."""

    async def publish_control(self, message: ControlMessage) -> None:
        """Put a message into force on all nodes. Raises `LogUnavailable`."""

    def sweep(self) -> None:
        """Drop expired messages; called about twice a second."""

    async def put_once(self, key: str, value: str, seconds: int) -> None:
        """Store a value for one `pop`, with a TTL in seconds. Raises `LogUnavailable`."""

    async def pop(self, key: str) -> str | None:
        """Return and delete a value; None where there is none (any more). Raises `LogUnavailable`."""
