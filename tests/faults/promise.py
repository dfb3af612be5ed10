"""The one oracle: what publishers were acknowledged, against what each client received over all its connections."""

import asyncio
import random
import time
from array import array
from collections.abc import AsyncIterator, Container, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenIssuer
from tests.faults.line import dial
from tests.support.item_traffic import change_of, data_of
from tests.support.oracle import Reader, hold
from tests.support.pauses import PATIENCE, ran, until
from tests.support.settings import SECRET

TENANT = "acme"
FOREIGN = "canary"
_ISSUER = TokenIssuer(KeyRing([hmac_key(SECRET.encode())]), "gathering-gateway", "gathering-gateway")


def seeded(seed: int | None = None) -> random.Random:
    """Chance that can be had again: its seed is printed, and shown where a test fails."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}")
    return random.Random(seed)


def token(
    user_id: str = "ada",
    tenant: str = TENANT,
    scope: str = "subscribe publish",
    rooms: Iterable[str] = ("circle:*", "project:*", "tenant"),
    expires_in: int = 1_800,
    now: float | None = None,
    **more: Any,
) -> str:
    return _ISSUER.issue(
        user_id=user_id,
        tenant=tenant,
        rooms=rooms,
        scope=scope.split(),
        expires_in=expires_in,
        now=time.time() if now is None else now,
        **more,
    ).access_token


class ResumingClient(Reader):
    """A client that follows its rooms and resumes with its cursor, each time at the next of `urls`. `frames` are those
    of all its connections; `recovered: false` counts as a reported gap."""

    def __init__(
        self, urls: Sequence[str], *, start: int = 0, tenant: str = TENANT, rooms: str = "tenant", wait: float = 0.05
    ) -> None:
        self.frames: list[dict[str, Any]] = []
        self.came = array("d")
        """When each of `events` came."""
        self.returns: list[tuple[bool | None, int, float]] = []
        """For each reconnect: recovered, replayed, seconds since the connection was lost."""
        self.losses: list[float] = []
        """When it was lost, each time."""
        self.closes: list[int] = []
        """The close codes of those that had one."""
        self.cursor: str | None = None
        self.at = start
        self._urls = urls
        self._tenant = tenant
        self._rooms = rooms
        self._wait = wait
        self._lost_at = 0.0
        self._pause = asyncio.Event()
        self._pause.set()
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await self._pause.wait()
            query = f"?token={token(tenant=self._tenant)}&rooms={self._rooms}"
            query += f"&since={self.cursor}" if self.cursor else ""
            url = self._urls[self.at % len(self._urls)]
            with suppress(OSError):
                line = await dial(url, query, self._take)
                try:
                    if code := await line.ended:
                        self.closes.append(code)
                finally:
                    line.abort()
            if self.there:
                self.losses.append(ran())
            self._lost_at = self._lost_at or ran()
            self.at += 1
            await asyncio.sleep(self._wait)

    def _take(self, frame: dict[str, Any]) -> None:
        now = ran()
        self.frames.append(frame)
        if "event_id" in frame:
            self.cursor = frame["event_id"]
            self.came.append(now)
        elif frame["type"] == "subscribed":
            if self.cursor is not None and self._lost_at:
                self.returns.append((frame["data"]["recovered"], frame["data"]["replayed"], now - self._lost_at))
            self._lost_at = 0.0
            if frame["data"]["recovered"] is False:
                self.frames.append({"type": "stream.gap", "data": frame["data"]})
            if self.cursor is None or frame["data"]["recovered"] is False:
                self.cursor = frame["data"]["cursor"]
        elif frame["type"] == "stream.gap":
            self.cursor = frame["data"]["cursor"]

    def pause(self) -> None:
        """Once lost, it stays away until `go_on`."""
        self._pause.clear()

    def go_on(self) -> None:
        self._pause.set()

    @property
    def there(self) -> bool:
        """Whether it was subscribed and has not been lost since."""
        return self.cursor is not None and not self._lost_at

    @property
    def events(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if "event_id" in frame]

    def delays(self, start: float = 0.0, end: float = float("inf"), but: Container[int] = ()) -> list[float]:
        """The delivery delays of the events of this period, except for those numbered in `but`, since their first
        publish."""
        return [
            at - frame["data"]["at"]
            for frame, at in zip(self.events, self.came, strict=True)
            if start <= at < end and frame["data"]["n"] not in but
        ]

    def reached(self, event_id: str) -> bool:
        """Whether this event is among the last that came."""
        return any(frame.get("event_id") == event_id for frame in self.frames[-20:])

    def check(self) -> None:
        """Raise what ended it: a frame that no server may send."""
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def following(
    urls: Sequence[str], count: int, patience: float = 15.0, *, stride: int = 1, **options: Any
) -> AsyncIterator[list[ResumingClient]]:
    """Followers spread over `urls` (with a `stride` of 0 all at the first), all subscribed; and one of another tenant,
    which must never get anything."""
    followers = [ResumingClient(urls, start=i * stride, **options) for i in range(count)]
    canary = ResumingClient(urls, tenant=FOREIGN, rooms="tenant,circle:1")
    try:
        await until(lambda: all(follower.there for follower in (*followers, canary)), patience)
        yield followers
        for follower in (*followers, canary):
            follower.check()
        assert canary.ids == [], "foreign events"
    finally:
        await asyncio.gather(*(follower.stop() for follower in (*followers, canary)))


class Publisher:
    """Publishes 1, 2, 3 and on over HTTP at `rate` a second, some at a time, each with a key of its own, and again (at
    the next of `urls`) until it is acknowledged. Every second one changes an item, unless all are `plain`."""

    def __init__(
        self, urls: Sequence[str], rate: float = 100.0, fields: dict[str, Any] | None = None, *, plain: bool = False
    ) -> None:
        self.acked: dict[int, str] = {}
        self.again: set[int] = set()
        """The events that had to be published more than once."""
        self._urls = urls
        self._at = 0
        self._count = max(1, round(rate / 20))
        self._pause = self._count / rate
        self._fields = fields or {}
        self._plain = plain
        self._ended = False
        self._task = asyncio.create_task(self._publish_for_ever())

    async def _publish_for_ever(self) -> None:
        headers = {"Authorization": f"Bearer {token('publisher')}"}
        n, due = 1, ran()
        async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=3.0) as client:
            while not self._ended:
                now = ran()
                events = [self._event(m, now) for m in range(n, n + self._count)]
                while not await self._publish(client, events):
                    self.again.update(range(n, n + self._count))
                    self._at += 1
                    await asyncio.sleep(0.05)
                n += self._count
                due = max(due + self._pause, ran() - 1.0)
                await asyncio.sleep(max(0.0, due - ran()))

    def _event(self, n: int, now: float) -> dict[str, Any]:
        event = {"type": "task.created", "data": {"n": n, "at": now}, "idempotency_key": f"n{n}", **self._fields}
        if not self._plain and (change := change_of(n)):
            event["key"], event["op"] = change
            event["data"] = {**data_of(n), "at": now}
        return event

    async def _publish(self, client: httpx.AsyncClient, events: list[dict[str, Any]]) -> bool:
        """Whether all are acknowledged."""
        url = self._urls[self._at % len(self._urls)] + "/events/batch"
        try:
            answer = await client.post(url, json={"events": events})
        except httpx.HTTPError:
            return False
        results = answer.json()["results"] if answer.status_code == 202 else []
        for event, result in zip(events, results, strict=False):
            if "event_id" in result:
                self.acked.setdefault(event["data"]["n"], result["event_id"])
        return len(results) == len(events) and all("event_id" in result for result in results)

    async def stop(self, seconds: float = PATIENCE) -> None:
        """End with what is under way."""
        self._ended = True
        async with asyncio.timeout(seconds):
            await self._task

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def publishing(
    urls: Sequence[str], rate: float = 100.0, *, plain: bool = False, **fields: Any
) -> AsyncIterator[Publisher]:
    publisher = Publisher(urls, rate, fields, plain=plain)
    try:
        yield publisher
    finally:
        await publisher.cancel()


async def judge(
    publisher: Publisher, followers: Iterable[ResumingClient], *, gaps: bool = False, seconds: float = PATIENCE
) -> None:
    """Stop publishing, wait until every follower has the last acknowledged event, and hold each to the promise."""
    await publisher.stop()
    last, followers = publisher.acked[max(publisher.acked)], list(followers)
    with suppress(TimeoutError):
        await until(lambda: all(follower.reached(last) for follower in followers), seconds)
    for follower in followers:
        hold(publisher.acked, follower, gaps=gaps)
