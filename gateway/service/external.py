"""The identity provider whose tokens are accepted in addition to the gateway's own, from the settings."""

from dataclasses import dataclass
from difflib import get_close_matches

from auth.external import ClaimMapping, ClaimPath
from auth.keys import KeySource, SharedSecrets, hmac_key
from auth.providers import OTHER, PROVIDERS, Provider
from auth.tokens import TrustedIssuer
from gateway.service.config import ConfigError, Settings
from gateway.service.jwks import JwksRefresher
from gateway.service.keys import make_key
from schemas.rooms import RoomKinds

_USER_WRITABLE_CLAIMS = ("user_metadata", "unsafe_metadata", "unsafeMetadata")


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """The provider under each of its `iss` names, and the refresher of its published keys."""

    trusted: tuple[TrustedIssuer, ...] = ()
    jwks: JwksRefresher | None = None


def external_issuer(settings: Settings) -> ExternalIssuer:
    """The identity provider of the settings, if any. Raises `ConfigError`."""
    provider = _provider(settings)
    names = (settings.external_issuer,) if settings.external_issuer else provider.issuers
    if not names:
        _require_nothing_without_issuer(settings)
        return ExternalIssuer()
    if settings.jwt_issuer in names:
        raise ConfigError("GATEWAY_EXTERNAL_ISSUER: must differ from GATEWAY_JWT_ISSUER, whose keys are others")
    mapping = _mapping(settings, provider)
    keys, jwks = _keys(settings, provider, names[0])
    scopes = frozenset(settings.external_scopes.split())
    return ExternalIssuer(tuple(TrustedIssuer(name, keys, scopes, mapping=mapping) for name in names), jwks)


def external_warnings(settings: Settings) -> list[str]:
    """Warnings about settings that are valid but not advisable, a sentence each."""
    found = []
    if "platform" in settings.external_scopes.split():
        found.append("GATEWAY_EXTERNAL_SCOPES has platform: the identity provider can then administer every tenant")
    for name in ("external_tenant_claim", "external_user_claim", "external_rooms_claim", "external_scope_claim"):
        claim = getattr(settings, name) or ""
        if any(word in claim for word in _USER_WRITABLE_CLAIMS):
            found.append(f"GATEWAY_{name.upper()} is {claim}: users can write that themselves; use app_metadata")
    return found


def _provider(settings: Settings) -> Provider:
    name = settings.external_provider
    if name is None:
        return OTHER
    if name not in PROVIDERS:
        nearest = get_close_matches(name, PROVIDERS, n=1)
        raise ConfigError(
            f"GATEWAY_EXTERNAL_PROVIDER: {name!a} is not one of {', '.join(PROVIDERS)}"
            + (f"; did you mean {nearest[0]}?" if nearest else "; for another one leave it empty")
        )
    return PROVIDERS[name]


def _require_nothing_without_issuer(settings: Settings) -> None:
    for name in ("external_provider", "external_jwks_url", "external_secret"):
        if getattr(settings, name):
            raise ConfigError(f"GATEWAY_EXTERNAL_ISSUER: set it to the provider's `iss`, with GATEWAY_{name.upper()}")


def _mapping(settings: Settings, provider: Provider) -> ClaimMapping:
    audiences = settings.external_audience or provider.audiences
    if not audiences and provider.needs_audience:
        raise ConfigError(
            "GATEWAY_EXTERNAL_AUDIENCE: set it to what this provider's tokens are for: the application's client id, "
            "the API's identifier, or with clerk the origin of the page"
        )
    if provider.needs_tenants and not settings.external_tenants:
        raise ConfigError(
            "GATEWAY_EXTERNAL_TENANTS: name the domains that may connect and their tenants, such as example.com=acme; "
            "registration with this provider is open to all"
        )
    kinds = RoomKinds(settings.room_kinds)
    if not all(kinds.is_pattern(room) for room in settings.external_default_rooms):
        kind = kinds.names[0]
        raise ConfigError(f"GATEWAY_EXTERNAL_DEFAULT_ROOMS: write patterns such as {kind}:1, {kind}:* or tenant")
    default_scope = settings.external_default_scope or provider.default_scope
    if not set((settings.external_default_scope or "").split()) <= set(settings.external_scopes.split()):
        raise ConfigError(
            "GATEWAY_EXTERNAL_DEFAULT_SCOPE: write scopes that GATEWAY_EXTERNAL_SCOPES allows, separated by spaces"
        )
    renamed = (tenant.rpartition("=") for tenant in settings.external_tenants)
    tenants = {value or tenant: tenant for value, _, tenant in renamed}
    return ClaimMapping(
        audiences=frozenset(audiences or (settings.jwt_audience,)),
        types=frozenset(kind.lower() for kind in settings.external_types or provider.types),
        audience=ClaimPath.parse(*provider.audience),
        tenant=_path("GATEWAY_EXTERNAL_TENANT_CLAIM", settings.external_tenant_claim, provider.tenant),
        user=_path("GATEWAY_EXTERNAL_USER_CLAIM", settings.external_user_claim, provider.user),
        rooms=_path("GATEWAY_EXTERNAL_ROOMS_CLAIM", settings.external_rooms_claim, provider.rooms),
        scope=_path("GATEWAY_EXTERNAL_SCOPE_CLAIM", settings.external_scope_claim, provider.scope),
        tenants=tenants or None,
        default_rooms=settings.external_default_rooms,
        default_scope=default_scope,
        max_lifetime=settings.external_max_lifetime or provider.max_lifetime,
        max_age=settings.external_max_age,
    )


def _path(setting: str, claim: str | None, preset: tuple[str, ...]) -> ClaimPath:
    try:
        return ClaimPath.parse(*((claim,) if claim else preset))
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from None


def _keys(settings: Settings, provider: Provider, issuer: str) -> tuple[KeySource, JwksRefresher | None]:
    secrets = [secret.get_secret_value().encode() for secret in settings.external_secret]
    # A provider with a shared secret may publish no keys: its URL is used only if it is set.
    url = settings.external_jwks_url or (None if secrets else provider.keys_of(issuer))
    if url is None and not secrets:
        raise ConfigError(
            "GATEWAY_EXTERNAL_JWKS_URL: set it, or GATEWAY_EXTERNAL_SECRET, to verify tokens of GATEWAY_EXTERNAL_ISSUER"
        )
    if settings.jwt_secret is not None and settings.jwt_secret.get_secret_value().encode() in secrets:
        raise ConfigError("GATEWAY_EXTERNAL_SECRET: must differ from GATEWAY_JWT_SECRET, which signs as this gateway")
    try:
        jwks = None if url is None else JwksRefresher(url)
    except ValueError as error:
        raise ConfigError(f"GATEWAY_EXTERNAL_JWKS_URL: {error}") from None
    keys = [make_key("GATEWAY_EXTERNAL_SECRET", hmac_key, secret) for secret in secrets]
    if jwks is None or keys:
        return SharedSecrets(keys, jwks), jwks
    return jwks, jwks
