"""One line for a failure and one for its end, however often it is tried in between."""

import logging


class IncidentLog:
    """The failures that last, by what cannot be done. `subject` is whose they are, `logger` where the lines go."""

    def __init__(self, subject: str, logger: logging.Logger) -> None:
        self._subject = subject
        self._logger = logger
        self._failures: dict[str, int] = {}

    def failed(self, what: str, error: BaseException) -> None:
        """`what` is a past participle, what the subject cannot be: read, written."""
        if what not in self._failures:
            self._logger.warning("%s cannot be %s: %s", self._subject, what, describe(error))
        self._failures[what] = self._failures.get(what, 0) + 1

    def recovered(self, what: str) -> None:
        """It works; a line where it did not before."""
        if failures := self._failures.pop(what, 0):
            self._logger.warning("%s can be %s again, after %d failures", self._subject, what, failures)

    def is_ongoing(self, what: str) -> bool:
        """Whether it failed the last time."""
        return what in self._failures


def describe(error: BaseException) -> str:
    """Its kind and its first words: Redis says there what it refuses."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:200].rstrip(": ")
