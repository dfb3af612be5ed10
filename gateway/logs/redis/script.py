"""Lua scripts of the log, run in Redis."""

from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_LOADS: Final = 3
"""Attempts to load a script; beyond that the commands reach another server than SCRIPT LOAD does."""

Call = tuple[list[str], list[Any]]
"""The keys and the arguments of a script."""


class Script:
    """A script of this package, run by its hash (EVALSHA), many calls in one round trip."""

    def __init__(self, name: str) -> None:
        folder = files("gateway.logs.redis")
        # The shared functions are prepended, since the server loads a script as one text.
        self.text = "".join((folder / f"{part}.lua").read_text() for part in ("fence", "trimmed", "items", name))

    async def run_all(self, redis: "Redis", calls: list[Call]) -> list[Any]:
        """The answers in order, exceptions among them. Raises where the connection fails."""
        answers = await self._run(redis, calls)
        for _ in range(_LOADS):
            # After a restart or SCRIPT FLUSH the server has no scripts, and has executed none of these calls.
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if not missing:
                break
            await redis.script_load(self.text)
            for i, answer in zip(missing, await self._run(redis, [calls[i] for i in missing]), strict=True):
                answers[i] = answer
        return answers

    async def _run(self, redis: "Redis", calls: list[Call]) -> list[Any]:
        sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()  # which Redis knows it by
        async with redis.pipeline(transaction=False) as pipeline:
            for keys, arguments in calls:
                pipeline.evalsha(sha, len(keys), *keys, *arguments)
            return list(await pipeline.execute(raise_on_error=False))
