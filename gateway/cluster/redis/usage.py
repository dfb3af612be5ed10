"""The usage store on Redis: what each node has counted for each tenant and hour."""

import json
import logging
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import accumulate
from typing import Any, Final

from redis.asyncio import Redis

from gateway.cluster.redis.context import Failures
from gateway.cluster.redis.members import RedisMembers
from gateway.core.errors import LogUnavailable
from gateway.core.usage import KEPT_HOURS, Place, Recorded, Usage, UsageRow
from gateway.redis.client import COMMAND_SECONDS
from gateway.redis.deadlines import Deadline
from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace

MAX_ROWS: Final = 1_000_000
"""The number of pairs of tenant and hour that are kept, of about 200 bytes each for one node, and 100 for each further
one: the oldest hours go first."""

_KEPT_SECONDS: Final = (KEPT_HOURS + 1) * 3_600
_VALUES_AT_ONCE: Final = 5_000

logger = logging.getLogger("gateway.nodes")


class RedisUsage:
    """The `UsageStore` of nodes that share a Redis server. A record is one round trip, with a few commands for each
    hour; the keys expire a week after the hour. A page takes five round trips, and one more for each 5,000
    values: one for each node that has recorded usage in the hour of a row."""

    durable = True

    def __init__(self, redis: "Redis", members: RedisMembers, *, keys: KeySpace) -> None:
        self._redis = redis
        self._members = members
        self._keys = keys
        self._number = 0
        """The number of the last attempt to record, counted from 1."""
        self._confirmed = 0
        """The number of the last record that Redis has confirmed."""
        self._listed: set[int] = set()
        """The hours that this node has listed, whose keys expire."""
        self._newest_hour = -1
        self._incidents = IncidentLog("usage of the tenants", logger)

    async def record(self, rows: Sequence[UsageRow]) -> bool:
        try:
            kept = await self._write(rows)
        except Failures as error:
            self._incidents.failed("written", error)
            raise LogUnavailable("the usage could not be written") from None
        self._incidents.recovered("written")
        newest = max((row.hour for row in rows), default=-1)
        if newest > self._newest_hour:
            try:
                await self._trim()
            except Failures as error:
                self._incidents.failed("trimmed", error)
            else:
                self._incidents.recovered("trimmed")
                self._newest_hour = newest
                self._listed.intersection_update({newest})
        return kept

    async def read(self, tenant: str | None, after: Place, limit: int) -> Recorded:
        try:
            recorded = await self._values(await self._places(tenant, after, limit))
        except Failures as error:
            self._incidents.failed("read", error)
            raise LogUnavailable("the usage could not be read") from None
        self._incidents.recovered("read")
        return {place: recorded[place] for place in nsmallest(limit, recorded)}

    # ---- writing

    async def _write(self, rows: Sequence[UsageRow]) -> bool:
        """Write the rows, and this record's number last. Where Redis has an earlier one than it has confirmed, it has
        lost writes: it was emptied, restored, or replaced by a replica that was behind."""
        keys, node = self._keys, self._members.node
        hours: dict[int, dict[Any, Any]] = {}
        for hour, tenant, used in rows:
            hours.setdefault(hour, {})[tenant] = _packed(used)
        self._number += 1
        async with self._redis.pipeline(transaction=False) as pipeline:
            for hour, fields in hours.items():
                counts, tenants, nodes = keys.usage(hour, node), keys.usage_tenants(hour), keys.usage_nodes(hour)
                pipeline.zadd(tenants, dict.fromkeys(fields, 0))
                pipeline.hset(counts, mapping=fields)
                if hour not in self._listed:
                    pipeline.zadd(keys.usage_hours(), {str(hour): hour})
                    pipeline.zadd(nodes, {node: 0})
                    for key in (counts, tenants, nodes, keys.usage_hours()):
                        pipeline.expire(key, _KEPT_SECONDS)
            pipeline.set(keys.usage_recorded(node), self._number, ex=_KEPT_SECONDS, get=True)
            async with Deadline(COMMAND_SECONDS):
                *_, before = await pipeline.execute()
        kept = int(before or 0) >= self._confirmed
        self._confirmed = self._number
        self._listed = {*hours, *self._listed} if kept else set()
        return kept

    async def _trim(self) -> None:
        """Drop the oldest hours beyond the bounds."""
        hours = await self._hours(0)
        sizes = await self._together(("ZCARD", self._keys.usage_tenants(hour)) for hour in hours)
        rows = sum(sizes)
        for hour, size in zip(hours[:-1], sizes, strict=False):
            if len(hours) <= KEPT_HOURS and rows <= MAX_ROWS:
                return
            (nodes,) = await self._together([("ZRANGE", self._keys.usage_nodes(hour), 0, -1)])
            counts = (self._keys.usage(hour, node.decode()) for node in nodes)
            for key in (*counts, self._keys.usage_tenants(hour), self._keys.usage_nodes(hour)):
                await self._together([("DEL", key)])  # each within its own deadline: it may be large
            await self._together([("ZREM", self._keys.usage_hours(), hour)])
            hours, rows = hours[1:], rows - size

    # ---- reading

    async def _hours(self, first: int) -> list[int]:
        """The hours from this one on."""
        (found,) = await self._together([("ZRANGE", self._keys.usage_hours(), first, "+inf", "BYSCORE")])
        return [int(hour) for hour in found]

    async def _places(self, tenant: str | None, after: Place, limit: int) -> list[tuple[int, list[str], list[str]]]:
        """The hours with the names of tenants in each, `limit` at least where there are so many, and its nodes."""
        keys = self._keys
        hours = await self._hours(after[0])
        if tenant is None:
            sizes = await self._together(("ZCARD", keys.usage_tenants(hour)) for hour in hours[1:])
            sums = accumulate(sizes, initial=0)
            hours = [hour for hour, before in zip(hours, [0, *sums], strict=False) if before < limit]
            starts = [f"({after[1]}" if hour == after[0] and after[1] else "-" for hour in hours]
            names = await self._together(
                ("ZRANGE", keys.usage_tenants(hour), start, "+", "BYLEX", "LIMIT", 0, limit)
                for hour, start in zip(hours, starts, strict=True)
            )
        else:
            names = [[tenant.encode()] if (hour, tenant) > after else [] for hour in hours]
        nodes = await self._together(("ZRANGE", keys.usage_nodes(hour), 0, -1) for hour in hours)
        return [
            (hour, [name.decode() for name in some], [node.decode() for node in there])
            for hour, some, there in zip(hours, names, nodes, strict=True)
        ]

    async def _values(self, places: Iterable[tuple[int, list[str], list[str]]]) -> dict[Place, dict[str, Usage]]:
        recorded: dict[Place, dict[str, Usage]] = {}
        asked = [(hour, node, names) for hour, names, nodes in places for node in nodes if names]
        while asked:
            some = asked[: max(1, _VALUES_AT_ONCE // max(len(names) for _, _, names in asked))]
            del asked[: len(some)]
            answers = await self._together(
                ("HMGET", self._keys.usage(hour, node), *names) for hour, node, names in some
            )
            for (hour, node, names), texts in zip(some, answers, strict=True):
                for name, text in zip(names, texts, strict=True):
                    if text is not None:
                        recorded.setdefault((hour, name), {})[node] = _unpacked(text)
        return recorded

    async def _together(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """The answers to commands that are sent together."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            async with Deadline(COMMAND_SECONDS):
                return await pipeline.execute()


def _packed(used: Usage) -> str:
    return f"[{used.connection_seconds:.3f},{used.events},{used.deliveries},{used.bytes}]"


def _unpacked(text: bytes) -> Usage:
    """The usage in a field; none for a text of another version."""
    try:
        seconds, events, deliveries, size = json.loads(text)
        return Usage(float(seconds), int(events), int(deliveries), int(size))
    except (ValueError, TypeError):
        return Usage()
