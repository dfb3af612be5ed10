"""Counts of published events, by source and result."""

from typing import Final

from gateway.core.log import Receipt

SOURCES: Final = ("http", "websocket", "process")
"""The ways to publish: a request, a command, a call in this process."""


class PublishCount:
    """The events of one source by result: appended to the log, duplicates of earlier ones, and refused."""

    __slots__ = ("accepted", "duplicate", "refused")

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicate = 0
        self.refused = 0

    def add(self, receipt: Receipt) -> None:
        """Count an event that the log has."""
        if receipt.duplicate:
            self.duplicate += 1
        else:
            self.accepted += 1
