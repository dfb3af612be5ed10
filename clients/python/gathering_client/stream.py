"""The state machine of a subscription over all its connections, without any I/O.

A driver performs the actions of `next_action` and reports their results; `gathering_client.actions` has the table. Once
the subscription has ended, `next_action` raises the error. Times are seconds of a monotonic clock.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gathering_client.actions import Action, GetToken, Load, Notify, Read, Send, StateChange, Yield
from gathering_client.codes import Retry, retry_after_error
from gathering_client.connector import Connector
from gathering_client.errors import Refused, RoomsRevoked, TokenRefused
from gathering_client.events import Cursor, Event, Gap, Mark, Snapshot
from gathering_client.freshness import Freshness, FreshnessTracker
from gathering_client.position import MARKS, StreamPosition
from gathering_client.selection import Selection
from gathering_client.session import AUTH_ID

RELOAD_SPREAD: Final = 3.0
"""Jitter in seconds before the state is loaded after a gap, since many clients may have the same gap."""


class Stream(Connector):
    """One subscription: what its frames mean. With `marks` the end of every replay is yielded as a `Mark`.

    The items of a frame are yielded before the next frame is read, so nothing is buffered: a slow application exerts
    backpressure on the socket, and the gateway keeps its position in the log.
    """

    def __init__(
        self,
        url: str,
        selection: Selection,
        token: str | None,
        chance: Callable[[], float],
        *,
        marks: bool = False,
        patient: bool = True,
    ) -> None:
        super().__init__(url, token, chance, selection.since, patient)
        self._selection = selection
        self._position = StreamPosition(selection.since, selection.state, selection.history)
        self._chance = chance
        self._loaded = False
        self._marks = marks
        self._early: list[Mapping[str, Any]] = []
        self._subscribed = False
        self._freshness = FreshnessTracker()
        self._do(Notify(StateChange("connecting")))

    @property
    def _reached(self) -> str | None:
        return self._position.since if self._loaded or not self._selection.loads else None

    def _query(self) -> str:
        return self._selection.query(self._position.query(), with_rooms=not self._position.history)

    def _connected_action(self, now: float) -> Action:
        if not self._subscribed:
            return Read(max(0.0, self._deadline - now))
        if self._selection.loads and not self._loaded and self._position.since is not None:
            return Load(Cursor(self._position.since))
        return Read(None)

    def _forget(self) -> None:
        self._subscribed = self._freshness.degraded = False
        self._early.clear()

    def freshness(self, now: float) -> Freshness:
        return self._freshness.at(now, self._subscribed)

    # ---- reports

    def loaded(self, value: object, cursor: Cursor) -> None:
        """Yield the application's state; the events after `cursor` follow."""
        self._loaded = True
        self._do(Yield(Snapshot(value, cursor)))

    def received(self, text: str | bytes, now: float) -> None:
        """Handle a frame."""
        try:
            frame = json.loads(text)
            if "event_id" in frame:
                self._on_event(frame)
            else:
                self._on_control(frame["type"], frame["data"], frame, now)
        except (ValueError, KeyError, TypeError, AttributeError):
            # Skipping it would be a silent gap.
            self._lost("unreadable frame", None, now)

    # ---- frames

    def _on_event(self, frame: Mapping[str, Any]) -> None:
        if not self._subscribed:  # from the user's own room, and later than the replay
            self._early.append(frame)
            return
        event = Event.of(frame)
        replaying = self._position.replaying
        self._position.event(event.id)
        self._do(Yield(event) if self._selection.includes(event) else None)
        self._caught_up(replaying)

    def _on_control(self, kind: str, data: Mapping[str, Any], frame: Mapping[str, Any], now: float) -> None:
        if kind == "connection.established":
            self._session.established(data["expires_at"], frame["timestamp"], now)
            self._backoff.established(now)
            if self._position.history:
                self._do(Send(self._selection.history_command(self._position.history)))
            self._position.established(data["cursor"])
        elif kind == "subscribed":
            self._on_subscribed(data, now)
        elif kind in MARKS:
            self._on_mark(kind, data, now)
        elif kind == "token.expiring":
            if self._session.refreshable:
                self._do(GetToken(renew=True))
        elif kind == "authenticated":
            self._session.renewed(data["expires_at"], frame["timestamp"], now)
            self._on_rooms_lost(data["dropped"], "the fresh token does not grant them")
        elif kind == "subscription.revoked":
            self._on_rooms_lost(data["rooms"], data["reason"])
        elif kind in ("stream.degraded", "stream.restored"):
            self._freshness.degraded = kind == "stream.degraded"
        elif kind == "error":
            self._on_error(data, frame.get("id"), now)

    def _on_subscribed(self, data: Mapping[str, Any], now: float) -> None:
        recovered = data["recovered"]
        replaying = self._position.replaying
        self._subscribed = True
        self._position.subscribed(data)
        self._do(Notify(StateChange("live", recovered=recovered)))
        if recovered is False:
            self._gap("not_recovered", now)
        elif data.get("complete") is False:
            self._on_state_incomplete(now)
        self._caught_up(replaying)

    def _on_mark(self, kind: str, data: Mapping[str, Any], now: float) -> None:
        replaying = self._position.replaying
        if self._subscribed and data.get("cursor") is not None:
            self._position.mark(data["cursor"])
        if data.get("as_of") is not None:
            self._freshness.mark(data["as_of"], now)
        if kind == "server.draining":
            self._backoff.slot(now + data["reconnect_after_ms"] / 1000)
        if kind == "stream.gap":
            self._gap(data["reason"], now)
        else:
            self._do(None)
            self._caught_up(replaying)

    def _on_rooms_lost(self, rooms: Sequence[str], reason: str) -> None:
        if lost := self._selection.among(rooms):
            self._fail(RoomsRevoked("room_forbidden", reason, lost))

    def _on_error(self, data: Mapping[str, Any], id: object, now: float) -> None:
        code = data["code"]
        rule = retry_after_error(code)
        if id == AUTH_ID:
            self._session.renewal_refused()
        elif rule is Retry.BACKOFF:
            self._backoff.not_before(now + data.get("retry_after", 0.0))  # a close follows
        elif rule is Retry.WITHOUT_CURSOR and self._position.since is not None:
            self._on_cursor_refused(now)
        elif rule is not Retry.FRESH_TOKEN:  # also followed by a close
            kind = TokenRefused if code == "token_revoked" else Refused
            self._fail(kind(code, data["message"], data.get("rooms", ()), data.get("retry_after")))

    # ---- losses

    def _on_cursor_refused(self, now: float) -> None:
        """Handle a cursor of another log or other keys: earlier events are lost, and the rooms were not joined."""
        self._position.from_head()
        self._gap("cursor_invalid", now)
        if self._connected:
            self._lost("the gateway does not know the cursor", None, now)

    def _on_state_incomplete(self, now: float) -> None:
        """Report that items of the state were trimmed. A resumed stream would lack their changes; a new one begins with
        all items that are left."""
        if self._position.resuming:
            self._gap("state_incomplete", now)
        else:
            self._do(Yield(Gap("state_incomplete", None)))

    def _gap(self, reason: str, now: float) -> None:
        """Report a gap. With a loader or with state, start over on a new connection: the loaded state contains the
        events that this connection still owes."""
        if not self._selection.loads:
            self._do(Yield(Gap(reason, None if self._selection.state else self._here)))
        if self._selection.starts_over:
            self._loaded = False
            self._position.restart()
            self._reconnect(f"events were lost: {reason}", None, self._chance() * RELOAD_SPREAD, now)

    @property
    def _here(self) -> Cursor | None:
        return None if self._position.since is None else Cursor(self._position.since)

    # ---- the end of a replay

    def _caught_up(self, replaying: bool) -> None:
        """After the last frame of a replay: handle the events that were held back, and yield the mark."""
        if replaying and self._connected and not self._position.replaying:
            early, self._early = self._early, []
            for frame in early:
                self._on_event(frame)
            if self._marks:
                self._do(Yield(Mark(self._freshness.as_of)))
