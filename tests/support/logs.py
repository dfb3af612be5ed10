"""Logs that fail."""

from gateway.core.errors import LogUnavailable
from gateway.core.log import Draft, Receipt
from gateway.logs.memory import MemoryLog
from gateway.testing import CURSOR_KEY


class FailingLog(MemoryLog):
    """A log whose `append` raises `error`: by default it does not answer."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__((CURSOR_KEY,))
        self.error = error or LogUnavailable()

    async def append(self, tenant: str, draft: Draft) -> Receipt:
        raise self.error
