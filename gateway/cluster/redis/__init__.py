"""The cluster driver for Redis: control messages, one-time values and membership leases."""
