"""Quotations in pages match the programs: messages of the runbook, options of the browser client."""

import re

from tests.documentation.pages import ROOT

SOURCES = "\n".join(path.read_text() for folder in ("gateway", "auth") for path in (ROOT / folder).rglob("*.py"))


def joined(text: str) -> str:
    """Without the seams of strings that go over several lines."""
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_the_runbook_quotes_messages_that_exist() -> None:
    """Messages of a failed start: each part between ellipses stands in the code."""
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("## It does not start")[2].partition("\n## ")[0]
    quoted = [quote for row in table.splitlines()[3:] for quote in re.findall(r"`([^`]+)`", row.partition(" | ")[0])]
    assert len(quoted) >= 4
    source = joined(SOURCES)
    for quote in quoted:
        parts = [part.strip() for part in re.split(r"…|Address already in use|^GATEWAY_\w+: ", quote)]
        assert [part for part in parts if part.strip(": ") and part not in source] == [], quote


def test_each_option_of_the_browser_client_is_on_its_page() -> None:
    """The options of its type, without those for tests."""
    source = (ROOT / "clients/js/src/types.ts").read_text()
    options = source.partition("export interface Options")[2].partition("\n}")[0]
    names = re.findall(r"(?<!for tests\. \*/\n)^  (\w+)\??:", options, re.MULTILINE)
    page = (ROOT / "docs/clients.md").read_text()
    assert len(names) > 8
    assert [name for name in names if not re.search(rf"`{name}\b", page)] == []


def test_the_texts_of_errors_in_the_faq_are_said_by_the_code() -> None:
    """A reader searches for the text of an error. pip says one of them; two are names of classes."""
    more = [path.read_text() for folder in ("schemas", "clients/python") for path in (ROOT / folder).rglob("*.py")]
    code = joined("\n".join([SOURCES, *more]))
    section = (ROOT / "docs/faq.md").read_text().partition("## By the text of the error")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)[2:]
    texts = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(texts) > 30
    said = {text for text in texts if all(part.strip() in code for part in text.split("…"))}
    assert set(texts) - said == {"requires a different Python"}
