"""The log engines, one driver each, independent of one another."""
