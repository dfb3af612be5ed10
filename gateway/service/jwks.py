"""The keys of an issuer elsewhere, fetched from its JWK Set and kept fresh (RFC 7517)."""

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
"""Seconds of a whole fetch."""
EARLIEST: Final = 10.0
"""Seconds from one fetch to the next that an unknown `kid` triggers: a sender of tokens can invent one."""
FIRST_RETRY: Final = 1.0
"""Seconds after the first failure; each further one doubles it, up to the interval."""


class JwksRefresher:
    """A KeySource whose keys follow a JWK Set at `url`.

    They are fetched at `start`, then within every `interval` seconds, and early for a token with an unknown `kid`.
    A fetch that fails, or finds no usable key, leaves the keys as they are: an issuer that is down for a while shuts
    nobody out. `candidates` only looks at what is here and so never waits. To be used on one event loop.
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
        """The keys to try, as KeySource says. A `kid` never heard of asks for an early refresh."""
        if kid is not None and kid not in self._kids:
            self._kid_missing.set()
        return self._ring.candidates(kid, algorithm)

    async def start(self) -> None:
        """Fetch the keys once, whether or not that succeeds, and keep them fresh until `stop`."""
        self._kid_missing = asyncio.Event()  # of this event loop, which may be another one than the last time
        await self._refresh()
        self._tasks.spawn(self._follow())

    async def stop(self) -> None:
        """Stop refreshing; the keys stay as they are. A fetch under way ends by its own deadline, unheard."""
        await self._tasks.cancel()

    async def _follow(self) -> None:
        # One task does all the fetching, so that two fetches never run at once however many tokens ask for one.
        loop = asyncio.get_running_loop()
        while True:
            fetched = loop.time()
            due = fetched + self._delay()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._kid_missing.wait()
                due = min(due, fetched + EARLIEST)
            await asyncio.sleep(due - loop.time())
            await self._refresh()

    def _delay(self) -> float:
        """Seconds to the next fetch. Jittered, or the nodes of a fleet would all ask a recovering issuer at once."""
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
        if not self._failures:
            return self._interval * spread
        return min(self._interval, FIRST_RETRY * 2.0 ** min(self._failures - 1, 30)) * spread

    async def _refresh(self) -> None:
        # Before the fetch, since a kid asked for while it runs may be newer than what it brings.
        self._kid_missing.clear()
        try:
            # urllib waits, and a large set takes time to parse: neither on the event loop.
            keys = await asyncio.to_thread(_fetch, self._url, self._timeout)
        except Exception as error:  # whatever an issuer may answer: the next attempt must still come
            self._failures += 1
            logger.warning("no keys from %s (failure %d): %s", self._url, self._failures, ascii(error)[:200])
            return
        self._failures = 0
        self._ring = KeyRing(keys)
        self._kids = frozenset(key.kid for key in keys)


def _checked(url: str) -> str:
    """`url` if keys may be fetched from it: https, or http to this very machine. ValueError otherwise."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not safe or not host or parts.username is not None:
        raise ValueError("a JWKS URL is https://host/…, without a user; http only to this machine itself")
    return url


def _fetch(url: str, timeout: float) -> list[Key]:
    """The usable keys of the set at `url`, at least one. Blocks; raises what `http_get` and json raise, and
    ValueError."""
    keys = keys_from_jwks(json.loads(http_get(url, timeout, MAX_BYTES)))
    if not keys:
        raise ValueError("the key set holds no usable key")
    return keys
