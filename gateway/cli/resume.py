"""Resume after a lost connection, sans I/O: the cursor to continue from and the reconnect delay."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.cli.errors import ClientError
from schemas.codes import ERROR_RULES, Retry, retry_after_close

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 20.0
"""Bounds of the backoff, in seconds; it doubles in between."""

_STABLE: Final = 10.0
"""Seconds after which a connection resets the backoff."""

_MARKS: Final = frozenset({"stream.mark", "stream.gap", "pong", "server.draining"})
"""Frames whose `cursor` says that all before it was given to this connection, or given up."""


class Resume:
    """The resume state of a client that requests all its rooms when it connects, across its connections.

    `since` is the cursor to connect with. Rooms and replay requested in the URL make one stream in log order, so that
    the last event is the position, also during a replay. `gaps` counts losses of events; `answered` is False until a
    gateway has answered. Times are seconds of any one clock; `chance` returns 0 to 1.
    """

    def __init__(self, since: str | None, chance: Callable[[], float] = random.random) -> None:
        self.since = since
        self.gaps = 0
        self.answered = False
        self._given = since
        self._chance = chance
        self._head: str | None = None
        self._attempt = 0
        self._established: float | None = None
        self._not_before = 0.0
        self._slot: float | None = None

    def receive(self, frame: Mapping[str, Any], now: float) -> bool:
        """Process a frame, an event after it was handled; returns False where the connection must be replaced. Raises
        `ClientError` for a final error."""
        self.answered = True
        if "event_id" in frame:
            self.since = frame["event_id"]
            return True
        kind, data = frame["type"], frame["data"]
        if kind == "error":
            return self._error(data, now)
        if kind == "connection.established":
            self._established = now
            self._head = data["cursor"]
            if self.since is None:
                self.since = self._head
        elif kind == "subscribed":
            self._given = None
            self.gaps += data["recovered"] is False
            # The head, if nothing is replayed: so the cursor advances for quiet rooms too.
            if data["recovered"] is not None and not data["replayed"]:
                self.since = data["cursor"]
        elif kind in _MARKS:
            self.gaps += kind == "stream.gap"
            self.since = data.get("cursor", self.since)
            if kind == "server.draining":
                self._slot = now + data["reconnect_after_ms"] / 1000
        return True

    def closed(self, code: int, reason: str, now: float) -> float:
        """Process the end of a connection or attempt (1006: no close frame); returns the seconds to wait. Raises
        `ClientError` where a reconnect with the same token would not help."""
        if retry_after_close(code, reason) not in (Retry.BACKOFF, Retry.SLOT):
            raise ClientError(f"closed: {reason} ({code})")
        if self._established is not None and now - self._established >= _STABLE:
            self._attempt = 0
        pause = self._chance() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._attempt)
        wait = max(0.0, self._not_before - now) + pause if self._slot is None else max(0.0, self._slot - now)
        self._attempt += 1
        self._established = self._slot = None
        self._not_before = 0.0
        return wait

    def _error(self, data: Mapping[str, Any], now: float) -> bool:
        rule = ERROR_RULES.get(data["code"])
        if rule is not None and rule.retry is Retry.BACKOFF:
            self._not_before = now + data.get("retry_after", 0.0)
            return True  # a close follows, with the rule for retrying
        if rule is not None and rule.retry is Retry.WITHOUT_CURSOR and self.since != self._given:
            # The cursor is from another gateway, log or key.
            self.gaps += 1
            self.since = self._head
            return False
        raise ClientError(f"{data['code']}: {data['message']}")
