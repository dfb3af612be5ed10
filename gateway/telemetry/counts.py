"""Counts of refusals, closes and gaps in this process, by reason; of the suppressed log lines too.

The numbers of values are bounded: codes of the protocol, and words of the gateway's own.
"""

from collections import Counter
from typing import Final

refused_connects: Final[Counter[str]] = Counter()
"""Clients that were not admitted, by error code, or by the reason of an HTTP error."""

refusals: Final[Counter[str]] = Counter()
"""Refused requests, commands and connections, by error code."""

closes: Final[Counter[str]] = Counter()
"""Connections that the gateway closed, by close code; 1006 where none was sent."""

gaps: Final[Counter[str]] = Counter()
"""Notifications that events are missing, by reason."""


def count_close(code: int | None) -> None:
    closes[str(int(code or 1006))] += 1
