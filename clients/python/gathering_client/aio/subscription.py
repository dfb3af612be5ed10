"""Subscriptions as asynchronous iterators."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ssl import SSLContext
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from gathering_client.actions import Close, GetToken, Load, Notify, Open, Read, Send, Wait
from gathering_client.dialing import AsyncDial, close_of, options, reason_of, status_of
from gathering_client.errors import GatewayError
from gathering_client.events import Cursor
from gathering_client.freshness import Freshness
from gathering_client.items import Items
from gathering_client.log import OnState, report
from gathering_client.stream import Stream

T = TypeVar("T")
TokenFunction = Callable[[], str | Awaitable[str]]


async def token_of(token: str | TokenFunction) -> str:
    value = token() if callable(token) else token
    return await value if inspect.isawaitable(value) else value


class Subscription(Generic[T]):
    """An asynchronous iterator over the items of a stream, with its own connection, which iterating drives: there is no
    task and no queue. A slow reader is caught up from the gateway's log.

    Iterating connects, and reconnects after a disconnect. It can be cancelled at any time (such as by a timeout around
    `anext`) and continued. Close it, or use `async with`, to end it before its client.
    """

    def __init__(
        self,
        stream: Stream,
        ssl: SSLContext | None,
        keepalive: float,
        token: str | TokenFunction,
        load: Callable[[Cursor], Awaitable[Any]] | None,
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
        self._ended = asyncio.Event()
        self._reading = False

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def cursor(self) -> Cursor | None:
        """The position after the last item, including the marks after it: store it once you have handled the item, and
        pass it as `since` next time. None before a snapshot or the state was received."""
        return self._stream.cursor

    @property
    def freshness(self) -> Freshness:
        """The freshness of the stream, as of the last frame that was read."""
        return self._stream.freshness(time.monotonic())

    async def close(self) -> None:
        self._ended.set()
        self._on_closed(self)
        await self._disconnect()

    async def _disconnect(self) -> None:
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            await websocket.close()

    async def __anext__(self) -> T:
        if self._reading:
            raise RuntimeError("another task iterates this subscription: open one for each task")
        self._reading = True
        try:
            return await self._next()
        finally:
            self._reading = False

    async def _next(self) -> T:
        while not self._ended.is_set():
            try:
                action = self._stream.next_action(time.monotonic())
            except GatewayError:
                await self.close()
                raise
            match action:
                case Read(timeout):
                    await self._read(timeout)
                case Send(text):
                    await self._send(text)
                case Open(url, token):
                    await self._open(url, token)
                case GetToken():
                    await self._get_token()
                case Load(cursor):
                    self._stream.loaded(await self._load(cursor) if self._load else None, cursor)
                case Close():
                    await self._disconnect()
                case Wait(seconds):
                    await self._wait(seconds)
                case Notify(change):
                    report(change, self._stream.url, self._on_state)
                case _:
                    return cast(T, action.item)
        await self._disconnect()  # from an attempt that was under way
        raise StopAsyncIteration

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _open(self, url: str, token: str) -> None:
        try:
            self._websocket = await AsyncDial(url, **options(token, self._ssl, self._keepalive))
        except (OSError, WebSocketException, TimeoutError) as error:
            self._stream.failed(reason_of(error), time.monotonic(), status_of(error))
        else:
            self._stream.opened(time.monotonic())

    async def _read(self, timeout: float | None) -> None:
        websocket = self._websocket
        if websocket is None:  # closed by another task
            self._stream.closed(None, "", time.monotonic())
            return
        try:
            async with asyncio.timeout(timeout):
                text = await websocket.recv()
        except TimeoutError:
            self._stream.timed_out(time.monotonic())
        except ConnectionClosed as error:
            self._stream.closed(*close_of(error), time.monotonic())
        else:
            self._stream.received(text, time.monotonic())

    async def _send(self, text: str) -> None:
        if self._websocket is not None:
            try:
                await self._websocket.send(text)
            except ConnectionClosed:
                return  # the next read reports it

    async def _get_token(self) -> None:
        try:
            self._stream.token(await token_of(self._token))
        except Exception as error:
            self._stream.token_failed(error, time.monotonic())


class ItemsSubscription:
    """An asynchronous iterator over `Items`: the same view after each change, while it is complete."""

    def __init__(self, subscription: Subscription[Any]) -> None:
        self._subscription = subscription
        self._items = Items()

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def freshness(self) -> Freshness:
        return self._subscription.freshness

    async def close(self) -> None:
        await self._subscription.close()

    async def __anext__(self) -> Items:
        while not self._items.take(await anext(self._subscription)):
            pass
        return self._items
