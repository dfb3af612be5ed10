"""The log on Redis, for many nodes: one stream for each tenant, followed by every node that has clients of the
tenant."""

from gateway.logs.redis.log import RedisLog

__all__ = ["RedisLog"]
