"""The sealed token: encrypted, authenticated, and bound to its ticket."""

import secrets
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ticket_seal import BYTES, is_ticket, name_of, seal, unseal

TEXTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=4096)


def ticket() -> str:
    return secrets.token_urlsafe(BYTES)


@given(TEXTS)
def test_the_ticket_unseals_its_token(token: str) -> None:
    one = ticket()
    assert unseal(one, seal(one, token)) == token


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=40, max_size=400))
def test_another_ticket_does_not_unseal_it(token: str) -> None:
    """Nor can it be seen in what is kept, nor the ticket in its name."""
    one, other = ticket(), ticket()
    sealed = seal(one, token)
    with pytest.raises(ValueError, match="not sealed with this ticket"):
        unseal(other, sealed)
    assert token not in sealed
    assert seal(other, token) != sealed
    assert one not in name_of(one) + sealed


@given(TEXTS, st.data())
def test_a_change_of_one_bit_is_refused(token: str, data: st.DataObject) -> None:
    one = ticket()
    changed = bytearray(b64decode(seal(one, token)))
    bit = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="not sealed with this ticket"):
        unseal(one, b64encode(changed).decode())


@given(st.text() | st.binary().map(lambda data: b64encode(data).decode()))
def test_other_text_is_refused(sealed: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of base64 or of the cipher
        unseal(ticket(), sealed)


def test_a_ticket_is_192_random_bits_in_one_spelling() -> None:
    """Longer or shorter text, or another alphabet, is not looked up at all."""
    assert BYTES * 8 == 192
    assert all(is_ticket(ticket()) for _ in range(200))
    good = ticket()
    for bad in ("", good[:-1], good + "A", good[:-1] + "=", good + "\n", good[:-1] + "\u0661", " " + good[1:]):
        assert not is_ticket(bad), bad
