"""The context that the parts of the membership on Redis share."""

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
    """`redis` answers within a second; `bulk` is for members, which may take longer. `node` is this node's name,
    `lease` seconds until the members of a node that was killed are gone. `timer` never goes back."""

    redis: "Redis"
    bulk: "Redis"
    keys: KeySpace
    node: str
    lease: float
    timer: Callable[[], float]
    incidents: IncidentLog
