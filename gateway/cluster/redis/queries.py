"""Questions between nodes on Redis: one pub/sub channel for each node."""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from gateway.cluster.redis.context import Failures
from gateway.cluster.redis.members import RedisMembers
from gateway.core.cluster import Answer, NodeAnswers
from gateway.redis.client import COMMAND_SECONDS, pubsub_of
from gateway.redis.deadlines import Deadline
from gateway.redis.incidents import IncidentLog
from gateway.redis.keys import KeySpace
from gateway.redis.tasks import cancel_and_wait

_ANSWER_SECONDS: Final = 0.8
"""The timeout of an answer, at both ends: the asker, from when its questions were sent, and the node that answers."""

_SILENCE: Final = 5.0
"""Seconds without a message after which the connection is checked; after twice as many it is replaced."""

_MAX_ANSWERING: Final = 32
"""Questions that are answered at a time; others are dropped, and their askers find this node silent."""

logger = logging.getLogger("gateway.nodes")


@dataclass(slots=True, eq=False)
class _Asked:
    """A question that waits for the answers of `waiting`; `nodes` are all that could have something to say."""

    nodes: set[str]
    sent: bool = False
    waiting: set[str] = field(default_factory=set)
    answers: dict[str, Any] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


_Send = Callable[[_Asked, str], Awaitable[None]]


class RedisQueries:
    """The `NodeQueries` of nodes that share a Redis server. Which nodes listen is known from their subscriptions.

    A question costs Redis one message for each node, and one for each answer. A node that no longer listens is looked
    up by its lease: it may be out of reach. `timer` is seconds of a monotonic clock.
    """

    def __init__(self, redis: "Redis", members: RedisMembers, *, keys: KeySpace, timer: Callable[[], float]) -> None:
        self._redis = redis
        self._members = members
        self._keys = keys
        self._timer = timer
        self._answers: dict[str, Answer] = {}
        self._known: set[str] = set()
        """The other nodes that run, as of the last question: those that listened, or still have their lease."""
        self._pending: dict[str, _Asked] = {}
        self._answering: list[asyncio.Task[None]] = []
        self._incidents = IncidentLog("questions of the other nodes", logger)

    def attach(self, kind: str, answer: Answer) -> None:
        self._answers[kind] = answer

    # ---- asking

    async def ask(self, kind: str, tenant: str | None, question: Any) -> NodeAnswers:
        remote = {} if tenant is None else self._members.remote(tenant).nodes
        asked = _Asked({node for node, members in remote.items() if members} | self._known)
        return await self._ask(asked, self._send, {"kind": kind, "question": question})

    async def ask_node(self, kind: str, node: str, question: Any) -> NodeAnswers:
        return await self._ask(_Asked({node}, waiting={node}), self._send_to_one, {"kind": kind, "question": question})

    async def _ask(self, asked: _Asked, send: _Send, content: dict[str, Any]) -> NodeAnswers:
        id = secrets.token_hex(8)
        text = json.dumps({"id": id, "from": self._members.node, **content}, separators=(",", ":"))
        self._pending[id] = asked
        try:
            async with Deadline(COMMAND_SECONDS):
                await send(asked, text)
            asked.sent = True
            self._incidents.recovered("sent")
            if asked.waiting:
                async with Deadline(_ANSWER_SECONDS):
                    await asked.answered.wait()
        except Failures as error:  # of which TimeoutError is one
            if not asked.sent:
                self._incidents.failed("sent", error)
        finally:
            del self._pending[id]
        silent = tuple(sorted(asked.nodes - asked.answers.keys()))
        return NodeAnswers(asked.answers, silent, not asked.sent or self._members.partial)

    async def _send_to_one(self, asked: _Asked, text: str) -> None:
        """Send the question to the one node, which is silent where it runs and does not listen."""
        (node,) = asked.nodes
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.exists(self._keys.alive(node))
            pipeline.publish(self._keys.queries(node), text)
            runs, listens = await pipeline.execute()
        if not listens:
            asked.waiting.clear()
            asked.nodes = {node} if runs else set()

    async def _send(self, asked: _Asked, text: str) -> None:
        """Send the question to all nodes that listen. Those known from before that do not run are not silent."""
        own, prefix = self._members.node, self._keys.queries("")
        channels: Any = await self._redis.pubsub_channels(self._keys.queries("*"))
        asked.waiting = {channel.decode().removeprefix(prefix) for channel in channels} - {own}
        absent = sorted(asked.nodes - asked.waiting)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for node in absent:
                pipeline.exists(self._keys.alive(node))
            for node in asked.waiting:
                pipeline.publish(self._keys.queries(node), text)
            replies = await pipeline.execute()
        stopped = {node for node, runs in zip(absent, replies, strict=False) if not runs}
        self._known = (self._known | asked.waiting) - stopped
        asked.nodes = (asked.nodes | asked.waiting) - stopped

    # ---- answering

    async def run(self) -> None:
        try:
            async with pubsub_of(self._redis) as channels:
                async with Deadline(COMMAND_SECONDS):
                    await channels.subscribe(self._keys.queries(self._members.node))
                self._incidents.recovered("received")
                await self._receive(channels)
        except Failures as error:
            self._incidents.failed("received", error)
        finally:
            await cancel_and_wait(self._answering)

    async def _receive(self, channels: PubSub) -> None:
        received_at = checked_at = self._timer()
        while True:
            message = await channels.get_message(timeout=1.0)
            now = self._timer()
            if message is not None:
                received_at = now
                if message["type"] == "message":
                    self._on_message(message["data"])
            elif now - received_at >= 2 * _SILENCE:
                raise TimeoutError("no answer on an open pub/sub connection")
            elif now - max(received_at, checked_at) >= _SILENCE:
                checked_at = now
                async with Deadline(COMMAND_SECONDS):
                    await channels.ping()

    def _on_message(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            id, node = message["id"], message["from"]
        except (ValueError, TypeError, KeyError):
            logger.warning("a message of another node could not be read; it was skipped")
            return
        if "question" not in message:
            if (asked := self._pending.get(id)) is not None:
                asked.answers[node] = message.get("answer")
                asked.waiting.discard(node)
                if not asked.waiting:
                    asked.answered.set()
            return
        if (answer := self._answers.get(message.get("kind"))) is None:
            logger.warning("unknown kind of question from node %s, of another version; upgrade all nodes", node)
            return
        self._answering[:] = [task for task in self._answering if not task.done()]
        if len(self._answering) < _MAX_ANSWERING:
            self._answering.append(asyncio.create_task(self._reply(id, node, answer, message["question"])))

    async def _reply(self, id: str, node: str, function: Answer, question: Any) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await function(question)
            text = json.dumps({"id": id, "from": self._members.node, "answer": answer}, separators=(",", ":"))
            async with Deadline(COMMAND_SECONDS):
                await self._redis.publish(self._keys.queries(node), text)
        except Failures as error:
            self._incidents.failed("answered", error)
        except Exception:
            logger.exception("a question of another node could not be answered")
        else:
            self._incidents.recovered("answered")
