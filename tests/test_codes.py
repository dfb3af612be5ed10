"""One table of codes: the document, the browser client and the examples say of each what `schemas.codes` says."""

import re
from pathlib import Path

import pytest

from gateway.api.problems import problem_for
from gateway.core.errors import GatewayError
from schemas.codes import CLOSE_RULES, ERROR_RULES, CloseCode, ErrorCode, Retry, retry_after_close

ROOT = Path(__file__).parents[1]
PROTOCOL = (ROOT / "docs/protocol.md").read_text()

ADVICE = {
    Retry.NEVER: "no",
    Retry.BACKOFF: "yes, with backoff",
    Retry.SLOT: "yes, at its `reconnect_after_ms`, or with backoff where none came",
    Retry.FRESH_TOKEN: "only with a fresh token",
    Retry.WITHOUT_CURSOR: "yes, without `since`",
}


def table(heading: str) -> list[str]:
    """The rows of the first table under a heading of docs/protocol.md."""
    section = PROTOCOL.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return rows[2:]


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


def test_the_document_lists_every_error_code() -> None:
    """To mend it, paste what is printed."""
    wanted = [
        f"| `{code}` | {', '.join(map(str, rule.statuses))} | {ADVICE[rule.retry]} | {rule.remedy} |"
        for code, rule in ERROR_RULES.items()
    ]
    assert table("Errors") == wanted, "\n" + "\n".join(wanted)


def test_the_document_lists_every_close_code() -> None:
    """To mend it, paste what is printed."""
    wanted = [
        f"| {int(code)} | {rule.when} | {ADVICE[rule.retry]}{rule.note and f'; {rule.note}'} |"
        for code, rule in CLOSE_RULES.items()
    ]
    assert table("Close codes") == wanted, "\n" + "\n".join(wanted)


def test_the_browser_client_follows_the_table() -> None:
    """Each close code with its rule, and no other."""
    source = (ROOT / "gateway/web/js/client.js").read_text()
    block = source.partition("export const CLOSE_CODES = {\n")[2].partition("};")[0]
    found = {int(code): retry for code, retry in re.findall(r"^  (\d{4}): \['(\w+)', '[^']+'\],$", block, re.M)}
    assert len(found) == len(block.splitlines())
    assert found == {int(code): str(rule.retry) for code, rule in CLOSE_RULES.items()}


def test_the_example_in_the_readme_follows_the_table() -> None:
    """It ends after the closes that its one token cannot mend, and stays for the errors that pass."""
    code = (ROOT / "README.md").read_text().partition("# follow.py")[2].partition("```")[0]
    ends = re.search(r"rcvd\.code in \(([\d, ]+)\)", code)
    passing = re.search(r'\["code"\] not in \(([a-z_", ]+)\)', code)
    assert ends is not None
    assert passing is not None
    final = (Retry.NEVER, Retry.FRESH_TOKEN)
    assert [int(word) for word in ends[1].split(",")] == [c for c, rule in CLOSE_RULES.items() if rule.retry in final]
    words = [c for c, rule in ERROR_RULES.items() if rule.retry is Retry.BACKOFF]
    assert re.findall(r"\w+", passing[1]) == words
