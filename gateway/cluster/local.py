"""The local cluster: a single node without a store."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.cluster import Answer, NodeAnswers, OnControl
from gateway.core.control import ControlMessage
from gateway.core.members import MemberSource, OnChanges, RemoteMembers
from gateway.core.revocations import Revocations
from gateway.core.timer_wheel import TimerWheel
from gateway.core.usage import Place, Recorded, UsageRow


class LocalMembers:
    """The members of a single node: all are in its own index, and there are no remote ones. Its methods are no-ops."""

    partial = False

    def __init__(self) -> None:
        self.node = f"node_{secrets.token_hex(6)}"

    def attach(self, source: MemberSource, on_changes: OnChanges) -> None:
        """No-op: there are no other nodes."""

    async def start(self) -> None:
        """No-op."""

    async def stop(self) -> None:
        """No-op."""

    def changed(self, tenant: str, connection_id: str) -> None:
        """No-op."""

    def watch(self, tenant: str) -> None:
        """No-op."""

    def unwatch(self, tenant: str) -> None:
        """No-op."""

    def refresh(self, tenant: str) -> None:
        return None

    def remote(self, tenant: str) -> RemoteMembers:
        return RemoteMembers()


class LocalQueries:
    """The questions of a single node: there is no other to answer."""

    def attach(self, kind: str, answer: Answer) -> None:
        """No-op: there are no other nodes."""

    async def ask(self, kind: str, tenant: str | None, question: Any) -> NodeAnswers:
        return NodeAnswers({})

    async def ask_node(self, kind: str, node: str, question: Any) -> NodeAnswers:
        return NodeAnswers({})


class LocalUsage:
    """The usage store of a single node: there is none, and counts end with their process."""

    durable = False

    async def record(self, rows: Sequence[UsageRow]) -> bool:
        return True

    async def read(self, tenant: str | None, after: Place, limit: int) -> Recorded:
        return {}


class LocalCluster:
    """The `Cluster` of a single node. `timer` is seconds of a monotonic clock."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self.members = LocalMembers()
        self.queries = LocalQueries()
        self.usage = LocalUsage()
        self.revocations = Revocations()
        self._timer = timer
        self._kept: dict[str, tuple[float, str]] = {}
        self._expiry: TimerWheel[str] = TimerWheel()

    def attach(self, on_control: OnControl) -> None:
        """No-op: there are no other nodes."""

    async def start(self) -> None:
        """No-op: there is nothing to listen to."""

    async def stop(self) -> None:
        self._kept, self._expiry = {}, TimerWheel()

    def apply(self, message: ControlMessage) -> tuple[ControlMessage, bool]:
        return self.revocations.add(message, self._timer())

    async def publish_control(self, message: ControlMessage) -> None:
        self.apply(message)

    def sweep(self) -> None:
        self.revocations.sweep(self._timer())

    async def put_once(self, key: str, value: str, seconds: int) -> None:
        now = self._timer()
        for expired in self._expiry.due(now):
            del self._kept[expired]
        self._kept[key] = (now + seconds, value)
        self._expiry.set(key, now + seconds)

    async def pop(self, key: str) -> str | None:
        until, value = self._kept.pop(key, (0.0, ""))
        self._expiry.forget(key)
        return value if until > self._timer() else None
