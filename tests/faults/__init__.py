"""Injected faults: processes, networks, clocks, Redis."""
