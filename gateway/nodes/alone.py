"""`Members` where there is one node."""

import secrets

from gateway.core.members import OnChanges, Others, Source


class Alone:
    """Every connection is in this node's own index."""

    partial = False

    def __init__(self) -> None:
        self.node = f"node_{secrets.token_hex(6)}"

    def attach(self, source: Source, on_changes: OnChanges) -> None:
        """Nobody is told anything."""

    async def start(self) -> None:
        """There is nobody to follow."""

    async def stop(self) -> None:
        """There is nobody to tell."""

    def changed(self, tenant: str, connection_id: str) -> None:
        """Nobody else is to know."""

    def watch(self, tenant: str) -> None:
        """Nothing changes elsewhere."""

    def unwatch(self, tenant: str) -> None:
        """Nothing was kept up with."""

    def look(self, tenant: str) -> None:
        return None

    def others(self, tenant: str) -> Others:
        return Others()
