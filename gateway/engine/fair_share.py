"""Fair shares of the event loop: work of tenants that can wait, by deficit round robin within a budget."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.core.metric import Histogram
from gateway.core.reserved_tenants import is_reserved
from gateway.core.tenant_quotas import TenantQuotas

BUDGET: Final = 500
"""Microseconds of such work in one iteration of the event loop, and what a tenant of the largest weight may use before
the next one's turn (the quantum): other work waits for half a millisecond, and not for all of it (head-of-line
blocking). A request to its answer takes two or three iterations."""

ALONE_BUDGET: Final = 1_000
"""The same while only one tenant has work: fewer iterations take less time in all."""

AHEAD: Final = 250
"""Microseconds of one iteration that a tenant without waiting work may use although others wait: all such tenants
together as much as `BUDGET`."""

ALONE_SECONDS: Final = 1.0
"""How long a tenant has to be the only one with work, until nothing of it is divided for the sake of others."""

logger = logging.getLogger("gateway")


@dataclass(slots=True, eq=False)
class _Turn:
    """Work in a tenant's queue `since` a time of the timer: `cost` is the part of it that is known beforehand, in
    microseconds. Of work in a coroutine that waits, the coroutine's future."""

    work: Callable[[], object] | asyncio.Future[None]
    cost: int
    since: float

    @property
    def cancelled(self) -> bool:
        """Whether the coroutine does not wait any more."""
        return isinstance(self.work, asyncio.Future) and self.work.done()

    def do(self) -> None:
        if not isinstance(self.work, asyncio.Future):
            self.work()
        elif not self.work.done():
            self.work.set_result(None)


class _Queue:
    """The work of one tenant, and the microseconds that it may still use in this round: below zero for a debt. Each
    round adds its `quantum`."""

    __slots__ = ("deficit", "quantum", "turns")

    def __init__(self, quantum: int) -> None:
        self.deficit = self.quantum = quantum
        self.turns: deque[_Turn] = deque()


class FairShare:
    """A scheduler that is fair to tenants. Work is done at once where nothing waits and the budget lasts; else it is
    queued, in order for each tenant, and every tenant with work gets a part of the loop's time in proportion to the
    weight of its quota.

    Memory is O(work that waits), time O(1 + cost / quantum) for each turn. `waits` has the seconds that work waited,
    `timer` is seconds of a monotonic clock.
    """

    def __init__(self, timer: Callable[[], float], quotas: TenantQuotas | None = None) -> None:
        self.waits = Histogram()
        self._quotas = quotas or TenantQuotas()
        self._unit = BUDGET / self._quotas.largest_weight
        self._timer = timer
        self._queues: dict[str, _Queue] = {}
        self._round: deque[str] = deque()
        self._current: _Queue | None = None
        self._scheduled = False
        self._busy = ""
        self._busy_since = 0.0
        self._left = self._of_iteration = ALONE_BUDGET
        self._ahead_left = BUDGET
        self._ahead: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of tenants with waiting work."""
        return len(self._round)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing was done in this iteration of the loop."""
        return not (self._round or self._scheduled)

    @property
    def free(self) -> bool:
        """Whether work of any tenant may be done at once."""
        return not self._round and self._left > 0

    def reset(self) -> None:
        """Drop the work of an earlier start, whose event loop is gone."""
        self._queues.clear()
        self._round.clear()
        self._ahead.clear()
        self._scheduled = False
        self._left = self._of_iteration = ALONE_BUDGET
        self._ahead_left = BUDGET

    def waiting(self, tenant: str) -> float:
        """Seconds for which the first work of the tenant has waited as of now; 0 where none waits."""
        queue = self._queues.get(tenant)
        return 0.0 if queue is None else max(0.0, self._timer() - queue.turns[0].since)

    def alone(self, tenant: str) -> bool:
        """Whether no other tenant had work for `ALONE_SECONDS`; reserved ones can wait for a large fan-out."""
        self._note(tenant)
        return self._timer() - self._busy_since > ALONE_SECONDS

    def budget(self, tenant: str) -> int:
        """Microseconds of one job of a tenant whose work can be divided."""
        return ALONE_BUDGET if self.alone(tenant) else BUDGET

    def _note(self, tenant: str) -> None:
        if tenant != self._busy and not is_reserved(tenant):
            self._busy = tenant
            self._busy_since = self._timer()

    def take(self, tenant: str, cost: int) -> bool:
        """Whether work may be done at once: then its `cost`, in microseconds, is taken from the budget. While others
        wait that is a little for a tenant without waiting work."""
        self._note(tenant)
        if not self.free:
            used = self._ahead.get(tenant, 0) + cost
            if not self._round or tenant in self._queues or used > AHEAD or self._ahead_left <= 0:
                return False
            self._ahead[tenant] = used
            self._ahead_left -= cost
        self.charge(cost)
        return True

    def charge(self, cost: int) -> None:
        """Take the cost of work that is done from the budget, and from the share of the tenant whose turn it is."""
        self._left -= cost
        if self._current is not None:
            self._current.deficit -= cost
        self._schedule()

    def debit(self, tenant: str, cost: int) -> None:
        """Take the cost of work that could not wait from the share of a tenant with waiting work."""
        queue = self._queues.get(tenant)
        if queue is not None:
            queue.deficit -= cost

    def submit(
        self, tenant: str, work: Callable[[], object] | asyncio.Future[None], cost: int = 0, urgent: bool = False
    ) -> None:
        """Queue work that returns quickly: it costs at least `cost` and what it charges itself, and up to `BUDGET` what
        it takes; or a future, to be completed in the turn, that may be cancelled. Urgent work goes before the tenant's
        other work."""
        self._note(tenant)
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = _Queue(int(self._unit * self._quotas.of(tenant).weight))
            self._round.append(tenant)
        turn = _Turn(work, cost, self._timer())
        if urgent:
            queue.turns.appendleft(turn)
        else:
            queue.turns.append(turn)
        self._schedule()

    async def turn(self, tenant: str, cost: int, until: float, *, urgent: bool = False) -> None:
        """Wait for a turn of the tenant, as `submit` queues it. Returns at once where nothing else waits and the budget
        lasts. Raises `TimeoutError` at the loop's time `until`."""
        if self.take(tenant, cost):
            return
        granted = asyncio.get_running_loop().create_future()
        self.submit(tenant, granted, cost, urgent)
        async with asyncio.timeout_at(until):
            await granted

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        """Do the work of a new iteration of the loop."""
        now = self._timer()
        self._left = self._of_iteration = ALONE_BUDGET if now - self._busy_since > ALONE_SECONDS else BUDGET
        self._ahead_left = BUDGET
        self._ahead.clear()
        while self._round and self._left > 0:
            tenant = self._round[0]
            queue = self._queues[tenant]
            turn = queue.turns[0]
            cost = 0 if turn.cancelled else turn.cost
            if cost > queue.deficit:
                queue.deficit += queue.quantum
                self._round.rotate(-1)  # behind the other tenants
                continue
            queue.turns.popleft()
            self.waits.observe(now - turn.since)
            self._do(queue, turn, cost)
            if not queue.turns:
                del self._queues[tenant]
                self._round.popleft()
        self._scheduled = bool(self._round) or self._left < self._of_iteration
        if self._scheduled:  # after what the work has scheduled, so that it can queue more in time for its next turn
            asyncio.get_running_loop().call_soon(self._run)
        else:  # what comes next competes with nothing
            self._left = self._of_iteration = ALONE_BUDGET

    def _do(self, queue: _Queue, turn: _Turn, cost: int) -> None:
        self._current = queue
        began, left = self._timer(), self._left
        try:
            self.charge(cost)
            turn.do()
        except Exception:  # the failure of one must not stop the others
            logger.exception("work of a tenant failed")
        finally:
            # Costs that are known are those of a fast machine. A pause of the process is not the tenant's.
            took = min(int((self._timer() - began) * 1e6), BUDGET)
            self.charge(max(0, took - (left - self._left)))
            self._current = None
