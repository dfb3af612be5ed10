"""The gateway, as the parts that it is made of see it."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from gateway.core.connection import Connection
from gateway.core.log import Log
from gateway.core.manager import ConnectionManager
from gateway.engine.delivery import Delivery
from schemas import messages
from schemas.codes import CloseCode


class House(Protocol):
    """What a part may use of the others, and what it may have done to a client. `clock` is seconds since the epoch."""

    log: Log
    manager: ConnectionManager
    delivery: Delivery
    clock: Callable[[], float]

    def is_open(self, connection: Connection) -> bool: ...

    def reply(self, connection: Connection, message: messages.Message, id: str | int | None = None) -> None: ...

    def close(self, connection: Connection, code: CloseCode, reason: str) -> None: ...

    def fail(self, connection: Connection) -> None: ...

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None: ...
