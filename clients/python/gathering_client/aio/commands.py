"""Commands on a WebSocket of their own, from any number of tasks: replies must not wait behind the events of a slow
subscription."""

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode

from gathering_client.codes import Retry, retry_after_close
from gathering_client.dialing import AsyncDial, close_of, options, reason_of
from gathering_client.drafts import refusal
from gathering_client.errors import Closed, GatewayError, Refused, TokenRefused, Unreachable

REPLY_TIMEOUT: Final = 10.0


class CommandConnection:
    """A connection for commands. The first command opens it, and the first after a loss opens it again; `token` is
    awaited for each connection."""

    def __init__(self, url: str, ssl: SSLContext | None, token: Callable[[], Awaitable[str]]) -> None:
        self._url = url
        self._ssl = ssl
        self._token = token
        self._lock = asyncio.Lock()
        self._websocket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._pending: dict[int, tuple[asyncio.Future[dict[str, Any]], int]] = {}
        """By id: the reply, and the bytes of the command."""
        self._limit = math.inf
        """Bytes of one message, by the limits of the session."""
        self._numbers = itertools.count(1)

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command; returns the `data` of its reply. Raises `Refused`, `Closed` and `Unreachable`."""
        async with self._lock:
            websocket = self._websocket or await self._open()
        return await self._ask(websocket, type, fields)

    async def _ask(self, websocket: ClientConnection, type: str, fields: dict[str, Any]) -> dict[str, Any]:
        id = next(self._numbers)
        text = json.dumps({"type": type, "id": id, **fields}, allow_nan=False)
        size = len(text)  # ASCII
        if size > self._limit:
            raise _too_large()
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[id] = reply, size
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                with suppress(ConnectionClosed):  # the reading task sees it too, and fails the reply
                    await websocket.send(text)
                return await reply
        except TimeoutError:
            raise Unreachable("unreachable", f"no reply to {type}") from None
        finally:
            self._pending.pop(id, None)

    async def _open(self) -> ClientConnection:
        token = await self._token()
        try:
            websocket = await AsyncDial(self._url, **options(token, self._ssl))
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Unreachable("unreachable", reason_of(error)) from None
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                await self._established(websocket)
        except BaseException as error:
            await websocket.close()
            if isinstance(error, TimeoutError):
                raise Unreachable("unreachable", "no answer from the gateway") from None
            raise
        self._websocket = websocket
        self._reading = asyncio.create_task(self._read(websocket))
        return websocket

    async def _established(self, websocket: ClientConnection) -> None:
        """Read up to `connection.established`. Raises the reason of a refusal."""
        refused: Refused | None = None
        try:
            while (frame := json.loads(await websocket.recv()))["type"] != "connection.established":
                if frame["type"] == "error":
                    refused = refusal(frame["data"]["code"], frame["data"]["message"], frame["data"])
        except ConnectionClosed as error:
            raise _why(*close_of(error), refused) from None
        self._limit = frame["data"].get("limits", {}).get("message_bytes", math.inf)

    async def _read(self, websocket: ClientConnection) -> None:
        lost: GatewayError = Unreachable("unreachable", "the connection ended before the reply came")
        too_large: float = math.inf
        try:
            async for text in websocket:
                frame = json.loads(text)
                reply, _ = self._pending.get(frame.get("id"), (None, 0))
                if reply is None or reply.done():
                    continue
                if frame["type"] == "error":
                    reply.set_exception(refusal(frame["data"]["code"], frame["data"]["message"], frame["data"]))
                else:
                    reply.set_result(frame["data"])
        except ConnectionClosed as error:
            code, reason = close_of(error)
            lost = _why(code, reason, None)
            if code == CloseCode.MESSAGE_TOO_BIG:
                # It does not name the command that was too large; the largest one was too, then.
                too_large = max((size for _, size in self._pending.values()), default=math.inf)
        except (ValueError, KeyError, TypeError, AttributeError):
            # A reply may be among what cannot be read.
            lost = Unreachable("unreachable", "unreadable frame")
            await websocket.close()
        finally:
            self._websocket = None
            for reply, size in self._pending.values():
                if not reply.done():
                    reply.set_exception(_too_large() if size >= too_large else lost)

    async def close(self) -> None:
        websocket, reading = self._websocket, self._reading
        if websocket is not None:
            await websocket.close()
        if reading is not None:
            await reading


def _too_large() -> Refused:
    return Refused("message_too_large", "send a smaller message")


def _why(code: int | None, reason: str, refused: Refused | None) -> GatewayError:
    """The error of commands without a reply, by the close of their connection."""
    rule = Retry.BACKOFF if code is None else retry_after_close(code, reason)
    if code == 4401:
        return TokenRefused(reason or "token_invalid", "the gateway does not take the token")
    if code is not None and rule is Retry.NEVER:
        return Closed(code, reason)
    return refused or Unreachable("unreachable", reason or "the connection ended before the reply came")
