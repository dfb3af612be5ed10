"""What goes wrong is said once, and once that it is over, however often it is tried in between."""

import logging

logger = logging.getLogger("gateway.log")


class IncidentLog:
    def __init__(self) -> None:
        self._met: dict[str, int] = {}

    def meet(self, what: str, error: BaseException) -> None:
        """`what` is what the log cannot be: read, written."""
        if what not in self._met:
            logger.warning("the log cannot be %s: %s", what, describe(error))
        self._met[what] = self._met.get(what, 0) + 1

    def end(self, what: str) -> None:
        if times := self._met.pop(what, 0):
            logger.warning("the log can be %s again, after %d failures", what, times)


def describe(error: BaseException) -> str:
    """Its kind and its first words: Redis says there what it refuses."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:200].rstrip(": ")
