"""Incident log: one line when an operation begins to fail and one when it works again, not one for each attempt."""

import logging


class IncidentLog:
    """The ongoing failures, by operation. `subject` is named in the lines."""

    def __init__(self, subject: str, logger: logging.Logger) -> None:
        self._subject = subject
        self._logger = logger
        self._failures: dict[str, int] = {}

    def failed(self, what: str, error: BaseException) -> None:
        """Record a failure of an operation; `what` is its past participle: read, written."""
        if what not in self._failures:
            self._logger.warning("%s cannot be %s: %s", self._subject, what, describe(error))
        self._failures[what] = self._failures.get(what, 0) + 1

    def recovered(self, what: str) -> None:
        """Record a success; logs a line if the operation was failing."""
        if failures := self._failures.pop(what, 0):
            self._logger.warning("%s can be %s again, after %d failures", self._subject, what, failures)

    def is_ongoing(self, what: str) -> bool:
        """Whether the operation failed the last time."""
        return what in self._failures


def describe(error: BaseException) -> str:
    """The class of an exception and the beginning of its text, in which Redis says what it refuses."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:200].rstrip(": ")
