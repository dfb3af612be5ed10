"""Counts of refusals, closes and gaps in this process, by reason; of the suppressed log lines too.

The numbers of values are bounded: codes of the protocol, and words of the gateway's own.
"""

from collections import Counter
from typing import Final

refused_connects: Final[Counter[str]] = Counter()
"""Clients that were not admitted, by error code, or by the reason of an HTTP error."""

refusals: Final[Counter[str]] = Counter()
"""Refused requests, commands and connections, by error code."""

ABORTED: Final = 1006
"""The close code of a connection that ended without one (RFC 6455, section 7.1.5)."""

closes: Final[Counter[str]] = Counter()
"""Connections that the gateway closed, by close code; `ABORTED` where none was sent."""

gaps: Final[Counter[str]] = Counter()
"""Notifications that events are missing, by reason."""


def count_close(code: int | None) -> None:
    closes[str(int(code or ABORTED))] += 1
