"""The tenant that a request of an administrator is about."""

from typing import Annotated

from fastapi import Query

from auth.identity import Identity, require_admin
from gateway.core.errors import GatewayError
from schemas.codes import ErrorCode
from schemas.rooms import ID_GRAMMAR, is_id

Tenant = Annotated[str | None, Query(max_length=64, description="only for the scope `platform`; else the token's own")]


def administered_tenant(holder: Identity, tenant: str | None) -> str:
    """The tenant asked for, by default the holder's own. Raises `AuthError` for one that the holder does not
    administer, `GatewayError` for an invalid name."""
    asked = tenant or holder.tenant
    require_admin(holder, asked)
    if not is_id(asked):
        raise GatewayError(ErrorCode.BAD_MESSAGE, f"tenant: {ID_GRAMMAR}")
    return asked
