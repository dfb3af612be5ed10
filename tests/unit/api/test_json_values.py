"""The end of a JSON value, found without parsing: where the parser of the standard library finds it."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api import json_values
from gateway.api.body import Body
from gateway.api.json_values import CHUNK, end_of_value

TEXTS = st.sampled_from(["", "}", "]", '"', "\\", '\\"', "\\\\", "{", "[", ",", "é", "\x01"]) | st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=20,
)


def body_of(text: bytes) -> Body:
    body = Body()
    body.append(text)
    return body


async def end_of(text: bytes, start: int = 0) -> tuple[int | None, list[int]]:
    """The end of the value, and the sizes of the steps."""
    steps: list[int] = []

    async def step(size: int) -> None:
        steps.append(size)

    return await end_of_value(body_of(text), start, step), steps


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    value=VALUES,
    before=st.sampled_from(["", '[1,"a]",', '{"x":']),
    behind=st.sampled_from([",1]", "}", " ,{", "\n]}"]),
    indent=st.sampled_from([None, 1]),
    escaped=st.booleans(),
)
def test_it_is_where_a_parser_finds_it(value: Any, before: str, behind: str, indent: int | None, escaped: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    whole, start = f"{before}{text}{behind}".encode(), len(before.encode())
    for chunk in (1, 2, 7, CHUNK):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_values, "CHUNK", chunk)
            patch.setattr(json_values, "STRING_CHUNK", max(2, chunk))
            found, _ = asyncio.run(end_of(whole, start))
        if chunk < len(text) and not isinstance(value, str | list | dict):
            continue  # a number or a name is within one step
        assert found == start + len(text.encode()), chunk


@pytest.mark.parametrize(
    "text", [b"", b"[", b'{"a":[1,{}', b'"abc', b'"abc\\', b'["abc', b'[["\\"]', b",", b"]", b" 1"]
)
async def test_a_value_that_does_not_end_has_no_end(text: bytes) -> None:
    assert (await end_of(text))[0] is None


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 500_000 + b"]" * 500_000,
        b"[" + b"{}," * 300_000 + b"{}]",
        b"[" + b'"a",' * 300_000 + b'"b"]',
        b"[" + b'"\\"",' * 300_000 + b'"b"]',
        b'"' + b'\\"' * 500_000 + b'"',
        b"[" + b"1," * 500_000 + b"1]",
    ],
)
async def test_every_step_is_short(text: bytes) -> None:
    """Their number is that of the text, and one more for each string that begins in one and ends in the next."""
    found, steps = await end_of(text + b",")
    assert found == len(text)
    assert max(steps) <= 64 * 1024
    assert len(steps) <= 3 * len(text) // CHUNK + 3
