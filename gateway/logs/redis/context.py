"""The context shared by the parts of the log on Redis: clients, key names, clocks, incidents."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from gateway.logs.redis.server_clock import ServerClock
from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace

KEY_SECONDS: Final = 121
"""TTL of an idempotency key: 120 s are guaranteed."""

IDLE_SECONDS: Final = 7 * 86_400
"""TTL of a tenant's log, renewed by each append and read."""


@dataclass(frozen=True, slots=True, eq=False)
class RedisContext:
    """`heartbeat` is this node's own key and channel. `trust` is as the scripts take it: "1" keeps the epoch over a
    restart of the server. `timer` is seconds of a monotonic clock."""

    redis: "Redis"
    keys: KeySpace
    heartbeat: str
    trust: str
    timer: Callable[[], float]
    clock: ServerClock
    incidents: IncidentLog
