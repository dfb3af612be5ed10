"""A fair queue: one FIFO queue per tenant, served round robin."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class _TenantQueue(Generic[T]):
    __slots__ = ("items", "size")

    def __init__(self) -> None:
        self.items: deque[tuple[T, int]] = deque()
        self.size = 0


class FairQueue(Generic[T]):
    """A bounded queue that keeps the order of each tenant's items. `push` and `take` are O(1) per item; a tenant
    without items takes no memory.

    A tenant may have `max_items` and `max_size` waiting; once all tenants together have `total_size`, only its share of
    that.
    """

    def __init__(self, max_items: int, max_size: int, total_size: int) -> None:
        self._max_items = max_items
        self._max_size = max_size
        self._total_size = total_size
        self._queues: dict[str, _TenantQueue[T]] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    @property
    def tenants(self) -> int:
        """The number of tenants with items."""
        return len(self._queues)

    def push(self, tenant: str, item: T, size: int) -> bool:
        """Append an item to the tenant's queue; False where that is full."""
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = _TenantQueue()
        elif (
            len(queue.items) >= self._max_items
            or queue.size >= self._max_size
            or (self._size >= self._total_size and queue.size >= self._total_size / len(self._queues))
        ):
            return False
        queue.items.append((item, size))
        queue.size += size
        self._size += size
        return True

    def take(self, count: int, size: int) -> list[T]:
        """Up to `count` items, but no more once they have `size`: a share of each tenant in turn."""
        taken: list[T] = []
        while self._queues and len(taken) < count and size > 0:
            tenant = next(iter(self._queues))
            share = max(1, (count - len(taken)) // len(self._queues))
            queue = self._queues.pop(tenant)
            while queue.items and share and size > 0:
                item, weight = queue.items.popleft()
                queue.size -= weight
                self._size -= weight
                size -= weight
                share -= 1
                taken.append(item)
            if queue.items:
                self._queues[tenant] = queue  # behind the other tenants
        return taken

    def clear(self) -> None:
        self._queues.clear()
        self._size = 0
