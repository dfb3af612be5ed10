"""Connections to Redis, as everything here needs them."""

from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

COMMAND_SECONDS: Final = 1.0
"""How long Redis may take to answer, or to take a connection."""

SLOW_LINK_SECONDS: Final = 30.0
"""How long it may take to carry a single piece over a very slow line."""

TimeoutErrors: Final = (TimeoutError, RedisTimeoutError)
"""Of an answer that did not come in time: the loop's and the client's own, which is another class."""


def client_of(url: str, seconds: float = COMMAND_SECONDS) -> "Redis":
    """A client of `redis://` or `rediss://` that answers in bytes, within `seconds`. Raises `ValueError` for an address
    that is none."""
    return Redis.from_pool(pool_of(url, seconds))


def pool_of(url: str, seconds: float = COMMAND_SECONDS) -> "ConnectionPool":
    """The connections of such a client, for one event loop."""
    options: dict[str, Any] = {
        # No retries: a command that timed out may have been carried out, and would be twice.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": seconds,
        "socket_connect_timeout": COMMAND_SECONDS,
        "protocol": 2,
        "decode_responses": False,
    }
    # Not `from_url`, where the query of the address has the last word.
    pool = ConnectionPool(**{**parse_url(url), **options})
    try:
        pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError:  # which quotes an option of the address, and that may be a secret
        raise ValueError("redis:// with an option that there is not") from None
    return pool
