"""The transports, one driver each, independent of one another."""
