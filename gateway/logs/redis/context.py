"""The context that the parts of the Redis log share: client, keys, clock, incident log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from gateway.logs.redis.server_clock import ServerClock
from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace

KEY_SECONDS: Final = 121
"""For how long an idempotency key is kept: 120 s are promised."""

IDLE_SECONDS: Final = 7 * 86_400
"""Seconds for which the log of a tenant is kept that is neither written nor read."""


@dataclass(frozen=True, slots=True, eq=False)
class RedisContext:
    """`redis` answers within a second; `reader` is for pages, which may take longer. `probe` is this node's own key and
    channel. `trust` is as the scripts take it: "1" keeps the epoch over a restart of the server. `timer` is seconds of
    a clock that never goes back."""

    redis: "Redis"
    reader: "Redis"
    keys: KeySpace
    probe: str
    trust: str
    timer: Callable[[], float]
    clock: ServerClock
    incidents: IncidentLog
