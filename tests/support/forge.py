"""Tokens made by hand, byte by byte, so that a test can get any part of one wrong."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from auth.keys import Key, KeyRing, PrivateMaterial, hmac_key, private_key
from auth.tokens import TokenVerifier, TrustedIssuer

NOW: Final = 1_700_000_000
ISSUER: Final = "gathering-gateway"
OTHER_ISSUER: Final = "https://idp.example"
AUDIENCE: Final = "gateway"
LIFETIME: Final = 3600
ADMIN_LIFETIME: Final = 86_400

ABSENT: Final = object()
"""For a claim or member that is to be left out."""

SECRET: Final = bytes(range(64, 96))
OLD_SECRET: Final = bytes(range(150, 190))
RSA: Final = rsa.generate_private_key(65_537, 2048)
EC: Final = ec.generate_private_key(ec.SECP256R1())
ED: Final = ed25519.Ed25519PrivateKey.generate()


def pem(key: PrivateMaterial) -> bytes:
    """A private key as an operator would configure it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: PrivateMaterial) -> bytes:
    """Its public half, which everybody may know."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


HMAC_KEY: Final = hmac_key(SECRET)
RSA_KEY: Final = private_key(pem(RSA))
EC_KEY: Final = private_key(pem(EC))
ED_KEY: Final = private_key(pem(ED))
OTHER_KEY: Final = Key("other", "HS256", OLD_SECRET, OLD_SECRET)
"""The one key of OTHER_ISSUER."""

RING: Final = KeyRing([HMAC_KEY, RSA_KEY, EC_KEY, ED_KEY])


def verifier() -> TokenVerifier:
    """Trusts ISSUER with keys of all four algorithms, and OTHER_ISSUER with one of its own."""
    issuers = [TrustedIssuer(ISSUER, RING), TrustedIssuer(OTHER_ISSUER, KeyRing([OTHER_KEY]))]
    return TokenVerifier(issuers, AUDIENCE, LIFETIME, ADMIN_LIFETIME)


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims, but for those changed."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice@example.org",
        "tenant": "acme",
        "rooms": ["circle:1", "project:*"],
        "scope": "subscribe publish",
        "iat": NOW - 10,
        "exp": NOW + 600,
        "jti": "token-1",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not ABSENT}


def header(**changed: Any) -> dict[str, Any]:
    """A good HS256 header, but for the members changed."""
    good = {"alg": "HS256", "typ": "at+jwt", "kid": HMAC_KEY.kid}
    return {name: value for name, value in {**good, **changed}.items() if value is not ABSENT}


def segment(content: Mapping[str, Any] | bytes | str) -> str:
    """Base64url of bytes, of text as UTF-8, or of a mapping as JSON."""
    if isinstance(content, Mapping):
        content = json.dumps(content)
    data = content.encode() if isinstance(content, str) else content
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(
    payload: Mapping[str, Any] | bytes | str | None = None,
    head: Mapping[str, Any] | bytes | str | None = None,
    secret: bytes = SECRET,
    digest: str = "sha256",
) -> str:
    """A token of these parts (good ones by default), truly signed with `secret` by HMAC."""
    signed = f"{segment(header() if head is None else head)}.{segment(claims() if payload is None else payload)}"
    return f"{signed}.{segment(hmac.digest(secret, signed.encode(), digest))}"


def with_claim(name: str, raw: str) -> str:
    """A truly signed token in whose JSON `name` has the value spelled `raw`."""
    text = json.dumps(claims(**{name: ABSENT}))
    return forge(f'{text[:-1]}, "{name}": {raw}}}')


def with_member(name: str, raw: str) -> str:
    """A truly signed token in whose header `name` has the value spelled `raw`."""
    text = json.dumps(header(**{name: ABSENT}))
    return forge(head=f'{text[:-1]}, "{name}": {raw}}}')


def doubled(name: str, first: str, second: str) -> str:
    """A truly signed token whose payload has `name` twice."""
    text = json.dumps(claims(**{name: ABSENT}))
    return forge(f'{{"{name}": {first}, {text[1:-1]}, "{name}": {second}}}')


def sha256(data: bytes) -> bytes:
    """The hash that signatures are made of, by itself no signature."""
    return hashlib.sha256(data).digest()


def of_length(length: int) -> str:
    """A valid token of exactly `length` characters, padded by an unknown claim and by blanks in the header."""
    for blanks in range(4):
        head = json.dumps(header()) + " " * blanks
        for filler in range(length * 3 // 4):
            room = length - len(segment(head)) - len(segment(bytes(32))) - 2
            if len(segment(claims(x=""))) + 4 * filler // 3 < room - 8:
                continue
            if len(token := forge(claims(x="x" * filler), head)) == length:
                return token
    raise ValueError(length)
