"""The page reader: reads the streams of many tenants in pages, sized to the throughput of the link to Redis."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from gateway.core.cursor import EPOCH_BYTES
from gateway.core.trimmed_rooms import TrimmedRooms
from gateway.core.window import Bounds
from gateway.logs.redis.codec import epoch_of
from gateway.logs.redis.context import IDLE_SECONDS, RedisContext
from gateway.logs.redis.followed_tenant import FollowedTenant
from gateway.logs.redis.script import Script
from gateway.redis.batch_limit import BatchLimit
from gateway.redis.client import COMMAND_SECONDS, SLOW_LINK_SECONDS, TimeoutErrors
from gateway.redis.deadlines import Deadline

_TENANTS_AT_ONCE: Final = 16
PAGE_BYTES: Final = 256 * 1024
_MIN_PAGE_BYTES: Final = 16 * 1024


class LinkTooSlow(Exception):
    """The pages timed out although the server answers: smaller ones will arrive in time."""


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of a stream, `(id, fields, value)` each, after the offset `after`; its epoch and head now. Lost entries,
    the last one at `lost`, are in `rooms` (room and offset in turn, the newest first), or under the floor; so are items
    that were evicted, in `evicted_rooms`. Items whose newest change is before `oldest` were evicted; entries
    before `first` are state. Ends of items were trimmed up to `ended`; where the reader may not know of some, the last
    page has the items up to `after`, in `steps` from each one's newest version to the next."""

    after: int
    epoch: bytes
    head: int
    entries: list[Any]
    lost: int
    floor: int
    rooms: list[bytes]
    evicted_floor: int
    evicted_rooms: list[bytes]
    oldest: int
    first: int
    ended: int
    steps: bytes | None

    def has_lost_after(self, offset: int) -> bool:
        """Whether an entry after the offset was lost."""
        return max(self.lost, self.floor) > offset

    def trimmed(self, limit: int) -> TrimmedRooms:
        """The lost entries."""
        return _rooms(limit, self.floor, self.rooms)

    def evicted(self, limit: int) -> TrimmedRooms:
        """The items that the bounds of state have cost."""
        return _rooms(limit, self.evicted_floor, self.evicted_rooms)

    def items(self) -> frozenset[int] | None:
        """The offsets of the newest versions of all items up to `after`."""
        return None if self.steps is None else frozenset(accumulate(map(int, self.steps.split())))


def _rooms(limit: int, floor: int, rooms: list[bytes]) -> TrimmedRooms:
    pairs = zip(reversed(rooms[::2]), reversed(rooms[1::2]), strict=True)
    return TrimmedRooms(limit, floor, {room.decode(): int(offset) for room, offset in pairs})


class PageReader:
    """Reads pages of at least one entry, and of about equal size for each of `tenants_at_once`: so a tenant that is
    behind advances on any link. Entries older than the bounds' `max_seconds` are skipped."""

    def __init__(self, context: RedisContext, bounds: Bounds) -> None:
        self._context = context
        self._bounds = bounds
        self.script = Script("read")
        self._limit = BatchLimit(_MIN_PAGE_BYTES, _TENANTS_AT_ONCE * PAGE_BYTES, COMMAND_SECONDS, SLOW_LINK_SECONDS)

    @property
    def tenants_at_once(self) -> int:
        return max(1, min(_TENANTS_AT_ONCE, self._limit.size // _MIN_PAGE_BYTES))

    async def read(self, tenants: Sequence[tuple[str, FollowedTenant]]) -> list[Page | Exception]:
        """The page of each tenant after the head of its window, or its error: `LinkTooSlow` for all of them."""
        context = self._context
        size = min(PAGE_BYTES, self._limit.size // len(tenants))
        calls = []
        heads = []
        for tenant, followed in tenants:
            window = followed.window
            heads.append(window.head)
            arguments = [secrets.token_hex(EPOCH_BYTES), window.epoch.hex(), window.head, size]
            arguments += [context.trust, IDLE_SECONDS, int(self._bounds.max_seconds), self._bounds.max_trimmed_rooms]
            arguments += [min(window.trimmed.newest, window.head), window.evicted.newest, followed.ended]
            calls.append((context.keys.log(tenant), arguments))
        begun = context.timer()
        try:
            async with Deadline(self._limit.seconds):
                answers = await self.script.run_all(context.redis, calls)
        except TimeoutErrors as error:
            slow = context.clock.synced_recently()
            self._limit.timed_out(slow)
            pages: list[Page | Exception] = [LinkTooSlow() if slow else error] * len(tenants)
        except Exception as error:
            pages = [error] * len(tenants)
        else:
            pages = [self._page(after, answer) for after, answer in zip(heads, answers, strict=True)]
            self._limit.succeeded(sum(map(_size, pages)), context.timer() - begun)
        errors = [page for page in pages if isinstance(page, Exception)]
        if errors:
            context.incidents.failed("read", errors[0])
        else:
            context.incidents.recovered("read")
        return pages

    def _page(self, after: int, answer: Any) -> Page | Exception:
        if isinstance(answer, Exception):
            return answer
        epoch, head, entries, now, *lost = answer
        if not self._context.clock.now():
            self._context.clock.sync(float(now))
        return Page(after, epoch_of(epoch), head, entries, *lost)


def _size(page: Page | Exception) -> int:
    if isinstance(page, Exception):
        return 0
    entries = sum(len(value) + sum(map(len, fields)) for _, fields, value in page.entries)
    return entries + sum(map(len, (*page.rooms, *page.evicted_rooms, page.steps or b"")))
