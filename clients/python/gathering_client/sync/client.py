"""The client without asyncio."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self, overload
from urllib.parse import quote

from gathering_client.address import WEBSOCKET_PATH, Address
from gathering_client.dialing import KEEPALIVE
from gathering_client.drafts import MAX_BATCH, Attempts, Draft, Receipt, draft_of, results_of
from gathering_client.errors import GatewayError, Refused, TokenRefused
from gathering_client.events import Cursor, D, Event, EventType, Gap, S, Snapshot
from gathering_client.http import Http, HttpPool
from gathering_client.log import OnState
from gathering_client.selection import Selection
from gathering_client.stream import Stream
from gathering_client.sync.subscription import ItemsSubscription, Subscription, TokenFunction, token_of
from gathering_client.tokens import TokenCache


def connect(
    url: str,
    *,
    token: str | TokenFunction,
    client_id: str | None = None,
    websocket_path: str = WEBSOCKET_PATH,
    ssl: SSLContext | None = None,
    timeout: float = 10.0,
    keepalive: float = KEEPALIVE,
) -> "Client":
    """A client of the gateway at `url`; see `gathering_client.connect`. It may be shared by threads and used in forked
    processes; a subscription belongs to one thread."""
    return Client(Address.of(url, websocket_path), token, client_id, ssl, timeout, keepalive)


class Client:
    """A client of a gateway. It connects at the first use; closing it closes its subscriptions."""

    def __init__(
        self,
        address: Address,
        token: str | TokenFunction,
        client_id: str | None,
        ssl: SSLContext | None,
        timeout: float,
        keepalive: float,
    ) -> None:
        self._address = address
        self._token = token
        self._client_id = client_id
        self._ssl = ssl
        self._keepalive = keepalive
        self._tokens = TokenCache(None if callable(token) else token)
        self._pool = HttpPool(Http(address, timeout, ssl))
        self._subscriptions: set[Subscription[Any]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for subscription in list(self._subscriptions):
            subscription.close()
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
        load: Callable[[Cursor], S],
        patient: bool = True,
        on_state: OnState | None = None,
    ) -> "Subscription[Event[Any] | Snapshot[S]]": ...

    def subscribe(
        self,
        *rooms: str,
        since: str | None = None,
        history: int = 0,
        state: bool = False,
        load: Callable[[Cursor], Any] | None = None,
        patient: bool = True,
        on_state: OnState | None = None,
    ) -> "Subscription[Any]":
        """The events of rooms; see `gathering_client.Client.subscribe`."""
        selection = Selection(rooms, self._client_id, since, state, history, loads=load is not None)
        return self._follow(self._stream(selection, patient), load, on_state)

    def items(self, *rooms: str, patient: bool = True, on_state: OnState | None = None) -> "ItemsSubscription":
        """The items of rooms; see `gathering_client.Client.items`."""
        selection = Selection(rooms, self._client_id, state=True)
        return ItemsSubscription(self._follow(self._stream(selection, patient, marks=True), None, on_state))

    def _stream(self, selection: Selection, patient: bool, marks: bool = False) -> Stream:
        fixed = None if callable(self._token) else self._token
        return Stream(self._address.websocket, selection, fixed, random.random, marks=marks, patient=patient)

    def _follow(
        self, stream: Stream, load: Callable[[Cursor], Any] | None, on_state: OnState | None
    ) -> "Subscription[Any]":
        made: Subscription[Any] = Subscription(
            stream, self._ssl, self._keepalive, self._token, load, on_state, self._subscriptions.discard
        )
        self._subscriptions.add(made)
        return made

    # ---- publishing and asking

    @overload
    def publish(self, event: EventType[D], data: D, /, *, patience: float = 30.0, **fields: Any) -> Receipt: ...

    @overload
    def publish(
        self, event: str, data: Mapping[str, Any] | None = None, /, *, patience: float = 30.0, **fields: Any
    ) -> Receipt: ...

    @overload
    def publish(self, event: Draft, /, *, patience: float = 30.0) -> Receipt: ...

    def publish(
        self, event: str | EventType[Any] | Draft, data: Any = None, /, *, patience: float = 30.0, **fields: Any
    ) -> Receipt:
        """Publish one event; see `gathering_client.Client.publish`."""
        body = draft_of(event, data, fields).body()
        answer = self._request("POST", "/events", body, patience)
        return Receipt(Cursor(answer["event_id"]), answer["duplicate"])

    def publish_batch(self, drafts: Iterable[Draft], *, patience: float = 30.0) -> list[Receipt | Refused]:
        """Publish many events; see `gathering_client.Client.publish_batch`."""
        waiting = list(drafts)
        outcome: list[Receipt | Refused] = []
        for start in range(0, len(waiting), MAX_BATCH):
            outcome += self._publish_part(waiting[start : start + MAX_BATCH], patience)
        return outcome

    def _publish_part(self, drafts: Sequence[Draft], patience: float) -> list[Receipt | Refused]:
        attempts = Attempts(patience, time.monotonic(), random.random)
        outcome: dict[int, Receipt | Refused] = {}
        left = list(range(len(drafts)))
        while left:
            sent = [drafts[number] for number in left]
            answer = self._request("POST", "/events/batch", {"events": [draft.body() for draft in sent]}, patience)
            outcome.update(zip(left, results_of(sent, answer["results"]), strict=True))
            left, wait = attempts.again(outcome, time.monotonic())
            time.sleep(wait)
        return [outcome[number] for number in range(len(drafts))]

    def presence(self, room: str) -> dict[str, int]:
        """The users in a room, with their numbers of connections."""
        answer = self._request("GET", f"/rooms/{quote(room, safe=':')}/presence", None, 0.0)
        return {user["user_id"]: user["connections"] for user in answer["users"]}

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None, patience: float) -> dict[str, Any]:
        attempts = Attempts(patience, time.monotonic(), random.random)
        while True:
            token = self._tokens.current or self._tokens.keep(token_of(self._token))
            try:
                return self._pool.request(method, path, token, body)
            except GatewayError as error:
                if isinstance(error, TokenRefused):
                    self._tokens.discard(token)
                wait = attempts.wait_after(error, time.monotonic(), self._tokens.refreshable)
            time.sleep(wait)
