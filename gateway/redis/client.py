"""Redis clients with the timeouts and options that the drivers need."""

from contextlib import suppress
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.redis.deadlines import Deadline

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


def pubsub_of(redis: "Redis") -> PubSub:
    """A pub/sub connection like those of the client. `get_message` connects again by itself where the connection is
    lost; that is limited by the timeouts of its sockets, which are those of a command."""
    pool = redis.connection_pool
    seconds = {"socket_timeout": COMMAND_SECONDS, "socket_connect_timeout": COMMAND_SECONDS}
    return PubSub(ConnectionPool(pool.connection_class, **{**pool.connection_kwargs, **seconds}))


async def close(redis: "Redis") -> None:
    """Close the connections of the client; one that hangs is left to the operating system."""
    with suppress(RedisError, OSError, TimeoutError):
        async with Deadline(COMMAND_SECONDS):
            await redis.aclose()


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
