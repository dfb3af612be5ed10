"""Which keys are taken, and what of them may be seen."""

import json
import secrets
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from auth.errors import UnusableKey, WeakKey
from auth.keys import Key, KeyRing, PrivateMaterial, hmac_key, keys_from_jwks, private_key, public_key
from tests.support.forge import EC, EC_KEY, ED, ED_KEY, HMAC_KEY, RING, RSA, RSA_KEY, SECRET, pem, public_pem, segment

ASYMMETRIC: list[tuple[PrivateMaterial, Key]] = [(RSA, RSA_KEY), (EC, EC_KEY), (ED, ED_KEY)]
SHORT_RSA = rsa.generate_private_key(65_537, 1024)  # noqa: S505 - to be refused


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2",
        "s3cr3t-s3cr3t-s3cr3t-s3cr3t-xyz",
        "x" * 64,
        "ab" * 32,
        "changeme-changeme-changeme-changeme",
        "0123456789abcdef" * 2,
        "password" * 8,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaabcde",
        bytes(32),
        bytes(64),
        bytes(range(31)),
    ],
)
def test_weak_secret_is_refused_and_not_shown(secret: str | bytes) -> None:
    """Too short, or repeating itself."""
    with pytest.raises(WeakKey) as caught:
        hmac_key(secret)
    shown = secret if isinstance(secret, str) else repr(secret)
    assert not shown or shown not in str(caught.value)


@pytest.mark.parametrize(
    "make", [lambda: secrets.token_bytes(32), lambda: secrets.token_hex(32), secrets.token_urlsafe]
)
def test_random_secret_is_taken(make: Any) -> None:
    """The rule accepts random secrets of any alphabet, always."""
    for _ in range(200):
        assert hmac_key(make()).algorithm == "HS256"


def test_secret_counts_in_bytes() -> None:
    """31 letters of which one takes two bytes are 32 bytes."""
    assert hmac_key("abcdefghijklmnopqrstuvwxyz1234\u00e9").can_sign


@pytest.mark.parametrize(
    "text",
    [
        public_pem(RSA),
        pem(EC),
        b"  \n" + public_pem(ED),
        RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        RSA.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        json.dumps(RING.jwks()).encode(),
        json.dumps({"kty": "oct", "k": segment(SECRET)}).encode(),
    ],
    ids=["public PEM", "private PEM", "PEM after blanks", "DER", "OpenSSH", "JWKS", "oct JWK"],
)
def test_other_key_is_no_secret(text: bytes) -> None:
    """A public key as the secret of HS256 would let everybody sign."""
    with pytest.raises(UnusableKey):
        hmac_key(text)


def test_kid_is_stable_and_tells_keys_apart() -> None:
    """The same on every node and after every restart."""
    assert hmac_key(SECRET).kid == hmac_key(SECRET.decode()).kid == HMAC_KEY.kid
    assert hmac_key(secrets.token_bytes(32)).kid != HMAC_KEY.kid
    for private, key in ASYMMETRIC:
        assert public_key(public_pem(private)).kid == private_key(pem(private)).kid == key.kid


def test_kid_is_the_thumbprint_of_the_standard() -> None:
    """The example of RFC 7638 section 3.1 (RFC 8037 A.3 for Ed25519) comes out as printed there."""
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    (key,) = keys_from_jwks({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "any"}]})
    assert not isinstance(key.material, bytes)
    text = key.material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert public_key(text).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_material_is_never_shown() -> None:
    """Not by repr, whatever logs a key or what holds one."""
    for key in (HMAC_KEY, RSA_KEY, EC_KEY, ED_KEY):
        assert "material" not in repr(key)
        assert "signer" not in repr(key)
        assert repr(SECRET)[2:20] not in repr([key])
    assert SECRET.decode() not in repr(RING)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase")),
        public_pem(RSA),
        pem(SHORT_RSA),
        pem(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["empty", "garbage", "empty PEM", "encrypted", "public", "RSA 1024", "P-384"],
)
def test_unusable_private_key_is_refused(data: bytes) -> None:
    """By one error, whatever the library says."""
    with pytest.raises(UnusableKey):
        private_key(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pem(RSA),
        public_pem(SHORT_RSA),
        public_pem(ec.generate_private_key(ec.SECP384R1())),
        ed448.Ed448PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "private", "RSA 1024", "P-384", "Ed448"],
)
def test_unusable_public_key_is_refused(data: bytes) -> None:
    """By one error, whatever the library says."""
    with pytest.raises(UnusableKey):
        public_key(data)


def test_public_keys_do_not_sign() -> None:
    """Keys with a private half do."""
    assert [key.can_sign for key in (HMAC_KEY, RSA_KEY, EC_KEY, ED_KEY)] == [True] * 4
    assert not any(public_key(public_pem(private)).can_sign for private, _ in ASYMMETRIC)


def test_published_set_holds_public_members_only() -> None:
    """No secret, no private member; PyJWT reads each key and verifies with it."""
    published = RING.jwks()
    assert [jwk["kid"] for jwk in published["keys"]] == [RSA_KEY.kid, EC_KEY.kid, ED_KEY.kid]
    allowed = {"kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"}
    assert all(jwk.keys() <= allowed for jwk in published["keys"])
    assert segment(SECRET) not in json.dumps(published)
    for jwk, (_, key) in zip(jwt.PyJWKSet.from_dict(published).keys, ASYMMETRIC, strict=True):
        assert key.signer is not None
        token = jwt.encode({"sub": "bob"}, key.signer, key.algorithm)
        assert jwt.decode(token, jwk, [key.algorithm]) == {"sub": "bob"}


def test_published_set_reads_back() -> None:
    """The set that one gateway publishes is accepted by another one, to verify and not to sign."""
    keys = keys_from_jwks(json.loads(json.dumps(RING.jwks())))
    assert [(key.kid, key.algorithm) for key in keys] == [(key.kid, key.algorithm) for _, key in ASYMMETRIC]
    assert not any(key.can_sign for key in keys)


def jwk(place: int = 0, **changed: Any) -> dict[str, Any]:
    """A published RSA (0), EC (1) or Ed25519 (2) key, but for what is changed; None leaves a member out."""
    return {name: value for name, value in {**RING.jwks()["keys"][place], **changed}.items() if value is not None}


UNUSABLE: dict[str, Any] = {
    "oct": {"kty": "oct", "kid": "k", "k": segment(SECRET)},
    "oct for signatures": {"kty": "oct", "kid": "k", "k": segment(SECRET), "alg": "HS256", "use": "sig"},
    "RSA as oct": jwk(kty="oct", k=segment(SECRET)),
    "alg HS256": jwk(alg="HS256"),
    "alg none": jwk(alg="none"),
    "alg RS512": jwk(alg="RS512"),
    "alg PS256": jwk(alg="PS256"),
    "EC as RS256": jwk(1, alg="RS256"),
    "no kid": jwk(kid=None),
    "empty kid": jwk(kid=""),
    "kid a number": jwk(kid=7),
    "long kid": jwk(kid="k" * 257),
    "for encryption": jwk(use="enc"),
    "operation encrypt": jwk(key_ops=["encrypt"]),
    "operations no list": jwk(key_ops="verify"),
    "no n": jwk(n=None),
    "n a number": jwk(n=7),
    "empty n": jwk(n=""),
    "n of 3 bytes": jwk(n="AQAB"),
    "n not base64": jwk(n="not base64!"),
    "e 0": jwk(e="AA"),
    "e 2": jwk(e="Ag"),
    "huge e": jwk(e=segment(b"\x01" + bytes(40) + b"\x01")),
    "n of 16,392 bits": jwk(n=segment(b"\xff" * 2049)),
    "wrong curve": jwk(1, crv="P-384"),
    "off the curve": jwk(1, x=segment(bytes(32))),
    "y a number": jwk(1, y=7),
    "Ed448": jwk(2, crv="Ed448"),
    "x too short": jwk(2, x=segment(bytes(31))),
    "only a kid": {"kid": "k"},
    "empty": {},
    "null": None,
    "a number": 7,
    "a string": "key",
    "a list": [],
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_member_of_a_set_is_passed_over(unusable: Any) -> None:
    """A shared secret above all: the set is public. The good key beside it still counts."""
    keys = keys_from_jwks({"keys": [unusable, jwk(1)]})
    assert [key.algorithm for key in keys] == ["ES256"]


def test_private_members_of_a_set_are_not_used() -> None:
    """An issuer that publishes its private key by mistake does not make us sign for it."""
    (key,) = keys_from_jwks({"keys": [jwk(2, d=segment(bytes(32)))]})
    assert not key.can_sign


@pytest.mark.parametrize("jwks", [None, [], {}, {"keys": None}, {"keys": {}}, "keys", 7])
def test_invalid_key_sets_are_refused(jwks: object) -> None:
    """Rather than taken for a set without keys."""
    with pytest.raises(UnusableKey):
        keys_from_jwks(jwks)


def test_huge_set_is_cut() -> None:
    """A token without a kid is tried against each key of its algorithm."""
    assert len(keys_from_jwks({"keys": [jwk(2, kid=str(n)) for n in range(500)]})) == 64


def test_ring_finds_by_kid_and_algorithm() -> None:
    """Both have to fit; without a kid the algorithm has."""
    assert list(RING.candidates(RSA_KEY.kid, "RS256")) == [RSA_KEY]
    assert list(RING.candidates(None, "RS256")) == [RSA_KEY]
    assert not RING.candidates(RSA_KEY.kid, "HS256")
    assert not RING.candidates("other", "RS256")
    assert not RING.candidates(None, "none")
    two = [Key("a", "HS256", SECRET), Key("b", "HS256", SECRET)]
    assert list(KeyRing(two).candidates(None, "HS256")) == two
