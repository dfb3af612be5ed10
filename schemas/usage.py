"""Bodies of the HTTP API about usage."""

from pydantic import BaseModel


class HourOfUsage(BaseModel):
    """The usage of a tenant at one node in the hour that starts at `hour` (RFC 3339). `bytes` are those of the
    delivered events' frames, before compression."""

    hour: str
    tenant: str
    connection_seconds: float
    events: int
    deliveries: int
    bytes: int


class UsagePage(BaseModel):
    node: str
    hours: list[HourOfUsage]
    next: str | None
