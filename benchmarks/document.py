"""RESULTS.md: what was measured, on what, how, and what came out."""

import datetime
import inspect
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import benchmarks
from benchmarks import machine, targets
from benchmarks.peers import Peer
from benchmarks.peers.base import FOLDER
from benchmarks.report import Results, Workload, markdown_table, tables

RESULTS = FOLDER / "RESULTS.md"
CHART = FOLDER / "results.svg"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmarks and its results. `skipped` tells of each peer that is not there how to install it."""

    workloads: Sequence[Workload]
    peers: Sequence[Peer]
    skipped: Mapping[str, str]
    rounds: int
    quick: bool
    client: str
    results: Results = field(default_factory=Results)

    @property
    def titles(self) -> dict[str, str]:
        """The peers' titles by name, in the order of the tables' rows."""
        return {peer.name: peer.title for peer in self.peers}


def sections(run: Run) -> Iterator[str]:
    """The tables, a paragraph or table each: the targets, then every workload with its method."""
    yield "## Targets"
    yield "Ratios are of this gateway, published to from inside its process, to the other server, in the same rounds."
    yield markdown_table(list(targets.rows(run.results)))
    for workload in run.workloads:
        yield from section(workload, run)
    if run.results.failures:
        yield "## Failures"
        yield "\n".join(f"- {failure.splitlines()[0]}" for failure in run.results.failures)


def section(workload: Workload, run: Run) -> Iterator[str]:
    """A workload's title, its method, and its tables."""
    yield f"## {workload.title}"
    yield paragraphs(workload.method)
    for case, rows in tables(workload, run.results, run.titles):
        if case:
            yield f"### {case[0].upper()}{case[1:]}"
        yield markdown_table(rows)


def document(run: Run, chart: bool) -> str:
    """The whole file."""
    parts = ["# Results", f"Written by `make bench ARGS=--write` on {today()}, of the build {build()}."]
    if run.quick:
        parts.append("**With `--quick`: a fifth of the time and of the connections. Not to be quoted.**")
    if chart:
        parts.append(f"![Bars for each server: fan-out, connecting, memory]({CHART.name})")
    parts += ["## Machine and method", markdown_table([["", ""], *([k, v] for k, v in machine.describe().items())])]
    versions = [["server", "version"], *([peer.title, peer.version()] for peer in run.peers)]
    versions += [[name, f"skipped: not installed ({hint})"] for name, hint in run.skipped.items()]
    parts += [markdown_table(versions), paragraphs(benchmarks.__doc__)]
    parts.append(
        f"Rounds: {run.rounds}. Load client: in {run.client}. All traffic is on the loopback interface, without TLS and"
        " without compression, in production settings otherwise. A table's “this gateway is, times” is the gateway's "
        "figure divided by the row's: for deliveries more than 1 is better, for costs less."
    )
    return "\n\n".join([*parts, *sections(run)]) + "\n"


def paragraphs(docstring: str | None) -> str:
    """A docstring as Markdown, a line for each paragraph."""
    text = inspect.cleandoc(docstring or "")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def today() -> str:
    """The date in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def build() -> str:
    """The commit that is measured."""
    git = ["git", "-C", str(FOLDER)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode:
        return "?"
    changed = subprocess.run(
        [*git, "diff", "--quiet", "HEAD", "--", "../gateway", "../auth", "../schemas"], check=False
    )
    return f"`{commit.stdout.strip()}`" + (" with changes on top" if changed.returncode else "")
