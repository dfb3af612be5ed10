"""Revision of RESULTS.md: sections and targets of some workloads that were measured again, the others as they are."""

import re
from collections.abc import Sequence

from benchmarks import targets
from benchmarks.document import Run, build, section, today
from benchmarks.report import Results, markdown_table
from benchmarks.workloads import all_workloads

_TARGETS = "Targets"


def revised(text: str, run: Run) -> str:
    """The document `text` with what `run` has measured; each section of it has its date and build. Raises `ValueError`
    where `text` has no targets, or something failed."""
    if run.results.failures:
        raise ValueError(f"measure again: {run.results.failures[0]}")
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    found = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}
    if _TARGETS not in found:
        raise ValueError("there is no section of targets; write the whole document with --write")
    found[_TARGETS] = _with_targets(found[_TARGETS], run.results)
    for workload in run.workloads:
        _, method, *tables = section(workload, run)
        measured = f"Measured on {today()}, of the build {build()}; rounds: {run.rounds}."
        found[workload.title] = "\n\n".join([method, measured, *tables])
    order = sorted(found, key=_place)
    return "\n\n".join([head.strip(), *(f"## {title}\n\n{found[title]}" for title in order)]) + "\n"


def _place(title: str) -> int:
    """The place of a section: the targets, the workloads in their order, and then the others."""
    titles = [_TARGETS, *(workload.title for workload in all_workloads())]
    before = ("Machine and method",)
    return -1 if title in before else titles.index(title) if title in titles else len(titles)


def _with_targets(part: str, results: Results) -> str:
    """The section of the targets, with new rows for those that were measured."""
    paragraphs = part.split("\n\n")
    table = next(i for i, paragraph in enumerate(paragraphs) if paragraph.startswith("|"))
    before = {row[0]: row for row in map(_cells, paragraphs[table].splitlines())}
    rows = [before.get(row[0], row) if row[-1] == "not measured" else row for row in targets.rows(results)]
    return "\n\n".join([*paragraphs[:table], markdown_table(rows), *paragraphs[table + 1 :]])


def _cells(line: str) -> Sequence[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
