"""The connections of a subscription, one after another: tokens, attempts, delays, and the driver's queue of actions."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final

from gathering_client.actions import Action, Close, GetToken, Notify, Open, Send, StateChange, Wait
from gathering_client.backoff import Backoff
from gathering_client.codes import NO_CLOSE, Retry, retry_after_close
from gathering_client.errors import Closed, GatewayError, TokenRefused, Unreachable
from gathering_client.events import Cursor
from gathering_client.session import Session

OPEN_TIMEOUT: Final = 10.0
"""Seconds from the handshake to the `subscribed` frame."""


class Connector(ABC):
    """The base of `Stream`: tokens, attempts, backoff, and the queue of actions. `url` is the WebSocket's, without a
    query; `token` is None if the driver has a token function. With `patient` False, the first attempt must reach a
    gateway.

    `cursor` is the application's cursor, as of the last action that was taken. Times are seconds of a monotonic clock.
    """

    def __init__(
        self, url: str, token: str | None, chance: Callable[[], float], since: str | None, patient: bool
    ) -> None:
        self.url = url
        self.cursor = None if since is None else Cursor(since)
        self._session = Session(token)
        self._backoff = Backoff(chance)
        self._patient = patient
        self._actions: deque[tuple[Action | None, str | None]] = deque()
        self._connected = False
        self._deadline = self._due = 0.0
        self._end: GatewayError | None = None

    @property
    @abstractmethod
    def _reached(self) -> str | None:
        """The cursor of the application, once it has taken everything that is queued."""

    @abstractmethod
    def _query(self) -> str:
        """The query of the next connection's URL."""

    @abstractmethod
    def _connected_action(self, now: float) -> Action:
        """The next action for the open connection, once the queue is empty."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what was true of the connection that has ended."""

    # ---- actions

    def next_action(self, now: float) -> Action:
        """The next action. Raises the error that has ended the subscription."""
        while self._actions:
            action, cursor = self._actions.popleft()
            self.cursor = None if cursor is None else Cursor(cursor)
            if action is not None:
                return action
        if self._end is not None:
            raise self._end
        if self._connected:
            return self._connected_action(now)
        if now < self._due:
            return Wait(self._due - now)
        token = self._session.token(now)
        return GetToken(renew=False) if token is None else Open(f"{self.url}?{self._query()}", token)

    def _do(self, action: Action | None) -> None:
        """Queue an action, or None where only the application's cursor moves."""
        self._actions.append((action, self._reached))

    # ---- reports

    def token(self, text: object) -> None:
        """Use the token function's result, for the next connection or to renew this one's."""
        try:
            command = self._session.take(text, self._connected)
        except TokenRefused as error:
            self._fail(error)
        else:
            if command is not None:
                self._do(Send(command))

    def token_failed(self, error: Exception, now: float) -> None:
        """Handle an exception of the token function. An open connection continues with its token until that expires."""
        if isinstance(error, GatewayError):
            self._fail(error)
        elif not self._connected:
            self._lost(f"no token: {type(error).__name__}", None, now)

    def opened(self, now: float) -> None:
        self._connected = True
        self._deadline = now + OPEN_TIMEOUT

    def failed(self, reason: str, now: float, status: int | None = None) -> None:
        """Handle a WebSocket that could not be opened; `status` is the HTTP status, where there was a response."""
        final = status is not None and 400 <= status < 500 and status not in (408, 425, 429)
        if not self._session.answered and (final or not self._patient):
            self._fail(Unreachable("unreachable", f"no gateway at {self.url}: {reason}"))
        else:
            self._lost(reason, None, now)

    def timed_out(self, now: float) -> None:
        """Handle the timeout of a `Read`."""
        self._lost("no answer from the gateway", None, now)

    def closed(self, code: int | None, reason: str, now: float) -> None:
        """Handle the end of the WebSocket; `code` is None without a close frame."""
        code = NO_CLOSE if code is None else code
        rule = retry_after_close(code, reason)
        if rule is Retry.NEVER:
            self._fail(TokenRefused(reason, "log in again") if code == 4401 else Closed(code, reason))
        elif rule is Retry.FRESH_TOKEN and not self._session.refuse():
            self._fail(TokenRefused(reason, "the gateway does not take the token; get another one (its log says why)"))
        else:
            self._lost(reason or f"closed with {code}", code, now)

    # ---- the end of a connection

    def _lost(self, reason: str, code: int | None, now: float) -> None:
        self._reconnect(reason, code, self._backoff.lost(now), now)

    def _reconnect(self, reason: str, code: int | None, wait: float, now: float) -> None:
        self._drop()
        self._due = now + wait
        self._do(Notify(StateChange("reconnecting", reason, code, wait)))

    def _fail(self, error: GatewayError) -> None:
        self._drop()
        self._end = error
        self._do(Notify(StateChange("closed", str(error))))

    def _drop(self) -> None:
        if self._connected:
            self._do(Close())
        self._connected = False
        self._forget()
