"""The line to a client: its rate and round-trip time, and what the kernel buffers for it.

Buffered bytes become stale. So on a slow line the buffer is limited to what the line carries in half a second; on a
fast line its size does not matter; a long line needs a larger one (its bandwidth-delay product).
"""

from typing import Final, NamedTuple

from gateway.transports.uvicorn.sockets import UNSENT_BYTES

BLOCKED_SECONDS: Final = 0.05
"""Seconds for which a live connection may have bytes buffered in this process; then it falls behind, and gets the
newest value of what it watches in place of all of them."""

MIN_UNSENT: Final = 2 * 1024
MAX_UNSENT: Final = 128 * 1024
"""Unsent bytes that the kernel buffers for a client on a slow line, and for one on a fast line."""

MIN_OUTSTANDING: Final = 4 * 1024
MAX_OUTSTANDING: Final = 32 * 1024
"""Bounds of the bytes that are unsent or not acknowledged on a slow line; without a bound they fill the queues of its
routers (bufferbloat). Above the maximum there is no bound."""

FORGET_SECONDS: Final = 60.0
"""Seconds without a waiting byte after which a slow line counts as new: its client may only have paused."""

_OUTSTANDING_SECONDS: Final = 0.5

_SLOW_START: Final = 3
"""Round trips in which TCP sends a burst of 100 kB: its window is 14 kB at first, and after a pause again (RFC 6928,
RFC 5681 section 4.1)."""


class Line(NamedTuple):
    """A line as of the last time that bytes waited for it; `NEW_LINE` before. `rate` is in bytes a second, `rtt` in
    seconds; `unsent` is the limit of bytes that the kernel has not sent, `outstanding` that of all that it keeps."""

    rate: float = 0.0
    rtt: float = 0.0
    unsent: int = UNSENT_BYTES
    outstanding: int | None = None

    @property
    def slow(self) -> bool:
        return self.unsent == MIN_UNSENT

    def too_late(self, waited: float, waiting: int) -> bool:
        """Whether `waiting` bytes, the first of which have `waited` so many seconds, will be sent too late."""
        patience = BLOCKED_SECONDS + _SLOW_START * self.rtt
        return waited >= patience or (waited >= BLOCKED_SECONDS and waiting > self.rate * patience)

    def narrowed(self) -> "Line":
        """The line of a client that falls behind: what the kernel buffers from now on is catch-up."""
        return self._replace(unsent=MIN_UNSENT)

    def measured(self, sent: int, seconds: float, rtt: float) -> "Line":
        """The line after it has carried `sent` bytes in so many seconds, while more waited. The limits fall at once and
        rise step by step, since acknowledgments come in bursts."""
        rate = sent / max(seconds, 0.001)
        unsent = min(max(int(rate * (BLOCKED_SECONDS + rtt / 4)), MIN_UNSENT), 2 * self.unsent, MAX_UNSENT)
        outstanding = max(int(rate * (_OUTSTANDING_SECONDS + 2 * rtt)), MIN_OUTSTANDING)
        if self.outstanding is not None:
            outstanding = min(outstanding, 2 * self.outstanding)
        return Line(rate, rtt, unsent, outstanding if outstanding < MAX_OUTSTANDING else None)


NEW_LINE: Final = Line()
