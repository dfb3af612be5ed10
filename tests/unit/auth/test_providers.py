"""Identity providers: tokens of the shape that each documents are taken by its preset, and no further than that."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from auth.errors import REASONS, TokenExpired, TokenInvalid
from auth.external import ClaimPath
from auth.identity import SCOPES
from auth.keys import KeyRing, hmac_key
from auth.providers import PROVIDERS
from gateway.service.advice import setting_warnings
from gateway.service.config import ConfigError, Settings
from gateway.service.external import external_issuer
from gateway.service.factory import Service, create_service
from schemas.rooms import DEFAULT_KINDS
from tests.support.clients import http
from tests.support.forge import EC, EC_KEY, NOW, RSA, RSA_KEY
from tests.support.inprocess import running
from tests.support.jwks_server import JwksServer
from tests.support.settings import settings_for
from tests.unit.auth.provider_tokens import (
    AUTH0,
    CLERK,
    COGNITO,
    DAY,
    ENTRA,
    GOOGLE,
    KEYCLOAK,
    SHAPES,
    SUPABASE,
    Shape,
)

SHARED = "a-secret-of-a-provider-0123456789-abcdefghijklmnop"


@pytest.fixture(scope="module")
def keys() -> Iterator[JwksServer]:
    """Where a provider publishes its keys: under whatever `kid` its tokens name, beside those of other uses."""
    server = JwksServer()
    rsa, ec = KeyRing([RSA_KEY]).jwks()["keys"][0], KeyRing([EC_KEY]).jwks()["keys"][0]
    named: list[dict[str, Any]] = [{**rsa, "kid": "encryption", "use": "enc", "alg": "RSA-OAEP"}]
    for shape in SHAPES.values():
        jwk: dict[str, Any] = {**(ec if shape.header["alg"] == "ES256" else rsa), "kid": shape.header["kid"]}
        named.append({**jwk, "x5c": ["MIIC"], "x5t": "abc", "issuer": "https://example.com"})
    server.says({"keys": named})
    yield server
    server.close()


def settings_of(shape: Shape, url: str, **more: Any) -> Settings:
    return settings_for(**{"external_provider": shape.provider, "external_jwks_url": url, **shape.settings, **more})


def token(shape: Shape, header: Mapping[str, Any] | None = None, /, **changed: Any) -> str:
    """The token of this shape, with some claims changed; None leaves one out."""
    claims = {name: value for name, value in {**shape.claims, **changed}.items() if value is not None}
    head = {name: value for name, value in {**shape.header, **(header or {})}.items() if value is not None}
    key: Any = {"RS256": RSA, "ES256": EC, "HS256": SHARED}[head["alg"]]
    # PyJWT writes `typ: JWT` unless it is given another one; an empty one it leaves out.
    return jwt.encode(claims, key, head["alg"], {"typ": "", **head})


async def service_of(shape: Shape, url: str, **more: Any) -> Service:
    service = create_service(settings_of(shape, url, **more))
    assert service.jwks is not None
    await service.jwks.start()
    await service.jwks.stop()
    return service


def refusal(service: Service, text: str, now: float = NOW) -> str:
    """The word of the reason."""
    with pytest.raises(TokenInvalid) as caught:
        service.gateway.connections.verifier.verify(text, now)
    return caught.value.reason


# ---- presets


def test_every_preset_has_a_token_of_its_own() -> None:
    """A preset that is added comes with the shape of its tokens."""
    assert {shape.provider for shape in SHAPES.values()} == PROVIDERS.keys()


@pytest.mark.parametrize("name", SHAPES)
async def test_a_documented_token_is_taken(name: str, keys: JwksServer) -> None:
    """Other claims may be in it: `typ: JWT` or none, lists as `aud`, header members, no `jti`, a day of life."""
    shape = SHAPES[name]
    identity = (await service_of(shape, keys.url)).gateway.connections.verifier.verify(token(shape), NOW)
    assert (identity.user_id, identity.tenant) == (shape.user_id, shape.tenant)
    assert identity.grants.patterns == shape.rooms
    assert identity.scopes == shape.scopes
    assert identity.token_id == shape.token_id
    assert (identity.issued_at, identity.expires_at) == (shape.claims["iat"], shape.claims["exp"])
    assert identity.issuer == shape.claims["iss"]


@pytest.mark.parametrize("name", SHAPES)
async def test_a_preset_gives_nothing_away(name: str, keys: JwksServer) -> None:
    """Not to another audience, issuer, key or type, not without a tenant, and no scope of administrators."""
    shape = SHAPES[name]
    service = await service_of(shape, keys.url)
    provider = PROVIDERS[shape.provider]
    claims: dict[str, Any] = dict.fromkeys(provider.audience)
    assert refusal(service, token(shape, **{**claims, "aud": "another-application"})) == "audience"
    assert refusal(service, token(shape, **claims)) == "audience"
    assert refusal(service, token(shape, iss="https://evil.example")) == "issuer"
    assert refusal(service, token(shape, {"typ": "dpop+jwt"})) == "header_typ"
    assert refusal(service, token(shape, {"crit": ["exp"]})) == "header_crit"
    assert refusal(service, token(shape, {"alg": "HS256"})) == "key_unknown"
    assert refusal(service, token(shape)[:-4] + "AAAA") == "signature"
    assert refusal(service, token(shape, iat=NOW, exp=NOW + 10 * DAY)) == "lifetime"
    tenant = {path.strip("/").split("/")[0]: None for path in provider.tenant}
    assert refusal(service, token(shape, **tenant)) == "claim_tenant"
    greedy: dict[str, Any] = dict.fromkeys(provider.scope, "admin platform subscribe")
    identity = service.gateway.connections.verifier.verify(token(shape, **greedy), NOW)
    assert identity.scopes == {"subscribe"}


@pytest.mark.parametrize("provider", ["entra", "cognito", "clerk", "google"])
def test_a_preset_asks_for_the_audience_where_every_deployment_has_its_own(provider: str) -> None:
    """Another audience is another application of the same issuer, or of any tenant of it."""
    with pytest.raises(ConfigError, match=r"^GATEWAY_EXTERNAL_AUDIENCE: "):
        create_service(settings_for(external_provider=provider, external_issuer="https://id.example.com"))


def test_google_lets_in_the_domains_that_are_named_and_no_other_account() -> None:
    """Any person can have an account: without names it does not start."""
    with pytest.raises(ConfigError, match=r"^GATEWAY_EXTERNAL_TENANTS: .*example\.com=acme"):
        create_service(settings_for(external_provider="google", external_audience=("client",)))


async def test_google_accounts_without_a_domain_or_of_another_are_refused(keys: JwksServer) -> None:
    """Also one whose domain is written as a tenant is."""
    service = await service_of(GOOGLE, keys.url)
    assert refusal(service, token(GOOGLE, hd=None)) == "claim_tenant"
    assert refusal(service, token(GOOGLE, hd="evil.example")) == "tenant"
    assert refusal(service, token(GOOGLE, hd="acme")) == "tenant"


async def test_supabase_takes_the_tenant_that_users_cannot_write(keys: JwksServer) -> None:
    """The settings warn about a weaker choice."""
    service = await service_of(SUPABASE, keys.url)
    assert refusal(service, token(SUPABASE, app_metadata={"provider": "email"})) == "claim_tenant"
    careless = settings_of(SUPABASE, keys.url, external_tenant_claim="/user_metadata/tenant")
    assert any("GATEWAY_EXTERNAL_TENANT_CLAIM" in sentence for sentence in setting_warnings(careless))
    assert not any("EXTERNAL" in sentence for sentence in setting_warnings(settings_of(SUPABASE, keys.url)))


async def test_two_organizations_at_once_are_none(keys: JwksServer) -> None:
    """A connection is of one tenant."""
    service = await service_of(KEYCLOAK, keys.url)
    several: list[Any] = [["acme", "globex"], {"acme": {}, "globex": {}}, [], {}, "", [["acme"]], {"acme": "x"}]
    for organization in several:
        assert refusal(service, token(KEYCLOAK, organization=organization)) == "claim_tenant", organization


def test_the_address_of_the_keys_follows_from_the_issuer() -> None:
    """The discovery document of each provider has the same address."""
    expected = {
        "auth0": "https://my-domain.auth0.com/.well-known/jwks.json",
        "keycloak": "https://id.example.com/realms/acme/protocol/openid-connect/certs",
        "entra": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/discovery/v2.0/keys",
        "cognito": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example/.well-known/jwks.json",
        "supabase": "https://abcdefghijklmnop.supabase.co/auth/v1/.well-known/jwks.json",
        "clerk": "https://clerk.example.com/.well-known/jwks.json",
        "google": "https://www.googleapis.com/oauth2/v3/certs",
    }
    for shape in SHAPES.values():
        assert PROVIDERS[shape.provider].keys_of(shape.claims["iss"]) == expected[shape.provider]
        assert create_service(settings_for(external_provider=shape.provider, **shape.settings)).jwks is not None


# ---- shared secrets


@pytest.mark.parametrize("kid", [None, "6b1c3a", ""])
def test_a_shared_secret_verifies_whatever_the_key_is_called(kid: str | None) -> None:
    """Supabase's older projects sign with one; nothing is fetched for it."""
    service = create_service(
        settings_for(external_provider="supabase", external_secret=(SecretStr(SHARED),), **SUPABASE.settings)
    )
    assert service.jwks is None
    text = token(SUPABASE, {"alg": "HS256", "kid": kid})
    assert service.gateway.connections.verifier.verify(text, NOW).tenant == "acme"
    assert refusal(service, token(SUPABASE)) == "key_unknown"


def test_a_shared_secret_is_rotated() -> None:
    """Old and new are accepted at once."""
    old = "another-secret-of-a-provider-0123456789-abcdefghij"
    service = create_service(
        settings_for(
            external_issuer="https://id.example.com",
            external_secret=f"{old},{SHARED}",
            external_types=("JWT",),
        )
    )
    claims = {"iss": "https://id.example.com", "aud": "gathering-gateway", "sub": "ada", "tenant": "acme"}
    for secret in (old, SHARED):
        text = jwt.encode({**claims, "iat": NOW, "exp": NOW + 60}, secret, "HS256")
        assert service.gateway.connections.verifier.verify(text, NOW).user_id == "ada"


async def test_published_keys_and_a_shared_secret_are_taken_together(keys: JwksServer) -> None:
    """While a provider moves from one to the other, if both are configured."""
    service = await service_of(SUPABASE, keys.url, external_secret=(SecretStr(SHARED),))
    for header in ({}, {"alg": "HS256"}):
        assert service.gateway.connections.verifier.verify(token(SUPABASE, header), NOW).tenant == "acme"


def test_a_shared_secret_signs_for_its_issuer_alone() -> None:
    """No token of the gateway's own, and it is not the gateway's own secret."""
    values: dict[str, Any] = {"external_issuer": "https://id.example.com", "external_secret": (SecretStr(SHARED),)}
    service = create_service(settings_for(**values))
    claims = {"iss": "gathering-gateway", "aud": "gathering-gateway", "sub": "ada", "tenant": "acme", "jti": "x"}
    headers = {"typ": "at+jwt", "kid": hmac_key(SHARED).kid}
    text = jwt.encode({**claims, "iat": NOW, "exp": NOW + 60}, SHARED, "HS256", headers)
    assert refusal(service, text) == "key_unknown"
    headers = {"typ": "at+jwt"}
    text = jwt.encode({**claims, "iat": NOW, "exp": NOW + 60}, SHARED, "HS256", headers)
    assert refusal(service, text) == "signature"
    with pytest.raises(ConfigError, match=r"^GATEWAY_EXTERNAL_SECRET: "):
        create_service(settings_for(**values).model_copy(update={"jwt_secret": SecretStr(SHARED)}))


# ---- mapping


async def test_the_defaults_are_for_tokens_that_carry_none(keys: JwksServer) -> None:
    """The gateway's own words for rooms and scopes: others belong to another API. The defaults remove nothing."""
    defaults: dict[str, Any] = {
        "external_default_rooms": ("tenant", "circle:*"),
        "external_default_scope": "publish subscribe",
        "external_rooms_claim": "groups",
    }
    service = await service_of(AUTH0, keys.url, **defaults)
    verify = service.gateway.connections.verifier.verify
    nothing: Any
    given: Any
    for nothing in (None, [], ["admins", "circle", "Circle:1", 7, None], "everyone"):
        assert verify(token(AUTH0, groups=nothing), NOW).grants.patterns == ("tenant", "circle:*"), nothing
    for given in (["admins", "circle:1"], "circle:1 admins", ["circle:1", "circle:1"]):
        assert verify(token(AUTH0, groups=given), NOW).grants.patterns == ("circle:1",), given
    for nothing in (None, "", "openid profile", ["openid"]):
        assert verify(token(AUTH0, scope=nothing), NOW).scopes == {"publish", "subscribe"}, nothing
    for given in ("openid subscribe", ["subscribe", "openid"]):
        assert verify(token(AUTH0, scope=given), NOW).scopes == {"subscribe"}, given
    assert verify(token(AUTH0, scope="admin"), NOW).scopes == frozenset()
    for wrong in (7, {"subscribe": True}, True):
        assert refusal(service, token(AUTH0, scope=wrong)) == "claim_scope"
        assert refusal(service, token(AUTH0, groups=wrong)) == "claim_rooms"


async def test_scopes_of_administrators_take_a_setting(keys: JwksServer) -> None:
    """By name, and no default scope goes beyond it."""
    service = await service_of(AUTH0, keys.url, external_scopes="subscribe admin")
    identity = service.gateway.connections.verifier.verify(token(AUTH0, scope="admin platform publish"), NOW)
    assert identity.scopes == {"admin"}
    with pytest.raises(ConfigError, match=r"^GATEWAY_EXTERNAL_DEFAULT_SCOPE: "):
        create_service(settings_of(AUTH0, keys.url, external_default_scope="admin"))


async def test_tenants_are_those_that_are_named_renamed_where_asked(keys: JwksServer) -> None:
    """Renaming takes the provider's name away; a number is a name too."""
    tenants = ("org_9ybsU1dN2dKfDkBi=acme", "globex", "42=initech")
    service = await service_of(AUTH0, keys.url, external_tenants=tenants)
    verify = service.gateway.connections.verifier.verify
    for org, tenant in (("org_9ybsU1dN2dKfDkBi", "acme"), ("globex", "globex"), (42, "initech"), ("42", "initech")):
        assert verify(token(AUTH0, org_id=org), NOW).tenant == tenant
    for org in ("acme", "initech", "org_other", "42=initech"):
        assert refusal(service, token(AUTH0, org_id=org)) == "tenant"
    wrong: list[Any] = [None, "", True, 1.5, {"id": "acme"}]
    for value in wrong:
        assert refusal(service, token(AUTH0, org_id=value)) in ("claim_tenant", "tenant"), value


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sub": None}, "claim_sub"),
        ({"sub": "-begins-with-a-hyphen"}, "claim_sub"),
        ({"sub": "a b"}, "claim_sub"),
        ({"org_id": "example.com"}, "claim_tenant"),
        ({"iat": None}, "claim_iat"),
        ({"exp": None}, "claim_exp"),
        ({"exp": "9_999_999_999"}, "claim_exp"),
        ({"exp": True}, "claim_exp"),
        ({"exp": 1e300}, "claim_exp"),
        ({"nbf": "soon"}, "claim_nbf"),
        ({"iat": NOW + 60, "exp": NOW + 120}, "not_yet_valid"),
        ({"nbf": NOW + 60}, "not_yet_valid"),
        ({"jti": "two words"}, "claim_jti"),
        ({"aud": ["x", 7, None]}, "audience"),
        ({"aud": {"https://gateway.example.com": 1}}, "audience"),
        ({"aud": "https://gateway.example.com/"}, "audience"),
        ({"https://acme.example/rooms": [f"circle:{n}" for n in range(129)]}, "claim_rooms"),
    ],
)
async def test_mistakes_are_named(changed: dict[str, Any], reason: str, keys: JwksServer) -> None:
    """The reason for the log, of a fixed set; the caller learns only that the token is invalid."""
    service = await service_of(AUTH0, keys.url)
    assert refusal(service, token(AUTH0, **changed)) == reason


async def test_times_may_have_fractions(keys: JwksServer) -> None:
    """RFC 7519 allows it; they are cut off."""
    service = await service_of(AUTH0, keys.url)
    identity = service.gateway.connections.verifier.verify(token(AUTH0, iat=NOW - 0.5, exp=NOW + 60.9), NOW)
    assert (identity.issued_at, identity.expires_at) == (NOW - 1, NOW + 60)


async def test_a_token_ends_at_its_greatest_age(keys: JwksServer) -> None:
    """The maximum age holds for any `exp`: the connection ends then too, since its identity does."""
    service = await service_of(AUTH0, keys.url, external_max_age=600)
    verify = service.gateway.connections.verifier.verify
    text = token(AUTH0, iat=NOW - 10, exp=NOW + 3_600)
    assert verify(text, NOW).expires_at == NOW + 590
    with pytest.raises(TokenExpired):
        verify(text, NOW + 590)
    assert verify(token(AUTH0, iat=NOW, exp=NOW + 60), NOW).expires_at == NOW + 60


async def test_the_longest_life_is_the_settings_before_the_presets(keys: JwksServer) -> None:
    """Revocations are kept for as long."""
    service = await service_of(AUTH0, keys.url, external_max_lifetime=600)
    assert refusal(service, token(AUTH0)) == "lifetime"
    assert service.gateway.connections.verifier.verify(token(AUTH0, exp=NOW + 500), NOW)
    assert settings_of(ENTRA, keys.url).longest_token_lifetime == 28 * 3_600
    assert settings_of(ENTRA, keys.url, external_max_lifetime=200_000).longest_token_lifetime == 200_000


def test_without_a_preset_tokens_are_as_before(keys: JwksServer) -> None:
    """The gateway's own claims in an access token (RFC 9068), its type in either spelling; `jti` may be missing."""
    values: dict[str, Any] = {"external_issuer": "https://id.example.com", "external_secret": (SecretStr(SHARED),)}
    service = create_service(settings_for(**values))
    claims = {"iss": "https://id.example.com", "aud": ["gathering-gateway"], "sub": "ada", "tenant": "acme",
              "rooms": ["circle:1"], "scope": "subscribe", "rate": 5, "iat": NOW, "exp": NOW + 60}  # fmt: skip
    for kind in ("at+jwt", "application/at+jwt", "AT+JWT"):
        text = jwt.encode(claims, SHARED, "HS256", {"typ": kind, "x5t": "abc", "jku": "https://evil.example"})
        identity = service.gateway.connections.verifier.verify(text, NOW)
        assert identity.grants.patterns == ("circle:1",)
        assert identity.scopes == {"subscribe"}
        assert identity.rate == 5
        assert identity.token_id == ""
    for kind in ("JWT", "", "id_token"):
        assert refusal(service, jwt.encode(claims, SHARED, "HS256", {"typ": kind})) == "header_typ"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain", "a"),
        ("https://example.com/tenant", "b"),
        ("/nested/deep", "c"),
        ("/with~1slash", "d"),
        ("/with~0tilde/0", "e"),
        ("/list/1", "g"),
        ("/list/2", None),
        ("/list/-1", None),
        ("/list/x", None),
        ("/plain/deep", None),
        ("/missing", None),
        ("nested/deep", None),
        ("nested.deep", None),
        ("/", "h"),
        ("/nothing", None),
    ],
)
def test_a_claim_is_found_by_name_or_json_pointer(text: str, found: str | None) -> None:
    """RFC 6901; what begins with no slash is a name, also an address."""
    claims: dict[str, Any] = {
        "plain": "a", "https://example.com/tenant": "b", "nested": {"deep": "c"}, "with/slash": "d",
        "with~tilde": ["e"], "list": ["f", "g"], "": "h", "nothing": None,
    }  # fmt: skip
    assert ClaimPath.parse(text).find(claims) == found
    assert ClaimPath.parse("/missing", text).find(claims) == found


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.sampled_from(list(SHAPES.values())), st.data())
def test_any_claims_are_mapped_or_refused(shape: Shape, data: st.DataObject) -> None:
    """For any claims of a provider: an identity, or a refusal with a known reason."""
    made = external_issuer(settings_for(external_provider=shape.provider, **shape.settings))
    mapping = made.trusted[0].mapping
    assert mapping is not None
    changed = data.draw(st.dictionaries(st.sampled_from([*shape.claims, "tenant", "rate", "nbf", "jti"]), values))
    claims = {**shape.claims, **changed, "iss": shape.claims["iss"]}
    mapped, refused = None, None
    try:
        mapped = mapping.read(claims, DEFAULT_KINDS)
    except TokenInvalid as error:
        refused = error
    if mapped is None:
        assert refused is not None
        assert refused.reason in REASONS
        assert refused.__context__ is None
    else:
        assert mapped.aud in mapping.audiences
        assert set(mapped.scope.split()) <= set(SCOPES)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"external_provider": "okta"}, "PROVIDER"),
    ({"external_provider": "auth"}, "PROVIDER"),
    ({"external_provider": "auth0"}, "ISSUER"),
    ({"external_secret": (SecretStr(SHARED),)}, "ISSUER"),
    ({"external_issuer": "https://id.example.com"}, "JWKS_URL"),
    ({**AUTH0.settings, "external_provider": "auth0", "external_tenant_claim": "/a~2"}, "TENANT_CLAIM"),
    ({**AUTH0.settings, "external_provider": "auth0", "external_default_rooms": ("rooms",)}, "DEFAULT_ROOMS"),
    ({**AUTH0.settings, "external_secret": (SecretStr("a-short-canary"),)}, "SECRET"),
]


@pytest.mark.parametrize(("values", "name"), WRONG)
def test_wrong_settings_are_one_line(values: dict[str, Any], name: str) -> None:
    """Naming the setting, with what to do."""
    with pytest.raises(ConfigError) as caught:
        create_service(settings_for(**values))
    line = str(caught.value)
    assert line.startswith(f"GATEWAY_EXTERNAL_{name}: ")
    assert "\n" not in line
    assert "canary" not in line
    if values.get("external_provider") == "auth":
        assert "did you mean auth0?" in line


# ---- over the wire


async def test_a_providers_token_connects_and_is_revoked_by_its_user(keys: JwksServer) -> None:
    """Without `jti` by the user alone; what was revoked stays so."""
    now = int(time.time())
    text = token(CLERK, iat=now, nbf=now - 10, exp=now + 60, jti=None)
    async with running(settings_of(CLERK, keys.url, external_default_rooms=("circle:*",))) as gate:
        async with gate.client(text, query="&rooms=circle:7") as client:
            assert client.established["data"]["user_id"] == CLERK.user_id
            await client.next("subscribed")
            tenant = CLERK.tenant
            await gate.service.gateway.publish(tenant, "task.created", {}, circle_id=7)
            await client.next("task.created")
            async with http(gate, gate.token("root", tenant, scope="admin")) as api:
                asked = (await api.post("/admin/tokens/introspect", json={"token": text})).json()
                assert (asked["active"], asked["sub"], asked["iss"]) == (True, CLERK.user_id, CLERK.claims["iss"])
                assert not asked.keys() & {"jti", "aud"}
                answer = await api.post("/admin/tokens/revoke", json={"user_id": CLERK.user_id})
                assert answer.json()["disconnected"] == 1
            assert await client.closed() == (4401, "token_revoked")


@pytest.mark.parametrize("shape", [COGNITO, KEYCLOAK], ids=["cognito", "keycloak"])
async def test_a_group_that_is_no_pattern_grants_nothing(shape: Shape, keys: JwksServer) -> None:
    """The rule holds for each of the user's groups and roles."""
    service = await service_of(shape, keys.url)
    identity = service.gateway.connections.verifier.verify(token(shape), NOW)
    assert all(":" in pattern for pattern in identity.grants.patterns)
