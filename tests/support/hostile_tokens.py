"""Tokens that must be refused, each with a name, in five groups."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.forge import (
    ABSENT,
    ADMIN_LIFETIME,
    EC,
    EC_KEY,
    ED,
    ED_KEY,
    ISSUER,
    LIFETIME,
    NOW,
    OLD_SECRET,
    OTHER_ISSUER,
    OTHER_KEY,
    RING,
    RSA,
    RSA_KEY,
    SECRET,
    claims,
    doubled,
    forge,
    header,
    of_length,
    public_pem,
    segment,
    sha256,
    with_claim,
    with_member,
)

GOOD = forge()
HEAD, BODY, SIGNATURE = GOOD.split(".")
MEBIBYTE = 1024 * 1024


def shapes() -> Iterator[tuple[str, Any]]:
    """Texts that are no token at all."""
    yield "one dot", "."
    yield "two dots", ".."
    yield "three dots", "..."
    yield "only dots", "." * 4096
    yield "one segment", HEAD
    yield "two segments", f"{HEAD}.{BODY}"
    yield "four segments", f"{GOOD}.{SIGNATURE}"
    yield "five segments (JWE)", f"{GOOD}.{SIGNATURE}.{SIGNATURE}"
    yield "no header", f".{BODY}.{SIGNATURE}"
    yield "no payload", f"{HEAD}..{SIGNATURE}"
    yield "no signature", f"{HEAD}.{BODY}."
    yield "leading space", f" {GOOD}"
    yield "trailing space", f"{GOOD} "
    yield "trailing newline", f"{GOOD}\n"
    yield "trailing CRLF and header", f"{GOOD}\r\nX-Admin: 1"
    yield "inner space", f"{HEAD}. {BODY}.{SIGNATURE}"
    yield "tab", f"{HEAD}\t.{BODY}.{SIGNATURE}"
    yield "Bearer prefix", f"Bearer {GOOD}"
    yield "quoted", f'"{GOOD}"'
    yield "padded signature", f"{GOOD}="
    yield "padded header", f"{HEAD}{'=' * (-len(HEAD) % 4) or '===='}.{BODY}.{SIGNATURE}"
    yield "standard alphabet +", f"{HEAD}.{BODY}.+{SIGNATURE[1:]}"
    yield "standard alphabet /", f"{HEAD}.{BODY}./{SIGNATURE[1:]}"
    yield "ideographic full stop", f"{HEAD}\u3002{BODY}\u3002{SIGNATURE}"
    yield "one dot leader", f"{HEAD}\u2024{BODY}\u2024{SIGNATURE}"
    yield "full-width letter", f"{HEAD}.{BODY}.\uff21{SIGNATURE[1:]}"
    yield "zero-width space", f"{HEAD}.{BODY}.\u200b{SIGNATURE}"
    yield "NUL", f"{GOOD}\x00"
    yield "lone surrogate", f"{GOOD}\ud800"
    yield "percent-encoded dots", GOOD.replace(".", "%2E")
    yield "length 4 n + 1", f"{HEAD}.{BODY}.{'A' * 41}"
    yield "4097 characters, truly signed", of_length(4097)
    yield "8 KB", forge(claims(padding="x" * 8192))
    yield "60 KB", forge(claims(padding="x" * 60_000))
    yield "1 MiB, truly signed", forge(claims(padding="x" * MEBIBYTE))
    yield "1 MiB of letters", "A" * MEBIBYTE
    yield "1 MiB of dots", "." * MEBIBYTE
    yield "JSON serialization (RFC 7515 section 7.2)", json.dumps({"payload": BODY, "signatures": []})
    yield "None", None
    yield "a number", 7
    yield "bytes", GOOD.encode()
    yield "a list", [GOOD]


def algorithms() -> Iterator[tuple[str, Any]]:
    """Another algorithm, another key, no signature."""
    for name in ("none", "None", "nOnE", "NONE", "", "hs256", "HS256 ", "HS384", "HS512", "dir", "A128KW"):
        yield f"alg {name!r}", forge(head=header(alg=name))
    for name in ("none", "nOnE"):
        unsigned = f"{segment(header(without=('kid',), alg=name))}.{BODY}."
        yield f"alg {name}, unsigned", unsigned
    for raw in ("null", "[]", '["HS256"]', '{"HS256": 1}', "0", "true"):
        yield f"alg {raw}", with_member("alg", raw)
    yield "alg missing", forge(head=header(alg=ABSENT))
    yield "HS384, truly so", forge(head=header(alg="HS384"), digest="sha384")
    yield "HS512, truly so", forge(head=header(alg="HS512"), digest="sha512")
    yield "HS256 in name, HS512 in truth", forge(digest="sha512")
    for key in (RSA_KEY, EC_KEY, ED_KEY):
        yield f"{key.algorithm} in name, HMAC in truth", forge(head=header(alg=key.algorithm, kid=key.kid))
        yield f"HS256 with the kid of {key.algorithm}", forge(head=header(kid=key.kid))
    for name in ("PS256", "RS384", "ES384", "ES256K", "Ed25519", "ES521"):
        yield f"alg {name}", forge(head=header(alg=name, kid=RSA_KEY.kid))
    der = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.dumps(RING.jwks()["keys"][0])
    for form, known in {
        "PEM": public_pem(RSA),
        "stripped PEM": public_pem(RSA).strip(),
        "DER": der,
        "JWK": jwk.encode(),
        "JWKS": json.dumps(RING.jwks()).encode(),
    }.items():
        yield f"HMAC keyed by the public RSA {form}", forge(head=header(kid=RSA_KEY.kid), secret=known)
        yield f"HMAC keyed by the public RSA {form}, without kid", forge(head=header(kid=ABSENT), secret=known)
    yield "wrong key", forge(secret=bytes(range(32)))
    yield "empty key", forge(secret=b"")
    yield "key with a newline", forge(secret=SECRET + b"\n")
    yield "retired key", forge(secret=OLD_SECRET)
    yield "wrong key without kid", forge(head=header(kid=ABSENT), secret=bytes(range(32)))
    yield "a hash for a signature", f"{HEAD}.{BODY}.{segment(sha256(f'{HEAD}.{BODY}'.encode()))}"
    yield "signature of zeros", f"{HEAD}.{BODY}.{segment(bytes(32))}"
    yield "signature cut short", f"{HEAD}.{BODY}.{SIGNATURE[:40]}"
    yield "signature made longer", f"{GOOD}AAAA"
    yield "signature of another token", f"{HEAD}.{BODY}.{forge(claims(jti='token-2')).rsplit('.', 1)[1]}"
    yield "payload exchanged", f"{HEAD}.{segment(claims(scope='platform'))}.{SIGNATURE}"
    yield "header exchanged", f"{segment(header(typ='AT+JWT'))}.{BODY}.{SIGNATURE}"
    spelled = next(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if c > SIGNATURE[-1])
    yield "signature spelled another way", f"{GOOD[:-1]}{spelled}"
    yield "standard base64 signature", f"{HEAD}.{BODY}.{b64encode(bytes([255]) * 32).decode()}"
    signed = f"{segment(header(alg='RS256', kid=RSA_KEY.kid))}.{BODY}".encode()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    yield "PS256 under the name of RS256", f"{signed.decode()}.{segment(RSA.sign(signed, pss, hashes.SHA256()))}"
    signed = f"{segment(header(alg='ES256', kid=EC_KEY.kid))}.{BODY}".encode()
    yield "ES256 signature in DER", f"{signed.decode()}.{segment(EC.sign(signed, ec.ECDSA(hashes.SHA256())))}"
    yield "ES256 signature of zeros (CVE-2022-21449)", f"{signed.decode()}.{segment(bytes(64))}"
    yield "EdDSA signature under the kid of ES256", f"{signed.decode()}.{segment(ED.sign(signed))}"


def headers() -> Iterator[tuple[str, Any]]:
    """Headers that ask for something else."""
    for raw in ("0", "null", "[]", "{}", "true", "1.5"):
        yield f"kid {raw}", with_member("kid", raw)
    for kid in ("", "../../dev/null", "x' UNION SELECT 'key", "\x00", OTHER_KEY.kid, "\ud800", "k" * 2000):
        yield f"kid {kid[:24]!r}", forge(head=header(kid=kid))
    yield "kid of the other issuer, and its key", forge(head=header(kid=OTHER_KEY.kid), secret=OLD_SECRET)
    yield "kid of 1 MB", forge(head=header(kid="k" * 1_000_000))
    yield "kid with a space", forge(head=header(kid=f"{header()['kid']} "))
    for name in ("jku", "x5u", "url"):
        yield name, forge(head=header(**{name: "http://169.254.169.254/latest/meta-data"}))
    yield "x5c", forge(head=header(x5c=["MIIB"]))
    yield "jwk", forge(head=header(jwk={"kty": "oct", "k": segment(bytes(32))}), secret=bytes(32))
    for crit in ([], ["exp"], ["b64"], "exp", None):
        yield f"crit {crit!r}", forge(head=header(crit=crit))
    for b64 in (False, True, "false", 0):
        yield f"b64 {b64!r}", forge(head=header(b64=b64))
    yield "b64 false, critical", forge(head=header(b64=False, crit=["b64"]))
    yield "zip", forge(head=header(zip="DEF"))
    yield "cty", forge(head=header(cty="JWT"))
    yield "enc", forge(head=header(enc="A128GCM"))
    yield "an unknown member", forge(head=header(admin=True))
    for kind in ("JWT", "jwt", "rt+jwt", "ticket+jwt", "logout+jwt", "", " at+jwt", "at+jwt ", "\uff41t+jwt"):
        yield f"typ {kind!r}", forge(head=header(typ=kind))
    yield "typ missing (an ID token)", forge(head=header(typ=ABSENT))
    for raw in ("null", '["at+jwt"]', "1"):
        yield f"typ {raw}", with_member("typ", raw)
    yield "alg twice, none first", forge(head='{"alg": "none", "typ": "at+jwt", "alg": "HS256"}')
    yield "alg twice, none last", forge(head='{"alg": "HS256", "typ": "at+jwt", "alg": "none"}')
    yield "alg twice, the same", forge(head='{"alg": "HS256", "typ": "at+jwt", "alg": "HS256"}')
    yield "typ twice", forge(head='{"alg": "HS256", "typ": "at+jwt", "typ": "JWT"}')
    yield "kid twice, once escaped", forge(head='{"alg": "HS256", "typ": "at+jwt", "kid": "a", "k\\u0069d": "b"}')
    yield "header is an array", forge(head='["HS256"]')
    yield "header is a string", forge(head='"HS256"')
    yield "header is null", forge(head="null")
    yield "header is not JSON", forge(head="HS256")
    yield "header is empty", forge(head="")
    yield "header with a comment", forge(head='{"alg": "HS256", /* */ "typ": "at+jwt"}')
    yield "header in UTF-16", forge(head=json.dumps(header()).encode("utf-16"))
    yield "header in bad UTF-8", forge(head=b'{"alg": "HS256", "typ": "at+jwt", "kid": "\xff"}')
    yield "header nested as deep as fits", forge(head='{"kid":' + "[" * 2800, payload="{}")
    yield "header nested 100,000 deep", forge(head="[" * 100_000)


def claimed() -> Iterator[tuple[str, Any]]:
    """Claims of a wrong type or beyond what is allowed."""
    numbers = {
        "null": "null",
        "string": f'"{NOW + 60}"',
        "spaces": f'" {NOW + 60}\\n"',
        "underscores": '"9_999_999_999"',
        "Arabic digits": '"\u0669\u0669\u0669\u0669\u0669\u0669\u0669\u0669\u0669\u0669"',
        "true": "true",
        "float": f"{NOW + 60}.5",
        "whole float": f"{NOW}.0",
        "exponent": "17e8",
        "NaN": "NaN",
        "Infinity": "Infinity",
        "-Infinity": "-Infinity",
        "1e400": "1e400",
        "as many digits as fit": "9" * 2600,
        "year 9999": "253402300799",
        "2**63": str(2**63),
        "list": f"[{NOW}]",
        "object": "{}",
        "empty string": '""',
    }
    for name in ("exp", "iat", "nbf"):
        for kind, raw in numbers.items():
            yield f"{name} {kind}", with_claim(name, raw)
        yield f"{name} negative", with_claim(name, "-1")
    for name in ("iss", "aud", "sub", "tenant", "jti", "iat", "exp"):
        yield f"{name} missing", forge(claims(**{name: ABSENT}))
        if name not in ("iat", "exp"):
            for raw in ("null", "7", "[]", "{}", "true", '""', '"\\ud800"'):
                yield f"{name} {raw}", with_claim(name, raw)
    yield "iat 6 s ahead", forge(claims(iat=NOW + 6))
    yield "nbf 6 s ahead", forge(claims(nbf=NOW + 6))
    yield "lifetime 1 s over a user's", forge(claims(iat=NOW, exp=NOW + LIFETIME + 1))
    yield "lifetime 1 s over an admin's", forge(claims(scope="admin", iat=NOW, exp=NOW + ADMIN_LIFETIME + 1))
    yield "lifetime over a user's, scope ADMIN", forge(claims(scope="ADMIN", iat=NOW, exp=NOW + LIFETIME + 1))
    yield "exp before iat", forge(claims(iat=NOW + 4, exp=NOW + 2))
    for aud in (["gateway"], ["gateway", "other"], "Gateway", "gateway ", "gatewa", "gateway\x00", "//gateway", "*"):
        yield f"aud {aud!r}", forge(claims(aud=aud))
    for iss in ("gathering", f"{ISSUER}/", ISSUER.upper(), "gathering\u2010gateway", [ISSUER], "https://evil.example"):
        yield f"iss {iss!r}", forge(claims(iss=iss))
    yield "iss of another, signed by us", forge(claims(iss=OTHER_ISSUER))
    yield "our iss, signed by another", forge(head=header(kid=ABSENT), secret=OLD_SECRET)
    identifiers = {
        "with a newline after it": "alice\n",
        "with CR LF": "alice\r\nadmin",
        "with ESC": "\x1b[31malice",
        "with NUL": "alice\x00",
        "with a Cyrillic letter": "\u0430lice",
        "in full width": "\uff41lice",
        "in Arabic digits": "\u0661\u0662",
        "with a right-to-left override": "alice\u202e",
        "with a colon": "user:alice",
        "with a slash": "a/b",
        "a star": "*",
        "with a space": "a b",
        "a lone surrogate inside": "a\ud800",
        "of 3,000 letters": "a" * 2800,
    }
    for name in ("sub", "tenant"):
        for kind, value in identifiers.items():
            yield f"{name} {kind}", forge(claims(**{name: value}))
    yield "sub of 129", forge(claims(sub="a" * 129))
    yield "tenant of 65", forge(claims(tenant="a" * 65))
    yield "tenant with a dot", forge(claims(tenant="a.b"))
    yield "jti of 129", forge(claims(jti="j" * 129))
    for value in ("with space", "tab\t", "line\n", "\u00e9", "\x7f"):
        yield f"jti {value!r}", forge(claims(jti=value))
    for raw in ("null", '"circle:1"', "{}", "[1]", "[null]", '[["circle:1"]]', "true"):
        yield f"rooms {raw}", with_claim("rooms", raw)
    for room in ("*", "circle", "circle:", "circle:**", "circle:1*", "circle:1\n", "Circle:1", "team:1", "*:*", ""):
        yield f"rooms [{room!r}]", forge(claims(rooms=["circle:1", room]))
    yield "129 rooms", forge(claims(rooms=[f"circle:{n}" for n in range(129)]))
    for raw in ("null", "7", '["admin"]', "{}"):
        yield f"scope {raw}", with_claim("scope", raw)
    for raw in ("null", "0", "-1", "1.5", '"10"', "true", str(2**40)):
        yield f"rate {raw}", with_claim("rate", raw)


def encodings() -> Iterator[tuple[str, Any]]:
    """Payloads that are not one JSON object in UTF-8."""
    good = json.dumps(claims())
    for raw in ("[]", '"claims"', "null", "1", "true", "", " ", "{", "{}", "{'sub': 'a'}", "alice"):
        yield f"payload {raw!r}", forge(raw)
    yield "payload in a list", forge(f"[{good}]")
    yield "bad UTF-8", forge(good.encode().replace(b"acme", b"acm\xff"))
    yield "overlong UTF-8", forge(good.encode().replace(b"acme", b"\xc1\xa1cme"))
    yield "surrogate in UTF-8", forge(good.encode()[:-1] + b', "x": "\xed\xa0\x80"}')
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield encoding, forge(claims_text().encode(encoding))
    yield "byte order mark", forge(b"\xef\xbb\xbf" + good.encode())
    yield "object nested as deep as fits", forge('{"a":' * 580 + "1" + "}" * 580)
    yield "arrays nested as deep as fits", forge("[" * 2800)
    yield "closed arrays nested as deep as fits", forge("[" * 1400 + "]" * 1400)
    yield "arrays nested in a claim nobody reads", forge(good[:-1] + ', "x":' + "[" * 2400 + "}")
    yield "sub twice", doubled("sub", '"alice"', '"admin"')
    yield "tenant twice", doubled("tenant", '"acme"', '"globex"')
    yield "exp twice", doubled("exp", str(NOW - 1), str(NOW + 60))
    yield "rooms twice", doubled("rooms", "[]", '["circle:*"]')
    yield "scope twice", doubled("scope", '"subscribe"', '"platform"')
    yield "a claim twice, once escaped", forge(good[:-1] + ', "s\\u0075b": "admin"}')
    yield "an unknown claim twice", forge(good[:-1] + ', "role": 1, "role": 2}')
    yield "a member twice, deep inside", forge(good[:-1] + ', "x": {"y": [{"z": 1, "z": 2}]}}')
    yield "NaN in a claim nobody reads", forge(good[:-1] + ', "x": NaN}')
    yield "5,000 digits in a claim nobody reads", forge(good[:-1] + f', "x": {"9" * 2600}' + "0" * 2400 + "}")
    yield "trailing comma", forge(good[:-1] + ",}")
    yield "trailing data", forge(good + "{}")
    yield "trailing NUL", forge(good + "\x00")
    yield "leading NUL", forge("\x00" + good)
    yield "control character in a string", forge(good.replace("acme", "ac\x01me"))
    yield "another token for a payload", forge(GOOD)
    yield "compressed", forge(b"\x78\x9c" + sha256(b""))


def claims_text() -> str:
    """Good claims, short enough to fit in four bytes a letter."""
    return json.dumps(claims(rooms=[], scope=""), separators=(",", ":"))
