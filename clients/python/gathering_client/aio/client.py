"""The client of asyncio."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload
from urllib.parse import quote

from gathering_client.address import WEBSOCKET_PATH, Address
from gathering_client.aio.commands import CommandConnection
from gathering_client.aio.subscription import ItemsSubscription, Subscription, TokenFunction, token_of
from gathering_client.dialing import KEEPALIVE
from gathering_client.drafts import MAX_BATCH, Attempts, Draft, Receipt, draft_of, results_of
from gathering_client.errors import GatewayError, Refused, TokenRefused
from gathering_client.events import Cursor, D, Event, EventType, Gap, S, Snapshot
from gathering_client.http import Http, HttpPool
from gathering_client.log import OnState
from gathering_client.selection import Selection
from gathering_client.stream import Stream
from gathering_client.tokens import TokenCache

R = TypeVar("R")


def connect(
    url: str,
    *,
    token: str | TokenFunction,
    client_id: str | None = None,
    websocket_path: str = WEBSOCKET_PATH,
    ssl: SSLContext | None = None,
    timeout: float = 10.0,
    keepalive: float = KEEPALIVE,
    publish_over: Literal["http", "websocket"] = "http",
) -> "Client":
    """A client of the gateway at `url`, such as `https://gateway.example.com`, to be used with `async with`.

    `token` is a string, or a function (or coroutine function) that returns one; it is called again before the token
    expires, and after the gateway has refused it. `client_id` is a label for people. `timeout` is in
    seconds, for each HTTP request; `keepalive` the seconds between two pings of a WebSocket, and for the answer to one.
    Nothing is sent before the first subscription or request.

    `publish` goes over HTTP, in a thread; `publish_over="websocket"` uses commands on a WebSocket instead, at the
    lower rate limit of commands.
    """
    return Client(Address.of(url, websocket_path), token, client_id, ssl, timeout, keepalive, publish_over)


class Client:
    """A client of a gateway. Leaving its `async with` closes its subscriptions."""

    def __init__(
        self,
        address: Address,
        token: str | TokenFunction,
        client_id: str | None,
        ssl: SSLContext | None,
        timeout: float,
        keepalive: float,
        publish_over: Literal["http", "websocket"],
    ) -> None:
        self._address = address
        self._token = token
        self._client_id = client_id
        self._ssl = ssl
        self._keepalive = keepalive
        self._tokens = TokenCache(None if callable(token) else token)
        self._pool = HttpPool(Http(address, timeout, ssl))
        self._commands = (
            CommandConnection(address.websocket, ssl, self._current_token) if publish_over == "websocket" else None
        )
        self._subscriptions: set[Subscription[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for subscription in list(self._subscriptions):
            await subscription.close()
        if self._commands is not None:
            await self._commands.close()
        self._pool.close()

    # ---- events

    @overload
    def subscribe(
        self,
        *rooms: str,
        since: str | None = None,
        history: int = 0,
        state: bool = False,
        patient: bool = True,
        on_state: OnState | None = None,
    ) -> "Subscription[Event[Any] | Gap]": ...

    @overload
    def subscribe(
        self,
        *rooms: str,
        load: Callable[[Cursor], Awaitable[S]],
        patient: bool = True,
        on_state: OnState | None = None,
    ) -> "Subscription[Event[Any] | Snapshot[S]]": ...

    def subscribe(
        self,
        *rooms: str,
        since: str | None = None,
        history: int = 0,
        state: bool = False,
        load: Callable[[Cursor], Awaitable[Any]] | None = None,
        patient: bool = True,
        on_state: OnState | None = None,
    ) -> "Subscription[Any]":
        """The events of rooms, in the order of the tenant's log; `"*"` stands for all rooms that the token grants by
        name.

        Starts after the cursor `since`, with the latest `history` events, with the `state` of keyed events, or with the
        next event. Reconnects and resumes after a disconnect. Yields a `Gap` for lost events, before any later event.

        With `load` it yields a `Snapshot` first: it takes a cursor, awaits `load(cursor)`, which reads the state from
        your database, and continues with the events after the cursor. It does so again after a loss, in place of a
        `Gap`.

        With `patient` False it raises `Unreachable` if the first attempt reaches no gateway. `on_state` is called with
        every change of the connection. Raises `GatewayError` if a reconnect would not help. Each subscription has its
        own connection: put rooms that are read together into one.
        """
        selection = Selection(rooms, self._client_id, since, state, history, loads=load is not None)
        return self._follow(self._stream(selection, patient), load, on_state)

    def items(self, *rooms: str, patient: bool = True, on_state: OnState | None = None) -> "ItemsSubscription":
        """The items of rooms: yields the view once it is complete, and after each change. After a loss it is loaded
        again."""
        selection = Selection(rooms, self._client_id, state=True)
        return ItemsSubscription(self._follow(self._stream(selection, patient, marks=True), None, on_state))

    def _stream(self, selection: Selection, patient: bool, marks: bool = False) -> Stream:
        fixed = None if callable(self._token) else self._token
        return Stream(self._address.websocket, selection, fixed, random.random, marks=marks, patient=patient)

    def _follow(
        self, stream: Stream, load: Callable[[Cursor], Awaitable[Any]] | None, on_state: OnState | None
    ) -> "Subscription[Any]":
        made: Subscription[Any] = Subscription(
            stream, self._ssl, self._keepalive, self._token, load, on_state, self._subscriptions.discard
        )
        self._subscriptions.add(made)
        return made

    # ---- publishing and asking

    @overload
    async def publish(self, event: EventType[D], data: D, /, *, patience: float = 30.0, **fields: Any) -> Receipt: ...

    @overload
    async def publish(
        self, event: str, data: Mapping[str, Any] | None = None, /, *, patience: float = 30.0, **fields: Any
    ) -> Receipt: ...

    @overload
    async def publish(self, event: Draft, /, *, patience: float = 30.0) -> Receipt: ...

    async def publish(
        self, event: str | EventType[Any] | Draft, data: Any = None, /, *, patience: float = 30.0, **fields: Any
    ) -> Receipt:
        """Publish one event: a type, its data, and the fields of `Draft` (`circle_id=7`); or a draft.

        The event is in the log when this returns. Temporary errors are retried for `patience` seconds with the same
        idempotency key, so that it is delivered once. Raises `GatewayError`; after `Unreachable` it may be in the log.
        """
        body = draft_of(event, data, fields).body()
        if self._commands is not None:
            commands = self._commands
            answer = await self._try(lambda _: commands.ask("publish", event=body), patience)
        else:
            answer = await self._request("POST", "/events", body, patience)
        return Receipt(Cursor(answer["event_id"]), answer["duplicate"])

    async def publish_batch(self, drafts: Iterable[Draft], *, patience: float = 30.0) -> list[Receipt | Refused]:
        """Publish many events with few requests, over HTTP. Returns the result of each, in order; each is accepted or
        refused by itself. Events that are retried after a rate limit are appended after the others of their request."""
        waiting = list(drafts)
        outcome: list[Receipt | Refused] = []
        for start in range(0, len(waiting), MAX_BATCH):
            outcome += await self._publish_part(waiting[start : start + MAX_BATCH], patience)
        return outcome

    async def _publish_part(self, drafts: Sequence[Draft], patience: float) -> list[Receipt | Refused]:
        attempts = Attempts(patience, time.monotonic(), random.random)
        outcome: dict[int, Receipt | Refused] = {}
        left = list(range(len(drafts)))
        while left:
            sent = [drafts[number] for number in left]
            body = {"events": [draft.body() for draft in sent]}
            answer = await self._request("POST", "/events/batch", body, patience)
            outcome.update(zip(left, results_of(sent, answer["results"]), strict=True))
            left, wait = attempts.again(outcome, time.monotonic())
            await asyncio.sleep(wait)
        return [outcome[number] for number in range(len(drafts))]

    async def presence(self, room: str) -> dict[str, int]:
        """The users in a room, with their numbers of connections."""
        answer = await self._request("GET", f"/rooms/{quote(room, safe=':')}/presence", None, 0.0)
        return {user["user_id"]: user["connections"] for user in answer["users"]}

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None, patience: float) -> dict[str, Any]:
        return await self._try(lambda token: asyncio.to_thread(self._pool.request, method, path, token, body), patience)

    async def _try(self, ask: Callable[[str], Awaitable[R]], patience: float) -> R:
        attempts = Attempts(patience, time.monotonic(), random.random)
        while True:
            token = await self._current_token()
            try:
                return await ask(token)
            except GatewayError as error:
                if isinstance(error, TokenRefused):
                    self._tokens.discard(token)
                wait = attempts.wait_after(error, time.monotonic(), self._tokens.refreshable)
            await asyncio.sleep(wait)

    async def _current_token(self) -> str:
        return self._tokens.current or self._tokens.keep(await token_of(self._token))
