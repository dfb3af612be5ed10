"""Reserved tenants: those of the gateway itself, whose names are outside the grammar of a tenant.

No token, request or publisher can name them, since each checks that grammar (`schemas.rooms.is_id`).
"""

from collections.abc import Iterable, Iterator
from typing import Final

CANARY_TENANTS: Final = ("_canary-1", "_canary-2")
"""The tenants of the isolation canary."""

_RESERVED: Final = frozenset(CANARY_TENANTS)


def is_reserved(tenant: str) -> bool:
    return tenant in _RESERVED


def without_reserved(tenants: Iterable[str]) -> Iterator[str]:
    """The tenants that have clients: all but the reserved ones."""
    return (tenant for tenant in tenants if tenant not in _RESERVED)
