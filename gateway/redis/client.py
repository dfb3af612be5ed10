"""Redis clients with the timeouts and options that the drivers need."""

from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

COMMAND_SECONDS: Final = 1.0
"""The deadline of a command, connecting included."""

SLOW_LINK_SECONDS: Final = 30.0
"""The deadline of a single large answer over a very slow link."""

TimeoutErrors: Final = (TimeoutError, RedisTimeoutError)
"""The timeouts of the event loop and of redis-py, which are different classes."""


def client_of(url: str) -> "Redis":
    """A client for `redis://` or `rediss://` that returns bytes, for commands under a `Deadline`. Raises `ValueError`
    for an invalid URL."""
    return Redis.from_pool(pool_of(url))


def pool_of(url: str) -> "ConnectionPool":
    """The connection pool of such a client, for one event loop."""
    options: dict[str, Any] = {
        # No retries: a command that timed out may have been executed, and would be twice.
        "retry": Retry(NoBackoff(), 0),
        # Longer than any deadline: they expire as well where only this process was held up.
        "socket_timeout": 2 * SLOW_LINK_SECONDS,
        "socket_connect_timeout": 2 * SLOW_LINK_SECONDS,
        "protocol": 2,
        "decode_responses": False,
    }
    # Not `from_url`, where the URL's query overrides the options.
    pool = ConnectionPool(**{**parse_url(url), **options})
    try:
        pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError:  # its text quotes an option of the URL, which may be a secret
        raise ValueError("redis:// URL: unknown option; remove it") from None
    return pool
