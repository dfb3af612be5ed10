"""Bodies of the HTTP API about usage."""

from pydantic import BaseModel

from schemas.cluster import NodesAsked


class HourOfUsage(BaseModel):
    """The usage of a tenant in the hour that starts at `hour` (RFC 3339). `bytes` are those of the delivered events'
    frames, before compression."""

    hour: str
    tenant: str
    connection_seconds: float
    events: int
    deliveries: int
    bytes: int


class UsagePage(NodesAsked):
    """The sums over all nodes, of which `nodes` answered; `next` is `after` of the next page, null on the last one.
    With `durable` they have the counts of nodes that have ended, and of silent ones up to the last seconds. Without it,
    as with the log in memory, counts end with their process."""

    durable: bool
    nodes: tuple[str, ...]
    hours: list[HourOfUsage]
    next: str | None
