"""`gateway serve` without fair shares: work is done at once, and a fan-out is one piece."""

import runpy
import sys

from gateway.core import slices
from gateway.engine import connections
from gateway.engine.fair_share import FairShare


class Unshared(FairShare):
    """Shares without a bound."""

    free = True

    def take(self, tenant: str, cost: int) -> bool:
        return True

    def charge(self, cost: int) -> None:
        """No budget."""


if __name__ == "__main__":
    connections.FairShare = Unshared  # type: ignore[attr-defined]
    slices.SLICE_COST = slices.ALONE_SLICE_COST = sys.maxsize  # type: ignore[misc]
    sys.argv = ["gateway", "serve"]
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)
