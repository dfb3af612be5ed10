"""The embedded log: every tenant's window in this process, gone with it."""

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

from gateway.core.cursor import EPOCH_BYTES, Cursors
from gateway.core.frame import Frame
from gateway.core.idempotency import IdempotencyWindow
from gateway.core.log import Draft, LogListener, LogSize, Receipt, payload_of
from gateway.core.window import Bounds, Entry, Window

JUMP_SECONDS: Final = 1.0
"""By which the clock may differ from the timer between two looks and still not have been set."""


class MemoryLog:
    """A `Log` for one node. Its epoch is as old as the object: a restart is a reset, and clients are told so.

    `cursor_keys` (16 to 64 bytes each, newest first) must outlive the process, or the cursors of an earlier one are
    refused as invalid where they should be answered with `log_reset`. `clock` is seconds since the epoch, `timer`
    seconds of a clock that never goes back.
    """

    def __init__(
        self,
        cursor_keys: tuple[bytes, ...],
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cursor_keys = cursor_keys
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._timer = timer
        self._ahead = clock() - timer()
        self._epoch = secrets.token_bytes(EPOCH_BYTES)
        self._tenants: dict[str, tuple[Window, IdempotencyWindow]] = {}
        self._listener: LogListener | None = None

    @property
    def ready(self) -> bool:
        return True

    def attach(self, listener: LogListener) -> None:
        """It is never reset and never degraded: it lives and dies with its gateway."""
        self._listener = listener

    async def start(self) -> None:
        """There is nothing to begin."""

    async def stop(self) -> None:
        """There is nothing to let go of."""

    def follow(self, tenant: str, since: str | None = None) -> None:
        """Every window is up to date."""

    def release(self, tenant: str) -> None:
        """The window is the log itself, and stays."""

    async def append(self, tenant: str, draft: Draft) -> Receipt:
        window, keys = self._tenant(tenant)
        offset, now = window.head + 1, self._now()
        if draft.key is not None:
            known = keys.claim(draft.key, draft.body, offset, now, self._timer())
            if known is not None:
                return Receipt(window.cursors.encode(self._epoch, known.offset), duplicate=True, at=known.at)
        event_id = window.cursors.encode(self._epoch, offset)
        frame = Frame(payload_of(draft.body, event_id, draft.timestamp))
        entry = Entry(offset, event_id, draft.rooms, frame, now, draft.removal)
        window.append(entry)
        if self._listener is not None:
            self._listener.on_entry(tenant, entry)
        return Receipt(event_id, duplicate=False, at=now)

    def appended(self, tenant: str) -> int:
        found = self._tenants.get(tenant)
        return found[0].head if found else 0

    def tenants(self) -> Iterable[str]:
        return [tenant for tenant, (window, _) in self._tenants.items() if window.head]

    async def size(self, tenant: str) -> LogSize:
        found = self._tenants.get(tenant)
        return LogSize(len(found[0]), found[0].bytes) if found else LogSize(0, 0)

    def window(self, tenant: str) -> Window:
        return self._tenant(tenant)[0]

    def staleness(self, tenant: str) -> float:
        """The window is the log itself."""
        return 0.0

    def sweep(self) -> None:
        now, elapsed = self._now(), self._timer()
        for window, keys in self._tenants.values():
            window.sweep(now)
            keys.sweep(elapsed)

    def _now(self) -> float:
        """By the clock; where that was set, what is kept is as old as before."""
        now = self._clock()
        ahead = now - self._timer()
        if abs(ahead - self._ahead) > JUMP_SECONDS:
            for window, _ in self._tenants.values():
                window.redate(ahead - self._ahead)
        self._ahead = ahead
        return now

    def _tenant(self, tenant: str) -> tuple[Window, IdempotencyWindow]:
        # Kept for as long as the process: dropping an idle tenant would hand out its offsets a second time.
        found = self._tenants.get(tenant)
        if found is None:
            window = Window(self._epoch, Cursors(self._cursor_keys, tenant), self._bounds)
            found = self._tenants[tenant] = (window, IdempotencyWindow())
        return found
