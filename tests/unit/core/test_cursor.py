"""Cursors: opaque, exact, and good for one tenant alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cursor import EPOCH_BYTES, Cursors, Position
from gateway.core.errors import CursorInvalid

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
epochs = st.binary(min_size=EPOCH_BYTES, max_size=EPOCH_BYTES)
offsets = st.integers(0, (1 << 48) - 1)
tenants = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
GOOD = Cursors((KEY,), "acme").encode(b"\x01" * EPOCH_BYTES, 41)


@given(epochs, offsets, tenants)
def test_round_trip(epoch: bytes, offset: int, tenant: str) -> None:
    """An encoded cursor is decoded with the same key; the text fits a URL and a header without escapes."""
    cursor = Cursors((KEY,), tenant).encode(epoch, offset)
    assert Cursors((KEY,), tenant).decode(cursor) == Position(epoch, offset)
    assert cursor.startswith("evt_")
    assert len(cursor) == 26
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(epochs, offsets, tenants, tenants)
def test_another_tenant_cannot_read_it(epoch: bytes, offset: int, one: str, other: str) -> None:
    """A cursor of one tenant is no cursor of another's."""
    cursor = Cursors((KEY,), one).encode(epoch, offset)
    if one != other:
        with pytest.raises(CursorInvalid):
            Cursors((KEY,), other).decode(cursor)


@given(st.integers(0, 25), st.characters(codec="utf-8"))
def test_one_other_character_is_another_text(place: int, character: str) -> None:
    """There is one text for a position: with any character changed it is refused."""
    forged = GOOD[:place] + character + GOOD[place + 1 :]
    if forged != GOOD:
        with pytest.raises(CursorInvalid):
            Cursors((KEY,), "acme").decode(forged)


@given(st.integers(0, 2_000))
def test_other_alphabet_of_base64_is_refused(offset: int) -> None:
    """Base64 has another alphabet, with `+` and `/` for `-` and `_`; a cursor is one text."""
    cursors = Cursors((KEY,), "acme")
    cursor = cursors.encode(b"\x01" * EPOCH_BYTES, offset)
    body = cursor[4:].replace("-", "+").replace("_", "/")
    if body != cursor[4:]:
        with pytest.raises(CursorInvalid):
            cursors.decode("evt_" + body)


@given(st.text(max_size=64) | st.from_regex(r"evt_[A-Za-z0-9_-]{22}", fullmatch=True))
def test_forged_cursors_are_refused(text: str) -> None:
    """Any other text is refused, and nothing else is raised."""
    with pytest.raises(CursorInvalid):
        Cursors((KEY,), "acme").decode(text)


@pytest.mark.parametrize(
    "text", ["", "evt_", GOOD + "=", GOOD[:-1], GOOD + "\n", GOOD.upper(), " " + GOOD, "evt_" + "=" * 22]
)
def test_near_cursors_are_refused(text: str) -> None:
    """Cut, padded, spaced or in capitals."""
    with pytest.raises(CursorInvalid):
        Cursors((KEY,), "acme").decode(text)


def test_keys_change() -> None:
    """The newest key encodes, all decode, and one that has gone does not any more."""
    epoch = b"\x02" * EPOCH_BYTES
    old = Cursors((KEY,), "acme").encode(epoch, 7)
    both = Cursors((OTHER_KEY, KEY), "acme")
    assert both.decode(old) == Position(epoch, 7)
    assert both.encode(epoch, 7) == Cursors((OTHER_KEY,), "acme").encode(epoch, 7) != old
    with pytest.raises(CursorInvalid):
        Cursors((OTHER_KEY,), "acme").decode(old)
