"""The value of an item: what appending makes of it, its size, and what an `append` costs."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.item_value import MAX_PIECES, ItemValue
from schemas.events import encode_event

texts = st.text(max_size=4)
data = st.dictionaries(
    st.sampled_from(("a", "b", "é")), texts | st.integers() | st.none() | st.lists(texts), max_size=3
)


def appended(value: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The value by the rule: text behind text, anything else in place of what was there."""
    both = {name: isinstance(value.get(name), str) and isinstance(text, str) for name, text in new.items()}
    return {**value, **{name: value[name] + text if both[name] else text for name, text in new.items()}}


@given(data, st.lists(st.tuples(data, st.sampled_from(("", "", "whole", "size", "size_with"))), max_size=20))
def test_value_is_what_was_appended(first: dict[str, Any], steps: list[tuple[dict[str, Any], str]]) -> None:
    """However often it is read in between; and its size is that of its JSON, also with data that is not applied."""
    value, expected = ItemValue(dict(first)), dict(first)
    for new, read in steps:
        if read == "size_with":
            assert value.size_with(new) == len(encode_event(appended(expected, new)))
        value.append(new)
        expected = appended(expected, new)
        if read == "whole":
            assert value.whole() == expected
            assert list(value.whole()) == list(expected)
        if read == "size":
            assert value.size() == len(encode_event(expected))
    assert value.whole() == expected
    assert value.size() == len(encode_event(expected))


class CountedText(str):
    """A text that counts how often something was put behind it, which copies it."""

    __slots__ = ()
    copies = 0

    def __add__(self, other: str) -> str:
        CountedText.copies += 1
        return CountedText(str(self) + other)


def test_text_is_copied_once_for_many_pieces() -> None:
    """Else a text of 64 KiB in pieces of 10 bytes would be copied 6,500 times."""
    value = ItemValue({"text": CountedText("")})
    for n in range(10 * MAX_PIECES + 5):
        value.append({"text": f"{n},", "n": n})
    assert CountedText.copies == 10
    assert value.whole() == {"text": "".join(f"{n}," for n in range(10 * MAX_PIECES + 5)), "n": 10 * MAX_PIECES + 4}
    assert CountedText.copies == 11
