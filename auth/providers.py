"""Identity providers: the form of each one's tokens, by its documentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from auth.external import NO_TYPE

ACCESS_TOKEN_TYPES: Final = ("at+jwt", "application/at+jwt")
"""The two forms of `typ` of an access token (RFC 9068 section 2.1)."""

_ANY_JWT: Final = ("jwt", *ACCESS_TOKEN_TYPES)
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Provider:
    """The form of a provider's tokens. Claims are names or JSON Pointers; the first one that a token has counts.

    `jwks_path` is relative to the issuer's address; `jwks_url` is absolute, with `{tenant}` for the first part of the
    issuer's path. `audiences` are those of every token; without any, the deployment must configure its own if
    `needs_audience`. `needs_tenants` is for providers with public registration.
    """

    issuers: tuple[str, ...] = ()
    jwks_path: str | None = None
    jwks_url: str | None = None
    types: tuple[str, ...] = ACCESS_TOKEN_TYPES
    audience: tuple[str, ...] = ("aud",)
    audiences: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ("tenant",)
    user: tuple[str, ...] = ("sub",)
    rooms: tuple[str, ...] = ("rooms",)
    scope: tuple[str, ...] = ("scope",)
    default_scope: str = ""
    max_lifetime: int | None = None
    needs_audience: bool = False
    needs_tenants: bool = False

    def keys_of(self, issuer: str) -> str | None:
        """The URL of the JWK Set of `issuer`."""
        if self.jwks_url is not None:
            return self.jwks_url.replace("{tenant}", urlsplit(issuer).path.strip("/").partition("/")[0])
        return None if self.jwks_path is None else issuer.rstrip("/") + self.jwks_path


OTHER: Final = Provider()
"""An issuer that writes the gateway's claims into access tokens (RFC 9068)."""

PROVIDERS: Final[Mapping[str, Provider]] = {
    # Access tokens live for 24 h; an organization's members have `org_id`.
    "auth0": Provider(
        jwks_path="/.well-known/jwks.json",
        types=_ANY_JWT,
        tenant=("org_id",),
        default_scope="subscribe",
        max_lifetime=_DAY,
    ),
    "keycloak": Provider(
        jwks_path="/protocol/openid-connect/certs",
        types=_ANY_JWT,
        tenant=("organization", "tenant"),
        default_scope="subscribe",
        max_lifetime=_DAY,
    ),
    # `sub` is another one for each application, and may begin with - or _; `oid` is the user's own. With continuous
    # access evaluation tokens live for up to 28 h.
    "entra": Provider(
        jwks_url="https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys",
        types=_ANY_JWT,
        tenant=("tid",),
        user=("oid", "sub"),
        scope=("scp", "roles"),
        default_scope="subscribe",
        max_lifetime=28 * 3_600,
        needs_audience=True,
    ),
    # The header has no `typ`, and access tokens have the client's id in place of `aud`.
    "cognito": Provider(
        jwks_path="/.well-known/jwks.json",
        types=(NO_TYPE, *_ANY_JWT),
        audience=("aud", "client_id"),
        tenant=("custom:tenant", "tenant"),
        rooms=("cognito:groups",),
        default_scope="subscribe",
        max_lifetime=_DAY,
        needs_audience=True,
    ),
    # Users can write `user_metadata`, and only the server `app_metadata`.
    "supabase": Provider(
        jwks_path="/.well-known/jwks.json",
        types=_ANY_JWT,
        audiences=("authenticated",),
        tenant=("/app_metadata/tenant",),
        rooms=("/app_metadata/rooms",),
        default_scope="subscribe",
        max_lifetime=_DAY,
    ),
    # Session tokens have no `aud`, but the origin of the page as `azp`; `o` is of their version 2, `org_id` of 1.
    "clerk": Provider(
        jwks_path="/.well-known/jwks.json",
        types=_ANY_JWT,
        audience=("aud", "azp"),
        tenant=("/o/id", "org_id"),
        default_scope="subscribe",
        max_lifetime=_DAY,
        needs_audience=True,
    ),
    # ID tokens; `hd` is the domain of a Workspace, and other accounts have none.
    "google": Provider(
        issuers=("https://accounts.google.com", "accounts.google.com"),
        jwks_url="https://www.googleapis.com/oauth2/v3/certs",
        types=_ANY_JWT,
        tenant=("hd",),
        default_scope="subscribe",
        max_lifetime=_DAY,
        needs_audience=True,
        needs_tenants=True,
    ),
}
