"""Access control by the application: its functions `authenticate` and `authorize`."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, Protocol, TypeVar

from auth.errors import AuthError, RoomRefused
from auth.identity import Identity
from gateway.core.client_request import ClientRequest
from gateway.core.errors import ApplicationFailed
from gateway.engine.application_threads import ApplicationThreads
from gateway.engine.session_identity import SessionIdentity
from gateway.telemetry import log_events
from schemas.rooms import user_room

ANSWER_SECONDS: Final = 5.0
"""The timeout of each call of the application; a call that takes longer is refused."""

Answer = TypeVar("Answer")

_NO_ROOMS: Final[frozenset[str]] = frozenset()


class Authenticate(Protocol):
    """The application's authentication, called with each handshake and HTTP request before its token is verified.
    Returns the client's identity, or None for an unknown client, which may have a token. An exception refuses the
    request."""

    def __call__(self, request: ClientRequest, /) -> Awaitable[SessionIdentity | None] | SessionIdentity | None: ...


class Authorize(Protocol):
    """The application's authorization, called before rooms that an identity's patterns grant are joined, and for
    presence. Returns those of `rooms` that the identity may join. The identity's own room is not passed. An exception
    refuses the request."""

    def __call__(self, identity: Identity, rooms: Sequence[str], /) -> Awaitable[Collection[str]] | Collection[str]: ...


class Access:
    """Calls the application's functions: a coroutine function on the event loop, a plain one in a thread.

    `authenticates` and `authorizes` are false without a function; nothing is awaited then. Methods raise
    `ApplicationFailed` where a function raises or times out, or all threads are hung, and `AuthError` where it raises
    one.
    """

    def __init__(self, authenticate: Authenticate | None = None, authorize: Authorize | None = None) -> None:
        self.authenticates: Final = authenticate is not None
        self.authorizes: Final = authorize is not None
        self._authenticate = authenticate
        self._authorize = authorize
        self._threads = ApplicationThreads()

    async def authenticate(self, request: ClientRequest) -> SessionIdentity | None:
        """The client's identity, None where the application does not know it."""
        if self._authenticate is None:
            return None
        return await self._ask("authenticate", self._authenticate, _session, request)

    async def refused(self, identity: Identity, rooms: Iterable[str]) -> frozenset[str]:
        """The rooms among `rooms`, granted by its patterns, that the identity may not join."""
        own = user_room(identity.user_id)
        asked = tuple(dict.fromkeys(room for room in rooms if room != own))
        if self._authorize is None or not asked:
            return _NO_ROOMS
        return frozenset(asked) - await self._ask("authorize", self._authorize, _rooms, identity, asked)

    async def require(self, identity: Identity, rooms: Iterable[str]) -> None:
        """Raise `RoomRefused` unless the identity may join all of `rooms`, granted by its patterns."""
        rooms = list(rooms)
        if refused := await self.refused(identity, rooms):
            raise RoomRefused(room for room in rooms if room in refused)

    async def _ask(
        self, name: str, function: Callable[..., Any], read: Callable[[object], Answer], *arguments: object
    ) -> Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if _is_coroutine_function(function):
                    answer = function(*arguments)
                else:
                    answer = await self._threads.call(ANSWER_SECONDS, function, *arguments)
                return read(await answer if isawaitable(answer) else answer)
        except AuthError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The function has awaited a task that another part of the application cancelled.
            failure = self.failure(name, RuntimeError("it was cancelled"))
        except Exception as error:
            failure = self.failure(name, error)
        # Raised outside the handler, so that the application's error is not its context.
        raise failure

    def failure(self, name: str, error: Exception) -> ApplicationFailed:
        """Log a failure of an application function, and return the error to raise."""
        log_events.application_failed(name, error)
        return ApplicationFailed()


def _session(answer: object) -> SessionIdentity | None:
    if answer is not None and not isinstance(answer, SessionIdentity):
        raise TypeError(f"authenticate returns a SessionIdentity or None, not {type(answer).__name__}")
    return answer


def _rooms(answer: object) -> frozenset[str]:
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise TypeError(f"authorize returns a collection of rooms, not {type(answer).__name__}")
    return frozenset(answer)


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


TOKENS_ONLY: Final = Access()
"""Access by tokens alone: the application gave no function."""
