"""The in-process API: event bus, bridge and broadcast manager."""
