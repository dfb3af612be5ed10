"""The pub/sub listener: the fast path for new entries; lost messages are read from the stream."""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Final

from redis.asyncio.client import PubSub

from gateway.logs.redis.context import RedisContext
from gateway.redis.client import pubsub_of
from gateway.redis.deadlines import Deadline
from gateway.redis.tasks import WakeUp

HEARTBEAT_TIMEOUT: Final = 3.0
"""Seconds without a heartbeat, published every second, after which the connection is replaced: it may be half-open."""

_PAUSE: Final = 0.2
_POLL: Final = 0.25
_AT_ONCE: Final = 500


class PubSubListener:
    """Keeps the subscriptions of wanted channels. `on_message` is called with a channel and a message; `on_listening`
    with a channel whose subscription has just begun: earlier messages on it are lost."""

    def __init__(
        self,
        context: RedisContext,
        on_message: Callable[[str, bytes], None],
        on_listening: Callable[[str], None],
    ) -> None:
        self._redis = context.redis
        self._heartbeat = context.heartbeat
        self._timer = context.timer
        self.on_message = on_message
        self._on_listening = on_listening
        self._incidents = context.incidents
        self._wanted: dict[str, None] = {}
        self._changes: dict[str, None] = {}
        self._changed = WakeUp()
        self._heartbeat_at = float("-inf")

    @property
    def alive(self) -> bool:
        """Whether the node's own heartbeat came back within the timeout."""
        return self._timer() - self._heartbeat_at < HEARTBEAT_TIMEOUT

    def stop(self) -> None:
        """Report not alive: the listener has stopped."""
        self._heartbeat_at = float("-inf")

    def add(self, channel: str) -> None:
        self._wanted[channel] = None
        self._change(channel)

    def remove(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._change(channel)

    def _change(self, channel: str) -> None:
        self._changes[channel] = None
        self._changed.set()

    async def run(self) -> None:
        while True:
            try:
                async with pubsub_of(self._redis) as channels:
                    await self._listen(channels)
            except Exception as error:
                self._incidents.failed("listened to", error)
            await asyncio.sleep(_PAUSE)

    async def _listen(self, channels: PubSub) -> None:
        # The first command connects.
        async with Deadline(HEARTBEAT_TIMEOUT):
            await channels.subscribe(self._heartbeat)
        self._changes = dict(self._wanted)
        self._changed.set()
        async with asyncio.TaskGroup() as group:
            # Concurrently, so that a new subscription does not wait for the next message.
            group.create_task(self._receive(channels))
            group.create_task(self._subscribe(channels))

    async def _subscribe(self, channels: PubSub) -> None:
        while not _is_cancelled():
            await self._changed.wait()
            some = list(islice(self._changes, _AT_ONCE))
            for channel in some:
                del self._changes[channel]
            if not self._changes:
                self._changed.clear()
            if new := [channel for channel in some if channel in self._wanted]:
                await channels.subscribe(*new)
            if old := [channel for channel in some if channel not in self._wanted]:
                await channels.unsubscribe(*old)

    async def _receive(self, channels: PubSub) -> None:
        since = self._timer()
        while not _is_cancelled():
            message = await channels.get_message(timeout=_POLL)
            if message is None:
                # Only with an empty buffer: after a stall of this process a heartbeat may be in it.
                if self._timer() - max(since, self._heartbeat_at) >= HEARTBEAT_TIMEOUT:
                    raise TimeoutError("no heartbeat on an open pub/sub connection")
                continue
            if message["type"] not in ("message", "subscribe"):
                continue
            channel = message["channel"].decode()
            if channel == self._heartbeat:
                # The first confirmation counts as a heartbeat, which comes a second later.
                if message["type"] == "message" or self._heartbeat_at < 0:
                    self._heartbeat_at = self._timer()
                    if self._heartbeat_at - since >= HEARTBEAT_TIMEOUT:  # not for each of many short-lived connections
                        self._incidents.recovered("listened to")
            elif message["type"] == "message":
                self.on_message(channel, message["data"])
            else:
                self._on_listening(channel)


def _is_cancelled() -> bool:
    """Whether this task was cancelled, also where redis-py swallowed the cancellation: `wait_for` of Python 3.11 does
    where the result arrives in the same loop iteration. The task group would never end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
