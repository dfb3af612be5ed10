"""The seam of transports: the contract of what writes frames to one client."""

from typing import Final, Literal, Protocol

from gateway.core.frame import Batch

CLOSE_SECONDS: Final = 1.25
"""Seconds from `close` until unwritten data is dropped. A token's end is noticed up to half a second late, and a client
whose token has ended must get nothing more within 2 s."""

HIGH_WATER: Final = 256 * 1024
"""Bytes buffered in a transport before it counts as full (backpressure), at the latest; the kernel, or the server
below, buffers more."""


Kind = Literal["websocket", "sse"]


class Transport(Protocol):
    """Writes frames to one client. An implementation guarantees, and `gateway.testing` checks:

    - `write` never blocks and never raises, takes the whole batch, and keeps the order of the calls.
    - It returns False from the batch on that fills it, and calls `Host.on_writable` once when it has drained, never
      from within `write`; so it holds at most what fills it and one batch more. No other client waits for a stuck one.
    - After `close` the client receives what was written before, then the close code, and has `CLOSE_SECONDS` to take it
      all; after `abort` nothing is guaranteed. Both may be called twice, and a `write` after them does nothing.
    - At its end, by either side, `Host.on_transport_closed` is called, at least once. A client that reads nothing while
      data waits is aborted; one that reads slowly, or for which nothing waits, is not.
    """

    @property
    def fd(self) -> int | None:
        """The socket's descriptor while it may be written to directly (bypassing `write`). After a short write, pass
        `batch.rest(sent)` to `write` before anything else. None while data is buffered, after the end, and where frames
        leave in another form: compressed, encrypted, by a server."""

    @property
    def kind(self) -> Kind:
        """The protocol of its client. A `websocket` writes the frames of a batch, an `sse` its `event_stream`. Direct
        writes are the `wire` of a `Batch` for the former, of an `EventStreamBatch` for the latter."""

    @property
    def pings(self) -> bool:
        """Whether it sends WebSocket pings each `ping_interval` (keepalive), and aborts a client that answers none."""

    @property
    def unacknowledged(self) -> int | None:
        """Bytes that were written and that the client's system has not acknowledged, or more; None where that cannot be
        known, as under a server that owns the socket."""

    def write(self, batch: Batch) -> bool: ...

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...
