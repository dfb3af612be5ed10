"""The engines of the log, one driver each, that never know of one another."""
