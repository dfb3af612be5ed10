"""The key space in Redis: names of keys and channels."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

_LOG_PARTS: Final = ("log", "meta", "trimmed", "items", "ended", "state", "pushed")


@dataclass(frozen=True, slots=True)
class KeySpace:
    """The keys and channels of all nodes that share a `prefix`. Those of a tenant are in one hash slot of a cluster."""

    prefix: str

    # ---- the log of a tenant

    def log(self, tenant: str) -> list[str]:
        """A tenant's stream, the hash with its metadata, the sorted set with each room's last lost entry; of its items
        the sorted sets of those with a value and of those that have ended, the hash with values in pieces, and the
        sorted set with each room's last item that was evicted."""
        return [f"{self._of(tenant)}:{part}" for part in _LOG_PARTS]

    def idempotency(self, tenant: str, key: str | None) -> str:
        """The key of an idempotency key; without one, an unused key in the same slot."""
        return f"{self._of(tenant)}:key:{'' if key is None else blake2b(key.encode(), digest_size=16).hexdigest()}"

    def channel(self, tenant: str) -> str:
        """The pub/sub channel of a tenant's entries."""
        return f"{self._of(tenant)}:live"

    # ---- the members of a tenant

    def nodes(self, tenant: str) -> str:
        """A hash: the version of each node's members."""
        return f"{self._of(tenant)}:nodes"

    def members(self, tenant: str, node: str) -> str:
        """A hash: the node's connections by id, and their version."""
        return f"{self._of(tenant)}:members:{node}"

    def changes(self, tenant: str, node: str) -> str:
        """A stream: by version, the change and the version before it."""
        return f"{self._of(tenant)}:changes:{node}"

    def totals(self, tenant: str) -> str:
        """A hash: the totals of each node."""
        return f"{self._of(tenant)}:totals"

    # ---- all nodes

    def control(self) -> list[str]:
        """The stream of control messages, its identity, and its compaction lock."""
        return [f"{self._of('control')}:{kind}" for kind in ("messages", "identity", "compaction")]

    def usage_hours(self) -> str:
        """A sorted set: the hours that have usage."""
        return f"{self._of('usage')}:hours"

    def usage_tenants(self, hour: int) -> str:
        """A sorted set: the tenants that have usage in the hour, by name."""
        return f"{self._of('usage')}:tenants:{hour}"

    def usage_nodes(self, hour: int) -> str:
        """A sorted set: the nodes that have recorded usage in the hour."""
        return f"{self._of('usage')}:nodes:{hour}"

    def usage(self, hour: int, node: str) -> str:
        """A hash: the usage of each tenant in the hour, as this node has counted it."""
        return f"{self._of('usage')}:counts:{hour}:{node}"

    def usage_recorded(self, node: str) -> str:
        """The number of the node's last record of usage."""
        return f"{self._of('usage')}:recorded:{node}"

    # ---- a node

    def heartbeat(self, node: str) -> str:
        """The key and channel of a node's heartbeat."""
        return f"{self.prefix}:node:{node}"

    def queries(self, node: str) -> str:
        """The channel of questions to a node and of answers to its own; `*` for the pattern of all."""
        return f"{self.prefix}:queries:{node}"

    def alive(self, node: str) -> str:
        """The lease of a node's members."""
        return f"{self.prefix}:alive:{node}"

    def _of(self, tenant: str) -> str:
        # A hash tag: a Redis Cluster keeps a tenant's keys in one slot; a tenant's name has no braces.
        return f"{self.prefix}:{{{tenant}}}"
