"""The probe of a Redis server: its fitness for the log, from outside the running gateway."""

from typing import Any, Final

from redis.exceptions import RedisError

from gateway.redis.client import COMMAND_SECONDS, client_of
from gateway.redis.deadlines import Deadline
from gateway.redis.incidents import describe

OLDEST: Final = (6, 2)
"""The oldest version whose XRANGE has exclusive bounds, which the log needs."""

_WRITE: Final = "redis.call('SET', KEYS[1], '1', 'PX', 1000) return redis.call('INFO')"


class ProbeFailed(Exception):
    """The problem with the server, in one line without a secret."""


async def probe(url: str, prefix: str) -> list[str]:
    """Connect to `url`, write one key under `prefix` from a script, as the log does, and read the server's settings.

    Returns warnings, a sentence each. Raises `ProbeFailed`.
    """
    client = client_of(url)
    options = client.connection_pool.connection_kwargs
    address = options.get("path") or f"{options.get('host')}:{options.get('port')}"
    try:
        async with Deadline(COMMAND_SECONDS), client:
            info = _facts(await client.eval(_WRITE, 1, f"{prefix}:probe"))
    except (RedisError, OSError) as error:
        raise ProbeFailed(f"Redis at {address} cannot be used: {describe(error)}") from None
    version = info.get("redis_version", "")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise ProbeFailed(f"Redis at {address} is of version {version}; 6.2 or newer is needed")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        return [f"Redis may evict the log (maxmemory-policy {policy}); set maxmemory-policy noeviction"]
    return []


def _facts(info: Any) -> dict[str, str]:
    """The `name:value` lines of INFO."""
    return dict(line.split(":", 1) for line in bytes(info).decode("latin-1").splitlines() if ":" in line)
