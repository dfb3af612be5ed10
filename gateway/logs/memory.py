"""The in-memory log: every tenant's window, lost with the process."""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.core.cursor import EPOCH_BYTES, Cursors
from gateway.core.frame import Frame
from gateway.core.idempotency import IdempotencyWindow
from gateway.core.items import ItemTooLarge
from gateway.core.log import Draft, LogListener, LogSize, Receipt, payload_of
from gateway.core.window import Bounds, Entry, Window
from gateway.core.window_budget import WindowBudget, size_of

logger = logging.getLogger("gateway.log")

JUMP_SECONDS: Final = 1.0
"""The difference of clock and timer, between two reads, above which the clock was set."""


class MemoryLog:
    """A `Log` for one node. Its epoch is as old as the object: a restart is a reset.

    `cursor_keys` (16 to 64 bytes each, newest first) must outlive the process, or cursors of an earlier one are refused
    as invalid instead of answered with `log_reset`. All windows and state together have at most `max_total_bytes` (0:
    no bound): those of the least recently used tenants are trimmed first. `tenant_bounds` are overrides by tenant,
    in place of `bounds`. `clock` is seconds since the epoch, `timer` seconds of a monotonic clock.
    """

    def __init__(
        self,
        cursor_keys: tuple[bytes, ...],
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        max_total_bytes: int = 0,
        tenant_bounds: Mapping[str, Bounds] | None = None,
    ) -> None:
        self._cursor_keys = cursor_keys
        self._bounds = bounds or Bounds()
        self._tenant_bounds = tenant_bounds or {}
        self._clock = clock
        self._timer = timer
        self._ahead = clock() - timer()
        self._epoch = secrets.token_bytes(EPOCH_BYTES)
        self._tenants: dict[str, tuple[Window, IdempotencyWindow]] = {}
        self._appended_to: list[str] = []  # kept, since a look at each window takes 0.3 us
        self._budget = WindowBudget(max_total_bytes)
        self._listener: LogListener | None = None

    @property
    def ready(self) -> bool:
        return True

    def attach(self, listener: LogListener) -> None:
        """Set the listener; it is never called with a reset or a degradation."""
        self._listener = listener

    async def start(self) -> None:
        """No-op."""

    async def stop(self) -> None:
        """No-op."""

    def follow(self, tenant: str, since: str | None = None) -> None:
        """Note that the window is read; it is current."""
        if (found := self._tenants.get(tenant)) is not None and size_of(found[0]):
            self._budget.use(found[0])

    def release(self, tenant: str) -> None:
        """No-op: the window is the log."""

    async def append(self, tenant: str, draft: Draft) -> Receipt:
        window, keys = self._tenant(tenant)
        offset, now = window.head + 1, self._now()
        if draft.key is not None:
            known = keys.claim(draft.key, draft.body, offset, now, self._timer())
            if known is not None:
                return Receipt(window.cursors.encode(self._epoch, known.offset), duplicate=True, at=known.at)
        if draft.change is not None and draft.change.op == "append":
            try:
                window.items.require_room(draft.rooms, draft.change, draft.body)
            except ItemTooLarge:
                if draft.key is not None:
                    keys.release(draft.key)
                raise
        event_id = window.cursors.encode(self._epoch, offset)
        frame = Frame(payload_of(draft.body, event_id, draft.timestamp, draft.traceparent), event_id)
        entry = Entry(offset, event_id, draft.rooms, frame, now, draft.removal, draft.change)
        before = size_of(window)
        window.append(entry)
        if offset == 1:
            self._appended_to.append(tenant)
        if self._listener is not None:
            self._listener.on_entry(tenant, entry)
        if trimmed := self._budget.add(window, before):
            logger.warning("GATEWAY_LOG_MAX_TOTAL_BYTES is reached: the logs of %d tenants were trimmed", trimmed)
        return Receipt(event_id, duplicate=False, at=now)

    def appended(self, tenant: str) -> int:
        found = self._tenants.get(tenant)
        return found[0].head if found else 0

    def tenants(self) -> Iterable[str]:
        return self._appended_to

    async def size(self, tenant: str) -> LogSize:
        found = self._tenants.get(tenant)
        return LogSize(len(found[0]), found[0].bytes) if found else LogSize(0, 0)

    def window(self, tenant: str) -> Window:
        return self._tenant(tenant)[0]

    def windows(self) -> Iterable[Window]:
        return [window for window, _ in self._tenants.values()]

    def staleness(self, tenant: str) -> float:
        """The window is the log itself."""
        return 0.0

    def sweep(self) -> None:
        now, elapsed = self._now(), self._timer()
        for window, keys in self._tenants.values():
            window.sweep(now)
            keys.sweep(elapsed)
        self._budget.measure()

    def _now(self) -> float:
        """The time of the clock; where the clock was set, the entries keep their age."""
        now = self._clock()
        ahead = now - self._timer()
        if abs(ahead - self._ahead) > JUMP_SECONDS:
            for window, _ in self._tenants.values():
                window.shift_times(ahead - self._ahead)
        self._ahead = ahead
        return now

    def _tenant(self, tenant: str) -> tuple[Window, IdempotencyWindow]:
        # Never dropped: a new window would issue the tenant's offsets a second time.
        found = self._tenants.get(tenant)
        if found is None:
            bounds = self._tenant_bounds.get(tenant, self._bounds)
            window = Window(self._epoch, Cursors(self._cursor_keys, tenant), bounds)
            found = self._tenants[tenant] = (window, IdempotencyWindow())
        return found
