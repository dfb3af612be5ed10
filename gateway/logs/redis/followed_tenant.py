"""A followed tenant: this node's window of its log, and the callers that wait until it is current."""

import asyncio
from dataclasses import dataclass, field

from gateway.core.errors import LogUnavailable
from gateway.core.window import Window


@dataclass(slots=True, eq=False)
class FollowedTenant:
    """A followed tenant. Its window is `stale` while the stream has, or may have, more entries; `listened` once its
    channel was subscribed to. Once it has caught up with the head, the listener is called with each further entry.
    There are `holes` where entries were superseded or lost since it was last current. It has every end of an item up to
    `ended`; a later one may have been trimmed before it was read.
    """

    window: Window
    stale: bool = True
    listened: bool = False
    caught_up_once: bool = False
    holes: bool = False
    head_known_at: float = 0.0
    ended: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    gap_timer: asyncio.TimerHandle | None = None


def resolve(waiting: list[asyncio.Future[None]]) -> None:
    """Answer callers: the window is current."""
    for caught_up in waiting:
        if not caught_up.done():
            caught_up.set_result(None)


def reject(waiting: list[asyncio.Future[None]]) -> None:
    """Refuse callers, and forget them."""
    for caught_up in waiting:
        if not caught_up.done():
            caught_up.set_exception(LogUnavailable("the event log does not answer"))
    waiting.clear()
