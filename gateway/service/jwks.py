"""The JWKS client: another issuer's keys, fetched from its JWK Set and refreshed (RFC 7517)."""

import asyncio
import json
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from auth.keys import Key, KeyRing, keys_from_jwks
from gateway.core.addresses import is_loopback
from gateway.engine.tasks import TaskSet
from gateway.service.http_get import http_get

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 1024 * 1024
TIMEOUT: Final = 5.0
"""Deadline of a fetch, in seconds."""
MIN_FETCH_INTERVAL: Final = 10.0
"""Minimum seconds between fetches triggered by an unknown `kid`, which any sender of a token can invent."""
FIRST_RETRY: Final = 1.0
"""Seconds after the first failure; doubled by each further one (backoff), up to the interval."""


class JwksRefresher:
    """A KeySource of the keys in a JWK Set at `url`.

    They are fetched at `start`, then within every `interval` seconds, and early for a token with an unknown `kid`. A
    fetch that fails, or finds no usable key, leaves the keys as they are: tokens stay valid while an issuer is down.
    `candidates` never waits. For use on one event loop.
    """

    def __init__(self, url: str, *, interval: float = 300.0, timeout: float = TIMEOUT) -> None:
        self._url = _checked(url)
        self._interval = interval
        self._timeout = timeout
        self._ring = KeyRing(())
        self._kids: frozenset[str] = frozenset()
        self._failures = 0
        self._kid_missing = asyncio.Event()
        self._tasks = TaskSet()

    def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys to try, as in KeySource. An unknown `kid` triggers an early fetch."""
        if kid is not None and kid not in self._kids:
            self._kid_missing.set()
        return self._ring.candidates(kid, algorithm)

    async def start(self) -> None:
        """Fetch the keys once, successfully or not, and refresh them until `stop`."""
        self._kid_missing = asyncio.Event()  # on this event loop, which may differ from that of an earlier start
        await self._refresh()
        self._tasks.spawn(self._follow())

    async def stop(self) -> None:
        """Stop the refresh; the keys stay. A running fetch ends by its own deadline."""
        await self._tasks.cancel()

    async def _follow(self) -> None:
        # One task does all fetches, so that two never run at once.
        loop = asyncio.get_running_loop()
        while True:
            fetched = loop.time()
            due = fetched + self._delay()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._kid_missing.wait()
                due = min(due, fetched + MIN_FETCH_INTERVAL)
            await asyncio.sleep(due - loop.time())
            await self._refresh()

    def _delay(self) -> float:
        """Seconds to the next fetch, with jitter, so that the nodes of a cluster do not ask at once (thundering
        herd)."""
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
        if not self._failures:
            return self._interval * spread
        return min(self._interval, FIRST_RETRY * 2.0 ** min(self._failures - 1, 30)) * spread

    async def _refresh(self) -> None:
        # Before the fetch: a kid that is missing during it may be newer than its result.
        self._kid_missing.clear()
        try:
            # In a thread: urllib blocks, and a large set takes time to parse.
            keys = await asyncio.to_thread(_fetch, self._url, self._timeout)
        except Exception as error:  # the next attempt must come after any error
            self._failures += 1
            logger.warning(
                "the keys of %s could not be fetched (failure %d): %s", self._url, self._failures, ascii(error)[:200]
            )
            return
        self._failures = 0
        self._ring = KeyRing(keys)
        self._kids = frozenset(key.kid for key in keys)


def _checked(url: str) -> str:
    """`url` if keys may be fetched from it: https, or http to this machine. ValueError otherwise."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not safe or not host or parts.username is not None:
        raise ValueError("a JWKS URL is https://host/…, without a user; http only to this machine itself")
    return url


def _fetch(url: str, timeout: float) -> list[Key]:
    """The usable keys of the set at `url`, at least one. Blocks; raises the exceptions of `http_get` and json, and
    ValueError."""
    keys = keys_from_jwks(json.loads(http_get(url, timeout, MAX_BYTES)))
    if not keys:
        raise ValueError("the key set holds no usable key")
    return keys
