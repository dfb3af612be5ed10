"""The pub/sub listener: Redis channels announce new entries. The fast way, never the truth."""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Final

from redis.asyncio.client import PubSub

from gateway.logs.redis.context import RedisContext
from gateway.redis.tasks import WakeUp

HEARTBEAT_TIMEOUT: Final = 3.0
"""Without a probe, which comes every second, the connection is given up: it may be open and yet carry nothing."""

_PAUSE: Final = 0.2
_POLL: Final = 0.25
_AT_ONCE: Final = 500


class PubSubListener:
    """Listens to the channels that are wanted. `on_message` gets a channel and what came on it; `on_listening` a
    channel that is listened to from now on: what came on it before was not heard.
    """

    def __init__(
        self,
        context: RedisContext,
        on_message: Callable[[str, bytes], None],
        on_listening: Callable[[str], None],
    ) -> None:
        self._redis = context.redis
        self.probe = context.probe
        self._timer = context.timer
        self._on_message = on_message
        self._on_listening = on_listening
        self._incidents = context.incidents
        self._wanted: dict[str, None] = {}
        self._changes: dict[str, None] = {}
        self._changed = WakeUp()
        self._heard_at = float("-inf")

    @property
    def alive(self) -> bool:
        """Whether its own probe came lately."""
        return self._timer() - self._heard_at < HEARTBEAT_TIMEOUT

    def stop(self) -> None:
        """Nothing is heard any more."""
        self._heard_at = float("-inf")

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
                async with self._redis.pubsub() as channels:
                    await self._listen(channels)
            except Exception as error:
                self._incidents.failed("listened to", error)
            await asyncio.sleep(_PAUSE)

    async def _listen(self, channels: PubSub) -> None:
        # The first command connects.
        async with asyncio.timeout(HEARTBEAT_TIMEOUT):
            await channels.subscribe(self.probe)
        self._changes = dict(self._wanted)
        self._changed.set()
        async with asyncio.TaskGroup() as group:
            # One reads while the other one writes, so that a new channel does not wait for the next message.
            group.create_task(self._hear(channels))
            group.create_task(self._subscribe(channels))

    async def _subscribe(self, channels: PubSub) -> None:
        while not _ending():
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

    async def _hear(self, channels: PubSub) -> None:
        since = self._timer()
        while not _ending():
            message = await channels.get_message(timeout=_POLL)
            if message is None:
                # Only where nothing waits to be read: after a stall of this process there is a probe in there.
                if self._timer() - max(since, self._heard_at) >= HEARTBEAT_TIMEOUT:
                    raise TimeoutError("the channel is open and carries nothing")
                continue
            if message["type"] not in ("message", "subscribe"):
                continue
            channel = message["channel"].decode()
            if channel == self.probe:
                # The first time being listened to is as good as a probe, which comes a second later.
                if message["type"] == "message" or self._heard_at < 0:
                    self._heard_at = self._timer()
                    if self._heard_at - since >= HEARTBEAT_TIMEOUT:  # or a line comes each time where it never lasts
                        self._incidents.recovered("listened to")
            elif message["type"] == "message":
                self._on_message(channel, message["data"])
            else:
                self._on_listening(channel)


def _ending() -> bool:
    """Whether this task was cancelled, though a command of redis-py has lost that: under Python 3.11 `wait_for` does
    where the answer comes in the same turn. A group of tasks would wait for it without end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
