"""One table of codes: the clients say of each what `schemas.codes` says."""

import re
from pathlib import Path

import pytest

from gateway.api.problems import problem_for
from gateway.core.errors import GatewayError
from gathering_client import codes
from schemas.codes import CLOSE_RULES, ERROR_RULES, CloseCode, ErrorCode, Retry, retry_after_close

ROOT = Path(__file__).parents[3]


def test_every_code_has_a_rule() -> None:
    """Error codes one each; close codes, and those that a client meets without the gateway's doing."""
    assert list(ERROR_RULES) == list(ErrorCode)
    assert set(CLOSE_RULES) == {1006, 1007, *CloseCode}
    assert list(CLOSE_RULES) == sorted(CLOSE_RULES)


@pytest.mark.parametrize(
    ("code", "reason", "retry"),
    [
        (1001, "", Retry.BACKOFF),
        (1012, "draining", Retry.SLOT),
        (1013, "broker_unavailable", Retry.BACKOFF),
        (4400, "bad_message", Retry.NEVER),
        (4401, "token_expired", Retry.FRESH_TOKEN),
        (4401, "token_revoked", Retry.NEVER),
        (4403, "", Retry.NEVER),
        (4409, "", Retry.BACKOFF),
        (4429, "", Retry.BACKOFF),
    ],
)
def test_a_close_says_whether_to_come_back(code: int, reason: str, retry: Retry) -> None:
    """Codes that are not the gateway's too: a proxy between may close as it likes."""
    assert retry_after_close(code, reason) is retry


@pytest.mark.parametrize("code", [code for code in ErrorCode if ERROR_RULES[code].statuses])
def test_a_problem_document_has_the_status_of_its_code(code: ErrorCode) -> None:
    """The usual one."""
    assert problem_for(GatewayError(code, "x")).status_code == ERROR_RULES[code].status


def test_the_browser_client_follows_the_table() -> None:
    """The rule of each close code after which there is more to know than to come back with backoff, and no other."""
    source = (ROOT / "clients/js/src/codes.ts").read_text()
    block = source.partition("export const CLOSE_CODES")[2].partition("= {\n")[2].partition("};")[0]
    found = {int(code): retry for code, retry in re.findall(r"^  (\d{4}): '(\w+)',$", block, re.M)}
    assert len(found) == len(block.splitlines())
    assert found == {c: str(rule.retry) for c, rule in CLOSE_RULES.items() if rule.retry is not Retry.BACKOFF}


def test_the_python_client_follows_the_table() -> None:
    """Close codes and error codes; it leaves out the errors that are never tried again, as it takes all others."""
    assert {code: str(rule) for code, rule in codes.CLOSE_RULES.items()} == {
        int(code): str(rule.retry) for code, rule in CLOSE_RULES.items()
    }
    for code, rule in ERROR_RULES.items():
        assert codes.retry_after_error(code) == str(rule.retry), code
    assert codes.ERROR_RULES.keys() <= set(ErrorCode)
    assert codes.retry_after_close(4401, "token_revoked") == "never"
