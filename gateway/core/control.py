"""Control messages: decisions of one node that all nodes act on."""

from dataclasses import dataclass, field
from typing import Literal

ControlKind = Literal[
    "token_revoked", "user_revoked", "tenant_revoked", "room_revoked", "connection_closed", "contract_changed"
]


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A revocation of a token, a user or a tenant, a removal from a room, the close of a connection, or the start of a
    node with an event contract.

    `name` is the id of the token, the user or the connection, or the hash of the contract; empty for a tenant. `tenant`
    is None for a token of any tenant, and for a contract. `at` and `through` are as in `auth.issue_time`, seconds since
    the epoch. The message expires after `seconds`, by the clock of the cluster's store and not by that of a node.
    """

    kind: ControlKind
    tenant: str | None
    name: str
    at: float
    seconds: float = field(compare=False)
    room: str = ""
    through: float = 0.0
