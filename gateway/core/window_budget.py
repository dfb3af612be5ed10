"""The bound on the bytes of all tenants' windows and state together."""

from typing import Final

from gateway.core.window import Window

KEPT_SHARE: Final = 7 / 8
"""The fraction of the bound that windows are trimmed to once they exceed it."""


def size_of(window: Window) -> int:
    """The bytes of a window's entries and of its items; those of an item that is in both count twice."""
    return window.bytes + window.items.bytes


class WindowBudget:
    """Keeps all windows together within `max_bytes` (0: no bound): those of the least recently used tenants are trimmed
    first, each before its state, which their clients get reported as for any trimmed window.

    Memory is O(windows with entries or items). `use` and `add` are O(1); trimming is O(windows log windows) besides
    what is dropped, once for each eighth of the bound that was appended.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._uses = 0
        self._used: dict[Window, int] = {}

    def use(self, window: Window) -> None:
        """Note that a window is read or appended to."""
        self._uses += 1
        self._used[window] = self._uses

    def add(self, window: Window, before: int) -> int:
        """Note that a window was appended to, which had `before` bytes. Returns the number of windows that were trimmed
        for the bound."""
        self.use(window)
        self.bytes += size_of(window) - before
        return self._trim() if 0 < self._max_bytes < self.bytes else 0

    def measure(self) -> None:
        """Count the bytes again, after the windows dropped what was too old."""
        self._used = {window: used for window, used in self._used.items() if size_of(window)}
        self.bytes = sum(map(size_of, self._used))

    def _trim(self) -> int:
        wanted = int(self._max_bytes * KEPT_SHARE)
        trimmed = 0
        for window in sorted(self._used, key=self._used.__getitem__):
            before = size_of(window)
            _shrink(window, before - (self.bytes - wanted))
            self.bytes -= before - size_of(window)
            trimmed += 1
            if self.bytes <= wanted:
                break
        return trimmed


def _shrink(window: Window, max_bytes: int) -> None:
    """Drop the oldest entries, then the items whose change is the oldest, until the others have at most `max_bytes`."""
    window.items.measure()
    window.shrink(max_bytes - window.items.bytes)
    over, newest = size_of(window) - max_bytes, 0
    for item in window.items:
        if over <= 0:
            break
        over, newest = over - item.size, item.newest
    window.evict_before(newest + 1)
