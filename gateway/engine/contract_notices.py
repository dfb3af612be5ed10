"""Notices of a changed event contract: clients learn that a node with another one has started, as in a deploy."""

from typing import Final

from gateway.core.control import ControlMessage
from gateway.engine.connections import Connections
from schemas import messages

SECONDS: Final = 60.0
"""The time for which a node that was out of reach is still notified."""


class ContractNotices:
    """Notifies all established connections of this node, once for each change."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._newest = "" if connections.contract is None else connections.contract.digest

    def message(self, digest: str) -> ControlMessage:
        """The message of a node that has started with the contract of this hash."""
        now = self._connections.clock()
        return ControlMessage("contract_changed", None, digest, now, SECONDS, through=now)

    def on_changed(self, digest: str) -> None:
        """Notify the clients, unless several nodes have started with the same contract."""
        if digest == self._newest:
            return
        self._newest = digest
        for connection in list(self._connections.manager.connections()):
            if connection.established:
                self._connections.reply(connection, messages.ContractChanged(contract=digest))
