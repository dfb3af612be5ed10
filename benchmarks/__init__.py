"""Measures this gateway beside its peers, on one machine and in one run: `python -m benchmarks` (`make bench`).

The server under test has one core to itself and everything that makes load has the other, so that the server's CPU time
is the measure: microseconds of it (user and system, of all its processes) for each event delivered or connection made.
Throughput by the clock depends on the client and is only a note. Rounds are interleaved: every variant runs once before
any runs twice, each in a fresh process, and figures are medians with the least and the greatest round.
"""
