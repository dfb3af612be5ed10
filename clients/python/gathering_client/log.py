"""Reports of connection changes to the application and to the logger `gathering_client`."""

import logging
from collections.abc import Callable
from typing import Final

from gathering_client.actions import StateChange

logger: Final = logging.getLogger("gathering_client")

OnState = Callable[[StateChange], object]


def report(change: StateChange, url: str, on_state: OnState | None) -> None:
    """Log the change, and hand it to the application. A gateway that does not answer is a warning, which Python writes
    without configuration too: else a client with a wrong URL would wait in silence."""
    if change.state == "reconnecting":
        level = logging.INFO if change.code is not None else logging.WARNING
        logger.log(level, "%s: %s; connecting again in %.1f s", url, change.reason, change.retry_in)
    elif change.state == "closed":
        logger.info("%s: %s", url, change.reason)
    if on_state is not None:
        on_state(change)
