"""Shared parts of the two Redis drivers: client, key space, background tasks, incident log."""
