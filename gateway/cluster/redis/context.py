"""The context shared by the parts of the membership on Redis."""

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace

Failures = (RedisError, OSError, TimeoutError)
"""Exceptions of a command where Redis cannot be reached, does not answer or refuses."""


@dataclass(frozen=True, slots=True, eq=False)
class MembersContext:
    """`node` is this node's name, `lease` the seconds until the members of a killed node expire. `timer` is
    monotonic."""

    redis: "Redis"
    keys: KeySpace
    node: str
    lease: float
    timer: Callable[[], float]
    incidents: IncidentLog
