"""`python -m benchmarks [WORKLOAD...]`: measure, and print tables of ratios."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from benchmarks.install import install
from benchmarks.load.receiver import Receivers
from benchmarks.machine import Cores, raise_file_limit
from benchmarks.measure import Bench
from benchmarks.peers import Peer, all_peers
from benchmarks.report import Results, Workload, markdown_table, tables
from benchmarks.workloads import all_workloads


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [workload.name for workload in all_workloads()]
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(names)}; all by default")
    peers = ", ".join(peer.name for peer in all_peers())
    parser.add_argument("--peers", metavar="A,B", help=f"only these of {peers}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured; 5, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="short and small: to see that it works, not to quote")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md and its chart")
    parser.add_argument("--install", action="store_true", help="install the peers that come from PyPI and npm first")
    chosen = parser.parse_args()
    if unknown := set(chosen.workloads) - set(names):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if chosen.peers and (unknown := set(chosen.peers.split(",")) - {peer.name for peer in all_peers()}):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return chosen


def available(chosen: str | None) -> list[Peer]:
    """The chosen peers that are there; says which are not, and how to get them."""
    found = []
    for peer in all_peers():
        if chosen and peer.name not in chosen.split(","):
            continue
        if hint := peer.missing():
            print(f"{peer.name}: skipped: not installed ({hint})")
        else:
            print(f"{peer.name}: {peer.version()}")
            found.append(peer)
    return found


def measure(bench: Bench, workloads: Sequence[Workload], peers: Sequence[Peer], rounds: int) -> Results:
    """Every workload with every peer once, then all of it again."""
    results = Results()
    for workload in workloads:
        for round in range(min(rounds, workload.most_rounds or rounds)):
            for peer in peers:
                if not workload.suits(peer):
                    continue
                start = time.monotonic()
                outcome = "done"
                try:
                    for figure in workload.run(bench, peer):
                        results.add(workload.name, peer.name, round, figure)
                except (
                    Exception
                ) as error:  # one server's failure is a finding, and no reason to lose the others' figures
                    outcome = f"FAILED: {type(error).__name__}: {error}"
                    results.failures.append(f"{workload.name}, {peer.name}, round {round + 1}: {outcome}")
                seconds = time.monotonic() - start
                print(f"{workload.name} {round + 1}/{rounds} {peer.name}: {seconds:.1f} s, {outcome}", flush=True)
    return results


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
    peers = available(chosen.peers)
    workloads = [w for w in all_workloads() if not chosen.workloads or w.name in chosen.workloads]
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    with Receivers() as receivers:
        print(f"load client in {receivers.kind}")
        results = measure(Bench(cores, receivers, chosen.quick), workloads, peers, rounds)
    titles = {peer.name: peer.title for peer in peers}
    for workload in workloads:
        print(f"\n## {workload.title}")
        for case, rows in tables(workload, results, titles):
            print(f"\n### {case}\n\n{markdown_table(rows)}")
    return bool(results.failures)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
