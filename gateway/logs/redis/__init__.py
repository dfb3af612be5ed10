"""The log on Redis, for many nodes: one stream a tenant, which every node that has clients of the tenant follows."""

from gateway.logs.redis.log import RedisLog

__all__ = ["RedisLog"]
