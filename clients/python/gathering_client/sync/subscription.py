"""Subscriptions as iterators."""

import threading
import time
from collections.abc import Callable
from ssl import SSLContext
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as dial

from gathering_client.actions import Close, GetToken, Load, Notify, Open, Read, Send, Wait
from gathering_client.dialing import close_of, options, reason_of, status_of
from gathering_client.errors import GatewayError
from gathering_client.events import Cursor
from gathering_client.freshness import Freshness
from gathering_client.items import Items
from gathering_client.log import OnState, report
from gathering_client.stream import Stream

T = TypeVar("T")
TokenFunction = Callable[[], str]


def token_of(token: str | TokenFunction) -> str:
    return token() if callable(token) else token


class Subscription(Generic[T]):
    """An iterator over the items of a stream, with its own connection, which iterating drives: there is no task and no
    queue.

    Iterating connects, and reconnects after a disconnect. After a `break`, a new loop continues after the last item.
    """

    def __init__(
        self,
        stream: Stream,
        ssl: SSLContext | None,
        keepalive: float,
        token: str | TokenFunction,
        load: Callable[[Cursor], Any] | None,
        on_state: OnState | None,
        on_closed: Callable[["Subscription[Any]"], object],
    ) -> None:
        self._stream = stream
        self._ssl = ssl
        self._keepalive = keepalive
        self._token = token
        self._load = load
        self._on_state = on_state
        self._on_closed = on_closed
        self._websocket: ClientConnection | None = None
        self._ended = threading.Event()

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def cursor(self) -> Cursor | None:
        """The position after the last item; see `gathering_client.Subscription.cursor`."""
        return self._stream.cursor

    @property
    def freshness(self) -> Freshness:
        return self._stream.freshness(time.monotonic())

    def close(self) -> None:
        """Close it, from any thread."""
        self._ended.set()
        self._disconnect()
        self._on_closed(self)

    def _disconnect(self) -> None:
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            websocket.close()

    def __next__(self) -> T:
        while not self._ended.is_set():
            try:
                action = self._stream.next_action(time.monotonic())
            except GatewayError:
                self.close()
                raise
            match action:
                case Read(timeout):
                    self._read(timeout)
                case Send(text):
                    self._send(text)
                case Open(url, token):
                    self._open(url, token)
                case GetToken():
                    self._get_token()
                case Load(cursor):
                    self._stream.loaded(self._load(cursor) if self._load else None, cursor)
                case Close():
                    self._disconnect()
                case Wait(seconds):
                    self._ended.wait(seconds)
                case Notify(change):
                    report(change, self._stream.url, self._on_state)
                case _:
                    return cast(T, action.item)
        self._disconnect()  # from an attempt that was under way
        raise StopIteration

    def _open(self, url: str, token: str) -> None:
        try:
            # Entered, since websockets 17 requires it; `close` does what leaving the context would do.
            self._websocket = dial(url, **options(token, self._ssl, self._keepalive)).__enter__()
        except (OSError, WebSocketException, TimeoutError) as error:
            self._stream.failed(reason_of(error), time.monotonic(), status_of(error))
        else:
            self._stream.opened(time.monotonic())

    def _read(self, timeout: float | None) -> None:
        websocket = self._websocket
        if websocket is None:  # closed by another thread
            self._stream.closed(None, "", time.monotonic())
            return
        try:
            text = websocket.recv(timeout)
        except TimeoutError:
            self._stream.timed_out(time.monotonic())
        except ConnectionClosed as error:
            self._stream.closed(*close_of(error), time.monotonic())
        else:
            self._stream.received(text, time.monotonic())

    def _send(self, text: str) -> None:
        if self._websocket is not None:
            try:
                self._websocket.send(text)
            except ConnectionClosed:
                return  # the next read reports it

    def _get_token(self) -> None:
        try:
            self._stream.token(token_of(self._token))
        except Exception as error:
            self._stream.token_failed(error, time.monotonic())


class ItemsSubscription:
    """An iterator over `Items`: the same view after each change, while it is complete."""

    def __init__(self, subscription: Subscription[Any]) -> None:
        self._subscription = subscription
        self._items = Items()

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def freshness(self) -> Freshness:
        return self._subscription.freshness

    def close(self) -> None:
        self._subscription.close()

    def __next__(self) -> Items:
        while not self._items.take(next(self._subscription)):
            pass
        return self._items
