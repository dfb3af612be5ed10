"""The tenant that a request of an administrator is about."""

from auth.identity import Identity, require_admin


def administered_tenant(holder: Identity, tenant: str | None) -> str:
    """The tenant asked for, by default the holder's own. Raises `AuthError` for one that the holder does not
    administer."""
    asked = holder.tenant if tenant is None else tenant
    require_admin(holder, asked)
    return asked
