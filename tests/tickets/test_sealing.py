"""What is kept of a ticket gives nothing away."""

import secrets

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ticket_seal import BYTES, is_ticket, name_of, seal, unseal

TEXTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=4096)


def ticket() -> str:
    return secrets.token_urlsafe(BYTES)


@given(TEXTS)
def test_whoever_has_the_ticket_reads_the_token(token: str) -> None:
    one = ticket()
    assert unseal(one, seal(one, token)) == token


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=40, max_size=400))
def test_nobody_else_does(token: str) -> None:
    """Nor can it be seen in what is kept, nor the ticket in its name."""
    one, other = ticket(), ticket()
    sealed = seal(one, token)
    assert unseal(other, sealed) != token
    assert token not in sealed
    assert seal(other, token) != sealed
    assert one not in name_of(one) + sealed


@given(st.text())
def test_what_was_tampered_with_is_some_text_and_no_error(sealed: str) -> None:
    """Its signature is judged next."""
    assert isinstance(unseal(ticket(), sealed), str)


def test_a_ticket_is_192_random_bits_in_one_spelling() -> None:
    """And nothing that is longer, shorter or in other letters is looked up at all."""
    assert BYTES * 8 == 192
    assert all(is_ticket(ticket()) for _ in range(200))
    good = ticket()
    for bad in ("", good[:-1], good + "A", good[:-1] + "=", good + "\n", good[:-1] + "\u0661", " " + good[1:]):
        assert not is_ticket(bad), bad
