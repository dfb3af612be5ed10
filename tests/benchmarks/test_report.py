"""Tables, targets and the chart, from figures made up."""

from xml.etree import ElementTree

import pytest

from benchmarks import targets
from benchmarks.chart import chart
from benchmarks.document import Run, paragraphs
from benchmarks.measure import Figure
from benchmarks.peers.gateway import GatewayEmbedded
from benchmarks.report import Column, Results, Workload, markdown_table, spread_text, tables
from benchmarks.revision import revised
from benchmarks.stats import Spread
from benchmarks.workloads import keyed, observability

TITLES = {"gateway": "**this gateway**", "ws": "`ws` & <others>"}
CASE = "200 bytes, paced"


@pytest.fixture
def results() -> Results:
    """Two rounds, the second on a machine half as fast."""
    made = Results()
    for round, speed in enumerate((1.0, 0.5)):
        made.add("fanout", "gateway", round, Figure(CASE, "deliveries", 300_000 * speed))
        made.add("fanout", "ws", round, Figure(CASE, "deliveries", 200_000 * speed))
        made.add("fanout", "floor", round, Figure(CASE, "deliveries", 400_000 * speed))
    return made


def fanout(one_table: bool = False) -> Workload:
    columns = (Column("deliveries", "deliveries", "{:,.0f}", compared=True), Column("absent", "absent", "{}"))
    return Workload("fanout", "Fan-out", "", lambda bench, peer: iter(()), columns, one_table=one_table)


def test_a_table_has_medians_spreads_and_the_ratios_to_this_gateway(results: Results) -> None:
    assert list(tables(fanout(), results, TITLES)) == [
        (
            CASE,
            [
                ["", "deliveries", "this gateway is, times"],
                ["**this gateway**", "225,000 (150,000 to 300,000)", ""],
                ["`ws` & <others>", "150,000 (100,000 to 200,000)", "1.50"],
            ],
        )
    ]


def test_one_alone_is_compared_with_none(results: Results) -> None:
    [(_, rows)] = tables(fanout(), results, {"gateway": TITLES["gateway"]})
    assert rows == [["", "deliveries"], ["**this gateway**", "225,000 (150,000 to 300,000)"]]


def test_cases_can_be_columns(results: Results) -> None:
    [(_, rows)] = tables(fanout(one_table=True), results, TITLES)
    assert rows[0] == ["", CASE]
    assert rows[2] == ["`ws` & <others>", "150,000 (100,000 to 200,000)"]


def test_a_ratio_takes_only_rounds_that_both_have(results: Results) -> None:
    results.add("fanout", "ws", 2, Figure(CASE, "deliveries", 1.0))
    assert results.ratio("fanout", CASE, "deliveries", "gateway", "ws") == Spread(1.5, 1.5, 1.5)
    assert results.ratio("fanout", CASE, "deliveries", "gateway", "nats") is None


def test_markdown_is_aligned() -> None:
    assert markdown_table([["", "a"], ["bcde", "f"]]) == "|      | a   |\n| ---- | --- |\n| bcde | f   |"


def test_one_round_has_no_spread() -> None:
    assert spread_text(Spread(1.0, 1.0, 1.0), "{:.1f}") == "1.0"
    assert spread_text(None, "{:.1f}") == ""


def test_a_target_is_met_at_its_bound_and_unmeasured_ones_say_so(results: Results) -> None:
    _, paced, nats, *_ = targets.rows(results)
    assert paced == ["paced fan-out beside the bare send loop", "at least 0.75", "0.75", "met"]
    assert nats[-1] == "not measured"


def test_a_missed_target_says_so() -> None:
    made = Results()
    made.add("connect", "gateway", 0, Figure("holding a connection", "bytes", 8_001.0))
    verdicts = {row[0]: row[-1] for row in targets.rows(made)}
    assert verdicts["memory per idle connection in one room, bytes"] == "**missed**"


def test_the_chart_is_well_formed_and_names_everybody(results: Results) -> None:
    drawn = chart(results, TITLES)
    assert drawn is not None
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("text")]  # noqa: S314
    assert {"this gateway", "ws & <others>", "225,000"} <= set(texts)


def test_there_is_no_chart_of_nothing() -> None:
    assert chart(Results(), TITLES) is None


def test_a_docstring_becomes_a_line_for_each_paragraph() -> None:
    assert paragraphs("One\n    line.\n\n    Another\n    one.\n    ") == "One line.\n\nAnother one."


def revision(*workloads: Workload) -> Run:
    run = Run(workloads, [GatewayEmbedded()], {}, 1, False, "C")
    for workload in workloads:
        case = keyed.PUBLISH if workload is keyed.WORKLOAD else next(iter(observability.CASES))
        for column in workload.columns:
            run.results.add(workload.name, "gateway", 0, Figure(case, column.metric, 1.25))
    return run


def lines(text: str) -> list[str]:
    """Its lines without the padding of tables."""
    return [" ".join(line.replace("-", "").split()) for line in text.splitlines() if line.strip("|- ")]


KEPT = "| state of 10,000 items to one client, ms | at most 100 | 11 | met |"
TARGETS = f"| what | wanted | measured |  |\n| --- | --- | --- | --- |\n{KEPT}"
BEFORE = (
    f"# Results\n\n## Targets\n\nRatios.\n\n{TARGETS}\n\n## {keyed.WORKLOAD.title}\n\nOld.\n\n## Failures\n\n- none\n"
)


def test_a_revision_replaces_the_sections_that_were_measured_and_no_other() -> None:
    """Their targets are too; a new section is in its place and has its date."""
    observed = revised(BEFORE, revision(observability.WORKLOAD))
    titles = [line for line in observed.splitlines() if line.startswith("## ")]
    wanted = ("Targets", keyed.WORKLOAD.title, observability.WORKLOAD.title, "Failures")
    assert titles == [f"## {title}" for title in wanted]
    assert {"Ratios.", "Old.", "- none"} <= set(observed.splitlines())
    assert KEPT in lines(observed)
    both = revised(observed, revision(keyed.WORKLOAD))
    assert "Old." not in both
    assert both.count("\nMeasured on ") == 2
    assert "| CPU of publishing a keyed event in process, times a plain one's | at most 1.50 | 1.25 | met |" in lines(
        both
    )
    assert "| **this gateway** | 1.2 | 1.25 | 1.25 | 1 | 1 | 1.2 | 1.25 |" in lines(both)
    assert revised(both, revision(keyed.WORKLOAD)) == both


def test_a_failure_is_not_written() -> None:
    """The workload has to be measured again."""
    run = revision(keyed.WORKLOAD)
    run.results.failures.append("keyed, gateway, round 1: FAILED")
    with pytest.raises(ValueError, match="measure again: keyed"):
        revised(BEFORE, run)
