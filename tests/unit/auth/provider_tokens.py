"""Tokens of the shape that each identity provider documents: header and claims, without what is secret in them."""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.forge import NOW

DAY: Final = 86_400
UUID: Final = "8f2c1d9e-4b7a-4c3d-9e2f-1a2b3c4d5e6f"


@dataclass(frozen=True)
class Shape:
    """A provider's token, the settings that take it, and what the gateway makes of it."""

    provider: str
    header: dict[str, Any]
    claims: dict[str, Any]
    settings: dict[str, Any]
    user_id: str
    tenant: str
    rooms: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset({"subscribe"})
    token_id: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def _times(lifetime: int) -> dict[str, Any]:
    return {"iat": NOW - 10, "exp": NOW - 10 + lifetime}


AUTH0: Final = Shape(
    "auth0",
    {"alg": "RS256", "typ": "JWT", "kid": "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg"},
    {
        "https://acme.example/rooms": ["circle:7", "project:*"],
        "https://acme.example/email": "ada@example.com",
        "iss": "https://my-domain.auth0.com/",
        "sub": "auth0|6553da60a54af58e29493993",
        "aud": ["https://gateway.example.com", "https://my-domain.auth0.com/userinfo"],
        **_times(DAY),
        "scope": "openid profile email offline_access subscribe publish",
        "org_id": "org_9ybsU1dN2dKfDkBi",
        "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
        "permissions": ["read:patients"],
    },
    {
        "external_issuer": "https://my-domain.auth0.com/",
        "external_audience": ("https://gateway.example.com",),
        "external_rooms_claim": "https://acme.example/rooms",
    },
    "auth0|6553da60a54af58e29493993",
    "org_9ybsU1dN2dKfDkBi",
    ("circle:7", "project:*"),
    frozenset({"subscribe", "publish"}),
)

AUTH0_RFC9068: Final = Shape(
    "auth0",
    {"alg": "RS256", "typ": "at+jwt", "kid": "k"},
    {
        "iss": "https://my-domain.auth0.com/",
        "sub": "awZdfIir8YFdGZWkvCejDoUb7SjTDicx@clients",
        "aud": "https://gateway.example.com",
        **_times(DAY),
        "scope": "read:patients",
        "org_id": "org_9ybsU1dN2dKfDkBi",
        "client_id": "awZdfIir8YFdGZWkvCejDoUb7SjTDicx",
        "jti": "73WakrfVbNJBaAmhQtEeDv",
    },
    {
        "external_issuer": "https://my-domain.auth0.com/",
        "external_audience": ("https://other.example", "https://gateway.example.com"),
        "external_default_rooms": ("circle:*",),
    },
    "awZdfIir8YFdGZWkvCejDoUb7SjTDicx@clients",
    "org_9ybsU1dN2dKfDkBi",
    ("circle:*",),
    token_id="73WakrfVbNJBaAmhQtEeDv",
)


def _keycloak(organization: Any) -> Shape:
    return Shape(
        "keycloak",
        {"alg": "RS256", "typ": "JWT", "kid": "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"},
        {
            **_times(300),
            "auth_time": NOW - 11,
            "jti": f"onrtac:{UUID}",
            "iss": "https://id.example.com/realms/acme",
            "aud": ["gathering-gateway", "account"],
            "sub": UUID,
            "typ": "Bearer",
            "azp": "dashboard",
            "sid": UUID,
            "acr": "1",
            "allowed-origins": ["https://app.example.com"],
            "realm_access": {"roles": ["offline_access", "uma_authorization", "circle:9"]},
            "resource_access": {"account": {"roles": ["manage-account"]}},
            "scope": "openid organization email profile",
            "organization": organization,
            "email_verified": True,
            "preferred_username": "ada",
        },
        {
            "external_issuer": "https://id.example.com/realms/acme",
            "external_rooms_claim": "/realm_access/roles",
        },
        UUID,
        "acme",
        ("circle:9",),
        token_id=f"onrtac:{UUID}",
    )


KEYCLOAK: Final = _keycloak(["acme"])
KEYCLOAK_WITH_DETAILS: Final = _keycloak({"acme": {"id": UUID, "plan": ["gold"]}})

ENTRA: Final = Shape(
    "entra",
    {"typ": "JWT", "alg": "RS256", "kid": "nOo3ZDrODXEK1jKWhXslHR_KXEg"},
    {
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        "iss": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        **_times(28 * 3_600),
        "nbf": NOW - 10,
        "aio": "AXQAi/8IAAAAtAaZLo3ChMif6KOnttRB7eBq4/DccQzjcJGxPYy/C3jDaNGxXd6wNIIVGRghNRnwJ1lOcAnNZcjvkoyrFxCttv33",
        "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        "azpacr": "0",
        "name": "Ada Lovelace",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "ada@example.com",
        "rh": "I",
        "scp": "access_as_user publish",
        "sub": "-HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    },
    {
        "external_issuer": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        "external_audience": ("6e74172b-be56-4843-9ff4-e66a39bb12e3",),
        "external_tenants": ("72f988bf-86f1-41af-91ab-2d7cd011db47=acme",),
    },
    "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "acme",
    scopes=frozenset({"publish"}),
)

ENTRA_V1_APPLICATION: Final = Shape(
    "entra",
    {
        "typ": "JWT",
        "alg": "RS256",
        "x5t": "i6lGk3FZzxRcUb2C3nEQ7syHJlY",
        "kid": "i6lGk3FZzxRcUb2C3nEQ7syHJlY",
    },
    {
        "aud": "api://gateway",
        "iss": "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/",
        **_times(3_900),
        "nbf": NOW - 10,
        "appid": "75dbe77f-10a3-4e59-85fd-8c127544f17c",
        "appidacr": "1",
        "oid": "05833b6b-aa1d-42d4-9ec0-1b2bb9194438",
        "roles": ["publish", "Files.Read.All"],
        "sub": "05833b6b-aa1d-42d4-9ec0-1b2bb9194438",
        "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "ver": "1.0",
    },
    {
        "external_issuer": "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/",
        "external_audience": ("api://gateway",),
    },
    "05833b6b-aa1d-42d4-9ec0-1b2bb9194438",
    "72f988bf-86f1-41af-91ab-2d7cd011db47",
    scopes=frozenset({"publish"}),
)

_POOL: Final = "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example"

COGNITO: Final = Shape(
    "cognito",
    {"kid": "1234example=", "alg": "RS256"},
    {
        "sub": UUID,
        "device_key": UUID,
        "cognito:groups": ["admins", "circle:1", "project:5"],
        "iss": _POOL,
        "version": 2,
        "client_id": "1example23456789",
        "origin_jti": UUID,
        "event_id": UUID,
        "token_use": "access",
        "scope": "phone openid profile aws.cognito.signin.user.admin",
        "auth_time": NOW - 10,
        **_times(DAY),
        "jti": UUID,
        "username": "ada",
        "custom:tenant": "acme",
    },
    {"external_issuer": _POOL, "external_audience": ("1example23456789",)},
    UUID,
    "acme",
    ("circle:1", "project:5"),
    token_id=UUID,
)

COGNITO_ID: Final = Shape(
    "cognito",
    {"kid": "1234example=", "alg": "RS256"},
    {
        "sub": UUID,
        "cognito:groups": ["admins"],
        "email_verified": True,
        "iss": _POOL,
        "cognito:username": "ada",
        "custom:tenant": "acme",
        "aud": "1example23456789",
        "token_use": "id",
        "auth_time": NOW - 10,
        **_times(3_600),
    },
    {"external_issuer": _POOL, "external_audience": ("1example23456789",), "external_default_rooms": ("tenant",)},
    UUID,
    "acme",
    ("tenant",),
)

SUPABASE: Final = Shape(
    "supabase",
    {"alg": "ES256", "kid": "b81269f1-21d8-4f2e-b719-c2240a840d90", "typ": "JWT"},
    {
        "iss": "https://abcdefghijklmnop.supabase.co/auth/v1",
        "aud": "authenticated",
        **_times(3_600),
        "sub": UUID,
        "email": "ada@example.com",
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"], "tenant": "acme", "rooms": ["circle:3"]},
        "user_metadata": {"tenant": "globex", "rooms": ["circle:*"]},
        "role": "authenticated",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": NOW - 10}],
        "session_id": UUID,
        "is_anonymous": False,
    },
    {"external_issuer": "https://abcdefghijklmnop.supabase.co/auth/v1"},
    UUID,
    "acme",
    ("circle:3",),
)

CLERK: Final = Shape(
    "clerk",
    {"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_2nGqZBwb7oaBeVYCTBpDJDPQF9V", "typ": "JWT"},
    {
        "azp": "https://app.example.com",
        **_times(60),
        "fva": [7, -1],
        "iss": "https://clerk.example.com",
        "jti": "a1b2c3d4e5f6a7b8c9d0",
        "nbf": NOW - 20,
        "o": {"id": "org_2nGqZBwb7oaBeVYC", "rol": "admin", "slg": "acme", "per": "read", "fpm": "3"},
        "pla": "o:free",
        "sid": "sess_2nGqZBwb7oaBeVYC",
        "sts": "active",
        "sub": "user_2nGqZBwb7oaBeVYC",
        "v": 2,
    },
    {"external_issuer": "https://clerk.example.com", "external_audience": ("https://app.example.com",)},
    "user_2nGqZBwb7oaBeVYC",
    "org_2nGqZBwb7oaBeVYC",
    token_id="a1b2c3d4e5f6a7b8c9d0",
)

CLERK_V1: Final = Shape(
    "clerk",
    {"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "k", "typ": "JWT"},
    {
        "azp": "https://app.example.com",
        **_times(60),
        "iss": "https://clerk.example.com",
        "nbf": NOW - 20,
        "org_id": "org_2nGqZBwb7oaBeVYC",
        "org_role": "org:admin",
        "org_slug": "acme",
        "sid": "sess_2nGqZBwb7oaBeVYC",
        "sub": "user_2nGqZBwb7oaBeVYC",
    },
    {"external_issuer": "https://clerk.example.com", "external_audience": ("https://app.example.com",)},
    "user_2nGqZBwb7oaBeVYC",
    "org_2nGqZBwb7oaBeVYC",
)

_GOOGLE_CLIENT: Final = "1234987819200.apps.googleusercontent.com"

GOOGLE: Final = Shape(
    "google",
    {"alg": "RS256", "kid": "f833e8f7fe3fe4b878948219a1684afa373ca86f", "typ": "JWT"},
    {
        "iss": "https://accounts.google.com",
        "azp": _GOOGLE_CLIENT,
        "aud": _GOOGLE_CLIENT,
        "sub": "10769150350006150715113082367",
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "hd": "example.com",
        "email": "ada@example.com",
        "email_verified": True,
        **_times(3_600),
        "nonce": "0394852-3190485-2490358",
    },
    {"external_audience": (_GOOGLE_CLIENT,), "external_tenants": ("example.com=acme", "other.example=globex")},
    "10769150350006150715113082367",
    "acme",
)

GOOGLE_SHORT_ISSUER: Final = Shape(
    "google",
    GOOGLE.header,
    {**GOOGLE.claims, "iss": "accounts.google.com", "hd": "other.example", "jti": "abc161fccb2e1aa05b8", "nbf": NOW},
    GOOGLE.settings,
    GOOGLE.user_id,
    "globex",
    token_id="abc161fccb2e1aa05b8",
)

SHAPES: Final = {name: shape for name, shape in globals().copy().items() if isinstance(shape, Shape)}
