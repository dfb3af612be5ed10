"""`gateway token inspect` explains any token: what it says, what it may do, and why it would be refused."""

import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from auth.errors import REASONS
from auth.keys import KeyRing
from auth.providers import PROVIDERS
from gateway.service.config import Settings
from tests.support.commands import invoke, run
from tests.support.forge import RSA, RSA_KEY
from tests.support.jwks_server import JwksServer
from tests.support.settings import SECRET

KEY = {"GATEWAY_JWT_SECRET": SECRET}
DOCUMENT = (Path(__file__).parents[3] / "docs/identity-providers.md").read_text()
ISSUER = "https://id.example.com"
SHARED = "a-secret-of-a-provider-0123456789-abcdefghijklmnop"
EXTERNAL = {**KEY, "GATEWAY_EXTERNAL_ISSUER": ISSUER, "GATEWAY_EXTERNAL_SECRET": SHARED}


def token(header: dict[str, Any] | None = None, secret: str = SECRET, **changed: Any) -> str:
    """One of the gateway's own, but for what is changed; None leaves a claim out."""
    now = int(time.time())
    good = {"iss": "gathering-gateway", "aud": "gathering-gateway", "sub": "ada", "tenant": "acme", "jti": "x",
            "rooms": ["circle:7", "project:*"], "scope": "subscribe", "iat": now, "exp": now + 600}  # fmt: skip
    claims = {name: value for name, value in {**good, **changed}.items() if value is not None}
    return jwt.encode(claims, secret, "HS256", {"typ": "at+jwt", **(header or {})})


def external(header: dict[str, Any] | None = None, **changed: Any) -> str:
    return token(header, SHARED, **{"iss": ISSUER, **changed})


def refused(text: str, tmp_path: Path, env: dict[str, str]) -> str:
    """The one line about it; the status is 1."""
    done = invoke("token", "inspect", text, cwd=tmp_path, env=env)
    assert (done.exit_code, done.stderr) == (1, ""), done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("refused")]
    return line.removeprefix("refused").strip()


def test_a_good_token_is_explained(tmp_path: Path) -> None:
    """Each claim, and what follows from them; its signature is not shown."""
    text = token(scope="subscribe publish", email="\x1b[31mada@example.com")
    done = run("token", "inspect", text, cwd=tmp_path, env=KEY)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for line in (
        'header    alg: "HS256"',
        'claims    iss: "gathering-gateway"',
        "user      ada",
        "tenant    acme",
        "scope     publish subscribe",
        "follows   user:ada, circle:7, project:*",
        "publishes circle:7, project:*",
        "accepted",
    ):
        assert any(found.startswith(line) for found in lines), (line, done.stdout)
    assert re.search(r"ends +in (600|59\d) seconds \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", done.stdout)
    assert "\x1b" not in done.stdout
    assert text.rpartition(".")[2] not in done.stdout


@pytest.mark.parametrize("form", ["{}\n", "Bearer {}\n", '"{}"', "  {}  \n\n"])
@pytest.mark.parametrize("argument", [(), ("-",)])
def test_a_token_comes_from_standard_input_too(form: str, argument: tuple[str, ...], tmp_path: Path) -> None:
    """Standard input keeps the token out of the command line."""
    done = invoke("token", "inspect", *argument, cwd=tmp_path, env=KEY, input=form.format(token()))
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "accepted")


def test_rights_are_those_of_the_scopes(tmp_path: Path) -> None:
    """Without a scope the user's own room is left; an administrator publishes everywhere."""
    done = invoke("token", "inspect", token(scope=None), cwd=tmp_path, env=KEY)
    assert "follows   user:ada only, without the scope subscribe" in done.stdout
    assert "publishes nothing, without the scope publish" in done.stdout
    done = invoke("token", "inspect", token(scope="admin"), cwd=tmp_path, env=KEY)
    assert "publishes everywhere in its tenant" in done.stdout
    done = invoke("token", "inspect", external(jti=None), cwd=tmp_path, env=EXTERNAL)
    assert "user or tenant, since it has no jti" in done.stdout


REFUSED: list[tuple[str, str, list[str]]] = [
    ("x" * 5_000, "length", ["5,000", "4,096"]),
    ("not-a-token", "shape", ["JWT", "API"]),
    ("e30." + token().partition(".")[2], "header", []),
    (token().partition(".")[0] + ".W10." + "AAAA", "payload", []),
    (token(iss="https://other.example"), "issuer", ["https://other.example", ISSUER, "GATEWAY_EXTERNAL_ISSUER"]),
    (token({"typ": "JWT"}), "header_typ", ['"JWT"', '"at+jwt"']),
    (token({"x5t": "abc"}), "header_member", ["x5t"]),
    (token({"kid": "nobody"}), "key_unknown", ["nobody", "HS256", "GATEWAY_JWT_SECRET"]),
    (token(secret=SHARED), "signature", ["signed"]),
    (token(aud="other"), "audience", ['"other"', '"gathering-gateway"', "GATEWAY_JWT_AUDIENCE"]),
    (token(aud=["gathering-gateway"]), "claim_aud", ["one text"]),
    (token(exp=int(time.time()) + 9_000, iat=int(time.time())), "lifetime", ["9000", "3600", "MAX_TOKEN_LIFETIME"]),
    (token(iat=int(time.time()) + 3_000, exp=int(time.time()) + 6_000), "not_yet_valid", ["clocks"]),
    (token(sub="a b"), "claim_sub", ['"a b"']),
    (token(sub=None), "claim_sub", ["missing"]),
    (token(rooms=["rooms"]), "claim_rooms", ["patterns"]),
    (token(iat=None), "claim_iat", ["missing"]),
    (token(iat=int(time.time()) - 90, exp=int(time.time()) - 60), "token_expired", ["seconds ago", "fresh"]),
    (external({"typ": "JWT"}), "header_typ", ['"JWT"', '"at+jwt"', "GATEWAY_EXTERNAL_TYPES"]),
    (external({"crit": ["b64"], "b64": True}), "header_crit", ["crit"]),
    (external(aud=["a", "b"]), "audience", ['["a", "b"]', "GATEWAY_EXTERNAL_AUDIENCE"]),
    (external(tenant=None), "claim_tenant", ["missing", "GATEWAY_EXTERNAL_TENANT_CLAIM", "/outer/inner"]),
    (external(tenant="example.com"), "claim_tenant", ['"example.com"', "GATEWAY_EXTERNAL_TENANTS"]),
    (external(scope=7), "claim_scope", ["7", "GATEWAY_EXTERNAL_SCOPE_CLAIM"]),
    (external(exp=int(time.time()) + 9_000), "lifetime", ["GATEWAY_EXTERNAL_MAX_LIFETIME"]),
]


@pytest.mark.parametrize(("text", "reason", "words"), REFUSED, ids=lambda value: value if value in REASONS else "")
def test_a_refusal_is_explained(text: str, reason: str, words: list[str], tmp_path: Path) -> None:
    """With the log's word, what the token says, what is accepted, and the setting to look at."""
    line = refused(text, tmp_path, EXTERNAL)
    assert line.startswith(f"{reason}: ")
    assert all(word in line for word in words), line
    assert SHARED not in line
    assert SECRET not in line


def test_a_tenant_that_is_not_listed_is_explained(tmp_path: Path) -> None:
    """With those that are."""
    env = {**EXTERNAL, "GATEWAY_EXTERNAL_TENANTS": "globex=umbrella"}
    line = refused(external(), tmp_path, env)
    assert line.startswith("tenant: ")
    assert all(word in line for word in ('"acme"', '"globex"', "GATEWAY_EXTERNAL_TENANTS"))


def test_claims_are_shown_of_a_token_that_is_refused(tmp_path: Path) -> None:
    """Keys are not needed: without them only the gateway's own signature cannot be verified."""
    done = invoke("token", "inspect", token(), cwd=tmp_path)
    assert done.exit_code == 1
    assert 'sub: "ada"' in done.stdout
    assert "refused   key_unknown: " in done.stdout


def test_published_keys_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the provider, which need not know of a gateway; where it does not answer that is said."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = JwksServer()
    (jwk,) = KeyRing([RSA_KEY]).jwks()["keys"]
    server.says({"keys": [{**jwk, "kid": "k"}]})
    now = int(time.time())
    claims = {"iss": "https://my-domain.auth0.com/", "sub": "auth0|1", "aud": ["https://gateway.example.com"],
              "iat": now, "exp": now + 86_400, "org_id": "org_1"}  # fmt: skip
    text = jwt.encode(claims, RSA, "RS256", {"kid": "k"})
    env = {
        **KEY,
        "GATEWAY_EXTERNAL_PROVIDER": "auth0",
        "GATEWAY_EXTERNAL_ISSUER": "https://my-domain.auth0.com/",
        "GATEWAY_EXTERNAL_AUDIENCE": "https://gateway.example.com",
        "GATEWAY_EXTERNAL_JWKS_URL": server.url,
    }
    try:
        done = invoke("token", "inspect", text, cwd=tmp_path, env=env)
        assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "accepted")
    finally:
        server.close()
    done = invoke("token", "inspect", text, cwd=tmp_path, env=env)
    assert done.exit_code == 1
    assert "key_unknown" in done.stdout


# ---- beside it


def test_issuing_is_as_it_was(tmp_path: Path) -> None:
    """A token and nothing else, with a refusal in one line where something is missing."""
    done = invoke("token", "--user", "inspect", "--tenant", "acme", cwd=tmp_path, env=KEY)
    assert (done.exit_code, done.stdout.count("."), done.stderr) == (0, 2, "")
    for options, missing in (((), "--user"), (("--user", "ada"), "--tenant"), (("--tenant", "acme"), "--user")):
        done = invoke("token", *options, cwd=tmp_path, env=KEY)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"gateway: {missing}: ")
    assert "inspect" in invoke("token", "--help", cwd=tmp_path).stdout


def test_nothing_to_inspect_is_one_line(tmp_path: Path) -> None:
    """Status 2, as other wrong uses."""
    done = invoke("token", "inspect", cwd=tmp_path, env=KEY, input="\n")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


def test_the_document_explains_every_reason() -> None:
    """In its table, by the words of the log."""
    table = DOCUMENT.partition("## Why a token is refused")[2]
    words = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines() if row.startswith("|"))))
    claims = {reason for reason in REASONS if reason.startswith("claim_")}
    assert words - claims == set(REASONS) - claims
    assert words & claims


def test_the_document_has_every_provider_and_setting() -> None:
    """With the claims of its preset."""
    rows = {row.split("|")[1].strip(" `"): row for row in DOCUMENT.splitlines() if row.startswith("| `")}
    for name, provider in PROVIDERS.items():
        for claims in (provider.tenant, provider.user, provider.rooms, provider.scope):
            assert all(f"`{claim}`" in rows[name] for claim in claims), (name, claims)
        assert provider.max_lifetime is not None
        assert f"{provider.max_lifetime // 3_600} h" in rows[name]
    written = re.sub(r"…_", "GATEWAY_EXTERNAL_", DOCUMENT)
    for setting in Settings.model_fields:
        if setting.startswith("external_"):
            assert f"GATEWAY_{setting.upper()}" in written, setting
