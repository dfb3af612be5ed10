"""Helpers of all tests: one way to start a process, one client, one fake transport, one token factory."""
